"""An odd file of people, drawn from a seed, and what is known of it without reading it."""

from __future__ import annotations

import bz2
import codecs
import gzip
import json
import lzma
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import zstandard

from tests.odd.people import COLUMNS, Person, drawn_people

#: Encodings, and the byte order mark that a file in them may begin with.
ENCODINGS: dict[str, bytes] = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "cp1251": b"",
    "koi8-r": b"",
    "cp866": b"",
    "latin-1": b"",
    "cp1252": b"",
    "mac-cyrillic": b"",
    "shift_jis": b"",
}

WRONG_CSV = (
    "open_quote",
    "closed_early",
    "more_fields",
    "fewer_fields",
    "bad_bytes",
    "nul",
    "no_key",
    "malformed_key",
    "again",
    "blank_line",
    "blanks",
    "delimiters",
    "header_again",
)

WRONG_JSONL = (
    "trailing_comma",
    "two_in_a_line",
    "pretty",
    "bad_escape",
    "half_a_pair",
    "key_twice",
    "deep",
    "large_number",
    "not_a_number",
    "comment",
    "apostrophes",
    "missing_key",
    "null_key",
    "no_object",
    "bad_bytes",
    "again",
    "blank_line",
    "blanks",
)

_ENDS = ("\n", "\r\n", "\r", "mixed")
_HEADERS = (
    "plain",
    "capitals",
    "blanks",
    "quoted",
    "blank_line",
    "missing",
    "title",
    "comment",
    "twice",
    "unnamed",
)
_PACKS = ("", "", "", "", ".gz", ".zst", ".bz2", ".xz")


@dataclass
class OddFile:
    """A file on the disk, and what a run may make of it."""

    name: str
    data: bytes
    format: str
    matching: str
    people: list[Person]
    header: dict[str, str]  #: the name of each column in the file
    encoding: str  #: that the file has
    delimiter: str
    wrong: dict[int, str]  #: people by number, and what is wrong with their records
    tidy: bool  #: everybody must be engaged
    traits: dict[str, Any]
    ends: list[int] = field(default_factory=list)  #: where the head ends, and the record of each person
    cut: int | None = None  #: how many of the plain bytes are left; None: all, or unknown

    def is_whole(self, person: Person) -> bool:
        """Whether the record of a person lies before the cut."""
        return self.cut is None or self.ends[person.number] <= self.cut

    def is_gone(self, person: Person) -> bool:
        """Whether no byte of the record lies before the cut."""
        return self.cut is not None and self.ends[person.number - 1] >= self.cut


def drawn_file(seed: int) -> OddFile:
    """The file of a seed."""
    draw = random.Random(seed)
    tidy = draw.random() < 0.4
    encoding = draw.choice(list(ENCODINGS)) if draw.random() < 0.6 else "utf-8"
    traits: dict[str, Any] = {
        "format": "csv" if draw.random() < 0.75 else "jsonl",
        "encoding": encoding,
        "mark": bool(ENCODINGS[encoding]) and draw.random() < 0.6,
        "matching": "email" if draw.random() < 0.8 else "phone",
        "ends": draw.choice(_ENDS),
        "last_end": tidy or draw.random() < 0.7,
        "delimiter": draw.choice((",", ",", ";", "\t", "|")),
        "quoting": draw.choice(("minimal", "minimal", "all", "texts")),
        "header": draw.choice(_HEADERS[:5] if tidy else _HEADERS) if draw.random() < 0.6 else "plain",
        "pack": draw.choice(_PACKS[:6] if tidy else _PACKS),
        "rows": draw.randint(1, 14) if draw.random() < 0.98 else draw.randint(600, 1500),
    }
    people = drawn_people(draw, traits["rows"], traits["matching"], encoding, draw.random() < 0.02)
    kinds = WRONG_CSV if traits["format"] == "csv" else WRONG_JSONL
    share = 0.0 if tidy else draw.choice((0.0, 0.1, 0.3))
    wrong = {person.number: draw.choice(kinds) for person in people if draw.random() < share}
    return _Writing(draw, traits, people, wrong, tidy).file()


