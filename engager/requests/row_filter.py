"""Decides by the values of columns whether a row is left out: the rule `input.filter`.

Invariant: a row that does not say that it is wanted is left out, also if it lacks the column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engager.config.characters import BLANKS
from engager.errors import ParameterError
from engager.models import Values
from engager.requests.template import Columns, names_nearest

#: The code of rows that are skipped.
FILTERED = "filtered"


class RowFilter:
    """The values that the columns of a row must have: of every column one."""

    def __init__(
        self, wanted: Mapping[str, Sequence[Any]], columns: Columns, empty: frozenset[str] = frozenset()
    ) -> None:
        """`empty`: texts that mean an empty value. Raises ParameterError for a column that is not there."""
        self.columns = frozenset(wanted)
        self._empty = empty
        self._wanted = [
            (column, _place(column, columns), frozenset(map(self._text, values)))
            for column, values in wanted.items()
        ]

    def missed_by(self, values: Values) -> str | None:
        """The first column of a row that has none of the wanted values; None if the row is wanted."""
        for column, place, wanted in self._wanted:
            # A row of a table has as many values as columns, an object may lack the key.
            value = values.get(column) if isinstance(values, Mapping) else values[place]
            if self._text(value) not in wanted:
                return column
        return None

    def _text(self, value: Any) -> str | None:
        """A value as it is compared; None is like nothing, and so is a list or an object."""
        if isinstance(value, str):
            bare = value.strip(BLANKS)
            return "" if bare in self._empty else bare
        if isinstance(value, bool):
            return str(value).lower()
        return "" if value is None else f"{value}" if isinstance(value, int | float) else None


def _place(column: str, columns: Columns) -> int:
    """The index of a column in the rows of a table."""
    if columns is None:
        return 0
    if columns.count(column) > 1:
        raise ParameterError(f"input.filter.{column}", "the input has several columns of this name")
    if column not in columns:
        raise ParameterError(
            f"input.filter.{column}", f"the input has no such column; {names_nearest(column, columns)}"
        )
    return columns.index(column)
