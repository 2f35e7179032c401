"""Whole runs whose endpoint has another address than when they began."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trustme

import engager
from engager.errors import RunDirectoryError
from tests.wire.raw import PASS, Action, Arrival, Endpoint, Gateway, listening, serving

pytestmark = pytest.mark.one_loop

ROWS = 12
#: The endpoint processes the request, and its response is lost on the way.
LOST = Action(True, 502, b"<html>Bad Gateway</html>")
NOT_FOUND = Action(False, 404, b"default backend - 404")


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGAGER_TEST_TOKEN", "t0ken-of-the-tests")


def job(folder: Path, url: str, mode: str = "exactly-once", **endpoint: Any) -> engager.JobFile:
    people = "".join(f"p{number}@example.com\n" for number in range(1, ROWS + 1))
    (folder / "people.csv").write_text(f"email\n{people}")
    tables = {
        "job": {"name": "moved"},
        "endpoint": {"url": url, "token": "env:ENGAGER_TEST_TOKEN", "timeout": 20, **endpoint},
        "input": {"path": "people.csv"},
        "request": {"id": 12, "email": "{email}"},
        "output": {"report": False},
        "retry": {"base_delay": 60, "max_delay": 60},
        "limits": {"concurrency": 4, "rate": 10},  # a stop comes before all rows are settled
        "delivery": {"mode": mode},
    }
    return engager.build_job(tables, base=folder)


async def run_until_in_doubt(folder: Path, given: engager.JobFile, endpoint: Endpoint) -> engager.Summary:
    """Stop a run when every row that can be in doubt is: the rows wait for their retries."""
    control = engager.Control()

    async def stop() -> None:
        while endpoint.requests < 7:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        control.stop("seen enough")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stop())
        run = tasks.create_task(engager.run_async(given, out=folder / "run", control=control))
    return run.result()


def losing_after(number: int) -> Gateway:
    def gateway(arrival: Arrival) -> Action:
        return PASS if arrival.number <= number else LOST

    return gateway


def statuses(summary: engager.Summary) -> dict[str, int]:
    return {str(status): count for status, count in summary.statuses.items() if count}


def one_message_each(first: int = 1, last: int = ROWS) -> Counter[str]:
    return Counter({f"p{number}@example.com": 1 for number in range(first, last + 1)})


@pytest.mark.parametrize("mode", ["exactly-once", "at-most-once", "at-least-once"])
async def test_rows_in_doubt_stay_in_doubt_at_another_host(tmp_path: Path, mode: str) -> None:
    async with serving(losing_after(3)) as old, serving() as new:
        await run_until_in_doubt(tmp_path, job(tmp_path, old.url, mode), old)
        moved = job(tmp_path, new.url, mode)
        with pytest.raises(RunDirectoryError, match="new_address=True") as refused:
            await engager.run_async(moved, out=tmp_path / "run")
        reached = sum(old.effects.values())
        assert f" {reached} people" in str(refused.value)
        assert new.requests == 0
        summary = await engager.run_async(moved, out=tmp_path / "run", new_address=True)
        in_doubt = 0 if mode == "at-least-once" else reached - 3
        assert (summary.statuses["engaged"], summary.statuses["in_doubt"]) == (ROWS - in_doubt, in_doubt)
        messages = old.effects + new.effects
        assert messages == one_message_each() if in_doubt else set(messages) == set(one_message_each())
        # From now on the run belongs to the new address.
        assert (await engager.run_async(moved, out=tmp_path / "run")).complete
        with pytest.raises(RunDirectoryError):
            await engager.run_async(job(tmp_path, old.url, mode), out=tmp_path / "run")


async def test_a_host_that_changes_to_tls_still_deduplicates(tmp_path: Path) -> None:
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    endpoint = Endpoint(losing_after(3))
    async with listening(endpoint.serve) as port:
        first = job(tmp_path, f"http://127.0.0.1:{port}")
        await run_until_in_doubt(tmp_path, first, endpoint)
    endpoint.gateway = lambda arrival: PASS
    async with listening(endpoint.serve, tls, port):
        moved = job(tmp_path, f"https://127.0.0.1:{port}", ca_file="ca.pem")
        summary = await engager.run_async(moved, out=tmp_path / "run", new_address=True)
    assert statuses(summary) == {"engaged": ROWS}
    assert endpoint.effects == one_message_each()
    assert summary.duplicates == 4


async def test_a_run_resumes_after_its_wrong_address_is_corrected(tmp_path: Path) -> None:
    async with serving(lambda arrival: NOT_FOUND) as wrong, serving() as right:
        stopped = await engager.run_async(job(tmp_path, wrong.url), out=tmp_path / "run")
        assert (stopped.exit_code, statuses(stopped)) == (3, {})
        summary = await engager.run_async(job(tmp_path, right.url), out=tmp_path / "run")
    assert statuses(summary) == {"engaged": ROWS}
    assert right.effects == one_message_each()


async def test_a_run_at_the_sandbox_cannot_be_resumed_elsewhere(tmp_path: Path) -> None:
    async with serving() as real:
        rehearsal = job(tmp_path, "sandbox")
        assert (await engager.run_async(rehearsal, out=tmp_path / "run", limit=5)).statuses["engaged"] == 5
        with pytest.raises(RunDirectoryError) as refused:
            await engager.run_async(job(tmp_path, real.url), out=tmp_path / "run", new_address=True)
        assert (real.requests, "after=" in str(refused.value)) == (0, False)


async def test_retry_sends_failed_rows_to_the_new_address(tmp_path: Path) -> None:
    """Also if an override of the run names the old address."""
    path = tmp_path / "job.toml"

    def busy(arrival: Arrival) -> Action:
        return PASS if arrival.number <= 3 else Action(False, 429, b"")

    async with serving(busy) as old, serving() as new:
        tables = job(tmp_path, old.url)
        path.write_text(
            f'[job]\nname = "moved"\n[endpoint]\nurl = "{old.url}"\ntoken = "env:ENGAGER_TEST_TOKEN"\n'
            '[input]\npath = "people.csv"\n[request]\nid = 12\nemail = "{email}"\n'
            "[retry]\nattempts = 1\n[breaker]\nfailures = 0\n"
        )
        assert tables.job.job.name == "moved"
        first = await engager.run_async(engager.load_job(path), out=tmp_path / "run")
        assert statuses(first) == {"engaged": 3, "failed": ROWS - 3}
        path.write_text(path.read_text().replace(old.url, new.url))
        with pytest.raises(RunDirectoryError, match=r"engager retry .* --new-address"):
            await engager.retry_async(tmp_path / "run")
        summary = await engager.retry_async(tmp_path / "run", new_address=True)
    assert statuses(summary) == {"engaged": ROWS}
    assert old.effects + new.effects == one_message_each()
