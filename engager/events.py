"""The events of a run, its snapshots and its summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any


def utc_text(seconds: float) -> str:
    """A moment, in seconds since the epoch, as summaries have it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Summary:
    """The summary of a run, with the keys of `summary.json`."""

    job: str
    run: str  #: the run's id, the seed of its Request-IDs
    complete: bool  #: every row of the input is settled
    exit_code: int  #: exit code of the command
    stopped: str | None  #: why the run ended before the end of the input
    started_at: str  #: UTC, ISO 8601
    finished_at: str
    elapsed_seconds: float  #: from the last start to the end
    total_seconds: float  #: from the first start to the end, with all starts and the time between them
    rows: int  #: rows that have an outcome
    statuses: Mapping[str, int]
    #: `status`, `error`, `rows`: the most frequent first, after them those of skipped rows.
    errors: Sequence[Mapping[str, Any]]
    attempts: int  #: of settled rows: one of a batch is one of each of its rows
    duplicates: int
    latency_ms: Mapping[str, float | None]  #: of requests, as `waited_ms`
    waited_ms: Mapping[str, float | None]
    requests: int  #: that left, each as often as it was sent
    endpoint: str = ""  #: its address, or `sandbox`, which reaches nobody
    scenario: str | None = None  #: or its template
    senders: Mapping[str, int] = field(default_factory=dict)  #: by sender, since the last start

    @property
    def duration(self) -> str:
        """The duration as text: of the last start, and in total if that differs."""
        last = f"{self.elapsed_seconds:.1f} s"
        if self.total_seconds - self.elapsed_seconds < 1:
            return last
        return f"{last} ({timedelta(seconds=round(self.total_seconds))} in total)"

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Summary:
        """Build a summary from the content of `summary.json`."""
        # Earlier versions had no senders and did not count requests, each of which carried one row.
        known = {"requests": facts["attempts"], "endpoint": "", "scenario": None, "senders": {}, **facts}
        return cls(**{name: known[name] for name in cls.__dataclass_fields__})

    def as_dict(self) -> dict[str, Any]:
        """The content of `summary.json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """Rows that were not engaged because of the same error, and the latest of them."""

    status: str
    error: int | str  #: as in `Result`: a code of the endpoint is a number
    rows: int
    row: int | None  #: the number of an example row; None if an earlier process handled all of them
    key: str | None
    text: str


@dataclass(frozen=True, slots=True)
class SenderState:
    """The state of a sender at one moment."""

    name: str
    in_flight: int  #: requests without an ending yet
    sent: int  #: requests that left and whose endings it returned
    share: float | None  #: requests per second of the rate limit; None: no limit, or no share yet
    silent_seconds: float  #: since it was heard
    lost: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a run at one moment."""

    elapsed_seconds: float  #: since this process began
    rows: int  #: rows that have an outcome, those of earlier processes included
    total: int | None  #: rows of the input, approximately; None until they are counted
    eta_seconds: float | None  #: seconds until the end at the recent pace
    statuses: Mapping[str, int]
    errors: Sequence[ErrorKind]  #: the most frequent first, and those of skipped rows last
    attempts: int  #: of settled rows: one of a batch is one of each of its rows
    retries: int  #: of these, all after the first one of a row
    requests: int  #: that left, each as often as it was sent
    duplicates: int
    latency_ms: Mapping[str, float | None]  #: of requests, as the next two
    recent_latency_ms: Mapping[str, float | None]  #: of the last ten seconds
    waited_ms: Mapping[str, float | None]
    rows_per_second: float  #: that are settled: mean of the last four seconds, of more if requests are slow
    requests_per_second: float  #: that leave: mean of the last four seconds
    rate: float | None  #: rate limit in requests per second
    rows_per_request: int  #: at most; 1 without batches
    in_flight: int  #: requests without a response yet
    oldest_in_flight_seconds: float | None  #: since the first of these left; None without one
    rows_in_flight: int  #: rows that these carry
    holders: Mapping[str, str]  #: each holder of a pause, and its reason or end
    waits_for: str | None  #: why no request leaves, where it is neither a pause nor a stop
    stopping: str | None  #: why the run is to end; None while it is not
    stops_within_seconds: float | None  #: while stopping: until no request is in flight, at the latest
    senders: Sequence[SenderState] = ()  #: empty if the run itself sends


@dataclass(frozen=True, slots=True)
class Began:
    """The run is prepared and starts to send."""

    directory: Path
    run: str
    job: str
    resumed: bool  #: an earlier process started the run
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()  #: such as the exclusion lists
    endpoint: str = ""  #: its address, or `sandbox`, which reaches nobody
    scenario: str | None = None  #: or its template


@dataclass(frozen=True, slots=True)
class Serving:
    """The run serves its live page."""

    url: str  #: contains the key, which opens the page once


@dataclass(frozen=True, slots=True)
class Progressed:
    """Progress, several times per second."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class AlreadyComplete:
    """The run is complete already; nothing was sent."""

    directory: Path
    reason: str
    summary: Summary


@dataclass(frozen=True, slots=True)
class Ended:
    """The run ended or was stopped."""

    directory: Path
    summary: Summary
    last_row: int | None = None  #: the last row that this start was allowed to send
    unconfirmed: bool = False  #: it stopped there because the rows after it were not confirmed


@dataclass(frozen=True, slots=True)
class Reported:
    """The report was written."""

    directory: Path
    page: Path | None  #: None: too many rows to write the report at the end of a run


Event = Began | Serving | Progressed | AlreadyComplete | Ended | Reported

#: Called with every event, in the event loop of the run: it must return quickly.
Watch = Callable[[Event], None]


def ignore_events(event: Event) -> None:
    """Ignore an event."""
