"""Validation of imports by the documentation of the methods, independent of the runner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engager.sandbox.config import Assumptions
from engager.sandbox.rules import (
    FORMS,
    FURTHER_MODES,
    PAGE_MODES,
    Shape,
    Types,
    wrong_attachments,
    wrong_forms,
    wrong_types,
)

IMPORT_MODES: Mapping[str, tuple[str, ...]] = {**PAGE_MODES, "email_profile": ("email",)}

_ACTIONS = ("set", "unset", "incr", "add", "delete", "upsert")
_CHANNELS = ("email", "sms", "push", "notify", "viber", "whatsapp", "telegram_bot")

#: What names a subscription.
NAMING = ("channel", "email", "phone", "provider", "subscription_id", "cc_data")

_SUBSCRIPTION: Types = {
    "channel": str,
    "email": str,
    "phone": str,
    "provider": str,
    "subscription_id": str,
    "cc_data": dict,
    "resource_id": int,
    "priority": int,
    "status": str,
    "cats": list,
    "custom_fields": dict,
}

#: The fields of a profile that have a type; all others are fields of the base itself.
PROFILE = Shape(
    {"email": str, "phones": list, "subscriptions": list}, {"subscriptions": Shape(_SUBSCRIPTION)}
)

#: The parameters that a batch has once.
_SHARED: Types = {
    "token": str,
    "format": str,
    "workflow_id": int,
    "matching": str,
    "field_name": str,
    "skip_triggers": bool,
    "skip_invalid_subscriptions": bool,
    "detect_geo": bool,
    "content": dict,
    "attach": list,
    "db_id": int,
}

#: The parameters of a row by which its profile is matched.
_MATCH: Types = {
    "email": str,
    "phone": str,
    "profile_id": str,
    "field_value": (str, int, float, bool),
    "subscription_id": str,
    "provider": str,
}
_ROW: Types = {**_MATCH, "data": dict, "custom_data": dict}

IMPORT = Shape({**_SHARED, **_ROW}, {"data": PROFILE})
ITEM = Shape({**_ROW, "content": dict}, {"data": PROFILE})
BATCH = Shape({**_SHARED, "data": list}, {"data": ITEM})
TASK_STATUS = Shape({"token": str, "format": str, "task_id": int})


def is_function(value: Any) -> bool:
    """Whether the value of a field is an instruction how to change it."""
    return isinstance(value, dict) and value.get("action") in _ACTIONS


def wrong_with_import(fields: Mapping[str, Any], assumed: Assumptions) -> str | None:
    """The first error of a `workflows/import_and_start` request; None if it is valid."""
    return (
        _wrong_shared(fields, IMPORT.types, assumed)
        or _wrong_row(fields, fields, assumed)
        or _wrong_match(fields)
    )


def wrong_with_batch(fields: Mapping[str, Any], assumed: Assumptions) -> str | None:
    """The first error of a batch apart from its items; None if it is valid."""
    if wrong := _wrong_shared(fields, BATCH.types, assumed):
        return wrong
    items = fields.get("data")
    if not items:
        return "data is required"
    over = len(items) > assumed.most_profiles
    return f"{len(items)} profiles are more than {assumed.most_profiles}" if over else None


def wrong_with_item(item: Any, shared: Mapping[str, Any], assumed: Assumptions) -> str | None:
    """The first error of an item apart from its match; None if it is valid."""
    if not isinstance(item, dict):
        return "an item must be an object"
    known = dict(ITEM.types)
    if assumed.content_by_row is False:
        del known["content"]
    if not assumed.match_in_data:
        known = {name: kind for name, kind in known.items() if name not in _MATCH}
    return wrong_types(item, known) or _wrong_row(item, shared, assumed)


def person_of(item: Any, shared: Mapping[str, Any], assumed: Assumptions) -> dict[str, Any]:
    """What an item is matched by, with the parameters that the batch has once."""
    common = {name: shared[name] for name in ("matching", "field_name") if name in shared}
    if not isinstance(item, dict):
        return common
    if assumed.match_in_data:
        return {**common, **{name: item[name] for name in _MATCH if name in item}}
    data = item.get("data")
    held = data if isinstance(data, dict) else {}
    phones = held.get("phones")
    named = {
        "email": held.get("email"),
        "phone": phones[0] if isinstance(phones, list) and phones else None,
        "profile_id": held.get("profile_id"),
        "field_value": held.get(str(shared.get("field_name"))),
    }
    return {**common, **{name: value for name, value in named.items() if value is not None}}


def wrong_with_match(person: Mapping[str, Any]) -> str | None:
    """The first error of what an item is matched by; None if it is valid."""
    return wrong_types(person, {**_MATCH, "matching": str, "field_name": str}) or _wrong_match(person)


def wrong_with_task_status(fields: Mapping[str, Any]) -> str | None:
    """The first error of a `tasks/status` request; None if it is valid."""
    return "task_id is required" if "task_id" not in fields else wrong_types(fields, TASK_STATUS.types)


def usable(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data without the subscriptions that are malformed."""
    held = data.get("subscriptions")
    if not isinstance(held, list):
        return dict(data)
    return {**data, "subscriptions": [given for given in held if not _wrong_subscription(given)]}


