"""A run's account in, a message to a webhook out: no rows, keys or token; lost rather than in the way.

The webhook's address is a secret itself: whoever has it can write into the channel. It is shown nowhere.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

import anyio
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from engager.config.as_json import as_json
from engager.config.log import log
from engager.config.secret import Secret
from engager.config.version import __version__
from engager.config.webhook import Webhook
from engager.errors import Exit
from engager.events import Summary

if TYPE_CHECKING:
    from aiohttp import ClientSession

_ERRORS = 10
_TRIES = 3

#: Before the second try; it doubles.
FIRST_WAIT = 0.5


def message_of(summary: Summary, directory: str) -> dict[str, Any]:
    """What the webhook is told: the account, and a sentence of it for chats."""
    finished = summary.exit_code in (Exit.DONE, Exit.INCOMPLETE)
    return {
        "text": _sentence(summary, finished),
        "event": "finished" if finished else "stopped",
        "job": summary.job,
        "run": summary.run,
        "directory": directory,
        "complete": summary.complete,
        "exit_code": summary.exit_code,
        "stopped": summary.stopped,
        "rows": summary.rows,
        "statuses": dict(summary.statuses),
        "attempts": summary.attempts,
        "duplicates": summary.duplicates,
        "errors": [dict(error) for error in summary.errors[:_ERRORS]],
        "started_at": summary.started_at,
        "finished_at": summary.finished_at,
        "elapsed_seconds": summary.elapsed_seconds,
        "total_seconds": summary.total_seconds,
    }


def _sentence(summary: Summary, finished: bool) -> str:
    counts = [f"{count:,} {status.replace('_', ' ')}" for status, count in summary.statuses.items() if count]
    reached = "finished" if summary.complete else "finished as far as it was asked"
    options = reached if finished else f"stopped ({summary.stopped or 'a fault'})"
    rows = f"{summary.rows:,} rows: {', '.join(counts) or 'nothing'}"
    text = f"{summary.job} {options}. {rows} in {summary.duration}, exit code {summary.exit_code}."
    # A chat takes <…> for a command, and what stands here may come from an endpoint.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


async def post(webhook: Webhook, message: Mapping[str, Any]) -> None:
    """Deliver a message. Takes no longer than the notice allows; what goes wrong is a warning."""
    told = f"no answer within {webhook.timeout:g} s"
    with anyio.move_on_after(webhook.timeout):
        try:
            await _deliver(webhook, as_json(message))
            return
        except _UndeliveredError as fault:
            told = str(fault)
        except Exception as fault:
            told = type(fault).__name__  # its text may hold the address
    log.warning("the notification was not delivered: %s", told)


class _UndeliveredError(Exception):
    """The webhook did not take the message; the text does not hold its address."""


class _RetryableError(_UndeliveredError):
    """Another try may succeed."""


async def _deliver(webhook: Webhook, body: bytes) -> None:
    import aiohttp  # its client is for those who want to be told

    retrying = AsyncRetrying(
        stop=stop_after_attempt(_TRIES),
        wait=wait_exponential(multiplier=FIRST_WAIT),
        retry=retry_if_exception_type(_RetryableError),
        reraise=True,
    )
    # A try that hangs must leave time for another one.
    once = aiohttp.ClientTimeout(total=webhook.timeout / 2)
    connector = aiohttp.TCPConnector(resolver=_resolver(), ssl=ssl.create_default_context())
    headers = {"Content-Type": "application/json", "User-Agent": f"engager/{__version__}"}
    async with aiohttp.ClientSession(connector=connector, timeout=once, headers=headers) as session:
        await retrying(_post, session, webhook.url, body)


async def _post(session: ClientSession, url: Secret, body: bytes) -> None:
    import aiohttp

    try:
        async with session.post(url.reveal(), data=body, allow_redirects=False) as answer:
            status = answer.status
    except TimeoutError:
        raise _RetryableError("it did not answer in time") from None
    except aiohttp.ClientConnectorCertificateError:
        raise _UndeliveredError("its certificate does not verify") from None
    except aiohttp.ClientConnectorError as fault:
        raise _RetryableError(
            f"no connection: {fault.os_error.strerror or type(fault.os_error).__name__}"
        ) from None
    except aiohttp.ClientError as fault:
        raise _RetryableError(type(fault).__name__) from None
    if status >= 500 or status in (408, 429):
        raise _RetryableError(f"HTTP {status}")
    if not 200 <= status < 300:
        raise _UndeliveredError(f"HTTP {status}")


def _resolver() -> Any:
    from aiohttp.abc import AbstractResolver

    class Resolver(AbstractResolver):
        """Looks names up in a thread that nobody waits for: one of a pool would hold up the exit."""

        async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[Any]:
            loop = asyncio.get_running_loop()
            found: asyncio.Future[Any] = loop.create_future()
            Thread(target=_look_up, args=(loop, found, host, port, family), daemon=True).start()
            return [
                {"hostname": host, "host": at[0], "port": at[1], "family": kind, "proto": proto, "flags": 0}
                for kind, _, proto, _, at in await found
            ]

        async def close(self) -> None:
            """Nothing is held."""

    return Resolver()


def _look_up(
    loop: asyncio.AbstractEventLoop, found: asyncio.Future[Any], host: str, port: int, family: int
) -> None:
    answer: Any
    try:
        answer = socket.getaddrinfo(host, port, socket.AddressFamily(family), socket.SOCK_STREAM)
    except OSError as fault:
        answer = fault

    def tell() -> None:
        if not found.done():
            found.set_exception(answer) if isinstance(answer, OSError) else found.set_result(answer)

    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(tell)
