"""The import methods: golden requests, results by row, every assumption, and the faults of items."""

from __future__ import annotations

import json
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from defusedxml.ElementTree import fromstring

from engager.sandbox import SandboxConfig
from engager.sandbox.brain import Answer, Brain

SINGLE, BATCH, TASK = (f"workflows/import_and_start{form}" for form in ("", "_batch", "_batch_task"))
ANN_ID = "5a74876369d42613b31947b8"
ANN: dict[str, Any] = {"profile_id": ANN_ID, "email": "ann@example.com", "fields": {"_fname": "Anna"}}
EMAILS = {"channel": "email", "email": "ann@example.com", "resource_id": 24}
DATA: dict[str, Any] = {
    "email": "ann@example.com",
    "_fname": "Ann",
    "phones": ["+79000000000"],
    "subscriptions": [EMAILS],
}
SHARED: dict[str, Any] = {"workflow_id": 12, "matching": "email", "skip_triggers": True}

XML_DATA = (
    "<data><email>ann@example.com</email><_fname>Ann</_fname><phones array='true'>+79000000000</phones>"
    "<subscriptions array='true'><channel>email</channel><email>ann@example.com</email>"
    "<resource_id>24</resource_id></subscriptions></data>"
)
XML_SHARED = (
    "<token>t</token><format>xml</format><workflow_id>12</workflow_id><matching>email</matching>"
    "<skip_triggers>true</skip_triggers><content><campaign>spring</campaign></content>"
)


def brain(**settings: Any) -> Brain:
    return Brain(SandboxConfig.from_mapping(settings))


def ask(endpoint: Brain, method: str, fields: Any, request_id: str = "") -> Answer:
    body = fields if isinstance(fields, str) else json.dumps({"token": "t", **fields})
    headers = {"Request-ID": request_id} if request_id else {}
    return endpoint.answer(f"/api/v1.1/{method}", headers, body.encode(), 0)


def items(*names: str, **further: Any) -> list[dict[str, Any]]:
    return [{"email": f"{name}@example.com", **further} for name in names]


def batch(endpoint: Brain, *names: str, **further: Any) -> Answer:
    return ask(endpoint, BATCH, {**SHARED, "data": items(*names), **further})


def document(response: Answer) -> dict[str, Any]:
    return json.loads(response.body)  # type: ignore[no-any-return]


def errors(response: Answer) -> list[int]:
    return [entry["error"] for entry in document(response)["result"]]


def parsed(response: Answer) -> Element:
    return fromstring(response.body)


@pytest.mark.parametrize(
    "body",
    [
        {**SHARED, "email": "ann@example.com", "content": {"campaign": "spring"}, "data": DATA},
        f"<xml>{XML_SHARED}<email>ann@example.com</email>{XML_DATA}</xml>",
    ],
    ids=["json", "xml"],
)
def test_the_golden_request_of_one_person_imports_and_engages(body: Any) -> None:
    endpoint = brain(profiles=[])
    response = ask(endpoint, SINGLE, body)
    (made,) = endpoint.profiles
    assert made == {
        "profile_id": made["profile_id"],
        "email": "ann@example.com",
        "phones": ["+79000000000"],
        "subscriptions": [EMAILS],
        "fields": {"_fname": "Ann"},
    }
    assert (response.effect, response.key) == (True, "email=ann@example.com")
    assert made["profile_id"].encode() in response.body
    assert endpoint.effects == {made["profile_id"]: 1}
    assert endpoint.contents == {made["profile_id"]: {"campaign": "spring"}}


