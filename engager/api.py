"""The Python interface, on which the command line is built.

Every error that a person must act on is an EngagerError, whose text says what to do.
"""

from __future__ import annotations

import os
import time
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from anyio import to_thread

from engager.config.job import JobFile
from engager.config.log import log
from engager.config.mail import Receiver, receivers_of
from engager.config.placeholders import expanded
from engager.endpoint.tasks import ask_for_tasks, tasks_of
from engager.errors import (
    EngagerError,
    Exit,
    InputError,
    JobError,
    UnsettledRunError,
    first_of,
    one_at_a_time,
)
from engager.events import AlreadyComplete, Began, Ended, Event, Summary, Watch, ignore_events
from engager.models import Status
from engager.output.finish import finish, notify, notify_without_run
from engager.output.live.address import refuse_used_address
from engager.output.logs import LogFormat, RunLog, logged
from engager.output.night import measured
from engager.reader.objects import OBJECTS, Objects, stream_of_objects
from engager.reader.results import Result, latest_results, results_of
from engager.reader.sources import STDIN
from engager.run import dry_run as checking
from engager.run.control import Control
from engager.run.destination import destination_of, refuse_other_destination
from engager.run.dry_run import Findings, ShowRows
from engager.run.execution import NO_LIMIT, RowLimit, Serve, send
from engager.run.monitor import kinds_of, tolerated
from engager.run.opening_input import moment_of_name, place_of_input
from engager.run.operator.chosen_rows import ChosenKeys
from engager.run.operator.control_socket import command, commanded
from engager.run.operator.finding import SearchedRun, find_key, find_statuses
from engager.run.operator.overview import follow as follow_run
from engager.run.operator.overview import state_of_run, states_beneath
from engager.run.operator.signals import stopped_by_signals
from engager.run.operator.testing import TestPlan, TestResult, send_one
from engager.run.prepare import Run, prepare
from engager.run.run_selection import ChosenDirectory, choose_directory
from engager.run.unsettled import summary_of, summary_without_run
from engager.sending import loop
from engager.store.run_directory import RunDirectory
from engager.store.status import UNCONFIRMED, existing_run

T = TypeVar("T")

AnyPath = str | PathLike[str]

#: A path, or rows as mappings: a list, an iterator, an async iterator, a data frame.
Input = AnyPath | Objects


def load_job(path: AnyPath, overrides: Sequence[str] = ()) -> JobFile:
    """Load a job file.

    Args:
        path: the job file.
        overrides: texts of the form `section.key=value`; `profile=NAME` chooses a profile of the job.

    Raises:
        JobError.

    """
    return JobFile(Path(path), overrides)


def build_job(tables: Mapping[str, Any], base: AnyPath = ".", overrides: Sequence[str] = ()) -> JobFile:
    """Build a job from the tables of a job file.

    Args:
        tables: the sections of a job file as mappings. `input`, or its `path`, may be missing: then `run` and
            `check` need the rows as their `input`.
        base: the folder that relative paths begin at.
        overrides: as in `load_job`.

    Raises:
        JobError.

    """
    return JobFile.from_tables(tables, Path(base), overrides)


def check(
    job: JobFile,
    *,
    input: Input | None = None,  # noqa: A002
    limit: int | None = None,
    samples: int = 3,
    show: ShowRows | None = None,
) -> Findings:
    """Validate the job and every row; sends nothing. Raises JobError or InputError.

    Args:
        job: the job, from `load_job` or `build_job`.
        input: a path or rows, as in `run`; an async iterator is read in an event loop of its own.
        limit: the number of rows after which it ends.
        samples: the number of sample requests.
        show: called some hundred rows after another, with their number so far and the number of all rows,
            which is None while it is unknown.

    """

    async def in_thread() -> Findings:
        path, objects = _given(input)
        return await to_thread.run_sync(checking.check, job, path, samples, limit, objects, show)

    if isinstance(input, AsyncIterable):
        return loop.run(in_thread())
    path, objects = _given(input)
    return checking.check(job, path, samples, limit, objects, show)


