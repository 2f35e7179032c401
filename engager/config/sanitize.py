"""Removal of characters that control a terminal or change the direction of text."""

from __future__ import annotations


def sanitized(text: str, instead: str = "\ufffd") -> str:
    """Replace every character that is not printable with `instead`."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else instead for character in text)


def printable(text: str) -> str:
    """A text of several lines as it may reach a terminal: only the ends of its lines are not printable."""
    return "\n".join(map(sanitized, text.split("\n")))


def name_fault(name: str) -> str | None:
    """Why the name of a file cannot be written to results and logs; None if it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return (
            f"{name!a}: the name contains bytes that are not text in this locale. Rename the file, or set "
            "the locale in which it was named, such as LC_ALL=C.UTF-8."
        )
    return None
