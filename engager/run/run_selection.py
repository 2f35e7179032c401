"""A job and the moment of its start in, its run directory out: a new one, or one to be gone on with.

A name with a date in it is another one after midnight, and a run that was begun before must not begin
anew for that: whatever the date, the same job goes on with the same input, and sends no input twice.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from glob import iglob
from heapq import nlargest
from itertools import takewhile
from pathlib import Path
from typing import Any

from engager.config.job import JobFile
from engager.config.placeholders import NamingError, escaped, expanded, is_dated, namesakes
from engager.config.sanitize import name_fault
from engager.errors import BusyError, JobError, RunDirectoryError
from engager.models import Status
from engager.reader.identity import Files, input_identity
from engager.reader.sources import STDIN, find_files
from engager.store.lock import RunLock
from engager.store.run_directory import RunDirectory, find_run

#: So many of the latest runs of a name are looked at.
LOOKED_AT = 100

#: For names that do not depend on the moment.
_NO_TIME = datetime(2000, 1, 1)


@dataclass(frozen=True, slots=True)
class ChosenDirectory:
    """The run directory of a start."""

    path: Path
    warnings: tuple[str, ...] = ()


def moment_of_name(job_file: JobFile, seconds: float) -> datetime:
    """A moment on the clocks that the job goes by, for the dates in its names."""
    return datetime.fromtimestamp(seconds, job_file.job.window.tz)


@contextmanager
def choose_directory(job_file: JobFile, out: str | None, input_path: str | None) -> Iterator[ChosenDirectory]:
    """The run directory that `out` names, else the job, at this moment: for a start to begin in.

    Where a name has a date, one start at a time chooses and begins: on either side of midnight two could
    begin with one input. Raises JobError, InputError, BusyError where another start takes too long or a
    namesake is under way, and RunDirectoryError where one has sent this input already.
    """
    pattern = _pattern(job_file, out)
    if fault := name_fault(pattern):
        raise JobError(f"--out {fault}")
    former = _former(job_file, out)
    try:
        turn = _turn(pattern) if is_dated(pattern) else nullcontext()
    except NamingError as fault:
        raise JobError(f"--out {out}: {fault}.") from None
    with turn:
        moment = moment_of_name(job_file, time.time())
        if former is not None and not is_dated(pattern):
            _refuse_former(
                Path(expanded(former, moment)), Path(expanded(pattern, moment)), job_file, input_path
            )
        yield _at(moment, pattern, job_file, input_path, former)


@contextmanager
def _turn(pattern: str) -> Iterator[None]:
    parts = takewhile(lambda part: not is_dated(part), Path(pattern).parts)
    folder = Path(expanded(str(Path(*parts)), _NO_TIME))
    folder.mkdir(parents=True, exist_ok=True)
    turn = RunLock.take(folder / ".engager.lock")
    try:
        yield
    finally:
        turn.release()


def _at(
    moment: datetime, pattern: str, job_file: JobFile, input_path: str | None, former: str | None
) -> ChosenDirectory:
    path = Path(expanded(pattern, moment))
    if not is_dated(pattern) or find_run(path) is not None:
        return ChosenDirectory(path)
    earlier = list(_earlier(namesakes(pattern), job_file.job.job.name))
    if former is not None:
        of_others = _earlier(namesakes(former), job_file.job.job.name)
        earlier += [found for found in of_others if _is_of(found, job_file)]
    _refuse_while_busy(earlier)
    return _among(earlier, path, job_file, input_path)


def _pattern(job_file: JobFile, out: str | None) -> str:
    if out is not None:
        return out
    job = job_file.job
    if job.output.directory is None:
        return str(Path(escaped(str(_shown(job_file.base)))) / "runs" / job.job.name)
    return str(Path(escaped(str(job_file.base))) / job.output.directory)


def _shown(folder: Path) -> Path:
    """A folder as a person names it from here."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _former(job_file: JobFile, out: str | None) -> str | None:
    """Where earlier versions of engager had the default: beside wherever they were called from."""
    if out is not None or job_file.job.output.directory is not None or Path.cwd() == job_file.base:
        return None
    return f"runs/{job_file.job.job.name}"


def _is_of(found: RunDirectory, job_file: JobFile) -> bool:
    """Whether a run of the job's name is one of this job, and not of another file that is there, too."""
    told = found.invocation
    if found.identity.get("job") != {"name": job_file.job.job.name}:
        return False
    if job_file.path is None or told.get("job") is None:
        return told.get("job") is None and told.get("base") in (None, str(job_file.base))
    return told["job"] == str(job_file.path.resolve()) or not Path(told["job"]).exists()


