"""Adaptive limits: the next level is computed from the attempts of a window. Pure, without clock and I/O.

A level doubles until the first trouble, and then grows slowly, the faster the longer there is none. Trouble
is a refusal, a window of failures, or a latency that a queue of ours has raised. Invariant: errors can only
lower a level; their latency, which is often short, is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf


@dataclass(frozen=True, slots=True)
class Reading:
    """Measurements of the attempts of one window."""

    seconds: float
    done: int  #: attempts that ended, without refusals
    busy: float  #: total seconds that they were in flight
    accepted: int  #: of these: successes
    latency: float  #: average seconds of a success
    error: float  #: the standard error of that average
    failed: int  #: of these: faults of the endpoint or of the network
    limited: int = 0  #: besides these: refusals by a limit of the endpoint

    @property
    def served(self) -> float:
        """Attempts per second that the endpoint served."""
        return (self.done - self.failed) / self.seconds


@dataclass(frozen=True, slots=True)
class Level:
    """The state of a limit, with all that its next step depends on."""

    value: float
    ramping: bool = True  #: there was no trouble yet
    calm: float = 0.0  #: seconds of readings since the last trouble
    base: float = inf  #: latency without a queue of ours
    cuts: int = 0  #: cuts for a latency that have not helped yet
    cut_at: float = 0.0  #: the latency at the last of them


@dataclass(frozen=True, slots=True)
class AimdSettings:
    """The settings by which a limit approaches the capacity of the endpoint."""

    start: float
    floor: float
    ceiling: float
    ramp: float = 2.0  #: factor of a step before the first trouble
    increase: float = 0.01  #: growth after it: share of the level per second, for each calm second
    max_increase: float = 0.5  #: the largest such step, as a share of the level
    decrease: float = 0.85  #: factor after a refusal
    drain: float = 0.9  #: factor of the measured throughput after a queue
    relief: float = 0.95  #: a cut has helped if the latency falls below this share of its old value
    #: This number of cuts without effect proves that the queue is not ours. One is not enough: the latency
    #: that it is compared with may still have been rising.
    trials: int = 2
    tolerance: float = 1.5  #: a latency above this multiple of the base is a queue
    certainty: float = 2.0  #: standard errors by which a latency must be higher, and a base lower
    outage: float = 0.75  #: a share of failures above this is trouble; fewer are faults of the endpoint
    binding: float = 0.7  #: a limit of which a smaller share is used proves nothing and stays
    samples: int = 5  #: least successes of a reading, or twice as many attempts
    window: float = 0.25  #: least seconds of a reading

    def begin(self) -> Level:
        """Returns the level before the first reading."""
        return Level(min(self.start, self.ceiling))

    def next(self, level: Level, reading: Reading) -> Level:
        """Returns the level after a reading."""
        if reading.limited or reading.failed > self.outage * reading.done:
            return self._cut(level, level.value * self.decrease)
        if reading.accepted < self.samples:
            return level
        doubt = self.certainty * reading.error
        if reading.latency - doubt > self.tolerance * level.base:
            return self._slowed(level, reading)
        eased = replace(level, base=min(level.base, reading.latency + doubt), cuts=0, cut_at=0.0)
        return self._raised(eased, reading.seconds) if self._binds(level, reading) else eased

    def _slowed(self, level: Level, reading: Reading) -> Level:
        if reading.latency - self.certainty * reading.error < self.relief * level.cut_at:
            return replace(level, cuts=0, cut_at=0.0)  # the queue drains
        if level.cuts == self.trials:
            return replace(level, base=reading.latency, cuts=0, cut_at=0.0)
        fit = min(self._fit(level, reading), self.drain * level.value)
        return replace(self._cut(level, fit), cuts=level.cuts + 1, cut_at=reading.latency)

    def _cut(self, level: Level, value: float) -> Level:
        return Level(max(self.floor, value), ramping=False, base=level.base)

    def _raised(self, level: Level, seconds: float) -> Level:
        calm = level.calm + seconds
        growth = self.ramp if level.ramping else 1 + min(self.max_increase, self.increase * calm * seconds)
        return replace(level, value=min(self.ceiling, level.value * growth), calm=calm)

    def _binds(self, level: Level, reading: Reading) -> bool:
        raise NotImplementedError

    def _fit(self, level: Level, reading: Reading) -> float:
        """The level that the endpoint serves without a queue, and a little less, so that the queue drains."""
        raise NotImplementedError


class ConcurrencyAimd(AimdSettings):
    """The level is a number of attempts in flight; its integer part counts."""

    __slots__ = ()

    def _binds(self, level: Level, reading: Reading) -> bool:
        return reading.busy / reading.seconds >= self.binding * int(level.value)

    def _fit(self, level: Level, reading: Reading) -> float:
        return max(level.value / 2, self.drain * reading.served * level.base)  # Little's law


class RateAimd(AimdSettings):
    """The level is a number of attempts per second."""

    __slots__ = ()

    def _binds(self, level: Level, reading: Reading) -> bool:
        return reading.done / reading.seconds >= self.binding * level.value

    def _fit(self, level: Level, reading: Reading) -> float:
        return self.drain * reading.served


#: Default ceiling of the requests in flight: 2,500 per second at 100 ms, and far below the 1,024 open files
#: that most systems allow per process.
CEILING = 256


@dataclass(frozen=True, slots=True)
class Adaptive:
    """The limits that are adaptive."""

    concurrency: AimdSettings | None = None
    rate: AimdSettings | None = None


def concurrency_settings(ceiling: int) -> AimdSettings:
    """Settings that begin with one in flight, which shows the latency without a queue."""
    return ConcurrencyAimd(start=1, floor=1, ceiling=ceiling)


def rate_settings(ceiling: float) -> AimdSettings:
    """Settings that begin with ten per second: the first reading then takes a second."""
    return RateAimd(start=10, floor=min(1.0, ceiling), ceiling=ceiling)
