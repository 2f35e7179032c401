"""Encrypts and decrypts the bytes of one connection with TLS, without a socket.

A socket under TLS reads every record in two system calls, the record's length first. Here all available
bytes are read at once and decrypted after that.
"""

from __future__ import annotations

import ssl
from typing import Final

#: Longer than any record: the content of a record is read at once.
_RECORD: Final = 1 << 15


class Tls:
    """One side of one connection. Always verifies."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._read, self._write = self._object.read, self._object.write

    def continue_handshake(self) -> bool:
        """Take the next step of the handshake; returns whether it is complete.

        Also after an error there may be bytes to send. Raises ssl.SSLError.
        """
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def feed(self, data: bytes) -> None:
        """Accept bytes from the socket; empty bytes are its end."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    @property
    def has_outgoing(self) -> bool:
        """Whether there are bytes of TLS itself to send."""
        return self._outgoing.pending > 0

    def read_outgoing(self) -> bytes:
        """The bytes to send over the socket."""
        return self._outgoing.read()

    def encrypt(self, data: bytes | memoryview) -> bytes:
        """Encrypt bytes; returns the bytes to send over the socket."""
        self._write(data)
        return self._outgoing.read()

    def decrypt(self, data: bytes) -> list[bytes]:
        """Decrypt bytes from the socket; returns a list of records, in which b"" is the end.

        Raises ssl.SSLError.
        """
        self.feed(data)
        records: list[bytes] = []
        try:
            while True:
                records.append(self._read(_RECORD))
                if not records[-1] or not self._incoming.pending:
                    break
        except ssl.SSLWantReadError:
            pass  # a part of a record, or a message of TLS itself
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            records.append(b"")
        except ssl.SSLError:
            if not records:
                raise  # else the records before it count, and the fault is raised again
        return records
