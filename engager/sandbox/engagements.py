"""The engagements of people in scenarios, and what forbids a further one."""

from __future__ import annotations

from collections import Counter
from typing import Any

from engager.sandbox.config import Scenario


class Engagements:
    """The people of each scenario, and the messages that they got."""

    def __init__(self) -> None:
        self.effects: Counter[str] = Counter()
        self.contents: dict[str, Any] = {}  #: the content of a person's latest message by an import
        self._count = 0  #: the sum of the effects, which is too slow to add up for every request
        self._entered: set[tuple[int, str]] = set()

    def exhausted(self, tariff_limit: int | None) -> tuple[int, str] | None:
        """The error if no further person may be engaged."""
        if tariff_limit is not None and self._count >= tariff_limit:
            return 402, "Tariff limit reached"
        return None

    def refusal(self, scenario: Scenario, who: str, tariff_limit: int | None) -> tuple[int, str] | None:
        """The error if this person may not be engaged."""
        if not scenario.reentry and (scenario.id, who) in self._entered:
            return 400, "Profile is in the workflow already"
        return self.exhausted(tariff_limit)

    def add(self, scenario: Scenario, who: str) -> None:
        """Engage a person."""
        self._entered.add((scenario.id, who))
        self.effects[who] += 1
        self._count += 1

    def copy(self) -> Engagements:
        """The same engagements, for a rehearsal."""
        made = Engagements()
        made.effects, made.contents = self.effects.copy(), self.contents.copy()
        made._count, made._entered = self._count, self._entered.copy()
        return made
