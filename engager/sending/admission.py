"""What must hold before the first byte of an attempt leaves.

pause → rate limit → stop → deduplication window → intent → `SendBatch`

Every attempt is paced, may still be withheld, is safe to repeat, and is stored before it leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from engager.models import EngageRequest
from engager.policies.delivery import Delivery
from engager.sending.attempt import Attempt
from engager.sending.clock import BootClock, running_clock
from engager.sending.delivery import may_attempt
from engager.sending.limits import Limits, Slot
from engager.sending.transport.base import SendBatch

#: Stores the intents of the requests that leave now, and empties the list. Where each waits for a sync of the
#: disk, the future is done when the disk has them; many share it.
BeforeSend = Callable[[list[EngageRequest]], asyncio.Future[None] | None]


class AdmissionControl:
    """Admits the attempts of one process.

    A plain class instead of a coroutine per row: usually there is nothing to wait for.
    """

    def __init__(
        self, limits: Limits, delivery: Delivery, clock: BootClock, before_send: BeforeSend, synced: bool
    ) -> None:
        """`synced`: whether each attempt waits for a sync of the disk."""
        self._stop, self._gate, self._rate_limiter = limits.stop, limits.gate, limits.rate_limiter
        self._delivery, self._clock, self._now = delivery, clock, running_clock()
        self._before_send, self._synced = before_send, synced
        self._leaving: list[EngageRequest] = []  #: admitted, and not stored yet
        self._slots: list[Slot] = []  #: of the attempts that leave in this round of the loop
        self._round = SendBatch(None, self._leave)
        self._sync: SendBatch | None = None  #: the attempts that wait for the same sync

    def admit(self, attempt: Attempt) -> bool | SendBatch | Awaitable[bool | SendBatch]:
        """Admit an attempt whose connection is ready, at once or when it is due; False: withhold it."""
        if self._gate.shut or not self._rate_limiter.free:
            return self._admit_when_due(attempt)
        if not self._note_intent(attempt):
            return False
        return self._with_sync(self._stored()) if self._synced else self._round

    async def _admit_when_due(self, attempt: Attempt) -> bool | SendBatch:
        """Wait for the end of the pause, for a slot of the rate limit, and for the disk.

        An attempt that is asked about again, as there was no connection or the disk was slow, exchanges its
        slot: it does not queue again, and nothing leaves in a burst.
        """
        if attempt.slot is not None:
            # It has not left with that one.
            self._slots = [slot for slot in self._slots if slot is not attempt.slot]
        while True:
            if self._gate.shut:
                attempt.probing = await self._gate.wait(attempt.probing)
            await self._wait_for_slot(attempt)
            if self._is_overtaken(attempt):
                continue
            if not self._note_intent(attempt):
                return False
            if self._synced:
                await asyncio.shield(self._stored())
                await self._wait_for_slot(attempt)
                if self._stop.requested or self._is_overtaken(attempt):
                    continue
            if attempt.slot is not None:
                self._slots.append(attempt.slot)
            return self._round

    async def _wait_for_slot(self, attempt: Attempt) -> None:
        if not self._rate_limiter.free:
            attempt.slot = await self._rate_limiter.wait(attempt.slot, attempt.probing)

    def _is_overtaken(self, attempt: Attempt) -> bool:
        """Whether a pause or a change of the rate came while the attempt waited: its slot is void."""
        without_slot = attempt.slot is None and not self._rate_limiter.free and not self._stop.requested
        if without_slot or self._gate.blocks(attempt.probing):
            attempt.slot = None
            return True
        return False

    def _note_intent(self, attempt: Attempt) -> bool:
        """Note what is stored before the attempt leaves, unless it must not leave any more."""
        history = attempt.request.history
        if self._stop.exit is not None:
            return False
        # The attempt may have waited until the endpoint would not recognize it as a repeat.
        attempt.expired = history.in_doubt and not may_attempt(self._delivery, history, self._clock())
        if attempt.expired:
            return False
        attempt.admitted(self._now(), self._clock())
        self._leaving.append(attempt.request)
        return True

    def _leave(self) -> bool:
        """Store the attempts of this round right before they leave, and count their departures."""
        slots, self._slots = self._slots, []
        if not self._synced:
            self._before_send(self._leaving)
        if slots:
            self._rate_limiter.departed(slots)
        return True

    def _stored(self) -> asyncio.Future[None]:
        stored = self._before_send(self._leaving)
        assert stored is not None  # noqa: S101 - see `synced`
        return stored

    def _with_sync(self, stored: asyncio.Future[None]) -> SendBatch:
        if self._sync is None or self._sync.stored is not stored:
            self._sync = SendBatch(stored, self._is_still_free)
        return self._sync

    def _is_still_free(self) -> bool:
        """Whether the attempts may leave after their sync; if not, each asks for admission again.

        Stricter than a probe needs: it asks again as well.
        """
        return self._rate_limiter.free and not self._gate.shut and not self._stop.requested
