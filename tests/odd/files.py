"""Puts odd files of people through init, check and run, and compares what became of everybody.

    python -m tests.odd.files --cases 2000           # the long form
    python -m tests.odd.files --seed 4711 --cases 1  # one file again, exactly as it was drawn

The invariant: every person of a file is engaged once with their own values, or named in an outcome, or the
file is refused with an error that names it and says what to do.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import engager
from engager import EngagerError, Exit, JobFile
from engager.init.job_text import draft, path_from
from engager.init.sample import read_sample
from tests.odd.drawn_files import ENCODINGS, OddFile, drawn_file
from tests.odd.file_oracle import Seen, judged
from tests.odd.report import Report, end, parser_of
from tests.wire.raw import OK, listening, read_body

TOKEN = "t0ken-of-odd-files"

#: One case in so many runs the real command in processes of its own.
REAL = 50


@dataclass
class FileReport(Report):
    """What became of some files."""

    real: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    def add(self, other: FileReport) -> None:
        self.cases += other.cases
        self.real += other.real
        self.outcomes += other.outcomes
        self.wrong += other.wrong


@dataclass
class Endpoint:
    """An endpoint that accepts everybody, and keeps what it was sent."""

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(OK), OK)
        while head := await reader.readuntil(b"\r\n\r\n"):
            self.requests.append(json.loads(await read_body(head, reader)))
            writer.write(answer)


class Course:
    """The course of one case."""

    def __init__(self, seed: int, folder: Path, endpoint: Endpoint) -> None:
        self.draw = random.Random(-seed)
        self.file, self.folder, self.endpoint = drawn_file(seed), folder, endpoint
        self.job = folder / "job.toml"
        self.seen = Seen(drafted=self.draw.random() < 0.6)
        self.real = seed % REAL == 0
        (folder / self.file.name).write_bytes(self.file.data)

    async def happens(self) -> list[str]:
        """Everything that is wrong with the case."""
        self.endpoint.requests.clear()
        try:
            await (self._in_processes() if self.real else self._in_process())
        except Exception:
            return [traceback.format_exc(limit=-4)]
        self.seen.requests = list(self.endpoint.requests)
        return judged(self.file, self.seen)

    @property
    def overrides(self) -> list[str]:
        given = {"endpoint.url": self.endpoint.url, "request.id": 12, "output.report": "false"}
        return [f"{key}={value}" for key, value in given.items()]

    async def _in_process(self) -> None:
        if (job := self._refusable("init", self._job)) is None:
            return
        findings = self._refusable("check", lambda: engager.check(job, samples=0))
        if findings is not None:
            self.seen.checked = findings.rows, findings.sendable, findings.invalid.total()
            self.seen.warnings += findings.warnings
        try:
            summary = await engager.run_async(job, out=self.folder / "run")
        except EngagerError as fault:
            self.seen.refused["run"] = fault
            return
        if summary.exit_code == Exit.STOPPED:
            self.seen.refused["run"] = engager.InputError(summary.stopped)
            return
        self.seen.exit_code = summary.exit_code
        self._read_results()
        if self.seen.invalid and self.seen.drafted:
            await self._again(job)

    async def _again(self, job: JobFile) -> None:
        """Send the rejected rows once more, as they are."""
        (failed,) = (self.folder / "run").glob("failed.*")
        try:
            summary = await engager.run_async(
                job, input=failed, out=self.folder / "again", after=[self.folder / "run"]
            )
        except EngagerError as fault:
            self.seen.refused_again = fault
        else:
            self.seen.again = summary.rows, summary.statuses["engaged"], summary.exit_code

    def _refusable(self, stage: str, call: Any) -> Any:
        try:
            return call()
        except EngagerError as fault:
            self.seen.refused[stage] = fault
            return None

    def _job(self) -> JobFile:
        if not self.seen.drafted:
            return engager.build_job(self._declared(), base=self.folder)
        sample = read_sample(self.file.name, self.folder)
        made = draft(sample, "odd", path_from(self.job, str(self.folder / self.file.name)))
        self.seen.warnings += made.warnings
        self.job.write_text(made.text, encoding="utf-8")
        return engager.load_job(self.job, self.overrides)

    def _declared(self) -> dict[str, Any]:
        """The tables of a job that declares what the file is, or something else."""
        file, draw = self.file, self.draw
        encoding, delimiter = file.encoding, file.delimiter
        if file.traits["mark"] and encoding != "utf-8" and draw.random() < 0.5:
            encoding = encoding[:6]
        if not file.tidy and draw.random() < 0.2:
            self.seen.wrongly_declared = True
            encoding = draw.choice(list(ENCODINGS))
            delimiter = draw.choice((",", ";", "\t", file.delimiter))
        columns = {c: name for c, name in file.header.items() if c != "key" and name.strip()}
        content = {name.strip(): f"{{{name}}}" for name in columns.values()}
        return {
            "job": {"name": "odd"},
            "endpoint": {"url": self.endpoint.url, "token": "env:ENGAGER_TEST_TOKEN"},
            "input": {
                "path": file.name,
                "format": file.format,
                "encoding": encoding,
                **({"delimiter": delimiter} if file.format == "csv" else {}),
            },
            "request": {
                "id": 12,
                "matching": file.matching,
                file.matching: f"{{{file.header['key']}}}",
                "content": content,
            },
            "output": {"report": False},
        }

    def _read_results(self) -> None:
        run = self.folder / "run"
        self.seen.results = [json.loads(line) for line in (run / "results.jsonl").read_bytes().splitlines()]
        self.seen.failed = b"".join(path.read_bytes() for path in run.glob("failed.*"))

    async def _in_processes(self) -> None:
        """The real command, as an operator gives it."""
        self.seen.drafted = True
        if await self._command("init", self.file.name, "--out", "job.toml") is None:
            return
        sets = list(chain.from_iterable(("--set", override) for override in self.overrides))
        out = await self._command("check", "job.toml", *sets, "--output", "json")
        if out is not None:
            found = json.loads(out)
            self.seen.checked = (
                found["rows"],
                found["sendable"],
                sum(kind["rows"] for kind in found["invalid"]),
            )
            self.seen.warnings += found["warnings"]
        if await self._command("run", "job.toml", *sets, "--out", "run", "--no-progress") is not None:
            self._read_results()

    async def _command(self, *args: str) -> bytes | None:
        """What a command printed; None where it refused."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "engager", *args, cwd=self.folder, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        errors = err.decode()
        if process.returncode not in (0, 1, 2, 3) or "Traceback" in errors:
            raise AssertionError(f"{args[0]} ended with {process.returncode}: {errors[-600:]}")
        self.seen.warnings += [line for line in errors.splitlines() if line.startswith("warning: ")]
        if process.returncode in (Exit.WRONG, Exit.STOPPED):
            self.seen.refused[args[0]] = engager.InputError(errors.split("error: ", 1)[-1].strip())
            return None
        if args[0] == "run":
            self.seen.exit_code = process.returncode
        return out


