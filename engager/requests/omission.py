"""Leaves out of the data of a profile what comes from an empty cell, and checks the rest.

Invariant: an empty cell never reaches the endpoint as a value, because there it would replace a stored one.
With a value goes everything that says nothing without it: an object or a list that is empty then, a function,
a subscription without what names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

from engager.altcraft.profile_data import ACTION, ANYTHING, Shape
from engager.config.characters import BLANKS


class _Mark(Enum):
    EMPTY = "empty"
    COLUMN = "column"


#: In the place of a value that comes from an empty cell.
EMPTY: Final = _Mark.EMPTY

#: In the place of a value that only a row has, in the outline of a template.
COLUMN: Final = _Mark.COLUMN

#: From the kind of an address, and its text, to the text that is sent.
Clean = Callable[[str, str], str]


class WrongValueError(Exception):
    """A value breaks a rule. Its path consists of keys and indices."""

    def __init__(self, error: str, text: str, *path: str | int) -> None:
        super().__init__(text)
        self.error, self.text, self.path = error, text, path

    def within(self, part: str | int) -> WrongValueError:
        """The same error, seen from the object or the list around it."""
        return WrongValueError(self.error, self.text, part, *self.path)


def marked(value: Any) -> Any:
    """A value of a cell, with a mark in the place of everything that is empty, at any depth."""
    if value is None or value == [] or value == {}:
        return EMPTY
    if isinstance(value, str):
        return value if value.strip(BLANKS) else EMPTY
    if isinstance(value, dict):
        return {key: marked(each) for key, each in value.items()}
    return [marked(each) for each in value] if isinstance(value, list) else value


def completed(value: Any, shape: Shape, clean: Clean) -> Any:
    """A value without what is marked as empty; EMPTY if nothing is left. Raises WrongValueError."""
    if value is EMPTY or value is COLUMN:
        return value
    if isinstance(value, dict):
        return _object(value, shape, clean)
    if shape.person and isinstance(value, str):
        value = clean(shape.person, value)
    if shape.rule is not None and (wrong := shape.rule(value)):
        raise WrongValueError(*wrong)
    return _list(value, shape, clean) if isinstance(value, list) else value


def _object(value: Mapping[str, Any], shape: Shape, clean: Clean) -> Any:
    is_function = shape.takes_functions and ACTION in value
    if not is_function and shape.rule is not None and (wrong := shape.rule(value)):
        raise WrongValueError(*wrong)
    kept = {}
    for key, part in value.items():
        of_part = ANYTHING if is_function else _part(shape, key)
        try:
            filled = completed(part, of_part, clean)
        except WrongValueError as wrong_part:
            raise wrong_part.within(key) from None
        if filled is not EMPTY:
            kept[key] = filled
    says_enough = is_function or _says_enough(shape, kept)
    if len(kept) < len(value) and (is_function or not kept or not says_enough):
        return EMPTY
    if not says_enough:
        raise WrongValueError("malformed", shape.too_little)
    return kept


def _says_enough(shape: Shape, kept: Mapping[str, Any]) -> bool:
    return shape.says_enough is None or shape.says_enough(kept)


def _part(shape: Shape, key: str) -> Shape:
    if (found := shape.parts.get(key, shape.others)) is not None or not shape.parts:
        return found or ANYTHING
    raise WrongValueError("malformed", f"is not a known key; known are {', '.join(shape.parts)}", key)


def _list(value: list[Any], shape: Shape, clean: Clean) -> Any:
    of_item, kept = shape.items or ANYTHING, []
    for index, item in enumerate(value):
        try:
            filled = completed(item, of_item, clean)
        except WrongValueError as wrong:
            raise wrong.within(index) from None
        if filled is not EMPTY:
            kept.append(filled)
    return kept if kept or not value else EMPTY
