"""Policies: frozen values from numbers to numbers. No clock, no file, no await: mechanisms obey them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tenacity.stop import stop_after_attempt
from tenacity.wait import wait_random_exponential


@dataclass(frozen=True, slots=True)
class Pace:
    """How many requests may leave: at most `rate` x 1.02 in every sliding second, the first included.

    A leaky bucket lets `depth + leak` through in its worst second. The depth is what makes up for late
    timers (10 ms of requests); the leak stays a little below the rate, so that the worst second and
    some milliseconds of jitter on the way still fit under the promise.
    """

    rate: float  #: requests a second, above 0

    @property
    def depth(self) -> float:
        """Requests that may leave at once after a silence."""
        return 1 + self.rate * 0.01

    @property
    def leak(self) -> float:
        """Requests a second in the long run."""
        return self.rate - max(0.005 * self.rate, min(0.02 * self.rate, 2.0))

    @property
    def period(self) -> float:
        """Seconds in which a full bucket runs empty."""
        return self.depth / self.leak


@dataclass(frozen=True, slots=True)
class Retry:
    """When a row is tried again: exponential backoff with full jitter, a stated number of tries."""

    attempts: int = 5  #: tries of a row in all, the first included
    base_delay: float = 0.5  #: seconds; the first wait is drawn from 0 to this, each further one doubles it
    max_delay: float = 30.0  #: seconds; no wait is drawn from more than this
    budget_rate: float = 64.0  #: retries a second that are always allowed, even in an outage
    budget_reserve: float = 100.0  #: retries that may be saved up
    longest_pause: float = 3600.0  #: seconds; a longer Retry-After stops the run

    @property
    def wait(self) -> wait_random_exponential:
        """The wait before the next try.

        Full jitter as in https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        return wait_random_exponential(multiplier=self.base_delay, max=self.max_delay)

    @property
    def stop(self) -> stop_after_attempt:
        """The end of the tries."""
        return stop_after_attempt(self.attempts)


class Mode(StrEnum):
    """What is done about a try whose answer was lost."""

    EXACTLY_ONCE = "exactly-once"
    AT_MOST_ONCE = "at-most-once"
    AT_LEAST_ONCE = "at-least-once"


@dataclass(frozen=True, slots=True)
class Delivery:
    """The delivery mode and how long the endpoint remembers a Request-ID."""

    mode: Mode = Mode.EXACTLY_ONCE
    dedupe_window: float = 86_400.0  #: seconds
    #: Seconds by which a repeat must beat the window: clocks and networks are late, and a repeat
    #: that arrives after the endpoint forgot the id is a second message.
    margin: float = 60.0

    def may_repeat(self, first_left: float, now: float) -> bool:
        """Whether a try that may have been taken can safely be sent again at `now`."""
        if self.mode is Mode.AT_MOST_ONCE:
            return False
        if self.mode is Mode.AT_LEAST_ONCE:
            return True
        margin = min(self.margin, self.dedupe_window / 10)
        return now - first_left < self.dedupe_window - margin
