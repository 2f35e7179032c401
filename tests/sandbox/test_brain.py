"""The behaviour of the sandbox: as documented, and with every assumption changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engager.sandbox import SandboxConfig
from engager.sandbox.brain import Answer, Brain

START = "/api/v1.1/workflows/start"
PROFILE: dict[str, Any] = {
    "profile_id": "5a74876369d42613b31947b8",
    "email": "ann@x.org",
    "phone": "+79000000000",
    "resource_id": 24,
    "fields": {"CRM_ID": 7},
    "subscriptions": [{"email": "ann@x.org"}, {"subscription_id": "S", "provider": "Chrome"}],
}


def brain(**settings: Any) -> Brain:
    return Brain(SandboxConfig.from_mapping(settings))


def ask(brain: Brain, now: float = 0, path: str = START, request_id: str = "", **fields: Any) -> Answer:
    headers = {"Request-ID": request_id} if request_id else {}
    return brain.answer(path, headers, json.dumps({"token": "t", **fields}).encode(), now)


def valid(**fields: Any) -> dict[str, Any]:
    return {"id": 12, "email": "ann@x.org", **fields}


@pytest.mark.parametrize("path", [START, START + "/"])
def test_a_valid_request_engages(path: str) -> None:
    response = ask(brain(), path=path, **valid())
    assert (response.status, response.effect) == (200, True)
    assert json.loads(response.body) == {"data": None, "error": 0, "error_text": "Successful operation"}


def test_xml_is_read_and_written() -> None:
    xml = b"<xml><token>t</token><format>xml</format><id>12</id><email>ann@x.org</email></xml>"
    golden = b"<xml><data/><error>0</error><error_text>Successful operation</error_text></xml>"
    assert brain().answer(START, {}, xml, 0).body == golden


def test_csv_is_written() -> None:
    assert ask(brain(), **valid(format="csv")).body == b"data,error,error_text\n,0,Successful operation\n"


@pytest.mark.parametrize(
    ("settings", "fields", "error", "text"),
    [
        ({}, valid(token=""), 401, "required"),
        ({"tokens": ["u"]}, valid(), 401, "wrong"),
        ({"powerless_tokens": ["t"]}, valid(), 403, "rights"),
        ({"tariff_limit": 0}, valid(), 402, "Tariff"),
        ({"scenarios": [{"id": 1}]}, valid(), 400, "not found"),
        ({"scenarios": [{"id": 12, "active": False}]}, valid(), 400, "not active"),
        ({"profiles": []}, valid(), 400, "Profile not found"),
        ({"profiles": [PROFILE]}, valid(resource_id=25), 400, "Profile not found"),
        (
            {"profiles": [PROFILE]},
            valid(subscription_filter={"email": "b@x.org"}),
            400,
            "Subscription not found",
        ),
        ({}, {"email": "ann@x.org"}, 400, "id is required"),
        ({}, valid(id="12"), 400, "wrong type"),
        ({}, valid(mail="x"), 400, "unknown parameter"),
        ({}, valid(email="ann"), 400, "malformed"),
        ({}, valid(matching="phone"), 400, "phone is required"),
        ({}, valid(matching="name"), 400, "unknown matching"),
        ({}, valid(attach=[{"name": "a", "data": "no"}]), 400, "attach"),
        ({}, valid(subscription_filter={"email": "a@x.org", "phone": "1"}), 400, "subscription_filter"),
        ({}, {"id": 1, "custom_request": {"a": 1}, "subscription_filter": {"phone": "1"}}, 400, "beside"),
        ({"assumptions": {"further_matching": False}}, valid(matching="email_sub"), 400, "unknown matching"),
    ],
)
def test_a_refused_request_has_its_error(
    settings: dict[str, Any], fields: dict[str, Any], error: int, text: str
) -> None:
    endpoint = brain(**settings)
    response = ask(endpoint, **fields)
    assert (response.status, response.error, response.effect) == (200, error, False)
    assert text in json.loads(response.body)["error_text"]
    assert not endpoint.effects


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"<html/>", b"<xml>", b"\xff"])
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    assert brain().answer(START, {}, body, 0).error == 400


@pytest.mark.parametrize(
    "fields",
    [
        {"email": "ann@x.org", "resource_id": 24},
        {"matching": "phone", "phone": "+79000000000"},
        {"matching": "profile_id", "profile_id": "5a74876369d42613b31947b8"},
        {"matching": "custom", "field_name": "CRM_ID", "field_value": 7},
        {"matching": "push_sub", "subscription_id": "S", "provider": "Chrome"},
        {"matching": "email_phone", "email": "ann@x.org", "phone": "+79000000000"},
        {"custom_request": {"$and": [{"CRM_ID": {"$in": [6, 7]}}, {"email": "ann@x.org"}]}},
        {"email": "ann@x.org", "subscription_filter": {"email": "other@x.org", "not_strict": True}},
    ],
)
def test_a_profile_is_found_by_every_matching_mode(fields: dict[str, Any]) -> None:
    assert ask(brain(profiles=[PROFILE]), id=12, **fields).effect


def test_a_repeat_gets_the_first_response_and_has_no_effect() -> None:
    endpoint = brain()
    first, repeat = (ask(endpoint, request_id="r", **valid()) for _ in range(2))
    assert repeat.body == first.body
    assert repeat.headers == {"Duplicate-Request": "true", "Duplicate-Key": "r"}
    assert (repeat.effect, repeat.duplicate, endpoint.effects.total()) == (False, True, 1)


def test_a_request_id_is_forgotten_after_the_window() -> None:
    endpoint = brain(assumptions={"dedupe_window": 10.0})
    assert [ask(endpoint, now, request_id="r", **valid()).effect for now in (0, 9.9, 10)] == [
        True,
        False,
        True,
    ]


def test_without_a_request_id_nothing_is_a_repeat() -> None:
    endpoint = brain()
    assert [ask(endpoint, **valid()).effect for _ in range(2)] == [True, True]


@pytest.mark.parametrize(("replayed", "marks"), [(True, ["", "true"]), (False, ["", ""])])
def test_errors_are_replayed_by_assumption(replayed: bool, marks: list[str]) -> None:
    endpoint = brain(profiles=[], assumptions={"replay_errors": replayed})
    responses = [ask(endpoint, request_id="r", **valid()) for _ in range(2)]
    assert [response.headers.get("Duplicate-Request", "") for response in responses] == marks


def test_the_other_assumptions_change_responses() -> None:
    assert ask(brain(profiles=[], assumptions={"errors_as_status": True}), **valid()).status == 400
    endpoint = brain(assumptions={"deduplicate": False})
    assert [ask(endpoint, request_id="r", **valid()).effect for _ in range(2)] == [True, True]
    old = brain(assumptions={"old_headers": True})
    ask(old, request_id="r", **valid())
    assert ask(old, request_id="r", **valid()).headers["X-Duplicate-Request"] == "true"


def test_a_scenario_without_reentry_engages_once() -> None:
    endpoint = brain(scenarios=[{"id": 12, "reentry": False}])
    assert [ask(endpoint, **valid()).effect for _ in range(2)] == [True, False]


def test_scenarios_are_deactivated_and_activated() -> None:
    endpoint = brain(scenarios=[{"id": 12, "name": "Spring"}])
    ask(endpoint, path="/api/v1.1/workflows/deactivate", id=12)
    listed = json.loads(ask(endpoint, path="/api/v1.1/workflows/list").body)["data"]
    assert listed == [{"id": 12, "name": "Spring", "is_active": False}]
    assert not ask(endpoint, **valid()).effect
    ask(endpoint, path="/api/v1.1/workflows/activate", id=12)
    assert ask(endpoint, **valid()).effect


def listed(endpoint: Brain, **fields: Any) -> list[int]:
    data = json.loads(ask(endpoint, path="/api/v1.1/workflows/list", **fields).body)["data"]
    return [scenario["id"] for scenario in data]


def test_a_listing_has_pages() -> None:
    endpoint = brain(scenarios=[{"id": number} for number in (9, 3, 5)])
    assert listed(endpoint) == [3, 5, 9]
    assert listed(endpoint, from_id=4) == [5, 9]
    assert listed(endpoint, from_id=3, limit=1) == [3]
    assert listed(endpoint, from_id=10) == []


def test_a_listing_has_the_scenarios_that_were_switched() -> None:
    endpoint = brain()
    assert listed(endpoint) == []
    ask(endpoint, path="/api/v1.1/workflows/deactivate", id=5)
    assert listed(endpoint) == [5]
    assert not ask(endpoint, **valid(id=5)).effect


@pytest.mark.parametrize(
    ("method", "fields", "text"),
    [
        ("activate", {}, "id is required"),
        ("activate", {"id": "12"}, "id has a wrong type"),
        ("activate", {"id": True}, "id has a wrong type"),
        ("activate", {"id": 13}, "not found"),
        ("activate", {"id": 12, "skip_profiles": 1}, "skip_profiles has a wrong type"),
        ("deactivate", {"id": 12, "skip_profiles": True}, "unknown parameter skip_profiles"),
        ("list", {"from_id": 0}, "from_id must be 1 or more"),
        ("list", {"limit": "5"}, "limit has a wrong type"),
        ("list", {"id": 12}, "unknown parameter id"),
    ],
)
def test_scenario_methods_refuse_invalid_parameters(method: str, fields: dict[str, Any], text: str) -> None:
    endpoint = brain(scenarios=[{"id": 12}])
    response = ask(endpoint, path=f"/api/v1.1/workflows/{method}", **fields)
    assert response.error == 400
    assert text in json.loads(response.body)["error_text"]
    assert endpoint._switched == {}


def test_a_scenario_is_activated_in_xml() -> None:
    endpoint = brain(scenarios=[{"id": 12, "active": False}])
    xml = b"<xml><token>t</token><id>12</id><skip_profiles>true</skip_profiles></xml>"
    assert endpoint.answer("/api/v1.1/workflows/activate", {}, xml, 0).error == 0
    assert ask(endpoint, **valid()).effect


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"falts": {}}, "'faults'"),
        ({"faults": {"504": 0.1}}, "504"),
        ({"faults": {"503": 2}}, "0 to 1"),
        ({"faults": {"503": 0.6, "500": 0.6}}, "more than 1"),
        ({"assumptions": {"dedup": True}}, "assumptions.dedup"),
        ({"latency": "soon"}, "20ms"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ValueError, match=fact):
        SandboxConfig.from_mapping(settings)
