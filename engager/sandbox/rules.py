"""Validation of requests by the documentation of the methods, independent of the runner."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Matching modes and the fields that each needs.
PAGE_MODES: Mapping[str, tuple[str, ...]] = {
    "email": ("email",),
    "phone": ("phone",),
    "profile_id": ("profile_id",),
    "custom": ("field_name", "field_value"),
}
FURTHER_MODES: Mapping[str, tuple[str, ...]] = {
    "email_profile": ("email",),
    "email_sub": ("email",),
    "phone_sub": ("phone",),
    "push_sub": ("subscription_id", "provider"),
    "custom_sub": ("field_name", "field_value"),
    "email_phone": ("email", "phone"),
    "email_phone_sub": ("email", "phone"),
}

Types = Mapping[str, type | tuple[type, ...]]


@dataclass(frozen=True, slots=True)
class Shape:
    """The parameters of a method, or of an object within, with their types."""

    types: Types
    within: Mapping[str, Shape] = field(default_factory=dict)  #: the objects within, by parameter


_FILTER: Types = {"subscription_id": str, "provider": str, "email": str, "phone": str, "not_strict": bool}

_TYPES: Types = {
    "token": str,
    "format": str,
    "id": int,
    "content": dict,
    "attach": list,
    "matching": str,
    "email": str,
    "phone": str,
    "profile_id": str,
    "field_name": str,
    "field_value": (int, str),
    "resource_id": int,
    "custom_request": dict,
    "subscription_filter": dict,
    "subscription_id": str,
    "provider": str,
}

START = Shape(_TYPES, {"subscription_filter": Shape(_FILTER)})

_SWITCH_TYPES: Types = {"token": str, "format": str, "id": int}
_ACTIVATE_TYPES: Types = {**_SWITCH_TYPES, "skip_profiles": bool}
_LISTING_TYPES: Types = {
    "token": str,
    "format": str,
    "from_id": int,
    "limit": int,
    "groups": list,
    "groups_id": list,
    "ui_tags": list,
    "attributes": dict,
}

ACTIVATE, DEACTIVATE, LISTING = Shape(_ACTIVATE_TYPES), Shape(_SWITCH_TYPES), Shape(_LISTING_TYPES)

FORMS = {
    "email": re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+"),
    "phone": re.compile(r"\+?\d{5,15}"),
    "profile_id": re.compile(r"[0-9a-fA-F]{24}"),
}

_DATA = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,[A-Za-z0-9+/]*={0,2}")

_FILTERS = ({"subscription_id", "provider"}, {"email"}, {"phone"})


def wrong_with(fields: Mapping[str, Any], further: bool) -> str | None:
    """The first error of a `workflows/start` request; None if it is valid."""
    if "id" not in fields:
        return "id is required"
    return (
        wrong_types(fields, _TYPES)
        or wrong_forms(fields)
        or _wrong_matching(fields, further)
        or _wrong_parts(fields)
    )


def wrong_with_listing(fields: Mapping[str, Any]) -> str | None:
    """The first error of a `workflows/list` request; None if it is valid."""
    if wrong := wrong_types(fields, _LISTING_TYPES):
        return wrong
    below = (name for name in ("from_id", "limit") if fields.get(name, 1) < 1)
    return next((f"{name} must be 1 or more" for name in below), None)


def wrong_with_switch(fields: Mapping[str, Any], activates: bool) -> str | None:
    """The first error of a `workflows/activate` or `workflows/deactivate` request; None if it is valid."""
    types = _ACTIVATE_TYPES if activates else _SWITCH_TYPES
    return "id is required" if "id" not in fields else wrong_types(fields, types)


def wrong_types(fields: Mapping[str, Any], types: Types) -> str | None:
    """The first parameter that is unknown or has a wrong type; None if there is none."""
    for name, value in fields.items():
        if name not in types:
            return f"unknown parameter {name}"
        empty_in_xml = name == "content" and value == ""
        if not (_is_a(value, types[name]) or empty_in_xml):
            return f"{name} has a wrong type"
    return None


def _is_a(value: Any, kind: type | tuple[type, ...]) -> bool:
    if isinstance(value, bool):  # a subtype of int in Python only
        return bool in (kind if isinstance(kind, tuple) else (kind,))
    return isinstance(value, kind)


def wrong_forms(fields: Mapping[str, Any]) -> str | None:
    """The first text that is malformed; None if there is none."""
    for name, form in FORMS.items():
        if name in fields and not form.fullmatch(fields[name]):
            return f"{name} is malformed"
    return None


def _wrong_matching(fields: Mapping[str, Any], further: bool) -> str | None:
    if "custom_request" in fields:
        return (
            "matching beside custom_request"
            if "matching" in fields
            else _wrong_query(fields["custom_request"])
        )
    modes = {**PAGE_MODES, **FURTHER_MODES} if further else PAGE_MODES
    mode = fields.get("matching", "email")
    if mode not in modes:
        return f"unknown matching {mode}"
    missing = [name for name in modes[mode] if fields.get(name) in (None, "")]
    return f"{missing[0]} is required for matching by {mode}" if missing else None


def _wrong_query(query: Any) -> str | None:
    """Refuse an unknown query: without a match it would look like a missing profile."""
    if not isinstance(query, dict):
        return "custom_request is malformed"
    for name, wanted in query.items():
        if name in ("$and", "$or"):
            if not isinstance(wanted, list):
                return f"custom_request: {name} needs a list"
            if wrong := next(filter(None, map(_wrong_query, wanted)), None):
                return wrong
        elif name.startswith("$"):
            return f"custom_request: unknown operator {name}"
        elif isinstance(wanted, dict) and (wrong := _wrong_operators(wanted)):
            return wrong
    return None


def _wrong_operators(wanted: Mapping[str, Any]) -> str | None:
    for operator, value in wanted.items():
        if operator not in ("$eq", "$in"):
            return f"custom_request: unknown operator {operator}"
        if operator == "$in" and not isinstance(value, list):
            return "custom_request: $in needs a list"
    return None


def _wrong_parts(fields: Mapping[str, Any]) -> str | None:
    if wrong := wrong_attachments(fields):
        return wrong
    chosen = fields.get("subscription_filter")
    if chosen is None:
        return None
    if "custom_request" in fields:
        return "subscription_filter beside custom_request"
    if set(chosen) - {"not_strict"} not in _FILTERS or not isinstance(chosen.get("not_strict", False), bool):
        return "subscription_filter is malformed"
    return None


def wrong_attachments(fields: Mapping[str, Any]) -> str | None:
    """The error of the attachments; None if they are valid."""
    return None if all(map(_attachable, fields.get("attach", ()))) else "attach is malformed"


def _attachable(item: Any) -> bool:
    if not isinstance(item, dict) or set(item) != {"name", "data"}:
        return False
    return all(isinstance(value, str) for value in item.values()) and bool(_DATA.fullmatch(item["data"]))
