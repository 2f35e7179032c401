"""Runs with a date in their name: midnight begins nothing anew that was begun before."""

from __future__ import annotations

import asyncio
import gzip
import re
import shlex
import shutil
import signal
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from engager.store.lock import RunLock

YESTERDAY = "runs/n-2020-01-01"
DATED = ("--out", "runs/n-{date}")


def runs(b: Any) -> set[str]:
    return {file.parent.name for file in b.path.glob("runs/*/run.json")}


def is_of_a_day(name: str) -> bool:
    return re.fullmatch(r"n-\d{4}-\d\d-\d\d", name) is not None


async def begun_yesterday(b: Any, *args: str) -> None:
    assert (await b.engager("run", "job.toml", "--out", YESTERDAY, *args)).code == 0


async def test_the_directory_and_the_name_have_the_date_of_the_start(bench: Any) -> None:
    b = await bench(job='[output]\ndirectory = "out/{date}"\n[window]\nzone = "Pacific/Kiritimati"\n')
    ended = await b.engager("run", "job.toml", "--set", "job.name=n-{date}")
    assert ended.code == 0, ended.err
    day = f"{datetime.now(ZoneInfo('Pacific/Kiritimati')):%Y-%m-%d}"
    assert b.summary(f"out/{day}")["job"] == f"n-{day}"


async def test_a_directory_that_the_job_names_is_beside_the_job(bench: Any) -> None:
    b = await bench(job='[output]\ndirectory = "../here/{{x}}"\n')
    (b.path / "be{low}").mkdir()
    for file in ("job.toml", "people.csv"):
        (b.path / file).rename(b.path / "be{low}" / file)
    assert (await b.engager("run", "be{low}/job.toml")).code == 0
    assert b.summary("here/{x}")["complete"]


@pytest.mark.parametrize(
    "where", ["--out=runs/{day}", "--set=output.directory={day}", "--set=job.name={day}"]
)
async def test_what_is_no_placeholder_ends_before_anything_is_sent(bench: Any, where: str) -> None:
    b = await bench()
    ended = await b.engager("run", "job.toml", f"{where}{{day}}")
    assert (ended.code, b.sandbox.log) == (2, [])
    assert "{day}" in ended.err
    assert all(name in ended.err for name in ("{date}", "{time}", "{datetime}"))


async def test_a_run_goes_on_after_midnight_under_its_own_date(bench: Any) -> None:
    b = await bench()
    await begun_yesterday(b, "--limit", "5")
    ended = await b.engager("run", "job.toml", *DATED)
    assert ended.code == 0
    assert re.search(f"^warning: .*{YESTERDAY}", ended.err, re.MULTILINE)
    assert runs(b) == {"n-2020-01-01"}
    assert len(b.sandbox.log) == len(b.results(YESTERDAY)) == 20


async def test_a_zone_of_the_machine_without_a_name_is_an_error_of_the_job(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = await bench(3)
    monkeypatch.setenv("TZ", "A-23:59")
    refused = await b.engager("run", "job.toml", *DATED, before="pass")
    assert (refused.code, "window.zone" in refused.err, "Traceback" in refused.err) == (2, True, False)
    named = await b.engager("run", "job.toml", *DATED, "--set", "window.zone=Asia/Tokyo", before="pass")
    assert named.code == 0, named.err


async def named_after(b: Any) -> list[str]:
    """The runs that a start is after, by the last command that it prints."""
    ended = await b.engager("run", "job.toml", *DATED, "--after", "runs/other")
    printed = shlex.split(ended.err.splitlines()[-1])
    return [Path(printed[at + 1]).name for at, part in enumerate(printed) if part == "--after"]


async def test_every_command_for_a_new_run_keeps_the_runs_before(bench: Any) -> None:
    b = await bench()
    for name in ("other", "first"):
        assert (await b.engager("run", "job.toml", "--out", f"runs/{name}", "--limit", "1")).code == 0
    await begun_yesterday(b, "--after", "runs/first")
    assert await named_after(b) == ["other", "first"]  # that run has sent this input
    (b.path / YESTERDAY / "summary.json").unlink()
    b.write_input(3)
    assert await named_after(b) == ["other", "first"]  # that run is not settled


async def test_a_dated_job_is_the_same_job_the_day_after(bench: Any) -> None:
    """The name's own date is no part of what a run is known by."""
    b = await bench()
    b.write_job("")
    text = (b.path / "job.toml").read_text().replace('name = "test"', 'name = "n-{date}"')
    (b.path / "job.toml").write_text(text)
    await begun_yesterday(b, "--limit", "5")
    assert (await b.engager("run", "job.toml")).code == 0
    assert runs(b) == {"n-2020-01-01"}
    assert len(b.sandbox.log) == 20


async def test_a_job_that_was_changed_meanwhile_is_refused_as_before_midnight(bench: Any) -> None:
    b = await bench()
    await begun_yesterday(b, "--limit", "5")
    ended = await b.engager("run", "job.toml", *DATED, "--set", "request.resource_id=7")
    assert (ended.code, len(b.sandbox.log)) == (2, 5)
    assert "request.resource_id" in ended.err


def commands(text: str) -> list[list[str]]:
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("  engager run ")]


