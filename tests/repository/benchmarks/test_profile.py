"""Shares of a profile: who was at work, and on whose behalf."""

from __future__ import annotations

from benchmarks.profile import shares


def test_a_function_has_its_own_share_and_that_of_all_it_calls() -> None:
    own, below = shares(
        [
            "main (a/cli.py);send (http1/transport.py:70) 3",
            "main (a/cli.py) 1",
            "main (a/cli.py);send (http1/transport.py:70);send (http1/transport.py:70) 4",
        ]
    )
    assert own == {"http1/transport.py send": 7 / 8, "a/cli.py main": 1 / 8}
    assert below == {"http1/transport.py send": 7 / 8, "a/cli.py main": 1}
