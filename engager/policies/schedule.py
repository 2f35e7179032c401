"""Days and hours in which requests may leave, and deadlines. No clock is read here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


#: Days in which the next opening is searched: a week, and two that a change of clocks could add.
_AHEAD = 9


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of the day, in minutes after midnight. If it ends before it begins, it ends on the next day."""

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

    def contains(self, minute: float, today: bool, yesterday: bool) -> bool:
        """Whether it is open at a minute of the day, when it may begin on that day, and on the one before."""
        if not self.over_midnight:
            return today and self.begin <= minute < self.end
        return (today and minute >= self.begin) or (yesterday and minute < self.end)


@dataclass(frozen=True, slots=True)
class Window:
    """The sending window: days and hours in the wall clock of a time zone.

    If the clock is put back, an hour occurs twice, and both count; if it is put forward, an hour is skipped,
    and an opening in it begins at its end.
    """

    zone: tzinfo
    days: frozenset[int] = frozenset(range(7))  #: on which hours begin; Monday is 0
    hours: tuple[Hours, ...] = (Hours(0, 1440),)

    def is_open(self, moment: float) -> bool:
        """Whether requests may leave at a moment."""
        local = datetime.fromtimestamp(moment, self.zone)
        minute = local.hour * 60 + local.minute + local.second / 60 + local.microsecond / 6e7
        today, yesterday = local.weekday() in self.days, (local.weekday() - 1) % 7 in self.days
        return any(hours.contains(minute, today, yesterday) for hours in self.hours)

    def next_change(self, moment: float) -> float | None:
        """The next moment at which it opens or closes; None: never."""
        now = self.is_open(moment)
        for candidate in sorted(self._turns(moment)):
            if candidate > moment and self.is_open(candidate) is not now:
                return candidate
        return None

    def _turns(self, moment: float) -> Iterator[float]:
        """Yields every moment at which it can change: begins and ends of hours, and changes of the clock."""
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
        """When `seconds` of work inside the window end, and in how many openings.

        None: never, or not within a year.
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


def moment_text(moment: float, zone: tzinfo = UTC) -> str:
    """A moment as text."""
    return datetime.fromtimestamp(moment, zone).strftime("%a %Y-%m-%d %H:%M %Z")
