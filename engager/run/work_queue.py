"""Splits chunks into single rows, so that the cost of a stream is paid once per chunk."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from contextlib import suppress

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from engager.models import Prepared
from engager.sending.batches import Part

#: What a worker settles: a row, a batch of rows, or a part of a batch.
Work = Prepared | Part


class WorkQueue:
    """The queue from which the workers take rows and batches."""

    def __init__(self, chunks: MemoryObjectReceiveStream[list[Prepared]]) -> None:
        self._chunks = chunks
        self._ready: deque[Work] = deque()
        self._last: deque[Work] = deque()  #: after all that has been read
        self._refilled: anyio.Event | None = None  #: set when the worker that waits for a chunk has it
        self._over = False
        self.rows = 0  #: read so far, settled or not
        self.read_to_end = False  #: the input was read to its end

    def get_nowait(self) -> Work | None:
        """The next work if it is available: an await has a cost even without a wait."""
        if not self._ready and self._refilled is None:
            with suppress(anyio.WouldBlock, anyio.EndOfStream):
                self._ready.extend(self._chunks.receive_nowait())
        return self._ready.popleft() if self._ready else self._next_of_last()

    async def get(self) -> Work | None:
        """The next work, in the order of the input; None after the last one."""
        while not self._ready and not self._over:
            if self._refilled is None:
                await self._refill()
            else:
                # No lock: passed from worker to worker, it would never be free.
                await self._refilled.wait()
        return self._ready.popleft() if self._ready else self._next_of_last()

    def put_last(self, parts: Iterable[Part]) -> None:
        """Add parts of a batch, to be sent when nothing else is ready."""
        self._last.extend(parts)

    def _next_of_last(self) -> Work | None:
        return self._last.popleft() if self._last else None

    async def _refill(self) -> None:
        self._refilled = refilled = anyio.Event()
        try:
            self._ready.extend(await self._chunks.receive())
        except anyio.EndOfStream:
            self._over = True
        finally:
            self._refilled = None
            refilled.set()
