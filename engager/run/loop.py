"""The event loop of a whole run: uvloop's, which needs half the time from a readable socket to its reader."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

#: Objects that are made between two searches for cycles; a few hundred rows make Python's own 700.
_RARELY = 20_000


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a loop of its own, until it ends. Raises RuntimeError where one is running."""
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
        return None  # it is not available for every Python, and the standard library's does the same
    return new_event_loop


def collect_rarely() -> None:
    """Search for cycles rarely, once all is loaded: rows leave none."""
    gc.freeze()
    gc.set_threshold(_RARELY)
