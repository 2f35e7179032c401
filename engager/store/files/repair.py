"""Rewrites result files: damaged ones with their complete lines, at a further pass without its rows.

A kill needs none of this. A disk does that lost what it had confirmed, and an editor that changed the files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def rewrite(source: Path, target: Path, form: LineFormat, stays: Stays, end: int) -> bytearray:
    """Write to `target` the lines of `source` that stay, one a row; returns the rows, a byte each.

    A line of a row that is not below `end` is damage.
    """
    written, draft = bytearray(end), target.with_name(target.name + ".new")
    descriptor = open_draft(draft)
    with os.fdopen(descriptor, "wb") as file:
        file.write(form.head)
        for row, fields, line in form.whole_lines(source):
            if 0 < row < end and not written[row] and stays(row, fields):
                written[row] = 1
                file.write(line if line.endswith(b"\n") else line + b"\n")  # a torn file lost its last end
        file.flush()
        os.fsync(descriptor)
    draft.replace(target)
    sync_folder(target.parent)
    return written
