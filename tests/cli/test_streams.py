"""Streams that are closed, full, without a reader, or of few characters: the exit code speaks of the rows."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cli.conftest import TOKEN, Ended

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

ENGAGER = (sys.executable, "-c", "from engager.cli import main; main()")


async def start(
    b: Any, *args: str, shell: str = "", environment: dict[str, str | None] | None = None, **streams: Any
) -> asyncio.subprocess.Process:
    """The command in a Python of its own; `shell` is what a shell does to its streams."""
    given = {**os.environ, "ENGAGER_TEST_TOKEN": TOKEN, **(environment or {})}
    pipes = dict.fromkeys(("stdout", "stderr"), asyncio.subprocess.PIPE)
    return await asyncio.create_subprocess_exec(
        *("sh", "-c", f'exec "$@" {shell}', "sh", *ENGAGER, *args),
        cwd=b.path,
        env={name: value for name, value in given.items() if value is not None},
        **{"stdin": asyncio.subprocess.DEVNULL, **pipes, **streams},
    )


async def ended(b: Any, *args: str, **options: Any) -> Ended:
    process = await start(b, *args, **options)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    reported = (err or b"").decode("ascii", "replace")
    assert "Traceback" not in reported
    return Ended(process.returncode, (out or b"").decode(), reported)


@contextmanager
def nobody_reads(descriptors: tuple[int, int]) -> Iterator[int]:
    """The writing end of what is full already, and stays so."""
    reader, writer = descriptors
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 512)
    except BlockingIOError:
        os.set_blocking(writer, True)
    yield writer
    os.close(reader)
    os.close(writer)


async def all_engaged(b: Any, rows: int, run: str = "runs/test") -> None:
    assert b.summary(run)["statuses"]["engaged"] == rows == b.sandbox.brain.effects.total()


@pytest.mark.parametrize(
    "environment", [ASCII, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}], ids=str
)
async def test_a_locale_of_few_characters(bench: Any, environment: dict[str, str]) -> None:
    b = await bench(3)
    (b.path / "people.csv").write_text("email,name\na@x.org,Аня\nnobody,Боб\n", encoding="utf-8")
    for code, *args in (
        (1, "check", "job.toml"),
        (1, "run", "job.toml"),
        (0, "status", "runs/test"),
        (1, "retry", "runs/test"),
        (0, "report", "runs/test"),
        (0, "init", "people.csv"),
        (0, "schema"),
        (0, "scenarios", "list", "job.toml"),
        (0, "doctor", "job.toml"),
    ):
        done = await ended(b, *args, environment=environment)
        assert done.code == code, (args, done.err)
    seen = await ended(b, "check", "job.toml", "--output", "json", environment=environment)
    assert "Аня" in json.loads(json.loads(seen.out)["samples"][0]["body"])["content"]["name"]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_closed_streams(bench: Any, closed: str) -> None:
    b = await bench(60)
    assert (await ended(b, "check", "job.toml", shell=closed)).code == 0
    assert (await ended(b, "run", "job.toml", shell=closed)).code == 0
    await all_engaged(b, 60)
    # Nothing that was meant for a stream stands in a file of the run.
    assert sorted(line["row"] for line in b.results()) == list(range(1, 61))
    assert (await ended(b, "status", "runs/test", shell=closed)).code == 0


async def test_a_closed_stdin_is_no_empty_input(bench: Any) -> None:
    b = await bench(3)
    done = await ended(b, "run", "job.toml", "--input", "-", "--set", "input.format=csv", shell="<&-")
    assert done.code in (2, 3)
    assert b.sandbox.log == []


@pytest.mark.parametrize(
    ("more", "shell"),
    [
        ((), ">/dev/full"),
        ((), "2>/dev/full"),
        (("--log-format", "json"), ">/dev/full 2>&1"),
        (("--quiet",), ">/dev/full 2>&1"),
        (("--no-progress",), ">/dev/full 2>&1"),
    ],
)
async def test_a_full_disk_after_a_run(bench: Any, more: tuple[str, ...], shell: str) -> None:
    b = await bench(20, '[notify]\nurl = "env:NOBODY"\n')
    environment = {"NOBODY": "http://127.0.0.1:9/"}  # a warning
    assert (await ended(b, "run", "job.toml", *more, shell=shell, environment=environment)).code == 0
    await all_engaged(b, 20)


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_readers_that_are_gone(bench: Any, log_format: str) -> None:
    b = await bench(20)
    for stream in ("stdout", "stderr"):
        reader, writer = os.pipe()
        os.close(reader)
        out = f"runs/{stream}"
        done = await ended(b, "run", "job.toml", "--out", out, "--log-format", log_format, **{stream: writer})
        os.close(writer)
        assert done.code == 0
        assert b.summary(out)["statuses"]["engaged"] == 20
        if log_format == "json":
            assert all(isinstance(json.loads(line), dict) for line in done.err.splitlines())
    assert b.sandbox.brain.effects.total() == 40


@pytest.mark.parametrize("more", [(), ("--log-format", "json")])
async def test_readers_that_have_stopped(bench: Any, more: tuple[str, ...]) -> None:
    unsent = '[notify]\nurl = "env:NOBODY"\n'
    b = await bench(60, unsent)
    with nobody_reads(os.pipe()) as full:
        streams = {"stdout": full, "stderr": full}
        done = await ended(
            b, "run", "job.toml", *more, environment={"NOBODY": "http://127.0.0.1:9/"}, **streams
        )
    assert done.code == 0
    await all_engaged(b, 60)


async def test_a_terminal_that_has_stopped(bench: Any) -> None:
    b = await bench(200, "[limits]\nrate = 100\n")
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, b"\x18\0\x50\0\0\0\0\0")
    with nobody_reads((master, slave)) as full:
        done = await ended(b, "run", "job.toml", environment={"TERM": "xterm"}, stderr=full)
    assert done.code == 0
    await all_engaged(b, 200)


@pytest.mark.parametrize(
    ("environment", "moves"),
    [
        ({"TERM": "xterm", "PYTHONUTF8": "1"}, True),
        ({"TERM": "dumb", "PYTHONUTF8": "1"}, False),
        ({"TERM": None, "PYTHONUTF8": "1"}, False),
        ({"TERM": "xterm", **ASCII}, False),
    ],
    ids=str,
)
async def test_only_a_terminal_that_can_show_a_live_view_gets_one(
    bench: Any, environment: dict[str, str | None], moves: bool
) -> None:
    b = await bench(100, "[limits]\nrate = 100\n")
    master, slave = pty.openpty()
    process = await start(b, "run", "job.toml", environment=environment, stderr=slave)
    os.close(slave)
    seen = await asyncio.to_thread(_all_of, master)
    assert await process.wait() == 0
    os.close(master)
    assert (b"\x1b[" in seen) == moves
    assert b"scenario 12" in seen
    assert moves or seen.count(b"\n") == 1  # where it sends; less than ten seconds: no progress yet


#: Prints numbers on stdout and stderr in turn, as a run prints, and a long line of words.
BOTH = """
from engager.cli.streams import in_background, say, standard_streams
with standard_streams():
    with in_background():
        for number in range(400):
            say(f"line {number}", err=bool(number % 2))
    say("word " * 30 + "\\n  engager " + "option " * 30, wrap=True)
