"""Carries out a prepared run and writes its summary, however the run ends."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import anyio

from engager.config.job_sections import Job
from engager.config.log import log
from engager.config.sanitize import sanitized
from engager.endpoint.access import connected
from engager.errors import EngagerError, Exit, RecordingError, first_of
from engager.events import Serving, Summary, Watch, ignore_events, utc_text
from engager.models import EARLIER_RUN, TAKEN, Status
from engager.policies.slow_start import SlowStart
from engager.reader.outcome_fields import MAX_TEXT
from engager.run.control import Gauges
from engager.run.engine import Engine, Remaining
from engager.run.monitor import Monitor
from engager.run.opening_input import packer_of
from engager.run.plan import Plan
from engager.run.prepare import Run
from engager.run.row_rules import repeats_of, sources_of
from engager.run.schedule import Scheduler
from engager.sending.failure_threshold import failure_counter
from engager.sending.limits import Limits
from engager.sending.remote.messages import EXPIRY
from engager.sending.remote.transport import RemoteTransport
from engager.sending.stop import Stop

#: A context in which the page of a run is served; it returns the address of the page.
Serve = Callable[[Run, Monitor], AbstractAsyncContextManager[str]]


@dataclass(frozen=True, slots=True)
class RowLimit:
    """The maximum number of rows that this process may settle."""

    last_row: int | None = None
    reason: str | None = None  #: the reason of the stop if there are rows after it


NO_LIMIT = RowLimit()

#: First batches that are refused whole for one reason: then the job is wrong, and not some row in each.
_REFUSED_BATCHES = 3

#: Seconds after which a sent request does not count for the rate limit: one, and the way to the endpoint.
_FORGOTTEN = 1.02


async def send(
    run: Run, row_limit: RowLimit = NO_LIMIT, watch: Watch = ignore_events, serve: Serve | None = None
) -> Summary:
    """Carry out the run and write its summary; `serve` serves its page.

    However it ends, also by a cancellation, every known outcome is stored first.
    """
    started = time.monotonic()
    try:
        with _fault_is_a_stop(run.control.stopping):
            rest = await _watched(run, row_limit.last_row, watch, serve)
    except BaseException:
        with suppress(RecordingError):  # the first fault is the one to report
            _leave_summary(run, Remaining.DUE, started)
        raise
    else:
        if rest is Remaining.BEYOND and row_limit.reason is not None:
            run.control.stop(row_limit.reason)
        return _leave_summary(run, rest, started)
    finally:
        run.resources.close()


@contextmanager
def _fault_is_a_stop(stop: Stop) -> Iterator[None]:
    """Make the fault that ends a run the reason of its stop, for all who watch it."""
    try:
        yield
    except BaseException as fault:
        first = first_of(fault)
        if isinstance(first, EngagerError):
            stop.request(first.exit, str(first))
        elif isinstance(first, OSError):
            stop.request(Exit.INTERNAL, f"a fault of this machine: {first.strerror or type(first).__name__}")
        elif isinstance(first, Exception):  # its text may contain what a row says: the log has it
            stop.request(Exit.INTERNAL, f"a fault in engager: {type(first).__name__}")
        raise


def _leave_summary(run: Run, rest: Remaining, started: float) -> Summary:
    run.summary = _summary(run, rest, started)
    _warn_of_nobody(run, run.summary)
    run.directory.write_summary(run.summary.as_dict())
    return run.summary


def _warn_of_nobody(run: Run, summary: Summary) -> None:
    """Warn of a complete run that skipped every row: its exit code is 0, and it reached nobody."""
    if not summary.complete or not 0 < summary.rows == summary.statuses[Status.SKIPPED]:
        return
    sources = [source for source in sources_of(run.selection) if source.rows]
    by = ", ".join(f"{source.name} ({source.rows:,})" for source in sources)
    hint = ""
    if any(source.error == EARLIER_RUN for source in sources):
        hint = ". In-doubt rows of an earlier run are sent again by engager retry RUN --in-doubt --keys FILE"
    log.warning(
        "no row was sent: the rules of the job skip all %s%s%s",
        f"{summary.rows:,}",
        f", by {by}" if by else "",
        hint,
    )


async def _watched(run: Run, last_row: int | None, watch: Watch, serve: Serve | None) -> Remaining:
    job, monitor = run.job_file.job, Monitor(run)
    forgotten_at = job.forgotten_at(run.directory.started_at)
    scheduler = Scheduler.for_job(job, run.control, forgotten_at=forgotten_at)
    scheduler.check_now()
    begun = time.monotonic()
    async with _shown(run, monitor, watch, serve):
        with _fault_is_a_stop(run.control.stopping):  # the page shows it before it ends
            async with anyio.create_task_group() as watchers:
                watchers.start_soon(scheduler.run)
                watchers.start_soon(monitor.publish, watch)
                watchers.start_soon(monitor.count_rows)
                await _until_forgotten(run, begun)
                rest = await _carried_out(run, last_row)
                watchers.cancel_scope.cancel()
    return rest


async def _until_forgotten(run: Run, begun: float) -> None:
    """Wait until no request of the previous process can count in the same second as one of this process.

    That process ended before this one had the lock. When it sent its last requests is not stored, and the
    workers of a cluster may have had some of them until they expired.
    """
    job = run.job_file.job
    if run.resumed and job.limits.rate is not None:
        seconds = _FORGOTTEN + (EXPIRY if job.cluster.scheduler else 0.0)
        await run.control.stopping.sleep(begun + seconds - time.monotonic())


@asynccontextmanager
async def _shown(run: Run, monitor: Monitor, watch: Watch, serve: Serve | None) -> AsyncIterator[None]:
    """Serve the page of the run, if the caller asks for it."""
    if serve is None:
        yield
        return
    async with serve(run, monitor) as url:
        watch(Serving(url))
        yield


async def _carried_out(run: Run, last_row: int | None) -> Remaining:
    repeats = repeats_of(run.job_file, run.builder, _warn_of_repeat)
    packer = packer_of(run.job_file, run.builder)
    engine = Engine(run.rows, run.builder, run.selection, repeats, packer, run.store)
    plan = _plan(run, last_row)
    limits = Limits.create(run.control.stopping, plan.pace)
    async with connected(run.job_file, run.secret, limits) as transport:
        gate = limits.gate
        gauges = Gauges(
            lambda: transport.in_flight,
            lambda: gate.paused_for,
            lambda: gate.holders,
            (lambda: transport.senders) if isinstance(transport, RemoteTransport) else tuple,
        )
        run.control.attach(limits, gauges)
        run.store.failing = failure_counter(plan.threshold, run.control.stopping)
        return await engine.engage_all(plan, transport, limits)


def _warn_of_repeat(row: int, first: int) -> None:
    """Warn that two rows reach the same person, as soon as the first such row is read."""
    log.warning(
        "row %d has the same key as row %d, and both are sent; there may be more. input.unique = true skips "
        "such rows, false declares them intended, and `engager check` counts them",
        row,
        first,
    )


def _plan(run: Run, last_row: int | None) -> Plan:
    job = run.job_file.job
    breaker = job.breaker.policy
    return Plan(
        concurrency=job.limits.max_in_flight,
        pace=job.pace,
        retry=job.retry_policy,
        delivery=job.delivery_policy,
        adaptive=job.adaptive,
        breaker=breaker and breaker.for_concurrency(job.limits.max_in_flight),
        slow_start=SlowStart(all_rejected=_all_rejected(job), pause=job.retry.base_delay),
        threshold=job.stop.threshold,
        split=job.batch.split,
        is_task=job.method.is_task,
        last_row=last_row,
        clean_text=lambda text: sanitized(run.redact(text), " ")[:MAX_TEXT],
    )


def _all_rejected(job: Job) -> int:
    """The number of first responses with one error that stop the run; a batch stands for many rows."""
    asked = job.stop.all_rejected
    return min(asked, _REFUSED_BATCHES) if job.method.is_batch else asked


def _summary(run: Run, rest: Remaining, started: float) -> Summary:
    tally, stop = run.store.tally, run.control.stopping
    without_failure = sum(tally.statuses[status] for status in (*TAKEN, Status.SKIPPED))
    exit_code = stop.exit or Exit.INTERNAL
    if rest is Remaining.NONE or (rest is Remaining.BEYOND and not stop.requested):
        exit_code = Exit.DONE if without_failure == tally.rows else Exit.INCOMPLETE
    seconds = time.monotonic() - started
    if exit_code == Exit.INTERNAL:
        stop.request(Exit.INTERNAL, "a fault in engager: rows are left, and nothing stopped the run")
    return Summary(
        job=run.name,
        run=run.directory.run_id,
        complete=rest is Remaining.NONE,
        exit_code=int(exit_code),
        stopped=stop.reason if stop.requested and rest is not Remaining.NONE else None,
        started_at=utc_text(run.directory.started_at),
        finished_at=utc_text(time.time()),
        elapsed_seconds=round(seconds, 3),
        # A wall clock that was set back shows less than the time that was just measured.
        total_seconds=round(max(seconds, time.time() - run.directory.started_at), 3),
        senders={sender.name: sender.sent for sender in run.control.senders},
        endpoint=run.directory.endpoint,
        scenario=run.directory.scenario,
        **tally.as_dict(),
    )
