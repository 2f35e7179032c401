"""The live page in a real browser, of a real run: what it shows, its buttons, and whom it lets in."""

from __future__ import annotations

import asyncio
import csv
import http.client
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families
from selenium.webdriver.common.keys import Keys

import engager
from engager import Control, Event, Exit, Progressed, Serving, Summary
from engager.output.live import access
from engager.run.engine import Engine
from tests.output.browser import Browser

STATUS_OF_CONTROL = (
    "return fetch('/control', {method: 'POST', headers: {'X-Engager': '1'}, body: arguments[0]})"
    ".then((a) => a.status)"
)

HOSTILE = "<img src=x onerror=alert(1)>\"'&‮"


@dataclass
class Shown:
    """A run under way that serves its page."""

    control: Control = field(default_factory=Control)
    url: str = ""
    events: list[Event] = field(default_factory=list)

    def watch(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Serving):
            self.url = event.url

    @property
    def looks(self) -> list[int]:
        """The numbers of settled rows of all events."""
        return [event.snapshot.rows for event in self.events if isinstance(event, Progressed)]

    @property
    def rows(self) -> int:
        return max(self.looks, default=0)

    def get(self, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
        connection.request(method, path, headers=headers, body="{}" if method == "POST" else None)
        answer = connection.getresponse()
        answer.text = answer.read().decode()  # type: ignore[attr-defined]
        connection.close()
        return answer


@asynccontextmanager
async def shown(
    folder: Path, malformed: str = "nobody", **tables: Any
) -> AsyncIterator[tuple[Shown, asyncio.Task[Summary]]]:
    with (folder / "people.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("email", "name"))
        rows.writerows((f"p{n}@example.com" if n % 10 else malformed, "x") for n in range(4000))
    job = engager.build_job(
        {
            "job": {"name": "test"},
            "endpoint": {"url": "sandbox"},
            "input": {"path": "people.csv"},
            "request": {"id": 12, "email": "{email}"},
            "limits": {"rate": 200, "concurrency": 16},
            "sandbox": {"latency": "20ms"},
            **tables,
        },
        folder,
    )
    run = Shown()
    task = asyncio.create_task(
        engager.run_async(job, out=folder / "run", watch=run.watch, control=run.control, page="127.0.0.1:0")
    )
    try:
        await until(lambda: bool(run.url) or task.done())
        yield run, task
    finally:
        run.control.stop("the test is over")
        await task


async def until(true: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.05)


async def off_loop(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The browser waits for the page, and the page is served by this loop."""
    return await asyncio.to_thread(call, *args, **kwargs)


def text(browser: Browser, selector: str) -> str:
    return str(browser.run(f"return document.querySelector({selector!r}).textContent"))


async def shows(browser: Browser, selector: str, pattern: str) -> None:
    async with asyncio.timeout(15):
        while not re.search(pattern, await off_loop(text, browser, selector), re.DOTALL):
            await asyncio.sleep(0.1)


def click(browser: Browser, selector: str) -> None:
    browser.find(selector)[0].click()


def type_rate(browser: Browser, rate: str) -> None:
    field = browser.find("#rate")[0]
    field.click()
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(rate)


async def test_it_shows_the_run_and_its_buttons_act_on_it(tmp_path: Path, browser: Browser) -> None:
    async with shown(tmp_path) as (run, task):
        await off_loop(browser.open, run.url)
        await shows(browser, "#total", "of 4,000 rows")
        await shows(browser, "#errors tbody", r"invalid.*malformed.*row \d+")
        assert await off_loop(text, browser, "#job") == "test"
        assert "nobody" in await off_loop(text, browser, "#destination")
        assert "%" in await off_loop(text, browser, "#share")
        await shows(browser, "#gauges", r"< 1 s\s*oldest in flight")
        await shows(browser, "#left", r"left, until \d\d:\d\d")
        await shows(browser, "#charts", "Throughput.*Latency.*In flight")
        names = [drawing.accessible_name for drawing in await off_loop(browser.find, "#charts svg[role=img]")]
        assert names == ["Throughput rows/s", "Latency log scale", "In flight requests"]

        await off_loop(click, browser, "#pause")
        await until(lambda: "operator" in run.control.holders)
        await until(lambda: len(set(run.looks[-3:])) == 1)  # what was in flight has ended
        paused, looks = run.rows, len(run.looks)
        await until(lambda: len(run.looks) >= looks + 3)
        assert run.rows == paused
        await shows(browser, "#state", "paused by the operator")

        await off_loop(type_rate, browser, "50")
        await off_loop(click, browser, "#rate-form button")
        await until(lambda: run.control.rate == 50)
        await off_loop(click, browser, "#pause")
        await until(lambda: run.rows > paused)
        await shows(browser, "#gauges", r"requests/s\s*50\s*limit of requests/s")

        await off_loop(click, browser, "#stop")
        await off_loop(click, browser, "#really")
        summary = await task
        await shows(browser, "#state", "commanded on the page")
        assert await off_loop(text, browser, "#left") == ""
    assert (summary.exit_code, summary.complete) == (Exit.STOPPED, False)
    assert await off_loop(browser.complaints) == []


async def test_skipped_rows_are_no_errors(tmp_path: Path, browser: Browser) -> None:
    async with shown(tmp_path, "p1@example.com", input={"path": "people.csv", "unique": True}) as (run, _):
        await off_loop(browser.open, run.url)
        await shows(browser, "#skipped tbody", r"skipped.*repeat")
        assert await off_loop(browser.run, "return document.getElementById('errors').hidden")


async def test_a_fault_is_the_last_state_of_the_page(
    tmp_path: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks = asyncio.Event()

    async def broken(*_: object) -> None:
        await breaks.wait()
        raise LookupError("p1@example.com")

    monkeypatch.setattr(Engine, "engage_all", broken)

    async def watched() -> None:
        async with shown(tmp_path) as (run, _):
            await off_loop(browser.open, run.url)
            await shows(browser, "#total", "of 4,000 rows")
            breaks.set()
            await shows(browser, "#state", "stopped: .*LookupError$")

    with pytest.raises(LookupError):
        await watched()


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
async def test_it_fits_a_desk_and_a_phone(tmp_path: Path, browser: Browser, width: int, dark: bool) -> None:
    browser.look(width, dark=dark)
    async with shown(tmp_path) as (run, _):
        await off_loop(browser.open, run.url)
        await shows(browser, "#errors tbody", "malformed")
        assert await off_loop(browser.overflow) == 0
        background = await off_loop(browser.run, "return getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(15, 18, 23)" if dark else "rgb(246, 247, 249)")


async def test_what_comes_from_a_row_is_text(tmp_path: Path, browser: Browser) -> None:
    async with shown(tmp_path, HOSTILE) as (run, _):
        await off_loop(browser.open, run.url)
        await shows(browser, "#errors tbody", re.escape("<img src=x"))
        assert await off_loop(browser.run, "return document.querySelectorAll('img').length") == 0
        assert await off_loop(browser.complaints) == []


async def test_a_rate_that_the_run_finds_is_not_set_by_hand(tmp_path: Path, browser: Browser) -> None:
    async with shown(tmp_path, limits={"rate": "auto", "max_rate": 200}) as (run, _):
        await off_loop(browser.open, run.url)
        await shows(browser, "#state", "sending")
        assert await off_loop(browser.run, "return document.getElementById('rate').disabled")
        assert await off_loop(browser.run, STATUS_OF_CONTROL, '{"do":"rate","rate":5}') == 400


async def test_the_page_sets_no_rate_above_the_jobs(tmp_path: Path, browser: Browser) -> None:
    async with shown(tmp_path, limits={"rate": 100}) as (run, _):
        await off_loop(browser.open, run.url)
        for rate in ("101", "1e999", "NaN", '"x"'):
            body = f'{{"do":"rate","rate":{rate}}}'
            assert await off_loop(browser.run, STATUS_OF_CONTROL, body) == 400
        assert await off_loop(browser.run, STATUS_OF_CONTROL, '{"do":"rate","rate":99}') == 204
        assert run.control.rate == 99


async def test_the_page_needs_the_key_and_the_key_opens_once(tmp_path: Path) -> None:
    async with shown(tmp_path) as (run, _):
        parts = urlsplit(run.url)
        door = f"{parts.path}?{parts.query}"
        for path in ("/", "/events", "/charts", "/page.js", "/?key=wrong", "/?key="):
            assert (await off_loop(run.get, path)).status == 403
        entered = await off_loop(run.get, door)
        assert (entered.status, entered.headers["Location"]) == (303, "/")
        cookie = entered.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert (await off_loop(run.get, door)).status == 403
        known = {"Cookie": cookie.split(";")[0]}
        inside = await off_loop(run.get, "/", **known)
        assert inside.status == 200
        assert "default-src 'none'" in inside.headers["Content-Security-Policy"]
        assert (
            await off_loop(run.get, "/", Cookie=f"{known['Cookie'].partition('=')[0]}=guess")
        ).status == 403
        assert (await off_loop(run.get, "/", Host="evil.example", **known)).status == 403


async def test_who_is_in_lets_in_one_more_device_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shown(tmp_path) as (run, _):
        parts = urlsplit(run.url)
        script = {"X-Engager": "1"}
        assert (await off_loop(run.get, "/invite", "POST", **script)).status == 403
        entered = await off_loop(run.get, f"{parts.path}?{parts.query}")
        known = {"Cookie": entered.headers["Set-Cookie"].split(";")[0]}
        assert (await off_loop(run.get, "/invite", "POST", **known)).status == 403
        first, second = [(await off_loop(run.get, "/invite", "POST", **script, **known)).text for _ in "12"]
        assert (await off_loop(run.get, f"/?key={first}")).status == 403
        other = await off_loop(run.get, f"/?key={second}")
        assert other.status == 303
        assert (await off_loop(run.get, f"/?key={second}")).status == 403
        theirs = {"Cookie": other.headers["Set-Cookie"].split(";")[0]}
        assert (await off_loop(run.get, "/", **theirs)).status == 200
        monkeypatch.setattr(access, "INVITATION", 0.0)
        late = (await off_loop(run.get, "/invite", "POST", **script, **theirs)).text
        assert (await off_loop(run.get, f"/?key={late}")).status == 403


async def test_no_page_of_another_origin_can_act(tmp_path: Path) -> None:
    async with shown(tmp_path) as (run, _):
        parts = urlsplit(run.url)
        entered = await off_loop(run.get, f"{parts.path}?{parts.query}")
        known = {"Cookie": entered.headers["Set-Cookie"].split(";")[0]}
        assert (await off_loop(run.get, "/control", "POST", **known)).status == 403
        foreign = {"Origin": "https://evil.example", "X-Engager": "1", **known}
        assert (await off_loop(run.get, "/control", "POST", **foreign)).status == 403
        assert (await off_loop(run.get, "/control", "POST", **{"X-Engager": "1"}, **known)).status == 400
        assert run.control.holders == {}


REMAINING = ("engager_rows_remaining",)


async def metrics(run: Shown) -> dict[tuple[str, ...], float]:
    answer = await off_loop(run.get, "/metrics")
    assert "@" not in answer.text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def settled_of(found: dict[tuple[str, ...], float]) -> float:
    return sum(value for (name, *_), value in found.items() if name == "engager_rows_total")


async def test_metrics_are_prometheus_and_contain_no_personal_data(tmp_path: Path) -> None:
    limits = {"rate": 400, "concurrency": 16}
    async with shown(tmp_path, limits=limits) as (run, _):
        await until(lambda: run.rows > 60)
        assert (await metrics(run))["engager_in_flight",] <= 16
        run.control.pause()
        async with asyncio.timeout(20):
            while (found := await metrics(run)).get(("engager_paused", "operator")) != 1 or (
                found["engager_in_flight",] or settled_of(found) != run.rows or REMAINING not in found
            ):
                await asyncio.sleep(0.05)
        assert found["engager_run_info", "run", "test"] == 1
        assert settled_of(found) == 4000 - found[REMAINING]
        engaged = found["engager_rows_total", "engaged"]
        assert found["engager_attempt_latency_seconds_count",] == engaged
        assert found["engager_attempt_latency_seconds_bucket", "0.01"] == 0
        health = await off_loop(run.get, "/health")
        assert '"paused"' in health.text


async def test_the_senders_of_a_run_are_on_the_page_and_in_the_metrics(
    tmp_path: Path, browser: Browser
) -> None:
    limits = {"rate": 100, "concurrency": 16, "processes": 2}
    async with shown(tmp_path, limits=limits) as (run, _):
        await off_loop(browser.open, run.url)
        await shows(browser, "#senders tbody", r"process 1.*process 2")
        await until(lambda: run.rows > 20)
        found = await metrics(run)
        assert (found["engager_senders", "present"], found["engager_senders", "lost"]) == (2, 0)
        names = ("process 1", "process 2")
        assert sum(found["engager_sender_in_flight", name] for name in names) <= 16
        assert sum(found["engager_sender_requests_total", name] for name in names) > 0
        assert await off_loop(browser.run, "return !document.getElementById('senders').hidden")


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:", "127.0.0.1:99999", ""])
def test_an_address_that_is_none_is_refused_before_anything_is_made(tmp_path: Path, address: str) -> None:
    (tmp_path / "people.csv").write_text("email\na@example.com\n")
    tables = {
        "job": {"name": "test"},
        "endpoint": {"url": "sandbox"},
        "input": {"path": "people.csv"},
        "request": {"id": 12, "email": "{email}"},
    }
    with pytest.raises(engager.JobError, match="--page"):
        engager.run(engager.build_job(tables, tmp_path), out=tmp_path / "run", page=address)
    assert not (tmp_path / "run").exists()
