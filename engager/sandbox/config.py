"""Settings of the sandbox, with a switch for every assumption about the endpoint."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from engager.sandbox.faults import FaultPlan

T = TypeVar("T")

Kind = type | tuple[type, ...]

_LIST = (list, tuple)
_KINDS: Mapping[str, Kind] = {
    "tokens": _LIST,
    "powerless_tokens": _LIST,
    "scenarios": _LIST,
    "profiles": _LIST,
    "tariff_limit": int,
    "assumptions": Mapping,
    "faults": Mapping,
    "seed": int,
    "log_file": str,
    "keep_log": bool,
    "latency": (int, float, str),
    "retry_after": (int, float, str),
}
_PROFILE_KINDS: Mapping[str, Kind] = {"fields": Mapping, "phones": _LIST, "subscriptions": _LIST}


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Assumptions where the documentation of the endpoint is silent."""

    errors_as_status: bool = False  #: an application error is also the HTTP status, instead of 200
    deduplicate: bool = True  #: a repeated Request-ID is not processed again
    dedupe_window: float = 86_400.0  #: seconds for which a Request-ID is remembered
    replay_errors: bool = True  #: an error response is remembered like a success
    refuse_in_flight: bool = False  #: a repeat during the first request gets 409 and does not wait
    old_headers: bool = False  #: X-Duplicate-… of an older edition instead of Duplicate-…
    further_matching: bool = True  #: the matching modes that the page of the method omits are accepted
    batch_result: Literal["objects", "ids", "none"] = "objects"  #: what a batch reports of its rows
    batch_xml_item: Literal["xml", "result"] = "xml"  #: the element of a row in the XML of a batch
    refused_batch_is_untouched: bool = True  #: no item of a batch that is refused as a whole has an effect
    bad_item_refuses_batch: bool = False  #: one bad item refuses the whole batch
    content_by_row: Literal[True, False, "ignored"] = True  #: an item of a batch may have its own content
    match_in_data: bool = True  #: items hold what they are matched by beside their inner data
    import_without_data: bool = True  #: an import may come without `data`
    profile_id_creates: bool = False  #: an import by an unknown profile id creates a profile
    array_of_one_needs_mark: bool = True  #: in XML, a list of one without its mark is an object
    most_profiles: int = 10_000  #: items of a batch; more are refused


@dataclass(frozen=True, slots=True)
class Scenario:
    """An automation scenario."""

    id: int
    name: str = ""
    active: bool = True
    reentry: bool = True  #: a profile may enter the scenario again


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """The settings of one sandbox."""

    tokens: Sequence[str] | None = None  #: None: every token is accepted
    powerless_tokens: Sequence[str] = ()  #: known tokens without the right to start scenarios
    scenarios: Sequence[Scenario] | None = None  #: None: every id exists and is active
    profiles: Sequence[Mapping[str, Any]] | None = None  #: None: every profile exists
    tariff_limit: int | None = None  #: number of engagements until 402
    assumptions: Assumptions = field(default_factory=Assumptions)
    faults: FaultPlan = field(default_factory=FaultPlan)
    seed: int = 1
    log_file: str | None = None  #: file for one line of JSON per request
    keep_log: bool = False  #: keep the same entries in memory

    @classmethod
    def from_mapping(cls, table: Mapping[str, Any]) -> SandboxConfig:
        """Read a `[sandbox]` section. Raises ValueError, which names the wrong key and the known ones."""
        given = {name: value for name, value in table.items() if value is not None}
        _refuse_unknown("", given, [f.name for f in fields(cls)] + ["latency", "retry_after"])
        _refuse_wrong_types("", given, _KINDS)
        plan = FaultPlan(
            given.pop("faults", {}),
            _text(given.pop("retry_after", None)),
            _range(given.pop("latency", 0)),
        )
        assumptions = _made(Assumptions, given.pop("assumptions", {}), "assumptions.")
        scenarios = given.pop("scenarios", None)
        if scenarios is not None:
            _refuse_wrong_items("scenarios", scenarios, Mapping)
            scenarios = tuple(_made(Scenario, scenario, "scenarios.") for scenario in scenarios)
        _refuse_wrong_items("profiles", given.get("profiles", ()), Mapping)
        for profile in given.get("profiles", ()):
            _refuse_wrong_types("profiles.", profile, _PROFILE_KINDS)
        _refuse_wrong_items("tokens", given.get("tokens", ()), str)
        _refuse_wrong_items("powerless_tokens", given.get("powerless_tokens", ()), str)
        return cls(faults=plan, assumptions=assumptions, scenarios=scenarios, **given)


def _made(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    _refuse_unknown(where, table, [f.name for f in fields(kind)])  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    _refuse_wrong_types(where, table, {name: _kind(hint) for name, hint in hints.items()})
    _refuse_wrong_choices(where, table, hints)
    try:
        return kind(**table)
    except TypeError as fault:
        raise ValueError(f"{where.rstrip('.')}: {fault}") from None


def _kind(hint: Any) -> Kind:
    if choices := get_args(hint):
        return tuple({type(choice) for choice in choices})
    return (int, float) if hint is float else hint


def _refuse_wrong_choices(where: str, table: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    for name, value in table.items():
        choices = get_args(hints[name])
        if choices and value not in choices:
            known = ", ".join(map(repr, choices))
            raise ValueError(f"{where}{name} is {value!r}; known are {known}")


def _refuse_wrong_types(where: str, table: Mapping[str, Any], kinds: Mapping[str, Kind]) -> None:
    for name, value in table.items():
        kind = kinds.get(name, object)
        takes_bool = {bool, object} & set(kind if isinstance(kind, tuple) else (kind,))
        # bool is a subtype of int in Python only
        if not isinstance(value, kind) or (isinstance(value, bool) and not takes_bool):
            raise ValueError(f"{where}{name} has a wrong type: {value!r}")


def _refuse_wrong_items(name: str, items: Sequence[Any], kind: type) -> None:
    for item in items:
        if not isinstance(item, kind):
            raise ValueError(f"{name} has an item of a wrong type: {item!r}")


def _refuse_unknown(where: str, table: Mapping[str, Any], known: list[str]) -> None:
    for name in table:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
            raise ValueError(f"unknown key {where}{name}; {hint}")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _range(latency: Any) -> tuple[float, float]:
    """Parse seconds as a number, or a text such as "20ms" or "20-80ms"."""
    if isinstance(latency, int | float) and latency >= 0:
        return float(latency), float(latency)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?(ms|s)", str(latency))
    if match is None:
        raise ValueError(f'latency: give seconds, or "20ms", or "20-80ms"; it is {latency!r}')
    unit = 0.001 if match[3] == "ms" else 1.0
    return float(match[1]) * unit, float(match[2] or match[1]) * unit
