"""The clocks that attempts are timed by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

#: Seconds that do not jump: the loop's, which attempts are timed by.
Clock = Callable[[], float]

#: Seconds that neither jump nor stand still while the machine sleeps: for what the endpoint remembers.
BootClock = Callable[[], float]

#: The boot clock of this machine.
boot_seconds: BootClock = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def running_clock() -> Clock:
    """The running loop's clock, to the microsecond: uvloop's own counts whole milliseconds of the same."""
    loop = asyncio.get_running_loop()
    return time.monotonic if type(loop).__module__.startswith("uvloop") else loop.time
