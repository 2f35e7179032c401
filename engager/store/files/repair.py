"""Damaged files of a run made whole: lines that are not what was written are dropped, to be written anew.

This is not the way of a kill, which the journal mends by itself, but of a disk that lost what it had
promised, or of an editor that was let loose on a run's files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engager.store.disk import sync_folder
from engager.store.files.lines import LineFormat


class Rewritten:
    """A file that is written anew beside the old one, and takes its place when it is whole."""

    def __init__(self, path: Path, head: bytes) -> None:
        self._path, self._draft = path, path.with_name(path.name + ".new")
        self._descriptor = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._file = os.fdopen(self._descriptor, "wb")
        self._file.write(head)

    def write(self, line: bytes) -> None:
        """Add a line; the last one of a damaged file may have lost its end."""
        self._file.write(line if line.endswith(b"\n") else line + b"\n")

    def put_in_place(self) -> None:
        """Take the old file's place."""
        self._file.flush()
        os.fsync(self._descriptor)
        self._file.close()
        self._draft.replace(self._path)
        sync_folder(self._path.parent)


def keep_only(
    source: Path, target: Path, form: LineFormat, wanted: Callable[[int, dict[str, Any]], bool], rows: int
) -> bytearray:
    """Write to `target` what is wanted of `source`, once a row; returns a byte a row, 1 = it has a line.

    A line of a row that is not below `rows` is damage.
    """
    kept = bytearray(rows)
    rewritten = Rewritten(target, form.head)
    for row, fields, line in form.survivors(source) if source.exists() else ():
        if 0 < row < rows and not kept[row] and wanted(row, fields):
            kept[row] = 1
            rewritten.write(line)
    rewritten.put_in_place()
    return kept
