"""Lines of results in, the figures of a report out. Memory grows neither with the rows nor with the time.

Time is kept in cells: they begin as tenths of a second, and whenever they become too many, they grow.
Cells without an outcome do not exist, so that a run may stand still for as long as it likes.
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
from engager.models import Status
from engager.store.tally import MAX_ERROR, Histogram

#: Cells that are kept at most.
MAX_CELLS = 480

#: Widths of a cell in tenths of a second: each is a multiple of the one before, so that cells can be joined.
_WIDTHS = (1, 5, 10, 50, 100, 300, 600, 3_000, 6_000, 18_000, 36_000, 108_000, 216_000, 432_000, 864_000)

#: Kinds of errors that are told apart, rows that are shown of each, and characters of what is shown.
MAX_KINDS, MAX_SAMPLES, MAX_KEY, MAX_TEXT = 200, 5, 120, 300

#: From so many tries on, rows are counted together.
MANY_TRIES = 10


@dataclass(slots=True)
class Cell:
    """The outcomes of one stretch of time."""

    statuses: dict[str, int] = field(default_factory=lambda: dict.fromkeys(map(str, Status), 0))
    latency: Histogram = field(default_factory=Histogram)
    waited: Histogram = field(default_factory=Histogram)

    @property
    def rows(self) -> int:
        """How many outcomes."""
        return sum(self.statuses.values())

    def joined(self, other: Cell) -> Cell:
        """Take in all that another has."""
        for status, rows in other.statuses.items():
            self.statuses[status] += rows
        self.latency.merge(other.latency)
        self.waited.merge(other.waited)
        return self


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One of the rows that met an error."""

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
    """All that a report says of the rows."""

    def __init__(self) -> None:
        self.cells: dict[int, Cell] = {}  #: by their beginning, in widths since the epoch
        self.kinds: dict[tuple[str, str], Kind] = {}
        self.tries: Counter[int] = Counter()
        self.attempts = 0
        self.duplicates = 0
        self.last = ""  #: the latest moment, UTC
        self._widths = iter(_WIDTHS[1:])
        self._width = _WIDTHS[0]
        self._tenth, self._cell = "", Cell()

    @property
    def width(self) -> float:
        """Seconds that a cell spans."""
        return self._width / 10

    @property
    def whole(self) -> Cell:
        """All cells as one."""
        return reduce(Cell.joined, self.cells.values(), Cell())

    def count(self, line: Mapping[str, Any]) -> None:
        """Enter one line. One that is not as engager writes it raises, and leaves everything as it was."""
        # All that can raise stands before anything that counts.
        status, latency, waited = line["status"], line["latency_ms"], line["waited_ms"]
        attempts, duplicate, error = line["attempts"], line["duplicate"] is True, line["error"]
        slow = None if latency is None else Histogram.bucket(latency)
        late = None if waited is None else Histogram.bucket(waited)
        tries = attempts if 0 <= attempts < MANY_TRIES else MANY_TRIES
        if status not in self._cell.statuses:
            raise ValueError("no status is called so")
        if (tenth := line["finished_at"][:21]) != self._tenth:
            self._cell, self._tenth = self._cell_at(tenth), tenth
            self.last = max(self.last, tenth)
        cell = self._cell
        cell.statuses[status] += 1
        if slow is not None:
            cell.latency.buckets[slow] += 1
        if late is not None:
            cell.waited.buckets[late] += 1
        self.tries[tries] += 1
        self.attempts += attempts
        self.duplicates += duplicate
        if status != Status.ENGAGED:
            self._count_error(status, str(error)[:MAX_ERROR], line)

    def _cell_at(self, moment: str) -> Cell:
        then = datetime.fromisoformat(f"{moment}+00:00")
        if not 1970 <= then.year < 9000:
            raise ValueError("nothing happened then")
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
            cells[wide] = cells[wide].joined(cell) if wide in cells else cell
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
    """A text that is not endless, and whose characters all show: one that turns the others round does not."""
    shown = sanitized(text[:longest])
    return shown if len(text) <= longest else f"{shown}…"
