"""The journal of a run: two files in turn, to which frames are only appended.

When a file exceeds its limit, the other one is replaced by a snapshot: the whole state after the frame of the
same number. The frames before it remain in their file until the next turn. Invariant: a damaged snapshot
loses nothing, because the state before it and the frames up to it give the same state.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Final
from zlib import crc32

from engager.errors import RecordingError, RunDirectoryError
from engager.store import clock
from engager.store.disk import (
    open_draft,
    open_file,
    read_file,
    refuse_vanished,
    refusing,
    sync_data,
    sync_folder,
)
from engager.store.frames import Context, Frame, framed, parse_frames

#: Bytes after which the other file is begun; tests set less, to have many turns.
LIMIT = 4 << 20

NAMES: Final = ("journal.0", "journal.1")

_DRAFT: Final = "journal.new"


def token_of(mark: str) -> int:
    """A number that identifies a token; `mark` is the digest that a secret provides for this."""
    return int.from_bytes(blake2b(mark.encode(), digest_size=8).digest(), "little")


def seed_of(run_id: str) -> int:
    """The seed of the checksums of a run: the content of a row can then never look like a frame."""
    return crc32(run_id.encode())


class Journal:
    """The journal, open for writing. A write raises RecordingError if the system refuses it."""

    def __init__(self, folder: Path, seed: int, token: int, number: int = 0, turn: int = 0) -> None:
        self._folder, self._seed, self._token = folder, seed, token
        self._boot_id = clock.boot_id()
        self._number, self._turn = number, turn  #: of the last frame, and which file it is in
        self._descriptors = [-1, -1]
        self._at = self._snapshot_size = 0
        self._may_turn = True  #: the other file is not needed any more
        self._fault: RecordingError | None = None

    @property
    def path(self) -> Path:
        """The file that is written."""
        return self._folder / NAMES[self._turn]

    def begin(self) -> None:
        """Create the journal of a new run."""
        for name in NAMES:
            (self._folder / name).unlink(missing_ok=True)
        with refusing(self.path):
            self._open()
        self.write([], 0)
        with refusing(self.path):
            sync_data(self._descriptor)
            sync_folder(self._folder)

    @property
    def _descriptor(self) -> int:
        return self._descriptors[self._turn]

    def _open(self) -> None:
        if self._descriptors[self._turn] < 0:
            self._descriptors[self._turn] = open_file(self.path, os.O_RDWR | os.O_CREAT)

    def write(self, records: Sequence[bytes], last_row: int) -> None:
        """Append one frame, which survives a kill when this returns. Raises RecordingError, then always."""
        self._number += 1
        self._write(framed(self._number, self._context(last_row), records, self._seed))

    def _context(self, last_row: int) -> Context:
        return Context(time.time(), clock.seconds(), self._boot_id, self._token, last_row)

    def _write(self, data: bytes) -> None:
        if self._fault is not None:
            raise self._fault
        try:
            with refusing(self.path):
                write_all(self._descriptor, data, self._at)
        except RecordingError as fault:
            self._fault = fault  # a part of the frame may be written, and nothing may follow it
            raise
        self._at += len(data)

    @property
    def is_broken(self) -> bool:
        """Whether a write failed: every further one raises what it raised."""
        return self._fault is not None

    @property
    def is_full(self) -> bool:
        """Whether it is time for a snapshot."""
        return self._may_turn and self._at > max(LIMIT, 4 * self._snapshot_size)

    def begin_anew(self, snapshot: bytes, last_row: int) -> Callable[[], None]:
        """Continue in the other file, after a snapshot; returns a function that syncs both, for a thread.

        Call `turned` after it: only then is another turn allowed.
        """
        before = self._descriptor
        self._turn ^= 1
        with refusing(self.path):
            self._open()
        self._at, self._may_turn = 0, False
        self._write_snapshot(snapshot, last_row)
        return partial(self._bring, before, self._descriptor)

    def _write_snapshot(self, snapshot: bytes, last_row: int) -> None:
        data = framed(self._number, self._context(last_row), [snapshot], self._seed, snapshot=True)
        self._snapshot_size = len(data)
        self._write(data)

    def _bring(self, *descriptors: int) -> None:
        with refusing(self.path):
            for descriptor in descriptors:
                sync_data(descriptor)
            sync_folder(self._folder)

    def turned(self) -> None:
        """Note that both files are on the disk."""
        self._may_turn = True

    def begin_in_draft(self, snapshot: bytes, last_row: int) -> None:
        """Continue in the other file, which is replaced as a whole: its old content counts until then."""
        self._turn ^= 1
        draft = self._folder / _DRAFT
        with refusing(draft):
            descriptor = open_draft(draft)
            self._descriptors[self._turn], self._at = descriptor, 0
            self._write_snapshot(snapshot, last_row)
            sync_data(descriptor)
            draft.replace(self.path)
            sync_folder(self._folder)

    def sync(self) -> Callable[[], None]:
        """Returns a function that syncs all that is written by now, for a thread."""
        return partial(self._bring_one, self._descriptor, self.path)

    @staticmethod
    def _bring_one(descriptor: int, path: Path) -> None:
        with refusing(path):
            sync_data(descriptor)

    def check(self) -> None:
        """Raises RecordingError if the file was removed: what is written from now on would be lost."""
        refuse_vanished(self._descriptor, self.path)

    def close(self) -> None:
        """Close the files."""
        for turn, descriptor in enumerate(self._descriptors):
            if descriptor >= 0:
                os.close(descriptor)
            self._descriptors[turn] = -1


def write_all(descriptor: int, data: bytes, at: int) -> None:
    """Write all of the data at a position, also if the system writes it in parts. Raises OSError."""
    written = os.pwrite(descriptor, data, at)
    while written < len(data):
        written += os.pwrite(descriptor, memoryview(data)[written:], at + written)


@dataclass(slots=True)
class Chain:
    """The content of a journal: a snapshot, and the frames after it."""

    base: Frame | None
    frames: list[Frame] = field(default_factory=list)  #: by number; of damaged ones only the context
    turn: int = 0  #: the file that remains while the other one is replaced

    @property
    def number(self) -> int:
        """The number of the last frame."""
        return self.frames[-1].number if self.frames else self.base.number if self.base else 0

    @property
    def is_whole(self) -> bool:
        """Whether no frame is missing between the first and the last one."""
        first = (self.base.number if self.base else 0) + 1
        numbers = [frame.number for frame in self.frames if frame.records is not None]
        return numbers == list(range(first, first + len(self.frames)))


def read_chain(folder: Path, seed: int) -> Chain:
    """Read a journal, also while a process writes to it. Raises RunDirectoryError if there is none."""
    files = [_read(folder / name) for name in NAMES]
    if files == [None, None]:
        raise RunDirectoryError(
            f"{folder / NAMES[0]}: the journal is missing, and with it the record of what was sent. Name "
            "a new run with --out, with an input that does not contain the rows of the results."
        )
    found = [list(parse_frames(data or b"", seed)) for data in files]
    snapshots = [
        (frame, turn)
        for turn, frames in enumerate(found)
        for frame in frames
        if frame.is_snapshot and frame.records is not None
    ]
    base, turn = max(snapshots, key=lambda one: one[0].number, default=(None, -1))
    later: dict[int, Frame] = {}
    for frame in (frame for frames in found for frame in frames if not frame.is_snapshot):
        is_better = frame.number not in later or later[frame.number].records is None
        if is_better and frame.number > (base.number if base else 0):
            later[frame.number] = frame
    if base is None and not later:
        raise RunDirectoryError(
            f"{folder / NAMES[0]}: the journal is damaged. Name a new run with --out, and exclude with "
            "--after the people that this one engaged."
        )
    if turn < 0:  # no snapshot yet: what there is is the first file's
        turn = 0
    return Chain(base, [later[number] for number in sorted(later)], turn)


def _read(path: Path) -> bytes | None:
    try:
        return read_file(path)
    except FileNotFoundError:
        return None
