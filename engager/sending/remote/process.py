"""Remote senders in further processes of this machine.

A sender is a new interpreter, not a copy of this one: a script that calls engager is not run again by it. It
ignores the signals of terminals and of service managers, and ends when the socket to its run is closed.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
import struct
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Final, NoReturn

from engager.sending.loop import run
from engager.sending.remote.messages import CalledSender, RemoteSender
from engager.sending.remote.sender import StatelessSender
from engager.sending.remote.transport import Joined
from engager.sending.tasks import Tasks

_LENGTH: Final = struct.Struct("!I")

#: Seconds until a process that ended is replaced, so that a fault at its start is not a storm of processes.
_AGAIN: Final = 1.0

#: What a new interpreter executes: it finds the packages where this one does, also if the folder changed.
_CODE: Final = """
import signal, sys
for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(ignored, signal.SIG_IGN)
sys.path[:] = sys.argv[2].split("\\n")
from engager.sending.remote.process import serve
serve(int(sys.argv[1]))
"""


class _Socket:
    """Objects over a socket. Both ends are this program, of one user, on one machine."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def over(cls, sock: socket.socket) -> _Socket:
        return cls(*await asyncio.open_unix_connection(sock=sock))

    async def write(self, value: Any) -> None:
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        self._writer.write(_LENGTH.pack(len(data)) + data)
        await self._writer.drain()

    async def read(self) -> Any:
        """The next object. Raises EOFError at the end."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            return pickle.loads(await self._reader.readexactly(length))  # noqa: S301 - from ourselves
        except (asyncio.IncompleteReadError, ConnectionError):
            raise EOFError("the process ended") from None

    def close(self) -> None:
        self._writer.close()


class _Calls:
    """Calls of a sender in another process: several at a time."""

    def __init__(self, connection: _Socket) -> None:
        self._connection = connection
        self._number = 0
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._is_over = False

    async def call(self, name: str, *args: Any) -> Any:
        """Call a method. Raises EOFError if the process ended, and RuntimeError for a fault of the method."""
        if self._is_over:
            raise EOFError("the process ended")
        self._number += 1
        number = self._number
        reply = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            await self._connection.write((number, name, args))
            return await reply
        finally:
            del self._asked[number]

    async def read_replies(self) -> None:
        """Pass replies to those who wait for them, until the process ends."""
        try:
            while True:
                number, value, fault = await self._connection.read()
                if (reply := self._asked.get(number)) is not None and not reply.done():
                    if fault is None:
                        reply.set_result(value)
                    else:
                        reply.set_exception(RuntimeError(fault))
        except EOFError:
            pass
        finally:
            self._is_over = True
            for reply in self._asked.values():
                if not reply.done():
                    reply.set_exception(EOFError("the process ended"))


async def _fail(fault: OSError, *_: Any) -> NoReturn:
    raise fault


class Processes:
    """A number of senders in processes of this machine. One that ends is replaced."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._running: set[Process] = set()
        self._closing = False

    async def watch(self, joined: Joined, left: Callable[[str], None]) -> str:
        """Keep so many processes running, until cancelled."""
        async with asyncio.TaskGroup() as places:
            for place in range(1, self._number + 1):
                places.create_task(self._keep(f"process {place}", joined))
        return "the senders ended"

    async def _keep(self, name: str, joined: Joined) -> None:
        while not self._closing:
            try:
                process, connection = await self._start()
            except OSError as fault:  # of files or of memory, too few
                await asyncio.wait([joined(name, CalledSender(partial(_fail, fault)))])
            else:
                calls = _Calls(connection)
                replies = asyncio.create_task(calls.read_replies())
                try:
                    # Not the task itself: one that ends while it is cancelled would hide that from here.
                    await asyncio.wait([joined(name, CalledSender(calls.call))])
                finally:
                    replies.cancel()
                    connection.close()
                    await self._end(process)
            await asyncio.sleep(_AGAIN)

    async def _start(self) -> tuple[Process, _Socket]:
        """Start a process, with a socket to it."""
        ours, theirs = socket.socketpair()
        with ExitStack() as failed:
            failed.callback(ours.close)
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-c",
                    _CODE,
                    str(theirs.fileno()),
                    "\n".join(sys.path),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # the signals of a terminal are for the run
                )
            self._running.add(process)
            connection = await _Socket.over(ours)
            failed.pop_all()
        return process, connection

    async def _end(self, process: Process) -> None:
        """End a process: one that was stopped, or is lost for another reason, must not send later."""
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        self._running.discard(process)

    async def aclose(self) -> None:
        """End every process that has not ended by itself."""
        self._closing = True
        for process in list(self._running):
            await self._end(process)


def serve(descriptor: int) -> None:
    """Send for the run at the other end of a socket, until it is closed."""
    run(_serve(socket.socket(fileno=descriptor)))


async def _serve(sock: socket.socket) -> None:
    connection, sender, tasks = await _Socket.over(sock), StatelessSender(), Tasks()
    try:
        while True:
            number, name, args = await connection.read()
            tasks.begin(_reply(connection, sender, number, name, args))
    except EOFError:
        await sender.aclose()  # the run is gone, and nothing more leaves
    finally:
        connection.close()


async def _reply(connection: _Socket, sender: RemoteSender, number: int, name: str, args: Any) -> None:
    value, fault = None, None
    try:
        value = await getattr(sender, name)(*args)
    except Exception as raised:
        fault = f"{type(raised).__name__}: {raised}"
    with suppress(ConnectionError, EOFError, RuntimeError):  # uvloop raises the last one after the end
        await connection.write((number, value, fault))
