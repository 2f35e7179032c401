"""One keep-alive connection: a request out, its answer back, one at a time and nothing pipelined.

The socket is non-blocking and has one reader callback for its whole life: a callback for every answer,
or a stream around the socket, costs more than the exchange itself.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Iterable

from engager.dispatch.http1.parser import AnswerParser, NotHttpError
from engager.model import Ending, Lost, NotSent

#: Bytes that are read at once: most answers are far smaller.
_BLOCK = 1 << 16

#: A socket that is not ready, plain or under TLS.
_NOT_READY = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

#: Seconds of rest after which a connection is looked at before it is used.
_RESTED = 0.02


class Connection:
    """A connection that stands. It is used by one try at a time."""

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self.closed = False
        self.deadline = float("inf")  #: loop time at which the present exchange is given up
        self._sock, self._loop = sock, loop
        self._descriptor = sock.fileno()
        self._parser = AnswerParser()
        self._waiter: asyncio.Future[Ending] | None = None
        self._unsent: deque[bytes | memoryview] = deque()
        self._used_at = loop.time()
        self._receive = sock.recv
        # Records that TLS has decrypted already do not make the socket readable again.
        self._more = sock.pending if isinstance(sock, ssl.SSLSocket) else None
        loop.add_reader(self._descriptor, self._readable)

    def stands(self, now: float) -> bool:
        """Whether it can carry a request: a server may have closed it while it rested."""
        if now - self._used_at > _RESTED and not self.closed:
            self._readable()
        return not self.closed

    async def exchange(self, parts: Iterable[bytes], deadline: float) -> Ending:
        """Send one request and wait for its answer."""
        self._parser.expect()
        self._unsent.extend(parts)
        before = len(self._unsent)
        try:
            self._flush()
        except OSError as fault:
            self.close()
            whole = len(self._unsent) == before and isinstance(self._unsent[0], bytes)
            text = f"{type(fault).__name__}: {fault}"
            # What the system refused whole has not left; under TLS nobody knows how much it was.
            not_sent = whole and self._more is None
            return NotSent("connection_lost", text) if not_sent else Lost("connection_lost", text)
        self.deadline = deadline
        self._waiter = self._loop.create_future()
        try:
            return await self._waiter
        finally:
            self._waiter = None
            self.deadline = float("inf")
            if self._parser.answer is None or not self._parser.reusable or self._unsent:
                self.close()  # also when the try was cancelled: an answer would be taken for the next one's
            else:
                self._used_at = self._loop.time()

    def give_up(self, error_text: str) -> None:
        """End the present exchange without an answer."""
        self._end(Lost("timeout", error_text))

    def _flush(self) -> None:
        """Send what the socket takes; the rest follows when it is ready for more."""
        unsent = self._unsent
        try:
            while unsent:
                sent = self._sock.send(unsent[0])
                if sent == len(unsent[0]):
                    unsent.popleft()
                else:
                    unsent[0] = memoryview(unsent[0])[sent:]
        except _NOT_READY:
            self._loop.add_writer(self._descriptor, self._writable)

    def _writable(self) -> None:
        self._loop.remove_writer(self._descriptor)
        try:
            self._flush()
        except OSError as fault:
            self._lose(fault)

    def _readable(self) -> None:
        """Take in what has come: an answer, a fault, or what nobody asked for."""
        try:
            data = self._receive(_BLOCK)
            while self._more is not None and data and self._more():
                self._take(data)
                data = self._receive(_BLOCK)
        except _NOT_READY:
            return
        except OSError as fault:
            self._lose(fault)
            return
        self._take(data)

    def _take(self, data: bytes) -> None:
        if self._waiter is None:
            self.close()  # at rest: the server closed it, or speaks out of turn
            return
        parser = self._parser
        try:
            if parser.feed(data) if data else parser.end():
                assert parser.answer is not None  # noqa: S101 - what both have just said
                self._end(parser.answer)
            elif not data:
                self._end(Lost("connection_lost", "the server closed the connection without an answer"))
        except NotHttpError as fault:
            self._end(Lost("not_http", str(fault)))

    def _lose(self, fault: OSError) -> None:
        """The connection broke; an answer that had begun is cut off."""
        if self._waiter is None:
            self.close()
        else:
            broken = self._parser.broken()
            self._end(broken or Lost("connection_lost", f"{type(fault).__name__}: {fault}"))

    def _end(self, ending: Ending) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(ending)

    def close(self) -> None:
        """Close it; who waits for an answer is told that there is none."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        self._sock.close()
        self._end(Lost("connection_lost", "the connection was closed"))
