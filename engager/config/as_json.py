"""Values in, JSON out: whatever a view may hold, it becomes a document.

What orjson refuses is written with the escapes of the standard library: names of files that are no text, and
numbers beyond 64 bits.
"""

from __future__ import annotations

import json
from typing import Any

import orjson


def as_json(value: Any, *, indented: bool = False) -> bytes:
    """The value as UTF-8; what JSON has no form for, such as a path, is written as its text."""
    option = orjson.OPT_INDENT_2 if indented else 0
    try:
        return orjson.dumps(value, default=str, option=option)
    except TypeError:
        return json.dumps(value, default=str, indent=2 if indented else None).encode()
