"""The import rules of the package, and that the page on the architecture states them."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mnist_compact"
# Package → the packages it may import, in the order of the layers; every package may import `common`.
MAY_IMPORT = {
    "common": set(),
    "data": set(),
    "models": set(),
    "optim": set(),
    "training": {"data", "models", "optim"},
    "robustness": {"data", "training"},
    "records": set(),
    "callbacks": {"models", "records", "training"},
    "config": {"callbacks", "data", "models", "optim", "records", "training"},
    "runs": {"callbacks", "config", "data", "models", "records", "training"},
    "search": {"callbacks", "config", "data", "records", "runs", "training"},
    "reports": {"records", "search"},
    "confirmation": {"config", "data", "records", "runs", "search"},
    "zoo": {"config", "confirmation", "data", "models", "records", "training"},
    "deploy": {"config", "data", "models", "records", "training", "zoo"},
    "hydra_ext": {"config", "records", "reports", "runs", "search"},
    "api": {"callbacks", "config", "confirmation", "records", "reports", "runs", "search"},
    "cli": {
        *("callbacks", "config", "confirmation", "data", "deploy", "hydra_ext", "models", "records", "reports"),
        *("robustness", "runs", "search", "training", "zoo"),
    },
    "__init__": {"api", "callbacks", "config", "confirmation", "deploy", "reports", "zoo"},
    # Entry points of `python -m mnist_compact.<name>`.
    "__main__": {"cli"},
    "confirm": {"cli"},
    "draw": {"cli"},
    "evaluate": {"cli"},
    "export": {"cli"},
    "predict": {"cli"},
    "report": {"cli"},
    "study": {"cli"},
}
# Library → the packages that may import it, at any depth.
THIRD_PARTY = {
    "torchvision": {"data"},
    "hydra": {"cli", "config", "hydra_ext", "search"},
    "omegaconf": {"cli", "config", "hydra_ext", "search"},
    "optuna": {"cli", "confirmation", "reports", "search"},
    "pandas": {"cli", "common", "confirmation", "records", "reports", "robustness", "zoo"},
    "matplotlib": {"cli", "reports", "robustness"},
    "numba": {"models"},
    "scipy": {"common", "confirmation", "robustness"},
    "onnx": {"deploy"},
    "onnxruntime": {"deploy"},
    "ray": {"search"},
    "torch": {"callbacks", "cli", "data", "deploy", "models", "optim", "robustness", "runs", "training", "zoo"},
}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def package_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            if node.module == "mnist_compact":
                yield from (f"mnist_compact.{alias.name}" for alias in node.names)
            else:
                yield node.module


def test_layers_are_in_order():
    layers = list(MAY_IMPORT)
    assert [
        (package, other)
        for package, allowed in MAY_IMPORT.items()
        for other in allowed
        if layers.index(other) >= layers.index(package) and package != "__init__"
    ] == []


def test_page_on_the_architecture_states_the_rules():
    text = (PACKAGE.parent / "docs/explanation/architecture.md").read_text(encoding="utf-8")
    table = text.split("| May import |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)(?:\.py)?` \| .+ \| (.+) \|$", table, re.MULTILINE)
    stated = {package: set(re.findall(r"`(\w+)`", allowed)) for package, allowed in rows if package != "cli"}
    assert stated == {package: MAY_IMPORT[package] for package in stated}
    entry_points = {package for package, allowed in MAY_IMPORT.items() if allowed == {"cli"}}
    assert {*stated, "cli", "__init__", *entry_points} == {*MAY_IMPORT}


def test_files_that_the_page_on_the_architecture_names_exist():
    text = (PACKAGE.parent / "docs/explanation/architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`(?:mnist_compact/)?([\w/]+/\w+\.py)`", text)
    assert len(named) > 10
    assert [name for name in named if not (PACKAGE / name).exists() and not (PACKAGE.parent / name).exists()] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_rules(path):
    package = package_of(path)
    assert package in MAY_IMPORT, f"add {package} to MAY_IMPORT"
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "mnist_compact" and len(parts) > 1 and parts[1] in MAY_IMPORT:
            assert parts[1] in MAY_IMPORT[package] | {"common", package}, f"{path} imports {name}"
        elif parts[0] in THIRD_PARTY:
            assert package in THIRD_PARTY[parts[0]], f"{path} imports {name}"


def modules():
    return {
        ".".join(("mnist_compact", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in SOURCES
    }


def test_no_files_import_each_other():
    """Imports within functions and for type checkers count as well."""
    names = modules()
    waiting = {}
    for name, path in names.items():
        imported = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mnist_compact":
                for alias in node.names:
                    imported.add(
                        f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in names else node.module
                    )
        waiting[name] = imported & (names.keys() - {name, "mnist_compact"})
    while free := [name for name, imported in waiting.items() if not imported & waiting.keys()]:
        for name in free:
            del waiting[name]
    assert waiting == {}


def test_reports_read_studies_through_one_module():
    reports = [path for path in SOURCES if package_of(path) == "reports"]
    imported = {name for path in reports for name in imports_of(path)}
    assert {name for name in imported if name.startswith("mnist_compact.search")} == {"mnist_compact.search.reading"}


@pytest.mark.parametrize(
    "module",
    [
        *("data.config", "models.config", "training.config", "optim.optimizers", "optim.schedules", "callbacks.config"),
        *("config.schema", "cli.train"),
    ],
)
def test_configuration_does_not_import_torch(module):
    heavy = ("torch", "pandas", "optuna", "matplotlib")
    script = f"import sys, mnist_compact.{module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=180)
    assert done.stdout.strip() == "[]"


def test_source_distribution_has_what_the_tests_read():
    root = PACKAGE.parent
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    included = {name.lstrip("/") for name in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]}
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
            is_text and ast.unparse(node.func.value) not in ("Image", "os", "gzip", "tarfile")
        ):
            yield f"{path.relative_to(PACKAGE)}:{node.lineno}"


def test_text_files_are_read_and_written_as_utf_8():
    assert [line for path in SOURCES for line in without_encoding(path)] == []
