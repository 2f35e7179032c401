"""Kills runs, spoils what they left, lets them go on, and holds the outcome against the endpoint's account.

    python -m tests.crash.harness --kills 1000             # the long form
    python -m tests.crash.harness --seed 4711 --runs 1     # one run again, exactly as it was drawn

The endpoint is a sandbox in this process, which is never killed: it owns the truth. Every run is a process
that is killed at a random moment or at a named point, again and again, and then runs to its end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engager.sandbox import Sandbox, SandboxConfig
from tests.crash.deadly import POINTS, run
from tests.crash.oracle import Truth, judged

MODES = ("exactly-once", "at-most-once", "at-least-once")

ENDPOINTS: dict[str, dict[str, Any]] = {
    "deduplicates": {},
    "forgets errors": {"replay_errors": False},
    "refuses repeats in flight": {"refuse_in_flight": True},
    "does not deduplicate": {"deduplicate": False},
}

FAULTS = {
    "429": 0.03,
    "503": 0.06,
    "500": 0.04,
    "500_after": 0.04,
    "reset_before": 0.04,
    "reset_after": 0.04,
    "garbage": 0.04,
    "truncated": 0.03,
    "empty": 0.03,
    "bad_bytes": 0.02,
    "close": 0.03,
}

_forkserver = multiprocessing.get_context("forkserver")
_forkserver.set_forkserver_preload(["tests.crash.deadly"])


@dataclass
class Case:
    """One run and all that befalls it, drawn from a seed."""

    seed: int
    mode: str
    endpoint: str
    rows: int
    crew: int
    kills: int
    faults: bool
    spoils: bool
    settings: dict[str, str]

    @classmethod
    def drawn(cls, seed: int) -> Case:
        draw = random.Random(seed)
        mode = draw.choice(MODES)
        # Exactly once is only promised by an endpoint that deduplicates.
        endpoints = list(ENDPOINTS)[: 3 if mode == "exactly-once" else None]
        return cls(
            seed,
            mode,
            draw.choice(endpoints),
            rows=draw.randint(40, 160),
            crew=draw.choice((1, 4, 16)),
            kills=draw.randint(2, 9),
            faults=draw.random() < 0.4,
            spoils=draw.random() < 0.4,
            settings={
                "delivery.durability": draw.choice(("process", "process", "disk")),
                "output.results": draw.choice(("jsonl", "jsonl", "csv")),
            },
        )

    @property
    def once(self) -> bool:
        if self.mode == "at-least-once":
            return False
        return self.mode == "at-most-once" or self.endpoint != "does not deduplicate"


@dataclass
class Told:
    """What became of some runs."""

    runs: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)


JOB = """
[job]
name = "crash"
[endpoint]
url = "{url}"
token = "env:CRASH_TOKEN"
timeout = 2
[input]
path = "people.{suffix}"
[request]
id = 12
email = "{{email}}"
[limits]
concurrency = {crew}
[retry]
attempts = 6
base_delay = 0.005
max_delay = 0.02
budget = 10000
[delivery]
mode = "{mode}"
"""


async def carry_out(case: Case, folder: Path, told: Told) -> None:
    """Let a case happen, and judge it."""
    draw = random.Random(-case.seed)
    faults = FAULTS if case.faults else {}
    table = {"faults": faults, "assumptions": ENDPOINTS[case.endpoint], "seed": case.seed, "latency": "0-8ms"}
    async with Sandbox(SandboxConfig.from_mapping(table)) as sandbox:
        _write(case, folder, sandbox.url, draw)
        killed = 0
        for _ in range(case.kills):
            point, count = None, 0
            if draw.random() < 0.6:
                point, count = draw.choice(list(POINTS)), int(draw.expovariate(0.06)) + 1
            ended = await _one(case, folder, point, count, draw)
            if ended == -signal.SIGKILL:
                killed += 1
                told.kills[point or "any moment"] += 1
            elif ended not in (0, 1, 143, -signal.SIGTERM):
                told.wrong.append(f"seed {case.seed}: it ended with {ended}: {_last_words(folder)}")
            if ended in (0, 1) or _is_complete(folder / "runs/crash"):
                break
            if case.spoils:
                _spoil(folder / "runs/crash", draw)
        code = await _one(case, folder, None, 0, None)
        effects = dict(sandbox.brain.effects)
    told.runs += 1
    if code not in (0, 1):
        told.wrong.append(f"seed {case.seed}: the last run ended with {code}: {_last_words(folder)}")
        return
    truth = Truth(case.rows, effects, case.once, case.kills * case.crew, case.faults)
    told.wrong += [f"seed {case.seed}: {wrong}" for wrong in judged(folder / "runs/crash", truth)]
    told.statuses.update(json.loads((folder / "runs/crash/summary.json").read_text())["statuses"])


def _write(case: Case, folder: Path, url: str, draw: random.Random) -> None:
    suffix = draw.choice(("csv", "jsonl"))
    people = [f"p{number}@example.com" for number in range(1, case.rows + 1)]
    people[draw.randrange(case.rows)] = "nobody"  # an invalid row
    if suffix == "csv":
        text = "email,note\n" + "".join(f'{person},"a\nb"\n' for person in people)
    else:
        text = "".join(json.dumps({"email": person, "note": "a\nb"}) + "\n" for person in people)
    (folder / f"people.{suffix}").write_text(text)
    (folder / "job.toml").write_text(JOB.format(url=url, suffix=suffix, crew=case.crew, mode=case.mode))


async def _one(
    case: Case, folder: Path, point: str | None, count: int, draw: random.Random | None
) -> int | None:
    """One process; killed at a point, or at any moment, or, without a draw, not at all."""
    flags = [f"{key}={value}" for key, value in case.settings.items()]
    args = ["run", "job.toml", "--no-progress", *(word for flag in flags for word in ("--set", flag))]
    process = _forkserver.Process(target=run, args=(str(folder), args, point, count))
    process.start()
    if draw is not None and point is None:
        await asyncio.sleep(draw.uniform(0, 0.4))
        if draw.random() < 0.2:
            process.terminate()
            await asyncio.sleep(draw.uniform(0, 0.05))
        process.kill()
    for _ in range(6000):
        if not process.is_alive():
            break
        await asyncio.sleep(0.01)
    else:
        process.kill()
        return None
    process.join()
    return process.exitcode


def _spoil(folder: Path, draw: random.Random) -> None:
    """Tear the ends of files, and flip bits: what a kill cannot do, and a failing disk can."""
    for name in ("results.jsonl", "results.csv", "failed.csv", "failed.jsonl", "in_doubt.csv"):
        path = folder / name
        if not path.exists() or draw.random() < 0.5:
            continue
        data = bytearray(path.read_bytes())
        how = draw.randrange(3)
        if how == 0:
            del data[max(0, len(data) - draw.randint(1, 400)) :]
        elif how == 1 and data:
            data[-draw.randint(1, min(400, len(data)))] ^= 1 << draw.randrange(8)
        else:
            data += b'{"row": 3, "status": "enga'
        path.write_bytes(data)
    ledger = folder / "ledger/rows"
    if ledger.exists() and draw.random() < 0.5:
        _flip_row(ledger, draw)


def _flip_row(ledger: Path, draw: random.Random) -> None:
    with ledger.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size > 1 << 20:
            at = file.seek(size - (1 << 20) + draw.randint(1, 40))
            byte = file.read(1)[0] ^ 1 << draw.randrange(8)
            file.seek(at)
            file.write(bytes((byte,)))


def _is_complete(run: Path) -> bool:
    """Whether it came to its end; what is spoiled after that is nobody's to mend."""
    summary = run / "summary.json"
    return summary.exists() and bool(json.loads(summary.read_bytes())["complete"])


