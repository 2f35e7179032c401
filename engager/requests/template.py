"""Compiles a value of the job, once, into a function from the values of a row to the value that is sent.

`"{column}"` alone keeps the column's type; inside longer text it becomes text. `{column:int}` casts,
`{column|text}` gives a default for an empty one, `{{` and `}}` are braces. Invariant: the values of a row are
data and are never interpreted as templates.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from operator import itemgetter
from typing import Any, Literal

import orjson

from engager.config.characters import BLANKS
from engager.errors import ParameterError
from engager.reader.csv_rows import DELIMITERS
from engager.reader.json_values import LosesDigitsError, as_json
from engager.requests.omission import COLUMN, EMPTY, marked

Columns = tuple[str, ...] | None
Render = Callable[[Any], Any]

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class RowError(Exception):
    """A value of a row is wrong: a code, a text that names the column, and a hint for the job."""

    def __init__(self, error: str, text: str, column: str, hint: str = "") -> None:
        super().__init__(text)
        self.error, self.column, self.hint = error, column, hint


@dataclass(frozen=True, slots=True)
class Reading:
    """The settings of the job for reading the values of columns."""

    empty: frozenset[str] = frozenset()  #: texts that mean an empty value
    decimal: Literal[".", ","] = "."  #: the decimal mark of `{column:decimal}`
    scalars: bool = False  #: a column must be one filled value; a structure only with the cast `json`
    marks_empty: bool = False  #: what comes from an empty column becomes EMPTY, at any depth


PLAIN = Reading()


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled value."""

    render: Render  #: from the values of a row; raises RowError
    static: bool  #: it is the same for every row
    columns: frozenset[str] = frozenset()  #: columns it reads
    required: frozenset[str] = frozenset()  #: columns without which no row can be built
    outline: Any = COLUMN  #: the value, with COLUMN in the place of what only a row has


def static(value: Any) -> Compiled:
    """A value that is the same for every row."""
    return Compiled(lambda _: value, True, outline=value)


def compile_value(value: Any, columns: Columns, where: str, reading: Reading = PLAIN) -> Compiled:
    """Compile a value with all nested values. `where` is its dotted key. Raises ParameterError."""
    if isinstance(value, str):
        return _compile_text(value, columns, where, reading)
    if isinstance(value, dict):
        return _compile_table(value, columns, where, reading)
    if isinstance(value, list):
        items = [
            compile_value(item, columns, f"{where}.{index}", reading) for index, item in enumerate(value)
        ]
        outline = [item.outline for item in items]
        return _joined(outline, items, lambda row: [item.render(row) for item in items])
    return static(value)


def _compile_table(table: dict[str, Any], columns: Columns, where: str, reading: Reading) -> Compiled:
    fields = {key: compile_value(value, columns, f"{where}.{key}", reading) for key, value in table.items()}
    renders = [(key, field.render) for key, field in fields.items()]
    outline = {key: field.outline for key, field in fields.items()}
    return _joined(outline, fields.values(), lambda row: {key: render(row) for key, render in renders})


def _joined(outline: Any, parts: Any, render: Render) -> Compiled:
    parts = list(parts)
    if all(part.static for part in parts):
        # Rendered once, so that doubled braces become single ones here, too.
        return static(render(()))
    return Compiled(
        render,
        False,
        frozenset().union(*(part.columns for part in parts)),
        frozenset().union(*(part.required for part in parts)),
        outline,
    )


def _compile_text(text: str, columns: Columns, where: str, reading: Reading) -> Compiled:
    pieces = list(_pieces(text, columns, where, reading))
    slots = [piece for piece in pieces if isinstance(piece, _Slot)]
    if not slots:
        return static("".join(piece for piece in pieces if isinstance(piece, str)))
    names = frozenset(slot.column for slot in slots)
    required = frozenset(slot.column for slot in slots if slot.default is None)
    if reading.marks_empty:
        return Compiled(_marking(pieces, slots), False, names, required)
    if len(pieces) == 1:
        slot = slots[0]
        plain = slot.cast is None and slot.default is None and not reading.scalars
        return Compiled(slot.get if plain else slot.value, False, names, required)
    return Compiled(_joining(pieces), False, names, required)


def _joining(pieces: Sequence[_Slot | str]) -> Render:
    renders = [piece.text if isinstance(piece, _Slot) else _constant(piece) for piece in pieces]
    return lambda row: "".join([render(row) for render in renders])


