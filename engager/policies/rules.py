"""The rules that stop a run or make it wait, as pure values: too many failures, a deadline, hours, an outage.

Moments are seconds since the epoch. No clock is read here.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from math import inf

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

#: Days to look ahead for an opening: a week, and those that a change of clocks could add.
_AHEAD = 9


@dataclass(frozen=True, slots=True)
class Threshold:
    """How many rows may fail to be engaged: a number, or a share, which is judged in two ways."""

    rows: int | None = None  #: so many end the run
    share: float | None = None  #: so many of all, or of the last `window` rows, end the run
    window: int = 1000  #: rows
    least: int = 100  #: rows that must be settled before a share says anything

    def __str__(self) -> str:
        return f"{self.share * 100:g}%" if self.share is not None else str(self.rows)


class Failures:
    """Counts the rows that were not engaged against a threshold. Those that were cost it nothing."""

    def __init__(self, threshold: Threshold) -> None:
        self._threshold = threshold
        self._places: deque[int] = deque()  #: in the order of settling, within the window
        self._count = 0
        self._kinds: Counter[str] = Counter()

    def add(self, settled: int, kind: str) -> str | None:
        """A row was not engaged, the `settled`-th of this start; returns why the run ends, if it does."""
        self._count += 1
        self._kinds[kind if kind in self._kinds or len(self._kinds) < 200 else "other"] += 1
        rule = self._threshold
        if rule.rows is not None:
            return self._why(f"{self._count:,} rows") if self._count >= rule.rows else None
        self._places.append(settled)
        while self._places[0] <= settled - rule.window:
            self._places.popleft()
        return self._exceeded(settled)

    def _exceeded(self, settled: int) -> str | None:
        rule = self._threshold
        recent = min(settled, rule.window)
        if settled < rule.least or rule.share is None:
            return None
        if self._count >= rule.share * settled:
            return self._why(f"{self._count:,} of {settled:,} rows")
        if recent >= rule.window and len(self._places) >= rule.share * recent:
            return self._why(f"{len(self._places):,} of the last {recent:,} rows")
        return None

    def _why(self, figures: str) -> str:
        kind, rows = self._kinds.most_common(1)[0]
        return (
            f"stop.max_failed = {self._threshold}: {figures} were not engaged, most often {kind} ({rows:,})"
        )


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of the day, in minutes after midnight; one that ends before it begins goes on past midnight."""

    begin: int
    end: int

    @classmethod
    def parse(cls, text: str) -> Hours:
        """From "HH:MM-HH:MM". Raises ValueError."""
        found = re.fullmatch(r"(\d\d?):(\d\d)\s*-\s*(\d\d?):(\d\d)", text.strip())
        if found is None:
            raise ValueError('give hours as "09:00-20:00"')
        begin_hour, begin_minute, end_hour, end_minute = map(int, found.groups())
        begin, end = begin_hour * 60 + begin_minute, end_hour * 60 + end_minute
        if max(begin_minute, end_minute) > 59 or begin >= 1440 or end > 1440 or begin == end:
            raise ValueError('give hours as "09:00-20:00", each from 00:00 to 24:00')
        return cls(begin, end)

    @property
    def over_midnight(self) -> bool:
        """Whether it ends on the next day."""
        return self.end < self.begin

    def holds(self, minute: float, today: bool, yesterday: bool) -> bool:
        """Whether it is open at a minute of the day, when it may begin on that day, and on the one before."""
        if not self.over_midnight:
            return today and self.begin <= minute < self.end
        return (today and minute >= self.begin) or (yesterday and minute < self.end)


