"""Sends whole runs to odd endpoints, and compares every claim with what was done.

    python -m tests.odd.endpoints --cases 500            # the long form
    python -m tests.odd.endpoints --seed 4711 --cases 1  # one case again, exactly as it was drawn
    python -m tests.odd.imports --cases 500              # the same with imports, most of them in batches

The invariant: an engaged person has a message, a failed or rejected one has none, no person has two where the
delivery mode forbids it, the counts add up, and no run hangs.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import engager
from engager import EngagerError, Summary
from tests.odd.odd_server import ALL_TWISTS, Nature, OddServer
from tests.odd.report import Report, end, parser_of
from tests.wire.raw import listening

MODES = ("exactly-once", "at-most-once", "at-least-once")
TOKEN = "t0ken-of-odd-endpoints"

_NO_FAILURE = {"engaged", "accepted", "skipped"}

#: Seconds after which one start counts as hanging: its attempts take tenths of a second, and the circuit
#: breaker gives up after five.
HANGS = 40

#: Starts until a run must be complete, once the endpoint is well.
STARTS = 6


@dataclass
class EndpointReport(Report):
    """What became of some runs."""

    requests: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Case:
    """One case, drawn from its seed."""

    command: ClassVar = "tests.odd.endpoints"

    seed: int
    mode: str
    rows: int
    nature: Nature
    concurrency: int
    attempts: int
    transport: str
    format: str
    uvloop: bool
    hopeless: bool  #: the endpoint is never well
    passes: tuple[bool, ...]  #: of `retry`: whether rows in doubt are sent again

    @classmethod
    def drawn(cls, seed: int) -> Case:
        draw = random.Random(seed)
        mode = draw.choice(MODES)
        hopeless = draw.random() < 0.08
        several = draw.sample(ALL_TWISTS, draw.choice((1, 1, 2, 3, len(ALL_TWISTS))))
        nature = Nature(
            deduplicates=mode == "exactly-once" or draw.random() < 0.5,
            replays_errors=draw.random() < 0.7,
            refuses_in_flight=draw.random() < 0.3,
            answer=draw.choice(("json", "json", "json", "xml", "csv")),
            twists=tuple(several),
            share=1.0 if hopeless else draw.choice((0.1, 0.4, 1.0)),
            odd_requests=10**9 if hopeless else draw.choice((1, 4, 20, 60, 200)),
            rejects=draw.choice((0, 0, 5)),
        )
        return cls(
            seed=seed,
            mode=mode,
            rows=draw.randint(1, 40),
            nature=nature,
            concurrency=draw.choice((1, 4, 16)),
            attempts=draw.choice((1, 2, 5, 8)),
            transport=draw.choice(("lean", "lean", "lean", "aiohttp")),
            format=draw.choice(("json", "json", "xml")),
            uvloop=draw.random() < 0.5,
            hopeless=hopeless,
            passes=draw.choice(((), (False,), (False,), (False, True))),
        )

    @property
    def emails(self) -> list[str]:
        """The address in each row."""
        return [f"p{number}@example.com" for number in range(1, self.rows + 1)]

    def server(self) -> OddServer:
        """The endpoint of it."""
        return OddServer(self.nature, self.seed)

    def course(self, folder: Path, server: OddServer, url: str) -> Course:
        """What happens in it."""
        return Course(self, folder, server, url)

    def write_input(self, folder: Path) -> None:
        """Write the file of people."""
        people = "".join(f"{email}\n" for email in self.emails)
        (folder / "people.csv").write_text(f"email\n{people}")

    def tables(self, url: str) -> dict[str, Any]:
        """The tables of its job."""
        return {
            "job": {"name": "odd"},
            "endpoint": {
                "url": url,
                "token": "env:ENGAGER_TEST_TOKEN",
                "timeout": self.nature.timeout,
                "transport": self.transport,
                "format": self.format,
                "answer": self.nature.answer,
            },
            "input": {"path": "people.csv"},
            "request": {"id": 12, "email": "{email}"},
            "limits": {"concurrency": self.concurrency},
            "delivery": {"mode": self.mode},
            "retry": {"attempts": self.attempts, "base_delay": 0.01, "max_delay": 0.05, "budget": 1000},
            "breaker": {"pause": "50ms", "longest_pause": "200ms", "give_up": "5s"},
            "output": {"report": False},
        }


class Course:
    """The course of one case."""

    def __init__(self, case: Case, folder: Path, server: OddServer, url: str) -> None:
        self.case, self.folder, self.server, self.url = case, folder, server, url
        case.write_input(folder)
        self.job = engager.build_job(case.tables(url), base=folder)
        self.run = folder / "run"
        self.limited = False  #: the last start had a limit
        self.asked_for = False  #: rows in doubt were sent again on demand
        self.summary: Summary | None = None

    async def happens(self) -> list[str]:
        """Everything that is wrong with the case."""
        try:
            return await self._first_run() or await self._passes()
        except TimeoutError:
            return [f"a start took more than {HANGS} s"]
        except Exception:
            return [traceback.format_exc(limit=-6)]

    async def _first_run(self) -> list[str]:
        """The run with its starts. One that stops is resumed while the way is odd; the last find it well."""
        for start in range(2 if self.case.hopeless else STARTS):
            self.server.well = start >= STARTS // 2 and not self.case.hopeless
            summary = self.summary = await asyncio.wait_for(self._start(start), HANGS)
            if summary is None:
                continue
            if (wrong := await self._judged(summary)) or summary.complete:
                return wrong
        return [] if self.case.hopeless else [f"not complete after {STARTS} starts: {self.stopped}"]

    @property
    def stopped(self) -> str | None:
        """Why the last start stopped."""
        return None if self.summary is None else self.summary.stopped

    async def _start(self, start: int) -> Summary | None:
        """Carry out one start of the run; None if it was killed."""
        return await self._carried_out(None)

    async def _passes(self) -> list[str]:
        """The further passes of a complete run."""
        for in_doubt in self.case.passes:
            if self.summary is None or not self.summary.complete:
                break
            self.asked_for |= in_doubt
            self.server.well = not in_doubt
            self.summary = await asyncio.wait_for(self._carried_out(in_doubt), HANGS)
            if wrong := await self._judged(self.summary):
                return wrong
        return []

    async def _carried_out(self, retry: bool | None) -> Summary:
        if self.case.uvloop:
            if retry is None:
                return await asyncio.to_thread(engager.run, self.job, out=self.run)
            return await asyncio.to_thread(engager.retry, self.run, in_doubt=retry)
        if retry is None:
            return await engager.run_async(self.job, out=self.run)
        return await engager.retry_async(self.run, in_doubt=retry)

    async def _judged(self, summary: Summary) -> list[str]:
        await self.server.rest()
        lines = [json.loads(line) for line in (self.run / "results.jsonl").read_bytes().splitlines()]
        wrong = [*self._counts(lines, summary), *self.server.wrong]
        for line in lines:
            wrong += self._claim(line)
        if "Traceback" in (self.run / "engager.log").read_text():
            wrong.append("the log has a traceback")
        return wrong

    def _counts(self, lines: list[dict[str, Any]], summary: Summary) -> Iterator[str]:
        rows = Counter(line["row"] for line in lines)
        if any(count > 1 for count in rows.values()):
            yield f"rows with several lines: {rows}"
        statuses = Counter(line["status"] for line in lines)
        if statuses != Counter({name: n for name, n in summary.statuses.items() if n}):
            yield f"the summary says {summary.statuses}, the results {statuses}"
        if summary.complete is not (len(rows) == self.case.rows):
            yield f"complete is {summary.complete} with {len(rows)} of {self.case.rows} rows"
        expected = 3 if not summary.complete else 0 if set(statuses) <= _NO_FAILURE else 1
        if self.limited and not summary.complete and summary.exit_code != 3:
            expected = 0 if set(statuses) <= _NO_FAILURE else 1
        if summary.exit_code != expected:
            yield f"exit code {summary.exit_code}, not {expected}: {summary.stopped}"
        if sum(self.server.effects.values()) > 0 and not lines and summary.complete:
            yield "there are effects and no lines"

    def _claim(self, line: dict[str, Any]) -> Iterator[str]:
        person, status = self.case.emails[line["row"] - 1], line["status"]
        effects = self.server.effects[person]
        if effects > 1 and self._is_once(person):
            yield f"row {line['row']}: {effects} messages ({line})"
        if status == "engaged" and not effects:
            yield f"row {line['row']}: engaged, and no message went out ({line})"
        assumed = status in ("failed", "rejected") and person in self.server.denied
        assumed = assumed and self.case.mode != "at-most-once"
        if status in ("failed", "rejected", "invalid", "skipped") and effects and not assumed:
            yield f"row {line['row']}: {status}, and {effects} messages went out ({line})"

    def _is_once(self, person: str) -> bool:
        """Whether the person may have one message only."""
        is_forbidden = self.case.mode == "at-most-once" and not self.asked_for
        return self.server.nature.deduplicates or is_forbidden


async def carry_out(case: Case, report: EndpointReport, keep: bool) -> None:
    """Let a case happen, and add what became of it."""
    folder = Path(tempfile.mkdtemp(prefix="odd-"))
    server = case.server()
    async with listening(server.serve) as port:
        course = case.course(folder, server, f"http://127.0.0.1:{port}")
        try:
            wrong = await course.happens()
        except EngagerError as fault:
            wrong = [f"refused: {fault}"]
    again = f"    python -m {case.command} --seed {case.seed} --cases 1"
    report.wrong += [
        f"{text}\n    {asdict(case)}\n    {dict(server.happened)}\n{again}" for text in wrong[:2]
    ]
    report.cases += 1
    report.requests += server.requests
    report.happened += server.happened
    if course.summary is not None:
        report.statuses.update({name: count for name, count in course.summary.statuses.items() if count})
        report.statuses["stopped"] += not course.summary.complete
    if keep and wrong:
        print(f"kept: {folder}")
    else:
        shutil.rmtree(folder)


async def series(
    seeds: Iterable[int], jobs: int = 4, keep: bool = False, drawn: Callable[[int], Case] = Case.drawn
) -> EndpointReport:
    """The cases of some seeds, some at a time: they wait most of the time."""
    report, left = EndpointReport(), iter(seeds)
    os.environ["ENGAGER_TEST_TOKEN"] = TOKEN
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: report.wrong.append(f"unhandled in the loop: {context}"))

    async def worker() -> None:
        for seed in left:
            await carry_out(drawn(seed), report, keep)

    await asyncio.gather(*(worker() for _ in range(jobs)))
    return report


def main(doc: str | None = __doc__, drawn: Callable[[int], Case] = Case.drawn) -> None:
    """Carry out the cases that the command names."""
    given = parser_of(doc, cases=500, jobs=4).parse_args()
    seeds = range(given.seed, given.seed + given.cases)
    report = asyncio.run(series(seeds, given.jobs, given.keep, drawn))
    end(
        report,
        f"what happened: {dict(report.happened)}",
        f"{report.cases} cases, {report.requests} requests, rows: {dict(report.statuses)}",
    )


if __name__ == "__main__":
    main()
