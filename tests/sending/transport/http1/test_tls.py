"""TLS without a socket: each side decrypts what the other encrypted, in any splits."""

from __future__ import annotations

import ssl

import pytest
import trustme

from engager.sending.transport.http1.tls import Tls

AUTHORITY = trustme.CA()


class Pair:
    """The client under test, and a server of Python's ssl."""

    def __init__(self, name: str = "localhost", asks_client_cert_later: bool = False) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        AUTHORITY.issue_cert(name).configure_cert(context)
        trusting = ssl.create_default_context()
        AUTHORITY.configure_trust(trusting)
        if asks_client_cert_later:
            AUTHORITY.issue_cert("client.example").configure_cert(trusting)
            AUTHORITY.configure_trust(context)
            context.verify_mode, trusting.post_handshake_auth = ssl.CERT_OPTIONAL, True
            context.post_handshake_auth = True
        self.to_server, self.from_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = context.wrap_bio(self.to_server, self.from_server, server_side=True)
        self.client = Tls(trusting, "localhost")

    def shake_hands(self) -> None:
        server_is_done = False
        while not (self.client.continue_handshake() and server_is_done):
            self.to_server.write(self.client.read_outgoing())
            try:
                self.server.do_handshake()
                server_is_done = True
            except ssl.SSLWantReadError:
                pass
            self.client.feed(self.from_server.read())

    def encrypt_by_server(self, *texts: bytes) -> bytes:
        """The bytes that the server sends for some records."""
        for text in texts:
            self.server.write(text)
        return self.from_server.read()


@pytest.fixture
def pair() -> Pair:
    pair = Pair()
    pair.shake_hands()
    return pair


def test_encrypted_bytes_are_decrypted_by_the_server(pair: Pair) -> None:
    for text in (b"one", memoryview(b"two")):
        pair.to_server.write(pair.client.encrypt(text))
        assert pair.server.read(10) == text


def test_the_splits_of_two_records_do_not_matter(pair: Pair) -> None:
    length = len(pair.encrypt_by_server(b"first", b"second"))
    for at in range(1, length):
        fresh = Pair()
        fresh.shake_hands()
        wire = fresh.encrypt_by_server(b"first", b"second")
        assert [*fresh.client.decrypt(wire[:at]), *fresh.client.decrypt(wire[at:])] == [b"first", b"second"]


def test_the_end_may_come_with_the_last_record(pair: Pair) -> None:
    pair.server.write(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        pair.server.unwrap()
    assert pair.client.decrypt(pair.from_server.read()) == [b"last", b""]


def test_a_closed_connection_is_an_end(pair: Pair) -> None:
    assert pair.client.decrypt(b"") == [b""]


def test_a_changed_record_is_refused(pair: Pair) -> None:
    wire = bytearray(pair.encrypt_by_server(b"answer"))
    wire[-1] ^= 1
    with pytest.raises(ssl.SSLError):
        pair.client.decrypt(bytes(wire))


def test_records_before_a_fault_count(pair: Pair) -> None:
    wire = bytearray(pair.encrypt_by_server(b"answer", b"more"))
    wire[-1] ^= 1
    assert pair.client.decrypt(bytes(wire)) == [b"answer"]


def test_a_request_for_a_certificate_is_answered_at_once() -> None:
    pair = Pair(asks_client_cert_later=True)
    pair.shake_hands()
    assert not pair.client.has_outgoing
    pair.server.verify_client_post_handshake()
    assert pair.client.decrypt(pair.encrypt_by_server(b"")) == []
    assert pair.client.has_outgoing
    pair.to_server.write(pair.client.read_outgoing() + pair.client.encrypt(b"x"))
    assert pair.server.read(10) == b"x"
    certificate = pair.server.getpeercert()
    assert certificate is not None
    assert certificate["subjectAltName"] == (("DNS", "client.example"),)


def test_a_certificate_of_another_name_is_refused() -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        Pair("elsewhere.example").shake_hands()
