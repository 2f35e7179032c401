"""Rows in, what is left of them by the rules of the job out: repeats and listed keys are skipped.

Every row is looked at in the order of the input, also one that was settled long ago: it may have been the
first with its key. A run that was interrupted so decides as it would have without the interruption.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engager.errors import InputError
from engager.models import EngageRequest, Invalid, Row, Skipped, Unreadable
from engager.reader.rows import InputSpec, Rows, open_rows
from engager.reader.sources import find_files, open_stream
from engager.requests.keys import Keys

Built = EngageRequest | Invalid | Skipped | Unreadable

#: The words for rows that are left out.
REPEAT, EXCLUDED = "repeat", "excluded"

#: What stands between columns, where it is no comma.
_DELIMITERS = (";", "\t", "|")

_HEADER = "Give the list a header, or call it .txt."

_MEND = "Mend the list of input.exclude."

#: How a key is compared.
Fold = Callable[[str], str]

#: Endings of lists that have a key a line and no header.
_PLAIN = frozenset({".txt", ".list"})


class Selection:
    """The rules of a run."""

    def __init__(self, unique: bool, excluded: Keys | None, fold: Fold) -> None:
        self._seen = Keys() if unique else None
        self.excluded, self._fold = excluded, fold
        self.observe: Callable[[EngageRequest], None] | None = None  #: told of every row that is not left out

    def of(
        self, chunks: Iterator[Sequence[Row | Unreadable]], build: Callable[[Row], EngageRequest | Invalid]
    ) -> Iterator[Sequence[Built]]:
        """The rows of some chunks, built, those left out that a rule leaves out."""
        for chunk in chunks:
            yield [self.judge(build(row)) if isinstance(row, Row) else row for row in chunk]

    def judge(self, built: EngageRequest | Invalid) -> EngageRequest | Invalid | Skipped:
        """The row as it was built, or why it is left out. What is no request is nobody's first row."""
        if isinstance(built, Invalid):
            return built
        if self.excluded is not None and self._fold(built.key) in self.excluded:
            return Skipped(built.row, built.key, EXCLUDED, "its key is in a list of input.exclude")
        if self._seen is not None:
            first = self._seen.first_row(self._fold(built.identity), built.row.number)
            if first is not None:
                return Skipped(built.row, built.key, REPEAT, f"row {first} has the same key")
        if self.observe is not None:
            self.observe(built)
        return built

    def close(self) -> None:
        """Give the memory of its keys back."""
        for keys in (self._seen, self.excluded):
            if keys is not None:
                keys.close()


def fold_of(field: str) -> Fold:
    """How the values of a parameter are compared, for two that mean the same person to be the same."""
    return {"email": _address, "phone": _number, "profile_id": _address}.get(field, str.strip)


def _address(text: str) -> str:
    """Nobody has two addresses that differ in capitals only; a profile's id is a hexadecimal number."""
    return text.strip().lower()


def _number(text: str) -> str:
    """A telephone number is its digits, however they are grouped and whether a plus stands in front."""
    return "".join(character for character in text if character.isdecimal() or character == "\x1f")


@dataclass(frozen=True, slots=True)
class Lists:
    """Lists of keys."""

    paths: Sequence[str]
    base: Path  #: what relative paths are relative to
    column: str | None  #: which one has the keys, if the job names it
    is_key: Callable[[str], bool]  #: whether a text could be a key, and so is no column's name
    likely: Sequence[str]  #: the columns that may have them else, the likeliest first

    @property
    def files(self) -> list[Path]:
        """The files that the paths name. Raises InputError."""
        try:
            return [file for path in self.paths for file in find_files(path, self.base)]
        except InputError as fault:
            told = str(fault).partition(" Mend ")[0].partition(" Name ")[0]
            raise InputError(f"input.exclude: {told}") from None

    def keys(self, fold: Fold) -> Keys:
        """All keys: of CSV and JSONL files, or a key a line in .txt files; compressed ones too.

        Raises InputError for a line that cannot be read: it may be the one that keeps somebody from being
        written to.
        """
        keys = Keys()
        with ExitStack() as opened:
            opened.callback(keys.close)
            for file in self.files:
                plain = _PLAIN & {suffix.lower() for suffix in file.suffixes[-2:]}
                listed = _lines_of(file) if plain else self._values_of(file)
                keys.add_all(folded for key in listed if (folded := fold(key.strip())))
            opened.pop_all()
        return keys

    def _values_of(self, file: Path) -> Iterator[str]:
        rows = self._opened(file)
        try:
            column = self._column_of(file, rows.columns) if rows.columns is not None else None
            for row in (row for chunk in rows.chunks() for row in chunk):
                if isinstance(row, Unreadable):
                    raise InputError(f"{row.source}, line {row.line}: {row.error_text}. {_MEND}")
                yield self._value(file, row, column)
        finally:
            rows.close()

    def _opened(self, file: Path) -> Rows:
        """The list; of CSV by the first delimiter that makes several columns of its header."""
        found = open_rows(InputSpec(str(file), file.parent))
        if found.columns is None or len(found.columns) > 1:
            return found
        for delimiter in _DELIMITERS:
            other = open_rows(InputSpec(str(file), file.parent, delimiter=delimiter))
            if len(other.columns or ()) > 1:
                found.close()
                return other
            other.close()
        return found

    def _column_of(self, file: Path, found: Sequence[str]) -> int:
        wanted = [self.column] if self.column else self.likely
        known = next((column for column in wanted if column in found), None)
        if known is None and (self.column or len(found) > 1):
            what = f"it has no column {self.column!r}" if self.column else "which column has the keys?"
            columns = ", ".join(map(repr, found))
            raise InputError(f"{file}: {what} It has {columns}. Name one in input.exclude_column.")
        if known is None and self.is_key(found[0]):
            raise InputError(f"{file}: {found[0]!r} stands where the columns' names should. {_HEADER}")
        return 0 if known is None else list(found).index(known)

    def _value(self, file: Path, row: Row, column: int | None) -> str:
        values: Any = row.values
        if column is not None:
            return str(values[column])
        wanted = [self.column] if self.column else self.likely
        name = next((name for name in wanted if name in values), None)
        if name is None:
            text = f"{file}, line {row.line}: it has none of {', '.join(wanted)}."
            raise InputError(f"{text} Name the key in input.exclude_column.")
        return "" if values[name] is None else str(values[name])


def _lines_of(file: Path) -> Iterator[str]:
    with open_stream(file) as stream, io.TextIOWrapper(stream, "utf-8-sig") as text:
        try:
            yield from (line.strip().strip('"') for line in text)
        except UnicodeDecodeError as fault:
            raise InputError(f"{file}: it is not UTF-8 ({fault.reason}). {_MEND}") from None