def _last_words(folder: Path) -> str:
    return (folder / "told.txt").read_text()[-400:]


async def series(seed: int, kills: int, runs: int, told: Told, jobs: int = 4, keep: bool = False) -> None:
    """Cases from one seed on, some at a time, until there were enough kills and runs, or one went wrong."""
    os.environ["CRASH_TOKEN"] = "t0ken"
    seeds = iter(range(seed, sys.maxsize))
    begun = 0

    async def worker() -> None:
        nonlocal begun
        while (told.kills.total() < kills or begun < runs) and not told.wrong:
            begun += 1
            folder = Path(tempfile.mkdtemp(prefix="crash-"))
            try:
                await carry_out(Case.drawn(next(seeds)), folder, told)
            finally:
                if told.wrong and keep:
                    print(f"kept: {folder}")
                else:
                    shutil.rmtree(folder)

    await asyncio.gather(*(worker() for _ in range(jobs)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=4, help="runs at a time")
    parser.add_argument("--keep", action="store_true", help="keep the folders of what went wrong")
    given = parser.parse_args()
    told = Told()
    asyncio.run(series(given.seed, given.kills, given.runs, told, given.jobs, given.keep))
    for point, count in told.kills.most_common():
        print(f"{count:6} killed: {point}")
    print(f"{told.runs} runs, {told.kills.total()} kills, rows: {dict(told.statuses)}")
    for wrong in told.wrong:
        print(f"WRONG {wrong}")
    sys.exit(bool(told.wrong))


if __name__ == "__main__":
    main()
