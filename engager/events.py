"""What a run tells while it is under way, and the account that it leaves: values, for people and programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Summary:
    """The account of a run, as `summary.json` has it."""

    job: str
    run: str  #: the run's id, the seed of its Request-IDs
    complete: bool  #: no row of the input is left
    exit_code: int  #: what the command line ends with
    stopped: str | None  #: why it ended before the end of the input
    started_at: str  #: UTC, ISO 8601
    finished_at: str
    seconds: float  #: that the last start took
    total_seconds: float  #: from the run's beginning to its end, with all starts and what was between them
    rows: int  #: that have an outcome
    statuses: Mapping[str, int]
    errors: Sequence[Mapping[str, Any]]  #: `status`, `error`, `rows`, the most frequent first
    attempts: int
    duplicates: int
    latency_ms: Mapping[str, float | None]
    waited_ms: Mapping[str, float | None]

    @property
    def duration(self) -> str:
        """How long it took, for a person: the last start, and in all where that is another time."""
        last = f"{self.seconds:.1f} s"
        if self.total_seconds - self.seconds < 1:
            return last
        return f"{last} ({timedelta(seconds=round(self.total_seconds))} in all)"

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Summary:
        """The account that was left in a file."""
        return cls(**{name: facts[name] for name in cls.__dataclass_fields__})

    def as_dict(self) -> dict[str, Any]:
        """The account as the file has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """Rows that were not engaged for the same reason, and the latest of them."""

    status: str
    error: str
    rows: int
    row: int | None  #: the number of a row that shows it; None when an earlier process saw them all
    key: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at a glance."""

    seconds: float  #: since this process began
    rows: int  #: that have an outcome, those of earlier processes included
    total: int | None  #: rows of the input, about, once they are counted
    eta_seconds: float | None  #: seconds until it is done, at the pace of late
    statuses: Mapping[str, int]
    errors: Sequence[ErrorKind]  #: the most frequent first
    attempts: int
    retries: int
    duplicates: int
    latency_ms: Mapping[str, float | None]
    recent_latency_ms: Mapping[str, float | None]  #: of the last ten seconds
    waited_ms: Mapping[str, float | None]
    rows_per_second: float  #: over the last two seconds
    rate: float | None  #: the limit in requests a second
    in_flight: int  #: requests without an answer yet
    holders: Mapping[str, str]  #: who wants nothing to leave, and until when or why


@dataclass(frozen=True, slots=True)
class Began:
    """The run is prepared, and rows are about to be sent."""

    directory: Path
    run: str
    job: str
    resumed: bool  #: an earlier process began it
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()  #: such as the lists of keys that are left out


@dataclass(frozen=True, slots=True)
class Serving:
    """The run serves its page."""

    url: str  #: with the key, which opens the page once


@dataclass(frozen=True, slots=True)
class Progressed:
    """It is under way: told a few times a second."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class AlreadyComplete:
    """There is nothing to send, and nothing was sent."""

    directory: Path
    reason: str
    summary: Summary


@dataclass(frozen=True, slots=True)
class Ended:
    """It came to its end, or was stopped before."""

    directory: Path
    summary: Summary
    last_row: int | None = None  #: the row that it was to stop behind
    unconfirmed: bool = False  #: it stopped there as nobody consented to the rows behind it


@dataclass(frozen=True, slots=True)
class Reported:
    """How it went stands on a page of HTML."""

    directory: Path
    page: Path | None  #: None: there are so many rows that the page is left to `engager report`


Event = Began | Serving | Progressed | AlreadyComplete | Ended | Reported

#: Told of every event, in the run's loop: it must not take long.
Watch = Callable[[Event], None]


def ignore_events(event: Event) -> None:
    """For whoever does not want to know."""
