"""Random faults for requests. The same seed gives the same faults."""

from __future__ import annotations

import random
from collections.abc import Container, Mapping
from dataclasses import dataclass, field

#: Each fault, and whether the request has been processed when it happens.
FAULTS: Mapping[str, bool] = {
    "429": False,
    "503": False,
    "500": False,
    "500_after": True,
    "reset_before": False,
    "reset_after": True,
    "silence_before": False,
    "silence_after": True,
    "drip": True,
    "garbage": True,
    "truncated": True,
    "oversized": True,
    "bad_bytes": True,
    "empty": True,
    "close": True,
    "chunked": True,
    "short_result": True,
    "long_result": True,
    "413": False,
    "reset_mid_body": False,
}

#: Faults of single items of a batch, and the share of these items that is processed nevertheless.
ITEM_FAULTS: Mapping[str, float] = {"item_400": 0, "item_429": 0, "item_503": 0, "item_500": 0.5}

#: Faults after which the client still gets the whole response.
HARMLESS = frozenset({"drip", "close", "chunked"})


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """The share of requests, or of items, for each fault. Raises ValueError for an unknown fault."""

    shares: Mapping[str, float] = field(default_factory=dict)
    retry_after: str | None = None  #: of 429 and 503: seconds, or an HTTP date
    latency: tuple[float, float] = (0.0, 0.0)  #: seconds, drawn evenly from this range
    drip_pause: float = 0.01  #: seconds between two bytes of a drip

    def __post_init__(self) -> None:
        for name, share in self.shares.items():
            if name not in FAULTS and name not in ITEM_FAULTS:
                known = ", ".join((*FAULTS, *ITEM_FAULTS))
                raise ValueError(f"unknown fault {name!r}; known are {known}")
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
                raise ValueError(f"fault {name}: the share must be from 0 to 1, it is {share!r}")
        for names, of in ((FAULTS, "requests"), (ITEM_FAULTS, "items")):
            if sum(share for name, share in self.shares.items() if name in names) > 1:
                raise ValueError(f"the shares of all faults of {of} add up to more than 1")


class Faults:
    """Draws the faults of a run."""

    def __init__(self, plan: FaultPlan, seed: int) -> None:
        self.plan = plan
        self._random = random.Random(seed)  # noqa: S311 - faults need repetition, not secrecy

    def draw(self) -> str | None:
        """The fault of the next request, or none."""
        return _drawn(self.plan, FAULTS, self._random)

    def latency(self) -> float:
        """Seconds until the next response."""
        return self._random.uniform(*self.plan.latency)


@dataclass(frozen=True, slots=True)
class ItemFault:
    """The fault of one item of a batch."""

    error: int
    processed: bool


class ItemFaults:
    """Draws the faults of items, apart from those of requests: one does not change the other."""

    def __init__(self, plan: FaultPlan, seed: int) -> None:
        self._plan = plan
        self._random = random.Random(f"items {seed}")  # noqa: S311 - as above

    def draw(self) -> ItemFault | None:
        """The fault of the next item, or none."""
        name = _drawn(self._plan, ITEM_FAULTS, self._random)
        if name is None:
            return None
        return ItemFault(int(name.removeprefix("item_")), self._random.random() < ITEM_FAULTS[name])


def _drawn(plan: FaultPlan, names: Container[str], source: random.Random) -> str | None:
    point = source.random()
    for name, share in plan.shares.items():
        if name in names:
            point -= share
            if point < 0:
                return name
    return None
