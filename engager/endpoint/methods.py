"""Questions by methods that engage no person, always in JSON, which the platform always accepts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urljoin

import orjson

from engager.requests.builder import RequestSpec
from engager.sending.transport.base import Destination

T = TypeVar("T")


#: Seconds before a further question, where a response speaks of that moment only: one 503 says little.
_DELAYS = (0.5, 2.0)


async def asked_again(ask: Callable[[], Awaitable[T]], speaks_of_a_moment: Callable[[T], bool]) -> T:
    """Ask, and ask again some times where the response speaks of that moment only; returns the last one."""
    for delay in _DELAYS:
        found = await ask()
        if not speaks_of_a_moment(found):
            return found
        await asyncio.sleep(delay)
    return await ask()


def request_to(
    job: Destination, spec: RequestSpec, method: str, **fields: Any
) -> tuple[Destination, tuple[bytes, ...]]:
    """The destination and the body of a request of a method; `job` is the destination of the job."""
    token = {"token": spec.token} if spec.auth == "body" else {}
    headers = {**job.headers, "Content-Type": "application/json; charset=utf-8"}
    there = replace(job, url=urljoin(job.url, method), headers=headers)
    return there, (orjson.dumps({**token, **fields}),)
