"""THE PAGE: rows → requests → sending (admission, attempt, retry) → outcomes → store.

Invariant: memory is bounded by a fixed number of workers, a stream of two chunks, and one buffer of outcomes.
A stop closes in this order: the reader ends, the requests in flight end, the store ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any

import anyio
from anyio.lowlevel import checkpoint
from anyio.streams.memory import MemoryObjectSendStream

from engager.errors import Exit, InputError
from engager.models import EngageRequest, Invalid, Outcome, Row, Skipped, Unreadable, Withdrawn
from engager.requests.packing import Packer, Unsent
from engager.requests.packing import Work as Packed
from engager.run.plan import Plan
from engager.run.work_queue import Work, WorkQueue
from engager.sending.adaptive import with_adaptive_limit
from engager.sending.admission import AdmissionControl
from engager.sending.batches import BatchSplitter, Part, Settled
from engager.sending.limits import Limits, RetryBudget
from engager.sending.retry import FreshId, with_retry
from engager.sending.sender import Send, Sender
from engager.sending.stop import Stop
from engager.store.store import ResultStore

#: Rows, or the requests or outcomes that they have become.
Chunks = Iterator[Sequence[Row | EngageRequest | Invalid | Skipped | Unreadable]]
Build = Callable[[Row], EngageRequest | Invalid | Skipped]
#: What the next rows have become; None after the last row.
NextWorks = Callable[[], list[Packed] | None]
OffLoop = Callable[[NextWorks], Awaitable[list[Packed] | None]]


async def carry_out(
    plan: Plan,
    chunks: Chunks,
    build: Build,
    packer: Packer | None,
    send: Send,
    fresh_id: FreshId,
    store: ResultStore,
    limits: Limits,
    off_loop: OffLoop,
) -> bool:
    """Engage every row, until the rows end or the run is stopped; returns whether no row is left."""
    stop = limits.stop
    begin, end = anyio.create_memory_object_stream[list[Packed]](2)
    queue = WorkQueue(end)
    work = _worker(plan, packer, send, fresh_id, store, limits)
    read = _next_works(chunks, build, store, packer, queue)
    if packer is not None and (failing := store.failing) is not None:
        # Rows of many batches fail before the first batch is settled: their share is one of the rows read.
        store.failing = lambda settled, kind: failing(max(settled, queue.rows), kind)
    with end:
        async with anyio.create_task_group() as upkeep:
            upkeep.start_soon(store.keep_fresh)
            async with anyio.create_task_group() as workers:
                workers.start_soon(_read, read, begin, queue, stop, off_loop)
                for _ in range(plan.concurrency):
                    workers.start_soon(work, queue, store, stop)
            upkeep.cancel_scope.cancel()
    return queue.read_to_end and store.settled == queue.rows


def _worker(
    plan: Plan,
    packer: Packer | None,
    send: Send,
    fresh_id: FreshId,
    store: ResultStore,
    limits: Limits,
) -> Callable[[WorkQueue, ResultStore, Stop], Coroutine[Any, Any, None]]:
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
        is_task=plan.is_task,
    )

    def due_again(request: EngageRequest) -> None:
        store.after((), due=(request,))

    retrying = with_retry(
        with_adaptive_limit(plan.adaptive, limits.rate_limiter, sender.attempt_once),
        plan.retry,
        plan.delivery,
        RetryBudget(plan.retry.budget_rate, plan.retry.budget_reserve),
        limits.stop,
        fresh_id,
        due_again,
        store.clock,
    )
    if packer is None:
        return partial(_work, retrying.engage)
    splitter = BatchSplitter(
        retrying,
        packer.packed,
        packer.lower_bytes,
        store.state.is_settled,
        limits.stop,
        plan.delivery.mode,
        plan.split,
    )
    return partial(_work_in_batches, splitter.engage, lambda: sender.is_starting)


def _next_works(
    chunks: Chunks, build: Build, store: ResultStore, packer: Packer | None, queue: WorkQueue
) -> NextWorks:
    """Builds requests from the rows that are not settled, a chunk at a time."""
    over = False

    def next_works() -> list[Packed] | None:
        nonlocal over
        chunk = None if over else next(chunks, None)
        if chunk is None:
            rest, over = [] if over or packer is None else packer.finish(), True
            return [*rest] or None
        history = store.history(chunk)
        works = history.applied([build(row) if isinstance(row, Row) else row for row in history.due])
        queue.rows += len(works)
        return [*works] if packer is None else packer.pack(works)

    return next_works


async def _read(
    next_works: NextWorks,
    begin: MemoryObjectSendStream[list[Packed]],
    queue: WorkQueue,
    stop: Stop,
    off_loop: OffLoop,
) -> None:
    """Pass on what the rows become, off the event loop where the input may have to be waited for."""
    async with begin:
        try:
            with stop.cancels():  # an input that blocks must not delay a stop
                while (works := await off_loop(next_works)) is not None:
                    # Rows that were settled before need no worker.
                    await (begin.send(works) if works else checkpoint())
                queue.read_to_end = True
        except InputError as fault:
            stop.request(Exit.STOPPED, str(fault))


async def _work(
    engage: Callable[[EngageRequest], Awaitable[Outcome | None]],
    queue: WorkQueue,
    store: ResultStore,
    stop: Stop,
) -> None:
    """Settle one row after another."""
    while not stop.requested and (work := queue.get_nowait() or await queue.get()) is not None:
        assert not isinstance(work, Part)  # noqa: S101 - there are no batches
        outcome = await engage(work) if isinstance(work, EngageRequest) else _unsent(work)
        if outcome is not None and (writing := store.after((outcome,))) is not None:
            await writing


def _unsent(work: Unsent) -> Outcome:
    """The outcome of a row that needs no request."""
    if isinstance(work, Withdrawn):
        return work.outcome
    return work if isinstance(work, Outcome) else Outcome.unsent(work)


async def _work_in_batches(
    engage: Callable[[EngageRequest | Part], Awaitable[Settled]],
    is_starting: Callable[[], bool],
    queue: WorkQueue,
    store: ResultStore,
    stop: Stop,
) -> None:
    """Settle the rows of one batch after another."""
    parts: deque[Work] = deque()
    while not stop.requested:
        work = parts.popleft() if parts else queue.get_nowait() or await queue.get()
        if work is None:
            return
        if isinstance(work, EngageRequest | Part):
            outcomes, due = await engage(work)
        else:
            # Before any batch after it leaves: a row that a batch carries, and that has no outcome, was sent.
            outcomes, due = (_unsent(work),), ()
        if (writing := store.after(outcomes, [part.request for part in due])) is not None:
            await writing
        if is_starting():
            queue.put_last(due)  # whether the job is wrong, other batches say sooner
        else:
            parts.extendleft(reversed(due))
