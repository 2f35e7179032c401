"""Any bytes of a connection, in any splits, are a response or a fault of HTTP."""

from __future__ import annotations

import gzip
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engager.models import Reply
from engager.sending.transport.base import MAX_ANSWER
from engager.sending.transport.http1.parser import MAX_HEAD, AnswerParser, NotHttpError

BODY = b'{"data":null,"error":0,"error_text":"Successful operation"}'
PACKED = gzip.compress(BODY, mtime=0)
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n7\r\n%b\r\n34\r\n%b\r\n0\r\n\r\n" % (BODY[:7], BODY[7:])

#: The bytes of a server → the response, and whether the connection can be used again.
RESPONSES: dict[bytes, tuple[Reply, bool]] = {
    b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + BODY: (Reply(200, BODY), True),
    b"HTTP/1.0 200 OK\r\n" + LENGTH + b"\r\n" + BODY: (Reply(200, BODY), False),
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + LENGTH + b"\r\n" + BODY: (Reply(200, BODY), False),
    b"HTTP/1.1 200 OK\r\n" + CHUNKED: (Reply(200, BODY), True),
    b"HTTP/1.1 204 No Content\r\n\r\n": (Reply(204, b""), True),
    b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n"
    + LENGTH
    + b"\r\n"
    + BODY: (Reply(200, BODY), True),
    b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 3\r\nContent-Length: 0\r\n\r\n": (
        Reply(429, b"", retry_after="3"),
        True,
    ),
    b"HTTP/1.1 503 Busy\r\nDATE: now\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n": (
        Reply(503, b"", retry_after="soon", date="now"),
        True,
    ),
    b"HTTP/1.1 200 OK\r\nDate: now\r\n" + LENGTH + b"\r\n" + BODY: (Reply(200, BODY), True),
    b"HTTP/1.1 200 OK\r\nDUPLICATE-REQUEST: True\r\n" + LENGTH + b"\r\n" + BODY: (
        Reply(200, BODY, duplicate=True),
        True,
    ),
    b"HTTP/1.1 200 OK\r\nX-Duplicate-Request: 1\r\nDuplicate-Request: false\r\n" + LENGTH + b"\r\n" + BODY: (
        Reply(200, BODY, duplicate=True),
        True,
    ),
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(PACKED), PACKED): (
        Reply(200, BODY),
        True,
    ),
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n" + LENGTH + b"\r\n" + BODY: (
        Reply(200, BODY, False),
        True,
    ),
    b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n" + LENGTH + b"\r\n" + BODY: (Reply(200, BODY), True),
    b"HTTP/1.1 200 OK\r\n" + LENGTH + b"Date: now\r\n" + LENGTH.lower() + b"\r\n" + BODY: (
        Reply(200, BODY),
        False,
    ),
}


def parse(*parts: bytes, parser: AnswerParser | None = None) -> tuple[Reply | None, bool]:
    parser = parser or AnswerParser()
    parser.expect()
    for index, part in enumerate(parts):
        assert parser.feed(part) is (index == len(parts) - 1)
    return parser.answer, parser.reusable


@pytest.mark.parametrize("data", RESPONSES)
def test_the_splits_of_a_response_do_not_matter(data: bytes) -> None:
    for cut in range(1, len(data)):
        assert parse(data[:cut], data[cut:]) == RESPONSES[data]
    assert parse(*(data[i : i + 1] for i in range(len(data)))) == RESPONSES[data]


def test_two_splits_of_a_chunked_response_do_not_matter() -> None:
    data = b"HTTP/1.1 200 OK\r\n" + CHUNKED
    for one, other in combinations(range(1, len(data), 3), 2):
        assert parse(data[:one], data[one:other], data[other:]) == RESPONSES[data]


def test_a_connection_carries_responses_one_after_the_other() -> None:
    parser = AnswerParser()
    for data, (reply, reusable) in RESPONSES.items():
        if reusable:
            assert parse(data, parser=parser) == (reply, True)


@pytest.mark.parametrize("more", [b"HTTP/1.1 200 OK\r\n", b"\x00garbage", b"x"])
def test_bytes_after_a_response_close_the_connection_only(more: bytes) -> None:
    data = b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + BODY
    assert parse(data + more) == (Reply(200, BODY), False)


@pytest.mark.parametrize(
    ("head", "complete"),
    [(b"", True), (b"Content-Length: 999\r\n", False), (b"Transfer-Encoding: chunked\r\n", False)],
)
def test_a_close_ends_a_response_without_a_length(head: bytes, complete: bool) -> None:
    parser = AnswerParser()
    part = b"5\r\n" if b"chunked" in head else b""
    assert not parser.feed(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + part + b"abc")
    assert parser.end()
    assert (parser.answer, parser.reusable) == (Reply(200, b"abc", complete), False)


@pytest.mark.parametrize(
    "received", [b"", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nContent-", b"HTTP/1.1 100 Continue\r\n\r\n"]
)
def test_an_incomplete_head_is_no_response(received: bytes) -> None:
    parser = AnswerParser()
    if received:
        assert not parser.feed(received)
    assert not parser.end()


def test_a_broken_connection_leaves_an_incomplete_response() -> None:
    parser = AnswerParser()
    parser.feed(b"HTTP/1.1 200 OK\r\n\r\nabc")
    assert parser.broken() == Reply(200, b"abc", complete=False)


def test_a_response_without_end_is_read_in_part() -> None:
    parser = AnswerParser()
    parser.feed(b"HTTP/1.1 200 OK\r\n\r\n")
    fed = 0
    while not parser.feed(b"x" * 50_000):
        fed += 1
        assert fed < 30
    assert parser.answer is not None
    assert (len(parser.answer.body), parser.answer.complete, parser.reusable) == (MAX_ANSWER, False, False)


@pytest.mark.parametrize("line", [b"X: y\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
def test_a_head_without_end_is_refused(line: bytes) -> None:
    parser = AnswerParser()
    if line.startswith(b"X"):
        parser.feed(b"HTTP/1.1 200 OK\r\n")
    with pytest.raises(NotHttpError):  # noqa: PT012 - at some line, not at the first
        for _ in range(MAX_HEAD // len(line) + 2):
            parser.feed(line)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_bytes_that_are_no_http_are_refused(data: bytes) -> None:
    with pytest.raises(NotHttpError):
        AnswerParser().feed(data)


FRAGMENT = st.one_of(
    st.sampled_from(
        [*RESPONSES, b"HTTP/1.1 200 OK\r\n", b"\r\n", LENGTH, BODY, b"0\r\n\r\n", b"Connection: close\r\n"]
    ),
    st.binary(max_size=40),
)


@given(st.lists(FRAGMENT, max_size=12))
def test_any_fragments_are_a_response_or_a_fault_of_http(parts: list[bytes]) -> None:
    parser = AnswerParser()
    try:
        for part in filter(None, parts):
            parser.feed(part)
        parser.end()
    except NotHttpError:
        return
    assert parser.answer is None or 200 <= parser.answer.status < 1000


def test_two_different_lengths_are_refused() -> None:
    with pytest.raises(NotHttpError):
        AnswerParser().feed(b"HTTP/1.1 200 OK\r\n" + LENGTH + b"Content-Length: 3\r\n\r\n" + BODY)


def test_a_small_body_that_unpacks_to_much_is_truncated() -> None:
    packed = gzip.compress(b" " * (MAX_ANSWER + 1))
    data = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
    response, _ = parse(data % (len(packed), packed))
    assert response is not None
    assert (response.complete, len(response.body)) == (False, MAX_ANSWER)
