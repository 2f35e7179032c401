"""The cells of a run are exact in their sum and steady over time, whenever snapshots are taken."""

from __future__ import annotations

import re
from dataclasses import replace

from engager.models import Status
from engager.output.live.history import MAX_CELLS, History, charts
from engager.store.tally import Histogram
from tests.output.test_progress import NOW

BEGAN = 1_795_507_200.0


def course(moments: list[float], rate: float) -> History:
    """A run that settles rows at a steady rate, and of which snapshots are taken at these seconds."""
    history = History(BEGAN)
    for moment in moments:
        statuses = {**dict.fromkeys(map(str, Status), 0), "engaged": int(moment * rate)}
        history.add(replace(NOW, elapsed_seconds=moment, statuses=statuses), Histogram())
    return history


def rates(history: History) -> list[float]:
    """The rates that the chart of the throughput reads out."""
    drawing = charts(history.past()).split("latency-time")[0]
    return [float(rate.replace(",", "")) for rate in re.findall(r": ([\d,.]+) rows/s", drawing)]


def test_a_steady_run_is_drawn_steadily_whenever_snapshots_are_taken() -> None:
    moments = [0.0, 0.3, 0.3, 0.31, 1.7, 1.9, 2.45, 3.2, 3.2, 4.95, 5.5, 6.1, 7.0, 8.4]
    assert rates(course(moments, 100)) == [100.0] * 8


def test_an_unfinished_cell_is_not_drawn() -> None:
    history = course([0.0, 0.9], 100)
    assert charts(history.past()) == ""
    before = history.finished
    history = course([0.0, 0.9, 1.1], 100)
    assert (history.finished, len(rates(history))) == (before + 1, 1)


def test_a_long_run_has_wider_cells_and_not_more_of_them() -> None:
    history = course([second / 2 for second in range(20_000)], 100)
    found = rates(history)
    assert MAX_CELLS / 10 < len(found) < MAX_CELLS
    assert found == [100.0] * len(found)


def test_a_long_sleep_of_the_machine_is_one_step() -> None:
    assert len(rates(course([0.0, 5.0, 400_000.0], 1))) < MAX_CELLS


def test_the_latency_has_no_gap_where_a_snapshot_was_late() -> None:
    history, seen = History(BEGAN), Histogram()
    for moment in (0.0, 0.9, 4.1):
        seen.add([20.0])
        copy = Histogram()
        copy.merge(seen)
        statuses = {**dict.fromkeys(map(str, Status), 0), "engaged": int(moment)}
        history.add(replace(NOW, elapsed_seconds=moment, statuses=statuses), copy)
    assert [round(cell.latency.percentile(0.5) or 0) for cell in history.past().cells.values()] == [20] * 4
