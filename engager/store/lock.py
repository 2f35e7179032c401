"""One process per run directory: a lock that ends with its process, where locks are reliable."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from engager.errors import BusyError, RunDirectoryError
from engager.store.disk import open_file

#: File systems whose locks are managed by a server, which may not know all holders.
NETWORKED = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "glusterfs", "lustre", "gpfs", "ocfs2"}
    | {"gfs2", "9p", "virtiofs", "davfs"}
    | {f"fuse.{kind}" for kind in ("sshfs", "glusterfs", "ceph", "s3fs", "gcsfuse", "rclone", "davfs2")}
)

_MOUNTS = Path("/proc/self/mountinfo")
_PATIENCE = 0.5


class RunLock:
    """The lock on a run directory."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, path: Path) -> RunLock:
        """Acquire the lock of this file. Raises BusyError if another process has it."""
        refuse_networked(path.parent)
        descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
        deadline = time.monotonic() + _PATIENCE
        while not _locked(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                holder = os.read(descriptor, 100).decode(errors="replace").strip() or "another process"
                os.close(descriptor)
                raise BusyError(
                    f"{path.parent}: {holder} is working in this run directory. Wait for its end, or "
                    "name another directory with --out."
                )
            time.sleep(0.05)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()}\n".encode())
        return cls(path, descriptor)

    @staticmethod
    def is_held(path: Path) -> bool:
        """Whether a process has the lock of this file."""
        try:
            descriptor = open_file(path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            return not _locked(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Release the lock."""
        os.close(self._descriptor)


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def refuse_networked(path: Path, mounts: Path = _MOUNTS) -> None:
    """Raises RunDirectoryError for a folder on a network file system."""
    kind = file_system_of(path, mounts)
    if kind in NETWORKED:
        raise RunDirectoryError(
            f"{path}: it is on a network file system ({kind}), where another machine could work in it "
            "unnoticed. Name a directory on a disk of this machine with --out."
        )


def file_system_of(path: Path, mounts: Path = _MOUNTS) -> str:
    """The kind of the file system of a folder; "" if the system does not provide it."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return ""
    full, found = path.resolve(), (-1, "")
    for line in lines:
        before, _, after = line.partition(" - ")
        point = Path(before.split(" ")[4].encode().decode("unicode_escape"))
        # Of two mounts on one point the later one counts.
        if full.is_relative_to(point) and len(point.parts) >= found[0]:
            found = (len(point.parts), after.split(" ")[0])
    return found[1]
