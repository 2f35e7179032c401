"""Detects text that is read in another encoding than it was written in. It is reported, never corrected.

Each encoding of Russian text gives letters in every other one, so no byte is invalid and every name is wrong.
"""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Callable, Iterator

from engager.config.encodings import WIDE, canonical

#: The letters that are half of any Russian text, and the signs that appear in it.
_FREQUENT = frozenset("оеаинтсрвлОЕАИНТСРВЛ")
_LETTERS = frozenset("абвгдежзийклмнопрстуфхцчшщъыьэюяАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯёЁ")
_SIGNS = frozenset("«»„“”‘’—–№…\u00a0€°·•")

RUSSIAN = ("cp1251", "koi8-r", "cp866", "mac-cyrillic", "iso8859-5")

#: By how much the likeness in another encoding must be higher: the shorter the text, the more.
_CLEARLY, _OF_LITTLE = 0.1, 2.0

#: The least likeness in the other encoding.
_LEAST = 0.3

#: A text with fewer characters beyond ASCII is not judged.
_FEW = 6

#: No Russian word has a capital within it, or a Latin letter beside its own.
_MIXED = re.compile(r"[а-яё](?=[А-ЯЁ])|[A-Za-z](?=[^\x00-\x7f])|[^\x00-\x7f](?=[A-Za-z])")
_LOST = re.compile(r"\?{3,}")
_LOST_BYTES = b"???"

#: Bytes of a sample while a file is read, which takes some milliseconds, and how many of them say enough.
_SAMPLE, _ENOUGH = 1 << 11, 1 << 8


class GarbageWatch:
    """Looks at samples of a file while it is read: at its first block, and twice as far each time after that.

    Blocks of plain ASCII cost nothing but the look whether they are; there is one warning a file.
    """

    def __init__(self, source: str, encoding: str, warn: Callable[[str], object]) -> None:
        self._source, self._encoding, self._warn = source, encoding, warn
        self._blocks, self._next, self._position = 0, 1, 0

    def watched(self, data: Iterator[bytes]) -> Iterator[bytes]:
        """The bytes, each block looked at before it is handed on."""
        if canonical(self._encoding) in WIDE:  # in which any letter may have bytes of ASCII
            self._next = sys.maxsize
        for block in data:
            self._blocks += 1
            if self._blocks >= self._next and (not block.isascii() or _LOST_BYTES in block):
                self._look(block)
            self._position += len(block)
            yield block

    def _look(self, block: bytes) -> None:
        sample = _telling_lines(block)
        if fault := garbled(sample, self._encoding):
            where = f" (at byte {self._position:,} or after)" if self._position else ""
            self._warn(f"{self._source}: {fault}{where}")
            self._next = sys.maxsize
        elif len(sample) >= _ENOUGH:
            self._next = 2 * self._blocks


def _telling_lines(block: bytes) -> bytes:
    """Lines of a block that have more than ASCII, or lost letters: whole ones, as far as there are."""
    lines = block.split(b"\n")
    lines = lines[1:-1] if len(lines) > 2 else lines
    found, size = [], 0
    for line in lines:
        if not line.isascii() or _LOST_BYTES in line:
            found.append(line[:_SAMPLE])
            size += len(line)
            if size >= _SAMPLE:
                break
    return b"\n".join(found)


def likeness(text: str) -> float:
    """How Russian the letters beyond ASCII are: about 0.6 in Russian text, far less in any other."""
    beyond = [character for character in text if character > "\x7f"]
    if not beyond:
        return 0.0
    good = sum(character in _FREQUENT for character in beyond)
    odd = sum(character not in _LETTERS and character not in _SIGNS for character in beyond)
    return (good - odd - len(_MIXED.findall(text))) / len(beyond)


def _margin(text: str) -> float:
    return _CLEARLY + _OF_LITTLE / sum(character > "\x7f" for character in text)


def best_russian(data: bytes) -> str:
    """The Russian encoding with the highest likeness."""
    return max(RUSSIAN, key=lambda name: likeness(data.decode(name, "replace")))


def garbled(data: bytes, encoding: str) -> str | None:
    """Why bytes seem to be read in a wrong encoding; None if they do not."""
    name = codecs.lookup(encoding).name
    text = data.decode(encoding, "replace")
    if sum(character > "\x7f" for character in text) < _FEW:
        return "names seem to be lost: it contains ???" if len(_LOST.findall(text)) > _FEW else None
    if text.count("\ufffd") > text.count("\n") + 1:
        return f"much of it is not {encoding}"
    if name != "utf-8":
        return _other_than(data, encoding, text)
    return _garbled_before(text)


def _other_than(data: bytes, encoding: str, text: str) -> str | None:
    try:
        if len(data.decode("utf-8", "strict")) < len(data):
            return f'it reads as garbage in {encoding}, and is valid UTF-8. Set input.encoding = "utf-8"'
    except UnicodeDecodeError as fault:
        if fault.start >= len(data) - 3 and any(byte > 0x7F for byte in data[: fault.start]):
            return f'it reads as garbage in {encoding}, and is valid UTF-8. Set input.encoding = "utf-8"'
    best = best_russian(data)
    better = likeness(data.decode(best, "replace"))
    if codecs.lookup(best).name != codecs.lookup(encoding).name and better > max(
        _LEAST, likeness(text) + _margin(text)
    ):
        return f'it reads as garbage in {encoding}, and as Russian in {best}. Set input.encoding = "{best}"'
    return None


def _garbled_before(text: str) -> str | None:
    """Whether the program that wrote the file read UTF-8 in another encoding."""
    words = re.findall(r"[^\x00-\x7f]{4,}", text)
    for name in ("cp1251", "cp1252", "latin-1"):
        if words and sum(_was(word, name) for word in words) > len(words) / 2:
            return f"its texts are garbage: the program that wrote it read UTF-8 as {name}. Export it again"
    return None


def _was(word: str, name: str) -> bool:
    try:
        return len(word.encode(name).decode("utf-8")) < len(word)
    except UnicodeError:
        return False
