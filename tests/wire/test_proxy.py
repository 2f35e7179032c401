"""What a proxy between the client and the endpoint can read, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from engager.config.job import JobFile
from engager.config.secret import Secret
from engager.endpoint.access import destination_of, proxy_of
from engager.errors import JobError
from engager.models import Ending, NotSent, Reply
from engager.sending.transport.aiohttp import AiohttpTransport
from engager.sending.transport.base import Destination, Proxy
from tests.wire.raw import listening

TOKEN, PASSWORD = "t0ken-of-the-endpoint", "pass/word-of-the-proxy"
OK = b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"error":0}'
CREDENTIALS = base64.b64encode(f"ann:{PASSWORD}".encode())

JOB = """
[job]
name = "test"
[endpoint]
url = "{url}"
token = "env:TOKEN"
auth = "bearer"
{more}
[input]
path = "people.csv"
[request]
id = 12
matching = "email"
email = "{{email}}"
"""


def job(folder: Path, more: str, url: str = "https://platform.example") -> JobFile:
    (folder / "job.toml").write_text(JOB.format(url=url, more=more))
    return JobFile(folder / "job.toml")


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray) -> None:
    with suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(65536):
            seen += data
            writer.write(data)
            await writer.drain()
    writer.close()


async def send_through(
    proxy: Proxy, response: bytes = b"HTTP/1.1 200 OK\r\n\r\n"
) -> tuple[Ending, bytes, bytes, bytes]:
    """The ending of a request; all that the proxy read, the heads for it, and the endpoint's request."""
    authority, trusting = trustme.CA(), ssl.create_default_context()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    authority.configure_trust(trusting)
    seen, heads, requests = bytearray(), list[bytes](), list[bytes]()

    async def endpoint(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        await writer.drain()
        writer.close()

    async with listening(endpoint, serving) as port:

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            seen.extend(heads[-1])
            writer.write(response)
            if b" 200 " not in response:
                writer.close()
                return
            from_endpoint, to_endpoint = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(
                forward(reader, to_endpoint, seen), forward(from_endpoint, writer, bytearray())
            )

        async with listening(handle) as proxy_port:
            headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
            via = Proxy(f"http://127.0.0.1:{proxy_port}", proxy.authorization, proxy.redact)
            url = f"https://127.0.0.1:{port}/start"
            transport = AiohttpTransport(Destination(url, headers, 5, trusting, via), 1)
            try:
                ending = await transport.send((b"{}",), "id", lambda: True)
            finally:
                await transport.aclose()
    return ending, bytes(seen), b"".join(heads), b"".join(requests)


async def test_a_proxy_cannot_read_the_token() -> None:
    ending, seen, head, request = await send_through(Proxy(""))
    assert isinstance(ending, Reply)
    assert ending.status == 200
    assert head.startswith(b"CONNECT ")
    assert TOKEN.encode() not in seen
    assert b"authorization" not in head.lower()
    assert f"Authorization: Bearer {TOKEN}".encode() in request


async def test_only_the_proxy_receives_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXY", "http://ann:pass%2Fword-of-the-proxy@127.0.0.1:3128")
    proxy = proxy_of(job(tmp_path, 'proxy = "env:PROXY"'))
    assert proxy is not None
    assert proxy.url == "http://127.0.0.1:3128"
    _, _, head, request = await send_through(proxy)
    assert b"Proxy-Authorization: Basic " + CREDENTIALS in head
    assert b"proxy-authorization" not in request.lower()


async def test_the_password_of_a_proxy_is_redacted_from_its_error(tmp_path: Path) -> None:
    proxy = proxy_of(job(tmp_path, f'proxy = "http://ann:{PASSWORD.replace("/", "%2F")}@127.0.0.1:3128"'))
    assert proxy is not None
    refusal = f"HTTP/1.1 407 no {PASSWORD} {CREDENTIALS.decode()} pass%2Fword-of-the-proxy\r\n\r\n".encode()
    ending, *_ = await send_through(proxy, refusal)
    assert isinstance(ending, NotSent)
    assert "407" in ending.error_text
    for form in (PASSWORD, CREDENTIALS.decode(), "pass%2Fword-of-the-proxy"):
        assert form not in ending.error_text
        assert form not in Secret.redact_all(form)
        assert form not in repr(proxy)


@pytest.mark.parametrize(
    ("more", "url", "key"),
    [
        ('proxy = "http://proxy:3128"', "http://platform.example", "endpoint.proxy"),
        ('proxy = "http://proxy:3128"\ntransport = "lean"', "https://platform.example", "endpoint.transport"),
        ('proxy = "socks5://ann:hidden@proxy:1080"', "https://platform.example", "endpoint.proxy"),
    ],
)
def test_an_unsafe_or_unused_proxy_is_refused(tmp_path: Path, more: str, url: str, key: str) -> None:
    with pytest.raises(JobError, match=key) as fault:
        job(tmp_path, more, url)
    assert "hidden" not in str(fault.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000", "sandbox"]
)
def test_a_local_endpoint_may_have_a_proxy(tmp_path: Path, url: str) -> None:
    job_file = job(tmp_path, 'proxy = "http://127.0.0.1:3128"', url)
    proxy = destination_of(job_file, Secret(TOKEN), "http://127.0.0.1:8000").proxy
    assert proxy is not None
    assert proxy.url == "http://127.0.0.1:3128"


def test_a_password_in_an_override_is_refused(tmp_path: Path) -> None:
    job(tmp_path, "")
    with pytest.raises(JobError, match=r"endpoint\.proxy") as fault:
        JobFile(tmp_path / "job.toml", ['endpoint.proxy="http://ann:hidden@proxy:3128"'])
    assert "hidden" not in str(fault.value)
