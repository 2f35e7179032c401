"""The state of a run, which the frames of the journal change and its snapshots contain."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

import orjson

from engager.models import AttemptHistory, EngageRequest
from engager.reader.checkpoints import Checkpoints
from engager.store import clock, frames
from engager.store.clock import Moment, on_boot_clock, this_moment
from engager.store.frames import Context, Kind, OpenRequest, Settlement
from engager.store.journal import Chain
from engager.store.row_states import (
    AGAIN,
    AGAIN_IN_DOUBT,
    ENGAGED,
    FAILED,
    LINE_LOST,
    LOST,
    STATUS_OF,
    UNTOUCHED,
    VERSIONS,
    RowStates,
    code_without_line,
)
from engager.store.tally import Tally

#: Represents minus infinity in a snapshot, as JSON has none.
_LONG_AGO: Final = -1e12

#: A moment on the clock of an earlier boot.
OnThisClock = Callable[[float, Context], float]


@dataclass(slots=True)
class Unwritten:
    """Lines that the result files do not have yet, in their order."""

    results: list[bytes] = field(default_factory=list)  #: as lines of JSON
    rejected: list[tuple[int, int, bytes]] = field(default_factory=list)  #: row, file, line

    def add(self, settlement: Settlement) -> None:
        """Add those of one settled row."""
        if settlement.line:
            self.results.append(settlement.line)
        if settlement.rejected:
            self.rejected.append((settlement.row, settlement.reject, settlement.rejected))

    def after(self, results: int, rejected: Sequence[int]) -> Unwritten:
        """The lines after the first ones of the results and of each reject file."""
        seen, left = [0, 0, 0], []
        for one in self.rejected:
            seen[one[1]] += 1
            if seen[one[1]] > rejected[one[1]]:
                left.append(one)
        return Unwritten(self.results[results:], left)


@dataclass(slots=True)
class RunState:
    """The state of a run. Moments are seconds on the boot clock of this boot."""

    rows: RowStates = field(default_factory=RowStates)
    #: The open request of each row without an outcome, if one carries it.
    open: dict[int, AttemptHistory] = field(default_factory=dict)
    #: The first and the last row of the request, of those that carry several.
    ranges: dict[int, tuple[int, int]] = field(default_factory=dict)
    resting: set[int] = field(default_factory=set)  #: rows of requests without an attempt in flight
    tally: Tally = field(default_factory=Tally)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    last_row: int = 0  #: the largest row of which an attempt left, in this pass
    passes: int = 0  #: the number of further passes
    lost_since: float = inf  #: a damaged part of the journal may contain events since this moment
    committed: dict[str, Any] = field(default_factory=dict)  #: the positions of the result files
    saved: dict[str, Any] = field(default_factory=dict)  #: their positions at the snapshot
    unwritten: Unwritten = field(default_factory=Unwritten)  #: the lines after `saved`

    def open_request(self, one: OpenRequest) -> None:
        """Store a request of which an attempt has left, in place of those that carried its rows."""
        codes = self.rows.read(one.first, one.last - one.first + 1)
        rows = [row for row, code in enumerate(codes, one.first) if STATUS_OF[code] is None]
        for row in rows:
            self.open[row] = one.history
            self.ranges.pop(row, None)
            if one.last > one.first:
                self.ranges[row] = one.first, one.last
        (self.resting.difference_update if one.in_flight else self.resting.update)(rows)

    def leave(self, one: OpenRequest) -> None:
        """Note that a request leaves, and count it, unless it was to leave before and had no connection."""
        ends = (one.first, one.last)  # one of them may be settled
        self.tally.requests += not any(row in self.open and row not in self.resting for row in ends)
        self.open_request(one)

    def rest(self, one: OpenRequest) -> None:
        """Note that a request has no attempt in flight, and do not count one that has not left after all."""
        self.tally.requests -= one.came_back
        self.open_request(one)

    def requests(self) -> list[OpenRequest]:
        """Every open request."""
        row_of = {self.ranges.get(row, (row, row)): row for row in self.open}
        return [OpenRequest(*ends, self.open[row], row not in self.resting) for ends, row in row_of.items()]

    @property
    def rows_in_flight(self) -> int:
        """Rows of the requests in flight."""
        return len(self.open) - len(self.resting)

    def engage(self, rows: Sequence[int]) -> None:
        """Settle rows that were engaged."""
        self.rows.store_all(rows, ENGAGED)
        self.forget(rows)

    def settle(self, one: Settlement) -> None:
        """Settle a row."""
        self.rows.store(one.row, one.code)
        if FAILED <= one.code < LINE_LOST:
            self.rows.mark(one.row, one.first_left)
        self.forget((one.row,))

    def forget(self, rows: Sequence[int]) -> None:
        """Note that the requests of these rows are not open any more."""
        for row in rows:
            if self.open.pop(row, None) is not None:
                self.ranges.pop(row, None)
        self.resting.difference_update(rows)

    @property
    def sent_rows(self) -> list[int]:
        """Rows without an outcome of which an attempt has left in this pass.

        A batch in doubt is open again from the start of a further pass on.
        """
        return [row for row, history in self.open.items() if history.attempts or row not in self.resting]

    @property
    def lost_rows(self) -> int:
        """Rows of which it is unknown whether an attempt has left."""
        counts = self.rows.count()
        lost = sum(rows for code, rows in counts.items() if code & ~VERSIONS == LOST)
        return lost - sum(self.rows[row] & ~VERSIONS == LOST for row in self.open)

    def snapshot(self) -> bytes:
        """Returns the whole state as the records of a frame."""
        facts, blocks = self.rows.state()
        facts |= {
            "last_row": self.last_row,
            "passes": self.passes,
            "lost_since": None if self.lost_since == inf else max(self.lost_since, _LONG_AGO),
        }
        return b"".join(
            (
                frames.rows(orjson.dumps(facts), blocks),
                *[frames.checkpoint(*one, final=True) for one in self.checkpoints.known()],
                frames.opened(self.requests()),
                frames.engaged([], self.unwritten.results),
                *[self._without_line(*one) for one in self.unwritten.rejected],
                frames.commit(orjson.dumps(self.committed)),
                frames.tally(orjson.dumps(self.tally.state())),
            )
        )

    def _without_line(self, row: int, file: int, line: bytes) -> bytes:
        return frames.settled(Settlement(row, self.rows[row], self.rows.moment(row), file, b"", line))

    def _restore_rows(self, body: memoryview, on_clock: OnThisClock, context: Context) -> None:
        data, blocks = frames.parse_rows(body)
        facts = orjson.loads(data)
        self.rows = RowStates.restored(facts, blocks)
        self.rows.shift(on_clock(context.boot, context) - context.boot)
        self.passes, since = facts["passes"], facts["lost_since"]
        self.last_row = facts["last_row"]
        self.lost_since = inf if since is None else on_clock(since, context) if since > _LONG_AGO else -inf

    def _reopen(self, body: memoryview, on_clock: OnThisClock, context: Context) -> None:
        for one in frames.parse_opened(body):
            if one.history.first_left is not None:
                moment = on_clock(one.history.first_left, context)
                one.history = one.history._replace(first_left=moment)
            if one.in_flight:  # in a snapshot, the tally that follows has counted it
                self.leave(one)
            else:
                self.rest(one)

    def apply(self, records: memoryview, on_clock: OnThisClock, context: Context) -> None:
        """Apply the records of a frame, as when they were written."""
        for kind, body in frames.split_records(records):
            if kind == Kind.ENGAGED:
                rows, lines = frames.parse_engaged(body)
                self.engage(rows)
                self._add_lines(lines.splitlines(keepends=True))
            elif kind == Kind.SETTLED:
                one = frames.parse_settled(body)
                self.settle(one._replace(first_left=on_clock(one.first_left, context)))
                self._add_lines([one.line] if one.line else [])
                self.unwritten.add(one._replace(line=b""))
            elif kind == Kind.OPEN:
                self._reopen(body, on_clock, context)
            elif kind == Kind.FIRST:
                moment, rows = frames.parse_first_attempts(body)
                left = on_clock(moment, context)
                self.open.update({row: AttemptHistory(0, 0, left) for row in rows})
                self.tally.requests += len(rows)
            elif kind == Kind.COMMIT:
                self.committed = orjson.loads(body)
            elif kind == Kind.CHECKPOINT:
                self.checkpoints.add(*frames.parse_checkpoint(body))
            elif kind == Kind.ROWS:
                self._restore_rows(body, on_clock, context)
            elif kind == Kind.TALLY:
                self.tally = Tally.restored(orjson.loads(body))
        self.last_row = max(self.last_row, context.last_row)

    def _add_lines(self, lines: list[bytes]) -> None:
        self.unwritten.results += lines
        self.tally.count([orjson.loads(line) for line in lines])

    def lose(self, since: float) -> None:
        """Note that a part of the journal is damaged: any event that it could contain may have happened."""
        self.lost_since = min(self.lost_since, since)
        for first, history in self.open.items():
            self.open[first] = history._replace(in_doubt=True)
        self._dissolve_overlapping()
        self.rows.lose(self.last_row)

    def _dissolve_overlapping(self) -> None:
        """Note of batches that another request has taken rows from that none can be repeated as it was."""
        overlapping = {
            (first, last)
            for first, last in set(self.ranges.values())
            if any(
                row in self.open and self.ranges.get(row) != (first, last) for row in range(first, last + 1)
            )
        }
        for row, ends in list(self.ranges.items()):
            if ends in overlapping:
                del self.ranges[row]
                self.open[row] = self.open[row]._replace(first_left=-inf)

    def note_line(self, row: int) -> None:
        """Note a line of a row that is not settled: an attempt may have left at any time."""
        if self.rows[row] == UNTOUCHED and row not in self.open:
            self.rows.store(row, LOST)
            self.lost_since = -inf

    def lose_lines(self, written: bytearray, pending: Container[int]) -> None:
        """Settled rows that are neither written nor pending are due for new lines of the same status."""
        for first, codes in [*self.rows.blocks()]:
            for row, code in enumerate(codes.rstrip(b"\0"), first):
                status = STATUS_OF[code]
                if status is not None and row not in pending and not written[row]:
                    self.rows.store(row, code_without_line(status))

    def interrupt(self, knows_ids: bool) -> None:
        """Note that the sending process ended: the responses to requests in flight are lost.

        `knows_ids`: the endpoint and the token are the same, so the endpoint knows the ids that it received.
        """
        for row, history in self.open.items():
            now = history
            if row not in self.resting:
                now = now.ended()._replace(in_doubt=True)
            if not knows_ids and now.first_left is not None:
                # The endpoint knows a request id only together with its token.
                now = now._replace(first_left=-inf)
            if not now.in_doubt and now.first_left == -inf:
                now = now.renewed()
            self.open[row] = now
        self.resting = set(self.open)
        if not knows_ids:
            self.rows.shift(-inf)
            self.lost_since = min(self.lost_since, -inf) if self.lost_since < inf else inf

    def request_of(self, row: int) -> OpenRequest | None:
        """The request that carries a row without an outcome; None if no attempt of it has left."""
        history = self.open.get(row) or self._history_of(row)
        if history is None:
            return None
        return OpenRequest(
            *self.ranges.get(row, (row, row)), history, row in self.open and row not in self.resting
        )

    def _history_of(self, row: int) -> AttemptHistory | None:
        """The history of a row of which no attempt is known to have left in this pass."""
        code = self.rows[row]
        version, form = code & VERSIONS, code & ~VERSIONS
        if form == AGAIN:
            return AttemptHistory(0, version, self.rows.moment(row))
        if form == LOST:
            return AttemptHistory(1, version, self.lost_since, in_doubt=True)
        if form == AGAIN_IN_DOUBT:
            return AttemptHistory(0, version, this_moment(0).boot, in_doubt=True, forced=True)
        return None

    def is_settled(self, row: int) -> bool:
        """Whether a row has its outcome, and its lines."""
        return STATUS_OF[self.rows[row]] is not None


def open_request(request: EngageRequest, in_flight: bool, came_back: bool = False) -> OpenRequest:
    """A request as it is in the journal."""
    first = request.row.number
    return OpenRequest(first, request.last or first, request.history, in_flight, came_back)


def state_of(chain: Chain, begun: float) -> RunState:
    """The state in a journal, with its moments on the clock of this boot.

    Args:
        chain: the content of the journal.
        begun: the start of the run, in seconds since the epoch.

    """
    now, contexts = this_moment(clock.boot_id()), [frame.context for frame in chain.frames]
    contexts += [chain.base.context] if chain.base else []
    latest_wall = max(context.wall for context in contexts)

    def on_clock(moment: float, context: Context) -> float:
        then = Moment(moment + context.wall - context.boot, moment, context.boot_id)
        return on_boot_clock(then, now, latest_wall)

    state, since = RunState(), on_boot_clock(Moment(begun, 0.0, 0), now, latest_wall)
    number, lost = 0, inf
    if chain.base is not None and chain.base.records is not None:
        state.apply(chain.base.records, on_clock, chain.base.context)
        state.saved = state.committed
        number, since = chain.base.number, on_clock(chain.base.context.boot, chain.base.context)
    for frame in chain.frames:
        if frame.records is None or frame.number != number + 1:
            lost = min(lost, since)
        if frame.records is not None:
            state.apply(frame.records, on_clock, frame.context)
        number, since = frame.number, on_clock(frame.context.boot, frame.context)
        state.last_row = max(state.last_row, frame.context.last_row)
    if lost < inf:
        state.lose(lost)
    return state
