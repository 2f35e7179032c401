"""The nouns of the flow: rows, requests, endings of a try, outcomes. They know no file and no socket."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

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
    """One record of the input that is no row: it becomes an `invalid` outcome."""

    number: int
    line: int
    source: str
    error: str  #: a short machine word such as "field_count"
    error_text: str  #: what is wrong, for the person who mends it
    raw: str  #: the beginning of the record as it stands in the file


@dataclass(slots=True)
class AttemptHistory:
    """What is known of a row between its tries: kept by dispatch, remembered by the journal."""

    attempts: int = 0  #: tries that came to an end
    request_id_version: int = 0  #: how often the Request-ID had to be renewed
    first_left: float | None = None  #: when the first try under the present id left, on the boot clock
    in_doubt: bool = False  #: a try under the present id may have been taken
    forced: bool = False  #: the operator wants another try all the same

    def note_departure(self, now: float) -> None:
        """A try is about to leave."""
        if self.first_left is None:
            self.first_left = now

    def renew(self) -> None:
        """The fate of every try under the present id is known: the next one needs a fresh id."""
        self.request_id_version += 1
        self.first_left = None
        self.in_doubt = False


@dataclass(slots=True)
class EngageRequest:
    """What a row becomes: one body, complete but for its way to the endpoint."""

    row: Row
    key: str  #: what the profile is matched by
    request_id: str  #: stable for the row: across tries, crashes and resumes
    body: tuple[bytes, ...]  #: in parts, so that attachments are shared between requests
    history: AttemptHistory = field(default_factory=AttemptHistory)
    identity: str = ""  #: all that the profile is matched by, where somebody asked for it


@dataclass(slots=True)
class Invalid:
    """A readable row that cannot become a request."""

    row: Row
    key: str | None
    error: str  #: a short machine word such as "malformed"
    error_text: str  #: names the column
    column: str | None = None  #: that is to be mended, where it is one


@dataclass(slots=True)
class Skipped:
    """A row that could become a request, and that a rule of the job leaves out."""

    row: Row
    key: str | None
    error: str  #: a short machine word: "repeat", "excluded", "earlier_run" or "blank"
    error_text: str


def is_blank(values: Values) -> bool:
    """Whether a row of a table has nothing in any of its columns; an object was meant by somebody."""
    return not isinstance(values, Mapping) and len(values) > 1 and not any(map(str.strip, values))


def blank(row: Row) -> Skipped:
    """A row in which nothing stands: a line of delimiters, as a spreadsheet leaves them at its end."""
    return Skipped(row, None, "blank", "nothing stands in it")


@dataclass(slots=True)
class Reply:
    """An answer as it came from the wire, before anyone judges it."""

    status: int
    body: bytes
    complete: bool = True  #: False: cut off, or longer than is read
    retry_after: str | None = None
    duplicate: bool = False  #: the endpoint called the request a repeat
    date: str | None = None  #: when it was written, by the clock that `retry_after` speaks of


#: The error of a try that this machine had no means for.
OWN_MACHINE = "own_machine"


@dataclass(slots=True)
class NotSent:
    """The try ended before its first byte left: the endpoint cannot have taken it."""

    error: str
    error_text: str


@dataclass(slots=True)
class Lost:
    """The try may have left and no usable answer came: nobody knows."""

    error: str
    error_text: str


@dataclass(slots=True)
class Withheld:
    """The try was held back because the run stops: the row is due next time."""


#: Every way in which a try can end. Transports return these and raise nothing of their own.
Ending = Reply | NotSent | Lost | Withheld


class Status(StrEnum):
    """What became of a row, for good."""

    ENGAGED = "engaged"
    REJECTED = "rejected"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    INVALID = "invalid"
    SKIPPED = "skipped"


@dataclass(slots=True)
class Outcome:
    """One line of results, with the row it speaks of."""

    row: Row | Unreadable
    key: str | None
    status: Status
    attempts: int = 0
    http_status: int | None = None
    error: int | str | None = None  #: the endpoint's code, or a word of ours
    error_text: str | None = None
    request_id: str | None = None
    duplicate: bool = False
    latency_ms: float | None = None  #: the last try: from when it was due to its ending
    waited_ms: float | None = None  #: all that was spent waiting: pace, pauses, backoff, a free connection
    finished_at: float = field(default_factory=time.time)  #: seconds since the epoch

    @classmethod
    def unsent(cls, record: Invalid | Skipped | Unreadable) -> Outcome:
        """What becomes of a record that no request is sent for."""
        if isinstance(record, Skipped):
            text = record.error_text
            return cls(record.row, record.key, Status.SKIPPED, error=record.error, error_text=text)
        row, key = (record.row, record.key) if isinstance(record, Invalid) else (record, None)
        text = f"{row.source}, line {row.line}: {record.error_text}"
        return cls(row, key, Status.INVALID, error=record.error, error_text=text)
