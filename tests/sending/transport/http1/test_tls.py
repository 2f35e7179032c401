"""TLS without a wire: what one side says is what the other hears, however its bytes are cut."""

from __future__ import annotations

import ssl

import pytest
import trustme

from engager.sending.transport.http1.tls import Tls

AUTHORITY = trustme.CA()


class Pair:
    """Our side, and that of a server which is Python's own."""

    def __init__(self, name: str = "localhost", asks_later: bool = False) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        AUTHORITY.issue_cert(name).configure_cert(context)
        trusting = ssl.create_default_context()
        AUTHORITY.configure_trust(trusting)
        if asks_later:
            AUTHORITY.issue_cert("client.example").configure_cert(trusting)
            AUTHORITY.configure_trust(context)
            context.verify_mode, trusting.post_handshake_auth = ssl.CERT_OPTIONAL, True
            context.post_handshake_auth = True
        self.to_server, self.from_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = context.wrap_bio(self.to_server, self.from_server, server_side=True)
        self.ours = Tls(trusting, "localhost")

    def shake_hands(self) -> None:
        theirs = False
        while not (self.ours.shakes_hands() and theirs):
            self.to_server.write(self.ours.leaves())
            try:
                self.server.do_handshake()
                theirs = True
            except ssl.SSLWantReadError:
                pass
            self.ours.arrives(self.from_server.read())

    def says(self, *texts: bytes) -> bytes:
        """What the server sends for some records."""
        for text in texts:
            self.server.write(text)
        return self.from_server.read()


@pytest.fixture
def pair() -> Pair:
    pair = Pair()
    pair.shake_hands()
    return pair


def test_what_is_sealed_is_heard(pair: Pair) -> None:
    for said in (b"one", memoryview(b"two")):
        pair.to_server.write(pair.ours.sealed(said))
        assert pair.server.read(10) == said


def test_every_split_of_two_records_says_the_same(pair: Pair) -> None:
    length = len(pair.says(b"first", b"second"))
    for at in range(1, length):
        fresh = Pair()
        fresh.shake_hands()
        wire = fresh.says(b"first", b"second")
        assert [*fresh.ours.opened(wire[:at]), *fresh.ours.opened(wire[at:])] == [b"first", b"second"]


def test_the_end_may_come_together_with_the_last_word(pair: Pair) -> None:
    pair.server.write(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        pair.server.unwrap()
    assert pair.ours.opened(pair.from_server.read()) == [b"last", b""]


def test_a_wire_that_ends_without_a_word_is_an_end(pair: Pair) -> None:
    assert pair.ours.opened(b"") == [b""]


def test_what_was_tampered_with_is_refused(pair: Pair) -> None:
    wire = bytearray(pair.says(b"answer"))
    wire[-1] ^= 1
    with pytest.raises(ssl.SSLError):
        pair.ours.opened(bytes(wire))


def test_what_was_said_before_a_fault_counts(pair: Pair) -> None:
    wire = bytearray(pair.says(b"answer", b"more"))
    wire[-1] ^= 1
    assert pair.ours.opened(bytes(wire)) == [b"answer"]


def test_a_request_after_the_handshake_is_answered_at_once() -> None:
    pair = Pair(asks_later=True)
    pair.shake_hands()
    assert not pair.ours.owes
    pair.server.verify_client_post_handshake()
    assert pair.ours.opened(pair.says(b"")) == []
    assert pair.ours.owes
    pair.to_server.write(pair.ours.leaves() + pair.ours.sealed(b"x"))
    assert pair.server.read(10) == b"x"
    certificate = pair.server.getpeercert()
    assert certificate is not None
    assert certificate["subjectAltName"] == (("DNS", "client.example"),)


def test_a_name_that_is_not_the_certificates_is_refused() -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        Pair("elsewhere.example").shake_hands()
