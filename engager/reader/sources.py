"""Opens inputs as binary streams: files, globs, compressed files, stdin. Every fault is an InputError."""

from __future__ import annotations

import filecmp
import glob
import gzip
import io
import os
import re
import select
import shlex
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, cast
from urllib.parse import urlsplit

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

#: Compressed bytes that are decompressed at once: four may become 128 kB, and memory and time are bounded.
_PIECE = 512

#: Seconds between two checks whether a silent stdin was closed.
_LOOK_UP = 0.25


#: How the content of an address is written to stdout, by its scheme.
_FETCHED: Mapping[str, Sequence[str]] = {
    "s3": ("aws", "s3", "cp", "{}", "-"),
    "gs": ("gcloud", "storage", "cat", "{}"),
    "http": ("curl", "-fsS", "{}"),
    "https": ("curl", "-fsS", "{}"),
    "ftp": ("curl", "-fsS", "{}"),
    "sftp": ("curl", "-fsS", "{}"),
}

_UNPACKED = {".gz": "gunzip", ".zst": "zstd -d"}

_SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods")

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def refuse_foreign(path: str) -> None:
    """Raises InputError, with the command to use, for an address and for a spreadsheet."""
    if address := _ADDRESS.match(path):
        raise InputError(f"{path}: an address is not read. {_streaming(path, address[1].lower())}")
    if path.lower().endswith(_SPREADSHEETS):
        name = Path(path).with_suffix(".csv").name
        converts = shlex.join(["soffice", "--headless", "--convert-to", "csv", path])
        raise InputError(
            f"{path}: it is a spreadsheet, in which numbers and dates may not be what they show. Convert it, "
            f"look at {name}, and name that as the input:\n  {converts}"
        )


def _streaming(path: str, scheme: str) -> str:
    if scheme not in _FETCHED:
        return "Fetch the file first, and name it as the input."
    bare = urlsplit(path).path if scheme not in ("s3", "gs") else path
    unpacks = next((f" | {tool}" for suffix, tool in _UNPACKED.items() if bare.endswith(suffix)), "")
    form = format_of(Path(bare)) or "csv"
    fetches = shlex.join([part.replace("{}", path) for part in _FETCHED[scheme]])
    return (
        "Fetch the file first, and name it as the input; then a stopped run reads the same rows again. Or "
        f"send it as a stream:\n  {fetches}{unpacks} | engager run JOB --input - --set input.format={form}"
    )


def find_files(path: str, base: Path, of_input: bool = True) -> list[Path]:
    """The files that a path or a glob names, relative to `base`, sorted by name. Raises InputError.

    `of_input`: an error says how to name another input.
    """
    if of_input:
        refuse_foreign(path)
    full = base / path
    if full.exists():
        if full.is_dir():
            advice = f" Name a file, or a glob such as {path}/*.csv." if of_input else ""
            raise InputError(f"{full}: it is a folder.{advice}")
        return [full]
    found = sorted(Path(name) for name in glob.glob(str(full), recursive=True))
    files = [file for file in found if not file.is_dir()]
    if not files:
        advice = " Correct input.path, or name the file with --input." if of_input else ""
        raise InputError(f"{full}: no such file.{advice}")
    return files


def refuse_repeated(files: Sequence[Path]) -> None:
    """Raises InputError if two files of an input have the same rows: their people would be engaged twice."""
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
            (alike, "the compressed or decompressed form of"),
            (copied, "a copy of"),
        ):
            if other is not file:
                raise InputError(
                    f"{file}: it is {why} {other}, and all its rows would be sent twice. "
                    "Remove one of them, or name only one in input.path."
                )


def _is_copy(one: Path, other: Path) -> bool:
    """Whether two files of one size have the same rows; a header alone has none."""
    with open_stream(one) as stream:
        head = stream.read(_BUFFER).strip()
    return b"\n" in head and filecmp.cmp(one, other, shallow=False)


def format_of(file: Path) -> Format | None:
    """The format by the name of a file, without its compression suffix; None if unknown."""
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return _FORMATS.get(suffixes[-1]) if suffixes else None


def open_stream(file: Path) -> BinaryIO:
    """Open a file for reading bytes; its name decides the decompression. Raises InputError."""
    try:
        if file.suffix.lower() in _COMPRESSED and file.is_file() and not file.stat().st_size:
            raise InputError(f"{file}: the compressed file is cut: it has no byte. Get a complete copy.")
        if file.suffix.lower() == ".gz":
            return cast(BinaryIO, gzip.open(file, "rb"))
        stream = file.open("rb")
    except OSError as fault:
        raise InputError(f"{file}: it cannot be read: {fault.strerror}.") from fault
    if file.suffix.lower() != ".zst":
        return stream
    return cast(BinaryIO, io.BufferedReader(_Zstd(stream), _BUFFER))


class _Zstd(io.RawIOBase):
    """The content of a stream of Zstandard frames. The reader of the library ignores a cut at the end."""

    def __init__(self, compressed: BinaryIO) -> None:
        self._compressed = compressed
        self._ahead, self._out = b"", memoryview(b"")
        self._frame: zstandard.ZstdDecompressionObj | None = None  #: the frame that has begun

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read some bytes; none at the end. Raises EOFError if the last frame is cut off, and ZstdError."""
        target = memoryview(buffer)
        while not self._out and self._decompress():
            pass
        part, self._out = self._out[: len(target)], self._out[len(target) :]
        target[: len(part)] = part
        return len(part)

    def _decompress(self) -> bool:
        """Decompress the next bytes; returns whether there were any."""
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
        """Close the compressed stream."""
        self._compressed.close()
        super().close()


class Stdin(io.RawIOBase):
    """The standard input of the process. A read that waits for a silent input ends when it is closed."""

    def __init__(self) -> None:
        self._descriptor = sys.stdin.fileno()

    def readable(self) -> bool:
        """It is."""
        return True

    def read1(self, size: int) -> bytes:
        """Returns the bytes that are available, at most `size`; none at the end, and after it is closed."""
        while not self.closed:
            if select.select([self._descriptor], [], [], _LOOK_UP)[0]:
                return os.read(self._descriptor, size)
        return b""


def stdin_stream() -> BinaryIO:
    """The standard input of the process, as bytes."""
    return cast(BinaryIO, Stdin())


@contextmanager
def _as_input_error(source: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as fault:
        raise InputError(
            f"{source}: the compressed file is damaged or cut: {fault}. Get a complete copy and run again."
        ) from fault
    except OSError as fault:
        raise InputError(f"{source}: reading failed: {fault}.") from fault


def is_plain(file: Path) -> bool:
    """Whether a file is uncompressed and can be read from any position."""
    return file.is_file() and file.suffix.lower() not in _COMPRESSED


def blocks(stream: BinaryIO, source: str, size: int) -> Iterator[bytes]:
    """Yields the bytes of a stream as they arrive, at most `size` at once. Raises InputError."""
    # A pipe returns what it has: rows of a slow stream must not wait for a full block.
    read = getattr(stream, "read1", stream.read)
    while True:
        with _as_input_error(source):
            block: bytes = read(size)
        if not block:
            return
        yield block
