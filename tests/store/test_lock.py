"""The lock: one process for each run directory, and no stale lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engager.errors import RunDirectoryError
from engager.store.lock import RunLock, file_system_of, refuse_networked

MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:40 / {path}/share rw,relatime shared:1 - nfs4 server:/export rw
31 22 0:41 / {path}/with\\040space rw - cifs //server/share rw
32 30 8:2 / {path}/share/local rw - xfs /dev/sdb1 rw
"""


def test_a_second_lock_is_refused_until_the_first_is_released(tmp_path: Path) -> None:
    first = RunLock.acquire(tmp_path / "lock")
    assert RunLock.is_held(tmp_path / "lock")
    with pytest.raises(RunDirectoryError, match=r"process \d+ .*--out"):
        RunLock.acquire(tmp_path / "lock")
    first.release()
    assert not RunLock.is_held(tmp_path / "lock")
    RunLock.acquire(tmp_path / "lock").release()


def test_the_lock_of_a_killed_process_is_released(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal; from engager.store.lock import RunLock\n"
        f"RunLock.acquire(pathlib.Path({str(tmp_path / 'lock')!r})); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    RunLock.acquire(tmp_path / "lock").release()


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("", "ext4"), ("share/runs", "nfs4"), ("with space", "cifs"), ("share/local/runs", "xfs")],
)
def test_file_systems_are_distinguished(tmp_path: Path, folder: str, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(path=tmp_path.resolve()))
    assert file_system_of(tmp_path / folder, mounts) == kind
    if kind in ("nfs4", "cifs"):
        with pytest.raises(RunDirectoryError, match="network file system"):
            refuse_networked(tmp_path / folder, mounts)
    else:
        refuse_networked(tmp_path / folder, mounts)