async def run_async(
    job: JobFile,
    *,
    out: AnyPath | None = None,
    input: Input | None = None,  # noqa: A002
    total: int | None = None,
    limit: int | None = None,
    after: Sequence[AnyPath] = (),
    give_up: Sequence[AnyPath] = (),
    yes: bool = False,
    new_address: bool = False,
    page: str | None = None,
    watch: Watch = ignore_events,
    control: Control | None = None,
    log_format: LogFormat = "text",
    stop_on_signals: bool = False,
) -> Summary:
    """Send as `run` does, in an event loop that is running: arguments, result and errors are the same."""
    options = _RunOptions(watch, control, log_format, page, stop_on_signals, limit, yes)
    return await _run(job, out, input, options, after, give_up, new_address, total)


async def retry_async(
    run_directory: AnyPath,
    *,
    input: Objects | None = None,  # noqa: A002
    in_doubt: bool = False,
    keys: Iterable[str] | None = None,
    new_address: bool = False,
    overrides: Sequence[str] = (),
    page: str | None = None,
    watch: Watch = ignore_events,
    control: Control | None = None,
    log_format: LogFormat = "text",
    stop_on_signals: bool = False,
) -> Summary:
    """Send as `retry` does, in an event loop that is running: arguments, result and errors are the same."""
    options = _RunOptions(watch, control, log_format, page, stop_on_signals)
    again = _again(in_doubt, keys)
    return await _retry(run_directory, input, again, overrides, options, new_address)


def run(
    job: JobFile,
    *,
    out: AnyPath | None = None,
    input: Input | None = None,  # noqa: A002
    total: int | None = None,
    limit: int | None = None,
    after: Sequence[AnyPath] = (),
    give_up: Sequence[AnyPath] = (),
    yes: bool = False,
    new_address: bool = False,
    page: str | None = None,
    watch: Watch = ignore_events,
    control: Control | None = None,
    log_format: LogFormat = "text",
    stop_on_signals: bool = False,
) -> Summary:
    """Send one request per row and return the summary; the same call resumes an interrupted run.

    `run_async` does so in an event loop that is running.

    Args:
        job: the job, from `load_job` or `build_job`.
        out: the run directory, which may contain `{date}`; default: `output.directory` of the job. An
            incomplete run of another date with the same input is resumed.
        input: what to read instead of the input of the job: a path, `"-"` for stdin, or rows, which are
            mappings in a list, an iterator, an async iterator, or a data frame of pandas or polars. Rows are
            resumed by their order, so every call gives the same ones. An iterator is read in a thread of
            its own.
        total: the number of rows of an iterator, so that progress has a percentage and a time that is left;
            what has a length needs none.
        limit: the number of rows after which the run stops.
        after: earlier runs; the people that they engaged, accepted or left in doubt are skipped.
        give_up: earlier runs of the job that are not to be finished.
        yes: confirm the rows after `limits.confirm_above`, for this run and all its starts.
        new_address: go on at another `endpoint.url` than the run began with.
        page: `HOST:PORT`, where the run serves its live page.
        watch: called with every event; not called again after it has raised an exception.
        control: pauses, resumes and stops this run, and sets its rate.
        log_format: the format of `engager.log`.
        stop_on_signals: SIGINT, SIGTERM and SIGHUP stop the run in good order, a second signal stops it at
            once. For one run at a time, in the main thread.

    Returns:
        The summary. For a complete run it is the stored one, and nothing is sent.

    Raises:
        JobError, InputError, RunDirectoryError, BusyError, RecordingError: the text says what to do.

    """
    options = _RunOptions(watch, control, log_format, page, stop_on_signals, limit, yes)
    return loop.run(_run(job, out, input, options, after, give_up, new_address, total))


