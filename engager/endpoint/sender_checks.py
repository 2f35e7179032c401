"""Tests of the senders of a job, on their own machines. They engage no person.

Invariant: the token does not travel. A sender returns a keyed mark of the one that it found.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import Final

from engager.config.job import JobFile
from engager.config.secret import Secret
from engager.config.version import __version__
from engager.endpoint.connectivity import Finding, State
from engager.endpoint.senders import cluster_of, processes_of, processors
from engager.errors import JobError
from engager.sending.remote.messages import SILENCE, Hello, RemoteSender, Settings, order_of
from engager.sending.remote.process import Processes

#: The checks: all senders together, and each of them.
ALL, EACH = "senders", "sender"

#: Seconds by which the clock of a sender may differ without being mentioned.
_CLOCK: Final = 1.0

_INSTALL: Final = f"install the same version there: pip install 'engager[cluster]=={__version__}'"


@dataclass(frozen=True, slots=True)
class _Reply:
    """What a sender replied, and between which moments of this machine's clock."""

    name: str
    hello: Hello | None
    fault: str
    asked: float
    replied: float


async def check_senders(
    job_file: JobFile, settings: Settings, secret: Secret, report: Callable[[Finding], None]
) -> None:
    """Report whether there are enough senders, and of each whether it can send.

    Args:
        job_file: a job whose requests other processes send
        settings: the settings of its senders
        secret: the token that they must find
        report: called with each finding

    """
    settings = replace(settings, mark_key=token_hex(16))
    mark = secret.mark(settings.mark_key)
    ask = _ask_workers if job_file.job.cluster.scheduler else _ask_processes
    for reply in await ask(job_file, settings, report):
        report(replace(_finding(reply, mark), check=EACH))


async def _ask_processes(
    job_file: JobFile, settings: Settings, report: Callable[[Finding], None]
) -> list[_Reply]:
    """Start the processes, and ask each."""
    number, available = processes_of(job_file.job), processors()
    seen = f"{number} on this machine, which has {available} for them"
    report(Finding(State.OK, f"processes: {seen}", check=ALL))
    processes, replies, are_all = Processes(number), list[_Reply](), asyncio.Event()

    async def ask(name: str, link: RemoteSender) -> None:
        replies.append(await _ask(name, link, settings))
        if len(replies) == number:
            are_all.set()
        await asyncio.Event().wait()  # its process ends with this task, and would be replaced

    watching = asyncio.create_task(
        processes.watch(lambda name, link: asyncio.create_task(ask(name, link)), lambda _: None)
    )
    await are_all.wait()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await processes.aclose()
    return sorted(replies, key=lambda reply: order_of(reply.name))


async def _ask_workers(
    job_file: JobFile, settings: Settings, report: Callable[[Finding], None]
) -> list[_Reply]:
    """Ask every worker of the cluster that is there at this moment."""
    section = job_file.job.cluster
    try:
        cluster = cluster_of(job_file)
    except JobError as fault:
        report(Finding(State.FAILED, str(fault), "correct [cluster], or install what is missing", ALL))
        return []
    try:
        await cluster.connect()
        names = sorted(await cluster.workers())
    except (OSError, ValueError) as fault:
        advice = "start `dask scheduler`, and check its address, its port and the certificates of [cluster]"
        seen = f"{section.scheduler} cannot be reached: {fault or type(fault).__name__}"
        report(Finding(State.FAILED, seen, advice, ALL))
        return []
    else:
        report(_number_of(len(names), section.at_least, str(section.scheduler)))
        return await asyncio.gather(*(_ask(name, cluster.sender(name), settings) for name in names))
    finally:
        await cluster.aclose()


def _number_of(workers: int, at_least: int, scheduler: str) -> Finding:
    """Whether there are enough workers."""
    tls = "TLS verified" if scheduler.startswith("tls:") else "without TLS"
    seen = f"workers of {scheduler} ({tls}): {workers}, at least {at_least} needed"
    if workers >= at_least:
        return Finding(State.OK, seen, check=ALL)
    return Finding(State.FAILED, seen, "start `dask worker` on more machines, or lower cluster.at_least", ALL)


async def _ask(name: str, link: RemoteSender, settings: Settings) -> _Reply:
    asked = time.time()
    try:
        async with asyncio.timeout(SILENCE + settings.timeout):
            hello = await link.begin(settings, check=True)
    except Exception as fault:  # whatever it is: that sender cannot be used
        return _Reply(name, None, str(fault) or type(fault).__name__, asked, time.time())
    return _Reply(name, hello, hello.fault, asked, time.time())


def _finding(reply: _Reply, mark: str) -> Finding:
    """Whether a sender can send, and what to do where it cannot."""
    hello = reply.hello
    if hello is None:
        return Finding(State.FAILED, f"{reply.name}: {reply.fault}", _INSTALL)
    where = f"{reply.name} on {hello.host}"
    if hello.version != __version__:
        return Finding(State.FAILED, f"{where}: {reply.fault}", _INSTALL)
    if not hello.token_mark:
        advice = "put it there, and set variables before the worker starts"
        return Finding(State.FAILED, f"{where}: {reply.fault}", advice)
    if hello.token_mark != mark:
        return Finding(State.FAILED, f"{where}: it has another token", "put the token of this machine there")
    if reply.fault:
        advice = "check firewalls between that machine and the endpoint, and its name server"
        return Finding(State.FAILED, f"{where}: {reply.fault}", advice)
    facts = f"engager {hello.version}, Python {hello.python}, the same token, the endpoint is reached"
    return Finding(State.OK, f"{where}: {facts}, {_clock(hello.wall, reply)}")


def _clock(wall: float, reply: _Reply) -> str:
    """How far the clock of a sender surely is off. Nothing depends on it."""
    behind, ahead = reply.asked - wall, wall - reply.replied
    if max(behind, ahead) < _CLOCK:
        return "its clock agrees"
    return f"its clock is {max(behind, ahead):,.0f} s {'behind' if behind > ahead else 'ahead'}"
