"""A run some of whose rows are accepted, as a method that carries many rows leaves them."""

from __future__ import annotations

from pathlib import Path

from engager.config.job import JobFile
from engager.models import Outcome, Row, Status
from engager.run.prepare import Run, prepare
from engager.store.run_directory import RunDirectory


async def accept(job: JobFile, out: Path, rows: int, reference: str | None = "task-7") -> RunDirectory:
    """Settle the first rows of a run of the job as accepted."""
    return await accept_in(job, out, [reference] * rows)


async def accept_in(
    job: JobFile, out: Path, references: list[str | None], status: Status = Status.ACCEPTED
) -> RunDirectory:
    """Settle the first rows of a run of the job as accepted, or otherwise, each with its reference."""
    run = prepare(job, out, None)
    assert isinstance(run, Run)
    with run.resources:
        run.store.start(attempts=1)
        for number, reference in enumerate(references, 1):
            key = f"p{number}@example.com"
            row = Row(number, number + 1, "people.csv", [key])
            one = Outcome(row, key, status, 1, 200, 0, "Successful operation", reference=reference)
            run.store.after([one])
        await run.store.finish()
    return run.directory
