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
from engager.sending.delivery import may_attempt
from engager.sending.limits import PauseGate, RateLimiter, Slot, Stop
from engager.sending.transport.base import SendBatch

#: Whether the try may leave: asked in the last moment, and answered at once.
Admit = Callable[[Effort], bool]
#: The same, after waiting for it where that is needed.
AdmitWhenDue = Callable[[Effort], bool | SendBatch | Awaitable[bool | SendBatch]]
#: Writes down, for good, whatever was cleared by now.
Flush = Callable[[], None]
#: What is done when a disk has all that was written down; shared by many, and so not to be cancelled.
Sync = Callable[[], asyncio.Future[None]]


def with_intent_log(intend: Callable[[EngageRequest], None], clock: BootClock) -> Admit:
    """Note the intent, as the last thing before the try may leave."""
    now = running_clock()

    def admit_and_log(effort: Effort) -> bool:
        effort.due = now()
        effort.request.history.note_departure(clock())
        intend(effort.request)
        return True

    return admit_and_log


def with_stop(stop: Stop, admit: Admit) -> Admit:
    """Hold the try back once the run is to end."""

    def admit_unless_stopped(effort: Effort) -> bool:
        return stop.exit is None and admit(effort)

    return admit_unless_stopped


def with_dedupe_window(delivery: Delivery, clock: BootClock, admit: Admit) -> Admit:
    """Hold back a repeat that waited until the endpoint would not know it as one any more."""

    def admit_if_known(effort: Effort) -> bool:
        life = effort.request.history
        effort.expired = life.in_doubt and not may_attempt(delivery, life, clock())
        return not effort.expired and admit(effort)

    return admit_if_known


def with_rate_limit(
    gate: PauseGate, rate_limiter: RateLimiter, flush: Flush, sync: Sync | None, admit: Admit
) -> AdmitWhenDue:
    """Wait for the pace and for a pause to end; `hold` waits for a disk to have what was written down.

    Without `hold`, those that leave together are written down together, by `keep`.

    A slot that a pause overtook is gone, take another. A try that is asked about again, as its connection
    was gone, or that a slow disk held up, moves its slot on: it does not queue again, and nothing leaves in
    a bunch. If there is a pause or a stop by then, the try is cleared once more.
    """
    return _RateLimited(gate, rate_limiter, flush, sync, admit).admit_when_due


class _RateLimited:
    """Where nobody has to wait for himself alone, a coroutine would cost every row for nothing."""

    def __init__(
        self, gate: PauseGate, rate_limiter: RateLimiter, flush: Flush, sync: Sync | None, admit: Admit
    ) -> None:
        self.gate, self.rate_limiter, self.flush, self.sync, self.admit = (
            gate,
            rate_limiter,
            flush,
            sync,
            admit,
        )
        self.batch = SendBatch(
            None, self._flush
        )  #: who was cleared in this round, or since the last sync began
        self.departing = SendBatch(None, self._departs)  #: who was given a slot, and leaves in this round
        self.slots: list[Slot] = []  #: theirs

    def admit_when_due(self, effort: Effort) -> bool | SendBatch | Awaitable[bool | SendBatch]:
        if self.gate.shut or not self.rate_limiter.free:
            return self._admit_at_rate(effort)
        if not self.admit(effort):
            return False
        return self.batch if self.sync is None else self._together(self.sync())

    def _flush(self) -> bool:
        self.flush()
        return True

    def _departs(self) -> bool:
        slots, self.slots = self.slots, []
        if self.sync is None:
            self.flush()
        self.rate_limiter.departed(slots)
        return True

    def _together(self, stored: asyncio.Future[None]) -> SendBatch:
        held = self.batch
        if held.stored is not stored:
            held = self.batch = SendBatch(stored, self._still_admitted)
        return held

    def _still_admitted(self) -> bool:
        """Stricter than what a probe needs: who is refused here asks again by itself."""
        return self.rate_limiter.free and not self.gate.shut and not self.gate.stopped

    async def _admit_at_rate(self, effort: Effort) -> bool | SendBatch:
        while not await self._is_let_through(effort):
            effort.slot = None
        if not self.admit(effort):
            return False
        return self._in_this_round(effort) if self.sync is None else await self._admit_once_synced(effort)

    async def _is_let_through(self, effort: Effort) -> bool:
        """Wait for the gate, and then for a slot; a pause or a change of the pace can have come between."""
        gate, pacer = self.gate, self.rate_limiter
        if gate.shut:
            effort.probing = await gate.wait(effort.probing)
        if not pacer.free:
            effort.slot = await pacer.wait(effort.slot, effort.probing)
            if effort.slot is None and not gate.stopped:
                return False
        return not gate.blocks(effort.probing)

    def _in_this_round(self, effort: Effort) -> SendBatch:
        if effort.slot is not None:
            self.slots.append(effort.slot)
        return self.departing

    async def _admit_once_synced(self, effort: Effort) -> bool | SendBatch:
        """The try may leave, but for the disk; and what has changed by then counts."""
        assert self.sync is not None  # noqa: S101 - or it would not be asked for
        await asyncio.shield(self.sync())
        gate, pacer = self.gate, self.rate_limiter
        if not pacer.free:
            effort.slot = await pacer.wait(effort.slot, effort.probing)
        if gate.blocks(effort.probing) or gate.stopped or (effort.slot is None and not pacer.free):
            effort.slot = None
            return await self._admit_at_rate(effort)
        return self._in_this_round(effort)