def _wrong_shared(fields: Mapping[str, Any], types: Types, assumed: Assumptions) -> str | None:
    for name in ("workflow_id", "matching"):
        if name not in fields:
            return f"{name} is required"
    if wrong := wrong_types(fields, types):
        return wrong
    below = next((name for name in ("workflow_id", "db_id") if fields.get(name, 1) < 1), None)
    if below:
        return f"{below} must be 1 or more"
    modes = {**IMPORT_MODES, **FURTHER_MODES} if assumed.further_matching else IMPORT_MODES
    if fields["matching"] not in modes:
        return f"unknown matching {fields['matching']}"
    if "field_name" in modes[fields["matching"]] and not fields.get("field_name"):
        return f"field_name is required for matching by {fields['matching']}"
    return wrong_attachments(fields)


def _wrong_row(row: Mapping[str, Any], shared: Mapping[str, Any], assumed: Assumptions) -> str | None:
    if "data" not in row:
        return None if assumed.import_without_data else "data is required"
    skips = shared.get("skip_invalid_subscriptions") is True
    return _wrong_profile(usable(row["data"]) if skips else row["data"])


def _wrong_match(person: Mapping[str, Any]) -> str | None:
    mode = person["matching"]
    names = {**IMPORT_MODES, **FURTHER_MODES}[mode]
    missing = next((name for name in names if person.get(name) in (None, "")), None)
    return f"{missing} is required for matching by {mode}" if missing else wrong_forms(person)


def _wrong_profile(data: Mapping[str, Any]) -> str | None:
    for name, value in data.items():
        if is_function(value) and value["action"] == "incr" and not _is_number(value.get("value")):
            return f"data.{name}: incr needs a number"
    given = {name: _brought(name, data[name]) for name in PROFILE.types.keys() & data.keys()}
    known = {name: value for name, value in given.items() if value is not None}
    for name, value in known.items():
        if not isinstance(value, PROFILE.types[name]):
            return f"data.{name} has a wrong type"
    if "email" in known and not FORMS["email"].fullmatch(known["email"]):
        return "data.email is malformed"
    for phone in known.get("phones", ()):
        if not isinstance(phone, str) or not FORMS["phone"].fullmatch(phone):
            return "data.phones is malformed"
    subscriptions = map(_wrong_subscription, known.get("subscriptions", ()))
    return next((f"data.subscriptions: {wrong}" for wrong in subscriptions if wrong), None)


def _brought(name: str, value: Any) -> Any:
    """The value that reaches a field, also by a function; None if there is none."""
    if not is_function(value):
        return "" if value is None else value  # a null is no value of these fields
    if value["action"] == "unset":
        return None
    given = value.get("value", "")
    return given if value["action"] == "set" or name == "email" or isinstance(given, list) else [given]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong_subscription(given: Any) -> str | None:
    if not isinstance(given, dict):
        return "an item must be an object"
    if wrong := wrong_types(given, _SUBSCRIPTION) or wrong_forms(given):
        return wrong
    if given.get("channel", "email") not in _CHANNELS:
        return f"unknown channel {given['channel']}"
    named = any(given.get(name) for name in ("email", "phone", "cc_data"))
    pushed = given.get("provider") and given.get("subscription_id")
    return None if named or pushed else "nothing names the subscription"
