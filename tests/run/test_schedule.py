"""Hours and deadline of a whole day, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import anyio
import pytest

import engager
from engager.errors import Exit
from engager.policies.schedule import Hours, Window
from engager.run.control import Control
from engager.run.schedule import Scheduler

BERLIN = ZoneInfo("Europe/Berlin")


def timekeeper(begin: str, hours: str = "", stops: bool = False, deadline: str = "") -> Scheduler:
    start, loop = datetime.fromisoformat(begin).replace(tzinfo=BERLIN).timestamp(), asyncio.get_running_loop()
    window = Window(BERLIN, hours=(Hours.parse(hours),)) if hours else None
    end = datetime.fromisoformat(deadline).replace(tzinfo=BERLIN).timestamp() if deadline else None
    zero = loop.time()

    def clock() -> float:
        return start + loop.time() - zero

    return Scheduler(Control(), window, stops, end, deadline, clock, clock)


def test_a_duration_is_measured_by_a_clock_that_nobody_sets(tmp_path: Path) -> None:
    tables = {
        "job": {"name": "test"},
        "endpoint": {"url": "sandbox"},
        "input": {"path": "people.csv"},
        "request": {"id": 12, "email": "{email}"},
        "stop": {"deadline": "1h"},
    }
    wall, elapsed = 1_800_000_000.0, 500.0
    keeper = Scheduler.for_job(
        engager.build_job(tables, base=tmp_path).job, Control(), lambda: wall, lambda: elapsed
    )
    for moved in (86_400.0, -2 * 86_400.0):
        wall += moved
        keeper.check_now()
        assert not keeper.control.stopping.requested
    elapsed += 3600.0
    keeper.check_now()
    assert keeper.control.stopping.exit is Exit.STOPPED


class Diary:
    """Obeys, and remembers when it was held and let go, on the clocks on people's walls."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.seen: list[tuple[str, bool]] = []
        self._clock = clock

    def pause(self, holder: str) -> None:
        self._note(True)

    def resume(self, holder: str) -> None:
        self._note(False)

    def set_rate(self, rate: float) -> None:
        raise AssertionError("the clock changes no rate")

    def _note(self, held: bool) -> None:
        self.seen.append((f"{datetime.fromtimestamp(self._clock(), BERLIN):%d %H:%M:%S}", held))


async def openings(keeper: Scheduler, hours: float) -> list[tuple[str, bool]]:
    """When it held the run and let it go."""
    diary = Diary(keeper.clock)
    keeper.control.attach(diary)
    with anyio.move_on_after(hours * 3600):
        await keeper.run()
    return diary.seen


@pytest.mark.virtual_time
async def test_it_pauses_the_run_outside_its_hours_also_when_clocks_are_put_back() -> None:
    seen = await openings(timekeeper("2026-10-25T01:29", "01:30-03:00"), 0.1)
    assert [(moment[:8], held) for moment, held in seen] == [("25 01:29", True), ("25 01:30", False)]
    begun = asyncio.get_running_loop().time()
    seen = await openings(timekeeper("2026-10-25T02:55", "01:30-03:00"), 1.2)
    # An hour and five minutes later, a moment early, so that nothing is on its way.
    assert [(moment[:8], held) for moment, held in seen] == [("25 02:59", True)]
    assert asyncio.get_running_loop().time() - begun >= 3900


@pytest.mark.virtual_time
async def test_it_ends_the_run_instead_if_the_job_says_so() -> None:
    keeper = timekeeper("2026-11-24T19:00", "09:00-20:00", stops=True)
    with anyio.move_on_after(7200):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keeper.run)
            await keeper.control.stopping.wait()
            tasks.cancel_scope.cancel()
    assert keeper.control.stopping.exit is Exit.STOPPED
    assert "Wed 2026-11-25 09:00" in keeper.control.stopping.reason
    assert 3599 <= asyncio.get_running_loop().time() <= 3600


@pytest.mark.virtual_time
async def test_a_deadline_ends_the_run() -> None:
    keeper = timekeeper("2026-11-24T19:00", deadline="2026-11-24T19:30")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keeper.run)
        await keeper.control.stopping.wait()
        tasks.cancel_scope.cancel()
    assert (keeper.control.stopping.exit, "deadline" in keeper.control.stopping.reason) == (
        Exit.STOPPED,
        True,
    )
    assert 1800 <= asyncio.get_running_loop().time() <= 1802
