"""Who may import whom. The walls of the house are in CONTRIBUTING.md; this holds them."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mnist_compact"
# Small modules that anyone may stand on.
GROUND = {
    "atomic",
    "bounded",
    "changes",
    "compose_cache",
    "commands",
    "cores",
    "faults",
    "locks",
    "orphans",
    "run_files",
    "seeds",
    "shapes",
    "signals",
    "wording",
    "streams",
}
# Room → what it may import. A file by its name: `terminal.refusals` turns Hydra's errors into ours wherever a
# configuration is composed, and is all of the terminal that others than a verb know of; a verb that stands in a room
# has a row of its own.
MAY_IMPORT = {
    "atomic": set(),
    "bounded": set(),
    "changes": set(),
    "compose_cache": set(),
    "commands": set(),
    "cores": set(),
    "orphans": set(),
    "faults": set(),
    "locks": set(),
    "run_files": set(),
    "seeds": set(),
    "shapes": set(),
    "signals": set(),
    "wording": set(),
    "streams": set(),
    "unfit": {"results"},
    "data": set(),
    "model": set(),
    "training": {"data", "model"},
    "results": set(),
    "config": {"data", "model", "results", "tracking", "training", "unfit"},
    "tracking": {"config", "model", "onlookers", "results", "training"},  # all but onlookers for types alone
    "artefacts": {"data", "model", "training", "results"},
    "onlookers": {"config", "model", "training", "results"},  # for types alone
    "session": {"artefacts", "config", "data", "model", "training", "results"},
    "experiment": {"artefacts", "config", "data", "model", "onlookers", "session", "training", "results"},
    "terminal": {
        *("config", "confirm", "folders", "model", "onlookers", "questions.addresses"),
        *("results", "studies", "training", "unfit"),
    },
    "questions": {"config", "experiments", "results", "terminal.refusals"},
    "studies": {"questions", "results"},
    "search": {
        *("config", "data", "experiment", "jobs", "onlookers", "questions"),
        *("results", "studies", "terminal.refusals", "training"),
    },
    "search.sweeper": {"terminal"},  # where Hydra comes in
    "study": {"questions.addresses", "results", "studies", "terminal"},
    "composition": {"config", "questions.configs", "terminal.refusals"},
    "confirm": {"composition", "config", "data", "experiment", "jobs", "questions", "results", "studies"},
    "confirm.__main__": {"results", "studies", "terminal"},
    "confirm.seed": {"experiment", "results", "terminal"},  # what a confirmation types for each of its seeds
    "use": {"config", "confirm", "data", "model", "results", "training"},
    "evaluate": {"config", "data", "results", "studies", "training", "use"},
    "zoo": {"confirm", "results", "use"},
    "jobs": {"results"},
    "launcher": {"jobs", "results"},
    "again": {"config", "experiment", "onlookers", "results", "terminal", "tracking"},
    "experiments": {"config"},
    "grid": {"config", "experiment", "launcher", "results", "terminal.refusals"},
    "folders": set(),
    "report": {"results", "studies"},
    "app": {
        "again",
        "config",
        "experiment",
        "folders",
        "grid",
        "jobs",
        "launcher",
        "onlookers",
        "questions",
        "results",
        "search",  # alone: it starts searches
        "terminal",
        "tracking",
    },
    "__main__": {"app"},
    "notebook": {"config", "experiment", "onlookers", "results"},
    "__init__": {"composition", "confirm", "notebook", "results", "studies", "use"},
}
THIRD_PARTY = {  # room → libraries that only it may import, at any depth
    "torchvision": {"data"},
    "hydra": {
        *("again", "app", "compose_cache", "composition", "config", "experiments", "folders", "grid", "launcher"),
        *("questions", "search", "terminal"),
    },
    "omegaconf": {
        *("again", "app", "compose_cache", "composition", "config", "experiments", "folders", "grid", "launcher"),
        *("questions", "search", "terminal", "unfit"),
    },
    "optuna": {"confirm", "questions", "results", "search", "studies", "study", "terminal"},
    "pandas": {"confirm", "results", "report", "studies", "study", "terminal", "use", "zoo"},
    "matplotlib": {"results"},
    "numba": {"model"},
    "scipy": {"confirm", "results"},
    "torch": {"data", "model", "training", "session", "artefacts", "terminal", "tracking", "use"},
}
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if "conf" not in path.relative_to(PACKAGE).parts[:1])


def room_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts) if ".".join(parts) in MAY_IMPORT else parts[0]


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module
            if node.module == "mnist_compact":
                yield from (f"mnist_compact.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_what_its_walls_allow(path):
    room = room_of(path)
    home = room.partition(".")[0]
    assert room in MAY_IMPORT, f"a new room: say in MAY_IMPORT what {room} may import"
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "mnist_compact" and len(parts) > 1:
            allowed = MAY_IMPORT[room] | GROUND | {home}
            assert {parts[1], ".".join(parts[1:3])} & allowed, f"{path} imports {name}"
        elif parts[0] in THIRD_PARTY:
            assert home in THIRD_PARTY[parts[0]], f"{path} imports {name}"


def test_one_file_of_the_reports_opens_studies():
    reports = [path for path in SOURCES if room_of(path) == "results"]
    opens = [path.stem for path in reports if any(name.split(".")[0] == "optuna" for name in imports_of(path))]
    assert opens == ["studies"]


@pytest.mark.parametrize(
    "module", ["data.configs", "model.configs", "training.configs", "training.optimizers", "training.schedules", "app"]
)
def test_configuration_does_not_wait_for_torch(module):
    heavy = ("torch", "pandas", "optuna", "matplotlib")
    script = f"import sys, mnist_compact.{module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=180)
    assert done.stdout.strip() == "[]"


def test_files_stay_small():
    long = {str(path.relative_to(PACKAGE)): path.read_text().count("\n") for path in SOURCES}
    assert {name: lines for name, lines in long.items() if lines > 280} == {}


def test_source_distribution_has_what_the_tests_read():
    root = PACKAGE.parent
    told = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    included = {name.lstrip("/") for name in told["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]}
    text = "".join(path.read_text(encoding="utf-8") for path in (root / "tests").rglob("*.py"))
    named = {place.name for place in root.iterdir() if f'"{place.name}' in text and not place.name.startswith(".")}
    assert {"evidence", "conf"} <= named
    assert named - {"outputs", "pyproject.toml"} <= included  # the last is always in it


def without_encoding(path):
    """Lines that read or write text in whatever encoding the user's locale has."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        modes = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        is_text = name == "open" and not any("b" in mode for mode in modes) and getattr(node.func, "value", None)
        if name in ("read_text", "write_text") or (
            is_text and ast.unparse(node.func.value) not in ("os", "gzip", "tarfile")
        ):
            yield f"{path.relative_to(PACKAGE)}:{node.lineno}"


def test_text_files_are_read_and_written_as_utf_8():
    assert [line for path in SOURCES for line in without_encoding(path)] == []
