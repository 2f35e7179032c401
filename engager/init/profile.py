"""The data of a profile for the columns of a sample: known fields, phones and subscriptions.

Invariant: a column gets a place with a rule only if every value of the sample keeps the rule, so that every
row can be sent at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from engager.altcraft.profile_data import SHAPES
from engager.init import toml_text
from engager.init.matching import CUSTOM, MatchingKey, best_for
from engager.init.recognition import plain
from engager.init.sample import InputSample

#: Fields of every base, and the names of their columns as `plain` writes them.
_FIELDS: Mapping[str, re.Pattern[str]] = {
    "_fname": re.compile(r"(first|given)name|fname|имя"),
    "_lname": re.compile(r"(last|family|sur)name|lname|фамилия"),
    "_bdate": re.compile(r"b(irth)?(day|date)|dateofbirth|датарождения|деньрождения"),
}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")

#: The channels of the subscriptions that are proposed, each with the key that names one.
_CHANNELS = {"email": "email", "phone": "sms"}


@dataclass(slots=True)
class Profile:
    """The proposed `data` of an import."""

    #: Keys with their values in TOML, in the order in which they are written.
    fields: dict[str, str] = field(default_factory=dict)
    subscriptions: list[str] = field(default_factory=list)  #: tables in TOML
    left_out: dict[str, str] = field(default_factory=dict)  #: columns, each with the reason


def profile_of(sample: InputSample, key: MatchingKey, templates: Mapping[str, str]) -> Profile:
    """Propose the data of a profile.

    Args:
        sample: the beginning of the input.
        key: the column by which people are matched.
        templates: of the other columns that can be used.

    """
    made, others = Profile(), dict(templates)
    for kind, channel in _CHANNELS.items():
        found = key if key.mode == kind else best_for(kind, sample, list(others))
        if found is None:
            continue
        others.pop(found.column, None)
        text = toml_text.text(found.template)
        made.fields |= {"email": text} if kind == "email" else {"phones": f"[{text}]"}
        made.subscriptions.append(f'{{ channel = "{channel}", {kind} = {text} }}')
    if key.mode == CUSTOM:  # a profile that is created needs what it is found by the next time
        others = {key.column: key.template, **others}
    for column, template in others.items():
        name = _known_field(column, sample) or column.strip()
        name = name if name not in made.fields else column
        if name in made.fields or name in SHAPES["data"].parts:
            made.left_out[column] = f"data has another value under {toml_text.text(name)}; rename it"
        else:
            made.fields[name] = toml_text.text(template)
    return made


def _known_field(column: str, sample: InputSample) -> str | None:
    """The field of every base that a column has, by its name; a date also by its form."""
    name = next((name for name, form in _FIELDS.items() if form.fullmatch(plain(column))), None)
    if name != "_bdate":
        return name
    dates = [value for value in sample.values(column) if value not in (None, "")]
    return name if all(isinstance(value, str) and _DATE.fullmatch(value) for value in dates) else None
