"""Workers: each settles one row, or one batch, after another, under the policies of the run."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from engager.models import EngageRequest, Outcome, Unsent, Withdrawn
from engager.requests.packing import Packer
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


def worker(
    plan: Plan,
    packer: Packer | None,
    send: Send,
    fresh_id: FreshId,
    store: ResultStore,
    limits: Limits,
) -> Callable[[WorkQueue, ResultStore, Stop], Coroutine[Any, Any, None]]:
    """Returns what a worker does until there is no work left.

    The order of policies: batches, retry, adaptive limit, slow start, circuit breaker, connection, admission.
    """
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
        came_back=store.came_back,
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
        plan.split,
    )
    return partial(_work_in_batches, splitter.engage, lambda: sender.is_starting)


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


def _unsent(work: Unsent | Outcome | Withdrawn) -> Outcome:
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
            outcomes, due, is_refused = await engage(work)
        else:
            # Before any batch after it leaves: a row that a batch carries, and that has no outcome, was sent.
            outcomes, due, is_refused = (_unsent(work),), (), False
        if (writing := store.after(outcomes, [part.request for part in due])) is not None:
            await writing
        if is_refused and is_starting():
            queue.put_last(due)  # whether the job is wrong, and not some row, other batches say sooner
        else:
            parts.extendleft(reversed(due))
