"""Names and values in, TOML out. Whatever a name holds, it stays one key, one value, one line."""

from __future__ import annotations

import re
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def text(value: str) -> str:
    """A text in quotes, for a value or a comment: what cannot be seen, or cannot stand there, is escaped."""
    return '"' + "".join(map(_shown, value)) + '"'


def _shown(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    # What turns the order of writing around, and all else without a shape, would make a line lie.
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"


def key(name: str) -> str:
    """A key: bare where TOML allows that, else in quotes."""
    return name if _BARE.fullmatch(name) else text(name)


def value(given: Any) -> str:
    """A text, a number, a truth value, or a list of these."""
    if isinstance(given, str):
        return text(given)
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, list | tuple):
        return "[" + ", ".join(map(value, given)) + "]"
    return str(int(given)) if isinstance(given, float) and given.is_integer() else str(given)
