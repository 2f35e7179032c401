"""Whole runs against gateways that respond in place of the endpoint, compared with what was really done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import engager
from tests.wire.raw import PASS, Action, Arrival, Gateway, serving

pytestmark = pytest.mark.one_loop

SIGN_IN = Action(False, 200, b"<html><h1>Sign in</h1></html>")
NOT_FOUND = Action(False, 404, b"default backend - 404")
MODES = ("exactly-once", "at-most-once", "at-least-once")


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGAGER_TEST_TOKEN", "t0ken-of-the-tests")


def job(folder: Path, url: str, rows: int, **tables: Any) -> engager.JobFile:
    people = "".join(f"p{number}@example.com\n" for number in range(1, rows + 1))
    (folder / "people.csv").write_text(f"email\n{people}")
    given = {
        "job": {"name": "gateways"},
        "endpoint": {"url": url, "token": "env:ENGAGER_TEST_TOKEN", "timeout": 20},
        "input": {"path": "people.csv"},
        "request": {"id": 12, "email": "{email}"},
        "output": {"report": False},
        "breaker": {"pause": "200ms"},
        "retry": {"base_delay": 0.05},
    }
    return engager.build_job({**given, **tables}, base=folder)


async def run(folder: Path, url: str, rows: int, **tables: Any) -> engager.Summary:
    return await engager.run_async(job(folder, url, rows, **tables), out=folder / "run")


def for_a_while(action: Action, seconds: float = 0.6) -> Gateway:
    """A gateway that does this for some seconds in the middle of a run."""
    return lambda arrival: action if 0.2 < arrival.seconds < 0.2 + seconds else PASS


@pytest.mark.parametrize(
    "page",
    [
        NOT_FOUND,
        Action(False, 302, b"", "Location: /maintenance\r\n"),
        Action(False, 301, b"", "Location: https://elsewhere\r\n"),
        Action(False, 400, b"<html>blocked by the firewall</html>"),
        Action(False, 403, b"<html>blocked by the firewall</html>"),
        Action(False, 404, b'{"error": "Not Found", "path": "/api"}'),
        Action(False, 502, b"<html>Bad Gateway</html>"),
        SIGN_IN,
    ],
    ids=lambda action: f"{action.status} {action.body[:12]!r}",
)
async def test_a_short_outage_of_a_gateway_loses_no_row(tmp_path: Path, page: Action) -> None:
    async with serving(for_a_while(page)) as endpoint:
        summary = await run(tmp_path, endpoint.url, 800, limits={"rate": 1500})
    assert endpoint.requests > 800
    assert (summary.exit_code, summary.statuses["engaged"]) == (0, 800)
    assert set(endpoint.effects.values()) == {1}


@pytest.mark.parametrize(
    "page",
    [NOT_FOUND, Action(False, 302, b""), Action(False, 400, b"<html>blocked</html>")],
    ids=lambda action: action.status,
)
async def test_a_long_outage_of_a_gateway_loses_no_row(tmp_path: Path, page: Action) -> None:
    async with serving(for_a_while(page, 2)) as endpoint:
        summary = await run(tmp_path, endpoint.url, 2000, limits={"rate": 1500})
    assert (summary.exit_code, summary.statuses["engaged"]) == (0, 2000)
    assert set(endpoint.effects.values()) == {1}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("concurrency", [1, 4, 64])
async def test_an_outage_rejects_no_row_in_any_mode(tmp_path: Path, mode: str, concurrency: int) -> None:
    async with serving(for_a_while(NOT_FOUND)) as endpoint:
        summary = await run(
            tmp_path,
            endpoint.url,
            300,
            limits={"rate": 500, "concurrency": concurrency},
            delivery={"mode": mode},
        )
    assert (summary.statuses["rejected"], summary.statuses["engaged"]) == (0, 300)
    assert set(endpoint.effects.values()) == {1}


@pytest.mark.parametrize(
    "response", [Action(True, 503), Action(True, 408), Action(True, 303), Action(True, 302)]
)
@pytest.mark.parametrize("mode", ["exactly-once", "at-most-once"])
async def test_a_gateway_error_after_processing_causes_no_second_message(
    tmp_path: Path, response: Action, mode: str
) -> None:
    """Not by a retry within the run, nor by another pass over rows that failed."""

    def gateway(arrival: Arrival) -> Action:
        return PASS if arrival.number == 1 or healthy else response

    healthy = False
    once = {"attempts": 1, "base_delay": 0.01}
    given = {"retry": once, "delivery": {"mode": mode}, "breaker": {"failures": 0}}
    async with serving(gateway, deduplicates=mode == "exactly-once") as endpoint:
        await run(tmp_path, endpoint.url, 30, **given)
        healthy = True
        summary = await engager.retry_async(tmp_path / "run")
        assert set(endpoint.effects.values()) == {1}
    assert len(endpoint.effects) == 30
    assert summary.statuses["rejected"] == 0
    if mode == "exactly-once" and response.status == 503:
        assert summary.statuses["engaged"] == 30
    else:
        assert summary.statuses["in_doubt"] + summary.statuses["engaged"] == 30


async def test_a_503_with_retry_after_is_retried_in_every_mode(tmp_path: Path) -> None:
    busy = Action(False, 503, b"", "Retry-After: 0\r\n")
    async with serving(
        lambda arrival: busy if arrival.attempts == 1 else PASS, deduplicates=False
    ) as endpoint:
        summary = await run(tmp_path, endpoint.url, 30, delivery={"mode": "at-most-once"})
    assert (summary.exit_code, set(endpoint.effects.values())) == (0, {1}), summary


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("page", "requests"),
    [
        (SIGN_IN, 5),
        (NOT_FOUND, 5),
        (Action(False, 404, b'{"detail": "Not Found"}'), 5),
        (Action(False, 502), 5),
        (Action(False, 401), 1),
        (Action(False, 403, b"<html>no</html>"), 1),
    ],
    ids=["sign in", "404", "404 in JSON", "502", "401", "403"],
)
async def test_a_run_stops_if_only_a_gateway_responds(
    tmp_path: Path, page: Action, requests: int, mode: str
) -> None:
    async with serving(lambda arrival: page) as endpoint:
        summary = await run(tmp_path, endpoint.url, 2000, delivery={"mode": mode})
    assert (summary.exit_code, summary.complete) == (3, False)
    assert (endpoint.requests, endpoint.most_in_flight) == (requests, 1)
    lost = summary.statuses["in_doubt"]
    assert lost == (requests if mode == "at-most-once" and page.status in (200, 502) else 0)
    assert summary.rows == lost
    assert engager.status(tmp_path / "run")["stopped"]


async def test_a_run_that_a_gateway_stopped_can_be_resumed(tmp_path: Path) -> None:
    wrong = True
    async with serving(lambda arrival: SIGN_IN if wrong else PASS) as endpoint:
        assert (await run(tmp_path, endpoint.url, 200)).exit_code == 3
        wrong = False
        assert (await run(tmp_path, endpoint.url, 200)).exit_code == 0
    assert len(endpoint.effects) == 200
    assert set(endpoint.effects.values()) == {1}


@pytest.mark.parametrize("url", ["http://nobody.invalid", "http://127.0.0.1:1", "https://127.0.0.1:1"])
async def test_an_address_without_a_server_stops_the_run_and_fails_no_row(tmp_path: Path, url: str) -> None:
    summary = await run(tmp_path, url, 2000, retry={"attempts": 2, "base_delay": 0.01})
    assert (summary.exit_code, summary.rows) == (3, 0)


@pytest.mark.parametrize("concurrency", [1, 64, 400])
async def test_a_permanent_error_for_every_row_stops_the_run(tmp_path: Path, concurrency: int) -> None:
    async with serving(error=404) as endpoint:
        summary = await run(tmp_path, endpoint.url, 3000, limits={"concurrency": concurrency})
        assert (summary.exit_code, summary.complete) == (3, False)
        assert endpoint.requests == summary.statuses["rejected"] < 200
        off = {"limits": {"concurrency": concurrency}, "stop": {"all_rejected": 0}}
        assert (await run(tmp_path, endpoint.url, 3000, **off)).exit_code == 1
    assert endpoint.requests == 3000


async def test_one_engaged_row_ends_the_all_rejected_rule(tmp_path: Path) -> None:
    success = Action(True, 200, b'{"data":null,"error":0,"error_text":"ok"}')
    async with serving(lambda arrival: success if arrival.number == 90 else PASS, error=404) as endpoint:
        summary = await run(tmp_path, endpoint.url, 1000)
    assert (summary.exit_code, summary.statuses["rejected"], endpoint.requests) == (1, 999, 1000)


async def test_one_request_is_in_flight_until_the_endpoint_responds(tmp_path: Path) -> None:
    async with serving(lambda arrival: NOT_FOUND if arrival.number < 4 else PASS) as endpoint:
        summary = await run(tmp_path, endpoint.url, 300)
    assert (summary.exit_code, summary.statuses["engaged"]) == (0, 300)
    assert endpoint.requests == 303


async def test_a_received_text_is_sanitized(tmp_path: Path) -> None:
    """No secret and no character that controls a terminal is in what is stored or shown."""
    text = "t0ken-of-the-tests \\u001b[2J\\u202e" + "x" * 480 + "t0ken-of-the-tests"
    body = b'{"data":null,"error":401,"error_text":"%b"}' % text.encode()
    async with serving(lambda arrival: Action(False, 200, body) if arrival.number > 3 else PASS) as endpoint:
        summary = await run(tmp_path, endpoint.url, 20)
    assert (summary.exit_code, endpoint.requests > 3) == (3, True)
    status = engager.status(tmp_path / "run")
    for shown in (summary.stopped or "", str(status), *(p.read_text() for p in text_files(tmp_path / "run"))):
        assert "t0ken" not in shown
        assert "\x1b" not in shown
        assert "\u202e" not in shown
    assert "***" in (summary.stopped or "")


def text_files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix in {".json", ".jsonl", ".csv", ".html", ".log"}]


async def test_a_redirect_is_reported_with_its_target(tmp_path: Path) -> None:
    moved = Action(False, 301, b"", "Location: https://elsewhere.example/api\u202e?token=s3cret\r\n")
    async with serving(lambda arrival: moved) as endpoint:
        summary = await run(tmp_path, endpoint.url, 20)
    assert (summary.exit_code, summary.statuses["engaged"]) == (3, 0)
    assert "https://elsewhere.example/api" in (summary.stopped or "")
    assert "s3cret" not in (summary.stopped or "")
    assert (summary.stopped or "").isprintable()
