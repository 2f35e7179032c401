"""The result files: lines are only appended, and the position of each is stored with a checksum of its end.

What stands after that is the beginning of a write that was never finished: it is cut off, and appended again
from the journal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

from engager.store.disk import open_file, refuse_vanished, sync_data, sync_folder
from engager.store.files.formats import REJECT_FILES, Formats, RejectFile

#: Bytes at a file's end, at least, that are known by their checksum.
_WINDOW = 1 << 16


class ResultFile:
    """A file of lines, readable by its owner only; made when its first line comes."""

    def __init__(self, path: Path, head: bytes) -> None:
        self.path = path
        self.lines = 0  #: lines that stand, the head aside
        self.head = head
        self._descriptor: int | None = None
        self._end = 0  #: bytes that stand
        self._windows = [(0, 0)]  #: where the last stretches begin, and their checksums

    def append(self, lines: Sequence[bytes]) -> None:
        """Append whole lines. Raises OSError, or RecordingError when the file was removed."""
        if lines:
            self.open()
            self._write(b"".join(lines))
            self.lines += len(lines)

    def open(self) -> None:
        """Make the file, with its head."""
        if self._descriptor is None:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
            self._descriptor = open_file(self.path, flags | (0 if self._end else os.O_TRUNC))
            if not self._end:
                self._write(self.head)

    def _write(self, data: bytes) -> None:
        assert self._descriptor is not None  # noqa: S101 - only called after open()
        refuse_vanished(self._descriptor, self.path)
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        begin, check = self._windows[-1]
        if self._end - begin >= _WINDOW:
            begin, check = self._end, 0
            self._windows = [self._windows[-1], (begin, check)]
        self._windows[-1] = (begin, crc32(data, check))
        self._end += len(data)

    def sync(self) -> None:
        """Bring it to the disk. Raises OSError."""
        if self._descriptor is None and self._end:
            self.open()
        if self._descriptor is not None:
            sync_data(self._descriptor)

    @property
    def facts(self) -> list[Any]:
        """The position of its end, with a checksum."""
        return [self._end, list(self._windows), self.lines]

    def is_as(self, facts: Sequence[Any]) -> bool:
        """Whether the file still has the content of that time, by its length and the checksum of its end."""
        end, windows, _ = facts
        if not self.path.exists():
            return not end
        ends = [*(begin for begin, _ in windows[1:]), end]
        with self.path.open("rb") as file:
            for (begin, check), stop in zip(windows, ends, strict=True):
                file.seek(begin)
                if crc32(stretch := file.read(stop - begin)) != check or len(stretch) < stop - begin:
                    return False
        return True

    def beyond(self, facts: Sequence[Any]) -> bytes:
        """What was written since that time."""
        if not self.path.exists():
            return b""
        with self.path.open("rb") as file:
            file.seek(facts[0])
            return file.read()

    def restore(self, facts: Sequence[Any]) -> None:
        """Continue where the file stood; what was written later is cut off."""
        self._end, windows, self.lines = facts
        self._windows = [(begin, check) for begin, check in windows]
        if self.path.exists():
            os.truncate(self.path, self._end)

    def replaced(self, lines: int) -> None:
        """Note that the file was rewritten as a whole: all of it is committed."""
        self.close()
        self.lines = lines
        self._end = self.path.stat().st_size if self.path.exists() else 0
        begin, check = max(0, self._end - _WINDOW), 0
        if self._end:
            with self.path.open("rb") as file:
                file.seek(begin)
                check = crc32(file.read())
        self._windows = [(begin, check)]

    def close(self) -> None:
        """Close it, if it was ever opened."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class ResultFiles:
    """The files of outcomes."""

    def __init__(self, folder: Path, formats: Formats) -> None:
        reject = formats.reject
        self.folder = folder
        self.results = ResultFile(folder / formats.results.name, formats.results.head)
        self.failed = ResultFile(folder / f"failed{reject.suffix}", reject.head)
        self.in_doubt = ResultFile(folder / f"in_doubt{reject.suffix}", reject.head)

    def __iter__(self) -> Iterator[ResultFile]:
        return iter((self.results, self.failed, self.in_doubt))

    def file(self, file: int) -> ResultFile:
        """A reject file."""
        return self.failed if file == RejectFile.FAILED else self.in_doubt

    def append(self, results: Sequence[bytes], rejected: Sequence[tuple[int, int, bytes]]) -> None:
        """Append lines of results, and lines of rows that were not engaged. Raises OSError."""
        self.results.append(results)
        for file in REJECT_FILES:
            self.file(file).append([line for _, each, line in rejected if each == file])

    def sync(self) -> None:
        """Bring all of them to the disk, and their names. Raises OSError."""
        for file in self:
            file.sync()
        sync_folder(self.folder)

    def facts(self) -> dict[str, list[Any]]:
        """How far they have come."""
        return {file.path.stem: file.facts for file in self}

    def restore(self, facts: Mapping[str, Any], since: bytes) -> bool:
        """Continue where they stood; False, and nothing changed, where they are not as they were.

        `since` are the lines of results that came later. A line of another row was written by a process of
        which the journal lost what it stored.
        """
        results = facts[self.results.path.stem]
        expected = since if results[0] else self.results.head + since
        if not all(file.is_as(facts[file.path.stem]) for file in self):
            return False
        if not expected.startswith(self.results.beyond(results)):
            return False
        for file in self:
            file.restore(facts[file.path.stem])
        return True

    def close(self) -> None:
        """Close them."""
        for file in self:
            file.close()
