"""Every row's outcome, in the ledger at once and in its files soon after, each exactly once.

No outcome waits for a disk and no buffer grows without end. What a kill keeps from the files is in the
ledger's journal, and is appended when the run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import anyio
import orjson
from anyio import to_thread

from engager.errors import RecordingError
from engager.ledger import clock
from engager.ledger.journal import Entry, JournalFullError, Mark, Mend
from engager.ledger.ledger import Ledger
from engager.ledger.line_file import LineFile
from engager.ledger.lines import LineFormat, Redact, result_fields
from engager.ledger.states import SETTLED, State, settled_state
from engager.ledger.tally import Tally
from engager.model import EngageRequest, Invalid, Outcome, Row, Status, Unreadable

#: Outcomes that are written in one go.
CHUNK = 256

#: How old an outcome may grow before it is written.
FRESH_SECONDS = 0.5

#: Where the rows themselves are kept: those that are certainly not engaged may be mended and sent again,
#: those that may be engaged must not be among them.
MENDED_IN = {
    Status.REJECTED: Mend.FAILED,
    Status.FAILED: Mend.FAILED,
    Status.INVALID: Mend.FAILED,
    Status.IN_DOUBT: Mend.IN_DOUBT,
}


class ResultFormat(LineFormat, Protocol):
    """How a line of results looks."""

    name: str

    def line(self, fields: bytes) -> bytes:
        """A line, from its fields as a line of JSON."""
        ...


class MendFormat(LineFormat, Protocol):
    """How a row looks that is kept to be mended."""

    suffix: str

    def line(self, outcome: Outcome) -> bytes:
        """The row, with the reason."""
        ...


@dataclass(frozen=True, slots=True)
class Formats:
    """How the files look."""

    results: ResultFormat
    mend: MendFormat
    redact: Redact


@dataclass(frozen=True, slots=True)
class Files:
    """The files of outcomes."""

    results: LineFile
    failed: LineFile
    in_doubt: LineFile

    def facts(self) -> dict[str, list[Any]]:
        """What the ledger is to remember of them."""
        return {name: getattr(self, name).facts for name in ("results", "failed", "in_doubt")}

    def close(self) -> None:
        """Close them."""
        for file in (self.results, self.failed, self.in_doubt):
            file.close()


#: A row that is not settled, or whose line was lost.
Due = EngageRequest | Invalid | Unreadable


@dataclass(slots=True)
class Gaps:
    """Which rows have a line in files that had to be repaired: a byte a row. None: no file had to be."""

    results: bytearray | None = None
    mended: dict[Mend, bytearray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Batch:
    entries: list[Entry]
    mark: Mark
    tally: dict[str, Any]


class Recorder:
    """Writes down what happens to every row, and recalls what had happened."""

    def __init__(
        self, ledger: Ledger, files: Files, formats: Formats, tally: Tally, synced: bool = False
    ) -> None:
        self.tally = tally
        self.settled = 0  #: rows that this process has settled
        self.clock: Callable[[], float] = clock.seconds
        self._ledger, self._files, self._formats = ledger, files, formats
        self._gaps = Gaps()
        self._pending: list[Entry] = []
        self._writing = anyio.Lock()
        self._disk = _Disk(ledger) if synced else None
        self._broken: RecordingError | None = None  #: why nothing more can be written

    def begin(self) -> None:
        """Take up a new run."""
        self._ledger.commit(self._facts(self.tally.state()), self._ledger.journal.mark)

    def open(self) -> None:
        """Make the file of results, so that it is there even if it stays empty. Raises OSError."""
        self._files.results.open()

    def abandon(self) -> None:
        """Close everything as it is."""
        self._files.close()
        self._ledger.close()

    def resume(self, entries: list[Entry], gaps: Gaps) -> None:
        """Go on with a run whose files were taken up; append what they lack of the journal."""
        self._gaps = gaps
        self._pending = entries
        self._write(self._take())

    def due(self, records: Sequence[Row | Unreadable]) -> Sequence[Row | Unreadable]:
        """Those of some rows in a row that are not settled. Raises RecordingError."""
        first, last = records[0].number, records[-1].number
        self._ledger.reach(last)
        states = self._ledger.states(first, last - first + 1)
        if not any(states):
            return records
        return [record for record in records if self._is_due(record.number, states[record.number - first])]

    def _is_due(self, row: int, state: int) -> bool:
        return state not in SETTLED or self._lacks_line(row, State(state))

    def _lacks_line(self, row: int, state: State) -> bool:
        mended = self._gaps.mended.get(MENDED_IN.get(SETTLED[state], Mend.NOWHERE))
        return self._lacks(self._gaps.results, row) or self._lacks(mended, row)

    @staticmethod
    def _lacks(lines: bytearray | None, row: int) -> bool:
        return lines is not None and lines[row : row + 1] != b"\1"

    def recalled(
        self, work: EngageRequest | Invalid | Unreadable
    ) -> EngageRequest | Invalid | Unreadable | Outcome:
        """A due row with what is already known of it."""
        row = work.number if isinstance(work, Unreadable) else work.row.number
        state = State(self._ledger.states(row, 1)[0])
        if state in SETTLED:
            return _known(work, SETTLED[state])
        if isinstance(work, EngageRequest) and state is not State.UNTOUCHED:
            work.life = self._ledger.life_of(row, state)
        return work

    async def intend(self, request: EngageRequest) -> None:
        """A try of this request is about to leave: it is known when this returns."""
        self._ledger.leaves(request.row.number, request.life)
        if self._disk is not None:
            await self._disk.holds_all()

    def answered(self, request: EngageRequest) -> None:
        """A try of this request came to its end and did not settle it."""
        self._ledger.answered(request.row.number, request.life)

    async def record(self, outcome: Outcome, generation: int = 0) -> None:
        """Take one outcome in; now and then its bringer waits for the disk."""
        fields = result_fields(outcome, self._formats.redact)
        if generation and outcome.status is Status.IN_DOUBT:
            self._ledger.note_generation(outcome.row.number, generation)
        await self._settle(self._entry(outcome, fields, generation > 0), fields)

    async def restore(self, outcome: Outcome) -> None:
        """Write the lines of a settled row again, in those files that lost them."""
        row = outcome.row.number
        state = State(self._ledger.states(row, 1)[0])
        fields = result_fields(outcome, self._formats.redact)
        entry = replace(self._entry(outcome, fields, renewed=False), state=state)
        if not self._lacks(self._gaps.results, row):
            entry, fields = replace(entry, result=b""), {}
        if not self._lacks(self._gaps.mended.get(entry.mend), row):
            entry = replace(entry, mend=Mend.NOWHERE, to_mend=b"")
        await self._settle(entry, fields)

    async def _settle(self, entry: Entry, fields: dict[str, Any]) -> None:
        while True:
            try:
                self._ledger.settle(entry)
                break
            except JournalFullError:
                await self.flush()
        self.settled += 1
        if fields:
            self.tally.count(fields)
        self._pending.append(entry)
        if len(self._pending) >= CHUNK:
            await self.flush()

    def _entry(self, outcome: Outcome, fields: dict[str, Any], renewed: bool) -> Entry:
        result = orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
        mend = MENDED_IN.get(outcome.status, Mend.NOWHERE)
        to_mend = self._formats.mend.line(outcome) if mend else b""
        if len(result) + len(to_mend) > self._ledger.journal.largest:
            raise RecordingError(
                f"row {outcome.row.number} is too long to be kept. Lower input.max_row_bytes in a new run."
            )
        return Entry(outcome.row.number, settled_state(outcome.status, renewed), result, mend, to_mend)

    async def flush(self) -> None:
        """Write what is pending, off the event loop and in order."""
        async with self._writing:
            with anyio.CancelScope(shield=True):  # what was taken is on its way, or would be nowhere
                await to_thread.run_sync(self._write, self._take())

    async def keep_fresh(self) -> None:
        """Write what is pending every half second, so that a slow run shows in its files."""
        while True:
            await anyio.sleep(FRESH_SECONDS)
            if self._pending:
                await self.flush()

    def close(self) -> None:
        """Write the rest and close the files."""
        try:
            self._write(self._take())
        finally:
            self.abandon()

    def _take(self) -> _Batch:
        taken, self._pending = self._pending, []
        return _Batch(taken, self._ledger.journal.mark, self.tally.state())

    def _write(self, batch: _Batch) -> None:
        files, entries = self._files, batch.entries
        if self._broken is not None:
            # A file may end in half a line, and a commit would release what the journal still has to bring.
            raise self._broken
        try:
            files.results.append([self._formats.results.line(e.result) for e in entries if e.result])
            files.failed.append([e.to_mend for e in entries if e.mend is Mend.FAILED])
            files.in_doubt.append([e.to_mend for e in entries if e.mend is Mend.IN_DOUBT])
            self._ledger.commit(self._facts(batch.tally), batch.mark)
        except RecordingError as fault:
            self._broken = fault
            raise
        except OSError as fault:
            self._broken = RecordingError(
                f"{fault.filename or files.results.path.parent}: outcomes cannot be written: "
                f"{fault.strerror}. Nothing is lost: mend it, and run the same command again."
            )
            raise self._broken from fault

    def _facts(self, tally: dict[str, Any]) -> dict[str, Any]:
        return {**self._files.facts(), "tally": tally, "gaps": self._gaps.results is not None}


class _Disk:
    """Brings the ledger to the disk, for many at once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._turn = anyio.Lock()
        self._asked = self._held = 0

    async def holds_all(self) -> None:
        """Return when all that was stored by now would survive a power cut."""
        self._asked += 1
        ticket = self._asked
        async with self._turn:
            if self._held < ticket:
                upto = self._asked
                await to_thread.run_sync(self._sync)
                self._held = upto

    def _sync(self) -> None:
        try:
            self._ledger.sync()
        except OSError as fault:
            raise RecordingError(f"the ledger cannot be written: {fault.strerror}.") from fault


def _known(work: Due, status: Status) -> Outcome:
    """The outcome of a row whose line was lost: what the ledger knows, and no more."""
    text = "its line was damaged; the ledger knows the status only"
    if isinstance(work, EngageRequest):
        error = 0 if status is Status.ENGAGED else "line_lost"
        return Outcome(work.row, work.key, status, error=error, error_text=text)
    outcome = Outcome.invalid(work)
    return outcome if status is Status.INVALID else Outcome(outcome.row, outcome.key, status, error_text=text)
