"""Random faults for requests. The same seed gives the same faults."""

from __future__ import annotations

import random
from collections.abc import Mapping
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
}

#: Faults after which the client still gets the whole response.
HARMLESS = frozenset({"drip", "close", "chunked"})


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """The share of requests for each fault. Raises ValueError for an unknown fault."""

    shares: Mapping[str, float] = field(default_factory=dict)
    retry_after: str | None = None  #: of 429 and 503: seconds, or an HTTP date
    latency: tuple[float, float] = (0.0, 0.0)  #: seconds, drawn evenly from this range
    drip_pause: float = 0.01  #: seconds between two bytes of a drip

    def __post_init__(self) -> None:
        for name, share in self.shares.items():
            if name not in FAULTS:
                raise ValueError(f"unknown fault {name!r}; known are {', '.join(FAULTS)}")
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
                raise ValueError(f"fault {name}: the share must be from 0 to 1, it is {share!r}")
        if sum(self.shares.values()) > 1:
            raise ValueError("the shares of all faults add up to more than 1")


class Faults:
    """Draws the faults of a run."""

    def __init__(self, plan: FaultPlan, seed: int) -> None:
        self.plan = plan
        self._random = random.Random(seed)  # noqa: S311 - faults need repetition, not secrecy

    def draw(self) -> str | None:
        """The fault of the next request, or none."""
        point = self._random.random()
        for name, share in self.plan.shares.items():
            point -= share
            if point < 0:
                return name
        return None

    def latency(self) -> float:
        """Seconds until the next response."""
        return self._random.uniform(*self.plan.latency)