def _marking(pieces: Sequence[_Slot | str], slots: Sequence[_Slot]) -> Render:
    """EMPTY if every column of the text is empty."""
    render = slots[0].value if len(pieces) == 1 else _joining(pieces)
    # The most frequent case, for speed: where the column is not empty, its text is not.
    is_text = all(slot.cast != "json" for slot in slots)

    def marking(row: Any) -> Any:
        for slot in slots:
            if not slot.is_empty(row):
                value = render(row)
                return value if is_text and type(value) is str and value else marked(value)
        return EMPTY

    return marking


def _constant(text: str) -> Callable[[Any], str]:
    return lambda _: text


def _pieces(text: str, columns: Columns, where: str, reading: Reading) -> Any:
    end = 0
    literal = ""
    for match in _PIECE.finditer(text):
        literal += text[end : match.start()]
        end = match.end()
        if match[0] in ("{{", "}}"):
            literal += match[0][0]
        elif match[1] is None:
            raise ParameterError(
                where, f"a single {match[0]!r} in {text!r}; write {match[0] * 2!r} for a brace"
            )
        else:
            if literal:
                yield literal
            literal = ""
            yield _slot(match[1], columns, where, reading)
    if literal + text[end:] or not text:
        yield literal + text[end:]


@dataclass(frozen=True, slots=True)
class _Slot:
    """One `{column}`."""

    column: str
    get: Callable[[Any], Any]
    cast: str | None
    default: str | None
    to_type: Callable[[Any], Any]  #: the function of the cast
    is_scalar: bool  #: it must be one value that is not empty

    def is_empty(self, row: Any) -> bool:
        """Whether the column is empty and has no default."""
        value = self.get(row)
        return (value is None or value == "") and not self.default

    def value(self, row: Any) -> Any:
        """The value of the column, in its own type or cast."""
        value = self._cast(row)
        if self.is_scalar:
            if value is None or value in ("", [], {}):
                raise RowError("empty", f"column {self.column!r} is empty: fill it", self.column)
            if isinstance(value, dict | list) and self.cast != "json":
                text = f"column {self.column!r} contains an object or a list where one value is needed"
                raise RowError("not_scalar", text, self.column)
        return value

    def _cast(self, row: Any) -> Any:
        value = self.get(row)
        if (value is None or value == "") and self.default is not None:
            value = self.default
            if value == "" and self.cast is not None:
                return None
        if self.cast is None:
            return value
        try:
            return self.to_type(value)
        except (ValueError, TypeError, OverflowError) as fault:
            name = f"column {self.column!r}"
            if value is None or value == "":
                hint = _stands_in(self.column, self.cast)
                raise RowError("empty", f"{name} is empty: fill it", self.column, hint) from None
            if isinstance(fault, LosesDigitsError):
                text = f"{name} contains a number that would lose digits: {value!r:.60}; send it as text"
                raise RowError("number_too_large", text, self.column) from None
            text = f"{name} is not {self.cast}: {value!r:.60}"
            raise RowError(f"not_{self.cast}", text, self.column, _comma(self.cast, value)) from None

    def text(self, row: Any) -> str:
        """The value of the column as a part of a text."""
        value = self.value(row)
        return value if isinstance(value, str) else as_text(value)


def _slot(inner: str, columns: Columns, where: str, reading: Reading) -> _Slot:
    if columns is not None and inner in columns:
        getter = _getter(inner, columns, where, reading)
        return _Slot(inner, getter, None, None, as_text, reading.scalars)
    name, bar, default = inner.partition("|")
    name, colon, cast = name.rpartition(":") if ":" in name else (name, "", "")
    if columns is not None and colon and f"{name}:{cast}" in columns:
        name, colon = f"{name}:{cast}", ""
    if colon and cast not in CASTS:
        raise ParameterError(where, f"unknown cast {cast!r} in {{{inner}}}; known are {', '.join(CASTS)}")
    if not name:
        raise ParameterError(where, "empty braces; name a column, or write '{{}}' for braces")
    getter = _getter(name, columns, where, reading, bool(bar))
    to_type = CASTS[cast] if colon else as_text
    if colon and cast == "decimal":
        to_type = partial(_to_decimal, comma=reading.decimal)
    return _Slot(name, getter, cast if colon else None, default if bar else None, to_type, reading.scalars)


