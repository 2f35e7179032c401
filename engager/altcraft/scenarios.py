"""Reads the scenarios of a response of `workflows/list`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from engager.models import Ending, Reply

#: Scenarios of one listing. Each is listed with all its nodes, and a response that is longer than a transport
#: reads cannot be used.
PAGE = 100


@dataclass(frozen=True, slots=True)
class Scenario:
    """An automation scenario of a listing."""

    id: int
    name: str
    active: bool | None  #: None: the listing does not have it


def read_listing(ending: Ending) -> Sequence[Scenario] | None:
    """The scenarios of a response of `workflows/list`; None if its form is unknown."""
    try:
        data = orjson.loads(ending.body)["data"] if isinstance(ending, Reply) else None
        return [_scenario(item) for item in data] if isinstance(data, list) else None
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):  # not as documented
        return None


def _scenario(item: Mapping[str, Any]) -> Scenario:
    # Documented is `is_active`; `active` is read, too.
    name, active = item.get("name"), item.get("is_active", item.get("active"))
    number = int(item["id"])
    if not 0 <= number < 1 << 63:  # not a number that a request in JSON can contain
        raise ValueError
    return Scenario(
        number, name if isinstance(name, str) else "", active if isinstance(active, bool) else None
    )
