"""Sends the request of one row to the operator instead of its person, outside of the account of every run.

Invariant: the person of the row is not reached, and their address is not in the request. Whatever names a
person is an address that the operator gave: the key, `subscription_filter`, and in an import the addresses
and subscriptions of `data`. The columns that they come from have the operator's value everywhere. What cannot
be replaced with certainty is refused.
"""

from __future__ import annotations

import html
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from typing import Any

from engager.altcraft.classification import Meaning, Verdict, judge, judge_batch
from engager.altcraft.parameters import PARAMETERS
from engager.altcraft.profile_data import SHAPES, Shape
from engager.config.job import JobFile
from engager.config.sanitize import sanitized
from engager.config.secret import MASK, Secret
from engager.endpoint.access import destination_of, origin_of, proxy_of, spec_of, token_of
from engager.endpoint.deduplication import admission_of
from engager.errors import InputError, JobError, ParameterError
from engager.models import EngageRequest, Reply, Row, Status, Unreadable
from engager.reader.rows import Rows
from engager.requests.builder import Builder, compile_builder
from engager.requests.key_forms import international
from engager.requests.template import Reading, RowError, compile_value
from engager.run.opening_input import builder_of, open_input
from engager.run.row_rules import selection_of
from engager.sending.delivery import STATUS_AFTER
from engager.sending.stop import Stop
from engager.sending.transport.choice import transport_to

#: Characters of a response that are shown.
_SHOWN = 2000

#: What an address is, by its kind.
_KINDS = ("email", "phone", "profile_id")


@dataclass(frozen=True, slots=True)
class TestPlan:
    """What a test is about to send, for the operator to confirm."""

    __test__ = False  # not a test of pytest

    endpoint: str
    method: str
    scenario: Any
    row: int
    to: Mapping[str, str]  #: the parameters that name a person, with the addresses that were given
    is_import: bool  #: it writes data of the row to the profile with this address

    def __str__(self) -> str:
        people = " and ".join(f"{name} {address}" for name, address in self.to.items())
        writes = "; it writes the data of this row to that profile" if self.is_import else ""
        return (
            f"Send the request of row {self.row} ({self.method}) to {self.endpoint}, scenario "
            f"{self.scenario}, for {people}{writes}?"
        )


@dataclass(frozen=True, slots=True)
class TestResult:
    """How a test ended."""

    __test__ = False

    endpoint: str
    method: str
    scenario: Any
    row: int
    to: Mapping[str, str]
    status: Status  #: as of a row whose only attempt this was
    http_status: int | None
    error: int | str | None
    error_text: str | None
    reference: str | None
    duplicate: bool
    request_id: str
    response: str | None  #: what the endpoint returned, in its own words; None: nothing came

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Prepared:
    plan: TestPlan
    request_id: str
    body: tuple[bytes, ...]


async def send_one(
    job_file: JobFile,
    to: Sequence[str],
    row: int | None,
    input_path: str | None,
    consents: Callable[[TestPlan], bool],
) -> TestResult | None:
    """Send one row's request to the given addresses, once; None: it was not confirmed.

    Raises JobError or InputError where the request cannot be made safe, or there is no such row.
    """
    secret = token_of(job_file)
    with closing(open_input(job_file, input_path, time.time())) as rows:
        prepared = _prepare(job_file, rows, secret, to, row)
    if not consents(prepared.plan):
        return None
    async with origin_of(job_file.job) as origin:
        destination = destination_of(job_file, secret, origin)
        transport = transport_to(destination, 1, job_file.job.endpoint.transport)
        try:
            admission = admission_of(job_file.job.pace, Stop())
            ending = await transport.send(prepared.body, prepared.request_id, admission)
        finally:
            await transport.aclose()
    method = job_file.job.method
    verdict = judge_batch(ending, 1, method.is_task) if method.is_batch else judge(ending)
    return _result(job_file, prepared, verdict, ending if isinstance(ending, Reply) else None)


