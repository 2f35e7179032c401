"""Builds the request of a row, or reports what is wrong with the row. It never raises for a row's values.

All that is the same for every row is computed once per job.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import orjson

from engager.altcraft import parameters as p
from engager.altcraft.attachments import MAX_BODY, MAX_BODY_WITH_FILES
from engager.altcraft.methods import METHODS, Method, method_of
from engager.altcraft.profile_data import SHAPES
from engager.altcraft.request_bodies import BatchBody, JsonBody, Wire, WireError, XmlBody, body_of
from engager.config.characters import BLANKS
from engager.errors import ParameterError
from engager.models import EngageRequest, Invalid, Row, Skipped, blank, is_blank
from engager.requests.attachments import read_attachments
from engager.requests.identity import RequestIds
from engager.requests.key_forms import PART, international
from engager.requests.omission import EMPTY, WrongValueError, completed
from engager.requests.row_filter import FILTERED, RowFilter
from engager.requests.template import (
    PLAIN,
    Columns,
    Compiled,
    Reading,
    RowError,
    compile_value,
    names_nearest,
    static,
)

#: The error of a job whose requests all have the same key.
NO_COLUMN = "the key contains no {column}, so every row would be sent to the same person"


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """The settings of the job for its requests."""

    parameters: Mapping[str, Any]  #: the [request] table
    base: Path  #: the folder that paths of attachments begin at
    token: str  #: or a mask, to show a request without its secret
    auth: Literal["body", "bearer"] = "body"
    wire: Wire = "json"
    answer: Literal["json", "xml", "csv"] = "json"
    further_matching: bool = False
    reading: Reading = PLAIN
    region: str | None = None  #: the country of telephone numbers without a country code
    batch_bytes: int = MAX_BODY  #: bytes of the body of a batch, at most
    filter: Mapping[str, Sequence[Any]] = field(default_factory=dict)  #: by column, the values of wanted rows
    content_by_row: bool = False  #: `content` of a batch may contain columns: then every row has its own


@dataclass(frozen=True, slots=True)
class _Field:
    """A compiled parameter with its rule."""

    name: str
    value: Compiled
    rule: p.Rule | None  #: None: the value was checked with the job, for all rows
    required: bool
    origin: str  #: the columns it comes from, as text
    column: str | None  #: the column if it comes from one only
    is_key: bool  #: profiles are matched by it
    names_person: bool  #: it is the address, number or id of a person


class Builder:
    """Builds the requests of one run.

    With a method that carries many rows, the body of a request is the item of its row alone, and its id is
    empty: `join` makes the body of a batch.
    """

    def __init__(self, spec: RequestSpec, columns: Columns, run_id: str) -> None:
        self.warnings: list[str] = []
        self.notes: list[str] = []  #: facts that the operator should know before the first row
        #: Whether requests have an `identity`, all that their profile is matched by: needed to find repeats.
        self.identifies = False
        #: A digest for each attachment.
        self.attached: list[str] = []
        #: Rows whose key had blanks or invisible characters around it, by the column it comes from.
        self.trimmed: Counter[str] = Counter()
        self.request_ids = RequestIds(run_id)
        self._reading, self._region = spec.reading, spec.region
        self._filter = RowFilter(spec.filter, columns, spec.reading.empty) if spec.filter else None
        given = dict(spec.parameters)
        self._method = method = _method(given)
        self._once = method.once
        #: Whether a request carries many rows.
        self.is_batch = method.is_batch
        _refuse_unknown(given, method, spec.further_matching)
        attach = read_attachments(given.pop("attach"), spec.base) if "attach" in given else []
        self.attached = [blake2b(orjson.dumps(file), digest_size=16).hexdigest() for file in attach]
        matching = _matching(given, method, spec.further_matching)
        self._key = method.modes(True).get(matching)
        self._warn_of_unused(given, matching)
        self._wire: JsonBody | XmlBody | BatchBody = _wire(spec, attach)
        self._limit = MAX_BODY_WITH_FILES if attach else MAX_BODY
        self._id_of = self.request_ids.for_row
        if method.is_batch and spec.content_by_row and self._has_column(given.get("content"), columns):
            self._once -= {"content"}
        order = dict.fromkeys([method.scenario, "matching", *method.parameters])
        self._fields = [self._field(name, given, columns) for name in order if name in given]
        if method.is_batch:
            self._begin_batches(self._wire, spec)
        #: All fields in the order in which they are sent; the values of the row are inserted with the row.
        self._template = {
            field.name: field.value.render(()) if field.value.static else None for field in self._fields
        }
        self._of_row = [field for field in self._fields if not field.value.static]
        self._is_for_one = self.is_for_one

    def _begin_batches(self, wire: Any, spec: RequestSpec) -> None:
        """Keep what stands once out of the rows, whose bodies are items of a list from here on."""
        shared = {field.name: field.value.render(()) for field in self._fields if field.name in self._once}
        self._fields = [field for field in self._fields if field.name not in self._once]
        self._batch = self._wire = BatchBody(wire, shared)
        # Not batch.bytes: another size at a later start must not change which rows are valid. That decides
        # which row is the first with its key, and which are members of an open batch.
        self._limit -= self.frame_bytes + self.separator_bytes
        self._id_of = _no_id
        if spec.batch_bytes <= self.frame_bytes + self.separator_bytes:
            raise ParameterError(
                "batch.bytes",
                f"what every batch carries has {self.frame_bytes:,} bytes already; raise it above that",
            )

    @property
    def frame_bytes(self) -> int:
        """Bytes of a batch without items.

        A batch has at most these and, of every item, its bytes and `separator_bytes`.
        """
        return self._batch.frame_bytes

    @property
    def separator_bytes(self) -> int:
        """Bytes that an item adds to a batch besides its own."""
        return self._batch.separator_bytes

    def join(self, items: Sequence[bytes]) -> tuple[bytes, tuple[bytes, ...]]:
        """Join items to a batch.

        Returns:
            All that its Request-ID is derived from, which is all but token, format and attachments; and the
            parts of its body.

        """
        return self._batch.join(items)

    def _has_column(self, value: Any, columns: Columns) -> bool:
        return not compile_value(value, columns, "request.content", self._reading).static

    def _field(self, name: str, given: Mapping[str, Any], columns: Columns) -> _Field:
        matched_by = self._key.fields if self._key else ()
        required = name in (self._method.scenario, "custom_request") or name in matched_by
        compiled = self._compiled(name, given[name], columns)
        if name == "subscription_filter":
            _check_filter(given[name])
        if name in self._once and not compiled.static:
            raise ParameterError(f"request.{name}", _why_once(name))
        rule = self._method.parameters.get(name) if name not in SHAPES else None
        if compiled.static:
            self._check_literal(name, compiled.render(()), rule)
        origin = ", ".join(f"column {column!r}" for column in sorted(compiled.columns))
        column = min(compiled.columns, default=None)
        is_key = name in matched_by or name == "custom_request"
        return _Field(
            name,
            compiled,
            None if compiled.static else rule,
            required,
            origin,
            column,
            is_key,
            is_key or name == "subscription_filter",
        )

    def _compiled(self, name: str, given: Any, columns: Columns) -> Compiled:
        key = f"request.{name}"
        if name in SHAPES:
            return self._compiled_profile(name, given, columns)
        reading = self._reading if name != "custom_request" else replace(self._reading, scalars=True)
        return compile_value(given, columns, key, reading)

    def _compiled_profile(self, name: str, given: Any, columns: Columns) -> Compiled:
        """Data of a profile: checked at any depth, and without what comes from an empty cell."""
        shape, reading = SHAPES[name], replace(self._reading, marks_empty=True)
        compiled = compile_value(given, columns, f"request.{name}", reading)
        try:
            whole = completed(compiled.outline, shape, self._clean)
        except WrongValueError as wrong:
            raise ParameterError(".".join(map(str, ("request", name, *wrong.path))), wrong.text) from None
        if compiled.static:
            return static(whole)

        def render(row: Any) -> Any:
            try:
                found = completed(compiled.render(row), shape, self._clean)
            except WrongValueError as wrong:
                raise _profile_error(name, wrong, given, columns) from None
            return None if found is EMPTY else found

        return replace(compiled, render=render)

    def _check_literal(self, name: str, value: Any, rule: p.Rule | None) -> None:
        if rule is not None and (wrong := rule(value)):
            raise ParameterError(f"request.{name}", wrong[1])
        try:
            self._wire.content({name: value})
        except WireError as fault:
            raise ParameterError(f"request.{name}", str(fault)) from None

    def _warn_of_unused(self, given: Mapping[str, Any], matching: str) -> None:
        used = set(self._key.fields) if self._key else set()
        meant_to_match = {"email", "phone", "profile_id", "field_name", "field_value"}
        for name in given:
            if name in meant_to_match | set(p.FURTHER_PARAMETERS) and name not in used:
                self.warnings.append(f"request.{name} is not used by {matching or 'custom_request'} matching")
        if "resource_id" in given and not (self._key and self._key.narrowed):
            self.warnings.append("request.resource_id narrows matching by email and phone only")

    def columns_of(self, name: str) -> list[str]:
        """The columns that a parameter comes from, and its name."""
        columns = next((sorted(field.value.columns) for field in self._fields if field.name == name), [])
        return [*columns, name]

    @property
    def listed_fields(self) -> tuple[str, ...]:
        """The parameters whose values may be keys of lists: each of them alone says who a person is."""
        first, *others = self.key_fields
        return first, *(name for name in others if name == "phone")

    @property
    def key_field(self) -> str:
        """The parameter whose value is the key."""
        return self.key_fields[0]

    @property
    def is_for_one(self) -> bool:
        """Whether every row of an input would be sent to the same person."""
        return all(field.value.static for field in self._fields if field.is_key)

    @property
    def key_is_part(self) -> bool:
        """Whether the profile is matched by more than the key."""
        return len(self.key_fields) > 1

    @property
    def key_fields(self) -> tuple[str, ...]:
        """The parameters that the profile is matched by, the key first."""
        return self._key.fields if self._key else ("custom_request",)

    @property
    def required_columns(self) -> frozenset[str]:
        """The columns without a default."""
        filtered = self._filter.columns if self._filter else frozenset()
        return filtered.union(*(field.value.required for field in self._fields))

    def build(self, row: Row) -> EngageRequest | Invalid | Skipped:
        """Build the row's request."""
        built = self._built_or_invalid(row)
        if self._filter is None or isinstance(built, Skipped):
            return built
        if (column := self._filter.missed_by(row.values)) is None:
            return built
        text = f"column {column!r} has none of the values of input.filter"
        return Skipped(row, built.key, FILTERED, text)

    def _built_or_invalid(self, row: Row) -> EngageRequest | Invalid | Skipped:
        try:
            built = self._built(row)
            return blank(row) if type(built) is Invalid and is_blank(row.values) else built
        except (
            Exception
        ) as fault:  # whatever a library raises for the values of a row is the outcome of that row
            text = f"the request cannot be built: {type(fault).__name__}: {fault}"
            return Invalid(row, None, "not_writable", text)

    def _built(self, row: Row) -> EngageRequest | Invalid:
        values = self._template.copy()
        if self._is_for_one and row.number > 1:
            return Invalid(row, self._key_of(values), "no_column", NO_COLUMN)
        try:
            for field in self._of_row:
                value = field.value.render(row.values)
                if field.names_person:
                    value = self._bare(field, value)
                if value is None and not field.required:
                    del values[field.name]
                    continue
                if field.rule is not None and (value is None or (wrong := field.rule(value))):
                    raise _row_error(field, None if value is None else wrong)
                values[field.name] = value
            content = self._wire.content(values)
        except RowError as fault:
            hint = "" if field.is_key else fault.hint  # a key has no default
            return Invalid(row, self._key_of(values), fault.error, f"{fault}{hint}", fault.column)
        except WireError as unsayable:
            return Invalid(row, self._key_of(values), "not_writable", str(unsayable))
        body = self._wire.body(content)
        size = len(body[0]) if len(body) == 1 else sum(map(len, body))
        if size > self._limit:
            return Invalid(row, self._key_of(values), "too_large", self._too_large(size))
        request = EngageRequest(row, self._key_of(values) or "", self._id_of(row.number, content), body)
        if self.identifies:
            request.identity = self._identity_of(values, request.key)
        return request

    def _too_large(self, size: int) -> str:
        if self.is_batch:
            return f"the row has {size:,} bytes; a batch has room for {self._limit:,}"
        return f"the request has {size:,} bytes; the endpoint accepts {self._limit:,}"

    def _key_text(self, name: str, column: str | None, text: str) -> str:
        """The key without invisible characters around it; a telephone number with its country code."""
        bare = text.strip(BLANKS)
        if bare != text:
            self.trimmed[column or name] += 1
        if name == "phone" and self._region is not None:
            return international(bare, self._region) or bare
        return bare

    def _clean(self, kind: str, text: str) -> str:
        """An address in the data of a profile, as a key is cleaned. Not counted: the key of the row is."""
        bare = text.strip(BLANKS)
        if kind == "phone" and self._region is not None:
            return international(bare, self._region) or bare
        return bare

    def _bare(self, field: _Field, value: Any) -> Any:
        if isinstance(value, str):
            return self._key_text(field.name, field.column, value)
        if not isinstance(value, dict) or field.is_key:
            return value
        return {
            name: self._key_text(name, field.column, each) if isinstance(each, str) else each
            for name, each in value.items()
        }

    def _identity_of(self, values: Mapping[str, Any], key: str) -> str:
        return PART.join([key, *(str(values.get(name)) for name in self.key_fields[1:])])

    def _key_of(self, values: Mapping[str, Any]) -> str | None:
        if self._key is None:
            query = values.get("custom_request")
            return orjson.dumps(query).decode() if query else None
        value = values.get(self._key.fields[0])
        return None if value is None else str(value)


