"""The line numbers of keys in a TOML text, for error messages."""

from __future__ import annotations

import re
from collections.abc import Mapping


def locate(text: str, key: str) -> int | None:
    """The line (from 1) of a dotted key in a TOML text, or of the nearest enclosing table."""
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        if line := _lines_of_keys(text).get(".".join(parts[:length])):
            return line
    return None


def _lines_of_keys(text: str) -> Mapping[str, int]:
    lines: dict[str, int] = {}
    table, fence = "", None
    for number, line in enumerate(text.splitlines(), 1):
        if fence is None:
            if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line):
                table = re.sub(r"[\s\"']", "", header[1])
                lines.setdefault(table, number)
            elif pair := re.match(r"\s*([\w.\-\"' ]+?)\s*=", line):
                name = re.sub(r"[\s\"']", "", pair[1])
                lines.setdefault(f"{table}.{name}" if table else name, number)
        for mark in re.findall(r'"""|\'\'\'', line):
            fence = mark if fence is None else None if fence == mark else fence
    return lines