@pytest.mark.parametrize("method", [BATCH, TASK])
@pytest.mark.parametrize(
    "body",
    [
        {
            **SHARED,
            "content": {"campaign": "spring"},
            "data": [{"email": "ann@example.com", "data": DATA}, *items("bob", data={"_fname": "Bob"})],
        },
        f"<xml>{XML_SHARED}<data><email>ann@example.com</email>{XML_DATA}</data>"
        "<data><email>bob@example.com</email><data><_fname>Bob</_fname></data></data></xml>",
    ],
    ids=["json", "xml"],
)
def test_the_golden_request_of_a_batch_imports_and_engages(method: str, body: Any) -> None:
    endpoint = brain(profiles=[ANN])
    response = ask(endpoint, method, body)
    ann, bob = endpoint.profiles
    assert ann == {
        "profile_id": ANN_ID,
        "email": "ann@example.com",
        "phones": ["+79000000000"],
        "subscriptions": [EMAILS],
        "fields": {"_fname": "Ann"},
    }
    assert (bob["email"], bob["fields"]) == ("bob@example.com", {"_fname": "Bob"})
    assert dict(endpoint.effects) == {ANN_ID: 1, bob["profile_id"]: 1}
    assert [(row.key, row.effect) for row in response.rows] == [
        ("email=ann@example.com", True),
        ("email=bob@example.com", True),
    ]


def test_a_batch_has_a_result_for_each_row() -> None:
    endpoint = brain(profiles=[ANN])
    response = batch(endpoint, "ann", "not an address")
    assert (response.status, response.error, response.effect, response.key) == (200, 0, True, "")
    good, bad = document(response)["result"]
    assert good == {"error": 0, "error_text": "Successful operation", "profile_id": ANN_ID}
    assert (bad["error"], bad["profile_id"]) == (400, None)
    assert dict(endpoint.effects) == {ANN_ID: 1}


@pytest.mark.parametrize(("item", "path"), [("xml", "result/xml"), ("result", "result")])
@pytest.mark.parametrize("names", [("ann",), ("ann", "bob")])
def test_a_batch_in_xml_has_a_result_for_each_row(item: str, path: str, names: tuple[str, ...]) -> None:
    endpoint = brain(assumptions={"batch_xml_item": item})
    entries = parsed(batch(endpoint, *names, format="xml")).findall(path)
    assert [entry.findtext("error") for entry in entries] == ["0"] * len(names)
    assert all(len(entry.findtext("profile_id") or "") == 24 for entry in entries)


def test_a_batch_responds_in_csv() -> None:
    head, line, _ = batch(brain(), "ann", format="csv").body.decode().split("\n")
    assert head == "data,error,error_text,result"
    assert line.startswith(",0,Successful operation,")


@pytest.mark.parametrize(
    ("kind", "names", "result"),
    [
        ("objects", ("ann", "b c"), [0, 400]),
        ("ids", ("ann", "b c"), [ANN_ID]),
        ("none", ("ann", "b c"), None),
        ("ids", ("b c",), []),
    ],
)
def test_an_assumption_sets_the_form_of_results(kind: str, names: tuple[str, ...], result: Any) -> None:
    response = batch(brain(profiles=[ANN], assumptions={"batch_result": kind}), *names)
    reported = errors(response) if kind == "objects" else document(response).get("result")
    assert (response.error, reported) == (0, result)


def test_a_batch_without_results_and_effect_is_an_error() -> None:
    response = batch(brain(assumptions={"batch_result": "none"}), "b c")
    assert (response.error, response.effect, "result" in document(response)) == (400, False, False)


@pytest.mark.parametrize("known", [None, [ANN]])
def test_a_batch_of_unknown_profile_ids_engages_no_profile(known: Any) -> None:
    endpoint = brain(profiles=known)
    ids = [{"profile_id": f"ffffffff{number:016x}"} for number in range(2)]
    response = ask(endpoint, BATCH, {"workflow_id": 12, "matching": "profile_id", "data": ids})
    assert (response.error, errors(response)) == (0, [400, 400])
    assert not endpoint.effects
    assert len(list(endpoint.profiles)) == len(known or [])


def test_a_batch_by_profile_id_updates_profiles() -> None:
    endpoint = brain(profiles=[ANN])
    rows = [{"profile_id": ANN_ID, "data": {"_fname": "Ann"}}, {"profile_id": "a" * 24}]
    response = ask(endpoint, BATCH, {"workflow_id": 12, "matching": "profile_id", "data": rows})
    assert errors(response) == [0, 400]
    assert [profile["fields"] for profile in endpoint.profiles] == [{"_fname": "Ann"}]


