"""Engages batches: what a response says of each row settles it, or makes it due in a smaller batch.

Three rules. What is in doubt is never split, because other rows in a batch are another request id. What was
answered is never repeated as it stands. Rows are mapped to a response by their places only if the counts
agree (`altcraft/classification.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import groupby
from math import inf
from typing import NamedTuple

from engager.altcraft.classification import Meaning, Verdict, fatal_reason
from engager.errors import Exit
from engager.models import AttemptHistory, EngageRequest, Outcome, Status
from engager.policies.delivery import Mode
from engager.sending.attempt import Attempt
from engager.sending.delivery import STATUS_AFTER, Decision, is_doubtful_after, may_attempt
from engager.sending.delivery import doubtful as doubtful_verdict
from engager.sending.retry import Retrying, outcome_of
from engager.sending.stop import Stop

#: Makes the batch of some rows, with the history that they have in common.
Repack = Callable[[Sequence[EngageRequest], AttemptHistory], EngageRequest]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a batch, due because the response to the batch did not settle its rows."""

    request: EngageRequest
    attempts: int = 0  #: that its rows have used up
    after: Verdict | None = None  #: what the response said of its rows; None: it was refused as a whole
    waits: bool = False  #: a backoff comes first; the other parts of the same batch follow at once


class Settled(NamedTuple):
    """What became of the rows of a batch."""

    outcomes: Sequence[Outcome]
    due: Sequence[Part]
    is_refused: bool = False  #: the batch was refused as a whole, and not for its size


@dataclass(frozen=True, slots=True)
class BatchSplitter:
    """Engages one batch after another."""

    retrying: Retrying
    repack: Repack
    lower_bytes: Callable[[int], None]  #: called with the bytes of a body that was too large
    is_settled: Callable[[int], bool]  #: whether a row has its outcome already
    stop: Stop
    halves: bool = True  #: a batch that is refused as a whole is halved; otherwise its rows are in doubt

    async def engage(self, work: EngageRequest | Part) -> Settled:
        """Attempt a batch until its rows are settled or due in parts; nothing: it is deferred."""
        part = work if isinstance(work, Part) else Part(work)
        if all(self.is_settled(member.row.number) for member in part.request.members):
            return Settled([_of_settled(member) for member in part.request.members], ())
        # A batch that was sent before a crash is no first batch either.
        is_part = part is work or part.request.history.attempts > 0
        before = part.request.history.attempts
        attempt, verdict, step = await self.retrying.carry(
            part.request, part.attempts, part.after, waits=part.waits, is_part=is_part
        )
        if isinstance(step, Decision):
            return Settled((), ())
        if step is Status.ENGAGED and verdict.rows:
            used = part.attempts + attempt.request.history.attempts - before
            return self._by_row(attempt, used, verdict)
        if step is Status.REJECTED and len(attempt.request.members) > 1:
            if self.halves or verdict.is_too_large:
                refused = not (is_part or verdict.is_too_large)
                return self._halved(attempt, part, verdict)._replace(is_refused=refused)
            step = Status.IN_DOUBT
        elif step is Status.ENGAGED and verdict.rows is not None:
            step = Status.IN_DOUBT
        elif step is Status.ENGAGED and verdict.request_only:
            step = Status.ACCEPTED
        return Settled([outcome_of(attempt, member, step, verdict) for member in attempt.request.members], ())

    def _halved(self, attempt: Attempt, part: Part, verdict: Verdict) -> Settled:
        """The halves of a batch that was refused, which uses up no attempt of their rows."""
        if verdict.is_too_large:
            self.lower_bytes(sum(map(len, attempt.request.body)))
        settled, members = list[EngageRequest](), list[EngageRequest]()
        for member in attempt.request.members:
            (settled if self.is_settled(member.row.number) else members).append(member)
        half, history = (len(members) + 1) // 2, attempt.request.history.renewed()
        halves = [members[:half], members[half:]]
        return Settled(
            [*map(_of_settled, settled)],
            [Part(self.repack(some, history), part.attempts) for some in halves if some],
        )

    def _by_row(self, attempt: Attempt, used: int, whole: Verdict) -> Settled:
        """Settle each row by its entry in the response; neighbours that are due go together."""
        retrying, before = self.retrying, attempt.request.history
        delivery, now = retrying.delivery, retrying.clock()
        doubtful = is_doubtful_after(delivery, before, whole, now)
        may_repeat = may_attempt(delivery, before, now)
        rows = [*zip(attempt.request.members, whole.rows or (), whole.references, strict=True)]
        fatal = next((one for one in whole.rows or () if one.meaning is Meaning.FATAL), None)
        if fatal is not None and not whole.duplicate:  # a repeated response speaks of an earlier moment
            self.stop.request(Exit.STOPPED, f"no row can succeed: {fatal_reason(fatal)}")
        # After a stop no row may use up its attempts.
        is_last = used >= retrying.retry.attempts and not self.stop.requested
        outcomes, due = list[Outcome](), list[Part]()
        for fate, group in groupby(rows, lambda row: self._fate(row[0], row[1], doubtful, may_repeat)):
            some = [*group]
            if fate is _Fate.SETTLED or is_last:
                outcomes += [_outcome(attempt, *row, doubtful) for row in some]
            elif fate is _Fate.DUE:
                members = [member for member, _, _ in some]
                due.append(Part(self.repack(members, before.renewed()), used, some[0][1]))
            else:
                # No response under another id says what became of the attempt in doubt.
                history = before.renewed()._replace(in_doubt=True, first_left=-inf)
                due += [Part(self.repack([row], history), used, verdict) for row, verdict, _ in some]
        return Settled(outcomes, [replace(one, waits=index == 0) for index, one in enumerate(due)])

    def _fate(self, member: EngageRequest, verdict: Verdict, doubtful: bool, may_repeat: bool) -> _Fate:
        if verdict.meaning in (Meaning.ACCEPTED, Meaning.REJECTED) or self.is_settled(member.row.number):
            return _Fate.SETTLED  # a row that was settled before was sent for the sake of the others
        if verdict.meaning is Meaning.UNKNOWN:
            # No other request may carry it, unless it may be engaged twice.
            again = self.retrying.delivery.mode is Mode.AT_LEAST_ONCE
            return _Fate.DUE_ALONE if again else _Fate.SETTLED
        if not doubtful:
            return _Fate.DUE
        return _Fate.DUE_ALONE if may_repeat else _Fate.SETTLED


class _Fate(Enum):
    """What becomes of a row of a batch."""

    SETTLED = auto()
    DUE = auto()
    DUE_ALONE = auto()  #: it may be engaged: in no batch with rows that are not


def _of_settled(member: EngageRequest) -> Outcome:
    """What is said again of a row that has its outcome, which the store keeps."""
    return Outcome(member.row, member.key, Status.IN_DOUBT)


def _outcome(
    attempt: Attempt, member: EngageRequest, verdict: Verdict, reference: str | None, doubtful: bool
) -> Outcome:
    status = STATUS_AFTER[verdict.meaning]
    if doubtful and status is not Status.ENGAGED:
        status, verdict = Status.IN_DOUBT, doubtful_verdict(attempt.doubt, verdict)
    outcome = outcome_of(attempt, member, status, verdict)
    outcome.reference = reference
    return outcome