async def killed(b: Any, *args: str, after: int = 100) -> None:
    process = await b.start("run", "job.toml", "--out", YESTERDAY, *args)
    while len(b.sandbox.log) < after:
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    # By the end of another command, the sandbox has logged what was in flight.
    assert (await b.engager("status", YESTERDAY)).code == 0


async def test_a_night_that_was_overwritten_stops_the_next_until_it_is_settled(bench: Any) -> None:
    b = await bench(3000, "[limits]\nconcurrency = 4\n", latency="2ms")
    await killed(b)
    b.write_input(7, "today.csv")
    today = ("run", "job.toml", "--input", "today.csv", *DATED)
    for _ in range(2):
        before = len(b.sandbox.log)
        ended = await b.engager(*today)
        assert (ended.code, len(b.sandbox.log), runs(b)) == (3, before, {"n-2020-01-01"})
    counts = re.search(
        r"(\d+) of its 3,000 rows have an outcome, (\d) were in flight, and ([\d,]+) people", ended.err
    )
    assert counts is not None
    assert sum(int(number.replace(",", "")) for number in counts.groups()) == 3000
    goes_on, _ = commands(ended.err)
    assert (await b.engager(*goes_on)).code == 0
    assert len(b.results(YESTERDAY)) == 3000
    assert (await b.engager(*today)).code == 0
    assert set(b.sandbox.brain.effects.values()) == {1, 2}  # the people of today are among those of yesterday


async def test_a_night_that_is_given_up_by_name_stops_none(bench: Any) -> None:
    b = await bench()
    await begun_yesterday(b, "--limit", "5")
    b.write_input(7, "today.csv")
    today = ("run", "job.toml", "--input", "today.csv", *DATED)
    ended = await b.engager(*today)
    assert ended.code == 3
    _, gives_up = commands(ended.err)
    assert (await b.engager(*gives_up)).code == 0
    assert len(b.sandbox.log) == 12
    assert len(runs(b)) == 2
    b.write_input(9, "tomorrow.csv")
    tomorrow = ("--input", "tomorrow.csv", "--out", "runs/n-{datetime}")
    assert (await b.engager("run", "job.toml", *tomorrow)).code == 0


async def test_a_run_that_is_given_up_has_reached_whom_it_reached(bench: Any) -> None:
    b = await bench(3000, "[limits]\nconcurrency = 4\n", latency="2ms")
    await killed(b)
    before = len(b.sandbox.log)
    ended = await b.engager("run", "job.toml", *DATED, "--give-up", YESTERDAY)
    assert (ended.code, len(b.sandbox.log)) == (2, before)
    # Gone on with, it is a run like any other: stopped again, it is not settled again.
    assert (await b.engager("run", "job.toml", "--out", YESTERDAY, "--limit", "500")).code == 0
    b.write_input(7, "today.csv")
    assert (await b.engager("run", "job.toml", *DATED, "--input", "today.csv")).code == 3


