"""Links, pipes, devices and foreign folders do not redirect what a run reads or writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engager.errors import RunDirectoryError
from engager.store.disk import open_draft, open_file, read_file
from engager.store.run_directory import find_run, lock_folder, replace_file


def link(path: Path) -> None:
    path.symlink_to(path.with_name("victim"))


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


PLANTED = pytest.mark.parametrize("plant", [link, pipe, device, Path.mkdir])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "victim").write_bytes(b"precious")
    return tmp_path


@PLANTED
def test_only_a_regular_file_is_opened(folder: Path, plant: Callable[[Path], None]) -> None:
    plant(folder / "planted")
    for flags in (os.O_RDONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
        with pytest.raises(OSError, match="planted"):
            open_file(folder / "planted", flags)
    with pytest.raises(OSError, match="planted"):
        read_file(folder / "planted")
    assert (folder / "victim").read_bytes() == b"precious"


@pytest.mark.parametrize("plant", [link, pipe, device])
def test_a_draft_replaces_a_planted_file(folder: Path, plant: Callable[[Path], None]) -> None:
    plant(folder / "report.html.new")
    plant(folder / "draft")
    replace_file(folder / "report.html", b"<html>")
    os.close(open_draft(folder / "draft"))
    assert (folder / "victim").read_bytes() == b"precious"
    assert (folder / "report.html").read_bytes() == b"<html>"
    assert not (folder / "report.html").is_symlink()
    assert (folder / "report.html").stat().st_mode & 0o777 == 0o600


@PLANTED
@pytest.mark.parametrize("name", ["run.json", "lock"])
def test_a_run_directory_with_an_irregular_file_is_refused(
    folder: Path, name: str, plant: Callable[[Path], None]
) -> None:
    run = folder / "run"
    run.mkdir(mode=0o700)
    plant(run / name)
    with pytest.raises(RunDirectoryError):
        (find_run if name == "run.json" else lock_folder)(run)


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_may_write_to_is_refused(folder: Path, mode: int) -> None:
    run = folder / "run"
    run.mkdir()
    run.chmod(mode)
    lock_folder(run).release()  # it was empty: it is made private
    assert run.stat().st_mode & 0o777 == 0o700
    run.chmod(mode)
    with pytest.raises(RunDirectoryError, match="chmod"):
        lock_folder(run)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder away")
def test_a_folder_of_another_user_is_refused(folder: Path) -> None:
    run = folder / "run"
    run.mkdir(mode=0o700)
    os.chown(run, 12345, -1)
    with pytest.raises(RunDirectoryError):
        lock_folder(run)


def test_created_folders_are_private(folder: Path) -> None:
    lock_folder(folder / "runs/spring/first").release()
    for made in ("runs", "runs/spring", "runs/spring/first"):
        assert (folder / made).stat().st_mode & 0o777 == 0o700
