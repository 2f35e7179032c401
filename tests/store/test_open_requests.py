"""The requests that are open in a store."""

from __future__ import annotations

from pathlib import Path

from tests.store.stored import finish, open_store, request


async def test_an_open_request_has_the_history_after_its_last_attempt(tmp_path: Path) -> None:
    store, one = await open_store(tmp_path), request(1)
    one.history = one.history.departed(store.clock())
    store.before_send([one])
    one.history = one.history.ended()._replace(in_doubt=True)
    store.after((), (one,))
    (found,) = store.state.requests()
    assert (found.history.attempts, found.history.in_doubt, found.in_flight) == (1, True, False)
    await finish(store)
