"""What processes say to each other arrives as it was said."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from engager.ledger.book import Batch, Lines
from engager.ledger.journal import Mark
from engager.shards.messages import Line, batch_of, say_batch
from engager.store.tally import Tally


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Line, Line]]:
    ends = [Line(*await asyncio.open_connection(sock=sock)) for sock in socket.socketpair()]
    yield ends[0], ends[1]
    for end in ends:
        end.close()


async def test_a_batch_arrives_as_it_was(pair: tuple[Line, Line]) -> None:
    here, there = pair
    tally = Tally()
    fields = {
        "row": 7,
        "key": "p7@example.com",
        "error_text": "no such profile",
        "status": "engaged",
        "attempts": 2,
        "duplicate": True,
        "latency_ms": 3.0,
        "waited_ms": 0.5,
        "error": 0,
    }
    tally.count([fields])
    tally.count([{**fields, "status": "rejected", "error": 400}])
    batch = Batch(
        1,
        Mark(1 << 40, 77),
        tally,
        Lines(b'{"row":1}\n' * 3, 3),
        Lines(b"a,b\n\x00\xff\n", 2),
        Lines(),
        {5: 2, 70_000_000_000: 1 << 17},
    )
    say_batch(here, batch)
    message = await there.hear()
    assert message is not None
    heard = batch_of(message)
    assert heard.tally.samples == tally.samples
    assert heard.tally.as_dict() == tally.as_dict()
    assert (heard.shard, heard.mark, heard.results, heard.failed, heard.in_doubt, heard.generations) == (
        *(batch.shard, batch.mark, batch.results),
        *(batch.failed, batch.in_doubt, batch.generations),
    )


async def test_who_is_gone_says_nothing_more(pair: tuple[Line, Line]) -> None:
    here, there = pair
    here.say("pause", until=1.5)
    here.close()
    message = await there.hear()
    assert message is not None
    assert (message.kind, message.facts) == ("pause", {"until": 1.5})
    assert await there.hear() is None


async def test_a_message_that_was_cut_off_is_no_message() -> None:
    ours, theirs = socket.socketpair()
    line = Line(*await asyncio.open_connection(sock=ours))
    theirs.send(b"\x40\x00\x00\x00[")
    theirs.close()
    assert await line.hear() is None
    line.close()
