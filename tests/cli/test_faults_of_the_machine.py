"""A full disk, a missing folder, a wrong clock: each is reported, and no row is lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FAST = "[retry]\nbase_delay = 0.01\nmax_delay = 0.05\n"

LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_{}, ({}, {}))"

CLOCK = "import time; truly = time.time; time.time = lambda: truly() + {}"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own under `runs`."""
    path = tmp_path / "runs"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m,nr_inodes=40", "tmpfs", str(path)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


def ended_plainly(ended: Any, code: int, *texts: str) -> None:
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    for text in texts:
        assert text in ended.err


async def goes_on(b: Any, rows: int) -> None:
    """The same command, and everybody got one message."""
    ended = await b.engager("run", "job.toml")
    assert ended.code == 0, ended.err
    assert sorted(line["row"] for line in b.results()) == list(range(1, rows + 1))
    assert b.sandbox.brain.effects == Counter({f"email=p{n}@example.com": 1 for n in range(1, rows + 1)})


def fill(disk: Path, left: int) -> Path:
    """Leave so many bytes of the disk free."""
    room = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(bytes(room.f_bavail * room.f_bsize - left))
    return filler


async def test_a_disk_that_becomes_full(bench: Any, disk: Path) -> None:
    b = await bench(3000, "[limits]\nconcurrency = 8\n")
    await b.engager("run", "job.toml", "--limit", "1")
    filler = fill(disk, 1 << 15)
    ended_plainly(await b.engager("run", "job.toml"), 4, "No space left on device", "un the same command")
    status = await b.engager("status", "runs/test", "--output", "json")
    assert (status.code, '"state": "stopped"' in status.out) == (0, True)
    assert 1 < b.sandbox.brain.effects.total() < 3000
    filler.unlink()
    await goes_on(b, 3000)


@pytest.mark.parametrize("left", [0, 1 << 12, 1 << 13])
async def test_a_disk_that_is_full_from_the_beginning(bench: Any, disk: Path, left: int) -> None:
    b = await bench(20)
    filler = fill(disk, left)
    ended = await b.engager("run", "job.toml")
    assert ended.code in (2, 4), ended.err
    ended_plainly(ended, ended.code, "No space left on device")
    assert b.sandbox.log == []
    filler.unlink()
    await goes_on(b, 20)


async def test_a_disk_without_room_for_another_file(bench: Any, disk: Path) -> None:
    b = await bench(20)
    (b.path / "people.csv").write_text("email,name\nnobody,N\n" + "p1@example.com,N\n")
    names = [disk / f"file-{number}" for number in range(40)]
    for kept in (3, 5, 6):
        room = os.statvfs(disk).f_favail
        for name in names[: room - kept]:
            name.touch()
        ended = await b.engager("run", "job.toml", "--out", f"runs/{kept}")
        assert "Traceback" not in ended.err, (kept, ended.err)
        assert (ended.code in (2, 4), "No space left on device" in ended.err) == (True, True)
        for name in names:
            name.unlink(missing_ok=True)
        again = await b.engager("run", "job.toml", "--out", f"runs/{kept}")
        assert again.code == 1, (kept, again.err)
        shutil.rmtree(disk / str(kept))


async def test_a_limit_on_the_size_of_files(bench: Any) -> None:
    b = await bench(400)
    await b.engager("run", "job.toml", "--limit", "1")
    ended = await b.engager("run", "job.toml", before=LIMIT.format("FSIZE", 20_000, 20_000))
    ended_plainly(ended, 4, "File too large", "run the same command")
    await goes_on(b, 400)


async def test_a_disk_that_can_only_be_read(bench: Any, disk: Path) -> None:
    b = await bench(20)
    await b.engager("run", "job.toml", "--limit", "5")
    remount(disk, "ro")
    ended_plainly(await b.engager("run", "job.toml"), 2, "Read-only file system")
    ended_plainly(await b.engager("run", "job.toml", "--out", "runs/other"), 2, "Read-only file system")
    ended_plainly(await b.engager("status", "runs/test"), 0)
    assert len(b.sandbox.log) == 5
    remount(disk, "rw")
    await goes_on(b, 20)


async def test_a_run_directory_that_is_removed_while_running(bench: Any) -> None:
    b = await bench(5_000, "[limits]\nrate = 100\n")
    process = await b.start("run", "job.toml")
    while len(b.sandbox.log) < 20:
        await asyncio.sleep(0.02)
    shutil.rmtree(b.path / "runs/test")
    _, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 4
    assert b"was removed" in err
    assert b"Traceback" not in err
    assert len(b.sandbox.log) < 1_000


@pytest.mark.parametrize("files", [8, 40])
async def test_too_few_open_files(bench: Any, files: int) -> None:
    b = await bench(300, f"{FAST}[limits]\nconcurrency = 64\n", latency="20ms")
    ended = await b.engager("run", "job.toml", before=LIMIT.format("NOFILE", files, files))
    ended_plainly(ended, ended.code, "Too many open files")
    # With 40, either a connection or the input finds no descriptor first.
    assert ended.code in ((3, 4) if files == 40 else (4,))
    assert b.sandbox.brain.effects.total() < 300
    await goes_on(b, 300)


