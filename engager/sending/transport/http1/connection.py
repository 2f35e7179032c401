"""One keep-alive connection: one request at a time, then its response. Nothing is pipelined.

The socket is non-blocking and has one reader callback for its whole life: a callback for every response, or a
stream around the socket, costs more than the exchange itself.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Iterable, Sequence
from enum import IntEnum, auto
from math import inf
from typing import Final

from engager.models import CLIENT_CERT, Ending, Lost, NotSent
from engager.sending.clock import Clock
from engager.sending.transport.base import MAX_ANSWER, REST, is_of_client_cert
from engager.sending.transport.http1.known import KnownAnswers
from engager.sending.transport.http1.parser import AnswerParser, NotHttpError
from engager.sending.transport.http1.tls import Tls

#: Bytes that are read at once: a record of TLS and more.
BLOCK: Final = 1 << 15

#: Bytes that are encrypted at once, so that no second copy of a large body is made.
_PIECE: Final = 1 << 18

#: Seconds of rest after which a connection is read before it is used.
_RESTED: Final = 0.02


class _State(IntEnum):
    """What a connection does. An exchange goes through the states in this order, and may end in each."""

    IDLE = auto()  #: it can carry a request
    READY = auto()  #: it has a request that must not leave yet
    LEAVING = auto()  #: its request may leave, and no byte of it has left
    SENDING = auto()  #: a part of its request has left
    SENT = auto()  #: its request has left
    RECEIVING = auto()  #: a part of the response was received
    REUSABLE = auto()  #: its exchange ended, and it can carry another after `finish`
    USED_UP = auto()  #: its exchange ended, and it cannot carry another
    CLOSED = auto()


# To look up a member of an enumeration is a call before Python 3.12, and each exchange needs a dozen of them.
_IDLE, _READY, _LEAVING, _SENDING, _SENT, _RECEIVING, _REUSABLE, _USED_UP, _CLOSED = _State

#: An exchange is under way.
_OPEN: Final = frozenset({_READY, _LEAVING, _SENDING, _SENT, _RECEIVING})


class Connection:
    """A connected socket. It is used by one attempt at a time."""

    def __init__(
        self,
        sock: socket.socket,
        tls: Tls | None,
        loop: asyncio.AbstractEventLoop,
        known: KnownAnswers,
        now: Clock,
        longest_answer: int = MAX_ANSWER,
    ) -> None:
        self.deadline = inf  #: the moment at which the current exchange is given up
        self._state = _IDLE
        self._sock, self._loop, self._known = sock, loop, known
        self._descriptor = sock.fileno()
        self._parser = AnswerParser(longest_answer)
        self._waiter: asyncio.Future[Ending | None] = loop.create_future()  #: of the current exchange
        self._request: Iterable[bytes] = ()  #: while it must not leave yet
        self._unsent: deque[bytes | memoryview] = deque()
        self._piece: bytes | memoryview = b""  #: is being sent
        self._now = now
        self._used_at = now()
        self._answered = False  #: a response has come, so the handshake is over for the server, too
        self._tls = tls
        self._receive, self._send = sock.recv, sock.send
        loop.add_reader(self._descriptor, self._readable)

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._state is _CLOSED

    def stands(self, now: float, rested: bool = False) -> bool:
        """Whether it can carry a request: a server may have closed it while it was idle, or may do so now.

        With `rested` only what the server has done counts.
        """
        if not rested and self.has_rested(now):
            self.close()
        elif now - self._used_at > _RESTED and self._state is not _CLOSED:
            self._received()
        return self._state is not _CLOSED

    def has_rested(self, now: float) -> bool:
        """Whether it has been idle for so long that the server may close it any moment."""
        rest = self._known.rest
        return now - self._used_at > (rest if self._answered else max(rest, REST))

    def begin(self, parts: Iterable[bytes]) -> asyncio.Future[Ending | None]:
        """Accept one request, for `depart` to send; returns its ending, None if it was recalled.

        Await it, and call `finish` after it.
        """
        self._waiter = waiter = self._loop.create_future()
        self._state, self._request = _READY, parts
        return waiter

    def recall(self, fault: BaseException | None) -> None:
        """The request must not leave: it is not admitted any more, or what it waited for failed."""
        if self._state is not _READY or self._waiter.done():
            return
        self._state = _REUSABLE
        if fault is None:
            self._waiter.set_result(None)
        else:
            self._waiter.set_exception(fault)

    def depart(self, deadline: float) -> None:
        """Send the request, unless its exchange ended already; at the deadline it is given up."""
        if self._state is not _READY or self._waiter.done():
            return
        self.deadline, self._state = deadline, _LEAVING
        self._unsent.extend(self._request)
        try:
            self._flush()
        except OSError as fault:
            self._lose(self._alert() or fault)
        except Exception as fault:  # its attempt must raise it, and the requests after it must leave
            self._state = _USED_UP
            self._waiter.set_exception(fault)

    def finish(self, now: float) -> bool:
        """Finish the exchange, however it ended; returns whether the connection is idle now, or closed."""
        self._request, self.deadline, self._used_at = (), inf, now
        if self._state is _REUSABLE and not (self._unsent or self._piece):
            self._state = _IDLE
        elif self._state is not _IDLE:
            self.close()  # also when the attempt was cancelled: its response would count as the next one's
        return self._state is _IDLE

    def give_up(self, error_text: str) -> None:
        """End the current exchange without a response, unless one has come in the meantime.

        A process that was suspended finds its deadlines passed before it has read what arrived.
        """
        self._readable()
        self._end(self._unanswered(error_text, "timeout"))

    def _flush(self) -> None:
        """Send as much as the socket accepts; the rest follows when it is ready for more."""
        try:
            while self._piece or self._unsent:
                piece = self._piece or self._next_piece()
                self._piece = piece
                sent = self._send(piece)
                if self._state is _LEAVING:
                    self._state = _SENDING
                self._piece = b"" if sent == len(piece) else memoryview(piece)[sent:]
            if self._state is _SENDING:
                self._state = _SENT
        except BlockingIOError:
            self._loop.add_writer(self._descriptor, self._writable)

    def _next_piece(self) -> bytes | memoryview:
        part = self._unsent.popleft()
        if self._tls is None:
            return part
        if len(part) > _PIECE:
            self._unsent.appendleft(memoryview(part)[_PIECE:])
            part = memoryview(part)[:_PIECE]
        return self._tls.encrypt(part)

    def _writable(self) -> None:
        self._loop.remove_writer(self._descriptor)
        try:
            self._flush()
        except OSError as fault:
            self._readable()  # what the server said before it closed
            self._lose(fault)

    def _readable(self) -> None:
        """Read the available bytes: a response, a fault, or bytes out of turn."""
        # After a part of a response, all available bytes are read: uvloop reports a broken connection only
        # once, together with the bytes before the break.
        while self._received() and self._state in _OPEN and not self._waiter.done():
            pass

    def _received(self) -> bool:
        """Read the bytes that are available; returns whether there may be more."""
        try:
            data = self._receive(BLOCK)
            records = None if self._tls is None else self._decrypted(self._tls, data)
        except BlockingIOError:
            return False
        except OSError as fault:
            self._lose(fault)
            return False
        if records is None:
            self._handle(data)
        else:
            for record in records:
                self._handle(record)
        return bool(data)

    def _decrypted(self, tls: Tls, data: bytes) -> Sequence[bytes]:
        records = tls.decrypt(data)
        if tls.has_outgoing:
            if self._state is _SENDING:
                self._state = _SENT  # it is not known any more which of the bytes that wait are its own
            self._piece = b"".join((self._piece, tls.read_outgoing()))
            self._flush()
        return records

    def _handle(self, data: bytes) -> None:
        if self._state not in _OPEN or self._waiter.done():
            self.close()  # idle: the server closed it, or sent bytes out of turn
        elif self._state is _RECEIVING:
            self._parse(data)
        elif self._state is _READY:
            sent = bool(data)
            self._break_early(
                "the server sent before the request left" if sent else "the server closed it", sent
            )
        elif (reply := self._known.find(data)) is not None:
            self._end(reply, reusable=True)
        else:
            self._state = _RECEIVING
            self._parser.expect()
            self._parse(data)
            if self._state is _REUSABLE and self._parser.answer is not None:
                self._known.add(data, self._parser.answer)

    def _parse(self, data: bytes) -> None:
        parser = self._parser
        try:
            if parser.feed(data) if data else parser.end():
                assert parser.answer is not None  # noqa: S101 - what both have just said
                if parser.keep_alive is not None:
                    self._known.announce(parser.keep_alive)
                self._end(parser.answer, parser.reusable)
            elif not data:
                self._end(self._unanswered("the server closed the connection without a response"))
        except NotHttpError as fault:
            self._end(Lost("not_http", str(fault)))

    def _lose(self, fault: OSError) -> None:
        """The connection broke; a response that had begun is incomplete."""
        error_text = f"{type(fault).__name__}: {fault}"
        if self._state in _OPEN and not self._answered and is_of_client_cert(fault):
            self._end(NotSent(CLIENT_CERT, error_text))
        elif self._state is _READY:
            self._break_early(error_text, sent=False)
        elif self._state in _OPEN:
            broken = self._parser.broken() if self._state is _RECEIVING else None
            self._end(broken or self._unanswered(error_text))
        else:
            self.close()

    def _alert(self) -> OSError | None:
        """The alert of TLS that the server sent before it closed, if there is one to be read."""
        if self._tls is None:
            return None
        try:
            self._tls.decrypt(self._receive(BLOCK))
        except OSError as fault:
            return fault if is_of_client_cert(fault) else None
        return None

    def _break_early(self, error_text: str, sent: bool) -> None:
        """The connection broke before its request was to leave.

        Where a server closes an idle connection, another one is used. A server that closes at once, or sends
        bytes out of turn, would be dialled for ever: that is an attempt.
        """
        if sent or self._now() - self._used_at < _RESTED:
            self._end(NotSent("connection_lost", error_text))
        else:
            self.recall(None)
        self.close()

    def _unanswered(self, error_text: str, error: str = "connection_lost") -> Lost | NotSent:
        """How an exchange ends without a response.

        Assumed: an endpoint does nothing for a request whose body it has not received to its end.
        """
        left = self._state is _SENT or self._state is _RECEIVING
        return (Lost if left else NotSent)(error, error_text)

    def _end(self, ending: Ending, reusable: bool = False) -> None:
        if self._state not in _OPEN:
            return
        self._state = _REUSABLE if reusable else _USED_UP
        self._answered = self._answered or reusable
        if not self._waiter.done():
            self._waiter.set_result(ending)

    def close(self) -> None:
        """Close it; an attempt that waits for a response gets an ending without one."""
        if self._state is _CLOSED:
            return
        self._end(self._unanswered("the connection was closed"))
        self._state = _CLOSED
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        self._sock.close()
