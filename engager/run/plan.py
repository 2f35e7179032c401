"""All settings and policies by which a run sends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engager.policies.adaptive import Adaptive
from engager.policies.circuit_breaker import Breaker
from engager.policies.delivery import Delivery
from engager.policies.failure_threshold import Threshold
from engager.policies.rate import Pace
from engager.policies.retry import Retry
from engager.policies.slow_start import SlowStart


@dataclass(frozen=True, slots=True, kw_only=True)
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
    split: bool = True  #: a batch that is refused as a whole is halved
    is_task: bool = False  #: the endpoint responds to a batch before it imports it
    last_row: int | None = None  #: rows after it are not sent by this process
    clean_text: Callable[[str], str] = str  #: cleans a text of others before it is stored and shown
