"""Signals stop a run in good order."""

from __future__ import annotations

import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from math import ceil

import anyio

from engager.errors import Exit, JobError, one_at_a_time
from engager.run.control import Control

_taken = threading.Lock()


@asynccontextmanager
async def stopped_by_signals(control: Control, say: Callable[[str], object]) -> AsyncIterator[None]:
    """SIGINT, SIGTERM and SIGHUP stop the block: the first signal in good order, the second at once.

    The second one cancels the rest of the block and nothing else. Raises JobError before the block if signals
    cannot be received.
    """
    with one_at_a_time(), _handled() as numbers:
        async with anyio.create_task_group() as tasks:
            with anyio.open_signal_receiver(*numbers) as signals:
                tasks.start_soon(_obey, signals, control, say, tasks.cancel_scope)
                yield
                tasks.cancel_scope.cancel()


@contextmanager
def _handled() -> Iterator[list[signal.Signals]]:
    """Yields the signals that are handled; the previous handlers are restored at the end."""
    if threading.current_thread() is not threading.main_thread():
        raise JobError(
            "stop_on_signals: only the main thread receives signals, and this is another one. Call it there, "
            "or stop the run by a Control."
        )
    if not _taken.acquire(blocking=False):
        raise JobError(
            "stop_on_signals: another run of this process handles them. Stop this one by a Control."
        )
    try:
        names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
        before = {signal.Signals[name]: signal.getsignal(signal.Signals[name]) for name in names}
        # A process under nohup must outlive its terminal.
        numbers = [
            number
            for number, options in before.items()
            if number.name != "SIGHUP" or options != signal.SIG_IGN
        ]
        try:
            yield numbers
        finally:
            for number in numbers:
                if before[number] is not None:
                    signal.signal(number, before[number])
    finally:
        _taken.release()


async def _obey(
    signals: AsyncIterator[signal.Signals],
    control: Control,
    say: Callable[[str], object],
    everything: anyio.CancelScope,
) -> None:
    asked = False
    async for number in signals:
        if asked:
            everything.cancel()
            return
        asked, name = True, signal.Signals(number).name
        control.stop(f"interrupted by {name}", Exit(128 + number))
        flying = control.in_flight
        limit = f", at most {ceil(flying.ends_within_seconds)} s" if flying.requests else ""
        say(f"{name}: finishing the requests in flight{limit}; send it again to stop now.")
