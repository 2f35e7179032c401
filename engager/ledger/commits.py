"""How far everything has come: the last word of the ledger on its files, in two copies written in turn."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any
from zlib import crc32

import orjson

from engager.ledger.mapped import MappedFile

_HEAD = Struct("<IIQ")  # checksum, length, version
_COPY = 128 << 10

#: Bytes of both copies.
SIZE = 2 * _COPY


class Commits:
    """The two copies in a part of the ledger."""

    def __init__(self, memory: mmap.mmap, offset: int) -> None:
        self._memory, self._offset = memory, offset
        self._version = 0

    @classmethod
    def of_file(cls, path: Path) -> dict[str, Any] | None:
        """What was last said in a file, while somebody may be writing to it."""
        file = MappedFile(path, writable=False)
        try:
            return cls(file.map(0, SIZE), 0).read()
        finally:
            file.close()

    def write(self, facts: dict[str, Any]) -> None:
        """Replace what was last said, whole or not at all."""
        data = orjson.dumps(facts)
        if len(data) > _COPY - _HEAD.size:
            raise ValueError(f"{len(data)} bytes are too many for a commit")
        self._version += 1
        begin = self._offset + (self._version & 1) * _COPY
        numbered = self._version.to_bytes(8, "little") + data
        self._memory[begin : begin + _HEAD.size + len(data)] = (
            _HEAD.pack(crc32(numbered), len(data), self._version) + data
        )

    def read(self) -> dict[str, Any] | None:
        """What was last said, if anything ever was."""
        copies = filter(None, (self._read(copy) for copy in (0, 1)))
        newest = max(copies, key=lambda copy: copy.version, default=None)
        if newest is None:
            return None
        self._version = newest.version
        return newest.facts

    def _read(self, copy: int) -> _Copy | None:
        begin = self._offset + copy * _COPY
        check, length, version = _HEAD.unpack_from(self._memory, begin)
        if not version or length > _COPY - _HEAD.size:
            return None
        data = self._memory[begin + _HEAD.size : begin + _HEAD.size + length]
        if crc32(version.to_bytes(8, "little") + data) != check:
            return None
        return _Copy(version, orjson.loads(data))


@dataclass(frozen=True, slots=True)
class _Copy:
    version: int
    facts: dict[str, Any]
