"""Rows to requests of the imports: their bytes, one row or many, and what an empty cell must not do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given
from hypothesis import strategies as st

from engager.altcraft.attachments import MAX_BODY
from engager.altcraft.methods import METHODS
from engager.altcraft.profile_data import CHANNELS
from engager.errors import ParameterError
from engager.models import EngageRequest, Invalid, Row
from engager.requests.builder import Builder, RequestSpec, compile_builder
from engager.requests.identity import RequestIds
from engager.requests.template import Reading

ANN = {"email": "ann@example.com", "first_name": "Ann", "phone": "+79000000001"}
BOB = {"email": "bob@example.com", "first_name": "Bob", "phone": ""}
BATCHES = [name for name, method in METHODS.items() if method.is_batch]
IMPORTS = [name for name, method in METHODS.items() if method.is_import]
JOB: dict[str, Any] = {
    "method": "import_and_start",
    "workflow_id": 12,
    "matching": "email",
    "email": "{email}",
    "skip_triggers": True,
    "content": {"campaign": "spring"},
    "data": {
        "email": "{email}",
        "_fname": "{first_name}",
        "phones": ["{phone}"],
        "subscriptions": [{"channel": "email", "email": "{email}", "resource_id": 24}],
    },
}
BATCH = {**JOB, "method": "import_and_start_batch"}
ANN_DATA = (
    '"data":{"email":"ann@example.com","_fname":"Ann","phones":["+79000000001"],'
    '"subscriptions":[{"channel":"email","email":"ann@example.com","resource_id":24}]}'
)
BOB_DATA = (
    '"data":{"email":"bob@example.com","_fname":"Bob",'
    '"subscriptions":[{"channel":"email","email":"bob@example.com","resource_id":24}]}'
)
ANN_XML = (
    "<data><email>ann@example.com</email><_fname>Ann</_fname><phones array='true'>+79000000001</phones>"
    "<subscriptions array='true'><channel>email</channel><email>ann@example.com</email>"
    "<resource_id>24</resource_id></subscriptions></data>"
)
BOB_XML = (
    "<data><email>bob@example.com</email><_fname>Bob</_fname>"
    "<subscriptions array='true'><channel>email</channel><email>bob@example.com</email>"
    "<resource_id>24</resource_id></subscriptions></data>"
)
SHARED = '"workflow_id":12,"matching":"email","skip_triggers":true,"content":{"campaign":"spring"}'
SHARED_XML = (
    "<workflow_id>12</workflow_id><matching>email</matching><skip_triggers>true</skip_triggers>"
    "<content><campaign>spring</campaign></content>"
)


def builder(job: dict[str, Any], columns: tuple[str, ...] | None = None, **spec: Any) -> Builder:
    return compile_builder(RequestSpec(job, **{"base": Path(), "token": "t", **spec}), columns, "run")


def built(job: dict[str, Any], values: dict[str, Any], **spec: Any) -> EngageRequest:
    request = builder(job, **spec).build(Row(1, 2, "people.jsonl", values))
    assert isinstance(request, EngageRequest), request
    return request


def refused(job: dict[str, Any], values: dict[str, Any], **spec: Any) -> Invalid:
    found = builder(job, **spec).build(Row(1, 2, "people.jsonl", values))
    assert isinstance(found, Invalid), found
    return found


def data_of(data: Any, **values: Any) -> Any:
    """What is sent of `data`; None if it is left out."""
    request = built({**JOB, "data": data}, {"email": "a@x.org", **values})
    return json.loads(b"".join(request.body)).get("data")


def joined(job: dict[str, Any], *rows: dict[str, Any], **spec: Any) -> tuple[bytes, bytes]:
    made = builder(job, **spec)
    items: list[bytes] = []
    for number, values in enumerate(rows, 1):
        request = made.build(Row(number, number, "people.jsonl", values))
        assert isinstance(request, EngageRequest), request
        assert (request.request_id, len(request.body)) == ("", 1)
        items += request.body
    content, parts = made.join(items)
    size = made.frame_bytes + sum(len(item) + made.separator_bytes for item in items)
    assert size >= sum(map(len, parts)) > size - 2 * made.separator_bytes
    return content, b"".join(parts)


def test_the_request_of_one_row() -> None:
    assert b"".join(built(JOB, ANN).body).decode() == (
        '{"token":"t","workflow_id":12,"matching":"email","email":"ann@example.com","skip_triggers":true,'
        f'"content":{{"campaign":"spring"}},{ANN_DATA}}}'
    )
    assert b"".join(built(JOB, ANN, wire="xml", answer="xml").body).decode() == (
        "<xml><token>t</token><format>xml</format><workflow_id>12</workflow_id><matching>email</matching>"
        "<email>ann@example.com</email><skip_triggers>true</skip_triggers>"
        f"<content><campaign>spring</campaign></content>{ANN_XML}</xml>"
    )


@pytest.mark.parametrize("method", BATCHES)
def test_the_request_of_several_rows(method: str) -> None:
    content, body = joined({**BATCH, "method": method}, ANN, BOB)
    items = f'{{"email":"ann@example.com",{ANN_DATA}}},{{"email":"bob@example.com",{BOB_DATA}}}'
    assert content.decode() == f'{SHARED},"data":[{items}]'
    assert body.decode() == f'{{"token":"t",{content.decode()}}}'


def test_the_request_of_several_rows_in_xml() -> None:
    content, body = joined(BATCH, ANN, BOB, wire="xml", answer="xml")
    assert content.decode() == (
        f"{SHARED_XML}<data><email>ann@example.com</email>{ANN_XML}</data>"
        f"<data><email>bob@example.com</email>{BOB_XML}</data>"
    )
    assert body.decode() == f"<xml><token>t</token><format>xml</format>{content.decode()}</xml>"


def test_a_batch_of_one_is_a_list_too() -> None:
    assert json.loads(joined(BATCH, ANN)[1])["data"][0]["email"] == "ann@example.com"
    assert joined(BATCH, ANN, wire="xml")[0].decode() == (
        f"{SHARED_XML}<data array='true'><email>ann@example.com</email>{ANN_XML}</data>"
    )


@pytest.mark.parametrize("wire", ["json", "xml"])
def test_a_batch_without_a_token_in_its_body_and_with_a_file(tmp_path: Path, wire: str) -> None:
    (tmp_path / "a.txt").write_text("x")
    job = {**BATCH, "attach": ["a.txt"]}
    content, body = joined(job, ANN, BOB, wire=wire, auth="bearer", base=tmp_path)
    sent = (
        json.loads(body)["attach"][0]["name"] if wire == "json" else fromstring(body).findtext("attach/name")
    )
    assert sent == "a.txt"
    assert content in body
    assert b"attach" not in content


def test_the_ids_of_batches_are_those_of_rows_with_the_content_of_the_batch() -> None:
    assert builder(BATCH).request_ids.for_row(7, b"content") == RequestIds("run").for_row(7, b"content")
    assert [builder(job).is_batch for job in (JOB, BATCH)] == [False, True]


def test_matching_is_always_sent() -> None:
    job = {name: value for name, value in BATCH.items() if name != "matching"}
    assert joined(job, ANN) == joined(BATCH, ANN)


def test_the_fields_of_a_key_stand_where_they_belong() -> None:
    job = {
        **BATCH,
        "matching": "custom",
        "field_name": "CRM",
        "field_value": "{n}",
        "custom_data": {"n": "{n}"},
    }
    del job["email"], job["content"], job["data"]
    assert json.loads(joined(job, {"n": 1.5}, {"n": True})[1]) == {
        "token": "t",
        "workflow_id": 12,
        "matching": "custom",
        "field_name": "CRM",
        "skip_triggers": True,
        "data": [
            {"field_value": 1.5, "custom_data": {"n": 1.5}},
            {"field_value": True, "custom_data": {"n": True}},
        ],
    }


def test_every_row_has_its_own_content_only_if_the_job_says_so() -> None:
    job = {**BATCH, "content": {"name": "{first_name}"}}
    with pytest.raises(ParameterError, match="content_by_row") as wrong:
        builder(job)
    assert wrong.value.key == "request.content"
    sent = json.loads(joined(job, ANN, BOB, content_by_row=True)[1])
    assert "content" not in sent
    assert [item["content"]["name"] for item in sent["data"]] == ["Ann", "Bob"]
    assert joined(BATCH, ANN, content_by_row=True) == joined(BATCH, ANN)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"id": 12}, "request.id"),
        ({"resource_id": 24}, "request.resource_id"),
        ({"custom_request": {"a": "{email}"}}, "request.custom_request"),
        ({"subscription_filter": {"email": "{email}"}}, "request.subscription_filter"),
        ({"method": "import"}, "request.method"),
        ({"method": 5}, "request.method"),
        ({"matching": "email_sub"}, "request.matching"),
        ({"matching": "custom"}, "request.field_value"),
        ({"skip_triggers": 1}, "request.skip_triggers"),
        ({"db_id": 0}, "request.db_id"),
        ({"detect_geo": "yes"}, "request.detect_geo"),
        ({"data": []}, "request.data"),
        ({"data": {"email": "nobody"}}, "request.data.email"),
        ({"data": {"phones": "{phone}"}}, None),
        ({"data": {"phones": "+79000000001"}}, "request.data.phones"),
        ({"data": {"phones": ["1"]}}, "request.data.phones.0"),
        ({"data": {"subscriptions": {}}}, "request.data.subscriptions"),
        ({"data": {"subscriptions": ["{email}"]}}, None),
        (
            {"data": {"subscriptions": [{"channel": "mail", "email": "{email}"}]}},
            "request.data.subscriptions.0.channel",
        ),
        (
            {"data": {"subscriptions": [{"chanel": "email", "email": "{email}"}]}},
            "request.data.subscriptions.0.chanel",
        ),
        (
            {"data": {"subscriptions": [{"channel": "sms", "email": "{email}"}]}},
            "request.data.subscriptions.0",
        ),
        ({"data": {"subscriptions": [{"channel": "push", "provider": "x"}]}}, "request.data.subscriptions.0"),
        (
            {"data": {"subscriptions": [{"email": "{email}", "resource_id": 0}]}},
            "request.data.subscriptions.0.resource_id",
        ),
        ({"data": {"n": "{nobody"}}, "request.data.n"),
        ({"custom_data": 5}, "request.custom_data"),
    ],
)
@pytest.mark.parametrize("method", IMPORTS)
def test_what_the_contract_forbids_is_refused_at_the_job(
    change: dict[str, Any], key: str | None, method: str
) -> None:
    job = {**JOB, "method": method, **change}
    if key is None:
        assert builder(job)
        return
    with pytest.raises(ParameterError) as wrong:
        builder(job)
    assert wrong.value.key == key


@pytest.mark.parametrize(("job", "fact"), [(JOB, "'workflow_id'"), ({"id": 1}, "'id'")])
def test_another_methods_name_of_the_scenario_is_known(job: dict[str, Any], fact: str) -> None:
    with pytest.raises(ParameterError, match=f"did you mean {fact}"):
        builder({**job, "email": "{email}", "id": 1, "workflow_id": 1})


@pytest.mark.parametrize(
    "change",
    [
        {"workflow_id": "{n:int}"},
        {"skip_triggers": "{n:bool}"},
        {"skip_invalid_subscriptions": "{n:bool}"},
        {"detect_geo": "{n:bool}"},
        {"db_id": "{n:int}"},
        {"matching": "custom", "field_value": "{n}", "field_name": "{email}"},
    ],
)
def test_what_a_batch_carries_once_holds_no_column(change: dict[str, Any]) -> None:
    assert built({**JOB, **change}, {**ANN, "n": "1"})
    with pytest.raises(ParameterError, match="column"):
        builder({**BATCH, **change})


@pytest.mark.parametrize("empty", ["", None, " \u00a0", "\ufeff"])
@pytest.mark.parametrize(
    ("data", "sent"),
    [
        ({"a": "{v}", "b": 1}, {"b": 1}),
        ({"a": "{v|}", "b": "{v:int|}", "c": "{v:int}", "d": "{v:json}", "e": "{v:str}"}, None),
        ({"a": "{v|x}", "b": "{v:int|7}"}, {"a": "x", "b": 7}),
        ({"a": "{v} {v}", "b": "{v} {w}"}, {"b": " Ann"}),
        ({"a": {"deep": {"er": "{v}"}}, "b": {"c": "{v}", "d": "{w}"}}, {"b": {"d": "Ann"}}),
        ({"a": ["{v}", "{w}", {"b": "{v}"}], "c": ["{v}"]}, {"a": ["Ann"]}),
        ({"phones": ["{v}", "+79000000001"], "email": "{v}"}, {"phones": ["+79000000001"]}),
        ({"phones": {"action": "add", "value": ["{v}"]}, "a": {"action": "incr", "value": "{v}"}}, None),
        ({"a": {"action": "unset"}, "b": ""}, {"a": {"action": "unset"}, "b": ""}),
        (
            {
                "subscriptions": [
                    {"channel": "sms", "phone": "{v}", "resource_id": 1},
                    {"email": "{email}", "priority": "{v}"},
                ]
            },
            {"subscriptions": [{"email": "a@x.org"}]},
        ),
        ({"subscriptions": [{"channel": "push", "provider": "p", "subscription_id": "{v}"}]}, None),
        ({"subscriptions": [{"channel": "email", "phone": "+79000000001", "email": "{v}"}]}, None),
        ("{v}", None),
    ],
)
def test_an_empty_cell_wipes_no_field(data: Any, sent: Any, empty: Any) -> None:
    assert data_of(data, v=empty, w="Ann") == sent


def test_an_empty_value_within_a_cell_wipes_no_field() -> None:
    whole = {"a": "", "b": {"c": None, "d": [], "e": 0}, "f": [{"g": ""}, False], "h": {"action": "unset"}}
    assert data_of("{v}", v=whole) == {"b": {"e": 0}, "f": [False], "h": {"action": "unset"}}
    assert data_of({"x": "{v:json}"}, v=json.dumps(whole))["x"] == data_of("{v}", v=whole)
    assert data_of({"x": "{v:json}", "y": "{w:json}"}, v='" "', w="null") is None
    subscriptions = [{"channel": "email", "email": ""}, {"channel": "sms", "phone": "+79000000001"}]
    assert data_of({"subscriptions": "{v}"}, v=subscriptions) == {"subscriptions": subscriptions[1:]}


@given(
    st.recursive(
        st.sampled_from(["", None, "a", 0, False, 1.5, " "]),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_nothing_empty_of_a_cell_is_sent_at_any_depth(value: Any) -> None:
    def filled(found: Any) -> bool:
        if isinstance(found, dict | list):
            return bool(found) and all(map(filled, found.values() if isinstance(found, dict) else found))
        return found is not None and str(found).strip() != ""

    sent = data_of({"x": "{v}"}, v=value)
    assert sent is None or filled(sent)


def test_custom_data_has_no_functions_but_no_empty_cells_either() -> None:
    job = {**JOB, "custom_data": {"event": {"action": "{v}", "page": "{w}"}, "x": "{w}"}}
    sent = json.loads(b"".join(built(job, {**ANN, "v": "click", "w": ""}).body))
    assert sent["custom_data"] == {"event": {"action": "click"}}


def test_texts_that_stand_for_nothing_wipe_no_field() -> None:
    job = {**JOB, "data": {"a": "{v}", "b": "{w}"}}
    request = built(job, {**ANN, "v": "NULL", "w": "1"}, reading=Reading(frozenset({"NULL"})))
    assert json.loads(b"".join(request.body))["data"] == {"b": "1"}


@pytest.mark.parametrize(
    ("data", "value", "error", "place"),
    [
        ({"a": "{email}", "email": "{v}"}, "nobody", "malformed", "data.email"),
        ({"phones": ["{email}", "{v}"]}, "+79000000001", "malformed", "data.phones.0"),
        (
            {"subscriptions": [{"email": "{email}"}, {"phone": "{v}"}]},
            "12",
            "malformed",
            "data.subscriptions.1.phone",
        ),
        (
            {"subscriptions": "{v}"},
            [{"channel": "fax", "phone": "+79000000001"}],
            "malformed",
            "data.subscriptions.0.channel",
        ),
        (
            {"subscriptions": "{v}"},
            [{"channel": "sms", "email": "a@x.org"}],
            "malformed",
            "data.subscriptions.0",
        ),
        ({"phones": "{v}"}, "+79000000001", "wrong_type", "data.phones"),
        ("{v}", "text", "wrong_type", "data"),
    ],
)
def test_a_wrong_value_is_invalid_with_its_place_and_its_column(
    data: Any, value: Any, error: str, place: str
) -> None:
    found = refused({**JOB, "data": data}, {"email": "a@x.org", "v": value})
    assert found.error == error
    assert found.error_text.startswith(f"{place} ")
    assert found.column == ("email" if place == "data.phones.0" else "v")


def test_blanks_around_addresses_are_removed_and_numbers_brought_to_one_form() -> None:
    data = {
        "email": "{v}",
        "phones": ["{w}"],
        "subscriptions": [{"email": "{v}"}, {"phone": "{w}"}],
        "x": "{v}",
    }
    request = built(
        {**JOB, "data": data},
        {"email": "a@x.org", "v": " b@x.org\u00a0", "w": "8 916 000-00-01"},
        region="RU",
    )
    assert json.loads(b"".join(request.body))["data"] == {
        "email": "b@x.org",
        "phones": ["+79160000001"],
        "subscriptions": [{"email": "b@x.org"}, {"phone": "+79160000001"}],
        "x": " b@x.org\u00a0",
    }


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_channel_is_known_with_what_names_it(channel: str) -> None:
    names = {
        "email": "a@x.org",
        "phone": "+79000000001",
        "subscription_id": "s",
        "provider": "p",
        "cc_data": {"a": 1},
    }
    for keys in CHANNELS[channel]:
        subscription = {"channel": channel, **{key: names[key] for key in keys}}
        assert data_of({"subscriptions": [subscription]}) == {"subscriptions": [subscription]}


@pytest.mark.parametrize("wire", ["json", "xml"])
def test_a_row_that_no_batch_has_room_for_is_invalid(wire: str) -> None:
    made = builder(BATCH, wire=wire)

    def of(name: str) -> Any:
        return made.build(Row(1, 1, "people.jsonl", {**ANN, "first_name": name}))

    room = MAX_BODY - made.frame_bytes - made.separator_bytes - len(of("x").body[0]) + 1
    fitting, above = of("x" * room), of("x" * (room + 1))
    assert sum(map(len, made.join(fitting.body)[1])) == MAX_BODY
    assert (above.error, above.key) == ("too_large", "ann@example.com")


def test_which_rows_are_valid_does_not_depend_on_the_size_of_batches() -> None:
    """A row that is invalid at a later start is not the first with its key any more."""
    row = Row(1, 1, "people.jsonl", {**ANN, "first_name": "x" * 9_000})
    assert isinstance(builder(BATCH, batch_bytes=5_000).build(row), EngageRequest)


def test_a_row_is_never_larger_than_the_endpoint_accepts() -> None:
    assert refused(BATCH, {**ANN, "first_name": "x" * MAX_BODY}).error == "too_large"


def test_what_leaves_no_room_for_a_row_is_refused() -> None:
    with pytest.raises(ParameterError) as wrong:
        builder({**BATCH, "content": {"a": "x" * 5_000}}, batch_bytes=5_000)
    assert wrong.value.key == "batch.bytes"


def test_values_of_rows_are_never_templates() -> None:
    assert data_of({"a": "{v}", "{v}": 1}, v="{email}") == {"a": "{email}", "{v}": 1}
