"""THE PAGE: rows → requests → batches, if the method has them → workers (`workers.py`) → store.

Invariant: memory is bounded by a fixed number of workers, a stream of two chunks, and one buffer of outcomes.
A stop closes in this order: the reader ends, the requests in flight end, the store ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence

import anyio
from anyio.lowlevel import checkpoint
from anyio.streams.memory import MemoryObjectSendStream

from engager.errors import Exit, InputError
from engager.models import EngageRequest, Invalid, Prepared, Row, Skipped, Unreadable
from engager.requests.packing import Packer
from engager.run.plan import Plan
from engager.run.work_queue import WorkQueue
from engager.run.workers import worker
from engager.sending.limits import Limits
from engager.sending.retry import FreshId
from engager.sending.sender import Send
from engager.sending.stop import Stop
from engager.store.store import ResultStore

#: Rows, or the requests or outcomes that they have become.
Chunks = Iterator[Sequence[Row | EngageRequest | Invalid | Skipped | Unreadable]]
Build = Callable[[Row], EngageRequest | Invalid | Skipped]
#: What the next rows have become; None after the last row.
NextWorks = Callable[[], list[Prepared] | None]
OffLoop = Callable[[NextWorks], Awaitable[list[Prepared] | None]]


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
    """Engage every row, until the rows end or the run is stopped; returns whether no row is left to send."""
    stop = limits.stop
    begin, end = anyio.create_memory_object_stream[list[Prepared]](2)
    queue = WorkQueue(end)
    work = worker(plan, packer, send, fresh_id, store, limits)
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
    left_open = 0 if packer is None else packer.left_open
    return queue.read_to_end and store.settled + left_open == queue.rows


def _next_works(
    chunks: Chunks, build: Build, store: ResultStore, packer: Packer | None, queue: WorkQueue
) -> NextWorks:
    """Builds requests from the rows that are not settled, a chunk at a time."""
    over = False

    def next_works() -> list[Prepared] | None:
        nonlocal over
        chunk = None if over else next(chunks, None)
        if chunk is None:
            if over or packer is None:
                return None
            over, rest = True, packer.finish()
            return [*rest] or None
        history = store.history(chunk)
        works = history.applied([build(row) if isinstance(row, Row) else row for row in history.due])
        queue.rows += len(works)
        return works if packer is None else packer.pack(works)

    return next_works


async def _read(
    next_works: NextWorks,
    begin: MemoryObjectSendStream[list[Prepared]],
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
