"""A remote sender, called directly, with a real socket to its endpoint."""

from __future__ import annotations

import asyncio
import pickle
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from engager.config.secret import MASK
from engager.models import Lost, NotSent, Recalled, Reply
from engager.policies.rate import Pace
from engager.sending.clock import boot_seconds
from engager.sending.remote import sender as module
from engager.sending.remote.messages import SILENCE, TOKEN_PLACE
from engager.sending.remote.sender import StatelessSender
from tests.sending.remote.wire import TOKEN, ends_of, handed, response, sender_to, serving, settings_for

#: So little that a second request never leaves in a test.
SCARCELY = Pace(0.001, is_share=True)


async def test_a_request_is_sent_and_its_response_returned_with_its_time() -> None:
    async with serving() as wire, sender_to(wire) as sender:
        await sender.take(1, [handed(7, b'{"a":', b"1}")], {})
        ended = (await ends_of(sender, 1))[7]
        assert wire.bodies == [b'{"a":1}']
        assert wire.ids == ["id-7"]
        assert isinstance(ended.ending, Reply)
        assert ended.ending.took is not None
        assert ended.left_at is not None
        assert pickle.loads(pickle.dumps(ended)) == ended


async def test_a_batch_that_is_delivered_twice_is_sent_once() -> None:
    async with serving() as wire, sender_to(wire) as sender:
        for batch, number in ((1, 1), (1, 1), (2, 2), (1, 1), (2, 2)):
            await sender.take(batch, [handed(number)], {})
        await ends_of(sender, 2)
        await sender.take(3, [handed(3)], {})
        await ends_of(sender, 1, read=2)
        assert sorted(wire.ids) == ["id-1", "id-2", "id-3"]


async def test_endings_are_returned_until_they_are_read() -> None:
    async with serving() as wire, sender_to(wire) as sender:
        await sender.take(1, [handed(1)], {})
        await ends_of(sender, 1)
        for _ in range(2):  # the reply to the first call was lost
            read, endings, _ = await sender.endings(0)
            assert (read, [one.number for one in endings]) == (1, [1])
        assert (await sender.endings(1))[:2] == (1, [])


async def test_what_expired_does_not_leave() -> None:
    async with serving() as wire, sender_to(wire) as sender:
        await sender.take(1, [handed(1, lasts=-0.001), handed(2)], {})
        ended = await ends_of(sender, 2)
        assert (ended[1].ending, ended[1].left_at) == (Recalled(), None)
        assert wire.ids == ["id-2"]


async def test_what_expires_in_the_queue_takes_no_share_from_what_does_not() -> None:
    """With a turn for each, the last one would have to wait for ten seconds, and would expire, too."""
    async with serving() as wire, sender_to(wire) as sender:
        await sender.set_share(Pace(1.0, is_share=True))
        await sender.take(1, [handed(1)], {})
        await ends_of(sender, 1)
        late = [handed(number, lasts=0.05) for number in range(2, 11)]
        await sender.take(2, [*late, handed(11, lasts=5)], {})
        ended = await ends_of(sender, 10, read=1)
        assert wire.ids == ["id-1", "id-11"]
        assert {ended[number].ending.__class__ for number in range(2, 11)} == {Recalled}


async def test_a_recall_returns_what_has_not_left_and_nothing_of_what_has() -> None:
    async with serving(hold=True) as wire, sender_to(wire) as sender:
        await sender.take(1, [handed(1)], {})
        await wire.arrived(1)
        await sender.set_share(SCARCELY)
        await sender.take(2, [handed(2), handed(3), handed(4)], {})
        await wire.arrived(2)
        await sender.recall(2)
        ended = await ends_of(sender, 2)
        assert {number: one.ending for number, one in ended.items()} == {3: Recalled(), 4: Recalled()}
        wire.released.set()
        ended = await ends_of(sender, 2, read=2)
        assert {type(one.ending) for one in ended.values()} == {Reply}
        assert sorted(wire.ids) == ["id-1", "id-2"]


