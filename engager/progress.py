"""Events in, what a person sees out: a live view at a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from engager.events import Event, Progressed, Snapshot
from engager.model import Status
from engager.printable import printable

#: Seconds between two lines where there is no terminal.
PLAIN_EVERY = 10.0

#: Kinds of errors that the live view has room for.
_KINDS = 5

_COLOURS = {
    Status.ENGAGED: "green",
    Status.REJECTED: "yellow",
    Status.FAILED: "red",
    Status.IN_DOUBT: "magenta",
    Status.INVALID: "yellow",
    Status.SKIPPED: "dim",
}


def duration(seconds: float) -> str:
    """Some seconds for a person: 45 s, 3 min 20 s, 2 h 05 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def plain(now: Snapshot) -> str:
    """A snapshot in one line."""
    parts = [f"{now.rows:,} rows"]
    if now.total:
        parts[0] = f"{now.rows:,} of {max(now.total, now.rows):,} rows ({_share(now):.0%})"
    parts += [f"{now.statuses[status]:,} {status}" for status in _COLOURS if now.statuses[status]]
    parts.append(_pace(now))
    if now.retries:
        parts.append(f"{now.retries:,} retries")
    parts += filter(None, [_latency(now), _left(now)])
    return " · ".join(parts + _held(now))


def _share(now: Snapshot) -> float:
    return min(1.0, now.rows / now.total) if now.total else 0.0


def _pace(now: Snapshot) -> str:
    limit = f" (limit {now.rate:,g} requests/s)" if now.rate else ""
    return f"{now.rows_per_second:,.0f} rows/s{limit}, {now.in_flight:,} in flight"


def _latency(now: Snapshot) -> str:
    p50, p95, p99 = (now.latency_of_late_ms[name] for name in ("p50", "p95", "p99"))
    if p50 is None or p95 is None or p99 is None:
        return ""
    return f"p50 {p50:,.0f} ms, p95 {p95:,.0f} ms, p99 {p99:,.0f} ms"


def _left(now: Snapshot) -> str:
    return "" if now.left is None or now.holders else f"{duration(now.left)} left"


def _held(now: Snapshot) -> list[str]:
    return [f"held by the {holder}{why and f': {why}'}" for holder, why in now.holders.items()]


def view(now: Snapshot) -> RenderableType:
    """A snapshot in some lines, for a terminal of any width."""
    head = Text(overflow="ellipsis", no_wrap=True)
    of_all = f" of {max(now.total, now.rows):,}" if now.total else ""
    head.append(f"{now.rows:,}{of_all} rows", style="bold")
    for part in (duration(now.seconds), _left(now)):
        head.append(f" · {part}" if part else "")
    lines: list[RenderableType] = [head]
    if now.total:
        lines.append(_bar(_share(now)))
    lines += [_statuses(now), Text(_pace(now), overflow="ellipsis", no_wrap=True)]
    timing = " · ".join(filter(None, [_latency(now), f"{now.retries:,} retries" if now.retries else ""]))
    lines += [Text(timing, style="dim", overflow="ellipsis", no_wrap=True)] if timing else []
    lines += [Text(held, style="bold yellow", overflow="fold") for held in _held(now)]
    return Group(*lines, *_errors(now))


def _bar(share: float) -> Table:
    table = Table.grid(expand=True)  # a bar of its own ends no line
    table.add_row(ProgressBar(total=1.0, completed=share))
    return table


def _statuses(now: Snapshot) -> Text:
    text = Text(overflow="fold")
    for status, colour in _COLOURS.items():
        if count := now.statuses[status]:
            text.append("  " if text else "")
            text.append(f"{count:,} {status}", style=colour)
    return text


def _errors(now: Snapshot) -> list[Text]:
    lines = []
    for kind in now.errors[:_KINDS]:
        line = Text(f"{kind.rows:>7,} ", overflow="ellipsis", no_wrap=True)
        line.append(f"{kind.status} {printable(kind.error, ' ')}", style=_COLOURS[Status(kind.status)])
        if kind.row is not None:
            line.append(f"  row {kind.row}: {printable(kind.text, ' ')}")
        lines.append(line)
    return lines


class Progress(AbstractContextManager["Progress"]):
    """Shows a run on stderr while it is entered. Colours obey NO_COLOR."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self._live: Live | None = None
        self._told_at = 0.0
        self._holders: set[str] = set()  #: who was told of as holding the run

    def __exit__(self, *fault: Any) -> None:
        self._end()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if not self._wanted:
            return
        if not isinstance(event, Progressed):
            self._end()
        elif sys.stderr.isatty():
            self._show(event.now)
        elif event.now.seconds - self._told_at >= PLAIN_EVERY or set(event.now.holders) - self._holders:
            self._told_at, self._holders = event.now.seconds, set(event.now.holders)
            print(plain(event.now), file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Say something on stderr, above what is shown."""
        if self._live is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._live.console.print(Text(text))

    def _show(self, now: Snapshot) -> None:
        if self._live is None:
            self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(view(now), refresh=True)

    def _end(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
