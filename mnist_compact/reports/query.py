"""Conditions on the rows of a table, such as `parameters < 8000 and optim.lr > 0.01`.

A condition is parsed with Python's grammar and then interpreted node by node; it is never executed as Python code.
"""

import ast
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from mnist_compact.common.errors import UserError
from mnist_compact.reports.column_names import SHORT, check, resolve, resolve_all

if TYPE_CHECKING:
    import pandas as pd

GRAMMAR = (
    "comparisons (==, !=, <, <=, >, >=, in, is None) of columns with numbers, true, false, or text in quotes, "
    "joined by and, or, not"
)
WORDS = {"true": True, "false": False}  # the spelling of the command line
ORDERS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
COMPARISONS = ORDERS | {ast.Eq: operator.eq, ast.NotEq: operator.ne}
NUMBER, TEXT, TRUTH, TIME = "numbers", "text", "true or false", "times"
_QUOTED = re.compile(r"""('[^']*'|"[^"]*")|`([^`]*)`""")
_MOST = 2**63 - 1  # the largest Int64


def matching(frame: "pd.DataFrame", condition: str) -> "pd.DataFrame":
    """Select the rows for which a condition holds.

    A comparison with a missing value is neither true nor false, so its row is not selected.

    Args:
        frame: The table.
        condition: The condition. `accuracy` and `loss` mean the columns of the final score, as in
            `column_names.resolve`. A column name with spaces or other signs is written in backticks.

    Raises:
        UserError: If the text is not a condition, names an unknown column or compares incompatible types.

    Example:
        >>> matching(load_runs("outputs"), "optim == 'adam' and parameters < 8000")  # doctest: +SKIP
    """
    tree, quoted = _parsed(condition)
    names, hint = _names(tree, quoted), " Text must be in quotes."
    if frame.empty:  # earlier conditions left no row, so `accuracy` cannot be resolved
        check(frame.columns, [name for name in names if name not in SHORT], hint)
        return frame
    resolve_all(frame, names, hint)
    held = _Condition(frame, condition, quoted).truth(tree).fillna(False)
    chosen: pd.DataFrame = frame[held.to_numpy(dtype=bool)]
    return chosen


def names_in(condition: str) -> list[str]:
    """Return the names of the columns in a condition. Raises UserError if the text is not an expression."""
    return _names(*_parsed(condition))


def _parsed(condition: str) -> tuple[ast.expr, dict[str, str]]:
    """Return the syntax tree, and placeholder → name for each name in backticks."""
    quoted: dict[str, str] = {}

    def plain(match: re.Match[str]) -> str:
        if match[1]:
            return match[1]
        word = f"_quoted_{len(quoted)}"
        quoted[word] = match[2]
        return word

    try:
        return ast.parse(_QUOTED.sub(plain, condition).strip(), mode="eval").body, quoted
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{condition!r} is not a condition. Conditions are {GRAMMAR}") from error


def _dotted(node: ast.AST, quoted: dict[str, str]) -> str | None:
    """Return the dotted name, such as `optim.lr`, of a node; None if the node is not a name."""
    if isinstance(node, ast.Name):
        return quoted.get(node.id, node.id)
    above = _dotted(node.value, quoted) if isinstance(node, ast.Attribute) else None
    return f"{above}.{node.attr}" if above and isinstance(node, ast.Attribute) else None


def _names(node: ast.AST, quoted: dict[str, str]) -> list[str]:
    name = _dotted(node, quoted)
    if name is not None:
        return [] if name in WORDS else [name]
    return [name for child in ast.iter_child_nodes(node) for name in _names(child, quoted)]


@dataclass(slots=True, frozen=True)
class _Operand:
    """A column or a value; `kind` is None for a column without any value."""

    kind: str | None
    value: Any
    column: str = ""

    def __str__(self) -> str:
        return f"{self.column} (a column of {self.kind})" if self.column else repr(self.value)


