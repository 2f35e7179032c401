"""Engages batches: what a response says of each row settles it, or makes it due in a smaller batch.

Three rules. What is in doubt is never split, because other rows in a batch are another request id. What was
answered is never repeated as it stands. Rows are mapped to a response by their places only if the counts
agree (`altcraft/classification.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

from engager.altcraft.classification import Meaning, Verdict, fatal_reason
from engager.errors import Exit
from engager.models import AttemptHistory, EngageRequest, Outcome, Status
from engager.policies.delivery import Mode
from engager.sending.attempt import Attempt
from engager.sending.delivery import Decision, doubtful, is_doubted, may_attempt
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


@dataclass(frozen=True, slots=True)
class BatchSplitter:
    """Engages one batch after another."""

    retrying: Retrying
    repack: Repack
    lower_bytes: Callable[[int], None]  #: called with the bytes of a body that was too large
    is_settled: Callable[[int], bool]  #: whether a row has its outcome already
    stop: Stop
    mode: Mode
    halves: bool = True  #: a batch that is refused as a whole is halved; otherwise its rows are in doubt

    async def engage(self, work: EngageRequest | Part) -> Settled:
        """Attempt a batch until its rows are settled or due in parts; nothing: it is deferred."""
        part = work if isinstance(work, Part) else Part(work)
        is_part = part is work
        attempt, verdict, step = await self.retrying.carry(
            part.request, part.attempts, part.after, waits=part.waits, is_part=is_part
        )
        if isinstance(step, Decision):
            return Settled((), ())
        if step is Status.ENGAGED and verdict.rows:
            return self._by_row(attempt, part, verdict)
        if step is Status.REJECTED and len(attempt.request.members) > 1:
            if self.halves or verdict.is_too_large:
                return Settled((), self._halved(attempt, part, verdict))
            step = Status.IN_DOUBT
        elif step is Status.ENGAGED and verdict.rows is not None:
            step = Status.IN_DOUBT
        elif step is Status.ENGAGED and verdict.request_only:
            step = Status.ACCEPTED
        return Settled([outcome_of(attempt, member, step, verdict) for member in attempt.request.members], ())

    def _halved(self, attempt: Attempt, part: Part, verdict: Verdict) -> list[Part]:
        """The halves of a batch that was refused, which uses up no attempt of their rows."""
        members = attempt.request.members
        if verdict.is_too_large:
            self.lower_bytes(sum(map(len, attempt.request.body)))
        half, history = (len(members) + 1) // 2, attempt.request.history.renewed()
        return [Part(self.repack(some, history), part.attempts) for some in (members[:half], members[half:])]

    def _by_row(self, attempt: Attempt, part: Part, whole: Verdict) -> Settled:
        retrying, history, now = self.retrying, attempt.request.history, self.retrying.clock()
        # Of an attempt before, whose response was lost, this one may say nothing.
        doubted = is_doubted(retrying.delivery, history, whole, now)
        may_repeat = not doubted or may_attempt(retrying.delivery, history, now)
        rows = [*zip(attempt.request.members, whole.rows or (), whole.references, strict=True)]
        used = part.attempts + attempt.sent
        outcomes, due = list[Outcome](), list[Part]()
        for is_due, group in groupby(rows, lambda row: self._is_due(row[0], row[1], may_repeat)):
            if is_due and used < retrying.retry.attempts:
                due += self._due_again(attempt, [(row, verdict) for row, verdict, _ in group], used, doubted)
                continue
            for row, verdict, reference in group:
                status, said = _STATUSES[verdict.meaning], verdict
                if doubted and status is not Status.ENGAGED:
                    status, said = Status.IN_DOUBT, doubtful(attempt.doubt, verdict)
                outcome = outcome_of(attempt, row, status, said)
                outcome.reference = reference
                outcomes.append(outcome)
        fatal = next((one for one in whole.rows or () if one.meaning is Meaning.FATAL), None)
        if fatal is not None and not whole.duplicate:  # what a repeated response tells of may be over
            self.stop.request(Exit.STOPPED, f"no row can succeed: {fatal_reason(fatal)}")
        return Settled(outcomes, [replace(one, waits=index == 0) for index, one in enumerate(due)])

    def _is_due(self, member: EngageRequest, verdict: Verdict, may_repeat: bool) -> bool:
        if self.is_settled(member.row.number):
            return False  # it was sent again for the sake of the others
        if verdict.meaning is Meaning.UNKNOWN:
            return self.mode is Mode.AT_LEAST_ONCE
        return may_repeat and verdict.meaning in (Meaning.NOT_ACCEPTED, Meaning.FATAL)

    def _due_again(
        self, attempt: Attempt, rows: Sequence[tuple[EngageRequest, Verdict]], used: int, doubted: bool
    ) -> list[Part]:
        """Neighbours that are due go together; a row that may be engaged goes alone.

        `doubted`: each may be engaged by an attempt before, and may be sent again.
        """
        before, parts = attempt.request.history, list[Part]()
        doubt = before.renewed()._replace(in_doubt=True, first_left=before.first_left)
        for in_doubt, group in groupby(rows, lambda row: row[1].meaning is Meaning.UNKNOWN):
            some = [*group]
            if in_doubt:
                parts += [Part(self.repack([row], doubt), used, verdict) for row, verdict in some]
            else:
                members, verdict = [row for row, _ in some], some[0][1]
                history = doubt if doubted else before.renewed()
                after = doubtful(attempt.doubt, verdict) if doubted else verdict
                parts.append(Part(self.repack(members, history), used, after))
        return parts


_STATUSES = {
    Meaning.ACCEPTED: Status.ENGAGED,
    Meaning.REJECTED: Status.REJECTED,
    Meaning.NOT_ACCEPTED: Status.FAILED,
    Meaning.FATAL: Status.FAILED,
    Meaning.UNKNOWN: Status.IN_DOUBT,
}
