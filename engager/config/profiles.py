"""Profiles of a job file: named environments, each with values in the place of those of the job.

`[profiles.stage.endpoint]` has the values of [endpoint] that the profile `stage` replaces. The override
`profile=stage`, which `--profile stage` stands for, chooses it; other overrides replace its values in turn.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engager.config.sections import Section

#: The key of the profiles in a job file.
PROFILES = "profiles"

#: The override that chooses a profile.
CHOICE = "profile"

#: A regular expression of the name of a profile.
NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,49}"


def chosen_by(overrides: Sequence[str]) -> str | None:
    """The profile that overrides choose, the last one; None if they choose none."""
    names = [value.strip() for key, _, value in map(_parted, overrides) if key == CHOICE]
    return names[-1] if names else None


def is_choice(override: str) -> bool:
    """Whether an override chooses a profile."""
    return _parted(override)[0] == CHOICE


def options_of(overrides: Sequence[str]) -> list[str]:
    """The options of a command for overrides."""
    return [
        part
        for override in overrides
        for part in (
            ("--profile", _parted(override)[2].strip()) if is_choice(override) else ("--set", override)
        )
    ]


def _parted(override: str) -> tuple[str, str, str]:
    key, equals, value = override.partition("=")
    return key.strip(), equals, value


def with_profile(tables: Mapping[str, Any], profile: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a job with the values of a profile in them."""
    merged = {
        section: {**tables[section], **values} if isinstance(tables.get(section), dict) else values
        for section, values in profile.items()
    }
    return {**tables, **merged}


def faults_of(profiles: Any, sections: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields what is wrong in profiles, also in those that are not chosen: a key, and a text."""
    if not isinstance(profiles, dict):
        yield PROFILES, "give one table for each profile, such as [profiles.stage.endpoint]"
        return
    for name, profile in profiles.items():
        where = f"{PROFILES}.{name}"
        if not re.fullmatch(NAME, name):
            yield where, "the name of a profile has up to 50 letters, digits, dashes and underscores"
        elif not isinstance(profile, dict):
            yield where, f"give the sections of the profile, such as [{where}.endpoint]"
        else:
            yield from _faults_of(where, profile, sections)


def _faults_of(
    where: str, profile: Mapping[str, Any], sections: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    for section, values in profile.items():
        if section not in sections:
            yield f"{where}.{section}", f"unknown section{_hint(section, list(sections))}"
        elif not isinstance(values, dict):
            yield f"{where}.{section}", "a profile replaces keys of a section: give a table"
        elif isinstance(kind := sections[section], type) and issubclass(kind, Section):
            for key in values:
                if key not in kind.model_fields:
                    yield f"{where}.{section}.{key}", f"unknown key{_hint(key, list(kind.model_fields))}"


def _hint(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"
