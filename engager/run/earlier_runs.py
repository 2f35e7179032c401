"""The people that an earlier run has reached, who are excluded from a run after it.

Reached are the rows that may have had an effect: engaged, accepted, in doubt, in flight when the run ended,
and skipped by that run because a run before it had reached them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import orjson

from engager.config.job import JobFile
from engager.config.secret import MASK
from engager.errors import BusyError, EngagerError, RunDirectoryError
from engager.models import EngageRequest, Row
from engager.reader.results import results_of
from engager.requests.exclusion import EARLIER_RUN, ExcludedSource, Exclusion
from engager.run.opening_input import builder_of, open_input
from engager.run.run_selection import command_of
from engager.run.unsettled import is_unsettled, what_is_left
from engager.store.files.kept_input import kept_input
from engager.store.lock import RunLock
from engager.store.run_directory import RunDirectory
from engager.store.state import RunState
from engager.store.status import existing_run, read_status, state_so_far

REACHED = frozenset({"engaged", "accepted", "in_doubt"})


def exclude_reached(exclusion: Exclusion, path: Path) -> None:
    """Add the keys of all rows that a run reached. Raises RunDirectoryError or BusyError."""
    found = existing_run(path)
    if RunLock.is_held(found.lock_path):
        raise BusyError(f"{path}: this run is in progress. Wait for its end, and run again.")
    source = ExcludedSource(str(path), EARLIER_RUN, f"the run {path.name} has reached this person")
    exclusion.add(source, _reached(found))


def _reached(found: RunDirectory) -> Iterator[str]:
    state = state_so_far(found)
    rows: set[int] = set()
    for row, key, status, error in _lines(found, state):
        if status in REACHED or error == EARLIER_RUN:
            if status in REACHED:
                rows.add(row)
            yield key or ""
    known = sum(count for status, count in state.rows.count_statuses().items() if status in REACHED)
    if len(rows) < known or state.lost_rows:
        raise RunDirectoryError(
            f"{found.path}: its results lack {known - len(rows) + state.lost_rows:,} people that it may have "
            "reached. Start that run again first: it completes its results."
        )
    yield from _in_flight(found, frozenset(state.open) - rows)


def _lines(found: RunDirectory, state: RunState) -> Iterator[tuple[int, str | None, str, Any]]:
    for result in results_of(found.results_path):
        yield result.row, result.key, str(result.status), result.error
    for line in state.unwritten.results:
        fields = orjson.loads(line)
        yield fields["row"], fields["key"], fields["status"], fields["error"]


def _in_flight(found: RunDirectory, wanted: frozenset[int]) -> Iterator[str]:
    """The keys of rows that were sent and not settled when the run ended; only their numbers are stored."""
    if not wanted:
        return
    missing = set(wanted)
    try:
        job_file = JobFile.from_source(found.invocation)
        with closing(open_input(job_file, found.input_path)) as rows:
            builder = builder_of(job_file, rows, MASK, found.run_id)
            for record in (record for chunk in rows.chunks() for record in chunk):
                if record.number in missing and isinstance(record, Row):
                    missing.discard(record.number)
                    if isinstance(built := builder.build(record), EngageRequest):
                        yield built.key
                if not missing:
                    return
    except EngagerError as fault:
        reason = f" {fault}"
    else:
        reason = ""
    raise RunDirectoryError(
        f"{found.path}: {len(wanted):,} requests were in flight when this run ended, and their keys "
        f"cannot be determined. Start that run again first: it settles them.{reason}"
    )


def refuse_change(
    found: RunDirectory, difference: str, job_file: JobFile, input_path: str | None
) -> NoReturn:
    """Raises RunDirectoryError with the people that a new run would reach again, and how to exclude them."""
    status = read_status(found)
    people = sum(status["statuses"].get(reached, 0) for reached in REACHED) + status["open"]
    again = command_of(job_file.source, input_path, _free(found.path), (found.path,))
    raise RunDirectoryError(
        f"{found.path}: this run directory belongs to another run: {difference}. Undo the change: the "
        f"same command then resumes. A new run would send again to {people:,} people that this one has "
        f"reached; this excludes them:\n  {again}{_unfinished(found)}"
    )


def _unfinished(found: RunDirectory) -> str:
    """How a run that is not settled goes on without the input that was replaced."""
    if not is_unsettled(found) or kept_input(found.path) is None:
        return ""
    goes_on = command_of(found.invocation, found.input_path, found.path)
    return f"\n{what_is_left(found)}; it keeps its input, and goes on by:\n  {goes_on}"


def _free(path: Path) -> Path:
    number = 2
    while path.with_name(f"{path.name}-{number}").exists():
        number += 1
    return path.with_name(f"{path.name}-{number}")
