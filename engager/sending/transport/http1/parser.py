"""Parses the responses of one connection, without a socket. Invariant: the splits of the bytes do not matter.

The grammar is that of llhttp, through `httptools`. This module decides where a response ends if the server
closes the connection, how much of it is read, and whether the connection can be used again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from engager.models import Reply
from engager.sending.transport.base import MAX_ANSWER, plain_body

#: The most bytes of a head, interim ones included.
MAX_HEAD = 1 << 16

#: The announced limit of an idle connection, in whole seconds.
_KEEP_ALIVE = re.compile(rb"(?i)\btimeout\s*=\s*\"?([0-9]{1,9})\b")


class NotHttpError(Exception):
    """The received bytes are not a response in HTTP/1."""


class AnswerParser:
    """Parses one response at a time. The connection announces each by `expect`."""

    __slots__ = (
        "_date",
        "_delimited",
        "_duplicate",
        "_encoding",
        "_feed",
        "_head",
        "_headed",
        "_location",
        "_longest",
        "_parser",
        "_parts",
        "_retry_after",
        "_size",
        "_status",
        "_torn",
        "answer",
        "keep_alive",
        "reusable",
    )

    def __init__(self, longest: int = MAX_ANSWER) -> None:
        """`longest`: bytes of a response that are read."""
        self._longest = longest
        self._start_parser()
        self.expect()

    def _start_parser(self) -> None:
        self._parser = HttpResponseParser(self)
        self._feed = self._parser.feed_data

    def expect(self) -> None:
        """Expect a response: all bytes from now on belong to it."""
        self.answer: Reply | None = None  #: the response, when it is complete or cannot become complete
        self.reusable = True  #: whether another request may follow on the connection
        self.keep_alive: float | None = None  #: seconds after which the server closes it while it is idle
        self._head = b""
        self._torn = False  #: the head was refused while incomplete: it is parsed again when complete
        self._begin()

    def _begin(self) -> None:
        self._parts: list[bytes] = []
        self._size = self._status = 0
        self._headed = self._delimited = self._duplicate = False
        self._retry_after: str | None = None
        self._date: str | None = None
        self._encoding: str | None = None
        self._location: str | None = None

    def feed(self, data: bytes | memoryview) -> bool:
        """Parse bytes; returns whether the response is complete. Raises NotHttpError."""
        if not self._headed:
            self._head += data
        try:
            if self._torn:
                self._read_head_again()
            else:
                self._feed(data)
        except HttpParserUpgrade:
            raise NotHttpError("the server switched to another protocol") from None
        except HttpParserError as fault:
            self._refused(fault)
        if len(self._head) > MAX_HEAD and not self._headed and self.answer is None:
            raise NotHttpError(f"its head is longer than {MAX_HEAD:,} bytes")
        return self.answer is not None

    def _refused(self, fault: HttpParserError) -> None:
        # Bytes after a complete response were not requested: they prove nothing about that response.
        self.reusable = False
        if self.answer is not None:
            return
        if self._headed or self._torn or b"content-length" not in self._head.lower():
            raise NotHttpError(str(fault) or type(fault).__name__) from None
        self._torn = True
        try:
            self._read_head_again()
        except HttpParserError:
            raise NotHttpError(str(fault) or type(fault).__name__) from None

    def _read_head_again(self) -> None:
        """Parse a refused head again, when it is complete, without repeated lengths.

        RFC 9110, 8.6: the same length twice may be read as one.
        """
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            return
        head, rest, self._torn = self._head[:end], self._head[end:], False
        self._start_parser()
        self._begin()
        self._feed(b"\r\n".join(_without_repeats(head.split(b"\r\n"))) + rest)

    def broken(self) -> Reply | None:
        """Handle a broken connection; returns the response that had begun, as incomplete."""
        self.reusable = False
        if self.answer is None and self._headed:
            self._settle(False)
        return self.answer

    def end(self) -> bool:
        """Handle a close by the server; returns whether there is a response, complete or not."""
        self.reusable = False
        if self.answer is None and self._headed:
            self._settle(not self._delimited)
        return self.answer is not None

    def on_message_begin(self) -> None:
        """Called by llhttp, as all that follows."""
        if self.answer is not None:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; most of them are ignored."""
        read = _HEADER_READERS.get(name.lower())
        if read is not None and self.answer is None:
            read(self, value)

    def on_headers_complete(self) -> None:
        """The head is complete: an interim one, or that of the response."""
        if self.answer is None:
            self._status = self._parser.get_status_code()
            self._headed = self._status >= 200

    def on_body(self, part: bytes) -> None:
        """A part of the body."""
        if self.answer is not None:
            return
        self._parts.append(part)
        self._size += len(part)
        if self._size > self._longest:
            self.reusable = False
            self._settle(False)

    def on_message_complete(self) -> None:
        """The message is whole."""
        if self.answer is not None:
            return
        if self._status < 200:
            self._begin()
            return
        self.reusable = self.reusable and self._parser.should_keep_alive()
        self._settle(True)

    def _settle(self, complete: bool) -> None:
        body = b"".join(self._parts)[: self._longest]
        if complete and self._encoding is not None:
            body, complete = plain_body(body, self._encoding, self._longest)
        # In other responses the date would only make two equal ones differ.
        date = None if self._retry_after is None else self._date
        location = self._location if 300 <= self._status < 400 else None
        self.answer = Reply(self._status, body, complete, self._retry_after, self._duplicate, date, location)

    def _read_retry_after(self, value: bytes) -> None:
        self._retry_after = value.decode("latin-1")

    def _read_date(self, value: bytes) -> None:
        self._date = value.decode("latin-1")

    def _read_encoding(self, value: bytes) -> None:
        self._encoding = value.decode("latin-1")

    def _read_duplicate(self, value: bytes) -> None:
        self._duplicate = self._duplicate or value.strip().lower() in (b"true", b"1")

    def _read_location(self, value: bytes) -> None:
        self._location = value.decode("latin-1")

    def _read_keep_alive(self, value: bytes) -> None:
        if found := _KEEP_ALIVE.search(value):
            self.keep_alive = float(found[1])

    def _read_framing(self, value: bytes) -> None:
        self._delimited = True


def _without_repeats(lines: list[bytes]) -> Iterator[bytes]:
    """The lines of a head; of equal lengths only the first."""
    lengths = set[bytes]()
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            if value.strip() in lengths:
                continue
            lengths.add(value.strip())
        yield line


_HEADER_READERS = {
    b"retry-after": AnswerParser._read_retry_after,
    b"date": AnswerParser._read_date,
    b"duplicate-request": AnswerParser._read_duplicate,
    b"x-duplicate-request": AnswerParser._read_duplicate,
    b"content-encoding": AnswerParser._read_encoding,
    b"location": AnswerParser._read_location,
    b"keep-alive": AnswerParser._read_keep_alive,
    b"content-length": AnswerParser._read_framing,
    b"transfer-encoding": AnswerParser._read_framing,
}
