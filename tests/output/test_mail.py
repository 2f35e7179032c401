"""A mail at the end of a run, by a real program in the place of sendmail."""

from __future__ import annotations

import asyncio
import email
import email.policy
import logging
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from engager import JobError, Summary, build_job, run
from engager.config.mail import Mail, receivers_of
from engager.config.secret import Secret
from engager.output.mail import mail_of, send
from engager.output.next_steps import Step

RUN = Path("/srv/runs/spring")

SUMMARY = Summary(
    "spring", "77", True, 1, None, "", "", 1.0, 1.0, 7, {"engaged": 6, "failed": 1}, [], 7, 0, {}, {}, 7
)

#: Keeps what it is given: arguments, environment and message.
KEEPS = """#!/bin/sh
here=$(dirname "$0")
printf '%s\\n' "$@" > "$here/arguments"
env > "$here/environment"
cat > "$here/message"
"""


def sendmail(folder: Path, script: str = KEEPS) -> str:
    path = folder / "send mail"
    path.write_text(script)
    path.chmod(0o700)
    return str(path)


def mail(program: str, timeout: float = 20.0) -> Mail:
    return Mail("ops@example.com", program, False, timeout)


def parsed(message: bytes) -> EmailMessage:
    found = email.message_from_bytes(message, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


async def test_the_program_gets_one_message_and_one_recipient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ALTCRAFT_TOKEN", "t0ken-of-the-endpoint")
    to = mail(sendmail(tmp_path))
    message = mail_of(to, SUMMARY, RUN)
    await send(to, message)
    assert (tmp_path / "arguments").read_text().split() == ["-i", "ops@example.com"]
    assert (tmp_path / "message").read_bytes() == message
    assert "t0ken" not in (tmp_path / "environment").read_text()
    assert caplog.records == []


def test_it_says_what_became_of_the_run_and_what_to_do_next() -> None:
    step = Step("Send the failed rows again.", "engager retry '/srv/a b' --x " + "long " * 60)
    found = parsed(mail_of(mail("/x"), SUMMARY, RUN, [step]))
    text = found.get_content()
    assert found.get_content_type() == "text/plain"
    assert found["To"] == "ops@example.com"
    assert "spring" in found["Subject"]
    assert all(fact in text for fact in ("6 engaged", str(RUN), step.text, step.command))


@pytest.mark.parametrize(
    "name",
    [
        "spring\r\nBcc: all@example.com\r\n\r\nbody",
        "spring\nBcc: all@example.com",
        "spring\x00\x0b\x0c\x1c\x85\u2028Bcc: all@example.com",
        "весна " * 100,
        "\ud800 =?utf-8?q?Bcc:_all=40example.com?=",
    ],
)
def test_no_name_of_a_job_becomes_a_header(name: str) -> None:
    message = mail_of(mail("/x"), replace(SUMMARY, job=name, stopped=name, complete=False, exit_code=3), RUN)
    assert message.isascii()
    found = parsed(message)
    names = {"To", "Subject", "Date", "Auto-Submitted"}
    assert set(found.keys()) == names | {"MIME-Version", "Content-Type", "Content-Transfer-Encoding"}
    assert found["Subject"].startswith("engager: ")
    assert all(len(line) <= 998 for line in message.splitlines())


def test_a_secret_is_masked() -> None:
    secret = Secret("s3cret-in-a-mail")
    found = parsed(mail_of(mail("/x"), replace(SUMMARY, job=secret.reveal()), RUN / secret.reveal()))
    assert secret.reveal() not in f"{found['Subject']}{found.get_content()}"


@pytest.mark.parametrize(
    ("script", "fact"),
    [
        ("#!/bin/sh\nexit 75\n", "75"),
        ("#!/bin/sh\ncat > /dev/null\nexit 64\n", "64"),
        ("no program", "Exec format error"),
        (None, "No such file"),
    ],
)
async def test_a_mail_that_is_not_taken_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, script: str | None, fact: str
) -> None:
    to = mail(str(tmp_path / "none") if script is None else sendmail(tmp_path, script))
    await send(to, mail_of(to, SUMMARY, RUN, [Step("x" * 1_000_000)]))
    (record,) = caplog.records
    assert (record.levelno, fact in record.getMessage()) == (logging.WARNING, True)


async def test_a_program_that_hangs_is_ended_with_its_children(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hangs = '#!/bin/sh\nsleep 600 &\necho $! > "$(dirname "$0")/child"\nwait\n'
    to = mail(sendmail(tmp_path, hangs), timeout=1.0)
    async with asyncio.timeout(30):
        await send(to, mail_of(to, SUMMARY, RUN))
        child = int((tmp_path / "child").read_text())
        while _lives(child):
            await asyncio.sleep(0.01)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def tables(**notify: Any) -> dict[str, Any]:
    return {
        "job": {"name": "spring"},
        "endpoint": {"url": "sandbox"},
        "input": {"path": "people.csv"},
        "request": {"id": 1, "matching": "email", "email": "{email}"},
        "notify": notify,
    }


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ops",
        "-t@example.com",
        "a@x.org,b@x.org",
        "a@x.org\nBcc: b@x.org",
        "A <a@x.org>",
        "a@x.org ",
        "@x.org",
    ],
)
def test_what_is_no_single_address_is_refused(address: str) -> None:
    with pytest.raises(JobError, match=r"notify\.mail"):
        build_job(tables(mail=address))


def test_a_program_is_named_by_its_whole_path() -> None:
    with pytest.raises(JobError, match=r"notify\.sendmail"):
        build_job(tables(mail="ops@example.com", sendmail="sendmail -t"))


def test_a_missing_program_is_a_warning_from_the_start(tmp_path: Path) -> None:
    job = build_job(tables(mail="ops@example.com", sendmail=str(tmp_path / "none")))
    assert [str(tmp_path / "none") in warning for warning in job.warnings] == [True]
    assert build_job(tables(mail="ops@example.com", sendmail="/bin/sh")).warnings == []
    assert build_job(tables(sendmail=str(tmp_path / "none"))).warnings == []


@pytest.mark.parametrize(("when", "mails"), [("always", True), ("trouble", False)])
def test_a_run_sends_its_mail_on_the_occasions_of_the_webhook(tmp_path: Path, when: str, mails: bool) -> None:
    (tmp_path / "people.csv").write_text("email\na@example.com\n")
    program = sendmail(tmp_path)
    job = build_job(tables(mail="ops@example.com", sendmail=program, on=when), base=tmp_path)
    assert len(receivers_of(job)) == 1
    assert run(job, out=tmp_path / "run", yes=True).exit_code == 0
    assert (tmp_path / "message").exists() == mails
    if mails:
        text = parsed((tmp_path / "message").read_bytes()).get_content()
        assert str(tmp_path / "run") in text
        assert "a@example.com" not in text