def retry(
    run_directory: AnyPath,
    *,
    input: Objects | None = None,  # noqa: A002
    in_doubt: bool = False,
    keys: Iterable[str] | None = None,
    new_address: bool = False,
    overrides: Sequence[str] = (),
    page: str | None = None,
    watch: Watch = ignore_events,
    control: Control | None = None,
    log_format: LogFormat = "text",
    stop_on_signals: bool = False,
) -> Summary:
    """Send the failed rows of a complete run again and return the summary.

    `retry_async` does so in an event loop that is running.

    Args:
        run_directory: the run directory; the job is the one of the run.
        input: the rows again, where the run got its rows from a program.
        in_doubt: send in-doubt rows too. A person may get a second message.
        keys: with `in_doubt`: of the in-doubt rows send only those with these keys: of the people who were
            looked up, and have no message. The other ones stay in doubt. A key of no such row is an error.
        new_address: as in `run`.
        overrides: texts of the form `section.key=value` for this pass, such as a lower rate.
        page: as in `run`.
        watch: as in `run`.
        control: as in `run`.
        log_format: as in `run`.
        stop_on_signals: as in `run`.

    Raises:
        JobError, InputError, RunDirectoryError, BusyError, RecordingError: the text says what to do.

    """
    options = _RunOptions(watch, control, log_format, page, stop_on_signals)
    again = _again(in_doubt, keys)
    return loop.run(_retry(run_directory, input, again, overrides, options, new_address))


def _explain(form: Callable[..., Any], whole: Callable[..., Any]) -> None:
    """Add the arguments, the result and the errors of a call to the docstring of its other form."""
    form.__doc__ = f"{form.__doc__}\n\n    Args:{(whole.__doc__ or '').partition('Args:')[2]}"


_explain(run_async, run)
_explain(retry_async, retry)


def send_test(
    job: JobFile,
    *to: str,
    row: int | None = None,
    input: AnyPath | None = None,  # noqa: A002
    consents: Callable[[TestPlan], bool] = lambda plan: True,
) -> TestResult | None:
    """Send the request of one row to yourself, once, outside of every run; the row's person is not reached.

    Args:
        job: the job.
        to: your own key in the place of the row's, and further addresses of yours, one of each kind, where
            the request names a person by them too.
        row: the number of the row; default: the first that can be sent.
        input: the path of an input to read instead of the one of the job; `"-"` is stdin.
        consents: is asked before it is sent.

    Returns:
        How it ended; None if it was not confirmed.

    Raises:
        JobError, InputError.

    """
    if not to or not all(map(str.strip, to)):
        raise JobError("--to: give your own address, phone or id.")
    return loop.run(send_one(job, to, row, None if input is None else str(input), consents))


def status(run_directory: AnyPath) -> dict[str, Any]:
    """The state of a run and its outcomes so far, also while it runs or after a crash.

    Args:
        run_directory: the run directory.

    Returns:
        A mapping with the keys that `engager status RUN --output json` prints, such as `state` ("running",
        "stopped", "complete"), `stopped` (why), `rows`, `total`, `share` (0 to 1), `statuses`, `errors`,
        `exit_code` and `resume_command`, None if only the program can resume it. What is unknown is None.

    Raises:
        RunDirectoryError.

    """
    return state_of_run(existing_run(Path(run_directory)))


def runs(folder: AnyPath = ".") -> list[dict[str, Any]]:
    """The states of all runs beneath a folder: mappings, each as `status` returns it.

    The `state` of a run that cannot be read is `unreadable`, and the reason is in `stopped`; it has no other
    keys.

    Args:
        folder: the folder.

    Raises:
        RunDirectoryError: there is no run.

    """
    return states_beneath(Path(folder))


def follow(run_directory: AnyPath) -> Iterator[dict[str, Any]]:
    """Iterate over the states of a run, as `status` returns them, whenever the state has changed.

    The last one is the first that is not `running`.

    Args:
        run_directory: the run directory.

    Raises:
        RunDirectoryError.

    """
    return follow_run(existing_run(Path(run_directory)))


def outcomes(run_directory: AnyPath, *, latest: bool = False) -> Iterator[Result]:
    """Iterate over the outcomes of a run, in the order in which rows were settled.

    Args:
        run_directory: the run directory.
        latest: only the last few thousand, without reading the whole file.

    Yields:
        A `Result` for each row that has an outcome.

    Raises:
        RunDirectoryError.

    """
    found = existing_run(Path(run_directory))
    return (latest_results if latest else results_of)(found.results_path)


