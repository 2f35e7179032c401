"""What the remote senders of a job are told: all that they need, wherever they are, and no secret."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import trustme

from engager import JobError, JobFile, build_job
from engager.endpoint import senders
from engager.endpoint.access import destination_of, token_in_body, token_of
from engager.endpoint.senders import connected, processes_of, settings_of
from engager.sending.limits import Limits
from engager.sending.remote.messages import TOKEN_PLACE, Settings
from engager.sending.remote.sender import StatelessSender
from engager.sending.stop import Stop

TOKEN = "t0ken-of-the-tests"
PASSWORD = "passw0rd"


def job(folder: Path, **tables: Any) -> JobFile:
    (folder / "token").write_text(TOKEN)
    whole: dict[str, Any] = {
        "job": {"name": "t"},
        "endpoint": {"url": "http://127.0.0.1:9", "token": "file:token"},
        "input": {"path": "people.csv"},
        "request": {"id": 1, "email": "{email}"},
        "limits": {"processes": 2},
    }
    for name, table in tables.items():
        whole[name] = whole.get(name, {}) | table
    return build_job(whole, base=folder)


def told(job_file: JobFile) -> Settings:
    secret = token_of(job_file)
    return settings_of(job_file, destination_of(job_file, secret, job_file.job.endpoint.url), 1)


@pytest.mark.parametrize("auth", ["body", "bearer"])
def test_no_secret_is_told_and_each_is_named_by_its_place(auth: str, tmp_path: Path) -> None:
    (tmp_path / "proxy").write_text(f"http://user:{PASSWORD}@proxy:3128")
    settings = told(job(tmp_path, endpoint={"auth": auth, "proxy": "file:proxy", "transport": "aiohttp"}))
    travels = pickle.dumps(settings)
    for secret in (TOKEN, PASSWORD):
        assert secret.encode() not in travels
    assert settings.token == f"file:{tmp_path}/token"
    assert settings.proxy == f"file:{tmp_path}/proxy"
    assert settings.bearer == (auth == "bearer")


async def test_a_sender_finds_what_it_is_told_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = told(job(tmp_path))
    monkeypatch.chdir("/")
    sender = StatelessSender()
    assert not (await sender.begin(pickle.loads(pickle.dumps(settings)))).fault
    await sender.aclose()


async def test_certificates_travel_and_the_key_does_not(tmp_path: Path) -> None:
    authority = trustme.CA()
    cert = authority.issue_cert("client.example")
    (tmp_path / "ca.pem").write_bytes(b"some words\n" + authority.cert_pem.bytes())
    cert.cert_chain_pems[0].write_to_path(str(tmp_path / "client.pem"))
    cert.private_key_pem.write_to_path(str(tmp_path / "client.key"))
    endpoint = {
        "url": "https://127.0.0.1:9",
        "ca_file": "ca.pem",
        "client_cert": "client.pem",
        "client_key": "client.key",
    }
    settings = told(job(tmp_path, endpoint=endpoint))
    assert settings.authorities is not None
    assert settings.authorities.encode().strip() == authority.cert_pem.bytes().strip()
    assert b"PRIVATE KEY" not in pickle.dumps(settings)
    sender = StatelessSender()
    assert not (await sender.begin(settings)).fault
    await sender.aclose()
    (tmp_path / "client.key").unlink()
    assert "client" in (await StatelessSender().begin(settings)).fault


def test_bodies_have_the_place_of_the_token_where_others_send_them(tmp_path: Path) -> None:
    for processes, expected in ((1, TOKEN), (2, TOKEN_PLACE)):
        job_file = job(tmp_path, limits={"processes": processes})
        assert token_in_body(job_file.job, token_of(job_file)) == expected


def test_as_many_processes_as_the_job_says(tmp_path: Path) -> None:
    assert processes_of(job(tmp_path, limits={"processes": 5}).job) == 5


@pytest.mark.parametrize(
    ("processors", "quota", "processes"),
    [
        (8, "max 100000", 7),
        (8, "400000 100000", 3),
        (8, "50000 100000", 1),
        (1, "max 100000", 1),
        (2, "900000 100000", 1),
        (4, None, 3),
    ],
)
def test_auto_leaves_a_processor_to_the_run(
    processors: int, quota: str | None, processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)))
    monkeypatch.setattr(senders, "QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert processes_of(job(tmp_path, limits={"processes": "auto"}).job) == processes


async def test_a_certificate_of_a_cluster_that_is_missing_is_an_error_of_the_job(tmp_path: Path) -> None:
    cluster = {"scheduler": "tls://127.0.0.1:9", "ca_file": "ca.pem", "cert": "c.pem", "key": "c.key"}
    job_file = job(tmp_path, limits={"processes": 1}, cluster=cluster)
    destination = destination_of(job_file, token_of(job_file), "http://127.0.0.1:9")
    with pytest.raises(JobError, match=r"cluster\.ca_file"):
        async with connected(job_file, destination, Limits.create(Stop(), None), 1):
            pass
