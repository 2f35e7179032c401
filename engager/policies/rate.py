"""How many requests may leave in a second."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

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
    def per_second(self) -> int:
        """Requests that may leave in any sliding second."""
        return max(1, int(self.rate * 1.01)) if self.rate else 0

    @property
    def second(self) -> float:
        """Seconds that `per_second` counts over.

        A hundredth more than one, where the long run leaves room for it: an endpoint that stalls for so long
        still sees no second with more.
        """
        return 1 + min(0.01, max(0.0, 0.75 * (self.per_second / self.leak - 1))) if self.rate else 1.0

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
        """Seconds between two departures at least: to wake up costs more than to send.

        What a fiftieth of a second may send leaves together then, and of a high rate at most 16 requests.
        """
        return 0.0 if self.even or not self.rate else min(0.02, 16 / self.rate)

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