@pytest.mark.parametrize("named", ["runs/none", "runs/other"])
async def test_only_a_run_of_the_job_can_be_given_up(bench: Any, named: str) -> None:
    b = await bench()
    other = ("--out", "runs/other", "--set", "job.name=other", "--limit", "2")
    assert (await b.engager("run", "job.toml", *other)).code == 0
    assert (await b.engager("run", "job.toml", *DATED, "--give-up", named)).code == 2
    assert len(b.sandbox.log) == 2


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("name", ["people.csv", "*.csv", "people.csv.gz"])
async def test_a_run_is_finished_from_the_input_that_it_keeps(bench: Any, name: str, in_place: bool) -> None:
    b = await bench(20, "", latency="2ms")
    (b.path / "more.csv").write_text("email,name\nq@example.com,Q\n")
    (b.path / "people.csv.gz").write_bytes(gzip.compress((b.path / "people.csv").read_bytes()))
    source = ("--input", name, "--set", "input.keep=true")
    await begun_yesterday(b, *source, "--limit", "5")
    file = b.path / name.replace("*", "people")
    if not in_place:
        file.unlink()
    data = b"email,name\nz@example.com,Z\n"
    file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    ended = await b.engager("run", "job.toml", *DATED, *source)
    assert ended.code == 3
    goes_on, _ = commands(ended.err)
    assert (await b.engager(*goes_on)).code == 0
    rows = 21 if name == "*.csv" else 20
    assert len(b.results(YESTERDAY)) == len(b.sandbox.log) == rows
    assert not (b.path / YESTERDAY / "input").stat().st_mode & 0o077
    # Another pass reads the same rows.
    assert (await b.engager("retry", YESTERDAY)).code == 0


async def test_the_input_that_a_run_keeps_finishes_it_under_a_name_without_a_date(bench: Any) -> None:
    b = await bench()
    keep = ("--set", "input.keep=true")
    assert (await b.engager("run", "job.toml", *keep, "--limit", "5")).code == 0
    b.write_input(7)
    refused = await b.engager("run", "job.toml", *keep)
    assert (refused.code, len(b.sandbox.log)) == (3, 5)
    assert (await b.engager(*commands(refused.err)[0])).code == 0
    assert len(b.results()) == len(b.sandbox.log) == 20


async def test_a_night_without_a_date_is_given_up_for_another_input_without_its_people(bench: Any) -> None:
    b = await bench()
    assert (await b.engager("run", "job.toml", "--limit", "5")).code == 0
    b.write_input(7)
    for _ in range(2):
        ended = await b.engager("run", "job.toml")
        assert (ended.code, len(b.sandbox.log)) == (3, 5)
        assert "15 people are not reached" in ended.err
    _, gives_up = commands(ended.err)
    assert (await b.engager(*gives_up)).code == 0
    assert len(b.sandbox.log) == 7
    assert (b.path / "runs/test/given_up").exists()
    # A run that leaves nothing undone is only another run.
    assert (await b.engager("run", "job.toml")).code == 2


async def test_a_stream_cannot_be_kept(bench: Any) -> None:
    b = await bench()
    stream = ("--input", "-", "--set", "input.format=csv", "--set", "input.keep=true")
    ended = await b.engager("run", "job.toml", *stream, stdin=(b.path / "people.csv").read_bytes())
    assert (ended.code, b.sandbox.log) == (2, [])


async def test_an_input_that_was_sent_already_is_not_sent_again(bench: Any) -> None:
    """Most often it is a stale export."""
    b = await bench()
    await begun_yesterday(b)
    ended = await b.engager("run", "job.toml", *DATED)
    assert (ended.code, len(b.sandbox.log)) == (2, 20)
    assert YESTERDAY in ended.err
    command = ended.err.splitlines()[-1]
    assert (await b.engager(*shlex.split(command)[1:])).code == 0
    assert len(b.sandbox.log) == 40


async def test_a_job_that_is_to_send_the_same_list_every_day(bench: Any) -> None:
    b = await bench()
    await begun_yesterday(b)
    for _ in range(2):
        ended = await b.engager("run", "job.toml", *DATED, "--set", "input.repeat=true")
        assert ended.code == 0, ended.err
    assert len(runs(b)) == 2
    assert len(b.sandbox.log) == 40


async def test_an_input_without_rows_may_come_every_day(bench: Any) -> None:
    b = await bench(0)
    none = ("--set", "input.on_empty=ok")
    await begun_yesterday(b, *none)
    assert (await b.engager("run", "job.toml", *DATED, *none)).code == 0
    assert len(runs(b)) == 2


async def test_whether_a_stream_is_the_same_is_for_a_person_to_say(bench: Any) -> None:
    b = await bench()
    stream = ("--input", "-", "--set", "input.format=csv")
    data = (b.path / "people.csv").read_bytes()
    first = await b.engager("run", "job.toml", "--out", YESTERDAY, "--limit", "5", *stream, stdin=data)
    assert first.code == 0
    ended = await b.engager("run", "job.toml", *DATED, *stream, stdin=data)
    assert (ended.code, len(b.sandbox.log)) == (2, 5)
    goes_on, anew = ended.err.splitlines()[-2:]
    assert is_of_a_day(anew.rpartition("/")[2])
    assert (await b.engager(*shlex.split(goes_on)[1:], stdin=data)).code == 0
    assert len(b.results(YESTERDAY)) == len(b.sandbox.log) == 20


