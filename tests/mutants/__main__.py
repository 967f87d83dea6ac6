"""Inject faults into a copy of the checkout, one at a time, and list those that the tests do not detect.

`python -m tests.mutants [WORD …]` runs all faults, or those whose file or description contains one of the words. The
exit status is 1 if a fault survives or its text is no longer in the source, and 2 if the tests fail without any fault.
"""

import argparse
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.mutants.fault import Fault
from tests.mutants.in_data import FAULTS as IN_DATA
from tests.mutants.in_model import FAULTS as IN_MODEL
from tests.mutants.in_reports import FAULTS as IN_REPORTS
from tests.mutants.in_search import FAULTS as IN_SEARCH
from tests.mutants.in_training import FAULTS as IN_TRAINING
from tests.mutants.in_use import FAULTS as IN_USE

FAULTS = (*IN_TRAINING, *IN_DATA, *IN_MODEL, *IN_REPORTS, *IN_SEARCH, *IN_USE)
ROOT = Path(__file__).parents[2]
COMPILED = "mnist_compact/models"  # Numba caches its kernels on disk, one file for each function
TIMEOUT_S = 900  # for one fault, so that a fault that makes the tests hang is detected too
# Imported once and shared by the forked process of each fault: these imports take longer than most tests.
HEAVY = (
    "hydra",
    "matplotlib.pyplot",
    "numba",
    "optuna",
    "pandas",
    "pytest",
    "safetensors.torch",
    "scipy.stats",
    "torch",
)


def main() -> int:
    options = parse()
    chosen = [fault for fault in FAULTS if not options.words or any(word in fault.name for word in options.words)]
    for name in HEAVY:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as home:
        copy = copy_of_checkout(Path(home) / "copy")
        stale = [fault for fault in chosen if (copy / fault.file).read_text().count(fault.old) != 1]
        for fault in stale:
            print(f"stale     {fault.name}: its text does not occur in the file exactly once")
        tests = sorted({test.partition("::")[0] for fault in chosen for test in fault.tests})
        if not passes(copy, tests, "--maxfail=5", "--tb=short"):
            print("the tests fail without any fault", file=sys.stderr)
            return 2
        survivors = [fault for fault in chosen if fault not in stale and survives(copy, fault)]
    print(f"{len(chosen)} faults, {len(survivors)} survived, {len(stale)} stale")
    return 1 if survivors or stale else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants", description="List the faults that the tests do not detect"
    )
    parser.add_argument("words", nargs="*", help="only faults whose file or description contains one of them")
    return parser.parse_args()


def copy_of_checkout(copy: Path) -> Path:
    """Copy the checkout with the compiled kernels, which are valid for the modification time of their source files."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = [Path(os.fsdecode(name)) for name in listed.stdout.split(b"\0") if name]
    names += [path.relative_to(ROOT) for path in ROOT.glob(f"{COMPILED}/**/__pycache__/*.nb*")]
    for name in names:
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    return copy


def survives(copy: Path, fault: Fault) -> bool:
    path = copy / fault.file
    shutil.copy2(path, original := path.with_suffix(".original"))
    path.write_text(
        path.read_text().replace(fault.old, fault.new)
    )  # the new modification time invalidates the bytecode
    start = time.monotonic()
    survived = passes(copy, list(fault.tests), "-x", "--tb=no", quiet=True, recompile=fault.file.startswith(COMPILED))
    original.replace(path)
    print(f"{'SURVIVED' if survived else 'killed  '}  {fault.name} ({time.monotonic() - start:.0f} s)", flush=True)
    return survived


def passes(copy: Path, tests: list[str], *options: str, quiet: bool = False, recompile: bool = False) -> bool:
    """Return whether `tests` pass in the copy; `recompile` compiles the kernels of the changed source again."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(TIMEOUT_S if quiet else 0)
            status = run_pytest(copy, tests, *options, quiet=quiet, recompile=recompile)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def run_pytest(copy: Path, tests: list[str], *options: str, quiet: bool, recompile: bool) -> int:
    import numba
    import pytest

    os.chdir(copy)
    # The copy comes first on the path of this process and of those that the tests start.
    os.environ["PYTHONPATH"] = str(copy)
    sys.path[:] = [str(copy), *(path for path in sys.path if path not in ("", str(ROOT)))]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "mnist_compact")]:
        del sys.modules[name]
    if recompile:
        numba.config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"] = str(copy.parent / f"kernels-{os.getpid()}")
    if quiet:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
    ignored_warnings = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
    return int(pytest.main(["-n", "0", "-q", "-p", "no:cacheprovider", *ignored_warnings, *options, *tests]))


if __name__ == "__main__":
    sys.exit(main())
