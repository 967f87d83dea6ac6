"""Write the reference pages in docs/reference/: `python -m tools.reference`.

The pages are made from the parsers, the config classes, the record's classes, the exit codes and the public API. A test
compares them with the committed files, and so detects a page that is older than the code.
"""

import argparse
import ast
import inspect
import io
import re
import signal
import textwrap
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import yaml

from mnist_compact.common.atomic import replacing

ROOT = Path(__file__).parents[1]
FOLDER = Path("docs/reference")
GENERATED = "<!-- Written by `python -m tools.reference`. Change the code instead of this page. -->\n\n"


def main() -> None:
    """Write all pages."""
    (ROOT / FOLDER).mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        with replacing(ROOT / FOLDER / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    print(f"{FOLDER}: {', '.join(sorted(pages()))}")


def pages() -> dict[str, str]:
    """Return the text of every reference page by its file name."""
    texts = {
        "commands.md": commands(),
        "configuration.md": configuration(),
        "exit-codes.md": exit_codes(),
        "python-api.md": python_api(),
        "record.md": record(),
    }
    return {name: f"{GENERATED}{text.rstrip()}\n" for name, text in texts.items()}


class Entry(NamedTuple):
    """A field of a class or a constant of a module, as its source has it."""

    name: str
    type: str
    default: str
    comment: str


def entries(owner: type[Any] | ModuleType) -> list[Entry]:
    """Return the fields of a class, those of its bases first, or the assigned names of a module."""
    found: dict[str, Entry] = {}
    owners = [owner] if isinstance(owner, ModuleType) else [*reversed(owner.__mro__)]
    for each in owners:
        if not isinstance(each, ModuleType) and not each.__module__.startswith("mnist_compact"):
            continue
        source = textwrap.dedent(inspect.getsource(each))
        tree = ast.parse(source)
        body = tree.body if isinstance(each, ModuleType) else tree.body[0].body  # type: ignore[attr-defined]
        found |= {entry.name: entry for entry in _entries_of(body, source)}
    return [*found.values()]


def _entries_of(body: Iterable[ast.stmt], source: str) -> Iterator[Entry]:
    comments = _comments(source)
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            annotation = ast.unparse(node.annotation)
            if not annotation.startswith("ClassVar"):
                yield Entry(node.target.id, annotation, _default(node.value), _comment_of(node, comments))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield Entry(node.targets[0].id, "", ast.unparse(node.value), _comment_of(node, comments))


def _comments(source: str) -> dict[int, tuple[bool, str]]:
    """Map the line number of each comment to whether it is alone on its line, and to its text."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        token.start[0]: (token.line.lstrip().startswith("#"), token.string.lstrip("# "))
        for token in tokens
        if token.type == tokenize.COMMENT
    }


def _comment_of(node: ast.stmt, comments: dict[int, tuple[bool, str]]) -> str:
    """Return the comment behind a statement with the lines that continue it, or the comment on the lines above."""
    last = node.end_lineno or node.lineno
    behind = [number for number in range(node.lineno, last + 1) if number in comments]
    if behind:
        lines, number = [comments[each][1] for each in behind], last + 1
        while comments.get(number, (False, ""))[0]:
            lines.append(comments[number][1])
            number += 1
    else:
        lines, number = [], node.lineno - 1
        while comments.get(number, (False, ""))[0]:
            lines.insert(0, comments[number][1])
            number -= 1
    return " ".join(lines)


def _default(value: ast.expr | None) -> str:
    """Return the default as a person would write it; for `field(default_factory=list)` that is `list()`."""
    if value is None:
        return "required"
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        given = {keyword.arg: keyword.value for keyword in value.keywords}
        if value.func.id == "field" and "default_factory" in given:
            factory = given["default_factory"]
            written = ast.unparse(factory.body if isinstance(factory, ast.Lambda) else factory)
            return {"list": "[]", "dict": "{}", "HeadConfig": "see below"}.get(written, written)
        if value.func.id == "_within":  # of mnist_compact/data/augment_settings.py: low, high, default
            return ast.unparse(value.args[2]) if len(value.args) > 2 else "0.0"
    written = ast.unparse(value)
    if isinstance(value, ast.Attribute):  # a member of an enumeration, whose name is its value
        return value.attr
    return {"MISSING": "required", "None": "null", "True": "true", "False": "false"}.get(written, written)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, without the columns in which no row has a value."""
    rows = [[" ".join(cell.replace("|", "\\|").split()) for cell in row] for row in rows]
    used = [place for place in range(len(header)) if any(row[place] for row in rows)]
    lines = [[header[place] for place in used], ["---"] * len(used), *([row[place] for place in used] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def fields_table(owner: type[Any], *, prefix: str = "", without: Iterable[str] = ()) -> str:
    """Return one row for each field: key, type, default, meaning."""
    shown = [entry for entry in entries(owner) if entry.name not in {*without}]
    rows = [(f"`{prefix}{each.name}`", f"`{each.type}`", f"`{each.default}`", each.comment) for each in shown]
    return table(("key", "type", "default", "meaning"), rows)


def summary(owner: Any) -> str:
    """Return the docstring of a class, with each paragraph on one line; empty for a generated docstring."""
    text = inspect.getdoc(owner) if "__doc__" in vars(owner) else None
    if not text or text.startswith(f"{owner.__name__}("):
        return ""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n")) + "\n\n"


# --- commands -------------------------------------------------------------------------------------------------------


def commands() -> str:
    """Return the page of all commands and their options."""
    from mnist_compact.cli import confirm, draw, evaluate, export, predict, report_options, study
    from mnist_compact.cli.help import ABOUT_GROUPS
    from mnist_compact.zoo import __main__ as zoo

    parts = [
        "# Commands\n\n"
        "Every command prints its own help with `--help`. The exit codes are on [their own page](exit-codes.md).\n\n"
        "## `python -m mnist_compact`\n\n"
        "Also installed as `mnist-compact`. It trains, runs grids and searches, and continues what was interrupted. "
        "Its arguments are config groups and keys; [Configuration](configuration.md) lists all of them.\n\n"
    ]
    groups = [
        (f"`{group}`", ", ".join(f"`{option}`" for option in options_of(group)), about)
        for group, about in ABOUT_GROUPS.items()
    ]
    parts += [table(("group", "options", "meaning"), groups), "\n"]
    for module, parser in (
        ("mnist_compact.report", report_options.parser()),
        ("mnist_compact.study", study._parser()),
        ("mnist_compact.confirm", confirm._parser()),
        ("mnist_compact.evaluate", evaluate._parser()),
        ("mnist_compact.predict", predict._parser()),
        ("mnist_compact.draw", draw._parser()),
        ("mnist_compact.export", export._parser()),
        ("mnist_compact.zoo", zoo._parser()),
    ):
        parts += [f"## `python -m {module}`\n\nAlso installed as `{parser.prog}`. ", _command(parser, level="###")]
    return "".join(parts)


def _command(parser: argparse.ArgumentParser, *, level: str, about: str = "") -> str:
    text = f"{_sentence(parser.description or about)}\n\n"
    rows = []
    nested: dict[str, argparse.ArgumentParser] = {}
    abouts: dict[str, str] = {}
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        if isinstance(action, argparse._SubParsersAction):
            nested = dict(action.choices)
            abouts = {choice.dest: choice.help or "" for choice in action._choices_actions}
            continue
        value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
        if action.choices is not None:
            value = ", ".join(str(choice) for choice in action.choices)
        if isinstance(value, tuple):
            value = " ".join(value)
        spelled = ", ".join(f"`{option}`" for option in action.option_strings) or f"`{value}`"
        meaning = (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")
        rows.append((spelled, f"`{value}`" if value and action.option_strings else "", meaning))
    if rows:
        text += table(("option", "value", "meaning"), rows) + "\n"
    if parser.epilog:
        text += f"```text\n{parser.epilog.strip()}\n```\n\n" if "\n" in parser.epilog else f"{parser.epilog}\n\n"
    for name, each in nested.items():
        text += f"{level} `{name}`\n\n{_command(each, level=f'{level}#', about=abouts.get(name, ''))}"
    return text


def _sentence(text: str) -> str:
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') or not text else '.'}"


def options_of(group: str) -> list[str]:
    """Return the names of the options of a config group, or of the search questions."""
    from mnist_compact.config.schema import configuration_folder, sweeps_folder

    folder = sweeps_folder() if group == "sweeps" else configuration_folder() / group
    return sorted(path.stem for path in folder.glob("*.yaml"))


# --- configuration --------------------------------------------------------------------------------------------------


def configuration() -> str:
    """Return the page of all config groups and keys."""
    from mnist_compact.cli.help import ABOUT_GROUPS
    from mnist_compact.config import sweeper
    from mnist_compact.config.schema import SCHEMAS
    from mnist_compact.models.layers import HeadConfig, LayerConfig, StageConfig
    from mnist_compact.optim.schedules import Knot

    parts = [
        "# Configuration keys\n\n"
        "`GROUP=OPTION` chooses an option of a group, and `GROUP.KEY=VALUE` sets one of its keys. The default of a key "
        "is that of its class; an option may set another. `python -m mnist_compact --cfg job` prints the resolved "
        "values and trains nothing. `seed` (an integer of at least 0) draws the weights, the order of the images, the "
        "augmentation and dropout.\n"
    ]
    nested: dict[str, list[tuple[str, type[Any]]]] = {
        "model": [
            ("model.layers.NAME.", LayerConfig),
            ("model.stages.NAME.", StageConfig),
            ("model.head.", HeadConfig),
        ],
        "scheduler": [("scheduler.knots.NAME.", Knot)],
    }
    for group, kinds in SCHEMAS.items():
        parts += [f"\n## `{group}`\n\n{_sentence(ABOUT_GROUPS[group])}\n\n", _options_table(group)]
        for kind, owner in kinds.items():
            heading = f"\n### `{group}`, kind `{kind}`\n\n" if len(kinds) > 1 else "\n"
            shown = [entry for entry in entries(owner) if entry.name != "name"]
            body = fields_table(owner, prefix=f"{group}.", without=["name"]) if shown else "It has no keys.\n"
            parts += [heading, summary(owner), body]
        for prefix, part in nested.get(group, []):
            parts += [f"\n### `{prefix[:-1]}`\n\n", summary(part), fields_table(part, prefix=prefix)]
    parts += ["\n## Values of the choices\n\n", _enums()]
    parts += ["\n## `hydra.sweeper`\n\n", summary(sweeper.CompactSweeperConfig)]
    parts += [fields_table(sweeper.CompactSweeperConfig, prefix="hydra.sweeper.", without=["_target_", "defaults"])]
    parts += ["\n### `hydra.sweeper.branches.NAME`\n\n", summary(sweeper.BranchConfig)]
    parts += [fields_table(sweeper.BranchConfig, prefix="hydra.sweeper.branches.NAME.")]
    pruners = {
        "median": sweeper.MedianPrunerConfig,
        "halving": sweeper.HalvingPrunerConfig,
        "percentile": sweeper.PercentilePrunerConfig,
        "hyperband": sweeper.HyperbandPrunerConfig,
    }
    for name, owner in pruners.items():
        parts += [f"\n### `hydra/sweeper/pruner={name}`\n\n", summary(owner)]
        parts += [fields_table(owner, prefix="hydra.sweeper.pruner.", without=["_target_"])]
    return "".join(parts)


def _options_table(group: str) -> str:
    from mnist_compact.config.schema import configuration_folder

    rows = []
    for option in options_of(group):
        raw = yaml.safe_load((configuration_folder() / group / f"{option}.yaml").read_text(encoding="utf-8")) or {}
        bases = [str(each).rpartition("/")[2].removesuffix("@_here_") for each in raw.get("defaults", [])]
        kinds = [base for base in bases if base != "_self_"]
        settings = [f"`{key}={_flat(value)}`" for key, value in raw.items() if key not in ("defaults", "name")]
        rows.append((f"`{option}`", ", ".join(kinds), ", ".join(settings) or "nothing"))
    return table(("option", "kind", "sets"), rows)


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return (
            "{…}" if len(value) > 2 else "{" + ", ".join(f"{key}: {_flat(each)}" for key, each in value.items()) + "}"
        )
    if isinstance(value, list):
        return f"[{', '.join(map(_flat, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _enums() -> str:
    from mnist_compact.config.sweeper import WorkerEngine
    from mnist_compact.models import layers
    from mnist_compact.training.config import Precision

    rows = []
    for owner in (
        layers.LayerKind,
        layers.Pool,
        layers.Activation,
        layers.Norm,
        layers.BlockOrder,
        layers.DropoutKind,
        layers.HeadKind,
        Precision,
        WorkerEngine,
    ):
        values = [value + (f" ({meaning})" if meaning else "") for value, meaning in _texts(owner)]
        rows.append((f"`{owner.__name__}`", ", ".join(values)))
    return table(("type", "values"), rows)


def _texts(owner: type[Any] | ModuleType) -> list[tuple[str, str]]:
    """Return the constants of a class or module that are strings, with their comments."""
    return [(f"`{ast.literal_eval(each.default)}`", each.comment) for each in entries(owner) if each.default[:1] == "'"]


# --- record, exit codes, Python API ---------------------------------------------------------------------------------


def record() -> str:
    """Return the page of the files in a run folder and of the record."""
    from mnist_compact.common import run_files
    from mnist_compact.records import record as records
    from mnist_compact.reports.columns import COLUMNS

    parts = [
        "# The run folder and its record\n\n"
        "A run writes one folder. Reports read these files and nothing else. Accuracies are in per cent, losses are "
        "mean cross-entropy in nats without label smoothing, and times are in seconds.\n\n",
        table(("file", "content"), _texts(run_files)),
        f"\n## `{run_files.RECORD}`\n\n",
        summary(records.RunRecord),
        fields_table(records.RunRecord),
    ]
    for key, owner in {
        "scores": records.Score,
        "network": records.NetworkFacts,
        "normalisation": records.Normalisation,
        "continuations": records.Continuation,
    }.items():
        parts += [f"\n### `{key}`\n\n", summary(owner), fields_table(owner)]
    parts += ["\n### `status`\n\n", summary(records.Status), table(("value", "meaning"), _texts(records.Status))]
    versions = re.findall(r"^ +(\d+) +(.+)$", inspect.getdoc(records) or "", re.MULTILINE)
    parts += ["\n## Schema versions\n\nOlder records are converted when they are read.\n\n"]
    parts += [table(("version", "content"), versions)]
    parts += [
        "\n## Report columns\n\n"
        "`python -m mnist_compact.report` and `load_runs` make one row of each run. Every setting is also a column "
        "under its configuration key, for instance `optim.lr`. Every score is a column named "
        "`SPLIT_[averaged_]accuracy_last`, `…_accuracy_best`, `…_loss_last`, `…_loss_best` or `…_epoch_best`. "
        "For example, `test_averaged_accuracy_last` is the accuracy in per cent on the test images, of the averaged "
        "weights, at the last epoch. `test_accuracy_best` is the accuracy of the raw weights at the epoch where it "
        "was highest.\n\n",
        table(("column", "meaning"), [(f"`{column.name}`", column.about) for column in COLUMNS]),
    ]
    return "".join(parts)


def exit_codes() -> str:
    """Return the page of exit codes."""
    from mnist_compact.common import errors

    rows = [("`0`", "", "the work is done")]
    rows += [
        (f"`{each.default}`", f"`{each.name}`", each.comment)
        for each in entries(errors)
        if each.name.startswith("EXIT_")
    ]
    rows += [
        (f"`{128 + number}`", "", f"a grid, a search or a confirmation was ended by {number.name} (128 + its number)")
        for number in (signal.SIGHUP, signal.SIGTERM)
    ]
    return (
        "# Exit codes\n\n"
        "Every process of this project ends with one of these codes. A user error is printed as one message on "
        "stderr without a traceback; `HYDRA_FULL_ERROR=1` shows the traceback of `python -m mnist_compact`.\n\n"
        + table(("code", "name in `mnist_compact.common.errors`", "meaning"), rows)
    )


def python_api() -> str:
    """Return the page of the public names; the site's builder inserts their docstrings."""
    import mnist_compact

    rows, parts = [], []
    for name in mnist_compact.__all__:
        owner = getattr(mnist_compact, name)
        first = " ".join((inspect.getdoc(owner) or "").split("\n\n")[0].split())
        rows.append((f"[`{name}`](#{owner.__module__}.{name})", first))
        parts.append(f"\n::: {owner.__module__}.{name}\n")
    return (
        "# Python API\n\n"
        "Import these names from `mnist_compact`. Each is loaded on first use. `help(mnist_compact.train)` prints the "
        "same text as this page.\n\n" + table(("name", "purpose"), rows) + "".join(parts)
    )


if __name__ == "__main__":
    main()
