"""Answers that are known by their bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engager.models import Reply
from engager.sending.transport.http1.known import KnownAnswers

REPLY = Reply(200, b"{}")


def test_only_the_very_same_bytes_are_known() -> None:
    known = KnownAnswers()
    known.add(b"HTTP/1.1 200 OK\r\n\r\n{}", REPLY)
    assert known.find(b"HTTP/1.1 200 OK\r\n\r\n{}") is REPLY
    assert known.find(b"HTTP/1.1 200 OK\r\n\r\n{} ") is None
    assert known.find(b"") is None


def test_long_answers_are_not_cached() -> None:
    known = KnownAnswers()
    known.add(bytes(5000), REPLY)
    assert known.find(bytes(5000)) is None


@given(st.lists(st.binary(min_size=1, max_size=3), max_size=300))
def test_memory_is_bounded_and_what_was_kept_last_is_there(answers: list[bytes]) -> None:
    known = KnownAnswers()
    for answer in answers:
        known.add(answer, reply := Reply(200, answer))
        assert known.find(answer) == reply
    assert sum(known.find(answer) is not None for answer in set(answers)) <= 64
