"""The nouns of the flow: rows, requests, endings of an attempt, outcomes. No file and no socket."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

#: A CSV row's values in the order of the header, or a JSONL row's object.
Values = Sequence[str] | Mapping[str, Any]


@dataclass(slots=True)
class Row:
    """One readable record of the input."""

    number: int  #: counted from 1 over all files of the input
    line: int  #: the line it begins at in its file, counted from 1
    source: str  #: the file's name as the operator knows it
    values: Values


@dataclass(slots=True)
class Unreadable:
    """One record of the input that cannot be parsed: it becomes an `invalid` outcome."""

    number: int
    line: int
    source: str
    error: str  #: a short machine word such as "field_count"
    error_text: str  #: what is wrong, for the operator
    raw: str  #: the beginning of the record as it is in the file


class AttemptHistory(NamedTuple):
    """What is known of a row from the attempts before: a value, which every attempt replaces."""

    attempts: int = 0  #: attempts that ended
    request_id_version: int = 0  #: how often the request id was renewed
    first_left: float | None = None  #: when the first attempt under the present id left, on the boot clock
    in_doubt: bool = False  #: an attempt under the present id may have had an effect
    forced: bool = False  #: the operator asked for a further attempt although the row is in doubt

    def departed(self, now: float) -> AttemptHistory:
        """The history once an attempt leaves."""
        if self.first_left is not None:
            return self
        return AttemptHistory(self.attempts, self.request_id_version, now, self.in_doubt, self.forced)

    def ended(self) -> AttemptHistory:
        """The history once an attempt ended."""
        attempts, version, first_left, in_doubt, forced = self
        return AttemptHistory(attempts + 1, version, first_left, in_doubt, forced)

    def renewed(self) -> AttemptHistory:
        """The history once every attempt under the present id is accounted for: the next needs a fresh id."""
        version = self.request_id_version + 1
        return self._replace(request_id_version=version, first_left=None, in_doubt=False)


#: The history of a row before its first attempt.
UNATTEMPTED: Final = AttemptHistory()


@dataclass(slots=True)
class EngageRequest:
    """What a row becomes: one body, complete but for the connection to the endpoint."""

    row: Row
    key: str  #: what the profile is matched by
    request_id: str  #: stable for the row: across attempts, crashes and resumes
    body: tuple[bytes, ...]  #: in parts, so that attachments are shared between requests
    history: AttemptHistory = UNATTEMPTED  #: replaced by the attempt under way
    identity: str = ""  #: everything that the profile is matched by, where a rule needs it
    last: int | None = None  #: the last row of a request that carries several; `row` is the first
    #: Of a batch: a request for each of its rows, whose body is the item of that row.
    members: Sequence[EngageRequest] = ()


@dataclass(slots=True)
class Invalid:
    """A readable row that cannot become a request."""

    row: Row
    key: str | None
    error: str  #: a short machine word such as "malformed"
    error_text: str  #: names the column
    column: str | None = None  #: the column with the error, if it is in one


#: Codes of rows that are skipped because of a list of keys, and because of an earlier run.
EXCLUDED, EARLIER_RUN = "excluded", "earlier_run"


@dataclass(slots=True)
class Skipped:
    """A row that could become a request, and that a rule of the job skips."""

    row: Row
    key: str | None
    error: str  #: a code: "repeat", "filtered", "excluded", "earlier_run" or "blank"
    error_text: str

    @property
    def is_by_list(self) -> bool:
        """Whether a list skips it, which may have grown since the run began; other rules cannot change."""
        return self.error in (EXCLUDED, EARLIER_RUN)


@dataclass(slots=True)
class Withdrawn:
    """A row of a batch that is open, and that a rule of the job skips by now.

    The batch cannot be repeated as it was.
    """

    outcome: Outcome
    last: int  #: the last row of the batch


def is_blank(values: Values) -> bool:
    """Whether all columns of a row of a table are empty. An object is never blank."""
    return not isinstance(values, Mapping) and len(values) > 1 and not any(map(str.strip, values))


def blank(row: Row) -> Skipped:
    """An empty row: a line of delimiters, such as spreadsheets write at the end."""
    return Skipped(row, None, "blank", "the row is empty")


@dataclass(slots=True, kw_only=True)
class _Ended:
    """What is known of every attempt that ended."""

    took: float | None = None  #: seconds from its departure, where another process sent it


@dataclass(slots=True)
class Reply(_Ended):
    """A response as it came from the wire, not classified yet."""

    status: int
    body: bytes
    complete: bool = True  #: False: cut off, or longer than is read
    retry_after: str | None = None
    duplicate: bool = False  #: the endpoint marked the response as a repeat
    date: str | None = None  #: when it was written, by the clock that `retry_after` refers to
    location: str | None = None  #: where a redirect leads to


#: The error of an attempt for which this machine had no resources.
OWN_MACHINE = "own_machine"

#: The error of an attempt whose server wants another client certificate, or one at all.
CLIENT_CERT = "client_cert"

#: The error of an attempt whose sender, another process, was lost: the endpoint has no part in it.
SENDER_LOST = "sender_lost"

#: Errors of attempts that say nothing about the endpoint.
NOT_OF_ENDPOINT = frozenset({OWN_MACHINE, SENDER_LOST})


@dataclass(slots=True)
class NotSent(_Ended):
    """The attempt ended before its first byte left: it had no effect."""

    error: str
    error_text: str


@dataclass(slots=True)
class Lost(_Ended):
    """The attempt may have had an effect, and no usable response came."""

    error: str
    error_text: str


@dataclass(slots=True)
class Withheld(_Ended):
    """The attempt was withheld because the run stops: the row is due when the run is resumed."""


@dataclass(slots=True)
class Recalled(_Ended):
    """The attempt was handed to another process and came back before its first byte left: it is due again."""


#: Every way in which an attempt can end. Transports return these and raise nothing of their own.
Ending = Reply | NotSent | Lost | Withheld | Recalled


class Status(StrEnum):
    """The final result of a row."""

    ENGAGED = "engaged"
    ACCEPTED = "accepted"  #: the endpoint took the request, and does not say what became of the row
    REJECTED = "rejected"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    INVALID = "invalid"
    SKIPPED = "skipped"


# To look up a member of an enumeration is a call before Python 3.12, and every row needs this one.
ENGAGED: Final = Status.ENGAGED

#: The endpoint accepted the request of a row with such a status: the row has not failed.
TAKEN: Final = frozenset({Status.ENGAGED, Status.ACCEPTED})

#: A request may have reached the person of a row with such a status.
REACHED: Final = TAKEN | {Status.IN_DOUBT}


@dataclass(slots=True)
class Outcome:
    """One line of results, with its row."""

    row: Row | Unreadable
    key: str | None
    status: Status
    attempts: int = 0
    http_status: int | None = None
    error: int | str | None = None  #: the endpoint's code, or a word of engager
    error_text: str | None = None
    request_id: str | None = None
    duplicate: bool = False
    latency_ms: float | None = None  #: the last attempt: from when it was due to its ending
    waited_ms: float | None = None  #: all waits: rate limit, pauses, backoff, a connection
    finished_at: float = field(default_factory=time.time)  #: seconds since the epoch
    reference: str | None = None  #: by which the endpoint knows the result: a profile id, or a task id

    @classmethod
    def unsent(cls, record: Invalid | Skipped | Unreadable) -> Outcome:
        """The outcome of a record for which no request is sent."""
        if isinstance(record, Skipped):
            text = record.error_text
            return cls(record.row, record.key, Status.SKIPPED, error=record.error, error_text=text)
        row, key = (record.row, record.key) if isinstance(record, Invalid) else (record, None)
        text = f"{row.source}, line {row.line}: {record.error_text}"
        return cls(row, key, Status.INVALID, error=record.error, error_text=text)


#: A row that becomes no request.
Unsent = Invalid | Skipped | Unreadable

#: A due row after it is built: its request, or that of several rows, or why it needs none.
Prepared = EngageRequest | Unsent | Outcome | Withdrawn


def number_of(record: Row | Prepared) -> int:
    """The number of its row; of a request of several rows, that of the first."""
    if isinstance(record, Row | Unreadable):
        return record.number
    return (record.outcome if isinstance(record, Withdrawn) else record).row.number


#: Why a row is in doubt that was in flight, or waited for a retry, when the run was interrupted.
MAY_HAVE_ARRIVED: Final = "an attempt that left before the run was interrupted may have had an effect"
