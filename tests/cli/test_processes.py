"""A run that several processes share is one run: one account, one stop, one pause."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

TWO = "[limits]\nprocesses = 2\nconcurrency = 8\n"


def once(rows: int) -> Counter[str]:
    return Counter({f"email=p{n}@example.com": 1 for n in range(1, rows + 1)})


async def test_every_row_is_engaged_once_by_somebody(bench: Any) -> None:
    b = await bench(900, TWO, faults={"503": 0.05, "reset_after": 0.02})
    b.write_job(f"{TWO}[retry]\nattempts = 9\nbase_delay = 0.01\n")
    ended = await b.engager("run", "job.toml")
    assert (ended.code, ended.err) == (0, "")
    assert sorted(line["row"] for line in b.results()) == list(range(1, 901))
    assert b.sandbox.brain.effects == once(900)
    assert b.summary()["statuses"]["engaged"] == 900
    assert (b.path / "runs/test/ledger/rows.1").exists()
    sent = len(b.sandbox.log)
    again = await b.engager("run", "job.toml")
    assert (again.code, "nothing was sent" in again.err, len(b.sandbox.log)) == (0, True, sent)


async def test_the_first_rows_and_then_the_rest(bench: Any) -> None:
    b = await bench(400, TWO)
    for limit, rows in (("30", 30), ("250", 250), ("999", 400)):
        ended = await b.engager("run", "job.toml", "--limit", limit)
        assert ended.code == 0, ended.err
        assert sorted(line["row"] for line in b.results()) == list(range(1, rows + 1))
    assert b.sandbox.brain.effects == once(400)


async def test_a_signal_ends_all_in_good_order(bench: Any) -> None:
    b = await bench(5000, TWO, latency="30ms")
    process = await b.start("run", "job.toml")
    while len(b.sandbox.log) < 40:
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 130
    assert b"interrupted by SIGINT" in err
    assert len(b.results()) == b.sandbox.brain.effects.total() < 5000
    assert b.summary()["complete"] is False


async def test_what_one_is_told_stops_all(bench: Any) -> None:
    b = await bench(3000, TWO, tariff_limit=20)
    ended = await b.engager("run", "job.toml")
    assert ended.code == 3
    assert "tariff" in ended.err
    assert len(b.sandbox.log) < 60
    assert len(b.results()) == 20


async def test_an_endpoint_that_is_unfit_is_sent_no_row_by_anybody(bench: Any) -> None:
    b = await bench(200, f"{TWO}[delivery]\nprobe = true\n", assumptions={"deduplicate": False})
    ended = await b.engager("run", "job.toml")
    assert ended.code == 2, ended.err
    assert not [key for key in b.sandbox.brain.effects if key.startswith("email=")]


async def test_a_process_that_is_killed_alone(bench: Any) -> None:
    b = await bench(800, TWO, latency="10ms")
    process = await b.start("run", "job.toml")
    while len(b.sandbox.log) < 40:
        await asyncio.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[1]), signal.SIGKILL)
    _, err = await process.communicate()
    assert process.returncode == 4
    assert b"process 2 of 2 ended on its own (signal 9)" in err
    assert b"Traceback" not in err
    ended = await b.engager("run", "job.toml")
    assert ended.code == 0, ended.err
    assert sorted(line["row"] for line in b.results()) == list(range(1, 801))
    assert b.sandbox.brain.effects == once(800)


async def test_the_others_end_with_the_one_that_keeps_the_book(bench: Any) -> None:
    b = await bench(1000, TWO, latency="10ms")
    process = await b.start("run", "job.toml")
    while len(b.sandbox.log) < 40:
        await asyncio.sleep(0.02)
    process.kill()
    async with asyncio.timeout(20):
        await process.communicate()  # until nobody is left who could say something
    # At once: what the last run left does not get in its way, nor does it send beside it.
    ended = await b.engager("run", "job.toml")
    assert ended.code == 0, ended.err
    assert b.sandbox.brain.effects == once(1000)
    assert len(b.sandbox.log) <= 1000 + 8  # what was in flight is repeated, and nothing else


async def test_a_pause_that_one_was_asked_for_is_everybodys(bench: Any) -> None:
    # One is asked for it while half a second's work lies before the others.
    b = await bench(300, TWO, faults={"429": 0.01}, retry_after="1", seed=2, latency="20ms")
    ended = await b.engager("run", "job.toml")
    assert ended.code == 0, ended.err
    limits = [entry.arrived for entry in b.sandbox.log if entry.fault == "429"]
    assert limits
    for asked in limits:
        # A second's pause, of which a tenth is for the word to get around.
        assert not [e for e in b.sandbox.log if asked + 0.3 < e.arrived < asked + 0.95]
        assert len([e for e in b.sandbox.log if asked < e.arrived]) > 100


async def test_an_input_that_cannot_be_shared_is_told(bench: Any) -> None:
    b = await bench(50, TWO)
    (b.path / "people.csv.gz").write_bytes(gzip.compress((b.path / "people.csv").read_bytes()))
    ended = await b.engager("run", "job.toml", "--input", "people.csv.gz")
    assert ended.code == 0
    assert "limits.processes: this input and rate give work to 1" in ended.err
    assert b.sandbox.brain.effects == once(50)


async def test_the_token_shows_nowhere(bench: Any) -> None:
    b = await bench(100, f"{TWO}[retry]\nbase_delay = 0.01\n", faults={"500": 0.2, "garbage": 0.1})
    ended = await b.engager("run", "job.toml")
    files = [file for file in b.path.rglob("*") if file.is_file()]
    assert "nobody-may-see" not in ended.out + ended.err
    assert all(b"nobody-may-see" not in file.read_bytes() for file in files)
