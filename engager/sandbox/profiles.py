"""The profiles of the base: how they are matched, and how an import creates and updates them.

Invariant: a stored profile is never changed in place; an update replaces it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from engager.sandbox.import_rules import NAMING, PROFILE, is_function
from engager.sandbox.rules import FURTHER_MODES, PAGE_MODES

Profile = Mapping[str, Any]

MODES = {**PAGE_MODES, **FURTHER_MODES}

#: Ids begin with the second of their creation: a profile of the year 2106 exists nowhere.
_NOBODY = "ffffffff"


def key_of(fields: Mapping[str, Any]) -> str:
    """The value by which a request, or a row of it, matches its profile."""
    if "custom_request" in fields:
        return f"custom_request={fields['custom_request']}"
    mode = fields.get("matching", "email")
    names = MODES.get(mode, ()) if isinstance(mode, str) else ()
    return ",".join(f"{name}={fields.get(name)}" for name in names)


class Profiles:
    """The profiles of the base; without a list of them every profile exists."""

    def __init__(self, given: Sequence[Profile] | None) -> None:
        self.all_exist = given is None
        self._stored: list[Profile] = []
        #: Places by value. A value may be outdated: a profile that is found must still fit.
        self._index: dict[tuple[str, str], dict[int, None]] = {}
        for profile in given or ():
            self._put(len(self._stored), profile)

    def copy(self) -> Profiles:
        """The same profiles, for a rehearsal."""
        made = Profiles(None if self.all_exist else ())
        made._stored = self._stored.copy()
        made._index = {term: places.copy() for term, places in self._index.items()}
        return made

    def __iter__(self) -> Iterator[Profile]:
        return iter(self._stored)

    def find(self, fields: Mapping[str, Any]) -> Profile | None:
        """The first profile that a request matches; None if there is none, or no list of profiles."""
        place = self._place(fields)
        return None if place is None else self._stored[place]

    def exists(self, fields: Mapping[str, Any]) -> bool:
        """Whether an import would update a profile."""
        if not self.all_exist:
            return self._place(fields) is not None
        return fields["matching"] != "profile_id" or not fields["profile_id"].lower().startswith(_NOBODY)

    def import_(self, fields: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[str, str]:
        """Create or update the matched profile. Returns the person, as effects are counted, and the id."""
        key = key_of(fields)
        if self.all_exist:
            return key, fields["profile_id"] if fields["matching"] == "profile_id" else _id_of(key)
        place = self._place(fields)
        if place is None:
            place = len(self._stored)
            profile = _updated(_created(fields, _id_of(f"{place} {key}")), data)
        else:
            profile = _updated(self._stored[place], data)
        self._put(place, profile)
        who = str(profile.get("profile_id", key))
        return who, str(profile.get("profile_id", _id_of(key)))

    def _place(self, fields: Mapping[str, Any]) -> int | None:
        places: Iterable[int] = range(len(self._stored))
        if "custom_request" not in fields:
            mode = fields.get("matching", "email")
            name = MODES[mode][0]
            name, value = _custom(fields) if name == "field_name" else (name, fields[name])
            places = self._index.get((name, str(value)), ())
        return min((place for place in places if _fits(self._stored[place], fields)), default=None)

    def _put(self, place: int, profile: Profile) -> None:
        self._stored[place : place + 1] = [profile]
        for term in _terms(profile):
            self._index.setdefault(term, {})[place] = None


def _custom(fields: Mapping[str, Any]) -> tuple[str, Any]:
    return f"field {fields['field_name']}", fields["field_value"]


def _id_of(key: str) -> str:
    """An id of 24 hexadecimal digits that is the same in every run."""
    return blake2b(key.encode(), digest_size=12).hexdigest()


def _terms(profile: Profile) -> Iterator[tuple[str, str]]:
    """Everything by which a profile can be found."""
    for name in ("email", "phone", "profile_id", "subscription_id"):
        yield from ((name, str(value)) for value in _held(profile, name))
    yield from ((f"field {name}", str(value)) for name, value in profile.get("fields", {}).items())


def _held(profile: Profile, name: str) -> list[Any]:
    """The values of a profile and of its subscriptions."""
    subscriptions = profile.get("subscriptions", [])
    return [*_own(profile, name), *(has[name] for has in subscriptions if name in has)]


def _own(profile: Profile, name: str) -> list[Any]:
    own = [profile[name]] if name in profile else []
    return [*own, *profile.get("phones", [])] if name == "phone" else own


def _fits(profile: Profile, fields: Mapping[str, Any]) -> bool:
    if "custom_request" in fields:
        return _fits_query(profile, fields["custom_request"])
    mode = fields.get("matching", "email")
    if mode in ("custom", "custom_sub"):
        held = profile.get("fields", {}).get(fields["field_name"])
        return held is not None and str(held) == str(fields["field_value"])
    if mode == "push_sub":
        wanted = {name: fields[name] for name in FURTHER_MODES[mode]}
        return any(wanted.items() <= has.items() for has in profile.get("subscriptions", []))
    resource = fields.get("resource_id", profile.get("resource_id"))
    values = _held if mode in ("email", "phone") else _own
    same = all(fields[name] in values(profile, name) for name in MODES[mode])
    return same and (mode == "profile_id" or profile.get("resource_id") == resource)


def _fits_query(profile: Profile, query: Mapping[str, Any]) -> bool:
    """Evaluate the part of a MongoDB query that tests need: equality, $eq, $in, $and, $or."""
    return all(_fits_term(profile, name, wanted) for name, wanted in query.items())


def _fits_term(profile: Profile, name: str, wanted: Any) -> bool:
    if name in ("$and", "$or"):
        every = all if name == "$and" else any
        return every(_fits_query(profile, part) for part in wanted)
    held = profile.get(name, profile.get("fields", {}).get(name))
    if not isinstance(wanted, dict):
        return bool(held == wanted)
    return all(held in value if operator == "$in" else held == value for operator, value in wanted.items())


def _created(fields: Mapping[str, Any], profile_id: str) -> dict[str, Any]:
    """A profile that has nothing but what it is matched by."""
    names = MODES[fields["matching"]]
    if names[0] == "field_name":
        return {"profile_id": profile_id, "fields": {fields["field_name"]: fields["field_value"]}}
    if names[0] == "subscription_id":
        return {"profile_id": profile_id, "subscriptions": [{name: fields[name] for name in names}]}
    return {"profile_id": profile_id, **{name: fields[name] for name in names}}


def _updated(profile: Profile, data: Mapping[str, Any]) -> Profile:
    updated = {**profile, "fields": dict(profile.get("fields", {}))}
    for name, value in data.items():
        table = updated if name in PROFILE.types else updated["fields"]
        held = table.get(name)
        if name == "subscriptions" and isinstance(value, list):
            table[name] = _merged(held or [], value)
        elif (changed := _changed(held, value)) is None:
            table.pop(name, None)
        else:
            table[name] = changed
    if "phones" in data:  # the list is everything that is known of the telephones
        updated.pop("phone", None)
    return updated


def _merged(held: Sequence[Profile], given: Sequence[Profile]) -> list[Profile]:
    """Subscriptions after an import: one with the same names is replaced, others are added."""
    merged = list(held)
    for subscription in given:
        same = (place for place, has in enumerate(merged) if _names(has) == _names(subscription))
        place = next(same, len(merged))
        merged[place : place + 1] = [subscription]
    return merged


def _names(subscription: Profile) -> dict[str, Any]:
    return {name: subscription.get(name) for name in (*NAMING, "resource_id")}


def _changed(held: Any, value: Any) -> Any:
    """A field after an import; None if it is empty then."""
    if not is_function(value):
        return value
    action, given = value["action"], value.get("value")
    if action in ("set", "unset"):
        return given if action == "set" else None
    if action == "incr":
        return (held if isinstance(held, int | float) else 0) + given
    items = held if isinstance(held, list) else []
    parts = given if isinstance(given, list) else [given]
    if action == "delete":
        return [item for item in items if item not in parts]
    return [*items, *(part for part in parts if action == "add" or part not in items)]
