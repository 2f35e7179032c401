"""Blocks of bytes in, lines of text out, a batch at a time; no line grows without end.

Lines end at a line feed and nowhere else: whatever else Unicode calls a line end stays in its value.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engager.config.encodings import WIDE
from engager.errors import InputError

#: How much of a line that is too long is kept, to show it.
MAX_SHOWN = 200


@dataclass(slots=True)
class TextLine:
    """A line that is no plain text: what could be made of it, and what is wrong."""

    text: str
    error: str  #: "bad_bytes" or "too_long"


#: A line with its line end, or one that is not to be trusted.
AnyLine = str | TextLine

#: What is wrong with a record that cannot be read, for the person who mends it.
ERRORS = {
    "bad_bytes": "it holds bytes that the declared encoding does not have",
    "too_long": "it is longer than input.max_row_bytes",
    "bad_quotes": "a quote is in the wrong place, or never closed",
    "bad_json": "it is not valid JSON",
    "not_an_object": "a JSONL row must be an object",
    "too_deep": "its lists and objects are nested more than 254 levels deep",
    "repeated_key": "a key stands twice in it",
    "number_too_large": "it holds a number that would lose digits; write it as a string",
}


def text_of(line: AnyLine) -> str:
    """What can be shown of a line."""
    return line if isinstance(line, str) else line.text


def lines(
    blocks: Iterable[bytes], encoding: str, limit: int, from_start: bool = True
) -> Iterator[list[AnyLine]]:
    """Batches of lines; a batch is handed on as soon as its block is read, and may be empty.

    `limit` is in bytes of the file's own encoding; for UTF-16 and UTF-32, of its UTF-8. `from_start`: the
    first block may begin with a byte order mark.
    """
    name = codecs.lookup(encoding).name.replace("-", "_")
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
        return list(io.StringIO(_text(whole, encoding), newline="\n"))
    except UnicodeError:
        return [_decoded_line(line, encoding) for line in io.BytesIO(whole)]


def _decoded_line(line: bytes, encoding: str) -> AnyLine:
    try:
        return _text(line, encoding)
    except UnicodeError:
        text = line.decode(encoding, errors="replace")
        return TextLine(text.encode(errors="replace").decode(), "bad_bytes")


def _text(data: bytes, encoding: str) -> str:
    """Text that can be written anywhere. Raises UnicodeError."""
    text = data.decode(encoding)
    if encoding != "utf_8":
        text.encode()  # some decoders give out halves of surrogate pairs, which no writer takes
    return text


def _whole_lines(blocks: Iterable[bytes], limit: int) -> Iterator[bytes | TextLine]:
    """Blocks cut behind their last line feed; a line beyond the limit comes as its beginning only."""
    rest = bytearray()
    skipping = False
    for block in blocks:
        if skipping:
            _, queue, block = block.partition(b"\n")
            skipping = not queue
            if skipping:
                yield b""  # a step, for whoever must not be held up
                continue
        cut = block.rfind(b"\n") + 1
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


def _within(whole: bytes, limit: int) -> Iterator[bytes | TextLine]:
    """Whole lines, without those beyond the limit."""
    good = begin = 0
    while len(whole) - good > limit and begin < len(whole):
        end = whole.index(b"\n", begin) + 1
        if end - begin - 1 > limit:
            if begin > good:
                yield whole[good:begin]
            yield _too_long(whole[begin:end])
            good = end
        begin = end
    if good < len(whole):
        yield whole[good:]


def _too_long(line: bytes) -> TextLine:
    return TextLine(line[:MAX_SHOWN].decode(errors="replace"), "too_long")


def _narrowed(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """A wide encoding as UTF-8; what cannot be read becomes a byte that UTF-8 cannot have."""
    decoder = codecs.getincrementaldecoder(encoding)(errors="engager-mark")
    try:
        for block in blocks:
            yield decoder.decode(block).encode("utf-8", "surrogateescape")
        yield decoder.decode(b"", final=True).encode("utf-8", "surrogateescape")
    except UnicodeError as fault:
        text = f'the input is not {encoding}: {fault}. Mend input.encoding, perhaps with "-le" or "-be".'
        raise InputError(text) from fault


def _mark(fault: UnicodeError) -> tuple[str, int]:
    assert isinstance(fault, UnicodeDecodeError)  # noqa: S101 - registered for decoding only
    return "\udcff", fault.end


codecs.register_error("engager-mark", _mark)
