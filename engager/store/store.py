"""The store of a run: all events of rows, in the journal at once and in the result files soon after.

One round of the event loop is one write: its outcomes first, then the attempts that are about to leave.
Invariant: bytes leave only after the write returns, and then it survives a kill. No outcome waits for a disk
unless the run must survive a power failure, and every buffer is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final

import anyio
import orjson
from anyio import to_thread

from engager.errors import RecordingError
from engager.models import ENGAGED, TAKEN, EngageRequest, Outcome, Status, number_of
from engager.reader.outcome_fields import result_fields
from engager.store import clock, frames
from engager.store.files.formats import REJECT_FILE, Formats, RejectFile
from engager.store.files.result_files import ResultFiles
from engager.store.frames import Settlement
from engager.store.history import History, Record, RowHistory
from engager.store.journal import Journal
from engager.store.row_states import ALL_SETTLED, STATUS_OF, code_of, is_lost, status_without_line
from engager.store.state import RunState, Unwritten, open_request
from engager.store.syncing import Disk
from engager.store.tally import Tally

#: Outcomes that are appended to the files at once.
CHUNK: Final = 1024

#: Seconds after which an outcome is in its files at the latest; tests set less.
FRESH_SECONDS = 0.5

#: Seconds between the first attempts of one record, at most.
_TOGETHER: Final = 1.0

#: Rows that the failure threshold does not count.
_NO_FAILURE: Final = TAKEN | {Status.SKIPPED}


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How a run is stored."""

    formats: Formats
    synced: bool  #: a record is synced to the disk before anything relies on it
    token: str  #: identifies the token, which cannot be derived from it


