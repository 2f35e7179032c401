"""After a run, as its user sees it: the page, the message, and failed rows that are mended and fed again."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import signal
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.output.browser import Browser

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SLOW = "[limits]\nconcurrency = 8\n"


def rows_in(page: str, table: str) -> int:
    inner = page[page.index(f'<table id="{table}">') :]
    return sum(map(int, re.findall(r'data-rows="(\d+)"', inner[: inner.index("</table>")])))


async def test_a_run_leaves_its_page_which_agrees_with_its_account(bench: Any, browser: Browser) -> None:
    faults = {"500": 0.2, "500_after": 0.05, "reset_after": 0.05, "429": 0.05}
    fast = "[retry]\nattempts = 3\nbase_delay = 0.01\nmax_delay = 0.02\n"
    b = await bench(400, fast, faults=faults, retry_after="0", seed=5)
    (b.path / "people.csv").write_text((b.path / "people.csv").read_text() + "nobody,N\n" * 3)
    ended = await b.engager("run", "job.toml")
    assert ended.code == 1, ended.err
    assert "runs/test/report.html" in ended.out
    path = b.path / "runs/test/report.html"
    assert path.stat().st_mode & 0o777 == 0o600
    browser.open(path)
    summary = b.summary()
    tiles = {
        status: int(browser.find(f".tile.{status} b")[0].get_dom_attribute("data-rows") or 0)
        for status in summary["statuses"]
        if status != "accepted"  # it has a tile only where it occurs
    }
    assert tiles | {"accepted": 0} == summary["statuses"]
    text = path.read_text()
    assert rows_in(text, "attempts") == rows_in(text, "time-numbers") == summary["rows"] == len(b.results())
    kinds = [found.text.split("\n")[0] for found in browser.find(".kind summary")]
    assert len(kinds) == len(summary["errors"])
    assert browser.find(".percentiles b")[0].text.endswith("ms")
    assert browser.complaints() == []


async def test_a_run_that_was_killed_or_is_under_way_has_a_page(bench: Any) -> None:
    b = await bench(5_000, SLOW, latency="10ms")
    process = await b.start("run", "job.toml")
    results = b.path / "runs/test/results.jsonl"
    while not results.exists() or not results.stat().st_size:
        await asyncio.sleep(0.01)
    under_way = await b.engager("report", "runs/test", "--out", "now.html")
    assert (under_way.code, under_way.out) == (0, "now.html\n")
    assert "The run is in progress" in (b.path / "now.html").read_text()
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    ended = await b.engager("report", "runs/test")
    assert (ended.code, ended.out) == (0, "runs/test/report.html\n")
    page = (b.path / "runs/test/report.html").read_text()
    assert re.search(r"\d rows? w(as|ere) in flight when the process ended", page)
    assert rows_in(page, "time-numbers") == results.read_bytes().count(b"\n") > 0


async def test_what_an_earlier_pass_said_is_not_counted_twice(bench: Any) -> None:
    b = await bench(30, "[retry]\nattempts = 1\n", faults={"503": 0.5}, seed=3)
    await b.engager("run", "job.toml")
    assert b.summary()["statuses"]["failed"] > 0
    await b.engager("retry", "runs/test")
    assert (b.path / "runs/test/results.1.jsonl").exists()
    page = (b.path / "runs/test/report.html").read_text()
    assert rows_in(page, "attempts") == 30
    assert "in 1 pass." in page


async def test_a_page_is_no_reason_to_fail(bench: Any) -> None:
    b = await bench()
    broken = "import engager.output.report.page as page\npage.page_of = lambda *_: 1 / 0\n"
    ended = await b.engager("run", "job.toml", before=broken)
    assert ended.code == 0
    assert "20 engaged" in ended.out
    assert "division by zero" in ended.err
    assert "Traceback" not in ended.err
    without = await b.engager("run", "job.toml", "--out", "quiet", "--set", "output.report=false")
    assert (without.code, (b.path / "quiet/report.html").exists()) == (0, False)


@pytest.mark.parametrize("path", ["nowhere", "."])
async def test_what_is_no_run_has_no_page(bench: Any, path: str) -> None:
    b = await bench()
    ended = await b.engager("report", path)
    assert (ended.code, ended.err.startswith(f"error: {path}: ")) == (2, True)


@pytest.fixture
async def chat() -> Any:
    """A webhook, and what it heard; it says nothing when asked to hang."""
    heard: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        heard.append(await request.json())
        if "hang" in request.path:
            await asyncio.sleep(60)
        return web.Response()

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", heard
    await runner.cleanup()


async def test_the_end_and_a_stop_are_reported_without_a_secret(bench: Any, chat: Any) -> None:
    url, heard = chat
    b = await bench(300, SLOW + f'[notify]\nurl = "{url}/s3cret"\n', latency="10ms")
    process = await b.start("run", "job.toml")
    while len(b.sandbox.log) < 50:
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    assert process.returncode == 130
    ended = await b.engager("run", "job.toml")
    assert ended.code == 0
    assert [(one["event"], one["exit_code"], one["rows"] < 300) for one in heard] == [
        ("stopped", 130, True),
        ("finished", 0, False),
    ]
    assert heard[0]["stopped"] == "interrupted by SIGINT"
    (step,) = heard[0]["next"]
    assert (await b.engager(*shlex.split(step["command"])[1:], "--yes")).code == 0  # it is this run, complete
    assert all(one["path"] == str(b.path / "runs/test") for one in heard)
    assert str(b.path / "runs/test") in heard[0]["text"]
    assert [step["command"] for step in heard[1]["next"]] == [None]
    assert heard[1]["statuses"]["engaged"] == 300
    reported = json.dumps(heard)
    assert "@example.com" not in reported
    assert "t0ken" not in reported
    kept = b"".join(path.read_bytes() for path in (b.path / "runs/test").rglob("*") if path.is_file())
    assert b"s3cret" not in kept + out + err + ended.out.encode() + ended.err.encode()


@pytest.mark.parametrize(("begun", "named"), [("n-2020-01-01", "n-{date}"), ("n", "n")])
async def test_a_run_that_is_not_settled_is_reported(bench: Any, chat: Any, begun: str, named: str) -> None:
    url, heard = chat
    b = await bench()
    assert (await b.engager("run", "job.toml", "--out", f"runs/{begun}", "--limit", "5")).code == 0
    b.write_job(f'[notify]\nurl = "{url}"\non = "trouble"\n')
    b.write_input(7)
    assert (await b.engager("run", "job.toml", "--out", f"runs/{named}")).code == 3
    (reported,) = heard
    facts = {"event": "stopped", "exit_code": 3, "directory": begun, "rows": 5, "complete": False}
    assert facts.items() <= reported.items()
    assert "15 people" in reported["stopped"]
    assert str(b.path / "runs" / begun) in reported["next"][0]["command"]


@pytest.mark.parametrize("content", [None, 'email,name\np1@example.com\x00,"A\n'])
@pytest.mark.parametrize("in_job", [True, False])
async def test_an_input_that_cannot_be_read_is_reported(
    bench: Any, chat: Any, content: str | None, in_job: bool
) -> None:
    url, heard = chat
    output = '[output]\nmetrics = "night.prom"\ndirectory = "runs/n-{date}"\n'
    b = await bench(job=f'[notify]\nurl = "{url}"\non = "trouble"\n{output}')
    job = b.path / "job.toml"
    job.write_text(job.read_text().replace('"people.csv"', '"people-{date}.csv"'))
    (b.path / "people.csv").unlink()
    name = f"people-{datetime.now().astimezone():%Y-%m-%d}.csv"
    if content is not None:
        (b.path / name).write_bytes(b"PK\x03\x04" + content.encode())
    options = () if in_job else ("--input", name)
    ended = await b.engager("run", "job.toml", *options)
    assert (ended.code, len(b.sandbox.log)) == (2, 0), ended.err
    (reported,) = heard
    facts = {"event": "stopped", "exit_code": 2, "job": "test", "directory": "", "path": "", "rows": 0}
    assert facts.items() <= reported.items()
    assert name in reported["stopped"]
    assert [step["command"] for step in reported["next"]] == [None]
    assert "p1@" not in json.dumps(reported)
    assert 'engager_last_exit_code{job="test",run=""} 2.0' in (b.path / "night.prom").read_text()


async def test_a_webhook_without_a_receiver_delays_the_end_by_its_deadline_at_most(
    bench: Any, chat: Any
) -> None:
    url, heard = chat
    b = await bench(job=f'[notify]\nurl = "{url}/hang-s3cret"\ntimeout = "2s"\n')
    async with asyncio.timeout(30):
        ended = await b.engager("run", "job.toml")
    assert (ended.code, "20 engaged" in ended.out) == (0, True)
    assert "notification" in ended.err
    assert "s3cret" not in ended.err
    assert heard


async def test_the_second_signal_ends_the_waiting_and_changes_no_exit_code(bench: Any, chat: Any) -> None:
    url, heard = chat
    b = await bench(job=f'[notify]\nurl = "{url}/hang"\ntimeout = "50s"\n')
    process = await b.start("run", "job.toml")
    while not heard:
        await asyncio.sleep(0.01)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.2)
    async with asyncio.timeout(20):
        await process.communicate()
    assert process.returncode == 0


async def test_failed_rows_are_corrected_and_sent_again_as_the_manual_shows(bench: Any) -> None:
    """The manual's own example, by its own commands."""
    section = README[README.index("### Correct rejected rows") :]
    text = re.search(r"^```csv\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    commands = re.search(r"^```console\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert text is not None
    assert commands is not None
    b = await bench()
    (b.path / "people.csv").write_text(text[1])
    (b.path / "spring.toml").write_text((b.path / "job.toml").read_text().replace('"test"', '"spring"'))
    codes = []
    for line in commands[1].splitlines():
        command = line.removeprefix("$ ").partition("  #")[0].strip()
        if line.startswith("$ engager "):
            codes.append((await b.engager(*command.split()[1:])).code)
        elif line.startswith("$ "):
            shell = await asyncio.create_subprocess_shell(command, cwd=b.path, stdout=asyncio.subprocess.PIPE)
            out, _ = await shell.communicate()
            shown = iter(out.decode().splitlines())
        else:
            assert next(shown).startswith(line.rstrip("…"))
    assert codes == [1, 0]
    assert b.sandbox.brain.effects == Counter(
        {f"email={who}@example.com": 1 for who in ("ann", "bob", "cid")}
    )
