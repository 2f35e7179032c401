"""An operator's wishes in, what a run under way obeys out: hold, let go on, another rate, stop.

A wish may come before the run has anything to obey it with: it is kept, and told when there is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from engager.errors import Exit, JobError
from engager.policies.rate import LEAST_RATE, MOST_RATE
from engager.sending.limits import Stop

#: The holder of a pause that a person asked for.
OPERATOR = "operator"


class Controllable(Protocol):
    """What sends, in this process or in others."""

    def pause(self, holder: str) -> None:
        """Let nothing leave until this holder and all others release it."""
        ...

    def resume(self, holder: str) -> None:
        """Let this holder have nothing against going on."""
        ...

    def set_rate(self, rate: float) -> None:
        """From now on so many requests a second, over all processes."""
        ...


@dataclass(frozen=True, slots=True)
class Gauges:
    """What can be read off a run while it sends."""

    in_flight: Callable[[], int]  #: requests without an answer yet
    paused_for: Callable[[], float]  #: seconds that are left of a pause that the endpoint asked for
    holders: Callable[[], Collection[str]]  #: who wants nothing to leave, the breaker among them


class Control:
    """A hand on one run, before it begins and while it is under way. It lives in the run's loop.

    A stop that was asked for stays asked for, so the next run takes a new one.
    """

    def __init__(self) -> None:
        self._claimed = False
        self.stopping = Stop()
        self.holders: dict[str, str] = {}  #: who wants nothing to leave, and until when or why
        self.rate: float | None = None  #: requests a second, where it was changed
        self.gauges: Gauges | None = None  #: once the run sends
        self._sender: Controllable | None = None

    def refuse_second_run(self) -> None:
        """Raises JobError if a run has begun with it already."""
        if self._claimed:
            raise JobError(
                "control: a run has begun with this Control already. Give every run a new Control()."
            )

    def claim(self) -> None:
        """A run begins with it. Raises JobError if one has begun already."""
        self.refuse_second_run()
        self._claimed = True

    def attach(self, sender: Controllable, gauges: Gauges | None = None) -> None:
        """From now on there is something that obeys."""
        self._sender, self.gauges = sender, gauges
        for holder in self.holders:
            sender.pause(holder)
        if self.rate is not None:
            sender.set_rate(self.rate)

    def pause(self, holder: str = OPERATOR, why: str = "") -> None:
        """Let nothing leave; what is in flight ends."""
        is_news = holder not in self.holders
        self.holders[holder] = why
        if is_news and self._sender is not None:
            self._sender.pause(holder)

    def resume(self, holder: str = OPERATOR) -> None:
        """Go on, if nobody else holds the run."""
        was_held = self.holders.pop(holder, None) is not None
        if was_held and self._sender is not None:
            self._sender.resume(holder)

    def set_rate(self, rate: float) -> None:
        """From now on so many requests a second, over all processes."""
        if not LEAST_RATE <= rate <= MOST_RATE:
            raise ValueError(f"give a number of requests a second from {LEAST_RATE:g} to {MOST_RATE:.0f}")
        if self._sender is not None:
            self._sender.set_rate(rate)
        self.rate = rate

    def stop(self, reason: str, exit_code: Exit = Exit.STOPPED) -> None:
        """End the run in good order: nothing new begins, what is in flight ends; it can go on later."""
        self.stopping.request(exit_code, reason)
