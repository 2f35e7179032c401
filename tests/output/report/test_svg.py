"""Drawings say what the numbers say, and what is written in them is text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engager.output.report.svg import (
    Span,
    Tick,
    around,
    bar,
    columns,
    hits,
    line,
    log_ticks,
    round_ceiling,
    x_axis,
)

SPANS = [Span(0, 0.5, "a"), Span(0.5, 0.75, "b"), Span(0.8, 1, "c")]


def test_columns_stand_on_each_other() -> None:
    drawn = columns("fill engaged", SPANS, [0, 0.5, 0], [0.5, 1, 0])
    assert drawn == '<path class="fill engaged" d="M0 200V100H500V200zM500 100V0H750V100z"/>'


def test_a_line_is_broken_where_there_is_no_value_and_no_time() -> None:
    assert line("p50", SPANS, [0.5, 1, 0]).count("M") == 2
    assert line("p50", SPANS, [0.5, None, 0]).count("M") == 2
    assert line("p50", SPANS, [None, None, None]) == '<path class="line p50" d=""/>'


def test_labels_are_text() -> None:
    assert "<b>" not in hits([Span(0, 1, "<b>")])
    assert "<b>" not in x_axis([Tick(0.5, "<b>")])


def test_a_bar_is_as_long_as_its_shares() -> None:
    assert bar(["engaged", "failed", "skipped"], [0.9, 0.1, 0]).count("<rect") == 2


def test_labels_have_room() -> None:
    drawn = x_axis(Tick(n / 40, "09:00:00") for n in range(41))
    assert 4 <= drawn.count("<text") <= 8
    assert 2 <= drawn.count("always") <= 4


@pytest.mark.parametrize(
    ("highest", "ceiling"), [(0, (1, 1)), (1, (1, 0.5)), (7, (8, 2)), (399, (400, 100)), (401, (600, 200))]
)
def test_an_axis_ends_on_a_round_number(highest: float, ceiling: tuple[float, float]) -> None:
    assert round_ceiling(highest) == ceiling


@given(st.floats(1e-3, 1e9), st.floats(1, 1e9))
def test_a_logarithmic_axis_has_room_for_its_values(low: float, times: float) -> None:
    begin, end = around(low, low * times)
    assert begin < low <= low * times < end
    assert all(begin * 0.999 <= value <= end * 1.001 for value in log_ticks(begin, end))
    assert len(log_ticks(begin, end)) >= 2
