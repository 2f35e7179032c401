"""An endpoint of the import methods whose responses tell of each row in every way that a server can think of.

What it says under a success, with one entry per row, is true; an error without entries is one of a request
without effect, unless the nature says otherwise. All other responses may have had any effect.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engager.sandbox.formats import read_request, write_answer
from engager.sandbox.import_rules import BATCH, IMPORT
from tests.odd.odd_server import Answer, Nature, OddServer

#: Codes of a row without effect, and of one whose effect is unknown.
_NOT_DONE = (400, 404, 408, 425, 429, 429, 503, 503, -1, 1000)
_UNKNOWN = (409, 500, 502, 504, 599)
_FATAL = (401, 402, 403)


@dataclass(frozen=True)
class ImportNature(Nature):
    """What such an endpoint is like."""

    method: str = "import_and_start_batch"
    xml_item: str = "xml"  #: how entries are written in XML
    result: str = "objects"  #: what it says of rows while it is well: "objects", "ids" or "none"
    #: What one bad row makes of its batch: "one" row is refused, or all, "untouched", or "touched" before.
    bad_row: str = "one"
    manners: tuple[str, ...] = ("right",)  #: how it tells of rows while the way is odd
    codes: float = 0.0  #: share of rows with an error, while the way is odd
    fatal: bool = False  #: such an error may be one of all rows
    most_bytes: int | None = None  #: of a body
    own_refusal: bool = True  #: the endpoint says 413 itself, and not a gateway


@dataclass
class ImportServer(OddServer):
    """The endpoint."""

    nature: ImportNature
    decisions: Counter[str] = field(default_factory=Counter)  #: by person
    tasks: int = 0
    _instead: Answer | None = None  #: of the response that is remembered

    async def deed(self, request_id: str, body: bytes, error: int | None = None) -> Answer:
        answer = await super().deed(request_id, body, error)
        instead, self._instead = self._instead, None
        return instead or answer

    def _fields(self, body: bytes) -> dict[str, Any]:
        single = self.nature.method == "import_and_start"
        return read_request(body, IMPORT if single else BATCH) or {}

    def people(self, body: bytes) -> list[str]:
        """Whom a request is for."""
        fields = self._fields(body)
        items = [fields] if self.nature.method == "import_and_start" else fields.get("data")
        if not isinstance(items, list) or not items:
            self.wrong.append(f"a request without people: {body[:300]!r}")
            return []
        for item in items:
            self._examine(item)
        return [str(item.get("email")) for item in items]

    def _examine(self, item: dict[str, Any]) -> None:
        """No empty cell wipes a field."""
        data = item.get("data", {})
        held = [*data.values(), *[part for one in data.get("subscriptions", ()) for part in one.values()]]
        if any(value in ("", None, [], {}) for value in held):
            self.wrong.append(f"an empty value is sent: {item}")

    def refusal_of(self, length: int) -> Answer | None:
        """The response to a body that is too long; None if it is not."""
        if self.nature.most_bytes is None or length <= self.nature.most_bytes:
            return None
        self.happened["too_large"] += 1
        if self.nature.own_refusal:
            own = self.own(413, "too large")
            return Answer(413, own.body, own.headers)
        return Answer(413, b"<h1>413 Request Entity Too Large</h1>")

    def own(self, error: int, text: str) -> Answer:
        return self._written(error, text)

    def _written(self, error: int, text: str, further: dict[str, Any] | None = None, **more: Any) -> Answer:
        data, status = more.get("data"), more.get("status", 200)
        kind, body = write_answer(self.nature.answer, data, error, text, further, self.nature.xml_item)
        return Answer(status, body, (f"Content-Type: {kind}",))

    def decided(self, body: bytes, error: int | None) -> tuple[Answer, bool]:
        """Carry out a request."""
        people = self.people(body)
        if error is not None:
            return self.own(error, "odd, and\nnot done"), True
        nature = self.nature
        if nature.method == "import_and_start":
            return self._one(people[0])
        unknown = [place for place, person in enumerate(people) if self.is_unknown(person)]
        if unknown and nature.bad_row != "one":
            if nature.bad_row == "untouched":
                return self.own(400, f"data[{unknown[0]}]: no way"), True
            return self._touched(people[: unknown[0]])
        self.decisions.update(people)
        drawn = random.Random(f"{self.seed} {people} {[self.decisions[one] for one in people]}")
        rows = [self._row(person, drawn) for person in people]
        is_odd = self.is_odd and nature.method == "import_and_start_batch"
        answer = self._odd_answer(rows, drawn) if is_odd else self._answer(rows)
        return answer, not any(row["done"] for row in rows)

    def _touched(self, people: Sequence[str]) -> tuple[Answer, bool]:
        """Refused as a whole, after the people before the bad row were engaged."""
        self.effects.update(people)
        if self.nature.result != "objects":
            return self.own(400, "a bad row"), not people
        entries = [_entry({"code": 0, "person": person}) for person in people]
        return self._written(400, "a bad row", {"result": entries}), not people

    @property
    def is_odd(self) -> bool:
        return not self.well and self.requests <= self.nature.odd_requests

    def _one(self, person: str) -> tuple[Answer, bool]:
        row = self._row(person, random.Random(f"{self.seed} {person}"))
        odd = ["a" * 24, "", None, 12, {"a": 1}, True, "x" * 3000, 10**18]
        profile = self.drawing("profile", person).choice(odd) if self.is_odd else "b" * 24
        further = {"profile_id": profile} if row["code"] == 0 else {}
        return self._written(row["code"], "as it says", further), row["code"] != 0

    def _row(self, person: str, drawn: random.Random) -> dict[str, Any]:
        code = 0
        if self.is_unknown(person):
            code = 404
        elif self.is_odd and drawn.random() < self.nature.codes:
            code = drawn.choice((*_NOT_DONE, *_UNKNOWN, *(_FATAL if self.nature.fatal else ())))
        # An error of a whole response that is remembered is one without effect.
        may_be_done = code in _UNKNOWN and self.nature.method != "import_and_start"
        done = code == 0 or (may_be_done and drawn.random() < 0.5)
        self.effects[person] += done
        return {"person": person, "code": code, "done": done}

    def _answer(self, rows: Sequence[dict[str, Any]]) -> Answer:
        if self.nature.method == "import_and_start_batch_task":
            self.tasks += 1
            return self._written(0, "Successful operation", data={"task_id": self.tasks})
        if self.nature.result == "none":
            return self._silent(rows)
        if self.nature.result == "ids":
            ids = [f"{number:024x}" for number, row in enumerate(rows) if row["done"]]
            return self._written(0, "Successful operation", {"result": ids})
        return self._written(0, "Successful operation", {"result": [*map(_entry, rows)]})

    def _silent(self, rows: Sequence[dict[str, Any]], further: dict[str, Any] | None = None) -> Answer:
        error = 0 if any(row["done"] for row in rows) else rows[0]["code"]
        return self._written(error, "as it says", further)

    def _odd_answer(self, rows: Sequence[dict[str, Any]], drawn: random.Random) -> Answer:
        manner = drawn.choice(self.nature.manners)
        self.happened[f"rows_{manner}"] += 1
        entries: list[Any] = [*map(_entry, rows)]
        if manner in ("silent", "of_others"):
            others = {"results": entries[1:], "warnings": ["a"], "errors": len(entries)}
            return self._silent(rows, others if manner == "of_others" else None)
        if manner == "unknown_error":  # a repeat gets the right response
            self._instead = self.own(drawn.choice((500, 502, 504, 409, 408)), "as it says")
            return self._answer(rows)
        error, status = 0, 200
        if manner == "outer_error":
            error = drawn.choice((400, 404, 413, 402, 429, 503, 425, 500, 409))
        elif manner == "partial":
            error = drawn.choice((400, 402, 429, 500, 503, 413))
        elif manner == "error_status":
            error, status = (
                drawn.choice((0, 400, 429, 500)),
                drawn.choice((400, 409, 413, 422, 429, 500, 503)),
            )
        is_done = [bool(row["done"]) for row in rows]
        result = _RESULTS.get(manner, _right)(entries, is_done, drawn)
        return self._written(error, "as it says", {"result": result}, status=status)


_Results = Callable[[list[Any], Sequence[bool], random.Random], Any]


def _right(entries: list[Any], is_done: Sequence[bool], drawn: random.Random) -> Any:
    return entries


def _ids(entries: list[Any], is_done: Sequence[bool], drawn: random.Random) -> Any:
    return [f"{number:024x}" for number, done in enumerate(is_done) if done]


def _ids_of_all(entries: list[Any], is_done: Sequence[bool], drawn: random.Random) -> Any:
    return _ids(entries, is_done, drawn) if all(is_done) else entries


def _texts(entries: list[Any], is_done: Sequence[bool], drawn: random.Random) -> Any:
    for entry in entries:
        entry["error"] = drawn.choice((str(entry["error"]), float(entry["error"])))
        entry["error_text"] = drawn.choice((None, 7, {"a": []}, ["x"], "\x1b[31m\r\n\u202eodd"))
        entry["profile_id"] = drawn.choice((None, "", 7, True, {"a": 1}, "y" * 500))
    return entries


def _huge(entries: list[Any], is_done: Sequence[bool], drawn: random.Random) -> Any:
    for entry in entries[:: drawn.choice((1, 50))]:
        entry["error_text"] = "huge " * drawn.choice((50, 300))
    return entries


def _short(entries: list[Any], is_done: Sequence[bool], drawn: random.Random) -> Any:
    return entries[drawn.randint(1, len(entries)) :]


def _long(entries: list[Any], is_done: Sequence[bool], drawn: random.Random) -> Any:
    return [*entries, *entries[: drawn.randint(1, 3)]]


def _partial(entries: list[Any], is_done: Sequence[bool], drawn: random.Random) -> Any:
    return entries[: drawn.randrange(len(entries))] or ["x"]


def _mixed(entries: list[Any], is_done: Sequence[bool], drawn: random.Random) -> Any:
    if len(entries) > 1:  # a single id would be an id for every row
        entries[drawn.randrange(len(entries))] = drawn.choice(("a" * 24, 7, None, [], True))
    return entries


def _null(entries: list[Any], is_done: Sequence[bool], drawn: random.Random) -> Any:
    entries[drawn.randrange(len(entries))] = None
    return entries


def _no_codes(entries: list[Any], is_done: Sequence[bool], drawn: random.Random) -> Any:
    entries[drawn.randrange(len(entries))]["error"] = drawn.choice((None, True, "", "none", 0.5, []))
    return entries


def _nested(entries: list[Any], is_done: Sequence[bool], drawn: random.Random) -> Any:
    return drawn.choice(({"items": entries}, {"result": entries}, [{"xml": one} for one in entries]))


def _empty(entries: list[Any], is_done: Sequence[bool], drawn: random.Random) -> Any:
    return drawn.choice(([], {}, "", [[]]))


#: What stands in `result`; by default what is right.
_RESULTS: Mapping[str, _Results] = {
    "ids": _ids,
    "ids_of_all": _ids_of_all,
    "texts": _texts,
    "wrapped": lambda entries, _, __: {"xml": entries},
    "huge": _huge,
    "short": _short,
    "long": _long,
    "partial": _partial,
    "mixed": _mixed,
    "null": _null,
    "no_codes": _no_codes,
    "nested": _nested,
    "empty": _empty,
    "list_in_list": lambda entries, _, __: [entries],
    "object": lambda entries, _, __: {f"row{place}": entry for place, entry in enumerate(entries)},
}


#: Ways to tell of rows.
MANNERS = (*_RESULTS, "right", "silent", "of_others", "unknown_error", "outer_error", "error_status")


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    ok = row["code"] == 0
    return {
        "error": row["code"],
        "error_text": "Successful operation" if ok else f"no {row['code']}",
        "profile_id": "c" * 24 if ok else None,
    }
