"""The rows that a pass sends again, chosen by keys: a person has looked the in-doubt rows up.

Invariant: no key is ignored. One that chooses no row is refused, because its person would be forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from itertools import islice

from engager.errors import InputError
from engager.models import Status
from engager.reader.results import results_of
from engager.run.operator.finding import KeyForms
from engager.store.run_directory import RunDirectory

#: Keys that a message shows.
_SHOWN = 3


class ChosenKeys:
    """Keys of people who certainly have no message."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = list(keys)

    def digest_for(self, found: RunDirectory) -> str:
        """What is equal for two lists that mean the same people of a run."""
        forms = KeyForms(found)
        texts = sorted(set().union(*map(forms.of_given, self._keys)))
        return blake2b("\n".join(texts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    def rows_of(self, found: RunDirectory, statuses: frozenset[Status]) -> list[int]:
        """The rows of a complete run with these keys and statuses. Raises InputError."""
        forms = KeyForms(found)
        given = {key: wanted for key in self._keys if (wanted := forms.of_given(key))}
        by_form = {form: key for key, wanted in given.items() for form in wanted}
        rows, unused = list[int](), set(given)
        for line in results_of(found.results_path):
            if line.status in statuses and line.key is not None:
                matched = [by_form[form] for form in forms.of_stored(line.key) if form in by_form]
                unused.difference_update(matched)
                if matched:
                    rows.append(line.row)
        _refuse_unused(found, given, unused)
        return rows


def _refuse_unused(found: RunDirectory, given: Iterable[str], unused: set[str]) -> None:
    if unused or not given:
        shown = islice((key.strip()[:60] for key in given if key in unused), _SHOWN)
        some = ", ".join(map(repr, shown)) + (", …" if len(unused) > _SHOWN else "")
        what = (
            f"{len(unused):,} keys are of no row that is in doubt or failed: {some}" if unused else "no key"
        )
        raise InputError(
            f"{found.path}: {what}. Nothing was sent. Give the keys of the in-doubt rows that are to be sent "
            f"again, one per line; this prints them all: engager find {found.path} --status in_doubt --keys"
        )
