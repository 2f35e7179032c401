"""Finds the runs beneath a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from engager.errors import RunDirectoryError

#: Levels of folders that are searched: runs lie beside their jobs, and jobs in folders of their own.
DEPTH = 5


def runs_beneath(folder: Path) -> list[Path]:
    """The run directories in a folder, by their paths; itself, if it is one. Raises RunDirectoryError.

    Hidden folders and links are not searched, and neither is the inside of a run directory.
    """
    found = sorted(_runs(folder, DEPTH))
    if not found:
        raise RunDirectoryError(
            f"{folder}: there is no run here, and none beneath. Name a run directory, such as runs/NAME."
        )
    return found


def _runs(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / "run.json").is_file():
        yield folder
        return
    try:
        entries = list(os.scandir(folder)) if depth else []
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # what cannot be read has no run of this user
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            yield from _runs(folder / entry.name, depth - 1)
