"""The metrics of the last start of a job, for runs that a scheduler starts: a textfile, and a Pushgateway.

They are left at the end of every start, also of one that is refused, and contain no key and no text of a row.
A start on the sandbox leaves none: its rows reached nobody, and those of production stay as they are.
Invariant: what a start does not know of stays as the start before it left it. A fault is a warning and never
changes the result of the run.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.request import Request

import anyio

from engager.config.job import JobFile
from engager.config.job_sections import SANDBOX
from engager.config.log import log
from engager.errors import EngagerError, Exit, JobError, UnsettledRunError, first_of
from engager.events import AlreadyComplete, Began, Ended, Event, Summary, Watch
from engager.output.webhook import opener
from engager.run.monitor import tolerated
from engager.run.unsettled import summary_of
from engager.store.disk import read_file
from engager.store.run_directory import replace_file
from engager.store.status import existing_run

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

#: Seconds for a push, all of it.
PUSH_TIMEOUT = 10.0

#: Seconds between two checks of the thread that pushes.
_POLL = 0.02

END, COMPLETE = "engager_last_end_timestamp_seconds", "engager_last_complete_timestamp_seconds"
EXIT, DURATION = "engager_last_exit_code", "engager_last_duration_seconds"
ROWS, UNSETTLED = "engager_last_rows", "engager_unsettled"

#: Each metric with its meaning; all have the labels `job` and `run`, the rows also `status`.
MEANINGS: Mapping[str, str] = {
    END: "When the last start of the job ended.",
    COMPLETE: "When the last complete run of the job ended: with exit code 0 or 1.",
    EXIT: "Exit code of the last start.",
    DURATION: "Seconds that the last start with a run took.",
    ROWS: "Rows of the last run that have an outcome.",
    UNSETTLED: "1 while the last run is stopped and not complete.",
}

#: The values of a metric, by its labels after `job`.
Values = Mapping[tuple[str, ...], float]


class Start:
    """What is known of one start of a job."""

    def __init__(self) -> None:
        self.run: str | None = None  #: the name of its run directory, once it has one
        self.summary: Summary | None = None
        self.exit: int | None = None

    def watching(self, watch: Watch) -> Watch:
        """A watch that notes what a start comes to, and calls another one."""
        shown = tolerated(watch)

        def note(event: Event) -> None:
            if isinstance(event, Began | Ended | AlreadyComplete):
                self.run = event.directory.resolve().name
            if isinstance(event, Ended | AlreadyComplete):
                self.summary = event.summary
            shown(event)

        return note

    def failed(self, fault: BaseException, job: str) -> None:
        """Note by which fault the start ended."""
        first = first_of(fault)
        if isinstance(first, UnsettledRunError):
            found = existing_run(first.directory)
            self.run, self.summary = found.path.resolve().name, summary_of(found, job, first)
        ended = self.summary.exit_code if self.summary else Exit.INTERNAL
        self.exit = int(first.exit if isinstance(first, EngagerError) else ended)

    def values(self, before: Mapping[str, Values]) -> dict[str, Values]:
        """The metrics, with those of the start `before` in the place of what is not known."""
        summary, known = self.summary, dict(before)
        run = self.run or next((labels[0] for labels in before.get(EXIT, {})), "")
        known[END] = {(run,): time.time()}
        code = summary.exit_code if summary and self.exit is None else self.exit
        known[EXIT] = {(run,): float(Exit.INTERNAL if code is None else code)}
        if self.run is not None:
            known[UNSETTLED] = {(run,): float(summary is None or not summary.complete)}
        if summary is not None:
            known[DURATION] = {(run,): summary.elapsed_seconds}
            known[ROWS] = {(run, status): float(rows) for status, rows in summary.statuses.items()}
            if summary.complete:
                known[COMPLETE] = {(run,): datetime.fromisoformat(summary.finished_at).timestamp()}
        return known


@asynccontextmanager
async def measured(job_file: JobFile, watch: Watch) -> AsyncIterator[Watch]:
    """Leave the metrics of what is done within, if the job asks for them; yields the watch to use.

    Raises JobError if the library for them is missing.
    """
    output = job_file.job.output
    if (output.metrics is None and output.push is None) or job_file.job.endpoint.url == SANDBOX:
        yield watch
        return
    if find_spec("prometheus_client") is None:
        key = "output.metrics" if output.metrics is not None else "output.push"
        raise JobError(job_file.at(key, "it needs a library: pip install 'engager[metrics]'"))
    start, job = Start(), job_file.job.job.name
    try:
        yield start.watching(watch)
    except BaseException as fault:
        start.failed(fault, job)
        raise
    finally:
        if output.metrics is not None:
            _write(job_file.base / output.metrics, job, start)
        if output.push is not None:
            await _push(output.push, job, start)


def _write(path: Path, job: str, start: Start) -> None:
    from prometheus_client import generate_latest

    try:
        data = generate_latest(_registry(job, start.values(_read(path, job))))
        # The exporter is another user than the owner of the runs.
        replace_file(path, data, mode=0o644)
    except OSError as fault:
        log.warning("output.metrics: %s was not written: %s", path, fault.strerror or fault)


def _read(path: Path, job: str) -> dict[str, Values]:
    """The metrics that the start before left; none of a file of another job or kind."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        families = list(text_string_to_metric_families(read_file(path).decode()))
    except (OSError, ValueError, KeyError, IndexError):
        return {}
    known: dict[str, dict[tuple[str, ...], float]] = {}
    for sample in (sample for family in families for sample in family.samples if sample.name in MEANINGS):
        if sample.labels.get("job") == job and set(_labels(sample.name)) == set(sample.labels):
            labels = tuple(sample.labels[name] for name in _labels(sample.name)[1:])
            known.setdefault(sample.name, {})[labels] = sample.value
    return dict(known)


