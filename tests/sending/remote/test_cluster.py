"""Runs that other processes send for: over TLS, and without the token on its way. And what is warned of."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pickle
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from engager import JobFile
from engager.endpoint.access import destination_of, token_in_body, token_of
from engager.endpoint.senders import processors, settings_of, warnings_of
from engager.sandbox import Sandbox, SandboxConfig
from engager.sending.remote.messages import TOKEN_PLACE
from tests.endpoint.dask_commands import FILES, TOKEN_VARIABLE, dask
from tests.wire.raw import listening, read_body

#: Some of its characters look different in JSON and in XML; what is searched for looks the same everywhere.
TOKEN = 't0ken<&"that-nobody-may-see'
CORE = "that-nobody-may-see"


def write_job(folder: Path, url: str, text: str = "", **endpoint: str) -> Path:
    job = folder / "job.toml"
    table = {"url": url, "token": f"env:{TOKEN_VARIABLE}", **endpoint}
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
    job.write_text(
        f'[job]\nname = "test"\n[endpoint]\n{lines}\n[input]\npath = "people.csv"\n'
        f'[request]\nid = 12\nemail = "{{email}}"\n{text}\n'
    )
    people = "".join(f"p{number}@example.com\n" for number in range(40))
    (folder / "people.csv").write_text(f"email\n{people}")
    return job


async def run(job: Path) -> tuple[int, str]:
    """Run a job in a process of its own; returns the exit code and all that it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from engager.cli import main; main()"),
        *("run", str(job), "--yes", "--log-format", "json"),
        cwd=job.parent,
        env={
            **os.environ,
            TOKEN_VARIABLE: TOKEN,
            "DASK_DISTRIBUTED__COMM__COMPRESSION": "False",
            "PYTHONPATH": ":".join(sys.path),
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


def cluster_section(address: str, folder: Path | None = None) -> str:
    lines = [f'scheduler = "{address}"', 'patience = "60s"']
    if folder is not None:
        lines += [f'{key.replace("-", "_")} = "{folder / file}"' for key, file in FILES.items()]
    return "\n".join(["[cluster]", *lines])


async def test_a_run_over_tls(tmp_path: Path) -> None:
    config = SandboxConfig.from_mapping({"keep_log": True, "tokens": [TOKEN]})
    async with Sandbox(config) as sandbox, dask(tmp_path / "dask", TOKEN, tls=True) as cluster:
        assert cluster.address.startswith("tls://")
        job = write_job(tmp_path, sandbox.url, cluster_section(cluster.address, cluster.folder))
        code, printed = await run(job)
        assert code == 0, printed
        assert set(sandbox.brain.effects.values()) == {1}
        assert sandbox.brain.effects.total() == 40
        # Without a certificate of the cluster's authority, nobody gets in.
        async with dask(tmp_path / "others", tls=True) as others:
            job = write_job(tmp_path, sandbox.url, cluster_section(cluster.address, others.folder))
            job.write_text(job.read_text().replace('name = "test"', 'name = "stranger"'))
            code, printed = await run(job)
        assert code == 3, printed
        assert len(sandbox.log) == 40


@asynccontextmanager
async def tapped(port: int) -> AsyncIterator[tuple[int, bytearray]]:
    """A port that leads to another one, and all bytes that pass in either direction."""
    seen = bytearray()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while part := await reader.read(1 << 16):
                seen.extend(part)
                writer.write(part)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    async def tap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, back), copy(there, writer))

    async with listening(tap) as ours:
        yield ours, seen


@asynccontextmanager
async def parrot() -> AsyncIterator[tuple[str, list[bytes]]]:
    """An endpoint that repeats the whole request in the text of its error; its address, and the requests."""
    requests: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            requests.append(head + await read_body(head, reader))
            said = f"no: {requests[-1].decode()} {TOKEN}"
            body = json.dumps({"data": None, "error": 400, "error_text": said}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with listening(handle) as port:
        yield f"http://127.0.0.1:{port}", requests


def searched(where: str, data: bytes) -> None:
    """No form of the token is in these bytes."""
    forms = [CORE.encode(), CORE[::-1].encode(), CORE.encode().hex().encode()]
    forms += [base64.b64encode(f"{'x' * shift}{CORE}".encode())[4:-4] for shift in range(3)]
    assert not [form for form in forms if form in data], where


@pytest.mark.parametrize("auth", ["body", "bearer"])
async def test_the_token_never_travels(tmp_path: Path, auth: str) -> None:
    async with (
        parrot() as (url, requests),
        dask(tmp_path / "dask", TOKEN) as cluster,
        tapped(int(cluster.address.rpartition(":")[2])) as (port, seen),
    ):
        job = write_job(tmp_path, url, cluster_section(f"tcp://127.0.0.1:{port}"), auth=auth)
        code, printed = await run(job)
    assert code == 1, printed
    assert len(requests) == 40
    assert all(CORE.encode() in request for request in requests)  # the endpoint got it
    assert b"p39@example.com" in seen  # these are the bytes that matter
    searched("on the way", bytes(seen))
    searched("printed", printed.encode())
    files = [file for file in tmp_path.rglob("*") if file.is_file() and not file.is_socket()]
    names = {file.name for file in files}
    assert {"results.jsonl", "journal.0", "engager.log", "report.html", "summary.json"} <= names
    assert {"scheduler-0.log", "worker-1.log"} <= names
    for file in files:
        searched(str(file), file.read_bytes())
    assert "***" in (tmp_path / "runs/test/results.jsonl").read_text()  # there was something to mask


@pytest.mark.parametrize("auth", ["body", "bearer"])
def test_what_a_sender_is_told_has_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auth: str
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    job = JobFile(write_job(tmp_path, "http://127.0.0.1:1", "[limits]\nprocesses = 2", auth=auth))
    secret = token_of(job)
    settings = settings_of(job, destination_of(job, secret, job.job.endpoint.url), 1)
    told = pickle.dumps(settings)
    assert TOKEN_VARIABLE.encode() in told
    searched("settings", told)
    assert token_in_body(job.job, secret) == TOKEN_PLACE
    with pytest.raises(TypeError):
        pickle.dumps(replace(settings, token=secret))  # type: ignore[arg-type]


async def test_each_file_of_a_worker_is_named(tmp_path: Path) -> None:
    job = write_job(tmp_path, "http://127.0.0.1:1", cluster_section("tcp://127.0.0.1:8786"), token="file:t")
    found = list(warnings_of(JobFile(job)))
    assert len(found) == 1
    assert "endpoint.token" in found[0]
    assert str(tmp_path / "t") in found[0]
    overrides = ["endpoint.token=env:X", "endpoint.client_cert=c.pem", "endpoint.client_key=c.key"]
    found = list(warnings_of(JobFile(job, overrides)))
    assert [key in text for key, text in zip(("client_cert", "client_key"), found, strict=True)] == [True] * 2
    assert not list(warnings_of(JobFile(job, ["endpoint.token=env:X"])))


def test_more_processes_than_processors_are_warned_of(tmp_path: Path) -> None:
    job = write_job(tmp_path, "http://127.0.0.1:1")
    for number, warned in ((processors(), False), (processors() + 1, True)):
        found = list(warnings_of(JobFile(job, [f"limits.processes={number}"])))
        assert ["limits.processes" in text for text in found] == [True] * warned
    assert not list(warnings_of(JobFile(job, ["limits.processes=auto"])))
