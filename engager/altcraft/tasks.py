"""The tasks of the platform: the request for the status of one, and what its response says.

Documented for exports: `{token, task_id}`, and `data: {status, progress, result: {errors, total}}`. Assumed:
the same holds for imports, and the id is asked for as the text that the results have.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from engager.models import Ending, Reply

#: The method, as its path from a method of scenarios.
TASK_STATUS: Final = "../tasks/status"

#: Characters of the longest status: a longer text is none.
_MAX_STATUS: Final = 100


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """What the platform says of a task. None: it does not say."""

    status: str  #: such as "completed"
    progress: float | None = None  #: a number without a documented unit
    errors: int | None = None
    total: int | None = None


def task_fields(task: str) -> dict[str, Any]:
    """The fields of a request for the status of a task, except the token."""
    return {"task_id": task}


def read_task_status(ending: Ending) -> TaskStatus | None:
    """The status in a response of `tasks/status`; None if its form is unknown."""
    data = _data_of(ending.body) if isinstance(ending, Reply) else {}
    status = data.get("status")
    if not isinstance(status, str) or not 0 < len(status) <= _MAX_STATUS:
        return None
    result = data.get("result")
    counts: Mapping[str, Any] = result if isinstance(result, Mapping) else {}
    progress = data.get("progress")
    return TaskStatus(
        status,
        progress if type(progress) in (int, float) else None,
        _count(counts.get("errors")),
        _count(counts.get("total")),
    )


def _data_of(body: bytes) -> Mapping[str, Any]:
    """The object `data` of a response; empty in a response of another form."""
    try:
        data = orjson.loads(body.removeprefix(BOM_UTF8))["data"]
    except (KeyError, TypeError, ValueError):
        return {}
    return data if isinstance(data, Mapping) else {}


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