def _result(job_file: JobFile, prepared: _Prepared, whole: Verdict, reply: Reply | None) -> TestResult:
    verdict, plan, proxy = whole, prepared.plan, proxy_of(job_file)
    reference = whole.reference
    if whole.rows:
        verdict, reference = whole.rows[0], next(iter(whole.references), None)
    accepted = whole.request_only and verdict.meaning is Meaning.ACCEPTED
    unknown = whole.rows is not None and not whole.rows

    def clean(text: str) -> str:
        return sanitized(Secret.redact_all(proxy.redact(text) if proxy else text), " ")[:_SHOWN]

    return TestResult(
        plan.endpoint,
        plan.method,
        plan.scenario,
        plan.row,
        plan.to,
        Status.ACCEPTED if accepted else Status.IN_DOUBT if unknown else STATUS_AFTER[verdict.meaning],
        verdict.http_status,
        verdict.error,
        verdict.error_text and clean(verdict.error_text),
        reference and clean(reference),
        verdict.duplicate,
        prepared.request_id,
        None if reply is None else clean(reply.body.decode(errors="replace")),
    )


def _prepare(
    job_file: JobFile, rows: Rows, secret: Secret, to: Sequence[str], number: int | None
) -> _Prepared:
    job = job_file.job
    ordinary = builder_of(job_file, rows, MASK, "test")
    parameters = deepcopy(dict(job.request))
    addresses = _Addresses(job_file, ordinary, to)
    addresses.replace_in(parameters)
    # The row has passed the filter already, and may not with the operator's address in a column.
    spec = replace(spec_of(job_file, secret.reveal()), parameters=parameters, filter={})
    try:
        builder = compile_builder(spec, rows.columns, secrets.token_hex(16))
    except ParameterError as fault:
        raise job_file.explain(fault) from None
    row, original = _first(job_file, rows, ordinary) if number is None else _row(rows, ordinary, number)
    new = addresses.columns(rows.columns)
    taken = [_value(row, rows.columns, column) for column in new]
    # As the first row of an input: without a column in the key, a builder allows only one.
    mine = replace(row, number=1, values=_with_values(row, rows.columns, new))
    given = {_plain(address) for address in addresses.given.values()}
    for name in SHAPES.keys() & parameters.keys():
        _refuse_other_people(_rendered(parameters[name], rows, mine, spec.reading), given, name)
    built = builder.build(mine)
    if not isinstance(built, EngageRequest):
        text = built.error_text
        raise JobError(
            f"row {row.number}: with the given address it is no request: {text}. Name another --row."
        )
    request_id, body = built.request_id, built.body
    if builder.is_batch:
        content, body = builder.join(built.body)
        request_id = builder.request_ids.for_row(1, content)
    _refuse_own_address(row, [original.key, *taken], addresses.given, body)
    scenario = _rendered(job.scenario, rows, mine, spec.reading)
    plan = TestPlan(
        job.endpoint.url, job.method.name, scenario, row.number, addresses.used, job.method.is_import
    )
    return _Prepared(plan, request_id, body)


def _rendered(template: Any, rows: Rows, row: Row, reading: Reading) -> Any:
    """A value of the job with the values of a row. Raises JobError."""
    try:
        return compile_value(template, rows.columns, "request", reading).render(row.values)
    except RowError as fault:
        raise JobError(f"row {row.number}: {fault}. Name another --row.") from None


_CHECK = "`engager check` shows why, and how many rows there are."


def _first(job_file: JobFile, rows: Rows, builder: Builder) -> tuple[Row, EngageRequest]:
    """The first row that a run would send, and its own request. Raises InputError."""
    selection = selection_of(job_file, builder)
    with nullcontext() if selection is None else closing(selection):
        for record in (record for chunk in rows.chunks() for record in chunk):
            built = record if isinstance(record, Unreadable) else builder.build(record)
            judged = built if selection is None or isinstance(built, Unreadable) else selection.judge(built)
            if isinstance(judged, EngageRequest):
                return judged.row, judged
    raise InputError(f"no row of the input can be sent. {_CHECK}")


def _row(rows: Rows, builder: Builder, number: int) -> tuple[Row, EngageRequest]:
    """The row with a number, and its own request. Raises InputError."""
    for record in (record for chunk in rows.chunks() for record in chunk if record.number == number):
        built = record if isinstance(record, Unreadable) else builder.build(record)
        if isinstance(built, EngageRequest):
            return built.row, built
        raise InputError(f"row {number}: it cannot be sent: {built.error_text}. Name another --row.")
    raise InputError(f"the input has no row {number}. {_CHECK}")