class _Writing:
    """One file while it is written."""

    def __init__(
        self,
        draw: random.Random,
        traits: dict[str, Any],
        people: list[Person],
        wrong: dict[int, str],
        tidy: bool,
    ) -> None:
        self.draw, self.traits, self.people, self.wrong, self.tidy = draw, traits, people, wrong, tidy
        self.header = self._header_names()
        self.data = bytearray(ENCODINGS[traits["encoding"]] if traits["mark"] else b"")

    def file(self) -> OddFile:
        traits = self.traits
        is_csv = traits["format"] == "csv"
        pieces = [self._head()] if is_csv else [b""]
        pieces += [self._csv(person) if is_csv else self._jsonl(person) for person in self.people]
        if not traits["last_end"]:
            pieces[-1] = self._without_end(pieces[-1])
        if not self.tidy and self.draw.random() < 0.05:
            pieces.append(self._bytes("\x1a"))
        if traits["format"] == "jsonl" and not self.tidy and self.draw.random() < 0.06:
            traits["array"] = True
            pieces = [self._bytes("[\n"), *(self._without_end(p) + self._bytes(",\n") for p in pieces[1:])]
            pieces.append(self._bytes("{}]\n"))
        ends = []
        for piece in pieces:
            self.data += piece
            ends.append(len(self.data))
        return self._packed(ends[: len(self.people) + 1])

    def _packed(self, ends: list[int]) -> OddFile:
        traits, draw, plain = self.traits, self.draw, bytes(self.data)
        cut, data = None, plain
        if not self.tidy and draw.random() < 0.15:
            traits["cut"] = cut = draw.randrange(len(plain) + 1)
            data = plain[:cut]
        data = _pack(data, traits["pack"], draw)
        if traits["pack"] and not self.tidy and draw.random() < 0.2:
            at = draw.randrange(len(data) + 1)
            traits["packed_cut"] = f"{at} of {len(data)}"
            data = data[:at]
        suffix = "" if not self.tidy and draw.random() < 0.1 else traits["pack"]
        name = f"people{self._suffix()}{suffix}"
        traits["name"] = name
        if traits["encoding"].startswith(("utf-16", "utf-32")) and not self.tidy and draw.random() < 0.15:
            traits["shifted"] = shift = draw.choice((-1, 1))
            data = data[1:] if shift < 0 else b"x" + data
        return OddFile(
            name, data, traits["format"], traits["matching"], self.people, self.header, traits["encoding"],
            traits["delimiter"], self.wrong, self.tidy, traits, ends, cut,
        )  # fmt: skip

    def _suffix(self) -> str:
        if self.traits["format"] == "jsonl":
            return self.draw.choice((".jsonl", ".jsonl", ".ndjson", ".JSONL", ".json"))
        if self.traits["delimiter"] == "\t":
            return self.draw.choice((".tsv", ".tsv", ".csv", ".txt"))
        return self.draw.choice((".csv", ".csv", ".csv", ".CSV", ".txt"))

    def _header_names(self) -> dict[str, str]:
        names = dict(zip(COLUMNS, (self.traits["matching"], *COLUMNS[1:]), strict=True))
        kind = self.traits["header"] if self.traits["format"] == "csv" else "plain"
        if kind == "capitals":
            names = {column: name.upper() for column, name in names.items()}
        elif kind == "blanks":
            names = {column: f" {name} " for column, name in names.items()}
        elif kind == "twice":
            names["note"] = names["name"]
        elif kind == "unnamed":
            names["note"] = ""
        return names

    def _head(self) -> bytes:
        kind, names = self.traits["header"], list(self.header.values())
        if kind == "missing":
            return b""
        before = {"title": "Our people", "comment": "# exported by the shop", "blank_line": ""}.get(kind)
        cells = [f'"{name}"' for name in names] if kind == "quoted" else names
        line = self._bytes(self.traits["delimiter"].join(cells) + self._end())
        return line if before is None else self._bytes(before + self._end()) + line

    def _end(self) -> str:
        ends: str = self.traits["ends"]
        return self.draw.choice(("\n", "\r\n", "\r")) if ends == "mixed" else ends

    def _without_end(self, piece: bytes) -> bytes:
        for end in ("\r\n", "\n", "\r"):
            piece = piece.removesuffix(self._bytes(end))
        return piece

    def _bytes(self, text: str) -> bytes:
        return text.encode(self.traits["encoding"], "replace")

    def _bad_bytes(self) -> bytes:
        """Bytes that most encodings do not have; whole units, after which the rest can still be read."""
        return b"\xff\x81" * (2 if self.traits["encoding"].startswith("utf-32") else 1)

    def _csv(self, person: Person) -> bytes:
        kind, delimiter = self.wrong.get(person.number), self.traits["delimiter"]
        cells = {column: self._cell(text) for column, text in person.values.items()}
        if kind == "open_quote":
            cells["note"] = '"' + person.values["note"].replace('"', "")
        elif kind == "closed_early":
            cells["note"] = '"a"b'
        elif kind == "nul":
            cells["note"] = "a\0b"
        elif kind == "no_key":
            cells["key"] = ""
        elif kind == "malformed_key":
            cells["key"] = self._cell(person.key.replace("@", " at ").replace("+", "no "))
        record = list(cells.values())
        if kind == "more_fields":
            record.insert(self.draw.randrange(1, 5), "x")
        elif kind == "fewer_fields":
            del record[1]
        line = self._bytes(delimiter.join(record) + self._end())
        if kind == "bad_bytes":
            line = line.replace(self._bytes(person.ref), self._bytes(person.ref) + self._bad_bytes(), 1)
        after = b"".join(self._bytes(text + self._end()) for text in self._extra_csv(kind))
        return line + (line if kind == "again" else after)

    def _extra_csv(self, kind: str | None) -> Iterator[str]:
        delimiter = self.traits["delimiter"]
        if kind == "blank_line":
            yield ""
        elif kind == "blanks":
            yield "   "
        elif kind == "delimiters":
            yield delimiter * self.draw.choice((4, 4, 2, 6))
        elif kind == "header_again":
            yield delimiter.join(self.header.values())

    def _cell(self, text: str) -> str:
        quoting, delimiter = self.traits["quoting"], self.traits["delimiter"]
        needs = any(sign in text for sign in (delimiter, '"', "\n", "\r"))
        if needs or quoting == "all" or (quoting == "texts" and not text.isdigit()):
            return '"' + text.replace('"', '""') + '"'
        return text

    def _jsonl(self, person: Person) -> bytes:
        kind = self.wrong.get(person.number)
        values = {self.header[column]: text for column, text in person.values.items()}
        key = self.header["key"]
        if kind == "missing_key":
            del values[key]
        text = json.dumps(values, ensure_ascii=self.draw.random() < 0.3)
        text = _spoiled_json(kind, text, key)
        extra = {"blank_line": self._end(), "blanks": "  \t" + self._end()}.get(kind or "", "")
        line = self._bytes(text + self._end())
        if kind == "bad_bytes":
            line = line.replace(self._bytes(person.ref), self._bytes(person.ref) + self._bad_bytes(), 1)
        return line * (2 if kind == "again" else 1) + self._bytes(extra)


