"""A row on its way: what its layers know of it in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from engager.altcraft.classification import Verdict
from engager.models import EngageRequest
from engager.sending.limits import Slot


@dataclass(slots=True)
class Attempt:
    """One request and all that happens to it until it is settled."""

    request: EngageRequest
    started_at: float  #: loop time
    request_id: str = field(init=False)
    due: float | None = None  #: loop time at which the present try was let through
    slot: Slot | None = None  #: what it was given by the pace, and has not used yet
    probing: bool = False  #: it was let through to see whether the endpoint is up again
    unheard: bool = False  #: the endpoint was not heard yet: no row is given up for that
    expired: bool = False  #: it was held back, as the endpoint would not know it as a repeat
    doubt: Verdict | None = None  #: what made the row doubtful, while it is
    ended_at: float = field(init=False)  #: loop time at which the last try ended, or the row was taken up
    latency: float | None = None  #: seconds, of the last try
    in_flight: float = 0.0  #: seconds, of all tries

    def __post_init__(self) -> None:
        self.request_id = self.request.request_id
        self.ended_at = self.started_at

    def ended(self) -> None:
        """The present try is over, whether or not it had left."""
        self.request.history.attempts += 1
        if self.due is not None:
            self.latency = self.ended_at - self.due
            self.in_flight += self.latency
        else:
            self.latency = None

    def note_doubt(self, verdict: Verdict) -> None:
        """Remember which verdict made the row doubtful, until it is not any more."""
        if not self.request.history.in_doubt:
            self.doubt = None
        elif self.doubt is None:
            self.doubt = verdict


AttemptCall = Callable[[Attempt], Awaitable[Verdict]]
