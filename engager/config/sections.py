"""The base of all sections of a job file: strict models, and durations with units."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

_DURATION = r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(value: Any) -> Any:
    """Convert a number of seconds, or a text with a unit such as "24h", "1.5m", "300ms"."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(_DURATION, value.strip())
    if match is None:
        raise ValueError('give seconds as a number, or a text such as "90s", "15m", "24h"')
    return float(match[1]) * _UNITS[match[2]]


#: A duration in JSON Schema.
SECONDS_SCHEMA = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "string", "pattern": rf"^\s*{_DURATION}\s*$"},
    ]
}

Seconds = Annotated[
    float,
    BeforeValidator(seconds_of),
    Field(gt=0, allow_inf_nan=False),
    WithJsonSchema(SECONDS_SCHEMA),
]


class Section(BaseModel):
    """A section of the job file: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    @classmethod
    def written(cls, key: str) -> tuple[Any, bool]:
        """A valid value of an optional key in a job file, and whether it is the default.

        If the default has no form in TOML, the value is the first example.
        """
        field = cls.model_fields[key]
        if not field.examples:
            return field.default, True
        try:
            return field.examples[0], getattr(
                cls.model_validate({key: field.examples[0]}), key
            ) == field.default
        except ValidationError:
            return field.examples[0], False  # it needs another key as well
