"""Ages of moments, also across restarts, by clocks that may be wrong.

The wall clock jumps: people and services set it. The kernel's boot clock does not, and it continues while
the machine sleeps, but it means nothing to the next boot. So within a boot the boot clock alone counts;
across boots the wall clock does, unless it was plainly set back.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment on every available clock."""

    wall: float  #: seconds since the epoch
    boot: float  #: seconds on the boot clock
    boot_id: int  #: identifies the boot; 0 = unknown


#: The boot clock in seconds: it does not jump, and continues while the machine sleeps.
seconds = partial(time.clock_gettime, _CLOCK)


def boot_id() -> int:
    """Identifies the current boot; 0 if the system does not provide it."""
    try:
        text = _BOOT_ID.read_bytes().strip()
    except OSError:
        return 0
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little") or 1


def this_moment(boot: int) -> Moment:
    """The current moment, in the boot `boot_id`."""
    return Moment(time.time(), seconds(), boot)


def on_boot_clock(then: Moment, now: Moment, latest_wall: float) -> float:
    """When `then` was, on the boot clock of `now`; minus infinity if no clock shows it.

    `latest_wall` is the latest wall time that is known to have been.
    """
    if then.boot_id and then.boot_id == now.boot_id and then.boot <= now.boot:
        return then.boot
    if now.wall < max(then.wall, latest_wall):
        return float("-inf")
    return now.boot - (now.wall - then.wall)
