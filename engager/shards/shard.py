"""What one process carries out: the rows of a shard in, their outcomes recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import TypeVar

import anyio
from anyio import to_thread

from engager.dispatch.limits import Limits
from engager.dispatch.transport import Transport
from engager.intake.builder import Builder
from engager.intake.identity import fresh
from engager.intake.repeats import Repeats
from engager.intake.rows import Rows
from engager.intake.selection import Selection
from engager.ledger.disk import Disk
from engager.ledger.formats import Formats
from engager.ledger.ledger import Ledger
from engager.ledger.ledgers import shard_path
from engager.ledger.marks import Marks
from engager.ledger.recall import Recall
from engager.ledger.recorder import Recorder, Write
from engager.ledger.run_directory import RunDirectory
from engager.log import log
from engager.model import Row, Unreadable
from engager.pipeline import Build, Chunks, carry_out
from engager.plan import Plan

T = TypeVar("T")

#: Told of every row that was not engaged: how many are settled by then, and what became of it.
Failing = Callable[[int, str], None]


class Rest(IntEnum):
    """What is left of some rows."""

    NONE = 0
    BEHIND = 1  #: rows behind the last one that was wanted
    DUE = 2  #: rows that were wanted


@dataclass(frozen=True, slots=True)
class Shard:
    """Some rows, and all that is needed to engage them but the way to the endpoint."""

    index: int
    rows: Rows
    builder: Builder
    selection: Selection | None
    repeats: Repeats | None
    directory: RunDirectory
    formats: Formats
    recall: Recall
    synced: bool


async def engage_all(
    shard: Shard,
    plan: Plan,
    transport: Transport,
    write: Write,
    limits: Limits,
    failing: Failing | None = None,
) -> Rest:
    """Carry a shard out; returns what is left of it.

    Whatever ends it, a cancellation included, every outcome that is known is written first.
    """
    folder, synced = shard.directory.ledger_folder, shard.synced
    with ExitStack() as opened:
        ledger = Ledger(shard_path(folder, shard.index), synced=synced)
        opened.callback(ledger.close)
        marks = Marks(shard.directory.marks_path(shard.index), synced)
        opened.callback(marks.close)
        shard.rows.witness.tell(marks.keep)
        hold = None
        if synced:
            disk = Disk(partial(_sync, marks, ledger), enough=plan.concurrency)
            hold = opened.enter_context(closing(disk)).holds
        recorder = Recorder(shard.index, ledger, shard.formats, write, shard.recall, hold)
        recorder.failing = failing
        await recorder.flush()  # what an earlier process could not write, before anything new
        first_rows = FirstRows(shard.rows, plan.last_row)
        build, chunks = _selecting(shard, first_rows)
        off_loop = _off_loop if shard.rows.flows else _at_once
        try:
            done = await carry_out(plan, chunks, build, transport.send, fresh, recorder, limits, off_loop)
            return Rest.DUE if not done else Rest.BEHIND if first_rows.cut else Rest.NONE
        finally:
            with anyio.CancelScope(shield=True):
                await recorder.flush()


def _sync(marks: Marks, ledger: Ledger) -> Callable[[], None]:
    bring_ledger = ledger.sync()

    def bring() -> None:
        marks.sync()
        bring_ledger()

    return bring


def _selecting(shard: Shard, rows: FirstRows) -> tuple[Build, Chunks]:
    """How rows become requests, and the rows, built already where a rule of the job must see every one."""
    build, selection, repeats = shard.builder.build, shard.selection, shard.repeats
    if selection is None:
        return (build if repeats is None else repeats.beside(build)), rows
    selection.look = None if repeats is None else repeats.look
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
        self.cut = False  #: there are rows behind it
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
