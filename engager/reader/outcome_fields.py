"""The fields of a line of results: what results, journal and statistics have in common."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from engager.models import Outcome, Status

#: The columns of results, in their order.
RESULT_COLUMNS = (
    "row",
    "key",
    "status",
    "attempts",
    "http_status",
    "error",
    "error_text",
    "request_id",
    "duplicate",
    "latency_ms",
    "finished_at",
    "waited_ms",
    "reference",
)

#: Those of runs that an earlier version began.
EARLIER_COLUMNS: Final = RESULT_COLUMNS[:-1]

MAX_TEXT: Final = 500
MAX_KEY: Final = 500
MAX_REFERENCE: Final = 100

# Reading the value of an enumeration member is a slow call in Python.
_WORDS: Final = {status: status.value for status in Status}

Redact = Callable[[str], str]


def result_fields(outcome: Outcome, redact: Redact) -> dict[str, Any]:
    """The fields of one line of results. `redact` is called for every row: cache its results."""
    text, latency, waited = outcome.error_text, outcome.latency_ms, outcome.waited_ms
    reference = outcome.reference
    return {
        "row": outcome.row.number,
        "key": outcome.key and outcome.key[:MAX_KEY],
        "status": _WORDS[outcome.status],
        "attempts": outcome.attempts,
        "http_status": outcome.http_status,
        "error": outcome.error,
        # The whole text is redacted before it is cut: a cut could leave half a token in it.
        "error_text": None if text is None else redact(text)[:MAX_TEXT],
        "request_id": outcome.request_id,
        "duplicate": outcome.duplicate,
        # To the microsecond; round() takes twice as long.
        "latency_ms": None if latency is None else int(latency * 1000 + 0.5) / 1000,
        "finished_at": _moment(int(outcome.finished_at * 1000)),
        "waited_ms": None if waited is None else int(waited * 1000 + 0.5) / 1000,
        "reference": None if reference is None else redact(reference)[:MAX_REFERENCE],
    }


def error_code(text: str) -> int | str:
    """An error, or a status, as a line of results in JSON has it: the endpoint's codes are numbers."""
    return int(text) if text.lstrip("-").isdecimal() and text.isascii() else text


@lru_cache(maxsize=64)  # many rows end in the same millisecond
def _moment(milliseconds: int) -> str:
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
