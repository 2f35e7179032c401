"""A run that is stopped and continued is one run to the endpoint."""

from __future__ import annotations

from pathlib import Path

import engager
from engager import Control, Event, Progressed
from engager.sandbox import Sandbox, SandboxConfig


def a_job(folder: Path, sandbox: Sandbox, rate: int) -> engager.JobFile:
    (folder / "token").write_text("t0ken-of-the-tests")
    return engager.build_job(
        {
            "job": {"name": "stopped"},
            "endpoint": {"url": sandbox.url, "token": "file:token"},
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
