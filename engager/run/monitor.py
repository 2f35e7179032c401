"""Makes snapshots of a run under way."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import anyio

from engager.config.log import log
from engager.config.sanitize import sanitized
from engager.config.secret import Secret
from engager.events import ErrorKind, Event, Progressed, Snapshot, Watch
from engager.models import Status
from engager.run.prepare import Run
from engager.store.tally import Histogram, Tally

#: Seconds between two snapshots.
EVERY = 0.25

#: Seconds over which the current rate, the recent latency and the remaining time are measured. Rows are
#: counted in batches: over a shorter time, the rate would seem to be above its limit.
_PACE, _LATE = 4.0, 10.0

#: Seconds between two steps of counting the rows of the input, which must not delay the rows themselves.
_COUNT_EVERY = 0.003

_UNTRIED = (Status.INVALID, Status.SKIPPED)


class Monitor:
    """Observes a run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._begun = time.monotonic()
        self._total: int | None = None
        self._latest: Snapshot | None = None
        #: Recent moments, with the rows that were settled and the latencies that were measured until then.
        self._past: deque[tuple[float, int, Histogram]] = deque()

    def snapshot(self) -> Snapshot:
        """Make a snapshot of the run."""
        now, tally = time.monotonic(), self._run.store.tally
        self._past.append((now, tally.rows, tally.latency))
        while len(self._past) > 2 and self._past[1][0] <= now - _LATE:
            self._past.popleft()
        statistics = tally.as_dict()
        statistics["errors"] = kinds_of(tally)
        self._latest = Snapshot(
            elapsed_seconds=now - self._begun,
            total=self._total,
            eta_seconds=self._left(tally.rows),
            retries=max(0, tally.attempts - sum(n for s, n in tally.statuses.items() if s not in _UNTRIED)),
            recent_latency_ms=tally.latency.since(self._past[0][2]).as_dict(),
            rows_per_second=self._pace(_PACE),
            **statistics,
            **self._sending(),
        )
        return self._latest

    def latest(self) -> Snapshot:
        """Returns the last snapshot, for a reader between two of them."""
        return self._latest or self.snapshot()

    @property
    def latency(self) -> Histogram:
        """All latencies until the last snapshot."""
        return self._past[-1][2]

    def _pace(self, seconds: float) -> float:
        """Rows per second over the last `seconds`."""
        now, rows, _ = self._past[-1]
        then, rows_then, _ = next(past for past in self._past if past[0] >= now - seconds)
        return (rows - rows_then) / (now - then) if now > then else 0.0

    def _left(self, rows: int) -> float | None:
        pace = self._pace(_LATE)
        return None if self._total is None or not pace else max(0, self._total - rows) / pace

    def _sending(self) -> dict[str, Any]:
        """Measures of the sending part."""
        control, pace = self._run.control, self._run.job_file.job.pace
        holders, gauges, in_flight = dict(control.holders), control.gauges, 0
        if gauges is not None:
            in_flight = gauges.in_flight()
            holders = dict.fromkeys(sorted(gauges.holders()), "") | holders
            if seconds := gauges.paused_for():
                holders["endpoint"] = f"it asked for a pause; {seconds:.0f} s are left"
        rate = control.rate or (pace.rate if pace else None)
        return {"rate": rate, "in_flight": in_flight, "holders": holders}

    async def publish(self, watch: Watch) -> None:
        """Pass snapshots to `watch` until cancelled."""
        while True:
            await anyio.sleep(EVERY)
            watch(Progressed(self.snapshot()))

    async def count_rows(self) -> None:
        """Count the rows of the input in the background, unless they were counted at the start."""
        self._total = self._run.directory.invocation.get("rows")
        pieces = self._run.rows.counting()
        if self._total is not None or pieces is None:
            return
        await anyio.sleep(EVERY)  # a short run ends before its progress is displayed
        counted = 0
        for rows in pieces:
            counted = rows
            await anyio.sleep(_COUNT_EVERY)
        self._total = counted


def tolerated(watch: Watch) -> Watch:
    """Wraps `watch`: after its first error it is not called again, and the run continues."""
    listening = True

    def notify(event: Event) -> None:
        nonlocal listening
        if not listening:
            return
        try:
            watch(event)
        except Exception as fault:
            listening = False
            text = sanitized(Secret.redact_all(f"{type(fault).__name__}: {fault}"), " ")
            log.warning("watch: it failed and gets no further events of this run: %s", text)

    return notify


def kinds_of(tally: Tally) -> list[ErrorKind]:
    """The rows that were not engaged, by error, each with one example row."""
    unknown = (None, None, "")
    return [
        ErrorKind(str(status), error, rows, *tally.samples.get((status, error), unknown))
        for (status, error), rows in tally.errors.most_common()
    ]
