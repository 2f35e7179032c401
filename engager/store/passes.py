"""Another pass over rows that were not engaged: their lines are set aside, and the rows become due again.

Their previous outcomes remain in `results.1.jsonl` and so on. Invariant: a kill at any moment loses nothing,
as the intent is written first, and carried out again from the files that were set aside.
"""

from __future__ import annotations

import os
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import orjson

from engager.errors import RunDirectoryError
from engager.models import AttemptHistory, Status
from engager.store.clock import this_moment
from engager.store.disk import read_file
from engager.store.files.formats import Formats
from engager.store.files.repair import rewrite
from engager.store.files.result_files import ResultFiles
from engager.store.frames import OpenRequest
from engager.store.row_states import AGAIN, AGAIN_IN_DOUBT, FAILED, IN_DOUBT, VERSIONS
from engager.store.run_directory import RunDirectory, write_whole
from engager.store.state import RunState, Unwritten
from engager.store.tally import Tally

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
    number = before.number + 1 if before else 1
    try:
        asked = Pass(number, tuple(map(str, statuses)), rows=rows, keys=keys)
        write_whole(run.path / "pass.json", asdict(asked))
    except OSError as fault:
        raise RunDirectoryError(f"{run.path}: another pass cannot begin: {fault.strerror}.") from fault
    run.reopen()


def open_again(asked: Pass, state: RunState, files: ResultFiles, formats: Formats) -> None:
    """Make the rows due, and remove them from files and statistics: in memory, until the next snapshot."""
    tally, takes = Tally(), _chooser(asked)

    def stays(row: int, fields: dict[str, Any]) -> bool:
        try:
            again = takes(row, Status(fields["status"])) and _reopen(state, row)
            if not again:
                tally.count([fields])
        except (KeyError, ValueError, TypeError):
            return False
        return not again

    state.open.clear()
    state.last_row, end = 0, state.rows.end
    results = _set_aside(files.results.path, asked)
    left = rewrite(results, files.results.path, formats.results, stays, end)
    files.results.replaced(left.count(1))
    for file in (files.failed, files.in_doubt):
        if (old := _set_aside(file.path, asked)).exists():
            still = rewrite(old, file.path, formats.reject, lambda row, _: left[row] == 1, end)
            file.replaced(still.count(1))
    _reopen_batches(results, state, asked, formats)
    # The attempts were made, and still count.
    tally.attempts, tally.requests = state.tally.attempts, state.tally.requests
    state.tally, state.passes, state.unwritten = tally, asked.number, Unwritten()


def _reopen_batches(results: Path, state: RunState, asked: Pass, formats: Formats) -> None:
    """Open the batches in doubt, so that each is sent again as it was."""
    if Status.IN_DOUBT not in asked.statuses:
        return
    lines = partial(formats.results.whole_lines, results)
    for first, last in _batches_in_doubt(lambda: (line[1] for line in lines()), _chooser(asked)):
        version = state.rows[first] & VERSIONS
        history = AttemptHistory(0, version, this_moment(0).boot, in_doubt=True, forced=True)
        state.open_request(OpenRequest(first, last, history, in_flight=False))


def _batches_in_doubt(
    lines: Callable[[], Iterable[dict[str, Any]]], takes: Callable[[int, Status], bool]
) -> list[tuple[int, int]]:
    """The first and the last row of each batch of which every row is sent again: as it was.

    A batch whose response settled some of its rows is not, nor one of which some rows are not chosen: these
    would be engaged twice.
    """
    ends: dict[str, tuple[int, int]] = {}
    members: Counter[str] = Counter()
    for fields in lines():
        row = int(fields["row"])
        if (
            fields["status"] == Status.IN_DOUBT
            and takes(row, Status.IN_DOUBT)
            and (request_id := fields["request_id"])
        ):
            first, last = ends.get(request_id, (row, row))
            ends[request_id] = min(first, row), max(last, row)
            members[request_id] += 1
    ends = {request_id: one for request_id, one in ends.items() if one[1] > one[0]}
    if not ends:
        return []
    unsent: list[int] = []
    for fields in lines():
        if fields["status"] in _UNSENT:
            unsent.append(int(fields["row"]))
        elif fields["status"] != Status.IN_DOUBT or not takes(int(fields["row"]), Status.IN_DOUBT):
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


def _chooser(asked: Pass) -> Callable[[int, Status], bool]:
    """Whether a pass sends a row with this status again."""
    statuses = frozenset(asked.statuses)
    if asked.rows is None:
        return lambda row, status: status in statuses
    chosen = frozenset(asked.rows)
    return lambda row, status: status in statuses and (status is not Status.IN_DOUBT or row in chosen)


def _reopen(state: RunState, row: int) -> bool:
    """Make a row due."""
    code = state.rows[row]
    form, version = code & ~VERSIONS, code & VERSIONS
    if form not in (FAILED, IN_DOUBT):
        return False
    state.rows.store(row, (AGAIN if form == FAILED else AGAIN_IN_DOUBT) + version)
    return True


def _set_aside(path: Path, asked: Pass) -> Path:
    """The file as it was before the pass, under its own name; also if the pass is carried out again."""
    old = path.with_name(f"{path.stem}.{asked.number}{path.suffix}")
    if path.exists() and not old.exists():
        os.link(path, old)
    return old