async def test_a_run_of_another_date_that_is_under_way_is_not_joined(bench: Any) -> None:
    b = await bench(400, "[limits]\nrate = 10\n")
    b.write_input(5, "today.csv")
    first = await b.start("run", "job.toml", "--out", YESTERDAY)
    while not b.sandbox.log:
        await asyncio.sleep(0.01)
    for args in ((), ("--input", "today.csv")):
        ended = await b.engager("run", "job.toml", *DATED, *args)
        assert ended.code == 3
        assert YESTERDAY in ended.err
    assert runs(b) == {"n-2020-01-01"}
    first.send_signal(signal.SIGINT)
    await first.communicate()
    assert (first.returncode, len(b.sandbox.log)) == (130, len(b.results(YESTERDAY)))


async def test_another_job_s_runs_are_no_concern(bench: Any) -> None:
    b = await bench()
    await begun_yesterday(b, "--set", "job.name=another")
    (b.path / "runs/n-2020-01-02").mkdir()
    (b.path / "runs/n-2020-01-02/run.json").write_text("[]")
    ended = await b.engager("run", "job.toml", *DATED)
    assert (ended.code, ended.err) == (0, "")
    assert len(b.sandbox.log) == 40


async def test_starts_take_their_turn_until_one_has_begun(bench: Any) -> None:
    b = await bench(5)
    (b.path / "runs").mkdir()
    turn = RunLock.acquire(b.path / "runs" / ".engager.lock")
    waiting = await b.engager("run", "job.toml", "--out", "runs/{date}")
    assert (waiting.code, b.sandbox.log) == (3, [])
    assert (await b.engager("run", "job.toml", "--out", "runs/plain")).code == 0
    turn.release()
    assert (await b.engager("run", "job.toml", "--out", "runs/{date}", "--input", "people.csv")).code == 0


async def test_the_same_job_is_the_same_run_from_whatever_folder(bench: Any) -> None:
    b = await bench()
    (b.path / "elsewhere").mkdir()
    here = f"import os; os.chdir({str(b.path / 'elsewhere')!r})"
    assert (await b.engager("run", "../job.toml", before=here)).code == 0
    for before in ("", here, f"import os; os.chdir({str(b.path.parent)!r})"):
        again = await b.engager("run", str(b.path / "job.toml"), before=before)
        assert (again.code, len(b.sandbox.log)) == (0, 20)
    assert {file.parent for file in b.path.rglob("run.json")} == {b.path / "runs/test"}


@pytest.mark.parametrize("name", ["test", "test-{date}"])
async def test_a_run_beside_the_caller_is_not_begun_again_beside_the_job(bench: Any, name: str) -> None:
    """Earlier versions had their default there."""
    b = await bench()
    (b.path / "elsewhere").mkdir()
    here, job = f"import os; os.chdir({str(b.path / 'elsewhere')!r})", str(b.path / "job.toml")
    named = ("--set", f"job.name={name}")
    former = ("--out", f"runs/{name}".replace("{date}", "2020-01-01"))
    assert (await b.engager("run", job, *named, *former, before=here)).code == 0
    refused = await b.engager("run", job, *named, before=here)
    assert (refused.code, len(b.sandbox.log)) == (2, 20)
    assert not (b.path / "runs").exists() or not list((b.path / "runs").glob("*/run.json"))
    commands = [shlex.split(line) for line in refused.err.splitlines() if line.startswith("  engager run ")]
    runs = [Path(command[command.index("--out") + 1]) for command in commands]
    if name == "test":
        assert runs == [b.path / "elsewhere/runs/test", b.path / "runs/test"]
        assert (await b.engager(*commands[0][1:], before=here)).code == 0
        assert len(b.sandbox.log) == 20
    assert (await b.engager(*commands[-1][1:], before=here)).code == 0
    # The command that begins anew leaves out whom the former run reached; to send again is asked for.
    assert len(b.sandbox.log) == (20 if name == "test" else 40)


