"""What is known of a row and what a try proved in; what is done next out. Pure.

The rule behind all of it: a status is claimed only when it is known. Once a try may have been taken, the
row is in doubt until something proves otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto
from typing import Final

from engager.altcraft.classification import IN_FLIGHT, Meaning, Verdict
from engager.models import AttemptHistory, Status
from engager.policies.delivery import Delivery, Mode

# To ask an enumeration for a member takes a call, and these are asked for with every row.
_ACCEPTED: Final = Meaning.ACCEPTED
_ENGAGED: Final = Status.ENGAGED


class Decision(Enum):
    """What to do with a row that is not settled."""

    RETRY = auto()
    DEFER = auto()  #: leave it as it is: it is due when the run goes on


def decide(delivery: Delivery, life: AttemptHistory, verdict: Verdict, now: float) -> Status | Decision:
    """Settle the row, or say what is done next; keeps `life` true."""
    if verdict.meaning is _ACCEPTED:
        return _ENGAGED
    if verdict.meaning is Meaning.NOT_SENT:
        return Decision.DEFER
    if _is_the_first_answer(delivery, life, verdict, now):
        # That try is no longer in doubt; and as the endpoint would repeat this answer for ever, the
        # next one needs a fresh id.
        life.renew()
        return Status.REJECTED if verdict.meaning is Meaning.REJECTED else Decision.RETRY
    if verdict.meaning is Meaning.FATAL:
        return Decision.DEFER
    if verdict.meaning is Meaning.REJECTED:
        return _rejected(delivery, life, verdict, now)
    if verdict.meaning is Meaning.UNKNOWN or (verdict.assumed and delivery.mode is Mode.AT_MOST_ONCE):
        life.in_doubt = True
    return _again(delivery, life, now)


def _is_the_first_answer(delivery: Delivery, life: AttemptHistory, verdict: Verdict, now: float) -> bool:
    """Whether an answer is what the first try under this id was told, and so settles that one.

    Outside of the window the endpoint may have forgotten the first try and repeat the answer to a later
    one: that leaves a row in doubt. That a try is still being worked on is no answer to it.
    """
    repeated = verdict.duplicate and verdict.by_endpoint and verdict.error != IN_FLIGHT
    return repeated and (not life.in_doubt or _is_remembered(delivery, life, now))


def _is_remembered(delivery: Delivery, life: AttemptHistory, now: float) -> bool:
    """Whether the endpoint is sure to know of every try under the present id."""
    return not life.forced and (life.first_left is None or delivery.remembers(life.first_left, now))


#: Of a row that an earlier start left in doubt: in flight at a crash, or waiting to be tried again.
INTERRUPTED = Verdict(
    Meaning.UNKNOWN,
    "interrupted",
    "a try that left before the run was interrupted may have been taken",
)


#: Of a row that was in doubt already when another try was asked for.
IN_DOUBT_BEFORE = Verdict(
    Meaning.UNKNOWN,
    "in_doubt_before",
    "it was in doubt before this pass, as the results set aside say, and no try has settled that",
)

#: Of a row that is not tried again because the run stops.
STOPPED = Verdict(Meaning.NOT_SENT)

#: Of a row whose repeat came too late to be known as one.
EXPIRED = Verdict(
    Meaning.UNKNOWN,
    "window_passed",
    "a try may have been taken, and the endpoint may have forgotten it: a repeat could be a second message",
)


def may_attempt(delivery: Delivery, life: AttemptHistory, now: float) -> bool:
    """Whether a try of the row may leave now, by what is known of those before it."""
    if not life.in_doubt or life.forced:
        return True
    return life.first_left is not None and delivery.may_repeat(life.first_left, now)


def doubt_before(life: AttemptHistory) -> Verdict:
    """What made a row doubtful before it was taken up, as far as anybody remembers."""
    return IN_DOUBT_BEFORE if life.forced else INTERRUPTED


def doubtful(doubt: Verdict | None, last: Verdict) -> Verdict:
    """What a row in doubt is told of: what made it so, and behind that how its last try ended."""
    if doubt is None or doubt is last:
        return last
    texts = dict.fromkeys(text for text in (doubt.error_text, last.error_text) if text)
    return replace(doubt, error_text="; then: ".join(texts) or None, duplicate=last.duplicate)


def give_up(life: AttemptHistory) -> Status:
    """What a row is whose tries are used up."""
    return Status.IN_DOUBT if life.in_doubt else Status.FAILED


def _rejected(delivery: Delivery, life: AttemptHistory, verdict: Verdict, now: float) -> Status:
    if not life.in_doubt:
        return Status.REJECTED
    # An endpoint that deduplicates would have repeated its success. Its own fresh error therefore
    # proves that it never saw the doubtful try; a gateway's error proves nothing about that try.
    trusted = delivery.mode is Mode.EXACTLY_ONCE and verdict.by_endpoint
    proved = trusted and _is_remembered(delivery, life, now)
    return Status.REJECTED if proved else Status.IN_DOUBT


def _again(delivery: Delivery, life: AttemptHistory, now: float) -> Status | Decision:
    since = now if life.first_left is None else life.first_left
    return Decision.RETRY if not life.in_doubt or delivery.may_repeat(since, now) else Status.IN_DOUBT
