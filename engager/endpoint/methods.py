"""Requests of methods that engage no person, always in JSON, which the platform always accepts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urljoin

import orjson

from engager.requests.builder import RequestSpec
from engager.sending.transport.base import Destination


def request_to(
    job: Destination, spec: RequestSpec, method: str, **fields: Any
) -> tuple[Destination, tuple[bytes, ...]]:
    """The destination and the body of a request of a method; `job` is the destination of the job."""
    token = {"token": spec.token} if spec.auth == "body" else {}
    headers = {**job.headers, "Content-Type": "application/json; charset=utf-8"}
    there = replace(job, url=urljoin(job.url, method), headers=headers)
    return there, (orjson.dumps({**token, **fields}),)