#: Only so many bytes more than the program itself takes.
MEMORY = (
    "import engager.cli.sending, engager.cli.check, engager.cli.doctor, resource, pathlib\n"
    "pages = int(pathlib.Path('/proc/self/statm').read_text().split()[0])\n"
    "size = pages * resource.getpagesize() + {}\n"
    "resource.setrlimit(resource.RLIMIT_AS, (size, size))\n"
)


@pytest.mark.parametrize("megabytes", [4, 60])
async def test_too_little_memory(bench: Any, megabytes: int) -> None:
    """Some packages written in C do not survive it. It is a death like any other: nothing is lost by it."""
    b = await bench(60, f"{FAST}[limits]\nconcurrency = 64\n", latency="20ms")
    lines = [f"p{number}@example.com,{'x' * 900_000}\n" for number in range(1, 61)]
    (b.path / "people.csv").write_text("email,name\n" + "".join(lines))
    ended = await b.engager("run", "job.toml", before=MEMORY.format(megabytes << 20))
    assert ended.code == 4 or ended.code < 0, ended.err
    await goes_on(b, 60)


async def killed(b: Any, after: int, *args: str, before: str = "") -> None:
    """A run that is killed once the endpoint has seen so many requests."""
    process = await b.start("run", "job.toml", *args, before=before)
    while len(b.sandbox.log) < after:
        await asyncio.sleep(0.01)
    process.kill()
    await process.communicate()


@pytest.mark.parametrize("hours", [-72, 72])
async def test_a_wall_clock_that_is_set_does_not_move_the_window(bench: Any, hours: int) -> None:
    b = await bench(60, f"{FAST}[limits]\nconcurrency = 8\n", latency="30ms")
    await killed(b, 16)
    ended = await b.engager("run", "job.toml", before=CLOCK.format(hours * 3600))
    assert ended.code == 0, ended.err
    assert b.summary()["elapsed_seconds"] >= 0
    assert set(b.sandbox.brain.effects.values()) == {1}


BOOT = "import pathlib, engager.store.clock as c; c._BOOT_ID = pathlib.Path('boot'); "


@pytest.mark.parametrize(("hours", "doubtful"), [(-1, True), (1, False), (25, True)])
async def test_across_boots_the_wall_clock_counts_unless_it_was_set_back(
    bench: Any, hours: int, doubtful: bool
) -> None:
    b = await bench(60, f"{FAST}[limits]\nconcurrency = 8\n", latency="30ms")
    (b.path / "boot").write_text("first")
    await killed(b, 16, before=BOOT)
    (b.path / "boot").write_text("second")
    ended = await b.engager("run", "job.toml", before=BOOT + CLOCK.format(hours * 3600))
    assert ended.code == int(doubtful), ended.err
    assert (0 < b.summary()["statuses"]["in_doubt"] <= 8) == doubtful
    assert set(b.sandbox.brain.effects.values()) == {1}


async def test_a_wall_clock_that_jumps_while_running(bench: Any) -> None:
    jumps = "import time, itertools; truly, n = time.time, itertools.count(); "
    jumps += "time.time = lambda: truly() - 3600 * next(n)"
    b = await bench(100, f"{FAST}attempts = 20\n", faults={"503": 0.2, "reset_after": 0.1})
    ended = await b.engager("run", "job.toml", before=jumps)
    assert ended.code == 0, ended.err
    assert 0 <= b.summary()["elapsed_seconds"] < 60
    assert set(b.sandbox.brain.effects.values()) == {1}


async def test_a_lock_that_a_killed_run_left_is_no_obstacle(bench: Any) -> None:
    b = await bench(60, latency="30ms")
    await killed(b, 1)
    # What is written there may by now be the number of another process.
    (b.path / "runs/test/lock").write_text(f"process {os.getpid()}\n")
    await goes_on(b, 60)


async def test_a_second_start_while_one_runs(bench: Any) -> None:
    b = await bench(400, "[limits]\nrate = 10\n")
    first = await b.start("run", "job.toml")
    while not b.sandbox.log:
        await asyncio.sleep(0.01)
    second = await b.engager("run", "job.toml")
    ended_plainly(second, 3, f"process {first.pid} ")
    ended_plainly(await b.engager("retry", "runs/test"), 3, f"process {first.pid} ")
    first.send_signal(signal.SIGINT)
    await first.communicate()
    assert first.returncode == 130
    assert 0 < len(b.results()) == len(b.sandbox.log) == b.sandbox.brain.effects.total() < 400


async def test_a_start_that_waited_until_the_run_was_complete(bench: Any) -> None:
    late = (
        "from engager.run import prepare as r; import pathlib, time; take = r.lock_folder\n"
        "def late(path):\n"
        "    pathlib.Path('waits').touch()\n"
        "    while pathlib.Path('waits').exists(): time.sleep(0.01)\n"
        "    return take(path)\n"
        "r.lock_folder = late\n"
    )
    b = await bench(20)
    await b.engager("run", "job.toml", "--limit", "5")
    second = await b.start("run", "job.toml", before=late)
    while second.returncode is None and not (b.path / "waits").exists():
        await asyncio.sleep(0.01)
    await goes_on(b, 20)
    (b.path / "waits").unlink(missing_ok=True)
    _, err = await second.communicate()
    assert second.returncode == 0, err
    assert not (b.path / "runs/test/pass.json").exists()
    assert len(b.sandbox.log) == 20
