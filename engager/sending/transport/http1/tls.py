"""Encrypts and decrypts the bytes of one connection with TLS, without a socket.

A socket under TLS reads every record in two calls to the system, the record's length first. Here all that has
come is read at once, and only then looked into.
"""

from __future__ import annotations

import ssl
from typing import Final

#: Longer than any record: the content of a record is read at once.
_RECORD: Final = 1 << 15


class Tls:
    """One side of one connection. Always verifies."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._arrived, self._leaving, server_hostname=host)
        self._read, self._write = self._object.read, self._object.write

    def shakes_hands(self) -> bool:
        """Take the next step of the handshake; False as long as there is another to come.

        Whatever it does or raises, something may be left to be sent. Raises ssl.SSLError.
        """
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def arrives(self, data: bytes) -> None:
        """Some bytes came over the wire; none: its end."""
        if data:
            self._arrived.write(data)
        else:
            self._arrived.write_eof()

    @property
    def owes(self) -> bool:
        """Whether there are bytes of TLS itself to send."""
        return self._leaving.pending > 0

    def leaves(self) -> bytes:
        """What is to be sent over the wire."""
        return self._leaving.read()

    def sealed(self, data: bytes | memoryview) -> bytes:
        """What is to be sent over the wire for these bytes to be said."""
        self._write(data)
        return self._leaving.read()

    def opened(self, data: bytes) -> list[bytes]:
        """What the other side says with some bytes that came over the wire, a record each; b"" is its end.

        Raises ssl.SSLError.
        """
        self.arrives(data)
        said: list[bytes] = []
        try:
            while True:
                said.append(self._read(_RECORD))
                if not said[-1] or not self._arrived.pending:
                    break
        except ssl.SSLWantReadError:
            pass  # a part of a record, or what is TLS's own business
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            said.append(b"")
        except ssl.SSLError:
            if not said:
                raise  # else what was said before counts, and the fault comes again
        return said
