"""The event loop of a whole run: uvloop, which wakes the reader of a socket in half the time."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

#: New objects between two searches for cycles. A few hundred rows make Python's default of 700.
_RARELY = 20_000


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new loop until it ends. Raises RuntimeError if a loop is running already."""
    if _is_running():
        main.close()
        raise RuntimeError("an event loop runs in this thread: await run_async or retry_async instead")
    with asyncio.Runner(loop_factory=_factory()) as runner:
        return runner.run(main)


def _is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        from uvloop import new_event_loop
    except ImportError:
        return None  # uvloop is not available for every Python; the standard loop does the same
    return new_event_loop


def collect_rarely() -> None:
    """Search for cycles rarely, once all is loaded: rows leave none."""
    gc.freeze()
    gc.set_threshold(_RARELY)
