"""THE PAGE: rows → requests → sending (admission, attempt, retry) → outcomes → store.

Invariant: memory is bounded by a fixed number of workers, a stream of two chunks, and one buffer of outcomes.
A stop closes in this order: the reader ends, the requests in flight end, the store ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence

import anyio
from anyio.lowlevel import checkpoint
from anyio.streams.memory import MemoryObjectSendStream

from engager.errors import Exit, InputError
from engager.models import EngageRequest, Invalid, Outcome, Row, Skipped, Unreadable
from engager.run.plan import Plan
from engager.run.work_queue import Work, WorkQueue
from engager.sending.adaptive import with_adaptive_limit
from engager.sending.admission import AdmissionControl
from engager.sending.limits import Limits, RetryBudget
from engager.sending.retry import Engage, FreshId, with_retry
from engager.sending.sender import Send, Sender
from engager.sending.stop import Stop
from engager.store.store import ResultStore

#: Rows, or the requests or outcomes that they have become.
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
    """The order of policies: retry, adaptive limit, slow start, circuit breaker, connection, admission."""
    admission = AdmissionControl(limits, plan.delivery, store.clock, store.before_send, store.is_synced)
    sender = Sender(
        send,
        admission.admit,
        limits,
        plan.retry,
        breaker=plan.breaker,
        slow_start=plan.slow_start,
        clean=plan.clean_text,
    )

    def due_again(request: EngageRequest) -> None:
        store.after((), due=(request,))

    return with_retry(
        with_adaptive_limit(plan.adaptive, limits.rate_limiter, sender.attempt_once),
        plan.retry,
        plan.delivery,
        RetryBudget(plan.retry.budget_rate, plan.retry.budget_reserve),
        limits.stop,
        fresh_id,
        due_again,
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
    """Build requests from the rows that are not settled, a chunk at a time and off the event loop."""

    def next_chunk() -> list[Work] | None:
        chunk = next(chunks, None)
        if chunk is None:
            return None
        history = store.history(chunk)
        return history.applied([build(row) if isinstance(row, Row) else row for row in history.due])

    async with begin:
        try:
            with stop.cancels():  # an input that blocks must not delay a stop
                while (work := await off_loop(next_chunk)) is not None:
                    queue.rows += len(work)
                    # Rows that were settled before need no worker.
                    await (begin.send(work) if work else checkpoint())
                queue.read_to_end = True
        except InputError as fault:
            stop.request(Exit.STOPPED, str(fault))


async def _work(queue: WorkQueue, engage: Engage, store: ResultStore, stop: Stop) -> None:
    """Settle one row after another."""
    while not stop.requested and (work := queue.get_nowait() or await queue.get()) is not None:
        outcome: Outcome | None
        if isinstance(work, EngageRequest):
            outcome = await engage(work)
        else:
            outcome = work if isinstance(work, Outcome) else Outcome.unsent(work)
        if outcome is not None and (writing := store.after((outcome,))) is not None:
            await writing
