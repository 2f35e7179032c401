"""Events in, what a person sees out: a live line at a terminal, a plain one now and then elsewhere."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from engager.events import Event, Progressed, Snapshot
from engager.model import Status

#: Seconds between two lines where there is no terminal.
PLAIN_EVERY = 10.0

_COLOURS = {
    Status.ENGAGED: "green",
    Status.REJECTED: "yellow",
    Status.FAILED: "red",
    Status.IN_DOUBT: "magenta",
    Status.INVALID: "yellow",
    Status.SKIPPED: "dim",
}

_UNTRIED = (Status.INVALID, Status.SKIPPED)


def line_of(now: Snapshot) -> Text:
    """A snapshot in one line."""
    text = Text(f"{now.rows:,} rows, {now.rows_per_second:,.0f}/s")
    for status, colour in _COLOURS.items():
        if count := now.statuses[status]:
            text.append(" · ")
            text.append(f"{count:,} {status}", style=colour)
    retries = now.attempts - (now.rows - sum(now.statuses[status] for status in _UNTRIED))
    if retries > 0:
        text.append(f" · {retries:,} retries")
    p50, p99 = now.latency_ms["p50"], now.latency_ms["p99"]
    if p50 is not None and p99 is not None:
        text.append(f" · p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    return text.append(f" · {now.seconds:.0f} s")


class Progress(AbstractContextManager["Progress"]):
    """Shows a run on stderr while it is entered. Colours obey NO_COLOR."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self._live: Live | None = None
        self._told_at = 0.0

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
        elif event.now.seconds - self._told_at >= PLAIN_EVERY:
            self._told_at = event.now.seconds
            print(line_of(event.now).plain, file=sys.stderr, flush=True)

    def _show(self, now: Snapshot) -> None:
        if self._live is None:
            self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(line_of(now), refresh=True)

    def _end(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