@dataclass(frozen=True, slots=True)
class Window:
    """When people may be written to: days and hours as the clocks on their walls show them.

    A clock that is put back shows an hour twice, and both times count; one that is put forward skips an
    hour, and what was to begin in it begins at its end.
    """

    zone: tzinfo
    days: frozenset[int] = frozenset(range(7))  #: on which hours begin; Monday is 0
    hours: tuple[Hours, ...] = (Hours(0, 1440),)

    def is_open(self, moment: float) -> bool:
        """Whether anything may leave."""
        local = datetime.fromtimestamp(moment, self.zone)
        minute = local.hour * 60 + local.minute + local.second / 60 + local.microsecond / 6e7
        today, yesterday = local.weekday() in self.days, (local.weekday() - 1) % 7 in self.days
        return any(hours.holds(minute, today, yesterday) for hours in self.hours)

    def next_change(self, moment: float) -> float | None:
        """When it opens next, if it is closed, or closes, if it is open; None: never."""
        now = self.is_open(moment)
        for candidate in sorted(self._turns(moment)):
            if candidate > moment and self.is_open(candidate) is not now:
                return candidate
        return None

    def _turns(self, moment: float) -> Iterator[float]:
        """Every moment at which it can turn: where hours begin and end, and where clocks are changed."""
        first = datetime.fromtimestamp(moment, self.zone).date() - timedelta(days=1)
        for day in (first + timedelta(days=ahead) for ahead in range(_AHEAD)):
            yield from self._changes_of_clocks(day)
            for minute in {minute for hours in self.hours for minute in (hours.begin, hours.end)} | {0}:
                at = datetime.combine(day + timedelta(days=minute // 1440), _time_of(minute % 1440))
                for fold in (0, 1):
                    yield at.replace(tzinfo=self.zone, fold=fold).timestamp()

    def _changes_of_clocks(self, day: date) -> Iterator[float]:
        begin = int(datetime.combine(day, time(), self.zone).timestamp())
        end = int(datetime.combine(day + timedelta(days=1), time(), self.zone).timestamp())
        if self._offset(begin) == self._offset(end):
            return
        while end - begin > 1:
            middle = (begin + end) // 2
            begin, end = (middle, end) if self._offset(middle) == self._offset(begin) else (begin, middle)
        yield float(end)

    def _offset(self, moment: float) -> timedelta | None:
        return datetime.fromtimestamp(moment, self.zone).utcoffset()

    def end_of(self, begin: float, seconds: float) -> tuple[float, int] | None:
        """When work of so many seconds ends that is done inside it only, and in how many openings.

        None: it never ends, or is not over within a year.
        """
        moment, openings, left = begin, 0, seconds
        while moment < begin + 366 * 86_400:
            change = self.next_change(moment)
            if self.is_open(moment):
                openings += 1
                if change is None or moment + left <= change:
                    return moment + left, openings
                left -= change - moment
            if change is None:
                return None
            moment = change
        return None


def _time_of(minute: int) -> time:
    return time(minute // 60, minute % 60)


def moment_of(deadline: str | float, begun: float, zone: tzinfo) -> float:
    """A deadline as a moment: seconds after the beginning, a time of day, or a date and time (ISO 8601).

    Raises ValueError.
    """
    if isinstance(deadline, float | int):
        return begun + deadline
    if found := re.fullmatch(r"(\d\d?):(\d\d)", deadline.strip()):
        now = datetime.fromtimestamp(begun, zone)
        at = time(int(found[1]), int(found[2]))
        days = (datetime.combine(now.date() + timedelta(days=n), at, zone).timestamp() for n in (0, 1))
        return next(moment for moment in days if moment > begun)
    at_date = datetime.fromisoformat(deadline.strip())
    return (at_date if at_date.tzinfo else at_date.replace(tzinfo=zone)).timestamp()


def shown(moment: float, zone: tzinfo = UTC) -> str:
    """A moment for a person."""
    return datetime.fromtimestamp(moment, zone).strftime("%a %Y-%m-%d %H:%M %Z")


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

    def heard(self) -> None:
        """The endpoint answered: it is up."""
        self.failed, self.opened, self.pause = 0, None, self.breaker.pause

    def missed(self, now: float, probing: bool) -> float | None:
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
