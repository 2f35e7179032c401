"""The endpoint without a network: it computes the response and the effect of a request."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from engager.sandbox import imports, rules
from engager.sandbox.config import SandboxConfig, Scenario
from engager.sandbox.decisions import SUCCESS, Decision, Row, refused
from engager.sandbox.engagements import Engagements
from engager.sandbox.faults import ItemFaults
from engager.sandbox.formats import read_request, write_answer
from engager.sandbox.import_rules import BATCH, IMPORT, TASK_STATUS
from engager.sandbox.profiles import Profiles, key_of
from engager.sandbox.rules import Shape, wrong_with, wrong_with_listing, wrong_with_switch

START = "workflows/start"

#: Documented: bytes of a body without files.
MAX_BODY = 10_000_000

_SHAPES: Mapping[str, Shape] = {
    START: rules.START,
    imports.IMPORT: IMPORT,
    imports.BATCH: BATCH,
    imports.TASK: BATCH,
    "workflows/activate": rules.ACTIVATE,
    "workflows/deactivate": rules.DEACTIVATE,
    "workflows/list": rules.LISTING,
    "tasks/status": TASK_STATUS,
}

#: The methods that engage people.
_OF_ROWS = (START, imports.IMPORT, imports.BATCH, imports.TASK)

#: An id that no profile has, for an entry that answers no row.
_NO_PROFILE = "0" * 24


@dataclass(frozen=True, slots=True)
class Answer:
    """A response of the endpoint and its effect."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str]
    error: int
    key: str = ""  #: the value by which the profile was matched; empty for several rows
    effect: bool = False  #: a message was sent
    duplicate: bool = False
    rows: tuple[Row, ...] = ()  #: each row, as the first request decided