async def test_a_run_of_another_job_beside_the_caller_is_none_of_this_job(bench: Any) -> None:
    b = await bench()
    (b.path / "elsewhere").mkdir()
    for file in ("job.toml", "people.csv"):
        shutil.copy(b.path / file, b.path / "elsewhere")
    here = f"import os; os.chdir({str(b.path / 'elsewhere')!r})"
    assert (await b.engager("run", "job.toml", before=here)).code == 0
    assert (await b.engager("run", "../job.toml", before=here)).code == 0
    assert len(b.sandbox.log) == 40


#: An input with a date, in a run directory with a date.
NIGHTS = ("--set", "input.path=night-{date}.csv")


async def begun(b: Any, *args: str, day: str = "2020-01-01") -> None:
    """A night on another day: the moment of a start is that of the clock."""
    set_clock = (
        "import time; from datetime import datetime; "
        f"time.time = lambda: datetime.fromisoformat('{day}T12:00').timestamp()"
    )
    ended = await b.engager("run", "job.toml", *NIGHTS, *DATED, *args, before=set_clock)
    assert ended.code == 0, ended.err


async def test_an_input_has_the_date_of_its_run(bench: Any) -> None:
    b = await bench()
    b.write_input(7, "night-2020-01-01.csv")
    b.write_input(9, f"night-{datetime.now():%Y-%m-%d}.csv")
    await begun(b)
    assert len(b.results(YESTERDAY)) == 7
    ended = await b.engager("run", "job.toml", *NIGHTS, *DATED)
    assert ended.code == 0, ended.err
    assert len(b.sandbox.log) == 16
    assert (await b.engager("check", "job.toml", *NIGHTS, "--output", "json")).code == 0


async def test_a_night_that_is_resumed_reads_its_own_input(bench: Any) -> None:
    b = await bench()
    b.write_input(20, "night-2020-01-01.csv")
    b.write_input(9, f"night-{datetime.now():%Y-%m-%d}.csv")
    await begun(b, "--limit", "5")
    stopped = await b.engager("run", "job.toml", *NIGHTS, *DATED)
    assert (stopped.code, len(b.sandbox.log)) == (3, 5)
    resumes, _ = commands(stopped.err)
    assert (await b.engager(*resumes)).code == 0
    assert len(b.results(YESTERDAY)) == len(b.sandbox.log) == 20
    assert (await b.engager("retry", YESTERDAY)).code == 0
    assert (await b.engager("run", "job.toml", *NIGHTS, *DATED)).code == 0
    assert len(b.sandbox.log) == 29


async def test_a_night_goes_on_while_the_next_has_no_input(bench: Any) -> None:
    b = await bench()
    b.write_input(20, "night-2020-01-01.csv")
    await begun(b, "--limit", "5")
    ended = await b.engager("run", "job.toml", *NIGHTS, *DATED)
    assert ended.code == 0, ended.err
    assert re.search(f"^warning: .*{YESTERDAY}", ended.err, re.MULTILINE)
    assert len(b.results(YESTERDAY)) == len(b.sandbox.log) == 20
    # It is complete: nothing stands in for the input of this date any more.
    assert (await b.engager("run", "job.toml", *NIGHTS, *DATED)).code == 2


async def test_a_dated_input_needs_a_dated_directory(bench: Any) -> None:
    """Every run would be the first one, and read its input."""
    b = await bench()
    b.write_input(9, f"night-{datetime.now():%Y-%m-%d}.csv")
    ended = await b.engager("run", "job.toml", *NIGHTS)
    assert (ended.code, b.sandbox.log) == (2, [])
    assert "output.directory" in ended.err
    assert "output.directory" in (await b.engager("check", "job.toml", *NIGHTS)).err
    assert (await b.engager("run", "job.toml", *NIGHTS, "--out", "runs/by-name")).code == 0
    assert (await b.engager("run", "job.toml", *NIGHTS, "--input", "people.csv")).code == 0


async def test_braces_of_an_input_are_written_twice(bench: Any) -> None:
    b = await bench()
    b.write_input(3, "a{1}.csv")
    assert (await b.engager("run", "job.toml", "--set", "input.path=a{1}.csv")).code == 2
    assert (await b.engager("run", "job.toml", "--set", "input.path=a{{1}}.csv")).code == 0
    assert (await b.engager("init", "a{1}.csv", "--out", "made.toml")).code == 0
    assert (await b.engager("check", "made.toml")).code == 0
