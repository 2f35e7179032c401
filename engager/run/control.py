"""Controls a run under way: pause, resume, another rate, stop.

A command before the run sends is stored, and takes effect when sending begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from engager.errors import Exit, JobError
from engager.events import SenderState
from engager.policies.rate import LEAST_RATE, MOST_RATE
from engager.sending.stop import Stop
from engager.sending.transport.base import InFlight

#: The holder of a pause that a person asked for.
OPERATOR = "operator"


class Controllable(Protocol):
    """What sends, in this process or in others."""

    def pause(self, holder: str) -> None:
        """Pause until this holder and all others resume."""
        ...

    def resume(self, holder: str) -> None:
        """End the pause of this holder."""
        ...

    def set_rate(self, rate: float) -> None:
        """Set the requests per second, over all processes."""
        ...


@dataclass(frozen=True, slots=True)
class Gauges:
    """Measures of a run while it sends."""

    in_flight: Callable[[], InFlight]  #: the requests without a response yet
    paused_for: Callable[[], float]  #: seconds that remain of the pause that the endpoint asked for
    holders: Callable[[], Mapping[str, str]]  #: the holders of the pause, the circuit breaker among them
    senders: Callable[[], Sequence[SenderState]] = tuple  #: empty if the run itself sends


class Control:
    """The control of one run, before it begins and while it is under way. It lives in the run's loop.

    A stop stays requested, so the next run needs a new one.
    """

    def __init__(self) -> None:
        self._claimed = False
        self.stopping = Stop()
        self.holders: dict[str, str] = {}  #: the holders of the pause, each with its end or its reason
        self.rate: float | None = None  #: requests per second; None: as the job says
        self.gauges: Gauges | None = None  #: once the run sends
        self._sender: Controllable | None = None

    def refuse_second_run(self) -> None:
        """Raises JobError if a run has begun with it already."""
        if self._claimed:
            raise JobError(
                "control: a run has begun with this Control already. Pass a new Control() to every run."
            )

    def claim(self) -> None:
        """Mark that a run begins with this control. Raises JobError if one has begun already."""
        self.refuse_second_run()
        self._claimed = True

    def attach(self, sender: Controllable, gauges: Gauges | None = None) -> None:
        """Pass every command to the sender from now on."""
        self._sender, self.gauges = sender, gauges
        for holder in self.holders:
            sender.pause(holder)
        if self.rate is not None:
            sender.set_rate(self.rate)

    @property
    def in_flight(self) -> InFlight:
        """The requests without a response yet."""
        return self.gauges.in_flight() if self.gauges else InFlight(0, None, 0.0)

    def stops_within(self) -> float | None:
        """Seconds after which no request is in flight any more, at the latest; None without a stop."""
        return self.in_flight.ends_within_seconds if self.stopping.requested else None

    @property
    def senders(self) -> Sequence[SenderState]:
        """The senders, those that were lost among them; empty if the run itself sends."""
        return self.gauges.senders() if self.gauges else ()

    def all_holders(self) -> dict[str, str]:
        """Every holder of the pause, with its end or its reason, the endpoint among them."""
        if self.gauges is None:
            return dict(self.holders)
        holders = dict(sorted(self.gauges.holders().items())) | self.holders
        if seconds := self.gauges.paused_for():
            holders["endpoint"] = f"it asked for a pause; {seconds:.0f} s are left"
        return holders

    def pause(self, holder: str = OPERATOR, why: str = "") -> None:
        """Pause the run; requests in flight end."""
        is_news = holder not in self.holders
        self.holders[holder] = why
        if is_news and self._sender is not None:
            self._sender.pause(holder)

    def resume(self, holder: str = OPERATOR) -> None:
        """Resume the run, unless another holder pauses it."""
        was_held = self.holders.pop(holder, None) is not None
        if was_held and self._sender is not None:
            self._sender.resume(holder)

    def set_rate(self, rate: float) -> None:
        """Set the requests per second, over all processes."""
        if not LEAST_RATE <= rate <= MOST_RATE:
            raise ValueError(f"give a number of requests per second from {LEAST_RATE:g} to {MOST_RATE:.0f}")
        if self._sender is not None:
            self._sender.set_rate(rate)
        self.rate = rate

    def stop(self, reason: str, exit_code: Exit = Exit.STOPPED) -> None:
        """Stop the run in good order: no request starts, those in flight end; it can be resumed."""
        self.stopping.request(exit_code, reason)
