"""The encodings that an input can have."""

from __future__ import annotations

import codecs

#: Encodings in which a line feed is more than one byte; they are read as UTF-8.
WIDE = ("utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be")


def carries_rows(encoding: str) -> bool:
    """Whether files in this encoding have lines that end at a line feed, and can be written again.

    Some text encodings of Python are for host names or for source text, and some have no line feed.
    """
    try:
        if codecs.lookup(encoding).name.replace("-", "_") in WIDE:
            return True
        written = "\xe9,\n".encode(encoding, errors="replace")
        return written.endswith(b",\n") and b"a,1\n".decode(encoding, errors="replace") == "a,1\n"
    except (LookupError, UnicodeError):
        return False
