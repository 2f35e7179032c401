"""Small operations on files that the parts of the store share."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engager.errors import RecordingError


def open_file(path: Path, flags: int) -> int:
    """Open a file of a run, readable by its owner only.

    No link is followed and no pipe is opened, so that a file of another user cannot change what is read or
    written. Raises OSError, also for a file that is not regular.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return descriptor


def read_file(path: Path) -> bytes:
    """The content of a file of a run, opened as `open_file` opens it. Raises OSError."""
    with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
        return file.read()


def open_draft(path: Path) -> int:
    """Create a file, in place of one that a killed process left. Raises OSError."""
    path.unlink(missing_ok=True)
    return open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)


def sync_data(descriptor: int) -> None:
    """Sync the content of a file to the disk. Raises OSError."""
    (os.fdatasync if hasattr(os, "fdatasync") else os.fsync)(descriptor)


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Raises RecordingError, with advice, if the system refuses to write to a file."""
    try:
        yield
    except OSError as fault:
        raise RecordingError(
            f"{path}: it cannot be written: {fault.strerror}. "
            "Nothing is lost. Fix this, and run the same command again."
        ) from fault


def refuse_vanished(descriptor: int, path: Path) -> None:
    """Raises RecordingError if the open file was removed: what is written to it from now on is lost."""
    if os.fstat(descriptor).st_nlink == 0:
        raise RecordingError(f"{path}: it was removed during the run.")


def sync_folder(path: Path) -> None:
    """Sync the names in a folder to the disk. Raises OSError."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
