"""Recognition of addresses, phones and profile ids by names and values of columns.

The rules of the endpoint's parameters decide on values; one more rule prevents that an order number counts
as a phone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from engager.altcraft.parameters import MATCHING, PARAMETERS, Rule

#: The recognized modes, the preferred one first, and the names of their columns in English and in Russian,
#: without blanks, dashes, dots and underscores.
NAMES: Mapping[str, re.Pattern[str]] = {
    "email": re.compile(r"e?mail(address)?|(e|эл|электронная)?почта|[иe]м[еэ]?йл|[еэ]?мейл|эладрес"),
    "profile_id": re.compile(r"(altcraft)?profileid|idпрофиля|профиль"),
    "phone": re.compile(
        r"(mobile|cell)?(phone|tel)(number)?|mobile|cell|msisdn|(номер)?(мобильного|сотового)?телефона?|"
        r"(мобильный|сотовый)(телефон|номер)?|тел|моб"
    ),
}
_PARTS: Mapping[str, re.Pattern[str]] = {
    "email": re.compile(r"mail|почт|мейл|имейл|емайл|электронныйадрес"),
    "profile_id": re.compile(r"profile|профил"),
    "phone": re.compile(r"phone|mobile|msisdn|телефон|мобильн|сотов"),
}

#: Names of columns with the ids of another system.
OWN_KEY = re.compile(r"(.*(id|code|key|guid|uuid)|.*(номер|код|ключ|ид))")

#: A number that is most likely a phone.
_PHONE_BY_ITSELF = re.compile(r"\+[0-9]{7,15}|[78][0-9]{10}")


def plain(name: str) -> str:
    """The name of a column, normalized for comparison."""
    return re.sub(r"[\W_]", "", name.casefold())


def hint(mode: str, name: str) -> int:
    """How clearly the name of a column says that it has the field of a mode: 0 not, 1 partly, 2 clearly."""
    if mode not in NAMES:
        return 0
    if NAMES[mode].fullmatch(plain(name)):
        return 2
    return 1 if _PARTS[mode].search(plain(name)) else 0


def rule_of(mode: str) -> Rule:
    """The rule of the field of a mode."""
    return PARAMETERS[MATCHING[mode].fields[0]]


def fits(mode: str, value: Any, named: bool = True) -> bool:
    """Whether the endpoint accepts a value; without a `named` column, whether it is also likely."""
    if rule_of(mode)(value) is not None:
        return False
    return named or mode != "phone" or bool(_PHONE_BY_ITSELF.fullmatch(value))