def find(
    *runs: AnyPath, key: str | None = None, statuses: Collection[Status | str] = ()
) -> Iterator[SearchedRun]:
    """Look for a person in runs, or for all rows with certain statuses.

    Args:
        runs: run directories, or folders with runs beneath them.
        key: an address, a phone or another value by which people are matched; it is compared as the run
            compares its keys.
        statuses: instead of a key: the statuses of the rows.

    Yields:
        Each run with its `rows`: those found, with their outcomes and how far they are.

    Raises:
        RunDirectoryError, JobError.

    """
    if (key is None) == (not statuses) or (key is not None and not key.strip()):
        raise JobError("find: give a key, or statuses.")
    paths = list(map(Path, runs))
    return find_statuses(paths, frozenset(map(Status, statuses))) if key is None else find_key(paths, key)


def pause(run_directory: AnyPath) -> dict[str, Any]:
    """Pause a run in progress in another process of the same user; returns its state after that.

    Args:
        run_directory: the run directory.

    Returns:
        A mapping with the `holders` of the pause, the `rate`, the requests `in_flight`, whether it is
        `stopping`, and its latest `snapshot`.

    Raises:
        RunDirectoryError: also if the run is not in progress.

    """
    return command(existing_run(Path(run_directory)), "pause")


def resume(run_directory: AnyPath) -> dict[str, Any]:
    """End an operator's pause of a run in progress.

    Args:
        run_directory: the run directory.

    Returns:
        Its state, as `pause` does.

    Raises:
        RunDirectoryError: also if the run is not in progress.

    """
    return command(existing_run(Path(run_directory)), "resume")


def stop(run_directory: AnyPath) -> dict[str, Any]:
    """Stop a run in progress in good order; returns before it has ended.

    Args:
        run_directory: the run directory.

    Returns:
        Its state, as `pause` does.

    Raises:
        RunDirectoryError: also if the run is not in progress.

    """
    return command(existing_run(Path(run_directory)), "stop")


def set_rate(run_directory: AnyPath, rate: float) -> dict[str, Any]:
    """Set the rate of a run in progress.

    Args:
        run_directory: the run directory.
        rate: requests per second, more than 0.

    Returns:
        The state after that, as `pause` does. Raises RunDirectoryError.

    """
    return command(existing_run(Path(run_directory)), "rate", rate=rate)


