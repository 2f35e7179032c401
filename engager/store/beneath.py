"""Finds the runs beneath a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from engager.errors import RunDirectoryError

#: Levels of folders that are searched: runs lie beside their jobs, and jobs in folders of their own.
DEPTH = 5

#: Runs that are named instead of a path without one, at most.
_NAMED = 3


def runs_beneath(folder: Path) -> list[Path]:
    """The run directories in a folder, by their paths; itself, if it is one. Raises RunDirectoryError.

    Hidden folders and links are not searched, and neither is the inside of a run directory.
    """
    found = sorted(_runs(folder, DEPTH))
    if not found:
        raise RunDirectoryError(f"{folder}: there is no run here, and none beneath. {advice(folder)}")
    return found


def advice(path: Path) -> str:
    """Which run to name instead of a path without one: those in `runs` beside it, the likeliest first."""
    beside = path.parent / "runs"
    names = sorted(run.relative_to(beside).as_posix() for run in _runs(beside, 2) if run != beside)
    near = get_close_matches(path.name, names, _NAMED) or names[:_NAMED]
    if not near:
        return "Name a run directory, such as runs/NAME."
    more = ", …" if len(names) > len(near) else ""
    return f"Name a run directory: {', '.join(str(beside / name) for name in near)}{more}."


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
