"""`scenarios`: list the scenarios of the endpoint, activate or deactivate one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import anyio
import click

from engager.altcraft.scenarios import Scenario
from engager.cli.consent import consented
from engager.cli.ending import exit_with
from engager.cli.options import SET, output_format
from engager.cli.streams import echo_json, say
from engager.config.as_json import as_json
from engager.config.job import JobFile
from engager.config.sanitize import sanitized
from engager.config.secret import Secret
from engager.endpoint.scenarios import SwitchResult, list_all, platform_of, scenario_of, switch
from engager.errors import Exit

_STATES = {True: "active", False: "inactive", None: "unknown"}

_JOB = click.argument("job", type=click.Path(path_type=Path))


@click.group("scenarios", short_help="List scenarios; activate or deactivate one.")
def scenarios_command() -> None:
    """List the scenarios of a job's endpoint; activate or deactivate one."""


@scenarios_command.command("list")
@_JOB
@SET
@click.option(
    "--name", metavar="TEXT", help="List only scenarios whose name contains this text; case is ignored."
)
@click.option("--active/--inactive", default=None, help="List only active or only inactive scenarios.")
@output_format
def list_command(
    job: Path, overrides: tuple[str, ...], name: str | None, active: bool | None, output: str
) -> NoReturn:
    """Show id, state and name of every scenario that the token may see."""

    async def listed() -> list[Scenario]:
        async with platform_of(JobFile(job, overrides)) as platform:
            return await list_all(platform)

    def show() -> int:
        wanted = (name or "").casefold()
        chosen = [
            found
            for found in anyio.run(listed)
            if wanted in found.name.casefold() and active in (None, found.active)
        ]
        if output == "json":
            echo_json(_as_json(chosen))
        else:
            say(_as_table(chosen))

        return Exit.DONE

    exit_with(show)


def _as_json(scenarios: Sequence[Scenario]) -> bytes:
    shown = [asdict(scenario) for scenario in scenarios]
    return Secret.redact_all(as_json(shown, indented=True).decode()).encode()


def _as_table(scenarios: Sequence[Scenario]) -> str:
    rows = [("id", "state", "name")]
    rows += [(str(item.id), _STATES[item.active], _shown(item.name)) for item in scenarios]
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{number:>{width}}  {state:<8}  {name}".rstrip() for number, state, name in rows)


def _shown(name: str) -> str:
    """A name without characters that control a terminal."""
    return Secret.redact_all(sanitized(name))


def _of_a_switch(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the parameters of `activate` and `deactivate`."""
    for parameter in (
        click.option("--yes", is_flag=True, help="Do not ask for confirmation."),
        SET,
        click.argument("number", metavar="[ID]", type=click.IntRange(min=1), required=False),
        _JOB,
    ):
        command = parameter(command)
    return command


@scenarios_command.command("activate")
@_of_a_switch
def activate_command(job: Path, number: int | None, overrides: tuple[str, ...], yes: bool) -> NoReturn:
    """Activate a scenario: the job's own, or the one with this ID."""
    _switched(job, number, overrides, yes, active=True)


@scenarios_command.command("deactivate")
@_of_a_switch
def deactivate_command(job: Path, number: int | None, overrides: tuple[str, ...], yes: bool) -> NoReturn:
    """Deactivate a scenario: the job's own, or the one with this ID."""
    _switched(job, number, overrides, yes, active=False)


def _switched(
    job: Path, number: int | None, overrides: tuple[str, ...], yes: bool, *, active: bool
) -> NoReturn:
    async def switched() -> SwitchResult:
        job_file = JobFile(job, overrides)
        chosen = number or scenario_of(job_file)

        def consents(before: Scenario | None) -> bool:
            verb = "Activate" if active else "Deactivate"
            return consented(f"{verb} {_called(chosen, before)} of {job_file.job.endpoint.url}?", yes)

        async with platform_of(job_file) as platform:
            return await switch(platform, chosen, active, consents)

    def carry_out() -> int:
        done = anyio.run(switched)
        say(_result_text(done))
        return Exit.DONE if done.after is active else Exit.WRONG

    exit_with(carry_out)


def _called(number: int, scenario: Scenario | None) -> str:
    if scenario is None:
        return f"scenario {number}, which is not listed"
    return f'scenario {number} "{_shown(scenario.name)}", which is {_STATES[scenario.active]}'


def _result_text(done: SwitchResult) -> str:
    before = _STATES[done.before.active] if done.before else "not listed"
    if done.asked:
        return f"scenario {done.id}: was {before}, is {_STATES[done.after]}"
    return f"scenario {done.id}: is {before}; nothing was changed"
