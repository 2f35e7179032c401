"""Splits blocks of bytes into lines of text. Invariant: memory is bounded, however long a line is.

A line ends at a line feed, a carriage return, or both. Other line ends of Unicode are part of the value.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from engager.config.encodings import WIDE, canonical
from engager.errors import InputError

#: Bytes of a line that is too long that are reported.
MAX_SHOWN = 200


#: Characters of an unreadable record that are reported, and the mark of a cut.
RAW = 1 << 16
CUT = " … (cut off here)"

_END = re.compile(rb"\r\n|\n|\r")
_ENDED = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")


@dataclass(slots=True)
class TextLine:
    """A line that could not be decoded whole: its text as far as possible, and its error."""

    text: str
    error: str  #: "bad_bytes" or "too_long"


#: A line with its line end, or one that could not be decoded whole.
AnyLine = str | TextLine

#: The error of an unreadable record, for the person who corrects it.
ERRORS = {
    "bad_bytes": "it contains bytes that are invalid in input.encoding",
    "too_long": "it is longer than input.max_row_bytes",
    "bad_quotes": "a quote is in the wrong place, or is not closed within input.max_row_bytes",
    "swallowed_rows": "a quote opens here, and a line up to the next quote is a row of its own; "
    "if it is one text, set input.multiline = true",
    "bad_json": "it is not valid JSON",
    "not_an_object": "a JSONL row must be an object",
    "too_deep": "its lists and objects are nested more than 254 levels deep",
    "repeated_key": "a key appears twice in it",
    "number_too_large": "it contains a number that would lose digits; write it as a string",
}


def text_of(line: AnyLine) -> str:
    """The text of a line, as far as it could be decoded."""
    return line if isinstance(line, str) else line.text


def lines(
    blocks: Iterable[bytes], encoding: str, limit: int, from_start: bool = True
) -> Iterator[list[AnyLine]]:
    """Yields batches of lines, one per block as soon as it is read; a batch may be empty.

    `limit` is in bytes of the file's own encoding; for UTF-16 and UTF-32, of its UTF-8. `from_start`: the
    first block may begin with a byte order mark.
    """
    name = canonical(encoding)
    if name in WIDE:
        blocks, name = _narrowed(blocks, name), "utf_8"
    if name in ("utf_8", "utf_8_sig"):
        blocks, name = _without_mark(blocks) if from_start else blocks, "utf_8"
    for whole in _whole_lines(blocks, limit):
        yield [whole] if isinstance(whole, TextLine) else _decoded(whole, name)


def _without_mark(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The blocks without a byte order mark at their beginning, however the blocks are cut."""
    rest, head = iter(blocks), b""
    for block in rest:
        head += block
        if len(head) >= len(codecs.BOM_UTF8):
            break
    yield head.removeprefix(codecs.BOM_UTF8)
    yield from rest


def _decoded(whole: bytes, encoding: str) -> list[AnyLine]:
    """Decode many lines at once; only where that fails, one by one."""
    try:
        text = _text(whole, encoding)
    except UnicodeError:
        return [_decoded_line(line, encoding) for line in _ENDED.findall(whole)]
    # Lines that end at a carriage return alone are rare, and the search for them takes longer.
    returns = "\r" in text and text.count("\r") != text.count("\r\n")
    return list(io.StringIO(text, newline="" if returns else "\n"))


def _decoded_line(line: bytes, encoding: str) -> AnyLine:
    try:
        return _text(line, encoding)
    except UnicodeError:
        return TextLine(_with_bytes(line, encoding), "bad_bytes")


def _with_bytes(line: bytes, encoding: str) -> str:
    """The text with its invalid bytes preserved, if the encoding can restore them."""
    with suppress(UnicodeError):
        text = line.decode(encoding, "surrogateescape")
        text.encode("utf-8", "surrogateescape")  # some decoders return other halves of surrogate pairs
        if text.encode(encoding, "surrogateescape") == line:
            return text
    return line.decode(encoding, errors="replace").encode(errors="replace").decode()


def _text(data: bytes, encoding: str) -> str:
    """Decode to text that every encoder can write. Raises UnicodeError."""
    text = data.decode(encoding)
    if encoding != "utf_8":
        text.encode()  # some decoders return halves of surrogate pairs, which no encoder can write
    return text


def _whole_lines(blocks: Iterable[bytes], limit: int) -> Iterator[bytes | TextLine]:
    """Blocks that end with a line end; of a line beyond the limit, only the beginning."""
    rest = bytearray()
    skipping = False
    for block in _with_whole_ends(blocks):
        if skipping:
            end = _END.search(block)
            skipping = end is None
            if end is None:
                yield b""  # a step, so that the reader is not blocked for long
                continue
            block = block[end.end() :]
        cut = max(block.rfind(b"\n"), block.rfind(b"\r")) + 1
        if cut:
            yield from _within(bytes(rest) + block[:cut], limit)
            rest.clear()
        rest += block[cut:]
        if len(rest) > limit:
            yield _too_long(bytes(rest[:MAX_SHOWN]))
            rest.clear()
            skipping = True
    if rest:
        yield bytes(rest)


def _with_whole_ends(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The blocks, none of which ends between a carriage return and its line feed."""
    held = b""
    for block in blocks:
        if held:
            block, held = held + block, b""
        if block.endswith(b"\r"):
            block, held = block[:-1], b"\r"
        yield block
    if held:
        yield held


def _within(whole: bytes, limit: int) -> Iterator[bytes | TextLine]:
    """Whole lines; those beyond the limit are replaced by their beginning."""
    good = begin = 0
    while len(whole) - good > limit and begin < len(whole):
        found = _END.search(whole, begin)
        end, ends = (found.end(), found.start()) if found else (len(whole), len(whole))
        if ends - begin > limit:
            if begin > good:
                yield whole[good:begin]
            yield _too_long(whole[begin:end])
            good = end
        begin = end
    if good < len(whole):
        yield whole[good:]


def _too_long(line: bytes) -> TextLine:
    return TextLine(line[:MAX_SHOWN].decode(errors="replace") + CUT, "too_long")


def shown(text: str) -> str:
    """The text of an unreadable record, whole or with the mark of a cut."""
    text = text.rstrip("\r\n")
    return text if len(text) <= RAW else text[:RAW] + CUT


def _narrowed(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """A wide encoding as UTF-8; an invalid unit becomes a byte that is invalid in UTF-8."""
    decoder = codecs.getincrementaldecoder(encoding)(errors="engager-mark")
    try:
        for block in blocks:
            yield decoder.decode(block).encode("utf-8", "surrogateescape")
        yield decoder.decode(b"", final=True).encode("utf-8", "surrogateescape")
    except UnicodeError as fault:
        text = f'the input is not {encoding}: {fault}. Correct input.encoding, perhaps with "-le" or "-be".'
        raise InputError(text) from fault


def _mark(fault: UnicodeError) -> tuple[str, int]:
    assert isinstance(fault, UnicodeDecodeError)  # noqa: S101 - registered for decoding only
    return "\udcff", fault.end


codecs.register_error("engager-mark", _mark)
