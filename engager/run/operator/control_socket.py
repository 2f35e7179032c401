"""Commands of another terminal to a run in progress, over a Unix socket in the run directory.

A connection carries one line of JSON each way: a command, and the state of the run after it, or an error.
Invariant: only the owner of the run commands it. The socket has mode 0600 from its beginning, the credentials
of each peer are checked, and no link is followed on either side. Whatever happens here does not end the run.
"""

from __future__ import annotations

import asyncio
import errno
import os
import pwd
import socket
import stat
import struct
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
import orjson

from engager.config.as_json import as_json
from engager.config.log import log
from engager.errors import RunDirectoryError
from engager.events import Event, Progressed, Snapshot, Watch
from engager.run.operator.commands import carry_out
from engager.run.prepare import Run
from engager.store.lock import RunLock
from engager.store.run_directory import RunDirectory

#: The name of the socket in a run directory.
NAME = "control"

#: Bytes of the longest command, and of the longest reply.
_LONGEST, _LONGEST_REPLY = 1 << 12, 1 << 20

#: Seconds for one exchange: for the run to read and reply, and for the other side to wait.
_PATIENCE, PATIENCE = 5.0, 10.0

#: Connections that wait, at most.
_WAITING = 8

#: Seconds before the next connection is accepted, where the machine has no resources left.
_BACKOFF = 1.0


