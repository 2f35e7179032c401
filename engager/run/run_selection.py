"""Chooses the run directory of a start: a new one, or the one of an incomplete run with the same input.

Invariant: no input is sent twice because a name with a date changes at midnight: the same job with the same
input resumes the earlier run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from glob import iglob
from heapq import nlargest
from itertools import takewhile
from pathlib import Path

from engager.config.commands import command_of
from engager.config.job import JobFile
from engager.config.placeholders import NamingError, escaped, expanded, is_dated, namesakes
from engager.config.sanitize import name_fault
from engager.errors import BusyError, InputError, JobError, RunDirectoryError, UnsettledRunError
from engager.models import REACHED
from engager.reader.identity import Files, input_identity
from engager.reader.sources import STDIN, find_files
from engager.run.opening_input import moment_of_name, place_of_input
from engager.run.unsettled import give_up, is_unsettled, what_is_left
from engager.store.files.kept_input import kept_input
from engager.store.lock import RunLock
from engager.store.run_directory import RunDirectory, find_run
from engager.store.status import read_status

#: The latest runs of a name that are compared, at most.
LOOKED_AT = 100

#: For names that do not depend on the moment.
_NO_TIME = datetime(2000, 1, 1)


@dataclass(frozen=True, slots=True)
class ChosenDirectory:
    """The run directory of a start."""

    path: Path
    started_at: float  #: when a run begins that begins there, in seconds since the epoch
    warnings: tuple[str, ...] = ()


@contextmanager
def choose_directory(
    job_file: JobFile,
    out: str | None,
    input_path: str | None,
    after: Sequence[str] = (),
    given_up: Sequence[str] = (),
) -> Iterator[ChosenDirectory]:
    """The run directory that `out` names, else the job, at this moment: for a start to begin in.

    Where a name has a date, one start at a time chooses and begins: on either side of midnight two could
    begin with one input. The call is `after` earlier runs, which every command that an error names keeps;
    runs that are `given_up` are not to be finished. Raises JobError, InputError,
    BusyError where another start takes too long or a namesake is under way, UnsettledRunError where one is
    not settled and has another input, and RunDirectoryError where one has sent this input already.
    """
    pattern = _pattern(job_file, out)
    if fault := name_fault(pattern):
        raise JobError(f"--out {fault}")
    if out is None and input_path is None and (fault := job_file.undated_directory) is not None:
        raise JobError(fault)
    former = _former(job_file, out)
    try:
        turn = _turn(pattern) if is_dated(pattern) else nullcontext()
    except NamingError as fault:
        raise JobError(f"--out {out}: {fault}.") from None
    with turn:
        give_up([Path(run) for run in given_up], job_file.job.job.name)
        now = time.time()
        moment = moment_of_name(job_file, now)
        if former is not None and not is_dated(pattern):
            _refuse_former(
                Path(expanded(former, moment)), Path(expanded(pattern, moment)), job_file, input_path, after
            )
        yield _at(now, pattern, job_file, input_path, after, former)


@contextmanager
def _turn(pattern: str) -> Iterator[None]:
    parts = takewhile(lambda part: not is_dated(part), Path(pattern).parts)
    folder = Path(expanded(str(Path(*parts)), _NO_TIME))
    folder.mkdir(parents=True, exist_ok=True)
    turn = RunLock.acquire(folder / ".engager.lock")
    try:
        yield
    finally:
        turn.release()


def _at(
    now: float,
    pattern: str,
    job_file: JobFile,
    input_path: str | None,
    after: Sequence[str],
    former: str | None,
) -> ChosenDirectory:
    path = Path(expanded(pattern, moment_of_name(job_file, now)))
    if not is_dated(pattern) or find_run(path) is not None:
        return ChosenDirectory(path, now)
    earlier = list(_earlier(namesakes(pattern), job_file.job.job.name))
    if former is not None:
        of_others = _earlier(namesakes(former), job_file.job.job.name)
        earlier += [found for found in of_others if _is_of(found, job_file)]
    _refuse_while_busy(earlier)
    return _among(earlier, ChosenDirectory(path, now), job_file, input_path, after)


def _pattern(job_file: JobFile, out: str | None) -> str:
    if out is not None:
        return out
    job = job_file.job
    if job.output.directory is None:
        return str(Path(escaped(str(_shown(job_file.base)))) / "runs" / job.job.name)
    return str(Path(escaped(str(job_file.base))) / job.output.directory)


def _shown(folder: Path) -> Path:
    """A folder as it is named from the working directory."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _former(job_file: JobFile, out: str | None) -> str | None:
    """The default of earlier versions of engager: in the working directory."""
    if out is not None or job_file.job.output.directory is not None or Path.cwd() == job_file.base:
        return None
    return f"runs/{job_file.job.job.name}"


def _is_of(found: RunDirectory, job_file: JobFile) -> bool:
    """Whether a run with the name of the job is a run of this job file, and not of another one."""
    call = found.invocation
    if found.identity.get("job") != {"name": job_file.job.job.name}:
        return False
    if job_file.path is None or call.get("job") is None:
        return call.get("job") is None and call.get("base") in (None, str(job_file.base))
    return call["job"] == str(job_file.path.resolve()) or not Path(call["job"]).exists()


def _refuse_former(
    former: Path, path: Path, job_file: JobFile, input_path: str | None, after: Sequence[str]
) -> None:
    """Raises RunDirectoryError if there is a run in the working directory but none beside the job."""
    found = None if find_run(path) is not None else find_run(former)
    if found is None or not _is_of(found, job_file):
        return
    raise RunDirectoryError(
        f"{former.absolute()}: a run of this job is there, but the default is beside the job file: {path}. "
        "Nothing was sent. Resume that run, or begin a new one without the people that it has reached:\n  "
        f"{command_of(job_file.source, input_path, former.absolute(), all_after(after))}\n  "
        f"{command_of(job_file.source, input_path, path, (*all_after(after), former.absolute()))}"
    )


