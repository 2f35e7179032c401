"""What a response says of a task, whatever its form."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engager.altcraft.tasks import TaskStatus, read_task_status
from engager.models import Lost, Reply


def said(data: Any) -> bytes:
    return orjson.dumps({"data": data, "error": 0, "error_text": "Successful operation"})


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (
            said({"status": "completed", "progress": 100, "result": {"errors": 3, "total": 500}}),
            TaskStatus("completed", 100, 3, 500),
        ),
        (said({"status": "in_progress", "progress": 0.4, "result": None}), TaskStatus("in_progress", 0.4)),
        (b"\xef\xbb\xbf" + said({"status": "new"}), TaskStatus("new")),
        (said({"status": "new", "progress": True, "result": [1]}), TaskStatus("new")),
        (
            said({"status": "new", "progress": "soon", "result": {"errors": ["x"], "total": True}}),
            TaskStatus("new"),
        ),
        (said({"status": ""}), None),
        (said({"status": "x" * 101}), None),
        (said({"status": 3}), None),
        (said({"progress": 100}), None),
        (said([{"status": "new"}]), None),
        (said(None), None),
        (b'{"error":0}', None),
        (b"[]", None),
        (b"null", None),
        (b"<xml/>", None),
        (b"", None),
    ],
)
def test_the_status_of_a_task(body: bytes, found: TaskStatus | None) -> None:
    assert read_task_status(Reply(200, body)) == found


def test_a_lost_response_says_nothing() -> None:
    assert read_task_status(Lost("timeout", "")) is None
