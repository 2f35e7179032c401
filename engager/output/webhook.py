"""The notification of a webhook at the end of a run. It contains no row, key or token.

The address of the webhook is a secret: everyone with the address can post there. A notification that cannot
be delivered is a warning, and never delays the end of a run for longer than its timeout.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from http.client import HTTPException
from pathlib import Path
from socket import gethostname
from threading import Thread
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    Request,
)

import anyio
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from engager.config.as_json import as_json
from engager.config.log import log
from engager.config.secret import Secret
from engager.config.version import __version__
from engager.config.webhook import Webhook
from engager.events import Summary
from engager.output.next_steps import Step
from engager.output.notification import has_finished, text_of

_ERRORS = 10
_ATTEMPTS = 3

#: Seconds before the second attempt; they double.
FIRST_DELAY = 0.5

#: Seconds between two checks of the thread that delivers.
_POLL = 0.02


def message_of(summary: Summary, directory: Path | None, steps: Sequence[Step] = ()) -> dict[str, Any]:
    """The notification: the summary, where the run is, what to do next, and all this as a text for chats.

    Without a `directory`, no run began or went on.
    """
    finished = has_finished(summary)
    host = gethostname()
    message = {
        "text": _for_chats(text_of(summary, directory, host, steps)),
        "event": "finished" if finished else "stopped",
        "job": summary.job,
        "run": summary.run,
        "endpoint": summary.endpoint,
        "scenario": summary.scenario,
        "host": host,
        "directory": directory.name if directory else "",
        "path": str(directory) if directory else "",
        "next": [asdict(step) for step in steps],
        "complete": summary.complete,
        "exit_code": summary.exit_code,
        "stopped": summary.stopped,
        "rows": summary.rows,
        "statuses": dict(summary.statuses),
        "attempts": summary.attempts,
        "requests": summary.requests,
        "duplicates": summary.duplicates,
        "errors": [dict(error) for error in summary.errors[:_ERRORS]],
        "started_at": summary.started_at,
        "finished_at": summary.finished_at,
        "elapsed_seconds": summary.elapsed_seconds,
        "total_seconds": summary.total_seconds,
    }
    return {name: _masked(value) for name, value in message.items()}


def _masked(value: Any) -> Any:
    """A value of JSON without the secrets that this process has read."""
    if isinstance(value, str):
        return Secret.redact_all(value)
    if isinstance(value, dict):
        return {name: _masked(one) for name, one in value.items()}
    return [_masked(one) for one in value] if isinstance(value, list) else value


def _for_chats(text: str) -> str:
    # A chat reads <…> as a command, and the reason of a stop may come from an endpoint.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


async def post(webhook: Webhook, message: Mapping[str, Any]) -> None:
    """Deliver a message within the timeout of the webhook. A failure is a warning."""
    delivery = _Delivery(webhook, as_json(message))
    # A daemon thread, because a name lookup cannot be cancelled and must not delay the exit of the process.
    thread = Thread(target=delivery.carry_out, daemon=True)
    thread.start()
    with anyio.move_on_after(webhook.timeout):
        while thread.is_alive():  # noqa: ASYNC110 - the thread may end after the loop is closed
            await anyio.sleep(_POLL)
    if (fault := delivery.fault) is not None:
        log.warning("the notification was not delivered: %s", fault)


class _Delivery:
    """One message on its way."""

    def __init__(self, webhook: Webhook, body: bytes) -> None:
        self.fault: str | None = f"no response within {webhook.timeout:g} s"
        self._url, self._body = webhook.url, body
        self._timeout = webhook.timeout / 2  #: of one attempt: after one that hangs there is time for another

    def carry_out(self) -> None:
        """Send the message; retry what may be transient."""
        retrying = Retrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential(multiplier=FIRST_DELAY),
            retry=retry_if_exception(_is_transient),
            reraise=True,
        )
        try:
            retrying(self._send, opener(self._url.reveal()))
            self.fault = None
        except Exception as fault:
            self.fault = _described(fault)

    def _send(self, opener: OpenerDirector) -> None:
        headers = {"Content-Type": "application/json", "User-Agent": f"engager/{__version__}"}
        request = Request(self._url.reveal(), self._body, headers)  # noqa: S310 - the scheme is checked
        try:
            opener.open(request, timeout=self._timeout).close()
        except HTTPError as fault:
            fault.close()
            raise


def opener(url: str) -> OpenerDirector:
    """An opener that follows no redirect, whose target would get the message, and uses no proxy."""
    opener = OpenerDirector()
    for handler in (HTTPHandler(), HTTPErrorProcessor(), HTTPDefaultErrorHandler()):
        opener.add_handler(handler)
    if url.startswith("https:"):
        opener.add_handler(HTTPSHandler(context=ssl.create_default_context()))
    return opener


def _is_transient(fault: BaseException) -> bool:
    if isinstance(fault, HTTPError):
        return fault.code >= 500 or fault.code in (408, 429)
    return isinstance(fault, OSError | HTTPException) and not _is_certificate(fault)


def _is_certificate(fault: BaseException) -> bool:
    return isinstance(getattr(fault, "reason", None), ssl.SSLCertVerificationError)


def _described(fault: Exception) -> str:
    """Why a delivery failed. The text of an exception may contain the address, so it is not used."""
    if isinstance(fault, HTTPError):
        return f"HTTP {fault.code}"
    if _is_certificate(fault):
        return "the certificate cannot be verified"
    reason = fault.reason if isinstance(fault, URLError) else fault
    if isinstance(reason, TimeoutError):
        return "no response in time"
    if isinstance(reason, OSError):
        return f"no connection: {reason.strerror or type(reason).__name__}"
    return type(fault).__name__
