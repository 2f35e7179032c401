"""Reads the state of the rows of a run from its files, also while a process sends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from engager.config.commands import command_of
from engager.errors import RunDirectoryError
from engager.models import Status
from engager.reader.results import Matches, Result, results_of
from engager.store.beneath import advice
from engager.store.journal import Chain, read_chain, seed_of
from engager.store.lock import RunLock
from engager.store.row_states import AGAIN, LOST, VERSIONS
from engager.store.run_directory import RunDirectory, find_run
from engager.store.state import RunState, state_of

#: Attempts to read a journal whose files are replaced at that moment.
_READS = 3


#: How the reason of a stop begins whose next rows are to be confirmed.
UNCONFIRMED = "limits.confirm_above"


def needs_confirmation(run: RunDirectory) -> bool:
    """Whether the run stopped at rows that are to be confirmed, and would stop there again."""
    return not run.is_confirmed and str((run.summary() or {}).get("stopped")).startswith(UNCONFIRMED)


def existing_run(path: Path) -> RunDirectory:
    """The run in a folder. Raises RunDirectoryError if there is none."""
    found = find_run(path)
    if found is None:
        raise RunDirectoryError(f"{path}: there is no run here. {advice(path)}")
    return found


def state_so_far(run: RunDirectory) -> RunState:
    """The state of every row of a run, as its journal has it. Raises RunDirectoryError."""
    return state_of(_chain(run), run.started_at)


def results_so_far(run: RunDirectory, state: RunState, matches: Matches | None = None) -> Iterator[Result]:
    """Yields the outcomes of a run: those in its files, then those that only the journal has.

    `matches`: only those that it accepts. `state` must have been read before: what a process settles
    meanwhile then is in the files.
    """
    unwritten = [Result.from_fields(orjson.loads(line)) for line in state.unwritten.results]
    rows = {result.row for result in unwritten}  # the files may have some of them by now
    written = results_of(run.results_path, matches)
    yield from (result for result in written if result.row not in rows)
    for result in unwritten:
        if matches is None or matches(result.key, result.status, result.error_text):
            yield result


def read_status(run: RunDirectory) -> dict[str, Any]:
    """The state of the rows so far, as JSON values. Raises RunDirectoryError."""
    running = RunLock.is_held(run.lock_path)
    state = state_so_far(run)
    summary = run.summary() or {}
    complete = bool(summary.get("complete")) and not running
    statuses, tally = state.rows.count_statuses(), state.tally.as_dict()
    return {
        "run": run.run_id,
        "state": "running" if running else "complete" if complete else "stopped",
        "stopped": summary.get("stopped"),
        "resume_command": None if complete or running else _resuming(run),
        "rows": statuses.total(),
        "statuses": {str(status): statuses[status] for status in Status},
        "open": len(state.sent_rows) + state.lost_rows,
        "unwritten": _unwritten(state),
        "pending_retry": _again(state),
        **{key: value for key, value in tally.items() if key not in ("rows", "statuses")},
    }


def _chain(run: RunDirectory) -> Chain:
    for _ in range(_READS):
        chain = read_chain(run.path, seed_of(run.run_id))
        if chain.is_whole:
            break
    return chain


def _unwritten(state: RunState) -> int:
    """Lines of results that the files do not have yet."""
    lines = [facts["results"][2] if facts else 0 for facts in (state.committed, state.saved)]
    return max(0, len(state.unwritten.results) - (lines[0] - lines[1]))


def _again(state: RunState) -> int:
    """Rows that another pass is still to send."""
    waiting = sum(rows for code, rows in state.rows.count().items() if AGAIN <= code & ~VERSIONS < LOST)
    return waiting - sum(AGAIN <= state.rows[row] & ~VERSIONS < LOST for row in state.sent_rows)


def _resuming(run: RunDirectory) -> str | None:
    """The command that resumes a run; None if only a program can resume it."""
    if run.is_of_program:
        return None
    return command_of(run.invocation, run.input_path, run.path, yes=needs_confirmation(run))
