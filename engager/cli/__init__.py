"""Commands, signals, exit codes; no logic. Data goes to stdout, everything else to stderr."""

from __future__ import annotations

from typing import Any

import click

from engager.cli.check import check_command
from engager.cli.doctor import doctor_command
from engager.cli.ending import honest
from engager.cli.init import init_command
from engager.cli.report import report_command
from engager.cli.sandbox import sandbox_command
from engager.cli.scenarios import scenarios_command
from engager.cli.schema import schema_command
from engager.cli.sending import retry_command, run_command
from engager.cli.status import status_command
from engager.cli.streams import standard_streams
from engager.config.version import __version__


class _Program(click.Group):
    """All commands, each with streams that it can rely on."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Carry a command out and end the process with its exit code."""
        with standard_streams():
            try:
                return super().main(*args, **kwargs)
            except SystemExit as end:
                end.code = honest(end.code)  # of help and the version, too
                raise


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Engage every person of a file in an Altcraft automation scenario."""


for command in (
    init_command,
    run_command,
    retry_command,
    status_command,
    report_command,
    check_command,
    doctor_command,
    scenarios_command,
    sandbox_command,
    schema_command,
):
    main.add_command(command)
