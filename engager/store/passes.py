"""Another pass over rows that were not engaged: their lines are set aside, and the rows become due again.

Their previous outcomes remain in `results.1.jsonl` and so on, which have no line of another row. Invariant:
a kill at any moment loses nothing, as the intent is written first and can be carried out again: the journal
says which rows are due, and each line is in its file or set aside.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import orjson

from engager.errors import RunDirectoryError
from engager.models import AttemptHistory, Status
from engager.store.clock import this_moment
from engager.store.disk import read_file
from engager.store.files.formats import Formats
from engager.store.files.repair import move_lines
from engager.store.files.result_files import ResultFiles
from engager.store.frames import OpenRequest
from engager.store.row_states import AGAIN, AGAIN_IN_DOUBT, FAILED, IN_DOUBT, VERSIONS
from engager.store.run_directory import RunDirectory, write_whole
from engager.store.state import RunState, Unwritten
from engager.store.tally import Recount

#: The forms of rows before a pass, by the status, and in it.
_FORMS = {Status.FAILED: (FAILED, AGAIN), Status.IN_DOUBT: (IN_DOUBT, AGAIN_IN_DOUBT)}

#: The status of a row that is in no request.
_UNSENT = frozenset({Status.INVALID, Status.SKIPPED})


class Chooser(Protocol):
    """Chooses rows of a run for a pass."""

    def rows_of(self, found: RunDirectory, statuses: frozenset[Status]) -> Sequence[int]:
        """The chosen rows with these statuses. Raises InputError."""
        ...

    def digest_for(self, found: RunDirectory) -> str:
        """Equal for every chooser that chooses the same rows of a run."""
        ...


@dataclass(frozen=True, slots=True)
class Pass:
    """The intent to send rows again."""

    number: int  #: 1 = the first pass after the run itself
    statuses: tuple[str, ...]
    done: bool = False  #: the rows are due; the journal says whether they were sent
    rows: tuple[int, ...] | None = None  #: the in-doubt rows that it sends again; None = all of them
    keys: str | None = None  #: a digest of the keys by which these were chosen


def latest(run: RunDirectory) -> Pass | None:
    """The latest requested pass."""
    try:
        facts = orjson.loads(read_file(run.path / "pass.json"))
    except FileNotFoundError:
        return None
    rows, keys = facts.get("rows"), facts.get("keys")
    return Pass(
        facts["number"], tuple(facts["statuses"]), facts["done"], None if rows is None else tuple(rows), keys
    )


def begun(run: RunDirectory) -> Pass | None:
    """A pass whose rows are not due yet."""
    found = latest(run)
    return None if found is None or found.done else found


def set_aside(run: RunDirectory) -> list[Path]:
    """The results that each pass has set aside, also of one whose rows are not due yet."""
    asked = latest(run)
    return [_aside(run.results_path, number) for number in range(1, asked.number + 1 if asked else 1)]


def ask_for(
    run: RunDirectory,
    statuses: Collection[Status],
    chooser: Chooser | None = None,
) -> None:
    """Store the intent: the process that resumes the run carries it out.

    Args:
        run: a complete run, under its lock.
        statuses: the statuses of the rows that are sent again.
        chooser: chooses the in-doubt rows that are; None = all of them.

    Raises:
        InputError, RunDirectoryError.

    """
    rows = keys = None
    if chooser is not None:
        rows, keys = tuple(chooser.rows_of(run, frozenset(statuses))), chooser.digest_for(run)
    before = latest(run)
    number = before.number if before else 0
    if before is None or before.done:  # otherwise a kill came before anything was done about it
        number += 1
    try:
        asked = Pass(number, tuple(map(str, statuses)), rows=rows, keys=keys)
        write_whole(run.path / "pass.json", asdict(asked))
    except OSError as fault:
        raise RunDirectoryError(f"{run.path}: another pass cannot begin: {fault.strerror}.") from fault
    run.reopen()


def open_again(asked: Pass, state: RunState, files: ResultFiles, formats: Formats) -> None:
    """Make the rows due, and set their lines aside: in memory, until the next snapshot.

    The files are written anew, because no file system removes lines from the middle of one. That takes the
    time to read and write the results, and their size on the disk once more until it is done.
    """
    recount = Recount()
    due = _made_due(asked, state)
    state.open.clear()
    state.last_row, aside = 0, _aside(files.results.path, asked.number)
    left = move_lines(files.results.path, aside, formats.results, due, lambda _, line: recount.add(line))
    files.results.replaced(left.count(1))
    for file in (files.failed, files.in_doubt):
        if file.path.exists():
            aside = _aside(file.path, asked.number)
            still = move_lines(file.path, aside, formats.reject, due, lambda row, _: left[row] == 1)
            file.replaced(still.count(1))
    _reopen_batches(files, state, asked, formats)
    tally = recount.tally
    # The attempts were made, and still count.
    tally.attempts, tally.requests = state.tally.attempts, state.tally.requests
    state.tally, state.passes, state.unwritten = tally, asked.number, Unwritten()


def _made_due(asked: Pass, state: RunState) -> bytearray:
    """Make the rows of a pass due; returns which, a byte a row."""
    statuses = set(asked.statuses) - ({Status.IN_DOUBT} if asked.rows is not None else set())
    due = state.rows.change(dict(forms for status, forms in _FORMS.items() if status in statuses))
    for row in asked.rows or () if Status.IN_DOUBT in asked.statuses else ():
        code = state.rows[row]
        if code & ~VERSIONS == IN_DOUBT:
            state.rows.store(row, AGAIN_IN_DOUBT + (code & VERSIONS))
            due[row] = 1
    return due


def _reopen_batches(files: ResultFiles, state: RunState, asked: Pass, formats: Formats) -> None:
    """Open the batches in doubt, so that each is sent again as it was."""
    if Status.IN_DOUBT not in asked.statuses:
        return
    due, other = (
        (line[1] for line in formats.results.whole_lines(path))
        for path in (_aside(files.results.path, asked.number), files.results.path)
    )
    for first, last in _batches_in_doubt(due, other):
        version = state.rows[first] & VERSIONS
        history = AttemptHistory(0, version, this_moment(0).boot, in_doubt=True, forced=True)
        state.open_request(OpenRequest(first, last, history, in_flight=False))


def _batches_in_doubt(
    due: Iterable[dict[str, Any]], other: Iterable[dict[str, Any]]
) -> list[tuple[int, int]]:
    """The first and the last row of each batch of which every row is due and in doubt: it is sent as it was.

    A batch whose response settled some of its rows is not, nor one of which some rows are not chosen: these
    would be engaged twice.

    Args:
        due: the previous outcomes of the due rows.
        other: the outcomes of all other rows; they are read only if there are such batches.

    """
    ends: dict[str, tuple[int, int]] = {}
    members: Counter[str] = Counter()
    settled: list[dict[str, Any]] = []
    for fields in due:
        if fields["status"] != Status.IN_DOUBT:
            settled.append(fields)
        elif request_id := fields["request_id"]:
            row = int(fields["row"])
            first, last = ends.get(request_id, (row, row))
            ends[request_id] = min(first, row), max(last, row)
            members[request_id] += 1
    ends = {request_id: one for request_id, one in ends.items() if one[1] > one[0]}
    if not ends:
        return []
    unsent: list[int] = []
    for fields in chain(settled, other):
        if fields["status"] in _UNSENT:
            unsent.append(int(fields["row"]))
        else:
            ends.pop(fields["request_id"], None)
    unsent.sort()
    # The rows between its ends, but for those in no request. Others were sent again in another one.
    return [
        (first, last)
        for request_id, (first, last) in ends.items()
        if members[request_id] + bisect(unsent, last) - bisect(unsent, first) == last - first + 1
    ]


def finish(run: RunDirectory, asked: Pass) -> None:
    """Note that the rows are due. Raises OSError."""
    write_whole(run.path / "pass.json", asdict(replace(asked, done=True)))


def _aside(path: Path, number: int) -> Path:
    """Where a pass sets lines of a file aside."""
    return path.with_name(f"{path.stem}.{number}{path.suffix}")
