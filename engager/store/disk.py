"""Small operations on files that the parts of the store share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engager.errors import RecordingError


def sync_data(descriptor: int) -> None:
    """Bring a file's content to the disk. Raises OSError."""
    (os.fdatasync if hasattr(os, "fdatasync") else os.fsync)(descriptor)


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Raises RecordingError, with what to do, where the system refuses to write to a file."""
    try:
        yield
    except OSError as fault:
        raise RecordingError(
            f"{path}: it cannot be written: {fault.strerror}. "
            "Nothing is lost: mend it, and run the same command again."
        ) from fault


def refuse_vanished(descriptor: int, path: Path) -> None:
    """Raises RecordingError when the open file's name was removed: what is stored from now on is lost."""
    if os.fstat(descriptor).st_nlink == 0:
        raise RecordingError(f"{path}: it was removed during the run.")


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk. Raises OSError."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
