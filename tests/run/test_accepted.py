"""Rows whose request was accepted without their results: no failures, and never sent to again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import engager
from engager import AlreadyComplete, Event, JobFile, RunDirectoryError
from engager.events import Summary
from engager.sandbox import Sandbox, SandboxConfig
from engager.store.run_directory import write_run
from tests.run.accepted_rows import accept

ROWS = 6


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    people = [f"p{number}@example.com" for number in range(1, ROWS + 1)]
    (tmp_path / "token").write_text("t0ken-of-the-tests")
    (tmp_path / "people.csv").write_text("\n".join(["email", *people, ""]))
    async with Sandbox(SandboxConfig.from_mapping({"keep_log": True})) as sandbox:
        yield sandbox


def job_of(sandbox: Sandbox, folder: Path, **tables: Any) -> JobFile:
    return engager.build_job(
        {
            "job": {"name": "spring"},
            "endpoint": {"url": sandbox.url, "token": "file:token"},
            "input": {"path": "people.csv"},
            "request": {"id": 12, "email": "{email}"},
            **tables,
        },
        base=folder,
    )


def counts(summary: Summary) -> dict[str, int]:
    return {status: rows for status, rows in summary.statuses.items() if rows}


async def test_accepted_rows_are_no_failures(sandbox: Sandbox, tmp_path: Path) -> None:
    job, out = job_of(sandbox, tmp_path, stop={"max_failed": 1}), tmp_path / "run"
    await accept(job, out, 4)
    summary = await engager.run_async(job, out=out)
    assert (summary.exit_code, summary.complete, counts(summary)) == (0, True, {"engaged": 2, "accepted": 4})
    assert summary.errors == []
    assert sorted(entry.key for entry in sandbox.log) == ["email=p5@example.com", "email=p6@example.com"]
    assert engager.status(out)["statuses"] == summary.statuses
    found = {one.row: (str(one.status), one.reference) for one in engager.outcomes(out)}
    expected = {row: ("accepted", "task-7") if row <= 4 else ("engaged", None) for row in range(1, ROWS + 1)}
    assert found == expected
    assert not list(out.glob("failed*")) + list(out.glob("in_doubt*"))


async def test_no_pass_sends_accepted_rows_again(sandbox: Sandbox, tmp_path: Path) -> None:
    job, out = job_of(sandbox, tmp_path), tmp_path / "run"
    await accept(job, out, ROWS)
    await engager.run_async(job, out=out)
    events: list[Event] = []
    await engager.retry_async(out, in_doubt=True, watch=events.append)
    assert [type(event) for event in events] == [AlreadyComplete]
    assert not sandbox.log


@pytest.mark.parametrize("reference", ["task-7", None])
async def test_people_of_accepted_rows_count_as_reached(
    sandbox: Sandbox, tmp_path: Path, reference: str | None
) -> None:
    job = job_of(sandbox, tmp_path)
    await accept(job, tmp_path / "first", 4, reference)
    summary = await engager.run_async(job, out=tmp_path / "second", after=[tmp_path / "first"])
    assert counts(summary) == {"engaged": 2, "skipped": 4}
    assert sorted(entry.key for entry in sandbox.log) == ["email=p5@example.com", "email=p6@example.com"]


async def test_an_input_whose_rows_are_accepted_is_not_sent_on_another_day(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    job = job_of(sandbox, tmp_path, output={"directory": "runs/{date}"})
    await accept(job, tmp_path / "runs/2026-01-01", ROWS)
    await engager.run_async(job, out=tmp_path / "runs/2026-01-01")
    with pytest.raises(RunDirectoryError):
        await engager.run_async(job)
    assert not sandbox.log


async def test_a_lost_line_of_an_accepted_row_costs_no_second_request(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    job, out = job_of(sandbox, tmp_path), tmp_path / "run"
    await accept(job, out, ROWS)
    await accept(job, out, 0)  # the journal is begun anew, without the lines that the file has
    path = out / "results.jsonl"
    kept = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(kept[:2] + kept[3:]))
    summary = await engager.run_async(job, out=out)
    assert (summary.exit_code, counts(summary)) == (0, {"accepted": ROWS})
    found = [(one.row, one.error) for one in engager.outcomes(out)]
    assert sorted(found) == [(row, 0) for row in range(1, ROWS + 1)]
    assert not sandbox.log


async def test_a_run_of_an_earlier_version_goes_on_in_its_own_form(sandbox: Sandbox, tmp_path: Path) -> None:
    """That version reads its lines by all their columns, and may be in use on another machine."""
    job, out = job_of(sandbox, tmp_path), tmp_path / "run"
    write_run(replace(await accept(job, out, 0), format=2))
    await engager.run_async(job, out=out, limit=3)
    summary = await engager.run_async(job, out=out)
    assert (summary.exit_code, counts(summary)) == (0, {"engaged": ROWS})
    assert b"reference" not in (out / "results.jsonl").read_bytes()
    assert b'"format": 2' in (out / "run.json").read_bytes()
    assert [one.reference for one in engager.outcomes(out)] == [None] * ROWS
    later = await engager.run_async(job, out=tmp_path / "later", after=[out])
    assert counts(later) == {"skipped": ROWS}
