"""A run, a row and its content in, a Request-ID out: the same for every try of the row, and for no other row.

The content is the parameters without the token: a token may be renewed between two tries of one row.
"""

from __future__ import annotations

from hashlib import blake2b

_SIZE = 16


def request_id(run_id: str, number: int, content: bytes) -> str:
    """The Request-ID of a row's tries: 32 hexadecimal digits."""
    digest = blake2b(content, digest_size=_SIZE, key=run_id.encode())
    digest.update(b"\0%d" % number)
    return digest.hexdigest()


def fresh(first: str, generation: int) -> str:
    """A further Request-ID of the same row, for when the fate of every earlier try is known."""
    return blake2b(b"%d" % generation, digest_size=_SIZE, key=first.encode()).hexdigest()
