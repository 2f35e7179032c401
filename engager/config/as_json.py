"""JSON of any value that a view can contain.

The standard library writes what orjson refuses: lone surrogates in the names of files, and integers beyond 64
bits.
"""

from __future__ import annotations

import json
from typing import Any

import orjson


def as_json(value: Any, *, indented: bool = False) -> bytes:
    """The value as UTF-8; a type that JSON lacks, such as a path, is written as text."""
    option = orjson.OPT_INDENT_2 if indented else 0
    try:
        return orjson.dumps(value, default=str, option=option)
    except TypeError:
        return json.dumps(value, default=str, indent=2 if indented else None).encode()