def _earlier(pattern: str, name: str) -> Iterator[RunDirectory]:
    """Yields the latest runs of the job with such names, the latest first."""
    begun = map(Path, iglob(f"{pattern}/run.json"))
    for path in nlargest(LOOKED_AT, begun, key=lambda file: file.stat().st_mtime):
        try:
            found = find_run(path.parent)
        except RunDirectoryError:
            continue  # a start in that directory reports it
        if found is not None and found.identity.get("job") == {"name": name}:
            yield found


def _refuse_while_busy(earlier: Sequence[RunDirectory]) -> None:
    for found in earlier:
        if RunLock.is_held(found.lock_path):
            raise BusyError(
                f"{found.path}: a run of this job is in progress there. Wait for its end: two at once would "
                "exceed the rate limit."
            )


def _among(
    earlier: Sequence[RunDirectory],
    new: ChosenDirectory,
    job_file: JobFile,
    input_path: str | None,
    after: Sequence[str],
) -> ChosenDirectory:
    """The new directory, unless one of the earlier runs has the same input."""
    unsettled, path = [found for found in earlier if is_unsettled(found)], new.path
    try:
        files = input_files(job_file, input_path, new.started_at)
    except InputError:
        if input_path is None and (own := _with_own_input(unsettled, job_file)) is not None:
            text = f"{own.path} is not complete, and this date has no input yet: that run is resumed"
            return ChosenDirectory(own.path, new.started_at, (text,))
        raise
    for found in unsettled:
        if _input(found) == files:
            return _gone_on_with(found, new, job_file, input_path, after)
    if unsettled:
        raise _not_settled(unsettled, path, job_file, input_path, after)
    if files and not job_file.job.input.repeat:
        for found in earlier:
            if _input(found) == files and _reached_anybody(found):
                raise _sent_already(found, path, job_file, input_path, after)
    return new


def _with_own_input(unsettled: Sequence[RunDirectory], job_file: JobFile) -> RunDirectory | None:
    """The latest run whose input has the date of that run, and is as it was when the run began."""
    for found in unsettled if is_dated(job_file.job.input.path) else ():
        with suppress(InputError):
            if _input(found) == input_files(job_file, None, found.started_at):
                return found
    return None


def input_files(job_file: JobFile, input_path: str | None, started_at: float) -> Files:
    """The identity of the input of a run that started then.

    It is empty for a stream, which cannot be identified before it is read. Raises InputError.
    """
    path, base = place_of_input(job_file, input_path, started_at)
    return [] if path == STDIN else input_identity(find_files(path, base))


def _input(found: RunDirectory) -> Files:
    return found.identity["input"]["files"]  # type: ignore[no-any-return]


def _reached_anybody(found: RunDirectory) -> bool:
    facts = read_status(found)
    return any(facts["statuses"][status] for status in REACHED) or facts["open"] > 0


def _gone_on_with(
    found: RunDirectory,
    new: ChosenDirectory,
    job_file: JobFile,
    input_path: str | None,
    after: Sequence[str],
) -> ChosenDirectory:
    path = new.path
    if _input(found):
        begins = command_of(job_file.source, input_path, path, (*all_after(after), found.path))
        return ChosenDirectory(
            found.path,
            new.started_at,
            (f"{found.path} is not complete and has the same input: it is resumed. For a new run: {begins}",),
        )
    raise RunDirectoryError(
        f"{found.path}: it is not complete and reads a stream, too; whether it is this one cannot be known. "
        "Resume that run, or begin a new one:\n  "
        f"{command_of(job_file.source, input_path, found.path, all_after(after))}\n  "
        f"{command_of(job_file.source, input_path, path, all_after(after, found), (found.path,))}"
    )


def _sent_already(
    found: RunDirectory, path: Path, job_file: JobFile, input_path: str | None, after: Sequence[str]
) -> RunDirectoryError:
    return RunDirectoryError(
        f"{found.path}: that run has sent this input already, so nothing was sent. Check whether it is "
        "outdated. For a job that sends the same input every time, set input.repeat = true. To send it "
        f"again once:\n  {command_of(job_file.source, input_path, path, all_after(after, found))}"
    )


def _not_settled(
    unsettled: Sequence[RunDirectory],
    path: Path,
    job_file: JobFile,
    input_path: str | None,
    after: Sequence[str],
) -> UnsettledRunError:
    reasons = [f"{found.path} is not settled: {what_is_left(found)}" for found in unsettled]
    finish = [command_of(found.invocation, found.input_path, found.path) for found in unsettled]
    given_up = tuple(found.path for found in unsettled)
    gives_up = command_of(job_file.source, input_path, path, all_after(after, *unsettled), given_up)
    own = (
        "the input that it began with" if kept_input(unsettled[0].path) is None else "the input that it keeps"
    )
    advice = "\n  ".join((f"Nothing was sent. With {own}, it goes on by:", *finish))
    return UnsettledRunError(
        unsettled[0].path,
        "; ".join(reasons),
        f"{advice}\nThis gives it up and sends the new input (--after excludes people that it reached):\n  "
        f"{gives_up}",
    )


def all_after(after: Sequence[str], *runs: RunDirectory) -> tuple[Path, ...]:
    """The earlier runs of a call, and those of runs that are not named by the command itself."""
    return tuple(dict.fromkeys([*map(Path, after), *(before for run in runs for before in run.after)]))
