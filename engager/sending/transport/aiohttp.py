"""The transport on aiohttp's client session."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from engager.models import CLIENT_CERT, Ending, Lost, NotSent, Reply, Withheld
from engager.sending.transport.base import (
    REST,
    Admission,
    Destination,
    InFlight,
    Proxy,
    is_admitted,
    is_of_client_cert,
    plain_body,
    why_not_connected,
)

if TYPE_CHECKING:
    from aiohttp.tracing import Trace


#: Bodies up to this size are handed over as they are; for longer ones the session warns of that.
_SMALL = 1 << 16

#: Seconds after the deadline in which a response is read that came while the process was suspended.
_LAST_READ = 0.05


class _WithheldError(Exception):
    """The request is withheld."""


class _Departure:
    """One attempt: asks for admission, and from then on has a deadline."""

    def __init__(self, admission: Admission, timeout: float) -> None:
        self.left = False
        self.whole = False  #: all of its body is on its way
        self.dialled = False  #: a connection was made for it
        self.protocol: ResponseHandler | None = None  #: of the connection that carries it
        self.ends_at = 0.0  #: loop time at which it is given up, once it left
        self.connects_until: float | None = None  #: loop time, while a connection is being made for it
        self._admission = admission
        self._timeout = timeout
        # Waiting for admission is no fault of the endpoint, and connecting has a deadline of its own.
        self.deadline = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None

    async def admit(self) -> None:
        if not await is_admitted(self._admission):
            raise _WithheldError
        self.release()
        loop = asyncio.get_running_loop()
        self.ends_at = loop.time() + self._timeout
        self._timer = loop.call_later(self._timeout, self._end_soon)

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """Note that a connection is being made for it."""
        self.dialled = True
        self.connects_until = asyncio.get_running_loop().time() + self._timeout
        try:
            yield
        finally:
            self.connects_until = None

    def _end_soon(self) -> None:
        # A loop that was suspended runs its timers before it reads.
        self.deadline.reschedule(asyncio.get_running_loop().time() + _LAST_READ)

    def release(self) -> None:
        """Cancel the deadline."""
        if self._timer is not None:
            self._timer.cancel()


#: The departure of the current task. The session passes nothing of ours to its connector.
_departure: ContextVar[_Departure] = ContextVar("_departure")


class _AdmittingConnector(aiohttp.TCPConnector):
    """Returns a connection only when its attempt is admitted and the connection still stands.

    None is reserved for an attempt: one that waits for its admission would leave it at rest until the server
    closes it, while another has just been used.
    """

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the base class's signature
    ) -> Connection:
        departure = _departure.get()
        (await super().connect(req, traces, timeout)).release()
        await departure.admit()
        departure.dialled = False
        connection = await super().connect(req, traces, timeout)
        while True:
            if departure.dialled:  # that took its time: the attempt asks again, and holds it
                departure.dialled = False
                try:
                    await departure.admit()
                except BaseException:
                    connection.release()
                    raise
            if _stands(connection):
                departure.left, departure.protocol = True, connection.protocol
                return connection
            connection.close()  # the server closed it meanwhile, or sent bytes out of turn
            connection = await super().connect(req, traces, timeout)

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the base class's signature
    ) -> ResponseHandler:
        with _departure.get().connecting():
            return await super()._create_connection(req, traces, timeout)


def _stands(connection: Connection) -> bool:
    transport, protocol = connection.transport, connection.protocol
    if transport is None or transport.is_closing() or protocol is None:
        return False
    # Bytes that came while it was idle would count as the next response.
    return not protocol.should_close


class _Parts(aiohttp.Payload):
    """A body in parts, which requests share and which are never joined."""

    _value: tuple[bytes, ...]

    def __init__(self, parts: tuple[bytes, ...], departure: _Departure) -> None:
        super().__init__(parts)
        self._departure = departure
        self._size = sum(map(len, parts))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        for part in self._value:
            await writer.write(part)
        self._departure.whole = True


class AiohttpTransport:
    """A pool of keep-alive connections. Create it inside the running loop."""

    def __init__(self, destination: Destination, connections: int) -> None:
        self._destination = destination
        self._under_way = set[_Departure]()
        connector = _AdmittingConnector(
            limit=connections,
            ssl=destination.ssl if destination.ssl is not None else True,
            keepalive_timeout=REST,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=destination.timeout),
            auto_decompress=False,
        )
        # A compressed response could be small on the wire and endless in memory. The session has no headers:
        # it copies its own into its request to a proxy, in clear text.
        self._headers = {**destination.headers, "Accept-Encoding": "identity"}
        self._proxy = destination.proxy
        self._to_proxy = _credentials(destination.proxy)
        if destination.url.startswith("http:"):  # then the proxy reads the request itself
            self._headers |= self._to_proxy

    @property
    def in_flight(self) -> InFlight:
        """The requests without a response yet, by the deadlines of their attempts."""
        deadlines = [one.ends_at for one in self._under_way if one.left]
        connecting = [one.connects_until for one in self._under_way if one.connects_until is not None]
        now = asyncio.get_running_loop().time()
        return InFlight.by_deadlines(now, self._destination.timeout, deadlines, connecting)

    async def send(self, body: tuple[bytes, ...], request_id: str, admission: Admission) -> Ending:
        """Send one request, once."""
        departure = _Departure(admission, self._destination.timeout)
        _departure.set(departure)
        self._under_way.add(departure)
        try:
            async with departure.deadline:
                return await self._exchange(body, request_id, departure)
        except _WithheldError:
            return Withheld()
        except TimeoutError:
            return _ended(departure, "timeout", f"no response within {self._destination.timeout:g} s")
        except Exception as fault:
            # Once it has left, only the library's reading of the response can fail.
            if not departure.left and not isinstance(fault, aiohttp.ClientError | OSError | ValueError):
                raise
            text = f"{type(fault).__name__}: {fault}"
            return _ended(
                departure, _word(fault, departure), self._proxy.redact(text) if self._proxy else text
            )
        finally:
            departure.release()
            self._under_way.discard(departure)

    async def _exchange(self, body: tuple[bytes, ...], request_id: str, departure: _Departure) -> Ending:
        departure.whole = len(body) == 1 and len(body[0]) <= _SMALL
        data: Any = body[0] if departure.whole else _Parts(body, departure)
        async with self._session.post(
            self._destination.url,
            data=data,
            headers={**self._headers, "Request-ID": request_id},
            allow_redirects=False,
            proxy=self._proxy.url if self._proxy else None,
            proxy_headers=self._to_proxy,
        ) as response:
            answer, complete = await _read(response, self._destination.longest_answer)
            if complete and (encoding := response.headers.get("Content-Encoding")):
                answer, complete = plain_body(answer, encoding, self._destination.longest_answer)
            retry_after = response.headers.get("Retry-After")
            return Reply(
                response.status,
                answer,
                complete,
                retry_after,
                _is_duplicate(response.headers),
                None if retry_after is None else response.headers.get("Date"),
                response.headers.get("Location") if 300 <= response.status < 400 else None,
            )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()


async def _read(response: aiohttp.ClientResponse, longest: int) -> tuple[bytes, bool]:
    """Read the body up to the limit; returns it and whether it is complete."""
    length = response.content_length
    if length is not None and length <= longest:
        try:
            return await response.read(), True
        except aiohttp.ClientPayloadError:
            return b"", False
    parts = bytearray()
    try:
        async for part in response.content.iter_any():
            parts += part
            if len(parts) > longest:
                response.close()
                return bytes(parts[:longest]), False
    except aiohttp.ClientPayloadError:
        return bytes(parts), False
    return bytes(parts), True


def _credentials(proxy: Proxy | None) -> dict[str, str]:
    return {"Proxy-Authorization": proxy.authorization} if proxy and proxy.authorization else {}


def _is_duplicate(headers: Mapping[str, str]) -> bool:
    mark = headers.get("Duplicate-Request") or headers.get("X-Duplicate-Request") or ""
    return mark.strip().lower() in ("true", "1")


def _ended(departure: _Departure, error: str, error_text: str) -> Ending:
    # Assumed: an endpoint does nothing for a request whose body it has not received to its end.
    if departure.left and departure.whole and error != CLIENT_CERT:
        return Lost(error, error_text)
    return NotSent("connect_timeout" if error == "timeout" and not departure.left else error, error_text)


def _word(fault: Exception, departure: _Departure) -> str:
    broken = None if departure.protocol is None else departure.protocol.exception()
    if is_of_client_cert(fault) or is_of_client_cert(broken):
        return CLIENT_CERT
    if isinstance(fault, aiohttp.ClientConnectorCertificateError):
        return "tls"
    if isinstance(fault, aiohttp.ClientConnectorError):
        return why_not_connected(fault)
    if isinstance(fault, aiohttp.ClientResponseError):
        return "not_http"
    return "connection_lost"
