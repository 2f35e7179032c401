"""One keep-alive connection: a request out, its answer back, one at a time and nothing pipelined.

The socket is non-blocking and has one reader callback for its whole life: a callback for every answer,
or a stream around the socket, costs more than the exchange itself.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Iterable, Sequence
from math import inf
from typing import Final

from engager.models import Ending, Lost, NotSent
from engager.sending.clock import Clock
from engager.sending.transport.http1.known import KnownAnswers
from engager.sending.transport.http1.parser import AnswerParser, NotHttpError
from engager.sending.transport.http1.tls import Tls

#: Bytes that are read at once: a record of TLS and more.
BLOCK: Final = 1 << 15

#: Bytes that are sealed at once, so that no second copy of a large body is made.
_PIECE: Final = 1 << 18

#: Seconds of rest after which a connection is looked at before it is used.
_RESTED: Final = 0.02


class Connection:
    """A connection that stands. It is used by one try at a time."""

    def __init__(
        self,
        sock: socket.socket,
        tls: Tls | None,
        loop: asyncio.AbstractEventLoop,
        known: KnownAnswers,
        now: Clock,
    ) -> None:
        self.closed = False
        self.deadline = inf  #: when the present exchange is given up
        self._sock, self._loop, self._known = sock, loop, known
        self._descriptor = sock.fileno()
        self._parser = AnswerParser()
        self._waiter: asyncio.Future[Ending | None] | None = None
        self._answer_begun = False  #: the parser has a part of the present answer
        self._reusable = True  #: nothing of an exchange is left on it
        self._request: Iterable[bytes] | None = None  #: taken, and not to leave before `depart`
        self._unsent: deque[bytes | memoryview] = deque()
        self._piece: bytes | memoryview = b""  #: is being sent
        self._left = False  #: a byte of the present request has left
        self._now = now
        self._used_at = now()
        self._tls = tls
        self._receive, self._send = sock.recv, sock.send
        loop.add_reader(self._descriptor, self._readable)

    def stands(self, now: float) -> bool:
        """Whether it can carry a request: a server may have closed it while it rested."""
        if now - self._used_at > _RESTED and not self.closed:
            self._received()
        return not self.closed

    def begin(self, parts: Iterable[bytes]) -> asyncio.Future[Ending | None]:
        """Take one request, for `depart` to send; returns its ending, None if it was recalled.

        It is to be awaited, and `finish` to be called behind it.
        """
        self._waiter = waiter = self._loop.create_future()
        self._answer_begun = self._reusable = self._left = False
        self._request = parts
        return waiter

    def recall(self, fault: BaseException | None) -> None:
        """The request is not to leave: it is not clear any more, or what it waited for went wrong."""
        if self._waiter is None or self._waiter.done():
            return
        self._request, self._reusable = None, not self.closed
        if fault is None:
            self._waiter.set_result(None)
        else:
            self._waiter.set_exception(fault)

    def depart(self, deadline: float) -> None:
        """Send the request, unless its exchange is over already; at the deadline it is given up."""
        if self._waiter is None or self._waiter.done():
            return
        self.deadline, self._left = deadline, False
        self._unsent.extend(self._request or ())
        self._request = None
        try:
            self._flush()
        except OSError as fault:
            self._end(self._unanswered(f"{type(fault).__name__}: {fault}"))
        except Exception as fault:  # whoever waits must hear of it, and those behind must leave
            self._waiter.set_exception(fault)

    def finish(self, now: float) -> None:
        """The exchange is over, whatever ended it: from `now` on the connection rests, or is closed."""
        self._waiter = self._request = None
        self.deadline, self._used_at = inf, now
        if not self._reusable or self._unsent or self._piece:
            self.close()  # also when the try was cancelled: an answer would be taken for the next one's

    def give_up(self, error_text: str) -> None:
        """End the present exchange without an answer."""
        self._end(Lost("timeout", error_text))

    def _flush(self) -> None:
        """Send what the socket takes; the rest follows when it is ready for more."""
        try:
            while self._piece or self._unsent:
                piece = self._piece or self._next_piece()
                self._piece = piece
                sent = self._send(piece)
                self._left = True
                self._piece = b"" if sent == len(piece) else memoryview(piece)[sent:]
        except BlockingIOError:
            self._loop.add_writer(self._descriptor, self._writable)

    def _next_piece(self) -> bytes | memoryview:
        part = self._unsent.popleft()
        if self._tls is None:
            return part
        if len(part) > _PIECE:
            self._unsent.appendleft(memoryview(part)[_PIECE:])
            part = memoryview(part)[:_PIECE]
        return self._tls.sealed(part)

    def _writable(self) -> None:
        self._loop.remove_writer(self._descriptor)
        try:
            self._flush()
        except OSError as fault:
            self._lose(fault)

    def _readable(self) -> None:
        """Take in what has come: an answer, a fault, or what nobody asked for."""
        # Behind a part of an answer all is read that is there: uvloop tells once of a connection that
        # broke, together with what came before it.
        while self._received() and self._waiter is not None and not self._waiter.done():
            pass

    def _received(self) -> bool:
        """Take in what can be read at once; returns whether there may be more."""
        try:
            data = self._receive(BLOCK)
            said = None if self._tls is None else self._opened(self._tls, data)
        except BlockingIOError:
            return False
        except OSError as fault:
            self._lose(fault)
            return False
        if said is None:
            self._take(data)
        else:
            for part in said:
                self._take(part)
        return bool(data)

    def _opened(self, tls: Tls, data: bytes) -> Sequence[bytes]:
        said = tls.opened(data)
        if tls.owes:
            self._piece = b"".join((self._piece, tls.leaves()))
            self._flush()
        return said

    def _take(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():
            self.close()  # at rest: the server closed it, or speaks out of turn
        elif self._request is not None:
            self._break_early(
                "the server spoke before the request left" if data else "the server closed it", bool(data)
            )
        elif self._answer_begun:
            self._parse(data)
        elif (reply := self._known.find(data)) is not None:
            self._reusable = True
            self._end(reply)
        else:
            self._answer_begun = True
            self._parser.expect()
            self._parse(data)
            if self._reusable and self._parser.answer is not None:
                self._known.keep(data, self._parser.answer)

    def _parse(self, data: bytes) -> None:
        parser = self._parser
        try:
            if parser.feed(data) if data else parser.end():
                assert parser.answer is not None  # noqa: S101 - what both have just said
                self._reusable = parser.reusable
                self._end(parser.answer)
            elif not data:
                self._end(Lost("connection_lost", "the server closed the connection without an answer"))
        except NotHttpError as fault:
            self._end(Lost("not_http", str(fault)))

    def _lose(self, fault: OSError) -> None:
        """The connection broke; an answer that had begun is cut off."""
        if self._waiter is None:
            self.close()
        elif self._request is not None:
            self._break_early(f"{type(fault).__name__}: {fault}", False)
        else:
            broken = self._parser.broken() if self._answer_begun else None
            self._reusable = False
            self._end(broken or self._unanswered(f"{type(fault).__name__}: {fault}"))

    def _break_early(self, error_text: str, spoke: bool) -> None:
        """It is of no use any more, and its request was not to leave yet.

        Where a server closes what rested, another connection does. One that closes at once, or speaks out of
        turn, would be dialled for ever: that takes a try.
        """
        if spoke or self._now() - self._used_at < _RESTED:
            self._end(NotSent("connection_lost", error_text))
        else:
            self.recall(None)
        self.close()

    def _unanswered(self, error_text: str) -> Lost | NotSent:
        """How an exchange ends without an answer: what the system refused whole has not left."""
        return (Lost if self._left else NotSent)("connection_lost", error_text)

    def _end(self, ending: Ending) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(ending)

    def close(self) -> None:
        """Close it; who waits for an answer is told that there is none."""
        if self.closed:
            return
        self.closed = True
        self._reusable = False
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        self._sock.close()
        self._end(self._unanswered("the connection was closed"))
