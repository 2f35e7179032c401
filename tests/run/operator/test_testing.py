"""One row's request goes to the operator: whatever the job, its person is not in it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import engager
from engager import EngagerError, JobFile, Status, TestPlan, TestResult

TOKEN = "t0ken-that-nobody-may-see"
ME, MY_PHONE, MY_ID = "me@example.com", "+79990000009", "ab" * 12
PERSON = ("ann@corp.example", "+79160000001", "cd" * 12, "Ann & Co", "x")
SUCCESS = {"data": None, "error": 0, "error_text": "Successful operation"}
IMPORT = {"method": "import_and_start", "workflow_id": 12, "matching": "email", "email": "{email}"}


@dataclass
class Platform:
    folder: Path
    url: str = ""
    bodies: list[Any] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    answer: Any = field(default_factory=lambda: SUCCESS)

    async def handle(self, request: web.Request) -> web.Response:
        self.ids.append(request.headers["Request-ID"])
        self.bodies.append(await request.text())
        return web.json_response(self.answer)

    def job(self, request: dict[str, Any], **tables: Any) -> JobFile:
        given = {
            "job": {"name": "test"},
            "endpoint": {"url": self.url, "token": "file:token", **tables.pop("endpoint", {})},
            "input": {"path": "people.csv", **tables.pop("input", {})},
            "request": request if "workflow_id" in request else {"id": 12, **request},
        }
        return engager.build_job({**given, **tables}, base=self.folder)

    async def test(
        self, request: dict[str, Any], *to: str, row: int | None = None, **tables: Any
    ) -> TestResult:
        job = self.job(request, **tables)
        result = await asyncio.to_thread(lambda: engager.send_test(job, *to, row=row))
        assert result is not None
        return result


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    (tmp_path / "token").write_text(TOKEN)
    lines = ["email,phone,id,name,no", "nobody,,,,", ",".join(PERSON), "bob@example.com,+79160000002,,Bob,y"]
    (tmp_path / "people.csv").write_text("\n".join(lines) + "\n")
    made, app = Platform(tmp_path), web.Application()
    app.router.add_post("/{path:.*}", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def test_the_first_row_that_can_be_sent_goes_to_the_operator(platform: Platform) -> None:
    request = {"email": "{email}", "content": {"name": "{name}", "footer": "sent to {email}"}}
    result = await platform.test(request, ME)
    (body,) = map(json.loads, platform.bodies)
    assert body["email"] == ME
    assert body["content"] == {"name": "Ann & Co", "footer": f"sent to {ME}"}
    assert (result.row, result.status, result.http_status, result.error) == (2, Status.ENGAGED, 200, 0)
    assert result.response is not None
    assert json.loads(result.response) == SUCCESS
    assert not (platform.folder / "runs").exists()
    assert (await platform.test(request, ME, row=3)).row == 3
    again = await platform.test(request, ME, row=3)
    assert len(set(platform.ids)) == 3  # a repeated id would not be processed
    assert again.request_id == platform.ids[-1]


#: Each way of naming people, and what is given for it.
REQUESTS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"email": "{email}"}, (ME,)),
    ({"email": "ann.{no}@corp.example", "content": {"by": "{no}"}}, (ME,)),
    ({"matching": "phone", "phone": "{phone}"}, (MY_PHONE,)),
    ({"matching": "profile_id", "profile_id": "{id}", "email": "{email}"}, (MY_ID,)),
    ({"matching": "custom", "field_name": "mail", "field_value": "{email}"}, ("me",)),
    ({"email": "{email}", "subscription_filter": {"email": "{email}"}}, (ME,)),
    ({"email": "{email}", "subscription_filter": {"phone": "{phone}"}}, (ME, MY_PHONE)),
    ({"email": "{email}", "subscription_filter": {"phone": "+79160000001"}}, (ME, MY_PHONE)),
    ({**IMPORT, "data": {"email": "{email}", "login": "{email}"}}, (ME,)),
    ({**IMPORT, "data": {"phones": ["{phone}", "+79160000001"]}}, (ME, MY_PHONE)),
    ({**IMPORT, "data": {"subscriptions": [{"channel": "email", "email": "{email}"}]}}, (ME,)),
    ({**IMPORT, "data": {"subscriptions": [{"channel": "sms", "phone": "{phone}"}]}}, (ME, MY_PHONE)),
    ({**IMPORT, "custom_data": {"of": "{email}"}, "data": {"_fname": "{name}"}}, (ME,)),
]


@pytest.mark.parametrize("format_", ["json", "xml"])
@pytest.mark.parametrize(("request_", "to"), REQUESTS)
@pytest.mark.parametrize("batch", [False, True])
async def test_no_address_of_the_person_is_in_the_request(
    platform: Platform, request_: dict[str, Any], to: tuple[str, ...], format_: str, batch: bool
) -> None:
    if batch:
        if "workflow_id" not in request_:
            return
        request_ = {**request_, "method": "import_and_start_batch"}
        platform.answer = {**SUCCESS, "result": [{"error": 0, "error_text": "", "profile_id": MY_ID}]}
    result = await platform.test(request_, *to, row=2, endpoint={"format": format_, "answer": "json"})
    (body,) = platform.bodies
    assert [address for address in PERSON[:2] if address in body] == []
    assert PERSON[1][1:] not in body
    assert all(address in body for address in to)
    assert result.status is Status.ENGAGED
    assert {*result.to.values()} == {*to}
    assert result.reference == (MY_ID if batch else None)


@pytest.mark.parametrize(
    ("request_", "to", "fact"),
    [
        ({"custom_request": {"email": "{email}"}}, (ME,), "request.custom_request"),
        (
            {"email": "{email}", "subscription_filter": {"phone": "{phone}"}},
            (ME,),
            "subscription_filter.phone",
        ),
        (
            {"email": "{email}", "subscription_filter": {"subscription_id": "{id}", "provider": "x"}},
            (ME,),
            "subscription_filter.subscription_id",
        ),
        ({**IMPORT, "data": {"phones": ["{phone}"]}}, (ME,), "data.phones.0"),
        ({**IMPORT, "data": {"subscriptions": "{no:json}"}}, (ME,), "data.subscriptions"),
        ({**IMPORT, "data": {"email": {"action": "set", "value": "{email}"}}}, (ME,), "data.email"),
        (
            {**IMPORT, "data": {"subscriptions": [{"channel": "notify", "cc_data": {"to": "{email}"}}]}},
            (ME,),
            "data.subscriptions.0.cc_data",
        ),
        ({**IMPORT, "data": {"work_mail": "boss@corp.example"}}, (ME,), "data.work_mail"),
        ({**IMPORT, "data": {"work_phone": "{phone}"}}, (ME,), "data.work_phone"),
        ({**IMPORT, "custom_data": {"to": ["boss@corp.example"]}}, (ME,), "custom_data.to.0"),
        ({"email": "{email}", "content": {"cc": "Ann@Corp.Example"}}, (ME,), "ann@corp.example"),
        ({"email": "{email}"}, ("+79990000009",), "--to"),
        ({"email": "{email}"}, (ME, "you@example.com"), "--to you@example.com"),
        ({"email": "{email}"}, (), "--to"),
        ({"email": "{email}"}, (" ",), "--to"),
    ],
)
async def test_what_cannot_be_replaced_is_refused(
    platform: Platform, request_: dict[str, Any], to: tuple[str, ...], fact: str
) -> None:
    with pytest.raises(EngagerError) as refused:
        await platform.test(request_, *to)
    assert fact in str(refused.value)
    assert platform.bodies == []


async def test_a_row_passes_the_filter_as_it_is(platform: Platform) -> None:
    only = {"filter": {"email": ["bob@example.com"]}}
    assert (await platform.test({"email": "{email}"}, ME, input=only)).row == 3
    with pytest.raises(engager.InputError, match="row 2"):
        await platform.test({"email": "{email}"}, ME, row=2, input=only)


@pytest.mark.parametrize(("row", "fact"), [(1, "email"), (9, "row 9")])
async def test_a_row_that_cannot_be_sent_is_named(platform: Platform, row: int, fact: str) -> None:
    with pytest.raises(engager.InputError, match=fact):
        await platform.test({"email": "{email}"}, ME, row=row)


async def test_a_phone_of_another_form_is_the_same_person(platform: Platform) -> None:
    request = {"matching": "phone", "phone": "{phone}", "content": {"call": "8 (916) 000-00-01"}}
    with pytest.raises(EngagerError, match="79160000001"):
        await platform.test(request, MY_PHONE)
    del request["content"]
    await platform.test(request, "8 999 000-00-09", input={"region": "RU"})
    assert [json.loads(body)["phone"] for body in platform.bodies] == [MY_PHONE]


async def test_objects_of_jsonl(platform: Platform) -> None:
    (platform.folder / "people.jsonl").write_text('{"email": "ann@corp.example", "age": 7}\n')
    request = {"email": "{email}", "content": {"age": "{age}", "to": ["{email}"]}}
    await platform.test(request, ME, input={"path": "people.jsonl"})
    (body,) = map(json.loads, platform.bodies)
    assert (body["email"], body["content"]) == (ME, {"age": 7, "to": [ME]})
    several = {**IMPORT, "data": {"phones": ["{phone}", "+79160000001"]}}
    await platform.test(several, ME, MY_PHONE)
    (platform.folder / "people.jsonl").write_text('{"email": "ann@corp.example", "phones": ["+79160000001"]}')
    whole = {**IMPORT, "data": {"phones": "{phones}"}}
    await platform.test(whole, ME, MY_PHONE, input={"path": "people.jsonl"})
    assert [json.loads(body)["data"] for body in platform.bodies[1:]] == [{"phones": [MY_PHONE]}] * 2


async def test_nothing_is_sent_without_consent(platform: Platform) -> None:
    plans = list[TestPlan]()

    def refuses(plan: TestPlan) -> bool:
        plans.append(plan)
        return False

    job = platform.job({"id": "{no:int}", "email": "{email}"}, input={"path": "numbers.csv"})
    (platform.folder / "numbers.csv").write_text("email,no\nann@corp.example,31\n")
    assert await asyncio.to_thread(lambda: engager.send_test(job, ME, consents=refuses)) is None
    assert [(plan.endpoint, plan.scenario, plan.row, plan.to) for plan in plans] == [
        (platform.url, 31, 1, {"email": ME})
    ]
    assert platform.bodies == []


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        ({"data": None, "error": 400, "error_text": f"Unknown {TOKEN}"}, Status.REJECTED, 400),
        ({"data": None, "error": 403, "error_text": "No rights"}, Status.FAILED, 403),
        ({"data": None, "error": 500, "error_text": "Oops"}, Status.IN_DOUBT, 500),
        ("no such thing", Status.IN_DOUBT, "unusable_answer"),
    ],
)
async def test_the_response_is_shown_in_its_own_words(
    platform: Platform, answer: Any, status: Status, error: int | str
) -> None:
    platform.answer = answer
    result = await platform.test({"email": "{email}"}, ME)
    assert (result.status, result.error) == (status, error)
    assert result.response == json.dumps(answer).replace(TOKEN, "***")
    assert TOKEN not in str(result)
