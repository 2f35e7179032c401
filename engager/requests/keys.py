"""A set of keys with the first row of each: exact, for millions of keys in little memory.

A key is stored as a keyed digest of 128 bits. The probability that two of a billion keys share a digest is
1 in 10^20; the key of the digest is random, so collisions cannot be prepared.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

#: Bytes of the digest of a key.
DIGEST_SIZE = 16


class Keys:
    """A set of keys, each with the row that it was first seen in."""

    def __init__(self, salt: bytes | None = None) -> None:
        """`salt`: random bytes; sets with the same salt have the same digests. None draws new ones."""
        self._salt = secrets.token_bytes(16) if salt is None else salt[: blake2b.MAX_KEY_SIZE]
        self._database = _new()
        self._execute = self._database.execute

    def first_row(self, key: str, row: int) -> int | None:
        """The row that had this key before; None if this row is the first."""
        digest = self._digest(key)
        stored = self._execute("INSERT INTO keys VALUES (?, ?) ON CONFLICT DO NOTHING", (digest, row))
        return None if stored.rowcount == 1 else self._found(digest)

    def add_all(self, keys: Iterable[str], row: int = 0) -> None:
        """Add keys, all with the same row number."""
        digests = ((self._digest(key), row) for key in keys)
        self._database.executemany("INSERT INTO keys VALUES (?, ?) ON CONFLICT DO NOTHING", digests)

    def __contains__(self, key: str) -> bool:
        return self.row_of(key) is not None

    def row_of(self, key: str) -> int | None:
        """The row number of a key; None if it is not in the set."""
        return self._found(self._digest(key))

    def digests(self) -> bytes:
        """The digests of all keys, one after the other."""
        return b"".join(digest for (digest,) in self._execute("SELECT digest FROM keys ORDER BY digest"))

    def missing(self, digests: bytes) -> int:
        """The number of these digests that no key of the set has."""
        size = DIGEST_SIZE
        return sum(self._found(digests[at : at + size]) is None for at in range(0, len(digests), size))

    def __len__(self) -> int:
        return int(self._execute("SELECT count(*) FROM keys").fetchone()[0])

    def _found(self, digest: bytes) -> int | None:
        found = self._execute("SELECT row FROM keys WHERE digest = ?", (digest,)).fetchone()
        return None if found is None else int(found[0])

    def _digest(self, key: str) -> bytes:
        return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=DIGEST_SIZE, key=self._salt).digest()

    def close(self) -> None:
        """Free the memory."""
        self._database.close()


def _new() -> Any:
    # The B-tree of SQLite takes some 35 bytes per key; a Python set takes more than three times that.
    database = _connected(":memory:")
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("CREATE TABLE keys (digest BLOB PRIMARY KEY, row INTEGER) WITHOUT ROWID")
    database.execute("BEGIN")
    return database


def _connected(name: str) -> Any:
    import sqlite3  # only for jobs that need it: others do not load a database

    return sqlite3.connect(name, uri=True, isolation_level=None, check_same_thread=False)
