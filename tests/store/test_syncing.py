"""One sync for all waiting requests: none continues before its own write is on the disk."""

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

MakeDisk = Callable[..., Disk]


class SlowSync:
    """A sync that ends when the test allows it."""

    def __init__(self) -> None:
        self.stored = 0  #: writes so far
        self.on_disk = 0
        self.syncs = 0
        self.fault: Exception | None = None
        self.started, self.may_end = Event(), Event()
        self.may_end.set()

    def __call__(self) -> Callable[[], None]:
        return partial(self._sync, self.stored)

    def _sync(self, stored: int) -> None:
        self.started.set()
        self.may_end.wait()
        if self.fault is not None:
            raise self.fault
        self.on_disk, self.syncs = stored, self.syncs + 1


@pytest.fixture
def make_disk() -> Iterator[MakeDisk]:
    with ExitStack() as disks:
        yield lambda sync, enough: disks.enter_context(closing(Disk(sync, enough)))


@pytest.fixture
def sync(make_disk: MakeDisk) -> Iterator[SlowSync]:
    sync = SlowSync()
    yield sync
    sync.may_end.set()


async def store(sync: SlowSync, disk: Disk) -> None:
    sync.stored += 1
    mine = sync.stored
    await asyncio.shield(disk.next_sync())
    assert sync.on_disk >= mine


async def test_one_sync_serves_all_requests_of_a_moment(sync: SlowSync, make_disk: MakeDisk) -> None:
    disk = make_disk(sync, enough=MANY)
    await asyncio.gather(*(store(sync, disk) for _ in range(50)))
    assert sync.syncs == 1


@pytest.fixture
async def no_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop whose timers never fire."""
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda *args: None)


@pytest.mark.usefixtures("no_timers")
async def test_enough_requests_do_not_wait_for_a_timer(sync: SlowSync, make_disk: MakeDisk) -> None:
    disk = make_disk(sync, enough=3)
    await asyncio.gather(*(store(sync, disk) for _ in range(3)))


async def test_a_write_during_a_sync_waits_for_the_next_sync(sync: SlowSync, make_disk: MakeDisk) -> None:
    disk = make_disk(sync, enough=1)
    sync.may_end.clear()
    first = asyncio.create_task(store(sync, disk))
    await asyncio.to_thread(sync.started.wait)
    late = [asyncio.create_task(store(sync, disk)) for _ in range(2)]
    await asyncio.sleep(0)
    sync.may_end.set()
    await asyncio.gather(first, *late)
    assert sync.syncs == 2


async def test_consecutive_requests_all_continue(sync: SlowSync, make_disk: MakeDisk) -> None:
    disk = make_disk(sync, enough=MANY)
    for _ in range(5):
        await store(sync, disk)
    assert sync.syncs == 5


async def test_a_fault_is_raised_for_each_request(sync: SlowSync, make_disk: MakeDisk) -> None:
    disk = make_disk(sync, enough=MANY)
    sync.fault = OSError("the disk is gone")
    ends = await asyncio.gather(*(store(sync, disk) for _ in range(3)), return_exceptions=True)
    assert ends == [sync.fault] * 3


async def test_a_cancelled_request_does_not_disturb_the_others(sync: SlowSync, make_disk: MakeDisk) -> None:
    disk = make_disk(sync, enough=MANY)
    waiting = [asyncio.create_task(store(sync, disk)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.gather(*waiting[1:])
    assert waiting[0].cancelled()


@pytest.mark.usefixtures("no_timers")
async def test_a_fault_without_a_waiting_request_is_not_logged(sync: SlowSync, make_disk: MakeDisk) -> None:
    reports: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
    disk = make_disk(sync, enough=1)
    sync.fault = OSError("the disk is gone")
    failed = disk.next_sync()
    while not failed.done():
        await asyncio.sleep(0)
    del failed
    gc.collect()
    assert not reports


async def test_no_sync_follows_a_fault(sync: SlowSync, make_disk: MakeDisk) -> None:
    disk = make_disk(sync, enough=1)
    sync.fault = OSError("the disk is gone")
    with pytest.raises(OSError, match="gone"):
        await store(sync, disk)
    sync.fault = None  # a disk may report a fault once, and then ignore the lost writes
    with pytest.raises(OSError, match="gone"):
        await store(sync, disk)
