"""A Dask scheduler and its workers, started by the commands that an operator types."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme

#: The variable that has the token; no other process of these tests has it than those that are given it.
TOKEN_VARIABLE = "ENGAGER_TEST_TOKEN"


@dataclass
class Dask:
    """A scheduler with workers. The logs of its processes are `*.log` in its folder."""

    folder: Path
    tls: bool
    address: str = ""
    _processes: list[Process] = field(default_factory=list)

    async def start(self) -> None:
        """Start the scheduler at a free port."""
        protocol = "tls" if self.tls else "tcp"
        host = ("--host", "127.0.0.1", "--port", "0", "--protocol", protocol)
        log = await self._started("scheduler", {}, *host, "--no-dashboard")
        self.address = await _said(log, "Scheduler at:")

    async def add_worker(self, token: str | None) -> None:
        """Start a worker, whose environment has this token."""
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
        given = {} if token is None else {TOKEN_VARIABLE: token}
        log = await self._started("worker", given, self.address, *options)
        await _said(log, "Registered to:")

    async def _started(self, command: str, variables: Mapping[str, str], *options: str) -> Path:
        log = self.folder / f"{command}-{len(self._processes)}.log"
        others = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
        # What travels is looked at, and must not be compressed.
        plain = {"DASK_DISTRIBUTED__COMM__COMPRESSION": "False", "PYTHONPATH": ":".join(sys.path)}
        tls = [f"--tls-{name}={self.folder / file}" for name, file in FILES.items()] if self.tls else []
        with log.open("wb") as written:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "dask", command, *options, *tls),
                cwd=self.folder,
                env={**others, **plain, **variables},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=written,
                stderr=written,
            )
        self._processes.append(process)
        return log

    async def end(self) -> None:
        """End every process."""
        for process in self._processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


#: The certificates of a cluster, by the options of Dask.
FILES = {"ca-file": "ca.pem", "cert": "member.pem", "key": "member.key"}


async def _said(log: Path, begin: str) -> str:
    """What follows these words in a log, on the same line."""
    async with asyncio.timeout(60):
        while True:
            for line in log.read_text().splitlines():
                if (found := line.partition(begin)[2].strip()) and line.count(begin):
                    return found
            await asyncio.sleep(0.05)


@asynccontextmanager
async def dask(folder: Path, *tokens: str | None, tls: bool = False) -> AsyncIterator[Dask]:
    """A scheduler, with a worker for each of these tokens."""
    folder.mkdir()
    if tls:
        authority = trustme.CA()
        member = authority.issue_cert("cluster")
        authority.cert_pem.write_to_path(str(folder / FILES["ca-file"]))
        member.private_key_pem.write_to_path(str(folder / FILES["key"]))
        for part in member.cert_chain_pems:
            part.write_to_path(str(folder / FILES["cert"]), append=True)
    cluster = Dask(folder, tls)
    try:
        await cluster.start()
        for token in tokens:
            await cluster.add_worker(token)
        yield cluster
    finally:
        await cluster.end()