def _getter(
    column: str, columns: Columns, where: str, reading: Reading, optional: bool = False
) -> Callable[[Any], Any]:
    get = _bare_getter(column, columns, where, optional)
    if not (empty := reading.empty) and not reading.marks_empty:
        return get
    # Where an empty cell must not replace a value, nor may one that only looks empty.
    nothing, blanks = (empty | {""}, BLANKS) if reading.marks_empty else (empty, None)

    def filled(row: Any) -> Any:
        value = get(row)
        return "" if isinstance(value, str) and value.strip(blanks) in nothing else value

    return filled


def _bare_getter(column: str, columns: Columns, where: str, optional: bool) -> Callable[[Any], Any]:
    if columns is None:
        return _key_getter(column, optional)
    if column not in columns:
        raise ParameterError(where, f"the input has no column {column!r}; {_hint(column, columns)}")
    if columns.count(column) > 1:
        raise ParameterError(where, f"the input has {columns.count(column)} columns {column!r}; rename them")
    return itemgetter(columns.index(column))


def _hint(column: str, columns: Sequence[str]) -> str:
    """The nearest name, or why the column is not found."""
    if len(columns) == 1 and (found := next((sign for sign in DELIMITERS[1:] if sign in columns[0]), None)):
        return (
            f"its header is one column, {columns[0]!r}: set input.delimiter = {orjson.dumps(found).decode()}"
        )
    close = difflib.get_close_matches(column, columns, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"it has {', '.join(map(repr, columns))}"


def _key_getter(column: str, optional: bool) -> Callable[[Any], Any]:
    if optional:
        return lambda row: row.get(column)

    def get(row: Any) -> Any:
        try:
            return row[column]
        except KeyError:
            text = f"the row has no {column!r}: add it"
            raise RowError("missing", text, column, _stands_in(column)) from None

    return get


def _stands_in(column: str, cast: str | None = None) -> str:
    """The end of an error: how the job can set a default for an empty column."""
    name = f"{column}:{cast}" if cast else column
    null = f"; {{{name}|}} is null" if cast else ""
    return f", or write {{{name}|…}} in the job for a default{null}"


def _comma(cast: str | None, value: Any) -> str:
    """The end of an error: how the job can read a decimal comma."""
    if cast not in ("float", "int", "decimal") or not isinstance(value, str) or "," not in value:
        return ""
    return '. A number with a decimal comma is {column:decimal} with input.decimal = ","'


def as_text(value: Any) -> str:
    """Returns any value as text: nothing for null, JSON for lists and objects."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return orjson.dumps(value).decode() if isinstance(value, bool | list | dict) else str(value)


def _to_int(value: Any) -> int:
    if type(value) is not str and (
        isinstance(value, bool) or (isinstance(value, float) and not value.is_integer())
    ):
        raise ValueError
    number = int(value)
    if not -(2**63) <= number < 2**64:
        raise ValueError
    return number


def _to_float(value: Any) -> float:
    number = float(value)
    if isinstance(value, bool) or number - number != 0:
        raise ValueError
    if isinstance(value, str) and len(value) > _SURELY_EXACT and Decimal(value) != Decimal(repr(number)):
        raise LosesDigitsError
    return number


#: Digits that a float represents without loss.
_SURELY_EXACT = 15

#: A number as people write it: blanks between groups of three digits, one comma or point.
_GROUPED = re.compile(r"[+-]?(\d{1,3}([ \u00a0\u2009\u202f']\d{3})+|\d+)([.,]\d+)?")


def _to_decimal(value: Any, comma: str = ".") -> float:
    """Convert a number with `comma` as its decimal mark."""
    if not isinstance(value, str):
        return _to_float(value)
    text = value.strip()
    if not _GROUPED.fullmatch(text) or "".join(sorted({".", ","} - {comma})) in text:
        raise ValueError
    return _to_float(re.sub(r"[ \u00a0\u2009\u202f']", "", text).replace(comma, "."))


_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _to_bool(value: Any) -> bool:
    try:
        return _BOOLS[str(value).strip().lower()]
    except KeyError:
        raise ValueError from None


def _to_json(value: Any) -> Any:
    return as_json(value) if isinstance(value, str) else value


#: The casts of `{column:…}`.
CASTS: dict[str, Callable[[Any], Any]] = {
    "int": _to_int,
    "float": _to_float,
    "decimal": _to_decimal,
    "bool": _to_bool,
    "json": _to_json,
    "str": as_text,
}


def names_nearest(word: str, known: Sequence[str]) -> str:
    """A hint that ends an error about an unknown name."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
