"""The methods that engage: their paths, their parameters, and which of these a request carries once.

Invariant: whatever differs between the methods is a field of `Method`, so that no other code asks for a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engager.altcraft.parameters import (
    FURTHER_MATCHING,
    FURTHER_PARAMETERS,
    MATCHING,
    PARAMETERS,
    Matching,
    Rule,
    an_object,
    filled_text,
    positive_int,
    scalar,
    true_or_false,
)

#: The path of the API; the path of a method follows it.
API = "/api/v1.1/"


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the endpoint that engages profiles in a scenario."""

    name: str  #: as in `request.method`
    path: str  #: after the path of the API
    scenario: str  #: the parameter with the number of the scenario
    #: The parameters with their rules, in the order in which they are sent. `matching` follows the scenario,
    #: and `attach` is the last one.
    parameters: Mapping[str, Rule]
    matching: Mapping[str, Matching]  #: the modes on the page of the method
    further_matching: Mapping[str, Matching]  #: further modes of the platform's matching layer
    is_import: bool = False  #: it creates or updates the profile first, and `matching` is required
    is_batch: bool = False  #: a request carries the profiles of many rows, as a list under `data`
    #: It responds with a task before it imports: of the profiles the response says nothing.
    is_task: bool = False
    once: frozenset[str] = frozenset()  #: parameters that a request with many rows carries once

    @property
    def known(self) -> tuple[str, ...]:
        """The names of all parameters, also of the further modes."""
        return (*self.parameters, "matching", "attach")

    def modes(self, further: bool) -> Mapping[str, Matching]:
        """The matching modes, with or without the further ones."""
        return {**self.matching, **self.further_matching} if further else self.matching


#: The modes on the page of the imports.
_IMPORT_MATCHING: Mapping[str, Matching] = {
    "email": Matching(("email",)),
    "email_profile": Matching(("email",)),
    "phone": Matching(("phone",)),
    "profile_id": Matching(("profile_id",)),
    "custom": Matching(("field_value", "field_name")),
}

#: Further modes, as of `workflows/start`: an assumption.
_IMPORT_FURTHER: Mapping[str, Matching] = {
    mode: Matching(way.fields) for mode, way in FURTHER_MATCHING.items() if mode not in _IMPORT_MATCHING
}

_IMPORT_PARAMETERS: Mapping[str, Rule] = {
    "workflow_id": positive_int,
    "email": PARAMETERS["email"],
    "phone": PARAMETERS["phone"],
    "profile_id": PARAMETERS["profile_id"],
    "field_name": filled_text,
    "field_value": scalar,
    "subscription_id": filled_text,
    "provider": filled_text,
    "db_id": positive_int,
    "skip_triggers": true_or_false,
    "skip_invalid_subscriptions": true_or_false,
    "detect_geo": true_or_false,
    "content": an_object,
    "data": an_object,
    "custom_data": an_object,
}

#: Assumed from the twin of the batch among the trigger campaigns: items of the list have the fields that
#: match, and the data; all else stands once beside the list.
_OF_ROW = frozenset(
    {"email", "phone", "profile_id", "field_value", *FURTHER_PARAMETERS, "data", "custom_data"}
)
_ONCE = frozenset({*_IMPORT_PARAMETERS, "matching", "attach"}) - _OF_ROW


def _import(name: str, *, is_batch: bool = False, is_task: bool = False) -> Method:
    return Method(
        name,
        f"workflows/{name}",
        "workflow_id",
        _IMPORT_PARAMETERS,
        _IMPORT_MATCHING,
        _IMPORT_FURTHER,
        is_import=True,
        is_batch=is_batch,
        is_task=is_task,
        once=_ONCE if is_batch else frozenset(),
    )


START = Method("start", "workflows/start", "id", PARAMETERS, MATCHING, FURTHER_MATCHING)

#: The methods by their names.
METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        START,
        _import("import_and_start"),
        _import("import_and_start_batch", is_batch=True),
        _import("import_and_start_batch_task", is_batch=True, is_task=True),
    )
}

#: What the key of a job means that names one of them.
METHOD_MEANING = (
    "The method of the endpoint: `start` engages profiles that exist; the others import them first."
)

#: Rows that a request carries at most. The vendor recommends it; here it is a limit.
MAX_ROWS = 10_000


def method_of(request: Mapping[str, object]) -> Method | None:
    """The method of a [request] table; None if it names no known one."""
    name = request.get("method", START.name)
    return METHODS.get(name) if isinstance(name, str) else None
