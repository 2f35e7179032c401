"""What a process is given goes to it through pickle, where it is not forked."""

from __future__ import annotations

import pickle

from engager.adaptation import Adaptive
from engager.ledger.journal import Mark, Mend
from engager.ledger.recall import Gaps, Recall
from engager.plan import Plan
from engager.policy import Delivery, Mode, Pace, Retry
from engager.rules import Breaker


def test_how_a_run_sends_arrives_as_it_is() -> None:
    plan = Plan(8, Pace(5.0), Retry(attempts=3), Delivery(Mode.AT_MOST_ONCE), Adaptive(), Breaker(3), None, 7)
    assert repr(pickle.loads(pickle.dumps(plan))) == repr(plan)


def test_what_a_shard_is_told_of_its_past_arrives_as_it_is() -> None:
    gaps = Gaps(bytearray(b"\1"), {Mend.FAILED: bytearray(b"\0\1")})
    recall = Recall(Mark(7, 100), 5.0, False, 2, {3: 1}, gaps, 9.0)
    assert pickle.loads(pickle.dumps(recall)) == recall
