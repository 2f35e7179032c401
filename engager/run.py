"""A job in, a carried-out run out: opens what the pipeline needs, closes it, and leaves the summary."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

from anyio import to_thread

from engager.endpoint import connected
from engager.errors import Exit
from engager.intake.identity import fresh
from engager.job import Job
from engager.model import Row, Status, Unreadable
from engager.pipeline import Plan, carry_out
from engager.preparing import Run

T = TypeVar("T")

log = logging.getLogger("engager")


async def send(run: Run, limit: int | None = None) -> None:
    """Carry the run out and leave its summary.

    Whatever ends it, a cancellation included, every outcome that is known is written first.
    """
    started = time.time()
    complete = False
    try:
        async with connected(run.job_file, run.secret, run.stop) as transport:
            complete = await carry_out(
                _plan(run.job_file.job),
                first_rows(run.rows.chunks(), limit),
                run.builder.build,
                transport.send,
                fresh,
                run.recorder,
                run.stop,
                _off_loop if run.rows.flows else _at_once,
            )
    finally:
        try:
            run.marks.close()
            run.recorder.close()
            run.summary = _summary(run, complete, limit, started)
            run.directory.write_summary(run.summary)
        finally:
            run.opened.close()


async def _off_loop(call: Callable[[], T]) -> T:
    """For an input that may let us wait: a pipe, a terminal."""
    return await to_thread.run_sync(call, abandon_on_cancel=True)


async def _at_once(call: Callable[[], T]) -> T:
    """For an input on a disk: the way to a thread and back takes longer than a read from the cache."""
    return call()


def _plan(job: Job) -> Plan:
    return Plan(job.limits.concurrency, job.pace, job.retry_policy, job.delivery_policy)


def first_rows(
    chunks: Iterator[list[Row | Unreadable]], limit: int | None
) -> Iterator[Sequence[Row | Unreadable]]:
    """The chunks of the first `limit` rows, or all."""
    if limit is None:
        yield from chunks
        return
    for chunk in chunks:
        yield list(islice(chunk, limit))
        limit -= len(chunk)
        if limit <= 0:
            return


def _summary(run: Run, complete: bool, limit: int | None, started: float) -> dict[str, Any]:
    ended = time.time()
    exit_code = _exit_code(run, complete)
    return {
        "job": run.job_file.job.job.name,
        "run": run.directory.run_id,
        "complete": complete and limit is None,
        "exit_code": int(exit_code),
        "stopped": run.stop.reason if run.stop.requested and not complete else None,
        "started_at": _moment(run.directory.started_at),
        "finished_at": _moment(ended),
        "seconds": round(ended - started, 3),
        **run.recorder.tally.as_dict(),
    }


def _exit_code(run: Run, complete: bool) -> Exit:
    if complete:
        settled = run.recorder.tally.statuses[Status.ENGAGED] + run.recorder.tally.statuses[Status.SKIPPED]
        return Exit.DONE if settled == run.recorder.tally.rows else Exit.INCOMPLETE
    return run.stop.exit or Exit.INTERNAL


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
