"""Whether a text was read in another encoding than it was written in: told, never guessed away.

Of Russian text each encoding makes letters of the others, so that no byte is wrong and every name is.
"""

from __future__ import annotations

import codecs
import re

#: The letters that make up half of any Russian text, and signs that stand in it.
_FREQUENT = frozenset("оеаинтсрвлОЕАИНТСРВЛ")
_LETTERS = frozenset("абвгдежзийклмнопрстуфхцчшщъыьэюяАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯёЁ")
_SIGNS = frozenset("«»„“”‘’—–№…\u00a0€°·•")

RUSSIAN = ("cp1251", "koi8-r", "cp866", "mac-cyrillic", "iso8859-5")

#: By how much another encoding must read better: the less text, the more.
_CLEARLY, _OF_LITTLE = 0.1, 2.0

#: And how well it must read at least.
_LEAST = 0.3

#: Characters beyond ASCII below which nothing can be said.
_FEW = 6

#: What no Russian word has: a capital within, or a Latin letter beside its own.
_MIXED = re.compile(r"[а-яё](?=[А-ЯЁ])|[A-Za-z](?=[^\x00-\x7f])|[^\x00-\x7f](?=[A-Za-z])")
_LOST = re.compile(r"\?{3,}")


def likeness(text: str) -> float:
    """How Russian the letters beyond ASCII are: about 0.6 in any text, far less where it is none."""
    beyond = [character for character in text if character > "\x7f"]
    if not beyond:
        return 0.0
    good = sum(character in _FREQUENT for character in beyond)
    odd = sum(character not in _LETTERS and character not in _SIGNS for character in beyond)
    return (good - odd - len(_MIXED.findall(text))) / len(beyond)


def _margin(text: str) -> float:
    return _CLEARLY + _OF_LITTLE / sum(character > "\x7f" for character in text)


def best_russian(data: bytes) -> str:
    """The Russian encoding in which bytes read best."""
    return max(RUSSIAN, key=lambda name: likeness(data.decode(name, "replace")))


def garbled(data: bytes, encoding: str) -> str | None:
    """What is odd about bytes that are read in an encoding; None where nothing is."""
    name = codecs.lookup(encoding).name
    text = data.decode(encoding, "replace")
    if sum(character > "\x7f" for character in text) < _FEW:
        return "names seem to be lost: ??? stands in it" if len(_LOST.findall(text)) > _FEW else None
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
    """Whether UTF-8 was read as something else by whoever wrote the file."""
    words = re.findall(r"[^\x00-\x7f]{4,}", text)
    for name in ("cp1251", "cp1252", "latin-1"):
        if words and sum(_was(word, name) for word in words) > len(words) / 2:
            return f"its texts are garbage: whoever wrote it took UTF-8 for {name}. Export it again"
    return None


def _was(word: str, name: str) -> bool:
    try:
        return len(word.encode(name).decode("utf-8")) < len(word)
    except UnicodeError:
        return False
