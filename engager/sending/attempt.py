"""The state of a request under way. Only the attempt replaces the history of its request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from engager.altcraft.classification import Verdict
from engager.models import AttemptHistory, EngageRequest
from engager.sending.limits import Slot


@dataclass(slots=True)
class Attempt:
    """One request in progress, until it is settled or deferred."""

    request: EngageRequest
    request_id: str  #: the current request id of the row
    started_at: float  #: loop time
    ended_at: float  #: loop time at which the last attempt ended, or the first began
    due: float | None = None  #: loop time at which the present attempt was admitted
    slot: Slot | None = None  #: given by the rate limiter, and not used yet
    probing: bool = False  #: it is the probe of the circuit breaker
    unanswered: bool = False  #: the endpoint has not responded yet, so the attempts of a row do not end
    expired: bool = False  #: it was withheld, as the endpoint would not recognize it as a repeat
    doubt: Verdict | None = None  #: why the row is in doubt, while it is
    latency: float | None = None  #: seconds, of the last attempt
    in_flight: float = 0.0  #: seconds, of all attempts
    is_part: bool = False  #: a part of a batch, which was sent before as a whole

    def admitted(self, now: float, boot: float) -> None:
        """Record that the attempt is admitted; `now` is loop time, `boot` is on the boot clock."""
        self.due = now
        self.request.history = self.request.history.departed(boot)

    def ended(self) -> None:
        """Record that the current attempt ended, whether or not it left."""
        self.request.history = self.request.history.ended()
        if self.due is not None:
            self.latency = self.ended_at - self.due
            self.in_flight += self.latency
        else:
            self.latency = None

    def continue_after(self, history: AttemptHistory, verdict: Verdict) -> None:
        """Record a verdict that did not settle the row: the history, and why the row is in doubt."""
        self.request.history = history
        if not history.in_doubt:
            self.doubt = None
        elif self.doubt is None:
            self.doubt = verdict


AttemptCall = Callable[[Attempt], Awaitable[Verdict]]
