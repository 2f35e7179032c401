"""Damaged result files made whole: which lines are left, and which rows lack one until it is restored."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any

import orjson

from engager.models import Status
from engager.store.files.formats import REJECT_FILE, Formats, RejectFile
from engager.store.files.repair import keep_only
from engager.store.files.result_files import ResultFiles
from engager.store.row_states import LOST, STATUS_OF, VERSIONS, code_of
from engager.store.state import RunState, Unwritten
from engager.store.tally import Tally


@dataclass(slots=True)
class MissingLines:
    """Which rows have a line in files that were repaired, a byte a row. None: no file was."""

    results: bytearray | None = None
    rejected: dict[int, bytearray] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.results is not None

    def lacks(self, row: int, reject: int = RejectFile.NONE) -> bool:
        """Whether a settled row lacks its line of results, or in the reject file that it belongs to."""
        return self.results is not None and (
            not _has(self.results, row) or (bool(reject) and not _has(self.rejected[reject], row))
        )

    def lacks_rejected(self, row: int, reject: int) -> bool:
        """Whether it lacks the line in its reject file."""
        return self.results is not None and not _has(self.rejected[reject], row)

    def without_known(self, lines: Unwritten) -> Unwritten:
        """Those lines that the files lack; from now on they count as written."""
        assert self.results is not None  # noqa: S101 - only asked of repaired files
        results = [line for line in lines.results if _add(self.results, orjson.loads(line)["row"])]
        return Unwritten(results, [one for one in lines.rejected if _add(self.rejected[one[1]], one[0])])


def _has(lines: bytearray, row: int) -> bool:
    return lines[row : row + 1] == b"\1"


def _add(lines: bytearray, row: int) -> bool:
    """Note that a row has a line; False where it had one."""
    lines.extend(bytes(max(0, row + 1 - len(lines))))
    had, lines[row] = lines[row], 1
    return not had


def add_up(files: ResultFiles, state: RunState) -> bool:
    """Whether each settled row has its lines, by the account, the files and what is not written yet."""
    unwritten = [file for _, file, _ in state.unwritten.rejected]
    statuses = state.tally.statuses
    return state.rows.count_statuses() == +statuses and all(
        files.of(each).lines + unwritten.count(each)
        == sum(statuses[status] for status, file in REJECT_FILE.items() if file is each)
        for each in (RejectFile.FAILED, RejectFile.IN_DOUBT)
    )


def repaired(files: ResultFiles, state: RunState, formats: Formats, trusted: bool) -> MissingLines:
    """Keep of the files what is whole, and count the account anew.

    `trusted`: the files are as they were left, and so their lines speak for rows of which the journal lost
    what it knew.
    """
    fresh, end = Tally(), max(state.rows.end, state.last_row + 1)

    def wanted(row: int, fields: dict[str, Any]) -> bool:
        try:
            if not _agrees(state, row, Status(fields["status"]), trusted):
                return False
            fresh.count([fields])
        except (KeyError, ValueError, TypeError):
            return False
        return True

    def belongs(file: int, row: int, fields: dict[str, Any]) -> bool:
        status = STATUS_OF[state.rows[row]]
        return status is not None and REJECT_FILE.get(status) == file

    path = files.results.path
    missing = MissingLines(keep_only(path, path, formats.results, wanted, end))
    for file in (RejectFile.FAILED, RejectFile.IN_DOUBT):
        path = files.of(file).path
        missing.rejected[file] = keep_only(path, path, formats.reject, partial(belongs, file), end)
        files.of(file).replaced(missing.rejected[file].count(1))
    assert missing.results is not None  # noqa: S101 - made above
    files.results.replaced(missing.results.count(1))
    state.unwritten = missing.without_known(state.unwritten)
    fresh.count([orjson.loads(line) for line in state.unwritten.results])
    state.tally = fresh
    return missing


def _agrees(state: RunState, row: int, status: Status, trusted: bool) -> bool:
    """Whether a line is of a settled row; where the journal lost the row, the line may settle it."""
    code = state.rows[row]
    if STATUS_OF[code] is not None:
        return True
    is_lost = code & ~VERSIONS == LOST or row in state.open
    if is_lost and trusted:
        state.rows.store(row, code_of(status, VERSIONS))
        state.forget(row)
        return True
    if not code and row not in state.open:
        # A line is only written of a row that was settled: an attempt may have left at any time.
        state.rows.store(row, LOST)
        state.lost_since = -inf
    return False
