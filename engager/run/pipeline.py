"""THE PAGE: rows → requests → sending (admission, attempt, retry) → outcomes → store.

Invariant: memory is bounded by a fixed number of workers, a stream of two chunks, and one buffer of outcomes.
A stop closes in this order: the reader ends, the requests in flight end, the store ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
from anyio.lowlevel import checkpoint
from anyio.streams.memory import MemoryObjectSendStream

from engager.errors import Exit, InputError
from engager.models import EngageRequest, Invalid, Outcome, Row, Skipped, Unreadable, Withdrawn
from engager.requests.packing import Packer
from engager.requests.packing import Work as Packed
from engager.run.plan import Plan
from engager.run.work_queue import Work, WorkQueue
from engager.sending.adaptive import with_adaptive_limit
from engager.sending.admission import AdmissionControl
from engager.sending.batches import BatchSplitter, Settled
from engager.sending.limits import Limits, RetryBudget
from engager.sending.retry import FreshId, with_retry
from engager.sending.sender import Send, Sender
from engager.sending.stop import Stop
from engager.store.store import ResultStore

#: Rows, or the requests or outcomes that they have become.
Chunks = Iterator[Sequence[Row | EngageRequest | Invalid | Skipped | Unreadable]]
Build = Callable[[Row], EngageRequest | Invalid | Skipped]
#: What the next rows have become; None after the last row.
NextWorks = Callable[[], "Works | None"]
OffLoop = Callable[[NextWorks], Awaitable["Works | None"]]


@dataclass(frozen=True, slots=True)
class Works:
    """What a chunk of rows has become."""

    rows: int  #: rows of the chunk that are due
    requests: list[EngageRequest]
    unsent: list[Outcome]  #: of rows that need no request


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
    begin, end = anyio.create_memory_object_stream[list[EngageRequest]](2)
    queue = WorkQueue(end)
    work = _worker(plan, packer, send, fresh_id, store, limits)
    read = _next_works(chunks, build, store, packer)
    with end:
        async with anyio.create_task_group() as upkeep:
            upkeep.start_soon(store.keep_fresh)
            async with anyio.create_task_group() as workers:
                workers.start_soon(_read, read, store, begin, queue, stop, off_loop)
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


def _next_works(chunks: Chunks, build: Build, store: ResultStore, packer: Packer | None) -> NextWorks:
    """Builds requests from the rows that are not settled, a chunk at a time."""
    over = False

    def next_works() -> Works | None:
        nonlocal over
        chunk = None if over else next(chunks, None)
        if chunk is None:
            rest, over = [] if over or packer is None else packer.finish(), True
            return Works(0, rest, []) if rest else None
        history = store.history(chunk)
        applied = history.applied([build(row) if isinstance(row, Row) else row for row in history.due])
        packed: Sequence[Packed] = applied if packer is None else packer.pack(applied)
        requests = [work for work in packed if isinstance(work, EngageRequest)]
        unsent = [_outcome(work) for work in packed if not isinstance(work, EngageRequest)]
        return Works(len(applied), requests, unsent)

    return next_works


def _outcome(work: Packed) -> Outcome:
    assert not isinstance(work, EngageRequest)  # noqa: S101 - the caller saw to it
    if isinstance(work, Withdrawn):
        return work.outcome
    return work if isinstance(work, Outcome) else Outcome.unsent(work)


async def _read(
    next_works: NextWorks,
    store: ResultStore,
    begin: MemoryObjectSendStream[list[EngageRequest]],
    queue: WorkQueue,
    stop: Stop,
    off_loop: OffLoop,
) -> None:
    """Settle the rows that need no request, and pass on the requests of the others."""
    async with begin:
        try:
            with stop.cancels():  # an input that blocks must not delay a stop
                while (works := await off_loop(next_works)) is not None:
                    queue.rows += works.rows
                    # Before any request after them leaves: what a batch carried must be known after a kill.
                    if works.unsent and (writing := store.after(works.unsent)) is not None:
                        await writing
                    await (begin.send(works.requests) if works.requests else checkpoint())
                queue.read_to_end = True
        except InputError as fault:
            stop.request(Exit.STOPPED, str(fault))


async def _work(
    engage: Callable[[Any], Awaitable[Outcome | None]],
    queue: WorkQueue,
    store: ResultStore,
    stop: Stop,
) -> None:
    """Settle one row after another."""
    while not stop.requested and (request := queue.get_nowait() or await queue.get()) is not None:
        outcome = await engage(request)
        if outcome is not None and (writing := store.after((outcome,))) is not None:
            await writing


async def _work_in_batches(
    engage: Callable[[Work], Awaitable[Settled]],
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
        settled = await engage(work)
        writing = store.after(settled.outcomes, [part.request for part in settled.due])
        if writing is not None:
            await writing
        if is_starting():
            queue.put_last(settled.due)  # whether the job is wrong, other batches say sooner
        else:
            parts.extendleft(reversed(settled.due))
