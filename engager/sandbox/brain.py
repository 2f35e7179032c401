"""The endpoint without a network: it computes the response and the effect of a request."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from engager.sandbox.config import SandboxConfig, Scenario
from engager.sandbox.formats import read_request, write_answer
from engager.sandbox.rules import FURTHER_MODES, PAGE_MODES, wrong_with, wrong_with_listing, wrong_with_switch

START = "workflows/start"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response of the endpoint and its effect."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str]
    error: int
    key: str  #: the value by which the profile was matched
    effect: bool = False  #: a message was sent
    duplicate: bool = False


@dataclass(slots=True)
class _Said:
    error: int
    error_text: str
    key: str = ""
    effect: bool = False
    data: Any = None


class Brain:
    """The state of the endpoint: engaged people by scenario, and remembered Request-IDs."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.effects: Counter[str] = Counter()
        self._engaged = 0  #: the sum of the effects, which is too slow to add up for every request
        self._entered: set[tuple[int, str]] = set()
        self._remembered: OrderedDict[tuple[str, str], tuple[float, Answer]] = OrderedDict()
        self._switched: dict[int, bool] = {}

    def answer(self, path: str, headers: Mapping[str, str], body: bytes, now: float) -> Answer:
        """Respond to one request; `now` is in seconds of a monotonic clock."""
        fields = read_request(body)
        if fields is None:
            return self._written("json", _Said(400, "Incorrect request"))
        language = str(fields.get("format", "json"))
        token = self._token(headers, fields)
        request_id = headers.get("Request-ID") or headers.get("X-Request-ID") or ""
        if (repeated := self._repeated(token, request_id, now)) is not None:
            return repeated
        answer = self._written(language, self._decided(path, token, fields))
        self._remember(token, request_id, answer, now)
        return answer

    def busy(self, body: bytes) -> Answer:
        """The response to a repeat while the first request is in progress."""
        fields = read_request(body) or {}
        content_type, text = write_answer(str(fields.get("format", "json")), None, 409, "In progress")
        return Answer(409, content_type, text, {}, 409, _key(fields))

    def _written(self, language: str, said: _Said) -> Answer:
        content_type, body = write_answer(language, said.data, said.error, said.error_text)
        as_status = self.config.assumptions.errors_as_status and 400 <= said.error < 600
        return Answer(
            said.error if as_status else 200, content_type, body, {}, said.error, said.key, said.effect
        )

    @staticmethod
    def _token(headers: Mapping[str, str], fields: Mapping[str, Any]) -> str:
        scheme, _, bearer = headers.get("Authorization", "").partition(" ")
        return bearer if scheme == "Bearer" else str(fields.get("token", ""))

    def _repeated(self, token: str, request_id: str, now: float) -> Answer | None:
        assumed = self.config.assumptions
        while self._remembered:
            first_at, _ = next(iter(self._remembered.values()))
            if now - first_at < assumed.dedupe_window:
                break
            self._remembered.popitem(last=False)
        known = self._remembered.get((token, request_id))
        if known is None or not assumed.deduplicate or not request_id:
            return None
        prefix = "X-Duplicate" if assumed.old_headers else "Duplicate"
        marks = {f"{prefix}-Request": "true", f"{prefix}-Key": request_id}
        return replace(known[1], headers=marks, effect=False, duplicate=True)

    def _remember(self, token: str, request_id: str, answer: Answer, now: float) -> None:
        if request_id and (answer.error == 0 or self.config.assumptions.replay_errors):
            self._remembered[token, request_id] = (now, answer)

    def _decided(self, path: str, token: str, fields: dict[str, Any]) -> _Said:
        config = self.config
        known = config.tokens is None or token in (*config.tokens, *config.powerless_tokens)
        if not token or not known:
            return _Said(401, "Token is wrong" if token else "Token required")
        if token in config.powerless_tokens:
            return _Said(403, "No rights")
        method = path.rstrip("/").removeprefix("/api/v1.1/")
        if method == START:
            return self._start(fields)
        if method in ("workflows/activate", "workflows/deactivate"):
            return self._switch(fields, method == "workflows/activate")
        if method == "workflows/list":
            return self._list(fields)
        return _Said(400, f"Unknown method {method}")

    def _scenario(self, number: Any) -> Scenario | None:
        if self.config.scenarios is None:
            found: Scenario | None = Scenario(number) if isinstance(number, int) else None
        else:
            found = next((s for s in self.config.scenarios if s.id == number), None)
        return found and replace(found, active=self._switched.get(found.id, found.active))

    def _switch(self, fields: Mapping[str, Any], active: bool) -> _Said:
        if wrong := wrong_with_switch(fields, active):
            return _Said(400, wrong)
        scenario = self._scenario(fields["id"])
        if scenario is None:
            return _Said(400, "Workflow not found")
        self._switched[scenario.id] = active
        return _Said(0, "Successful operation")

    def _list(self, fields: Mapping[str, Any]) -> _Said:
        if wrong := wrong_with_listing(fields):
            return _Said(400, wrong)
        # Where every id exists, those are listed that were spoken of.
        known = self._switched if self.config.scenarios is None else [s.id for s in self.config.scenarios]
        numbers = sorted(number for number in known if number >= fields.get("from_id", 1))
        listed = [self._scenario(number) for number in numbers[: fields.get("limit", 1000)]]
        data = [{"id": s.id, "name": s.name, "is_active": s.active} for s in listed if s]
        return _Said(0, "Successful operation", data=data)

    def _start(self, fields: dict[str, Any]) -> _Said:
        key = _key(fields)
        if wrong := wrong_with(fields, self.config.assumptions.further_matching):
            return _Said(400, wrong, key)
        scenario = self._scenario(fields["id"])
        if scenario is None:
            return _Said(400, "Workflow not found", key)
        if not scenario.active:
            return _Said(400, "Workflow is not active", key)
        try:
            who = self._who(fields, key)
        except LookupError as missing:
            return _Said(400, str(missing.args[0]), key)
        if not scenario.reentry and (scenario.id, who) in self._entered:
            return _Said(400, "Profile is in the workflow already", key)
        limit = self.config.tariff_limit
        if limit is not None and self._engaged >= limit:
            return _Said(402, "Tariff limit reached", key)
        self._entered.add((scenario.id, who))
        self.effects[who] += 1
        self._engaged += 1
        return _Said(0, "Successful operation", key, effect=True)

    def _who(self, fields: Mapping[str, Any], key: str) -> str:
        """The matched profile. Raises LookupError, whose text says what is missing."""
        if self.config.profiles is None:
            return key
        found = [profile for profile in self.config.profiles if _fits(profile, fields)]
        if not found:
            raise LookupError("Profile not found")
        who = str(found[0].get("profile_id", key))
        chosen = fields.get("subscription_filter")
        if chosen is None or chosen.get("not_strict"):
            return who
        wanted = {name: value for name, value in chosen.items() if name != "not_strict"}
        held = found[0].get("subscriptions", [])
        if not any(wanted.items() <= has.items() for has in held):
            raise LookupError("Subscription not found")
        return who


