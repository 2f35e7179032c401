"""`import engager`, as an orchestrator and a notebook use it."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
import logging
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import engager
from engager import AlreadyComplete, Began, Ended, Event, Exit, Progressed, Reported, Status
from engager.output.logs import LogFormat

JOB: dict[str, Any] = {
    "job": {"name": "test"},
    "endpoint": {"url": "sandbox"},
    "input": {"path": "people.csv"},
    "request": {"id": 12, "email": "{email}"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = "".join(f"p{n}@example.com\n" for n in range(1, 51))
    (tmp_path / "people.csv").write_text(f"email\n{rows}not an address\n")
    return tmp_path


def job(folder: Path, **tables: Any) -> engager.JobFile:
    return engager.build_job({**JOB, **tables}, base=folder)


def test_a_job_that_is_in_no_file_is_run_and_its_outcomes_are_read(folder: Path) -> None:
    events: list[Event] = []
    summary = engager.run(job(folder), out=folder / "run", watch=events.append)
    assert (summary.exit_code, summary.complete, summary.statuses["engaged"]) == (1, True, 50)
    outcomes = list(engager.outcomes(folder / "run"))
    assert sorted(found.row for found in outcomes) == list(range(1, 52))
    assert [found.error for found in outcomes if found.status is Status.INVALID] == ["malformed"]
    assert isinstance(events[0], Began)
    assert not events[0].resumed
    assert events[-2:] == [
        Ended(folder / "run", summary),
        Reported(folder / "run", folder / "run/report.html"),
    ]


def test_a_csv_of_results_is_read_in_the_same_types(folder: Path) -> None:
    engager.run(job(folder), out=folder / "json")
    engager.run(job(folder, output={"results": "csv"}), out=folder / "csv")
    one, other = (
        [
            (o.row, o.key, o.status, o.http_status, o.error, o.duplicate)
            for o in engager.outcomes(folder / name)
        ]
        for name in ("json", "csv")
    )
    assert sorted(one) == sorted(other)


def test_a_complete_run_sends_nothing_again(folder: Path) -> None:
    first = engager.run(job(folder), out=folder / "run")
    events: list[Event] = []
    again = engager.run(job(folder), out=folder / "run", watch=events.append)
    assert [type(event) for event in events] == [AlreadyComplete]
    assert again == first


async def test_it_runs_in_a_loop_that_is_running_and_is_watched(folder: Path) -> None:
    seen: list[Event] = []
    slow = job(folder, sandbox={"latency": "100ms"}, limits={"concurrency": 8})
    summary = await engager.run_async(slow, out=folder / "run", watch=seen.append)
    now = [event.snapshot for event in seen if isinstance(event, Progressed)]
    assert now
    assert [look.rows for look in now] == sorted(look.rows for look in now)
    assert all(sum(look.statuses.values()) == look.rows <= summary.rows for look in now)


async def test_runs_in_one_process_keep_their_logs_apart_and_both_tokens_to_themselves(folder: Path) -> None:
    def begun(name: str) -> engager.JobFile:
        (folder / name).write_text(f"k3y-of-{name}")
        endpoint = {"url": "sandbox", "token": f"file:{name}"}
        return job(folder, endpoint=endpoint, sandbox={"tokens": [f"k3y-of-{name}"], "latency": "5ms"})

    async def run(name: str) -> list[str]:
        def watch(event: Event) -> None:
            if isinstance(event, Ended):
                logging.getLogger("engager").warning("%s: k3y-of-one, k3y-of-other", name)

        out = folder / f"run-{name}"
        assert (await engager.run_async(begun(name), out=out, watch=watch)).statuses["engaged"] == 50
        lines = (out / "engager.log").read_text().splitlines()
        return [line.partition(" WARNING ")[2] for line in lines if "***" in line]

    said = await asyncio.gather(run("one"), run("other"))
    assert list(said) == [["one: ***, ***"], ["other: ***, ***"]]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_log_has_the_start_the_end_and_the_kinds_of_failed_rows(
    folder: Path, log_format: LogFormat
) -> None:
    engager.run(job(folder), out=folder / "run", limit=20, log_format=log_format)
    engager.run(job(folder), out=folder / "run", log_format=log_format)
    text = (folder / "run/engager.log").read_text()
    assert "@example.com" not in text
    if log_format == "json":
        facts = [json.loads(line) for line in text.splitlines()]
        assert {line.pop("logger") for line in facts} == {"engager"}
    else:
        words = [line.split(" ", 4) for line in text.splitlines()]
        facts = [{"event": event, **json.loads(written)} for _, _, _, event, written in words]
    written = " ".join(line["event"] for line in facts)
    assert written == "began ended reported began not_engaged ended reported"
    assert [line["resumed"] for line in facts if line["event"] == "began"] == [False, True]
    missed = next(line for line in facts if line["event"] == "not_engaged")
    assert (missed["status"], missed["error"], missed["rows"], missed["row"]) == (
        "invalid",
        "malformed",
        1,
        51,
    )
    assert [line["summary"]["rows"] for line in facts if line["event"] == "ended"] == [20, 51]


def test_what_broke_a_run_off_stands_in_its_log(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(import_module("engager.run.engine"), "carry_out", broken)
    with pytest.raises(RuntimeError):
        engager.run(job(folder), out=folder / "run")
    text = (folder / "run/engager.log").read_text()
    assert 'ERROR error {"text":"out of order"}\nTraceback' in text
    assert '"exit_code":4' in text


def test_what_was_found_before_a_run_could_begin_stands_in_its_log(folder: Path) -> None:
    engager.run(job(folder), out=folder / "run", limit=9)
    (folder / "run/engager.log").unlink()
    data = (folder / "run/journal.0").read_bytes()
    (folder / "run/journal.0").write_bytes(data.replace(b'"row":2,', b'"row":3,', 1))
    engager.run(job(folder), out=folder / "run")
    first, *_ = (folder / "run/engager.log").read_text().splitlines()
    assert "WARNING" in first
    assert "journal" in first


async def test_a_hand_on_the_run_pauses_it_and_lets_it_go_on(folder: Path) -> None:
    (folder / "people.csv").write_text("email\n" + "".join(f"p{n}@example.com\n" for n in range(300)))
    control, held, grown = engager.Control(), list[int](), list[int]()

    def watch(event: Event) -> None:
        if not isinstance(event, Progressed) or grown:
            return
        if not control.holders:
            control.pause()
        elif len(held) < 3:
            held.append(event.snapshot.rows)
        else:
            grown.append(event.snapshot.rows)
            control.set_rate(1000)
            control.resume()

    slow = job(folder, sandbox={"latency": "10ms"}, limits={"rate": 200})
    summary = await engager.run_async(slow, out=folder / "run", watch=watch, control=control)
    assert summary.rows == 300
    assert held[-1] == held[-2] < 300  # what was in flight when the pause began has ended by the second look


async def test_a_hand_on_the_run_ends_it_and_the_same_call_goes_on(folder: Path) -> None:
    control = engager.Control()
    slow = job(folder, sandbox={"latency": "20ms"}, limits={"rate": 50})

    def watch(event: Event) -> None:
        if isinstance(event, Progressed):
            control.stop("enough for today")

    stopped = await engager.run_async(slow, out=folder / "run", watch=watch, control=control)
    assert (stopped.exit_code, stopped.stopped, stopped.complete) == (Exit.STOPPED, "enough for today", False)
    assert engager.status(folder / "run")["state"] == "stopped"
    went_on: list[Event] = []
    whole = await engager.run_async(slow, out=folder / "run", watch=went_on.append)
    assert engager_complete(whole)
    assert whole.total_seconds > 0.99 * (stopped.elapsed_seconds + whole.elapsed_seconds)
    assert isinstance(went_on[0], Began)
    assert went_on[0].resumed


def test_a_hand_on_one_run_is_not_one_on_the_next(folder: Path) -> None:
    control = engager.Control()
    with pytest.raises(engager.InputError):
        engager.run(job(folder, input={"path": "missing.csv"}), out=folder / "run", control=control)
    engager.run(job(folder), out=folder / "run", control=control)  # no run had begun with it
    with pytest.raises(engager.JobError, match=r"new Control\(\)"):
        engager.run(job(folder), out=folder / "another", control=control)
    with pytest.raises(engager.JobError, match="new Control"):
        engager.retry(folder / "run", control=control)
    assert not (folder / "another").exists()


async def test_two_runs_at_once_cannot_share_a_hand(folder: Path) -> None:
    control, begun = engager.Control(), list[Event]()
    runs = [
        engager.run_async(job(folder), out=folder / name, control=control, watch=begun.append)
        for name in "ab"
    ]
    ended = await asyncio.gather(*runs, return_exceptions=True)
    assert [type(end) for end in ended] == [engager.Summary, engager.JobError]
    assert sum(isinstance(event, Began) for event in begun) == 1


def engager_complete(summary: engager.Summary) -> bool:
    return summary.complete and summary.rows == 51


def test_failed_rows_of_a_job_that_is_in_no_file_are_tried_again(folder: Path) -> None:
    busy = {"faults": {"503": 0.5}, "seed": 4}
    failing = job(folder, sandbox=busy, retry={"attempts": 1}, breaker={"failures": 0})
    before = engager.run(failing, out=folder / "run").statuses["failed"]
    assert before > 10
    assert 0 < engager.retry(folder / "run").statuses["failed"] < before  # by the job as it was


def test_what_a_person_must_act_on_is_raised_bare(folder: Path) -> None:
    with pytest.raises(engager.JobError, match=r"limits\.rat.*'rate'"):
        job(folder, limits={"rat": 5})
    with pytest.raises(engager.InputError):
        engager.run(job(folder, input={"path": "nobody.csv"}))
    with pytest.raises(engager.RunDirectoryError):
        engager.status(folder / "nothing")


@pytest.mark.parametrize("results", ["jsonl", "csv"])
def test_the_latest_outcomes_are_found_at_the_end(
    folder: Path, results: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engager.run(job(folder, output={"results": results}, limits={"concurrency": 1}), out=folder / "run")
    whole = list(engager.outcomes(folder / "run"))
    assert list(engager.outcomes(folder / "run", latest=True)) == whole
    monkeypatch.setattr("engager.reader.results._TAIL", 1500)
    latest = list(engager.outcomes(folder / "run", latest=True))
    assert 3 < len(latest) < 20
    assert latest == whole[-len(latest) :]


async def test_in_a_loop_that_is_running_the_plain_call_says_what_to_call(folder: Path) -> None:
    with pytest.raises(RuntimeError, match="run_async"):
        engager.run(job(folder), out=folder / "run")
    assert not (folder / "run").exists()


def test_without_a_folder_the_run_is_beside_the_base_of_its_job(folder: Path) -> None:
    engager.run(job(folder))
    assert engager.status(folder / "runs/test")["state"] == "complete"


@pytest.mark.parametrize("event_type", [Began, Progressed, Ended, Reported])
def test_a_watcher_that_fails_is_dropped_and_the_run_continues(folder: Path, event_type: type[Event]) -> None:
    heard: list[Event] = []

    def watch(event: Event) -> None:
        heard.append(event)
        if isinstance(event, event_type):
            raise ValueError("no room for k3y-that-nobody-may-see")

    (folder / "token").write_text("k3y-that-nobody-may-see")
    endpoint = {"url": "sandbox", "token": "file:token"}
    sent_once = {"mode": "at-most-once"}
    slow = {"latency": "20-80ms", "tokens": ["k3y-that-nobody-may-see"]}
    summary = engager.run(
        job(folder, endpoint=endpoint, sandbox=slow, delivery=sent_once, limits={"rate": 60}),
        out=folder / "run",
        watch=watch,
    )
    assert (summary.statuses["engaged"], summary.statuses["in_doubt"]) == (50, 0)
    assert [isinstance(event, event_type) for event in heard].index(True) == len(heard) - 1
    log = (folder / "run/engager.log").read_text()
    assert log.count("ValueError: no room for ***") == 1


@pytest.mark.parametrize("broken", ["handler", "filter"])
def test_a_log_handler_that_fails_is_no_reason_to_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("broken")

    def fails(record: logging.LogRecord) -> bool:
        raise RuntimeError("broken")

    logger, handler = logging.getLogger("engager"), Broken()
    if broken == "handler":
        logger.addHandler(handler)
    else:
        logger.addFilter(fails)
    try:
        (folder / "people.csv").write_text("email\na@x.org\na@x.org\n")  # a repeat is a warning
        assert engager.run(job(folder), out=folder / "run").statuses["engaged"] == 2
    finally:
        logger.removeHandler(handler)
        logger.removeFilter(fails)


async def _stopped(folder: Path, numbers: list[signal.Signals], latency: str) -> engager.Summary:
    def watch(event: Event) -> None:
        if isinstance(event, Progressed) and event.snapshot.in_flight and numbers:
            os.kill(os.getpid(), numbers.pop(0))

    slow = job(folder, sandbox={"latency": latency}, limits={"concurrency": 8})
    return await engager.run_async(slow, out=folder / "run", watch=watch, stop_on_signals=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_stops_a_run_in_good_order(folder: Path, number: signal.Signals) -> None:
    def before(*args: Any) -> None:
        """The embedding program's own."""

    kept = signal.signal(number, before)
    try:
        summary = await _stopped(folder, [number], "200ms")
        assert signal.getsignal(number) is before
    finally:
        signal.signal(number, kept)
    assert (summary.exit_code, summary.complete) == (128 + number, False)
    assert 0 < summary.statuses["engaged"] == summary.rows < 50
    assert engager.status(folder / "run")["open"] == 0


