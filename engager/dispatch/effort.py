"""A row on its way: what its layers know of it in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from engager.dispatch.limits import Slot
from engager.dispatch.verdict import Verdict
from engager.model import EngageRequest


@dataclass(slots=True, init=False)
class Effort:
    """One request and all that happens to it until it is settled."""

    request: EngageRequest
    taken_up: float  #: loop time
    request_id: str
    due: float | None  #: loop time at which the present try was let through
    slot: Slot | None  #: what it was given by the pace, and has not used yet
    probing: bool  #: it was let through to see whether the endpoint is up again
    expired: bool  #: it was held back, as the endpoint would not know it as a repeat
    doubt: Verdict | None  #: what made the row doubtful, while it is
    over: float  #: loop time at which the last try came to its end, or at first the row was taken up
    latency: float | None  #: seconds, of the last try
    in_flight: float  #: seconds, of all tries

    def __init__(self, request: EngageRequest, taken_up: float) -> None:
        self.request, self.request_id = request, request.request_id
        self.taken_up = self.over = taken_up
        self.due = self.slot = self.latency = None
        self.doubt = None
        self.probing = self.expired = False
        self.in_flight = 0.0

    def ended(self) -> None:
        """The present try is over, whether or not it had left."""
        self.request.life.attempts += 1
        if self.due is not None:
            self.latency = self.over - self.due
            self.in_flight += self.latency
        else:
            self.latency = None

    def heed_doubt(self, verdict: Verdict) -> None:
        """Remember which verdict made the row doubtful, until it is not any more."""
        if not self.request.life.in_doubt:
            self.doubt = None
        elif self.doubt is None:
            self.doubt = verdict


Attempt = Callable[[Effort], Awaitable[Verdict]]
