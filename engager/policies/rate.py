"""The rate limit as equations: how many requests may leave in a sliding second. Pure, without clock."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

#: The range of rates, in requests per second.
LEAST_RATE, MOST_RATE = 0.001, 1e6


@dataclass(frozen=True, slots=True)
class Pace:
    """The rate limit. Invariant: at most `rate` x 1.02 requests leave in every sliding second.

    Requests that a stall of the machine delayed may be made up for, as fast as that bound allows. Half of the
    two per cent is reserved for jitter on the way to the endpoint.
    """

    rate: float  #: requests per second; 0: no request leaves until the rate is changed
    even: bool = False  #: one by one: bursts would falsify the measurements of an adaptive limit
    #: It is the share of a sender, whose run paces the requests too: only their way to the sender is uneven.
    is_share: bool = False

    @property
    def per_second(self) -> int:
        """Requests that may leave in any sliding second.

        A share has more room: the run lets no more through, but not evenly to each sender.
        """
        return max(1, int(self.rate * (1.015 if self.is_share else 1.01))) if self.rate else 0

    @property
    def second(self) -> float:
        """The seconds over which `per_second` counts.

        A hundredth more than one, if the average rate has room for it: even an endpoint that stalls for that
        long sees no second with more.
        """
        return 1 + min(0.01, max(0.0, 0.75 * (self.per_second / self.leak - 1))) if self.rate else 1.0

    @property
    def depth(self) -> float:
        """Requests delayed by a stall that may be made up for: those of half a second; 30 ms of a share."""
        return 1 + self.rate * (0.03 if self.is_share else 0.5)

    @property
    def leak(self) -> float:
        """The average requests per second; a little below the rate, as timers are never early.

        A share is a little above: the run has paced the requests already, and what queued up must leave.
        """
        return self.rate * 1.01 if self.is_share else self.rate - min(0.005 * self.rate, 2.0)

    @property
    def peak(self) -> float:
        """Requests per second while a stall is made up for: a burst that leaves would arrive as a burst."""
        return 3 * self.rate

    @property
    def tick(self) -> float:
        """The least seconds between two wake-ups, each of which costs more than a send.

        The requests of a fiftieth of a second then leave together, at a high rate at most 16.
        """
        return 0.0 if self.even or not self.rate else min(0.02, 16 / self.rate)

    @property
    def burst(self) -> float:
        """Requests that may leave at once while a stall is made up for."""
        return 1 + self.peak * max(self.tick, 0.002)

    @property
    def silence(self) -> float:
        """Seconds without a request (a pause, an outage) after which nothing is made up for.

        Less than a second, which is the shortest pause that an endpoint can ask for.
        """
        return max(0.9, 2 / self.rate) if self.rate else inf
