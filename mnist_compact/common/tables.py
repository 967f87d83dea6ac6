"""Tables for human readers (terminal, Markdown, HTML) and for programs (CSV, JSON, Parquet).

Cells are printed literally: no markup and no control codes.
"""

import html
import json
import math
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, Group

MISSING = "–"
DECIMALS = {
    **{"accuracy": 2, "loss": 4, "seconds": 1},  # results; 0.01 % is one image of 10,000
    **{"mean": 3, "sd": 3, "low": 3, "high": 3, "min": 2, "max": 2, "over": 1},  # summaries of accuracies
}
WITH_THOUSANDS = {"parameters", "trainable_parameters", "macs"}
STYLE = """body { font: 14px/1.4 system-ui, sans-serif; margin: 2em }
table { border-collapse: collapse }
th, td { padding: 0.25em 0.7em; border-bottom: 1px solid #ccc; text-align: left; vertical-align: top }
th { position: sticky; top: 0; background: #fff }"""
NUMBERS = "{ text-align: right; font-variant-numeric: tabular-nums }"
_GAP = 3  # width of a column beyond its text: a space on each side and the divider


def on_paper_or_terminal(kind: "type[Console] | None" = None) -> "Console":
    """Create a rich console for stdout that writes control codes only to a terminal, whatever FORCE_COLOR is.

    Args:
        kind: The class of the console.
    """
    from rich.console import Console

    terminal = sys.stdout is not None and sys.stdout.isatty()
    console = (kind or Console)(highlight=False, force_terminal=None if terminal else False)
    if console.width < 1:  # COLUMNS=0 in a shell without a terminal
        console.width = 80
    return console


def to_rich(frame: "pd.DataFrame", *, width: int | None = None) -> "Group":
    """Convert a frame to rich tables without cutting anything off.

    Headers break at their spaces, and a text that is too long for a table of its own is folded.

    Args:
        frame: The table.
        width: The width in characters. If the frame is wider, the remaining columns follow in further tables below,
            each of which begins with the first column.
    """
    from rich.console import Group
    from rich.padding import Padding

    cells = {name: [_shown(name, value) for value in frame[name]] for name in frame.columns}
    widths = {name: _width(name, column) for name, column in cells.items()}
    tables = [_table(frame, cells, widths, names) for names in _packed(widths, width)]
    return Group(*tables[:1], *[Padding(table, (1, 0, 0, 0)) for table in tables[1:]])


def columns_that_fit(frame: "pd.DataFrame", ranked: Sequence[str], width: int) -> list[str]:
    """Choose the columns that fit into a terminal.

    Args:
        frame: The complete table.
        ranked: Its columns, the most important first; the first two are always chosen.
        width: The width of the terminal in characters.

    Returns:
        The chosen columns in the order of the frame.
    """
    chosen: list[str] = []
    left = width
    for name in ranked:
        needed = _width(name, [_shown(name, value) for value in frame[name]]) + _GAP
        if needed <= left or len(chosen) < 2:
            chosen.append(name)
            left -= needed
    return [name for name in frame.columns if name in chosen]


def _width(name: str, cells: Sequence[str]) -> int:
    """Return the width of a column; its header breaks at its spaces."""
    from rich.cells import cell_len

    return max(cell_len(text) for text in [*cells, *str(name).split(), ""])


def to_text(frame: "pd.DataFrame") -> str:
    """Convert a frame to plain text of any width; headers break at their spaces."""
    columns = [_text_column(name, frame[name], to_right=_is_number(frame, name)) for name in frame.columns]
    height = max((len(head) for head, _, _ in columns), default=0)
    header = zip(*([" " * len(rule)] * (height - len(head)) + head for head, rule, _ in columns), strict=True)
    body = zip(*(cells for _, _, cells in columns), strict=True)
    gap = " " * _GAP
    lines = [f" {gap.join(line)}".rstrip() for line in (*header, *body)]
    lines.insert(height, "─" * (sum(len(rule) + _GAP for _, rule, _ in columns) - 1))
    return "\n".join(lines) + "\n"


def show_table(frame: "pd.DataFrame") -> None:
    """Print a frame to stdout: within the width of a terminal, otherwise at full width."""
    console = on_paper_or_terminal()
    if console.is_terminal:
        console.print(to_rich(frame, width=console.width))
    else:
        sys.stdout.write(to_text(frame))


def _text_column(name: str, values: "pd.Series[Any]", *, to_right: bool) -> tuple[list[str], str, list[str]]:
    """Return the lines of the header, a blank line and the cells, all padded to the width of the column."""
    from rich.cells import cell_len

    def padded(text: str) -> str:
        blank = " " * (width - (len(text) if text.isascii() else cell_len(text)))
        return blank + text if to_right else text + blank

    cells, words = [_shown(name, value) for value in values], _clean(name).split()
    width = max((len(text) if text.isascii() else cell_len(text) for text in [*cells, *words]), default=0)
    head = textwrap.wrap(_clean(name), max(width, 1), break_long_words=False, break_on_hyphens=False)
    return [padded(line) for line in head], " " * width, [padded(cell) for cell in cells]


