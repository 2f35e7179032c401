"""Progress on stderr: a live view at a terminal, otherwise a line every ten seconds."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from engager.events import Event, Progressed, Snapshot
from engager.output.text import status_line

if TYPE_CHECKING:
    from engager.output.terminal import View

#: Seconds between two lines without a terminal.
PLAIN_EVERY = 10.0


def can_move() -> bool:
    """Whether stderr can show a live view: a terminal with cursor movement and UTF-8."""
    knows_all = (sys.stderr.encoding or "").lower().startswith("utf")
    return sys.stderr.isatty() and knows_all and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


class Progress(AbstractContextManager["Progress"]):
    """Shows progress on stderr while it is entered. Colours obey NO_COLOR.

    If `is_behind` returns True, output still waits for the reader of stderr, and the live view skips a frame.
    """

    def __init__(self, wanted: bool, is_behind: Callable[[], bool] = lambda: False) -> None:
        self._wanted, self._is_behind = wanted, is_behind
        self._view: View | None = None
        self._printed_at = 0.0
        self._holders: set[str] = set()  #: holders of a pause that were printed

    def __exit__(self, *fault: Any) -> None:
        self._end()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if not self._wanted:
            return
        if not isinstance(event, Progressed):
            self._end()
        elif self._view is not None or can_move():
            if not self._is_behind():
                self._show(event.snapshot)
        elif (
            event.snapshot.elapsed_seconds - self._printed_at >= PLAIN_EVERY
            or set(event.snapshot.holders) - self._holders
        ):
            self._printed_at, self._holders = event.snapshot.elapsed_seconds, set(event.snapshot.holders)
            print(status_line(event.snapshot), file=sys.stderr, flush=True)

    def show(self, text: str) -> None:
        """Print a text on stderr, above the live view."""
        if self._view is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._view.update(text)

    def _show(self, now: Snapshot) -> None:
        if self._view is None:
            from engager.output.terminal import View  # rich costs time and memory

            self._view = View()
        self._view.show(now)

    def _end(self) -> None:
        if self._view is not None:
            self._view.end()
            self._view = None
