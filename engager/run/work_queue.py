"""Splits chunks into single rows, so that the cost of a stream is paid once per chunk."""

from __future__ import annotations

from collections import deque
from contextlib import suppress

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from engager.models import EngageRequest, Outcome
from engager.store.history import Unsent

#: A row to engage, or a settled row without its line of results.
Work = EngageRequest | Unsent | Outcome


class WorkQueue:
    """The queue from which the workers take rows."""

    def __init__(self, chunks: MemoryObjectReceiveStream[list[Work]]) -> None:
        self._chunks = chunks
        self._ready: deque[Work] = deque()
        self._refilled: anyio.Event | None = None  #: set when the worker that waits for a chunk has it
        self._over = False
        self.rows = 0  #: read so far, settled or not
        self.read_to_end = False  #: the input was read to its end

    def get_nowait(self) -> Work | None:
        """The next row if it is available: an await has a cost even without a wait."""
        if not self._ready and self._refilled is None:
            with suppress(anyio.WouldBlock, anyio.EndOfStream):
                self._ready.extend(self._chunks.receive_nowait())
        return self._ready.popleft() if self._ready else None

    async def get(self) -> Work | None:
        """The next row, in the order of the input; None after the last one."""
        while not self._ready and not self._over:
            if self._refilled is None:
                await self._refill()
            else:
                # No lock: passed from worker to worker, it would never be free.
                await self._refilled.wait()
        return self._ready.popleft() if self._ready else None

    async def _refill(self) -> None:
        self._refilled = refilled = anyio.Event()
        try:
            self._ready.extend(await self._chunks.receive())
        except anyio.EndOfStream:
            self._over = True
        finally:
            self._refilled = None
            refilled.set()
