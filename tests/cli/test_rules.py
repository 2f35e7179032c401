"""The rules that stop a run or make it wait, with their exit codes."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engager.sandbox import Sandbox, SandboxConfig


def unengaged(bench: Any) -> int:
    return sum(line["status"] != "engaged" for line in bench.results())


def closed_hours() -> str:
    """Hours that are closed for the next hour at least."""
    now = datetime.now(UTC)
    begin, end = now + timedelta(hours=2), now + timedelta(hours=3)
    return f'[window]\nhours = "{begin:%H:%M}-{end:%H:%M}"\nzone = "UTC"\n'


@pytest.mark.parametrize(("concurrency", "most"), [(1, 10), (8, 17)])
async def test_it_stops_at_the_row_with_which_there_are_too_many_failures(
    bench: Any, concurrency: int, most: int
) -> None:
    job = f"[stop]\nmax_failed = 10\n[limits]\nconcurrency = {concurrency}\n[retry]\nattempts = 1\n"
    b = await bench(400, f"{job}[breaker]\nfailures = 0\n", faults={"503": 0.2}, seed=5)
    ended = await b.engager("run", "job.toml")
    assert ended.code == 3
    assert "stop.max_failed = 10: 10 rows" in ended.err
    assert 10 <= unengaged(b) <= most
    again = await b.engager("run", "job.toml", "--set", "stop.max_failed=300")  # it can go on
    assert again.code == 1
    assert len(b.results()) == 400


async def test_a_share_of_failures_stops_it_and_rows_that_are_no_requests_count(bench: Any) -> None:
    b = await bench(600, '[stop]\nmax_failed = "5%"\n[limits]\nconcurrency = 1\n')
    rows = [f"p{n}@example.com,x" if n % 10 else "nobody,x" for n in range(1, 601)]
    (b.path / "people.csv").write_text("email,name\n" + "\n".join(rows) + "\n")
    ended = await b.engager("run", "job.toml")
    assert (ended.code, "10 of 100 rows" in ended.err) == (3, True)
    assert len(b.results()) == 100


async def test_outside_of_its_hours_it_stops_before_a_row_is_sent(bench: Any) -> None:
    b = await bench(20, closed_hours() + 'outside = "stop"\n')
    ended = await b.engager("run", "job.toml")
    assert (ended.code, "window" in ended.err) == (3, True)
    assert b.sandbox.log == []


async def test_outside_of_its_hours_it_waits_and_can_be_interrupted(bench: Any) -> None:
    b = await bench(20, closed_hours())
    process = await b.start("run", "job.toml")
    while not (b.path / "runs/test/results.jsonl").exists():
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert (process.returncode, b.sandbox.log) == (143, [])
    assert (await b.engager("run", "job.toml", "--set", "window.hours=00:00-24:00")).code == 0


async def test_after_the_deadline_nothing_leaves(bench: Any) -> None:
    b = await bench(400, '[stop]\ndeadline = "300ms"\n[limits]\nrate = 100\n')
    ended = await b.engager("run", "job.toml")
    assert (ended.code, "deadline" in ended.err) == (3, True)
    assert len(b.results()) == len(b.sandbox.log) < 400
    assert (
        await b.engager("run", "job.toml", "--set", "stop.deadline=1h", "--set", "limits.rate=9999")
    ).code == 0


async def test_an_endpoint_that_comes_back_finds_every_row_waiting(bench: Any, unused_tcp_port: int) -> None:
    breaker = '[breaker]\nfailures = 5\npause = "200ms"\n'
    b = await bench(50, f"{breaker}[retry]\nattempts = 20\nbase_delay = 0.05\n")
    url = f"endpoint.url=http://127.0.0.1:{unused_tcp_port}"
    process = await b.start("run", "job.toml", "--set", url)
    await asyncio.sleep(0.5)  # it has been refused for a while
    async with Sandbox(SandboxConfig(), "127.0.0.1", unused_tcp_port):
        await process.communicate()
    assert process.returncode == 0
    assert len(b.results()) == 50
