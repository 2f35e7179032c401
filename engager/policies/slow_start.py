"""The slow start: how few requests are in flight until the endpoint has accepted a row. Pure, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class SlowStart:
    """How a start begins before the endpoint has responded, and when it stops because no row is accepted.

    One request is in flight until a response is in the endpoint's own form, and at most `all_rejected` until
    a row is accepted.
    """

    #: Responses in another form, and timeouts, that stop the run before the endpoint responds.
    foreign: int = 5
    unsent: int = 10  #: the same for requests that could not be sent, which have no effect
    all_rejected: int = 100  #: first responses with one and the same error that stop the run; 0: never
    pause: float = 0.5  #: seconds until the next request after one without a response; doubled each time
    longest_pause: float = 1.0  #: seconds


@dataclass(slots=True)
class FirstResponses:
    """The state of a slow start: what the responses so far have shown."""

    policy: SlowStart
    responded: bool = False  #: a response was in the endpoint's own form
    over: bool = False  #: the slow start is over
    _foreign: int = 0
    _unsent: int = 0
    _rejected: int = 0
    _error: int | str | None = None

    @property
    def limit(self) -> float:
        """Requests that may be in flight."""
        if not self.responded:
            return 1
        return (not self.over and self.policy.all_rejected) or inf

    @property
    def pause(self) -> float:
        """Seconds until the next request may leave."""
        unanswered = self._foreign + self._unsent
        if self.responded or not unanswered:
            return 0.0
        return min(self.policy.longest_pause, self.policy.pause * 2.0 ** (unanswered - 1))

    def record_no_response(self, sent: bool) -> bool:
        """A request had no response of the endpoint; returns whether no endpoint is to be expected there."""
        if self.responded:
            return False
        self._foreign += sent
        self._unsent += not sent
        return self._foreign >= self.policy.foreign or self._unsent >= self.policy.unsent

    def record_accepted(self) -> None:
        """The endpoint accepted a row: the job is right."""
        self.responded = self.over = True

    def record_rejected(self, error: int | str | None) -> bool:
        """The endpoint rejected a row; returns whether it rejects all rows with one and the same error."""
        self.responded = True
        if not self.policy.all_rejected or (self._rejected and self._error != error):
            self.over = True
        if self.over:
            return False
        self._error = error
        self._rejected += 1
        return self._rejected >= self.policy.all_rejected
