"""An endpoint on a raw socket that remembers Request-IDs and counts messages, behind a gateway that lies.

It knows nothing of the runner: what was done is counted here, whatever the answer said.
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

#: When a request came → what the gateway makes of it.
Gateway = Callable[["Moment"], "Act"]

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
class Moment:
    """When a request came."""

    seconds: float  #: since the first request
    number: int  #: of the request, from 1
    tries: int  #: requests under its Request-ID, this one included


@dataclass(frozen=True)
class Act:
    """What the gateway makes of a request."""

    done: bool = True  #: the endpoint carries it out
    status: int | None = None  #: the gateway's own answer; None: the endpoint's
    body: bytes = b""
    headers: str = ""


PASS = Act()


@dataclass
class Endpoint:
    """What happened."""

    gateway: Gateway
    deduplicates: bool = True
    error: int = 0  #: of every answer of the endpoint's own
    effects: Counter[str] = field(default_factory=Counter)  #: messages by person
    requests: int = 0
    most_in_flight: int = 0
    url: str = ""
    _known: Counter[str] = field(default_factory=Counter)
    _done: set[str] = field(default_factory=set)
    _in_flight: int = 0
    _begun: float | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            body = await read_body(head, reader)
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
            await asyncio.sleep(0.001)
            self._in_flight -= 1
            writer.write(self._answer(head, body))

    def _answer(self, head: bytes, body: bytes) -> bytes:
        request_id = request_id_of(head)
        now = asyncio.get_running_loop().time()
        self._begun = now if self._begun is None else self._begun
        self.requests += 1
        self._known[request_id] += 1
        act = self.gateway(Moment(now - self._begun, self.requests, self._known[request_id]))
        repeated = self.deduplicates and request_id in self._done
        if act.done and not repeated:
            self._done.add(request_id)
            self.effects[json.loads(body)["email"]] += self.error == 0
        if act.status is not None:
            return _http(act.status, act.body, act.headers)
        own = b'{"data":null,"error":%d,"error_text":"as it says"}' % self.error if self.error else OK
        return _http(200, own, "Duplicate-Request: true\r\n" if repeated else "")


def _http(status: int, body: bytes, headers: str) -> bytes:
    return f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handle: Handle, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[int]:
    """Serve, on a free port by default, as long as this is entered; no connection is left behind."""
    open_ones: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones[writer] = asyncio.current_task()
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
        for _ in range(5):  # a connection that came at this moment is accepted, and closed like the others
            await asyncio.sleep(0)
        server.close()
        tasks = [task for task in open_ones.values() if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(writer.wait_closed() for writer in open_ones), return_exceptions=True)


@asynccontextmanager
async def serving(
    gateway: Gateway = lambda moment: PASS, deduplicates: bool = True, error: int = 0
) -> AsyncIterator[Endpoint]:
    """Serve on a free port, as long as this is entered."""
    endpoint = Endpoint(gateway, deduplicates, error)
    async with listening(endpoint.serve) as port:
        endpoint.url = f"http://127.0.0.1:{port}"
        yield endpoint
