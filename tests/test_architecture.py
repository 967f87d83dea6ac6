"""Who may import whom. The walls of the house are in CONTRIBUTING.md; this holds them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mnist_compact"
# Small modules that anyone may stand on.
GROUND = {"atomic", "changes", "commands", "cores", "faults", "orphans", "seeds", "shapes"}
MAY_IMPORT = {
    "atomic": set(),
    "changes": set(),
    "commands": set(),
    "cores": set(),
    "orphans": set(),
    "faults": set(),
    "seeds": set(),
    "shapes": set(),
    "data": set(),
    "model": set(),
    "training": {"data", "model"},
    "results": set(),
    "config": {"data", "model", "results", "tracking", "training"},
    "tracking": {"config", "model", "onlookers", "results", "training"},  # all but onlookers for types alone
    "artefacts": {"data", "model", "training", "results"},
    "onlookers": {"config", "model", "training", "results"},  # for types alone
    "session": {"artefacts", "config", "data", "model", "training", "results"},
    "experiment": {"artefacts", "config", "data", "model", "onlookers", "session", "training", "results"},
    "display": {"config", "model", "onlookers", "training", "results"},
    "refusals": {"config"},
    "search": {
        *("config", "data", "display", "experiment", "experiments", "jobs", "model", "onlookers"),
        *("refusals", "results", "tracking", "training"),
    },
    "study": {"results", "search"},
    "composition": {"config", "refusals", "search"},
    "confirm": {
        *("composition", "config", "data", "display", "experiment", "jobs", "refusals", "results", "search"),
    },
    "use": {"config", "confirm", "data", "model", "results", "training"},
    "evaluate": {"config", "data", "results", "search", "training", "use"},
    "zoo": {"confirm", "results", "use"},
    "jobs": {"refusals", "results"},
    "launcher": {"jobs", "results"},
    "again": {"config", "display", "experiment", "onlookers", "results", "tracking"},
    "experiments": {"config"},
    "grid": {"config", "experiment", "launcher", "refusals"},
    "folders": set(),
    "comparison": {"folders", "results"},
    "report": {"results", "search"},
    "app": {
        "again",
        "config",
        "comparison",
        "display",
        "experiment",
        "folders",
        "grid",
        "jobs",
        "launcher",
        "onlookers",
        "refusals",
        "results",
        "search",
        "tracking",
    },
    "__main__": {"app"},
    "notebook": {"config", "experiment", "onlookers", "results"},
    "__init__": {"composition", "confirm", "notebook", "results", "search", "use"},
}
THIRD_PARTY = {  # room → libraries that only it may import, at any depth
    "torchvision": {"data"},
    "hydra": {
        *("again", "app", "comparison", "composition", "config", "experiments", "folders", "grid", "launcher"),
        *("refusals", "search"),
    },
    "omegaconf": {
        *("again", "app", "comparison", "composition", "config", "experiments", "folders", "grid", "launcher"),
        *("refusals", "search"),
    },
    "optuna": {"confirm", "results", "search", "study"},
    "pandas": {"confirm", "results", "report", "search", "study", "use", "zoo"},
    "matplotlib": {"results"},
    "numba": {"model"},
    "scipy": {"confirm", "results"},
    "torch": {"data", "model", "training", "session", "artefacts", "display", "tracking", "use"},
}
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if "conf" not in path.relative_to(PACKAGE).parts[:1])


def room_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


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
    assert room in MAY_IMPORT, f"a new room: say in MAY_IMPORT what {room} may import"
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "mnist_compact" and len(parts) > 1:
            assert parts[1] in MAY_IMPORT[room] | GROUND | {room}, f"{path} imports {name}"
        elif parts[0] in THIRD_PARTY:
            assert room in THIRD_PARTY[parts[0]], f"{path} imports {name}"


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
    assert {name: lines for name, lines in long.items() if lines > 250} == {}
