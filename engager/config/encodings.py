"""The encodings that an input can have, and the encoding that the first bytes of a file prove."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable

#: Encodings in which a line feed is more than one byte; they are read as UTF-8.
WIDE = ("utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be")

#: How errors of an encoding are handled where bad bytes are to be kept, as `surrogateescape` does.
KEEP_BYTES = "engager-bytes"
_SHIFT = 0xDC00
_KEPT = re.compile("[\udc80-\udcff\ufffd]")

#: Byte order marks; one that begins with another one stands before it.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

LONGEST_MARK = max(len(mark) for mark, _ in _MARKS)


def mark_of(head: bytes) -> tuple[bytes, str] | None:
    """The byte order mark at the beginning of a file, and its encoding."""
    return next(((mark, name) for mark, name in _MARKS if head.startswith(mark)), None)


def wide_without_mark(head: bytes) -> str | None:
    """UTF-32 and UTF-16 by their zeros; None where it is neither.

    UTF-32 has two in every four bytes, whatever the script; UTF-16 has one in every second byte of mostly
    Latin text.
    """
    for name, zeros in (("utf-32-le", head[2::4] + head[3::4]), ("utf-32-be", head[0::4] + head[1::4])):
        if zeros.count(0) > len(zeros) * 0.9:
            return name
    for name, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[0::2])):
        if zeros.count(0) > len(zeros) / 2:
            return name
    return None


#: Bytes that tell in which wide encoding a file is.
_TELLING = 1 << 12

#: What separates texts in CSV and JSONL, and the categories of what no text has: controls, and no characters.
_STRUCTURE = '\t\n\r ,;|"'
_SENSELESS = ("Cc", "Cn", "Co", "Cs")


def unit_of(encoding: str) -> int:
    """How many bytes, or a multiple of them, each character has."""
    name = canonical(encoding)
    return int(name[4:6]) // 8 if name in WIDE else 1


def best_wide(head: bytes, first: str) -> tuple[str, int]:
    """The wide encoding that makes the most sense of the beginning of a file, and from which byte on.

    Bytes that are shifted by one make letters in every wide encoding; what separates them is lost. `first` is
    the encoding that is right unless another one is clearly better.
    """
    # A head ends at the byte of a line feed, which may be half of the character.
    whole, exact = head[:_TELLING].removesuffix(b"\n"), ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
    candidates = [(first, 0), *((name, 0) for name in exact)]
    candidates += [(name, byte) for name in exact for byte in range(1, unit_of(name))]
    return max(candidates, key=lambda candidate: _sense(whole[candidate[1] :], candidate[0]))


def _sense(data: bytes, encoding: str) -> tuple[int, int]:
    text = data.decode(encoding, "ignore")
    separators = sum(map(text.count, _STRUCTURE))
    senseless = sum(unicodedata.category(character) in _SENSELESS for character in text)
    # What separates lines is of this category, too.
    controls = sum(map(text.count, "\t\n\r"))
    return separators + controls - senseless, sum(map(str.isascii, text))


def has_kept_bytes(text: str) -> bool:
    """Whether a text holds bytes that its encoding does not have, or what was put in the place of such."""
    return _KEPT.search(text) is not None


def encoder_of(encoding: str) -> Callable[[str], bytes]:
    """Encodes the parts of one file, the first of which begins with the mark that the encoding has.

    Bytes that were read as `KEEP_BYTES` reads them come out as they were, but for wide encodings, in which a
    byte is no unit. Any other character that the encoding does not have becomes a question mark.
    """
    return codecs.getincrementalencoder(encoding)(errors=KEEP_BYTES).encode


def _keep_bytes(fault: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(fault, UnicodeDecodeError):
        kept = fault.object[fault.start : fault.end]
        return "".join(chr(byte + _SHIFT if byte > 0x7F else byte) for byte in kept), fault.end
    assert isinstance(fault, UnicodeEncodeError)  # noqa: S101 - there is no third kind
    code = ord(fault.object[fault.start])
    is_byte = _SHIFT + 0x80 <= code <= _SHIFT + 0xFF and canonical(fault.encoding) not in WIDE
    return bytes([code - _SHIFT]) if is_byte else "?", fault.start + 1


codecs.register_error(KEEP_BYTES, _keep_bytes)


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
