"""Rows in, what is left of them by the rules of the job out: repeats and listed keys are skipped.

Every row is looked at in the order of the input, also one that was settled long ago: it may have been the
first with its key. A run that was interrupted so decides as it would have without the interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from engager.errors import InputError
from engager.intake.keys import Keys
from engager.intake.rows import InputSpec, open_rows
from engager.intake.sources import find_files, open_stream
from engager.model import EngageRequest, Invalid, Row, Skipped, Unreadable

Built = EngageRequest | Invalid | Skipped | Unreadable

#: The words for rows that are left out.
REPEAT, EXCLUDED = "repeat", "excluded"

#: Endings of lists that have a key a line and no header.
_PLAIN = frozenset({".txt", ".list"})


class Selection:
    """The rules of a run."""

    def __init__(self, unique: bool, excluded: Keys | None, folds: bool) -> None:
        self._seen = Keys() if unique else None
        self._excluded, self._folds = excluded, folds

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
        key = folded(built.key) if self._folds else built.key
        if self._excluded is not None and key in self._excluded:
            return Skipped(built.row, built.key, EXCLUDED, "its key is in a list of input.exclude")
        if self._seen is not None:
            first = self._seen.first_row(key, built.row.number)
            if first is not None:
                return Skipped(built.row, built.key, REPEAT, f"row {first} has the same key")
        return built


def folded(key: str) -> str:
    """An e-mail address as it is compared: nobody has two that differ in capitals only."""
    return key.strip().casefold()


def excluded_keys(paths: Sequence[str], base: Path, columns: Sequence[str], folds: bool) -> Keys:
    """The keys of some lists: CSV, JSONL, or a key a line in .txt files; compressed ones too.

    `columns` are the names that the key's column may have, the likeliest first; a list with one column only
    needs none of them. Raises InputError.
    """
    keys = Keys()
    for path in paths:
        listed = _listed(path, base, columns)
        keys.add_all(folded(key) if folds else key for key in listed if key)
    return keys


def _listed(path: str, base: Path, columns: Sequence[str]) -> Iterator[str]:
    for file in find_files(path, base):
        names = [suffix.lower() for suffix in file.suffixes]
        if _PLAIN & set(names[-2:]):
            yield from _lines_of(file)
        else:
            yield from _values_of(file, columns)


def _lines_of(file: Path) -> Iterator[str]:
    with open_stream(file) as stream:
        rest = b""
        while block := stream.read(1 << 16):
            *lines, rest = (rest + block).split(b"\n")
            yield from (line.decode("utf-8-sig", "replace").strip() for line in lines)
        yield rest.decode("utf-8-sig", "replace").strip()


def _values_of(file: Path, columns: Sequence[str]) -> Iterator[str]:
    rows = open_rows(InputSpec(str(file), file.parent))
    try:
        index = _index_of(file, rows.columns, columns) if rows.columns is not None else None
        for chunk in rows.chunks():
            for row in chunk:
                if isinstance(row, Unreadable):
                    # A line that cannot be read may be the one that keeps somebody from being written to.
                    where = f"{row.source}, line {row.line}"
                    raise InputError(f"{where}: {row.error_text}. Mend the list of input.exclude.")
                yield str(_value(file, row, index, columns) or "").strip()
    finally:
        rows.close()


def _index_of(file: Path, found: Sequence[str], columns: Sequence[str]) -> int:
    known = next((column for column in columns if column in found), None)
    if known is None and len(found) > 1:
        raise InputError(
            f"{file}: which column has the keys? It has {', '.join(map(repr, found))}. Name one in "
            "input.exclude_column."
        )
    return 0 if known is None else list(found).index(known)


def _value(file: Path, row: Row, index: int | None, columns: Sequence[str]) -> Any:
    if index is not None:
        return row.values[index]  # type: ignore[index]
    values: Any = row.values
    column = next((column for column in columns if column in values), None)
    if column is None:
        told = f"{file}, line {row.line}: it has none of {', '.join(columns)}."
        raise InputError(f"{told} Name the key in input.exclude_column.")
    return values[column]
