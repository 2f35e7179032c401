"""Rows to requests: every parameter and every rule of the page, as bytes written out by hand."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given
from hypothesis import strategies as st

from engager.errors import ParameterError
from engager.models import EngageRequest, Invalid, Row, Skipped
from engager.requests.builder import RequestSpec, compile_builder
from engager.requests.identity import fresh
from engager.requests.template import Reading
from engager.sandbox.formats import read_request
from engager.store.run_directory import FORMAT

COLUMNS = ("email", "name", "age", "phone", "id")
VALUES = ["ann@example.com", "Ann", "42", "+79000000000", "5a74876369d42613b31947b8"]
EMAIL = {"id": 12, "email": "{email}"}
TOKEN = "abcdefghijklmnqrstuvwxyz"


def build(
    parameters: dict[str, Any],
    values: Any = None,
    columns: tuple[str, ...] | None = COLUMNS,
    base: Path = Path(),
    run_id: str = "run",
    number: int = 1,
    **spec: Any,
) -> EngageRequest | Invalid | Skipped:
    builder = compile_builder(RequestSpec(parameters, base, **{"token": TOKEN, **spec}), columns, run_id)
    return builder.build(Row(number, number + 1, "people.csv", VALUES if values is None else values))


def body(parameters: dict[str, Any], values: Any = None, **options: Any) -> str:
    built = build(parameters, values, **options)
    assert isinstance(built, EngageRequest), built
    return b"".join(built.body).decode()


# The page's own examples.

FIRST = {"id": 11, "matching": "profile_id", "profile_id": "{id}"}
FIRST_JSON = """{
"token": "abcdefghijklmnqrstuvwxyz",
"id": 11,
"matching": "profile_id",
"profile_id": "5a74876369d42613b31947b8"
}"""
FIRST_XML = """<xml>
<token>abcdefghijklmnqrstuvwxyz</token>
<id>11</id>
<matching>profile_id</matching>
<profile_id>5a74876369d42613b31947b8</profile_id>
</xml>"""
SECOND = {
    "id": 12,
    "matching": "profile_id",
    "profile_id": "{id}",
    "attach": [
        {"path": "jp.txt", "name": "日本.txt", "type": "text/csv"},
        {"path": "US.txt", "type": "text/csv"},
    ],
    "content": {
        "data_lines": ["Channel A", "Channel B"],
        "email_title": "New videos on your favorite channels",
    },
}
SECOND_JSON = """{
"token": "abcdefghijklmnqrstuvwxyz",
"id": 12,
"matching": "profile_id",
"profile_id": "5a74876369d42613b31947b8",
"attach": [
{"data": "data:text/csv;base64,5LuK5pel44GvCg==", "name": "日本.txt"},
{"data": "data:text/csv;base64,SEVMTE8K", "name": "US.txt"}
],
"content": {
"data_lines": ["Channel A", "Channel B"],
"email_title": "New videos on your favorite channels"
}
}"""
SECOND_XML = """<xml>
<token>abcdefghijklmnqrstuvwxyz</token>
<id>12</id>
<matching>profile_id</matching>
<profile_id>5a74876369d42613b31947b8</profile_id>
<attach><data>data:text/csv;base64,5LuK5pel44GvCg==</data><name>日本.txt</name></attach>
<attach><data>data:text/csv;base64,SEVMTE8K</data><name>US.txt</name></attach>
<content>
<data_lines>Channel A</data_lines>
<data_lines>Channel B</data_lines>
<email_title>New videos on your favorite channels</email_title>
</content>
</xml>"""


def meaning(xml: str) -> Any:
    def of(element: ElementTree.Element) -> Any:
        if len(element):
            return element.tag, sorted((of(child) for child in element), key=lambda child: child[0])
        return element.tag, (element.text or "").strip()

    return of(ElementTree.fromstring(xml))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "jp.txt").write_text("今日は\n", encoding="utf-8")
    (tmp_path / "US.txt").write_text("HELLO\n")
    return tmp_path


@pytest.mark.parametrize(("parameters", "golden"), [(FIRST, FIRST_JSON), (SECOND, SECOND_JSON)])
def test_the_pages_examples_in_json(parameters: dict[str, Any], golden: str, files: Path) -> None:
    assert json.loads(body(parameters, base=files)) == json.loads(golden)


@pytest.mark.parametrize(("parameters", "golden"), [(FIRST, FIRST_XML), (SECOND, SECOND_XML)])
def test_the_pages_examples_in_xml(parameters: dict[str, Any], golden: str, files: Path) -> None:
    assert meaning(body(parameters, base=files, wire="xml")) == meaning(golden)


@pytest.mark.parametrize(
    ("parameters", "as_json", "as_xml"),
    [
        (
            {"id": 12, "email": "{email}", "resource_id": 24},
            '"id":12,"email":"ann@example.com","resource_id":24',
            "<id>12</id><email>ann@example.com</email><resource_id>24</resource_id>",
        ),
        (
            {"id": 12, "matching": "phone", "phone": "{phone}"},
            '"id":12,"matching":"phone","phone":"+79000000000"',
            "<id>12</id><matching>phone</matching><phone>+79000000000</phone>",
        ),
        (
            {"id": 12, "matching": "custom", "field_name": "CRM_ID", "field_value": "{age:int}"},
            '"id":12,"matching":"custom","field_name":"CRM_ID","field_value":42',
            "<id>12</id><matching>custom</matching><field_name>CRM_ID</field_name><field_value>42</field_value>",
        ),
        (
            {"id": 12, "matching": "custom", "field_name": "tags", "field_value": "tag-{name}, tag-2"},
            '"id":12,"matching":"custom","field_name":"tags","field_value":"tag-Ann, tag-2"',
            "<id>12</id><matching>custom</matching><field_name>tags</field_name>"
            "<field_value>tag-Ann, tag-2</field_value>",
        ),
        (
            {"id": 12, "custom_request": {"age": {"$gt": "{age:int}"}}},
            '"id":12,"custom_request":{"age":{"$gt":42}}',
            None,
        ),
        (
            {
                **EMAIL,
                "subscription_filter": {
                    "subscription_id": "CAREFUL",
                    "provider": "Chrome",
                    "not_strict": True,
                },
            },
            '"id":12,"email":"ann@example.com","subscription_filter":'
            '{"subscription_id":"CAREFUL","provider":"Chrome","not_strict":true}',
            "<id>12</id><email>ann@example.com</email><subscription_filter><subscription_id>CAREFUL"
            "</subscription_id><provider>Chrome</provider><not_strict>true</not_strict></subscription_filter>",
        ),
        (
            {**EMAIL, "subscription_filter": {"email": "{email}", "not_strict": True}},
            '"id":12,"email":"ann@example.com","subscription_filter":{"email":"ann@example.com","not_strict":true}',
            "<id>12</id><email>ann@example.com</email><subscription_filter><email>ann@example.com</email>"
            "<not_strict>true</not_strict></subscription_filter>",
        ),
        (
            {**EMAIL, "subscription_filter": {"phone": "{phone}", "not_strict": False}},
            '"id":12,"email":"ann@example.com","subscription_filter":{"phone":"+79000000000","not_strict":false}',
            "<id>12</id><email>ann@example.com</email><subscription_filter><phone>+79000000000</phone>"
            "<not_strict>false</not_strict></subscription_filter>",
        ),
        (
            {
                **EMAIL,
                "content": {"n": None, "deep": {"list": [1, {"a": 1.5}]}, "t": "<&{name}>", "{{x}}y": 1},
            },
            '"id":12,"email":"ann@example.com","content":'
            '{"n":null,"deep":{"list":[1,{"a":1.5}]},"t":"<&Ann>","{{x}}y":1}',
            None,
        ),
        (
            {**EMAIL, "content": {"n": None, "list": [1, {"a": True}], "t": "<&{name}>"}},
            '"id":12,"email":"ann@example.com","content":{"n":null,"list":[1,{"a":true}],"t":"<&Ann>"}',
            "<id>12</id><email>ann@example.com</email><content><n/><list>1</list><list><a>true</a></list>"
            "<t>&lt;&amp;Ann&gt;</t></content>",
        ),
    ],
)
def test_every_parameter(parameters: dict[str, Any], as_json: str, as_xml: str | None) -> None:
    assert body(parameters) == f'{{"token":"{TOKEN}",{as_json}}}'
    assert body(parameters, auth="bearer") == f"{{{as_json}}}"
    if as_xml is not None:
        golden = f"<xml><token>{TOKEN}</token><format>xml</format>{as_xml}</xml>"
        assert body(parameters, wire="xml", answer="xml") == golden


@given(st.lists(st.text("ab<&'", min_size=1, max_size=3), min_size=1, max_size=3))
def test_a_list_stays_a_list_in_xml_however_long_it_is(values: list[str]) -> None:
    written = body(
        {**EMAIL, "content": {"lines": "{lines}"}},
        {"email": "a@x.org", "lines": values},
        wire="xml",
        columns=None,
    )
    request = read_request(written.encode())
    assert request is not None
    assert request["content"] == {"lines": values}


def test_a_carriage_return_survives_the_reader_of_xml() -> None:
    """A reader turns a bare one into a line feed (https://www.w3.org/TR/xml/#sec-line-ends)."""
    text = "one\r\ntwo\rthree"
    written = body({**EMAIL, "content": {"t": text}}, wire="xml")
    assert fromstring(written).findtext("content/t") == text


@pytest.mark.parametrize("answer", ["xml", "csv"])
def test_the_format_of_the_answer(answer: str) -> None:
    assert json.loads(body(EMAIL, answer=answer))["format"] == answer


@pytest.mark.parametrize(
    ("mode", "fields", "key"),
    [
        ("email_profile", {"email": "{email}"}, "ann@example.com"),
        ("email_sub", {"email": "{email}"}, "ann@example.com"),
        ("phone_sub", {"phone": "{phone}"}, "+79000000000"),
        ("push_sub", {"provider": "Chrome", "subscription_id": "{name}"}, "Ann"),
        ("custom_sub", {"field_name": "CRM", "field_value": "{age:int}"}, "42"),
        ("email_phone", {"email": "{email}", "phone": "{phone}"}, "ann@example.com"),
        ("email_phone_sub", {"email": "{email}", "phone": "{phone}"}, "ann@example.com"),
    ],
)
def test_further_modes_only_when_the_job_says_so(mode: str, fields: dict[str, Any], key: str) -> None:
    parameters = {"id": 1, "matching": mode, **fields}
    built = build(parameters, further_matching=True)
    assert isinstance(built, EngageRequest)
    assert built.key == key
    with pytest.raises(ParameterError, match=r"further_matching|unknown parameter"):
        build(parameters)


@pytest.mark.parametrize(
    ("parameters", "key"),
    [
        ({"email": "{email}"}, "request.id"),
        ({"id": "12", "email": "{email}"}, "request.id"),
        ({"id": 0, "email": "{email}"}, "request.id"),
        ({"id": True, "email": "{email}"}, "request.id"),
        ({"id": 12}, "request.email"),
        ({"id": 12, "matching": "phone"}, "request.phone"),
        ({"id": 12, "matching": "profile_id"}, "request.profile_id"),
        ({"id": 12, "matching": "custom", "field_value": 1}, "request.field_name"),
        ({"id": 12, "matching": "custom", "field_name": "a"}, "request.field_value"),
        ({"id": 12, "matching": "name", "email": "{email}"}, "request.matching"),
        ({"id": 12, "matching": "{name}", "email": "{email}"}, "request.matching"),
        ({"id": 12, "matching": 7, "email": "{email}"}, "request.matching"),
        ({**EMAIL, "token": "x"}, "request.token"),
        ({**EMAIL, "format": "csv"}, "request.format"),
        ({**EMAIL, "contents": {}}, "request.contents"),
        ({**EMAIL, "content": "text"}, "request.content"),
        ({**EMAIL, "resource_id": -1}, "request.resource_id"),
        ({**EMAIL, "subscription_filter": {"mail": "a@x.org"}}, "request.subscription_filter.mail"),
        ({**EMAIL, "subscription_filter": {"provider": "Chrome"}}, "request.subscription_filter"),
        (
            {**EMAIL, "subscription_filter": {"email": "{email}", "phone": "{phone}"}},
            "request.subscription_filter",
        ),
        (
            {**EMAIL, "subscription_filter": {"email": "a@x.org", "not_strict": "yes"}},
            "request.subscription_filter",
        ),
        ({**EMAIL, "subscription_filter": []}, "request.subscription_filter"),
        ({"id": 1, "custom_request": {}}, "request.custom_request"),
        ({"id": 1, "custom_request": {"a": 1}, "matching": "email"}, "request.matching"),
        (
            {"id": 1, "custom_request": {"a": 1}, "subscription_filter": {"email": "{email}"}},
            "request.subscription_filter",
        ),
        ({"id": 1, "email": "not an address"}, "request.email"),
        ({"id": 1, "matching": "phone", "phone": "12 34"}, "request.phone"),
        ({"id": 1, "matching": "profile_id", "profile_id": "xyz"}, "request.profile_id"),
        ({"id": 1, "matching": "custom", "field_name": "a", "field_value": 1.5}, "request.field_value"),
        ({"id": 1, "email": "{mail}"}, "request.email"),
        ({**EMAIL, "content": {"a": {"b": "{nmae}"}}}, "request.content.a.b"),
        ({**EMAIL, "content": {"a": "{age:number}"}}, "request.content.a"),
        ({**EMAIL, "content": {"a": "{age"}}, "request.content.a"),
        ({**EMAIL, "content": {"a": "{}"}}, "request.content.a"),
        ({**EMAIL, "attach": "file"}, "request.attach"),
        ({**EMAIL, "attach": ["no-such-file"]}, "request.attach.0"),
        ({**EMAIL, "attach": ["{name}.pdf"]}, "request.attach.0"),
        ({**EMAIL, "attach": [{"path": "a", "nmae": "b"}]}, "request.attach.0.nmae"),
    ],
)
def test_what_the_contract_forbids_is_refused_at_the_job(parameters: dict[str, Any], key: str) -> None:
    with pytest.raises(ParameterError) as refused:
        build(parameters)
    assert refused.value.key == key
    assert str(refused.value).startswith(f"{key}: ")


def test_a_missing_column_is_reported_with_the_nearest_one() -> None:
    with pytest.raises(ParameterError, match=r"'emial'.*'email'"):
        build({"id": 1, "email": "{emial}"})


@pytest.mark.parametrize(
    ("parameters", "values", "error", "column"),
    [
        (EMAIL, {"email": ""}, "empty", "email"),
        (EMAIL, {"email": "ann@example"}, "malformed", "email"),
        (EMAIL, {"email": "ann@@example.com"}, "malformed", "email"),
        (EMAIL, {"email": "ann.@example.com"}, "malformed", "email"),
        (EMAIL, {"email": "ann@exam\nple.com"}, "malformed", "email"),
        (EMAIL, {"email": "a" * 65 + "@example.com"}, "malformed", "email"),
        (EMAIL, {"email": 7}, "wrong_type", "email"),
        (EMAIL, {"email": None}, "empty", "email"),
        (EMAIL, {}, "missing", "email"),
        ({"id": 1, "matching": "phone", "phone": "{p}"}, {"p": "8 (900) 000"}, "malformed", "p"),
        ({"id": 1, "matching": "phone", "phone": "{p}"}, {"p": "٠١٢٣٤٥٦٧"}, "malformed", "p"),
        ({"id": 1, "matching": "profile_id", "profile_id": "{p}"}, {"p": "5a7"}, "malformed", "p"),
        (
            {"id": 1, "matching": "custom", "field_name": "a", "field_value": "{v}"},
            {"v": 1.5},
            "wrong_type",
            "v",
        ),
        ({"id": 1, "matching": "custom", "field_name": "a", "field_value": "{v}"}, {"v": ""}, "empty", "v"),
        ({"id": "{s:int}", "email": "a@x.org"}, {"s": "twelve"}, "not_int", "s"),
        ({"id": 1, "email": "a@x.org", "content": {"a": "{n:int}"}}, {"n": ""}, "empty", "n"),
        ({"id": 1, "email": "a@x.org", "content": {"a": "{n:float}"}}, {"n": "nan"}, "not_float", "n"),
        ({"id": 1, "email": "a@x.org", "content": {"a": "{n:bool}"}}, {"n": "maybe"}, "not_bool", "n"),
        ({"id": 1, "email": "a@x.org", "content": {"a": "{n:json}"}}, {"n": "{"}, "not_json", "n"),
        ({"id": 1, "email": "a@x.org", "subscription_filter": {"email": "{n}"}}, {"n": ""}, "empty", "n"),
        ({"id": 1, "email": "a@x.org", "content": "{n}"}, {"n": "text"}, "wrong_type", "n"),
    ],
)
def test_what_the_contract_forbids_is_invalid_at_the_row(
    parameters: dict[str, Any], values: dict[str, Any], error: str, column: str
) -> None:
    built = build(parameters, values, columns=None)
    assert isinstance(built, Invalid)
    assert built.error == error
    assert repr(column) in built.error_text


@pytest.mark.parametrize(
    ("template", "values", "fact"),
    [
        ("{n:int}", {"n": ""}, "write {n:int|…} in the job"),
        ("{n:json}", {"n": ""}, "{n:json|} is null"),
        ("{n}", {}, "'n': add it, or write {n|…} in the job"),
    ],
)
@pytest.mark.parametrize("parameter", ["content", "resource_id", "nested"])
def test_an_empty_column_without_a_default_is_reported_with_both_ways_out(
    parameter: str, template: str, values: dict[str, Any], fact: str
) -> None:
    given = {"content": {"a": template}} if parameter == "nested" else {parameter: template}
    built = build({"id": 1, "email": "a@x.org", **given}, values, columns=None)
    assert isinstance(built, Invalid)
    assert fact in built.error_text


@pytest.mark.parametrize(
    "email", ["ann+news@mail.example.co.uk", "анна@почта.рф", "o'neil@x-y.org", "a@b.io"]
)
def test_addresses_that_exist(email: str) -> None:
    assert isinstance(build(EMAIL, {"email": email}, columns=None), EngageRequest)


@pytest.mark.parametrize(
    ("template", "value", "expected"),
    [
        ("{v}", [1, None], [1, None]),
        ("{v}", {"a": True}, {"a": True}),
        ("{v}", 1.5, 1.5),
        ("{v}", None, None),
        ("a {v}", True, "a true"),
        ("a {v}", None, "a "),
        ("a {v}", [1, "b"], 'a [1,"b"]'),
        ("a {v}", 1.0, "a 1.0"),
        ("{v:str}", 7, "7"),
        ("{v:int}", "7", 7),
        ("{v:float}", "7", 7.0),
        ("{v:bool}", "Yes", True),
        ("{v:json}", "[1]", [1]),
        ("{v|friend}", "", "friend"),
        ("{v|friend}", "Ann", "Ann"),
        ("Hi {v|friend}!", None, "Hi friend!"),
        ("{v:int|7}", "", 7),
        ("{v:int|}", "", None),
        ("{v}", "", ""),
        ("{v:str}", None, ""),
        ("{v:json}", None, None),
        ("{v:decimal}", "12.50", 12.5),
        ("{v:decimal}", "1\u00a0234 567.5", 1234567.5),
        ("{v:float}", "1234567890123456", 1234567890123456.0),
        ("{v:json}", '{"a":0.30000000000000004}', {"a": 0.30000000000000004}),
        ("{v:json}", '{"a":1,"b":[{"a":2}]}', {"a": 1, "b": [{"a": 2}]}),
        ("a {v:int|}", "", "a "),
        ("{{v}}", "x", "{v}"),
        ("{v}", "{email}", "{email}"),
    ],
)
def test_templates(template: str, value: Any, expected: Any) -> None:
    built = body(
        {"id": 1, "email": "a@x.org", "content": {"a": template}},
        {"v": value, "email": "b@x.org"},
        columns=None,
    )
    assert json.loads(built)["content"]["a"] == expected


@pytest.mark.parametrize(("parameter", "cast"), [("resource_id", "int"), ("content", "json")])
def test_an_optional_parameter_that_is_null_is_left_out(parameter: str, cast: str) -> None:
    built = body({**EMAIL, parameter: f"{{age:{cast}|}}"}, ["a@x.org", "", "", "", ""])
    assert parameter not in json.loads(built)


DEEP = "[" * 600 + "]" * 600


@pytest.mark.parametrize("wire", ["json", "xml"])
@pytest.mark.parametrize(
    ("parameters", "value"),
    [
        ({**EMAIL, "content": {"a": "{name:json}"}}, DEEP),
        ({**EMAIL, "content": {"a": "{name:json}"}}, '{"a":' * 600 + "1" + "}" * 600),
        ({"id": 1, "custom_request": "{name:json}"}, '{"a":' + DEEP + "}"),
        ({"id": 1, "matching": "custom", "field_name": "a", "field_value": "{name}"}, "\ud800"),
    ],
)
def test_whatever_cannot_be_written_is_invalid(parameters: dict[str, Any], value: str, wire: str) -> None:
    built = build(parameters, ["ann@example.com", value, *VALUES[2:]], wire=wire)
    assert isinstance(built, Invalid)
    assert built.error == "not_writable"


def test_a_request_that_is_too_large_is_invalid() -> None:
    built = build({**EMAIL, "content": {"a": "{name}"}}, ["a@x.org", "x" * 10_000_000, "", "", ""])
    assert isinstance(built, Invalid)
    assert built.error == "too_large"


def test_attachments_are_shared_between_requests(files: Path) -> None:
    builder = compile_builder(RequestSpec(SECOND, files, TOKEN), COLUMNS, "run")
    first, second = (builder.build(Row(n, n, "f", VALUES)) for n in (1, 2))
    assert isinstance(first, EngageRequest)
    assert isinstance(second, EngageRequest)
    assert first.body[1] is second.body[1]


def test_what_is_not_used_is_warned_of() -> None:
    builder = compile_builder(RequestSpec({**EMAIL, "phone": "{phone}"}, Path(), TOKEN), COLUMNS, "run")
    assert builder.warnings == ["request.phone is not used by email matching"]


def test_request_ids() -> None:
    def id_of(**options: Any) -> str:
        built = build(EMAIL, **options)
        assert isinstance(built, EngageRequest)
        return built.request_id

    first = id_of()
    assert first == id_of(), "stable over tries and resumes"
    assert first == id_of(token="renewed"), "a token may be renewed between two tries"
    others = [id_of(number=2), id_of(run_id="other"), id_of(values=["b@x.org", *VALUES[1:]]), fresh(first, 1)]
    assert len({first, *others, fresh(first, 2)}) == 6


CONTENT = {"id": 1, "email": "a@x.org", "content": {"exact": "{name}", "inside": "<{name}>"}}


@given(st.text())
def test_any_text_arrives_as_it_is_or_the_row_is_invalid(text: str) -> None:
    row = ["a@x.org", text, "", "", ""]
    as_json, as_xml = build(CONTENT, row), build(CONTENT, row, wire="xml")
    if isinstance(as_json, EngageRequest):
        assert json.loads(b"".join(as_json.body))["content"] == {"exact": text, "inside": f"<{text}>"}
    if isinstance(as_xml, EngageRequest):
        root = ElementTree.fromstring(b"".join(as_xml.body))
        assert (root.findtext("content/exact") or "") == text
        assert root.findtext("content/inside") == f"<{text}>"
    for built in (as_json, as_xml):
        assert isinstance(built, EngageRequest) or built.error == "not_writable"


def test_a_column_may_have_a_colon_in_its_name_and_a_default() -> None:
    columns = ("email", "utm:source")
    job = {**EMAIL, "content": {"from": "x-{utm:source|direct}"}}
    assert '"from":"x-direct"' in body(job, ["ann@example.com", ""], columns=columns)
    assert '"from":"x-mail"' in body(job, ["ann@example.com", "mail"], columns=columns)


def test_a_row_that_cannot_be_sent_is_named_by_its_key_wherever_that_comes_from() -> None:
    job = {"id": "{age:int}", "email": "ann@example.com"}
    built = build(job, ["", "", "old", "", ""])
    assert isinstance(built, Invalid)
    assert built.key == "ann@example.com"


def test_request_ids_are_those_that_the_journals_of_this_version_were_begun_with() -> None:
    """Where this changes, so must the version: a run that goes on would repeat rows under other ids."""
    built = build(EMAIL, ["ann@example.com"], columns=("email",))
    assert isinstance(built, EngageRequest)
    assert (FORMAT, built.request_id) == (3, "20ddbda8c7d79eb89a1549a2f2a64a3c")


LITERAL = {"id": 1, "email": "a@x.org"}


@pytest.mark.parametrize(
    ("template", "value", "error"),
    [
        ("{n:float}", "12345678901234567890", "number_too_large"),
        ("{n:float}", "0.123456789012345678901", "number_too_large"),
        ("{n:decimal}", "12345678901234567,5", "number_too_large"),
        ("{n:json}", "[12345678901234567890.5]", "number_too_large"),
        ("{n:json}", "123456789012345678901234567890", "number_too_large"),
        ("{n:json}", '{"a":1,"a":2}', "not_json"),
        ("{n:json}", '{"b":[{"a":1, "a" :2}]}', "not_json"),
        ("{n:decimal}", "1.234,50", "not_decimal"),
        ("{n:decimal}", "12.50", "not_decimal"),
        ("{n:float}", "12,50", "not_float"),
    ],
)
def test_what_a_cast_would_change_is_invalid(template: str, value: str, error: str) -> None:
    job = {**LITERAL, "content": {"a": template}}
    built = build(job, {"n": value}, columns=None, reading=Reading(decimal=","))
    assert isinstance(built, Invalid)
    assert (built.error, built.column) == (error, "n")


@given(st.decimals(-(10**9), 10**9, places=2), st.sampled_from(["", " ", "\u00a0", "\u202f"]))
def test_a_decimal_comma_is_read_as_it_is_meant(number: Decimal, blank: str) -> None:
    text = f"{number:,.2f}".replace(",", blank).replace(".", ",")
    job = {**LITERAL, "content": {"a": "{n:decimal}"}}
    built = build(job, {"n": text}, columns=None, reading=Reading(decimal=","))
    assert isinstance(built, EngageRequest)
    assert Decimal(repr(json.loads(b"".join(built.body))["content"]["a"])) == number


def test_texts_that_stand_for_nothing() -> None:
    reading = Reading(frozenset({"NULL", "\\N"}))
    job = {**EMAIL, "content": {"a": "{name|friend}", "b": "{age:int|}", "c": "{phone}"}}
    sent = body(job, ["ann@example.com", "NULL", "\\N", " NULL ", ""], reading=reading)
    assert json.loads(sent)["content"] == {"a": "friend", "b": None, "c": ""}
    without_key = build(EMAIL, ["NULL", "Ann", "", "", ""], reading=reading)
    assert isinstance(without_key, Invalid)
    assert (without_key.error, without_key.column) == ("empty", "email")


_unseen = st.text(" \t\u00a0\u200b\ufeff\u202f\u2060", max_size=3)


@pytest.mark.parametrize(
    ("job", "column", "field", "value"),
    [
        (EMAIL, 0, "email", "ann@example.com"),
        ({"id": 1, "matching": "phone", "phone": "{phone}"}, 3, "phone", "+79000000000"),
        ({"id": 1, "matching": "profile_id", "profile_id": "{id}"}, 4, "profile_id", VALUES[4]),
        ({"id": 1, "matching": "custom", "field_name": "a", "field_value": "{id}"}, 4, "field_value", "x 7"),
    ],
)
@given(before=_unseen, after=_unseen)
def test_invisible_characters_around_a_key_are_removed(
    job: dict[str, Any], column: int, field: str, value: str, before: str, after: str
) -> None:
    builder = compile_builder(RequestSpec(job, Path(), TOKEN), COLUMNS, "run")
    values = [*VALUES[:column], f"{before}{value}{after}", *VALUES[column + 1 :]]
    built = builder.build(Row(1, 2, "people.csv", values))
    assert isinstance(built, EngageRequest)
    assert (built.key, json.loads(b"".join(built.body))[field]) == (value, value)
    assert dict(builder.trimmed) == ({COLUMNS[column]: 1} if before or after else {})


def test_a_key_in_a_filter_is_cleaned_as_the_key_is() -> None:
    job = {**EMAIL, "subscription_filter": {"email": "{email}"}}
    sent = json.loads(body(job, ["\u00a0ann@example.com ", "", "", "", "x"]))
    assert sent["subscription_filter"] == {"email": "ann@example.com"}


@pytest.mark.parametrize(
    "text", ["+79160000001", "89160000001", "9160000001", "8 (916) 000-00-01", "79160000001"]
)
def test_a_region_brings_telephone_numbers_to_one_form(text: str) -> None:
    job = {"id": 1, "matching": "phone", "phone": "{p}"}
    built = build(job, {"p": text}, columns=None, region="RU")
    assert isinstance(built, EngageRequest)
    assert built.key == "+79160000001"


@pytest.mark.parametrize("value", ["123", "+7916", "nobody", "89160000001 ext. 7"])
def test_what_is_no_number_stays_invalid_with_a_region(value: str) -> None:
    job = {"id": 1, "matching": "phone", "phone": "{p}"}
    assert isinstance(build(job, {"p": value}, columns=None, region="RU"), Invalid)


@pytest.mark.parametrize(
    ("query", "value", "error"),
    [
        ({"email": "{e}"}, {"$ne": None}, "not_scalar"),
        ({"email": "{e}"}, ["a@x.org"], "not_scalar"),
        ({"email": "{e}"}, "", "empty"),
        ({"email": "{e}"}, None, "empty"),
        ({"email": "{e|}"}, "", "empty"),
        ({"email": "x-{e}"}, "", "empty"),
        ({"email": "x-{e}"}, {"$ne": None}, "not_scalar"),
        ({"email": {"$in": ["{e:json}"]}}, {}, "empty"),
        ({"email": "{e}"}, "NULL", "empty"),
    ],
)
def test_a_query_takes_no_structure_from_a_row_and_nothing_empty(query: Any, value: Any, error: str) -> None:
    reading = Reading(frozenset({"NULL"}))
    built = build({"id": 1, "custom_request": query}, {"e": value}, columns=None, reading=reading)
    assert isinstance(built, Invalid)
    assert (built.error, built.column) == (error, "e")


def test_a_query_takes_an_object_where_the_job_says_so() -> None:
    sent = body({"id": 1, "custom_request": {"email": "{e:json}"}}, {"e": {"$eq": "a@x.org"}}, columns=None)
    assert json.loads(sent)["custom_request"] == {"email": {"$eq": "a@x.org"}}


@pytest.mark.parametrize(
    "job",
    [
        {"id": 1, "custom_request": {"city": "Moscow"}},
        {"id": 1, "email": "a@x.org", "content": {"a": "{name}"}},
    ],
)
def test_a_request_that_names_one_person_for_every_row_is_for_one_row(job: dict[str, Any]) -> None:
    assert isinstance(build(job, number=1), EngageRequest)
    again = build(job, number=2)
    assert isinstance(again, Invalid)
    assert again.error == "no_column"


@pytest.mark.parametrize("values", [["", "", "", "", ""], [" ", "\t", "", "\u00a0", ""]])
def test_a_line_of_delimiters_is_skipped(values: list[str]) -> None:
    built = build(EMAIL, values)
    assert isinstance(built, Skipped)
    assert built.error == "blank"


def test_nothing_stands_in_for_a_person() -> None:
    built = build({"id": 1, "email": "{n}"}, {}, columns=None)
    assert isinstance(built, Invalid)
    assert "{n|" not in built.error_text


@pytest.mark.parametrize(("sign", "written"), [(";", '";"'), ("\t", '"\\t"'), ("|", '"|"')])
def test_a_header_with_another_delimiter_is_recognised(sign: str, written: str) -> None:
    with pytest.raises(ParameterError, match=re.escape(f"input.delimiter = {written}")):
        build(EMAIL, ["a@x.org"], columns=(f"email{sign}name",))
