"""Events in, what a person sees out: a live view at a terminal, a plain line now and then elsewhere."""

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

#: Seconds between two lines where there is no terminal.
PLAIN_EVERY = 10.0


def can_move() -> bool:
    """Whether stderr can show a live view: a terminal that moves its cursor and knows all characters."""
    knows_all = (sys.stderr.encoding or "").lower().startswith("utf")
    return sys.stderr.isatty() and knows_all and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


class Progress(AbstractContextManager["Progress"]):
    """Shows a run on stderr while it is entered. Colours obey NO_COLOR.

    `behind`: whether what stderr is given would not be seen now; a live view waits for the next moment then.
    """

    def __init__(self, wanted: bool, behind: Callable[[], bool] = lambda: False) -> None:
        self._wanted, self._behind = wanted, behind
        self._view: View | None = None
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
        elif self._view is not None or can_move():
            if not self._behind():
                self._show(event.snapshot)
        elif (
            event.snapshot.elapsed_seconds - self._told_at >= PLAIN_EVERY
            or set(event.snapshot.holders) - self._holders
        ):
            self._told_at, self._holders = event.snapshot.elapsed_seconds, set(event.snapshot.holders)
            print(status_line(event.snapshot), file=sys.stderr, flush=True)

    def show(self, text: str) -> None:
        """Say something on stderr, above what is shown."""
        if self._view is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._view.update(text)

    def _show(self, now: Snapshot) -> None:
        if self._view is None:
            from engager.output.terminal import View  # rich is for who looks

            self._view = View()
        self._view.show(now)

    def _end(self) -> None:
        if self._view is not None:
            self._view.end()
            self._view = None
