"""The folder of a run. Invariant: it belongs to one job, one input, one process at a time, and its owner.

A folder is a run directory when it has `run.json`, which is written last; a folder without it is the
beginning of a run that has sent nothing.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from engager.altcraft.methods import START, method_of
from engager.errors import RecordingError, RunDirectoryError
from engager.reader.identity import Files
from engager.reader.objects import OBJECTS
from engager.reader.outcome_fields import EARLIER_COLUMNS, RESULT_COLUMNS
from engager.store.disk import open_draft, read_file, sync_folder
from engager.store.files.kept_input import DRAFT, KEPT, kept_input
from engager.store.lock import RunLock

_OURS = frozenset(
    {"lock", "journal.0", "journal.1", "journal.new", "engager.log", "run.json.new", KEPT, DRAFT}
)

#: The version of the format of the store. Since 3, a row can be `accepted`, which earlier versions would take
#: for not settled, and a line of results has a `reference`.
FORMAT = 3

#: The formats in which a run is resumed, and stays: what began it can read it as well. A run in any other one
#: is resumed with the version that began it.
_KNOWN = (2, FORMAT)


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """One run's folder."""

    path: Path
    run_id: str  #: the seed of every Request-ID of the run
    started_at: float  #: seconds since the epoch
    identity: Mapping[str, Any]  #: the job and the input that it belongs to
    invocation: Mapping[str, Any]  #: the job file, its overrides and the input, to find and name them again
    format: int = FORMAT  #: of the store

    @property
    def columns(self) -> Sequence[str]:
        """The columns of its results."""
        return EARLIER_COLUMNS if self.format < FORMAT else RESULT_COLUMNS

    @property
    def results_path(self) -> Path:
        """The path of the results."""
        return self.path / f"results.{self.identity['output']['results']}"

    @property
    def endpoint(self) -> str:
        """The address of the endpoint, or `sandbox`."""
        return str(self.identity["endpoint"]["url"])

    @property
    def scenario(self) -> str | None:
        """The scenario, or its template; None for a method that names none."""
        request = self.identity["request"]
        scenario = request.get((method_of(request) or START).scenario)
        return None if scenario is None else str(scenario)

    @property
    def summary_path(self) -> Path:
        """The path of the summary."""
        return self.path / "summary.json"

    @property
    def log_path(self) -> Path:
        """The path of the log."""
        return self.path / "engager.log"

    @property
    def excluded_path(self) -> Path:
        """The path of the digests of excluded keys."""
        return self.path / "excluded"

    @property
    def given_up_path(self) -> Path:
        """What stands there where the run is given up."""
        return self.path / "given_up"

    @property
    def input_path(self) -> str | None:
        """The input to name when the run is resumed: the copy that it keeps, or that of its first start."""
        return kept_input(self.path) or self.invocation.get("input")

    @property
    def after(self) -> tuple[Path, ...]:
        """The earlier runs that it was begun after, whose people it leaves out."""
        return tuple(map(Path, self.invocation.get("after", ())))

    @property
    def is_confirmed(self) -> bool:
        """Whether a person has confirmed the rows after `limits.confirm_above`."""
        return bool(self.invocation.get("confirmed"))

    @property
    def lock_path(self) -> Path:
        """The path of the lock."""
        return self.path / "lock"

    @property
    def is_of_program(self) -> bool:
        """Whether a program, and no command, began the run."""
        return self.invocation.get("job") is None or self.invocation.get("reads") == OBJECTS

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, whole or not at all. Raises RecordingError."""
        try:
            write_whole(self.summary_path, dict(summary))
        except OSError as fault:
            raise RecordingError(
                f"{self.summary_path}: it cannot be written: {fault.strerror}. Run the same command again."
            ) from fault

    def summary(self) -> dict[str, Any] | None:
        """The summary of the last process, if it wrote one."""
        return _read(self.summary_path)

    @property
    def is_complete(self) -> bool:
        """Whether the summary says that no row is left."""
        return bool((self.summary() or {}).get("complete"))

    def reopen(self) -> None:
        """Note in the summary that rows are left again. Raises RecordingError."""
        self.write_summary({**(self.summary() or {}), "complete": False})

    def difference_to(self, identity: Mapping[str, Any]) -> str | None:
        """The first difference to a job and its input; None if this run belongs to them."""
        return _difference("", self.identity, identity)

    def difference_of_input(self, files: Files, name: str) -> str:
        """How an input differs from the one that this run began with."""
        known, began = self.identity["input"]["files"], self.invocation.get("reads", "another input")
        if name == began:
            return f"{name} has changed since this run began with it: {_size(known)} then, {_size(files)} now"
        return f"it began with {began} ({_size(known)}), and {name} ({_size(files)}) is another input"


def find_run(path: Path) -> RunDirectory | None:
    """The run in a folder; None if none has begun. Raises RunDirectoryError for a foreign folder."""
    begun = _read(path / "run.json")
    if begun is None:
        return None
    try:
        if begun.get("format") not in _KNOWN and "run_id" in begun:
            raise RunDirectoryError(
                f"{path}: another version of engager began this run, in another format. Resume it "
                "with that version: a new run would send to all people of its input again."
            )
        names = ("run_id", "started_at", "identity", "invocation", "format")
        return RunDirectory(path, *(begun[name] for name in names))
    except KeyError as missing:
        raise RunDirectoryError(
            f"{path / 'run.json'}: {missing} is missing. Name a new run with --out."
        ) from None


def lock_folder(path: Path) -> RunLock:
    """Create the folder if it is missing, and acquire its lock. Raises RunDirectoryError."""
    try:
        _make(path)
        _refuse_shared(path)
        if not (path / "run.json").exists():
            _refuse_foreign_files(path)
        return RunLock.acquire(path / "lock")
    except FileExistsError as fault:
        raise RunDirectoryError(f"{path}: it is a file. Name another with --out.") from fault
    except OSError as fault:
        raise RunDirectoryError(f"{path}: the run directory cannot be used: {fault.strerror}.") from fault


def _make(path: Path) -> None:
    """Create a folder and its parents, so that their names survive a power failure."""
    if path.is_dir():
        return
    for folder in (*reversed(path.parents), path):
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
    for folder in (path.parent, *path.parent.parents[:1]):
        sync_folder(folder)


def _refuse_shared(path: Path) -> None:
    """Raises RunDirectoryError for a folder in which another user could place a file, or replace one."""
    facts = path.stat()
    if facts.st_uid != os.geteuid():
        raise RunDirectoryError(f"{path}: another user owns this folder. Name another with --out.")
    if not facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return
    if any(path.iterdir()):
        raise RunDirectoryError(
            f"{path}: other users may write to this folder. Check its files; then run chmod go-w {path}, "
            "or name another with --out."
        )
    path.chmod(0o700)


def _refuse_foreign_files(path: Path) -> None:
    if any(found.name not in _OURS for found in path.iterdir()):
        raise RunDirectoryError(f"{path}: the folder is not empty and has no run. Name another with --out.")


def new_run(path: Path, started_at: float | None = None) -> RunDirectory:
    """A run that is about to begin in a folder, now if no moment is given; its job is not known yet."""
    return RunDirectory(
        path, secrets.token_hex(16), time.time() if started_at is None else started_at, {}, {}
    )


def write_run(run: RunDirectory) -> None:
    """Store that the run has begun: from now on it can be resumed. Raises RunDirectoryError."""
    facts = asdict(run)
    del facts["path"]
    try:
        write_whole(run.path / "run.json", facts)
    except OSError as fault:
        raise RunDirectoryError(f"{run.path}: the run cannot be begun: {fault.strerror}.") from fault


def write_whole(path: Path, value: dict[str, Any]) -> None:
    """Write a file of JSON, whole or not at all, also if the power fails. Raises OSError."""
    replace_file(path, orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def replace_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file, whole or not at all, also if the power fails. Raises OSError.

    No link is followed. By default only its owner can read it.
    """
    draft = path.with_name(path.name + ".new")
    descriptor = open_draft(draft)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)  # on a full disk it would use space that other files need
        raise
    sync_folder(path.parent)


def _difference(where: str, before: Any, now: Any) -> str | None:
    """The first difference, as text."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in [*before, *(key for key in now if key not in before)]:
            name = f"{where}.{key}" if where else str(key)
            if key not in now or key not in before:
                return f"{name} was {'added' if key in now else 'removed'}"
            if text := _difference(name, before[key], now[key]):
                return text
        return None
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        return next(filter(None, (_difference(f"{where}[{i}]", a, b) for i, (a, b) in pairs)), None)
    return None if before == now else f"{where} was {_shown(before)} and is {_shown(now)}"


def _shown(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}…"


def _size(files: Files) -> str:
    text = f"{sum(file['bytes'] for file in files):,} bytes" if files else "a stream"
    return text if len(files) < 2 else f"{text} in {len(files):,} files"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = orjson.loads(read_file(path))
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise RunDirectoryError(f"{path.parent}: it is a file. Name another with --out.") from None
    except (OSError, orjson.JSONDecodeError) as fault:
        if isinstance(fault, OSError) and fault.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise  # a fault of the machine, not of the file
        raise RunDirectoryError(f"{path}: it cannot be read: {fault}.") from fault
    if not isinstance(content, dict):
        raise RunDirectoryError(f"{path}: it is not a file of a run.")
    return content
