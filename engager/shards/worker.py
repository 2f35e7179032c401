"""A process of a run: carries out one shard, and hands what it settles to the one that keeps the book.

It obeys nobody but that one: signals are for the run as a whole, and when the book's keeper is gone, so
is this process, at once. The ledger of the shard has all that was known.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio

from engager import loop
from engager.dispatch.limits import Limits, Stop
from engager.dispatch.transport import Transport
from engager.dispatch.transports import transport_to
from engager.endpoint import destination_of
from engager.errors import EngagerError, Exit
from engager.intake.keys import KeyFile
from engager.intake.repeats import Repeated
from engager.intake.splitting import Range
from engager.intake.witness import Witness
from engager.job import JobFile
from engager.ledger.book import Batch
from engager.ledger.marks import read_marks
from engager.ledger.recall import Recall
from engager.ledger.run_directory import RunDirectory
from engager.plan import Plan
from engager.preparing import builder_of, formats_of, open_input, repeats_of, selection_of
from engager.secret import Secret
from engager.shards.messages import Line, say_batch
from engager.shards.shard import Rest, Shard, engage_all

#: Seconds between two words about how this process is.
_PULSE = 0.5


@dataclass(frozen=True, slots=True)
class Task:
    """What a process is given to carry out."""

    index: int
    job_file: JobFile
    secret: Secret
    input_path: str | None
    directory: RunDirectory
    excluded: KeyFile | None  #: keys whose rows are left out
    recall: Recall
    plan: Plan
    origin: str  #: the endpoint's address


def main(sock: socket.socket, others: list[socket.socket], task: Task) -> None:
    """Carry the task out; the process ends when this returns."""
    # A loop that was running when this process was forked must not hear of our signals.
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for other in others:
        other.close()  # or nobody would see its end when the book's keeper is gone
    loop.collect_rarely()
    try:
        loop.run(_Worker(task).work(sock))
    except BaseException:
        sys.stderr.write(Secret.redact_all(traceback.format_exc()))
        sys.stderr.flush()
        os._exit(Exit.INTERNAL)


class _Worker:
    def __init__(self, task: Task) -> None:
        self._task = task
        self._stop = Stop()
        self._begin = asyncio.Event()  #: all that holds or ends the run is known here
        self._written = asyncio.Event()

    async def work(self, sock: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=sock)
        self._line = Line(reader, writer)
        self._limits = Limits.of(self._stop, self._task.plan.pace, self._tell_pause)
        rest, fault = Rest.DUE, None
        async with anyio.create_task_group() as ears:
            ears.start_soon(self._listen)
            ears.start_soon(self._pass_on_stop)
            await self._begin.wait()
            try:
                rest = await self._carry_out()
            except EngagerError as told:
                fault = [str(told), int(told.exit)]
            self._line.say("done", rest=int(rest), fault=fault)
            with suppress(ConnectionError):
                await writer.drain()
            ears.cancel_scope.cancel()
        self._line.close()

    def _tell_pause(self, until: float) -> None:
        self._line.say("pause", until=until)  # in the time of a clock that all processes share

    async def _carry_out(self) -> Rest:
        task = self._task
        transport = transport_to(
            destination_of(task.job_file, task.secret, task.origin),
            task.plan.concurrency,
            task.job_file.job.endpoint.transport,
        )
        shard = _open(task, self._tell_repeat)
        pulse = asyncio.create_task(self._pulse(transport))
        try:
            failing = self._tell_failure if task.plan.threshold else None
            return await engage_all(shard, task.plan, transport, self._write, self._limits, failing)
        finally:
            pulse.cancel()
            shard.rows.close()
            if shard.selection is not None:
                shard.selection.close()
            await transport.aclose()

    async def _pulse(self, transport: Transport) -> None:
        """Say twice a second what can be read off this process."""
        while True:
            await asyncio.sleep(_PULSE)
            holders = sorted(self._limits.gate.holders)
            self._line.say("pulse", in_flight=transport.in_flight, holders=holders)

    def _tell_failure(self, settled: int, kind: str) -> None:
        self._line.say("unengaged", settled=settled, error=kind)

    def _tell_repeat(self, row: int, first: int) -> None:
        self._line.say("repeat", row=row, first=first)

    async def _write(self, batch: Batch) -> None:
        self._written.clear()
        say_batch(self._line, batch)
        await self._written.wait()

    async def _pass_on_stop(self) -> None:
        await self._stop.wait()
        self._line.say("stop", exit=int(self._stop.exit or Exit.INTERNAL), reason=self._stop.reason)

    async def _listen(self) -> None:
        try:
            while (message := await self._line.hear()) is not None:
                self._heed(message.kind, message.facts)
        except Exception:
            sys.stderr.write(Secret.redact_all(traceback.format_exc()))
        os._exit(Exit.INTERNAL)  # whatever is settled from now on, nobody would write down

    def _heed(self, kind: str, facts: Any) -> None:
        if kind == "written":
            self._written.set()
        elif kind == "begin":
            self._begin.set()
        elif kind == "pause":
            self._limits.gate.close_until(facts["until"])
        elif kind == "stop":
            self._stop.request(Exit(facts["exit"]), facts["reason"])
        elif kind == "hold":
            self._limits.hold(facts["holder"])
        elif kind == "release":
            self._limits.release(facts["holder"])
        elif kind == "share":
            self._limits.set_rate(facts["rate"])


def _open(task: Task, tell_repeat: Repeated) -> Shard:
    part = Range.of(task.directory.shards[task.index])
    witness = Witness(read_marks(task.directory.marks_path(task.index)))
    rows = open_input(task.job_file, task.input_path, witness, part)
    builder = builder_of(task.job_file, rows, task.secret.reveal(), task.directory.run_id)
    formats = formats_of(task.job_file, rows, task.secret)
    synced = task.job_file.job.delivery.durability == "disk"
    return Shard(
        task.index,
        rows,
        builder,
        selection_of(task.job_file, builder, excluded=task.excluded),
        repeats_of(task.job_file, builder, tell_repeat),
        task.directory,
        formats,
        task.recall,
        synced,
    )
