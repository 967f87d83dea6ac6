"""Tables for people (terminal, Markdown) and for programs (CSV). Cells print literally: no markup, no control codes."""

from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Group

MISSING = "–"
DECIMALS = {"accuracy": 2, "loss": 4, "seconds": 1}  # of results; 0.01 % is one image of 10,000
WITH_THOUSANDS = {"parameters", "trainable_parameters", "macs"}
_GAP = 3  # what a column takes beside its text: a space each side and the divider


def to_rich(frame: "pd.DataFrame", *, width: int | None = None) -> "Group":
    """The frame for a rich console, nothing cut off.

    Where it is wider than `width` characters its columns go on in further tables below, each beginning with the first
    column. Headers break at their spaces; a text too long even for a table of its own is folded.
    """
    from rich.cells import cell_len
    from rich.console import Group
    from rich.padding import Padding

    cells = {name: [_shown(name, value) for value in frame[name]] for name in frame.columns}
    widths = {
        name: max([cell_len(cell) for cell in column] + [cell_len(word) for word in str(name).split()])
        for name, column in cells.items()
    }
    tables = [_table(frame, cells, widths, names) for names in _packed(widths, width)]
    return Group(*tables[:1], *[Padding(table, (1, 0, 0, 0)) for table in tables[1:]])


def to_text(frame: "pd.DataFrame") -> str:
    """The frame as plain text, as wide as it needs to be."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console(file=StringIO(), color_system=None, force_terminal=False)
    table = to_rich(frame)
    needed = Measurement.get(console, console.options.update(max_width=1_000_000), table).maximum
    console.width = max(needed, 1)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def to_markdown(frame: "pd.DataFrame") -> str:
    """The frame as a table of GitHub's Markdown, numbers to the right."""
    header = [_escaped(_clean(name)) for name in frame.columns]
    rule = ["---:" if _is_number(frame, name) else "---" for name in frame.columns]
    columns = [[_escaped(_shown(name, value)) for value in frame[name]] for name in frame.columns]
    return "".join(f"| {' | '.join(line)} |\n" for line in [header, rule, *map(list, zip(*columns, strict=True))])


def to_csv(frame: "pd.DataFrame") -> str:
    """The frame as CSV: full precision, missing values empty, times in ISO 8601."""
    return str(frame.to_csv(index=False, lineterminator="\n"))


def _packed(widths: dict[str, int], width: int | None) -> list[list[str]]:
    """The column names in as few tables as fit `width`, each led by the first column."""
    first, *rest = list(widths)
    tables = [[first]]
    for name in rest:
        if width is not None and len(tables[-1]) > 1 and sum(widths[n] + _GAP for n in [*tables[-1], name]) > width:
            tables.append([first])
        tables[-1].append(name)
    return tables


def _table(frame: "pd.DataFrame", cells: dict[str, list[str]], widths: dict[str, int], names: list[str]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for name in names:
        table.add_column(
            Text(_clean(name)),
            justify="right" if _is_number(frame, name) else "left",
            max_width=widths[name],
            overflow="fold",
        )
    for row in zip(*[cells[name] for name in names], strict=True):
        table.add_row(*[Text(cell) for cell in row])
    return table


def _is_number(frame: "pd.DataFrame", name: str) -> bool:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return is_numeric_dtype(frame[name]) and not is_bool_dtype(frame[name])


def _shown(name: str, value: Any) -> str:
    import pandas as pd

    if pd.isna(value):
        return MISSING
    if isinstance(value, pd.Timestamp):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if name in WITH_THOUSANDS:
        return f"{value:,}"
    if isinstance(value, float):
        # A setting (its key has a dot) is shown as it can be typed again.
        words = [] if "." in name else name.replace("_", " ").split()
        decimals = next((DECIMALS[word] for word in words if word in DECIMALS), None)
        return f"{value:.15g}" if decimals is None else f"{value:.{decimals}f}"
    return _clean(value)


def _clean(value: object) -> str:
    """One line without control codes: what a record holds must not steer the terminal."""
    return "".join(character if character.isprintable() else " " for character in str(value))


def _escaped(cell: str) -> str:
    """`cell` with what Markdown would read as layout or HTML made literal."""
    for character in "\\|`*_[]<>~$":
        cell = cell.replace(character, f"\\{character}")
    return cell
