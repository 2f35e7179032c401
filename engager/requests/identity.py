"""Computes request ids. Invariant: an id is the same for every attempt of a row, and for no other row.

An id is a digest of the run, the row and its content: the parameters without the token, because the token may
be renewed between two attempts.
"""

from __future__ import annotations

from hashlib import blake2b

_SIZE = 16


class RequestIds:
    """The Request-IDs of one run."""

    def __init__(self, run_id: str) -> None:
        # Not as the key of the digest: a key is a block of its own, which would be hashed for every row.
        run = blake2b(run_id.encode(), digest_size=2 * blake2b.SALT_SIZE).digest()
        salt, person = run[: blake2b.SALT_SIZE], run[blake2b.SALT_SIZE :]
        self._of_run = blake2b(digest_size=_SIZE, salt=salt, person=person)

    def for_row(self, number: int, content: bytes) -> str:
        """Returns the request id of a row: 32 hexadecimal digits."""
        digest = self._of_run.copy()
        digest.update(b"%b\0%d" % (content, number))
        return digest.hexdigest()


def run_id_of(job: str, name: str) -> str:
    """The id of a run that has a name: the same wherever the job is started under that name."""
    return blake2b(f"{job}\0{name}".encode(), digest_size=_SIZE, person=b"engager-run").hexdigest()


def fresh(first: str, generation: int) -> str:
    """Returns a further request id of the same row, for use when every earlier attempt is settled."""
    return blake2b(b"%d" % generation, digest_size=_SIZE, key=first.encode()).hexdigest()