def _row_error(field: _Field, wrong: tuple[str, str] | None) -> RowError:
    error, text = wrong or ("empty", "is empty")
    return RowError(error, f"{field.name} {text} ({field.origin})", field.column or field.name)


def _profile_error(name: str, wrong: WrongValueError, given: Any, columns: Columns) -> RowError:
    """The error of a value in the data of a profile, with the column of that value."""
    for part in wrong.path:
        if isinstance(given, str):
            break
        given = given[part]
    read = sorted(compile_value(given, columns, name).columns)
    where, origin = ".".join(map(str, (name, *wrong.path))), ", ".join(f"column {each!r}" for each in read)
    return RowError(wrong.error, f"{where} {wrong.text} ({origin})", read[0] if read else name)


def _no_id(number: int, content: bytes) -> str:
    """A row of a batch has no id of its own."""
    return ""


def _why_once(name: str) -> str:
    text = "a batch has it once, for all its rows: it cannot contain {column}"
    more = "; batch.content_by_row = true gives every row its own" if name == "content" else ""
    return f"{text}{more}"


def compile_builder(spec: RequestSpec, columns: Columns, run_id: str) -> Builder:
    """Compile a job's requests against the input's columns. Raises ParameterError."""
    return Builder(spec, columns, run_id)


def _wire(spec: RequestSpec, attach: list[dict[str, str]]) -> JsonBody | XmlBody:
    head: dict[str, Any] = {"token": spec.token} if spec.auth == "body" else {}
    if spec.answer != "json":  # the endpoint's default
        head["format"] = spec.answer
    try:
        return body_of(spec.wire, head, attach)
    except WireError as fault:
        raise ParameterError("request.attach", str(fault)) from None


