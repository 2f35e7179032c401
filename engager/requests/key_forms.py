"""Normal forms of keys: which texts mean the same person, and which key a text of a list means.

A list only prevents messages, so it is read leniently, but without guessing: a text that is not certainly a
key is reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial

from engager.altcraft.parameters import PARAMETERS
from engager.config.characters import BLANKS, WITHOUT_WIDTH

#: A function to the form in which keys are compared.
Fold = Callable[[str], str]

#: The separator of the parts of a key, if a profile is matched by more than one field.
PART = "\x1f"

_QUOTES = "\"'`«»“”„‘’"
#: A name with an address in angle brackets. An address outside of them would be another key.
_ANGLE = re.compile(r"[^<>@]*<([^<>]*)>[^<>@]*")
_BETWEEN = re.compile(r"[,;\t|]|\s(?=[^\s<]+@)")
_COMMENT = re.compile(r"\s(#|//).*")

#: Digits of a number within a country whose numbers have ten, with the 8 before it: Russia, Kazakhstan.
_WITH_TRUNK = 11

_PHONE_SIGNS = re.compile(r"[\s().\u2010-\u2015-]")


def fold_of(*fields: str, region: str | None = None) -> Fold:
    """The function that makes two values of a key equal if they mean the same person."""
    folds = [_fold(field, region) for field in fields]
    if len(folds) == 1:
        return folds[0]
    return lambda text: PART.join(
        fold(part) for fold, part in zip(folds, parts_of(text, len(folds)), strict=False)
    )


def parts_of(identity: str, parts: int) -> list[str]:
    """The values of a key that is matched by so many fields."""
    return identity.split(PART, parts - 1)


def fold_of_listed(fields: Sequence[str], region: str | None = None) -> Fold:
    """The function for lists whose entries may be a value of any of the fields: only an address has an @."""
    first, *others = (_fold(field, region) for field in fields)
    return (lambda text: first(text) if "@" in text else others[0](text)) if others else first


def _fold(field: str, region: str | None) -> Fold:
    if field == "phone":
        return _number if region is None else partial(_number_in, region)
    return {"email": _address, "profile_id": _hexadecimal}.get(field, str.strip)


def _hexadecimal(text: str) -> str:
    return text.strip().lower()


def _address(text: str) -> str:
    """Addresses that differ only in case, or in the spelling of an international host, are the same."""
    text = text.strip().lower()
    if text.isascii():
        return text
    local, at, host = text.rpartition("@")
    return f"{local}{at}{_ascii_host(host)}" if at else text


def _ascii_host(host: str) -> str:
    import idna  # only for addresses that need it

    try:
        return idna.encode(host, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        return host


def _number(text: str) -> str:
    """The digits of a telephone number, without grouping and plus sign."""
    return "".join(filter(str.isdecimal, text))


def _number_in(region: str, text: str) -> str:
    return _number(international(text, region) or text)


def international(text: str, region: str) -> str | None:
    """A telephone number as `+` and its digits; None if it is not a number that is valid in the region."""
    import phonenumbers  # only for jobs that need it

    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if number.extension or not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


class PhoneForm(StrEnum):
    """How much of a telephone number stands there. One number in two of these forms is two keys."""

    COUNTRY = "with the code of a country"
    TRUNK = "with the 0 or 8 that is dialled within a country"
    BARE = "with neither"


def phone_form(text: str) -> PhoneForm:
    """The form of a telephone number, as far as its digits tell without knowing the country."""
    digits = _number(text)
    if text.lstrip().startswith(("+", "00")):
        return PhoneForm.COUNTRY
    if digits.startswith("0") or (len(digits) == _WITH_TRUNK and digits.startswith("8")):
        return PhoneForm.TRUNK
    return PhoneForm.BARE if len(digits) < _WITH_TRUNK else PhoneForm.COUNTRY


def listed_keys(text: str, *fields: str) -> list[str] | None:
    """The keys of a text of a list; empty for a blank or a comment, None if it is not a key."""
    found = [_listed(text, field) for field in fields]
    return next(filter(None, found), None if None in found else [])


def _listed(text: str, field: str) -> list[str] | None:
    text = text.strip(BLANKS)
    if field not in _CLEANED:
        return [text] if (text := text.strip('"')) else []
    for part in (text, _COMMENT.sub("", text)):
        if (key := _key(part, field)) is not None:
            return [key] if key else []
    if text.startswith(("#", "//")):
        # A key after the mark may be disabled, or may be a person with a number before it.
        return None if _key(text.lstrip("#/"), field) else []
    parts = [_key(part, field) for part in _BETWEEN.split(text)]
    return None if None in parts else [part for part in parts if part]


def _key(text: str, field: str) -> str | None:
    """The key that a text means; empty if it is blank, None if it is not a key."""
    text = "".join(character for character in text if character not in WITHOUT_WIDTH)
    if angle := _ANGLE.fullmatch(text):
        text = angle[1]
    text = text.strip(f"{BLANKS}{_QUOTES},;|")
    text = _CLEANED[field](text)
    return text if not text or PARAMETERS[field](text) is None else None


def _bare_address(text: str) -> str:
    scheme, colon, rest = text.partition(":")
    if colon and scheme.strip().lower() == "mailto":
        text = rest.partition("?")[0].strip(BLANKS)
    return text.strip(_QUOTES + ".")


def _bare_number(text: str) -> str:
    scheme, colon, rest = text.partition(":")
    return _PHONE_SIGNS.sub(
        "", rest if colon and scheme.strip().lower() in ("tel", "callto", "sms") else text
    )


#: Fields whose keys have a form, and the functions that remove what is around a key.
_CLEANED: Mapping[str, Fold] = {"email": _bare_address, "phone": _bare_number, "profile_id": str.strip}


def has_form(field: str) -> bool:
    """Whether the keys of a field have a form, so that a text can be recognized as not a key."""
    return field in _CLEANED
