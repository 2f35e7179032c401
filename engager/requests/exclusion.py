"""Keys whose rows are skipped: keys of exclusion lists, and keys that an earlier run reached.

Invariant: no line of a list is ignored. A text that is not a key is refused with its line, because it may be
the mistyped key of a person who must not get a message.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from engager.config.characters import BLANKS
from engager.config.encodings import mark_of
from engager.errors import InputError
from engager.models import EXCLUDED, Row, Unreadable
from engager.reader.csv_rows import DELIMITERS
from engager.reader.rows import InputSpec, Rows, open_rows
from engager.reader.sources import blocks, find_files, open_stream
from engager.requests.key_forms import Fold, PhoneForm, has_form, listed_keys, phone_form
from engager.requests.keys import Keys

_CORRECT = "Correct the list of input.exclude."

#: Wrong entries of a list that are named, at most.
_NAMED = 10

#: Suffixes of lists that have one key per line and no header.
_PLAIN = frozenset({".txt", ".list"})

#: Bytes of a list that are read at once.
_BLOCK = 1 << 16


@dataclass(slots=True)
class ExcludedSource:
    """A list or a run, with its number of keys and of rows."""

    name: str
    error: str  #: the code of rows that it excludes
    error_text: str
    keys: int = 0
    rows: int = 0  #: rows that it has excluded so far
    forms: Counter[PhoneForm] = field(default_factory=Counter)  #: of its telephone numbers, where they matter

    def __str__(self) -> str:
        return f"{self.name}: {self.keys:,} keys"


class Exclusion:
    """All excluded keys, each with its source."""

    def __init__(self, fold: Fold, salt: bytes | None = None, has_phones: bool = False) -> None:
        """`salt`: of the digests, by which a later start detects that a key was removed.

        `has_phones`: keys that are no addresses are telephone numbers, whose forms matter.
        """
        self._keys, self._fold, self._has_phones = Keys(salt), fold, has_phones
        self.sources: list[ExcludedSource] = []

    def add(self, source: ExcludedSource, keys: Iterable[str]) -> None:
        """Add the keys of one source."""
        self.sources.append(source)

        def counted() -> Iterator[str]:
            for key in keys:
                source.keys += 1
                if self._has_phones and "@" not in key:
                    source.forms[phone_form(key)] += 1
                yield self._fold(key)

        self._keys.add_all(counted(), -len(self.sources))

    def source_of(self, key: str) -> ExcludedSource | None:
        """The source of an excluded key; None for any other key."""
        number = self._keys.row_of(self._fold(key))
        return None if number is None else self.sources[-number - 1]

    def digests(self) -> bytes:
        """The digests of all keys."""
        return self._keys.digests()

    def missing(self, digests: bytes) -> int:
        """The number of digests of an earlier start whose key is not excluded any more."""
        return self._keys.missing(digests)

    def close(self) -> None:
        """Free the memory."""
        self._keys.close()


@dataclass(frozen=True, slots=True)
class Lists:
    """Lists of keys."""

    paths: Sequence[str]
    base: Path  #: the folder that relative paths begin at
    #: The parameters whose values are keys, each with the columns that may contain them, the likeliest first.
    fields: Mapping[str, Sequence[str]]
    column: str | None = None  #: the column with the keys, if the job names it
    encoding: str | None = None  #: None: by the byte order mark, or UTF-8
    empty: frozenset[str] = frozenset()  #: texts that mean an empty value

    @property
    def files(self) -> list[Path]:
        """The files that the paths name. Raises InputError."""
        try:
            return [file for path in self.paths for file in find_files(path, self.base, of_input=False)]
        except InputError as fault:
            raise InputError(f"input.exclude: {fault}") from None

    def add_to(self, exclusion: Exclusion) -> None:
        """Add all keys of CSV and JSONL files, and of .txt files with one key per line; also if compressed.

        Raises InputError for a line that cannot be read or is not a key.
        """
        for file in self.files:
            source = ExcludedSource(str(file), EXCLUDED, f"its key is in the exclusion list {file.name}")
            try:
                exclusion.add(source, self._keys_of(file))
            except InputError as fault:  # the reader names the keys of the input
                raise InputError(str(fault).replace("input.encoding", "input.exclude_encoding")) from None

    def _keys_of(self, file: Path) -> Iterator[str]:
        encoding = self._encoding_of(file)
        if encoding is None:
            return  # an empty list has no keys, which the number of its keys shows
        plain = _PLAIN & {suffix.lower() for suffix in file.suffixes[-2:]}
        texts = self._lines_of(file, encoding) if plain else self._values_of(file, encoding)
        wrong, entries = 0, list[str]()
        for line, text in texts:
            keys = [] if text.strip(BLANKS) in self.empty else listed_keys(text, *self.fields)
            if keys is None:
                wrong += 1
                entries += [f"{file}, line {line}: {text.strip()[:60]!r}"] if wrong <= _NAMED else []
            yield from keys or ()
        if wrong:
            kinds = " or ".join(self.fields)
            are = f"are {wrong:,} entries that are not" if wrong > 1 else "is not"
            more = "; …" if wrong > _NAMED else ""
            raise InputError(f"{'; '.join(entries)}{more} {are} a valid {kinds}. {_CORRECT}")

    def _encoding_of(self, file: Path) -> str | None:
        """The encoding of a list; None if the list is empty."""
        head = b""
        with open_stream(file) as stream:
            for block in blocks(stream, str(file), _BLOCK):
                head += block
                if len(head) >= 4 and head.strip():
                    break
        mark, name = mark_of(head) or (b"", "utf-8")
        if not head.removeprefix(mark).strip():
            return None
        return self.encoding or ("utf-8-sig" if name == "utf-8" else name)

    def _lines_of(self, file: Path, encoding: str) -> Iterator[tuple[int, str]]:
        with open_stream(file) as stream, io.TextIOWrapper(stream, encoding) as text:
            lines = enumerate(text, 1)
            try:
                for line, key in lines:
                    if line == 1 and self._names_column(key):
                        continue
                    yield line, key
            except UnicodeError as fault:
                reason = getattr(fault, "reason", fault)
                raise InputError(
                    f"{file}: it is not {encoding} ({reason}). Name its encoding in input.exclude_encoding."
                ) from None

    def _names_column(self, text: str) -> bool:
        name = _plain(text.strip('"\r\n '))
        return self._have_form and any(name in map(_plain, wanted) for wanted in self._wanted)

    @property
    def _have_form(self) -> bool:
        return all(map(has_form, self.fields))

    @property
    def _wanted(self) -> Sequence[Sequence[str]]:
        """The names of columns with keys, for each kind of key the likeliest first."""
        return [[self.column]] if self.column else list(self.fields.values())

    def _values_of(self, file: Path, encoding: str) -> Iterator[tuple[int, str]]:
        with closing(self._opened(file, encoding)) as rows:
            columns = self._columns_of(file, rows.columns) if rows.columns is not None else None
            for row in (row for chunk in rows.chunks() for row in chunk):
                if isinstance(row, Unreadable):
                    raise InputError(f"{row.source}, line {row.line}: {row.error_text}. {_CORRECT}")
                for value in self._values(file, row, columns):
                    yield row.line, value

    def _opened(self, file: Path, encoding: str) -> Rows:
        """The open list; for CSV with the first delimiter that splits its header into several columns."""
        spec = InputSpec(str(file), file.parent, encoding=encoding, on_empty="ok")
        found = open_rows(spec)
        if found.columns is None or len(found.columns) > 1:
            return found
        for delimiter in DELIMITERS[1:]:
            other = open_rows(replace(spec, delimiter=delimiter))
            if len(other.columns or ()) > 1:
                found.close()
                return other
            other.close()
        return found

    def _columns_of(self, file: Path, found: Sequence[str]) -> list[int]:
        names = list(map(_plain, found))
        known = [names.index(name) for name in self._names_in(names, _plain)]
        if not known and (self.column or len(found) > 1):
            what = f"it has no column {self.column!r}" if self.column else "which column has the keys?"
            columns = ", ".join(map(repr, found))
            raise InputError(f"{file}: {what} It has {columns}. Name one in input.exclude_column.")
        if not known and self._have_form and listed_keys(found[0], *self.fields):
            raise InputError(
                f"{file}: line 1: the header is {found[0]!r}, which is a key. "
                "Add a header to the list, or rename it to .txt."
            )
        return known or [0]

    def _names_in(self, names: Container[str], form: Callable[[str], str] = str) -> list[str]:
        """Of each kind of key, the likeliest name that there is."""
        present = ([name for name in map(form, wanted) if name in names] for wanted in self._wanted)
        return list(dict.fromkeys(likeliest[0] for likeliest in present if likeliest))

    def _values(self, file: Path, row: Row, columns: Sequence[int] | None) -> Iterator[str]:
        values: Any = row.values
        if columns is not None:
            yield from (str(values[column]) for column in columns)
            return
        names = self._names_in(values)
        if not names:
            wanted = ", ".join(chain.from_iterable(self._wanted))
            text = f"{file}, line {row.line}: it has none of {wanted}."
            raise InputError(f"{text} Name the key in input.exclude_column.")
        yield from ("" if values[name] is None else str(values[name]) for name in names)


def _plain(name: str) -> str:
    return name.strip(BLANKS).casefold()
