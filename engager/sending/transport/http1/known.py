"""Answers that were parsed before, by their bytes: what an endpoint says, it says often.

An answer that came whole and in one piece means the same whenever the same bytes come again at the same
place, so that most of them need not be parsed. Nothing is guessed: what differs in one byte is unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engager.models import Reply

#: Bytes of an answer that is worth remembering.
_LONGEST: Final = 2048

#: Answers that are remembered. A header with the time in it makes for a new one a second.
_MOST: Final = 64


class KnownAnswers:
    """What all connections to one endpoint have heard."""

    def __init__(self) -> None:
        self._replies: dict[bytes, Reply] = {}
        #: The reply that some bytes are, if they are known. No method: it is asked for every answer.
        self.find: Callable[[bytes], Reply | None] = self._replies.get

    def keep(self, data: bytes, reply: Reply) -> None:
        """Remember that these bytes are a whole answer, behind which the connection can be used again."""
        if len(data) > _LONGEST:
            return
        if len(self._replies) >= _MOST:
            self._replies.clear()
        self._replies[data] = reply
