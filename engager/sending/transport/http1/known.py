"""Responses that were parsed before, by their bytes: an endpoint repeats most of its responses.

A response that came complete and in one piece means the same whenever the same bytes come again, so most need
not be parsed. Nothing is guessed: a response that differs in one byte is parsed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engager.models import Reply

#: Bytes of the longest response that is kept.
_LONGEST: Final = 2048

#: Responses that are kept. A header with the time in it makes a new one per second.
_MOST: Final = 64


class KnownAnswers:
    """The responses of one endpoint, over all connections."""

    def __init__(self) -> None:
        self._replies: dict[bytes, Reply] = {}
        #: The reply of some bytes, if they are known. The dict's own method: it is called for every response.
        self.find: Callable[[bytes], Reply | None] = self._replies.get

    def add(self, data: bytes, reply: Reply) -> None:
        """Keep bytes that are a complete response, after which the connection can be used again."""
        if len(data) > _LONGEST:
            return
        if len(self._replies) >= _MOST:
            self._replies.clear()
        self._replies[data] = reply
