"""Makes snapshots of a run under way."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, NamedTuple

import anyio

from engager.config.log import log
from engager.config.sanitize import sanitized
from engager.config.secret import Secret
from engager.events import ErrorKind, Event, Progressed, Snapshot, Watch
from engager.models import Status
from engager.reader.outcome_fields import error_code
from engager.run.prepare import Run
from engager.store.tally import Histogram, Tally

#: Seconds between two snapshots.
EVERY = 0.25

#: Seconds over which the current rates, and the recent latency and the remaining time, are measured. Rows are
#: counted in batches: over a shorter time, the rate would seem to be above its limit.
_PACE, _LATE = 4.0, 10.0

#: Requests that are settled in the time over which rows are measured, at least: the rows of a batch are
#: settled at once, and over a shorter time their rate would be 0 or very high.
_REQUESTS = 8

#: Seconds over which anything is measured, at most.
_LONGEST = 300.0

#: Seconds over which the requests that leave are measured, at least: the rate limit is that of a sliding
#: second.
_SECOND = 1.0

#: Seconds between two steps of counting the rows of the input, which must not delay the rows themselves.
_COUNT_EVERY = 0.003

_UNTRIED = (Status.INVALID, Status.SKIPPED)


class Moment(NamedTuple):
    """What had happened in a run by a moment."""

    at: float  #: seconds
    rows: int  #: that were settled
    requests: int  #: that had left
    latency: Histogram  #: of the requests that were settled

    @property
    def counts(self) -> tuple[int, int]:
        """All that is counted."""
        return self.rows, self.requests


class RecentMoments:
    """The latest moments of a run, from which its rates are computed. Memory is bounded."""

    def __init__(self, first: Moment) -> None:
        self._past = deque([first])

    @property
    def last(self) -> Moment:
        """The latest one."""
        return self._past[-1]

    def add(self, now: Moment) -> None:
        """Add a moment, and drop those that no measurement needs any more."""
        past = self._past
        if len(past) > 1 and past[-2].counts == past[-1].counts == now.counts:
            past.pop()  # nothing happened: the first and the last such moment say so
        if not _settled(past[-1], now):
            now = now._replace(latency=past[-1].latency)  # one copy is enough
        past.append(now)
        while len(past) > 2 and past[1].at <= now.at - _LATE:
            if _settled(past[1], now) < _REQUESTS and past[1].at > now.at - _LONGEST:
                break
            past.popleft()

    def since(self, seconds: float) -> Moment:
        """What had happened so many seconds ago, or at the beginning."""
        then, before = self.last.at - seconds, self._past[0]
        for moment in self._past:
            if moment.at >= then:
                nothing_since = before.at < then and moment.counts == before.counts
                return moment._replace(at=then) if nothing_since else moment
            before = moment
        return before

    def rows_per_second(self, seconds: float) -> float:
        """Rows that are settled per second: over the last `seconds`, or over some requests."""
        now, then = self.last, self.since(seconds)
        if _settled(then, now) < _REQUESTS:
            enough = (moment for moment in reversed(self._past) if _settled(moment, now) >= _REQUESTS)
            then = next(enough, self._past[0])
        return (now.rows - then.rows) / (now.at - then.at) if now.at > then.at else 0.0

    def requests_per_second(self, seconds: float) -> float:
        """Requests that leave per second."""
        now, then = self.last, self.since(seconds)
        return (now.requests - then.requests) / max(_SECOND, now.at - then.at)

    def latency(self, seconds: float) -> Histogram:
        """The latencies of the requests that were settled in the last `seconds`."""
        return self.last.latency.since(self.since(seconds).latency)


def _settled(then: Moment, now: Moment) -> int:
    """Requests that were settled between two moments."""
    return now.latency.count - then.latency.count


class Monitor:
    """Observes a run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._begun = time.monotonic()
        self._total: int | None = None
        self._latest: Snapshot | None = None
        self._recent = RecentMoments(_moment(self._begun, run.store.tally))

    def snapshot(self) -> Snapshot:
        """Make a snapshot of the run."""
        now, tally = time.monotonic(), self._run.store.tally
        self._recent.add(_moment(now, tally))
        statistics = tally.as_dict()
        statistics["errors"] = kinds_of(tally)
        sending = self._sending()
        is_idle = not (sending["stopping"] or sending["holders"]) and self._is_idle(now, sending["rate"])
        self._latest = Snapshot(
            elapsed_seconds=now - self._begun,
            total=self._total,
            eta_seconds=self._left(tally.rows),
            retries=max(0, tally.attempts - sum(n for s, n in tally.statuses.items() if s not in _UNTRIED)),
            recent_latency_ms=self._recent.latency(_LATE).as_dict(),
            rows_per_second=self._recent.rows_per_second(_PACE),
            requests_per_second=self._recent.requests_per_second(_PACE),
            waits_for=self._waits_for(sending) if is_idle else None,
            **statistics,
            **sending,
        )
        return self._latest

    def latest(self) -> Snapshot:
        """Returns the last snapshot, for a reader between two of them."""
        return self._latest or self.snapshot()

    @property
    def latency(self) -> Histogram:
        """All latencies until the last snapshot."""
        return self._recent.last.latency

    def _left(self, rows: int) -> float | None:
        pace = self._recent.rows_per_second(_LATE)
        return None if self._total is None or not pace else max(0, self._total - rows) / pace

    def _is_idle(self, now: float, rate: float | None) -> bool:
        """Whether no request has left for longer than the rate limit explains."""
        seconds = max(_PACE, 2 / rate if rate else 0.0)
        return now - self._begun >= seconds and not self._recent.requests_per_second(seconds)

    def _waits_for(self, sending: dict[str, Any]) -> str:
        """What a run waits for of which no request leaves."""
        oldest, resting = sending["oldest_in_flight_seconds"], len(self._run.store.state.resting)
        if oldest is not None:
            return f"the responses to all {sending['in_flight']:,} in flight, the oldest for {oldest:.0f} s"
        if resting:
            return f"the next attempts of rows ({resting:,})"
        return "rows of the input, or for a connection"

    def _sending(self) -> dict[str, Any]:
        """Measures of the sending part."""
        control, job, store = self._run.control, self._run.job_file.job, self._run.store
        most, in_flight = job.rows_per_request, control.in_flight
        return {
            "rate": control.rate or (job.pace.rate if job.pace else None),
            "rows_per_request": most,
            "in_flight": in_flight.requests,
            "oldest_in_flight_seconds": in_flight.oldest_seconds,
            "rows_in_flight": store.state.rows_in_flight if most > 1 else in_flight.requests,
            "holders": control.all_holders(),
            "stopping": control.stopping.reason if control.stopping.requested else None,
            "stops_within_seconds": control.stops_within(),
            "senders": control.senders,
        }

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


def _moment(at: float, tally: Tally) -> Moment:
    return Moment(at, tally.rows, tally.requests, tally.latency)


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
        ErrorKind(str(status), error_code(error), rows, *tally.samples.get((status, error), unknown))
        for (status, error), rows in tally.kinds()
    ]
