"""The endpoint on a socket: the responses of the brain, and the configured faults."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType

import orjson
from aiohttp import web

from engager.sandbox.brain import Answer, Brain
from engager.sandbox.config import SandboxConfig
from engager.sandbox.faults import FAULTS, Faults

_MAX_BODY = 110_000_000
_PAGE = b"<html><head><title>%d %s</title></head><body>nginx</body></html>"
_OVERSIZED = 4 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """The record of one request at the endpoint."""

    arrived: float  #: seconds on the monotonic clock
    request_id: str
    key: str  #: of the only row; empty for several
    fault: str | None
    effect: bool  #: this request sent a message
    status: int
    error: int  #: of the request as a whole
    duplicate: bool
    rows: int  #: 0 if a fault struck before the endpoint looked into the request
    keys: tuple[str, ...]  #: of each row, in the order of the request
    effects: tuple[bool, ...]  #: for each row, whether this request sent a message
    errors: tuple[int, ...]  #: of each row; of a repeat, those of the first request


class Sandbox:
    """A sandbox that serves while it is entered."""

    def __init__(self, config: SandboxConfig | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.config = config or SandboxConfig()
        self.brain = Brain(self.config)
        self.log: list[Entry] = []
        self.url = ""
        self._host, self._port = host, port
        self._faults = Faults(self.config.faults, self.config.seed)
        self._log_file: int | None = None
        self._stack = AsyncExitStack()
        self._closing = asyncio.Event()
        self._in_flight: Counter[str] = Counter()  #: Request-IDs in progress

    async def __aenter__(self) -> Sandbox:
        async with AsyncExitStack() as stack:  # what was opened is closed if the rest fails
            await self._open(stack)
            self._stack = stack.pop_all()
        return self

    async def _open(self, stack: AsyncExitStack) -> None:
        if self.config.log_file:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._log_file = os.open(self.config.log_file, flags, 0o600)
            stack.callback(os.close, self._log_file)
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_post("/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, self._host, self._port)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        await self._stack.aclose()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        arrived = time.monotonic()
        request_id = request.headers.get("Request-ID") or request.headers.get("X-Request-ID") or ""
        fault = self._faults.draw()
        if fault == "reset_mid_body":
            await request.content.readany()
            answer = _unprocessed(fault)
        else:
            body = await request.read()
            if request_id in self._in_flight and self.config.assumptions.refuse_in_flight:
                fault, answer = None, self.brain.busy(request.path, body)
            else:
                answer = await self._processed(request, body, fault, request_id)
        self._note(_entry(arrived, request_id, fault, answer))
        return await _Reply(request, answer, self).by(fault)

    async def _processed(
        self, request: web.Request, body: bytes, fault: str | None, request_id: str
    ) -> Answer:
        """Process the request after its latency, unless its fault happens before that."""
        self._in_flight[request_id] += 1
        try:
            if latency := self._faults.latency():
                await asyncio.sleep(latency)
        finally:
            self._in_flight[request_id] -= 1
            if not self._in_flight[request_id]:
                del self._in_flight[request_id]
        if fault is None or FAULTS[fault]:
            return self.brain.answer(request.path, request.headers, body, time.monotonic(), fault)
        return _unprocessed(fault)

    def _note(self, entry: Entry) -> None:
        if self.config.keep_log:
            self.log.append(entry)
        if self._log_file is not None:
            os.write(self._log_file, orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))

    @property
    def drip_pause(self) -> float:
        """Seconds between two bytes of a slow response."""
        return self.config.faults.drip_pause

    @property
    def retry_after(self) -> str | None:
        """The header Retry-After of 429 and 503."""
        return self.config.faults.retry_after

    async def silence(self) -> None:
        """Send nothing until the sandbox closes."""
        await self._closing.wait()


def _unprocessed(fault: str) -> Answer:
    """The response of a gateway to a request that the endpoint does not see."""
    status = int(fault) if fault.isdigit() else 0
    return Answer(status, "text/html", _page(status) if status in (413, 500) else b"", {}, status)


def _page(status: int) -> bytes:
    return _PAGE % (status, HTTPStatus(status).phrase.encode())


def _entry(arrived: float, request_id: str, fault: str | None, answer: Answer) -> Entry:
    rows = answer.rows
    return Entry(
        arrived,
        request_id,
        answer.key,
        fault,
        answer.effect,
        answer.status,
        answer.error,
        answer.duplicate,
        len(rows),
        tuple(row.key for row in rows),
        tuple(row.effect and not answer.duplicate for row in rows),
        tuple(row.error for row in rows),
    )


class _Reply:
    """One response, sent as its fault requires."""

    def __init__(self, request: web.Request, answer: Answer, sandbox: Sandbox) -> None:
        self._request, self._answer, self._sandbox = request, answer, sandbox

    async def by(self, fault: str | None) -> web.StreamResponse:
        """Send the response."""
        if fault is None:
            return self._plain()
        if fault.startswith("reset"):
            self._abort(at_once=fault == "reset_mid_body")
            return web.Response()
        if fault.startswith("silence"):
            await self._sandbox.silence()
            return web.Response()
        streamed = {
            "drip": self._drip,
            "chunked": self._chunked,
            "garbage": self._garbage,
            "truncated": self._truncated,
        }
        return await streamed[fault]() if fault in streamed else self._altered(fault)

    def _plain(self) -> web.Response:
        answer = self._answer
        return web.Response(
            status=answer.status,
            body=answer.body,
            headers={"Content-Type": answer.content_type, **answer.headers},
        )

    def _altered(self, fault: str) -> web.Response:
        response = self._plain()
        if fault in ("429", "500", "503", "413"):  # the status is the sandbox's answer already
            if fault in ("429", "503") and (seconds := self._sandbox.retry_after) is not None:
                response.headers["Retry-After"] = seconds
        elif fault == "500_after":
            response = web.Response(status=500, body=_page(500), content_type="text/html")
        elif fault == "oversized":
            response.body = b" " * _OVERSIZED
        elif fault == "bad_bytes":
            response.body = b'{"error": 0, "error_text": "\xff\xfe"}'
        elif fault == "empty":
            response.body = b""
        elif fault == "close":
            response.force_close()
        elif fault not in ("short_result", "long_result"):  # the brain wrote the list already
            raise ValueError(f"no response is known for the fault {fault!r}")
        return response

    def _abort(self, at_once: bool) -> None:
        transport = self._request.transport
        if transport is None:
            return
        if at_once:  # a RST, even if the kernel has nothing unread
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()

    async def _chunked(self) -> web.StreamResponse:
        response = web.StreamResponse(status=self._answer.status, headers=dict(self._answer.headers))
        response.enable_chunked_encoding()
        await response.prepare(self._request)
        half = len(self._answer.body) // 2
        for part in (self._answer.body[:half], self._answer.body[half:]):
            if part:
                await response.write(part)
        return response

    async def _drip(self) -> web.StreamResponse:
        response = web.StreamResponse(status=self._answer.status, headers=dict(self._answer.headers))
        response.content_length = len(self._answer.body)
        await response.prepare(self._request)
        with suppress(ConnectionResetError):  # the client gave up, which is what a drip is for
            for byte in self._answer.body:
                await response.write(bytes((byte,)))
                await asyncio.sleep(self._sandbox.drip_pause)
        return response

    async def _garbage(self) -> web.StreamResponse:
        return self._raw(b"\x00\x01\xfe\xff this is not HTTP\r\n\r\n")

    async def _truncated(self) -> web.StreamResponse:
        return self._raw(b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n" + self._answer.body[:20])

    def _raw(self, data: bytes) -> web.StreamResponse:
        """Send bytes in place of a response and close; aiohttp drops the response that is returned then."""
        transport = self._request.transport
        if transport is not None:
            transport.write(data)
            transport.close()
        return web.Response()