def test_an_assumption_lets_a_profile_id_create_a_profile() -> None:
    endpoint = brain(profiles=[], assumptions={"profile_id_creates": True})
    fields = {"workflow_id": 12, "matching": "profile_id", "profile_id": ANN_ID}
    assert ask(endpoint, SINGLE, fields).effect
    assert dict(endpoint.effects) == {ANN_ID: 1}


@pytest.mark.parametrize(
    ("method", "fields", "fact"),
    [
        (SINGLE, {"workflow_id": None}, "workflow_id"),
        (SINGLE, {"id": 12}, "id"),
        (SINGLE, {"workflow_id": 0}, "workflow_id"),
        (SINGLE, {"db_id": 0}, "db_id"),
        (SINGLE, {"resource_id": 24}, "resource_id"),
        (SINGLE, {"custom_request": {"a": 1}}, "custom_request"),
        (SINGLE, {"subscription_filter": {"phone": "1"}}, "subscription_filter"),
        (SINGLE, {"skip_triggers": "yes"}, "skip_triggers"),
        (SINGLE, {"matching": "name"}, "matching"),
        (SINGLE, {"matching": "phone"}, "phone"),
        (SINGLE, {"matching": "custom", "field_value": 7}, "field_name"),
        (SINGLE, {"data": []}, "data"),
        (SINGLE, {"data": {"email": "ann"}}, "data.email"),
        (SINGLE, {"data": {"phones": "+79000000000"}}, "data.phones"),
        (SINGLE, {"data": {"phones": ["soon"]}}, "data.phones"),
        (SINGLE, {"data": {"subscriptions": [{"resource_id": 24}]}}, "names the subscription"),
        (SINGLE, {"data": {"subscriptions": [{**EMAILS, "channel": "post"}]}}, "channel"),
        (SINGLE, {"data": {"subscriptions": [{**EMAILS, "colour": "red"}]}}, "colour"),
        (SINGLE, {"data": {"points": {"action": "incr", "value": "x"}}}, "incr"),
        (SINGLE, {"attach": [{"name": "a"}]}, "attach"),
        (BATCH, {"data": {}}, "data"),
        (BATCH, {"data": []}, "data"),
        (BATCH, {"email": "ann@example.com"}, "email"),
        (BATCH, {"custom_data": {}}, "custom_data"),
        (TASK, {"data": "x"}, "data"),
    ],
)
def test_an_invalid_parameter_refuses_the_request(method: str, fields: dict[str, Any], fact: str) -> None:
    endpoint = brain(profiles=[])
    valid = {"email": "ann@example.com"} if method == SINGLE else {"data": items("ann")}
    given = {name: value for name, value in {**SHARED, **valid, **fields}.items() if value is not None}
    response = ask(endpoint, method, given)
    assert (response.error, response.effect, "result" in document(response)) == (400, False, False)
    assert fact in document(response)["error_text"]
    assert not list(endpoint.profiles)


@pytest.mark.parametrize(
    "item",
    [
        5,
        {},
        {"email": 5},
        {"email": "ann"},
        {"phone": "+79000000000"},
        {"email": "ann@example.com", "field_name": "CRM_ID"},
        {"email": "ann@example.com", "mail": "x"},
        {"email": "ann@example.com", "data": {"email": "ann"}},
        {"email": "ann@example.com", "data": {"subscriptions": [5]}},
        {"email": "ann@example.com", "data": {"email": {"action": "set", "value": "ann"}}},
        {"email": "ann@example.com", "data": {"phones": {"action": "add", "value": 5}}},
        {"email": "ann@example.com", "data": {"phones": {"action": "set", "value": "+79000000000"}}},
        {"email": "ann@example.com", "data": {"subscriptions": {"action": "add", "value": [5]}}},
        {"email": "ann@example.com", "data": {"subscriptions": None}},
        {"email": "ann@example.com", "custom_data": 5},
    ],
)
def test_a_malformed_item_refuses_only_its_row(item: Any) -> None:
    endpoint = brain(profiles=[])
    response = ask(endpoint, BATCH, {**SHARED, "data": [item, *items("bob")]})
    assert errors(response) == [400, 0]
    assert [profile["email"] for profile in endpoint.profiles] == ["bob@example.com"]