async def test_a_second_signal_stops_it_at_once(folder: Path) -> None:
    summary = await asyncio.wait_for(_stopped(folder, [signal.SIGTERM, signal.SIGTERM], "60s"), 20)
    assert (summary.exit_code, summary.rows) == (143, 0)
    assert engager.status(folder / "run")["open"] == 1  # one is in flight until the endpoint was heard


def test_the_plain_call_stops_on_signals_too(folder: Path) -> None:
    def watch(event: Event) -> None:
        if isinstance(event, Progressed):
            os.kill(os.getpid(), signal.SIGTERM)

    slow = job(folder, sandbox={"latency": "200ms"}, limits={"concurrency": 4})
    assert engager.run(slow, out=folder / "run", watch=watch, stop_on_signals=True).exit_code == 143
    busy = job(folder, sandbox={"faults": {"503": 0.5}, "seed": 4}, retry={"attempts": 1})
    failed = engager.run(busy, out=folder / "failed").statuses["failed"]
    assert 0 < engager.retry(folder / "failed", stop_on_signals=True).statuses["failed"] < failed


async def test_where_no_signal_comes_nothing_is_sent(folder: Path) -> None:
    with pytest.raises(engager.JobError, match="stop_on_signals"):
        await asyncio.to_thread(engager.run, job(folder), out=folder / "run", stop_on_signals=True)
    runs = [
        engager.run_async(job(folder, sandbox={"latency": "50ms"}), out=folder / name, stop_on_signals=True)
        for name in "ab"
    ]
    ended = await asyncio.gather(*runs, return_exceptions=True)
    assert [type(end) for end in ended] == [engager.Summary, engager.JobError]
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    "first", ["engager.load_job", "engager.run", "from engager.run.control import Control"]
)
def test_every_name_is_there_whatever_is_loaded_first(first: str) -> None:
    """Also `run`, which is the name of a package, too."""
    names = "assert all(getattr(engager, name) for name in engager.__all__)"
    code = f"import engager\n{first}\n{names}\nprint(engager.run.__doc__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{engager.run.__doc__}\n"


