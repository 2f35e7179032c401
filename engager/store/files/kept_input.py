"""The copy of an input in its run directory, from which the run can be finished when the input is gone.

The copy is whole, or not there. It shares no bytes with the input: a hard link would change with a file that
is overwritten in place, as exports are.
"""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from engager.store.disk import open_draft, sync_folder

#: The folder of the copies, and its name until they are whole.
KEPT, DRAFT = "input", "input.new"

#: Lets two files share blocks until one of them is written to. Source: ioctl_ficlone(2).
_FICLONE = 0x40049409


def kept_input(folder: Path) -> str | None:
    """The path, or the glob, of the input that a run directory keeps; None where it keeps none."""
    files = sorted((folder / KEPT).glob("*"))
    if len(files) < 2:
        return os.path.abspath(files[0]) if files else None
    return os.path.join(glob.escape(os.path.abspath(folder / KEPT)), "*")


def keep_input(files: Sequence[Path], folder: Path) -> list[Path]:
    """Copy the files of an input into a run directory; returns the copies. Raises OSError."""
    draft = folder / DRAFT
    shutil.rmtree(draft, ignore_errors=True)  # of a start that was killed
    shutil.rmtree(folder / KEPT, ignore_errors=True)
    draft.mkdir(mode=0o700)
    width = len(str(len(files)))
    try:
        for number, file in enumerate(files, 1):
            # Their order is part of what the rows are numbered by.
            name = file.name if len(files) == 1 else f"{number:0{width}}-{file.name}"
            _copy(file, draft / name)
        sync_folder(draft)
        draft.rename(folder / KEPT)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync_folder(folder)
    return sorted((folder / KEPT).glob("*"))


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as taken, os.fdopen(open_draft(target), "wb") as copy:
        try:
            fcntl.ioctl(copy, _FICLONE, taken.fileno())
        except OSError:  # a file system that shares no blocks, or another disk
            shutil.copyfileobj(taken, copy, 1 << 20)
        copy.flush()
        os.fsync(copy.fileno())
