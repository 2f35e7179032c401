"""Parts that rows share: whatever comes, the sender has the bodies that the run has."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engager.sending.remote.parts import SentParts, SharedParts

LARGE = [bytes([number]) * (32 * 1024 + number) for number in range(40)]
SMALL = [b"", b"{}", b"x" * 1000]


class Receiver:
    """The other side: keeps parts, and puts bodies together."""

    def __init__(self, shared: SharedParts) -> None:
        self.sent = SentParts(shared)
        self.kept: dict[int, bytes] = {}
        self.bytes_in = 0

    def receive(self, bodies: list[tuple[bytes, ...]]) -> list[tuple[bytes, ...]]:
        parts = self.sent.batch()
        pieces = [parts.replaced(body) for body in bodies]
        self.kept.update(parts.new)
        travelled = [part for body in pieces for part in body if isinstance(part, bytes)]
        self.bytes_in += sum(map(len, [*travelled, *parts.new.values()]))
        return [tuple(self.kept[part] if isinstance(part, int) else part for part in body) for body in pieces]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.lists(st.lists(st.sampled_from([*LARGE, *SMALL]), max_size=4).map(tuple), max_size=30),
        ),
        max_size=30,
    )
)
@settings(deadline=None, max_examples=200)
def test_the_sender_has_the_same_bodies(batches: list[tuple[int, list[tuple[bytes, ...]]]]) -> None:
    """With many senders, each of which gets other batches, and more large parts than are kept."""
    shared = SharedParts()
    receivers = [Receiver(shared) for _ in range(3)]
    for number, bodies in batches:
        assert receivers[number].receive(bodies) == bodies
    assert all(len(receiver.kept) <= 16 for receiver in receivers)


def test_a_part_that_rows_share_travels_twice_at_most_and_then_never_again() -> None:
    receiver, attachment = Receiver(SharedParts()), LARGE[0]
    for row in range(100):
        receiver.receive([(b"{%d" % row, attachment, b"}")])
    assert receiver.bytes_in < 2 * len(attachment) + 1000


def test_a_part_that_rows_share_is_kept_beside_those_that_they_do_not() -> None:
    receiver, attachment = Receiver(SharedParts()), LARGE[0]
    own = 0
    for row in range(100):
        body = bytes([row]) * 40_000
        own += len(body)
        receiver.receive([(body, attachment)])
    assert receiver.bytes_in < own + 2 * len(attachment) + 1000


def test_small_bodies_are_left_alone() -> None:
    receiver = Receiver(SharedParts())
    receiver.receive([(b"x" * 100, b"y" * 100)] * 10)
    assert not receiver.kept
