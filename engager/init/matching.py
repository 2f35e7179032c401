"""The column by which people are matched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engager.init.columns import WRONG, column_of, compiled_for, rendered
from engager.init.recognition import NAMES, OWN_KEY, fits, hint, plain
from engager.init.sample import InputSample

#: Minimum shares of valid rows for a good key, and for a usable key.
_GOOD, _USABLE = 0.9, 0.5

CUSTOM = "custom"


@dataclass(frozen=True, slots=True)
class MatchingKey:
    """A matching mode, and the column of its field."""

    mode: str
    column: str
    template: str
    fitting: int  #: rows of the sample whose value the endpoint accepts
    hint: int = 0  #: how clearly the name of the column says so


def key_of(sample: InputSample, columns: Sequence[str]) -> MatchingKey:
    """The best key of one or more columns.

    Without an address, a phone or a profile id it is the most likely custom field.
    """
    keys = [key for mode in NAMES for name in columns for key in _keys(mode, name, sample)]
    likely = [key for key in keys if _grade(key, sample) or key.hint]
    if not likely:
        return _own_key(sample, columns)
    modes = list(NAMES)
    return max(
        likely,
        key=lambda k: (_grade(k, sample), k.hint > 0, -modes.index(k.mode), k.hint, k.fitting),
    )


def best_for(mode: str, sample: InputSample, columns: Sequence[str]) -> MatchingKey | None:
    """The column that has the field of a mode in every row in which it is filled; None without one."""
    keys = [
        key
        for name in columns
        for key in _keys(mode, name, sample, (f"{{{name}}}", f"{{{name}|}}", f"{{{name}:str|}}"))
        if _is_whole(key, sample)
    ]
    return max(keys, key=lambda key: (key.hint, key.fitting), default=None)


def _is_whole(key: MatchingKey, sample: InputSample) -> bool:
    values, compiled = sample.values(key.column), compiled_for(key.column, key.template, sample)
    filled = sum(value not in (None, "") for value in values)
    is_rendered = compiled is not None and all(rendered(compiled, row) is not WRONG for row in sample.rows)
    return is_rendered and key.fitting == filled and (filled > 0 or key.hint > 0)


def _grade(key: MatchingKey, sample: InputSample) -> int:
    share = key.fitting / len(sample.rows) if sample.rows else 0.0
    return (share >= _GOOD) + (share >= _USABLE)


def _keys(mode: str, name: str, sample: InputSample, templates: Sequence[str] = ()) -> Iterator[MatchingKey]:
    """A column as the field of a mode: as it is, and as text (a phone may be a number in JSONL)."""
    clarity = hint(mode, name)
    for text in templates or (f"{{{name}}}", f"{{{name}:str}}"):
        if compiled := compiled_for(name, text, sample):
            values = [rendered(compiled, row) for row in sample.rows]
            yield MatchingKey(
                mode, name, text, sum(fits(mode, value, clarity > 0) for value in values), clarity
            )


def _own_key(sample: InputSample, columns: Sequence[str]) -> MatchingKey:
    """A column that identifies people, by its name or by its values."""
    named = [name for name in columns if OWN_KEY.fullmatch(plain(name))]
    name = next((name for name in (*named, *columns) if _is_unique(sample, name)), (named or columns)[0])
    as_number = [f"{{{name}:int}}"] if column_of(sample, name).kind == "int" else []
    keys = _keys(CUSTOM, name, sample, (*as_number, f"{{{name}}}", f"{{{name}:str}}"))
    return max(keys, key=lambda key: key.fitting)


def _is_unique(sample: InputSample, name: str) -> bool:
    values = [value for value in sample.values(name) if isinstance(value, str | int) and value != ""]
    return len(set(values)) == len(sample.rows)
