"""The rules that stop a run or make it wait, as pure values: too many failures, a deadline, hours, an outage.

Moments are seconds since the epoch. No clock is read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class SlowStart:
    """How a start begins with an endpoint that was not heard yet, and ends with one that takes nobody.

    One request is in flight until the endpoint was heard in its own form, and at most `all_rejected` until it
    took somebody.
    """

    strangers: int = (
        5  #: answers in another form, and silences, that stop the run before the endpoint was heard
    )
    absences: int = 10  #: the same for requests that could not be sent, which harm nobody
    all_rejected: int = 100  #: first answers that are one and the same error and stop the run; 0: they do not
    pause: float = 0.5  #: seconds until the next request when the first was not answered; doubled each time
    longest_pause: float = 1.0  #: seconds


@dataclass(slots=True)
class FirstAnswers:
    """What the answers of a start have said so far."""

    policy: SlowStart
    heard: bool = False  #: the endpoint answered in its own form
    over: bool = False  #: nothing is left to be found out
    _strange: int = 0
    _absent: int = 0
    _rejected: int = 0
    _error: int | str | None = None

    @property
    def limit(self) -> float:
        """Requests that may be in flight."""
        if not self.heard:
            return 1
        return inf if self.over else self.policy.all_rejected

    @property
    def pause(self) -> float:
        """Seconds until the next request may leave."""
        missed = self._strange + self._absent
        if self.heard or not missed:
            return 0.0
        return min(self.policy.longest_pause, self.policy.pause * 2.0 ** (missed - 1))

    def missed(self, sent: bool) -> bool:
        """A request was not answered by the endpoint; returns whether nobody is to be expected there."""
        if self.heard:
            return False
        self._strange += sent
        self._absent += not sent
        return self._strange >= self.policy.strangers or self._absent >= self.policy.absences

    def took(self) -> None:
        """The endpoint took a row: nothing is wrong with all of them."""
        self.heard = self.over = True

    def rejected(self, error: int | str | None) -> bool:
        """The endpoint rejected a row; returns whether it rejects all of them for one and the same error."""
        self.heard = True
        if not self.policy.all_rejected or (self._rejected and self._error != error):
            self.over = True
        if self.over:
            return False
        self._error = error
        self._rejected += 1
        return self._rejected >= self.policy.all_rejected
