"""The scenarios of a listing (`workflows/list`), as far as its answer tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from engager.models import Ending, Reply

#: Scenarios that one listing is asked for. Each comes with all its nodes, and an answer that is longer
#: than a transport reads says nothing.
PAGE = 100


@dataclass(frozen=True, slots=True)
class Scenario:
    """An automation scenario, as far as a listing tells."""

    id: int
    name: str
    active: bool | None  #: None: the listing does not tell


def read_listing(ending: Ending) -> Sequence[Scenario] | None:
    """The scenarios of an answer to workflows/list; None for a form that is not known."""
    try:
        data = orjson.loads(ending.body)["data"] if isinstance(ending, Reply) else None
        return [_scenario(item) for item in data] if isinstance(data, list) else None
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):  # it is not as documented
        return None


def _scenario(item: Mapping[str, Any]) -> Scenario:
    # Documented is `is_active`; a platform that says `active` is understood, too.
    name, active = item.get("name"), item.get("is_active", item.get("active"))
    number = int(item["id"])
    if not 0 <= number < 1 << 63:  # no number of JSON, with which one could ask for it again
        raise ValueError
    return Scenario(
        number, name if isinstance(name, str) else "", active if isinstance(active, bool) else None
    )
