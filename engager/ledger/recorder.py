"""Every row's outcome, in the ledger at once and in its files soon after, each exactly once.

No outcome waits for a disk and no buffer grows without end. What a kill keeps from the files is in the
ledger's journal, and is appended when the run goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from reprlib import Repr
from typing import Any, Final, TypeVar

import anyio
import orjson

from engager.ledger import clock
from engager.ledger.book import Batch, Lines
from engager.ledger.fields import result_fields
from engager.ledger.formats import MENDED_IN, Formats
from engager.ledger.journal import Entry, Mend
from engager.ledger.ledger import Ledger
from engager.ledger.recall import Gaps, Recall
from engager.ledger.states import SETTLED, State, settled_state
from engager.ledger.tally import Tally
from engager.model import EngageRequest, Invalid, Life, Outcome, Row, Skipped, Status, Unreadable

#: Outcomes that are written in one go.
CHUNK: Final = 1024

#: How old an outcome may grow before it is written.
FRESH_SECONDS: Final = 0.5

# To ask an enumeration for a member takes a call, and these are asked for with every row.
_ENGAGED: Final = Status.ENGAGED
_SETTLED: Final = State.ENGAGED
_NOWHERE: Final = Mend.NOWHERE

#: How much of a row is shown that cannot be kept whole.
RAW: Final = 1000

_BRIEF: Final = Repr()
_BRIEF.maxstring = _BRIEF.maxother = 200
_BRIEF.maxlist = _BRIEF.maxdict = 50

_ALL_SETTLED: Final = bytes(SETTLED)

#: A row that is not settled, or whose line was lost.
Due = EngageRequest | Invalid | Skipped | Unreadable


#: A row of the input, whether or not it is a request yet.
Record = TypeVar("Record", bound=Row | Due)


#: Writes a batch; when it returns, the batch is in the files for good. Raises RecordingError.
Write = Callable[[Batch], Awaitable[None]]


class Recorder:
    """Writes down what happens to every row of a shard, and recalls what had happened.

    Create it inside the running loop.
    """

    def __init__(
        self,
        shard: int,
        ledger: Ledger,
        formats: Formats,
        write: Write,
        recall: Recall | None = None,
        hold: Callable[[], asyncio.Future[None]] | None = None,
    ) -> None:
        self._tally = Tally()  #: what this process has counted, but for what is fresh
        self._fresh: list[dict[str, Any]] = []
        self.settled = 0  #: rows that this process has settled
        #: Told of every row that was not engaged: how many are settled by then, and what became of it.
        self.failing: Callable[[int, str], None] | None = None
        self.clock: Callable[[], float] = clock.seconds
        #: With `durability = "disk"`: what is done, before a byte leaves, when all that was stored is on the
        #: disk. It is shared by many.
        self.hold = hold
        self._shard, self._ledger, self._formats, self._write = shard, ledger, formats, write
        self._redact = lru_cache(maxsize=256)(formats.redact)  # what endpoints say, they say often
        self._loop = asyncio.get_running_loop()
        self._keeps_soon = False
        self._writing = anyio.Lock()
        self._writes = 0  #: begun so far
        self._fault: Exception | None = None  #: why one of them failed
        self._recall = recall or Recall()
        self._gaps = self._recall.gaps
        self._generations: dict[int, int] = {}
        self._pending = self._recovered(self._recall)

    def _recovered(self, recall: Recall) -> list[Entry]:
        """What of the journal is in no file yet."""
        found = self._ledger.recover(recall.mark, recall.latest_wall, recall.same_token, recall.begun)
        entries = [_lacking(entry, recall.gaps) for entry in found]
        for entry in entries:
            self._count(entry)
            self._tally.count_line(entry.result)
        return entries

    def due(self, records: Sequence[Record]) -> Sequence[Record]:
        """Those of some rows in a row that are not settled. Raises RecordingError."""
        if not records:
            return records
        first, last = _number(records[0]), _number(records[-1])
        self._ledger.rows.reach(last)
        states = self._ledger.rows.read(first, last - first + 1)
        if not any(states):
            return records
        if self._gaps.results is None and not states.translate(None, _ALL_SETTLED):
            return []
        return [
            record for record in records if self._is_due(_number(record), states[_number(record) - first])
        ]

    def _is_due(self, row: int, state: int) -> bool:
        return state not in SETTLED or self._lacks_line(row, State(state))

    def _lacks_line(self, row: int, state: State) -> bool:
        mended = self._gaps.mended.get(MENDED_IN.get(SETTLED[state], Mend.NOWHERE))
        return self._lacks(self._gaps.results, row) or self._lacks(mended, row)

    @staticmethod
    def _lacks(lines: bytearray | None, row: int) -> bool:
        return lines is not None and lines[row : row + 1] != b"\1"

    def recalled(self, works: list[Due]) -> list[Due | Outcome]:
        """Due rows with what is already known of them."""
        if not works:
            return []
        first, last = _number(works[0]), _number(works[-1])
        states = self._ledger.rows.read(first, last - first + 1)
        if not any(states):
            return [*works]
        return [self._recalled(work, State(states[_number(work) - first])) for work in works]

    def _recalled(self, work: Due, state: State) -> Due | Outcome:
        if state in SETTLED:
            return _known(work, SETTLED[state])
        if isinstance(work, EngageRequest) and state is not State.UNTOUCHED:
            work.life = self._past_life(work.row.number, state)
        return work

    def _past_life(self, row: int, state: State) -> Life:
        """What is known of a row that is due though it was taken up before."""
        recall = self._recall
        if state is State.AGAIN:
            # Under its id: where a gateway denied what was done, the endpoint knows it as a repeat.
            return Life(generation=recall.generations.get(row, 0))
        if state is State.AGAIN_IN_DOUBT:
            generation = recall.generations.get(row, 0)
            return Life(0, generation, clock.seconds(), in_doubt=True, asked_for=True)
        # Of a byte or a slot that was damaged, nobody knows when a try left, and under which id.
        return self._ledger.open_rows.pop(row, None) or Life(1, 0, float("-inf"), in_doubt=True)

    def intend(self, request: EngageRequest) -> None:
        """A try of this request is about to leave: not before `keep` was called."""
        self._ledger.leaves(request.row.number, request.life)

    def keep(self) -> None:
        """What is about to leave, and what became of others: no kill can take it when this returns."""
        self._ledger.keep()

    def answered(self, request: EngageRequest) -> None:
        """A try of this request came to its end and did not settle it."""
        self._ledger.answered(request.row.number, request.life)

    def record(self, outcome: Outcome, generation: int = 0) -> Awaitable[None] | None:
        """Take one outcome in; now and then its bringer must wait for what this returns: the disk.

        No kill can take it as soon as `keep` was called, which happens in this round of the loop.
        """
        if not self._keeps_soon:
            self._keeps_soon = True
            self._loop.call_soon(self._keep_soon)
        fields = result_fields(outcome, self._redact)
        entry = self._entry(outcome, fields, generation)
        if not self._ledger.settle(entry):
            return self._record_late(outcome, entry, fields)
        return self.flush() if self._pend_and_tell(outcome, entry, fields) else None

    def _keep_soon(self) -> None:
        self._keeps_soon = False
        self.keep()

    async def _record_late(self, outcome: Outcome, entry: Entry, fields: dict[str, Any]) -> None:
        """Take an outcome in that the journal had no room for."""
        with anyio.CancelScope(shield=True):  # it is known, and must not be lost
            await self.flush()
            while not self._ledger.settle(entry):
                await self.flush()
        if self._pend_and_tell(outcome, entry, fields):
            await self.flush()

    def _pend_and_tell(self, outcome: Outcome, entry: Entry, fields: dict[str, Any]) -> bool:
        is_time = self._pend(entry, fields)
        if self.failing is not None and outcome.status not in (Status.ENGAGED, Status.SKIPPED):
            self.failing(self.settled, f"{outcome.status}: {outcome.error}")
        return is_time

    async def restore(self, outcome: Outcome) -> None:
        """Write the lines of a settled row again, in those files that lost them."""
        row = outcome.row.number
        state = self._ledger.rows.of(row)
        fields = result_fields(outcome, self._redact)
        entry = replace(self._entry(outcome, fields, 0), state=state)
        if not self._lacks(self._gaps.results, row):
            entry, fields = replace(entry, result=b""), {}
        if not self._lacks(self._gaps.mended.get(entry.mend), row):
            entry = replace(entry, mend=Mend.NOWHERE, to_mend=b"")
        while not self._ledger.settle(entry):
            await self.flush()
        if self._pend(entry, fields):
            await self.flush()

    def _pend(self, entry: Entry, fields: dict[str, Any]) -> bool:
        """Count a settled row, whose lines are pending now; returns whether it is time to write."""
        self.settled += 1
        if fields:
            self._fresh.append(fields)
        if entry.generation:
            self._count(entry)
        self._pending.append(entry)
        # One of the crew writes, and the others go on, until the disk falls too far behind.
        return len(self._pending) == CHUNK or len(self._pending) >= 2 * CHUNK

    def _count(self, entry: Entry) -> None:
        if entry.generation and entry.state in (State.IN_DOUBT_RENEWED, State.FAILED):
            self._generations[entry.row] = entry.generation

    def _entry(self, outcome: Outcome, fields: dict[str, Any], generation: int) -> Entry:
        # orjson gives out bytes in blocks far larger than they are: it is the sum that is kept.
        result = _json_line(fields)
        if outcome.status is _ENGAGED:
            return Entry(outcome.row.number, _SETTLED, result, _NOWHERE, b"")
        mend = MENDED_IN.get(outcome.status, Mend.NOWHERE)
        to_mend = self._to_mend(outcome, self._ledger.journal.largest - len(result)) if mend else b""
        state = settled_state(outcome.status, generation > 0)
        return Entry(outcome.row.number, state, result, mend, to_mend, generation)

    def _to_mend(self, outcome: Outcome, largest: int) -> bytes:
        """The row with the reason; of one that cannot be written or is too long, its beginning."""
        with suppress(Exception):  # whatever a row's values make a writer raise must not cost the other rows
            if len(line := self._formats.mend.line(outcome)) <= largest:
                return line
        row = outcome.row
        shown = row.raw if isinstance(row, Unreadable) else _BRIEF.repr(row.values)
        unreadable = Unreadable(
            row.number, row.line, row.source, str(outcome.error), "", _writable(shown)[:RAW]
        )
        text = outcome.error_text and _writable(outcome.error_text)
        return self._formats.mend.line(replace(outcome, row=unreadable, error_text=text))

    async def flush(self) -> None:
        """Write what is pending, in order."""
        asked = self._writes
        async with self._writing:
            if self._fault is not None:
                raise self._fault
            if self._writes > asked:
                return  # by whoever began to write after this was asked for
            self._writes += 1
            # What was taken must be written: nobody else has it.
            with anyio.CancelScope(shield=True):
                try:
                    await self._write_pending()
                except Exception as fault:
                    self._fault = fault  # nothing may be committed behind what was not written
                    raise

    async def _write_pending(self) -> None:
        batch = self._take()
        await self._stored()
        await self._write(batch)
        self._ledger.journal.release(batch.mark)

    async def keep_fresh(self) -> None:
        """Write what is pending every half second, so that a slow run shows in its files."""
        while True:
            await anyio.sleep(FRESH_SECONDS)
            self._ledger.check()
            self._ledger.give_slots()
            await self._stored()
            self._ledger.move_horizon()
            if self._pending:
                await self.flush()

    async def _stored(self) -> None:
        if self.hold is not None:
            await asyncio.shield(self.hold())

    def _take(self) -> Batch:
        self.keep()
        entries, self._pending = self._pending, []
        generations, self._generations = self._generations, {}
        fresh, self._fresh = self._fresh, []
        self._tally.count(fresh)
        to_mend = [entry for entry in entries if entry.to_mend]
        return Batch(
            self._shard,
            self._ledger.journal.mark,
            self._tally.copy(),
            Lines.of([self._formats.results.line(e.result) for e in entries if e.result]),
            Lines.of([e.to_mend for e in to_mend if e.mend is Mend.FAILED]),
            Lines.of([e.to_mend for e in to_mend if e.mend is Mend.IN_DOUBT]),
            generations,
        )

    def close(self) -> None:
        """Close the ledger; what was stored stays."""
        self._ledger.close()


def _writable(text: str) -> str:
    """The text without halves of surrogate pairs, which no writer takes."""
    return text.encode(errors="replace").decode()


def _json_line(fields: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(fields) + b"\n"
    except TypeError:
        fields.update({name: _writable(value) for name, value in fields.items() if isinstance(value, str)})
        return orjson.dumps(fields) + b"\n"


def _lacking(entry: Entry, gaps: Gaps) -> Entry:
    """What of an entry of the journal is in no file yet."""
    if gaps.results is None:
        return entry
    if entry.result and _has(gaps.results, entry.row):
        entry = replace(entry, result=b"")
    if entry.mend and _has(gaps.mended[entry.mend], entry.row):
        entry = replace(entry, mend=Mend.NOWHERE, to_mend=b"")
    return entry


def _has(lines: bytearray, row: int) -> bool:
    """Whether a row has a line; from now on it has."""
    lines.extend(bytes(max(0, row + 1 - len(lines))))
    had, lines[row] = bool(lines[row]), 1
    return had


def _number(work: Row | Due) -> int:
    return work.number if isinstance(work, Row | Unreadable) else work.row.number


def _known(work: Due, status: Status) -> Outcome:
    """The outcome of a row whose line was lost: what the ledger knows, and no more."""
    text = "its line was damaged; the ledger knows the status only"
    if isinstance(work, EngageRequest):
        error = 0 if status is Status.ENGAGED else "line_lost"
        return Outcome(work.row, work.key, status, error=error, error_text=text)
    outcome = Outcome.unsent(work)
    return outcome if status is outcome.status else Outcome(outcome.row, outcome.key, status, error_text=text)
