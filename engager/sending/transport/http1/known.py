"""What one endpoint has said so far: responses by their bytes, and how long a connection may rest.

The same bytes always are the same response, if they were received complete and at once, so most responses
need no parsing. Invariant: a response that differs in one byte is parsed.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from engager.models import Reply
from engager.sending.transport.base import REST

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
        self.rest = REST  #: seconds after which a connection at rest is not used any more
        self._announced = inf

    def add(self, data: bytes, reply: Reply) -> None:
        """Cache the bytes of a complete response, after which the connection can be used again."""
        if len(data) > _LONGEST:
            return
        if len(self._replies) >= _MOST:
            self._replies.clear()
        self._replies[data] = reply

    def announce(self, seconds: float) -> None:
        """The endpoint closes connections that rest for so long; of several announcements the lowest counts.

        Half of it is used: a request that is under way when the server closes is lost, and both the network
        and the server may be late.
        """
        self._announced = min(self._announced, seconds)
        self.rest = self._announced / 2
