"""A text of somebody else's in, the same out without what steers a terminal or turns other text round."""

from __future__ import annotations


def sanitized(text: str, instead: str = "\ufffd") -> str:
    """The text, with `instead` in the place of every character that does not show."""
    return "".join(character if character.isprintable() else instead for character in text)


def name_fault(name: str) -> str | None:
    """Why the name of a file cannot be written down, in results and logs; None where it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return (
            f"{name!a}: the name holds bytes that are no text in this locale. Rename it, or choose "
            "the locale that it was named in, such as LC_ALL=C.UTF-8."
        )
    return None
