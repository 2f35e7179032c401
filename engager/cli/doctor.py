"""`doctor`: tests of the endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import anyio
import click

from engager.cli.ending import exit_with
from engager.cli.options import SET, output_format
from engager.cli.streams import echo_json, say
from engager.config.job import JobFile
from engager.endpoint.connectivity import Finding, State
from engager.endpoint.doctor import document_of, examine
from engager.errors import Exit


@click.command("doctor", short_help="Diagnose the endpoint; engage no person.")
@click.argument("job", type=click.Path(path_type=Path))
@SET
@output_format
def doctor_command(job: Path, overrides: tuple[str, ...], output: str) -> NoReturn:
    """Test connection, token, scenario and deduplication. Engages no person."""

    def show(finding: Finding) -> None:
        if output == "text":
            say(finding)

    def test() -> int:
        findings = anyio.run(examine, JobFile(job, overrides), show)
        if output == "json":
            echo_json(document_of(findings))
        return Exit.WRONG if any(found.state is State.FAILED for found in findings) else Exit.DONE

    exit_with(test)