def tasks(run_directory: AnyPath, *, overrides: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Ask the endpoint how far the tasks are in which it processes the accepted rows of a run.

    Args:
        run_directory: the run directory; the job is the one of the run.
        overrides: texts of the form `section.key=value`.

    Returns:
        For each `task` its `rows` in this run, and what the endpoint says: `status`, `progress`, `errors` and
        `total`, None where it does not say so. `problem` is its error, or how its response is unknown.

    Raises:
        JobError, RunDirectoryError, EndpointError.

    """
    found = existing_run(Path(run_directory))
    known = tasks_of(found)
    if not known:
        return []
    job = JobFile.from_source(found.invocation, overrides)
    refuse_other_destination(found, job, overrides, "--tasks", command="status")
    return [report.as_dict() for report in loop.run(ask_for_tasks(job, known))]


@dataclass(frozen=True, slots=True)
class _RunOptions:
    """The options of a start."""

    watch: Watch
    control: Control | None
    log_format: LogFormat
    page: str | None
    stop_on_signals: bool
    limit: int | None = None
    yes: bool = False  #: the rows after `limits.confirm_above` are confirmed

    def __post_init__(self) -> None:
        if self.page is not None:
            refuse_used_address(self.page)
        if self.control is not None:
            self.control.refuse_second_run()

    @property
    def serve(self) -> Serve | None:
        """The server of the live page, if one is requested."""
        if self.page is None:
            return None
        from engager.output.live.server import serving  # aiohttp's server costs time and memory

        return partial(serving, address=self.page)


@dataclass(frozen=True, slots=True)
class _Again:
    """The rows that a pass sends again."""

    statuses: frozenset[Status]
    chooser: ChosenKeys | None


def _again(in_doubt: bool, keys: Iterable[str] | None) -> _Again:
    if keys is not None and (not in_doubt or isinstance(keys, str)):
        raise JobError("keys: give a list of texts, with in_doubt: it chooses among the in-doubt rows.")
    statuses = {Status.FAILED, Status.IN_DOUBT} if in_doubt else {Status.FAILED}
    return _Again(frozenset(statuses), None if keys is None else ChosenKeys(keys))


async def _run(
    job: JobFile,
    out: AnyPath | None,
    given: Input | None,
    options: _RunOptions,
    after: Sequence[AnyPath] = (),
    give_up: Sequence[AnyPath] = (),
    new_address: bool = False,
    total: int | None = None,
) -> Summary:
    async with measured(job, options.watch) as watch:
        options = replace(options, watch=watch)
        return await _begun(job, out, given, options, after, give_up, new_address, total)


async def _begun(
    job: JobFile,
    out: AnyPath | None,
    given: Input | None,
    options: _RunOptions,
    after: Sequence[AnyPath],
    give_up: Sequence[AnyPath],
    new_address: bool,
    total: int | None,
) -> Summary:
    receivers = receivers_of(job)
    path, objects = _given(given, total)
    name = None if out is None else str(out)
    earlier = [_absolute(path) for path in after]

    def begin() -> tuple[ChosenDirectory, Run | Summary]:
        with choose_directory(job, name, path, earlier, [str(run) for run in give_up]) as directory:
            return directory, prepare(
                job,
                directory.path,
                path,
                after=earlier,
                new_address=new_address,
                started_at=directory.started_at,
                objects=objects,
                confirmed=options.yes,
            )

    async def carry_out(options: _RunOptions) -> Summary:
        with logged(options.log_format) as log:
            async with _notifying(job, path, receivers):
                directory, run = await _beside_its_loop(given, begin)
            if isinstance(run, Summary):
                why = "this run is complete, and a new run needs a new run directory"
                options.watch(AlreadyComplete(directory.path, why, run))
                return run
            if job.profile is not None:
                run.builder.notes.insert(0, destination_of(job))
            row_limit = _row_limit(job, options.limit, run.directory.is_confirmed)
            return await _carried_out(run, row_limit, options, log, receivers, directory.warnings)

    return await _stoppable(carry_out, options)


async def _retry(
    run_directory: AnyPath,
    given: Objects | None,
    again: _Again,
    overrides: Sequence[str],
    options: _RunOptions,
    new_address: bool = False,
) -> Summary:
    found = existing_run(Path(run_directory))
    job = JobFile.from_source(found.invocation, overrides)
    refuse_other_destination(found, job, overrides)
    async with measured(job, options.watch) as watch:
        return await _passed(found, job, given, again, replace(options, watch=watch), new_address)


async def _passed(
    found: RunDirectory,
    job: JobFile,
    given: Objects | None,
    again: _Again,
    options: _RunOptions,
    new_address: bool,
) -> Summary:
    if (found.invocation.get("reads") == OBJECTS) != (given is not None):
        needs = "gave" if given is None else "did not give"
        raise InputError(
            f"{found.path}: a program {needs} the rows of this run. Call engager.retry "
            f"{'with the same rows as input=' if given is None else 'without input='}."
        )
    receivers = receivers_of(job)
    objects = None if given is None else stream_of_objects(given)

    def begin() -> Run | Summary:
        path = found.input_path
        return prepare(
            job,
            found.path,
            path,
            again.statuses,
            new_address=new_address,
            objects=objects,
            chooser=again.chooser,
        )

    async def carry_out(options: _RunOptions) -> Summary:
        with logged(options.log_format) as log:
            async with _notifying(job, found.input_path, receivers):
                run = await _beside_its_loop(given, begin)
            if isinstance(run, Summary):
                options.watch(AlreadyComplete(found.path, "the run has no row to retry", run))
                return run
            run.builder.notes.insert(0, destination_of(job))
            return await _carried_out(run, NO_LIMIT, options, log, receivers)

    return await _stoppable(carry_out, options)


@asynccontextmanager
async def _notifying(
    job: JobFile, input_path: str | None, receivers: Sequence[Receiver]
) -> AsyncIterator[None]:
    """Notify the receivers if an unsettled earlier run, or the input, keeps this run from beginning."""
    try:
        yield
    except UnsettledRunError as fault:
        found = existing_run(fault.directory)
        called = expanded(job.job.job.name, moment_of_name(job, found.started_at))
        await notify(found, summary_of(found, called, fault), receivers)
        raise
    except InputError:
        now = time.time()
        called = expanded(job.job.job.name, moment_of_name(job, now))
        # The error itself may quote a row, or a key of a list.
        reason = (
            f"the input cannot be read: {place_of_input(job, input_path, now)[0]}; this start printed why"
        )
        await notify_without_run(summary_without_run(called, reason), receivers)
        raise


async def _stoppable(carry_out: Callable[[_RunOptions], Awaitable[Summary]], options: _RunOptions) -> Summary:
    """Run with signal handling if requested, and with a watch whose exceptions end nothing."""
    summary: Summary | None = None
    watch_it = tolerated(options.watch)

    def watch(event: Event) -> None:
        nonlocal summary
        summary = event.summary if isinstance(event, Ended) else summary
        watch_it(event)

    options = replace(options, watch=watch)
    if not options.stop_on_signals:
        return await carry_out(options)
    control = options.control or Control()
    async with stopped_by_signals(control, log.warning):
        summary = await carry_out(replace(options, control=control))
    if summary is None:  # the second signal came before the run had a summary
        fault = EngagerError("the run was interrupted at once. The same call resumes it.")
        fault.exit = control.stop.exit or Exit.INTERNAL
        raise fault
    return summary


async def _carried_out(
    run: Run,
    row_limit: RowLimit,
    options: _RunOptions,
    log: RunLog,
    receivers: Sequence[Receiver],
    warnings: Sequence[str] = (),
) -> Summary:
    path = run.directory.path
    warnings = (*warnings, *run.job_file.warnings, *run.builder.warnings)
    watch = log.with_log(options.watch)
    # The run directory is released whatever fails.
    with run.resources, one_at_a_time():
        run.control = options.control or run.control
        run.control.claim()
        log.opens(run.directory.log_path)
        notes, endpoint, scenario = tuple(run.builder.notes), run.directory.endpoint, run.directory.scenario
        watch(Began(path, run.directory.run_id, run.name, run.resumed, warnings, notes, endpoint, scenario))
        try:
            async with commanded(run) as taking:
                return await send(run, row_limit, taking.observing(watch), options.serve)
        except Exception as fault:
            log.fault(first_of(fault))
            raise
        finally:
            if run.summary is not None:
                log.not_engaged(kinds_of(run.store.tally))
                unconfirmed = row_limit.reason is not None and run.summary.stopped == row_limit.reason
                watch(Ended(path, run.summary, row_limit.last_row, unconfirmed))
                report = run.job_file.job.output.report
                await finish(run.directory, run.summary, report, receivers, watch)


def _row_limit(job: JobFile, limit: int | None, is_confirmed: bool) -> RowLimit:
    """The last row of this start, by `limit` and by confirmation."""
    confirmed = job.job.limits.confirm_above
    if is_confirmed or confirmed is None or (limit is not None and limit <= confirmed):
        return RowLimit(limit)
    text = f"{UNCONFIRMED} = {confirmed}, and the rows after it are not confirmed; --yes confirms them"
    return RowLimit(confirmed, text)


def _absolute(path: AnyPath) -> str:
    return os.path.abspath(path)


def _given(input_: Input | None, total: int | None = None) -> tuple[str | None, BinaryIO | None]:
    """The path of an input, and the rows of one that a program gives, which are a stream."""
    if input_ is None or isinstance(input_, str | PathLike):
        return None if input_ is None else os.fspath(input_), None
    return STDIN, stream_of_objects(input_, total)


async def _beside_its_loop(given: Input | None, call: Callable[[], T]) -> T:
    """Call a function that reads an input: an async iterator needs its loop for it."""
    return await to_thread.run_sync(call) if isinstance(given, AsyncIterable) else call()
