"""`schema`: the job file's JSON Schema, for editors."""

from __future__ import annotations

from typing import NoReturn

import click
import orjson

from engager import Exit
from engager.cli.ending import exit_with


@click.command("schema", short_help="Print the job file's JSON Schema.")
def schema_command() -> NoReturn:
    """Print the JSON Schema of the job file, by which an editor completes and checks it."""

    def tell() -> int:
        from engager.schema import job_schema  # it describes the sandbox, which costs a tenth of a second

        click.echo(orjson.dumps(job_schema(), option=orjson.OPT_INDENT_2).decode())
        return Exit.DONE

    exit_with(tell)
