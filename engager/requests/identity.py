"""A run, a row and its content in, a Request-ID out: the same for every try of the row, and for no other row.

The content is the parameters without the token: a token may be renewed between two tries of one row.
"""

from __future__ import annotations

from hashlib import blake2b

_SIZE = 16


class RequestIds:
    """The Request-IDs of one run."""

    def __init__(self, run_id: str) -> None:
        # Not as its key: that would be a block of its own, hashed with every row.
        run = blake2b(run_id.encode(), digest_size=2 * blake2b.SALT_SIZE).digest()
        salt, person = run[: blake2b.SALT_SIZE], run[blake2b.SALT_SIZE :]
        self._of_run = blake2b(digest_size=_SIZE, salt=salt, person=person)

    def of(self, number: int, content: bytes) -> str:
        """The Request-ID of a row's tries: 32 hexadecimal digits."""
        digest = self._of_run.copy()
        digest.update(b"%b\0%d" % (content, number))
        return digest.hexdigest()


def run_id_of(job: str, name: str) -> str:
    """The id of a run that has a name: the same wherever the job is started under that name."""
    return blake2b(f"{job}\0{name}".encode(), digest_size=_SIZE, person=b"engager-run").hexdigest()


def fresh(first: str, generation: int) -> str:
    """A further Request-ID of the same row, for when the fate of every earlier try is known."""
    return blake2b(b"%d" % generation, digest_size=_SIZE, key=first.encode()).hexdigest()
