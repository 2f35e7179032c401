"""The engine of one process: engages the rows of an input, and stores their outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import anyio
from anyio import to_thread

from engager.models import Prepared
from engager.reader.first_rows import FirstRows
from engager.reader.rows import Rows
from engager.requests.builder import Builder
from engager.requests.identity import fresh
from engager.requests.packing import Packer
from engager.requests.repeats import RepeatDetector
from engager.requests.selection import Selection
from engager.run.pipeline import Build, Chunks, NextWorks, carry_out
from engager.run.plan import Plan
from engager.sending.limits import Limits
from engager.sending.transport.base import Transport
from engager.store.store import ResultStore


class Remaining(IntEnum):
    """Which rows are not settled."""

    NONE = 0
    BEYOND = 1  #: only rows after the last row of the plan
    DUE = 2  #: rows of the plan


@dataclass(frozen=True, slots=True)
class Engine:
    """The rows, with all that is needed to engage them except the connection to the endpoint."""

    rows: Rows
    builder: Builder
    selection: Selection | None
    repeats: RepeatDetector | None
    packer: Packer | None  #: of a method whose requests carry several rows
    store: ResultStore

    async def engage_all(self, plan: Plan, transport: Transport, limits: Limits) -> Remaining:
        """Engage the rows. However it ends, also by a cancellation, every known outcome is stored first."""
        store = self.store
        store.start(plan.concurrency)
        self.rows.verifier.notify(store.checkpoint)
        await store.flush()  # what an earlier process could not append, before anything new
        first_rows = FirstRows(self.rows, plan.last_row)
        build, chunks = self._selecting(first_rows)
        off_loop = _in_thread if self.rows.is_stream else _in_loop
        try:
            done = await carry_out(
                plan, chunks, build, self.packer, transport.send, fresh, store, limits, off_loop
            )
            if first_rows.cut:
                return Remaining.BEYOND if done else Remaining.DUE
            is_open = self.packer is not None and self.packer.left_open
            return Remaining.NONE if done and not is_open else Remaining.DUE
        finally:
            with anyio.CancelScope(shield=True):
                await store.finish()

    def _selecting(self, rows: FirstRows) -> tuple[Build, Chunks]:
        """The function that builds requests, and the rows; a selection has built requests of them already."""
        build, selection, repeats = self.builder.build, self.selection, self.repeats
        if selection is None:
            return (build if repeats is None else repeats.wrapping(build)), rows
        selection.observe = None if repeats is None else repeats.observe
        return build, selection.apply(rows, build)


async def _in_thread(call: NextWorks) -> list[Prepared] | None:
    """For an input that may have to be waited for: a pipe, a terminal."""
    return await to_thread.run_sync(call, abandon_on_cancel=True)


async def _in_loop(call: NextWorks) -> list[Prepared] | None:
    """For an input on disk: a switch to a thread and back takes longer than a read from the cache."""
    return call()
