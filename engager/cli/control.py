"""`pause`, `resume`, `stop`, `rate`: commands to a run in progress, from another terminal."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any, NoReturn

import click

import engager
from engager import Exit
from engager.cli.ending import exit_with
from engager.cli.streams import say
from engager.output.text import duration, plural

_RUN = click.argument("run_path", metavar="RUN", type=click.Path(path_type=Path))


@click.command("pause", short_help="Pause a run in progress.")
@_RUN
def pause_command(run_path: Path) -> NoReturn:
    """Pause a run in progress: no request leaves, those in flight end. `engager resume` goes on."""
    _command(run_path, lambda: engager.pause(run_path), "paused")


@click.command("resume", short_help="Resume a run that is paused.")
@_RUN
def resume_command(run_path: Path) -> NoReturn:
    """End the pause of an operator, whether it was made here or on the live page.

    A run that has ended is resumed by the command that began it.
    """
    _command(run_path, lambda: engager.resume(run_path), "resumed")


@click.command("stop", short_help="Stop a run in progress in good order.")
@_RUN
def stop_command(run_path: Path) -> NoReturn:
    """Stop a run in progress as SIGTERM does: start no request, finish those in flight, store all outcomes.

    The run ends with exit code 3; the command that began it resumes it.
    """
    _command(run_path, lambda: engager.stop(run_path), "stopping")


@click.command("rate", short_help="Set the rate of a run in progress.")
@_RUN
@click.argument("rate", type=float)
def rate_command(run_path: Path, rate: float) -> NoReturn:
    """Set the requests per second of a run in progress, at most `limits.rate` of its job."""
    _command(run_path, lambda: engager.set_rate(run_path, rate), f"at most {rate:g} requests per second")


def _command(run_path: Path, call: Callable[[], dict[str, Any]], done: str) -> NoReturn:
    def carry_out() -> int:
        state = call()
        holders = [f"{holder}{why and f' ({why})'}" for holder, why in state["holders"].items()]
        held = f"; paused by {', '.join(holders)}" if holders and done != "paused" else ""
        within = state["stops_within_seconds"]
        limit = f", at most {duration(ceil(within))}" if within else ""
        say(f"{run_path}: {done}; {plural(state['in_flight'], 'request')} in flight{limit}{held}")
        return Exit.DONE

    exit_with(carry_out)
