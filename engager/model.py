"""The nouns of the flow: rows, requests, endings of a try, outcomes. They know no file and no socket.

Those that every row makes have an `__init__` of their own: where this is compiled, that of a dataclass would
still be Python.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

#: A CSV row's values in the order of the header, or a JSONL row's object.
Values = Sequence[str] | Mapping[str, Any]


@dataclass(slots=True, init=False)
class Row:
    """One readable record of the input."""

    number: int  #: counted from 1 over all files of the input
    line: int  #: the line it begins at in its file, counted from 1
    source: str  #: the file's name as the operator knows it
    values: Values

    def __init__(
        self,
        number: int,
        line: int,
        source: str,
        values: Values,
    ) -> None:
        self.number = number
        self.line = line
        self.source = source
        self.values = values


@dataclass(slots=True)
class Unreadable:
    """One record of the input that is no row: it becomes an `invalid` outcome."""

    number: int
    line: int
    source: str
    error: str  #: a short machine word such as "field_count"
    error_text: str  #: what is wrong, for the person who mends it
    raw: str  #: the beginning of the record as it stands in the file


@dataclass(slots=True, init=False)
class Life:
    """What is known of a row between its tries: kept by dispatch, remembered by the ledger."""

    attempts: int  #: tries that came to an end
    generation: int  #: how often the Request-ID had to be renewed
    first_left: float | None  #: when the first try under the present id left, on the boot clock
    in_doubt: bool  #: a try under the present id may have been taken
    asked_for: bool  #: the operator wants another try all the same

    def __init__(
        self,
        attempts: int = 0,
        generation: int = 0,
        first_left: float | None = None,
        in_doubt: bool = False,
        asked_for: bool = False,
    ) -> None:
        self.attempts = attempts
        self.generation = generation
        self.first_left = first_left
        self.in_doubt = in_doubt
        self.asked_for = asked_for

    def leaves(self, now: float) -> None:
        """A try is about to leave."""
        if self.first_left is None:
            self.first_left = now

    def renew(self) -> None:
        """The fate of every try under the present id is known: the next one needs a fresh id."""
        self.generation += 1
        self.first_left = None
        self.in_doubt = False


@dataclass(slots=True, init=False)
class EngageRequest:
    """What a row becomes: one body, complete but for its way to the endpoint."""

    row: Row
    key: str  #: what the profile is matched by
    request_id: str  #: stable for the row: across tries, crashes and resumes
    body: tuple[bytes, ...]  #: in parts, so that attachments are shared between requests
    life: Life
    identity: str  #: all that the profile is matched by, where somebody asked for it

    def __init__(
        self,
        row: Row,
        key: str,
        request_id: str,
        body: tuple[bytes, ...],
        life: Life | None = None,
        identity: str = "",
    ) -> None:
        self.row = row
        self.key = key
        self.request_id = request_id
        self.body = body
        self.life = Life() if life is None else life
        self.identity = identity


@dataclass(slots=True)
class Invalid:
    """A readable row that cannot become a request."""

    row: Row
    key: str | None
    error: str  #: a short machine word such as "malformed"
    error_text: str  #: names the column


@dataclass(slots=True)
class Skipped:
    """A row that could become a request, and that a rule of the job leaves out."""

    row: Row
    key: str
    error: str  #: a short machine word: "repeat" or "excluded"
    error_text: str


@dataclass(slots=True)
class Reply:
    """An answer as it came from the wire, before anyone judges it."""

    status: int
    body: bytes
    complete: bool = True  #: False: cut off, or longer than is read
    retry_after: str | None = None
    duplicate: bool = False  #: the endpoint called the request a repeat


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

    # The enumeration's own hash is a call into Python, for every row several times.
    __hash__ = str.__hash__


@dataclass(slots=True, init=False)
class Outcome:
    """One line of results, with the row it speaks of."""

    row: Row | Unreadable
    key: str | None
    status: Status
    attempts: int
    http_status: int | None
    error: int | str | None  #: the endpoint's code, or a word of ours
    error_text: str | None
    request_id: str | None
    duplicate: bool
    latency_ms: float | None  #: the last try: from when it was due to its ending
    waited_ms: float | None  #: all that was spent waiting: pace, pauses, backoff, a free connection
    finished_at: float  #: seconds since the epoch

    def __init__(
        self,
        row: Row | Unreadable,
        key: str | None,
        status: Status,
        attempts: int = 0,
        http_status: int | None = None,
        error: int | str | None = None,
        error_text: str | None = None,
        request_id: str | None = None,
        duplicate: bool = False,
        latency_ms: float | None = None,
        waited_ms: float | None = None,
        finished_at: float | None = None,
    ) -> None:
        self.row = row
        self.key = key
        self.status = status
        self.attempts = attempts
        self.http_status = http_status
        self.error = error
        self.error_text = error_text
        self.request_id = request_id
        self.duplicate = duplicate
        self.latency_ms = latency_ms
        self.waited_ms = waited_ms
        self.finished_at = time.time() if finished_at is None else finished_at

    @classmethod
    def unsent(cls, record: Invalid | Skipped | Unreadable) -> Outcome:
        """What becomes of a record that no request is sent for."""
        if isinstance(record, Skipped):
            text = record.error_text
            return cls(record.row, record.key, Status.SKIPPED, error=record.error, error_text=text)
        row, key = (record.row, record.key) if isinstance(record, Invalid) else (record, None)
        text = f"{row.source}, line {row.line}: {record.error_text}"
        return cls(row, key, Status.INVALID, error=record.error, error_text=text)
