"""Carries a run out in this process: the rows of its input in, their outcomes stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

import anyio
from anyio import to_thread

from engager.config.log import log
from engager.models import Row, Unreadable
from engager.reader.rows import Rows
from engager.requests.builder import Builder
from engager.requests.identity import fresh
from engager.requests.repeats import RepeatDetector
from engager.requests.selection import Selection
from engager.run.pipeline import Build, Chunks, carry_out
from engager.run.plan import Plan
from engager.sending.limits import Limits
from engager.sending.transport.base import Transport
from engager.store.store import ResultStore

T = TypeVar("T")


class Remaining(IntEnum):
    """What is left of some rows."""

    NONE = 0
    BEYOND = 1  #: rows after the last one that was wanted
    DUE = 2  #: rows that were wanted


@dataclass(frozen=True, slots=True)
class Work:
    """Rows, and all that is needed to engage them but the way to the endpoint."""

    rows: Rows
    builder: Builder
    selection: Selection | None
    repeats: RepeatDetector | None
    store: ResultStore


async def engage_all(work: Work, plan: Plan, transport: Transport, limits: Limits) -> Remaining:
    """Engage the rows; returns what is left of them.

    Whatever ends it, a cancellation included, every outcome that is known is written first.
    """
    store = work.store
    store.start(plan.concurrency)
    work.rows.verifier.notify(store.checkpoint)
    await store.flush()  # what an earlier process could not append, before anything new
    first_rows = FirstRows(work.rows, plan.last_row)
    build, chunks = _selecting(work, first_rows)
    off_loop = _off_loop if work.rows.flows else _at_once
    try:
        done = await carry_out(plan, chunks, build, transport.send, fresh, store, limits, off_loop)
        return Remaining.DUE if not done else Remaining.BEYOND if first_rows.cut else Remaining.NONE
    finally:
        with anyio.CancelScope(shield=True):
            await store.finish()


def _selecting(work: Work, rows: FirstRows) -> tuple[Build, Chunks]:
    """How rows become requests, and the rows, built already where a rule of the job must see every one."""
    build, selection, repeats = work.builder.build, work.selection, work.repeats
    if selection is None:
        return (build if repeats is None else repeats.wrapping(build)), rows
    selection.observe = None if repeats is None else repeats.observe
    return build, selection.of(rows, build)


def warn_of_repeat(row: int, first: int) -> None:
    """Say that somebody gets a message for each of two rows, as soon as the first is known."""
    log.warning(
        "row %d has the same key as row %d, and both are sent; there may be more. input.unique = true leaves "
        "such rows out, false says that they are meant, and `engager check` counts them",
        row,
        first,
    )


class FirstRows(Iterator[Sequence[Row | Unreadable]]):
    """The chunks up to a row, or all."""

    def __init__(self, rows: Rows, last_row: int | None) -> None:
        self.cut = False  #: there are rows after it
        self._chunks, self._flows, self._last = rows.chunks(), rows.flows, last_row
        self._over = False

    def __next__(self) -> Sequence[Row | Unreadable]:
        if self._over:
            raise StopIteration
        chunk = next(self._chunks)
        if self._last is None or not chunk or chunk[-1].number < self._last:
            return chunk
        wanted = chunk[: max(0, self._last + 1 - chunk[0].number)]
        self._over = True
        # A pipe is not asked whether it has more: it might let us wait.
        self.cut = len(wanted) < len(chunk) or self._flows or any(self._chunks)
        if not wanted:
            raise StopIteration
        return wanted


async def _off_loop(call: Callable[[], T]) -> T:
    """For an input that may let us wait: a pipe, a terminal."""
    return await to_thread.run_sync(call, abandon_on_cancel=True)


async def _at_once(call: Callable[[], T]) -> T:
    """For an input on a disk: the way to a thread and back takes longer than a read from the cache."""
    return call()
