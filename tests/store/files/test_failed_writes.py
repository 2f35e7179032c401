"""A write that fails or is cut short loses no line: its lines are in the journal."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from engager.errors import RecordingError
from engager.store.files import result_files
from engager.store.status import existing_run, read_status
from tests.store.stored import finish, open_store, outcome, request, settle


async def rows_after_a_resume(path: Path) -> list[int]:
    await finish(await open_store(path))
    return [json.loads(line)["row"] for line in (path / "results.jsonl").read_bytes().splitlines()]


@pytest.mark.parametrize("later", [(), (3,)])
async def test_the_next_process_writes_the_lines_that_a_full_disk_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: tuple[int, ...]
) -> None:
    store = await open_store(tmp_path)
    await settle(store, outcome(1), outcome(2))

    def full(descriptor: int, data: Any) -> int:
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return os.write(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(result_files, "os", SimpleNamespace(**{**vars(os), "write": full}))
    with pytest.raises(RecordingError, match="No space left"):
        await store.flush()
    monkeypatch.undo()  # the disk has space again
    await settle(store, *map(outcome, later))
    with pytest.raises(RecordingError, match="No space left"):
        await store.flush()
    store.close()
    assert await rows_after_a_resume(tmp_path) == [1, 2, *later]


async def test_a_cancelled_flush_loses_no_line(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await settle(store, outcome(1), outcome(2))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.flush()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.flush)
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    store.close()
    assert await rows_after_a_resume(tmp_path) == [1, 2]


async def test_a_journal_that_cannot_be_written_stops_all_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store(tmp_path)
    store.before_send([request(1)])

    def full(descriptor: int, data: Any, at: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    await settle(store, outcome(1))
    with pytest.raises(RecordingError):
        store.before_send([request(2)])
    monkeypatch.undo()
    with pytest.raises(
        RecordingError
    ):  # nothing may follow the failed write, which may be in the file in part
        store.before_send([request(3)])
    store.close()
    status = read_status(existing_run(tmp_path))
    assert (status["rows"], status["open"]) == (0, 1)
