"""A column's name or value in, what it looks like out: an address, a phone, a profile id.

What a value may be is said by the rules of the endpoint's parameters; what is added here only guards
against taking an order's number for a phone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from engager.altcraft.parameters import MATCHING, PARAMETERS, Rule

#: The modes that are recognised, the better one to match by first, and the names their columns go by:
#: in English and in Russian, without blanks, dashes, dots and underscores.
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

#: Names of columns by which another system knows its people.
OWN_KEY = re.compile(r"(.*(id|code|key|guid|uuid)|.*(номер|код|ключ|ид))")

#: A number that is more likely a phone than anything else.
_PHONE_BY_ITSELF = re.compile(r"\+[0-9]{7,15}|[78][0-9]{10}")


def plain(name: str) -> str:
    """A column's name as it is compared."""
    return re.sub(r"[\W_]", "", name.casefold())


def hint(mode: str, name: str) -> int:
    """How clearly a column's name says that the mode's field stands in it: 0 not, 1 in a way, 2 clearly."""
    if mode not in NAMES:
        return 0
    if NAMES[mode].fullmatch(plain(name)):
        return 2
    return 1 if _PARTS[mode].search(plain(name)) else 0


def rule_of(mode: str) -> Rule:
    """The rule of the field that a mode matches by."""
    return PARAMETERS[MATCHING[mode].fields[0]]


def fits(mode: str, value: Any, named: bool = True) -> bool:
    """Whether the endpoint takes a value; in a column that is not `named` so, whether it is likely meant."""
    if rule_of(mode)(value) is not None:
        return False
    return named or mode != "phone" or bool(_PHONE_BY_ITSELF.fullmatch(value))
