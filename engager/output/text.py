"""Snapshots as text: one line, or its parts."""

from __future__ import annotations

from collections.abc import Sequence

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


def status_line(now: Snapshot) -> str:
    """A snapshot as one line."""
    parts = [settled(now) + (f" ({share(now):.0%})" if now.total else "")]
    parts += [f"{now.statuses[status]:,} {status}" for status in Status if now.statuses[status]]
    parts.append(pace(now))
    parts += filter(None, [count_of_senders(now.senders), retries(now), latency(now), time_left(now)])
    return " · ".join(parts + pause_text(now))


def settled(now: Snapshot) -> str:
    """The rows that are settled, and all rows if their number is known."""
    return _part_of(now.rows, now.total)


def _part_of(rows: int, total: int | None) -> str:
    """A number of rows, of all if their number is known."""
    return f"{rows:,} of {plural(max(total, rows), 'row')}" if total else plural(rows, "row")


def checked_line(rows: int, total: int | None, seconds: float) -> str:
    """How far the check of an input is, as one line."""
    parts = [f"{_part_of(rows, total)} checked", duration(seconds)]
    if total and rows:
        parts.append(f"{duration(max(0, total - rows) * seconds / rows)} left")
    return " · ".join(parts)


def share(now: Snapshot) -> float:
    """The settled share of the input, from 0 to 1."""
    return min(1.0, now.rows / now.total) if now.total else 0.0


def pace(now: Snapshot) -> str:
    """The requests that leave per second, their limit, the rows that are settled, and what is in flight."""
    limit = f" (limit {now.rate:,g})" if now.rate else ""
    rows = f" ({plural(now.rows_in_flight, 'row')})" if now.rows_per_request > 1 else ""
    return (
        f"{_rate(now.requests_per_second)} requests/s{limit}, {_rate(now.rows_per_second)} rows/s, "
        f"{plural(now.in_flight, 'request')}{rows} in flight"
    )


def _rate(per_second: float) -> str:
    """A number per second: one below ten needs its fraction."""
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.1f}"


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
        parts.append(f"{_rate(sender.share)}/s of the rate")
    if sender.silent_seconds >= _SILENT:
        parts.append(f"silent for {duration(sender.silent_seconds)}")
    return ", ".join(parts)


def time_left(now: Snapshot) -> str:
    """The remaining time; empty if it is unknown."""
    return "" if now.eta_seconds is None or now.holders else f"{duration(now.eta_seconds)} left"


def pause_text(now: Snapshot) -> list[str]:
    """The reasons of a pause."""
    return [f"paused by the {holder}{why and f': {why}'}" for holder, why in now.holders.items()]
