"""The first bytes of a file in, the encoding it is most likely written in out."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass

from engager.reader.garbage import best_russian, likeness

#: How Russian a text must read to be taken for Russian.
_LEAST_LIKENESS = 0.3

#: A file is UTF-8 with some damaged rows, and not in an older encoding, when its letters beyond ASCII
#: are whole so many times as often as not.
_MOSTLY_WHOLE = 10

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Encoding:
    """An encoding, and what there is to say of it; nothing where it is plain."""

    name: str
    remark: str = ""


def encoding_of(head: bytes) -> Encoding | None:
    """The encoding of a text that begins with these bytes; None when they are no text at all."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return Encoding(name, "" if name == "utf-8" else "told by the mark at its beginning")
    if b"\0" in head:
        return _without_mark(head)
    whole, broken = _letters(head)
    if not broken:
        return Encoding("utf-8")
    if whole > _MOSTLY_WHOLE * broken:
        return Encoding("utf-8", "some rows hold bytes that it does not have")
    return _older(head)


def _letters(head: bytes) -> tuple[int, int]:
    """Characters beyond ASCII that UTF-8 can read, and places where it cannot."""
    # The last character may be cut in two.
    decode: Callable[[bytes], str] = codecs.getincrementaldecoder("utf-8")("replace").decode
    read = decode(head)
    broken = read.count("\ufffd") - head.count("\ufffd".encode())
    return sum(character > "\x7f" for character in read) - broken, broken


def _without_mark(head: bytes) -> Encoding | None:
    """UTF-16 of mostly Latin text has a zero in every second byte; what else has zeros is no text."""
    for name, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[0::2])):
        if zeros.count(0) > len(zeros) / 2:
            return Encoding(name, "guessed: every other byte is zero")
    return None


def _older(head: bytes) -> Encoding:
    best = best_russian(head)
    if likeness(head.decode(best, "replace")) >= _LEAST_LIKENESS:
        return Encoding(best, f"guessed: it is not UTF-8, and reads as Russian in {best}")
    return Encoding("cp1252", "guessed: it is not UTF-8, and does not read as Russian")
