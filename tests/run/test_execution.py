"""A run that is stopped and continued is one run to the endpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

import engager
from engager import Control, Event, Progressed, Snapshot
from engager.run.engine import Engine
from engager.sandbox import Sandbox, SandboxConfig


def a_job(folder: Path, sandbox: Sandbox, rate: int, timeout: int = 30) -> engager.JobFile:
    (folder / "token").write_text("t0ken-of-the-tests")
    return engager.build_job(
        {
            "job": {"name": "stopped"},
            "endpoint": {"url": sandbox.url, "token": "file:token", "timeout": timeout},
            "input": {"path": "people.csv"},
            "request": {"id": 12, "email": "{email}"},
            "limits": {"rate": rate},
            "output": {"report": False},
        },
        base=folder,
    )


def write_people(folder: Path, rows: int) -> None:
    lines = "".join(f"p{n}@example.com\n" for n in range(rows))
    (folder / "people.csv").write_text(f"email\n{lines}")


async def test_the_rows_that_are_counted_at_the_start_are_the_total(tmp_path: Path) -> None:
    """From the first snapshot on, and anew where the input has grown."""
    totals: list[int | None] = []

    def note(event: Event) -> None:
        if isinstance(event, Progressed):
            totals.append(event.snapshot.total)

    async with Sandbox(SandboxConfig.from_mapping({})) as sandbox:
        job = a_job(tmp_path, sandbox, 200)
        write_people(tmp_path, 200)
        await engager.run_async(job, out=tmp_path / "run", limit=100, watch=note)
        assert set(totals) == {200}
        write_people(tmp_path, 300)
        totals.clear()
        summary = await engager.run_async(job, out=tmp_path / "run", watch=note)
        assert (summary.exit_code, summary.rows, set(totals)) == (0, 300, {300})


async def test_what_left_before_a_stop_counts_for_the_rate_after_it(tmp_path: Path) -> None:
    """In one process, where no start takes the time that has to pass."""
    write_people(tmp_path, 300)
    control = Control()

    def stop_early(event: Event) -> None:
        if isinstance(event, Progressed) and event.snapshot.rows > 40:
            control.stop("enough")

    async with Sandbox(SandboxConfig.from_mapping({"keep_log": True})) as sandbox:
        job = a_job(tmp_path, sandbox, 100)
        first = await engager.run_async(job, out=tmp_path / "run", control=control, watch=stop_early)
        before = len(sandbox.log)
        second = await engager.run_async(job, out=tmp_path / "run")
        assert (first.exit_code, second.exit_code) == (3, 0)
        assert sandbox.log[before].arrived - sandbox.log[before - 1].arrived >= 1


async def test_a_hanging_endpoint_is_seen_in_every_snapshot_until_the_stop_is_over(tmp_path: Path) -> None:
    write_people(tmp_path, 20)
    control, snapshots = Control(), list[Snapshot]()

    def stop_when_idle(event: Event) -> None:
        if isinstance(event, Progressed):
            snapshots.append(event.snapshot)
            if event.snapshot.waits_for is not None:
                control.stop("enough")

    async with Sandbox(SandboxConfig.from_mapping({"faults": {"silence_before": 1}})) as sandbox:
        job = a_job(tmp_path, sandbox, 200, timeout=6)
        summary = await engager.run_async(job, out=tmp_path / "run", watch=stop_when_idle, control=control)
    ages = [one.oldest_in_flight_seconds for one in snapshots if one.in_flight]
    assert len(ages) > 4
    assert [age for age in ages if age is None] == []
    stopping = [one for one in snapshots if one.stopping == "enough" and one.in_flight]
    assert stopping
    assert all(one.waits_for is None for one in stopping)
    bounds = [one.stops_within_seconds for one in stopping]
    assert all(bound is not None and bound <= 6 for bound in bounds)
    assert all(one.stops_within_seconds is None for one in snapshots if one.stopping is None)
    assert (summary.stopped, summary.exit_code) == ("enough", 3)


async def test_a_fault_is_the_reason_of_its_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the summary and in the status, and without what the fault may say of a row."""
    write_people(tmp_path, 20)

    def broken(*_: object, **__: object) -> None:
        raise LookupError("p1@example.com")

    monkeypatch.setattr(Engine, "engage_all", broken)
    async with Sandbox(SandboxConfig.from_mapping({})) as sandbox:
        with pytest.raises(LookupError):
            await engager.run_async(a_job(tmp_path, sandbox, 200), out=tmp_path / "run")
    seen = engager.status(tmp_path / "run")
    assert seen["exit_code"] == 4
    assert "LookupError" in seen["stopped"]
    assert "@" not in seen["stopped"]
    assert (seen["job"], seen["scenario"]) == ("stopped", "12")
