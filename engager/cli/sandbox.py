"""`sandbox`: the local endpoint."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NoReturn

import anyio
import click

from engager.cli.ending import exit_with
from engager.errors import Exit, JobError


@click.command("sandbox", short_help="Serve a local endpoint, with faults.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 = any free one."
)
@click.option("--token", "tokens", multiple=True, help="A token that is taken; else every one.")
@click.option("--scenario", "scenarios", type=int, multiple=True, help="A scenario that exists; else all do.")
@click.option("--profiles", type=click.Path(path_type=Path), help="JSONL of profiles; else all exist.")
@click.option("--fault", "faults", multiple=True, metavar="NAME=SHARE", help="A fault and its share.")
@click.option("--assume", multiple=True, metavar="NAME=VALUE", help="Switch an assumption.")
@click.option("--retry-after", help="Of 429 and 503: seconds, or an HTTP date.")
@click.option("--latency", default="0s", show_default=True, metavar="20ms|20-80ms")
@click.option("--tariff-limit", type=click.IntRange(min=0), help="Engagements until 402.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--log", "log_file", help="Append a line of JSON for every request to this file.")
def sandbox_command(host: str, port: int, **settings: Any) -> NoReturn:
    """Serve the contract's endpoint on this machine, with faults on demand."""
    # Here, and not above: aiohttp's server would cost every other command 20 MB and a tenth of a second.
    from engager.sandbox import Sandbox, SandboxConfig
    from engager.sandbox.command import sandbox_config

    async def stand(config: SandboxConfig) -> None:
        async with AsyncExitStack() as stack:
            try:
                sandbox = await stack.enter_async_context(Sandbox(config, host, port))
            except OSError as fault:
                told = os.strerror(fault.errno) if fault.errno else str(fault)
                raise JobError(f"--port {port}: nothing can be served there: {told}") from fault
            click.echo(f"sandbox listening on {sandbox.url}")
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    return

    def serve() -> int:
        try:
            config = sandbox_config(**settings)
        except (ValueError, OSError) as fault:
            raise JobError(str(fault)) from fault
        anyio.run(stand, config)
        return Exit.DONE

    exit_with(serve)
