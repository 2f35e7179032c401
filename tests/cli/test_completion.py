"""A shell completes what engager takes, by the script that it prints itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from engager.cli import main


def script_of(shell: str) -> str:
    printed = CliRunner().invoke(main, ["completion", shell])
    assert (printed.exit_code, printed.stderr) == (0, "")
    return printed.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_of_the_shell(shell: str, tmp_path: Path) -> None:
    (tmp_path / "script").write_text(script_of(shell))
    assert "_ENGAGER_COMPLETE" in script_of(shell)
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n", tmp_path / "script"], check=True)


def test_another_shell_is_refused() -> None:
    assert CliRunner().invoke(main, ["completion", "tcsh"]).exit_code == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["re"], ["report", "resume", "retry"]),
        (["run", "job.toml", "--no-"], ["--no-progress"]),
        (["check", "--output", ""], ["json", "text"]),
        (["scenarios", "de"], ["deactivate"]),
    ],
    ids=str,
)
def test_bash_completes(tmp_path: Path, words: list[str], expected: list[str]) -> None:
    program = tmp_path / "engager"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m engager "$@"\n')
    program.chmod(0o700)
    asks = f"""
        {script_of("bash")}
        function=$(complete -p engager | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
        COMP_WORDS=(engager "$@") COMP_CWORD=$#
        $function engager
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", asks, "bash", *words],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (sorted(done.stdout.split()), done.stderr) == (expected, "")


def commands(group: click.Group) -> Iterator[click.Command]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield from commands(command) if isinstance(command, click.Group) else [command]


def test_every_path_is_completed_by_the_shell() -> None:
    """Also those that click knows as texts: without it a shell with the script offers no file for them."""
    found = set()
    for command in commands(main):
        for parameter in command.params:
            name = parameter.make_metavar(context := click.Context(command)).strip("[].").split(".")[0]
            if name in ("PATH", "RUN", "INPUT", "JOB", "FILE") or isinstance(parameter.type, click.Path):
                found.add(name)
                (item,) = parameter.shell_complete(context, "")
                assert item.type in ("file", "dir"), (command.name, parameter.name)
    assert found == {"PATH", "RUN", "INPUT", "JOB", "FILE"}
