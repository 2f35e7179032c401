"""TOML keys and values. Any name stays one key or one value on one line."""

from __future__ import annotations

import re
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def text(value: str) -> str:
    """A quoted string for a value or a comment; invisible characters are escaped."""
    return '"' + "".join(map(_shown, value)) + '"'


def _shown(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    # Invisible characters, such as those that reverse the text direction, would make a line misleading.
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"


def key(name: str) -> str:
    """A key: bare if TOML allows it, otherwise quoted."""
    return name if _BARE.fullmatch(name) else text(name)


def value(given: Any) -> str:
    """A string, a number, a boolean, or a list or a table of these."""
    if isinstance(given, str):
        return text(given)
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, list | tuple):
        return "[" + ", ".join(map(value, given)) + "]"
    if isinstance(given, dict):
        return "{ " + ", ".join(f"{key(name)} = {value(each)}" for name, each in given.items()) + " }"
    return str(int(given)) if isinstance(given, float) and given.is_integer() else str(given)
