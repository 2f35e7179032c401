"""People of odd files: each has a key and a mark of ASCII that no other person has."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

COLUMNS = ("key", "name", "note", "ref", "bonus")

_NAMES = ("Ann Lee", "Анна Иванова", "ЁЛКИН ПЁТР", "Zoë Müller", "O'Neil", "Ярослав Щёголев", "李小龍", "")

_NOTES = (
    "",
    "plain",
    " leading",
    "trailing ",
    "a, comma",
    "a; semicolon",
    "a\ttab",
    "a|bar",
    'she said "yes"',
    '"',
    '""',
    '"quoted"',
    "a line\nfeed",
    "two\r\nlines",
    "a carriage\rreturn",
    "a\n\nblank line",
    "\nfirst",
    "last\n",
    "=1+2",
    "'apostrophe'",
    "{brace}",
    "NULL",
    "a\u2028separator",
    "next\u0085line",
    "a\x0bvertical\x0cform\x1cfeed",
    "\ufeffmark",
    "\u200bnothing\u00a0",
    "emoji 😀",
    "friend@example.org",
    "2026-11-29 10:00",
    "long " * 300,
    "back\\slash \\n",
    "<b>bold</b>",
    "%s %(x)s",
    "привет, мир; всем",
)


@dataclass(frozen=True)
class Person:
    """One person, by what a file says of them."""

    number: int
    values: Mapping[str, str]

    @property
    def key(self) -> str:
        return self.values["key"]

    @property
    def ref(self) -> str:
        return self.values["ref"]


def drawn_people(
    draw: random.Random, rows: int, matching: str, encoding: str, long: bool = False
) -> list[Person]:
    """So many people whose texts the encoding can carry; `long`: some texts are longer than a block."""
    names = [name for name in _NAMES if _carries(encoding, name)]
    notes = [note for note in _NOTES if _carries(encoding, note)]
    notes += ["long, " * 20_000] if long else []
    mark = f"{draw.randrange(36**4):x}"
    odd = draw.random()
    return [_person(number, mark, matching, names, notes, draw, odd) for number in range(1, rows + 1)]


def _person(
    number: int,
    mark: str,
    matching: str,
    names: Sequence[str],
    notes: Sequence[str],
    draw: random.Random,
    odd: float,
) -> Person:
    key = f"p{number}.{mark}@example.com" if matching == "email" else f"+7916{number:07}"
    note = draw.choice(notes) if draw.random() < odd else "plain"
    ref = f"r{mark}q{number}z"
    return Person(
        number, dict(zip(COLUMNS, (key, draw.choice(names), note, ref, str(number * 7)), strict=True))
    )


def _carries(encoding: str, text: str) -> bool:
    try:
        return text.encode(encoding).decode(encoding) == text
    except UnicodeError:
        return False
