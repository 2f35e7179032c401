"""The notification by mail, handed to the sendmail of this machine. It contains no row, key or token.

Invariant: nothing of a job or a response becomes a header of its own, a recipient or an option. A mail
that is not taken is a warning, and never delays the end of a run for longer than its timeout.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from email.message import EmailMessage
from email.utils import localtime
from pathlib import Path
from socket import gethostname
from subprocess import DEVNULL

import anyio

from engager.config.log import log
from engager.config.mail import Mail
from engager.config.sanitize import sanitized
from engager.config.secret import Secret
from engager.events import Summary
from engager.output.next_steps import Step
from engager.output.notification import has_finished, text_of

#: What the program gets of the environment, which may contain the token.
_ENVIRONMENT = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ")

#: Characters of a subject at most.
_SUBJECT = 200


def mail_of(mail: Mail, summary: Summary, directory: Path | None, steps: Sequence[Step] = ()) -> bytes:
    """The message, with headers in ASCII."""
    host, message = gethostname(), EmailMessage()
    state = "finished" if has_finished(summary) else "stopped"
    subject = f"engager: {summary.job} {state} on {host}, exit code {summary.exit_code}"
    message["To"] = mail.address
    message["Subject"] = " ".join(_cleaned(subject).split())[:_SUBJECT]
    message["Date"] = localtime()
    message["Auto-Submitted"] = "auto-generated"  # no absence note replies to it
    lines = text_of(summary, directory, host, steps).split("\n")
    message.set_content("\n".join(map(_cleaned, lines)) + "\n", cte="quoted-printable")
    return message.as_bytes()


def _cleaned(text: str) -> str:
    """A line without secrets, and without control characters and lone surrogates."""
    return sanitized(Secret.redact_all(text), " ")


async def send(mail: Mail, message: bytes) -> None:
    """Hand a message to the program within the timeout. A failure is a warning."""
    try:
        with anyio.fail_after(mail.timeout):
            fault = await _hand_over(mail, message)
    except TimeoutError:
        fault = f"it did not end within {mail.timeout:g} s"
    except OSError as refusal:
        fault = str(refusal.strerror)
    if fault:
        log.warning("the mail was not sent: %s: %s", mail.sendmail, fault)


async def _hand_over(mail: Mail, message: bytes) -> str | None:
    """Give the message to the program; returns what went wrong. Raises OSError."""
    process = await anyio.open_process(
        [mail.sendmail, "-i", mail.address],
        stdout=DEVNULL,
        stderr=DEVNULL,
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        start_new_session=True,  # a Ctrl-C at the terminal is for engager
    )
    async with process:
        try:
            if (stdin := process.stdin) is not None:
                with suppress(OSError, anyio.BrokenResourceError):  # its exit code says what it did
                    await stdin.send(message)
                await stdin.aclose()
            code = await process.wait()
        except BaseException:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)  # with all that it started
            raise
    return f"exit code {code}" if code else None
