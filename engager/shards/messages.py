"""What the processes of a run say to each other: facts and bytes in, one frame on a socket, and back.

length of the facts | the facts, as JSON | bytes, as long as the facts say
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import Any

import orjson

from engager.ledger.book import Batch, Lines
from engager.ledger.journal import Mark
from engager.model import Status
from engager.store.tally import Tally

_LENGTH = Struct("<I")


@dataclass(frozen=True, slots=True)
class Message:
    """One thing that is said."""

    kind: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    blobs: Sequence[bytes] = ()


class Line:
    """A connection to another process of the run."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def say(self, kind: str, blobs: Sequence[bytes] = (), **facts: Any) -> None:
        """Say something; who does not listen any more is not waited for."""
        sizes = [len(blob) for blob in blobs]
        head = orjson.dumps([kind, facts, sizes])
        self._writer.write(b"".join((_LENGTH.pack(len(head)), head, *blobs)))

    async def hear(self) -> Message | None:
        """What is said next; None when the other one is gone."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            kind, facts, sizes = orjson.loads(await self._reader.readexactly(length))
            return Message(kind, facts, [await self._reader.readexactly(size) for size in sizes])
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


def say_batch(line: Line, batch: Batch) -> None:
    """Hand a batch on."""
    lines = (batch.results, batch.failed, batch.in_doubt)
    line.say(
        "batch",
        [each.data for each in lines],
        shard=batch.shard,
        mark=list(batch.mark),
        tally=batch.tally.state(),
        counts=[each.count for each in lines],
        generations=list(batch.generations.items()),
        samples=[[*kind, *sample] for kind, sample in batch.tally.samples.items()],
    )


def batch_of(message: Message) -> Batch:
    """The batch that was handed on."""
    facts = message.facts
    results, failed, in_doubt = map(Lines, message.blobs, facts["counts"])
    tally = Tally.restored(facts["tally"])
    tally.samples = {(Status(status), error): (*rest,) for status, error, *rest in facts["samples"]}
    return Batch(
        facts["shard"],
        Mark(*facts["mark"]),
        tally,
        results,
        failed,
        in_doubt,
        dict(facts["generations"]),
    )
