"""Figures add up, whatever order and however long a time the outcomes have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engager.models import Outcome, Status
from engager.output.report.figures import MAX_CELLS, MAX_KINDS, MAX_SAMPLES, Figures
from engager.reader.outcome_fields import result_fields
from engager.store.tally import Tally
from tests.output.report.made import outcome


def figures_of(outcomes: Iterable[Outcome]) -> Figures:
    figures = Figures()
    for one in outcomes:
        figures.count(result_fields(one, str))
    return figures


@given(
    st.lists(
        st.tuples(st.sampled_from(Status), st.floats(0, 3e9), st.integers(0, 30), st.booleans()), max_size=900
    )
)
def test_the_figures_are_those_of_the_account(rows: list[tuple[Status, float, int, bool]]) -> None:
    outcomes = [
        outcome(number, status, after, attempts=tries, duplicate=repeat, error=tries)
        for number, (status, after, tries, repeat) in enumerate(rows, 1)
    ]
    figures, tally = figures_of(outcomes), Tally()
    for one in outcomes:
        tally.count([result_fields(one, str)])
    whole = figures.whole
    assert len(figures.cells) <= MAX_CELLS
    assert whole.statuses == {status: tally.statuses[status] for status in Status}
    assert (whole.latency.buckets, whole.waited.buckets) == (tally.latency.buckets, tally.waited.buckets)
    assert (figures.attempts, figures.duplicates) == (tally.attempts, tally.duplicates)
    assert figures.attempts_by_row.total() == tally.rows
    assert {kind: found.rows for kind, found in figures.kinds.items()} == dict(tally.errors)


def test_each_outcome_stands_where_it_belongs_however_wide_the_cells_become() -> None:
    moments = [number * 7.3 for number in range(5_000)]
    figures = figures_of(outcome(number + 1, after=after) for number, after in enumerate(moments))
    expected = Counter(int((1_795_507_200 + round(after, 1)) // figures.width) for after in moments)
    assert {index: cell.rows for index, cell in figures.cells.items()} == dict(expected)
    assert MAX_CELLS / 5 <= len(figures.cells) <= MAX_CELLS


def test_errors_are_grouped_with_their_times_and_a_few_rows() -> None:
    figures = figures_of(
        outcome(row, Status.FAILED, 100.0 - row, error=503, error_text="busy", http_status=503)
        for row in range(1, 20)
    )
    (kind,) = figures.kinds.values()
    assert (kind.status, kind.error, kind.rows) == ("failed", "503", 19)
    assert (kind.first, kind.last) == ("2026-11-24T08:01:21.000Z", "2026-11-24T08:01:39.000Z")
    assert [sample.row for sample in kind.samples] == [str(row) for row in range(1, MAX_SAMPLES + 1)]


def test_an_endpoint_that_invents_errors_fills_no_memory() -> None:
    figures = figures_of(outcome(row, Status.REJECTED, error=f"code {row}") for row in range(1, 2_000))
    assert len(figures.kinds) == MAX_KINDS + 1
    assert sum(kind.rows for kind in figures.kinds.values()) == 1_999


def test_what_is_shown_of_a_row_has_an_end_and_turns_nothing_round() -> None:
    figures = figures_of(
        [outcome(1, Status.FAILED, key="k" * 9_999, error="\u202eexe", error_text="\x00\u202e" + "t" * 500)]
    )
    (kind,) = figures.kinds.values()
    (sample,) = kind.samples
    assert (len(sample.key), sample.text[:3], kind.error) == (121, "\ufffd\ufffdt", "\ufffdexe")


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "lost"},
        {"status": None},
        {"latency_ms": "slow"},
        {"waited_ms": float("nan")},
        {"attempts": "many"},
        {"finished_at": "yesterday"},
        {"finished_at": 5},
        {"finished_at": "9999-12-31T23:59:59.000Z"},
    ],
)
def test_a_line_that_is_none_changes_nothing(wrong: dict[str, Any]) -> None:
    figures = figures_of([outcome(1)])
    before = seen(figures)
    line = {**result_fields(outcome(2, Status.FAILED), str), **wrong}
    with pytest.raises((ValueError, TypeError, KeyError)):
        figures.count(line)
    assert seen(figures) == before


def seen(figures: Figures) -> tuple[Any, ...]:
    whole = figures.whole
    spread = (whole.statuses, whole.latency.buckets, whole.waited.buckets, figures.last)
    return (*spread, figures.attempts_by_row.copy(), figures.attempts, set(figures.kinds))


def test_the_rows_of_a_batch_are_one_request() -> None:
    figures = Figures()
    for row in range(1000):
        batch = row % 8 + row // 800 * 8  # of eight batches at once the lines are mixed
        one = outcome(row, after=row / 100, request_id=f"batch {batch}", latency_ms=10.0 + batch)
        figures.count(result_fields(one, str))
    whole = figures.whole
    assert (whole.rows, whole.requests, whole.latency.count, whole.waited.count) == (1000, 16, 16, 16)