def _method(given: dict[str, Any]) -> Method:
    """The method of the job, which is no parameter of its requests."""
    if (method := method_of(given)) is None:
        raise ParameterError("request.method", f"it must be one of {', '.join(METHODS)}")
    given.pop("method", None)
    return method


def _refuse_unknown(given: Mapping[str, Any], method: Method, further: bool) -> None:
    for name in ("token", "format"):
        if name in given:
            raise ParameterError(f"request.{name}", f"it belongs to [endpoint], as endpoint.{name}")
    known = {*method.known} - (set() if further else p.FURTHER_PARAMETERS)
    for name in given:
        if name not in known:
            raise ParameterError(f"request.{name}", _why_unknown(name, method, known))
    if method.scenario not in given:
        raise ParameterError(f"request.{method.scenario}", "missing; set it to the number of the scenario")


def _why_unknown(name: str, method: Method, known: set[str]) -> str:
    if name in {other.scenario for other in METHODS.values()}:
        return f"{method.name} has another name for it; did you mean {method.scenario!r}?"
    takers = [other.name for other in METHODS.values() if name in other.known]
    if takers and name not in method.known:
        return f"{method.name} does not take it; it is a parameter of {', '.join(takers)}"
    return f"unknown parameter; {names_nearest(name, sorted(known))}"


