"""The store of a run: what happens to each row, in the journal at once and in the result files soon after.

What one round of the event loop brings is one write: the outcomes first, then the attempts that are about
to leave. When it returns, no kill can take it, and only then do the bytes leave. No outcome waits for a disk
unless the run is to outlive a power cut, and no buffer grows without end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final, TypeVar

import anyio
import orjson
from anyio import to_thread

from engager.errors import RecordingError
from engager.models import AttemptHistory, EngageRequest, Invalid, Outcome, Row, Skipped, Status, Unreadable
from engager.store import clock, frames
from engager.store.files.fields import result_fields
from engager.store.files.formats import REJECT_FILE, Formats, RejectFile
from engager.store.files.result_files import ResultFiles
from engager.store.frames import Settlement
from engager.store.journal import Journal
from engager.store.missing import MissingLines
from engager.store.row_states import ALL_SETTLED, STATUS_OF, code_of
from engager.store.state import RunState, Unwritten, request_of
from engager.store.syncing import Disk
from engager.store.tally import Tally

#: Outcomes that are appended to the files in one go.
CHUNK: Final = 1024

#: Seconds after which an outcome stands in its files at the latest; less where a test wants to see more.
FRESH_SECONDS = 0.5

#: Seconds between the first attempts of one record, at most.
_TOGETHER: Final = 1.0

# To ask an enumeration for a member takes a call, and this one is asked for with every row.
_ENGAGED: Final = Status.ENGAGED

#: A row that is not settled, or whose line was lost.
Due = EngageRequest | Invalid | Skipped | Unreadable

#: A row of the input, whether or not it is a request yet.
Record = TypeVar("Record", bound=Row | Due)


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How a run is stored."""

    formats: Formats
    synced: bool  #: what is stored is brought to the disk before it is relied on
    token: str  #: by which a token is known again, and cannot be guessed


