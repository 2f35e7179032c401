"""Kills runs, damages their files, resumes them, and compares the results with the record of the endpoint.

    python -m tests.crash.harness --kills 1000             # the long form
    python -m tests.crash.harness --seed 4711 --runs 1     # one run again, exactly as it was drawn

The endpoint is a sandbox in this process, which is never killed: its record is the truth. A run is a process
that is killed at a random moment or at a named point, again and again, and then runs to its end; further
passes over failed rows are killed in the same way.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from engager.sandbox import Sandbox, SandboxConfig
from tests.crash.case import BATCHES, ENDPOINTS, Case, spoil
from tests.crash.deadly import POINTS, run
from tests.crash.forks import FORKS
from tests.crash.oracle import Truth, due_lines, pass_faults, run_faults, status_faults

RUN = Path("runs/crash")

#: A start of which the first answers were all lost may stop: the same command resumes.
STOPPED = 3

#: Starts in a row that may stop so at the end of a case: each draws its faults anew.
STARTS = 4


@dataclass
class Report:
    """The results of some cases."""

    runs: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    status_checks: int = 0


class Course:
    """The course of one case."""

    def __init__(self, case: Case, folder: Path, sandbox: Sandbox, report: Report) -> None:
        self.case, self.folder, self.sandbox, self.report = case, folder, sandbox, report
        self.draw = random.Random(-case.seed)
        self.killed = 0
        self.asked_for = False  #: rows in doubt were tried again by hand
        self.passes = 0
        self.people: list[str] = []
        self._settled = 0  #: rows, at the last check
        self._damaged = (
            0  #: files of outcomes that were damaged: each may hold a line with another row's number
        )
        self._journal_damaged = False

    def wrong(self, what: str) -> None:
        self.report.wrong.append(f"{what}\n    {self.case.again}")

    async def carry_out_case(self) -> None:
        """Carry out the run and its further passes, with their kills."""
        self.people = self.case.write(self.folder, self.sandbox.url, self.draw)
        await self._run_to_the_end([["run", "job.toml"]])
        for flags in self.case.passes:
            if self.report.wrong:
                return
            self.passes += 1
            self.asked_for |= "--in-doubt" in flags
            retry = ["retry", str(RUN), *flags]
            statuses = {"failed", "in_doubt"} if flags else {"failed"}
            number, due = self._next_pass(), due_lines(self.folder / RUN, statuses)
            await self._run_to_the_end([retry], [retry, ["run", "job.toml"]])
            for wrong in pass_faults(self.folder / RUN, number, due):
                self.wrong(wrong)

    def _next_pass(self) -> int:
        """The number of the next pass: a retry that is killed after its end is followed by another pass."""
        asked = self.folder / RUN / "pass.json"
        return json.loads(asked.read_bytes())["number"] + 1 if asked.exists() else 1

    async def _run_to_the_end(
        self, killed_commands: list[list[str]], further: list[list[str]] | None = None
    ) -> None:
        commands = killed_commands
        for turn in range(self.case.kills):
            await self._start_and_kill(turn, self.draw.choice(commands))
            commands = further or killed_commands
            if self._complete:
                break
            await self._check_status()
            if self.case.spoils and not further:
                damaged, journal_damaged = spoil(self.folder / RUN, self.draw)
                self._damaged += damaged
                self._journal_damaged |= journal_damaged
                self._settled = 0
            self.case.write_token(self.folder, self.draw)
        code: int | None = STOPPED
        for _ in range(1 if self.case.calm else STARTS):
            if code == STOPPED:
                code = await self._process(commands[0])
        if code not in (0, 1):
            self.wrong(f"the last process ended with {code}: {self._end_of_output()}")
            return
        self.report.wrong += [
            f"{wrong}\n    {self.case.again}" for wrong in run_faults(self.folder / RUN, self._truth())
        ]
        self.report.statuses.update(json.loads((self.folder / RUN / "summary.json").read_text())["statuses"])

    def _truth(self) -> Truth:
        case = self.case
        settles = case.calm and case.mode == "exactly-once" and not (case.rotates or self._damaged)
        is_plain = case.calm and not (case.batch or self.passes or self._journal_damaged)
        uncertain = self.killed * case.rows_in_flight + self._damaged
        return Truth(
            people=self.people,
            skipped=case.skipped(self.people),
            effects=dict(self.sandbox.brain.effects),
            log=self.sandbox.log,
            once=case.once(self.asked_for),
            doubtful=None if case.faults or self._journal_damaged else 0 if settles else uncertain,
            repeats=uncertain if is_plain else None,
            batch=case.batch,
            damaged=case.spoils,
            passes=self.passes,
        )

    async def _start_and_kill(self, turn: int, args: list[str]) -> None:
        point, at = self.case.next_kill(turn, self.draw)
        if args[0] == "run" and self.draw.random() < 0.2:
            args = [*args, "--limit", str(self.draw.randint(1, self.case.rows + 9))]
        ended = await self._process(args, point, at, mortal=True)
        if ended == -signal.SIGKILL:
            self.killed += 1
            self.report.kills[point or "any moment"] += 1
        elif ended not in (0, 1) and ended not in self._ends_early(point):
            self.wrong(f"{args} ended with {ended}: {self._end_of_output()}")

    def _ends_early(self, point: str | None) -> tuple[int, ...]:
        """How a process may end before the rows do: by SIGTERM, or by faults of the endpoint."""
        terminated = (143, -signal.SIGTERM) if point is None else ()
        return terminated if self.case.calm else (*terminated, STOPPED)

    async def _process(
        self,
        args: list[str],
        point: str | None = None,
        at: int = 0,
        mortal: bool = False,
        report: str = "report.txt",
    ) -> int | None:
        """One process; killed at a point, or at any moment, or, if it is not mortal, not at all."""
        options = [] if args[0] == "status" else ["--no-progress"]
        process = FORKS.Process(target=run, args=(str(self.folder), [*args, *options], point, at, report))
        process.start()
        if mortal and point is None:
            await self._kill_at_random(process)
        for _ in range(6000):
            if not process.is_alive():
                break
            await asyncio.sleep(0.01)
        else:
            process.kill()
            return None
        process.join()
        return process.exitcode

    async def _kill_at_random(self, process: Any) -> None:
        await asyncio.sleep(self.draw.uniform(0, 0.4))
        if self.draw.random() < 0.2:
            await self._check_status()
        if self.draw.random() < 0.2:
            process.terminate()
            await asyncio.sleep(self.draw.uniform(0, 0.05))
        process.kill()

    async def _check_status(self) -> None:
        """Check that `status` succeeds and adds up, while a process runs and after it was killed."""
        (self.folder / "seen.txt").unlink(missing_ok=True)
        code = await self._process(["status", str(RUN), "--output", "json"], report="seen.txt")
        seen = (self.folder / "seen.txt").read_text()
        self.report.status_checks += 1
        if code == 2 and "there is no" in seen:
            return
        if code != 0:
            self.wrong(f"status ended with {code}: {seen}")
            return
        status = json.loads(seen)
        # A damaged journal may have spoken of any row.
        # At the start, two batches that were refused may wait while others are sent.
        most = self.case.rows_in_flight + 2 * self.case.batch + self._damaged
        most = self.case.rows if self._journal_damaged else most
        settled = 0 if self.passes or self._damaged else self._settled
        for wrong in status_faults(status, self.case.rows, most, settled):
            self.wrong(wrong)
        self._settled = status["rows"]

    @property
    def _complete(self) -> bool:
        """Whether the run is complete; damage after that is not repaired."""
        summary = self.folder / RUN / "summary.json"
        return summary.exists() and bool(json.loads(summary.read_bytes())["complete"])

    def _end_of_output(self) -> str:
        return (self.folder / "report.txt").read_text()[-400:]


async def carry_out(case: Case, folder: Path, report: Report) -> None:
    """Carry out a case and compare its results."""
    table = {
        "faults": case.endpoint_faults,
        "assumptions": {**ENDPOINTS[case.endpoint], **case.speech},
        "seed": case.seed,
        "latency": "0-20ms",
        "keep_log": True,
    }
    async with Sandbox(SandboxConfig.from_mapping(table)) as sandbox:
        await Course(case, folder, sandbox, report).carry_out_case()
    report.runs += 1


async def series(
    cases: Iterable[Case], report: Report, kills: int = 0, jobs: int = 4, keep: bool = False
) -> None:
    """Cases, some at a time, until they end, or there were enough kills, or one went wrong."""
    left = iter(cases)

    async def worker() -> None:
        while not report.wrong and (not kills or report.kills.total() < kills) and (case := next(left, None)):
            folder = Path(tempfile.mkdtemp(prefix="crash-"))
            try:
                await carry_out(case, folder, report)
            finally:
                if report.wrong and keep:
                    print(f"kept: {folder}")
                else:
                    shutil.rmtree(folder)

    await asyncio.gather(*(worker() for _ in range(jobs)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=0, help="go on until there were so many")
    parser.add_argument("--runs", type=int, default=0, help="so many runs, from this seed on")
    parser.add_argument("--jobs", type=int, default=4, help="runs at a time")
    parser.add_argument("--keep", action="store_true", help="keep the folders of what went wrong")
    parser.add_argument("--point", choices=list(POINTS), help="where every kill takes place")
    parser.add_argument("--mode", help="the delivery mode")
    parser.add_argument("--endpoint", choices=list(ENDPOINTS))
    parser.add_argument("--durability", choices=["process", "disk"])
    parser.add_argument("--token", choices=["changes"], help="give each process another one")
    parser.add_argument("--unique", choices=["always"], help="let people come again in each input")
    parser.add_argument(
        "--batch",
        choices=sorted({str(rows) for rows in BATCHES}),
        help="rows of a batch; 0: one row a request",
    )
    given = parser.parse_args()
    names = ("point", "mode", "endpoint", "durability", "token", "unique", "batch")
    forced = {name: value for name in names if (value := getattr(given, name))}
    seeds = range(given.seed, given.seed + given.runs) if given.runs else count(given.seed)
    report = Report()
    cases = (Case.drawn(seed, **forced) for seed in seeds)
    asyncio.run(series(cases, report, given.kills, given.jobs, given.keep))
    for point, number in report.kills.most_common():
        print(f"{number:6} killed: {point}")
    print(
        f"{report.runs} runs, {report.kills.total()} kills, {report.status_checks} status checks, "
        f"rows: {dict(report.statuses)}"
    )
    for wrong in report.wrong:
        print(f"WRONG {wrong}")
    sys.exit(bool(report.wrong))


if __name__ == "__main__":
    main()