class _Condition:
    """Evaluates a condition per row with three-valued logic: true, false, or NA for missing values."""

    def __init__(self, frame: "pd.DataFrame", text: str, quoted: dict[str, str]) -> None:
        self.frame, self.text, self.quoted = frame, text, quoted

    def truth(self, node: ast.expr) -> Any:
        if isinstance(node, ast.BoolOp):
            join = operator.and_ if isinstance(node.op, ast.And) else operator.or_
            return reduce(join, map(self.truth, node.values))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self.truth(node.operand)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            return reduce(operator.and_, map(self._compared, sides, node.ops, sides[1:]))
        operand = self._operand(node)
        if not operand.column or operand.kind not in (TRUTH, None):
            raise UserError(f"{operand} is not a condition by itself; compare it with a value")
        return operand.value.astype("boolean")

    def _compared(self, left_node: ast.expr, comparison: ast.cmpop, right_node: ast.expr) -> Any:
        left, right = self._operand(left_node), self._operand(right_node)
        if not (left.column or right.column):
            raise UserError(f"{self.text!r} compares {left} with {right}; one of them must be a column")
        columns = [side.value for side in (left, right) if side.column]
        missing = reduce(operator.or_, [column.isna() for column in columns])
        if isinstance(comparison, ast.Is | ast.IsNot):
            if right.column or right.value is not None:
                raise UserError(f"{self.text!r}: `is` compares only with None; compare values with ==")
            return (missing if isinstance(comparison, ast.Is) else ~missing).astype("boolean")
        if any(side.column and side.kind is None for side in (left, right)):
            return missing.astype("boolean").mask(missing)
        held = self._held(left, comparison, right)
        return held.astype("boolean").mask(missing)

    def _held(self, left: _Operand, comparison: ast.cmpop, right: _Operand) -> Any:
        if isinstance(comparison, ast.In | ast.NotIn):
            held = self._within(left, right)
            return held if isinstance(comparison, ast.In) else ~held
        left, right = _as_time(left, right), _as_time(right, left)
        if left.kind != right.kind or (type(comparison) in ORDERS and left.kind not in (NUMBER, TIME)):
            rule = "the types must agree, and only numbers and times can be ordered"
            raise UserError(f"{self.text!r} compares {left} with {right}: {rule}")
        return COMPARISONS[type(comparison)](left.value, right.value)

    def _within(self, left: _Operand, right: _Operand) -> Any:
        """Evaluate `column in [values]` and `"text" in column`."""
        if left.column and isinstance(right.value, list):
            odd = [item for item in right.value if item.column or item.kind != left.kind]
            if odd:
                raise UserError(f"{self.text!r} compares {left} with {odd[0]}; the types must agree")
            return left.value.isin([item.value for item in right.value])
        if left.kind == TEXT and right.kind == TEXT and right.column and not left.column:
            return right.value.str.contains(left.value, regex=False)
        raise UserError(f"{self.text!r}: `in` needs a column and a list of values, or a text and a column of text")

    def _operand(self, node: ast.expr) -> _Operand:
        name = _dotted(node, self.quoted)
        if name in WORDS:
            return _Operand(TRUTH, WORDS[name])
        if name is not None:
            column = resolve(self.frame, name)
            return _Operand(_kind(self.frame[column]), self.frame[column], column)
        if isinstance(node, ast.List | ast.Tuple):
            return _Operand("a list", [self._operand(item) for item in node.elts])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            inner = self._operand(node.operand)
            if inner.kind == NUMBER and not inner.column:
                return _Operand(NUMBER, -inner.value)
        if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str | None):
            value = node.value
            if isinstance(value, bool):
                return _Operand(TRUTH, value)
            if isinstance(value, int):
                return _Operand(NUMBER, min(value, _MOST))
            if isinstance(value, float):
                return _Operand(NUMBER, value)
            return _Operand(TEXT if isinstance(value, str) else "nothing", value)
        raise UserError(f"{self.text!r} is not a condition. Conditions are {GRAMMAR}")


def _kind(column: "pd.Series[Any]") -> str | None:
    from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

    if column.isna().all():
        return None
    if is_bool_dtype(column):
        return TRUTH
    if is_datetime64_any_dtype(column):
        return TIME
    return NUMBER if is_numeric_dtype(column) else TEXT


def _as_time(side: _Operand, other: _Operand) -> _Operand:
    """Convert a text that is compared with times, in UTC unless it names a time zone. Raises UserError if invalid."""
    if side.column or side.kind != TEXT or other.kind != TIME:
        return side
    import pandas as pd

    try:
        time = pd.Timestamp(side.value)
    except ValueError as error:
        raise UserError(f"{side} is not a time such as '2025-11-20' or '2025-11-20 10:00'") from error
    return _Operand(TIME, time if time.tzinfo is None else time.tz_convert(None))