@pytest.mark.parametrize("value", ["7", 7, 7.5, True])
def test_a_custom_field_may_be_any_scalar(value: Any) -> None:
    endpoint = brain(profiles=[])
    fields = {
        "workflow_id": 1,
        "matching": "custom",
        "field_name": "CRM_ID",
        "data": [{"field_value": value}],
    }
    for _ in range(2):
        assert errors(ask(endpoint, BATCH, fields)) == [0]
    assert [profile["fields"] for profile in endpoint.profiles] == [{"CRM_ID": value}]


@pytest.mark.parametrize(
    ("before", "function", "after"),
    [
        (1, {"action": "incr", "value": 2}, 3),
        (1, {"action": "set", "value": 2}, 2),
        (1, {"action": "unset"}, None),
        ([1], {"action": "add", "value": [1, 2]}, [1, 1, 2]),
        ([1, 2], {"action": "delete", "value": [1]}, [2]),
        ([1], {"action": "upsert", "value": [1, 2]}, [1, 2]),
        (1, {"action": "fly"}, {"action": "fly"}),
    ],
)
def test_functions_change_a_field(before: Any, function: dict[str, Any], after: Any) -> None:
    endpoint = brain(profiles=[{**ANN, "fields": {"x": before}}])
    ask(endpoint, BATCH, {**SHARED, "data": items("ann", data={"x": function})})
    (ann,) = endpoint.profiles
    assert ann["fields"].get("x") == after


def test_subscriptions_are_merged_and_invalid_ones_skipped() -> None:
    endpoint = brain(profiles=[{**ANN, "subscriptions": [EMAILS]}])
    given = [{**EMAILS, "priority": 2}, {"channel": "sms", "phone": "+79000000000"}, {"channel": "post"}]
    data = items("ann", data={"subscriptions": given})
    assert errors(ask(endpoint, BATCH, {**SHARED, "data": data})) == [400]
    response = ask(endpoint, BATCH, {**SHARED, "skip_invalid_subscriptions": True, "data": data})
    assert errors(response) == [0]
    (ann,) = endpoint.profiles
    assert ann["subscriptions"] == given[:2]


def test_a_person_is_found_by_an_imported_value() -> None:
    endpoint = brain(profiles=[ANN])
    ask(endpoint, BATCH, {**SHARED, "data": items("ann", data={"email": "new@example.com"})})
    found, old = (ask(endpoint, SINGLE, {**SHARED, **item}) for item in items("new", "ann"))
    assert document(found)["profile_id"] == ANN_ID != document(old)["profile_id"]


def test_a_person_twice_in_a_batch_gets_two_messages() -> None:
    endpoint = brain(profiles=[])
    assert errors(batch(endpoint, "ann", "ann")) == [0, 0]
    assert len(list(endpoint.profiles)) == 1
    assert list(endpoint.effects.values()) == [2]


def test_reentry_tariff_and_scenario_are_checked_by_row() -> None:
    assert errors(batch(brain(scenarios=[{"id": 12, "reentry": False}]), "ann", "ann")) == [0, 400]
    endpoint = brain(tariff_limit=1)
    assert errors(batch(endpoint, "ann", "bob")) == [0, 402]
    assert batch(endpoint, "bob").error == 402
    assert batch(brain(scenarios=[{"id": 1}]), "ann").error == 400
    assert batch(brain(scenarios=[{"id": 12, "active": False}]), "ann").error == 400


@pytest.mark.parametrize(
    ("assumptions", "effects"),
    [
        ({}, [True, False, True]),
        ({"bad_item_refuses_batch": True}, [False, False, False]),
        ({"bad_item_refuses_batch": True, "refused_batch_is_untouched": False}, [True, False, False]),
    ],
)
def test_an_assumption_decides_if_a_bad_item_refuses_its_batch(
    assumptions: dict[str, bool], effects: list[bool]
) -> None:
    endpoint = brain(profiles=[], assumptions=assumptions)
    response = batch(endpoint, "ann", "b c", "bob")
    assert response.error == (400 if assumptions else 0)
    assert [row.effect for row in response.rows] == effects
    assert len(list(endpoint.profiles)) == endpoint.effects.total() == sum(effects)


