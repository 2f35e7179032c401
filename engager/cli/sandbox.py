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
from engager.cli.streams import say
from engager.errors import Exit, JobError


@click.command("sandbox", short_help="Serve a local endpoint, with faults on demand.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port to listen on; 0 selects a free one.",
)
@click.option(
    "--token", "tokens", multiple=True, help="Accept this token only; repeatable. Default: every token."
)
@click.option(
    "--scenario",
    "scenarios",
    type=int,
    multiple=True,
    help="Know this scenario only; repeatable. Default: every scenario.",
)
@click.option(
    "--profiles",
    type=click.Path(path_type=Path),
    help="JSONL file of the known profiles. Default: every profile exists.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME=SHARE",
    help="Inject a fault into this share of requests; repeatable.",
)
@click.option(
    "--assume", multiple=True, metavar="NAME=VALUE", help="Set an assumption about the endpoint; repeatable."
)
@click.option("--retry-after", help="Retry-After of 429 and 503: seconds, or an HTTP date.")
@click.option(
    "--latency", default="0s", show_default=True, metavar="20ms|20-80ms", help="Delay of every response."
)
@click.option("--tariff-limit", type=click.IntRange(min=0), help="Return 402 after this many engagements.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the random faults.")
@click.option("--log", "log_file", help="Append one line of JSON per request to this file.")
def sandbox_command(host: str, port: int, **settings: Any) -> NoReturn:
    """Serve a local endpoint that implements the API contract, with faults on demand."""
    # Imported here, because aiohttp's server costs 20 MB and a tenth of a second.
    from engager.sandbox import Sandbox, SandboxConfig
    from engager.sandbox.command import sandbox_config

    async def stand(config: SandboxConfig) -> None:
        async with AsyncExitStack() as stack:
            try:
                sandbox = await stack.enter_async_context(Sandbox(config, host, port))
            except OSError as fault:
                text = os.strerror(fault.errno) if fault.errno else str(fault)
                raise JobError(f"--port {port}: the sandbox cannot listen there: {text}") from fault
            say(f"sandbox listening on {sandbox.url}")
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
