"""The import methods: they create or update profiles and engage them, one by one or in batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from engager.sandbox.config import Assumptions, SandboxConfig, Scenario
from engager.sandbox.decisions import SUCCESS, Decision, Row, refused
from engager.sandbox.engagements import Engagements
from engager.sandbox.faults import ItemFault, ItemFaults
from engager.sandbox.import_rules import (
    person_of,
    usable,
    wrong_with_batch,
    wrong_with_import,
    wrong_with_item,
    wrong_with_match,
    wrong_with_task_status,
)
from engager.sandbox.profiles import Profiles, key_of

IMPORT = "workflows/import_and_start"
BATCH = f"{IMPORT}_batch"
TASK = f"{IMPORT}_batch_task"

_FAULT_TEXTS = {400: "Incorrect request", 429: "Too many requests", 500: "Internal error", 503: "Unavailable"}


def keys_of(method: str, fields: Mapping[str, Any], assumed: Assumptions) -> list[str]:
    """The keys of the rows of a request, whether or not it is valid."""
    if method not in (BATCH, TASK):
        return [key_of(fields)]
    items = fields.get("data")
    return [key_of(person_of(item, fields, assumed)) for item in (items if isinstance(items, list) else ())]


@dataclass(frozen=True, slots=True)
class _Call:
    """What the rows of one request have in common."""

    shared: Mapping[str, Any]
    scenario: Scenario
    config: SandboxConfig


@dataclass(frozen=True, slots=True)
class _Base:
    """What an import changes."""

    profiles: Profiles
    engagements: Engagements

    def copy(self) -> _Base:
        return _Base(self.profiles.copy(), self.engagements.copy())

    def batch(self, call: _Call, faults: list[ItemFault | None]) -> Iterator[Row]:
        """Import and engage the items one after the other."""
        for item, fault in zip(call.shared["data"], faults, strict=True):
            yield self._item(call, item, fault)

    def _item(self, call: _Call, item: Any, fault: ItemFault | None) -> Row:
        person = person_of(item, call.shared, call.config.assumptions)
        if fault is not None and not fault.processed:
            return Row(key_of(person), fault.error, _FAULT_TEXTS[fault.error])
        if wrong := wrong_with_item(item, call.shared, call.config.assumptions) or wrong_with_match(person):
            return Row(key_of(person), 400, wrong)
        row = self.engage(call, person, item)
        if fault is None or row.error:
            return row
        return replace(row, error=fault.error, error_text=_FAULT_TEXTS[fault.error])

    def engage(self, call: _Call, person: Mapping[str, Any], row: Mapping[str, Any]) -> Row:
        """Import and engage one person; a refused one is not imported either."""
        key, assumed = key_of(person), call.config.assumptions
        only_updates = person["matching"] == "profile_id" and not assumed.profile_id_creates
        if only_updates and not self.profiles.exists(person):
            return Row(key, 400, "Profile not found")
        found = self.profiles.find(person)
        known_as = key if found is None else str(found.get("profile_id", key))
        if refusal := self.engagements.refusal(call.scenario, known_as, call.config.tariff_limit):
            return Row(key, *refusal)
        skips = call.shared.get("skip_invalid_subscriptions") is True
        data = row.get("data", {})
        who, profile_id = self.profiles.import_(person, usable(data) if skips else data)
        self.engagements.add(call.scenario, who)
        content = row.get("content") if assumed.content_by_row is True else None
        if content := content or call.shared.get("content"):
            self.engagements.contents[who] = content
        return Row(key, effect=True, profile_id=profile_id)


class Imports:
    """The three import methods and the status of their tasks."""

    def __init__(self, profiles: Profiles, engagements: Engagements, faults: ItemFaults) -> None:
        self._base = _Base(profiles, engagements)
        self._faults = faults
        self._tasks: dict[int, dict[str, int]] = {}

    def wrong_with(self, method: str, fields: Mapping[str, Any], assumed: Assumptions) -> str | None:
        """The first error of a request as a whole; None if it is valid."""
        return wrong_with_import(fields, assumed) if method == IMPORT else wrong_with_batch(fields, assumed)

    def decide(
        self, method: str, fields: Mapping[str, Any], scenario: Scenario, config: SandboxConfig
    ) -> Decision:
        """Carry out a valid request."""
        call = _Call(fields, scenario, config)
        if method == IMPORT:
            row = self._base.engage(call, fields, fields)
            return Decision(row.error, row.error_text, (row,), profile_id=row.profile_id)
        decision = self._batch(call)
        return self._task(decision) if method == TASK else decision

    def status(self, fields: Mapping[str, Any]) -> Decision:
        """How far a task is: a task is completed before it is answered for."""
        if wrong := wrong_with_task_status(fields):
            return refused(400, wrong)
        result = self._tasks.get(fields["task_id"])
        if result is None:
            return refused(400, "Task not found")
        return Decision(0, SUCCESS, data={"status": "completed", "progress": 100, "result": result})

    def _batch(self, call: _Call) -> Decision:
        assumed = call.config.assumptions
        keys = keys_of(BATCH, call.shared, assumed)
        if exhausted := self._base.engagements.exhausted(call.config.tariff_limit):
            return refused(*exhausted, *keys)
        faults = [self._faults.draw() for _ in keys]
        if assumed.bad_item_refuses_batch and (refusal := self._refusal(call, faults)):
            return refusal
        return _reported(tuple(self._base.batch(call, faults)), assumed)

    def _refusal(self, call: _Call, faults: list[ItemFault | None]) -> Decision | None:
        """The refusal of the whole batch because of its first bad item; None without such an item."""
        rehearsal = self._base.copy().batch(call, faults)
        bad = next(((place, row) for place, row in enumerate(rehearsal) if row.error == 400), None)
        if bad is None:
            return None
        place, row = bad
        assumed = call.config.assumptions
        decision = refused(400, f"data[{place}]: {row.error_text}", *keys_of(BATCH, call.shared, assumed))
        if assumed.refused_batch_is_untouched:
            return decision
        begun = replace(call, shared={**call.shared, "data": call.shared["data"][:place]})
        effects = [row.effect for row in self._base.batch(begun, faults[:place])]
        touched = (replace(row, effect=effect) for row, effect in zip(decision.rows, effects, strict=False))
        return replace(decision, rows=(*touched, *decision.rows[place:]))

    def _task(self, decision: Decision) -> Decision:
        """The answer for a task: its number, whatever became of the rows."""
        if decision.error == 402:
            return decision
        number = len(self._tasks) + 1
        errors = sum(row.error != 0 for row in decision.rows)
        self._tasks[number] = {"errors": errors, "total": len(decision.rows)}
        return Decision(0, SUCCESS, decision.rows, data={"task_id": number})


def _reported(rows: tuple[Row, ...], assumed: Assumptions) -> Decision:
    """What a batch reports: each row, or without rows an error if no row had an effect."""
    nothing_done = assumed.batch_result == "none" and not any(row.effect for row in rows)
    error, text = (rows[0].error, rows[0].error_text) if nothing_done else (0, SUCCESS)
    return Decision(error, text, rows, by_row=assumed.batch_result != "none")
