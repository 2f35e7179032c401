"""THE PAGE: rows → requests → dispatch (pace, send, retry) → outcomes → results.

Everything is bounded by construction: a fixed crew, a stream of two chunks, one buffer of outcomes.
Stopping is closing: the reader ends, what is in flight ends, the store ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

import anyio
from anyio.lowlevel import checkpoint
from anyio.streams.memory import MemoryObjectSendStream

from engager.errors import Exit, InputError
from engager.models import EngageRequest, Invalid, Outcome, Row, Skipped, Unreadable
from engager.run.plan import Plan
from engager.run.work_queue import Work, WorkQueue
from engager.sending.adaptive import with_adaptive_limit
from engager.sending.admission import with_dedupe_window, with_intent_log, with_rate_limit, with_stop
from engager.sending.circuit_breaker import with_circuit_breaker
from engager.sending.layers import Engage, FreshId, Send, single_attempt, verdict_handler, with_retry
from engager.sending.limits import Limits, RetryBudget, Stop
from engager.store.store import ResultStore

#: Rows, or what became of them already.
Chunks = Iterator[Sequence[Row | EngageRequest | Invalid | Skipped | Unreadable]]
Build = Callable[[Row], EngageRequest | Invalid | Skipped]
OffLoop = Callable[[Callable[[], list[Work] | None]], Awaitable[list[Work] | None]]


async def carry_out(
    plan: Plan,
    chunks: Chunks,
    build: Build,
    send: Send,
    fresh_id: FreshId,
    store: ResultStore,
    limits: Limits,
    off_loop: OffLoop,
) -> bool:
    """Engage every row, until the rows end or the run is stopped; returns whether no row is left."""
    engage, stop = _with_policies(plan, send, fresh_id, store, limits), limits.stop
    begin, end = anyio.create_memory_object_stream[list[Work]](2)
    queue = WorkQueue(end)
    with end:
        async with anyio.create_task_group() as upkeep:
            upkeep.start_soon(store.keep_fresh)
            async with anyio.create_task_group() as workers:
                workers.start_soon(_read, chunks, build, store, begin, queue, stop, off_loop)
                for _ in range(plan.concurrency):
                    workers.start_soon(_work, queue, engage, store, stop)
            upkeep.cancel_scope.cancel()
    return queue.read_to_end and store.settled == queue.rows


def _with_policies(plan: Plan, send: Send, fresh_id: FreshId, store: ResultStore, limits: Limits) -> Engage:
    """The order of policies, one expression: every try is paced, may be held back, and is written down."""
    stop, gate, rate_limiter = limits.stop, limits.gate, limits.rate_limiter
    leaving: list[EngageRequest] = []  #: cleared, and stored right before their bytes leave
    safe = with_dedupe_window(plan.delivery, store.clock, with_intent_log(leaving.append, store.clock))
    hold = None if store.hold is None else partial(store.hold, leaving)
    clear = with_rate_limit(
        gate, rate_limiter, partial(store.before_send, leaving), hold, with_stop(stop, safe)
    )
    attempt = single_attempt(send, clear, verdict_handler(gate, stop, plan.retry))
    return with_retry(
        with_adaptive_limit(
            plan.adaptive,
            rate_limiter,
            with_circuit_breaker(plan.breaker, gate, stop, attempt, plan.slow_start),
        ),
        plan.retry,
        plan.delivery,
        RetryBudget(plan.retry.budget_rate, plan.retry.budget_reserve),
        stop,
        fresh_id,
        store.attempt_ended,
        store.clock,
    )


async def _read(
    chunks: Chunks,
    build: Build,
    store: ResultStore,
    begin: MemoryObjectSendStream[list[Work]],
    queue: WorkQueue,
    stop: Stop,
    off_loop: OffLoop,
) -> None:
    """Rows that are not settled yet to requests, a chunk at a time and off the event loop."""

    def next_chunk() -> list[Work] | None:
        chunk = next(chunks, None)
        if chunk is None:
            return None
        due = store.history(chunk)
        return store.recalled([build(row) if isinstance(row, Row) else row for row in due])

    async with begin:
        try:
            with stop.cancels():  # an input that stands still must not hold up a stop
                while (work := await off_loop(next_chunk)) is not None:
                    queue.rows += len(work)
                    # Of rows that were settled long ago the crew need not hear.
                    await (begin.send(work) if work else checkpoint())
                queue.read_to_end = True
        except InputError as fault:
            stop.request(Exit.STOPPED, str(fault))


async def _work(queue: WorkQueue, engage: Engage, store: ResultStore, stop: Stop) -> None:
    """One of the crew: one row after the other."""
    while not stop.requested and (work := queue.get_nowait() or await queue.get()) is not None:
        writing = None
        if isinstance(work, Outcome):
            writing = store.restore(work)
        elif not isinstance(work, EngageRequest):
            writing = store.after(Outcome.unsent(work))
        elif (outcome := await engage(work)) is not None:
            writing = store.after(outcome, work.history)
        if writing is not None:
            await writing
