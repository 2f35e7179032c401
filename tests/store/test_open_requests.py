"""What the store knows of requests that are not settled."""

from __future__ import annotations

from pathlib import Path

from tests.store.stored import finish, opened, request


async def test_a_snapshot_has_the_history_that_the_last_attempt_left(tmp_path: Path) -> None:
    store, one = await opened(tmp_path), request(1)
    one.history = one.history.departed(store.clock())
    store.before_send([one])
    one.history = one.history.ended()._replace(in_doubt=True)
    store.attempt_ended(one)
    (found,) = store.state.requests()
    assert (found.attempts, found.in_doubt, found.in_flight) == (1, True, False)
    await finish(store)
