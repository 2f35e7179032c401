"""The sections of a job file that define when a run stops and when it waits."""

from __future__ import annotations

import os
import re
from datetime import UTC, tzinfo
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator

from engager.config.sections import SECONDS_SCHEMA, Seconds, Section, seconds_of
from engager.errors import JobError
from engager.policies.circuit_breaker import Breaker
from engager.policies.failure_threshold import Threshold
from engager.policies.schedule import DAYS, Hours, Window, moment_of

#: Longest time until a deadline, in seconds: `datetime` cannot represent every later moment.
_LONGEST = 10 * 365 * 86_400.0


def _max_failed(value: Any) -> Any:
    if type(value) is int and value >= 1:
        return value
    share = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value.strip()) if isinstance(value, str) else None
    if share is not None and 0 < float(share[1]) <= 100:
        return value
    raise ValueError('give a number of rows, or a share such as "3%"')


def _bounded(seconds: Any) -> Any:
    if seconds > _LONGEST:
        raise ValueError("give a duration of at most ten years")
    return seconds


def _deadline(value: Any) -> Any:
    if not isinstance(value, str):
        if type(value) in (int, float) and not value > 0:
            raise ValueError("give a duration above 0")
        return _bounded(seconds_of(value))
    try:
        seconds = seconds_of(value)
    except ValueError:
        pass
    else:
        return _bounded(seconds)
    try:
        moment_of(value, 0.0, UTC)
    except (ValueError, OverflowError):
        known = '"06:00", "2026-12-01T06:00", or a duration such as "4h"'
        raise ValueError(f"give a time, a date and time, or a duration: {known}") from None
    return value


# The accepted types, for editors; the functions above check the values.
_MAX_FAILED = WithJsonSchema(
    {
        "anyOf": [
            {"type": "integer", "minimum": 1},
            {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%\s*$"},
        ]
    }
)
_DEADLINE = WithJsonSchema({"anyOf": [SECONDS_SCHEMA["anyOf"][0], {"type": "string", "minLength": 1}]})
_TEXTS = WithJsonSchema(
    {
        "anyOf": [
            {"type": "string", "minLength": 1},
            {"type": "array", "items": {"type": "string"}, "minItems": 1},
        ]
    }
)


class StopSection(Section):
    """[stop]"""

    max_failed: Annotated[int | str, BeforeValidator(_max_failed), _MAX_FAILED] | None = Field(
        None,
        description="Stop after this many rows that are not engaged, accepted or skipped: a number, or a "
        'share such as `"3%"`.',
        examples=["3%"],
    )
    window: int = Field(
        1000, ge=10, description="A share is computed over this many latest rows, and over all rows."
    )
    min_rows: int = Field(100, ge=1, description="Number of settled rows before a share is computed.")
    all_rejected: int = Field(
        100,
        ge=0,
        description="Stop if this many first responses are the same permanent error; 0 = off.",
    )
    deadline: Annotated[float | str, BeforeValidator(_deadline), _DEADLINE] | None = Field(
        None,
        description='When the run stops: `"06:00"`, a date and time, or a duration such as `"4h"`.',
        examples=["06:00"],
    )

    @property
    def threshold(self) -> Threshold | None:
        """The failure threshold as a policy."""
        limit = self.max_failed
        if limit is None:
            return None
        share = float(limit.rstrip("% ")) / 100 if isinstance(limit, str) else None
        return Threshold(None if share else int(limit), share, self.window, self.min_rows)


def _days(value: Any) -> Any:
    """Parse a list of days, or a range: "mon-fri"."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError('give days as "mon-fri" or ["mon", "wed"]')
    days: list[int] = []
    for name in names:
        first, _, last = name.strip().lower().partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise ValueError(f"{name!r} is not a day; the days are {', '.join(DAYS)}")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        days += [day % 7 for day in range(begin, end + 1 + 7 * (end < begin))]
    if not days:
        raise ValueError("name at least one day")
    return days


def _hours(value: Any) -> Any:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError('give hours as "09:00-20:00", or several in a list')
    for text in texts:
        Hours.parse(text)
    return texts


class WindowSection(Section):
    """[window]"""

    days: Annotated[list[int], BeforeValidator(_days), _TEXTS] = Field(
        list(range(7)),
        description='Days on which requests may leave: `"mon-fri"`, or `["mon", "wed"]`.',
        examples=["mon-sun"],
    )
    hours: Annotated[list[str], BeforeValidator(_hours), _TEXTS] | None = Field(
        None,
        description='Hours in which requests may leave: `"09:00-20:00"`, `"22:00-06:00"`, or a list.',
        examples=["09:00-20:00"],
    )
    zone: str | None = Field(
        None,
        description='Time zone: `"Europe/Moscow"`; absent = the time zone of this machine.',
        examples=["Europe/Moscow"],
    )
    outside: Literal["pause", "stop"] = Field(
        "pause", description="Outside of the window: wait for the next opening, or stop."
    )

    @field_validator("zone")
    @classmethod
    def _is_zone(cls, name: str | None) -> str | None:
        try:
            if name is not None:
                ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name!r} is not a time zone; give a name such as Europe/Moscow") from None
        return name

    @property
    def tz(self) -> tzinfo:
        """The time zone of the window. Raises JobError where that of the machine has no name."""
        if self.zone:
            return ZoneInfo(self.zone)
        from tzlocal import get_localzone  # most jobs have no hours

        try:
            return get_localzone()
        except (ZoneInfoNotFoundError, ValueError, OSError):
            given = f", TZ={os.environ['TZ']}," if os.environ.get("TZ") else ""
            raise JobError(
                f"window.zone: the time zone of this machine{given} has no name such as Europe/Moscow. "
                "Set window.zone, or TZ, to such a name."
            ) from None

    @property
    def policy(self) -> Window | None:
        """The window as a policy; None if requests may leave at any time."""
        if self.hours is None and len(set(self.days)) == 7:
            return None
        hours = tuple(Hours.parse(text) for text in self.hours or ["00:00-24:00"])
        return Window(self.tz, frozenset(self.days), hours)


class BreakerSection(Section):
    """[breaker]"""

    failures: int = Field(
        20,
        ge=0,
        description="Consecutive requests without a response that open the circuit breaker; 0 = off.",
    )
    pause: Seconds = Field(5.0, description="Delay before the first probe; doubled after each failed probe.")
    longest_pause: Seconds = Field(60.0, description="Largest delay between probes.")
    give_up: Seconds = Field(
        1800.0, description="Stop the run if the endpoint has not responded for this long.", examples=["30m"]
    )

    @property
    def policy(self) -> Breaker | None:
        """The circuit breaker as a policy; None if it is off."""
        if not self.failures:
            return None
        return Breaker(self.failures, self.pause, self.longest_pause, self.give_up)
