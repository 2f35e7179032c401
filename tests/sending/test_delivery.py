"""The decision after each attempt of a row, over every sequence of verdicts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engager.altcraft.classification import Meaning, Verdict, judge
from engager.models import UNATTEMPTED, Reply, Status
from engager.policies.delivery import Delivery, Mode
from engager.sending.delivery import Decision, decide, give_up

EXACTLY, AT_MOST, AT_LEAST = (Delivery(mode) for mode in Mode)
LOST = Verdict(Meaning.UNKNOWN)
BUSY = Verdict(Meaning.NOT_ACCEPTED)
ACCEPTED = Verdict(Meaning.ACCEPTED, 0, by_endpoint=True)
REJECTED = Verdict(Meaning.REJECTED, 400, by_endpoint=True)
BARE_503 = Verdict(Meaning.NOT_ACCEPTED, "http_503", http_status=503, assumed=True)
REPEATED_FAULT = Verdict(Meaning.UNKNOWN, 500, duplicate=True, by_endpoint=True)
REPEATED_REJECTION = Verdict(Meaning.REJECTED, 400, duplicate=True, by_endpoint=True)


def decide_all(delivery: Delivery, *verdicts: Verdict, seconds: float = 1.0) -> Status | Decision:
    """The decision after the last of some attempts, `seconds` apart."""
    history = UNATTEMPTED
    step: Status | Decision = Decision.RETRY
    for number, verdict in enumerate(verdicts):
        history = history.departed(number * seconds)
        step, history = decide(delivery, history, verdict, number * seconds)
    return step


@pytest.mark.parametrize(
    ("delivery", "verdicts", "step"),
    [
        (EXACTLY, [ACCEPTED], Status.ENGAGED),
        (EXACTLY, [REJECTED], Status.REJECTED),
        (EXACTLY, [BUSY], Decision.RETRY),
        (EXACTLY, [LOST], Decision.RETRY),
        (AT_LEAST, [LOST], Decision.RETRY),
        (AT_MOST, [LOST], Status.IN_DOUBT),
        (AT_MOST, [BUSY], Decision.RETRY),
        (AT_MOST, [BUSY, LOST], Status.IN_DOUBT),
        # the endpoint would have repeated its success, so its fresh error settles the doubt …
        (EXACTLY, [LOST, REJECTED], Status.REJECTED),
        # … but not where nothing is deduplicated
        (AT_LEAST, [LOST, REJECTED], Status.IN_DOUBT),
        # a 503 that may follow the processing: repeated under the same id; in doubt if it must not be
        (EXACTLY, [BARE_503], Decision.RETRY),
        (AT_LEAST, [BARE_503], Decision.RETRY),
        (AT_MOST, [BARE_503], Status.IN_DOUBT),
        # an error that is a repeat is the response of the first attempt
        (EXACTLY, [LOST, REPEATED_FAULT], Decision.RETRY),
        (EXACTLY, [LOST, REPEATED_REJECTION], Status.REJECTED),
        (EXACTLY, [LOST, ACCEPTED], Status.ENGAGED),
        (EXACTLY, [Verdict(Meaning.NOT_SENT)], Decision.DEFER),
        (EXACTLY, [Verdict(Meaning.FATAL)], Decision.DEFER),
    ],
)
def test_the_decision_after_some_attempts(
    delivery: Delivery, verdicts: list[Verdict], step: Status | Decision
) -> None:
    assert decide_all(delivery, *verdicts) is step


def test_a_repeated_error_renews_the_request_id_and_clears_the_doubt() -> None:
    _, lost = decide(EXACTLY, UNATTEMPTED.departed(0), LOST, 0)
    assert (lost.in_doubt, lost.request_id_version) == (True, 0)
    _, settled = decide(EXACTLY, lost, REPEATED_FAULT, 1)
    assert (settled.in_doubt, settled.request_id_version) == (False, 1)
    assert give_up(settled) is Status.FAILED


@pytest.mark.parametrize("before", [[], [LOST]])
def test_a_repeated_success_under_an_error_status_keeps_the_request_id(before: list[Verdict]) -> None:
    history = UNATTEMPTED.departed(0)
    for verdict in (*before, judge(Reply(502, b'{"error": 0, "error_text": "ok"}', duplicate=True))):
        step, history = decide(EXACTLY, history, verdict, 1)
        assert step is Decision.RETRY
    assert (history.in_doubt, history.request_id_version) == (True, 0)


def test_a_late_repeated_error_renews_the_request_id() -> None:
    step, history = decide(EXACTLY, UNATTEMPTED.departed(0), REPEATED_FAULT, 1e6)
    assert step is Decision.RETRY
    assert (history.in_doubt, history.request_id_version) == (False, 1)


def test_no_attempt_repeats_an_id_after_the_deduplication_window() -> None:
    assert decide_all(EXACTLY, LOST, LOST, seconds=86_400 - 61) is Decision.RETRY
    assert decide_all(EXACTLY, LOST, LOST, seconds=86_400 - 59) is Status.IN_DOUBT
    assert decide_all(AT_LEAST, LOST, LOST, seconds=1e9) is Decision.RETRY


verdicts = st.builds(
    Verdict,
    st.sampled_from([Meaning.ACCEPTED, Meaning.REJECTED, Meaning.NOT_ACCEPTED, Meaning.UNKNOWN]),
    duplicate=st.just(False),
    by_endpoint=st.booleans(),
)


@given(st.sampled_from([AT_MOST, AT_LEAST]), st.lists(verdicts, min_size=1))
def test_a_row_is_engaged_by_proof_or_in_doubt(delivery: Delivery, attempts: list[Verdict]) -> None:
    """Without deduplication: after an attempt without proof, the row is engaged by proof or else in doubt."""
    history = UNATTEMPTED
    unknown = False
    for number, verdict in enumerate(attempts):
        history = history.departed(number)
        unknown |= verdict.meaning is Meaning.UNKNOWN
        step, history = decide(delivery, history, verdict, number)
        settled = give_up(history) if step is Decision.RETRY else step
        assert settled in ({Status.ENGAGED, Status.IN_DOUBT} if unknown else set(Status))
        assert (settled is Status.ENGAGED) == (verdict.meaning is Meaning.ACCEPTED)
        if step is not Decision.RETRY:
            break
        assert not (unknown and delivery is AT_MOST), "a lost attempt was repeated"
