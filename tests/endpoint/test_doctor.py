"""Each check against an endpoint that has what the check is for, over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from engager.config.job import JobFile
from engager.endpoint.connectivity import Finding, State
from engager.endpoint.doctor import CHECKS, document_of, examine
from engager.sandbox import Sandbox, SandboxConfig
from tests.wire.raw import listening

TOKEN = "t0ken-that-nobody-may-see"
ALL_IS_WELL = {"profiles": [], "scenarios": [{"id": 12}], "tokens": [TOKEN]}


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGAGER_TEST_TOKEN", TOKEN)


async def findings(folder: Path, url: str, *overrides: str) -> Mapping[str, Finding]:
    job = folder / "job.toml"
    job.write_text(
        f'[job]\nname = "test"\n[endpoint]\nurl = "{url}"\ntoken = "env:ENGAGER_TEST_TOKEN"\ntimeout = 2\n'
        '[input]\npath = "people.csv"\n[request]\nid = 12\nemail = "{email}"\n'
    )
    reported: list[Finding] = []
    found = await examine(JobFile(job, overrides), reported.append)
    assert found == reported
    assert [finding.check for finding in found] == list(CHECKS)
    assert TOKEN not in document_of(found).decode() + "".join(map(str, found))
    assert all("\n" not in str(finding) for finding in found)
    return {finding.check: finding for finding in found}


def states(found: Mapping[str, Finding], *names: str) -> list[str]:
    return [str(found[name].state) for name in names or CHECKS]


def endpoint(**settings: Any) -> Sandbox:
    return Sandbox(SandboxConfig.from_mapping({"keep_log": True, **ALL_IS_WELL, **settings}))


@pytest.mark.parametrize("auth", ["body", "bearer"])
@pytest.mark.parametrize("language", ["json", "xml"])
async def test_all_is_well(tmp_path: Path, language: str, auth: str) -> None:
    async with endpoint() as sandbox:
        found = await findings(tmp_path, sandbox.url, f"endpoint.format={language}", f"endpoint.auth={auth}")
    assert states(found) == ["ok", "ok", "skipped", "ok", "ok", "ok", "ok", "skipped", "ok"]
    assert len(sandbox.log) == 4
    assert sandbox.brain.effects.total() == 0


async def test_the_embedded_sandbox(tmp_path: Path) -> None:
    found = await findings(tmp_path, "sandbox")
    assert states(found, "endpoint", "success", "deduplication") == ["ok", "unknown", "ok"]


@pytest.mark.parametrize(
    ("settings", "overrides", "check", "state", "fact"),
    [
        ({"tokens": ["another"]}, [], "token", State.FAILED, "Token is wrong"),
        ({"tokens": [], "powerless_tokens": [TOKEN]}, [], "token", State.FAILED, "rights"),
        ({"scenarios": [{"id": 1}]}, [], "scenario", State.FAILED, "12"),
        ({"scenarios": [{"id": 12, "active": False}]}, [], "scenario", State.FAILED, "12"),
        ({"scenarios": []}, [], "scenario", State.UNKNOWN, "workflows/list"),
        ({}, ["request.id={scenario}"], "scenario", State.SKIPPED, "request.id"),
        ({"profiles": None}, [], "success", State.UNKNOWN, "success"),
        ({"profiles": None, "tariff_limit": 0}, [], "endpoint", State.FAILED, "Tariff limit reached"),
        ({"faults": {"503": 1.0}}, [], "endpoint", State.FAILED, "HTTP 503"),
        ({"faults": {"500": 1.0}}, [], "endpoint", State.FAILED, "nginx"),
        ({"faults": {"silence_before": 1.0}}, ["endpoint.timeout=0.2"], "endpoint", State.FAILED, "0.2 s"),
    ],
)
async def test_what_is_wrong_is_named(
    tmp_path: Path, settings: dict[str, Any], overrides: list[str], check: str, state: State, fact: str
) -> None:
    async with endpoint(**settings) as sandbox:
        found = await findings(tmp_path, sandbox.url, *overrides)
    assert found[check].state is state
    assert fact in found[check].seen
    assert bool(found[check].advice) == (state is not State.SKIPPED)
    failed = [name for name in CHECKS if found[name].state is State.FAILED]
    assert failed == ([check] if state is State.FAILED else [])


@pytest.mark.parametrize(
    ("mode", "state"),
    [("exactly-once", State.FAILED), ("at-most-once", State.OK), ("at-least-once", State.OK)],
)
async def test_an_endpoint_that_carries_out_a_repeat(tmp_path: Path, mode: str, state: State) -> None:
    async with endpoint(profiles=None, assumptions={"deduplicate": False}) as sandbox:
        found = await findings(tmp_path, sandbox.url, f"delivery.mode={mode}")
    assert found["deduplication"].state is state
    assert ("at-most-once" in found["deduplication"].advice) == (state is State.FAILED)


async def test_nothing_follows_a_name_that_is_none(tmp_path: Path) -> None:
    found = await findings(tmp_path, "https://no-such-host.invalid")
    assert states(found) == ["failed"] + ["skipped"] * 8
    assert "no-such-host.invalid" in found["name"].seen


async def test_a_closed_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        found = await findings(tmp_path, f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert states(found) == ["ok", "failed"] + ["skipped"] * 7
    assert "Connection refused" in found["connection"].seen


@asynccontextmanager
async def serving(answers: Mapping[str, bytes], tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that answers every request to a method in one way."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            method = head.split()[1].decode().rpartition("/")[2]
            body = answers[method]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with listening(handle, tls) as port:
        yield f"{'https' if tls else 'http'}://localhost:{port}"


REFUSED = b'{"data":null,"error":400,"error_text":"Profile not found\\n for t0ken-that-nobody-may-see"}'


def said(data: Any) -> bytes:
    return json.dumps({"data": data, "error": 0, "error_text": "Successful operation"}).encode()


@pytest.mark.parametrize(
    ("listing", "state"),
    [
        (said([{"id": 12, "name": "x", "active": True}]), State.OK),
        (said([{"id": "12", "active": True}]), State.OK),
        (said([{"id": 12, "status": "on"}]), State.UNKNOWN),
        (said([{"id": 12, "name": "x", "is_active": True}]), State.OK),
        (said([{"number": 12}]), State.UNKNOWN),
        (said({"items": []}), State.UNKNOWN),
        (said([12]), State.UNKNOWN),
        (said(None), State.UNKNOWN),
        (b"<xml><error>0</error></xml>", State.UNKNOWN),
        (b'{"data":null,"error":403,"error_text":"No rights"}', State.UNKNOWN),
        (b"<html>not here</html>", State.UNKNOWN),
    ],
)
async def test_a_listing_of_whatever_form(tmp_path: Path, listing: bytes, state: State) -> None:
    async with serving({"start": REFUSED, "list": listing}) as url:
        found = await findings(tmp_path, url)
    assert found["scenario"].state is state
    assert State.FAILED not in {finding.state for finding in found.values()}


@pytest.mark.parametrize(
    ("listing", "state"),
    [
        (b'{"data":null,"error":401,"error_text":"Token is wrong"}', State.FAILED),
        (b'{"data":null,"error":403,"error_text":"No rights"}', State.OK),  # known, if not for listings
        (b'{"data":null,"error":400,"error_text":"Incorrect request"}', State.UNKNOWN),
        (said([]), State.OK),
    ],
)
async def test_a_token_that_the_start_does_not_speak_of(tmp_path: Path, listing: bytes, state: State) -> None:
    async with serving({"start": REFUSED, "list": listing}) as url:
        found = await findings(tmp_path, url)
    assert found["token"].state is state


async def test_a_server_with_another_name(tmp_path: Path) -> None:
    async with serving({"start": b"<html><h1>Welcome</h1></html>"}) as url:
        found = await findings(tmp_path, url)
    assert states(found) == ["ok", "ok", "skipped", "failed"] + ["skipped"] * 5
    assert "Welcome" in found["endpoint"].seen


def serving_as(authority: trustme.CA, name: str, until: datetime | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    before = datetime(2020, 1, 1, tzinfo=UTC) if until else None
    authority.issue_cert(name, not_before=before, not_after=until).configure_cert(context)
    return context


async def test_a_certificate_to_trust(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with serving({"start": REFUSED, "list": said([])}, serving_as(authority, "localhost")) as url:
        found = await findings(tmp_path, url, "endpoint.ca_file=ca.pem")
    assert states(found, "certificate", "endpoint") == ["ok", "ok"]
    assert "TLSv1." in found["certificate"].seen


@pytest.mark.parametrize(
    ("name", "until", "ca_file", "problem", "way_out"),
    [
        ("localhost", None, False, "unable to get local issuer", "endpoint.ca_file"),
        ("elsewhere.example", None, True, "Hostname mismatch", "endpoint.url"),
        ("localhost", datetime(2021, 1, 1, tzinfo=UTC), True, "expired", "renewed"),
    ],
)
async def test_a_certificate_that_does_not_verify(
    tmp_path: Path, name: str, until: datetime | None, ca_file: bool, problem: str, way_out: str
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    overrides = ["endpoint.ca_file=ca.pem"] if ca_file else []
    async with serving({}, serving_as(authority, name, until)) as url:
        found = await findings(tmp_path, url, *overrides)
    assert states(found) == ["ok", "ok", "failed"] + ["skipped"] * 6
    assert problem in found["certificate"].seen
    assert way_out in found["certificate"].advice


async def test_a_port_that_does_not_speak_tls(tmp_path: Path) -> None:
    async with endpoint() as sandbox:
        found = await findings(tmp_path, sandbox.url.replace("http:", "https:"))
    assert states(found, "connection", "certificate") == ["ok", "failed"]
    assert "TLS" in found["certificate"].seen


async def test_one_moment_without_service_fails_nothing(tmp_path: Path) -> None:
    answers = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answers
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            answers += 1
            body = b'{"data":[{"id":12,"is_active":true}],"error":0,"error_text":"ok"}'
            status = b"503 x" if answers in (1, 4) else b"200 x"
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

    async with listening(serve) as port:
        found = await findings(tmp_path, f"http://127.0.0.1:{port}")
    assert states(found, "endpoint", "token", "scenario") == ["ok", "ok", "ok"]