class ResultStore:
    """The open store of a run. Made outside of the event loop, used within it after `start`."""

    def __init__(
        self,
        journal: Journal,
        files: ResultFiles,
        state: RunState,
        options: StoreOptions,
        missing: MissingLines | None = None,
    ) -> None:
        self.files, self.state, self.missing = files, state, missing or MissingLines()
        self.settled = 0  #: rows that this process has settled
        #: Called for each row that was not engaged: how many are settled by then, and what became of it.
        self.failing: Callable[[int, str], None] | None = None
        self.clock: Callable[[], float] = clock.seconds
        self._journal, self._formats, self._synced = journal, options.formats, options.synced
        self._redact = lru_cache(maxsize=256)(options.formats.redact)  # what endpoints say, they say often
        self._rows: list[int] = []  #: engaged rows that the journal does not have yet, and their lines
        self._lines: list[bytes] = []
        self._records: list[bytes] = []  #: attempts that ended and settled nothing
        self._settlements: list[Settlement] = []
        self._leaving: list[EngageRequest] = []  #: what is to be stored with the next sync
        self._waiting = 0  #: rows whose lines are not being appended yet
        self._checkpoints: list[tuple[int, bytes, bool]] = []
        self._pending = state.unwritten  #: lines that the files do not have yet
        self._fresh: list[dict[str, Any]] = []  #: fields that are not counted yet
        self._past = bool(state.open) or state.rows.end > 1
        self._flush_steps = 0
        self._writes = 0  #: to the files, begun so far
        self._fault: Exception | None = None  #: why one of them failed
        self._closing = ExitStack()

    def start(self, attempts: int) -> None:
        """Begin to work, inside the running loop; so many attempts may wait for one sync of the disk."""
        self._loop = asyncio.get_running_loop()
        self._writing = anyio.Lock()
        self._disk = None
        if self._synced:
            self._disk = Disk(self._begin_sync, enough=attempts)
            self._closing.callback(self._disk.close)

    @property
    def hold(self) -> Callable[[list[EngageRequest]], asyncio.Future[None]] | None:
        """With `durability = "disk"`: like `before_send`, with the next sync of the disk.

        What it returns is done when the disk has the attempts. It is shared by many.
        """
        return None if self._disk is None else self._hold

    @property
    def tally(self) -> Tally:
        """The account so far."""
        self._count()
        return self.state.tally.copy()

    # What happens to rows

    def history(self, records: Sequence[Record]) -> Sequence[Record]:
        """Those of some rows, which follow one another, that are not settled, or lack a line in a file."""
        if not self._past or not records:
            return records
        first, last = _number(records[0]), _number(records[-1])
        codes = self.state.rows.read(first, last - first + 1)
        if not self.missing and not codes.translate(None, ALL_SETTLED):
            return []
        return [each for each in records if self._is_due(_number(each), codes[_number(each) - first])]

    def _is_due(self, row: int, code: int) -> bool:
        status = STATUS_OF[code]
        return status is None or self.missing.lacks(row, REJECT_FILE.get(status, RejectFile.NONE))

    def recalled(self, works: list[Due]) -> list[Due | Outcome]:
        """Due rows with what is already known of them."""
        return [self._recalled(work) for work in works] if self._past else [*works]

    def _recalled(self, work: Due) -> Due | Outcome:
        row = _number(work)
        if (status := STATUS_OF[self.state.rows[row]]) is not None:
            return _known(work, status)
        if isinstance(work, EngageRequest) and (history := self.state.again(row)) is not None:
            work.history = history
        return work

    def checkpoint(self, position: int, digest: bytes, final: bool) -> None:
        """Remember the input's beginning, before any row leaves that it covers. Called from any thread."""
        self._checkpoints.append((position, digest, final))

    def before_send(self, requests: list[EngageRequest]) -> None:
        """Store the attempts that are about to leave, and all that came before; `requests` is emptied.

        When this returns, no kill can take it. Raises RecordingError.
        """
        state, first, others = self.state, [], []
        now = oldest = clock.seconds()
        for request in requests:
            history, row = request.history, request.row.number
            left = now if history.first_left is None else history.first_left
            if history.attempts or history.request_id_version or history.in_doubt or left < now - _TOGETHER:
                others.append(request_of(row, row, history, True))
                state.resting.discard(row)
            else:
                first.append(row)
                oldest = min(oldest, left)
            state.open[row] = history
            if row > state.last_row:
                state.last_row = row
        requests.clear()
        leaving = [frames.first_attempts(first, oldest)] if first else []
        self._store([*leaving, frames.opened(others)] if others else leaving)

    def _hold(self, requests: list[EngageRequest]) -> asyncio.Future[None]:
        assert self._disk is not None  # noqa: S101 - see `hold`
        self._leaving = requests  # of all who come here, there is one
        return self._disk.holds()

    def _begin_sync(self) -> Callable[[], None]:
        self.before_send(self._leaving)
        return self._journal.sync()

    def attempt_ended(self, request: EngageRequest) -> None:
        """An attempt came to an end that does not settle its row."""
        row, state = request.row.number, self.state
        if row in state.open:
            state.resting.add(row)
            state.open[row] = request.history
            self._records.append(frames.opened([request_of(row, row, request.history, False)]))
            self._store_soon()

    def after(self, outcome: Outcome, life: AttemptHistory | None = None) -> Awaitable[None] | None:
        """Take an outcome in; now and then its bringer must wait for what this returns: the files.

        The journal has it within two rounds of the loop, and before anything else leaves.
        """
        fields = result_fields(outcome, self._redact)
        line = self._formats.result_line(fields)
        self._fresh.append(fields)
        if outcome.status is _ENGAGED:
            self._rows.append(outcome.row.number)
            self._lines.append(line)
        else:
            self._settle_other(outcome, line, life)
        return self._settled()

    def _settle_other(self, outcome: Outcome, line: bytes, life: AttemptHistory | None) -> None:
        version = life.request_id_version if life is not None else 0
        left = life.first_left if life is not None and life.first_left is not None else clock.seconds()
        reject = REJECT_FILE.get(outcome.status, RejectFile.NONE)
        kept = self._formats.reject_line(outcome) if reject else b""
        code = code_of(outcome.status, version)
        self._settlements.append(Settlement(outcome.row.number, code, version, left, reject, line, kept))
        if self.failing is not None and outcome.status is not Status.SKIPPED:
            self.failing(self.settled + 1, f"{outcome.status}: {outcome.error}")

    def restore(self, outcome: Outcome) -> Awaitable[None] | None:
        """Write the lines of a settled row again, in those files that lost them."""
        row = outcome.row.number
        fields = result_fields(outcome, self._redact)
        reject = REJECT_FILE.get(outcome.status, RejectFile.NONE)
        line = self._formats.result_line(fields) if self.missing.lacks(row) else b""
        lacks = reject and self.missing.lacks_rejected(row, reject)
        kept = self._formats.reject_line(outcome) if lacks else b""
        code, moment = self.state.rows[row], self.state.rows.moment(row)
        version = self.state.version_of(row, code) or 0
        self._settlements.append(Settlement(row, code, version, moment, reject, line, kept))
        if line:
            self._fresh.append(fields)
        return self._settled()

    def _settled(self) -> Awaitable[None] | None:
        self.settled += 1
        self._store_soon()
        self._waiting += 1
        # One of the workers writes, and the others go on, until the disk falls too far behind.
        return self.flush() if self._waiting == CHUNK or self._waiting >= 2 * CHUNK else None

    # The journal

    def _store_soon(self) -> None:
        if not self._flush_steps:
            self._flush_steps = 2
            self._loop.call_soon(self._store_later)

    def _store_later(self) -> None:
        """In the next round but one: by then, requests that leave have brought most outcomes along."""
        self._flush_steps -= 1
        if self._flush_steps:
            self._loop.call_soon(self._store_later)
        elif not self._journal.is_broken:  # else all who send or write hear of it
            with suppress(RecordingError):
                self._store([])

    def _store(self, leaving: list[bytes]) -> None:
        """Write what came since the last write, in one frame. Raises RecordingError."""
        records: list[bytes] = []
        while self._checkpoints:
            one = self._checkpoints.pop(0)
            records.append(frames.checkpoint(*one))
            self.state.checkpoints.add(*one)
        records += self._records  # of a row that is settled in this round, too, this came before
        self._records.clear()
        if self._rows:
            records.append(frames.engaged(self._rows, self._lines))
            self.state.engage(self._rows)
            self._pending.results += self._lines
            self._rows, self._lines = [], []
        for settlement in self._settlements:
            records.append(frames.settled(settlement))
            self.state.settle(settlement)
            self._pending.add(settlement)
        self._settlements.clear()
        records += leaving
        if records:
            self._journal.write(records, self.state.last_row)

    # The result files

    async def flush(self) -> None:
        """Append what is pending to the files, in order."""
        asked = self._writes
        async with self._writing:
            if self._writes <= asked:  # else by the write that began after this was asked for
                await self._write(self._append_pending)

    async def _write(self, step: Callable[[], Awaitable[None]]) -> None:
        """One at a time, and to its end: what was taken must be written, as nothing else has it."""
        if self._fault is not None:
            raise self._fault
        self._writes += 1
        with anyio.CancelScope(shield=True):
            try:
                await step()
            except Exception as fault:
                self._fault = fault  # nothing may be committed after what was not written
                raise

    async def _append_pending(self, sync: bool = False) -> None:
        self._store([])
        taken, self._pending, self._waiting = self._pending, Unwritten(), 0
        self._count()
        await to_thread.run_sync(self._append, taken, sync)
        self.state.committed = self.files.facts()
        self._journal.write([frames.commit(orjson.dumps(self.state.committed))], self.state.last_row)

    def _append(self, lines: Unwritten, sync: bool) -> None:
        try:
            line = self._formats.results.line
            self.files.append([line(fields) for fields in lines.results], lines.rejected)
            if sync:
                self.files.sync()
        except OSError as fault:
            raise RecordingError(
                f"{fault.filename or self.files.folder}: outcomes cannot be written: {fault.strerror}. "
                "Nothing is lost: mend it, and run the same command again."
            ) from fault

    async def keep_fresh(self) -> None:
        """Append what is pending every half second, and begin the journal anew where it has grown."""
        while True:
            await anyio.sleep(FRESH_SECONDS)
            self._journal.check()
            if self._journal.is_full:
                async with self._writing:
                    await self._write(self._turn)
            elif self._waiting:
                await self.flush()

    async def _turn(self) -> None:
        """Begin the journal anew. The lines of settled rows are on the disk then, or in the snapshot."""
        await self._append_pending(sync=True)
        self._store([])
        self._count()
        self.state.unwritten = self._pending
        bring = self._journal.begin_anew(self.state.snapshot(), self.state.last_row)
        await to_thread.run_sync(bring)
        self._journal.turned()

    def _count(self) -> None:
        fresh, self._fresh = self._fresh, []
        self.state.tally.count(fresh)

    async def finish(self) -> None:
        """Append the rest; with `durability = "disk"`, all of it is on the disk then."""
        async with self._writing:
            await self._write(partial(self._append_pending, self._synced))
            if self._synced:
                await to_thread.run_sync(self._journal.sync())

    def close(self) -> None:
        """Close the files; what was stored stays."""
        try:
            # What is about to leave has not left; what has become of other rows is known.
            if not self._journal.is_broken:
                self._store([])
        finally:
            self._closing.close()
            self.files.close()
            self._journal.close()


def _number(work: Row | Due) -> int:
    return work.number if isinstance(work, Row | Unreadable) else work.row.number


def _known(work: Due, status: Status) -> Outcome:
    """The outcome of a row whose line was lost: what the journal knows, and no more."""
    text = "its line was damaged; the journal knows the status only"
    if isinstance(work, EngageRequest):
        error = 0 if status is Status.ENGAGED else "line_lost"
        return Outcome(work.row, work.key, status, error=error, error_text=text)
    outcome = Outcome.unsent(work)
    return outcome if status is outcome.status else Outcome(outcome.row, outcome.key, status, error_text=text)
