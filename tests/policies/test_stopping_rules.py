"""The rules that stop or pause a run, also on days on which clocks change."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engager.policies.circuit_breaker import Breaker, Circuit
from engager.policies.failure_threshold import Failures, Threshold
from engager.policies.schedule import Hours, Window, moment_of

BERLIN, NEW_YORK, UTC = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York"), ZoneInfo("UTC")


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def window(hours: str, days: str = "0123456", zone: ZoneInfo = BERLIN) -> Window:
    return Window(zone, frozenset(map(int, days)), tuple(map(Hours.parse, hours.split(","))))


@pytest.mark.parametrize(
    ("hours", "days", "moment", "is_open"),
    [
        ("09:00-20:00", "01234", "2026-11-24T08:59", False),
        ("09:00-20:00", "01234", "2026-11-24T09:00", True),
        ("09:00-20:00", "01234", "2026-11-24T20:00", False),
        ("09:00-20:00", "01234", "2026-11-28T12:00", False),  # a Saturday
        ("22:00-06:00", "4", "2026-11-28T05:59", True),  # begun on Friday
        ("22:00-06:00", "4", "2026-11-27T05:59", False),
        ("09:00-12:00,14:00-18:00", "0123456", "2026-11-24T13:00", False),
        ("00:00-24:00", "1", "2026-11-24T23:59", True),
    ],
)
def test_a_window_is_open_at_its_local_hours(hours: str, days: str, moment: str, is_open: bool) -> None:
    assert window(hours, days).is_open(at(moment)) is is_open


def test_a_window_is_shorter_on_a_day_with_a_skipped_hour() -> None:
    night = window("01:00-04:00")
    opens, closes = at("2026-03-29T01:00"), at("2026-03-29T04:00")
    assert night.next_change(opens - 60) == opens
    assert (night.next_change(opens), closes - opens) == (closes, 2 * 3600)


def test_a_window_in_the_skipped_hour_opens_at_its_end() -> None:
    night = window("02:30-05:00")
    assert night.next_change(at("2026-03-29T01:00")) == at("2026-03-29T03:00")


def test_an_hour_that_comes_twice_counts_twice() -> None:
    night = window("02:00-02:30")
    first, second = at("2026-10-25T02:00"), at("2026-10-25T02:00", fold=1)
    assert second - first == 3600
    changes = [first - 1]
    for _ in range(4):
        changes.append(night.next_change(changes[-1]) or 0)
    assert changes[1:] == [first, first + 1800, second, second + 1800]


def test_the_hours_are_those_of_the_time_zone() -> None:
    assert window("09:00-20:00", zone=NEW_YORK).is_open(at("2026-11-24T14:00", UTC))
    assert not window("09:00-20:00", zone=NEW_YORK).is_open(at("2026-11-24T13:59", UTC))


@settings(max_examples=60, deadline=None)
@given(
    begin=st.integers(0, 1439),
    length=st.integers(1, 1439),
    days=st.sets(st.integers(0, 6), min_size=1),
    zone=st.sampled_from([BERLIN, NEW_YORK, ZoneInfo("Asia/Kathmandu"), ZoneInfo("Australia/Lord_Howe")]),
    day=st.sampled_from(["2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-04-05", "2026-06-10"]),
    minutes=st.integers(-1500, 1500),
)
def test_the_next_change_is_the_one_that_a_search_by_minutes_finds(
    begin: int, length: int, days: set[int], zone: ZoneInfo, day: str, minutes: int
) -> None:
    rule_ = Window(zone, frozenset(days), (Hours(begin, (begin + length) % 1440),))
    start = at(day, zone) + minutes * 60
    change = rule_.next_change(start)
    now = rule_.is_open(start)
    searched = next((m for m in range(1, 3000) if rule_.is_open(start + m * 60) is not now), None)
    if searched is None:
        assert change is None or change > start + 2999 * 60
    else:
        assert change == start + searched * 60


def test_work_beyond_a_window_continues_in_the_next() -> None:
    office = window("09:00-17:00", "01234")
    friday = at("2026-11-27T16:00")
    assert office.end_of(friday, 3600) == (friday + 3600, 1)
    assert office.end_of(friday, 2 * 3600) == (at("2026-11-30T10:00"), 2)
    assert office.end_of(at("2026-11-28T12:00"), 60) == (at("2026-11-30T09:01"), 1)
    assert window("00:00-24:00").end_of(friday, 86_400) == (friday + 86_400, 1)


@pytest.mark.parametrize("text", ["9-17", "09:00-09:00", "25:00-26:00", "09:60-10:00", "09:00-24:01", ""])
def test_invalid_hours_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="give hours"):
        Hours.parse(text)


@pytest.mark.parametrize(
    ("deadline", "moment"),
    [
        ("06:00", "2026-11-25T06:00"),
        ("18:30", "2026-11-24T18:30"),
        ("2026-12-01T06:00", "2026-12-01T06:00"),
        (3600.0, "2026-11-24T13:00"),
    ],
)
def test_a_deadline_is_a_moment(deadline: str | float, moment: str) -> None:
    assert moment_of(deadline, at("2026-11-24T12:00"), BERLIN) == at(moment)


def test_a_number_of_failures_stops_the_run() -> None:
    failures = Failures(Threshold(rows=3))
    assert [failures.add(n, "rejected: 440") for n in (10, 20)] == [None, None]
    reason = failures.add(30, "failed: 503")
    assert "stop.max_failed = 3: 3 rows were not engaged, most often rejected: 440 (2)" in (reason or "")


def test_a_share_counts_after_the_least_number_of_rows() -> None:
    failures = Failures(Threshold(share=0.03, least=100, window=1000))
    assert [failures.add(n, "x") for n in range(1, 4)] == [None] * 3
    assert "4 of 120 rows" in (failures.add(120, "x") or "")


def test_a_share_counts_the_last_rows_only() -> None:
    failures = Failures(Threshold(share=0.5, window=100, least=100))
    reported = [failures.add(100_000 + n, "x") for n in range(50)]
    assert reported[:49] == [None] * 49
    assert "50 of the last 100 rows" in (reported[49] or "")


def test_old_failures_do_not_count() -> None:
    failures = Failures(Threshold(share=0.5, window=100, least=100))
    assert all(failures.add(10_000 + 10 * n, "x") is None for n in range(200))


class BreakerLife(RuleBasedStateMachine):
    """The breaker opens after consecutive failures, and only then, for any order of results."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(failures=3, pause=10, longest_pause=35)
        self.circuit = Circuit(self.breaker)
        self.now, self.consecutive, self.pauses = 0.0, 0, list[float]()

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def endpoint_responds(self) -> None:
        self.circuit.record_success()
        self.consecutive, self.pauses = 0, []

    @rule(probing=st.booleans())
    def endpoint_is_silent(self, probing: bool) -> None:
        was_open = self.circuit.opened is not None
        pause = self.circuit.record_failure(self.now, probing and was_open)
        self.consecutive += 1
        assert (pause is not None) == (probing if was_open else self.consecutive >= 3)
        if pause is not None:
            self.pauses.append(pause)

    @invariant()
    def pauses_double_up_to_the_longest(self) -> None:
        assert self.pauses == [10, 20, 35, 35, 35, 35][: len(self.pauses)] or len(self.pauses) > 6
        assert (self.circuit.opened is None) == (not self.pauses)


TestBreakerLife = BreakerLife.TestCase
TestBreakerLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
