"""The bytes of a connection, however they are cut, and whatever they are."""

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

#: What a server says → what was answered, and whether the connection can be used again.
ANSWERS: dict[bytes, tuple[Reply, bool]] = {
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


def heard(*parts: bytes, parser: AnswerParser | None = None) -> tuple[Reply | None, bool]:
    parser = parser or AnswerParser()
    parser.expect()
    for index, part in enumerate(parts):
        assert parser.feed(part) is (index == len(parts) - 1)
    return parser.answer, parser.reusable


@pytest.mark.parametrize("data", ANSWERS)
def test_every_cut_of_an_answer_is_the_same_answer(data: bytes) -> None:
    for cut in range(1, len(data)):
        assert heard(data[:cut], data[cut:]) == ANSWERS[data]
    assert heard(*(data[i : i + 1] for i in range(len(data)))) == ANSWERS[data]


def test_every_two_cuts_of_a_chunked_answer() -> None:
    data = b"HTTP/1.1 200 OK\r\n" + CHUNKED
    for one, other in combinations(range(1, len(data), 3), 2):
        assert heard(data[:one], data[one:other], data[other:]) == ANSWERS[data]


def test_one_answer_after_the_other_on_one_connection() -> None:
    parser = AnswerParser()
    for data, (reply, reusable) in ANSWERS.items():
        if reusable:
            assert heard(data, parser=parser) == (reply, True)


@pytest.mark.parametrize("more", [b"HTTP/1.1 200 OK\r\n", b"\x00garbage", b"x"])
def test_bytes_after_an_answer_close_the_connection_and_keep_the_answer(more: bytes) -> None:
    data = b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + BODY
    assert heard(data + more) == (Reply(200, BODY), False)


@pytest.mark.parametrize(
    ("head", "complete"),
    [(b"", True), (b"Content-Length: 999\r\n", False), (b"Transfer-Encoding: chunked\r\n", False)],
)
def test_where_an_answer_ends_when_the_server_closes(head: bytes, complete: bool) -> None:
    parser = AnswerParser()
    part = b"5\r\n" if b"chunked" in head else b""
    assert not parser.feed(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + part + b"abc")
    assert parser.end()
    assert (parser.answer, parser.reusable) == (Reply(200, b"abc", complete), False)


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nContent-", b"HTTP/1.1 100 Continue\r\n\r\n"]
)
def test_a_head_that_is_not_whole_is_no_answer(said: bytes) -> None:
    parser = AnswerParser()
    if said:
        assert not parser.feed(said)
    assert not parser.end()


def test_a_connection_that_breaks_cuts_an_answer_off() -> None:
    parser = AnswerParser()
    parser.feed(b"HTTP/1.1 200 OK\r\n\r\nabc")
    assert parser.broken() == Reply(200, b"abc", complete=False)


def test_an_answer_without_end_is_not_cached() -> None:
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
def test_what_is_no_http(data: bytes) -> None:
    with pytest.raises(NotHttpError):
        AnswerParser().feed(data)


FRAGMENT = st.one_of(
    st.sampled_from(
        [*ANSWERS, b"HTTP/1.1 200 OK\r\n", b"\r\n", LENGTH, BODY, b"0\r\n\r\n", b"Connection: close\r\n"]
    ),
    st.binary(max_size=40),
)


@given(st.lists(FRAGMENT, max_size=12))
def test_nothing_that_a_server_says_is_a_fault_of_ours(parts: list[bytes]) -> None:
    parser = AnswerParser()
    try:
        for part in filter(None, parts):
            parser.feed(part)
        parser.end()
    except NotHttpError:
        return
    assert parser.answer is None or 200 <= parser.answer.status < 1000


def test_two_lengths_that_differ_are_no_answer() -> None:
    with pytest.raises(NotHttpError):
        AnswerParser().feed(b"HTTP/1.1 200 OK\r\n" + LENGTH + b"Content-Length: 3\r\n\r\n" + BODY)


def test_what_is_small_and_unpacks_to_much_is_cut_off() -> None:
    packed = gzip.compress(b" " * (MAX_ANSWER + 1))
    data = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
    answer, _ = heard(data % (len(packed), packed))
    assert answer is not None
    assert (answer.complete, len(answer.body)) == (False, MAX_ANSWER)
