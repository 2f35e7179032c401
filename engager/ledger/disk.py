"""Brings what was stored to the disk, once for all who ask within a moment.

A sync costs the processor as much as some rows do, however many it is for; so nobody's is begun at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

#: Seconds that whoever asks first waits for others: about as long as a disk takes.
_LINGER: Final = 0.001

#: Who come in that time are many: a sync for each few of them would cost more than their requests.
_MANY: Final = 8


class Disk:
    """Create it inside the running loop."""

    def __init__(self, sync: Callable[[], None], enough: int) -> None:
        """`sync` is called in a thread; without more ado as soon as `enough` are waiting."""
        self._sync, self._enough = sync, enough
        self._loop = asyncio.get_running_loop()
        self._waiting: list[asyncio.Future[None]] = []
        self._is_busy = self._is_time = False
        self._fault: BaseException | None = None

    def holds(self) -> asyncio.Future[None]:
        """What is to be awaited: done when all that was stored by now would survive a power cut.

        Raises what `sync` raised, now or ever before: what failed to reach the disk is not tried again.
        """
        waiter = self._loop.create_future()
        if self._fault is not None:
            waiter.set_exception(self._fault)
            return waiter
        self._waiting.append(waiter)
        if len(self._waiting) == 1:
            self._is_time = False
            self._loop.call_later(_LINGER, self._lingered, waiter, 1)
        if len(self._waiting) >= self._enough:
            self._begin()
        return waiter

    def _lingered(self, first: asyncio.Future[None], before: int) -> None:
        """Begin, unless many have come since the last look: then so many more are about to."""
        waiting = len(self._waiting)
        if not waiting or self._waiting[0] is not first:
            return
        if waiting - before >= _MANY:
            self._loop.call_later(_LINGER, self._lingered, first, waiting)
        else:
            self._is_time = True
            self._begin()

    def _begin(self) -> None:
        if self._is_busy:
            return
        waiting, self._waiting, self._is_busy = self._waiting, [], True
        try:
            syncing = self._loop.run_in_executor(None, self._sync)
        except RuntimeError as fault:  # no thread is to be had
            self._end(waiting, fault)
        else:
            syncing.add_done_callback(lambda synced: self._end(waiting, synced.exception()))

    def _end(self, waiting: list[asyncio.Future[None]], fault: BaseException | None) -> None:
        self._is_busy = False
        if fault is not None:
            self._fault = fault
            waiting, self._waiting = [*waiting, *self._waiting], []
        for waiter in waiting:
            if waiter.done():
                continue  # whoever waited was cancelled
            if fault is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(fault)
        if self._waiting and (self._is_time or len(self._waiting) >= self._enough):
            self._begin()
