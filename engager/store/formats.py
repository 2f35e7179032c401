"""How the files of outcomes look, and where the rows themselves are kept."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from engager.model import Outcome, Status
from engager.store.fields import Redact
from engager.store.lines import LineFormat


class RejectFile(IntEnum):
    """The file that keeps a row which was not engaged."""

    NONE = 0
    FAILED = 1  #: to be mended and sent again
    IN_DOUBT = 2  #: to be looked into


#: Rows that are certainly not engaged may be mended and sent again; those that may be engaged must not be
#: among them.
REJECT_FILE = {
    Status.REJECTED: RejectFile.FAILED,
    Status.FAILED: RejectFile.FAILED,
    Status.INVALID: RejectFile.FAILED,
    Status.IN_DOUBT: RejectFile.IN_DOUBT,
}


class ResultFormat(LineFormat, Protocol):
    """How a line of results looks."""

    name: str

    def line(self, fields: bytes) -> bytes:
        """A line, from its fields as a line of JSON."""
        ...


class RejectFormat(LineFormat, Protocol):
    """How a row looks that is kept to be mended."""

    suffix: str

    def line(self, outcome: Outcome) -> bytes:
        """The row, with the reason."""
        ...


@dataclass(frozen=True, slots=True)
class Formats:
    """How the files look."""

    results: ResultFormat
    reject: RejectFormat
    redact: Redact
