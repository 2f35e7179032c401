"""Counts and percentiles of the outcomes. Memory does not grow with the run.

Rows are counted one by one, and so are the attempts that carried each of them. Latencies and waiting times
are those of requests: the rows of a batch are one sample.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import exp, floor, inf, isfinite, log
from typing import Any, Final

from engager.models import TAKEN, Status
from engager.reader.outcome_fields import error_code

#: Characters of an error that identify its kind.
MAX_ERROR = 80

#: Characters of what is said of a sample row.
_MAX_SAMPLE = 200

#: The words of lines that have no error.
_TAKEN: Final = frozenset(status.value for status in TAKEN)

#: Of all lines.
_STATUSES: Final = frozenset(status.value for status in Status)

_GROWTH: Final = math.log(1.02)
_STEPS: Final = 1 / _GROWTH


class Histogram:
    """Durations in buckets that grow by 2 %: a percentile is right within 1 %, whatever its size."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return self._buckets.total()

    def add(self, milliseconds: Iterable[float]) -> None:
        """Count some durations."""
        steps = _STEPS
        # A comparison is cheaper than max(), and this is done twice for every row.
        self._buckets.update([floor(log(ms if ms > 0.001 else 0.001) * steps) for ms in milliseconds])

    @classmethod
    def bucket(cls, milliseconds: float) -> int:
        """Where `add` counts such a duration. Raises TypeError, ValueError or OverflowError for none."""
        return floor(log(max(milliseconds, 0.001)) * _STEPS)

    @classmethod
    def edge(cls, bucket: float) -> float:
        """The milliseconds at which a bucket begins."""
        return math.exp(bucket * _GROWTH)

    @property
    def buckets(self) -> Counter[int]:
        """How many durations are in which bucket."""
        return self._buckets

    def below(self, bounds: Sequence[float]) -> list[int]:
        """How many were at most each of some milliseconds, within 1 %."""
        edges = [floor(log(row_limit) * _STEPS) if row_limit < inf else inf for row_limit in bounds]
        return [sum(count for bucket, count in self._buckets.items() if bucket <= edge) for edge in edges]

    @property
    def total(self) -> float:
        """All durations together, in milliseconds, within 1 %."""
        return sum(count * exp((bucket + 0.5) * _GROWTH) for bucket, count in self._buckets.items())

    def since(self, earlier: Histogram) -> Histogram:
        """What was counted since an earlier copy of this one."""
        later = Histogram()
        later._buckets = self._buckets - earlier._buckets
        return later

    def merge(self, other: Histogram) -> None:
        """Count all that another one has counted."""
        self._buckets.update(other._buckets)

    def state(self) -> list[list[int]]:
        """All of it, for `restored`: the buckets, and their counts."""
        # JSON's keys are strings, and to make some hundreds of them for every commit takes twice as long.
        return [[*self._buckets], [*self._buckets.values()]]

    @classmethod
    def restored(cls, state: Sequence[Sequence[int]]) -> Histogram:
        """The values that `state` returned, after a way through JSON."""
        histogram = cls()
        histogram._buckets.update(dict(zip(*state, strict=True)))
        return histogram

    def percentile(self, share: float) -> float | None:
        """The duration in milliseconds that `share` (0 to 1) of all stay below; None when there is none."""
        below, wanted = 0, share * self.count
        for bucket in sorted(self._buckets):
            below += self._buckets[bucket]
            if below >= wanted:
                return round(math.exp((bucket + 0.5) * _GROWTH), 3)
        return None

    def as_dict(self) -> dict[str, float | None]:
        """The percentiles that people quote."""
        return {f"p{share}": self.percentile(share / 100) for share in (50, 95, 99)}


class RecentRequests:
    """The request ids of the latest lines of results, by which the rows of a batch are known to share one.

    The rows that one response settled are in one write, where those of other requests may be among them.
    """

    #: Request ids that are known at least: more than the requests whose responses are in one write.
    MEMORY: Final = 1024

    def __init__(self) -> None:
        self._latest, self._before = set[str](), set[str]()

    def is_new(self, request_id: str) -> bool:
        """Whether no recent line has this request id."""
        if request_id in self._latest or request_id in self._before:
            return False
        if len(self._latest) >= self.MEMORY:
            self._latest, self._before = set(), self._latest
        self._latest.add(request_id)
        return True


#: A row, its key, and what was said of it.
Sample = tuple[int, str | None, str]


