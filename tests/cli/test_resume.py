"""The same command goes on where it stopped, with the same input only; `status` and `retry` add up."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import re
import signal
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

FAST = "[retry]\nbase_delay = 0.01\nmax_delay = 0.05\n"
EIGHT_WORKERS = "[limits]\nconcurrency = 8\n"


def once(rows: int) -> Counter[str]:
    return Counter({f"email=p{number}@example.com": 1 for number in range(1, rows + 1)})


def ids(b: Any) -> dict[str, set[str]]:
    """The Request-IDs that came for each person."""
    found = defaultdict(set)
    for entry in b.sandbox.log:
        found[entry.key].add(entry.request_id)
    return found


def has_every_row(b: Any, rows: int, run: str = "runs/test") -> bool:
    return sorted(line["row"] for line in b.results(run)) == list(range(1, rows + 1))


async def seen(b: Any, requests: int) -> None:
    """Wait until so many requests have come."""
    while len(b.sandbox.log) < requests:
        await asyncio.sleep(0.01)


async def stopped(b: Any, after: int, number: int, *args: str, stdin: bytes | None = None) -> Any:
    """A run that gets a signal once the endpoint has seen so many requests."""
    process = await b.start("run", "job.toml", *args, stdin=stdin)
    if stdin is not None:
        process.stdin.write(stdin)
    await seen(b, after)
    process.send_signal(number)
    if stdin is not None:
        # `communicate` would close the stream, and an input that ended in time is a run that is complete.
        await asyncio.wait_for(process.wait(), 30)
    await asyncio.wait_for(process.communicate(), 30)
    return process


async def status(b: Any, run: str = "runs/test") -> dict[str, Any]:
    ended = await b.engager("status", run, "--output", "json")
    assert ended.code == 0, ended.err
    reported: dict[str, Any] = json.loads(ended.out)
    assert reported["rows"] == sum(reported["statuses"].values())
    return reported


async def test_a_killed_run_goes_on(bench: Any) -> None:
    b = await bench(400, EIGHT_WORKERS, latency="10ms")
    for after in (30, 90, 150):
        await stopped(b, after, signal.SIGKILL)
    assert (await b.engager("run", "job.toml")).code == 0
    assert has_every_row(b, 400)
    assert b.sandbox.brain.effects == once(400)
    # What was in flight is repeated, and nothing else.
    assert 400 <= len(b.sandbox.log) <= 400 + 3 * 8
    assert {len(of_one) for of_one in ids(b).values()} == {1}
    assert len(set.union(*ids(b).values())) == 400


async def test_what_left_before_a_kill_counts_for_the_rate_after_it(bench: Any) -> None:
    b = await bench(200, "[limits]\nrate = 100\n")
    await stopped(b, 60, signal.SIGKILL)
    before = len(b.sandbox.log)
    assert (await b.engager("run", "job.toml")).code == 0
    first, last = b.sandbox.log[before], b.sandbox.log[before - 1]
    assert first.arrived - last.arrived >= 1


async def test_an_interrupted_run_goes_on_and_repeats_nothing(bench: Any) -> None:
    b = await bench(300, EIGHT_WORKERS, latency="10ms")
    for after, number, code in ((20, signal.SIGINT, 130), (60, signal.SIGTERM, 143)):
        process = await stopped(b, after, number)
        assert process.returncode == code
        assert (await status(b))["state"] == "stopped"
    assert (await b.engager("run", "job.toml")).code == 0
    assert has_every_row(b, 300)
    assert len(b.sandbox.log) == 300


async def test_parts_of_an_input_and_then_all_of_it(bench: Any) -> None:
    b = await bench(300)
    for limit, rows in (("7", 7), ("5", 7), ("270", 270), ("999", 300)):
        ended = await b.engager("run", "job.toml", "--limit", limit)
        assert ended.code == 0, ended.err
        assert len(b.sandbox.log) == rows
        assert b.summary()["complete"] is (limit == "999")
    assert (await b.engager("run", "job.toml")).code == 0
    assert has_every_row(b, 300)
    assert len(b.sandbox.log) == 300


def stream(rows: int, first: int = 1) -> bytes:
    return b"".join(
        b'{"email": "p%d@example.com", "name": "N"}\n' % number for number in range(first, first + rows)
    )


STDIN = ("--input", "-", "--set", "input.format=jsonl")


async def test_a_stream_that_is_given_again(bench: Any) -> None:
    b = await bench(job=EIGHT_WORKERS, latency="5ms")
    data = stream(800)
    await stopped(b, 40, signal.SIGKILL, *STDIN, stdin=data)
    longer = data + stream(50, first=801)
    for other, reported in (
        (stream(800, first=2), "is not the one that this run began with"),
        (b"", "stdin: the input ends after 0 bytes"),
    ):
        ended = await b.engager("run", "job.toml", *STDIN, stdin=other)
        assert ended.code == 2
        assert reported in ended.err
    ended = await b.engager("run", "job.toml", *STDIN, stdin=longer)
    assert ended.code == 0, ended.err
    # Nobody of the other streams is among them.
    assert b.sandbox.brain.effects == once(850)


async def test_a_silent_stream_does_not_delay_a_stop(bench: Any) -> None:
    b = await bench()
    process = await stopped(b, 5, signal.SIGINT, *STDIN, stdin=stream(5))
    assert process.returncode == 130
    assert (await b.engager("run", "job.toml", *STDIN, stdin=stream(9))).code == 0
    assert b.sandbox.brain.effects == once(9)


def wide(rows: int, changed: int = 0) -> str:
    """An input so large that samples of it do not show every change."""
    emails = (f"{'q' if row == changed else 'p'}{row}@example.com" for row in range(1, rows + 1))
    return "email,name\n" + "".join(f"{email},{'x' * 8_000}\n" for email in emails)


@pytest.mark.parametrize("name", ["people.csv", "people.csv.gz"])
async def test_an_input_that_was_edited_in_the_middle(bench: Any, name: str) -> None:
    def write(text: str) -> None:
        data = text.encode()
        (b.path / name).write_bytes(gzip.compress(data, 0, mtime=0) if name.endswith(".gz") else data)

    b = await bench(job=EIGHT_WORKERS, latency="5ms")
    write(wide(500))
    await b.engager("run", "job.toml", "--input", name, "--limit", "75")
    for row in (20, 60)[: 1 if name.endswith(".gz") else 2]:
        write(wide(500, changed=row))
        ended = await b.engager("run", "job.toml", "--input", name)
        assert (ended.code in (2, 3), name in ended.err) == (True, True), ended.err
    assert b.sandbox.brain.effects == once(75)
    write(wide(500))
    assert (await b.engager("run", "job.toml", "--input", name)).code == 0
    assert b.sandbox.brain.effects == once(500)


async def test_many_files_are_one_input(bench: Any) -> None:
    b = await bench(job=EIGHT_WORKERS, latency="5ms")
    for part in range(4):
        rows = "".join(f"p{row}@example.com,N\n" for row in range(part * 50 + 1, part * 50 + 51))
        data = f"email,name\n{rows}".encode()
        (b.path / f"part{part}.csv.gz").write_bytes(gzip.compress(data))
    await stopped(b, 70, signal.SIGKILL, "--input", "part*.csv.gz")
    late = gzip.compress(b"email,name\np201@example.com,N\n")
    (b.path / "part-before.csv.gz").write_bytes(late)
    ended = await b.engager("run", "job.toml", "--input", "part*.csv.gz")
    assert (ended.code, "in 5 files" in ended.err) == (3, True)
    (b.path / "part-before.csv.gz").unlink()
    assert (await b.engager("run", "job.toml", "--input", "part*.csv.gz")).code == 0
    assert has_every_row(b, 200)
    assert b.sandbox.brain.effects == once(200)
    (b.path / "part4.csv.gz").write_bytes(late)
    assert (await b.engager("run", "job.toml", "--input", "part*.csv.gz")).code == 0
    assert has_every_row(b, 201)
    assert b.sandbox.brain.effects == once(201)


@pytest.mark.parametrize("name", ["people.csv", "people.csv.gz"])
async def test_an_input_that_came_in_two_parts_is_gone_on_with(bench: Any, name: str) -> None:
    b = await bench(job=EIGHT_WORKERS)
    lines = "".join(f"p{row}@example.com,{row * 7919}\n" for row in range(1, 5001))
    whole = ("email,name\n" + lines).encode()
    data = gzip.compress(whole, mtime=0) if name.endswith(".gz") else whole
    (b.path / name).write_bytes(data[: len(data) // 2 if name.endswith(".gz") else whole.index(b"p2500@")])
    first = await b.engager("run", "job.toml", "--input", name)
    assert first.code == (3 if name.endswith(".gz") else 0)
    (b.path / name).write_bytes(data)
    ended = await b.engager("run", "job.toml", "--input", name)
    assert ended.code == 0, ended.err
    assert has_every_row(b, 5000)
    assert b.sandbox.brain.effects == once(5000)


async def test_an_input_that_is_rewritten_while_it_is_sent_stops_the_run(bench: Any) -> None:
    b = await bench(10_000, "[limits]\nconcurrency = 16\n", latency="2ms")
    process = await b.start("run", "job.toml")
    await seen(b, 200)
    text = (b.path / "people.csv").read_text()
    (b.path / "people.csv").write_text(text.replace("@example.com", "@example.org"))
    await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 3
    assert not any(key.endswith(".org") for key in b.sandbox.brain.effects)
    again = await b.engager("run", "job.toml")
    people = len(b.sandbox.brain.effects)
    assert (again.code, f"{people:,} people" in again.err, "--after" in again.err) == (3, True, True)


@pytest.mark.parametrize("damage", ["torn", "half a line more", "gone"])
async def test_results_that_were_damaged_are_made_whole(bench: Any, damage: str) -> None:
    b = await bench(60)
    (b.path / "people.csv").write_text((b.path / "people.csv").read_text() + "nobody,N\n" * 3)
    await b.engager("run", "job.toml", "--limit", "62")
    results = b.path / "runs/test/results.jsonl"
    data = results.read_bytes()
    if damage == "gone":
        results.unlink()
    else:
        results.write_bytes({"torn": data[:-9], "half a line more": data + b'{"row": 7, "sta'}[damage])
    ended = await b.engager("run", "job.toml")
    assert ended.code == 1, ended.err
    assert has_every_row(b, 63)
    assert Counter(line["status"] for line in b.results()) == {"engaged": 60, "invalid": 3}
    with (b.path / "runs/test/failed.csv").open(newline="") as file:
        assert [line["engager_row"] for line in csv.DictReader(file)] == ["61", "62", "63"]
    assert len(b.sandbox.log) == 60
    assert b.summary()["statuses"]["engaged"] == 60


async def test_another_token_keeps_the_ids_and_repeats_nothing_that_may_have_been_taken(bench: Any) -> None:
    """The endpoint knows a Request-ID only together with the token."""
    b = await bench(300, EIGHT_WORKERS, latency="10ms")
    (b.path / "token").write_text("the-first-token")
    b.write_job(EIGHT_WORKERS, token="file:token")
    await stopped(b, 40, signal.SIGINT)
    await stopped(b, 100, signal.SIGKILL)
    (b.path / "token").write_text("another-token")
    # A kill before the doubtful rows come up must not make the journal forget under which token they left.
    await b.engager("run", "job.toml", "--limit", "1")
    await stopped(b, 150, signal.SIGKILL)
    ended = await b.engager("run", "job.toml")
    assert ended.code in (0, 1), ended.err
    assert has_every_row(b, 300)
    assert max(b.sandbox.brain.effects.values()) == 1
    assert b.summary()["statuses"]["in_doubt"] <= 8
    assert {len(of_one) for of_one in ids(b).values()} == {1}


async def test_how_it_sends_may_change_between_two_runs(bench: Any) -> None:
    b = await bench(200, EIGHT_WORKERS, latency="10ms", faults={"503": 0.1})
    await stopped(b, 40, signal.SIGKILL)
    for settings in (
        ["limits.concurrency=2", "limits.rate=5000", "retry.attempts=9"],
        ["limits.concurrency=32", "retry.base_delay=0.01", "endpoint.timeout=9", "endpoint.auth=bearer"],
    ):
        flags = [word for setting in settings for word in ("--set", setting)]
        await stopped(b, len(b.sandbox.log) + 40, signal.SIGKILL, *flags)
    assert (await b.engager("run", "job.toml", "--set", "retry.base_delay=0.01")).code == 0
    assert has_every_row(b, 200)
    assert b.sandbox.brain.effects == once(200)


async def test_status_while_running_after_a_kill_and_at_the_end(bench: Any) -> None:
    b = await bench(300, EIGHT_WORKERS, latency="100ms")
    process = await b.start("run", "job.toml")
    await seen(b, 40)
    process.send_signal(signal.SIGSTOP)  # it stays in this state, however slow the machine is
    running = await status(b)
    assert running["state"] == "running"
    assert (running["rows"] >= 30, running["open"] <= 8) == (True, True)
    assert "in flight" in (await b.engager("status", "runs/test")).out
    process.kill()
    await process.communicate()
    after_kill = await status(b)
    assert after_kill["state"] == "stopped"
    assert running["rows"] <= after_kill["rows"] <= len(b.sandbox.log) + 8
    assert 0 < after_kill["open"] <= 8
    assert "engager run" in (await b.engager("status", "runs/test")).out
    assert (await b.engager("run", "job.toml")).code == 0
    end = await status(b)
    assert (end["state"], end["open"], end["statuses"]["engaged"]) == ("complete", 0, 300)
    assert (end["rows"], end["attempts"]) == (300, b.summary()["attempts"])


async def test_status_where_there_is_no_run(bench: Any) -> None:
    b = await bench()
    for command, path in (("status", "runs/none"), ("status", "people.csv"), ("retry", "runs/none")):
        ended = await b.engager(command, path)
        assert (ended.code, "Traceback" in ended.err) == (2, False), ended.err


def kept(path: Path) -> list[int]:
    with path.open(newline="") as file:
        return sorted(int(line["engager_row"]) for line in csv.DictReader(file))


def lines_of(results: Path, rows: set[int]) -> bytes:
    """The lines of these rows, as they are in the file."""
    lines = results.read_bytes().splitlines(keepends=True)
    return b"".join(line for line in lines if json.loads(line)["row"] in rows)


async def with_failures(bench: Any) -> Any:
    """A run at whose end rows failed and others are in doubt, and an endpoint that is well again."""
    job = f'[retry]\nattempts = 1\n{EIGHT_WORKERS}[delivery]\nmode = "at-most-once"\n'
    b = await bench(200, job, faults={"429": 0.3, "reset_after": 0.1}, latency="10ms", seed=3)
    (b.path / "people.csv").write_text((b.path / "people.csv").read_text() + "nobody,N\n")
    ended = await b.engager("run", "job.toml")
    assert ended.code == 1
    assert re.search(r"engager retry \S+/runs/test\n", ended.out)
    b.sandbox._faults.plan = replace(b.sandbox._faults.plan, shares={})
    return b


def rows_that_are(b: Any, status: str) -> set[int]:
    return {line["row"] for line in b.results() if line["status"] == status}


async def test_retry_takes_what_failed_and_leaves_the_rest(bench: Any) -> None:
    b = await with_failures(bench)
    failed, doubtful = rows_that_are(b, "failed"), rows_that_are(b, "in_doubt")
    assert (len(failed) > 20, len(doubtful) > 5) == (True, True)
    old, folder = lines_of(b.path / "runs/test/results.jsonl", failed), b.path / "runs/test"
    sent = len(b.sandbox.log)
    ended = await b.engager("retry", "runs/test")
    assert (ended.code, "engager retry" in ended.out) == (1, True), ended.err  # those in doubt are left
    assert has_every_row(b, 201)
    assert len(b.sandbox.log) == sent + len(failed) == b.summary()["attempts"]
    assert (rows_that_are(b, "failed"), rows_that_are(b, "in_doubt")) == (set(), doubtful)
    assert (folder / "results.1.jsonl").read_bytes() == old
    assert (kept(folder / "failed.1.csv"), kept(folder / "failed.csv")) == (sorted(failed), [201])
    assert set(kept(folder / "in_doubt.csv")) == doubtful
    assert not (folder / "in_doubt.1.csv").exists()
    again = await b.engager("retry", "runs/test")
    assert again.code == 1
    assert not (folder / "results.2.jsonl").exists()

    ended = await b.engager("retry", "runs/test", "--in-doubt")
    assert ended.code == 1
    assert has_every_row(b, 201)
    assert b.summary()["statuses"] | {"engaged": 200, "invalid": 1} == b.summary()["statuses"]
    assert len(b.sandbox.log) == sent + len(failed) + len(doubtful) == b.summary()["attempts"]
    assert kept(folder / "in_doubt.csv") == []
    # They left under the ids that they had, and this endpoint knew them.
    assert b.sandbox.brain.effects == once(200)
    assert (await status(b))["statuses"] == b.summary()["statuses"]


@pytest.mark.parametrize("command", [("run", "job.toml"), ("retry", "runs/test", "--in-doubt")])
async def test_a_pass_that_was_killed_goes_on(bench: Any, command: tuple[str, ...]) -> None:
    b = await with_failures(bench)
    again = rows_that_are(b, "failed") | rows_that_are(b, "in_doubt")
    old = lines_of(b.path / "runs/test/results.jsonl", again)
    process = await b.start("retry", "runs/test", "--in-doubt")
    await seen(b, 220)
    process.kill()
    await process.communicate()
    half = await status(b)
    assert (half["state"], half["rows"] + half["open"] + half["pending_retry"]) == ("stopped", 201)
    ended = await b.engager(*command)
    assert ended.code == 1, ended.err
    assert has_every_row(b, 201)
    assert (b.path / "runs/test/results.1.jsonl").read_bytes() == old
    assert not (b.path / "runs/test/results.2.jsonl").exists()
    assert max(b.sandbox.brain.effects.values()) == 1
    # At most once: what was in flight at the kill stays in doubt.
    assert len(rows_that_are(b, "in_doubt")) <= 8
    assert rows_that_are(b, "failed") == set()


async def test_retry_goes_nowhere_else_than_the_job_file_says(bench: Any) -> None:
    b = await with_failures(bench)
    run = b.path / "runs/test/run.json"
    facts = json.loads(run.read_text())
    before, sent = facts["invocation"]["overrides"], len(b.sandbox.log)
    elsewhere = ["endpoint.url=http://127.0.0.1:9", "endpoint.token=env:HOME", "request.id=13"]
    for override in elsewhere:
        facts["invocation"]["overrides"] = [*before, override]
        run.write_text(json.dumps(facts))
        refused = await b.engager("retry", "runs/test")
        assert (refused.code, len(b.sandbox.log)) == (2, sent)
        assert override.partition("=")[2] in refused.err
    facts["invocation"]["overrides"] = [*before, "request.id=13"]
    run.write_text(json.dumps(facts))
    # What the operator says is not refused for that; another scenario is another run.
    assert "request.id was" in (await b.engager("retry", "runs/test", "--set", "request.id=13")).err
    facts["invocation"]["overrides"] = before
    run.write_text(json.dumps(facts))
    ended = await b.engager("retry", "runs/test")
    for shown in (b.sandbox.url, "scenario 12", "env:ENGAGER_TEST_TOKEN", str(b.path / "job.toml")):
        assert shown in ended.err


async def test_retry_where_there_is_nothing_to_retry(bench: Any) -> None:
    b = await bench(20)
    await b.engager("run", "job.toml", "--limit", "5")
    unfinished = await b.engager("retry", "runs/test")
    assert (unfinished.code, "runs/test" in unfinished.err) == (2, True)
    await b.engager("run", "job.toml")
    before = sorted(file.name for file in (b.path / "runs/test").iterdir())
    for flags in ([], ["--in-doubt"]):
        ended = await b.engager("retry", "runs/test", *flags)
        assert (ended.code, len(b.sandbox.log)) == (0, 20)
    assert sorted(file.name for file in (b.path / "runs/test").iterdir()) == before
    assert len(b.sandbox.log) == 20
