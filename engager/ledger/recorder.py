"""Outcomes in, lines on disk out, in chunks: no outcome waits for a disk, and no buffer grows without end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

import anyio
from anyio import to_thread

from engager.errors import RecordingError
from engager.ledger.tally import Tally
from engager.model import EngageRequest, Outcome, Status

#: Outcomes that are written in one go.
CHUNK = 256

#: How old an outcome may grow before it is written.
FRESH_SECONDS = 0.5

#: Statuses whose rows are certainly not engaged: mended, they may be sent again.
MENDABLE = frozenset({Status.REJECTED, Status.FAILED, Status.INVALID})


class LineFormat(Protocol):
    """How a file of outcomes looks."""

    @property
    def head(self) -> bytes:
        """What the file begins with."""
        ...

    def line(self, outcome: Outcome) -> bytes:
        """One outcome."""
        ...


class LineFile:
    """A file that is only ever appended to, readable by its owner only; made when its first line comes."""

    def __init__(self, path: Path, line_format: LineFormat, synced: bool = False) -> None:
        self._path = path
        self._synced = synced
        self._format = line_format
        self._descriptor: int | None = None

    def write(self, outcomes: list[Outcome]) -> None:
        """Append the lines of some outcomes, whole."""
        if not outcomes:
            return
        self.open()
        self._append(b"".join(map(self._format.line, outcomes)))

    def open(self) -> None:
        """Make the file, with its head."""
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
            self._append(self._format.head)

    def _append(self, data: bytes) -> None:
        assert self._descriptor is not None  # noqa: S101 - only called behind open()
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        if self._synced:
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close it, if it was ever made."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Recorder:
    """Writes every outcome down, once, and keeps the account."""

    def __init__(self, results: LineFile, failed: LineFile, in_doubt: LineFile, tally: Tally) -> None:
        self.tally = tally
        self._results, self._failed, self._in_doubt = results, failed, in_doubt
        self._pending: list[Outcome] = []
        self._writing = anyio.Lock()
        self._results.open()

    def intend(self, request: EngageRequest, request_id: str) -> None:
        """A try of this request is about to leave."""

    async def record(self, outcome: Outcome) -> None:
        """Take one outcome in; now and then its bringer waits for the disk."""
        self.tally.count(outcome)
        self._pending.append(outcome)
        if len(self._pending) >= CHUNK:
            await self.flush()

    async def flush(self) -> None:
        """Write what is pending, off the event loop and in order."""
        async with self._writing:
            await to_thread.run_sync(self._write, self._take())

    async def keep_fresh(self) -> None:
        """Write what is pending every half second, so that a slow run shows in its files."""
        while True:
            await anyio.sleep(FRESH_SECONDS)
            if self._pending:
                await self.flush()

    def close(self) -> None:
        """Write the rest and close the files."""
        self._write(self._take())
        for file in (self._results, self._failed, self._in_doubt):
            file.close()

    def _take(self) -> list[Outcome]:
        taken, self._pending = self._pending, []
        return taken

    def _write(self, outcomes: list[Outcome]) -> None:
        try:
            self._results.write(outcomes)
            self._failed.write([o for o in outcomes if o.status in MENDABLE])
            self._in_doubt.write([o for o in outcomes if o.status is Status.IN_DOUBT])
        except OSError as fault:
            raise RecordingError(
                f"{fault.filename or 'the run directory'}: outcomes cannot be written: {fault.strerror}. "
                "The run was stopped; what was written so far stands."
            ) from fault