def test_a_batch_without_a_bad_item_is_carried_out_once() -> None:
    endpoint = brain(profiles=[], assumptions={"bad_item_refuses_batch": True})
    assert errors(batch(endpoint, "ann", "bob")) == [0, 0]
    assert list(endpoint.effects.values()) == [1, 1]


@pytest.mark.parametrize(
    ("switch", "error", "campaign"), [(True, 0, "own"), (False, 400, None), ("ignored", 0, "spring")]
)
def test_an_assumption_decides_on_content_by_row(switch: Any, error: int, campaign: str | None) -> None:
    endpoint = brain(assumptions={"content_by_row": switch})
    rows = items("ann", content={"campaign": "own"})
    response = ask(endpoint, BATCH, {**SHARED, "content": {"campaign": "spring"}, "data": rows})
    assert errors(response) == [error]
    assert [content["campaign"] for content in endpoint.contents.values()] == [campaign] * (not error)


@pytest.mark.parametrize("switch", [True, False])
@pytest.mark.parametrize(
    ("mode", "beside", "inside"),
    [
        ("email", {"email": "ann@example.com"}, {"email": "ann@example.com"}),
        ("phone", {"phone": "+79000000000"}, {"phones": ["+79000000000"]}),
        ("custom", {"field_value": 7}, {"CRM_ID": 7}),
    ],
)
def test_an_assumption_decides_where_an_item_has_its_match(
    switch: bool, mode: str, beside: dict[str, Any], inside: dict[str, Any]
) -> None:
    shared = {**SHARED, "matching": mode, **({"field_name": "CRM_ID"} if mode == "custom" else {})}
    outcomes = []
    for rows in ([{**beside, "data": inside}], [{"data": inside}]):
        endpoint = brain(profiles=[], assumptions={"match_in_data": switch})
        outcomes += errors(ask(endpoint, BATCH, {**shared, "data": rows}))
    assert outcomes == ([0, 400] if switch else [400, 0])


def test_an_assumption_requires_data_of_an_import() -> None:
    endpoint = brain(assumptions={"import_without_data": False})
    assert errors(batch(endpoint, "ann")) == [400]
    assert ask(endpoint, SINGLE, {**SHARED, "email": "ann@example.com"}).error == 400


@pytest.mark.parametrize("needs_mark", [True, False])
@pytest.mark.parametrize("mark", ["", " array='true'"])
def test_a_list_of_one_in_xml_may_need_a_mark(needs_mark: bool, mark: str) -> None:
    endpoint = brain(profiles=[], assumptions={"array_of_one_needs_mark": needs_mark})
    inner = f"<data><phones{mark}>+79000000000</phones></data>"
    body = f"<xml>{XML_SHARED}<data{mark}><email>ann@example.com</email>{inner}</data></xml>"
    response = ask(endpoint, BATCH, body)
    assert response.effect is (not needs_mark or bool(mark))
    assert [profile["phones"] for profile in endpoint.profiles] == [["+79000000000"]] * response.effect


def test_a_batch_has_a_maximum_of_profiles() -> None:
    endpoint = brain(assumptions={"most_profiles": 2})
    assert batch(endpoint, "a", "b").error == 0
    response = batch(endpoint, "a", "b", "c")
    assert (response.error, len(response.rows), response.effect) == (400, 3, False)


def test_a_body_has_a_maximum_size() -> None:
    fields = {**SHARED, "email": "ann@example.com", "data": {"note": "x" * 10_000_000}}
    response = ask(brain(), SINGLE, fields)
    assert (response.status, response.error, response.effect) == (413, 413, False)
    file = {"name": "a", "data": "data:a/b;base64," + "A" * 10_000_000}
    assert ask(brain(), SINGLE, {**SHARED, "email": "ann@example.com", "attach": [file]}).effect


