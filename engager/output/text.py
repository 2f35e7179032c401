"""Snapshots as text: one line, or its parts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from math import ceil

from engager.config.job_sections import SANDBOX
from engager.events import SenderState, Snapshot
from engager.models import Status

#: Seconds after which it is shown that a sender is silent: an idle one is heard twice a second.
_SILENT = 2.0


def duration(seconds: float) -> str:
    """A duration as text: 45 s, 3 min 20 s, 2 h 05 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def plural(count: int, one: str, several: str | None = None) -> str:
    """A count with its noun: 1 row, 2 rows."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def is_sandbox(endpoint: str) -> bool:
    """Whether an endpoint is the embedded sandbox, which reaches nobody."""
    return endpoint == SANDBOX


#: Beside the outcomes of a rehearsal.
NOBODY = "sandbox: nobody was reached"


def destination(endpoint: str, scenario: str | None) -> str:
    """Where a run sends: the endpoint, and the scenario if there is one."""
    where = "the sandbox (nobody is reached)" if is_sandbox(endpoint) else endpoint
    return where if scenario is None else f"{where}, scenario {scenario}"


def status_line(now: Snapshot) -> str:
    """A snapshot as one line."""
    parts = [settled(now)]
    parts += [f"{now.statuses[status]:,} {status}" for status in Status if now.statuses[status]]
    parts.append(pace(now))
    parts += filter(None, [count_of_senders(now.senders), retries(now), latency(now), time_left(now)])
    return " · ".join(parts + waits(now))


def settled(now: Snapshot) -> str:
    """The rows that are settled, and all rows with the share if their number is known."""
    of_all = f" ({share(now.rows, max(now.total, now.rows))})" if now.total else ""
    return _part_of(now.rows, now.total) + of_all


def _part_of(rows: int, total: int | None) -> str:
    """A number of rows, of all if their number is known."""
    return f"{rows:,} of {plural(max(total, rows), 'row')}" if total else plural(rows, "row")


def checked_line(rows: int, total: int | None, seconds: float) -> str:
    """How far the check of an input is, as one line."""
    parts = [f"{_part_of(rows, total)} checked", duration(seconds)]
    if total and rows:
        parts.append(f"{duration(max(0, total - rows) * seconds / rows)} left")
    return " · ".join(parts)


def share(part: int, whole: int) -> str:
    """A percentage. Only zero is 0 %, and only the whole is 100 %."""
    if part in (0, whole):
        return "100 %" if part else "0 %"
    percent = 100 * part / whole
    if percent < 0.01:
        return "< 0.01 %"
    if percent > 99.99:
        return "> 99.99 %"
    return f"{percent:.2f} %" if percent < 1 or percent > 99 else f"{percent:.1f} %"


def settled_share(now: Snapshot) -> float:
    """The settled share of the input, from 0 to 1."""
    return min(1.0, now.rows / now.total) if now.total else 0.0


def pace(now: Snapshot) -> str:
    """The requests that leave per second, their limit, the rows that are settled, and what is in flight."""
    limit = f" (limit {now.rate:,g})" if now.rate else ""
    rows = f" ({plural(now.rows_in_flight, 'row')})" if now.rows_per_request > 1 else ""
    return (
        f"{per_second(now.requests_per_second)} requests/s{limit}, {per_second(now.rows_per_second)} rows/s, "
        f"{plural(now.in_flight, 'request')}{rows} in flight{oldest(now)}"
    )


def oldest(now: Snapshot) -> str:
    """The age of the oldest request in flight, in brackets; empty below a second."""
    seconds = now.oldest_in_flight_seconds
    return f" (oldest {duration(seconds)})" if seconds and seconds >= 1 else ""


def per_second(value: float) -> str:
    """A number per second: one below ten needs its fraction."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def retries(now: Snapshot) -> str:
    """The retries, which are counted by rows; empty without one."""
    of = " of rows" if now.rows_per_request > 1 else ""
    return f"{plural(now.retries, 'retry', 'retries')}{of}" if now.retries else ""


def latency(now: Snapshot) -> str:
    """Recent percentiles of the latency of a request; empty without a measurement."""
    p50, p95, p99 = (now.recent_latency_ms[name] for name in ("p50", "p95", "p99"))
    if p50 is None or p95 is None or p99 is None:
        return ""
    return f"p50 {p50:,.0f} ms, p95 {p95:,.0f} ms, p99 {p99:,.0f} ms"


def count_of_senders(senders: Sequence[SenderState]) -> str:
    """The number of senders, and of those that were lost; empty if the run itself sends."""
    lost = sum(sender.lost for sender in senders)
    gone = f", {lost:,} lost" if lost else ""
    return f"{plural(len(senders) - lost, 'sender')}{gone}" if senders else ""


def sender_line(sender: SenderState) -> str:
    """A sender as one line."""
    if sender.lost:
        return f"{sender.name}: lost, {sender.sent:,} sent"
    parts = [f"{sender.name}: {sender.in_flight:,} in flight", f"{sender.sent:,} sent"]
    if sender.share is not None:
        parts.append(f"{per_second(sender.share)}/s of the rate")
    if sender.silent_seconds >= _SILENT:
        parts.append(f"silent for {duration(sender.silent_seconds)}")
    return ", ".join(parts)


def time_left(now: Snapshot) -> str:
    """The remaining time, and when it is over by the clock; empty if that is unknown."""
    if now.eta_seconds is None or now.holders or now.stopping or now.waits_for:
        return ""
    return left_until(now.eta_seconds, time.time())


def left_until(seconds: float, now: float) -> str:
    """A remaining time, and when it is over, in local time; `now` is in seconds since the epoch."""
    today, then = time.localtime(now), time.localtime(now + seconds)
    day = "" if today[:3] == then[:3] else time.strftime("%Y-%m-%d ", then)
    return f"{duration(seconds)} left, until {day}{time.strftime('%H:%M', then)}"


def waits(now: Snapshot) -> list[str]:
    """Why no request leaves, and until when: a stop, the pauses, or what the run waits for."""
    return waits_text(now.stopping, now.stops_within_seconds, now.holders, now.waits_for)


def waits_kinds(now: Snapshot) -> set[str]:
    """What keeps requests from leaving, by its kind: it changes when such a reason begins or ends."""
    return {name for name in ("waits_for", "stopping") if getattr(now, name) is not None} | {*now.holders}


def waits_text(
    stopping: str | None, within: float | None, holders: Mapping[str, str], waits_for: str | None
) -> list[str]:
    """As `waits`, from the facts of a snapshot."""
    if stopping is not None:
        limit = "" if within is None else f"; at most {duration(ceil(within))} for the requests in flight"
        return [f"stopping: {stopping}{limit}"]
    pauses = [f"paused by the {holder}{why and f': {why}'}" for holder, why in holders.items()]
    return pauses + ([f"no request leaves: the run waits for {waits_for}"] if waits_for else [])