async def test_a_recall_that_overtakes_a_batch_holds_for_it_and_for_none_after_it() -> None:
    async with serving() as wire, sender_to(wire) as sender:
        await sender.recall(3)
        await sender.take(3, [handed(1)], {})
        await sender.take(4, [handed(2)], {})
        ended = await ends_of(sender, 2)
        assert ended[1].ending == Recalled()
        assert wire.ids == ["id-2"]


async def test_a_recall_of_earlier_batches_leaves_later_ones_in_the_queue() -> None:
    async with serving() as wire, sender_to(wire) as sender:
        await sender.set_share(SCARCELY)
        await sender.take(1, [handed(1)], {})
        await ends_of(sender, 1)
        await sender.take(2, [handed(2)], {})
        await sender.take(3, [handed(3)], {})
        await sender.recall(2)
        assert (await ends_of(sender, 1, read=1))[2].ending == Recalled()
        await sender.set_share(Pace(1000.0, is_share=True))
        assert isinstance((await ends_of(sender, 1, read=2))[3].ending, Reply)
        assert wire.ids == ["id-1", "id-3"]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_pause_that_the_endpoint_asks_for_shuts_the_own_gate_at_once(status: int) -> None:
    async with (
        serving(lambda _: response(status, b"", "Retry-After: 60\r\n")) as wire,
        sender_to(wire) as sender,
    ):
        await sender.take(1, [handed(1)], {})
        await ends_of(sender, 1)
        await sender.take(2, [handed(2), handed(3)], {})
        ended = await ends_of(sender, 2, read=1)
        assert [one.ending for one in ended.values()] == [Recalled(), Recalled()]
        assert wire.ids == ["id-1"]


async def test_an_error_without_a_pause_shuts_nothing() -> None:
    async with serving(lambda _: response(503, b"")) as wire, sender_to(wire) as sender:
        for number in (1, 2):
            await sender.take(number, [handed(number)], {})
            await ends_of(sender, 1, read=number - 1)
        assert wire.ids == ["id-1", "id-2"]


async def test_no_more_leaves_than_the_share() -> None:
    async with serving() as wire, sender_to(wire) as sender:
        await sender.set_share(SCARCELY)
        await sender.take(1, [handed(number, lasts=0.3) for number in range(20)], {})
        ended = await ends_of(sender, 20)
        assert len(wire.ids) == 1
        assert sum(one.left_at is not None for one in ended.values()) == 1