async def series(seeds: Iterable[int], keep: bool = False) -> FileReport:
    """The cases of some seeds, one after the other."""
    report, endpoint = FileReport(), Endpoint()
    os.environ.update(ENGAGER_TEST_TOKEN=TOKEN, ALTCRAFT_TOKEN=TOKEN)
    async with listening(endpoint.serve) as port:
        endpoint.url = f"http://127.0.0.1:{port}"
        for seed in seeds:
            folder = Path(tempfile.mkdtemp(prefix="odd-"))
            course = Course(seed, folder, endpoint)
            again = f"    python -m tests.odd.files --seed {seed} --cases 1"
            wrong = await course.happens()
            report.wrong += [f"{text}\n    {course.file.traits}\n{again}" for text in wrong[:2]]
            report.cases += 1
            report.real += course.real
            report.outcomes.update(_kinds(course.seen, course.file))
            if not (keep and wrong):
                shutil.rmtree(folder)
            else:
                print(f"kept: {folder}")
    return report


def _kinds(seen: Seen, file: OddFile) -> Iterator[str]:
    yield "tidy" if file.tidy else "odd"
    if seen.refused:
        yield f"refused by {next(iter(seen.refused))}"
    yield from (f"row {line['status']}" for line in seen.results)


def _part(seeds: range, keep: bool) -> FileReport:
    return asyncio.run(series(seeds, keep))


def main() -> None:
    given = parser_of(__doc__, cases=2000, jobs=1).parse_args()
    parts = [range(given.seed + job, given.seed + given.cases, given.jobs) for job in range(given.jobs)]
    report = FileReport()
    if given.jobs == 1:
        report = _part(parts[0], given.keep)
    else:
        with ProcessPoolExecutor(given.jobs) as pool:
            for part in pool.map(_part, parts, [given.keep] * len(parts)):
                report.add(part)
    end(report, f"{report.cases} files ({report.real} by the real command): {dict(report.outcomes)}")


if __name__ == "__main__":
    main()
