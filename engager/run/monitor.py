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

#: Seconds over which the present pace is taken, and the latency of late, and the time that is left. Rows are
#: counted a batch at a time: over less, the pace would seem to be above its limit.
_PACE, _LATE = 4.0, 10.0

#: Seconds between two pieces of the count of the input's rows: it must not hold up the rows themselves.
_COUNT_EVERY = 0.003

_UNTRIED = (Status.INVALID, Status.SKIPPED)


class Monitor:
    """Observes a run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._begun = time.monotonic()
        self._total: int | None = None
        self._latest: Snapshot | None = None
        #: Moments of late, with the rows that were settled and the latencies that were seen by then.
        self._past: deque[tuple[float, int, Histogram]] = deque()

    def snapshot(self) -> Snapshot:
        """The run as it is."""
        now, tally = time.monotonic(), self._run.store.tally
        self._past.append((now, tally.rows, tally.latency))
        while len(self._past) > 2 and self._past[1][0] <= now - _LATE:
            self._past.popleft()
        account = tally.as_dict()
        account["errors"] = kinds_of(tally)
        self._latest = Snapshot(
            elapsed_seconds=now - self._begun,
            total=self._total,
            eta_seconds=self._left(tally.rows),
            retries=max(0, tally.attempts - sum(n for s, n in tally.statuses.items() if s not in _UNTRIED)),
            recent_latency_ms=tally.latency.since(self._past[0][2]).as_dict(),
            rows_per_second=self._pace(_PACE),
            **account,
            **self._sending(),
        )
        return self._latest

    def latest(self) -> Snapshot:
        """The last snapshot: for whoever looks in between."""
        return self._latest or self.snapshot()

    @property
    def latency(self) -> Histogram:
        """All latencies, by the last snapshot."""
        return self._past[-1][2]

    def _pace(self, seconds: float) -> float:
        """Rows a second of late."""
        now, rows, _ = self._past[-1]
        then, rows_then, _ = next(past for past in self._past if past[0] >= now - seconds)
        return (rows - rows_then) / (now - then) if now > then else 0.0

    def _left(self, rows: int) -> float | None:
        pace = self._pace(_LATE)
        return None if self._total is None or not pace else max(0, self._total - rows) / pace

    def _sending(self) -> dict[str, Any]:
        """What can be read off what sends."""
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
        """Tell of the run, until cancelled."""
        while True:
            await anyio.sleep(EVERY)
            watch(Progressed(self.snapshot()))

    async def count_rows(self) -> None:
        """Count the rows of the input, beside everything else."""
        pieces = self._run.rows.counting()
        if pieces is None:
            return
        await anyio.sleep(EVERY)  # a short run is over before anybody looks
        counted = 0
        for rows in pieces:
            counted = rows
            await anyio.sleep(_COUNT_EVERY)
        self._total = counted


def tolerated(watch: Watch) -> Watch:
    """The same watcher, who hears nothing more once he has failed: a fault of his is not the run's."""
    listening = True

    def tell(event: Event) -> None:
        nonlocal listening
        if not listening:
            return
        try:
            watch(event)
        except Exception as fault:
            listening = False
            told = sanitized(Secret.redact_all(f"{type(fault).__name__}: {fault}"), " ")
            log.warning("watch: it failed and is told nothing more of this run: %s", told)

    return tell


def kinds_of(tally: Tally) -> list[ErrorKind]:
    """The rows of an account that were not engaged, by what is said of them, each with one that shows it."""
    unknown = (None, None, "")
    return [
        ErrorKind(str(status), error, rows, *tally.samples.get((status, error), unknown))
        for (status, error), rows in tally.errors.most_common()
    ]
