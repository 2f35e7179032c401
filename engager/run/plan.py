"""How a run sends, in one piece."""

from __future__ import annotations

from dataclasses import dataclass

from engager.policies.adaptation import Adaptive
from engager.policies.policy import Delivery, Pace, Retry
from engager.policies.rules import Breaker, SlowStart, Threshold


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run sends."""

    concurrency: int
    pace: Pace | None
    retry: Retry
    delivery: Delivery
    adaptive: Adaptive
    breaker: Breaker | None = None
    slow_start: SlowStart | None = None
    threshold: Threshold | None = None
    last_row: int | None = None  #: rows behind it are left for another time