def _labels(metric: str) -> Sequence[str]:
    return ("job", "run", "status") if metric == ROWS else ("job", "run")


def _registry(job: str, values: Mapping[str, Values]) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.registry import Collector

    class Night(Collector):
        def collect(self) -> Iterator[Any]:
            for name, meaning in MEANINGS.items():
                if name in values:
                    family = GaugeMetricFamily(name, meaning, labels=_labels(name))
                    for labels, value in values[name].items():
                        family.add_metric([job, *labels], value)
                    yield family

    registry = CollectorRegistry()
    registry.register(Night())
    return registry


async def _push(gateway: str, job: str, start: Start) -> None:
    """Push within a time limit. What is not pushed stays in the gateway as it was."""
    faults = [f"no response within {PUSH_TIMEOUT:g} s"]

    def carry_out() -> None:
        from prometheus_client import pushadd_to_gateway

        try:
            registry = _registry(job, start.values({}))
            pushadd_to_gateway(gateway, job, registry, timeout=PUSH_TIMEOUT, handler=_handler)
            faults.clear()
        except Exception as fault:
            faults[:] = [str(fault)]

    # A daemon thread, because a name lookup cannot be cancelled and must not delay the exit of the process.
    thread = Thread(target=carry_out, daemon=True)
    thread.start()
    with anyio.move_on_after(PUSH_TIMEOUT):
        while thread.is_alive():  # noqa: ASYNC110 - the thread may end after the loop is closed
            await anyio.sleep(_POLL)
    for fault in faults[:1]:
        log.warning("output.push: the metrics were not pushed to %s: %s", gateway, fault)


def _handler(url: str, method: str, timeout: float | None, headers: Any, data: bytes) -> Any:
    """Sends a push without a proxy, and follows no redirect."""
    request = Request(url, data, dict(headers), method=method)  # noqa: S310 - the scheme is checked
    return lambda: opener(url).open(request, timeout=timeout).close()
