"""`schema`: the JSON Schema of the job file, for editors."""

from __future__ import annotations

from typing import NoReturn

import click

from engager import Exit
from engager.cli.ending import exit_with
from engager.cli.streams import echo_json
from engager.config.as_json import as_json


@click.command("schema", short_help="Print the JSON Schema of the job file.")
def schema_command() -> NoReturn:
    """Print the JSON Schema of the job file, for completion and validation in an editor."""

    def show() -> int:
        from engager.config.schema import (
            job_schema,  # it describes the sandbox, which costs a tenth of a second
        )

        echo_json(as_json(job_schema(), indented=True))
        return Exit.DONE

    exit_with(show)
