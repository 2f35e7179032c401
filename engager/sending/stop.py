"""The stop of a run: every wait ends, and no request starts after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio

from engager.config.sanitize import sanitized
from engager.errors import Exit


class Stop:
    """The request to end the run: every wait ends, and no request starts."""

    def __init__(self) -> None:
        self.exit: Exit | None = None
        self.reason = ""
        self._waiting: set[anyio.CancelScope] = set()
        self._callbacks: list[Callable[[], None]] = []

    @property
    def requested(self) -> bool:
        """Whether the run is to end."""
        return self.exit is not None

    def request(self, exit_code: Exit, reason: str) -> None:
        """Ask the run to end; the first reason counts. It becomes one line: names of files are part of it."""
        if self.requested:
            return
        self.exit, self.reason = exit_code, sanitized(reason, " ")
        for scope in self._waiting:
            scope.cancel()
        for callback in self._callbacks:
            callback()

    def on_request(self, callback: Callable[[], None]) -> None:
        """Call this when the stop is requested."""
        self._callbacks.append(callback)

    @contextmanager
    def cancels(self) -> Iterator[None]:
        """A context whose waits end at a stop, without an error."""
        with anyio.CancelScope() as scope:
            self._waiting.add(scope)
            try:
                if not self.requested:
                    yield
                else:
                    scope.cancel()
                    yield
            finally:
                self._waiting.discard(scope)

    async def wait(self) -> None:
        """Wait for the stop."""
        with self.cancels():
            await anyio.sleep_forever()

    async def sleep(self, seconds: float) -> None:
        """Sleep for so long, or until the stop."""
        with self.cancels():
            await anyio.sleep(max(0.0, seconds))
