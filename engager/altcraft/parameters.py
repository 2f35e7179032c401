"""The endpoint's parameters: rules of their values, the table of `workflows/start`, the matching modes.

Invariant: a rule applies to a value wherever it comes from: literal values are checked with the job,
templated ones with the row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

#: A rule: None if the value is valid, otherwise its error as (code, text).
Rule = Callable[[Any], tuple[str, str] | None]

_MALFORMED = "malformed"
_WRONG_TYPE = "wrong_type"
_EMPTY = "empty"

# Atoms and labels as mailbox providers accept them, letters of every script included (RFC 6531, 5890);
# quoted local parts and address literals have no place in a list of people.
# Possessive: if a part ended earlier, the rest would not match either, so backtracking is useless.
_ATOM = r"[\w!#$%&'*+/=?^`{|}~-]++"
_LABEL = r"[^\W_][\w-]{0,62}+(?<![-_])"
_EMAIL = re.compile(rf"(?=.{{3,254}}\Z)(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*+@{_LABEL}(?:\.{_LABEL})++")
_PHONE = re.compile(r"\+?[0-9]{7,15}")
_PROFILE_ID = re.compile(r"[0-9a-fA-F]{24}")


def _matches(pattern: re.Pattern[str], form: str) -> Rule:
    def rule(value: Any) -> tuple[str, str] | None:
        if not isinstance(value, str):
            return _WRONG_TYPE, f"must be a string, it is {_kind(value)}"
        if not value:
            return _EMPTY, "is empty"
        return None if pattern.fullmatch(value) else (_MALFORMED, f"is not {form}: {value[:80]!r}")

    return rule


def positive_int(value: Any) -> tuple[str, str] | None:
    """A positive integer."""
    if type(value) is not int:
        return _WRONG_TYPE, f"must be an integer, it is {_kind(value)}"
    return None if value > 0 else (_MALFORMED, f"must be above 0, it is {value}")


def filled_text(value: Any) -> tuple[str, str] | None:
    """A text that is not empty."""
    if not isinstance(value, str):
        return _WRONG_TYPE, f"must be a string, it is {_kind(value)}"
    return None if value else (_EMPTY, "is empty")


def _int_or_text(value: Any) -> tuple[str, str] | None:
    if type(value) is int:
        return None
    if not isinstance(value, str):
        return _WRONG_TYPE, f"must be an integer or a string, it is {_kind(value)}"
    return None if value else (_EMPTY, "is empty")


def an_object(value: Any) -> tuple[str, str] | None:
    """An object."""
    return None if isinstance(value, dict) else (_WRONG_TYPE, f"must be an object, it is {_kind(value)}")


def _subscription_filter(value: Any) -> tuple[str, str] | None:
    if wrong := an_object(value):
        return wrong
    rules = rules_of_filter(value)
    if rules is None:
        return _MALFORMED, "needs email, or phone, or subscription_id with provider, and only one of these"
    for name, part in value.items():
        if wrong := rules[name](part):
            return wrong[0], f"{name} {wrong[1]}"
    return None


def _filled_object(value: Any) -> tuple[str, str] | None:
    return an_object(value) or (None if value else (_EMPTY, "is empty"))


def true_or_false(value: Any) -> tuple[str, str] | None:
    """A boolean."""
    return None if isinstance(value, bool) else (_WRONG_TYPE, f"must be true or false, it is {_kind(value)}")


def scalar(value: Any) -> tuple[str, str] | None:
    """A text that is not empty, a number, or true or false."""
    if isinstance(value, int | float):
        return None
    if not isinstance(value, str):
        return _WRONG_TYPE, f"must be a text, a number, or true or false, it is {_kind(value)}"
    return None if value else (_EMPTY, "is empty")


def a_list(value: Any) -> tuple[str, str] | None:
    """A list."""
    return None if isinstance(value, list) else (_WRONG_TYPE, f"must be a list, it is {_kind(value)}")


def one_of(*known: str) -> Rule:
    """The rule of a value from a list of texts."""

    def rule(value: Any) -> tuple[str, str] | None:
        if value in known:
            return None
        return _MALFORMED, f"must be one of {', '.join(known)}, it is {value!r:.80}"

    return rule


_KINDS = {str: "a string", int: "an integer", float: "a number", bool: "true or false", dict: "an object"}


def _kind(value: Any) -> str:
    return "null" if value is None else _KINDS.get(type(value), "a list")


EMAIL = _matches(_EMAIL, "an email address")
PHONE = _matches(_PHONE, "a phone number (digits, with a + before them)")

#: The parameters of `workflows/start` in the order in which they are sent. The builder adds `token`,
#: `format`, `matching` and `attach` by the job.
PARAMETERS: Mapping[str, Rule] = {
    "id": positive_int,
    "email": EMAIL,
    "phone": PHONE,
    "profile_id": _matches(_PROFILE_ID, "24 hexadecimal digits"),
    "field_name": filled_text,
    "field_value": _int_or_text,
    "subscription_id": filled_text,
    "provider": filled_text,
    "resource_id": positive_int,
    "custom_request": _filled_object,
    "subscription_filter": _subscription_filter,
    "content": an_object,
}

#: The meaning of each parameter, for the author of a job.
MEANINGS: Mapping[str, str] = {
    "id": "The number of the scenario; it must be active.",
    "matching": "How the profile is found.",
    "email": "The address to match by.",
    "phone": "The phone to match by: digits, with or without a + before them.",
    "profile_id": "The profile's own id to match by: 24 hexadecimal digits.",
    "field_name": "The name of the profile field that custom matching compares.",
    "field_value": "The value of that field.",
    "subscription_id": "The subscription's id to match by.",
    "provider": "The provider of the subscription.",
    "resource_id": "The resource that narrows matching by email and phone.",
    "custom_request": "A query that finds the profiles, instead of matching.",
    "subscription_filter": "Selects the subscriptions of the profile.",
    "content": "Values that the messages of the scenario can use.",
    "attach": "Files for the message, read once and the same for every row.",
    "workflow_id": "The number of the scenario; it must be active.",
    "db_id": "The number of the base that the profile is imported into.",
    "skip_triggers": "Whether other triggers and scenarios of the base ignore the import; default false.",
    "skip_invalid_subscriptions": "Whether a profile is imported without its invalid subscriptions.",
    "detect_geo": "Whether the endpoint detects the geography of the profile.",
    "data": "Fields and subscriptions of the profile; a value of an empty cell is left out.",
    "custom_data": "Further data of the request; a value of an empty cell is left out.",
}

#: Parameters of the further modes, which the page of the method does not have.
FURTHER_PARAMETERS = frozenset({"subscription_id", "provider"})


@dataclass(frozen=True, slots=True)
class Matching:
    """A way to find a profile."""

    fields: tuple[str, ...]  #: the required parameters; the first one is the key of the row
    narrowed: bool = False  #: whether `resource_id` narrows it


#: The mode of a request that names none.
DEFAULT_MATCHING = "email"

#: The modes on the page of `workflows/start`.
MATCHING: Mapping[str, Matching] = {
    "email": Matching(("email",), narrowed=True),
    "phone": Matching(("phone",), narrowed=True),
    "profile_id": Matching(("profile_id",)),
    "custom": Matching(("field_value", "field_name")),
}

#: Further modes of the platform's matching layer. Their fields are an assumption.
FURTHER_MATCHING: Mapping[str, Matching] = {
    "email_profile": Matching(("email",), narrowed=True),
    "email_sub": Matching(("email",), narrowed=True),
    "phone_sub": Matching(("phone",), narrowed=True),
    "push_sub": Matching(("subscription_id", "provider"), narrowed=True),
    "custom_sub": Matching(("field_value", "field_name"), narrowed=True),
    "email_phone": Matching(("email", "phone"), narrowed=True),
    "email_phone_sub": Matching(("email", "phone"), narrowed=True),
}

#: The keys of `subscription_filter`: exactly one of these sets, with `not_strict` if wanted.
FILTERS: tuple[Mapping[str, Rule], ...] = (
    {"subscription_id": filled_text, "provider": filled_text},
    {"email": EMAIL},
    {"phone": PHONE},
)


def rules_of_filter(names: Collection[str]) -> Mapping[str, Rule] | None:
    """The rules of a filter with these keys; None if there is no such filter."""
    named = set(names) - {"not_strict"}
    rules = next((variant for variant in FILTERS if set(variant) == named), None)
    return rules and {**rules, "not_strict": true_or_false}
