"""Everything that is measured: a course in, the command that runs it out."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson

from benchmarks.clients.bodies import bodies
from benchmarks.endpoints import METHOD
from benchmarks.environment import ROOT, find

CONNECTIONS = 64
CLIENTS = ROOT / "benchmarks" / "clients"

JOB = """
[job]
name = "benchmark"
[endpoint]
url = "{origin}"
token = "env:BENCHMARK_TOKEN"
{trust}
[input]
path = "{people}"
{request}
[limits]
concurrency = {connections}
[output]
report = false
"""
START = """
[request]
id = 12
matching = "email"
email = "{email}"
content = { first_name = "{first_name}", bonus = "{bonus:int}" }
"""


@dataclass(frozen=True, slots=True)
class Course:
    """What is to be sent, and where to."""

    folder: Path
    origin: str
    people: Path
    rows: int
    certificate: Path | None = None  #: what TLS is to trust

    @property
    def url(self) -> str:
        return self.origin + METHOD

    @property
    def body(self) -> Path:
        """A file with the first row's body."""
        path = self.folder / "body.json"
        path.write_bytes(next(bodies(self.people)))
        return path


@dataclass(frozen=True, slots=True)
class Contender:
    """A client: its command for a course, and what it needs."""

    name: str
    command: Callable[[Course], list[str]]
    tool: str | None = None
    share: float = 1  #: of the rows: the slow ones would take an hour
    processes: int = 1
    timed: bool = False  #: ends by the clock, not by the number of requests


def write_job(course: Course, connections: int = CONNECTIONS, request: str = START) -> None:
    trust = f'ca_file = "{course.certificate}"' if course.certificate else ""
    places = {"origin": course.origin, "people": course.people, "trust": trust}
    text = JOB.format(**places, connections=connections, request=request)
    (course.folder / "job.toml").write_text(text)


def engager(
    *settings: str, connections: int = CONNECTIONS, request: str = START
) -> Callable[[Course], list[str]]:
    """A whole run: a job file, a fresh run directory."""

    def command(course: Course) -> list[str]:
        write_job(course, connections, request)
        shutil.rmtree(course.folder / "run", ignore_errors=True)
        sets = [part for setting in settings for part in ("--set", setting)]
        program = str(Path(sys.prefix) / "bin" / "engager")
        return [program, "run", "job.toml", "--out", "run", "--no-progress", "--quiet", *sets]

    return command


def script(module: str, *flags: str) -> Callable[[Course], list[str]]:
    def command(course: Course) -> list[str]:
        program = [sys.executable, "-m", f"benchmarks.clients.{module}"]
        return [*program, course.url, str(course.people), str(course.certificate), *flags]

    return command


def wrk(course: Course, connections: int = CONNECTIONS) -> list[str]:
    seconds = max(1, course.rows // 50_000)
    command = [_tool("wrk"), "-t", "1", "-c", str(connections), "-d", f"{seconds}s"]
    return [*command, "-s", str(CLIENTS / "post.lua"), course.url, "--", str(course.body)]


def hey(course: Course) -> list[str]:
    command = [_tool("hey"), "-n", str(course.rows), "-c", str(CONNECTIONS), "-m", "POST"]
    return [*command, "-T", "application/json", "-D", str(course.body), course.url]


def k6(course: Course) -> list[str]:
    command = [_tool("k6"), "run", "--quiet", "--no-usage-report", "--insecure-skip-tls-verify"]
    command += ["--vus", str(CONNECTIONS), "--iterations", str(course.rows), "--env", f"URL={course.url}"]
    return [*command, str(CLIENTS / "rows.js")]


def autocannon(course: Course) -> list[str]:
    command = [_tool("autocannon"), "-c", str(CONNECTIONS), "-a", str(course.rows), "-m", "POST"]
    command += ["-H", "Content-Type=application/json", "-i", str(course.body), "--no-progress"]
    return [*command, course.url]


def curl(course: Course) -> list[str]:
    """One process, a configuration of as many transfers as there are rows."""
    config = course.folder / "curl.conf"
    head = f'url = "{course.url}"\nheader = "Content-Type: application/json"\noutput = "/dev/null"\n'
    head += f'fail\nsilent\ncacert = "{course.certificate}"\ndata = '
    with config.open("w") as file:
        file.write("next\n".join(f"{head}{quoted(body)}\n" for body in bodies(course.people)))
    command = [_tool("curl"), "--parallel", "--parallel-max", str(CONNECTIONS)]
    return [*command, "--config", str(config)]


def quoted(body: bytes) -> str:
    return orjson.dumps(body.decode()).decode()


def _tool(name: str) -> str:
    return find(name) or name


CONTENDERS = [
    Contender("engager", engager()),
    Contender("engager, lean", engager("endpoint.transport=lean")),
    Contender("engager, aiohttp", engager("endpoint.transport=aiohttp")),
    Contender("parser loop, one fixed body", script("parser_loop", "--fixed")),
    Contender("parser loop", script("parser_loop")),
    Contender("parser loop, stock asyncio", script("parser_loop", "--loop", "asyncio")),
    Contender("aiohttp session loop", script("aiohttp_loop")),
    Contender("httpx script", script("httpx_loop"), share=0.02),
    Contender("wrk", wrk, tool="wrk", timed=True),
    Contender("hey", hey, tool="hey"),
    Contender("k6", k6, tool="k6", share=0.25),
    Contender("autocannon", autocannon, tool="autocannon"),
    Contender("curl -Z", curl, tool="curl"),
]
