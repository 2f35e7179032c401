"""The failure threshold stops the run."""

from __future__ import annotations

from engager.errors import Exit
from engager.policies.failure_threshold import Threshold
from engager.sending.failure_threshold import failure_counter
from engager.sending.stop import Stop


def test_too_many_failures_stop_the_run() -> None:
    stop = Stop()
    count = failure_counter(Threshold(rows=2), stop)
    assert count is not None
    count(1, "failed: timeout")
    assert not stop.requested
    count(2, "failed: timeout")
    assert (stop.exit, failure_counter(None, stop)) == (Exit.STOPPED, None)
