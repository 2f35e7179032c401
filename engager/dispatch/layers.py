"""The layers around a try. Each wraps the call within; the page composes them into one expression:

    retried(tried(transport.send, paced(stoppable(remembered(recorded(intend)))), obeying))

Every try is paced, may still be held back, is safe to repeat, and is written down before it leaves. What
need not wait is no coroutine: one for each layer would cost a row more than its parsing.
Layers are composed inside the running loop, whose clock they read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_result

from engager.dispatch.clock import running_clock
from engager.dispatch.delivery import (
    EXPIRED,
    STOPPED,
    Step,
    decide,
    doubt_before,
    doubtful,
    give_up,
    may_go_on,
)
from engager.dispatch.limits import Gate, Pacer, RetryBudget, Stop, pause_seconds
from engager.dispatch.transport import Clearance, Held
from engager.dispatch.verdict import Meaning, Verdict, judge, why_refused
from engager.errors import Exit
from engager.model import Ending, EngageRequest, Outcome, Status, Withheld
from engager.policy import Delivery, Retry

#: So many errors that only a gateway can have written, before the endpoint was ever heard of, and the
#: address is wrong: going on would reject a million people for a slip in a URL.
STRANGERS: Final = 20

# To ask an enumeration for a member takes a call, and these are asked for with every row.
_TAKEN: Final = Meaning.TAKEN
_WITHHELD: Final = Meaning.WITHHELD
_REFUSES_ALL: Final = Meaning.REFUSES_ALL
_AGAIN: Final = Step.AGAIN
_ENGAGED: Final = Status.ENGAGED


@dataclass(slots=True, init=False)
class Effort:
    """One request and all that happens to it until it is settled."""

    request: EngageRequest
    taken_up: float  #: loop time
    request_id: str
    due: float | None  #: loop time at which the present try was let through
    slot: float | None  #: loop time of the slot that it was given by the pace
    probing: bool  #: it was let through to see whether the endpoint is up again
    expired: bool  #: it was held back, as the endpoint would not know it as a repeat
    doubt: Verdict | None  #: what made the row doubtful, while it is
    over: float  #: loop time at which the last try came to its end, or at first the row was taken up
    latency: float | None  #: seconds, of the last try
    in_flight: float  #: seconds, of all tries

    def __init__(self, request: EngageRequest, taken_up: float) -> None:
        self.request, self.request_id = request, request.request_id
        self.taken_up = self.over = taken_up
        self.due = self.slot = self.latency = None
        self.doubt = None
        self.probing = self.expired = False
        self.in_flight = 0.0

    def ended(self) -> None:
        """The present try is over, whether or not it had left."""
        self.request.life.attempts += 1
        if self.due is not None:
            self.latency = self.over - self.due
            self.in_flight += self.latency
        else:
            self.latency = None

    def heed_doubt(self, verdict: Verdict) -> None:
        """Remember which verdict made the row doubtful, until it is not any more."""
        if not self.request.life.in_doubt:
            self.doubt = None
        elif self.doubt is None:
            self.doubt = verdict


Send = Callable[[tuple[bytes, ...], str, Clearance], Awaitable[Ending]]
#: Whether the try may leave: asked in the last moment, and answered at once.
Clear = Callable[[Effort], bool]
#: The same, after waiting for it where that is needed.
ClearInTime = Callable[[Effort], bool | Held | Awaitable[bool]]
#: What is done when a disk has all that was written down; shared by many, and so not to be cancelled.
Hold = Callable[[], asyncio.Future[None]]
#: Told of every verdict, for what it means to everybody.
Heed = Callable[[Verdict], None]
Attempt = Callable[[Effort], Awaitable[Verdict]]
#: Seconds that neither jump nor stand still while the machine sleeps.
Clock = Callable[[], float]
#: Derives a further Request-ID from the first one and a count.
FreshId = Callable[[str, int], str]


def recorded(intend: Callable[[EngageRequest], None], clock: Clock) -> Clear:
    """Write the intent down, as the last thing before the first byte leaves."""
    now = running_clock()

    def clear(effort: Effort) -> bool:
        effort.due = now()
        effort.request.life.leaves(clock())
        intend(effort.request)
        return True

    return clear


def stoppable(stop: Stop, clear: Clear) -> Clear:
    """Hold the try back once the run is to end."""

    def clear_unless_stopped(effort: Effort) -> bool:
        return stop.exit is None and clear(effort)

    return clear_unless_stopped


def remembered(delivery: Delivery, clock: Clock, clear: Clear) -> Clear:
    """Hold back a repeat that waited until the endpoint would not know it as one any more."""

    def clear_if_known(effort: Effort) -> bool:
        life = effort.request.life
        effort.expired = life.in_doubt and not may_go_on(delivery, life, clock())
        return not effort.expired and clear(effort)

    return clear_if_known


def paced(gate: Gate, pacer: Pacer, hold: Hold | None, clear: Clear) -> ClearInTime:
    """Wait for the pace and for a pause to end; `hold` waits for a disk to have what was written down.

    A slot that a pause overtook is gone, take another. A try that is asked about again, as its connection
    was gone, or that a slow disk held up, moves its slot on: it does not queue again, and nothing leaves in
    a bunch. If there is a pause or a stop by then, the try is cleared once more.
    """
    return _Paced(gate, pacer, hold, clear).clear_in_time


@dataclass(slots=True)
class _Paced:
    """Where nobody has to wait for himself alone, a coroutine would cost every row for nothing."""

    gate: Gate
    pacer: Pacer
    hold: Hold | None
    clear: Clear
    held: Held | None = None  #: who was cleared since the last sync began

    def clear_in_time(self, effort: Effort) -> bool | Held | Awaitable[bool]:
        if self.gate.shut or not self.pacer.free:
            return self._clear_at_pace(effort)
        if not self.clear(effort):
            return False
        return True if self.hold is None else self._together(self.hold())

    def _together(self, stored: asyncio.Future[None]) -> Held:
        held = self.held
        if held is None or held.until is not stored:
            held = self.held = Held(stored, self._nobody_waits)
        return held

    def _nobody_waits(self) -> bool:
        return self.pacer.free and not self.gate.shut and not self.gate.stopped

    async def _clear_at_pace(self, effort: Effort) -> bool:
        gate, pacer = self.gate, self.pacer
        while gate.shut or not pacer.free:
            effort.probing = await gate.passes(effort.probing)
            if pacer.free:
                if effort.probing:
                    break
                continue
            effort.slot = await pacer.passes(effort.slot, effort.probing)
            if not gate.bars(effort.probing):
                break
            effort.slot = None
        if not self.clear(effort):
            return False
        return self.hold is None or await self._clear_once_held(effort, self.hold())

    async def _clear_once_held(self, effort: Effort, stored: asyncio.Future[None]) -> bool:
        """The try may leave, but for the disk; and what has changed by then counts."""
        await asyncio.shield(stored)
        if not self.pacer.free:
            effort.slot = await self.pacer.passes(effort.slot, effort.probing)
        if not self.gate.bars(effort.probing) and not self.gate.stopped:
            return True
        effort.slot = None
        return await self._clear_at_pace(effort)


def tried(send: Send, clear: ClearInTime, heed: Heed) -> Attempt:
    """Carry out one try and judge its ending."""
    now = running_clock()
    heard: Ending = Withheld()
    judged = judge(heard)

    async def attempt(effort: Effort) -> Verdict:
        nonlocal heard, judged
        effort.due = effort.slot = None
        ending = await send(effort.request.body, effort.request_id, partial(clear, effort))
        if ending is not heard:  # what an endpoint repeats, a transport gives out as the same object
            heard, judged = ending, judge(ending)
        verdict = judged
        effort.over = now()
        if verdict.meaning is not _WITHHELD:
            effort.ended()
            heed(verdict)
        return EXPIRED if effort.expired else verdict

    return attempt


def obeying(gate: Gate, stop: Stop, retry: Retry) -> Heed:
    """Do for everybody what an answer asks: pause the run, or end it."""
    strangers: int | None = 0  # errors by somebody else than the endpoint, as long as it was never heard of

    def heed(verdict: Verdict) -> None:
        nonlocal strangers
        if strangers is not None:
            strangers = None if verdict.by_endpoint else strangers + (verdict.meaning is Meaning.REJECTED)
            if strangers is not None and strangers >= STRANGERS:
                told = f"nothing at this address speaks for the endpoint: {verdict.error_text}"
                stop.request(Exit.STOPPED, told)
        if verdict.meaning is _REFUSES_ALL and not (verdict.duplicate and verdict.by_endpoint):
            stop.request(Exit.STOPPED, f"no row can succeed: {why_refused(verdict)}")
        elif verdict.retry_after is not None:
            _pause(gate, stop, retry, verdict.retry_after)

    return heed


def _pause(gate: Gate, stop: Stop, retry: Retry, retry_after: str) -> None:
    seconds = pause_seconds(retry_after, time.time())
    if seconds is None:
        return
    if seconds > retry.longest_pause:
        asked = f"the endpoint asks for a pause of {seconds:.0f} s, longer than retry.longest_pause"
        stop.request(Exit.STOPPED, asked)
    gate.close(seconds)


Engage = Callable[[EngageRequest], Awaitable[Outcome | None]]


def retried(
    attempt: Attempt,
    retry: Retry,
    delivery: Delivery,
    budget: RetryBudget,
    stop: Stop,
    fresh_id: FreshId,
    answered: Callable[[EngageRequest], None],
    clock: Clock,
) -> Engage:
    """Try until the row is settled; None when it is left for the next time."""
    return _Retried(attempt, retry, delivery, budget, stop, fresh_id, answered, clock).engage


@dataclass(frozen=True, slots=True)
class _Retried:
    """The first try is a plain call: only the failure path pays for the machinery of retries."""

    attempt: Attempt
    retry: Retry
    delivery: Delivery
    budget: RetryBudget
    stop: Stop
    fresh_id: FreshId
    answered: Callable[[EngageRequest], None]
    clock: Clock
    now: Clock = field(default_factory=running_clock)

    async def engage(self, request: EngageRequest) -> Outcome | None:
        effort = Effort(request, self.now())
        if request.life.in_doubt:
            effort.doubt = doubt_before(request.life)
            if not may_go_on(self.delivery, request.life, self.clock()):
                return _outcome(effort, Status.IN_DOUBT, effort.doubt)
        if request.life.generation:
            self._renew(effort)
        verdict, step = self._step_of(effort, await self.attempt(effort))
        if step is _AGAIN:
            verdict, step = await self._again(effort, verdict)
        if isinstance(step, Step):
            return None
        if step is _ENGAGED:
            self.budget.earn()
        elif step is Status.IN_DOUBT:
            verdict = doubtful(effort.doubt, verdict)
        return _outcome(effort, step, verdict)

    def _renew(self, effort: Effort) -> None:
        """Give the effort the row's present Request-ID, which is not its first."""
        request = effort.request
        effort.request_id = self.fresh_id(request.request_id, request.life.generation)

    def _step_of(self, effort: Effort, verdict: Verdict) -> tuple[Verdict, Status | Step]:
        now = 0.0 if verdict.meaning is _TAKEN else self.clock()  # what was taken, was: whenever it is
        step = decide(self.delivery, effort.request.life, verdict, now)
        if isinstance(step, Step):
            effort.heed_doubt(verdict)
            if effort.request.life.generation:
                self._renew(effort)
            self.answered(effort.request)
        return verdict, step

    async def _again(self, effort: Effort, verdict: Verdict) -> tuple[Verdict, Status | Step]:
        known = [(verdict, Step.AGAIN)]

        async def next_step() -> tuple[Verdict, Status | Step]:
            if known:
                return known.pop()
            # After a stop no row may use up the tries that it has.
            stopped = self.stop.requested
            return self._step_of(effort, STOPPED if stopped else await self.attempt(effort))

        # One object a row: tenacity keeps the state of its tries in it.
        trying = AsyncRetrying(
            retry=retry_if_result(lambda result: result[1] is Step.AGAIN),
            stop=self.retry.stop,
            wait=self._waiting,
            sleep=self.stop.sleep,
            retry_error_callback=lambda state: _exhausted(state, effort),
        )
        return await trying(next_step)

    def _waiting(self, state: RetryCallState) -> float:
        """The backoff, and behind it the wait for the retry budget."""
        return self.retry.wait(state) + self.budget.spend(self.now())


def _exhausted(state: RetryCallState, effort: Effort) -> tuple[Verdict, Status | Step]:
    assert state.outcome is not None  # noqa: S101 - tenacity calls this with the last result only
    verdict, _ = state.outcome.result()
    return verdict, give_up(effort.request.life)


def _outcome(effort: Effort, status: Status, verdict: Verdict) -> Outcome:
    engaged = status is _ENGAGED
    elapsed = effort.over - effort.taken_up
    return Outcome(
        effort.request.row,
        effort.request.key,
        status,
        effort.request.life.attempts,
        verdict.http_status,
        0 if engaged else verdict.error,
        verdict.error_text,
        effort.request_id,
        verdict.duplicate,
        None if effort.latency is None else effort.latency * 1000,
        (elapsed - effort.in_flight) * 1000,
    )
