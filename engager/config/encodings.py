"""The encodings that an input can have, and the encoding that the first bytes of a file prove."""

from __future__ import annotations

import codecs

#: Encodings in which a line feed is more than one byte; they are read as UTF-8.
WIDE = ("utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be")

#: Byte order marks; one that begins with another one stands before it.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def mark_of(head: bytes) -> tuple[bytes, str] | None:
    """The byte order mark at the beginning of a file, and its encoding."""
    return next(((mark, name) for mark, name in _MARKS if head.startswith(mark)), None)


def wide_without_mark(head: bytes) -> str | None:
    """UTF-16 by its zeros: mostly Latin text has one in every second byte. None where it is not."""
    for name, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[0::2])):
        if zeros.count(0) > len(zeros) / 2:
            return name
    return None


def canonical(encoding: str) -> str:
    """The one name of an encoding, as in `WIDE`. Raises LookupError."""
    return codecs.lookup(encoding).name.replace("-", "_")


def carries_rows(encoding: str) -> bool:
    """Whether files in this encoding have lines that end at a line feed, and can be written again.

    Some text encodings of Python are for host names or for source text, and some have no line feed.
    """
    try:
        if canonical(encoding) in WIDE:
            return True
        written = "\xe9,\n".encode(encoding, errors="replace")
        return written.endswith(b",\n") and b"a,1\n".decode(encoding, errors="replace") == "a,1\n"
    except (LookupError, UnicodeError):
        return False
