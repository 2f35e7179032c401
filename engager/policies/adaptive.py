"""Adaptive limits: what a window of tries showed in, the next level out. Frozen values, no clock, no await.

A level doubles until the first trouble, and from then on creeps up, the faster the longer it was calm.
Trouble is a refusal, a window of failures, or a latency that our own queue has raised. Errors can only
ever lower a level: their latency, which is often short, counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf


@dataclass(frozen=True, slots=True)
class Reading:
    """What the tries of one window showed."""

    seconds: float
    done: int  #: tries that ended, but for refusals
    busy: float  #: seconds that they were in flight, added up
    accepted: int  #: of these: successes
    latency: float  #: seconds that a success took on average
    error: float  #: the standard error of that average
    failed: int  #: of these: faults, on their side or on the way
    limited: int = 0  #: beside these: the endpoint said "too much"

    @property
    def served(self) -> float:
        """Tries a second that the endpoint dealt with."""
        return (self.done - self.failed) / self.seconds


@dataclass(frozen=True, slots=True)
class Level:
    """Where a limit stands, and what its next step depends on."""

    value: float
    ramping: bool = True  #: no trouble was met yet
    calm: float = 0.0  #: seconds of readings since the last trouble
    base: float = inf  #: latency without a queue of ours
    cuts: int = 0  #: for a latency, without a sign yet that they help
    cut_at: float = 0.0  #: the latency that the last of them is to bring down


@dataclass(frozen=True, slots=True)
class AimdSettings:
    """How a limit seeks the endpoint's capacity between `floor` and `ceiling`."""

    start: float
    floor: float
    ceiling: float
    ramp: float = 2.0  #: factor of a step before the first trouble
    increase: float = 0.01  #: growth after it: this share of the level, a second, for each calm second
    max_increase: float = 0.5  #: no such step is a larger share of the level
    decrease: float = 0.85  #: what a refusal leaves of the level
    drain: float = 0.9  #: what a queue leaves of what the endpoint was seen to manage
    relief: float = 0.95  #: a cut helps that brings the latency below this share of what it was
    #: So many cuts that do not help prove that the queue is not ours. One does not: the latency that it is
    #: measured against may have been rising still.
    trials: int = 2
    tolerance: float = 1.5  #: a latency of more than this many times the base is a queue
    certainty: float = 2.0  #: standard errors by which a latency must be higher, and a base lower
    outage: float = 0.75  #: failures of more than this share are trouble; fewer are an endpoint's own faults
    binding: float = 0.7  #: a limit that is used less than this far proves nothing and stays
    samples: int = 5  #: successes that a reading has, or twice as many tries
    window: float = 0.25  #: seconds that a reading takes at least

    def begin(self) -> Level:
        """Where the limit stands before anything is known."""
        return Level(min(self.start, self.ceiling))

    def next(self, level: Level, reading: Reading) -> Level:
        """Where it stands after a reading."""
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
        """The level that the endpoint manages without a queue, and a little less so that the queue drains."""
        raise NotImplementedError


class ConcurrencyAimd(AimdSettings):
    """The level is a number of tries in flight; its whole part counts."""

    __slots__ = ()

    def _binds(self, level: Level, reading: Reading) -> bool:
        return reading.busy / reading.seconds >= self.binding * int(level.value)

    def _fit(self, level: Level, reading: Reading) -> float:
        return max(level.value / 2, self.drain * reading.served * level.base)  # Little's law


class RateAimd(AimdSettings):
    """The level is a number of tries a second."""

    __slots__ = ()

    def _binds(self, level: Level, reading: Reading) -> bool:
        return reading.done / reading.seconds >= self.binding * level.value

    def _fit(self, level: Level, reading: Reading) -> float:
        return self.drain * reading.served


#: In flight at most when nothing else is said: 2,500 a second at 100 ms, and far from the 1,024 open
#: files that most systems allow a process.
CEILING = 256


@dataclass(frozen=True, slots=True)
class Adaptive:
    """Which limits are found rather than given."""

    concurrency: AimdSettings | None = None
    rate: AimdSettings | None = None


def concurrency_settings(ceiling: int) -> AimdSettings:
    """Begin with one in flight: the endpoint's latency without any queue shows there."""
    return ConcurrencyAimd(start=1, floor=1, ceiling=ceiling)


def rate_settings(ceiling: float) -> AimdSettings:
    """Begin with ten a second: a first reading takes a second then."""
    return RateAimd(start=10, floor=min(1.0, ceiling), ceiling=ceiling)
