"""A time axis keeps the order of things, and leaves out the time in which nothing happened."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engager.output.report.timeline import Timeline

DAY = 86_400


@given(
    st.lists(st.integers(0, 50_000), min_size=1, max_size=60, unique=True),
    st.sampled_from([0.1, 1.0, 60.0, 86_400.0]),
)
def test_moments_keep_their_order_and_stay_on_the_axis(indexes: list[int], width: float) -> None:
    begins = [index * width for index in sorted(indexes)]
    line = Timeline.from_cells(begins, width)
    places = [line.place(begin) for begin in begins]
    assert places == sorted(places)
    assert len(set(places)) == len(places)
    assert places[0] == 0.0
    assert line.stretches[-1].right == pytest.approx(1.0)
    assert all(-1e-9 <= place <= 1 + 1e-9 for place, _ in line.ticks())
    assert line.lasting <= begins[-1] + width - begins[0] + 1e-6


def test_a_run_that_went_on_after_days_is_seen_from_near() -> None:
    monday, thursday = range(600), range(3 * DAY, 3 * DAY + 300)
    line = Timeline.from_cells([*monday, *thursday], 1.0)
    assert line.lasting == 900
    ((place, seconds),) = line.cuts()
    assert (round(place, 2), seconds) == (0.66, 3 * DAY - 600)


def test_a_pause_that_belongs_to_the_run_stays() -> None:
    line = Timeline.from_cells([*range(60), *range(90, 600)], 1.0)
    assert list(line.cuts()) == []


def test_rows_that_come_once_an_hour_are_no_run_of_cuts() -> None:
    line = Timeline.from_cells([hour * 3600.0 for hour in range(48)], 1.0)
    assert list(line.cuts()) == []


@pytest.mark.parametrize(
    ("lasting", "width", "labels"),
    [
        (0.5, 0.1, ["08:00:00.0", "08:00:00.1"]),
        (20, 0.5, ["08:00:00", "08:00:05"]),
        (3_000, 10, ["08:00", "08:10"]),
        (2 * DAY, 600, ["24 Nov 12:00", "25 Nov 00:00"]),
        (90 * DAY, DAY, ["03 Dec", "18 Dec"]),
    ],
)
def test_ticks_are_round_times(lasting: float, width: float, labels: list[str]) -> None:
    begin = 1_795_507_200.0
    line = Timeline.from_cells([begin + width * n for n in range(int(lasting / width))], width)
    labels_shown = [label for _, label in line.ticks()]
    assert labels_shown[:2] == labels
    assert len(labels_shown) <= 7
