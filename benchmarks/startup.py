"""The start-up time of the program: `python -m benchmarks.startup [--quick] [--json] [--synthetic] [--check]`.

It measures the wall time of whole processes, one after the other in each round: `--help` and `--cfg job` of this
program and of an empty Hydra application with one key, and the time until the first training step of
experiment=m3_reference has ended, compared with an empty Hydra application that imports torch. Only the first two
have a limit.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks.timing import Must, Spread, interleave, machine_line, paired, timed, verdict

BARE_APP = """
import hydra

@hydra.main(config_path=".", config_name="config")
def main(cfg):
    if cfg.key == "torch":
        import torch

main()
"""
# Ends the process when the display receives the first step.
FIRST_STEP = """
import os
from mnist_compact.cli import run_display
from mnist_compact.cli.train import main

run_display.TerminalCallback.on_step_end = lambda self, view: os._exit(0)
main()
"""
LIMITS = {"--help": 1.4, "--cfg job": 2.0}
PAIRS = {
    "--help": "--help",
    "--cfg job": "--cfg job",
    "first step": "import torch",
}  # command of this program → command of the empty application


def commands(folder: Path, *, synthetic: bool) -> dict[str, list[str]]:
    """Return command lines by name; `folder` contains the empty application."""
    (folder / "config.yaml").write_text("key: none\n")
    app = folder / "bare.py"
    app.write_text(BARE_APP)
    ours, bare = [sys.executable, "-m", "mnist_compact"], [sys.executable, str(app)]
    data = "synthetic" if synthetic else "mnist"
    step = ["experiment=m3_reference", f"data={data}", f"hydra.run.dir={folder}/${{now:%H-%M-%S-%f}}"]
    return {
        "ours --help": [*ours, "--help"],
        "bare --help": [*bare, "--help"],
        "ours --cfg job": [*ours, "--cfg", "job"],
        "bare --cfg job": [*bare, "--cfg", "job"],
        "ours first step": [sys.executable, "-c", FIRST_STEP, *step],
        "bare import torch": [*bare, "key=torch", f"hydra.run.dir={folder}/bare"],
    }


def calling(command: list[str], folder: Path) -> Callable[[], object]:
    return lambda: subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=300)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.startup", description="Measure the start-up time of the program."
    )
    parser.add_argument("--quick", action="store_true", help="3 rounds, not 15")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--synthetic", action="store_true", help="train the first step on synthetic images instead of MNIST"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a ratio is above its limit")
    options = parser.parse_args()
    rounds = 3 if options.quick else 15
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contenders = {
            key: timed(calling(line, folder)) for key, line in commands(folder, synthetic=options.synthetic).items()
        }
        samples = interleave(contenders, rounds)
    import torch

    from mnist_compact.training.device import describe_environment

    environment = describe_environment(torch.device("cpu"))
    ratios = {ours: paired(samples[f"ours {ours}"], samples[f"bare {bare}"]) for ours, bare in PAIRS.items()}
    limits = [Must(f"{key} against a bare Hydra app", ratios[key], limit) for key, limit in LIMITS.items()]
    if options.json:
        spreads = {key: asdict(ratio) for key, ratio in ratios.items()}
        record = {"environment": environment, "ratios": spreads, "samples_s": samples}
        print(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        print(f"{machine_line(environment)}\n{rounds} rounds; seconds, median [lowest–highest]")
        for ours, bare in PAIRS.items():
            times = [Spread.of(samples[key]).text() for key in (f"ours {ours}", f"bare {bare}")]
            print(f"{ours:12} {times[0]:>20}   bare {bare:12} {times[1]:>20}   ratio {ratios[ours].text()}")
        print(*(must.text() for must in limits), sep="\n")
    return verdict(limits, check=options.check)


if __name__ == "__main__":
    sys.exit(main())