def _refuse_former(former: Path, path: Path, job_file: JobFile, input_path: str | None) -> None:
    """Raises RunDirectoryError where a run is beside the caller that would be missed beside the job."""
    found = None if find_run(path) is not None else find_run(former)
    if found is None or not _is_of(found, job_file):
        return
    raise RunDirectoryError(
        f"{former.absolute()}: a run of this job is there, and the default is beside the job file: {path}. "
        "Nothing was sent. Go on with that run, or begin anew and leave out whom it has reached:\n  "
        f"{command_of(job_file.source, input_path, former.absolute())}\n  "
        f"{command_of(job_file.source, input_path, path, (former.absolute(),))}"
    )


def _earlier(pattern: str, name: str) -> Iterator[RunDirectory]:
    """The latest runs of the job under such names, the latest first."""
    begun = map(Path, iglob(f"{pattern}/run.json"))
    for path in nlargest(LOOKED_AT, begun, key=lambda file: file.stat().st_mtime):
        try:
            found = find_run(path.parent)
        except RunDirectoryError:
            continue  # whoever goes on there is told
        if found is not None and found.identity.get("job") == {"name": name}:
            yield found


def _refuse_while_busy(earlier: Sequence[RunDirectory]) -> None:
    for found in earlier:
        if RunLock.is_held(found.lock_path):
            raise BusyError(
                f"{found.path}: a run of this job is under way there. Wait for it to end: two at once would "
                "be too fast for the endpoint."
            )


def _among(
    earlier: Sequence[RunDirectory], path: Path, job_file: JobFile, input_path: str | None
) -> ChosenDirectory:
    """The new directory, unless one of the earlier runs has the same input."""
    files = known_by(job_file, input_path)
    unfinished = [found for found in earlier if not (found.summary() or {}).get("complete")]
    for found in unfinished:
        if _input(found) == files:
            return _gone_on_with(found, path, job_file, input_path)
    if files and not job_file.job.input.repeat:
        for found in earlier:
            if _input(found) == files and _reached_anybody(found):
                raise _sent_already(found, path, job_file, input_path)
    return ChosenDirectory(path, tuple(map(_left_behind, unfinished[:1])))


def known_by(job_file: JobFile, input_path: str | None) -> Files:
    """What the input is known by; nothing for a stream, which cannot be known before it is read.

    Raises InputError.
    """
    path = input_path or job_file.job.input.path
    if path == STDIN:
        return []
    return input_identity(find_files(path, Path.cwd() if input_path else job_file.base))


def _input(found: RunDirectory) -> Files:
    return found.identity["input"]["files"]  # type: ignore[no-any-return]


def _reached_anybody(found: RunDirectory) -> bool:
    statuses = (found.summary() or {}).get("statuses", {})
    return any(statuses.get(status) for status in (Status.ENGAGED, Status.IN_DOUBT))


def _gone_on_with(
    found: RunDirectory, path: Path, job_file: JobFile, input_path: str | None
) -> ChosenDirectory:
    if _input(found):
        begins = command_of(job_file.source, input_path, path, (found.path,))
        return ChosenDirectory(
            found.path,
            (f"{found.path} is not complete and has the same input: goes on there. Anew: {begins}",),
        )
    raise RunDirectoryError(
        f"{found.path}: it is not complete and reads a stream, too; whether it is this one cannot be known. "
        f"Go on there, or begin anew:\n  {command_of(job_file.source, input_path, found.path)}\n"
        f"  {command_of(job_file.source, input_path, path)}"
    )


def _sent_already(
    found: RunDirectory, path: Path, job_file: JobFile, input_path: str | None
) -> RunDirectoryError:
    return RunDirectoryError(
        f"{found.path}: that run has sent this input already, so nothing was sent. Look whether the input is "
        "a stale one. A job that is to send the same input every time says input.repeat = true; to send it "
        f"again this once:\n  {command_of(job_file.source, input_path, path)}"
    )


def _left_behind(found: RunDirectory) -> str:
    told = found.invocation
    goes_on = command_of(told, told.get("input"), found.path)
    return f"{found.path} is not complete. With the input that it began with, it goes on by: {goes_on}"


def command_of(
    source: Mapping[str, Any],
    input_path: str | None,
    out: Path,
    after: Sequence[Path] = (),
    new_address: bool = False,
) -> str:
    """What to call for a job, an input, a run directory, and the runs whose people are left out."""
    if source["job"] is None:
        runs = f", after={[str(run) for run in after]!r}" if after else ""
        flag = ", new_address=True" if new_address else ""
        return f"engager.run(job, out={escaped(str(out))!r}{runs}{flag})"
    overrides = [part for override in source["overrides"] for part in ("--set", override)]
    given = ["--input", input_path] if input_path else []
    named = ["--out", escaped(str(out))]
    runs_ = [part for run in after for part in ("--after", str(run))]
    moved = ["--new-address"] if new_address else []
    return shlex.join(["engager", "run", source["job"], *overrides, *given, *named, *runs_, *moved])
