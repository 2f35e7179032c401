"""What is known of a row and what a try proved in; what is done next out. Pure.

The rule behind all of it: a status is claimed only when it is known. Once a try may have been taken, the
row is in doubt until something proves otherwise.
"""

from __future__ import annotations

from enum import Enum, auto

from engager.dispatch.verdict import Meaning, Verdict
from engager.model import Life, Status
from engager.policy import Delivery, Mode


class Step(Enum):
    """What to do with a row that is not settled."""

    AGAIN = auto()
    WITHHOLD = auto()  #: leave it as it is: it is due when the run goes on


def decide(delivery: Delivery, life: Life, verdict: Verdict, now: float) -> Status | Step:
    """Settle the row, or say what is done next; keeps `life` true.

    An answer marked as a repeat that carries an error is the first try's own answer: that try is no
    longer in doubt, and since the endpoint would repeat this answer for ever, the next one needs a
    fresh id.
    """
    if verdict.meaning is Meaning.TAKEN:
        return Status.ENGAGED
    if verdict.meaning in (Meaning.WITHHELD, Meaning.REFUSES_ALL):
        return Step.WITHHOLD
    if verdict.duplicate and verdict.by_endpoint:
        life.renew()
        return Status.REJECTED if verdict.meaning is Meaning.REJECTED else Step.AGAIN
    if verdict.meaning is Meaning.REJECTED:
        return _rejected(delivery, life, verdict)
    if verdict.meaning is Meaning.UNKNOWN:
        life.in_doubt = True
    return _again(delivery, life, now)


#: Of a row that a crash left in flight, and that must not be sent again.
INTERRUPTED = Verdict(
    Meaning.UNKNOWN,
    "interrupted",
    "a try was in flight when the run was interrupted, and it may have been taken",
)


def may_go_on(delivery: Delivery, life: Life, now: float) -> bool:
    """Whether a row may be tried, by what an earlier process left of it."""
    if not life.in_doubt or life.asked_for:
        return True
    return life.first_left is not None and delivery.may_repeat(life.first_left, now)


def give_up(life: Life) -> Status:
    """What a row is whose tries are used up."""
    return Status.IN_DOUBT if life.in_doubt else Status.FAILED


def _rejected(delivery: Delivery, life: Life, verdict: Verdict) -> Status:
    # An endpoint that deduplicates would have repeated its success. Its own fresh error therefore
    # proves that it never saw the doubtful try; a gateway's error proves nothing about that try.
    proved = delivery.mode is Mode.EXACTLY_ONCE and verdict.by_endpoint
    return Status.REJECTED if proved or not life.in_doubt else Status.IN_DOUBT


def _again(delivery: Delivery, life: Life, now: float) -> Status | Step:
    since = now if life.first_left is None else life.first_left
    return Step.AGAIN if not life.in_doubt or delivery.may_repeat(since, now) else Status.IN_DOUBT
