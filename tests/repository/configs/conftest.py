"""A machine as the examples expect it: the nightly job in its folder, engager beside it, and a sandbox."""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from engager.sandbox import Sandbox, SandboxConfig

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "configs"
SCHEDULERS = CONFIGS / "schedulers"

#: Where the examples find everything.
HOME = "/srv/engager"


@dataclass
class Ended:
    code: int
    out: str
    err: str


@dataclass
class Machine:
    """A folder in the place of /srv/engager."""

    home: Path
    sandbox: Sandbox

    def example(self, name: str) -> str:
        """An example's text, with this machine's folder."""
        return (SCHEDULERS / name).read_text().replace(HOME, str(self.home))

    async def start(self, command: Sequence[str], cwd: Path | None = None) -> asyncio.subprocess.Process:
        """Start a command as a scheduler does: with next to no environment."""
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=cwd or self.home,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.home)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def carry_out(self, command: Sequence[str], cwd: Path | None = None) -> Ended:
        process = await self.start(command, cwd)
        out, err = await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())

    @property
    def engaged(self) -> Mapping[str, int]:
        return self.sandbox.brain.effects


def furnish(home: Path, url: str) -> None:
    (home / "data").mkdir(parents=True)
    (home / "runs").mkdir()
    shutil.copy(CONFIGS / "data/nightly.jsonl", home / "data")
    (home / "token").write_text("t0ken\n")
    job = (CONFIGS / "nightly.toml").read_text()
    job = re.sub(r"(?m)^url = .*$", f'url = "{url}"', job)
    job = re.sub(r"(?m)^token = .*$", 'token = "file:token"', job)
    (home / "nightly.toml").write_text(re.sub(r"(?m)^rate = .*$", "", job))
    engager = home / ".venv/bin/engager"
    engager.parent.mkdir(parents=True)
    run = shlex.join([sys.executable, "-c", "from engager.cli import main; main()"])
    engager.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {run} "$@"\n')
    engager.chmod(0o700)


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Machine]]]:
    async with AsyncExitStack() as stack:

        async def make(**settings: Any) -> Machine:
            config = SandboxConfig.from_mapping({"keep_log": True, **settings})
            sandbox = await stack.enter_async_context(Sandbox(config))
            furnish(tmp_path / "srv", sandbox.url)
            return Machine(tmp_path / "srv", sandbox)

        yield make


@pytest.fixture
def machine_beside(tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    """A machine for what is carried out in the main thread: its sandbox serves in another one."""
    with start_blocking_portal() as portal, ExitStack() as stack:

        def make(**settings: Any) -> Machine:
            sandbox = Sandbox(SandboxConfig.from_mapping({"keep_log": True, **settings}))
            stack.enter_context(portal.wrap_async_context_manager(sandbox))
            furnish(tmp_path / "srv", sandbox.url)
            return Machine(tmp_path / "srv", sandbox)

        yield make
