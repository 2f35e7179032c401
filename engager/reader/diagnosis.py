"""Judges by the beginning of a file whether it can be read as the job declares, wherever a file is opened.

Invariant: a file of another kind never becomes rows of garbage, and a first row never becomes the header. A
header is judged strictly: a blank, capitals or a name around an address do not make it the name of a column.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NoReturn

import orjson

from engager.altcraft.parameters import PARAMETERS
from engager.config.characters import BLANKS, WITHOUT_WIDTH
from engager.config.encodings import WIDE, best_wide, canonical, mark_of, unit_of, wide_without_mark
from engager.errors import InputError
from engager.reader.sources import is_plain

#: Files of other programs, by their first bytes.
_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "it is a spreadsheet or a zip archive. Save it as CSV (UTF-8), or unpack it"),
    (b"\xd0\xcf\x11\xe0", "it is a spreadsheet. Save it as CSV (UTF-8)"),
    (b"\x1f\x8b", "it is compressed by gzip, but its name does not end in .gz. Rename it"),
    (b"\x28\xb5\x2f\xfd", "it is compressed by zstd, but its name does not end in .zst. Rename it"),
    (b"BZh", "it is compressed by bzip2. Unpack it"),
    (b"\xfd7zXZ\0", "it is compressed by xz. Unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive. Unpack it"),
    (b"Rar!\x1a", "it is a RAR archive. Unpack it"),
    (b"PAR1", "it is a Parquet file. Export it as CSV or JSONL"),
    (b"ORC", "it is an ORC file. Export it as CSV or JSONL"),
    (b"Obj\x01", "it is an Avro file. Export it as CSV or JSONL"),
    (b"SQLite format 3\0", "it is a database. Export a table of it as CSV"),
    (b"%PDF-", "it is a PDF. Export the data as CSV"),
)

#: The marks of what may be cut before its mark is complete. Others begin as a header may.
_PACKED = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz"))

NO_TEXT = "it is no text, or bytes of it are missing. Get a complete copy, or export it as CSV (UTF-8)"

#: Bytes at the beginning of a file that are judged, at most.
HEAD = 1 << 16

_PAGE = re.compile(r"<(\?xml|!doctype|html|head|body)\b", re.IGNORECASE)
_DELIMITERS = re.compile(r"[,;\t|]")
_ANGLE = re.compile(r"[^<>]*<([^<>]*)>[^<>]*")
_PHONE_SIGNS = re.compile(r"[\s().\u2010-\u2015+-]")
_UUID = re.compile(r"\{?[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\}?")


def examined(data: Iterator[bytes], source: str, encoding: str, delimiter: str | None) -> Iterator[bytes]:
    """Yields the bytes of a file after its beginning is judged; `delimiter` None means JSONL.

    Raises InputError. The judgement does not depend on how the bytes are split into blocks.
    """
    head = b""
    for block in data:
        head += block
        if len(head) >= HEAD or _says_enough(head, delimiter is None):
            break
    end = _end_of_head(head, delimiter is None)
    refuse_wrong(head[:end], source, encoding, delimiter)
    return chain([head] if head else [], data)


def _says_enough(head: bytes, jsonl: bool) -> bool:
    return _end_of_head(head, jsonl) < len(head) or (jsonl and head.endswith(b"\n") and head[:1] == b"{")


def _end_of_head(head: bytes, jsonl: bool) -> int:
    """The end of the second line that is not blank; for JSONL, of the first one."""
    begin = filled = 0
    while (end := head.find(b"\n", begin)) >= 0 and end < HEAD:
        filled += bool(head[begin:end].strip())
        begin = end + 1
        if filled == (1 if jsonl and head[:1] == b"{" else 2):
            return begin
    return min(len(head), HEAD)


def refuse_wrong(head: bytes, source: str, encoding: str, delimiter: str | None) -> None:
    """Raises InputError if the beginning of a file shows that it cannot be read as declared."""
    refuse_other_kind(head, source)
    if fault := _fault_of_units(head, encoding):
        raise InputError(f"{source}: {fault}.")
    if (named := _contradicted(head, encoding)) is not None:
        raise InputError(f'{source}: it is {named.upper()}. Set input.encoding = "{named}".')
    if canonical(encoding) not in WIDE and (fault := _fault_of_zeros(head)):
        raise InputError(f"{source}: {fault}.")
    text = head.decode(encoding, "replace").lstrip("\ufeff")
    if re.match("sep=.\r?\n", text):
        raise InputError(f'{source}: its first line, "sep=…", is for Excel only. Delete that line.')
    start = text.lstrip()
    if _PAGE.match(start):
        raise InputError(f"{source}: it is a page of HTML or XML, perhaps a sign-in page. Export it again.")
    if re.match(r"\[\s*\{", start):
        raise InputError(
            f"{source}: it is one JSON array. One object per line is needed: jq -c '.[]' FILE > FILE.jsonl"
        )
    if delimiter is not None:
        _refuse_csv(text, source, delimiter)


def refuse_other_kind(head: bytes, source: str) -> None:
    """Raises InputError for a file of another program, also for one that is cut within its mark."""
    fault = next((fault for mark, fault in _KINDS if head.startswith(mark)), None)
    if fault is not None:
        raise InputError(f"{source}: {fault}.")
    program = next((program for mark, program in _PACKED if head and mark.startswith(head)), None)
    if program is not None:
        raise InputError(
            f"{source}: all it has is {head!r}, as a file begins that {program} compressed. "
            "Get a complete copy."
        )


def _contradicted(head: bytes, encoding: str) -> str | None:
    """The encoding by the mark at the beginning, where lines in it cannot be read as the declared one."""
    if (marked := mark_of(head)) is None:
        return None
    mark, named = marked
    if canonical(encoding) not in WIDE:
        return named if canonical(named) in WIDE else None
    return None if mark.decode(encoding, "replace") in ("", "\ufeff") else named


def _fault_of_units(head: bytes, encoding: str) -> str | None:
    """What the separators prove: where the units of a wide encoding begin, and which byte is the first."""
    marked, declared = mark_of(head), canonical(encoding) if canonical(encoding) in WIDE else None
    first = declared or (marked[1] if marked else wide_without_mark(head))
    if not head or first is None or canonical(first) not in WIDE:
        return None
    if declared in ("utf_16", "utf_32") and marked is None:
        first = f"{encoding}-le"
    name, byte = best_wide(head, first)
    damaged = "a byte is missing or added at its beginning"
    if byte:
        return f"it seems to be {name[:6].upper()}, but {damaged}. Get a complete copy"
    if declared is None or marked or canonical(name) == declared:
        return None
    return f'it is not {encoding}. Set input.encoding = "{name}", or get a complete copy if {damaged}'


def fault_of_size(file: Path, encoding: str) -> str | None:
    """Why the size of a file shows that a byte is missing or added; None if it does not, or is not known."""
    unit = unit_of(encoding)
    if not is_plain(file) or file.stat().st_size % unit == 0:
        return None
    return f"its size is no multiple of {unit} bytes, as in {encoding}: a byte is missing or added"


def _fault_of_zeros(head: bytes) -> str | None:
    """What zero bytes prove: text in an encoding that is not wide has almost none."""
    if (name := wide_without_mark(head)) is not None:
        return f'it seems to be {name[:6].upper()}. Set input.encoding = "{name}"'
    return NO_TEXT if head.count(0) > len(head) / 4 else None


def _refuse_csv(text: str, source: str, delimiter: str) -> None:
    lines = [line for line in io.StringIO(text, newline="") if line.strip()]
    records = list(_records(lines, delimiter))
    if not records:
        return
    first, second = records[0], records[1] if len(records) > 1 else []
    if re.match(r'\{\s*("[^"]*"\s*:|\}\s*$)', lines[0].strip()) or any(map(is_object, lines[1:2])):
        raise InputError(f'{source}: it contains JSON objects, one per line. Set input.format = "jsonl".')
    if any(looks_like_data(part) for name in first for part in _DELIMITERS.split(name)):
        raise InputError(
            f"{source}, line 1: it seems to be a row instead of the names of columns: it has an address "
            "or a number of a person. Add a header line before it."
        )
    if _is_title(first, second):
        _refuse_title(source, second)


def is_object(line: str) -> bool:
    """Whether a line is an object of JSON."""
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def refuse_lone_title(head: bytes, source: str, encoding: str, delimiters: Sequence[str]) -> None:
    """Raises InputError where a file that seems to have one column has a title above a header of several."""
    text = head.decode(encoding, "replace").lstrip("\ufeff")
    lines = [line for line in io.StringIO(text, newline="") if line.strip()][:3]
    for delimiter in delimiters:
        records = list(_records(lines, delimiter))
        if len(records) < 2 or not _is_title(*records[:2]):
            continue
        # A delimiter within one text makes no header: there are several, or the row below agrees.
        if len(records[1]) > 2 or len(records[-1]) == len(records[1]):
            _refuse_title(source, records[1])


def _refuse_title(source: str, header: Sequence[str]) -> NoReturn:
    raise InputError(
        f"{source}, line 1: it seems to be a title above the header, which has {len(header)} columns. "
        "Delete that line."
    )


def _records(lines: Sequence[str], delimiter: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(lines, delimiter=delimiter)
    except csv.Error:
        return  # the parser of the rows reports which row it is


def _is_title(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether the first line is a single text above a line of names."""
    named = [name for name in first if name.strip()]
    below = [name for name in second if name.strip()]
    if len(named) != 1 or len(below) < 2 or len(set(below)) < len(below):
        return False
    return not any(looks_like_data(name) or name.strip().isdigit() for name in below)


def looks_like_data(text: str) -> bool:
    """Whether a cell of the header is a value of a person and not the name of a column."""
    text = "".join(character for character in text if character not in WITHOUT_WIDTH).strip(BLANKS)
    if angle := _ANGLE.fullmatch(text):
        text = angle[1].strip(BLANKS)
    text = text.removeprefix("mailto:").strip("\"'")
    if PARAMETERS["email"](text) is None or PARAMETERS["profile_id"](text) is None or _UUID.fullmatch(text):
        return True
    digits = _PHONE_SIGNS.sub("", text)
    return digits.isascii() and digits.isdigit() and len(digits) >= 5
