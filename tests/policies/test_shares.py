"""The shares of senders, whatever order they join, leave and confirm in."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from engager.policies.rate import Pace
from engager.policies.shares import Shares, divided

RATES = st.sampled_from([0.0, 0.3, 1.0, 1.5, 2.0, 3.0, 7.0, 10.0, 99.9, 100.0, 1000.0])


@pytest.mark.parametrize(
    ("rate", "senders", "shares"),
    [
        (100.0, 0, []),
        (100.0, 1, [100.0]),
        (100.0, 3, [34.0, 33.0, 33.0]),
        (2.5, 2, [1.5, 1.0]),
        (2.0, 3, [1.0, 1.0, 0.0]),
        (0.3, 2, [0.3, 0.0]),
        (0.0, 2, [0.0, 0.0]),
    ],
)
def test_a_rate_is_divided_in_whole_requests(rate: float, senders: int, shares: list[float]) -> None:
    assert divided(rate, senders) == pytest.approx(shares)


@given(rate=st.floats(0.001, 5000), senders=st.integers(1, 64))
@settings(deadline=None)
def test_the_parts_are_the_rate_and_no_second_has_more_requests_than_it_may_have(
    rate: float, senders: int
) -> None:
    shares = divided(rate, senders)
    assert sum(shares) == pytest.approx(rate)
    assert max(shares) - min(share for share in shares if share) < 2
    together = sum(Pace(share, is_share=True).per_second for share in shares)
    assert together <= max(1, int(rate * 1.02))


def test_a_second_passes_between_a_lower_share_and_a_higher_one() -> None:
    shares = Shares(10.0)
    shares.join("first")
    assert shares.due(0.0) == {"first": 10.0}
    shares.confirm("first", 10.0, 0.0)
    shares.join("second")
    assert shares.due(5.0) == {"first": 5.0}
    assert shares.due(50.0) == {}, "the first one has not confirmed, and may use its former share"
    shares.confirm("first", 5.0, 60.0)
    assert shares.due(61.0) == {}, "its former share counts for a second"
    assert shares.due(61.1) == {"second": 5.0}


def test_one_share_is_under_way_to_a_sender_at_a_time() -> None:
    """Of two, the former could arrive last."""
    shares = Shares(10.0)
    shares.join("first")
    shares.due(0.0)
    shares.rate = 4.0
    assert shares.due(1.0) == {}
    shares.confirm("first", 10.0, 2.0)
    assert shares.due(2.0) == {"first": 4.0}
    shares.confirm("first", 10.0, 3.0)  # late, and no confirmation of this one
    assert shares.share_of("first") == 10.0
    shares.confirm("first", 4.0, 3.0)
    assert shares.share_of("first") == 4.0


def test_the_share_of_a_lost_sender_is_given_on_when_it_cannot_send_any_more() -> None:
    shares = Shares(10.0)
    for name in ("first", "second"):
        shares.join(name)
    for name, share in shares.due(0.0).items():
        shares.confirm(name, share, 0.0)
    shares.leave("first", until=15.0)
    assert shares.due(16.0) == {}
    assert shares.due(16.1) == {"second": 10.0}


@dataclass
class Use:
    """A share that a sender may use, and until when."""

    share: float
    until: float = inf


@dataclass
class Sender:
    uses: list[Use] = field(default_factory=list)
    told: float | None = None  #: not confirmed yet


class SharesLife(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.shares, self.now, self.names = Shares(10.0), 100.0, 0
        self.largest = 10.0  #: of the rates whose shares may still be in use
        self.changed = self.now  #: the last moment at which anything moved
        self.present: dict[str, Sender] = {}
        self.gone: list[Sender] = []

    @rule()
    def join(self) -> None:
        self.names += 1
        self.present[f"s{self.names}"] = Sender()
        self.shares.join(f"s{self.names}")
        self.changed = self.now

    @precondition(lambda self: self.present)
    @rule(data=st.data(), lasts=st.floats(0, 5))
    def leave(self, data: st.DataObject, lasts: float) -> None:
        name = data.draw(st.sampled_from(sorted(self.present)))
        until = self.now + lasts
        self.shares.leave(name, until)
        sender = self.present.pop(name)
        for use in sender.uses:
            use.until = min(use.until, until)
        self.gone.append(sender)
        self.changed = until

    @rule(rate=RATES)
    def set_rate(self, rate: float) -> None:
        self.shares.rate = rate
        self.largest, self.changed = max(self.largest, rate), max(self.changed, self.now)

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.5, 0.99, 1.0, 1.03, 3.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: any(sender.told is not None for sender in self.present.values()))
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        waiting = sorted(name for name, sender in self.present.items() if sender.told is not None)
        self._confirm(data.draw(st.sampled_from(waiting)))

    def _confirm(self, name: str) -> None:
        sender = self.present[name]
        assert sender.told is not None
        for use in sender.uses[:-1]:
            use.until = min(use.until, self.now)
        self.shares.confirm(name, sender.told, self.now)
        sender.told, self.changed = None, max(self.changed, self.now)

    @rule()
    def tell(self) -> None:
        """Sums grow at these moments only, so it suffices to look at the second before each."""
        told = self.shares.due(self.now)
        for name, share in told.items():
            assert self.present[name].told is None
            self.present[name].uses.append(Use(share))
            self.present[name].told = share
            self.changed = max(self.changed, self.now)
        everybody = [*self.present.values(), *self.gone]
        used = sum(
            max((use.share for use in sender.uses if use.until > self.now - 1), default=0.0)
            for sender in everybody
        )
        assert used <= self.largest + 1e-6
        is_settled = all(sender.told is None for sender in self.present.values())
        if is_settled and self.now > self.changed + 2.1:
            self.largest = self.shares.rate

    def teardown(self) -> None:
        """Once all are heard, the whole rate is in use again."""
        for _ in range(12):
            for name, sender in self.present.items():
                if sender.told is not None:
                    self._confirm(name)
            self.now += 1.03
            self.tell()
        confirmed = [self.shares.share_of(name) for name in self.present]
        assert sorted(confirmed) == sorted(divided(self.shares.rate, len(self.present)))


SharesLife.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestSharesLife = SharesLife.TestCase
