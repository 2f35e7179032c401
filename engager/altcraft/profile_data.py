"""The form of `data` and `custom_data`: what is known of a profile's fields and subscriptions.

Invariant: every rule about a part of them is in the shapes below; other keys are fields of the base itself,
with any value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engager.altcraft.parameters import (
    EMAIL,
    PHONE,
    Rule,
    a_list,
    an_object,
    filled_text,
    one_of,
    positive_int,
)

#: A key of an object that is a function, such as `{action = "unset"}`, and stands for any value.
ACTION = "action"

#: Functions that change a stored value by themselves: a repeat applies them twice.
NOT_REPEATABLE = frozenset({"incr", "add", "delete"})


@dataclass(frozen=True, slots=True)
class Shape:
    """What a value must be. Without any setting: anything."""

    rule: Rule | None = None  #: of a single value, a list or an object
    parts: Mapping[str, Shape] = field(default_factory=dict)  #: the known keys of an object
    others: Shape | None = None  #: of further keys; None: there are none, where `parts` are given
    items: Shape | None = None  #: of the items of a list
    takes_functions: bool = False  #: an object with an `action` may stand in its place
    person: Literal["", "email", "phone"] = ""  #: blanks and invisible characters around it are removed
    says_enough: Callable[[Mapping[str, Any]], bool] | None = None  #: of an object; `too_little` is its error
    too_little: str = ""


#: What can name a subscription: one of these sets of keys.
_NAMES = ({"email"}, {"phone"}, {"subscription_id", "provider"}, {"cc_data"})

#: What names a subscription of a channel. Assumed: any of the sets, for the last four, and without a channel,
#: as in an example of the vendor.
CHANNELS: Mapping[str, tuple[set[str], ...]] = {
    "email": ({"email"},),
    "sms": ({"phone"},),
    "push": ({"subscription_id", "provider"},),
    **dict.fromkeys(("notify", "viber", "whatsapp", "telegram_bot"), _NAMES),
}


def _names_subscription(given: Mapping[str, Any]) -> bool:
    names = CHANNELS.get(given.get("channel", ""), _NAMES)
    return any(each <= given.keys() for each in names)


ANYTHING = Shape()

#: A value of a field of the base.
_FIELD = Shape(takes_functions=True)

#: What the known keys of a profile and of a subscription mean, for the author of a job.
PART_MEANINGS: Mapping[str, str] = {
    "phones": "The phones of the profile; messages are sent to those of its subscriptions.",
    "subscriptions": "The addresses that messages are sent to, each with its channel.",
    "channel": "The channel of the subscription.",
    "email": "The address; messages are sent to that of a subscription with the channel email.",
    "phone": "The phone, for the channel sms and for messengers.",
    "provider": "The provider of the subscription_id.",
    "subscription_id": "The id of the subscription at its provider, for the channel push.",
    "cc_data": "The data of a subscription in a custom channel.",
    "resource_id": "The resource that the subscription belongs to.",
    "priority": "The priority among the subscriptions of the profile.",
    "status": "The status of the subscription.",
    "cats": "The categories of the subscription.",
    "custom_fields": "Fields of the subscription itself.",
}

_SUBSCRIPTION = Shape(
    an_object,
    {
        "channel": Shape(one_of(*CHANNELS)),
        "email": Shape(EMAIL, person="email"),
        "phone": Shape(PHONE, person="phone"),
        "provider": Shape(filled_text),
        "subscription_id": Shape(filled_text),
        "cc_data": Shape(an_object),
        "resource_id": Shape(positive_int),
        "priority": Shape(),
        "status": Shape(filled_text),
        "cats": Shape(a_list),
        "custom_fields": Shape(an_object, others=_FIELD),
    },
    says_enough=_names_subscription,
    too_little="needs what names it: email, or phone, or subscription_id with provider, or cc_data",
)

#: The shapes of the parameters that describe a profile.
SHAPES: Mapping[str, Shape] = {
    "data": Shape(
        an_object,
        {
            "email": Shape(EMAIL, takes_functions=True, person="email"),
            "phones": Shape(a_list, items=Shape(PHONE, person="phone"), takes_functions=True),
            "subscriptions": Shape(a_list, items=_SUBSCRIPTION, takes_functions=True),
        },
        others=_FIELD,
    ),
    "custom_data": Shape(an_object),
}
