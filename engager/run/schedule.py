"""Pauses and stops a run by the clock.

Invariant: no request leaves outside the sending window or after the deadline. Wall clocks jump and machines
sleep, so the clock is read every second, however far the next moment is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from engager.config.job_sections import Job
from engager.policies.schedule import Window, moment_of, moment_text
from engager.run.control import Control
from engager.store.clock import seconds as boot_seconds

#: The holder of the pause outside of the sending window.
WINDOW = "window"

#: Seconds between two readings of the clock, at most.
_CHECK = 1.0

#: Seconds by which the sending window ends early, so that no request is on its way at its end.
_EARLY = 0.25


@dataclass(frozen=True, slots=True)
class Scheduler:
    """Keeps a run within its sending window and its deadline."""

    control: Control
    window: Window | None
    stops: bool  #: outside of the window the run stops instead of waiting
    deadline: float | None  #: a moment on the clock of the deadline
    deadline_text: str
    clock: Callable[[], float]  #: seconds since the epoch
    deadline_clock: Callable[[], float]

    @classmethod
    def for_job(
        cls,
        job: Job,
        control: Control,
        clock: Callable[[], float] = time.time,
        elapsing: Callable[[], float] = boot_seconds,
        forgotten_at: float | None = None,
    ) -> Scheduler:
        """The scheduler of a run that begins.

        A duration ends by a clock that cannot be set (`elapsing`), a time of day by the wall clock.
        `forgotten_at` is a deadline, in seconds since the epoch, that the job does not set.
        """
        deadline, zone = job.stop.deadline, job.window.tz
        policy, stops = job.window.policy, job.window.outside == "stop"
        moment = None if deadline is None else moment_of(deadline, clock(), zone)
        if forgotten_at is not None and (moment is None or forgotten_at < moment):
            text = f"{moment_text(forgotten_at, zone)}: the deduplication window after job.run_since"
            return cls(control, policy, stops, forgotten_at, text, clock, clock)
        if moment is None or deadline is None:
            return cls(control, policy, stops, None, "", clock, clock)
        text = moment_text(moment, zone)
        if isinstance(deadline, str):
            return cls(control, policy, stops, moment, text, clock, clock)
        return cls(control, policy, stops, elapsing() + deadline, text, clock, elapsing)

    async def run(self) -> None:
        """Read the clock until cancelled."""
        while self.window is not None or self.deadline is not None:
            wait = self.check_now()
            await anyio.sleep(wait)

    def check_now(self) -> float:
        """Pause, resume or stop the run as the moment requires; returns the seconds until the next check."""
        now = self.clock()
        waits = [_CHECK]
        if self.deadline is not None:
            left = self.deadline - self.deadline_clock()
            waits.append(left)
            if left <= 0:
                self.control.stop(f"the deadline is reached ({self.deadline_text})")
        if self.window is not None:
            waits.append(self._judge(self.window, now))
        return max(0.01, min(waits))

    def _judge(self, window: Window, now: float) -> float:
        # A little ahead: at the end of the window no request may be on its way to the socket any more.
        soon = now + _EARLY if window.is_open(now) else now
        is_open, turn = window.is_open(soon), window.next_change(soon)
        if is_open:
            self.control.resume(WINDOW)
            return _CHECK if turn is None else turn - now - _EARLY
        again = "never" if turn is None else moment_text(turn, window.zone)
        if self.stops or turn is None:
            self.control.stop(f"outside of the sending window, which opens again: {again}")
        else:
            self.control.pause(WINDOW, f"the sending window opens {again}")
        return _CHECK if turn is None else turn - now
