"""Kills, stops and replaces the processes of a run that sends by others, and compares its results.

    python -m tests.crash.cluster --disturbances 200           # the long form
    python -m tests.crash.cluster --seed 4711 --runs 1         # one run again, as it was drawn

The endpoint is a sandbox in this process, whose record is the truth. A run sends by the workers of a Dask
cluster of this machine or by processes of its own; it is disturbed at random moments, and the same command is
executed until the run is complete. What a seed does not fix is the time that the machine takes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from engager.sandbox import Sandbox, SandboxConfig
from engager.sandbox.brain import Answer, Brain
from tests.crash.case import ENDPOINTS, MODES, OF_MANY_ROWS, OF_ONE_ROW
from tests.crash.deadly import run
from tests.crash.forks import FORKS
from tests.crash.local_cluster import LocalCluster, preload_dask
from tests.crash.network import FarPlace
from tests.crash.oracle import Truth, run_faults

RUN = Path("runs/crash")

#: Exit codes: complete with and without failures, stopped, interrupted, killed.
COMPLETE, STOPPED, INTERRUPTED, KILLED = (0, 1), 3, 130, -signal.SIGKILL

#: Seconds after which a process of a run hangs.
HANGS = 120.0

#: Starts of the command, after the last disturbance, within which a run is complete.
STARTS = 4

#: Seconds that an undisturbed run takes, about.
LENGTH = 5.0

#: Seconds for which the endpoint asks, and after which all senders know it.
PAUSE, HEARD = 3.0, 1.0

CLUSTER = "cluster"
ENGINES = (CLUSTER, CLUSTER, "2", "3")
BATCHES = (0, 0, 7, 500)

JOB = """
[job]
name = "crash"
[endpoint]
url = "{url}"
token = "file:{token}"
timeout = 8
[input]
path = "people.csv"
unique = false
{request}
[limits]
concurrency = {concurrency}
{limits}
[retry]
attempts = 15
base_delay = 0.05
max_delay = 0.5
budget = 10000
[breaker]
pause = 0.2
longest_pause = 1
[delivery]
mode = "{mode}"
durability = "{durability}"
[output]
results = "{results}"
"""
OF_CLUSTER = """
[cluster]
scheduler = "{scheduler}"
at_least = {at_least}
patience = "60s"
insecure = true
"""


@dataclass(frozen=True)
class Disturbance:
    """A kind of disturbance."""

    name: str
    share: float  #: how often it is drawn
    loses: bool  #: what was handed out may be in doubt after it
    engines: frozenset[str] = frozenset(ENGINES)


_OF_CLUSTER = frozenset({CLUSTER})

#: Needs a network namespace.
CUT_OFF = "worker cut off, 20 s"

KINDS = (
    Disturbance("sender killed", 3, loses=True),
    Disturbance("sender stopped, 1-4 s", 2, loses=True),
    Disturbance("sender stopped, 20 s", 1, loses=True),
    Disturbance("all senders killed", 1, loses=True),
    Disturbance("worker joins", 1, loses=False, engines=_OF_CLUSTER),
    Disturbance(CUT_OFF, 1, loses=True, engines=_OF_CLUSTER),
    Disturbance("scheduler killed", 2, loses=True, engines=_OF_CLUSTER),
    Disturbance("scheduler stopped, 1-3 s", 1, loses=False, engines=_OF_CLUSTER),
    Disturbance("coordinator killed", 3, loses=True),
    Disturbance("coordinator stopped, 2 s", 1, loses=False),
    Disturbance("coordinator stopped, 8 s", 1, loses=False),
    Disturbance("coordinator interrupted", 2, loses=False),
    Disturbance("endpoint pauses", 1, loses=False),
)
BY_NAME = {kind.name: kind for kind in KINDS}


@dataclass(frozen=True)
class Case:
    """One run, its endpoint and its disturbances."""

    seed: int
    forced: Mapping[str, str]  #: what was not left to the draw
    engine: str  #: "cluster", or the number of processes
    mode: str
    endpoint: str
    batch: int  #: rows of a batch; 0: one row a request
    rows: int
    concurrency: int
    rate: int  #: requests per second; 0: no limit
    latency: str
    at_least: int
    durability: str
    results: str
    kinds: tuple[str, ...]  #: the disturbances

    @classmethod
    def drawn(cls, seed: int, **forced: str) -> Case:
        """A case; `forced` has the properties that the options of the harness fix."""
        draw = random.Random(f"cluster {seed}")
        engine, mode = draw.choice(ENGINES), draw.choice(MODES)
        engine, mode = forced.get("engine", engine), forced.get("mode", mode)
        # Exactly once is only promised by an endpoint that deduplicates; elsewhere, a repeat must be seen.
        names = list(ENDPOINTS)
        endpoint = draw.choice(names[:3] if mode == "exactly-once" else [*names, names[-1], names[-1]])
        batch = int(forced.get("batch", draw.choice(BATCHES)))
        concurrency = draw.choice((2, 4) if batch == 500 else (8, 32, 64))
        least, most = draw.choice(((0.02, 0.02), (0.05, 0.2), (0.3, 0.6)))
        rate = draw.choice((0, 0, 60, 200)) if batch != 500 else 0
        each = max(1, batch)
        pace = min(concurrency / (least + most) * 2, rate or 400)
        rows = int(max(300, min(LENGTH * pace * each, 1_500 if not batch else 4_000)))
        possible = [kind for kind in KINDS if engine in kind.engines]
        kinds = draw.choices(possible, [kind.share for kind in possible], k=draw.choice((1, 3, 4, 5)))
        given = [kind.strip() for kind in forced["kind"].split(";")] if "kind" in forced else None
        return cls(
            seed,
            forced,
            engine,
            mode,
            forced.get("endpoint", endpoint),
            batch,
            int(forced.get("rows", rows)),
            concurrency,
            int(forced.get("rate", rate)),
            f"{least * 1000:.0f}-{most * 1000:.0f}ms",
            at_least=draw.choice((1, 1, 2)),
            durability=draw.choice(("process", "process", "disk")),
            results=draw.choice(("jsonl", "jsonl", "csv")),
            kinds=tuple(given or [kind.name for kind in kinds]),
        )

    @property
    def again(self) -> str:
        """The command that repeats the case."""
        forced = [word for name, value in self.forced.items() for word in (f"--{name}", value)]
        return shlex.join(
            ["python", "-m", "tests.crash.cluster", "--seed", str(self.seed), "--runs", "1", *forced]
        )

    @property
    def handed_out(self) -> int:
        """Rows that may be handed out at most."""
        return self.concurrency * max(1, min(self.batch, self.rows))

    @property
    def once(self) -> bool:
        """Whether a second message is forbidden."""
        # A batch that is in doubt may be repeated in parts, under other ids.
        return self.mode != "at-least-once" or not (self.endpoint == "does not deduplicate" or self.batch)

    def write(self, folder: Path, url: str, scheduler: str) -> list[str]:
        """Write the job, its token and its input; returns the people in it."""
        people = [f"p{number}@example.com" for number in range(1, self.rows + 1)]
        people[self.seed % self.rows] = "nobody"  # an invalid row
        (folder / "people.csv").write_text("email\n" + "".join(f"{person}\n" for person in people))
        (folder / "token").write_text("t0ken-of-the-crash-harness")
        request = OF_MANY_ROWS.format(batch=self.batch) if self.batch else OF_ONE_ROW
        limits = f"rate = {self.rate}\n" if self.rate else ""
        if self.engine != CLUSTER:
            limits += f"processes = {self.engine}\n"
        texts = {"url": url, "token": folder / "token", "request": request, "limits": limits}
        text = JOB.format(**{**vars(self), **texts})
        if self.engine == CLUSTER:
            text += OF_CLUSTER.format(scheduler=scheduler, at_least=self.at_least)
        (folder / "job.toml").write_text(text)
        return people


class Pausing:
    """The mind of a sandbox that answers 503 with Retry-After for a moment."""

    def __init__(self, brain: Brain) -> None:
        self._brain = brain
        self._until = 0.0
        self.asked: list[float] = []  #: when the first of the answers of each pause was written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._brain, name)

    def pause(self) -> None:
        self._until = time.monotonic() + 0.2

    def answer(self, path: str, headers: Mapping[str, str], body: bytes, now: float, fault: Any) -> Answer:
        if now > self._until:
            return self._brain.answer(path, headers, body, now, fault)
        if not self.asked or now - self.asked[-1] > PAUSE:
            self.asked.append(now)
        return Answer(503, "text/html", b"", {"Retry-After": f"{PAUSE:.0f}"}, 503)


@dataclass
class Report:
    """The results of some cases."""

    runs: Counter[str] = field(default_factory=Counter)  #: by engine, mode and batch
    disturbances: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    repeats: int = 0  #: requests that the endpoint marked as repeats
    twice: int = 0  #: people with two messages where the mode allows that
    in_doubt: Counter[str] = field(default_factory=Counter)  #: the most of one run, by its disturbances
    longest_end: float = 0.0  #: seconds from the kill of a scheduler to the end of the run's process
    closest: float = 0.0  #: of what may be in doubt, the largest share that was


class Course:
    """The course of one case."""

    def __init__(
        self, case: Case, folder: Path, sandbox: Sandbox, cluster: LocalCluster | None, report: Report
    ) -> None:
        self.case, self.folder, self.sandbox, self.report = case, folder, sandbox, report
        self._cluster = cluster
        self._brain = Pausing(sandbox.brain)
        sandbox.brain = self._brain  # type: ignore[assignment]
        self._draw = random.Random(-case.seed)
        self._process: Any = None
        self._codes: set[int] = set()  #: how the present process may end
        self._done: list[str] = []  #: the disturbances so far
        self._further_losses = 0  #: of senders that were killed together
        self._moments: list[float] = []  #: when each began
        self._later: set[asyncio.Task[None]] = set()
        self._begun = time.monotonic()
        self.events: list[str] = []  #: starts, disturbances and ends, with their seconds
        self._senders: dict[int, int] = {}  #: descriptors of the processes of a run that send, by their ids

    @property
    def cluster(self) -> LocalCluster:
        assert self._cluster is not None
        return self._cluster

    def wrong(self, what: str) -> None:
        kinds = ", ".join(self._done)
        self.report.wrong.append(f"{what}\n    {self.case}\n    done: {kinds}\n    {self.case.again}")

    async def carry_out(self) -> None:
        """Carry out the run with its disturbances, and compare its results."""
        case = self.case
        if self._cluster is not None:
            await self._cluster.complete()
        address = self._cluster.address if self._cluster else ""
        people = case.write(self.folder, self.sandbox.url, address)
        try:
            for kind in case.kinds:
                await self._resume()
                if self._process is None:  # it is complete
                    break
                await self._moment()
                await self._disturb(kind)
            await self._complete()
        finally:
            if self._process is not None and self._process.is_alive():
                self._process.kill()
            for task in self._later:
                task.cancel()
            await asyncio.gather(*self._later, return_exceptions=True)
            for descriptor in self._senders.values():
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                os.close(descriptor)
        if not self.report.wrong:
            self._compare(people)

    # The run

    async def _resume(self) -> None:
        """Start the command, unless it is under way."""
        await self._reap()
        if self._process is None and not self._is_complete:
            args = (str(self.folder), ["run", "job.toml", "--no-progress"], None, 0, "report.txt")
            self._codes = set(COMPLETE)
            self._process = FORKS.Process(target=run, args=args)
            self._process.start()
            self._note("start")

    def _note(self, event: str) -> None:
        self.events.append(f"{time.monotonic() - self._begun:.1f} {event}")

    async def _reap(self, patience: float = 0.0) -> None:
        """Judge how the process ended, if it has, or within so many seconds."""
        if (process := self._process) is None:
            return
        deadline = time.monotonic() + patience
        while process.is_alive() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        if process.is_alive():
            if patience:
                self.wrong(f"the run hangs: {self._end_of_output()}")
                process.kill()
            return
        process.join()
        self._process = None
        self._note(f"end {process.exitcode}")
        if process.exitcode not in self._codes:
            self.wrong(f"a process ended with {process.exitcode}: {self._end_of_output()}")

    async def _complete(self) -> None:
        """Execute the command until the run is complete."""
        for _ in range(STARTS):
            await self._reap(HANGS)
            if self._is_complete or self.report.wrong:
                return
            if self._cluster is not None:
                await self._cluster.complete()
            await self._resume()
        await self._reap(HANGS)
        if not self._is_complete:
            self.wrong(f"the run is not complete: {self._end_of_output()}")

    @property
    def _is_complete(self) -> bool:
        summary = self.folder / RUN / "summary.json"
        return summary.exists() and bool(json.loads(summary.read_bytes())["complete"])

    def _end_of_output(self) -> str:
        path = self.folder / "report.txt"
        return path.read_text()[-1500:] if path.exists() else ""

    async def _moment(self) -> None:
        """Wait for the moment of the next disturbance: now and then while the senders join."""
        if self._draw.random() < 0.15:
            await asyncio.sleep(self._draw.uniform(0, 2))
            return
        before, deadline = len(self.sandbox.log), time.monotonic() + HANGS
        while len(self.sandbox.log) == before and self._process.is_alive() and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        await asyncio.sleep(self._draw.uniform(0, LENGTH * 1.5 / (len(self.case.kinds) + 1)))

    # Disturbances

    async def _disturb(self, kind: str) -> None:
        if self._process is None or not self._process.is_alive():
            return
        acts: dict[str, Callable[[], Coroutine[Any, Any, bool]]] = {
            "sender killed": self._kill_sender,
            "sender stopped, 1-4 s": lambda: self._stop_sender(self._draw.uniform(1, 4)),
            "sender stopped, 20 s": lambda: self._stop_sender(20),
            "all senders killed": self._kill_senders,
            "worker joins": self._join,
            CUT_OFF: self._cut_off,
            "scheduler killed": self._kill_scheduler,
            "scheduler stopped, 1-3 s": self._stop_scheduler,
            "coordinator killed": self._kill_coordinator,
            "coordinator stopped, 2 s": lambda: self._stop_coordinator(2),
            "coordinator stopped, 8 s": lambda: self._stop_coordinator(8),
            "coordinator interrupted": self._interrupt,
            "endpoint pauses": self._pause,
        }
        self._moments.append(time.monotonic())
        self._done.append(kind)
        self._note(kind)
        if await acts[kind]():
            self.report.disturbances[kind] += 1
        else:
            self._done.pop()

    def _pids(self) -> list[int]:
        """The processes that send."""
        if self._cluster is not None:
            return [worker.pid for worker in self._cluster.workers if worker.pid is not None]
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        try:
            found = [int(pid) for pid in children.read_text().split()]
        except OSError:
            return []
        for pid in found:
            if pid not in self._senders:
                with suppress(ProcessLookupError):
                    self._senders[pid] = os.pidfd_open(pid)
        return found

    def _signal(self, pid: int, number: signal.Signals) -> bool:
        """Send a signal to a process that sends; returns whether it was there."""
        try:
            if self._cluster is not None:
                os.kill(pid, number)
            else:
                signal.pidfd_send_signal(self._senders[pid], number)
        except (ProcessLookupError, KeyError):
            return False
        return True

    async def _kill_sender(self) -> bool:
        pids = self._pids()
        killed = bool(pids) and self._signal(self._draw.choice(pids), signal.SIGKILL)
        if self._cluster is not None and (len(pids) < 3 or self._draw.random() < 0.7):
            self._cluster.start_worker()
        return killed

    async def _stop_sender(self, seconds: float) -> bool:
        pids = self._pids()
        if not pids or not self._signal(pid := self._draw.choice(pids), signal.SIGSTOP):
            return False
        self._begin(self._continue(seconds, lambda: self._signal(pid, signal.SIGCONT)))
        return True

    async def _continue(self, seconds: float, act: Callable[[], object]) -> None:
        try:
            await asyncio.sleep(seconds)
        finally:
            act()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._later.add(asyncio.create_task(work))

    async def _kill_senders(self) -> bool:
        killed = [self._signal(pid, signal.SIGKILL) for pid in self._pids()]
        # One after the other: the second one may have been handed other requests since the first one died.
        self._further_losses += max(0, sum(killed) - 1)
        if self._cluster is not None:
            await asyncio.sleep(self._draw.choice((0, 1, 5)))
            for _ in range(self._draw.choice((1, 3))):
                self._cluster.start_worker()
        return any(killed)

    async def _join(self) -> bool:
        self.cluster.start_worker()
        return True

    async def _cut_off(self) -> bool:
        far = self.cluster.far
        if far is None or not self.cluster.has_far_worker:
            return False
        far.cut()
        self._begin(self._continue(20, far.heal))
        return True

    async def _kill_scheduler(self) -> bool:
        self._codes.add(STOPPED)
        self.cluster.kill_scheduler()
        if self._draw.random() < 0.3:  # another one at the same address, before the run has noticed
            await asyncio.sleep(self._draw.uniform(0, 3))
            await self.cluster.complete()
            return True
        begun = time.monotonic()
        await self._reap(HANGS)
        self.report.longest_end = max(self.report.longest_end, time.monotonic() - begun)
        await self.cluster.complete()
        return True

    async def _stop_scheduler(self) -> bool:
        pid = self.cluster.scheduler_pid
        os.kill(pid, signal.SIGSTOP)
        self._begin(
            self._continue(
                self._draw.uniform(1, 3), lambda: _signal_living(self.cluster, pid, signal.SIGCONT)
            )
        )
        return True

    async def _kill_coordinator(self) -> bool:
        self._pids()
        self._codes.add(KILLED)
        self._process.kill()
        await self._reap(HANGS)
        # What the senders still have leaves before, or while, the next process sends.
        await asyncio.sleep(self._draw.choice((0, 0, self._draw.uniform(0, 6))))
        return True

    async def _stop_coordinator(self, seconds: float) -> bool:
        self._pids()
        process = self._process
        os.kill(process.pid, signal.SIGSTOP)
        await self._continue(seconds, partial(_continue_living, process))
        return True

    async def _interrupt(self) -> bool:
        self._pids()
        # It may end before it handles the signal.
        self._codes |= {INTERRUPTED, -signal.SIGINT}
        os.kill(self._process.pid, signal.SIGINT)
        await self._reap(HANGS)
        return True

    async def _pause(self) -> bool:
        self._brain.pause()
        await asyncio.sleep(PAUSE + 0.5)
        return bool(self._brain.asked)

    # The results

    def _compare(self, people: list[str]) -> None:
        case, report = self.case, self.report
        # With one lost attempt each, no disturbance uses up the attempts of a row.
        losses = sum(BY_NAME[kind].loses for kind in self._done) + self._further_losses
        losses = losses if case.mode == "at-most-once" else 0
        truth = Truth(
            people=people,
            skipped=frozenset(),
            effects=dict(self._brain.effects),
            log=self.sandbox.log,
            once=case.once,
            doubtful=losses * case.handed_out,
            repeats=None,
            batch=case.batch,
        )
        for wrong in [*run_faults(self.folder / RUN, truth), *self._pause_faults(), *self._count_faults()]:
            self.wrong(wrong)
        statuses = json.loads((self.folder / RUN / "summary.json").read_bytes())["statuses"]
        report.statuses.update(statuses)
        report.runs[f"{case.engine}, {case.mode}, {'batches' if case.batch else 'rows'}"] += 1
        report.repeats += sum(entry.duplicate for entry in self.sandbox.log)
        report.twice += sum(max(0, effects - 1) for effects in truth.effects.values())
        kinds = f"{' + '.join(self._done) or 'none'} ({case.mode}, {case.batch or 1} a request)"
        if doubtful := statuses.get("in_doubt", 0):
            report.in_doubt[kinds] = max(report.in_doubt[kinds], doubtful)
            report.closest = max(report.closest, doubtful / max(1, losses * case.handed_out))

    def _pause_faults(self) -> list[str]:
        """Requests that came while the whole run had to pause."""
        wrong = []
        for begun in self._brain.asked:
            if any(
                begun - 1 < moment < begun + PAUSE and self._done[index] != "endpoint pauses"
                for index, moment in enumerate(self._moments[: len(self._done)])
            ):
                continue  # a process that begins knows nothing of a pause before
            over = [
                entry.arrived - begun
                for entry in self.sandbox.log
                if begun + HEARD < entry.arrived < begun + PAUSE - 0.1
            ]
            if over:
                wrong.append(f"{len(over)} requests came {min(over):.2f}-{max(over):.2f} s into a pause")
        return wrong

    def _count_faults(self) -> list[str]:
        """The requests that are reported, where nothing was lost that could change their number."""
        # A stop during a sync of the disk leaves a request counted that was stored and did not leave.
        if self.case.durability == "disk" or any(BY_NAME[kind].loses for kind in self._done):
            return []
        said = json.loads((self.folder / RUN / "summary.json").read_bytes())["requests"]
        came = len(self.sandbox.log)
        return [f"{came} requests came, and {said} are reported"] if said != came else []


def _continue_living(process: Any) -> None:
    if process.is_alive():
        os.kill(process.pid, signal.SIGCONT)


def _signal_living(cluster: LocalCluster, pid: int, number: signal.Signals) -> None:
    if cluster.has_scheduler and cluster.scheduler_pid == pid:
        os.kill(pid, number)


async def carry_out(case: Case, folder: Path, cluster: LocalCluster | None, report: Report) -> str:
    """Carry out a case and compare its results; returns what happened when."""
    table = {
        "assumptions": ENDPOINTS[case.endpoint],
        "seed": case.seed,
        "latency": case.latency,
        "keep_log": True,
    }
    host = cluster.far.endpoint if cluster and cluster.far else "127.0.0.1"
    async with Sandbox(SandboxConfig.from_mapping(table), host=host) as sandbox:
        course = Course(case, folder, sandbox, cluster, report)
        await course.carry_out()
        return "; ".join(course.events)


async def series(
    cases: Iterable[Case],
    report: Report,
    disturbances: int = 0,
    jobs: int = 1,
    keep: bool = False,
    namespaces: bool = False,
    show: Callable[[str], None] = lambda events: None,
) -> None:
    """Cases, some at a time, until they end, or there were enough disturbances, or one went wrong.

    `namespaces`: give each cluster a worker that can be cut off, where that is possible.
    """
    left = iter(cases)

    def following() -> Case | None:
        enough = disturbances and report.disturbances.total() >= disturbances
        return None if report.wrong or enough else next(left, None)

    async def worker(number: int) -> None:
        ground = Path(tempfile.mkdtemp(prefix="cluster-"))
        far = FarPlace.made(number) if namespaces else None
        if namespaces and far is None and number == 0:
            print("no worker is cut off: network namespaces cannot be made here", file=sys.stderr)
        cluster = LocalCluster(ground, far=far)
        try:
            while (case := following()) is not None:
                folder = Path(tempfile.mkdtemp(prefix="crash-"))
                events = await carry_out(case, folder, cluster if case.engine == CLUSTER else None, report)
                what = f"{case.seed}: {case.engine}, {case.mode}, {case.batch or 1} of {case.rows} rows"
                show(f"{what}, rate {case.rate}: {events}")
                if report.wrong and keep:
                    print(f"kept: {folder}, {ground}")
                else:
                    shutil.rmtree(folder)
        finally:
            cluster.close()
            if far is not None:
                far.close()
            if not (report.wrong and keep):
                shutil.rmtree(ground, ignore_errors=True)

    await asyncio.gather(*(worker(number) for number in range(jobs)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--disturbances", type=int, default=0, help="go on until there were so many")
    parser.add_argument("--runs", type=int, default=0, help="so many runs, from this seed on")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each with its cluster")
    parser.add_argument("--keep", action="store_true", help="keep the folders of what went wrong")
    parser.add_argument("--engine", choices=sorted(set(ENGINES)), help="a cluster, or so many processes")
    parser.add_argument("--mode", choices=MODES, help="the delivery mode")
    parser.add_argument("--endpoint", choices=list(ENDPOINTS))
    parser.add_argument("--batch", choices=sorted({str(rows) for rows in BATCHES}))
    parser.add_argument("--rows", help="rows of the input")
    parser.add_argument("--rate", help="requests per second; 0: no limit")
    parser.add_argument("--kind", help="the disturbances, by their names, with semicolons")
    given = parser.parse_args()
    names = ("engine", "mode", "endpoint", "batch", "rows", "rate", "kind")
    forced = {name: value for name in names if (value := getattr(given, name)) is not None}
    seeds = range(given.seed, given.seed + given.runs) if given.runs else count(given.seed)
    preload_dask()
    report = Report()
    cases = (Case.drawn(seed, **forced) for seed in seeds)
    work = series(cases, report, given.disturbances, given.jobs, given.keep, namespaces=True, show=print)
    asyncio.run(work)
    print_report(report)
    sys.exit(bool(report.wrong))


def print_report(report: Report) -> None:
    """Print what was done and seen."""
    for kind, number in report.disturbances.most_common():
        print(f"{number:6} {kind}")
    for runs, number in sorted(report.runs.items()):
        print(f"{number:6} runs: {runs}")
    for kinds, number in report.in_doubt.most_common(12):
        print(f"{number:6} in doubt: {kinds}")
    print(
        f"{report.runs.total()} runs, {report.disturbances.total()} disturbances, rows: "
        f"{dict(report.statuses)}; {report.repeats} repeats under the same id; {report.twice} second "
        f"messages where the mode allows them; at most {report.closest:.0%} of what may be in doubt; "
        f"{report.longest_end:.1f} s to the end without a scheduler"
    )
    for wrong in report.wrong:
        print(f"WRONG {wrong}")


if __name__ == "__main__":
    main()
