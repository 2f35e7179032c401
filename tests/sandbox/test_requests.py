"""The examples of the documentation and edge cases of requests, in JSON and XML."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engager.sandbox import SandboxConfig
from engager.sandbox.brain import Answer, Brain
from engager.sandbox.formats import read_request

START = "/api/v1.1/workflows/start"
ANN: dict[str, Any] = {"profile_id": "a" * 24, "email": "ann@x.org", "phone": "+79000000000"}
FILES = [
    {"data": "data:text/csv;base64,5LuK5pel44GvCg==", "name": "日本.txt"},
    {"data": "data:text/csv;base64,SEVMTE8K", "name": "US.txt"},
]
XML_FILES = "".join(
    f"<attach><data>{file['data']}</data><name>{file['name']}</name></attach>" for file in FILES
)


def brain(**settings: Any) -> Brain:
    return Brain(SandboxConfig.from_mapping(settings))


def ask(endpoint: Brain, **fields: Any) -> Answer:
    return endpoint.answer(START, {}, json.dumps({"token": "t", "id": 1, **fields}).encode(), 0)


@pytest.mark.parametrize(
    "body",
    [
        '{"token": "t", "id": 11, "matching": "profile_id", "profile_id": "5a74876369d42613b31947b8"}',
        "<xml><token>t</token><id>11</id><matching>profile_id</matching>"
        "<profile_id>5a74876369d42613b31947b8</profile_id></xml>",
        json.dumps(
            {
                "token": "t",
                "id": 12,
                "matching": "profile_id",
                "profile_id": "66102b984a5d12bd6cc0912f",
                "attach": FILES,
                "content": {"data_lines": ["Channel A", "Channel B"], "email_title": "New videos"},
            }
        ),
        "<xml><token>t</token><id>12</id><matching>profile_id</matching>"
        f"<profile_id>661027b04a5d12bd6cc09125</profile_id>{XML_FILES}"
        "<content><data_lines>Channel A</data_lines><data_lines>Channel B</data_lines></content></xml>",
    ],
)
def test_the_documented_examples_engage(body: str) -> None:
    assert brain().answer(START, {}, body.encode(), 0).effect


def test_xml_is_read_like_json() -> None:
    body = (
        "<xml><id>1</id><resource_id/><attach array='true'><data>d</data><name>n</name></attach>"
        "<subscription_filter><email>a@x.org</email><not_strict>true</not_strict></subscription_filter></xml>"
    )
    assert read_request(body.encode()) == {
        "id": 1,
        "attach": [{"data": "d", "name": "n"}],
        "subscription_filter": {"email": "a@x.org", "not_strict": True},
    }


@pytest.mark.parametrize("number", ["²", "1" * 5000, "1.0", "x"])
def test_an_invalid_number_is_a_wrong_type(number: str) -> None:
    body = f"<xml><token>t</token><id>{number}</id><email>ann@x.org</email></xml>"
    assert brain().answer(START, {}, body.encode(), 0).error == 400


def test_the_token_may_be_in_the_header() -> None:
    body = b'{"id": 1, "email": "ann@x.org"}'
    assert brain(tokens=["t"]).answer(START, {"Authorization": "Bearer t"}, body, 0).effect


@pytest.mark.parametrize("header", ["Request-ID", "X-Request-ID"])
def test_a_request_id_counts_for_its_token_only(header: str) -> None:
    endpoint = brain()
    bodies = [json.dumps({"token": token, "id": 1, "email": "ann@x.org"}).encode() for token in "ttu"]
    effects = [endpoint.answer(START, {header: "r"}, body, 0).effect for body in bodies]
    assert effects == [True, False, True]


@pytest.mark.parametrize(
    "fields",
    [
        {"matching": "phone", "phone": "soon"},
        {"matching": "profile_id", "profile_id": "5a74"},
        {"email": "ann@x.org", "attach": [{"name": "n", "data": 5}]},
        {"email": "ann@x.org", "attach": [{"name": 5, "data": FILES[0]["data"]}]},
        {"email": "ann@x.org", "attach": ["n"]},
        {"custom_request": {"$and": 5}},
        {"custom_request": {"$or": ["x"]}},
        {"custom_request": {"email": {"$in": 5}}},
        {"custom_request": {"email": {"$regex": "a"}}},
        {"custom_request": {"$where": "1"}},
    ],
)
def test_malformed_fields_are_refused(fields: dict[str, Any]) -> None:
    response = ask(brain(profiles=[ANN]), **fields)
    assert (response.error, response.effect) == (400, False)
    assert "not found" not in json.loads(response.body)["error_text"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"email": {"$eq": "ann@x.org"}}, True),
        ({"email": {"$eq": "bob@x.org"}}, False),
        ({"$or": [{"email": "bob@x.org"}, {"phone": "+79000000000"}]}, True),
        ({"$and": [{"email": "ann@x.org"}, {"phone": "+1"}]}, False),
    ],
)
def test_a_custom_request_finds_a_profile(query: dict[str, Any], found: bool) -> None:
    assert ask(brain(profiles=[ANN]), custom_request=query).effect is found


def test_a_profile_is_the_same_by_every_match() -> None:
    endpoint = brain(profiles=[ANN], scenarios=[{"id": 1, "reentry": False}])
    by_email = ask(endpoint, email="ann@x.org")
    by_phone = ask(endpoint, matching="phone", phone="+79000000000")
    assert (by_email.effect, by_phone.effect) == (True, False)
    assert dict(endpoint.effects) == {"a" * 24: 1}


def test_the_tariff_counts_engagements() -> None:
    endpoint = brain(tariff_limit=2)
    assert [ask(endpoint, email="ann@x.org").error for _ in range(3)] == [0, 0, 402]
