"""Names with placeholders: their expansion at a moment, and a glob of all their expansions.

The placeholders are `{date}`, `{time}` and `{datetime}`; `{{` and `}}` are braces. No attribute or item is
ever looked up.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Mapping
from datetime import datetime

#: The `strftime` format of each placeholder. They sort by time and are valid in every file name.
PLACEHOLDERS: Mapping[str, str] = {"date": "%Y-%m-%d", "time": "%H%M%S", "datetime": "%Y-%m-%dT%H%M%S"}

#: A regular expression of any placeholder, for the JSON Schema.
PLACEHOLDER = rf"\{{({'|'.join(PLACEHOLDERS)})\}}"

#: A regular expression of a name with placeholders, for the JSON Schema.
NAME_PATTERN = rf"^([^{{}}]|\{{\{{|\}}\}}|{PLACEHOLDER})+$"

_PARTS = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}]*)\}|(?P<stray>[{}])|[^{}]+")

_SOME_TIME = datetime(2026, 11, 24, 2, 15)


class NamingError(ValueError):
    """The name contains braces that are not a placeholder."""


def expanded(pattern: str, moment: datetime) -> str:
    """Expand a name at a moment. Raises NamingError."""
    return _replaced(pattern, moment.strftime, str)


def namesakes(pattern: str) -> str:
    """A glob of the expansions at all moments. Raises NamingError."""
    return _replaced(pattern, lambda form: re.sub(r"\d", "[0-9]", _SOME_TIME.strftime(form)), glob.escape)


def is_dated(pattern: str) -> bool:
    """Whether a name contains placeholders. Raises NamingError."""
    return any(part["name"] is not None for part in _parts(pattern))


def escaped(text: str) -> str:
    """Escape the braces of a text."""
    return re.sub(r"[{}]", r"\g<0>\g<0>", text)


def example_of(pattern: str) -> str:
    """An example of the expansion, for validation. Raises NamingError."""
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
            raise NamingError(
                f"{part[0]} is not a placeholder; the placeholders are {known}; {{{{ is a brace"
            )
    return parts
