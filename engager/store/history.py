"""The history of due rows from earlier processes: attempts, open requests, outcomes without a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from engager.models import (
    MAY_HAVE_ARRIVED,
    TAKEN,
    EngageRequest,
    Outcome,
    Prepared,
    Row,
    Skipped,
    Status,
    Unsent,
    Withdrawn,
    number_of,
)
from engager.store.frames import OpenRequest

#: A row of the input, whether or not it is a request yet.
Record = Row | EngageRequest | Unsent

#: Rows with such a status were in no request.
_NO_MEMBERS = frozenset({Status.INVALID, Status.SKIPPED})


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

    def applied(self, works: list[EngageRequest | Unsent]) -> list[Prepared]:
        """The due rows after they are built, with their histories."""
        return [self._applied(work) for work in works] if self.known else [*works]

    def _applied(self, work: EngageRequest | Unsent) -> Prepared:
        status, request, is_lost = self.known[number_of(work)]
        if status in _NO_MEMBERS:  # also if it is built to a request by now
            return _outcome_of(work, status)
        if isinstance(work, EngageRequest) and request is not None:
            work.history = request.history
            if not is_lost and (work.history.attempts or work.history.in_doubt):
                work.last = request.last
            return work
        if isinstance(work, EngageRequest) or request is None or not request.history.in_doubt:
            return work if status is None else _outcome_of(work, status)
        if status is not None:  # withdrawn by an earlier process, or settled and skipped by now
            return Withdrawn(_outcome_of(work, status), request.last)
        if not (isinstance(work, Skipped) and work.is_by_list):
            return work  # it never was in a request
        # The list comes too late for the attempt that left.
        outcome = Outcome.unsent(work)
        outcome.status, outcome.error_text = Status.IN_DOUBT, f"{MAY_HAVE_ARRIVED}; now {outcome.error_text}"
        return Withdrawn(outcome, request.last)


def _outcome_of(work: EngageRequest | Unsent, status: Status) -> Outcome:
    """The outcome of a row whose line was lost: what the journal knows, and no more."""
    text = "its line was damaged; the journal knows the status only"
    if isinstance(work, EngageRequest):
        error = 0 if status in TAKEN else "line_lost"
        return Outcome(work.row, work.key, status, error=error, error_text=text)
    outcome = Outcome.unsent(work)
    return outcome if status is outcome.status else Outcome(outcome.row, outcome.key, status, error_text=text)
