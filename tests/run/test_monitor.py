"""The rates of a run: of requests as they leave, and of rows as they are settled, in batches of any size."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import engager
from engager import Event, Progressed
from engager.run.monitor import Moment, RecentMoments
from engager.sandbox import Sandbox, SandboxConfig
from engager.store.tally import Histogram


def histogram(count: int) -> Histogram:
    found = Histogram()
    found.add([20.0] * count)
    return found


class Course:
    """A run of which a snapshot is made four times a second."""

    def __init__(self) -> None:
        self.at, self.rows, self.sent, self.settled = 0.0, 0, 0, 0
        self.recent = RecentMoments(self.moment())

    def moment(self) -> Moment:
        return Moment(self.at, self.rows, self.sent, histogram(self.settled))

    def pass_by(self, seconds: float, every: float, rows: int, settled: bool = True) -> list[float]:
        """Let requests leave, each settled a moment later; returns the rates of rows that were shown."""
        shown, begun, count = list[float](), self.at, 0
        while self.at < begun + seconds:
            self.at += 0.25
            while (count + 1) * every <= self.at - begun:
                count += 1
                self.sent += 1
                self.rows, self.settled = self.rows + rows * settled, self.settled + settled
            self.recent.add(self.moment())
            shown.append(self.recent.rows_per_second(4.0))
        return shown


@pytest.mark.parametrize(("every", "rows"), [(0.01, 1), (0.5, 500), (5.0, 10_000), (20.0, 10_000)])
def test_rows_of_batches_have_a_steady_rate(every: float, rows: int) -> None:
    course = Course()
    shown = course.pass_by(400.0, every, rows)
    late = shown[len(shown) // 2 :]
    assert min(late) >= rows / every * 0.85
    assert max(late) <= rows / every * 1.15
    assert max(before - after for before, after in pairwise(late)) < rows / every * 0.15


@pytest.mark.parametrize("every", [0.01, 0.5, 1.0])
def test_requests_are_counted_as_they_leave_and_not_shown_above_the_limit(every: float) -> None:
    course = Course()
    course.pass_by(30.0, every, 500)
    assert course.recent.requests_per_second(4.0) == pytest.approx(1 / every, rel=0.07)
    course.pass_by(5.0, 100.0, 1)
    assert course.recent.requests_per_second(4.0) == 0


def test_a_request_after_a_silence_is_one_in_the_time_that_is_measured() -> None:
    course = Course()
    course.pass_by(10.0, 100.0, 1)
    course.pass_by(0.25, 0.25, 1)
    assert course.recent.requests_per_second(4.0) == pytest.approx(1 / 4)


def test_an_endpoint_that_falls_silent_is_seen_in_the_rate() -> None:
    course = Course()
    before = course.pass_by(30.0, 0.02, 1)[-1]
    silent = course.pass_by(30.0, 100.0, 1)
    assert silent[-1] < before / 10
    assert silent == sorted(silent, reverse=True)


def test_an_outage_of_hours_takes_no_memory() -> None:
    """Requests leave and nothing is settled: of the first it is still measured, of the last few minutes."""
    course = Course()
    course.pass_by(20.0, 0.25, 500)
    course.pass_by(3_600.0, 0.25, 500, settled=False)
    assert course.recent.rows_per_second(4.0) == 0
    assert course.recent.since(10_000.0).at >= course.at - 301


async def test_a_run_in_batches_shows_requests_and_the_people_in_them(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken-of-the-tests")
    people = [f"p{number}@example.com" for number in range(100)]
    (tmp_path / "people.csv").write_text("\n".join(["email", *people, ""]))
    config: dict[str, Any] = {"keep_log": True, "latency": "300ms"}
    seen: list[Event] = []
    async with Sandbox(SandboxConfig.from_mapping(config)) as sandbox:
        job = engager.build_job(
            {
                "job": {"name": "batches"},
                "endpoint": {"url": sandbox.url, "token": "file:token"},
                "input": {"path": "people.csv"},
                "request": {
                    "method": "import_and_start_batch",
                    "workflow_id": 12,
                    "matching": "email",
                    "email": "{email}",
                    "data": {"email": "{email}"},
                },
                "batch": {"rows": 20},
                "limits": {"concurrency": 2},
            },
            base=tmp_path,
        )
        summary = await engager.run_async(job, out=tmp_path / "run", watch=seen.append)
        requests = len(sandbox.log)
    assert (summary.rows, summary.attempts, summary.requests) == (100, 100, 5)
    assert requests == 5
    snapshots = [event.snapshot for event in seen if isinstance(event, Progressed)]
    flying = {(one.in_flight, one.rows_in_flight) for one in snapshots}
    assert (2, 40) in flying
    assert {one.rows_per_request for one in snapshots} == {20}
    assert engager.status(tmp_path / "run")["requests"] == 5
