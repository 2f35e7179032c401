"""Detection of the encoding of a file from its first bytes."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass

from charset_normalizer import from_bytes

from engager.config.encodings import mark_of, wide_without_mark

#: The encodings that are considered if a file is not Unicode: of Russian text first, then of European text.
_OLDER = ("cp1251", "koi8_r", "cp866", "mac_cyrillic", "iso8859_5", "cp1252", "cp1250")

#: A file counts as UTF-8 with some damaged rows if it has this many valid characters beyond ASCII per
#: invalid one.
_MOSTLY_WHOLE = 10


@dataclass(frozen=True, slots=True)
class Encoding:
    """An encoding, with a remark if it is not certain."""

    name: str
    remark: str = ""


def encoding_of(head: bytes) -> Encoding | None:
    """The encoding of a text that begins with these bytes; None if they are not text."""
    if (marked := mark_of(head)) is not None:
        name = marked[1]
        return Encoding(name, "" if name == "utf-8" else "by the byte order mark at its beginning")
    if b"\0" in head:
        wide = wide_without_mark(head)  # other data with zeros is not text
        return None if wide is None else Encoding(wide, "guessed by the zeros in it")
    whole, broken = _letters(head)
    if not broken:
        return Encoding("utf-8")
    if whole > _MOSTLY_WHOLE * broken:
        return Encoding("utf-8", "some rows contain bytes that are not valid in it")
    return _older(head)


def _letters(head: bytes) -> tuple[int, int]:
    """The numbers of valid characters beyond ASCII and of invalid places in UTF-8."""
    # The last character may be cut in two.
    decode: Callable[[bytes], str] = codecs.getincrementaldecoder("utf-8")("replace").decode
    read = decode(head)
    broken = read.count("\ufffd") - head.count("\ufffd".encode())
    return sum(character > "\x7f" for character in read) - broken, broken


def _older(head: bytes) -> Encoding:
    found = from_bytes(head, cp_isolation=list(_OLDER)).best()
    name = "cp1252" if found is None else found.encoding.replace("_", "-")
    return Encoding(name, f"guessed: the file is not UTF-8, and reads as text in {name}")