async def test_it_ends_in_silence_and_what_it_knew_can_still_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that was stopped for long asks for it when it is continued."""
    async with serving(hold=True) as wire, sender_to(wire) as sender:
        await sender.take(1, [handed(1)], {})
        await wire.arrived(1)
        wire.released.set()
        await ends_of(sender, 1)
        wire.released.clear()
        await sender.take(2, [handed(2)], {})
        await wire.arrived(2)
        jumps = count(1)  # between any two looks at the clock, too much time passes
        monkeypatch.setattr(module, "boot_seconds", lambda: boot_seconds() + next(jumps) * (SILENCE + 1))
        ended = await ends_of_the_silent(sender)
        assert ended == {1: Reply, 2: Lost}
        with pytest.raises(RuntimeError):
            await sender.take(3, [handed(3)], {})
        with pytest.raises(RuntimeError):
            await sender.endings(2)
        assert wire.ids == ["id-1", "id-2"]


async def ends_of_the_silent(sender: StatelessSender) -> dict[int, Any]:
    """The endings of two requests, once it has ended."""
    async with asyncio.timeout(20):
        while True:
            try:
                await sender.recall(0)
            except RuntimeError:
                break
            await asyncio.sleep(0.05)
        while len((await sender.endings(0))[1]) < 2:
            await asyncio.sleep(0.05)
    _, endings, _ = await sender.endings(0)
    return {one.number: type(one.ending) for one in endings}


async def test_what_waits_comes_back_at_the_end() -> None:
    async with serving() as wire, sender_to(wire) as sender:
        await sender.set_share(Pace(0.0, is_share=True))
        await sender.take(1, [handed(1), handed(2)], {})
        await sender.aclose()
        ended = await ends_of(sender, 2)
        assert [one.ending for one in ended.values()] == [Recalled(), Recalled()]
        assert wire.ids == []


async def test_an_endpoint_that_refuses_connections_is_no_doubt() -> None:
    async with serving() as wire:
        pass
    async with sender_to(wire) as sender:
        await sender.take(1, [handed(1)], {})
        ended = (await ends_of(sender, 1))[1]
        assert isinstance(ended.ending, NotSent)
        assert ended.ending.took is None
        assert ended.left_at is None


PLACE = TOKEN_PLACE.encode()


@pytest.mark.parametrize(
    ("given", "body", "sent"),
    [
        ({"wire": "json"}, b'{"token":"%b"}', b'{"token":"t0ken&<of>\\"the\'tests"}'),
        ({"wire": "xml"}, b"<token>%b</token>", b"<token>t0ken&amp;&lt;of&gt;\"the'tests</token>"),
        ({"bearer": True}, b"{}", b"{}"),
    ],
)
async def test_the_token_is_put_in_here_and_masked_in_what_is_returned(
    given: dict[str, Any], body: bytes, sent: bytes, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    wire_body = body % PLACE if b"%b" in body else body
    echoing = response(302, TOKEN.encode(), f"Location: http://x/{TOKEN}\r\n")
    async with (
        serving(lambda _: echoing) as wire,
        sender_to(wire, token=f"file:{tmp_path}/token", **given) as sender,
    ):
        await sender.take(1, [handed(1, wire_body, b" ")], {})
        ending = (await ends_of(sender, 1))[1].ending
        assert wire.bodies == [sent + b" "]
        bearer = f"authorization: bearer {TOKEN}\r\n".encode()
        assert (bearer.lower() in wire.heads[0].lower()) == ("bearer" in given)
        assert isinstance(ending, Reply)
        assert ending.body == MASK.encode()
        assert ending.location == f"http://x/{MASK}"
        assert TOKEN.encode() not in pickle.dumps(ending)


async def test_a_token_that_is_not_here_is_a_fault_that_names_its_place() -> None:
    hello = await StatelessSender().begin(settings_for(None, token="env:ENGAGER_TEST_NO_SUCH_VARIABLE"))
    assert "ENGAGER_TEST_NO_SUCH_VARIABLE" in hello.fault


async def test_another_version_is_refused_before_it_sends() -> None:
    sender = StatelessSender()
    hello = await sender.begin(settings_for(None, version="0.0.0.test"))
    assert "0.0.0.test" in hello.fault
    with pytest.raises(RuntimeError):
        await sender.take(1, [handed(1)], {})


async def test_a_beginning_that_is_delivered_twice_is_one() -> None:
    """The share that it was told in between, and what it has, remain."""
    async with serving() as wire, sender_to(wire) as sender:
        await sender.set_share(Pace(0.0, is_share=True))
        await sender.take(1, [handed(1)], {})
        assert not (await sender.begin(settings_for(wire))).fault
        await sender.take(2, [handed(2)], {})
        await sender.recall(2)
        await ends_of(sender, 2)
        assert wire.ids == []


async def test_the_endpoint_can_be_tried_without_a_request() -> None:
    async with serving() as wire:
        assert not (await StatelessSender().begin(settings_for(wire), check=True)).fault
    assert (await StatelessSender().begin(settings_for(wire), check=True)).fault
    assert wire.ids == []


async def test_parts_are_kept_and_replaced() -> None:
    async with serving() as wire, sender_to(wire) as sender:
        await sender.take(1, [handed(1, b"{", 3, b"}")], {3: b"offer"})
        await ends_of(sender, 1)
        await sender.take(2, [handed(2, b"[", 3, b"]")], {})
        await ends_of(sender, 1, read=1)
        await sender.take(3, [handed(3, 3)], {3: b"another"})
        await ends_of(sender, 1, read=2)
        assert wire.bodies == [b"{offer}", b"[offer]", b"another"]
