"""A text of somebody else's in, the same out without what steers a terminal or turns other text round."""

from __future__ import annotations


def printable(text: str, instead: str = "\ufffd") -> str:
    """The text, with `instead` in the place of every character that does not show."""
    return "".join(character if character.isprintable() else instead for character in text)
