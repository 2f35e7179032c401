"""The people that an earlier run has reached, who are excluded from a run after it.

Reached are the rows that may have had an effect: engaged, accepted, in doubt, in flight when the run ended,
and skipped by that run because a run before it had reached them. The runs that the earlier run was after
itself are excluded with it: a person whom only they reached need not be in its input.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from engager.config.commands import command_of
from engager.config.job import JobFile
from engager.config.job_sections import SANDBOX
from engager.config.secret import MASK
from engager.endpoint.address import Move, move_between
from engager.errors import BusyError, EngagerError, InputError, RunDirectoryError, UnsettledRunError
from engager.models import EARLIER_RUN, REACHED, EngageRequest, Row
from engager.reader.objects import OBJECTS
from engager.reader.rows import Rows
from engager.requests.exclusion import ExcludedSource, Exclusion
from engager.run.opening_input import builder_of, open_input
from engager.run.run_selection import all_after
from engager.run.unsettled import is_unsettled, what_is_left
from engager.store.files.kept_input import kept_input
from engager.store.lock import RunLock
from engager.store.run_directory import RunDirectory, find_run
from engager.store.status import existing_run, read_status, results_so_far, state_so_far


def exclude_reached(exclusion: Exclusion, named: Sequence[Path], own: Path | None = None) -> None:
    """Add the keys of all rows that some runs reached, and those that these were after.

    Args:
        exclusion: gets the keys, by run.
        named: the earlier runs.
        own: the directory of the run that is prepared, which an earlier run may have been after.

    Raises:
        RunDirectoryError, BusyError.

    """
    seen = set() if own is None else {own.resolve()}
    waiting: list[tuple[Path, RunDirectory | None]] = [(path, None) for path in named]
    for path, later in waiting:
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        if later is not None and find_run(path) is None:
            gone = f"{path}, which {later.path} was after, does not exist any more"
            exclusion.add(ExcludedSource(gone, EARLIER_RUN, ""), ())
            continue
        found = existing_run(path)
        if RunLock.is_held(found.lock_path):
            raise BusyError(f"{path}: this run is in progress. Wait for its end, and run again.")
        rehearsal = " (sandbox: nobody was reached)" if found.endpoint == SANDBOX else ""
        reason = f"the run {path.name} has reached this person"
        source = ExcludedSource(f"{path}{rehearsal}", EARLIER_RUN, reason)
        exclusion.add(source, _reached(found))
        waiting += [(before, found) for before in found.after]


def _reached(found: RunDirectory) -> Iterator[str]:
    state = state_so_far(found)
    rows: set[int] = set()
    for result in results_so_far(found, state):
        if result.status in REACHED or result.error == EARLIER_RUN:
            if result.status in REACHED:
                rows.add(result.row)
            yield result.key or ""
    known = sum(count for status, count in state.rows.count_statuses().items() if status in REACHED)
    if len(rows) < known or state.lost_rows:
        raise RunDirectoryError(
            f"{found.path}: its results lack {known - len(rows) + state.lost_rows:,} people that it may have "
            "reached. Start that run again first: it completes its results."
        )
    yield from (key for _, key in keys_in_flight(found, frozenset(state.open) - rows))


def keys_in_flight(found: RunDirectory, wanted: frozenset[int]) -> Iterator[tuple[int, str]]:
    """Yields rows that were sent and are not settled, with their keys; only their numbers are stored.

    Raises RunDirectoryError where the key of one cannot be determined.
    """
    if not wanted:
        return
    missing = set(wanted)
    try:
        if not found.identity["input"]["files"]:
            raise InputError("Its input was a stream.")
        job_file = JobFile.from_source(found.invocation)
        with closing(open_input(job_file, found.input_path, found.started_at)) as rows:
            builder = builder_of(job_file, rows, MASK, found.run_id)
            for record in (record for chunk in rows.chunks() for record in chunk):
                if record.number in missing and isinstance(record, Row):
                    missing.discard(record.number)
                    if isinstance(built := builder.build(record), EngageRequest):
                        yield record.number, built.key
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


def at_address(
    found: RunDirectory,
    job_file: JobFile,
    input_path: str | None,
    after: Sequence[str],
    accepted: bool,
    again: bool,
) -> tuple[RunDirectory, Move]:
    """The run with the address that its job has now, and how that differs from the one before.

    Args:
        found: the run, whose lock is held.
        job_file: the job as it is now.
        input_path: an input that is named instead of the job's.
        after: the earlier runs of this call.
        accepted: the operator has said that the run goes on at the new address.
        again: another pass is asked for.

    Raises:
        RunDirectoryError: the run has reached people, so the operator must confirm the change.

    """
    endpoint, url = found.identity["endpoint"], job_file.job.endpoint.url
    move = move_between(endpoint["url"], url)
    if move is not Move.NONE and (people := _may_have_reached(found)):
        if move is Move.REHEARSAL:
            _refuse_rehearsal(found, endpoint["url"], job_file, input_path, after)
        if not accepted:
            _refuse_address(found, people, job_file, input_path, after, again)
    identity = {**found.identity, "endpoint": {**endpoint, "url": url}}
    given = found.invocation if move is Move.NONE else {**found.invocation, **job_file.source}
    return replace(found, identity=identity, invocation=given), move


def _may_have_reached(found: RunDirectory) -> int:
    """The number of people that a request may have reached."""
    state = state_so_far(found)
    settled = sum(count for status, count in state.rows.count_statuses().items() if status in REACHED)
    doubtful = sum(known.in_doubt or row not in state.resting for row, known in state.open.items())
    return settled + doubtful + state.lost_rows


def _refuse_rehearsal(
    found: RunDirectory, before: str, job_file: JobFile, input_path: str | None, after: Sequence[str]
) -> NoReturn:
    was, now = ("the sandbox", "the platform") if before == SANDBOX else ("the platform", "the sandbox")
    again = command_of(job_file.source, input_path, _free(found.path), all_after(after, found))
    raise RunDirectoryError(
        f"{found.path}: this run was sent to {was}, and endpoint.url is {now} now. The sandbox reaches no "
        f"person, so one run cannot be for both. This begins a run of its own, with every row:\n  {again}"
    )


def _refuse_address(
    found: RunDirectory,
    people: int,
    job_file: JobFile,
    input_path: str | None,
    after: Sequence[str],
    again: bool,
) -> NoReturn:
    before, now = found.identity["endpoint"]["url"], job_file.job.endpoint.url
    resumes = command_of(job_file.source, input_path, found.path, new_address=True)
    if again:
        resumes = shlex.join(["engager", "retry", str(found.path), "--new-address"])
    new_run = _new_run(found, job_file, input_path, after)
    raise RunDirectoryError(
        f"{found.path}: endpoint.url was {before} and is {now}. If the platform is at the new address now, "
        f"this goes on there (another host does not know what the old one received: rows whose response is "
        f"lost stay in doubt):\n  {resumes}\nA new run would send again to {people:,} people that this one "
        f"may have reached; this excludes them:\n  {new_run}"
    )


def refuse_change(
    found: RunDirectory,
    difference: str,
    job_file: JobFile,
    input_path: str | None,
    after: Sequence[str] = (),
) -> NoReturn:
    """Raises RunDirectoryError with the people that a new run would reach again, and how to exclude them."""
    people = _people_of(found)
    risk = f"would send again to {people:,} people that this one has reached; this excludes them"
    raise RunDirectoryError(
        f"{found.path}: this run directory belongs to another run: {difference}. Undo the change: the "
        f"same command then resumes. A new run {risk if people else 'is begun by'}:\n  "
        f"{_new_run(found, job_file, input_path, after)}"
    )


def refuse_more(
    found: RunDirectory, job_file: JobFile, input_path: str | None, after: Sequence[str], rows: Rows
) -> None:
    """Raises RunDirectoryError if a stream has more rows than a complete run has read of it.

    The run is not complete for such an input, and its summary would say nothing of the people after it. A
    stream that is shorter or has other rows is an InputError.
    """
    known = state_so_far(found).rows.count_statuses().total()
    read = max((chunk[-1].number for chunk in rows.chunks() if chunk), default=0)
    if read > known:
        again = _new_run(found, job_file, input_path, after)
        raise RunDirectoryError(
            f"{found.path}: this run is complete with {known:,} rows, and {rows.name} has {read:,}: those "
            f"after row {known:,} were not sent. Nothing was sent now. A new run sends to these people, and "
            f"leaves out the {_people_of(found):,} that this one has reached:\n  {again}"
        )


def _source_of(found: RunDirectory, job_file: JobFile) -> Mapping[str, Any]:
    """The source of the job; a run whose rows a program gave is begun by a program."""
    return {"job": None} if found.invocation.get("reads") == OBJECTS else job_file.source


def _new_run(
    found: RunDirectory,
    job_file: JobFile,
    input_path: str | None,
    after: Sequence[str],
    given_up: Sequence[Path] = (),
) -> str:
    """The command of a new run that leaves out whom a run, and those before it, have reached."""
    runs = tuple(dict.fromkeys((*all_after(after), found.path)))
    return command_of(_source_of(found, job_file), input_path, _free(found.path), runs, given_up)


def refuse_input(
    found: RunDirectory, difference: str, job_file: JobFile, input_path: str | None, after: Sequence[str]
) -> NoReturn:
    """Raises UnsettledRunError if the input of a run was replaced before it was settled.

    Raises RunDirectoryError as `refuse_change` does if the run leaves nothing undone.
    """
    if not is_unsettled(found):
        refuse_change(found, difference, job_file, input_path, after)
    own = "the input that it began with" if kept_input(found.path) is None else "the input that it keeps"
    resumes = command_of(found.invocation, found.input_path, found.path)
    gives_up = _new_run(found, job_file, input_path, after, (found.path,))
    raise UnsettledRunError(
        found.path,
        f"{found.path} is not settled: {what_is_left(found)}",
        f"Nothing was sent: {difference}. With {own}, it goes on by:\n  {resumes}\nThis gives it up and "
        f"sends the new input, without the {_people_of(found):,} people that it has reached:\n  {gives_up}",
    )


def _people_of(found: RunDirectory) -> int:
    """The number of people that a new run would reach again."""
    status = read_status(found)
    return int(sum(status["statuses"].get(reached, 0) for reached in REACHED) + status["open"])


def _free(path: Path) -> Path:
    number = 2
    while path.with_name(f"{path.name}-{number}").exists():
        number += 1
    return path.with_name(f"{path.name}-{number}")
