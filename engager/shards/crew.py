"""The keeper of the book and its processes: one rate, one pause, one stop and one set of results for all.

Every process has a share of the rate. The shares never add up to more than the rate: one is raised only
when the process whose share it was has been gone for as long as the rate looks back.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import threading
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.process import BaseProcess
from typing import Any

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from engager.control import Gauges
from engager.dispatch.guard import failing
from engager.dispatch.limits import Stop
from engager.errors import EngagerError, Exit, RecordingError
from engager.ledger.book import Batch, Book
from engager.plan import Plan
from engager.policy import Pace
from engager.shards.messages import Line, Message, batch_of
from engager.shards.shard import Rest, warn_of_repeat
from engager.shards.worker import Task, main


def share_of(plan: Plan, index: int, parts: int) -> Plan:
    """What one of several processes may do."""
    crew = plan.concurrency // parts + (index < plan.concurrency % parts)
    retry = replace(plan.retry, budget_rate=plan.retry.budget_rate / parts)
    pace = plan.pace and plan.pace.share(index, parts)
    return replace(
        plan, concurrency=max(1, crew), retry=retry, pace=pace, adaptive=plan.adaptive.shared(parts)
    )


class Crew:
    """The processes of a run, while they work."""

    def __init__(self, book: Book, plan: Plan, stop: Stop) -> None:
        self._book, self._plan, self._stop = book, plan, stop
        self._lines: dict[int, Line] = {}
        self._pending: list[Batch] = []
        self._came = asyncio.Event()
        self._rest = Rest.NONE
        self._counting: set[int] = set()  #: processes whose departures the rate still counts
        self._rate = plan.pace.rate if plan.pace and plan.adaptive.rate is None else None
        self._holders: set[str] = set()
        self._settled: dict[int, int] = {}  #: rows, by every process
        self._pulses: dict[int, dict[str, Any]] = {}  #: what every process last said of itself
        self._paused_until = 0.0
        self._failing = failing(plan.threshold, stop)
        self._repeated = False  #: a process found a repeat

    async def carry_out(self, tasks: Sequence[Task]) -> Rest:
        """Let every task be carried out; returns what is left. Raises RecordingError."""
        if self._stop.requested:  # before anybody began, by a probe of the endpoint for one
            return Rest.DUE
        processes = self._start(tasks)
        self._counting = set(range(len(tasks)))
        try:
            async with anyio.create_task_group() as keepers:
                keepers.start_soon(self._keep_book)
                keepers.start_soon(self._pass_on_stop)
                async with anyio.create_task_group() as ears:
                    for index, (process, sock) in enumerate(processes):
                        ears.start_soon(self._attend, index, process, sock, keepers)
                await self._write_pending()
                keepers.cancel_scope.cancel()
        finally:
            for line in self._lines.values():
                line.close()
            for process, sock in processes:
                sock.close()
                process.kill()  # whoever is left has lost its book; its ledger is whole
        return self._rest

    def _start(self, tasks: Sequence[Task]) -> list[tuple[BaseProcess, socket.socket]]:
        # A fork is cheap, and safe as long as nobody else's thread can hold a lock in the middle of it.
        alone = threading.active_count() == 1 and "fork" in multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("fork" if alone else "spawn")
        pairs = [socket.socketpair() for _ in tasks]
        started: list[tuple[BaseProcess, socket.socket]] = []
        for task, (ours, theirs) in zip(tasks, pairs, strict=True):
            others = [sock for pair in pairs for sock in pair if sock is not theirs] if alone else []
            process = context.Process(target=main, args=(theirs, others, task), daemon=True)  # type: ignore[attr-defined]
            process.start()
            started.append((process, ours))
        for _, theirs in pairs:
            theirs.close()
        return started

    async def _attend(
        self, index: int, process: BaseProcess, sock: socket.socket, keepers: TaskGroup
    ) -> None:
        """Listen to a process until it is done."""
        line = self._lines[index] = Line(*await asyncio.open_connection(sock=sock))
        self._say_all(index, line)
        done = False
        while (message := await line.hear()) is not None:
            done = done or message.kind == "done"
            self._heed(index, message)
        del self._lines[index]
        self._pulses.pop(index, None)
        line.close()
        await to_thread.run_sync(process.join, 5.0)
        if not done:
            self._rest = Rest.DUE
            which = f"process {index + 1} of {self._book.shards}"
            self._stop.request(
                Exit.INTERNAL, f"{which} ended on its own ({_end_of(process)}); nothing is lost"
            )
        # Nothing waits for that: behind the last process there is nobody to have its share.
        keepers.start_soon(self._share_out, index)

    def _say_all(self, index: int, line: Line) -> None:
        """Tell a process what was said before it listened; only then may it begin."""
        if self._stop.requested:
            self._say_stop(line)
        for holder in self._holders:
            line.say("hold", holder=holder)
        if self._rate is not None and (self._plan.pace is None or self._rate != self._plan.pace.rate):
            self._say_share(index, line, self._rate)
        line.say("begin")

    @property
    def gauges(self) -> Gauges:
        """What can be read off all processes."""
        pulses = self._pulses
        return Gauges(
            lambda: sum(pulse["in_flight"] for pulse in pulses.values()),
            lambda: max(0.0, self._paused_until - asyncio.get_running_loop().time()),
            lambda: self._holders.union(*(pulse["holders"] for pulse in pulses.values())),
        )

    def hold(self, holder: str) -> None:
        """Let nothing leave, in any process, until this holder and all others release it."""
        self._holders.add(holder)
        self._say_to_all("hold", holder=holder)

    def release(self, holder: str) -> None:
        """Let this holder have nothing against going on."""
        self._holders.discard(holder)
        self._say_to_all("release", holder=holder)

    def set_rate(self, rate: float) -> None:
        """From now on so many requests a second, over all processes."""
        self._rate = rate
        for index, line in self._lines.items():
            self._say_share(index, line, rate)

    def _say_share(self, index: int, line: Line, rate: float) -> None:
        counting = sorted(self._counting)
        line.say("share", rate=Pace(rate).share(counting.index(index), len(counting)).rate)

    def _say_to_all(self, kind: str, **facts: Any) -> None:
        for line in self._lines.values():
            line.say(kind, **facts)

    def _heed(self, index: int, message: Message) -> None:
        facts = message.facts
        if message.kind == "batch":
            batch = batch_of(message)
            self._settled[index] = batch.tally.rows
            self._pending.append(batch)
            self._came.set()
        elif message.kind == "unengaged" and self._failing is not None:
            self._settled[index] = facts["settled"]
            self._failing(sum(self._settled.values()), facts["error"])
        elif message.kind == "pulse":
            self._pulses[index] = dict(facts)
        elif message.kind == "repeat":
            self._tell_repeat(**facts)
        elif message.kind == "pause":
            self._pass_on_pause(index, facts["until"])
        elif message.kind == "stop":
            self._stop.request(Exit(facts["exit"]), facts["reason"])
        elif message.kind == "done":
            self._rest = max(self._rest, Rest(facts["rest"]))
            if facts["fault"] is not None:
                text, code = facts["fault"]
                raise _told(text, Exit(code))

    def _pass_on_pause(self, index: int, until: float) -> None:
        self._paused_until = max(self._paused_until, until)
        for other, line in self._lines.items():
            if other != index:
                line.say("pause", until=until)

    def _tell_repeat(self, row: int, first: int) -> None:
        """Pass on the first repeat that a process found; the others would only say the same."""
        if not self._repeated:
            self._repeated = True
            warn_of_repeat(row, first)

    async def _keep_book(self) -> None:
        """Write what has come, from all processes at once."""
        while True:
            await self._came.wait()
            await self._write_pending()

    async def _write_pending(self) -> None:
        self._came.clear()
        batches, self._pending = self._pending, []
        if not batches:
            return
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self._book.write, batches)
        for batch in batches:
            if batch.shard in self._lines:
                self._lines[batch.shard].say("written")

    async def _pass_on_stop(self) -> None:
        await self._stop.wait()
        for line in self._lines.values():
            self._say_stop(line)

    def _say_stop(self, line: Line) -> None:
        line.say("stop", exit=int(self._stop.exit or Exit.INTERNAL), reason=self._stop.reason)

    async def _share_out(self, gone: int) -> None:
        """Give the share of a process that ended to the others, when it cannot count any more."""
        await self._stop.sleep(1.0)
        self._counting.discard(gone)
        if self._rate is not None and self._counting:
            self.set_rate(self._rate)


def _end_of(process: BaseProcess) -> str:
    code = process.exitcode
    return "it hangs" if code is None else f"signal {-code}" if code < 0 else f"exit code {code}"


def _told(text: str, code: Exit) -> EngagerError:
    fault = RecordingError(text)
    fault.exit = code
    return fault
