"""Templates for the columns of a sample.

A template is offered only if it reads exactly this column and can be rendered for every row of the sample.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from engager.errors import ParameterError
from engager.init.recognition import fits, hint
from engager.init.sample import InputSample
from engager.reader.outcome_lines import REASON_COLUMNS
from engager.requests.template import Compiled, RowError, compile_value

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
_TRUTH = frozenset(("true", "false", "yes", "no"))

#: The bound up to which JavaScript, spreadsheets and many databases do not round integers.
_EXACT = 2**53


@dataclass(frozen=True, slots=True)
class Column:
    """The properties of a column that its template depends on."""

    name: str
    kind: str | None  #: the cast to its type; None: no cast is possible
    cast_needed: bool  #: the values do not have that type already
    sparse: bool  #: it is empty in some rows


def column_of(sample: InputSample, name: str) -> Column:
    """Determine the properties of a column from its values."""
    values = sample.values(name)
    filled = [value for value in values if value is not None and value != ""]
    kind = _kind_of_texts(name, filled) if sample.format == "csv" else _kind_of_values(filled)
    return Column(name, kind, sample.format == "csv" and kind != "str", len(filled) < len(values))


def _kind_of_texts(name: str, texts: Sequence[str]) -> str:
    if not texts or hint("phone", name) or all(fits("phone", text) for text in texts):
        return "str"  # a phone number is not a quantity
    if all(_INTEGER.fullmatch(text) and abs(int(text)) < _EXACT for text in texts if len(text) < 30):
        return "int" if all(len(text) < 30 for text in texts) else "str"
    if all(map(_is_exact, texts)):
        return "float"
    return "bool" if all(text.lower() in _TRUTH for text in texts) else "str"


def _is_exact(text: str) -> bool:
    """Whether a float represents a decimal text exactly."""
    if len(text) >= 30 or not _DECIMAL.fullmatch(text):
        return False
    return Decimal(repr(float(text))) == Decimal(text)


def _kind_of_values(values: Sequence[Any]) -> str | None:
    kinds = {type(value) for value in values}
    if kinds == {int, float}:
        return "float"
    if len(kinds) != 1:
        return "json" if kinds and kinds <= {list, dict} else None
    return {str: "str", int: "int", float: "float", bool: "bool"}.get(kinds.pop(), "json")


def template_of(column: Column, sample: InputSample) -> str | None:
    """The template for a column in its type; None if no template can name the column."""
    for text in _candidates(column):
        compiled = compiled_for(column.name, text, sample)
        if compiled and all(rendered(compiled, row) is not WRONG for row in sample.rows):
            return text
    return None


def _candidates(column: Column) -> Iterator[str]:
    name, kind = column.name, column.kind
    default = "|" if column.sparse else ""
    if kind is None or (kind == "str" and column.sparse) or not (column.cast_needed or column.sparse):
        yield f"{{{name}{default}}}"
    if kind is not None:
        # A name with a colon needs a cast, because its end would be read as one.
        yield f"{{{name}:{kind}{default}}}"
        yield f"{{{name}:{kind}}}"
    yield f"{{{name}}}"


def compiled_for(name: str, text: str, sample: InputSample) -> Compiled | None:
    """The compiled template, if it reads this column and no other."""
    try:
        compiled = compile_value(text, sample.header, "")
    except ParameterError:
        return None
    return compiled if compiled.columns == {name} else None


#: The value of a row in which a template cannot be rendered.
WRONG = object()


def rendered(compiled: Compiled, row: Any) -> Any:
    """The value for a row; on an error a value that no rule accepts."""
    try:
        return compiled.render(row)
    except RowError:
        return WRONG


def obstacle(name: str, sample: InputSample) -> str:
    """Why a column is not used; empty if a template can name it."""
    if name in REASON_COLUMNS:
        return "engager wrote it"
    if not name.strip():
        return "it has no name"
    if sample.columns.count(name) > 1:
        return f"{sample.columns.count(name)} columns have this name; rename them"
    return (
        ""
        if template_of(column_of(sample, name), sample)
        else "a template cannot contain this name; rename it"
    )