def _key(fields: Mapping[str, Any]) -> str:
    if "custom_request" in fields:
        return f"custom_request={fields['custom_request']}"
    mode = fields.get("matching", "email")
    names = {**PAGE_MODES, **FURTHER_MODES}.get(mode, ()) if isinstance(mode, str) else ()
    return ",".join(f"{name}={fields.get(name)}" for name in names)


def _fits(profile: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    if "custom_request" in fields:
        return _fits_query(profile, fields["custom_request"])
    mode = fields.get("matching", "email")
    if mode in ("custom", "custom_sub"):
        held = profile.get("fields", {}).get(fields["field_name"])
        return held is not None and str(held) == str(fields["field_value"])
    if mode == "push_sub":
        wanted = {name: fields[name] for name in FURTHER_MODES[mode]}
        return any(wanted.items() <= has.items() for has in profile.get("subscriptions", []))
    names = {**PAGE_MODES, **FURTHER_MODES}[mode]
    resource = fields.get("resource_id", profile.get("resource_id"))
    same = all(profile.get(name) == fields[name] for name in names)
    return same and (mode == "profile_id" or profile.get("resource_id") == resource)


def _fits_query(profile: Mapping[str, Any], query: Mapping[str, Any]) -> bool:
    """Evaluate the part of a MongoDB query that tests need: equality, $eq, $in, $and, $or."""
    return all(_fits_term(profile, name, wanted) for name, wanted in query.items())


def _fits_term(profile: Mapping[str, Any], name: str, wanted: Any) -> bool:
    if name in ("$and", "$or"):
        every = all if name == "$and" else any
        return every(_fits_query(profile, part) for part in wanted)
    held = profile.get(name, profile.get("fields", {}).get(name))
    if not isinstance(wanted, dict):
        return bool(held == wanted)
    return all(held in value if operator == "$in" else held == value for operator, value in wanted.items())