class ResultStore:
    """The open store of a run. Create it outside the event loop; use it within the loop after `start`."""

    def __init__(
        self,
        journal: Journal,
        files: ResultFiles,
        state: RunState,
        options: StoreOptions,
    ) -> None:
        self.files, self.state = files, state
        self.settled = 0  #: rows that this process has settled
        #: Called for each row that has failed, with the number of settled rows and the error.
        self.failing: Callable[[int, str], None] | None = None
        self.clock: Callable[[], float] = clock.seconds
        self._journal, self._formats, self._synced = journal, options.formats, options.synced
        self._redact = lru_cache(maxsize=256)(options.formats.redact)  # endpoints repeat most of their texts
        self._rows: list[int] = []  #: engaged rows that the journal does not have yet, and their lines
        self._lines: list[bytes] = []
        self._records: list[bytes] = []  #: attempts that ended and settled no row
        self._settlements: list[Settlement] = []
        self._leaving: list[EngageRequest] = []  #: to be stored with the next sync
        self._waiting = 0  #: rows whose lines are not being appended yet
        self._checkpoints: list[tuple[int, bytes, bool]] = []
        self._pending = state.unwritten  #: lines that the files do not have yet
        self._fresh: list[dict[str, Any]] = []  #: fields that are not counted yet
        #: Each row, settled or not, of a request that an earlier process left open and that carries several.
        self._carried = {
            row: one
            for one in state.requests()
            for row in (range(one.first, one.last + 1) if one.last > one.first else ())
        }
        self._past = bool(state.open) or state.rows.end > 1
        self._flush_steps = 0
        self._writes = 0  #: to the files, begun so far
        self._fault: Exception | None = None  #: why one of them failed
        self._closing = ExitStack()

    @property
    def is_synced(self) -> bool:
        """Whether `before_send` waits for the disk."""
        return self._synced

    def start(self, attempts: int) -> None:
        """Begin to work, inside the running loop; so many attempts may wait for one sync of the disk."""
        self._loop = asyncio.get_running_loop()
        self._writing = anyio.Lock()
        self._disk = None
        if self._synced:
            self._disk = Disk(self._begin_sync, enough=attempts)
            self._closing.callback(self._disk.close)

    @property
    def tally(self) -> Tally:
        """The statistics so far."""
        self._count()
        return self.state.tally.copy()

    # Events of rows

    def history(self, records: Sequence[Record]) -> History:
        """The due rows among consecutive rows, with their histories."""
        if not self._past or not records:
            return History(records)
        first, last = number_of(records[0]), number_of(records[-1])
        codes = self.state.rows.read(first, last - first + 1)
        if not codes.translate(None, ALL_SETTLED) and not self._carried:
            return History([])
        known = {
            row: self._known(row, code)
            for row, code in enumerate(codes, first)
            if STATUS_OF[code] is None or row in self._carried
        }
        return History([each for each in records if number_of(each) in known], known)

    def _known(self, row: int, code: int) -> RowHistory:
        if (status := status_without_line(code)) is not None:
            return RowHistory(status, self._carried.get(row))
        request = self._carried.get(row) or self.state.request_of(row)
        return RowHistory(STATUS_OF[code], request, is_lost(code))

    def checkpoint(self, position: int, digest: bytes, final: bool) -> None:
        """Store a checkpoint of the input before any row before it leaves. Call it from any thread."""
        self._checkpoints.append((position, digest, final))

    def before_send(self, requests: list[EngageRequest]) -> asyncio.Future[None] | None:
        """Store the attempts that are about to leave, and all records before them; `requests` is emptied.

        When this returns None, the records survive a kill. With `durability = "disk"` it returns a future
        that is done after the sync, and that many attempts share: shield it from a cancellation. Raises
        RecordingError.
        """
        if self._disk is None:
            self._store_leaving(requests)
            return None
        self._leaving += requests
        requests.clear()
        return self._disk.next_sync()

    def _begin_sync(self) -> Callable[[], None]:
        self._store_leaving(self._leaving)
        return self._journal.sync()

    def _store_leaving(self, requests: list[EngageRequest]) -> None:
        state, now, first, others = self.state, clock.seconds(), {}, []
        for request in requests:
            row, history = request.row.number, request.history
            attempts, version, left, in_doubt, _ = history
            is_first = not (attempts or version or in_doubt or request.last or row in state.open)
            left = now if left is None else left
            if is_first and left >= now - _TOGETHER:
                first[row] = left
                state.tally.requests += 1
                state.open[row] = history
            else:
                others.append(open_request(request, True))
                state.leave(others[-1])
        requests.clear()
        state.last_row = max([state.last_row, *first, *[one.last for one in others]])
        leaving = [frames.first_attempts([*first], min(first.values()))] if first else []
        self._store([*leaving, frames.opened(others)] if others else leaving)

    def came_back(self, request: EngageRequest) -> None:
        """Store that a request, which was about to leave, has not left: a sender returned it."""
        self._store_due(request, came_back=True)

    def after(self, outcomes: Sequence[Outcome], due: Sequence[EngageRequest] = ()) -> Awaitable[None] | None:
        """Store the result of an attempt in one frame, so that it survives a kill whole or not at all.

        The journal has it within two rounds of the loop, and before anything else leaves.

        Args:
            outcomes: the outcomes of settled rows.
            due: requests with the other rows of the attempt, which must be sent again.

        Returns:
            An awaitable if the caller must wait until the files have caught up; otherwise None.

        """
        for request in due:
            self._store_due(request)
        for outcome in outcomes:
            self._settle(outcome)
        if not outcomes:
            return None
        self.settled += len(outcomes)
        self._store_soon()
        before, self._waiting = self._waiting, self._waiting + len(outcomes)
        # One worker writes while the others continue, until too many lines wait for the disk.
        return self.flush() if before < CHUNK <= self._waiting or self._waiting >= 2 * CHUNK else None

    def _store_due(self, request: EngageRequest, came_back: bool = False) -> None:
        rows = [member.row.number for member in request.members] or [request.row.number]
        # Otherwise no attempt has left, and nothing has changed. The first row may be settled.
        if any(row in self.state.open for row in rows):
            one = open_request(request, False, came_back)
            self.state.rest(one)
            self._records.append(frames.opened([one]))
            self._store_soon()

    def _settle(self, outcome: Outcome) -> None:
        if self._carried and self.state.is_settled(outcome.row.number):
            return  # a member of a request that was sent again for the sake of other rows
        fields = result_fields(outcome, self._redact)
        line = self._formats.result_line(fields)
        self._fresh.append(fields)
        if outcome.status is ENGAGED:
            self._rows.append(outcome.row.number)
            self._lines.append(line)
        else:
            self._settle_other(outcome, line)

    def _settle_other(self, outcome: Outcome, line: bytes) -> None:
        request = self.state.request_of(outcome.row.number)
        version = 0 if request is None else request.history.request_id_version
        left = None if request is None else request.history.first_left
        left = clock.seconds() if left is None else left
        reject = REJECT_FILE.get(outcome.status, RejectFile.NONE)
        rejected = self._formats.reject_line(outcome) if reject else b""
        code = code_of(outcome.status, version)
        self._settlements.append(Settlement(outcome.row.number, code, left, reject, line, rejected))
        is_news = status_without_line(self.state.rows[outcome.row.number]) is None
        if self.failing is not None and outcome.status not in _NO_FAILURE and is_news:
            self.failing(self.settled + 1, f"{outcome.status}: {outcome.error}")

    # The journal

    def _store_soon(self) -> None:
        if not self._flush_steps:
            self._flush_steps = 2
            self._loop.call_soon(self._store_later)

    def _store_later(self) -> None:
        """Write in the second round from now: by then, requests that leave have stored most outcomes."""
        self._flush_steps -= 1
        if self._flush_steps:
            self._loop.call_soon(self._store_later)
        elif not self._journal.is_broken:  # else every further write raises it
            with suppress(RecordingError):
                self._store([])

    def _store(self, leaving: list[bytes]) -> None:
        """Write all records since the last write, in one frame. Raises RecordingError."""
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
        """Append the pending lines to the files, in order."""
        asked = self._writes
        async with self._writing:
            if self._writes <= asked:  # otherwise the write that began after this call has done it
                await self._write(self._append_pending)

    async def _write(self, step: Callable[[], Awaitable[None]]) -> None:
        """Complete one step at a time: only the step has the lines that it writes."""
        if self._fault is not None:
            raise self._fault
        self._writes += 1
        with anyio.CancelScope(shield=True):
            try:
                await step()
            except Exception as fault:
                self._fault = fault  # nothing may be committed after lines that were not written
                raise

    async def _append_pending(self, sync: bool = False) -> None:
        self._store([])
        lines, self._pending, self._waiting = self._pending, Unwritten(), 0
        self._count()
        await to_thread.run_sync(self._append, lines, sync)
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
                "Nothing is lost. Fix this, and run the same command again."
            ) from fault

    async def keep_fresh(self) -> None:
        """Call `refresh` every half second."""
        while True:
            await anyio.sleep(FRESH_SECONDS)
            await self.refresh()

    async def refresh(self) -> None:
        """Append the pending lines, and turn the journal if it has grown. Raises RecordingError."""
        self._journal.check()
        if self._journal.is_full:
            async with self._writing:
                await self._write(self._turn)
        elif self._waiting:
            await self.flush()

    async def _turn(self) -> None:
        """Turn the journal. The lines of settled rows are then on the disk, or in the snapshot."""
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
        """Append the remaining lines; with `durability = "disk"`, they are on the disk when this returns."""
        async with self._writing:
            await self._write(partial(self._append_pending, self._synced))
            if self._synced:
                await to_thread.run_sync(self._journal.sync())

    def close(self) -> None:
        """Close the files."""
        try:
            # The requests that are about to leave have not left; the outcomes of other rows are known.
            if not self._journal.is_broken:
                self._store([])
        finally:
            self._closing.close()
            self.files.close()
            self._journal.close()