class _Addresses:
    """The operator's addresses, and the places of a request that they belong in."""

    def __init__(self, job_file: JobFile, builder: Builder, to: Sequence[str]) -> None:
        self._job_file, self._builder = job_file, builder
        if builder.key_field == "custom_request":
            raise self._refusal(
                "custom_request", "a query can find anybody. Test with a job that has `matching`"
            )
        self._region = job_file.job.input.region
        first, key = self._international(to[0].strip(), builder.key_field), builder.key_field
        rule = job_file.job.method.parameters.get(key)
        if rule is not None and (wrong := rule(first)):
            raise JobError(f"--to {to[0]}: {key} {wrong[1]}. The job matches people by {key}.")
        self.given: dict[str, str] = {key: first}
        self._give(to[1:])
        self.used: dict[str, str] = {}
        self._templates: list[tuple[Any, str]] = []  #: what was replaced, and the address in its place

    def _give(self, further: Sequence[str]) -> None:
        for text in map(str.strip, further):
            kinds = [kind for kind in _KINDS if PARAMETERS[kind](text) is None]
            kind = next((kind for kind in kinds if kind not in self.given), None)
            if kind is None:
                raise JobError(
                    f"--to {text}: it is no further email, phone or profile_id. Give one of each kind."
                )
            self.given[kind] = self._international(text, kind)

    def _international(self, text: str, kind: str) -> str:
        """A telephone number as the rows of the job have it."""
        return (international(text, self._region) or text) if kind == "phone" and self._region else text

    def _refusal(self, where: str, text: str) -> JobError:
        return JobError(self._job_file.at(f"request.{where}", f"{text}. Nothing was sent"))

    def _address(self, kind: str, where: str) -> str:
        if (found := self.given.get(kind)) is None:
            one = "an" if kind == "email" else "a"
            raise self._refusal(
                where,
                f"it names the person, too: give {one} {kind} of your own by a further --to, or test "
                "without it",
            )
        self.used.setdefault(kind, found)
        return found

    def replace_in(self, parameters: dict[str, Any]) -> None:
        """Put the addresses in the place of every person. Raises JobError where that is not certain."""
        for name in self._builder.key_fields:
            if name in (self._builder.key_field, *_KINDS):
                parameters[name] = self._instead(parameters[name], name, name)
        for name in (*_KINDS, "field_value", "subscription_id"):
            if name in parameters and name not in self._builder.key_fields:
                del parameters[name]  # the job warns that it is not used
        if "subscription_filter" in parameters:
            self._replace_filter(parameters["subscription_filter"])
        for name in SHAPES.keys() & parameters.keys():
            parameters[name] = self._within(parameters[name], SHAPES[name], name)

    def _instead(self, template: Any, kind: str, where: str) -> str:
        address = self._address(kind, where)
        self._templates.append((template, address))
        return _literal(address)

    def _replace_filter(self, given: Any) -> None:
        where = "subscription_filter"
        if not isinstance(given, dict):
            raise self._refusal(where, "it comes from a column as a whole. Test without it")
        for name in ("email", "phone"):
            if name in given:
                given[name] = self._instead(given[name], name, f"{where}.{name}")
        if "subscription_id" in given:
            raise self._refusal(
                f"{where}.subscription_id", "it names the device of the person. Test without it"
            )

    def _within(self, value: Any, shape: Shape, where: str) -> Any:
        """A part of a profile with the addresses in their places."""
        if shape.person:
            if not isinstance(value, str):
                raise self._refusal(
                    where, "an address that is not a text cannot be replaced. Test without it"
                )
            return self._instead(value, shape.person, where)
        if not _names_people(shape):
            return value
        if isinstance(value, str) and shape.items is not None and shape.items.person:
            return [self._instead(value, shape.items.person, where)]
        if isinstance(value, list) and shape.items is not None:
            parts = [self._within(part, shape.items, f"{where}.{at}") for at, part in enumerate(value)]
            return parts[:1] if shape.items.person else parts
        if isinstance(value, dict) and shape.parts and not (shape.takes_functions and "action" in value):
            for name in ("subscription_id", "cc_data"):
                if name in value and name in shape.parts:
                    raise self._refusal(
                        f"{where}.{name}", "it names the device of the person. Test without it"
                    )
            return {
                name: self._within(part, shape.parts[name], f"{where}.{name}")
                if name in shape.parts
                else part
                for name, part in value.items()
            }
        raise self._refusal(
            where, "the addresses in it cannot be replaced. Write them into the job one by one"
        )

    def columns(self, columns: tuple[str, ...] | None) -> dict[str, str]:
        """The columns that what was replaced comes from, each with the address in its place."""
        found = dict[str, str]()
        for template, address in self._templates:
            for column in compile_value(template, columns, "request").columns:
                found.setdefault(column, address)
        return found