class Brain:
    """The state of the endpoint: engaged people by scenario, and remembered Request-IDs."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.profiles = Profiles(config.profiles)
        self._engagements = Engagements()
        item_faults = ItemFaults(config.faults, config.seed)
        self._imports = imports.Imports(self.profiles, self._engagements, item_faults)
        self._remembered: OrderedDict[tuple[str, str], tuple[float, Answer]] = OrderedDict()
        self._switched: dict[int, bool] = {}

    @property
    def effects(self) -> Counter[str]:
        """The messages of each person."""
        return self._engagements.effects

    @property
    def contents(self) -> Mapping[str, Any]:
        """The content of the latest message of each person that an import engaged."""
        return self._engagements.contents

    def answer(
        self, path: str, headers: Mapping[str, str], body: bytes, now: float, fault: str | None = None
    ) -> Answer:
        """Respond to one request; `now` is in seconds of a monotonic clock.

        The faults `short_result` and `long_result` change the list of this response; a repeat gets the whole.
        """
        method = _method(path)
        fields = self._read(method, body)
        if fields is None:
            return self._written("json", refused(400, "Incorrect request"))
        language = str(fields.get("format", "json"))
        token = self._token(headers, fields)
        request_id = headers.get("Request-ID") or headers.get("X-Request-ID") or ""
        if (repeated := self._repeated(token, request_id, now)) is not None:
            return repeated
        decision = self._decided(method, token, fields, len(body))
        answer = self._written(language, decision)
        self._remember(token, request_id, answer, now)
        return self._written(language, decision, fault) if fault else answer

    def busy(self, path: str, body: bytes) -> Answer:
        """The response to a repeat while the first request is in progress."""
        method = _method(path)
        fields = self._read(method, body) or {}
        text = "In progress"
        content_type, written = write_answer(str(fields.get("format", "json")), None, 409, text)
        decision = refused(409, text, *self._keys(method, fields))
        return Answer(409, content_type, written, {}, 409, decision.key, rows=decision.rows)

    def _read(self, method: str, body: bytes) -> dict[str, Any] | None:
        shape = _SHAPES.get(method, rules.START)
        return read_request(body, shape, self.config.assumptions.array_of_one_needs_mark)

    def _keys(self, method: str, fields: Mapping[str, Any]) -> list[str]:
        return imports.keys_of(method, fields, self.config.assumptions) if method in _OF_ROWS else []

    def _written(self, language: str, decision: Decision, fault: str | None = None) -> Answer:
        assumed = self.config.assumptions
        further: dict[str, Any] = {}
        if decision.profile_id is not None:
            further["profile_id"] = decision.profile_id
        if decision.by_row:
            further["result"] = _result(decision.rows, assumed.batch_result, fault)
        error = decision.error
        content_type, body = write_answer(
            language, decision.data, error, decision.error_text, further, assumed.batch_xml_item
        )
        as_status = error == 413 or (assumed.errors_as_status and 400 <= error < 600)
        status = error if as_status else 200
        key, effect, rows = decision.key, decision.effect, decision.rows
        return Answer(status, content_type, body, {}, error, key, effect, rows=rows)

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

    def _decided(self, method: str, token: str, fields: dict[str, Any], size: int) -> Decision:
        config = self.config
        if size > MAX_BODY and "attach" not in fields:
            return refused(413, "Request is too large")
        known = config.tokens is None or token in (*config.tokens, *config.powerless_tokens)
        if not token or not known:
            return refused(401, "Token is wrong" if token else "Token required")
        if token in config.powerless_tokens:
            return refused(403, "No rights")
        if method in _OF_ROWS:
            return self._engaged(method, fields)
        if method in ("workflows/activate", "workflows/deactivate"):
            return self._switch(fields, method == "workflows/activate")
        if method == "workflows/list":
            return self._list(fields)
        if method == "tasks/status":
            return self._imports.status(fields)
        return refused(400, f"Unknown method {method}")

    def _scenario(self, number: Any) -> Scenario | None:
        if self.config.scenarios is None:
            found: Scenario | None = Scenario(number) if isinstance(number, int) else None
        else:
            found = next((s for s in self.config.scenarios if s.id == number), None)
        return found and replace(found, active=self._switched.get(found.id, found.active))

    def _switch(self, fields: Mapping[str, Any], active: bool) -> Decision:
        if wrong := wrong_with_switch(fields, active):
            return refused(400, wrong)
        scenario = self._scenario(fields["id"])
        if scenario is None:
            return refused(400, "Workflow not found")
        self._switched[scenario.id] = active
        return Decision(0, SUCCESS)

    def _list(self, fields: Mapping[str, Any]) -> Decision:
        if wrong := wrong_with_listing(fields):
            return refused(400, wrong)
        # Where every id exists, those are listed that were spoken of.
        known = self._switched if self.config.scenarios is None else [s.id for s in self.config.scenarios]
        numbers = sorted(number for number in known if number >= fields.get("from_id", 1))
        listed = [self._scenario(number) for number in numbers[: fields.get("limit", 1000)]]
        data = [{"id": s.id, "name": s.name, "is_active": s.active} for s in listed if s]
        return Decision(0, SUCCESS, data=data)

    def _engaged(self, method: str, fields: dict[str, Any]) -> Decision:
        """Engage the people of a request."""
        assumed, keys = self.config.assumptions, self._keys(method, fields)
        if method == START:
            wrong = wrong_with(fields, assumed.further_matching)
        else:
            wrong = self._imports.wrong_with(method, fields, assumed)
        if wrong:
            return refused(400, wrong, *keys)
        scenario = self._scenario(fields["id" if method == START else "workflow_id"])
        if scenario is None:
            return refused(400, "Workflow not found", *keys)
        if not scenario.active:
            return refused(400, "Workflow is not active", *keys)
        if method == START:
            return self._start(fields, scenario)
        return self._imports.decide(method, fields, scenario, self.config)

    def _start(self, fields: dict[str, Any], scenario: Scenario) -> Decision:
        key = key_of(fields)
        try:
            who = self._who(fields, key)
        except LookupError as missing:
            return refused(400, str(missing.args[0]), key)
        if refusal := self._engagements.refusal(scenario, who, self.config.tariff_limit):
            return refused(*refusal, key)
        self._engagements.add(scenario, who)
        return Decision(0, SUCCESS, (Row(key, effect=True),))

    def _who(self, fields: Mapping[str, Any], key: str) -> str:
        """The matched profile. Raises LookupError, whose text says what is missing."""
        if self.profiles.all_exist:
            return key
        found = self.profiles.find(fields)
        if found is None:
            raise LookupError("Profile not found")
        who = str(found.get("profile_id", key))
        chosen = fields.get("subscription_filter")
        if chosen is None or chosen.get("not_strict"):
            return who
        wanted = {name: value for name, value in chosen.items() if name != "not_strict"}
        held = found.get("subscriptions", [])
        if not any(wanted.items() <= has.items() for has in held):
            raise LookupError("Subscription not found")
        return who


def _method(path: str) -> str:
    return path.rstrip("/").removeprefix("/api/v1.1/")


def _entry(row: Row) -> dict[str, Any]:
    profile_id = None if row.error else row.profile_id
    return {"error": row.error, "error_text": row.error_text, "profile_id": profile_id}


def _result(rows: tuple[Row, ...], kind: str, fault: str | None) -> list[Any]:
    """The rows of a batch as its response reports them."""
    filler: Any = _NO_PROFILE
    if kind == "ids":
        result: list[Any] = [row.profile_id for row in rows if row.effect]
    else:
        result = [_entry(row) for row in rows]
        filler = _entry(Row("", profile_id=_NO_PROFILE))
    if fault == "short_result":
        return result[1:]
    return [*result, *[filler] * (len(rows) + 1 - len(result))] if fault == "long_result" else result