"""


async def test_both_streams_of_one_terminal_keep_their_order_and_their_words() -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, b"\x18\0\x32\0\0\0\0\0")  # 50 columns
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", BOTH), stdin=slave, stdout=slave, stderr=slave, env=environment
    )
    os.close(slave)
    lines = (await asyncio.to_thread(_all_of, master)).decode().split("\r\n")
    assert await process.wait() == 0
    os.close(master)
    assert lines[:400] == [f"line {number}" for number in range(400)]
    words, command = lines[400:-2], lines[-2]
    assert max(map(len, words)) <= 50
    assert {word for line in words for word in line.split()} == {"word"}
    assert command.count("option") == 30  # a command is copied as one line


@pytest.mark.parametrize(
    ("args", "environment", "expected"),
    [
        ((), {"TERM": "xterm", "PYTHONUTF8": "1"}, (True, True)),
        ((), {"TERM": "dumb", "PYTHONUTF8": "1"}, (True, False)),
        (("--no-progress",), {"TERM": "xterm"}, (False, False)),
        (("--output", "json"), {"TERM": "xterm"}, (False, False)),
    ],
    ids=str,
)
async def test_a_check_shows_at_a_terminal_how_far_it_is(
    bench: Any, args: tuple[str, ...], environment: dict[str, str], expected: tuple[bool, bool]
) -> None:
    b = await bench(3000)
    master, slave = pty.openpty()
    done, seen = await checked(b, *args, environment=environment, stderr=slave, master=master)
    assert done == 0
    steps = [
        int(step.replace(b",", b"")) for step in re.findall(rb"([\d,]+)(?: of 3,000)? rows checked", seen)
    ]
    assert (bool(steps), b"\x1b[" in seen) == expected
    assert steps == sorted(steps)
    assert (b" of 3,000 rows" in seen) == expected[0]


async def test_a_check_shows_nothing_of_it_where_stderr_is_no_terminal(bench: Any) -> None:
    b = await bench(3000)
    ours, theirs = os.pipe()
    assert await checked(b, environment={"TERM": "xterm"}, stderr=theirs, master=ours) == (0, b"")


async def checked(
    b: Any, *args: str, environment: dict[str, str], stderr: int, master: int
) -> tuple[int, bytes]:
    """A check that shows each step, however quick it is: its exit code, and what it writes to stderr."""
    every_step = "from engager.output import progress; progress.CHECK_EVERY = progress.PLAIN_EVERY = 0.0"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", f"{every_step}; from engager.cli import main; main()"),
        *("check", "job.toml", *args),
        cwd=b.path,
        env={**os.environ, "ENGAGER_TEST_TOKEN": TOKEN, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=stderr,
    )
    os.close(stderr)
    seen = await asyncio.to_thread(_all_of, master)
    os.close(master)
    return await process.wait(), seen


def _all_of(master: int) -> bytes:
    seen = b""
    try:
        while block := os.read(master, 4096):
            seen += block
    except OSError:  # nobody has the terminal open any more
        pass
    return seen


@pytest.mark.parametrize(
    "args",
    [
        ("check", "job.toml"),
        ("check", "job.toml", "--output", "json"),
        ("status", "runs/test"),
        ("status", "runs/test", "--output", "json"),
        ("find", "runs/test", "--status", "engaged"),
        ("find", "runs/test", "--status", "engaged", "--keys"),
        ("report", "runs/test"),
        ("schema",),
        ("scenarios", "list", "job.toml"),
        ("doctor", "job.toml"),
        ("--help",),
    ],
    ids=" ".join,
)
async def test_a_product_that_cannot_be_written_is_an_error(bench: Any, args: tuple[str, ...]) -> None:
    b = await bench(3)
    await b.engager("run", "job.toml")
    reader, writer = os.pipe()
    os.close(reader)
    full = await ended(b, *args, shell=">/dev/full")
    assert full.code == 4
    assert "error: stdout: " in full.err
    closed = await ended(b, *args, stdout=writer)
    os.close(writer)
    assert closed.code == ((await ended(b, *args)).code or 141)
    assert "error" not in closed.err


async def test_a_hang_up_finishes_what_is_in_flight(bench: Any) -> None:
    b = await bench(5000, "[limits]\nconcurrency = 8\n", latency="50ms")
    process = await start(b, "run", "job.toml", start_new_session=True)
    while len(b.sandbox.log) < 40:
        await asyncio.sleep(0.02)
    os.killpg(process.pid, signal.SIGHUP)
    await process.communicate()
    assert process.returncode == 129
    assert b.summary()["exit_code"] == 129
    assert len(b.results()) == b.sandbox.brain.effects.total() < 5000
    assert b.summary()["statuses"]["in_doubt"] == 0


async def test_under_nohup_a_hang_up_means_nothing(bench: Any) -> None:
    b = await bench(100, "[limits]\nrate = 100\n")
    process = await asyncio.create_subprocess_exec(
        *("nohup", *ENGAGER, "run", "job.toml"),
        cwd=b.path,
        env={**os.environ, "ENGAGER_TEST_TOKEN": TOKEN},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    while len(b.sandbox.log) < 10:
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGHUP)
    await process.communicate()
    assert process.returncode == 0
    await all_engaged(b, 100)


async def test_a_name_that_is_no_text_is_refused(bench: Any) -> None:
    b = await bench(3)
    (b.path / os.fsdecode(b"a\xff.csv")).write_text("email,name\nnobody,N\n")
    for args in (("--input", "a*.csv"), ("--out", os.fsdecode(b"\xff"))):
        done = await ended(b, "run", "job.toml", *args)
        assert done.code == 2
        assert "locale" in done.err
    assert b.sandbox.log == []
