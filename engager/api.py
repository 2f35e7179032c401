"""The Python interface: a job in, a run carried out. The command line is built on it.

Whatever a person must act on is raised as an EngagerError, whose text says what to do.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from engager.config.job import JobFile
from engager.config.log import log
from engager.config.webhook import Webhook, webhook_of
from engager.errors import EngagerError, Exit, first_of, one_at_a_time
from engager.events import AlreadyComplete, Began, Ended, Event, Summary, Watch, ignore_events
from engager.models import Status
from engager.output.finish import finish
from engager.output.live.address import refuse_used_address
from engager.output.logs import LogFormat, RunLog, logged
from engager.run import dry_run as checking
from engager.run import loop
from engager.run.control import Control
from engager.run.dry_run import Findings
from engager.run.execution import NO_LIMIT, RowLimit, Serve, send
from engager.run.monitor import kinds_of, tolerated
from engager.run.prepare import Run, prepare
from engager.run.run_selection import choose_directory
from engager.run.stopping import stopped_by_signals
from engager.store.results import Result, latest_results, results_of
from engager.store.status import existing_run, look

AnyPath = str | PathLike[str]


def load_job(path: AnyPath, overrides: Sequence[str] = ()) -> JobFile:
    """Read a job file; `overrides` are `section.key=value`. Raises JobError."""
    return JobFile(Path(path), overrides)


def build_job(tables: Mapping[str, Any], base: AnyPath = ".", overrides: Sequence[str] = ()) -> JobFile:
    """A job from its tables, as the job file has them; relative paths are relative to `base`.

    Raises JobError.
    """
    return JobFile.from_tables(tables, Path(base), overrides)


def check(
    job: JobFile,
    *,
    input: AnyPath | None = None,  # noqa: A002
    limit: int | None = None,
    samples: int = 3,
) -> Findings:
    """Read the job and every row; sends nothing. Raises JobError or InputError."""
    return checking.check(job, _text(input), samples, limit)


async def run_async(
    job: JobFile,
    *,
    out: AnyPath | None = None,
    input: AnyPath | None = None,  # noqa: A002
    limit: int | None = None,
    after: Sequence[AnyPath] = (),
    yes: bool = False,
    page: str | None = None,
    watch: Watch = ignore_events,
    control: Control | None = None,
    log_format: LogFormat = "text",
    stop_on_signals: bool = False,
) -> Summary:
    """Send: one request a row; the same call again goes on where it stopped.

    `out` is the run directory, which may hold `{date}`; unless given, the job says it. A run of another
    date that is not complete and has the same input is gone on with. `input` is another than the job's;
    `limit` the row to stop behind; `after` are earlier runs, whose people are left out;
    `yes` consents to the rows behind the job's `limits.confirm_above`.
    `page`, `HOST:PORT`, is where the run serves its page. `watch` is told of every event, and nothing more
    once it has raised. `control` can pause and stop the run, and is for this one only. `stop_on_signals`:
    SIGINT, SIGTERM and SIGHUP stop the run in good order, and a second one at once, as they stop the
    command; for one run at a time, in the main thread. A run that is complete already sends nothing, and
    its summary is returned. Raises JobError, InputError, RunDirectoryError, BusyError or RecordingError.
    """
    options = _RunOptions(watch, control, log_format, page, stop_on_signals)
    return await _run(job, out, input, _row_limit(job, limit, yes), options, after)


async def retry_async(
    run_directory: AnyPath,
    *,
    in_doubt: bool = False,
    overrides: Sequence[str] = (),
    page: str | None = None,
    watch: Watch = ignore_events,
    control: Control | None = None,
    log_format: LogFormat = "text",
    stop_on_signals: bool = False,
) -> Summary:
    """Another pass over the rows of a complete run that failed; `in_doubt`: also those in doubt.

    The job is the run's, `overrides` (`section.key=value`) are for this pass: more tries, a lower rate.
    With `in_doubt` some people may get a second message. Raises as `run_async` does.
    """
    options = _RunOptions(watch, control, log_format, page, stop_on_signals)
    return await _retry(run_directory, in_doubt, overrides, options)


def run(
    job: JobFile,
    *,
    out: AnyPath | None = None,
    input: AnyPath | None = None,  # noqa: A002
    limit: int | None = None,
    after: Sequence[AnyPath] = (),
    yes: bool = False,
    page: str | None = None,
    watch: Watch = ignore_events,
    control: Control | None = None,
    log_format: LogFormat = "text",
    stop_on_signals: bool = False,
) -> Summary:
    """`run_async` for those who have no event loop."""
    options = _RunOptions(watch, control, log_format, page, stop_on_signals)
    return loop.run(_run(job, out, input, _row_limit(job, limit, yes), options, after))


def retry(
    run_directory: AnyPath,
    *,
    in_doubt: bool = False,
    overrides: Sequence[str] = (),
    page: str | None = None,
    watch: Watch = ignore_events,
    control: Control | None = None,
    log_format: LogFormat = "text",
    stop_on_signals: bool = False,
) -> Summary:
    """`retry_async` for those who have no event loop."""
    options = _RunOptions(watch, control, log_format, page, stop_on_signals)
    return loop.run(_retry(run_directory, in_doubt, overrides, options))


def status(run_directory: AnyPath) -> dict[str, Any]:
    """What became of the rows so far, also while the run is under way. Raises RunDirectoryError."""
    return look(existing_run(Path(run_directory)))


def outcomes(run_directory: AnyPath, *, latest: bool = False) -> Iterator[Result]:
    """Every outcome of a run, in the order in which rows were settled. Raises RunDirectoryError.

    `latest`: only some thousands that were settled last, at once, however long the run is.
    """
    found = existing_run(Path(run_directory))
    return latest_results(found) if latest else results_of(found)


@dataclass(frozen=True, slots=True)
class _RunOptions:
    """How a run is carried out."""

    watch: Watch
    control: Control | None
    log_format: LogFormat
    page: str | None
    stop_on_signals: bool

    def __post_init__(self) -> None:
        if self.page is not None:
            refuse_used_address(self.page)
        if self.control is not None:
            self.control.refuse_second_run()

    @property
    def serve(self) -> Serve | None:
        """What serves the run's page, where it is wanted."""
        if self.page is None:
            return None
        from engager.output.live.server import serving  # aiohttp's server is for those who want it

        return partial(serving, address=self.page)