class Tally:
    """The statistics of a run."""

    def __init__(self) -> None:
        self.statuses: Counter[Status] = Counter()
        self.errors: Counter[tuple[Status, str]] = Counter()
        self.attempts = 0  #: of settled rows: one of a batch is one of each of its rows
        self.requests = 0  #: that left, each as often as it was sent
        self.duplicates = 0
        self.samples: dict[tuple[Status, str], Sample] = {}  #: of every kind of error the latest row
        self.latency = Histogram()  #: of requests, as `waited`
        self.waited = Histogram()
        self._recent = RecentRequests()

    @property
    def rows(self) -> int:
        """Rows that have an outcome."""
        return self.statuses.total()

    def count(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Enter some outcomes, by the fields of their lines of results. Many at once cost least."""
        words = Counter([line["status"] for line in lines])
        statuses = {Status(word): rows for word, rows in words.items()}
        attempts = sum([line["attempts"] for line in lines])
        duplicates = sum([line["duplicate"] for line in lines])
        latency, waited = Histogram(), Histogram()
        # A batch has the same times in the lines of all of its rows.
        is_new = self._recent.is_new
        samples = [line for line in lines if (known := line["request_id"]) is None or is_new(known)]
        latency.add([ms for line in samples if (ms := line["latency_ms"]) is not None])
        waited.add([ms for line in samples if (ms := line["waited_ms"]) is not None])
        failed = [_error_of(line) for line in lines if line["status"] not in _TAKEN]
        # Where a line is damaged, none of them has counted.
        self.statuses.update(statuses)
        self.attempts += attempts
        self.duplicates += duplicates
        self.latency.merge(latency)
        self.waited.merge(waited)
        for status, error, sample in failed:
            self.samples[self._count_error(status, error)] = sample

    def merge(self, other: Tally) -> None:
        """Add all counts of another tally."""
        self.statuses.update(other.statuses)
        for kind, rows in other.errors.items():
            self._count_error(*kind, rows)
        self.samples.update(other.samples)
        self.attempts += other.attempts
        self.requests += other.requests
        self.duplicates += other.duplicates
        self.latency.merge(other.latency)
        self.waited.merge(other.waited)

    def _count_error(self, status: Status, error: str, rows: int = 1) -> tuple[Status, str]:
        kind = (status, error)
        # Codes and words of ours are few; an endpoint that invents a code a row must not fill the memory.
        kind = kind if kind in self.errors or len(self.errors) < 200 else (status, "other")
        self.errors[kind] += rows
        return kind

    def kinds(self) -> list[tuple[tuple[Status, str], int]]:
        """The kinds of errors with their rows: the most frequent first, after them the reasons of a skip."""
        return sorted(self.errors.most_common(), key=lambda kind: kind[0][0] is Status.SKIPPED)

    def copy(self) -> Tally:
        """Returns the statistics."""
        copy = Tally()
        copy.merge(self)
        return copy

    def state(self) -> dict[str, Any]:
        """Returns the whole state as JSON values, for `restored`."""
        return {
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "errors": [[str(status), error, rows] for (status, error), rows in self.errors.items()],
            "attempts": self.attempts,
            "requests": self.requests,
            "duplicates": self.duplicates,
            "samples": [[*kind, *sample] for kind, sample in self.samples.items()],
            "latency": self.latency.state(),
            "waited": self.waited.state(),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Tally:
        """The values that `state` returned, after a way through JSON."""
        tally = cls()
        tally.statuses.update({Status(status): count for status, count in state["statuses"].items()})
        tally.errors.update({(Status(status), error): rows for status, error, rows in state["errors"]})
        tally.attempts, tally.duplicates = state["attempts"], state["duplicates"]
        # A run of an earlier version did not count them, and each of its requests carries one row.
        tally.requests = state.get("requests", tally.attempts)
        tally.samples = {(Status(status), error): (*sample,) for status, error, *sample in state["samples"]}
        tally.latency = Histogram.restored(state["latency"])
        tally.waited = Histogram.restored(state["waited"])
        return tally

    def as_dict(self) -> dict[str, Any]:
        """Returns the statistics as in `summary.json`."""
        return {
            "rows": self.rows,
            "statuses": {str(status): self.statuses[status] for status in Status},
            "errors": [
                {"status": str(status), "error": error_code(error), "rows": rows}
                for (status, error), rows in self.kinds()
            ],
            "attempts": self.attempts,
            "duplicates": self.duplicates,
            "latency_ms": self.latency.as_dict(),
            "waited_ms": self.waited.as_dict(),
            "requests": self.requests,
        }


class Recount:
    """The statistics of lines that are read again, some of which may be damaged."""

    #: Lines that are counted at once: one at a time takes twenty times as long.
    _CHUNK: Final = 1024

    def __init__(self) -> None:
        self._tally, self._lines = Tally(), list[Mapping[str, Any]]()

    def add(self, line: Mapping[str, Any]) -> bool:
        """Enter an outcome, by the fields of its line; False for a damaged one, which does not count."""
        if not _is_countable(line):
            return False
        self._lines.append(line)
        if len(self._lines) >= self._CHUNK:
            self._count()
        return True

    def _count(self) -> None:
        self._tally.count(self._lines)
        self._lines.clear()

    @property
    def tally(self) -> Tally:
        """The statistics of all lines so far."""
        self._count()
        return self._tally


def _is_countable(line: Mapping[str, Any]) -> bool:
    return (
        line["status"] in _STATUSES
        and isinstance(line["attempts"], int)
        and isinstance(line["duplicate"], bool)
        and isinstance(line["request_id"], str | None)
        and isinstance(line["error_text"], str | None)
        and _is_duration(line["latency_ms"])
        and _is_duration(line["waited_ms"])
    )


def _is_duration(milliseconds: object) -> bool:
    return milliseconds is None or (isinstance(milliseconds, int | float) and isfinite(milliseconds))


def _error_of(line: Mapping[str, Any]) -> tuple[Status, str, Sample]:
    sample = int(line["row"]), line["key"], (line["error_text"] or "")[:_MAX_SAMPLE]
    return Status(line["status"]), str(line["error"])[:MAX_ERROR], sample
