"""The tally in, what a person sees out: a live line at a terminal, a plain one now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import anyio
from rich.console import Console
from rich.live import Live
from rich.text import Text

from engager.ledger.tally import Tally
from engager.model import Status

#: Seconds between two looks at the tally.
LIVE_EVERY = 0.25
PLAIN_EVERY = 10.0

_COLOURS = {
    Status.ENGAGED: "green",
    Status.REJECTED: "yellow",
    Status.FAILED: "red",
    Status.IN_DOUBT: "magenta",
    Status.INVALID: "yellow",
    Status.SKIPPED: "dim",
}


class View:
    """What is shown of a tally, and how fast it grows."""

    def __init__(self, read: Callable[[], Tally]) -> None:
        self._read = read
        self._begun = self._at = time.monotonic()
        self._rows = 0

    def line(self) -> Text:
        """The present state in one line."""
        now, tally = time.monotonic(), self._read()
        rate = (tally.rows - self._rows) / max(now - self._at, 0.001)
        self._at, self._rows = now, tally.rows
        text = Text(f"{tally.rows:,} rows, {rate:,.0f}/s")
        for status, count in tally.statuses.items():
            text.append(" · ")
            text.append(f"{count:,} {status}", style=_COLOURS[status])
        retries = tally.attempts - sum(
            count
            for status, count in tally.statuses.items()
            if status not in (Status.INVALID, Status.SKIPPED)
        )
        if retries > 0:
            text.append(f" · {retries:,} retries")
        p50, p99 = (tally.latency.percentile(share) for share in (0.5, 0.99))
        if p50 is not None and p99 is not None:
            text.append(f" · p50 {p50:.0f} ms, p99 {p99:.0f} ms")
        return text.append(f" · {now - self._begun:.0f} s")


async def show(read: Callable[[], Tally]) -> None:
    """Show the tally, as it is read, on stderr until cancelled. Colours obey NO_COLOR."""
    console = Console(stderr=True)
    view = View(read)
    if console.is_terminal:
        await _live(console, view)
    else:
        await _plain(view)


async def _live(console: Console, view: View) -> None:
    with Live(view.line(), console=console, auto_refresh=False, transient=True) as live:
        while True:
            await anyio.sleep(LIVE_EVERY)
            live.update(view.line(), refresh=True)


async def _plain(view: View) -> None:
    while True:
        await anyio.sleep(PLAIN_EVERY)
        print(view.line().plain, file=sys.stderr, flush=True)
