"""A name with placeholders and a moment in, the name at that moment out; and what its namesakes look like.

`{date}`, `{time}` and `{datetime}` are all there is: they are put in here, and nothing is ever looked up.
`{{` and `}}` are braces.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Mapping
from datetime import datetime

#: Each placeholder, as `strftime` writes it. They sort by time, and no file system minds them.
PLACEHOLDERS: Mapping[str, str] = {"date": "%Y-%m-%d", "time": "%H%M%S", "datetime": "%Y-%m-%dT%H%M%S"}

#: Any of them, for the pattern of a schema.
PLACEHOLDER = rf"\{{({'|'.join(PLACEHOLDERS)})\}}"

_PARTS = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}]*)\}|(?P<stray>[{}])|[^{}]+")

_SOME_TIME = datetime(2026, 11, 24, 2, 15)


class NamingError(ValueError):
    """The name holds something in braces that is no placeholder."""


def expanded(pattern: str, moment: datetime) -> str:
    """The name at a moment. Raises NamingError."""
    return _replaced(pattern, moment.strftime, str)


def namesakes(pattern: str) -> str:
    """A glob of what the name is at any moment. Raises NamingError."""
    return _replaced(pattern, lambda form: re.sub(r"\d", "[0-9]", _SOME_TIME.strftime(form)), glob.escape)


def is_dated(pattern: str) -> bool:
    """Whether the name depends on the moment. Raises NamingError."""
    return any(part["name"] is not None for part in _parts(pattern))


def escaped(text: str) -> str:
    """The pattern that is this text at every moment."""
    return re.sub(r"[{}]", r"\g<0>\g<0>", text)


def example_of(pattern: str) -> str:
    """The name at some moment, to judge it by. Raises NamingError."""
    return expanded(pattern, _SOME_TIME)


def _replaced(pattern: str, shown: Callable[[str], str], plain: Callable[[str], str]) -> str:
    return "".join(
        plain(part[0].replace("{{", "{").replace("}}", "}"))
        if part["name"] is None
        else shown(PLACEHOLDERS[part["name"]])
        for part in _parts(pattern)
    )


def _parts(pattern: str) -> list[re.Match[str]]:
    parts = list(_PARTS.finditer(pattern))
    for part in parts:
        if part["stray"] or (part["name"] is not None and part["name"] not in PLACEHOLDERS):
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise NamingError(f"{part[0]} is no placeholder; known are {known}, and {{{{ for a brace")
    return parts
