"""The history of due rows from earlier processes: attempts, open requests, outcomes without a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from engager.models import TAKEN, EngageRequest, Invalid, Outcome, Row, Skipped, Status, Unreadable
from engager.store.frames import OpenRequest

#: A row that is not a request and will not become one.
Unsent = Invalid | Skipped | Unreadable

#: A row of the input, whether or not it is a request yet.
Record = Row | EngageRequest | Unsent


class RowHistory(NamedTuple):
    """The history of one row."""

    status: Status | None  #: of a settled row whose line was lost, or that an open request carries
    request: OpenRequest | None  #: the request that carries it; None: no attempt has left
    is_lost: bool = False  #: the journal was damaged: an attempt may have left in any request


@dataclass(frozen=True, slots=True)
class History:
    """The rows that are due."""

    due: Sequence[Record]
    known: Mapping[int, RowHistory] = field(default_factory=dict)  #: by row; empty: nothing of any

    def applied(self, works: list[EngageRequest | Unsent]) -> list[EngageRequest | Unsent | Outcome]:
        """The due rows after they are built, with their histories."""
        return [self._applied(work) for work in works] if self.known else [*works]

    def _applied(self, work: EngageRequest | Unsent) -> EngageRequest | Unsent | Outcome:
        status, request, _ = self.known[number_of(work)]
        if isinstance(work, EngageRequest) and request is not None:
            work.history = request.history
            return work
        return work if status is None else _outcome_of(work, status)


def number_of(record: Record) -> int:
    """The number of its row."""
    return record.number if isinstance(record, Row | Unreadable) else record.row.number


def _outcome_of(work: EngageRequest | Unsent, status: Status) -> Outcome:
    """The outcome of a row whose line was lost: what the journal knows, and no more."""
    text = "its line was damaged; the journal knows the status only"
    if isinstance(work, EngageRequest):
        error = 0 if status in TAKEN else "line_lost"
        return Outcome(work.row, work.key, status, error=error, error_text=text)
    outcome = Outcome.unsent(work)
    return outcome if status is outcome.status else Outcome(outcome.row, outcome.key, status, error_text=text)
