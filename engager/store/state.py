"""What is known of a run: the state that the frames of the journal change and its snapshots say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from struct import Struct
from typing import Any, Final

import orjson

from engager.models import AttemptHistory, Status
from engager.store import frames
from engager.store.checkpoints import Checkpoints
from engager.store.clock import Moment, boot_id, on_boot_clock, this_moment
from engager.store.frames import Context, Kind, OpenRequest, Settlement
from engager.store.journal import Chain
from engager.store.row_states import AGAIN, ENGAGED, FAILED, IN_DOUBT, LOST, STATUS_OF, VERSIONS, RowStates
from engager.store.tally import Tally

#: Rows whose many versions of a request id are remembered.
_MAX_VERSIONS: Final = 100_000

_LENGTH: Final = Struct("<I")

#: When something was, on the clock that is gone by now.
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
        """Without so many lines of results, and of each reject file, at the beginning."""
        seen, left = [0, 0, 0], []
        for one in self.rejected:
            seen[one[1]] += 1
            if seen[one[1]] > rejected[one[1]]:
                left.append(one)
        return Unwritten(self.results[results:], left)


@dataclass(slots=True)
class RunState:
    """What is known of a run. Moments are seconds on the boot clock of this boot."""

    rows: RowStates = field(default_factory=RowStates)
    open: dict[int, AttemptHistory] = field(default_factory=dict)  #: open requests, by their first rows
    resting: set[int] = field(default_factory=set)  #: those of them without an attempt in flight
    last_rows: dict[int, int] = field(default_factory=dict)  #: of requests that carry more than one row
    tally: Tally = field(default_factory=Tally)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    last_row: int = 0  #: the largest row of which an attempt left, in this pass
    passes: int = 0  #: how often rows were opened again
    lost_since: float = inf  #: what a damaged part of the journal said did not happen before
    versions: dict[int, int] = field(default_factory=dict)  #: of request ids that were renewed often
    committed: dict[str, Any] = field(default_factory=dict)  #: how far the result files have come
    saved: dict[str, Any] = field(default_factory=dict)  #: how far they had come at the snapshot
    unwritten: Unwritten = field(default_factory=Unwritten)  #: what came after `saved`

    def open_request(self, one: OpenRequest) -> None:
        """Remember a request of which an attempt has left."""
        left = None if one.first_left == inf else one.first_left
        history = AttemptHistory(one.attempts, one.version, left, one.in_doubt, one.forced)
        self.open[one.first] = history
        (self.resting.discard if one.in_flight else self.resting.add)(one.first)
        if one.last > one.first:
            self.last_rows[one.first] = one.last

    def requests(self) -> Iterable[OpenRequest]:
        """Every open request."""
        for first, history in self.open.items():
            yield request_of(first, self.last_rows.get(first, first), history, first not in self.resting)

    def engage(self, rows: Iterable[int]) -> None:
        """Settle rows that were engaged."""
        rows = list(rows)
        self.rows.store_all(rows, ENGAGED)
        for row in rows:
            self.forget(row)

    def settle(self, one: Settlement) -> None:
        """Settle a row."""
        self.rows.store(one.row, one.code)
        if one.code >= FAILED:
            self.rows.mark(one.row, one.first_left)
            if one.version >= VERSIONS and len(self.versions) < _MAX_VERSIONS:
                self.versions[one.row] = one.version
        self.forget(one.row)

    def forget(self, row: int) -> None:
        """The request of a row is not open any more."""
        if self.open.pop(row, None) is not None:
            self.resting.discard(row)
            self.last_rows.pop(row, None)

    def version_of(self, row: int, code: int) -> int | None:
        """How often the request id of a row was renewed; None where nobody knows any more."""
        low = code & VERSIONS
        return low if low < VERSIONS else self.versions.get(row)

    @property
    def lost_rows(self) -> int:
        """Rows of which nobody knows whether an attempt has left."""
        counts = self.rows.count()
        lost = sum(rows for code, rows in counts.items() if code & ~VERSIONS == LOST)
        return lost - sum(self.rows[row] & ~VERSIONS == LOST for row in self.open)

    def snapshot(self) -> bytes:
        """All of it, for `restored`."""
        facts, blocks = self.rows.state()
        parts = [
            blocks,
            self.checkpoints.state(),
            frames.opened(self.requests()),
            b"".join(self.unwritten.results),
            b"".join([line for *_, line in self.unwritten.rejected]),
        ]
        known = {
            "rows": facts,
            "tally": {
                **self.tally.state(),
                "samples": [[*kind, *one] for kind, one in self.tally.samples.items()],
            },
            "last_row": self.last_row,
            "passes": self.passes,
            "lost_since": None
            if self.lost_since == -inf
            else -1.0
            if self.lost_since == inf
            else self.lost_since,
            "versions": [*self.versions.items()],
            "committed": self.committed,
            "lines": len(self.unwritten.results),
            "rejected": [[row, file, len(line)] for row, file, line in self.unwritten.rejected],
            "parts": [len(part) for part in parts],
        }
        head = orjson.dumps(known)
        return b"".join((_LENGTH.pack(len(head)), head, *parts))

    @classmethod
    def restored(cls, data: memoryview, clock: OnThisClock, context: Context) -> RunState:
        """What `snapshot` said, its moments on this clock."""
        (length,) = _LENGTH.unpack_from(data)
        at = _LENGTH.size + length
        known = orjson.loads(data[_LENGTH.size : at])
        parts = []
        for size in known["parts"]:
            parts.append(bytes(data[at : at + size]))
            at += size
        state = cls(last_row=known["last_row"], passes=known["passes"], versions=dict(known["versions"]))
        state.rows = RowStates.restored(known["rows"], parts[0])
        state.rows.shift(clock(context.boot, context) - context.boot)
        state.checkpoints = Checkpoints.restored(parts[1])
        for _, body in frames.records_of(memoryview(parts[2])):
            state._reopen(body, clock, context)
        state.tally = Tally.restored(known["tally"])
        for status, error, *sample in known["tally"]["samples"]:
            state.tally.samples[Status(status), error] = (*sample,)
        since = known["lost_since"]
        state.lost_since = -inf if since is None else inf if since == -1.0 else clock(since, context)
        state.committed = state.saved = known["committed"]
        state.unwritten.results = parts[3].splitlines(keepends=True)
        end = 0
        for row, file, size in known["rejected"]:
            state.unwritten.rejected.append((row, file, parts[4][end : end + size]))
            end += size
        return state

    def _reopen(self, body: memoryview, clock: OnThisClock, context: Context) -> None:
        for one in frames.opened_of(body):
            left = one.first_left if one.first_left == inf else clock(one.first_left, context)
            self.open_request(one._replace(first_left=left))

    def apply(self, records: memoryview, clock: OnThisClock, context: Context) -> None:
        """Let the records of a frame happen again."""
        for kind, body in frames.records_of(records):
            if kind == Kind.ENGAGED:
                rows, lines = frames.engaged_of(body)
                self.engage(rows)
                self._add_lines(lines.splitlines(keepends=True))
            elif kind == Kind.SETTLED:
                one = frames.settled_of(body)
                self.settle(one._replace(first_left=clock(one.first_left, context)))
                self._add_lines([one.line] if one.line else [])
                self.unwritten.add(one._replace(line=b""))
            elif kind == Kind.OPEN:
                self._reopen(body, clock, context)
            elif kind == Kind.FIRST:
                moment, rows = frames.first_attempts_of(body)
                left = clock(moment, context)
                self.open.update({row: AttemptHistory(0, 0, left) for row in rows})
            elif kind == Kind.COMMIT:
                self.committed = orjson.loads(body)
            elif kind == Kind.CHECKPOINT:
                self.checkpoints.add(*frames.checkpoint_of(body))
        self.last_row = max(self.last_row, context.last_row)

    def _add_lines(self, lines: list[bytes]) -> None:
        self.unwritten.results += lines
        self.tally.count([orjson.loads(line) for line in lines])

    def lose(self, since: float) -> None:
        """A part of the journal is damaged: whatever it may have said may have happened."""
        self.lost_since = min(self.lost_since, since)
        for first, history in self.open.items():
            self.open[first] = history._replace(in_doubt=True)
        self.rows.lose(self.last_row)

    def interrupt(self, same_token: bool) -> None:
        """The process that sent is gone: the answers to what was in flight are lost."""
        for first, history in self.open.items():
            now = history
            if first not in self.resting:
                now = now.ended()._replace(in_doubt=True)
            if not same_token and now.first_left is not None:
                # The endpoint knows an id together with its token only.
                now = now._replace(first_left=-inf)
            if not now.in_doubt and now.first_left == -inf:
                now = now.renewed()
            self.open[first] = now
        self.resting = set(self.open)
        if not same_token:
            self.rows.shift(-inf)
            self.lost_since = min(self.lost_since, -inf) if self.lost_since < inf else inf

    def again(self, row: int) -> AttemptHistory | None:
        """What is known of a row that is due though it was taken up before; None for a fresh one."""
        if (history := self.open.get(row)) is not None:
            return history
        code = self.rows[row]
        version, form = self.version_of(row, code) or 0, code & ~VERSIONS
        if form == AGAIN:
            return AttemptHistory(0, version, self.rows.moment(row))
        if form == LOST:
            return AttemptHistory(1, version, self.lost_since, in_doubt=True)
        if form == AGAIN + IN_DOUBT - FAILED:
            return AttemptHistory(0, version, this_moment(0).boot, in_doubt=True, forced=True)
        return None

    def is_settled(self, row: int) -> bool:
        """Whether a row has its outcome."""
        return STATUS_OF[self.rows[row]] is not None


def request_of(first: int, last: int, life: AttemptHistory, in_flight: bool) -> OpenRequest:
    """An open request, by its life."""
    moment = inf if life.first_left is None else life.first_left
    return OpenRequest(
        first, last, life.attempts, life.request_id_version, moment, in_flight, life.in_doubt, life.forced
    )


def state_of(chain: Chain, begun: float) -> RunState:
    """What a journal says, its moments on the clock of this boot.

    Args:
        chain: the journal as it was read.
        begun: when the run began, in seconds since the epoch.

    """
    now, contexts = this_moment(boot_id()), [frame.context for frame in chain.frames]
    contexts += [chain.base.context] if chain.base else []
    latest_wall = max(context.wall for context in contexts)

    def clock(moment: float, context: Context) -> float:
        then = Moment(moment + context.wall - context.boot, moment, context.boot_id)
        return on_boot_clock(then, now, latest_wall)

    state, since = RunState(), on_boot_clock(Moment(begun, 0.0, 0), now, latest_wall)
    number, lost = 0, inf
    if chain.base is not None and chain.base.records is not None:
        state = RunState.restored(chain.base.records, clock, chain.base.context)
        number, since = chain.base.number, clock(chain.base.context.boot, chain.base.context)
    for frame in chain.frames:
        if frame.records is None or frame.number != number + 1:
            lost = min(lost, since)
        if frame.records is not None:
            state.apply(frame.records, clock, frame.context)
        number, since = frame.number, clock(frame.context.boot, frame.context)
        state.last_row = max(state.last_row, frame.context.last_row)
    if lost < inf:
        state.lose(lost)
    return state
