"""`test`: one row's request, sent to the operator."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import click

import engager
from engager import Exit
from engager.cli.consent import consented
from engager.cli.ending import exit_with
from engager.cli.options import INPUT, SET, output_format
from engager.cli.streams import echo_json, say
from engager.config.as_json import as_json
from engager.config.sanitize import sanitized
from engager.models import TAKEN


@click.command("test", short_help="Send one row's request to yourself.")
@click.argument("job", type=click.Path(path_type=Path))
@click.option(
    "--to",
    multiple=True,
    required=True,
    metavar="ADDRESS",
    help="Your own key (address, phone or id) in the place of the row's; repeatable, for further kinds.",
)
@click.option(
    "--row", type=click.IntRange(min=1), metavar="N", help="Take row N; default: the first that can be sent."
)
@INPUT
@SET
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@output_format
def test_command(
    job: Path,
    to: tuple[str, ...],
    row: int | None,
    input_path: str | None,
    overrides: tuple[str, ...],
    yes: bool,
    output: str,
) -> NoReturn:
    """Send the request of one row to yourself, outside of every run: no run knows of it.

    The row's person is not reached. Ends with 0 if you were engaged, with 1 if not.
    """

    def send() -> int:
        result = engager.send_test(
            engager.load_job(job, overrides),
            *to,
            row=row,
            input=input_path,
            consents=lambda plan: consented(sanitized(str(plan), " "), yes),
        )
        if result is None:
            say("nothing was sent", err=True)
            return Exit.WRONG
        if output == "json":
            echo_json(as_json(result.as_dict(), indented=True))
        else:
            say(_text(result))
        return Exit.DONE if result.status in TAKEN else Exit.INCOMPLETE

    exit_with(send)


def _text(result: engager.TestResult) -> str:
    people = " and ".join(result.to.values())
    status = "HTTP" if result.http_status is None else f"HTTP {result.http_status}"
    lines = [
        f"row {result.row} to {people}: {result.status}",
        f"  {result.endpoint}, {result.method}, scenario {result.scenario}, Request-ID {result.request_id}",
        f"  response: {status}: {result.response}" if result.response is not None else "  no response came",
    ]
    if result.status not in TAKEN:
        lines.append(f"  {result.error}: {result.error_text}")
    if result.reference:
        lines.append(f"  reference: {result.reference}")
    return "\n".join(sanitized(line, " ") for line in lines)
