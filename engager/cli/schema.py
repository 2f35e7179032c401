"""`schema`: the job file's JSON Schema, for editors."""

from __future__ import annotations

from typing import NoReturn

import click

from engager import Exit
from engager.cli.ending import exit_with
from engager.cli.streams import echo_json
from engager.config.as_json import as_json


@click.command("schema", short_help="Print the job file's JSON Schema.")
def schema_command() -> NoReturn:
    """Print the JSON Schema of the job file, by which an editor completes and checks it."""

    def tell() -> int:
        from engager.config.schema import (
            job_schema,  # it describes the sandbox, which costs a tenth of a second
        )

        echo_json(as_json(job_schema(), indented=True))
        return Exit.DONE

    exit_with(tell)
