"""Chunks of work in, single rows out: the price of a stream is paid a chunk, not a row."""

from __future__ import annotations

from collections import deque

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from engager.ledger.recorder import Due
from engager.model import Outcome

#: A row that is to be engaged, or is settled already and lacks its line.
Work = Due | Outcome


class Feed:
    """What the crew takes its rows from."""

    def __init__(self, chunks: MemoryObjectReceiveStream[list[Work]]) -> None:
        self._chunks = chunks
        self._ready: deque[Work] = deque()
        self._refilling = anyio.Lock()
        self.rows = 0  #: read so far, whether or not somebody works on them
        self.whole = False  #: the input was read to its end

    def ready(self) -> Work | None:
        """The next row, where it is there already: waiting costs, even for nothing."""
        return self._ready.popleft() if self._ready else None

    async def next(self) -> Work | None:
        """The next row, in the order of the input; None behind the last one."""
        while not self._ready:
            async with self._refilling:
                if not self._ready and not await self._refill():
                    return None
        return self._ready.popleft()

    async def _refill(self) -> bool:
        try:
            chunk = await self._chunks.receive()
        except anyio.EndOfStream:
            return False
        self._ready.extend(chunk)
        return True