def people(count: int = 50) -> list[dict[str, str]]:
    return [{"email": f"p{number}@example.com"} for number in range(1, count + 1)]


async def slowly(rows: list[dict[str, str]]) -> AsyncIterator[dict[str, str]]:
    for row in rows:
        await asyncio.sleep(0)
        yield row


@pytest.mark.parametrize("rows_of", [list, iter, slowly])
def test_rows_of_a_program_are_resumed_by_their_order(
    folder: Path, rows_of: Callable[[list[dict[str, str]]], Any]
) -> None:
    out = folder / "run"
    assert engager.check(job(folder), input=rows_of(people())).sendable == 50
    first = engager.run(job(folder), out=out, input=rows_of(people()), limit=20)
    assert (first.complete, first.statuses["engaged"]) == (False, 20)
    with pytest.raises(engager.InputError):
        engager.run(job(folder), out=out, input=rows_of(people()[::-1]))
    last = engager.run(job(folder), out=out, input=rows_of(people()))
    assert (last.complete, last.statuses["engaged"], last.exit_code) == (True, 50, 0)
    assert sorted(found.row for found in engager.outcomes(out)) == list(range(1, 51))
    assert engager.run(job(folder), out=out, input=rows_of(people())) == last


def test_another_pass_over_rows_of_a_program_needs_them_again(folder: Path) -> None:
    failing = job(folder, sandbox={"faults": {"503": 0.5}, "seed": 1}, retry={"attempts": 1})
    out = folder / "run"
    rows = people(20)
    assert engager.run(failing, out=out, input=rows).statuses["failed"]
    with pytest.raises(engager.InputError):
        engager.retry(out)
    again = engager.retry(out, input=iter(rows), overrides=["sandbox.faults={}"])
    assert again.statuses["engaged"] == 20
    engager.run(job(folder), out=folder / "file")
    with pytest.raises(engager.InputError):
        engager.retry(folder / "file", input=rows)


