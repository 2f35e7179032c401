"""A rehearsal with real rows: `--limit`, and the confirmation of a run with more rows."""

from __future__ import annotations

import asyncio
import os
import pty
import shlex
import sys
from typing import Any

import pytest

CAREFUL = "[limits]\nconfirm_above = 5\n"


async def test_the_first_rows_are_sent_shown_and_counted(bench: Any) -> None:
    b = await bench(20)
    ended = await b.engager("run", "job.toml", "--limit", "3")
    assert (ended.code, ended.err.count("--limit")) == (0, 1)
    assert [line.split()[:4] for line in ended.out.splitlines()[:3]] == [
        ["row", str(n), "engaged", f"p{n}@example.com"] for n in (1, 2, 3)
    ]
    assert (await b.engager("run", "job.toml")).code == 0
    assert len(b.sandbox.log) == len(b.results()) == 20


async def test_a_shorter_input_needs_no_confirmation(bench: Any) -> None:
    b = await bench(5, CAREFUL)
    ended = await b.engager("run", "job.toml")
    assert (ended.code, ended.err) == (0, "")
    assert b.summary()["complete"] is True


async def test_without_a_terminal_the_rest_needs_a_flag(bench: Any) -> None:
    b = await bench(400, CAREFUL)
    for _ in range(2):
        ended = await b.engager("run", "job.toml")
        assert ended.code == 3
        assert "limits.confirm_above" in ended.err
        assert ended.err.rstrip().endswith("engager run job.toml --yes")
        assert len(b.sandbox.log) == 5
    assert (await b.engager("run", "job.toml", "--yes")).code == 0
    assert len(b.sandbox.log) == 400


async def test_a_larger_limit_is_no_consent(bench: Any) -> None:
    b = await bench(20, CAREFUL)
    assert (await b.engager("run", "job.toml", "--limit", "9")).code == 3
    assert (await b.engager("run", "job.toml", "--limit", "4")).code == 0
    assert (await b.engager("run", "job.toml", "--limit", "9", "--yes")).code == 0
    assert len(b.sandbox.log) == 9


async def test_a_run_is_confirmed_once(bench: Any) -> None:
    b = await bench(20, CAREFUL)
    assert (await b.engager("run", "job.toml", "--limit", "9", "--yes")).code == 0
    status = await b.engager("status", "runs/test")
    assert "--yes" not in status.out
    resumed = await b.engager(*shlex.split(status.out.splitlines()[-1])[1:])
    assert (resumed.code, len(b.sandbox.log)) == (0, 20), resumed.err
    assert (await b.engager("run", "job.toml", "--out", "runs/other")).code == 3


async def test_a_run_is_resumed_with_the_settings_of_its_last_start(bench: Any) -> None:
    b = await bench(20)
    for rate in ("50", "60"):
        await b.engager("run", "job.toml", "--limit", "5", "--set", f"limits.rate={rate}")
    last = (await b.engager("status", "runs/test")).out.splitlines()[-1]
    assert [part for part in shlex.split(last) if "rate" in part] == ["limits.rate=60"]


@pytest.mark.parametrize(("answer", "code", "sent"), [(b"y\n", 0, 20), (b"n\n", 3, 5), (b"\n", 3, 5)])
async def test_a_person_who_saw_the_first_rows_is_asked(
    bench: Any, answer: bytes, code: int, sent: int
) -> None:
    b = await bench(20, CAREFUL)
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from engager.cli import main; main()", "run", "job.toml"),
        cwd=b.path,
        env={**os.environ, "ENGAGER_TEST_TOKEN": "t"},
        stdin=theirs,
        stdout=asyncio.subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, answer)  # the terminal buffers it until it is read
    await process.communicate()
    os.close(ours)
    assert (process.returncode, len(b.sandbox.log)) == (code, sent)


async def test_what_stands_in_a_row_does_not_steer_the_terminal(bench: Any) -> None:
    b = await bench(1)
    (b.path / "people.csv").write_text('email,name\n"\x1b[2J\x1b]0;owned\x07",x\n')
    ended = await b.engager("run", "job.toml", "--limit", "1")
    assert "row 1" in ended.out
    assert "\x1b" not in ended.out + ended.err


async def test_a_limit_within_an_open_batch_leaves_it_open(bench: Any) -> None:
    b = await bench(20, faults={"503": 1.0}, retry_after=86_400)
    job = b.path / "job.toml"
    method = 'method = "import_and_start_batch"\nmatching = "email"\nskip_triggers = true\nworkflow_id = 12'
    job.write_text(
        job.read_text().replace("id = 12", method).replace("{ name =", "{ title =") + "[batch]\nrows = 10\n"
    )
    job.write_text(job.read_text().replace('"{name}"', '"a"'))
    assert (await b.engager("run", "job.toml")).code == 3
    sent = len(b.sandbox.log)
    ended = await b.engager("run", "job.toml", "--limit", "5")
    assert (ended.code, ended.err.count("--limit")) == (0, 1)
    assert len(b.sandbox.log) == sent
