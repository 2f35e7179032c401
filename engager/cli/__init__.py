"""Commands, signals, exit codes; no logic. Data goes to stdout, everything else to stderr."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import click

from engager.cli.completion import COMPLETE_VARIABLE
from engager.cli.ending import honest
from engager.cli.streams import standard_streams
from engager.config.version import __version__

#: Each command is `NAME_command` of a module of its name, but for these; it is loaded when it is called.
_MODULES = {
    "run": "sending",
    "retry": "sending",
    **dict.fromkeys(("pause", "resume", "stop", "rate"), "control"),
}

COMMANDS = (
    "init",
    "run",
    "retry",
    "status",
    "find",
    "pause",
    "resume",
    "stop",
    "rate",
    "report",
    "check",
    "doctor",
    "test",
    "scenarios",
    "sandbox",
    "schema",
    "completion",
)


class _Program(click.Group):
    """The group of all commands, with reliable standard streams."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of them; loaded here, so that a start is not as slow as all of them together."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"{__name__}.{_MODULES.get(cmd_name, cmd_name)}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command and exit with its code."""
        kwargs = {"complete_var": COMPLETE_VARIABLE, **kwargs}
        if os.environ.get(COMPLETE_VARIABLE):  # click answers a shell in bytes, which reliable streams refuse
            return super().main(*args, **kwargs)
        with standard_streams():
            try:
                return super().main(*args, **kwargs)
            except SystemExit as end:
                end.code = honest(end.code)  # also of --help and --version
                raise


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Engage every person of a file in an Altcraft automation scenario."""