def test_a_fault_of_the_rows_keeps_every_outcome_before_it(folder: Path) -> None:
    def broken() -> Iterator[dict[str, str]]:
        yield from people(10)
        raise ConnectionError("gone")

    stopped = engager.run(job(folder), out=folder / "run", input=broken())
    assert (stopped.complete, stopped.exit_code) == (False, Exit.STOPPED)
    assert "ConnectionError: gone" in str(stopped.stopped)
    assert engager.run(job(folder), out=folder / "run", input=people(12)).statuses["engaged"] == 12


async def test_a_row_is_sent_while_the_next_one_is_waited_for(folder: Path) -> None:
    arrived = asyncio.Event()

    async def rows() -> AsyncIterator[dict[str, str]]:
        yield from_one
        await arrived.wait()
        yield {"email": "b@example.com"}

    from_one = {"email": "a@example.com"}

    def watch(event: Event) -> None:
        if isinstance(event, Progressed) and event.snapshot.statuses["engaged"] == 1:
            arrived.set()

    summary = await engager.run_async(job(folder), out=folder / "run", input=rows(), watch=watch)
    assert summary.statuses["engaged"] == 2


def test_check_and_run_find_the_same_fault_in_the_same_rows(folder: Path) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE people AS SELECT 'a@example.com' AS email")

        def rows() -> Iterator[dict[str, str]]:
            yield from ({"email": email} for (email,) in connection.execute("SELECT email FROM people"))

        with pytest.raises(engager.InputError, match="check_same_thread"):
            engager.check(job(folder), input=rows())
        with pytest.raises(engager.InputError, match="check_same_thread"):
            engager.run(job(folder), out=folder / "run", input=rows())