def to_markdown(frame: "pd.DataFrame") -> str:
    """Convert a frame to a table in GitHub's Markdown, with numbers aligned to the right."""
    header = [_escaped(_clean(name)) for name in frame.columns]
    rule = ["---:" if _is_number(frame, name) else "---" for name in frame.columns]
    columns = [[_escaped(_shown(name, value)) for value in frame[name]] for name in frame.columns]
    return "".join(f"| {' | '.join(line)} |\n" for line in [header, rule, *map(list, zip(*columns, strict=True))])


def to_csv(frame: "pd.DataFrame") -> str:
    """Convert a frame to CSV: full precision, missing values empty, times in ISO 8601."""
    return str(_with_zone(frame).to_csv(index=False, lineterminator="\n"))


def to_json(frame: "pd.DataFrame") -> str:
    """Convert a frame to a JSON array with one object per row.

    Numbers have full precision, times are in ISO 8601, and missing or non-finite values are null.
    """
    rows = [
        {str(name): _as_json(value) for name, value in zip(frame.columns, row, strict=True)}
        for row in _with_zone(frame).itertuples(index=False, name=None)
    ]
    return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _as_json(value: Any) -> Any:
    import pandas as pd

    if pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    value = value.item() if hasattr(value, "item") else value  # a NumPy scalar
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_html(frame: "pd.DataFrame", title: str, notes: Sequence[str] = ()) -> str:
    """Convert a frame to a self-contained HTML page with the notes below the table."""
    right = [position for position, name in enumerate(frame.columns, 1) if _is_number(frame, name)]
    aligned = f"{', '.join(f'td:nth-child({position})' for position in right)} {NUMBERS}\n" if right else ""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f"<style>\n{STYLE}\n{aligned}</style>\n</head>\n"
        f"<body>\n{to_html_fragment(frame, notes)}\n</body>\n</html>\n"
    )


def to_html_fragment(frame: "pd.DataFrame", notes: Sequence[str] = ()) -> str:
    """Convert a frame to an HTML table for a page or a notebook, with the notes below it."""

    def row(tag: str, cells: Sequence[str]) -> str:
        return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>\n"

    columns = [[_shown(name, value) for value in frame[name]] for name in frame.columns]
    return (
        f"<table>\n<thead>\n{row('th', [_clean(name) for name in frame.columns])}</thead>\n<tbody>\n"
        f"{''.join(row('td', cells) for cells in zip(*columns, strict=True))}</tbody>\n</table>\n"
        f"{''.join(f'<p>{html.escape(_clean(note))}</p>' for note in notes)}"
    )


def settings_to_html(config: Mapping[str, Any]) -> str:
    """Convert the configuration of a record to an HTML table for a notebook: one row per group."""
    import yaml

    rows = [("group", "option", "settings"), ("seed", config["seed"], "")]
    for group, settings in config.items():
        if isinstance(settings, Mapping):
            values = {key: value for key, value in settings.items() if key not in ("kind", "name")}
            rows.append((group, settings["name"], yaml.safe_dump(values, sort_keys=False, allow_unicode=True)))
    lines = ["".join(f"<td><pre>{html.escape(str(cell))}</pre></td>" for cell in row) for row in rows]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def write_parquet(frame: "pd.DataFrame", path: Path) -> None:
    """Write a frame as Parquet with its dtypes; columns of mixed types become text. Requires pyarrow."""
    mixed = frame.select_dtypes("object").columns
    _with_zone(frame).astype(dict.fromkeys(mixed, "string")).to_parquet(path, index=False)


def _with_zone(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the frame with the time zone UTC added to its times."""
    times = frame.select_dtypes("datetime").columns
    return frame.assign(**{name: frame[name].dt.tz_localize("UTC") for name in times})


def _packed(widths: dict[str, int], width: int | None) -> list[list[str]]:
    """Return the column names distributed over as few tables as fit `width`, each beginning with the first column."""
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
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    if name in WITH_THOUSANDS:
        return f"{value:,}"
    if isinstance(value, float):
        decimals = decimals_of(name)
        return f"{value:.15g}" if decimals is None else f"{value:.{decimals}f}"
    return _clean(value)


def decimals_of(name: str) -> int | None:
    """Return the number of decimals that a column is shown with.

    None for a setting (its key has a dot), which is shown exactly, so that it can be typed on a command line.
    """
    words = [] if "." in name and " " not in name else name.replace("_", " ").split()
    return next((DECIMALS[word] for word in words if word in DECIMALS), None)


def _clean(value: object) -> str:
    """Return one line without control codes, so that the content of a record cannot control the terminal."""
    text = str(value)
    return text if text.isprintable() else "".join(letter if letter.isprintable() else " " for letter in text)


def _escaped(cell: str) -> str:
    """Escape the characters of `cell` that Markdown would read as layout or HTML."""
    for character in "\\|`*_[]<>~$":
        cell = cell.replace(character, f"\\{character}")
    return cell
