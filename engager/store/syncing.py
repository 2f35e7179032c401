"""Syncs the journal, once for all requests that wait within a millisecond.

A sync costs as much CPU time as some rows, for one request as for many, so it begins with a delay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Final

from engager.errors import RecordingError

#: Seconds from the first request to its sync: about as long as a disk takes.
_LINGER: Final = 0.001

#: Requests that start a sync before that: a sync for each few of them would cost more than the requests.
_MANY: Final = 8


#: A sync, and the future of the requests that wait for it.
_Sync = tuple[Callable[[], None], asyncio.Future[None]]


class Disk:
    """Create it inside the running loop, and close it."""

    def __init__(self, sync: Callable[[], Callable[[], None]], enough: int) -> None:
        """`sync` takes what was stored by then, and returns what brings that to the disk: in a thread.

        It is called at once when `enough` requests wait. Raises RecordingError.
        """
        self._sync, self._enough = sync, enough
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.Future[None] | None = None  #: of what was stored since a sync began
        self._asked = 0
        self._is_busy = self._is_time = False
        self._fault: BaseException | None = None
        # An executor would hand over in three times the time, which every sync pays.
        self._to_do: SimpleQueue[_Sync | None] = SimpleQueue()
        self._syncing = Thread(target=self._work, name="disk", daemon=True)
        try:
            self._syncing.start()
        except RuntimeError as fault:
            raise RecordingError(
                f"the machine has no thread left to sync the journal in: {fault}."
            ) from fault

    def next_sync(self) -> asyncio.Future[None]:
        """What is done when all that was stored by now would survive a power cut.

        Many share it: shield it from a cancellation. Raises what `sync` raised, now or before: what failed
        to reach the disk is not tried again.
        """
        if self._fault is not None:
            return _fail(self._loop.create_future(), self._fault)
        done = self._next
        if done is None:
            done = self._next = self._loop.create_future()
            self._asked, self._is_time = 0, False
            self._loop.call_later(_LINGER, self._lingered, done, 1)
        self._asked += 1
        if self._asked >= self._enough:
            self._begin()
        return done

    def _lingered(self, done: asyncio.Future[None], before: int) -> None:
        """Begin, unless many were added since the last time: then as many more are about to be."""
        if self._next is not done:
            return
        if self._asked - before >= _MANY:
            self._loop.call_later(_LINGER, self._lingered, done, self._asked)
        else:
            self._is_time = True
            self._begin()

    def _begin(self) -> None:
        if self._is_busy or self._next is None:
            return
        done, self._next, self._is_busy = self._next, None, True
        try:
            self._to_do.put((self._sync(), done))
        except Exception as fault:
            self._end(done, fault)

    def _work(self) -> None:
        while (sync := self._to_do.get()) is not None:
            bring, done = sync
            fault: BaseException | None = None
            try:
                bring()
            except BaseException as raised:
                fault = raised
            self._loop.call_soon_threadsafe(self._end, done, fault)

    def close(self) -> None:
        """Wait for what is under way to end."""
        self._to_do.put(None)
        self._syncing.join()

    def _end(self, done: asyncio.Future[None], fault: BaseException | None) -> None:
        self._is_busy = False
        if fault is not None:
            self._fault = fault
            for waiting in filter(None, (done, self._next)):
                _fail(waiting, fault)
            self._next = None
            return
        done.set_result(None)
        if self._is_time or self._asked >= self._enough:
            self._begin()


def _fail(done: asyncio.Future[None], fault: BaseException) -> asyncio.Future[None]:
    done.set_exception(fault)
    done.exception()  # those who waited may be cancelled: the loop must not report it as never retrieved
    return done
