"""Progress on stderr: a live view at a terminal, otherwise a line every ten seconds."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from engager.events import Event, Progressed, Snapshot
from engager.output.text import checked_line, status_line, waits_kinds

if TYPE_CHECKING:
    from engager.output.terminal import View

#: Seconds between two frames of the live view: at full speed, each takes the time of some hundred rows.
FRAME_EVERY = 1.0

#: Seconds between two lines without a terminal.
PLAIN_EVERY = 10.0

#: Seconds of a check before its progress is shown, and between two updates of the live view.
CHECK_EVERY = 0.25


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
        self._known: set[str] = set()  #: of the reasons why nothing leaves, those that were printed

    def __exit__(self, *fault: Any) -> None:
        self._end()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if not self._wanted:
            return
        if not isinstance(event, Progressed):
            self._end()
        elif self._view is not None or can_move():
            if not self._is_behind() and self._is_due(event.snapshot):
                self._show(event.snapshot)
        elif (
            event.snapshot.elapsed_seconds - self._printed_at >= PLAIN_EVERY
            or waits_kinds(event.snapshot) - self._known
        ):
            self._printed_at, self._known = event.snapshot.elapsed_seconds, waits_kinds(event.snapshot)
            print(status_line(event.snapshot), file=sys.stderr, flush=True)

    def _is_due(self, now: Snapshot) -> bool:
        """Whether it is time for another frame, or what the run waits for has changed."""
        seconds = now.elapsed_seconds - self._printed_at
        if self._view is not None and 0 <= seconds < FRAME_EVERY and waits_kinds(now) == self._known:
            return False
        self._printed_at, self._known = now.elapsed_seconds, waits_kinds(now)
        return True

    def show(self, text: str) -> None:
        """Print a text on stderr, above the live view."""
        if self._view is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._view.update(text)

    def _show(self, now: Snapshot) -> None:
        from engager.output.terminal import View, view  # rich costs time and memory

        self._view = self._view or View()
        self._view.show(view(now))

    def _end(self) -> None:
        if self._view is not None:
            self._view.end()
            self._view = None


class CheckProgress(AbstractContextManager["CheckProgress"]):
    """Shows how far a check is while it is entered, on stderr and only at a terminal.

    A short check shows nothing, and does not load the live view.
    """

    def __init__(self) -> None:
        self._began_at = time.monotonic()
        self._moves = can_move()  # asked once: the live view replaces stderr
        self._every = CHECK_EVERY if self._moves else PLAIN_EVERY
        self._due_at = self._began_at + self._every
        self._view: View | None = None

    def __exit__(self, *fault: Any) -> None:
        if self._view is not None:
            self._view.end()

    def __call__(self, rows: int, total: int | None) -> None:
        """Show the number of rows so far, and of all rows."""
        now = time.monotonic()
        if now < self._due_at:
            return
        self._due_at = now + self._every
        if not self._moves:
            print(checked_line(rows, total, now - self._began_at), file=sys.stderr, flush=True)
            return
        from engager.output.terminal import View, check_view  # rich costs time and memory

        self._view = self._view or View()
        self._view.show(check_view(rows, total, now - self._began_at))
