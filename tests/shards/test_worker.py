"""What a process does when it is told something. The test plays the keeper of the book."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace

import pytest

from engager.shards import worker
from engager.shards.messages import Line
from engager.shards.shard import Rest


async def test_it_begins_when_it_is_told_to_and_knows_by_then_what_holds_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[frozenset[str]] = []

    async def carry_out(self: worker._Worker) -> Rest:
        begun.append(self._limits.gate.holders)
        return Rest.NONE

    monkeypatch.setattr(worker._Worker, "_carry_out", carry_out)
    ours, theirs = socket.socketpair()
    line = Line(*await asyncio.open_connection(sock=ours))
    task = SimpleNamespace(plan=SimpleNamespace(pace=None))
    work = asyncio.create_task(worker._Worker(task).work(theirs))  # type: ignore[arg-type]
    line.say("hold", holder="window")
    line.say("begin")
    message = await line.hear()
    await work
    line.close()
    assert message is not None
    assert message.kind == "done"
    assert begun == [frozenset({"window"})]
