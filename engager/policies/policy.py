"""Policies: frozen values from numbers to numbers. No clock, no file, no await: mechanisms obey them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf

from tenacity.stop import stop_after_attempt
from tenacity.wait import wait_random_exponential

#: Requests a second that a pace can be kept at.
LEAST_RATE, MOST_RATE = 0.001, 1e6


@dataclass(frozen=True, slots=True)
class Pace:
    """How many requests may leave: at most `rate` x 1.02 in every sliding second, the first included.

    What a stall of the machine kept back may be made up for, as fast as that bound allows. Half of the
    two per cent is kept for the jitter between here and the endpoint.
    """

    rate: float  #: requests a second; 0: nothing leaves until there is another pace
    even: bool = False  #: one by one: a limit that is being looked for is misjudged by what leaves together

    @property
    def a_second(self) -> int:
        """Requests that may leave in any sliding second."""
        return max(1, int(self.rate * 1.01)) if self.rate else 0

    @property
    def second(self) -> float:
        """Seconds that `a_second` counts over.

        A hundredth more than one, where the long run leaves room for it: an endpoint that stalls for so long
        still sees no second with more.
        """
        return 1 + min(0.01, max(0.0, 0.75 * (self.a_second / self.leak - 1))) if self.rate else 1.0

    @property
    def depth(self) -> float:
        """Requests that a stall may keep back and that may still be made up for: half a second's."""
        return 1 + self.rate * 0.5

    @property
    def leak(self) -> float:
        """Requests a second in the long run; a little below the rate, as timers are never early."""
        return self.rate - min(0.005 * self.rate, 2.0)

    @property
    def peak(self) -> float:
        """Requests a second at which a stall is made up for: what left in a burst would arrive in another."""
        return 3 * self.rate

    @property
    def tick(self) -> float:
        """Seconds that who waits sleeps at least: to wake up costs more than to send.

        A hundredth of a second's requests leave together then, and of a high rate's no more than eight.
        """
        return 0.0 if self.even or not self.rate else min(0.01, 8 / self.rate)

    @property
    def burst(self) -> float:
        """Requests that may leave at once while a stall is made up for."""
        return 1 + self.peak * max(self.tick, 0.002)

    @property
    def silence(self) -> float:
        """Seconds without a departure (a pause, an outage) after which there is nothing to make up for.

        Less than a second, which is the shortest pause that an endpoint can ask for.
        """
        return max(0.9, 2 / self.rate) if self.rate else inf


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
        return self.mode is Mode.AT_LEAST_ONCE or self.remembers(first_left, now)

    def remembers(self, first_left: float, now: float) -> bool:
        """Whether the endpoint still knows the id of a try that left then."""
        margin = min(self.margin, self.dedupe_window / 10)
        return now - first_left < self.dedupe_window - margin
