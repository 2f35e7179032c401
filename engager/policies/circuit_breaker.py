"""When an endpoint is taken to be down, and how it is asked whether it is up again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Breaker:
    """When an endpoint is taken to be down, and how it is asked whether it is up again."""

    failures: int = 20  #: tries in a row that found nobody
    pause: float = 5.0  #: seconds until a single try is let through; doubled each time that it fails
    longest_pause: float = 60.0  #: seconds
    give_up: float | None = None  #: seconds after which the run is stopped

    def for_concurrency(self, concurrency: int) -> Breaker:
        """The same for so many requests in flight: few must not use up a row's tries before it opens."""
        return replace(self, failures=min(self.failures, max(3, concurrency)))


@dataclass(slots=True)
class Circuit:
    """The state of a breaker: closed, as long as somebody is there; open; and open but for one probe."""

    breaker: Breaker
    failed: int = 0  #: tries in a row
    opened: float | None = None  #: when, in any clock's seconds
    pause: float = field(init=False)

    def __post_init__(self) -> None:
        self.pause = self.breaker.pause

    def record_success(self) -> None:
        """The endpoint answered: it is up."""
        self.failed, self.opened, self.pause = 0, None, self.breaker.pause

    def record_failure(self, now: float, probing: bool) -> float | None:
        """A try found nobody; returns for how many seconds nothing is to leave, if that is news."""
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
        """The pause, but that it is given up with a probe that was just made."""
        if self.opened is None or self.breaker.give_up is None:
            return self.pause
        return min(self.pause, max(0.0, self.opened + self.breaker.give_up - now))

    def is_hopeless(self, now: float) -> bool:
        """Whether it has been open for too long."""
        give_up = self.breaker.give_up
        return self.opened is not None and give_up is not None and now - self.opened >= give_up