@pytest.mark.parametrize("kind", ["json", "xml"])
def test_a_task_has_a_number_and_is_completed(kind: str) -> None:
    endpoint = brain(profiles=[])
    response = ask(endpoint, TASK, {**SHARED, "format": kind, "data": items("ann", "b c", "bob")})
    if kind == "xml":
        number = parsed(response).findtext("data/task_id")
        body = f"<xml><token>t</token><format>xml</format><task_id>{number}</task_id></xml>"
        completed = parsed(ask(endpoint, "tasks/status", body))
        found = [completed.findtext(f"data/{name}") for name in ("status", "result/errors", "result/total")]
        assert found == ["completed", "1", "3"]
    else:
        status = document(ask(endpoint, "tasks/status", document(response)["data"]))
        assert status["data"]["status"] == "completed"
        assert status["data"]["result"] == {"errors": 1, "total": 3}
    assert [row.effect for row in response.rows] == [True, False, True]
    assert "result" not in response.body.decode()


@pytest.mark.parametrize(
    ("fields", "fact"), [({}, "required"), ({"task_id": 7}, "not found"), ({"task_id": "x"}, "type")]
)
def test_an_unknown_task_is_refused(fields: dict[str, Any], fact: str) -> None:
    response = ask(brain(), "tasks/status", fields)
    assert response.error == 400
    assert fact in document(response)["error_text"]


@pytest.mark.parametrize("method", [SINGLE, BATCH, TASK])
def test_a_repeat_of_the_whole_request_has_no_effect(method: str) -> None:
    endpoint = brain(profiles=[])
    given = {"email": "ann@example.com"} if method == SINGLE else {"data": items("ann", "b c", "bob")}
    first, repeat = (ask(endpoint, method, {**SHARED, **given}, "r") for _ in range(2))
    assert repeat.body == first.body
    assert (repeat.duplicate, repeat.effect) == (True, False)
    assert set(endpoint.effects.values()) == {1}
    assert len(list(endpoint.profiles)) == sum(row.effect for row in first.rows)


@pytest.mark.parametrize("error", [400, 429, 503])
@pytest.mark.parametrize("method", [BATCH, TASK])
def test_an_item_with_a_fault_is_not_processed(method: str, error: int) -> None:
    endpoint = brain(profiles=[], faults={f"item_{error}": 0.3}, seed=3)
    names = [f"p{number}" for number in range(300)]
    response = ask(endpoint, method, {**SHARED, "data": items(*names)})
    failed = [row for row in response.rows if row.error]
    assert {row.error for row in failed} == {error}
    assert len(failed) == pytest.approx(90, rel=0.3)
    assert endpoint.effects.total() == 300 - len(failed)
    assert not any(row.effect for row in failed)


def test_half_of_the_items_with_a_500_are_processed() -> None:
    endpoint = brain(faults={"item_500": 1.0})
    response = batch(endpoint, *(f"p{number}" for number in range(300)))
    assert set(errors(response)) == {500}
    assert endpoint.effects.total() == sum(row.effect for row in response.rows)
    assert endpoint.effects.total() == pytest.approx(150, rel=0.25)


def test_faults_of_items_do_not_apply_to_single_requests() -> None:
    endpoint = brain(faults={"item_503": 1.0})
    assert ask(endpoint, SINGLE, {**SHARED, "email": "ann@example.com"}).effect


def test_a_fault_of_an_item_may_refuse_its_batch() -> None:
    endpoint = brain(faults={"item_400": 1.0}, assumptions={"bad_item_refuses_batch": True})
    assert batch(endpoint, "ann", "bob").error == 400
    assert not endpoint.effects


@pytest.mark.parametrize("kind", ["objects", "ids"])
@pytest.mark.parametrize(("fault", "length"), [("short_result", 2), ("long_result", 4)])
@pytest.mark.parametrize("form", ["json", "xml"])
def test_a_fault_changes_the_number_of_results(kind: str, fault: str, length: int, form: str) -> None:
    endpoint = brain(assumptions={"batch_result": kind})
    fields = {"token": "t", **SHARED, "format": form, "data": items("ann", "bob", "cid")}
    body, headers = json.dumps(fields).encode(), {"Request-ID": "r"}
    responses = [endpoint.answer(f"/api/v1.1/{BATCH}", headers, body, 0, fault) for _ in range(2)]
    lengths = [
        len(document(response)["result"] if form == "json" else parsed(response).findall("result/xml"))
        for response in responses
    ]
    assert lengths == [length, 3]
    assert endpoint.effects.total() == 3
