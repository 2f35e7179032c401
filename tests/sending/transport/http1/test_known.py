"""Responses that are known by their bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engager.models import Reply
from engager.sending.transport.http1.known import KnownAnswers

REPLY = Reply(200, b"{}")


def test_only_equal_bytes_are_known() -> None:
    known = KnownAnswers()
    known.add(b"HTTP/1.1 200 OK\r\n\r\n{}", REPLY)
    assert known.find(b"HTTP/1.1 200 OK\r\n\r\n{}") is REPLY
    assert known.find(b"HTTP/1.1 200 OK\r\n\r\n{} ") is None
    assert known.find(b"") is None


def test_long_responses_are_not_cached() -> None:
    known = KnownAnswers()
    known.add(bytes(5000), REPLY)
    assert known.find(bytes(5000)) is None


@given(st.lists(st.binary(min_size=1, max_size=3), max_size=300))
def test_the_cache_is_bounded_and_has_the_last_response(responses: list[bytes]) -> None:
    known = KnownAnswers()
    for response in responses:
        known.add(response, reply := Reply(200, response))
        assert known.find(response) == reply
    assert sum(known.find(response) is not None for response in set(responses)) <= 64
