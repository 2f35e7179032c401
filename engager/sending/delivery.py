"""Decides what follows an attempt of a row. Pure: every decision is a new value.

Invariant: a status is claimed only when it is proved. After an attempt that may have had an effect, the row
is in doubt until a response proves otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum, auto
from typing import Final

from engager.altcraft.classification import IN_FLIGHT, Meaning, Verdict
from engager.models import MAY_HAVE_ARRIVED, AttemptHistory, Status
from engager.policies.delivery import Delivery, Mode


class Decision(Enum):
    """What to do with a row that is not settled."""

    RETRY = auto()
    DEFER = auto()  #: leave it as it is: it is due when the run is resumed


#: The status of a row after its only attempt, or its last, by what that proved.
STATUS_AFTER: Final[Mapping[Meaning, Status]] = {
    Meaning.ACCEPTED: Status.ENGAGED,
    Meaning.REJECTED: Status.REJECTED,
    Meaning.NOT_ACCEPTED: Status.FAILED,
    Meaning.FATAL: Status.FAILED,
    Meaning.NOT_SENT: Status.FAILED,
    Meaning.UNKNOWN: Status.IN_DOUBT,
}

#: A row that was in flight, or waited for a retry, when the run was interrupted.
INTERRUPTED: Final = Verdict(
    Meaning.UNKNOWN,
    "interrupted",
    MAY_HAVE_ARRIVED,
)

#: A row that was in doubt when the operator asked for a further attempt.
IN_DOUBT_BEFORE: Final = Verdict(
    Meaning.UNKNOWN,
    "in_doubt_before",
    "it was in doubt before this pass, as the results set aside say, and no attempt has settled that",
)

#: A row that is not attempted because the run stops.
STOPPED: Final = Verdict(Meaning.NOT_SENT)

#: A row whose repeat came too late to be recognized as one.
EXPIRED: Final = Verdict(
    Meaning.UNKNOWN,
    "window_passed",
    "an attempt may have had an effect, and the endpoint may have forgotten its request id: a repeat could "
    "be a second message",
)


def decide(
    delivery: Delivery, history: AttemptHistory, verdict: Verdict, now: float
) -> tuple[Status | Decision, AttemptHistory]:
    """Settle the row or say what is done next, with the history as it is after the verdict."""
    if verdict.meaning is Meaning.ACCEPTED:
        return Status.ENGAGED, history
    if verdict.meaning is Meaning.NOT_SENT:
        return Decision.DEFER, history
    if verdict.rows is not None:  # it was answered, so a repeat would be answered in the same way
        return Status.IN_DOUBT, history
    if _repeats_first_response(delivery, history, verdict, now):
        # The first attempt is not in doubt any more. The endpoint would repeat this response for ever, so the
        # next attempt needs a fresh request id.
        rejected = verdict.meaning is Meaning.REJECTED
        return Status.REJECTED if rejected else Decision.RETRY, history.renewed()
    if verdict.meaning is Meaning.FATAL:
        return Decision.DEFER, history
    if verdict.meaning is Meaning.REJECTED:
        return _rejected(delivery, history, verdict, now), history
    if verdict.meaning is Meaning.UNKNOWN or (verdict.assumed and delivery.mode is Mode.AT_MOST_ONCE):
        history = history._replace(in_doubt=True)
    return _retry(delivery, history, now), history


def _repeats_first_response(
    delivery: Delivery, history: AttemptHistory, verdict: Verdict, now: float
) -> bool:
    """Whether a response is the one to the first attempt under this request id, and so settles that attempt.

    Outside of the window the endpoint may have forgotten the first attempt and repeat the response to a later
    one: the row stays in doubt. That an attempt is still in flight is no response to it, and a success under
    an error status was done: its id is never renewed.
    """
    repeated = verdict.duplicate and verdict.by_endpoint and verdict.error not in (0, IN_FLIGHT)
    return repeated and (not history.in_doubt or _is_remembered(delivery, history, now))


def _is_remembered(delivery: Delivery, history: AttemptHistory, now: float) -> bool:
    """Whether the endpoint certainly knows of every attempt under the present request id."""
    return not history.forced and (history.first_left is None or delivery.remembers(history.first_left, now))


def _rejected(delivery: Delivery, history: AttemptHistory, verdict: Verdict, now: float) -> Status:
    return Status.IN_DOUBT if is_doubtful_after(delivery, history, verdict, now) else Status.REJECTED


def is_doubtful_after(delivery: Delivery, history: AttemptHistory, verdict: Verdict, now: float) -> bool:
    """Whether an attempt before the one with this verdict may have had an effect, after all.

    A repeated response is the one to that attempt. An endpoint that deduplicates would have repeated it; a
    fresh one, to a request that it has looked into, therefore proves that it never saw the attempt. A
    gateway's error proves nothing about it.
    """
    trusted = verdict.by_endpoint and (verdict.duplicate or delivery.mode is Mode.EXACTLY_ONCE)
    return history.in_doubt and not (trusted and _is_remembered(delivery, history, now))


def _retry(delivery: Delivery, history: AttemptHistory, now: float) -> Status | Decision:
    since = now if history.first_left is None else history.first_left
    return Decision.RETRY if not history.in_doubt or delivery.may_repeat(since, now) else Status.IN_DOUBT


def may_attempt(delivery: Delivery, history: AttemptHistory, now: float) -> bool:
    """Whether a further attempt may leave now, by what is known of those before it."""
    if not history.in_doubt or history.forced:
        return True
    return history.first_left is not None and delivery.may_repeat(history.first_left, now)


def give_up(history: AttemptHistory) -> Status:
    """The status of a row whose attempts are used up."""
    return Status.IN_DOUBT if history.in_doubt else Status.FAILED


def doubt_before(history: AttemptHistory) -> Verdict:
    """Why a row was in doubt before this process, as far as the journal says."""
    return IN_DOUBT_BEFORE if history.forced else INTERRUPTED


def doubtful(doubt: Verdict | None, last: Verdict) -> Verdict:
    """The verdict on a row in doubt: why it is, and then how its last attempt ended."""
    if doubt is None or doubt is last:
        return last
    texts = dict.fromkeys(text for text in (doubt.error_text, last.error_text) if text)
    return replace(doubt, error_text="; then: ".join(texts) or None, duplicate=last.duplicate)
