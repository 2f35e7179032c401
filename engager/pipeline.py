"""THE PAGE: rows → requests → dispatch (pace, send, retry) → outcomes → results.

Everything is bounded by construction: a fixed crew, a stream of two chunks, one buffer of outcomes.
Stopping is closing: the reader ends, what is in flight ends, the recorder ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence

import anyio
from anyio.lowlevel import checkpoint
from anyio.streams.memory import MemoryObjectSendStream

from engager.dispatch.adaptive import adapted
from engager.dispatch.clearing import paced, recorded, remembered, stoppable
from engager.dispatch.guard import guarded
from engager.dispatch.layers import Engage, FreshId, Send, obeying, retried, tried
from engager.dispatch.limits import Limits, RetryBudget, Stop
from engager.errors import Exit, InputError
from engager.feed import Feed, Work
from engager.ledger.recorder import Recorder
from engager.model import EngageRequest, Invalid, Outcome, Row, Skipped, Unreadable
from engager.plan import Plan

#: Rows, or what became of them already.
Chunks = Iterator[Sequence[Row | EngageRequest | Invalid | Skipped | Unreadable]]
Build = Callable[[Row], EngageRequest | Invalid]
OffLoop = Callable[[Callable[[], list[Work] | None]], Awaitable[list[Work] | None]]


async def carry_out(
    plan: Plan,
    chunks: Chunks,
    build: Build,
    send: Send,
    fresh_id: FreshId,
    recorder: Recorder,
    limits: Limits,
    off_loop: OffLoop,
) -> bool:
    """Engage every row, until the rows end or the run is stopped; returns whether no row is left."""
    engage, stop = _engage(plan, send, fresh_id, recorder, limits), limits.stop
    begin, end = anyio.create_memory_object_stream[list[Work]](2)
    feed = Feed(end)
    with end:
        async with anyio.create_task_group() as upkeep:
            upkeep.start_soon(recorder.keep_fresh)
            async with anyio.create_task_group() as crew:
                crew.start_soon(_read, chunks, build, recorder, begin, feed, stop, off_loop)
                for _ in range(plan.concurrency):
                    crew.start_soon(_work, feed, engage, recorder, stop)
            upkeep.cancel_scope.cancel()
    return feed.whole and recorder.settled == feed.rows


def _engage(plan: Plan, send: Send, fresh_id: FreshId, recorder: Recorder, limits: Limits) -> Engage:
    """The order of policies, one expression: every try is paced, may be held back, and is written down."""
    stop, gate, pacer = limits.stop, limits.gate, limits.pacer
    safe = remembered(plan.delivery, recorder.clock, recorded(recorder.intend, recorder.clock))
    clear = paced(gate, pacer, recorder.keep, recorder.hold, stoppable(stop, safe))
    attempt = tried(send, clear, obeying(gate, stop, plan.retry))
    return retried(
        adapted(plan.adaptive, pacer, guarded(plan.breaker, gate, stop, attempt, plan.slow_start)),
        plan.retry,
        plan.delivery,
        RetryBudget(plan.retry.budget_rate, plan.retry.budget_reserve),
        stop,
        fresh_id,
        recorder.answered,
        recorder.clock,
    )


async def _read(
    chunks: Chunks,
    build: Build,
    recorder: Recorder,
    begin: MemoryObjectSendStream[list[Work]],
    feed: Feed,
    stop: Stop,
    off_loop: OffLoop,
) -> None:
    """Rows that are not settled yet to requests, a chunk at a time and off the event loop."""

    def next_chunk() -> list[Work] | None:
        chunk = next(chunks, None)
        if chunk is None:
            return None
        due = recorder.due(chunk)
        return recorder.recalled([build(row) if isinstance(row, Row) else row for row in due])

    async with begin:
        try:
            with stop.cuts_short():  # an input that stands still must not hold up a stop
                while (work := await off_loop(next_chunk)) is not None:
                    feed.rows += len(work)
                    # Of rows that were settled long ago the crew need not hear.
                    await (begin.send(work) if work else checkpoint())
                feed.whole = True
        except InputError as fault:
            stop.request(Exit.STOPPED, str(fault))


async def _work(feed: Feed, engage: Engage, recorder: Recorder, stop: Stop) -> None:
    """One of the crew: one row after the other."""
    while not stop.requested and (work := feed.ready() or await feed.next()) is not None:
        if isinstance(work, Outcome):
            await recorder.restore(work)
            continue
        writing = None
        if not isinstance(work, EngageRequest):
            writing = recorder.record(Outcome.unsent(work))
        elif (outcome := await engage(work)) is not None:
            writing = recorder.record(outcome, work.life.generation)
        if writing is not None:
            await writing
