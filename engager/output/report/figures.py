"""The figures of a report. Memory grows neither with the rows nor with the time.

Time is divided into cells of a tenth of a second; if there are too many, neighbouring cells are joined. A
cell without an outcome does not exist, so a run may pause for any time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from math import floor
from typing import Any

from engager.config.sanitize import sanitized
from engager.models import TAKEN, Status
from engager.store.tally import MAX_ERROR, Histogram, RecentRequests

#: Maximum number of cells.
MAX_CELLS = 480

#: Widths of a cell in tenths of a second: each is a multiple of the previous one, so cells can be joined.
_WIDTHS = (1, 5, 10, 50, 100, 300, 600, 3_000, 6_000, 18_000, 36_000, 108_000, 216_000, 432_000, 864_000)

#: Maximum number of error kinds, of sample rows of each, and of characters of a key and of a text.
MAX_KINDS, MAX_SAMPLES, MAX_KEY, MAX_TEXT = 200, 5, 120, 300

#: Rows with this many attempts or more are counted together.
MANY_ATTEMPTS = 10


@dataclass(slots=True)
class Cell:
    """The outcomes of one interval of time."""

    statuses: dict[str, int] = field(default_factory=lambda: dict.fromkeys(map(str, Status), 0))
    requests: int = 0  #: whose responses these outcomes come from
    latency: Histogram = field(default_factory=Histogram)  #: of these requests, as `waited`
    waited: Histogram = field(default_factory=Histogram)
    in_flight: int = 0  #: the most requests in flight, if that was observed

    @property
    def rows(self) -> int:
        """Number of outcomes."""
        return sum(self.statuses.values())

    def joined(self, other: Cell) -> Cell:
        """Add another cell to this one."""
        for status, rows in other.statuses.items():
            self.statuses[status] += rows
        self.requests += other.requests
        self.latency.merge(other.latency)
        self.waited.merge(other.waited)
        self.in_flight = max(self.in_flight, other.in_flight)
        return self


@dataclass(frozen=True, slots=True)
class SampleRow:
    """A row with an error."""

    row: str
    key: str
    http_status: str
    text: str


@dataclass(slots=True)
class Kind:
    """One kind of error."""

    status: str
    error: str
    first: str
    last: str
    rows: int = 0
    samples: list[SampleRow] = field(default_factory=list)


class Figures:
    """The figures of all rows."""

    def __init__(self, width: int = _WIDTHS[0]) -> None:
        """Begin with cells of this width, in tenths of a second."""
        self.cells: dict[int, Cell] = {}  #: by their beginning, in widths since the epoch
        self.kinds: dict[tuple[str, str], Kind] = {}
        self.attempts_by_row: Counter[int] = Counter()
        self.attempts = 0
        self.duplicates = 0
        self.last = ""  #: the latest moment, UTC
        self._recent = RecentRequests()
        self._widths = (wider for wider in _WIDTHS if wider > width)
        self._width = width
        self._tenth, self._cell = "", Cell()

    @property
    def width(self) -> float:
        """Width of a cell in seconds."""
        return self._width / 10

    @property
    def whole(self) -> Cell:
        """All cells joined."""
        return reduce(Cell.joined, self.cells.values(), Cell())

    def count(self, line: Mapping[str, Any]) -> None:
        """Count one line. A line that engager did not write raises and changes nothing."""
        # Everything that can raise comes before the counters change.
        status, latency, waited = line["status"], line["latency_ms"], line["waited_ms"]
        attempts, duplicate, error = line["attempts"], line["duplicate"] is True, line["error"]
        request_id = line["request_id"] or None
        slow = None if latency is None else Histogram.bucket(latency)
        late = None if waited is None else Histogram.bucket(waited)
        counted = attempts if 0 <= attempts < MANY_ATTEMPTS else MANY_ATTEMPTS
        if status not in self._cell.statuses:
            raise ValueError("unknown status")
        if (tenth := line["finished_at"][:21]) != self._tenth:
            self._cell, self._tenth = self._cell_at(tenth), tenth
            self.last = max(self.last, tenth)
        cell = self._cell
        cell.statuses[status] += 1
        if request_id is None or self._recent.is_new(request_id):  # a batch has its times in many lines
            cell.requests += request_id is not None
            if slow is not None:
                cell.latency.buckets[slow] += 1
            if late is not None:
                cell.waited.buckets[late] += 1
        self.attempts_by_row[counted] += 1
        self.attempts += attempts
        self.duplicates += duplicate
        if status not in TAKEN:
            self._count_error(status, str(error)[:MAX_ERROR], line)

    def _cell_at(self, moment: str) -> Cell:
        then = datetime.fromisoformat(f"{moment}+00:00")
        if not 1970 <= then.year < 9000:
            raise ValueError("impossible time")
        tenth = floor(then.timestamp() * 10 + 0.5)
        if (index := tenth // self._width) not in self.cells:
            while len(self.cells) >= MAX_CELLS:
                self.widen()
            index = tenth // self._width
        return self.cells.setdefault(index, Cell())

    def widen(self) -> None:
        """Join neighbouring cells."""
        width = next(self._widths, self._width * 2)
        cells: dict[int, Cell] = {}
        for index, cell in self.cells.items():
            wide = index * self._width // width
            cells.setdefault(wide, Cell()).joined(cell)  # a thread may still draw the old cells
        self.cells, self._width, self._tenth = cells, width, ""

    def _count_error(self, status: str, error: str, line: Mapping[str, Any]) -> None:
        kind, moment = (status, error), line["finished_at"]
        if kind not in self.kinds and len(self.kinds) >= MAX_KINDS:
            kind = (status, "other")
        found = self.kinds.get(kind)
        if found is None:
            found = self.kinds[kind] = Kind(status, _cut(kind[1], MAX_ERROR), moment, moment)
        found.rows += 1
        found.first, found.last = min(found.first, moment), max(found.last, moment)
        if len(found.samples) < MAX_SAMPLES:
            found.samples.append(_sample(line))


def _sample(line: Mapping[str, Any]) -> SampleRow:
    key, text = line["key"], line["error_text"]
    return SampleRow(
        str(line["row"]),
        _cut("" if key is None else str(key), MAX_KEY),
        str(line["http_status"] or ""),
        _cut(text or "", MAX_TEXT),
    )


def _cut(text: str, longest: int) -> str:
    """Limit a text and replace characters that are not printable."""
    shown = sanitized(text[:longest])
    return shown if len(text) <= longest else f"{shown}…"
