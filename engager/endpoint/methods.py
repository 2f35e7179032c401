"""The methods beside the start: a method and its parameters in, a request out; a listing in, scenarios out.

They are asked in JSON, whatever the job's requests speak: the platform always speaks that, too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urljoin

import orjson

from engager.requests.builder import RequestSpec
from engager.sending.transport.base import Destination


def request_to(
    start: Destination, spec: RequestSpec, method: str, **fields: Any
) -> tuple[Destination, tuple[bytes, ...]]:
    """Where a request to a method goes, and its body; `start` is where the job's own requests go."""
    token = {"token": spec.token} if spec.auth == "body" else {}
    headers = {**start.headers, "Content-Type": "application/json; charset=utf-8"}
    there = replace(start, url=urljoin(start.url, method), headers=headers)
    return there, (orjson.dumps({**token, **fields}),)
