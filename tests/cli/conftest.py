"""The real command in a process of its own, against a sandbox that outlives it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engager.sandbox import Sandbox, SandboxConfig
from tests.crash.forks import Forked, engager_in

TOKEN = "t0ken-that-nobody-may-see"


@dataclass
class Ended:
    code: int
    out: str
    err: str


@dataclass
class Bench:
    """A folder with a job and its input, and a sandbox to run it against."""

    path: Path
    sandbox: Sandbox

    def write_input(self, rows: int, name: str = "people.csv") -> None:
        lines = [f"p{number}@example.com,Name {number}\n" for number in range(1, rows + 1)]
        (self.path / name).write_text("email,name\n" + "".join(lines))

    def write_job(self, text: str = "", **endpoint: Any) -> None:
        table = {"url": self.sandbox.url, "token": "env:ENGAGER_TEST_TOKEN", **endpoint}
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
        (self.path / "job.toml").write_text(
            f'[job]\nname = "test"\n[endpoint]\n{lines}\n[input]\npath = "people.csv"\n'
            f'[request]\nid = 12\nemail = "{{email}}"\ncontent = {{ name = "{{name}}" }}\n{text}\n'
        )

    async def start(
        self, *args: str, stdin: bytes | None = None, before: str = ""
    ) -> asyncio.subprocess.Process | Forked:
        """Start the command, in a Python of its own if it has a stdin or Python to run `before` it."""
        environment = {**os.environ, "ENGAGER_TEST_TOKEN": TOKEN}
        if stdin is None and not before:
            return await engager_in(self.path, args, environment)
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            f"{before}\nfrom engager.cli import main; main()",
            *args,
            cwd=self.path,
            env=environment,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def engager(self, *args: str, stdin: bytes | None = None, before: str = "") -> Ended:
        process = await self.start(*args, stdin=stdin, before=before)
        ending = process.communicate() if isinstance(process, Forked) else process.communicate(stdin)
        out, err = await ending
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())

    def results(self, run: str = "runs/test") -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / run / "results.jsonl").read_text().splitlines()]

    def summary(self, run: str = "runs/test") -> dict[str, Any]:
        return json.loads((self.path / run / "summary.json").read_text())  # type: ignore[no-any-return]


MakeBench = Callable[..., Awaitable[Bench]]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[MakeBench]:
    async with AsyncExitStack() as stack:

        async def make(rows: int = 20, job: str = "", **settings: Any) -> Bench:
            config = SandboxConfig.from_mapping({"keep_log": True, **settings})
            made = Bench(tmp_path, await stack.enter_async_context(Sandbox(config)))
            made.write_input(rows)
            made.write_job(job)
            return made

        yield make
