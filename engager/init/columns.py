"""A column of a sample in, the template that fetches it out.

A template is only offered when the compiler of templates reads that very column in it, and when it can be
rendered for every row of the sample.
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

#: What JavaScript, spreadsheets and not a few databases can hold without rounding.
_EXACT = 2**53


@dataclass(frozen=True, slots=True)
class Column:
    """What a template has to care for."""

    name: str
    kind: str | None  #: the cast that makes its type; None: there is none to be made
    cast_needed: bool  #: the values do not have that type by themselves
    sparse: bool  #: some rows have nothing in it


def column_of(sample: InputSample, name: str) -> Column:
    """Look at a column's values."""
    values = sample.values(name)
    filled = [value for value in values if value is not None and value != ""]
    kind = _kind_of_texts(name, filled) if sample.format == "csv" else _kind_of_values(filled)
    return Column(name, kind, sample.format == "csv" and kind != "str", len(filled) < len(values))


def _kind_of_texts(name: str, texts: Sequence[str]) -> str:
    if not texts or hint("phone", name) or all(fits("phone", text) for text in texts):
        return "str"  # a phone, or a number of seven digits and more: nobody counts with it
    if all(_INTEGER.fullmatch(text) and abs(int(text)) < _EXACT for text in texts if len(text) < 30):
        return "int" if all(len(text) < 30 for text in texts) else "str"
    if all(map(_is_exact, texts)):
        return "float"
    return "bool" if all(text.lower() in _TRUTH for text in texts) else "str"


def _is_exact(text: str) -> bool:
    """Whether a number in a text is the same number as a float."""
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
    """The template that gives a column's value in its type; None where no template can name the column."""
    for text in _candidates(column):
        compiled = compiled_for(column.name, text, sample)
        if compiled and all(rendered(compiled, row) is not _WRONG for row in sample.rows):
            return text
    return None


def _candidates(column: Column) -> Iterator[str]:
    name, kind = column.name, column.kind
    default = "|" if column.sparse else ""
    if kind is None or (kind == "str" and column.sparse) or not (column.cast_needed or column.sparse):
        yield f"{{{name}{default}}}"
    if kind is not None:
        # A name that holds a colon needs a cast, or its own end is taken for one.
        yield f"{{{name}:{kind}{default}}}"
        yield f"{{{name}:{kind}}}"
    yield f"{{{name}}}"


def compiled_for(name: str, text: str, sample: InputSample) -> Compiled | None:
    """The template, compiled, if it reads this column and nothing else."""
    try:
        compiled = compile_value(text, sample.header, "")
    except ParameterError:
        return None
    return compiled if compiled.columns == {name} else None


_WRONG = object()


def rendered(compiled: Compiled, row: Any) -> Any:
    """What a row gives; something that no rule takes where it gives nothing."""
    try:
        return compiled.render(row)
    except RowError:
        return _WRONG


def obstacle(name: str, sample: InputSample) -> str:
    """Why a column cannot be named in a template, or should not be; empty where it can."""
    if name in REASON_COLUMNS:
        return "it is engager's own"
    if not name.strip():
        return "it has no name"
    if sample.columns.count(name) > 1:
        return f"{sample.columns.count(name)} columns have this name; rename them"
    return (
        "" if template_of(column_of(sample, name), sample) else "a template cannot hold this name; rename it"
    )
