"""One sync for all who ask within a moment: nobody goes on before what he stored is on the disk."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from threading import Event

import pytest

from engager.store.syncing import Disk

MANY = 1000

Made = Callable[..., Disk]


class SlowSync:
    """A disk that is done when it is told to be."""

    def __init__(self) -> None:
        self.stored = 0  #: what there is to bring to the disk
        self.on_disk = 0
        self.syncs = 0
        self.fault: Exception | None = None
        self.begun, self.may_end = Event(), Event()
        self.may_end.set()

    def __call__(self) -> Callable[[], None]:
        return partial(self._bring, self.stored)

    def _bring(self, stored: int) -> None:
        self.begun.set()
        self.may_end.wait()
        if self.fault is not None:
            raise self.fault
        self.on_disk, self.syncs = stored, self.syncs + 1


@pytest.fixture
def made() -> Iterator[Made]:
    with ExitStack() as disks:
        yield lambda sync, enough: disks.enter_context(closing(Disk(sync, enough)))


@pytest.fixture
def sync(made: Made) -> Iterator[SlowSync]:
    sync = SlowSync()
    yield sync
    sync.may_end.set()


async def store(sync: SlowSync, disk: Disk) -> None:
    sync.stored += 1
    mine = sync.stored
    await asyncio.shield(disk.holds())
    assert sync.on_disk >= mine


async def test_one_sync_is_for_all_who_ask_at_once(sync: SlowSync, made: Made) -> None:
    disk = made(sync, enough=MANY)
    await asyncio.gather(*(store(sync, disk) for _ in range(50)))
    assert sync.syncs == 1


async def test_enough_of_them_wait_for_nobody(sync: SlowSync, made: Made) -> None:
    disk = made(sync, enough=3)
    disk._loop = Timeless(disk._loop)  # type: ignore[assignment]
    await asyncio.gather(*(store(sync, disk) for _ in range(3)))


class Timeless:
    """A loop whose timers never come."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.create_future, self.call_soon_threadsafe = loop.create_future, loop.call_soon_threadsafe

    def call_later(self, *args: object) -> None: ...


async def test_who_asks_during_a_sync_is_held_by_the_next(sync: SlowSync, made: Made) -> None:
    disk = made(sync, enough=1)
    sync.may_end.clear()
    first = asyncio.create_task(store(sync, disk))
    await asyncio.to_thread(sync.begun.wait)
    late = [asyncio.create_task(store(sync, disk)) for _ in range(2)]
    await asyncio.sleep(0)
    sync.may_end.set()
    await asyncio.gather(first, *late)
    assert sync.syncs == 2


async def test_those_who_come_one_after_the_other_all_go_on(sync: SlowSync, made: Made) -> None:
    disk = made(sync, enough=MANY)
    for _ in range(5):
        await store(sync, disk)
    assert sync.syncs == 5


async def test_a_fault_is_everybodys(sync: SlowSync, made: Made) -> None:
    disk = made(sync, enough=MANY)
    sync.fault = OSError("the disk is gone")
    ends = await asyncio.gather(*(store(sync, disk) for _ in range(3)), return_exceptions=True)
    assert ends == [sync.fault] * 3


async def test_who_gives_up_is_no_loss_to_the_others(sync: SlowSync, made: Made) -> None:
    disk = made(sync, enough=MANY)
    waiting = [asyncio.create_task(store(sync, disk)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.gather(*waiting[1:])
    assert waiting[0].cancelled()


async def test_a_fault_that_nobody_waits_for_any_more_is_no_noise(sync: SlowSync, made: Made) -> None:
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
    disk = made(sync, enough=1)
    disk._loop = Timeless(disk._loop)  # type: ignore[assignment]
    sync.fault = OSError("the disk is gone")
    disk.holds()
    while disk._fault is None:
        await asyncio.sleep(0)
    gc.collect()
    assert not complaints


async def test_behind_a_fault_nothing_is_brought_to_the_disk(sync: SlowSync, made: Made) -> None:
    disk = made(sync, enough=1)
    sync.fault = OSError("the disk is gone")
    with pytest.raises(OSError, match="gone"):
        await store(sync, disk)
    sync.fault = None  # a disk may tell of a fault once, and then pass over what it lost
    with pytest.raises(OSError, match="gone"):
        await store(sync, disk)
