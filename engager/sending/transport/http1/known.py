"""What one endpoint has said so far: responses by their bytes, and how long a connection may rest.

A response that came complete and in one piece means the same whenever the same bytes come again, so most need
not be parsed. Nothing is guessed: a response that differs in one byte is parsed.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from engager.models import Reply
from engager.sending.transport.base import REST

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
        self.rest = REST  #: seconds after which a connection at rest is not used any more
        self._announced = inf

    def add(self, data: bytes, reply: Reply) -> None:
        """Keep bytes that are a complete response, after which the connection can be used again."""
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
