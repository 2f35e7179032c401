"""Rewrites result files: damaged ones with their complete lines, at a further pass without its rows.

A kill needs no repair. A disk does that lost what it had confirmed, and an editor that changed the files.
Lines in the middle of a file can only be removed by writing the file again, which needs its size on the disk
once more until the old file is gone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from engager.reader.outcome_lines import LineFormat
from engager.store.disk import open_draft, sync_folder

#: Whether a line, with its row and its fields, stays in its file.
Stays = Callable[[int, dict[str, Any]], bool]


def rows_in(path: Path, form: LineFormat, end: int) -> bytearray:
    """Which rows below `end` have a whole line in a file: a byte a row."""
    found = bytearray(end)
    for row, _, _ in form.whole_lines(path):
        if 0 < row < end:
            found[row] = 1
    return found


def rewrite(path: Path, form: LineFormat, stays: Stays, end: int) -> bytearray:
    """Keep the lines of a file that stay, one a row; returns their rows, a byte each.

    A line of a row that is not below `end` is damage.
    """
    written = bytearray(end)
    with _draft(path) as (file, draft):
        file.write(form.head)
        for row, fields, line in form.whole_lines(path):
            if 0 < row < end and not written[row] and stays(row, fields):
                written[row] = 1
                file.write(_ended(line))
    draft.replace(path)
    sync_folder(path.parent)
    return written


def move_lines(path: Path, aside: Path, form: LineFormat, due: Sequence[int], stays: Stays) -> bytearray:
    """Move the lines of due rows from a file to another one; returns the rows of those that stay.

    A line is in one of the files at any moment, and in both until the second is replaced: after a kill, the
    same call completes the move. Without lines to move, `aside` is not made.

    Args:
        path: the file of all lines.
        aside: the file of the moved lines.
        form: the format of both files.
        due: for each row, whether it is due: a byte a row.
        stays: whether the line of a row that is not due stays in its file.

    Returns:
        For each row, whether its line stays: a byte a row.

    """
    left, moved = bytearray(len(due)), bytearray(len(due))
    with _draft(path) as (kept_file, kept), _draft(aside) as (moved_file, draft):
        for file in (kept_file, moved_file):
            file.write(form.head)
        for row, fields, line in chain(form.whole_lines(aside), form.whole_lines(path)):
            if not 0 < row < len(due) or left[row] or moved[row]:
                continue
            if due[row]:
                moved[row] = 1
                moved_file.write(_ended(line))
            elif stays(row, fields):
                left[row] = 1
                kept_file.write(_ended(line))
    if any(moved):
        draft.replace(aside)
        sync_folder(aside.parent)  # before the other file loses them
    else:
        draft.unlink()
    kept.replace(path)
    sync_folder(path.parent)
    return left


def _ended(line: bytes) -> bytes:
    """The line with its end, which the last one of a torn file lost."""
    return line if line.endswith(b"\n") else line + b"\n"


@contextmanager
def _draft(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A file to be written beside another one: it is on the disk at the end, or gone after a fault."""
    draft = path.with_name(path.name + ".new")
    descriptor = open_draft(draft)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file, draft
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        draft.unlink(missing_ok=True)  # on a full disk it would use space that other files need
        raise