class Commanded:
    """A run that takes commands."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._latest: Snapshot | None = None

    def observing(self, watch: Watch) -> Watch:
        """A watch that keeps the latest snapshot for those who ask, and then calls the given watch."""

        def both(event: Event) -> None:
            if isinstance(event, Progressed):
                self._latest = event.snapshot
            watch(event)

        return both

    def reply(self, line: bytes, uid: int, pid: int) -> Mapping[str, Any]:
        """Carry out a command of a process; returns the state after it, or an error."""
        if uid != os.geteuid():
            return {"error": "another user owns this run, and only its owner commands it"}
        if self._run.summary is not None:
            return {"error": "the run has just ended"}
        try:
            command = orjson.loads(line)
            if (kind := command["do"]) != "state":
                who = _name_of(uid)
                rate = self._run.job_file.job.limits.rate
                carry_out(self._run.control, command, rate, f"by {who}, from another terminal", who)
                value = f" {float(command['rate']):g}" if kind == "rate" else ""
                log.warning("%s%s: commanded by %s, process %d", kind, value, who, pid)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as fault:
            return {"error": str(fault)}
        return self._state()

    def _state(self) -> dict[str, Any]:
        control, pace = self._run.control, self._run.job_file.job.pace
        return {
            "holders": control.all_holders(),
            "rate": control.rate or (pace.rate if pace else None),
            "in_flight": control.in_flight.requests,
            "oldest_in_flight_seconds": control.in_flight.oldest_seconds,
            "senders": [asdict(sender) for sender in control.senders],
            "stopping": control.stopping.requested,
            "stopped": control.stopping.reason or None,
            "stops_within_seconds": control.stops_within(),
            "snapshot": self._latest and asdict(self._latest),
        }


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


@asynccontextmanager
async def commanded(run: Run) -> AsyncIterator[Commanded]:
    """Take commands while this is entered."""
    taking = Commanded(run)
    try:
        listening = _Listening(run.directory.path)
    except OSError as fault:
        why = fault.strerror or str(fault)
        log.warning("%s: the run takes no commands from another terminal: %s", run.directory.path, why)
        yield taking
        return
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_accept, listening.socket, taking)
            yield taking
            tasks.cancel_scope.cancel()
    finally:
        listening.close()


class _Listening:
    """The socket of a run directory. Raises OSError where there can be none."""

    def __init__(self, folder: Path) -> None:
        if not hasattr(socket, "SO_PEERCRED"):
            raise OSError(errno.ENOTSUP, "this system does not say who connects to a socket")
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            self.socket.setblocking(False)
            with suppress(FileNotFoundError):  # the one of a process that was killed
                os.unlink(NAME, dir_fd=self._folder)
            os.fchmod(self.socket.fileno(), 0o600)  # before there is a file: at no moment has it another mode
            # By the descriptor of the folder: the path of a socket has at most 107 bytes.
            self.socket.bind(f"/proc/self/fd/{self._folder}/{NAME}")
            self._inode = self._inode_there()
            self.socket.listen(_WAITING)
        except BaseException:
            self.close()
            raise

    _inode: int | None = None

    def _inode_there(self) -> int | None:
        try:
            return os.stat(NAME, dir_fd=self._folder, follow_symlinks=False).st_ino
        except OSError:
            return None

    def close(self) -> None:
        """Remove the socket, unless it is the one of another process by now."""
        if self._inode is not None and self._inode == self._inode_there():
            with suppress(OSError):
                os.unlink(NAME, dir_fd=self._folder)
        self.socket.close()
        os.close(self._folder)


async def _accept(listening: socket.socket, taking: Commanded) -> None:
    loop = asyncio.get_running_loop()
    async with anyio.create_task_group() as tasks:
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError:
                await anyio.sleep(_BACKOFF)
            else:
                connection.setblocking(False)
                tasks.start_soon(_exchange, connection, taking)


async def _exchange(connection: socket.socket, taking: Commanded) -> None:
    """Read one command, and reply."""
    loop, line = asyncio.get_running_loop(), b""
    with connection, suppress(OSError), anyio.move_on_after(_PATIENCE):
        pid, uid, _ = _peer(connection)
        while not line.endswith(b"\n") and len(line) <= _LONGEST:
            if not (part := await loop.sock_recv(connection, _LONGEST)):
                return
            line += part
        await loop.sock_sendall(connection, as_json(taking.reply(line, uid, pid)) + b"\n")


def _peer(connection: socket.socket) -> tuple[int, int, int]:
    """Process, user and group on the other side."""
    form = struct.Struct("3i")
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, form.size)
    pid, uid, gid = form.unpack(found)
    return pid, uid, gid


def command(found: RunDirectory, do: str, patience: float = PATIENCE, **fields: Any) -> dict[str, Any]:
    """Command a run in progress; returns its state after that. Raises RunDirectoryError.

    `do` is `pause`, `resume`, `stop`, `rate` (with a `rate`), or `state`, which changes nothing. The run has
    `patience` seconds to reply.
    """
    path = found.path
    if not RunLock.is_held(found.lock_path):
        raise RunDirectoryError(
            f"{path}: this run is not in progress. `engager status {path}` shows its state."
        )
    try:
        reply = _asked(path, as_json({"do": do, **fields}) + b"\n", patience)
    except (OSError, orjson.JSONDecodeError) as fault:
        raise RunDirectoryError(f"{path}: {_why(fault)}") from None
    if "error" in reply:
        raise RunDirectoryError(f"{path}: {reply['error']}. Nothing was changed.")
    return reply


def _why(fault: Exception) -> str:
    if isinstance(fault, FileNotFoundError | ConnectionRefusedError):
        return (
            "the run is in progress and takes no commands: it has not begun to send yet, or it has just "
            "ended. Try again; SIGTERM to its process stops it in good order."
        )
    if isinstance(fault, TimeoutError | BlockingIOError):
        return "the run is in progress and does not respond: its process is stopped, or the machine is busy."
    if isinstance(fault, PermissionError):
        return f"another user owns this run, and only its owner commands it ({fault.strerror})."
    return f"the run cannot be commanded: {fault}."


def _asked(folder: Path, line: bytes, patience: float) -> dict[str, Any]:
    with _connected(folder, patience) as connection:
        connection.sendall(line)
        reply = b""
        while not reply.endswith(b"\n") and len(reply) <= _LONGEST_REPLY:
            if not (part := connection.recv(1 << 16)):
                raise ConnectionRefusedError
            reply += part
    said = orjson.loads(reply)
    if not isinstance(said, dict):
        raise OSError(errno.EPROTO, "its reply has an unknown form")
    return said


@contextmanager
def _connected(folder: Path, patience: float) -> Iterator[socket.socket]:
    """A connection to the socket of a run directory: to the file that was looked at, and to no other."""
    if not hasattr(os, "O_PATH"):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    file = os.open(folder / NAME, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(file).st_mode):
            raise OSError(errno.ENOTSOCK, f"{NAME} is not a socket")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(patience)
            connection.connect(f"/proc/self/fd/{file}")
            if _peer(connection)[1] != os.geteuid():
                raise PermissionError(errno.EACCES, "another user's process has the socket")
            yield connection
    finally:
        os.close(file)
