"""How the files of outcomes look, and where the rows themselves are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from engager.ledger.fields import Redact
from engager.ledger.journal import Mend
from engager.ledger.lines import LineFormat
from engager.model import Outcome, Status

#: Rows that are certainly not engaged may be mended and sent again; those that may be engaged must not be
#: among them.
MENDED_IN = {
    Status.REJECTED: Mend.FAILED,
    Status.FAILED: Mend.FAILED,
    Status.INVALID: Mend.FAILED,
    Status.IN_DOUBT: Mend.IN_DOUBT,
}


class ResultFormat(LineFormat, Protocol):
    """How a line of results looks."""

    name: str

    def line(self, fields: bytes) -> bytes:
        """A line, from its fields as a line of JSON."""
        ...


class MendFormat(LineFormat, Protocol):
    """How a row looks that is kept to be mended."""

    suffix: str

    def line(self, outcome: Outcome) -> bytes:
        """The row, with the reason."""
        ...


@dataclass(frozen=True, slots=True)
class Formats:
    """How the files look."""

    results: ResultFormat
    mend: MendFormat
    redact: Redact
