"""What a run that is not complete leaves undone: how many people it has not reached, and its giving up.

A run stays unsettled until it is complete or given up by its name; only then may another input take its turn.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from engager.errors import BusyError, Exit, RunDirectoryError, UnsettledRunError
from engager.events import Summary, utc_text
from engager.reader.rows import Rows
from engager.store import opening
from engager.store.lock import RunLock
from engager.store.run_directory import RunDirectory, replace_file
from engager.store.status import existing_run, read_status, state_so_far
from engager.store.tally import Tally

#: Bytes of an input whose rows are counted when its run begins: it takes some hundredths of a second.
COUNTED_BYTES = 1 << 26


def rows_of(rows: Rows) -> int | None:
    """How many rows an input has, where that is quickly known."""
    if rows.given_total is not None:
        return rows.given_total
    pieces = rows.counting()
    if pieces is None or sum(file.stat().st_size for file in rows.files) > COUNTED_BYTES:
        return None
    return max(pieces, default=0)


def what_is_left(found: RunDirectory) -> str:
    """How far a run that is not complete came, and how many people it has not reached."""
    facts = read_status(found)
    settled, in_flight = facts["rows"], facts["open"]
    flying = f", {in_flight:,} were in flight" if in_flight else ""
    total, about = found.invocation.get("rows"), ""
    if total is None:
        total, about = _estimated(found, settled + in_flight), "about "
    if total is None:
        return f"{settled:,} of its rows have an outcome{flying}, and the people after them are not reached"
    left = max(0, total - settled - in_flight)
    return (
        f"{settled:,} of its {about}{total:,} rows have an outcome{flying}, and {about}{left:,} people are "
        "not reached"
    )


def _estimated(found: RunDirectory, rows: int) -> int | None:
    """The rows of a large file, by how many its beginning has; None of what is compressed, or a stream."""
    marks, files = opening.checkpoints(found), found.identity["input"]["files"]
    read, size = max((mark[0] for mark in marks), default=0), sum(file["bytes"] for file in files)
    return rows * size // read if size > COUNTED_BYTES and 0 < read <= size and rows else None


def is_unsettled(found: RunDirectory) -> bool:
    """Whether a run is neither complete nor given up."""
    return not found.is_complete and not found.given_up_path.exists()


def give_up(paths: Sequence[Path], job_name: str) -> None:
    """Note that runs of a job are not to be finished. Raises RunDirectoryError or BusyError."""
    for path in paths:
        found = existing_run(path)
        if found.identity.get("job") != {"name": job_name}:
            raise RunDirectoryError(
                f"{path}: it is a run of another job. Name the run that is to be given up."
            )
        if RunLock.is_held(found.lock_path):
            raise BusyError(f"{path}: this run is under way. Stop it before you give it up.")
        if is_unsettled(found):
            replace_file(found.given_up_path, f"{utc_text(time.time())}: {what_is_left(found)}\n".encode())


def summary_without_run(name: str, reason: str) -> Summary:
    """The summary of a start that could not read its input, for those who are notified of that."""
    now = utc_text(time.time())
    return Summary(
        job=name,
        run="",
        complete=False,
        exit_code=int(Exit.WRONG),
        stopped=reason,
        started_at=now,
        finished_at=now,
        elapsed_seconds=0.0,
        total_seconds=0.0,
        **Tally().as_dict(),
    )


def summary_of(found: RunDirectory, name: str, fault: UnsettledRunError) -> Summary:
    """The summary of a run as it stands, for those who are notified that it is not settled."""
    tally = state_so_far(found).tally
    return Summary(
        job=name,
        run=found.run_id,
        complete=False,
        exit_code=int(fault.exit),
        stopped=fault.reason,
        started_at=utc_text(found.started_at),
        finished_at=utc_text(time.time()),
        elapsed_seconds=0.0,
        total_seconds=round(max(0.0, time.time() - found.started_at), 3),
        endpoint=found.endpoint,
        scenario=found.scenario,
        **tally.as_dict(),
    )
