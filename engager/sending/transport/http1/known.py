"""Responses that were parsed before, by their bytes: an endpoint repeats most of its responses.

The same bytes always are the same response, if they were received complete and at once, so most responses
need no parsing. Invariant: a response that differs in one byte is parsed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engager.models import Reply

#: Bytes of the longest response that is cached.
_LONGEST: Final = 2048

#: Responses that are cached. A header with the time makes a new one every second.
_MOST: Final = 64


class KnownAnswers:
    """The responses of one endpoint, over all connections."""

    def __init__(self) -> None:
        self._replies: dict[bytes, Reply] = {}
        #: The reply of some bytes, if they are known. The dict's own method: it is called for every response.
        self.find: Callable[[bytes], Reply | None] = self._replies.get

    def add(self, data: bytes, reply: Reply) -> None:
        """Cache the bytes of a complete response, after which the connection can be used again."""
        if len(data) > _LONGEST:
            return
        if len(self._replies) >= _MOST:
            self._replies.clear()
        self._replies[data] = reply
