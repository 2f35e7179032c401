"""Whole runs against gateways that answer for the endpoint, held to what was really done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import engager
from tests.wire.raw import PASS, Act, Gateway, Moment, serving

pytestmark = pytest.mark.one_loop

SIGN_IN = Act(False, 200, b"<html><h1>Sign in</h1></html>")
NOT_FOUND = Act(False, 404, b"default backend - 404")
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


def for_a_while(act: Act, seconds: float = 0.6) -> Gateway:
    """In the middle of a run."""
    return lambda moment: act if 0.2 < moment.seconds < 0.2 + seconds else PASS


@pytest.mark.parametrize(
    "page",
    [
        NOT_FOUND,
        Act(False, 302, b"", "Location: /maintenance\r\n"),
        Act(False, 301, b"", "Location: https://elsewhere\r\n"),
        Act(False, 400, b"<html>blocked by the firewall</html>"),
        Act(False, 403, b"<html>blocked by the firewall</html>"),
        Act(False, 404, b'{"error": "Not Found", "path": "/api"}'),
        Act(False, 502, b"<html>Bad Gateway</html>"),
        SIGN_IN,
    ],
    ids=lambda act: f"{act.status} {act.body[:12]!r}",
)
async def test_a_gateways_page_for_a_moment_loses_no_row(tmp_path: Path, page: Act) -> None:
    async with serving(for_a_while(page)) as endpoint:
        summary = await run(tmp_path, endpoint.url, 800, limits={"rate": 1500})
    assert endpoint.requests > 800
    assert (summary.exit_code, summary.statuses["engaged"]) == (0, 800)
    assert set(endpoint.effects.values()) == {1}


@pytest.mark.parametrize(
    "page",
    [NOT_FOUND, Act(False, 302, b""), Act(False, 400, b"<html>blocked</html>")],
    ids=lambda act: act.status,
)
async def test_a_gateways_page_for_two_seconds_loses_no_row(tmp_path: Path, page: Act) -> None:
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


@pytest.mark.parametrize("answer", [Act(True, 503), Act(True, 408), Act(True, 303), Act(True, 302)])
@pytest.mark.parametrize("mode", ["exactly-once", "at-most-once"])
async def test_a_gateway_that_denies_what_was_done_makes_no_second_message(
    tmp_path: Path, answer: Act, mode: str
) -> None:
    """Not by a retry within the run, nor by another pass over rows that failed."""

    def gateway(moment: Moment) -> Act:
        return PASS if moment.number == 1 or healthy else answer

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
    if mode == "exactly-once" and answer.status == 503:
        assert summary.statuses["engaged"] == 30
    else:
        assert summary.statuses["in_doubt"] + summary.statuses["engaged"] == 30


async def test_a_503_with_a_pause_was_not_taken_in_any_mode(tmp_path: Path) -> None:
    busy = Act(False, 503, b"", "Retry-After: 0\r\n")
    async with serving(lambda moment: busy if moment.tries == 1 else PASS, deduplicates=False) as endpoint:
        summary = await run(tmp_path, endpoint.url, 30, delivery={"mode": "at-most-once"})
    assert (summary.exit_code, set(endpoint.effects.values())) == (0, {1}), summary


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("page", "requests"),
    [
        (SIGN_IN, 5),
        (NOT_FOUND, 5),
        (Act(False, 404, b'{"detail": "Not Found"}'), 5),
        (Act(False, 502), 5),
        (Act(False, 401), 1),
        (Act(False, 403, b"<html>no</html>"), 1),
    ],
    ids=["sign in", "404", "404 in JSON", "502", "401", "403"],
)
async def test_an_endpoint_that_was_never_heard_stops_the_run(
    tmp_path: Path, page: Act, requests: int, mode: str
) -> None:
    async with serving(lambda moment: page) as endpoint:
        summary = await run(tmp_path, endpoint.url, 2000, delivery={"mode": mode})
    assert (summary.exit_code, summary.complete) == (3, False)
    assert (endpoint.requests, endpoint.most_in_flight) == (requests, 1)
    lost = summary.statuses["in_doubt"]
    assert lost == (requests if mode == "at-most-once" and page.status in (200, 502) else 0)
    assert summary.rows == lost
    assert engager.status(tmp_path / "run")["stopped"]


async def test_a_run_that_was_stopped_so_resumes_after_the_correction(tmp_path: Path) -> None:
    wrong = True
    async with serving(lambda moment: SIGN_IN if wrong else PASS) as endpoint:
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
async def test_a_permanent_error_for_everybody_stops_the_run(tmp_path: Path, concurrency: int) -> None:
    async with serving(error=404) as endpoint:
        summary = await run(tmp_path, endpoint.url, 3000, limits={"concurrency": concurrency})
        assert (summary.exit_code, summary.complete) == (3, False)
        assert endpoint.requests == summary.statuses["rejected"] < 200
        off = {"limits": {"concurrency": concurrency}, "stop": {"all_rejected": 0}}
        assert (await run(tmp_path, endpoint.url, 3000, **off)).exit_code == 1
    assert endpoint.requests == 3000


async def test_one_row_that_is_taken_ends_the_rule(tmp_path: Path) -> None:
    taken = Act(True, 200, b'{"data":null,"error":0,"error_text":"ok"}')
    async with serving(lambda moment: taken if moment.number == 90 else PASS, error=404) as endpoint:
        summary = await run(tmp_path, endpoint.url, 1000)
    assert (summary.exit_code, summary.statuses["rejected"], endpoint.requests) == (1, 999, 1000)


async def test_the_first_request_is_alone_until_the_endpoint_was_heard(tmp_path: Path) -> None:
    async with serving(lambda moment: NOT_FOUND if moment.number < 4 else PASS) as endpoint:
        summary = await run(tmp_path, endpoint.url, 300)
    assert (summary.exit_code, summary.statuses["engaged"]) == (0, 300)
    assert endpoint.requests == 303


async def test_a_text_of_others_is_cleaned_where_it_comes_in(tmp_path: Path) -> None:
    """No secret and no character that controls a terminal is in what is stored or shown."""
    text = "t0ken-of-the-tests \\u001b[2J\\u202e" + "x" * 480 + "t0ken-of-the-tests"
    body = b'{"data":null,"error":401,"error_text":"%b"}' % text.encode()
    async with serving(lambda moment: Act(False, 200, body) if moment.number > 3 else PASS) as endpoint:
        summary = await run(tmp_path, endpoint.url, 20)
    assert (summary.exit_code, endpoint.requests > 3) == (3, True)
    status = engager.status(tmp_path / "run")
    for said in (summary.stopped or "", str(status), *(p.read_text() for p in texts_of(tmp_path / "run"))):
        assert "t0ken" not in said
        assert "\x1b" not in said
        assert "\u202e" not in said
    assert "***" in (summary.stopped or "")


def texts_of(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix in {".json", ".jsonl", ".csv", ".html", ".log"}]


async def test_a_run_that_is_redirected_says_where_to(tmp_path: Path) -> None:
    moved = Act(False, 301, b"", "Location: https://elsewhere.example/api\u202e?token=s3cret\r\n")
    async with serving(lambda moment: moved) as endpoint:
        summary = await run(tmp_path, endpoint.url, 20)
    assert (summary.exit_code, summary.statuses["engaged"]) == (3, 0)
    assert "https://elsewhere.example/api" in (summary.stopped or "")
    assert "s3cret" not in (summary.stopped or "")
    assert (summary.stopped or "").isprintable()
