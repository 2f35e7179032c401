"""What the endpoint decides of a request and of each of its rows, before a response is written.

Invariant: `rows` has one entry per row of the request, in the order of the request, also if the request is
refused as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SUCCESS = "Successful operation"


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one row."""

    key: str  #: the value by which the profile is matched
    error: int = 0
    error_text: str = SUCCESS
    effect: bool = False  #: a message was sent
    profile_id: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a request."""

    error: int
    error_text: str
    rows: tuple[Row, ...] = ()  #: empty if the method has no rows, or its parameters were not looked at
    data: Any = None
    by_row: bool = False  #: the response reports each row
    profile_id: str | None = None  #: what the response reports of its only profile

    @property
    def key(self) -> str:
        """The key of the only row; empty for several."""
        return self.rows[0].key if len(self.rows) == 1 else ""

    @property
    def effect(self) -> bool:
        """Whether a message was sent."""
        return any(row.effect for row in self.rows)


def refused(error: int, error_text: str, *keys: str) -> Decision:
    """A request that is refused as a whole and had no effect."""
    return Decision(error, error_text, tuple(Row(key, error, error_text) for key in keys))
