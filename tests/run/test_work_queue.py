"""Rows reach the workers one by one, each once and in the order of the input, however the chunks come."""

from __future__ import annotations

from random import Random

import anyio
import anyio.lowlevel
import pytest

from engager.models import EngageRequest, Prepared, Row
from engager.run.work_queue import WorkQueue
from engager.sending.batches import Part


def rows(first: int, count: int) -> list[Prepared]:
    return [EngageRequest(Row(number, 0, "", ()), "", "", (b"",)) for number in range(first, first + count)]


@pytest.mark.parametrize("seed", range(20))
async def test_every_row_is_taken_once_and_in_order(seed: int) -> None:
    draw, taken = Random(seed), list[int]()
    begin, end = anyio.create_memory_object_stream[list[Prepared]](2)
    queue = WorkQueue(end)

    async def pause() -> None:
        for _ in range(draw.choice((0, 0, 1, 3))):
            await anyio.lowlevel.checkpoint()

    async def read() -> None:
        async with begin:
            first = 1
            while first < 200:
                count = draw.randint(1, 9)
                try:
                    begin.send_nowait(rows(first, count))
                except anyio.WouldBlock:
                    await begin.send(rows(first, count))
                first += count
                await pause()

    async def work() -> None:
        while (row := queue.get_nowait() or await queue.get()) is not None:
            assert isinstance(row, EngageRequest)
            taken.append(row.row.number)
            await pause()

    async with anyio.create_task_group() as workers:
        workers.start_soon(read)
        for _ in range(5):
            workers.start_soon(work)
    assert taken == list(range(1, len(taken) + 1))
    assert len(taken) >= 199
    end.close()


async def test_what_is_there_is_taken_without_waiting() -> None:
    begin, end = anyio.create_memory_object_stream[list[Prepared]](2)
    queue = WorkQueue(end)
    begin.send_nowait(rows(1, 2))
    assert [queue.get_nowait() is not None for _ in range(3)] == [True, True, False]
    begin.close()
    assert queue.get_nowait() is None
    assert await queue.get() is None
    end.close()


async def test_parts_come_when_nothing_else_is_ready_and_before_the_end() -> None:
    begin, end = anyio.create_memory_object_stream[list[Prepared]](2)
    queue = WorkQueue(end)
    one, two = rows(1, 2)
    part = Part(EngageRequest(Row(9, 0, "", ()), "", "", (b"",)))
    begin.send_nowait([one])
    begin.send_nowait([two])
    queue.put_last([part])
    assert [queue.get_nowait() for _ in range(4)] == [one, two, part, None]
    queue.put_last([part])
    begin.close()
    assert [await queue.get() for _ in range(2)] == [part, None]
    end.close()
