"""The folder of a run: made once, belonging to one job and one input, readable by its owner only."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from engager.errors import RunDirectoryError

_EDGE = 1 << 16


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """One run's folder."""

    path: Path
    run_id: str  #: the seed of every Request-ID of the run

    @property
    def summary_path(self) -> Path:
        """Where the account is left at the end."""
        return self.path / "summary.json"

    @property
    def log_path(self) -> Path:
        """Where the log is."""
        return self.path / "engager.log"

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Leave the account, whole or not at all."""
        draft = self.path / "summary.json.new"
        _write(draft, orjson.dumps(summary, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        draft.replace(self.summary_path)


def completed_summary(path: Path, identity: dict[str, str]) -> dict[str, Any] | None:
    """The account of a run that is complete; None where no run was begun.

    Raises RunDirectoryError for the run of another job or input, and for one that did not end.
    """
    begun = _read(path / "run.json")
    if begun is None:
        return None
    for what, fingerprint in identity.items():
        if begun.get(what) != fingerprint:
            raise RunDirectoryError(
                f"{path}: this run directory belongs to another {what}. Name a new one with --out."
            )
    summary = _read(path / "summary.json")
    if summary is None or not summary.get("complete"):
        raise RunDirectoryError(
            f"{path}: the run here was begun and did not come to its end. What became of its rows so far "
            "is in its results; name a new run directory with --out and an input of the remaining rows."
        )
    return summary


def begin(path: Path, identity: dict[str, str], run_id: str) -> RunDirectory:
    """Make the folder of a new run. Raises RunDirectoryError when it is not to be had."""
    begun = {"run_id": run_id, "started_at": time.time(), **identity}
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_foreign_files(path)
        _write(path / "run.json", orjson.dumps(begun, option=orjson.OPT_INDENT_2), os.O_EXCL)
    except FileExistsError as fault:
        raise RunDirectoryError(f"{path}: it is a file, or another run has just begun there.") from fault
    except OSError as fault:
        raise RunDirectoryError(f"{path}: the run directory cannot be made: {fault.strerror}.") from fault
    return RunDirectory(path, run_id)


def _refuse_foreign_files(path: Path) -> None:
    if any(path.iterdir()):
        raise RunDirectoryError(f"{path}: the folder is not empty and holds no run. Name another with --out.")


def fingerprint(value: Any) -> str:
    """The fingerprint of anything that JSON can hold."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def input_fingerprint(files: Sequence[Path]) -> str:
    """The fingerprint of input files: their sizes, beginnings and ends."""
    return fingerprint([_edges(file) for file in files])


def _edges(file: Path) -> list[str | int]:
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        head = stream.read(_EDGE)
        stream.seek(max(0, size - _EDGE))
        return [size, hashlib.sha256(head + stream.read(_EDGE)).hexdigest()]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, orjson.JSONDecodeError) as fault:
        raise RunDirectoryError(f"{path}: it cannot be read: {fault}.") from fault
    if not isinstance(content, dict):
        raise RunDirectoryError(f"{path}: it is not a file of a run.")
    return content


def _write(path: Path, data: bytes, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | flags, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