@pytest.mark.parametrize("rows_of", [list, iter, slowly])
def test_new_rows_for_a_complete_run_are_refused_with_what_sends_them(
    folder: Path, rows_of: Callable[[list[dict[str, str]]], Any]
) -> None:
    out, rows = folder / "run", people(3000)
    engager.run(job(folder), out=out, input=rows_of(rows))
    assert engager.run(job(folder), out=out, input=rows_of(rows)).rows == 3000
    with pytest.raises(engager.RunDirectoryError, match=r"3,000 rows.*3,001.*\n.*after=\[") as refused:
        engager.run(job(folder), out=out, input=rows_of([*rows, {"email": "new@example.com"}]))
    assert "--" not in str(refused.value)
    summary = engager.run(job(folder), out=folder / "new", input=people(3001), after=[out])
    assert (summary.statuses["engaged"], summary.statuses["skipped"]) == (1, 3000)


@pytest.mark.parametrize("complete", [True, False])
def test_a_change_of_rows_is_told_by_their_numbers(folder: Path, complete: bool) -> None:
    out, rows = folder / "run", people(5000)
    engager.run(job(folder), out=out, input=rows, limit=None if complete else 4900)
    changed = [*rows[:4000], {"email": "other@example.com"}, *rows[4001:]]
    for other in (changed, rows[:3000]):
        try:
            text = str(engager.run(job(folder), out=out, input=other).stopped)
        except engager.InputError as fault:
            text = str(fault)
        assert "out=" in text
        assert "after=" in text
        assert not {"--out", "byte"} & {*re.findall(r"--\w+|byte", text)}
        first, *last = (int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", text))
        assert first == 3000 or first <= 4001 <= last[0] <= 5000


@pytest.mark.parametrize("given", [{}, {"input": {}}, {"input": {"unique": True}}])
def test_a_job_whose_program_gives_the_rows_needs_no_input(
    folder: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    without = {name: table for name, table in JOB.items() if name != "input"}
    one = engager.build_job({**without, **given}, base=folder)
    monkeypatch.setattr("engager.reader.sources.stdin_stream", lambda: pytest.fail("stdin was read"))
    for call in (engager.run, engager.check):
        with pytest.raises(engager.JobError, match=r"input=.*input\.path"):
            call(one)
    with pytest.raises(engager.JobError, match="input="):
        engager.send_test(one, "you@example.com")
    assert engager.check(one, input=people(3)).sendable == 3
    assert engager.run(one, out=folder / "run", input=people(3)).statuses["engaged"] == 3
    assert engager.run(one, out=folder / "run", input=people(3)).complete
    file = engager.build_job({**without, **given}, folder, ["input.path=people.csv"])
    assert engager.check(file).rows == 51


def test_a_run_that_skips_every_row_warns_that_nobody_was_reached(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engager.run(job(folder), out=folder / "run", input=people(20))
    for rows, warned in ((people(21), False), (people(20), True)):
        caplog.clear()
        summary = engager.run(job(folder), out=folder / f"after-{warned}", input=rows, after=[folder / "run"])
        assert (summary.exit_code, summary.statuses["skipped"]) == (0, 20)
        texts = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert [str(folder / "run") in text and "--in-doubt" in text for text in texts] == [True] * warned


@pytest.mark.parametrize(
    ("rows_of", "given", "total"),
    [(list, None, 50), (iter, 50, 50), (iter, None, None), (slowly, 50, 50), (slowly, None, None)],
)
def test_the_total_of_rows_is_their_length_or_what_the_program_says(
    folder: Path, rows_of: Callable[[list[dict[str, str]]], Any], given: int | None, total: int | None
) -> None:
    totals: set[int | None] = set()

    def watch(event: Event) -> None:
        if isinstance(event, Progressed):
            totals.add(event.snapshot.total)

    slow = job(folder, sandbox={"latency": "100ms"}, limits={"concurrency": 8})
    rows = rows_of(people())
    engager.run(slow, out=folder / "run", input=rows, total=given, limit=20, watch=watch)
    assert totals == {total}
    state = engager.status(folder / "run")
    assert (state["total"], state["share"]) == (total, total and 0.4)


def test_an_error_has_one_type_wherever_it_is_read(folder: Path) -> None:
    request = {"method": "import_and_start_batch", "workflow_id": 12, "email": "{email}"}
    odd = job(folder, request=request, sandbox={"faults": {"item_400": 0.5}, "seed": 4})
    summary = engager.run(odd, out=folder / "run")
    in_results = {found.error for found in engager.outcomes(folder / "run")} - {0, None}
    assert in_results == {400, "malformed"}
    for errors in (summary.errors, engager.status(folder / "run")["errors"]):
        assert {error["error"] for error in errors} == in_results


def test_the_status_of_a_stopped_run_of_a_program_says_how_it_goes_on(folder: Path) -> None:
    loaded = folder / "job.toml"
    loaded.write_text(
        '[job]\nname = "test"\n[endpoint]\nurl = "sandbox"\n[input]\npath = "people.csv"\n'
        '[request]\nid = 12\nemail = "{email}"\n'
    )
    for number, one in enumerate((job(folder), engager.load_job(loaded))):
        out = folder / f"run-{number}"
        engager.run(one, out=out, input=people(), limit=20)
        assert engager.status(out)["resume_command"] is None
        for shown in (out, folder):
            command = [sys.executable, "-m", "engager", "status", str(shown)]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            assert "program" in said


def test_every_function_explains_its_arguments_and_the_manual_has_every_field() -> None:
    functions = [found for name in engager.__all__ if inspect.isfunction(found := getattr(engager, name))]
    assert len(functions) > 15
    for function in functions:
        text = function.__doc__ or ""
        assert [name for name in inspect.signature(function).parameters if f"{name}:" not in text] == []
    manual = (Path(engager.__file__).parent / "README.md").read_text()
    rows = {
        line.split("|")[2].split("`")[1]: line
        for line in manual.splitlines()
        if line.startswith("| `") and line.count("|") == 4 and "`" in line.split("|")[2]
    }
    for named in (engager.Summary, engager.Result, engager.Snapshot, engager.Findings, engager.SearchedRun):
        for field in dataclasses.fields(named):
            assert f"`{field.name}`" in rows[named.__name__]
