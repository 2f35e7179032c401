"""Runs with a name: a lost run directory repeats under the same Request-IDs, and never beyond the window."""

from __future__ import annotations

import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engager.config.job import JobFile
from engager.errors import Exit
from engager.run.control import Control
from engager.run.schedule import Scheduler


def named(ago: timedelta, name: str = "spring") -> tuple[str, ...]:
    since = (datetime.now(UTC) - ago).isoformat()
    return ("--set", f"job.run_name={name}", "--set", f'job.run_since="{since}"')


HOUR = timedelta(hours=1)


async def test_a_start_without_the_directory_repeats_under_the_same_ids(bench: Any) -> None:
    b = await bench(40)
    assert (await b.engager("run", "job.toml", *named(HOUR), "--limit", "25")).code == 0
    shutil.rmtree(b.path / "runs")
    ended = await b.engager("run", "job.toml", *named(HOUR), "--out", "elsewhere")
    assert ended.code == 0, ended.err
    assert len(b.sandbox.log) == 65
    assert b.sandbox.brain.effects == Counter({f"email=p{row}@example.com": 1 for row in range(1, 41)})
    assert b.summary("elsewhere")["duplicates"] == 25


async def test_another_name_is_another_run(bench: Any) -> None:
    b = await bench()
    for name in ("one", "two"):
        assert (await b.engager("run", "job.toml", *named(HOUR, name), "--out", name)).code == 0
    assert set(b.sandbox.brain.effects.values()) == {2}


async def test_nothing_is_sent_when_the_endpoint_may_have_forgotten(bench: Any) -> None:
    b = await bench()
    assert (await b.engager("run", "job.toml", *named(25 * HOUR))).code == 2
    # A directory that is as old as the run is the only one it ever had.
    assert (await b.engager("run", "job.toml", *named(HOUR), "--limit", "5")).code == 0
    window = ("--set", "delivery.dedupe_window=1m")
    assert (await b.engager("run", "job.toml", *named(HOUR), *window)).code == 2
    assert len(b.sandbox.log) == 5
    assert (await b.engager("run", "job.toml", *named(-timedelta(seconds=30)), *window)).code == 0
    assert len(b.sandbox.log) == 20
    # A complete run sends nothing, and can be asked for its end at any time.
    assert (await b.engager("run", "job.toml", *named(25 * HOUR))).code == 0


def test_a_run_stops_when_the_endpoint_begins_to_forget() -> None:
    tables: dict[str, Any] = {
        "job": {"name": "test", "run_name": "spring", "run_since": "2026-01-01T00:00+00:00"},
        "endpoint": {"url": "sandbox"},
        "input": {"path": "people.csv"},
        "request": {"id": 12, "email": "{email}"},
        "stop": {"deadline": "2026-01-03T00:00+00:00"},
    }
    job = JobFile.from_tables(tables, Path()).job
    begun = datetime(2026, 1, 1, 1, tzinfo=UTC).timestamp()
    ends = job.forgotten_at(begun)
    assert ends == datetime(2026, 1, 2, tzinfo=UTC).timestamp()
    assert job.forgotten_at(begun - 3600) is None
    for now, exit_code in ((ends - 1, None), (ends, Exit.STOPPED)):
        control = Control()
        Scheduler.for_job(job, control, lambda now=now: now, forgotten_at=ends).check_now()  # type: ignore[misc]
        assert control.stopping.exit == exit_code


@pytest.mark.parametrize(
    "keys",
    [
        ("job.run_name=spring",),
        ("job.run_since=2026-01-01T00:00",),
        ("job.run_name=spring", "job.run_since=yesterday"),
        ("job.run_name=spring", "job.run_since=2126-01-01T00:00"),
        ("job.run_name=a b", "job.run_since=2026-01-01T00:00"),
        ("job.run_name=spring", "job.run_since=2026-01-01T00:00", "delivery.mode=at-most-once"),
    ],
)
async def test_a_name_that_would_not_be_safe_is_refused(bench: Any, keys: tuple[str, ...]) -> None:
    b = await bench()
    sets = [part for key in keys for part in ("--set", key)]
    assert (await b.engager("run", "job.toml", *sets)).code == 2
    assert b.sandbox.log == []


async def test_a_check_says_what_a_run_directory_is_worth(bench: Any) -> None:
    b = await bench()
    assert "Keep the run directory" in (await b.engager("check", "job.toml")).out
    assert "same Request-ID" in (await b.engager("check", "job.toml", *named(HOUR))).out
