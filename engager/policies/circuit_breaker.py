"""The circuit breaker: when an endpoint is considered down, and when probes leave. Pure, without clock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Breaker:
    """The settings of the circuit breaker."""

    failures: int = 20  #: consecutive attempts without a response
    pause: float = 5.0  #: seconds until a probe leaves; doubled after each probe that fails
    longest_pause: float = 60.0  #: seconds
    give_up: float | None = None  #: seconds after which the run is stopped

    def for_concurrency(self, concurrency: int) -> Breaker:
        """The settings for a concurrency: it opens before a few requests use up their attempts."""
        return replace(self, failures=min(self.failures, max(3, concurrency)))


@dataclass(slots=True)
class Circuit:
    """The state of a circuit breaker: closed, open, or half-open (one probe may leave)."""

    breaker: Breaker
    failed: int = 0  #: consecutive attempts without a response
    opened: float | None = None  #: when it opened, in seconds of any clock
    pause: float = field(init=False)

    def __post_init__(self) -> None:
        self.pause = self.breaker.pause

    def record_success(self) -> None:
        """The endpoint responded: it is up."""
        self.failed, self.opened, self.pause = 0, None, self.breaker.pause

    def record_failure(self, now: float, probing: bool) -> float | None:
        """An attempt had no response; returns the seconds of a pause that begins now, otherwise None."""
        if self.opened is not None:
            if not probing:
                return None
            self.pause = min(self.pause * 2, max(self.breaker.longest_pause, self.breaker.pause))
            return self._pause_at(now)
        self.failed += 1
        if self.failed < self.breaker.failures:
            return None
        self.opened = now
        return self._pause_at(now)

    def _pause_at(self, now: float) -> float:
        """The pause; it ends at the latest when the run gives up, so that a last probe is just made."""
        if self.opened is None or self.breaker.give_up is None:
            return self.pause
        return min(self.pause, max(0.0, self.opened + self.breaker.give_up - now))

    def is_hopeless(self, now: float) -> bool:
        """Whether it has been open for `give_up` seconds."""
        give_up = self.breaker.give_up
        return self.opened is not None and give_up is not None and now - self.opened >= give_up