def _spoiled_json(kind: str | None, text: str, key: str) -> str:
    inside = text[1:-1]
    changed = {
        "trailing_comma": f"{{{inside},}}",
        "two_in_a_line": f"{text} {text}",
        "pretty": text.replace('", "', '",\n  "'),
        "bad_escape": text.replace('"plain"', '"\\x"').replace("{", '{"o": "\\q", ', 1),
        "half_a_pair": f'{{"o": "\\ud800", {inside}}}',
        "key_twice": f'{{"{key}": "other@example.com", {inside}}}',
        "deep": f'{{"o": {"[" * 300}{"]" * 300}, {inside}}}',
        "large_number": f'{{"o": 123456789012345678901234567890, {inside}}}',
        "not_a_number": f'{{"o": NaN, {inside}}}',
        "comment": f"// {text}",
        "apostrophes": text.replace('"', "'"),
        "null_key": f"{{{inside.replace(': ', ': null, #', 1)}}}".replace("#", '"x": ', 1),
        "no_object": f"[{json.dumps(inside)}]",
    }
    return changed.get(kind or "", text)


def _pack(data: bytes, pack: str, draw: random.Random) -> bytes:
    half = len(data) // 2 if draw.random() < 0.3 else len(data)
    parts = [data[:half], data[half:]] if half < len(data) else [data]
    if pack == ".gz":
        packed = b"".join(map(gzip.compress, parts))
        return packed + b"\0" * (512 if draw.random() < 0.1 else 0)
    if pack == ".zst":
        sized = draw.random() < 0.5
        return b"".join(zstandard.ZstdCompressor(write_content_size=sized).compress(part) for part in parts)
    if pack == ".bz2":
        return bz2.compress(data)
    return lzma.compress(data) if pack == ".xz" else data
