"""Two addresses of an endpoint, and what the second knows of the first."""

from __future__ import annotations

import pytest

from engager.endpoint.address import Move, move_between


@pytest.mark.parametrize(
    ("before", "now", "move"),
    [
        ("https://a.example", "https://a.example", Move.NONE),
        ("https://a.example", "HTTPS://A.example:443", Move.NONE),
        ("http://a.example", "http://a.example:80", Move.NONE),
        ("http://a.example", "https://a.example", Move.SCHEME),
        ("http://a.example:8080", "https://a.example:8080", Move.SCHEME),
        ("http://a.example:80", "https://a.example", Move.SCHEME),
        ("http://a.example:8080", "https://a.example", Move.ELSEWHERE),
        ("https://a.example", "https://a.example:8443", Move.ELSEWHERE),
        ("https://a.example", "https://b.example", Move.ELSEWHERE),
        ("sandbox", "https://a.example", Move.REHEARSAL),
        ("https://a.example", "sandbox", Move.REHEARSAL),
    ],
)
def test_how_two_addresses_differ(before: str, now: str, move: Move) -> None:
    assert move_between(before, now) is move
