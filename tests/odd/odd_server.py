"""An endpoint behind a gateway and a network that are odd for a while, on a raw socket.

What was done is counted here, whatever a response said. The gateway lies in no way that the client could not
know of: what proves by the contract that a request had no effect is sent for requests that had none.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import re
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from engager.sandbox.formats import read_request, write_answer
from tests.wire.raw import length_of, read_body, request_id_of

#: Responses of gateways that prove nothing: the endpoint may have done it.
_UNPROVEN = (200, 201, 204, 302, 303, 408, 409, 500, 502, 504, 520)
#: Responses of gateways that prove that it was not done.
_REFUSED = (301, 307, 308, 400, 404, 405, 413, 425, 429, 451, 499)

_PAGES = (
    b"",
    b"<html><body><h1>odd</h1></body></html>",
    b'{"status": 404, "error": "Not Found", "path": "/api"}',
    b'{"message": "no upstream"}',
    b'{"error": false}',
    b'{"error": {"code": 0}}',
    b'{"errors": [], "error": null}',
    b"null",
    b"[0]",
    b"error\n",
    b"\xff\xfe\0",
    b"<xml><code>0</code></xml>",
    b"ok",
)

_RETRY_AFTER = (
    "0",
    "0.02",
    "-1",
    "soon",
    "",
    "1e400",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "1 Jan 2024 00:00 +999",
)

_CLOSED = "close"
_RESET = "reset"


@dataclass(frozen=True)
class Answer:
    """A response before it is framed."""

    status: int
    body: bytes
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Nature:
    """What the endpoint is like, and when the way to it is odd."""

    deduplicates: bool = True
    replays_errors: bool = True
    refuses_in_flight: bool = False
    answer: str = "json"  #: the format of responses
    twists: tuple[str, ...] = ()  #: what happens to odd requests
    share: float = 0.0  #: of odd requests, while the way is odd
    odd_requests: int = 0  #: how many requests until the way is well
    rejects: int = 0  #: people whom the endpoint knows nothing of: one in so many
    timeout: float = 0.3  #: seconds for which the client waits


@dataclass
class OddServer:
    """The endpoint, its way, and the record of what was done."""

    nature: Nature
    seed: int
    well: bool = False
    effects: Counter[str] = field(default_factory=Counter)  #: messages by person
    denied: set[str] = field(default_factory=set)  #: people of whom a 503 says that nothing was done
    bodies: dict[str, tuple[str, bytes]] = field(default_factory=dict)  #: person and body by Request-ID
    wrong: list[str] = field(default_factory=list)
    requests: int = 0
    connections: int = 0
    attempts: Counter[str] = field(default_factory=Counter)  #: by person
    happened: Counter[str] = field(default_factory=Counter)
    _answers: dict[str, Answer] = field(default_factory=dict)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    deaf: bool = False  #: requests are neither carried out nor answered
    _under_way: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, until it or the case ends."""
        try:
            await self._connected(reader, writer)
        except asyncio.CancelledError:
            return  # the streams of asyncio report a cancelled task as a fault of theirs

    def drawing(self, *what: object) -> random.Random:
        """The draws for one thing: they do not depend on the order in which things happen."""
        return random.Random(f"{self.seed} {what}")

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        draw = self.drawing("connection", self.connections)
        if self._is_odd("unasked", draw):
            writer.write(_framed(Answer(draw.choice((408, 503)), b"")))
            return
        if self._is_odd("reset_at_once", draw):
            _reset(writer)
            return
        while head := await reader.readuntil(b"\r\n\r\n"):
            self.requests += 1
            exchange = _Exchange(self, reader, writer, head)
            self._under_way += 1
            try:
                if not await exchange.carry_out():
                    return
            finally:
                self._under_way -= 1

    async def rest(self) -> None:
        """Wait until no request is carried out any more."""
        while self._under_way:
            await asyncio.sleep(0.01)

    def _is_odd(self, twist: str, draw: random.Random) -> bool:
        odd = not self.well and self.connections <= self.nature.odd_requests and twist in self.nature.twists
        if odd := odd and draw.random() < 0.3 * self.nature.share:
            self.happened[twist] += 1
        return odd

    def refusal_of(self, length: int) -> Answer | None:
        """The response to a body that is too long; None if it is not."""
        return None

    def twist(self, draw: random.Random) -> str | None:
        """What happens to the request that has come."""
        nature = self.nature
        if self.well or self.requests > nature.odd_requests or draw.random() >= nature.share:
            return None
        twist = draw.choice(nature.twists)
        self.happened[twist] += 1
        return twist

    async def deed(self, request_id: str, body: bytes, error: int | None = None) -> Answer:
        """Carry out a request, as the endpoint does: once, where it deduplicates.

        Args:
            error: of the endpoint itself, which does not carry it out.

        """
        lock = self._locks.setdefault(request_id, asyncio.Lock())
        if lock.locked() and self.nature.refuses_in_flight:
            return replace(self.own(409, "In progress"), status=409)
        async with lock:
            if self.nature.deduplicates and (known := self._answers.get(request_id)):
                return replace(known, headers=(*known.headers, "Duplicate-Request: true"))
            answer, is_error = self.decided(body, error)
            if self.nature.replays_errors or not is_error:
                self._answers[request_id] = answer
            return answer

    def decided(self, body: bytes, error: int | None) -> tuple[Answer, bool]:
        """Carry out a request; returns the response, and whether it is an error of one without effect."""
        (person,) = self.people(body)
        if error is not None:
            return self.own(error, "odd, and\nnot done"), True
        if self.is_unknown(person):
            return self.own(404, 'no "profile", no\nway'), True
        self.effects[person] += 1
        return self.own(0, "Successful operation"), False

    def is_unknown(self, person: str) -> bool:
        """Whether the endpoint knows nothing of a person."""
        number = int(re.sub(r"\D", "", person.split("@")[0]) or 0)
        return bool(self.nature.rejects) and number % self.nature.rejects == 1 and number > 1

    def people(self, body: bytes) -> list[str]:
        """Whom a request is for."""
        return [str((read_request(body) or {}).get("email"))]

    def own(self, error: int, text: str) -> Answer:
        kind, body = write_answer(self.nature.answer, None, error, text)
        return Answer(200, body, (f"Content-Type: {kind}",))

    def note(self, request_id: str, body: bytes) -> str:
        """Remember a request; returns whom it is for."""
        person = " ".join(self.people(body))
        before = self.bodies.setdefault(request_id, (person, body))
        if before != (person, body):
            self.wrong.append(f"two requests under one Request-ID: {before} and {(person, body)}")
        return person


