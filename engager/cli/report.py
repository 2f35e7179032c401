"""`report`: the report page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import click

from engager.cli.ending import exit_with
from engager.cli.streams import say
from engager.errors import Exit
from engager.store.status import existing_run


@click.command("report", short_help="Write the report page of a run.")
@click.argument("run_path", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the page here; default report.html in RUN.",
)
def report_command(run_path: Path, out: Path | None) -> NoReturn:
    """Write a self-contained HTML report of a run, also while the run is in progress."""
    # Imported here, because templates cost every other command time and memory.
    from engager.output.report.page import write_report

    def write() -> int:
        say(str(write_report(existing_run(run_path), out)))
        return Exit.DONE

    exit_with(write)
