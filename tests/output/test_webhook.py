"""The webhook is notified of the end of a run, at a real server, and never delays the end for long."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from engager import Exit, JobError, Summary, build_job, load_job
from engager.config.secret import Secret
from engager.config.webhook import Webhook, webhook_of
from engager.output import webhook as module
from engager.output.next_steps import Step
from engager.output.webhook import message_of, post

RUN = Path("/srv/runs/spring")

PATH = "/services/T0/s3cret-of-the-channel"

SUMMARY = Summary(
    job="spring",
    run="77",
    complete=True,
    exit_code=1,
    stopped=None,
    started_at="2026-11-24T08:00:00Z",
    finished_at="2026-11-24T08:01:00Z",
    elapsed_seconds=60.0,
    total_seconds=60.0,
    rows=1000,
    statuses={"engaged": 990, "in_doubt": 10, "failed": 0},
    errors=[{"status": "failed", "error": str(code), "rows": 1} for code in range(20)],
    attempts=1001,
    duplicates=2,
    latency_ms={"p50": 1.0},
    waited_ms={"p50": 1.0},
    requests=1001,
)


class Chat:
    """A webhook that answers by a list, the last answer for ever. 0: it says nothing."""

    def __init__(self, answers: Sequence[int]) -> None:
        self.answers = list(answers)
        self.heard: list[Any] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.heard.append((request.path, request.content_type, await request.json()))
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not status:
            await asyncio.sleep(30)
        return web.Response(status=status, headers={"Location": self.url} if status == 307 else {})


@asynccontextmanager
async def chat(*answers: int, tls: Any = None) -> AsyncIterator[Chat]:
    made = Chat(answers)
    app = web.Application()
    app.router.add_post("/{path:.*}", made.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    made.url = f"{'https' if tls else 'http'}://localhost:{runner.addresses[0][1]}{PATH}"
    try:
        yield made
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY", 0.01)


async def notified(url: str, within: float = 10.0) -> None:
    await post(Webhook(Secret(url), False, within), message_of(SUMMARY, RUN))


async def test_a_message_arrives_once(caplog: pytest.LogCaptureFixture) -> None:
    async with chat(200) as room:
        await notified(room.url)
        ((path, kind, message),) = room.heard
    assert (path, kind, message) == (PATH, "application/json", message_of(SUMMARY, RUN))
    assert caplog.records == []


@pytest.mark.parametrize("first", [500, 503, 429])
async def test_what_may_pass_is_tried_again(caplog: pytest.LogCaptureFixture, first: int) -> None:
    async with chat(first, first, 204) as room:
        await notified(room.url)
        assert len(room.heard) == 3
    assert caplog.records == []


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (307, 1), (500, 3)])
async def test_a_refusal_is_a_warning_without_the_address(
    caplog: pytest.LogCaptureFixture, status: int, tries: int
) -> None:
    async with chat(status) as room:
        await notified(room.url)
        assert len(room.heard) == tries
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"HTTP {status}" in record.getMessage()
    assert "s3cret" not in caplog.text


async def test_a_webhook_without_a_server_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    await notified(f"http://127.0.0.1:9{PATH}")
    assert "Connection refused" in caplog.text
    assert "s3cret" not in caplog.text


async def test_one_that_hangs_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    async with chat(0) as room:
        async with asyncio.timeout(10):  # the webhook itself would take 30
            await notified(room.url, 0.4)
        assert 1 <= len(room.heard) <= 2  # for a third try there is no time left
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_a_receiver_that_hung_once_is_notified_at_the_second_attempt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with chat(0, 200) as room:
        await notified(room.url, 2.0)
        assert len(room.heard) == 2
    assert caplog.records == []


async def test_an_endless_name_lookup_delays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: time.sleep(30))
    async with asyncio.timeout(10):
        await notified("http://slow.example/", 0.2)
        await asyncio.get_running_loop().shutdown_default_executor()  # as at the end of every program
    assert [thread for thread in threading.enumerate()[1:] if not thread.daemon] == []


async def test_a_certificate_that_does_not_verify_gets_no_message(caplog: pytest.LogCaptureFixture) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(tls)
    async with chat(200, tls=tls) as room:
        await notified(room.url)
        assert room.heard == []
    assert "certificate" in caplog.text


def test_the_message_is_the_account_and_no_person() -> None:
    message = message_of(SUMMARY, RUN)
    assert message["text"].splitlines()[0] == (
        "spring finished. 1,000 rows: 990 engaged, 10 in doubt in 60.0 s, exit code 1."
    )
    assert (message["event"], message["statuses"]["engaged"], len(message["errors"])) == ("finished", 990, 10)
    assert {"status", "error", "rows"} == set(message["errors"][0])


def test_the_message_names_where_the_run_is_and_what_to_do_next() -> None:
    steps = [Step("Look into <it>.", "engager retry '/srv/a b' --in-doubt"), Step("Sleep.")]
    message = message_of(SUMMARY, RUN, steps)
    host = socket.gethostname()
    assert (message["host"], message["path"], message["directory"]) == (host, str(RUN), "spring")
    assert message["next"] == [
        {"text": "Look into <it>.", "command": "engager retry '/srv/a b' --in-doubt"},
        {"text": "Sleep.", "command": None},
    ]
    assert all(fact in message["text"] for fact in (host, str(RUN), "engager retry '/srv/a b' --in-doubt"))
    assert "<" not in message["text"]


def test_a_secret_in_a_command_or_a_path_is_masked() -> None:
    secret = Secret("s3cret-in-a-name")
    command = f"engager run {secret.reveal()}.toml"
    message = message_of(SUMMARY, RUN / secret.reveal(), [Step(secret.reveal(), command)])
    assert message["next"][0]["command"] == "engager run ***.toml"
    assert secret.reveal() not in str(message)


def test_a_stop_says_why_and_commands_no_chat() -> None:
    stop = replace(SUMMARY, complete=False, exit_code=3, stopped="HTTP 503: <!channel> & more")
    message = message_of(stop, RUN)
    assert (message["event"], message["stopped"]) == ("stopped", stop.stopped)
    assert "HTTP 503: &lt;!channel&gt; &amp; more" in message["text"]
    assert "<" not in message["text"]
    assert message_of(replace(stop, stopped=None, exit_code=4), RUN)["event"] == "stopped"


@pytest.mark.parametrize(
    ("trouble_only", "code", "wanted"),
    [(False, Exit.DONE, True), (True, Exit.DONE, False), (True, Exit.INCOMPLETE, True), (True, 130, True)],
)
def test_who_only_wants_trouble_gets_only_trouble(trouble_only: bool, code: int, wanted: bool) -> None:
    webhook = Webhook(Secret("http://x"), trouble_only, 1)
    assert webhook.wants(replace(SUMMARY, exit_code=code)) is wanted


def tables(url: object) -> dict[str, Any]:
    return {
        "job": {"name": "spring"},
        "endpoint": {"url": "sandbox"},
        "input": {"path": "people.csv"},
        "request": {"id": 1},
        "notify": {"url": url},
    }


def test_the_address_comes_from_where_secrets_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", f"https://chat.example{PATH}")
    (tmp_path / "hook").write_text(f"https://chat.example{PATH}\n")
    for given in ("env:HOOK", "file:hook"):
        webhook = webhook_of(build_job(tables(given), base=tmp_path))
        assert webhook is not None
        assert (webhook.url.reveal(), str(webhook.url)) == (f"https://chat.example{PATH}", "***")
    assert webhook_of(build_job({**tables(""), "notify": {}})) is None


@pytest.mark.parametrize(
    "given", [f"https:/chat.example{PATH}", f"ftp://chat.example{PATH}", 12, f"https://chat.example{PATH}"]
)
def test_an_address_is_not_taken_from_where_it_would_be_seen(given: object) -> None:
    # What is given in tables is kept in run.json.
    with pytest.raises(JobError, match=r"notify\.url") as fault:
        build_job(tables(given))
    assert "s3cret" not in str(fault.value)


def test_an_address_in_a_job_file_is_taken_and_in_an_argument_is_not(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text(
        '[job]\nname = "x"\n[endpoint]\nurl = "sandbox"\n[input]\npath = "p.csv"\n[request]\nid = 1\n'
        f'[notify]\nurl = "https://chat.example{PATH}"\n'
    )
    webhook = webhook_of(load_job(path))
    assert webhook is not None
    assert PATH in webhook.url.reveal()
    with pytest.raises(JobError, match=r"--set notify\.url") as fault:
        load_job(path, [f"notify.url=https://chat.example{PATH}"])
    assert "s3cret" not in str(fault.value)


@pytest.mark.parametrize("value", ["", "nonsense", "https://", "https://[s3cret"])
def test_a_variable_without_an_address_is_reported_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HOOK", value)
    with pytest.raises(JobError, match=r"notify\.url.*HOOK") as fault:
        webhook_of(build_job(tables("env:HOOK")))
    assert "s3cret" not in str(fault.value)
