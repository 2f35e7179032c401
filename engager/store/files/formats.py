"""The formats of the files of outcomes, and which rows are in the rejected-rows files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import IntEnum
from reprlib import Repr
from typing import Any, Final, Protocol

import orjson

from engager.models import Outcome, Status, Unreadable
from engager.reader.outcome_fields import RESULT_COLUMNS, Redact
from engager.reader.outcome_lines import LineFormat

#: Characters that are shown of a row that cannot be written whole.
RAW: Final = 1000

_BRIEF: Final = Repr()
_BRIEF.maxstring = _BRIEF.maxother = 200
_BRIEF.maxlist = _BRIEF.maxdict = 50


class RejectFile(IntEnum):
    """The file of a row that was not engaged."""

    NONE = 0
    FAILED = 1  #: to be corrected and sent again
    IN_DOUBT = 2  #: to be looked into


REJECT_FILES: Final = (RejectFile.FAILED, RejectFile.IN_DOUBT)

#: Rows that are certainly not engaged may be corrected and sent again; those that may be engaged must not be
#: among them.
REJECT_FILE = {
    Status.REJECTED: RejectFile.FAILED,
    Status.FAILED: RejectFile.FAILED,
    Status.INVALID: RejectFile.FAILED,
    Status.IN_DOUBT: RejectFile.IN_DOUBT,
}


class ResultFormat(LineFormat, Protocol):
    """The format of a file of results."""

    name: str

    def line(self, fields: bytes) -> bytes:
        """A line, from its fields as a line of JSON."""
        ...


class RejectFormat(LineFormat, Protocol):
    """The format of a rejected-rows file."""

    suffix: str

    def line(self, outcome: Outcome) -> bytes:
        """The row, with the reason."""
        ...


@dataclass(frozen=True, slots=True)
class Formats:
    """The formats of all files of outcomes."""

    results: ResultFormat
    reject: RejectFormat
    redact: Redact
    columns: Sequence[str] = RESULT_COLUMNS  #: of results

    def result_line(self, fields: dict[str, Any]) -> bytes:
        """The fields of a result as a line of JSON; what no writer takes is replaced in `fields`, too."""
        if self.columns is not RESULT_COLUMNS:
            for name in fields.keys() - self.columns:
                del fields[name]
        try:
            # orjson gives out bytes in blocks far larger than they are: a sum of two is not.
            return orjson.dumps(fields) + b"\n"
        except TypeError:
            fields.update({name: _writable(text) for name, text in fields.items() if isinstance(text, str)})
            return orjson.dumps(fields) + b"\n"

    def reject_line(self, outcome: Outcome) -> bytes:
        """The row with the reason; of a row that cannot be written, its beginning."""
        with suppress(Exception):  # whatever a row's values make a writer raise must not cost the other rows
            return self.reject.line(outcome)
        row = outcome.row
        shown = row.raw if isinstance(row, Unreadable) else _BRIEF.repr(row.values)
        error = str(outcome.error)
        beginning = Unreadable(row.number, row.line, row.source, error, "", _writable(shown)[:RAW])
        text = outcome.error_text and _writable(outcome.error_text)
        return self.reject.line(replace(outcome, row=beginning, error_text=text))


def _writable(text: str) -> str:
    """The text without halves of surrogate pairs, which no writer takes."""
    return text.encode(errors="replace").decode()
