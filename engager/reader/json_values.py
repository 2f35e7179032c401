"""Parses JSON without loss: no number loses digits, and no key of an object appears twice.

The parser `orjson` rounds long numbers and silently drops the first of two values of a key.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import orjson

#: A number that may not fit.
_LONG_NUMBER = re.compile(r"[0-9][0-9.]{15,}[0-9]|[0-9][eE][+-]?[0-9]{3}")


class LosesDigitsError(ValueError):
    """A number would lose digits."""


class RepeatedKeyError(ValueError):
    """A key appears twice in one object."""


def as_json(text: str) -> Any:
    """The value of a text. Raises JSONDecodeError, LosesDigitsError or RepeatedKeyError."""
    value = orjson.loads(text)
    refuse_ambiguous(text, value)
    return value


def refuse_ambiguous(text: str, value: Any) -> None:
    """Raises LosesDigitsError or RepeatedKeyError if the value has less than its text."""
    # Two searches, far cheaper than parsing again, are enough for most rows.
    if _LONG_NUMBER.search(text) or text.count('":') != _keys(value) or " :" in text or "\t:" in text:
        json.loads(text, parse_float=_exact, parse_int=_exact_integer, object_pairs_hook=_unique)


def _keys(value: Any) -> int:
    """The number of keys of all objects in a value."""
    if isinstance(value, dict):
        return len(value) + sum([_keys(each) for each in value.values() if isinstance(each, dict | list)])
    return sum(map(_keys, value)) if isinstance(value, list) else 0


def _exact(text: str) -> float:
    number = float(text)
    if number - number != 0 or Decimal(text) != Decimal(repr(number)):
        raise LosesDigitsError(text)
    return number


def _exact_integer(text: str) -> int:
    number = int(text) if len(text) < 25 else 1 << 64
    if not -(2**63) <= number < 2**64:
        raise LosesDigitsError(text)
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise RepeatedKeyError(next(name for name in names if names.count(name) > 1))
    return found
