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
from engager.sending.attempt import Attempt
from engager.sending.clock import BootClock, running_clock
from engager.sending.delivery import may_attempt
from engager.sending.limits import PauseGate, RateLimiter, Slot, Stop
from engager.sending.transport.base import SendBatch

#: Whether the try may leave: asked in the last moment, and answered at once.
Admit = Callable[[Attempt], bool]
#: The same, after waiting for it where that is needed.
AdmitWhenDue = Callable[[Attempt], bool | SendBatch | Awaitable[bool | SendBatch]]
#: Writes down, for good, whatever was cleared by now.
Flush = Callable[[], None]
#: What is done when a disk has all that was written down; shared by many, and so not to be cancelled.
Sync = Callable[[], asyncio.Future[None]]


def with_intent_log(intend: Callable[[EngageRequest], None], clock: BootClock) -> Admit:
    """Note the intent, as the last thing before the try may leave."""
    now = running_clock()

    def admit_and_log(attempt: Attempt) -> bool:
        attempt.due = now()
        attempt.request.history.note_departure(clock())
        intend(attempt.request)
        return True

    return admit_and_log


def with_stop(stop: Stop, admit: Admit) -> Admit:
    """Hold the try back once the run is to end."""

    def admit_unless_stopped(attempt: Attempt) -> bool:
        return stop.exit is None and admit(attempt)

    return admit_unless_stopped


def with_dedupe_window(delivery: Delivery, clock: BootClock, admit: Admit) -> Admit:
    """Hold back a repeat that waited until the endpoint would not know it as one any more."""

    def admit_if_known(attempt: Attempt) -> bool:
        history = attempt.request.history
        attempt.expired = history.in_doubt and not may_attempt(delivery, history, clock())
        return not attempt.expired and admit(attempt)

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

    def admit_when_due(self, attempt: Attempt) -> bool | SendBatch | Awaitable[bool | SendBatch]:
        if self.gate.shut or not self.rate_limiter.free:
            return self._admit_at_rate(attempt)
        if not self.admit(attempt):
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

    async def _admit_at_rate(self, attempt: Attempt) -> bool | SendBatch:
        while not await self._is_let_through(attempt):
            attempt.slot = None
        if not self.admit(attempt):
            return False
        return self._in_this_round(attempt) if self.sync is None else await self._admit_once_synced(attempt)

    async def _is_let_through(self, attempt: Attempt) -> bool:
        """Wait for the gate, and then for a slot; a pause or a change of the pace can have come between."""
        gate, rate_limiter = self.gate, self.rate_limiter
        if gate.shut:
            attempt.probing = await gate.wait(attempt.probing)
        if not rate_limiter.free:
            attempt.slot = await rate_limiter.wait(attempt.slot, attempt.probing)
            if attempt.slot is None and not gate.stopped:
                return False
        return not gate.blocks(attempt.probing)

    def _in_this_round(self, attempt: Attempt) -> SendBatch:
        if attempt.slot is not None:
            self.slots.append(attempt.slot)
        return self.departing

    async def _admit_once_synced(self, attempt: Attempt) -> bool | SendBatch:
        """The try may leave, but for the disk; and what has changed by then counts."""
        assert self.sync is not None  # noqa: S101 - or it would not be asked for
        await asyncio.shield(self.sync())
        gate, rate_limiter = self.gate, self.rate_limiter
        if not rate_limiter.free:
            attempt.slot = await rate_limiter.wait(attempt.slot, attempt.probing)
        if gate.blocks(attempt.probing) or gate.stopped or (attempt.slot is None and not rate_limiter.free):
            attempt.slot = None
            return await self._admit_at_rate(attempt)
        return self._in_this_round(attempt)
