"""An endpoint on a raw socket that remembers Request-IDs and counts messages, behind a gateway that may lie.

It is independent of engager: it counts what the endpoint processed, whatever the response says.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

#: The arrival of a request → what the gateway does with it.
Gateway = Callable[["Arrival"], "Action"]

OK = b'{"data": null, "error": 0, "error_text": "Successful operation"}'


async def read_body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    """The body of the request that begins with this head."""
    return await reader.readexactly(length_of(head))


def length_of(head: bytes) -> int:
    """The length of the body of the request that begins with this head."""
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(length[1]) if length else 0


def request_id_of(head: bytes) -> str:
    """The Request-ID of a request; empty if it has none."""
    found = re.search(rb"(?i)\r\nrequest-id: *(\S+)", head)
    return found[1].decode() if found else ""


@dataclass(frozen=True)
class Arrival:
    """The time and number of a request."""

    seconds: float  #: since the first request
    number: int  #: of the request, from 1
    attempts: int  #: requests under its Request-ID, this one included


@dataclass(frozen=True)
class Action:
    """What the gateway does with a request."""

    processed: bool = True  #: the endpoint processes it
    status: int | None = None  #: of the gateway's own response; None: the endpoint's response
    body: bytes = b""
    headers: str = ""


PASS = Action()


@dataclass
class Endpoint:
    """The endpoint, and the record of what it did."""

    gateway: Gateway
    deduplicates: bool = True
    error: int = 0  #: the code in every response of the endpoint itself
    effects: Counter[str] = field(default_factory=Counter)  #: messages by person
    requests: int = 0
    most_in_flight: int = 0
    url: str = ""
    _attempts: Counter[str] = field(default_factory=Counter)
    _processed: set[str] = field(default_factory=set)
    _in_flight: int = 0
    _first_at: float | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            body = await read_body(head, reader)
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
            await asyncio.sleep(0.001)
            self._in_flight -= 1
            writer.write(self._respond(head, body))

    def _respond(self, head: bytes, body: bytes) -> bytes:
        request_id = request_id_of(head)
        now = asyncio.get_running_loop().time()
        self._first_at = now if self._first_at is None else self._first_at
        self.requests += 1
        self._attempts[request_id] += 1
        action = self.gateway(Arrival(now - self._first_at, self.requests, self._attempts[request_id]))
        repeated = self.deduplicates and request_id in self._processed
        if action.processed and not repeated:
            self._processed.add(request_id)
            self.effects[json.loads(body)["email"]] += self.error == 0
        if action.status is not None:
            return _http(action.status, action.body, action.headers)
        body_of_endpoint = (
            b'{"data":null,"error":%d,"error_text":"an error"}' % self.error if self.error else OK
        )
        return _http(200, body_of_endpoint, "Duplicate-Request: true\r\n" if repeated else "")


def _http(status: int, body: bytes, headers: str) -> bytes:
    return f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handle: Handle, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[int]:
    """Serve, on a free port by default, as long as this is entered; at the end every connection is closed."""
    connections: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[writer] = asyncio.current_task()
        try:
            await handle(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        for _ in range(5):  # accept a connection that arrives now, so that it is closed like the others
            await asyncio.sleep(0)
        server.close()
        tasks = [task for task in connections.values() if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(writer.wait_closed() for writer in connections), return_exceptions=True)


@asynccontextmanager
async def serving(
    gateway: Gateway = lambda arrival: PASS, deduplicates: bool = True, error: int = 0
) -> AsyncIterator[Endpoint]:
    """Serve on a free port, as long as this is entered."""
    endpoint = Endpoint(gateway, deduplicates, error)
    async with listening(endpoint.serve) as port:
        endpoint.url = f"http://127.0.0.1:{port}"
        yield endpoint