class _Exchange:
    """One request and what happens to it. Each twist is a method; it returns whether the connection stays."""

    def __init__(
        self, server: OddServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes
    ) -> None:
        self.server, self.reader, self.writer, self.head = server, reader, writer, head
        self.draw, self.request_id, self.body = server.drawing("head", server.requests), "", b""

    async def carry_out(self) -> bool:
        if self.draw.random() < 0.1 and (twist := self.server.twist(self.draw)) in _AT_HEAD:
            return await self._before_the_body(twist)
        if (refusal := self.server.refusal_of(length_of(self.head))) is not None:
            return await self._refused_for_size(refusal)
        self.body = await read_body(self.head, self.reader)
        if self.server.deaf:
            return False
        self.request_id = request_id_of(self.head)
        self.person = self.server.note(self.request_id, self.body)
        self.server.attempts[self.person] += 1
        self.draw = self.server.drawing(self.person, self.server.attempts[self.person])
        twist = self.server.twist(self.draw)
        if twist is None or twist not in TWISTS:
            return await self._send(_framed(await self._deed()))
        return await TWISTS[twist](self)

    async def _before_the_body(self, twist: str) -> bool:
        if twist == "early":
            await self._send(_framed(Answer(413, b"<h1>too large</h1>", ("Connection: close",))))
            return False
        if twist == "reset_mid_body":
            await self.reader.read(self.draw.choice((1, 100, 5000)))
        _reset(self.writer)
        return False

    async def _refused_for_size(self, refusal: Answer) -> bool:
        """413 before the body is read, within it, or after it."""
        length = length_of(self.head)
        read = self.draw.choice((0, length // 2, length, length))
        await self.reader.readexactly(read)
        closing = read < length
        headers = (*refusal.headers, *(("Connection: close",) if closing else ()))
        await self._send(_framed(replace(refusal, headers=headers)))
        if closing and self.draw.random() < 0.5:
            _reset(self.writer)
        return not closing

    async def _deed(self, error: int | None = None) -> Answer:
        return await self.server.deed(self.request_id, self.body, error)

    async def _send(self, *parts: bytes, then: str = "") -> bool:
        for part in parts:
            self.writer.write(part)
            if len(parts) > 1:
                await self.writer.drain()
                await asyncio.sleep(self.draw.choice((0, 0, 0.001)))
        if then == _RESET:
            await asyncio.sleep(self.draw.choice((0, 0.002)))
            _reset(self.writer)
        return not then

    async def _maybe(self, share: float = 0.5) -> None:
        if self.draw.random() < share:
            await self._deed()

    async def reset_before(self) -> bool:
        _reset(self.writer)
        return False

    async def reset_after(self) -> bool:
        await self._deed()
        _reset(self.writer)
        return False

    async def close_before(self) -> bool:
        return False

    async def close_after(self) -> bool:
        await self._deed()
        return False

    async def silence(self) -> bool:
        await self._maybe()
        await asyncio.sleep(self.server.nature.timeout * 2)
        return False

    async def late(self) -> bool:
        """Done, and answered, after the client has given up."""
        await asyncio.sleep(self.server.nature.timeout * self.draw.choice((0.9, 1.5)))
        return await self._send(_framed(await self._deed()))

    async def slow(self) -> bool:
        answer = await self._deed()
        await asyncio.sleep(self.server.nature.timeout * self.draw.random() * 1.3)
        return await self._send(_framed(answer))

    async def garbage(self) -> bool:
        await self._maybe()
        odd = (
            b"\0\1\2",
            b"SSH-2.0-x\r\n",
            b"HTTP/9.9 abc\r\n\r\n",
            b"HTTP/1.1 \r\n\r\n",
            b"{}",
            b"\r\n\r\n",
            OK_0,
        )
        return await self._send(self.draw.choice(odd), then=_CLOSED)

    async def page(self) -> bool:
        """A gateway's response that proves nothing."""
        await self._maybe()
        return await self._gateway(self.draw.choice(_UNPROVEN))

    async def refusal(self) -> bool:
        return await self._gateway(self.draw.choice(_REFUSED))

    async def _gateway(self, status: int) -> bool:
        headers = ("Location: /elsewhere",) if 300 <= status < 400 else ()
        body = b"" if status == 204 else self.draw.choice(_PAGES)
        return await self._send(_framed(Answer(status, body, headers)))

    async def lone_503(self) -> bool:
        """A 503 as gateways send it after the deed, too; that nothing was done is assumed."""
        if self.draw.random() < 0.5:
            await self._deed()
            self.server.denied.update(self.server.people(self.body))
        return await self._send(_framed(Answer(503, self.draw.choice(_PAGES))))

    async def limit(self) -> bool:
        headers = tuple(
            f"Retry-After: {self.draw.choice(_RETRY_AFTER)}" for _ in range(self.draw.choice((1, 1, 2)))
        )
        status = self.draw.choice((429, 503))
        if "Retry-After: " in headers:
            status = 429
        return await self._send(_framed(Answer(status, self.draw.choice(_PAGES), headers)))

    async def number_of_others(self) -> bool:
        """JSON of a gateway with a number in `error`."""
        status = self.draw.choice((404, 500, 503))
        if status == 500:
            await self._maybe()
        return await self._send(_framed(Answer(status, b'{"error": %d, "message": "none"}' % status)))

    async def success_under_error(self) -> bool:
        """The two signs of a response disagree."""
        own = await self._deed() if self.draw.random() < 0.5 else self.server.own(0, "ok")
        status = self.draw.choice((400, 404, 429, 500, 502, 503))
        return await self._send(_framed(replace(own, status=status)))

    async def own_error(self) -> bool:
        """An error of the endpoint's own, before the deed."""
        error = self.draw.choice((429, 500, 502, 503, 504))
        own = await self._deed(error)
        return await self._send(_framed(replace(own, status=self.draw.choice((200, error)))))

    async def split(self) -> bool:
        whole = _framed(await self._deed())
        return await self._send(*_pieces(whole, self.draw))

    async def chunked(self) -> bool:
        answer = await self._deed()
        parts = _pieces(answer.body, self.draw)
        tail = self.draw.choice(("", ";a=b", ";x"))
        body = b"".join(b"%x%s\r\n%s\r\n" % (len(part), tail.encode(), part) for part in parts)
        trailer = self.draw.choice((b"", b"X-T: 1\r\n", b"Content-Length: 3\r\n"))
        whole = _head(answer, "Transfer-Encoding: chunked") + body + b"0\r\n" + trailer + b"\r\n"
        return await self._send(*_pieces(whole, self.draw))

    async def torn_chunks(self) -> bool:
        answer = await self._deed()
        half = len(answer.body) // 2
        body = b"%x\r\n%s\r\n" % (half, answer.body[:half])
        odd = self.draw.choice((b"zz\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"5", b""))
        head = _head(answer, "Transfer-Encoding: chunked")
        return await self._send(head + body + odd, then=self.draw.choice((_CLOSED, _RESET)))

    async def until_close(self) -> bool:
        answer = await self._deed()
        version = self.draw.choice(("1.0", "1.1"))
        cut = len(answer.body) if self.draw.random() < 0.6 else self.draw.randrange(len(answer.body))
        head = _head(answer, "Connection: close", version=version)
        whole = cut == len(answer.body)
        return await self._send(head, answer.body[:cut], then=_CLOSED if whole else _RESET)

    async def too_long(self) -> bool:
        """A Content-Length beyond the body, or a body that is cut."""
        answer = await self._deed()
        head = _head(answer, f"Content-Length: {len(answer.body) + self.draw.randint(1, 99)}")
        return await self._send(head + answer.body, then=self.draw.choice((_CLOSED, _RESET)))

    async def too_short(self) -> bool:
        answer = await self._deed()
        size = self.draw.randrange(len(answer.body))
        return await self._send(_head(answer, f"Content-Length: {size}") + answer.body)

    async def cut_head(self) -> bool:
        head = _head(await self._deed(), "Content-Length: 9")
        return await self._send(
            head[: self.draw.randrange(1, len(head))], then=self.draw.choice((_CLOSED, _RESET))
        )

    async def lengths(self) -> bool:
        """Several Content-Lengths, or one that is no number."""
        answer = await self._deed()
        size = len(answer.body)
        odd = (
            (f"Content-Length: {size}",) * 2,
            (f"Content-Length: {size}", f"content-length: {size + 1}"),
            (f"Content-Length: {size}, {size}",),
            ("Content-Length: -1",),
            (f"Content-Length: +{size}",),
            ("Content-Length: x",),
            (f"Content-Length: {10**30}",),
            (f"Content-Length: {size}", "Transfer-Encoding: chunked"),
            (f"Content-Length : {size}",),
        )
        return await self._send(_head(answer, *self.draw.choice(odd)) + answer.body, then=_CLOSED)

    async def interim(self) -> bool:
        """Interim responses before the final one."""
        interim = self.draw.choice(
            (b"100 Continue", b"102 Processing", b"103 Early Hints\r\nLink: </>", b"199 x")
        )
        whole = _framed(await self._deed())
        first = b"HTTP/1.1 %s\r\n\r\n" % interim * self.draw.choice((1, 2, 40))
        return await self._send(first, whole) if self.draw.random() < 0.5 else await self._send(first + whole)

    async def switched(self) -> bool:
        await self._maybe()
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
        return await self._send(head + OK_0, then=_CLOSED)

    async def two_answers(self) -> bool:
        """A second response that belongs to no request."""
        own = self.draw.random() < 0.5
        first = _framed(await self._deed() if own else Answer(404, b"none"))
        second = _framed(self.server.own(self.draw.choice((0, 404)), "of nobody"))
        return await self._send(first + second)

    async def odd_head(self) -> bool:
        answer = await self._deed()
        odd = (
            "X-Long: " + "x" * 70_000,
            "X-Folded: a\r\n b",
            "X-Nul: a\0b",
            "X-Bytes: \xff\xfe",
            "NoColon",
            ": empty",
            "Duplicate-Request: maybe",
            "Set-Cookie: a=b",
            "Date: yesterday",
            "Content-Encoding: br",
            "Content-Encoding: gzip",
            "Keep-Alive: timeout=0, max=1",
            "Retry-After: 3600000",
        )
        extra = self.draw.choice(odd)
        return await self._send(_framed(replace(answer, headers=(*answer.headers, extra))), then=_CLOSED)

    async def odd_status_line(self) -> bool:
        answer = await self._deed()
        odd = (
            b"HTTP/1.1 200\r\n",
            b"HTTP/1.1 200 \r\n",
            b"http/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\n",
            b"HTTP/2 200\r\n",
        )
        framed = _framed(answer).partition(b"\r\n")[2]
        return await self._send(self.draw.choice(odd) + framed, then=_CLOSED)

    async def odd_body(self) -> bool:
        """The endpoint's own response, written in another way."""
        answer = await self._deed()
        body = answer.body
        odd: tuple[tuple[bytes, tuple[str, ...]], ...] = (
            (b"\xef\xbb\xbf" + body, ()),
            (b" \r\n" + body + b"\n\n", ()),
            (gzip.compress(body), ("Content-Encoding: gzip",)),
            (gzip.compress(body)[:-6], ("Content-Encoding: gzip",)),
            (gzip.compress(b" " * 30_000_000 + body), ("Content-Encoding: gzip",)),
            (body, ("Content-Type: text/html; charset=utf-16",)),
            (body.replace(b'"error":0', b'"error":"0"'), ()),
            (body.replace(b"null", b'{"a":[1,2]}'), ()),
            (body + b" " * 3_000_000, ()),
            (body + body, ()),
            (body[:-1], ()),
            (body.decode().encode("utf-16"), ()),
        )
        changed, headers = self.draw.choice(odd)
        return await self._send(_framed(Answer(answer.status, changed, (*answer.headers, *headers))))

    async def last_one(self) -> bool:
        """A right response, and the connection ends."""
        answer = await self._deed()
        announced = self.draw.random() < 0.5
        headers = ("Connection: close",) if announced else ()
        return await self._send(_framed(replace(answer, headers=(*answer.headers, *headers))), then=_CLOSED)

    async def reset_behind(self) -> bool:
        return await self._send(_framed(await self._deed()), then=_RESET)


OK_0 = b'{"data":null,"error":0,"error_text":"ok"}'

_Twist = Callable[[_Exchange], Awaitable[bool]]

#: The twists that befall a request which was read.
TWISTS: Mapping[str, _Twist] = {
    name: method for name, method in vars(_Exchange).items() if name[0] != "_" and name != "carry_out"
}
ALL_TWISTS = (*TWISTS, "unasked", "reset_at_once", "reset_at_head", "early")

#: What befalls a request before its body was read.
_AT_HEAD = ("reset_at_head", "early", "reset_mid_body")


def _head(answer: Answer, *headers: str, version: str = "1.1") -> bytes:
    lines = "".join(f"{line}\r\n" for line in (*answer.headers, *headers))
    return f"HTTP/{version} {answer.status} x\r\n{lines}\r\n".encode("latin-1")


def _framed(answer: Answer) -> bytes:
    return _head(answer, f"Content-Length: {len(answer.body)}") + answer.body


def _pieces(data: bytes, draw: random.Random) -> list[bytes]:
    cuts = sorted({draw.randrange(1, len(data)) for _ in range(draw.randint(1, 6))})
    return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with an RST."""
    with suppress(OSError):  # the client was faster
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
