"""A path in, binary streams out: globs are expanded, compression is undone, stdin is one more file."""

from __future__ import annotations

import filecmp
import glob
import gzip
import io
import os
import select
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

import zstandard

from engager.errors import InputError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Format = Literal["csv", "jsonl"]

STDIN = "-"

_FORMATS: dict[str, Format] = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_COMPRESSED = (".gz", ".zst")

#: Bytes that are read from a disk at once.
_BUFFER = 1 << 16

#: Compressed bytes that are decompressed at once: four may stand for 128 kB, and memory and time are bounded.
_PIECE = 512

#: Seconds between two looks at whether a silent input is still wanted.
_LOOK_UP = 0.25


def find_files(path: str, base: Path) -> list[Path]:
    """The files that a path or a glob names, relative to `base`, in the order of their names."""
    full = base / path
    if full.exists():
        if full.is_dir():
            raise InputError(f"{full}: it is a folder. Name a file, or a glob such as {path}/*.csv.")
        return [full]
    found = sorted(Path(name) for name in glob.glob(str(full), recursive=True))
    files = [file for file in found if not file.is_dir()]
    if not files:
        raise InputError(f"{full}: no such file. Mend input.path, or name the file with --input.")
    return files


def refuse_repeated(files: Sequence[Path]) -> None:
    """Raises InputError where two files of an input hold the same rows: people would be sent to twice."""
    inodes: dict[tuple[int, int], Path] = {}
    names: dict[Path, Path] = {}
    sizes: dict[int, list[Path]] = {}
    for file in filter(Path.is_file, files):
        found = file.stat()
        same = inodes.setdefault((found.st_dev, found.st_ino), file)
        bare = file.with_suffix("") if file.suffix.lower() in _COMPRESSED else file
        alike = names.setdefault(bare, file)
        copies = sizes.setdefault(found.st_size, [])
        copied = next((copy for copy in copies if same is file and _is_copy(copy, file)), file)
        copies.append(file)
        for other, why in (
            (same, "the same file as"),
            (alike, "the packed or unpacked form of"),
            (copied, "a copy of"),
        ):
            if other is not file:
                raise InputError(
                    f"{file}: it is {why} {other}, and everybody in it would be sent to twice. "
                    "Take one of them away, or let input.path name only one."
                )


def _is_copy(one: Path, other: Path) -> bool:
    """Whether two files of one size hold the same rows; a header alone has none."""
    with open_stream(one) as stream:
        head = stream.read(_BUFFER).strip()
    return b"\n" in head and filecmp.cmp(one, other, shallow=False)


def format_of(file: Path) -> Format | None:
    """The format that a file's name tells, compression aside."""
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return _FORMATS.get(suffixes[-1]) if suffixes else None


def open_stream(file: Path) -> BinaryIO:
    """Open a file for reading bytes, decompressed by its name."""
    try:
        if file.suffix.lower() == ".gz":
            return cast(BinaryIO, gzip.open(file, "rb"))
        stream = file.open("rb")
    except OSError as fault:
        raise InputError(f"{file}: it cannot be read: {fault.strerror}.") from fault
    if file.suffix.lower() != ".zst":
        return stream
    return cast(BinaryIO, io.BufferedReader(_Zstd(stream), _BUFFER))


class _Zstd(io.RawIOBase):
    """What a stream of Zstandard frames holds. The library's reader takes a cut for the end of the file."""

    def __init__(self, compressed: BinaryIO) -> None:
        self._compressed = compressed
        self._ahead, self._out = b"", memoryview(b"")
        self._frame: zstandard.ZstdDecompressionObj | None = None  #: the one that has begun

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Some bytes; none at the end. Raises EOFError where the last frame is cut off, and ZstdError."""
        target = memoryview(buffer)
        while not self._out and self._decompress():
            pass
        part, self._out = self._out[: len(target)], self._out[len(target) :]
        target[: len(part)] = part
        return len(part)

    def _decompress(self) -> bool:
        """Take the next bytes in; returns whether there were any."""
        data = self._ahead or self._compressed.read(_BUFFER)
        data, self._ahead = data[:_PIECE], data[_PIECE:]
        if not data:
            if self._frame is not None:
                raise EOFError("its last frame has no end")
            return False
        frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
        self._out = memoryview(frame.decompress(data))
        self._ahead = frame.unused_data + self._ahead
        self._frame = None if frame.eof else frame
        return True

    def close(self) -> None:
        """Close what it reads from."""
        self._compressed.close()
        super().close()


class Stdin(io.RawIOBase):
    """The process's standard input, which may be silent for long: it is not waited for once it is closed."""

    def __init__(self) -> None:
        self._descriptor = sys.stdin.fileno()

    def readable(self) -> bool:
        """It is."""
        return True

    def read1(self, size: int) -> bytes:
        """What has come, at most so many bytes; nothing at the end, and when it was closed."""
        while not self.closed:
            if select.select([self._descriptor], [], [], _LOOK_UP)[0]:
                return os.read(self._descriptor, size)
        return b""


def stdin_stream() -> BinaryIO:
    """The process's standard input, as bytes."""
    return cast(BinaryIO, Stdin())


@contextmanager
def _told(source: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as fault:
        raise InputError(
            f"{source}: the compressed file is damaged or cut off: {fault}. Get it whole and run again."
        ) from fault
    except OSError as fault:
        raise InputError(f"{source}: reading broke off: {fault}.") from fault


def is_plain(file: Path) -> bool:
    """Whether any part of a file can be read by itself."""
    return file.is_file() and file.suffix.lower() not in _COMPRESSED


def blocks(stream: BinaryIO, source: str, size: int) -> Iterator[bytes]:
    """The stream's bytes as they come, at most `size` at once. Raises InputError."""
    # A pipe hands over what it has: rows of a slow stream must not wait for a full block.
    read = getattr(stream, "read1", stream.read)
    while True:
        with _told(source):
            block: bytes = read(size)
        if not block:
            return
        yield block
