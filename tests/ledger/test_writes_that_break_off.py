"""A write that fails or is cut short costs no line: what it was to bring is still in the journal."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from engager.errors import RecordingError
from engager.model import Outcome, Row, Status
from engager.store import result_files
from engager.store.lines import MendableJson
from tests.ledger.kept import Kept


async def kept(path: Path) -> Kept:
    return await Kept.opened(path, MendableJson(str))


def outcomes(*numbers: int) -> list[Outcome]:
    rows = [Row(number, number, "people.jsonl", {"email": "x"}) for number in numbers]
    return [Outcome(row, "x", Status.ENGAGED, 1) for row in rows]


async def rows_after_a_resume(path: Path) -> list[int]:
    await (await kept(path)).finish()
    return [json.loads(line)["row"] for line in (path / "results.jsonl").read_bytes().splitlines()]


@pytest.mark.parametrize("later", [(), (3,)])
async def test_what_a_full_disk_refused_is_written_by_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: tuple[int, ...]
) -> None:
    run = await kept(tmp_path)
    await run.record(*outcomes(1, 2))

    def full(descriptor: int, data: Any) -> int:
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return os.write(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(result_files, "os", SimpleNamespace(**{**vars(os), "write": full}))
    with pytest.raises(RecordingError, match="No space left"):
        await run.recorder.flush()
    monkeypatch.undo()  # somebody made room
    await run.record(*outcomes(*later))
    with pytest.raises(RecordingError, match="No space left"):
        await run.recorder.flush()
    run.close()
    assert await rows_after_a_resume(tmp_path) == [1, 2, *later]


async def test_a_flush_that_is_cancelled_loses_nothing(tmp_path: Path) -> None:
    run = await kept(tmp_path)
    await run.record(*outcomes(1, 2))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await run.recorder.flush()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run.recorder.flush)
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    run.close()
    assert await rows_after_a_resume(tmp_path) == [1, 2]