def _names_people(shape: Shape) -> bool:
    parts = [*shape.parts.values(), *filter(None, [shape.items])]
    return bool(shape.person) or any(map(_names_people, parts))


def _literal(text: str) -> str:
    """A template that is this text."""
    return text.replace("{", "{{").replace("}", "}}")


def _value(row: Row, columns: tuple[str, ...] | None, column: str) -> str:
    if isinstance(row.values, Mapping):
        return str(row.values.get(column, ""))
    assert columns is not None  # noqa: S101 - a table has a header
    return row.values[columns.index(column)]


def _with_values(row: Row, columns: tuple[str, ...] | None, new: Mapping[str, str]) -> Any:
    """The values of a row with those of some columns replaced."""
    if isinstance(row.values, Mapping):
        return {**row.values, **new}
    assert columns is not None  # noqa: S101 - a table has a header
    return [new.get(column, value) for column, value in zip(columns, row.values, strict=True)]


def _refuse_own_address(
    row: Row, own: Iterable[str], given: Mapping[str, str], body: Sequence[bytes]
) -> None:
    """Raises JobError if an address of the row's person is anywhere in the request."""
    text = b"".join(body).decode(errors="replace").casefold()
    mine = {_plain(address) for address in given.values()}
    for address in (value.strip().casefold() for value in own):
        if _plain(address) in mine or not _is_address(address):
            continue
        looked_for = {address, html.escape(address, quote=False)}
        if any(form in text for form in looked_for) or _number(address) in _plain(text):
            raise JobError(
                f"row {row.number}: the request would contain {address}, the address of its person, by "
                "another column. Nothing was sent. Name another --row, or test without that parameter."
            )


def _refuse_other_people(value: Any, given: Collection[str], where: str, name: str = "") -> None:
    """Raises JobError for what looks like the address of another person in the data of a profile."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            _refuse_other_people(part, given, f"{where}.{key}", str(key) if isinstance(key, str) else name)
        return
    text = str(value).strip()
    is_phone = _PHONE_NAMES.search(name) is not None and _number(text) != _NO_NUMBER
    if (is_phone or PARAMETERS["email"](text) is None) and _plain(text) not in given:
        raise JobError(
            f"request.{where}: it is {text}, which is not yours, and messages could be sent to it. "
            "Nothing was sent. Give an address of this kind by a further --to, or test without this "
            "parameter."
        )


#: Names of fields whose values are telephone numbers.
_PHONE_NAMES = re.compile("phone|mobile|cell|tel", re.IGNORECASE)

#: In the place of the number of an address that is no telephone number; no text without blanks has it.
_NO_NUMBER = " "


def _is_address(text: str) -> bool:
    is_id = PARAMETERS["email"](text) is None or PARAMETERS["profile_id"](text) is None
    return is_id or _number(text) != _NO_NUMBER


def _number(text: str) -> str:
    """The last digits of a telephone number, which are the same with and without its country."""
    plain = _plain(text)
    return plain[-10:] if plain.isdecimal() and len(plain) >= 7 else _NO_NUMBER


def _plain(address: str) -> str:
    """An address without the grouping of a telephone number."""
    return re.sub(r"[\s().+-]", "", address.casefold())