async def _run(
    job: JobFile,
    out: AnyPath | None,
    input_path: AnyPath | None,
    row_limit: RowLimit,
    options: _RunOptions,
    after: Sequence[AnyPath] = (),
) -> Summary:
    given, webhook = _text(input_path), webhook_of(job)
    name = None if out is None else str(out)
    earlier = [_absolute(path) for path in after]

    async def carry_out(options: _RunOptions) -> Summary:
        with logged(options.log_format) as log:
            with choose_directory(job, name, given) as directory:
                run = prepare(job, directory.path, given, after=earlier)
            if isinstance(run, Summary):
                why = "this run is complete, and a new run needs a new run directory"
                options.watch(AlreadyComplete(directory.path, why, run))
                return run
            return await _carried_out(run, row_limit, options, log, webhook, directory.warnings)

    return await _stoppable(carry_out, options)


async def _retry(
    run_directory: AnyPath, in_doubt: bool, overrides: Sequence[str], options: _RunOptions
) -> Summary:
    found = existing_run(Path(run_directory))
    asked = frozenset({Status.FAILED, Status.IN_DOUBT} if in_doubt else {Status.FAILED})
    job = JobFile.from_source(found.invocation, overrides)
    webhook = webhook_of(job)

    async def carry_out(options: _RunOptions) -> Summary:
        with logged(options.log_format) as log:
            run = prepare(job, found.path, found.invocation["input"], asked)
            if isinstance(run, Summary):
                options.watch(AlreadyComplete(found.path, "no row to try again", run))
                return run
            return await _carried_out(run, NO_LIMIT, options, log, webhook)

    return await _stoppable(carry_out, options)


async def _stoppable(carry_out: Callable[[_RunOptions], Awaitable[Summary]], options: _RunOptions) -> Summary:
    """Carry it out, stopped by signals if that is wanted, and tell a watcher who can do no harm."""
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
    if summary is None:  # the second signal came before there was anything to account for
        fault = EngagerError("interrupted at once. The same call goes on.")
        fault.exit = control.stop.exit or Exit.INTERNAL
        raise fault
    return summary


async def _carried_out(
    run: Run,
    row_limit: RowLimit,
    options: _RunOptions,
    log: RunLog,
    webhook: Webhook | None,
    warnings: Sequence[str] = (),
) -> Summary:
    path, told = run.directory.path, (*warnings, *run.builder.warnings)
    watch = log.with_log(options.watch)
    # Whatever fails on the way, the run directory is given up again.
    with run.resources, one_at_a_time():
        run.control = options.control or run.control
        run.control.claim()
        log.opens(run.directory.log_path)
        watch(Began(path, run.directory.run_id, run.name, run.resumed, told, tuple(run.builder.notes)))
        try:
            return await send(run, row_limit, watch, options.serve)
        except Exception as fault:
            log.fault(first_of(fault))
            raise
        finally:
            if run.summary is not None:
                log.unengaged(kinds_of(run.store.tally))
                unconfirmed = row_limit.reason is not None and run.summary.stopped == row_limit.reason
                watch(Ended(path, run.summary, row_limit.last_row, unconfirmed))
                report = run.job_file.job.output.report
                await finish(run.directory, run.summary, report, webhook, watch)


def _row_limit(job: JobFile, limit: int | None, yes: bool) -> RowLimit:
    """How far this start may go, by what was asked for and consented to."""
    confirmed = job.job.limits.confirm_above
    if yes or confirmed is None or (limit is not None and limit <= confirmed):
        return RowLimit(limit)
    return RowLimit(
        confirmed, f"limits.confirm_above = {confirmed}, and nobody consented to the rows behind it"
    )


def _absolute(path: AnyPath) -> str:
    return os.path.abspath(path)


def _text(path: AnyPath | None) -> str | None:
    return None if path is None else str(Path(path)) if path != "-" else "-"
