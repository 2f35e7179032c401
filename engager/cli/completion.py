"""`completion`: the script by which a shell completes commands, options and paths."""

from __future__ import annotations

from typing import NoReturn

import click
from click.shell_completion import get_completion_class

from engager.cli.ending import exit_with
from engager.cli.streams import say
from engager.errors import Exit

#: The environment variable by which the script asks this program what a word may become.
COMPLETE_VARIABLE = "_ENGAGER_COMPLETE"


@click.command("completion", short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> NoReturn:
    """Print the script by which a shell completes commands, options and paths.

    Write it to the file where your shell looks for it, and start a new shell:

    \b
    engager completion bash > ~/.local/share/bash-completion/completions/engager
    engager completion zsh > ~/.zfunc/_engager
    engager completion fish > ~/.config/fish/completions/engager.fish

    The folder must exist. bash needs its package bash-completion, or a line in ~/.bashrc that sources the
    file. zsh needs `fpath+=~/.zfunc` in ~/.zshrc before `compinit`.
    """

    def show() -> int:
        known = get_completion_class(shell)
        assert known is not None  # noqa: S101 - the choices are those that click knows
        program = click.get_current_context().find_root().command
        say(known(program, {}, "engager", COMPLETE_VARIABLE).source().rstrip())
        return Exit.DONE

    exit_with(show)
