"""Chunks of work in, single rows out: the price of a stream is paid a chunk, not a row."""

from __future__ import annotations

from collections import deque
from contextlib import suppress

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from engager.models import EngageRequest, Outcome
from engager.store.history import Unsent

#: A row that is to be engaged, or is settled already and lacks its line.
Work = EngageRequest | Unsent | Outcome


class WorkQueue:
    """What the crew takes its rows from."""

    def __init__(self, chunks: MemoryObjectReceiveStream[list[Work]]) -> None:
        self._chunks = chunks
        self._ready: deque[Work] = deque()
        self._refilled: anyio.Event | None = None  #: is set when the one who waits for a chunk has it
        self._over = False
        self.rows = 0  #: read so far, whether or not somebody works on them
        self.read_to_end = False  #: the input was read to its end

    def get_nowait(self) -> Work | None:
        """The next row, where it is there already: waiting costs, even for nothing."""
        if not self._ready and self._refilled is None:
            with suppress(anyio.WouldBlock, anyio.EndOfStream):
                self._ready.extend(self._chunks.receive_nowait())
        return self._ready.popleft() if self._ready else None

    async def get(self) -> Work | None:
        """The next row, in the order of the input; None behind the last one."""
        while not self._ready and not self._over:
            if self._refilled is None:
                await self._refill()
            else:
                # No lock: handed on from one to the next, it would be held for ever by a crew in line.
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
