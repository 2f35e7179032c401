"""What must hold before a try's first byte leaves: the layers inside of `tried`, the outermost first.

    paced(stoppable(remembered(recorded(intend))))

A try is paced, may still be held back, is safe to repeat, and is written down before it leaves. What need not
wait is no coroutine: one for each layer would cost a row more than its parsing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from engager.models import EngageRequest
from engager.policies.delivery import Delivery
from engager.sending.attempt import Effort
from engager.sending.clock import BootClock, running_clock
from engager.sending.delivery import may_go_on
from engager.sending.limits import Gate, Pacer, Slot, Stop
from engager.sending.transport.base import Held

#: Whether the try may leave: asked in the last moment, and answered at once.
Clear = Callable[[Effort], bool]
#: The same, after waiting for it where that is needed.
ClearInTime = Callable[[Effort], bool | Held | Awaitable[bool | Held]]
#: Writes down, for good, whatever was cleared by now.
Keep = Callable[[], None]
#: What is done when a disk has all that was written down; shared by many, and so not to be cancelled.
Hold = Callable[[], asyncio.Future[None]]


def recorded(intend: Callable[[EngageRequest], None], clock: BootClock) -> Clear:
    """Note the intent, as the last thing before the try may leave."""
    now = running_clock()

    def clear(effort: Effort) -> bool:
        effort.due = now()
        effort.request.history.note_departure(clock())
        intend(effort.request)
        return True

    return clear


def stoppable(stop: Stop, clear: Clear) -> Clear:
    """Hold the try back once the run is to end."""

    def clear_unless_stopped(effort: Effort) -> bool:
        return stop.exit is None and clear(effort)

    return clear_unless_stopped


def remembered(delivery: Delivery, clock: BootClock, clear: Clear) -> Clear:
    """Hold back a repeat that waited until the endpoint would not know it as one any more."""

    def clear_if_known(effort: Effort) -> bool:
        life = effort.request.history
        effort.expired = life.in_doubt and not may_go_on(delivery, life, clock())
        return not effort.expired and clear(effort)

    return clear_if_known


def paced(gate: Gate, pacer: Pacer, keep: Keep, hold: Hold | None, clear: Clear) -> ClearInTime:
    """Wait for the pace and for a pause to end; `hold` waits for a disk to have what was written down.

    Without `hold`, those that leave together are written down together, by `keep`.

    A slot that a pause overtook is gone, take another. A try that is asked about again, as its connection
    was gone, or that a slow disk held up, moves its slot on: it does not queue again, and nothing leaves in
    a bunch. If there is a pause or a stop by then, the try is cleared once more.
    """
    return _Paced(gate, pacer, keep, hold, clear).clear_in_time


class _Paced:
    """Where nobody has to wait for himself alone, a coroutine would cost every row for nothing."""

    def __init__(self, gate: Gate, pacer: Pacer, keep: Keep, hold: Hold | None, clear: Clear) -> None:
        self.gate, self.pacer, self.keep, self.hold, self.clear = gate, pacer, keep, hold, clear
        self.held = Held(None, self._kept)  #: who was cleared in this round, or since the last sync began
        self.departing = Held(None, self._departs)  #: who was given a slot, and leaves in this round
        self.slots: list[Slot] = []  #: theirs

    def clear_in_time(self, effort: Effort) -> bool | Held | Awaitable[bool | Held]:
        if self.gate.shut or not self.pacer.free:
            return self._clear_at_pace(effort)
        if not self.clear(effort):
            return False
        return self.held if self.hold is None else self._together(self.hold())

    def _kept(self) -> bool:
        self.keep()
        return True

    def _departs(self) -> bool:
        slots, self.slots = self.slots, []
        if self.hold is None:
            self.keep()
        self.pacer.departed(slots)
        return True

    def _together(self, stored: asyncio.Future[None]) -> Held:
        held = self.held
        if held.until is not stored:
            held = self.held = Held(stored, self._nobody_waits)
        return held

    def _nobody_waits(self) -> bool:
        """Stricter than what a probe needs: who is refused here asks again by itself."""
        return self.pacer.free and not self.gate.shut and not self.gate.stopped

    async def _clear_at_pace(self, effort: Effort) -> bool | Held:
        while not await self._is_let_through(effort):
            effort.slot = None
        if not self.clear(effort):
            return False
        return self._in_this_round(effort) if self.hold is None else await self._clear_once_held(effort)

    async def _is_let_through(self, effort: Effort) -> bool:
        """Wait for the gate, and then for a slot; a pause or a change of the pace can have come between."""
        gate, pacer = self.gate, self.pacer
        if gate.shut:
            effort.probing = await gate.passes(effort.probing)
        if not pacer.free:
            effort.slot = await pacer.passes(effort.slot, effort.probing)
            if effort.slot is None and not gate.stopped:
                return False
        return not gate.bars(effort.probing)

    def _in_this_round(self, effort: Effort) -> Held:
        if effort.slot is not None:
            self.slots.append(effort.slot)
        return self.departing

    async def _clear_once_held(self, effort: Effort) -> bool | Held:
        """The try may leave, but for the disk; and what has changed by then counts."""
        assert self.hold is not None  # noqa: S101 - or it would not be asked for
        await asyncio.shield(self.hold())
        gate, pacer = self.gate, self.pacer
        if not pacer.free:
            effort.slot = await pacer.passes(effort.slot, effort.probing)
        if gate.bars(effort.probing) or gate.stopped or (effort.slot is None and not pacer.free):
            effort.slot = None
            return await self._clear_at_pace(effort)
        return self._in_this_round(effort)
