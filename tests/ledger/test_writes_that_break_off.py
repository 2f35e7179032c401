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
from engager.ledger import line_file
from engager.ledger.account import begin, resume
from engager.ledger.lines import JsonLines, MendableJson
from engager.ledger.recorder import Formats, Recorder
from engager.ledger.run_directory import RunDirectory, find_run, new_run
from engager.model import Outcome, Row, Status


def _keep(text: str) -> str:
    return text


FORMATS = Formats(JsonLines(), MendableJson(_keep), _keep)


def begun(path: Path) -> Recorder:
    return begin(new_run(path), FORMATS, 1 << 16, synced=False)


async def settle(recorder: Recorder, *numbers: int) -> None:
    for number in numbers:
        row = Row(number, number, "people.jsonl", {"email": "x"})
        recorder.due([row])
        await recorder.record(Outcome(row, "x", Status.ENGAGED, 1))


def rows_after_a_resume(path: Path) -> list[int]:
    run = find_run(path)
    assert isinstance(run, RunDirectory)
    resume(run, FORMATS, synced=False).close()
    return [json.loads(line)["row"] for line in (path / "results.jsonl").read_bytes().splitlines()]


@pytest.mark.parametrize("later", [(), (3,)])
async def test_what_a_full_disk_refused_is_written_by_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: tuple[int, ...]
) -> None:
    recorder = begun(tmp_path)
    await settle(recorder, 1, 2)

    def full(descriptor: int, data: Any) -> int:
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return os.write(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(line_file, "os", SimpleNamespace(**{**vars(os), "write": full}))
    with pytest.raises(RecordingError, match="No space left"):
        await recorder.flush()
    monkeypatch.undo()  # somebody made room
    await settle(recorder, *later)
    with pytest.raises(RecordingError, match="No space left"):
        recorder.close()
    assert rows_after_a_resume(tmp_path) == [1, 2, *later]


async def test_a_flush_that_is_cancelled_loses_nothing(tmp_path: Path) -> None:
    recorder = begun(tmp_path)
    await settle(recorder, 1, 2)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await recorder.flush()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(recorder.flush)
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    recorder.close()
    assert rows_after_a_resume(tmp_path) == [1, 2]
