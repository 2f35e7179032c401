"""The own transport: keep-alive connections to one origin, as many as there are attempts at a time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Final
from urllib.parse import urlsplit

from engager.models import Ending, NotSent, Withheld
from engager.sending.clock import running_clock
from engager.sending.transport.base import (
    Admission,
    Departures,
    Destination,
    InFlight,
    SendBatch,
    why_not_connected,
)
from engager.sending.transport.http1.connection import Connection
from engager.sending.transport.http1.dialing import Dialer
from engager.sending.transport.http1.known import KnownAnswers

#: Bodies up to this size are joined with their head, to leave in one piece.
_SMALL: Final = 1 << 16


class LeanTransport:
    """Sends over its own connections. Create it inside the running loop."""

    def __init__(self, destination: Destination) -> None:
        url = urlsplit(destination.url)
        context = destination.ssl or ssl.create_default_context() if url.scheme == "https" else None
        port = url.port or (443 if url.scheme == "https" else 80)
        self._dialer = Dialer(url.hostname or "", port, context)
        self._timeout, self._longest = destination.timeout, destination.longest_answer
        self._head, self._tail = _head(url.netloc, url.path or "/", destination)
        self._loop, self._now = asyncio.get_running_loop(), running_clock()
        self._known = KnownAnswers()
        self._idle: list[Connection] = []
        self._departures = Departures(self._now, destination.timeout)
        self._all: set[Connection] = set()
        self._dialling: dict[object, float] = {}  #: until when each connection that is being made may take
        # One timer for all: a timer per attempt is costly, and a timeout may be a tenth of a second late.
        self._step = min(0.1, destination.timeout / 10)
        self._timer = self._loop.call_later(self._step, self._sweep)

    async def send(self, body: tuple[bytes, ...], request_id: str, admission: Admission) -> Ending:
        """Send one request, once."""
        now, held = self._now, False
        while True:
            if not self._has_idle(now()):
                dialled = await self._dial()
                if isinstance(dialled, NotSent):
                    return dialled
                self._idle.append(dialled)
            admitted, own, waited = admission(), None, False
            if not isinstance(admitted, (bool, SendBatch)):
                with self._holding(held) as own:
                    admitted, waited = await admitted, True
            if admitted is False:
                return Withheld()
            # Where it did not wait, no other attempt has run since: the connection still stands.
            connection = self._pop_idle(now(), own) if waited else self._idle.pop()
            if connection is None:
                held = True  # admission takes longer than a connection may rest, or others were faster
                continue
            try:
                waiter = connection.begin(self._request(body, request_id))
                self._departures.add(admitted, connection)
                ending = await waiter
            finally:
                if connection.finish(now()):
                    self._idle.append(connection)
                else:
                    self._all.discard(connection)
            if ending is not None:
                return ending

    def _request(self, body: tuple[bytes, ...], request_id: str) -> tuple[bytes, ...]:
        size = len(body[0]) if len(body) == 1 else sum(map(len, body))
        head = b"%s%d%s%s\r\n\r\n" % (self._head, size, self._tail, request_id.encode())
        return (head + body[0],) if len(body) == 1 and size <= _SMALL else (head, *body)

    def _has_idle(self, now: float) -> bool:
        """Whether an idle connection stands.

        None is reserved for an attempt: one that waits for its admission would leave it at rest until the
        server closes it, while another has just been used.
        """
        while self._idle:
            if self._idle[-1].stands(now):
                return True
            self._all.discard(self._idle.pop())
        return False

    @contextmanager
    def _holding(self, held: bool) -> Iterator[Connection | None]:
        """Take an idle connection out of the reach of others, if it is to be held."""
        own = self._idle.pop() if held else None
        try:
            yield own
        finally:
            if own is not None:
                self._idle.append(own)

    def _pop_idle(self, now: float, own: Connection | None) -> Connection | None:
        """The idle connection that was used last, if one stands: the attempt's own one, if it has one."""
        if own is not None and own.stands(now, rested=True):
            self._idle.remove(own)
            return own
        return self._idle.pop() if self._has_idle(now) else None

    async def _dial(self) -> Connection | NotSent:
        dial = object()
        self._dialling[dial] = self._now() + self._timeout
        try:
            async with asyncio.timeout(self._timeout):
                sock, tls = await self._dialer.dial()
        except TimeoutError:
            return NotSent("connect_timeout", f"no connection within {self._timeout:g} s")
        except OSError as fault:
            return NotSent(why_not_connected(fault), f"{type(fault).__name__}: {fault}")
        except ValueError as fault:  # a name that no name server and no certificate can have
            return NotSent("connect_failed", f"{type(fault).__name__}: {fault}")
        finally:
            del self._dialling[dial]
        connection = Connection(sock, tls, self._loop, self._known, self._now, self._longest)
        self._all.add(connection)
        return connection

    def _sweep(self) -> None:
        """Give up the exchanges that have reached their deadlines, and close what has rested for too long."""
        now = self._now()
        while self._idle and self._idle[0].has_rested(now):
            connection = self._idle.pop(0)
            self._all.discard(connection)
            connection.close()
        for connection in self._all:
            if connection.deadline <= now:
                connection.give_up(f"no response within {self._timeout:g} s")
        self._timer = self._loop.call_later(self._step, self._sweep)

    @property
    def in_flight(self) -> InFlight:
        """The requests without a response yet, by the deadlines of their connections."""
        deadlines = [connection.deadline for connection in self._all if connection.deadline != inf]
        return InFlight.by_deadlines(self._now(), self._timeout, deadlines, self._dialling.values())

    async def aclose(self) -> None:
        """Close every connection."""
        self._timer.cancel()
        for connection in list(self._all):
            connection.close()


def _head(host: str, path: str, destination: Destination) -> tuple[bytes, bytes]:
    """A request's head up to the length of its body, and from there up to its Request-ID."""
    fixed = "".join(f"{name}: {value}\r\n" for name, value in destination.headers.items())
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{fixed}Accept: */*\r\nAccept-Encoding: identity\r\n"
    return f"{head}Content-Length: ".encode(), b"\r\nRequest-ID: "
