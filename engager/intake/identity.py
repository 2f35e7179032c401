"""A run, a row and its content in, a Request-ID out: the same for every try of the row, and for no other row.

The content is the parameters without the token: a token may be renewed between two tries of one row.
"""

from __future__ import annotations

from hashlib import blake2b

_SIZE = 16


class RequestIds:
    """The Request-IDs of one run."""

    def __init__(self, run_id: str) -> None:
        self._keyed = blake2b(digest_size=_SIZE, key=run_id.encode())

    def of(self, number: int, content: bytes) -> str:
        """The Request-ID of a row's tries: 32 hexadecimal digits."""
        digest = self._keyed.copy()  # the key is hashed once a run, not once a row
        digest.update(b"%b\0%d" % (content, number))
        return digest.hexdigest()


def fresh(first: str, generation: int) -> str:
    """A further Request-ID of the same row, for when the fate of every earlier try is known."""
    return blake2b(b"%d" % generation, digest_size=_SIZE, key=first.encode()).hexdigest()