def _matching(given: dict[str, Any], method: Method, further: bool) -> str:
    """The matching mode; empty for a custom request. Raises ParameterError for a contradiction."""
    if "custom_request" in given:
        for name in ("matching", "subscription_filter"):
            if name in given:
                raise ParameterError(f"request.{name}", "it cannot be combined with custom_request")
        return ""
    if method.is_import:
        given.setdefault("matching", p.DEFAULT_MATCHING)
    matching, modes = given.get("matching", p.DEFAULT_MATCHING), method.modes(further)
    if matching not in (modes if isinstance(matching, str) else ()):
        allow = "; endpoint.further_matching = true allows it" if matching in method.modes(True) else ""
        raise ParameterError("request.matching", f"it must be one of {', '.join(modes)}{allow}")
    for name in modes[matching].fields:
        if name not in given:
            raise ParameterError(f"request.{name}", f"missing; matching by {matching} needs it")
    return str(matching)


def _check_filter(given: Any) -> None:
    """Check the keys of a `subscription_filter`: they are fixed by the job, also if its values are not."""
    if not isinstance(given, dict):
        return
    key = "request.subscription_filter"
    known = sorted({name for variant in p.FILTERS for name in variant} | {"not_strict"})
    for name in given:
        if name not in known:
            raise ParameterError(f"{key}.{name}", f"unknown key; {names_nearest(name, known)}")
    if p.rules_of_filter(given) is None:
        needed = "email, or phone, or subscription_id with provider"
        raise ParameterError(key, f"it needs {needed}, and only one of these")
