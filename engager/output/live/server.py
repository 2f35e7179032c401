"""The live page, the metrics and the health of a run, served by the event loop of the run."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from engager.config.as_json import as_json
from engager.errors import JobError
from engager.events import Snapshot
from engager.output.live.access import Guard
from engager.output.live.address import address_of
from engager.output.live.door import Door, NoBadRequests
from engager.output.live.history import History, charts
from engager.output.report.templates import FILES as CHART_FILES
from engager.output.text import destination, is_sandbox, share, waits
from engager.run.monitor import Monitor
from engager.run.operator.commands import carry_out
from engager.run.prepare import Run

#: Seconds between two messages to a browser.
EVERY = 0.5

#: Seconds for which a slow browser may delay the end.
_FAREWELL = 2.0

#: Seconds for which a connection that is known may rest.
_IDLE = 60.0

_NO_BAD_REQUESTS = NoBadRequests()

_FILES = Path(__file__).parent / "files"


class Page:
    """The page of one run."""

    def __init__(self, run: Run, monitor: Monitor, host: str) -> None:
        self.guard = Guard(host)
        self._run, self._monitor, self._control = run, monitor, run.control
        self._history = History(time.time())
        self._news = asyncio.Event()
        self._message = b""
        self._ended = False

    def application(self) -> web.Application:
        """The paths that are served."""
        application = web.Application(middlewares=[self.guard.middleware], client_max_size=4096)
        application.add_routes(
            [
                web.get("/", _file(_FILES / "index.html", "text/html")),
                web.get("/page.js", _file(_FILES / "page.js", "text/javascript")),
                web.get("/page.css", _file(_FILES / "page.css", "text/css")),
                web.get("/chart.css", _file(CHART_FILES / "chart.css", "text/css")),
                web.get("/icon.svg", _file(_FILES / "icon.svg", "image/svg+xml")),
                web.get("/charts", self._charts),
                web.get("/events", self._events),
                web.post("/control", self._control_run),
                web.post("/invite", self._invite),
                web.get("/metrics", self._metrics),
                web.get("/health", self._health),
            ]
        )
        return application

    async def publish_forever(self) -> None:
        """Send the state of the run to every browser, until cancelled."""
        while True:
            self._publish(self._monitor.latest())
            await asyncio.sleep(EVERY)

    def _publish(self, now: Snapshot, ended: bool = False) -> None:
        self._history.add(now, self._monitor.latency)
        rate = self._run.job_file.job.limits.rate
        facts = {**asdict(now), "waits": waits(now), "rate_is_adaptive": rate == "auto"}
        facts["share"] = share(now.rows, max(now.total or 0, now.rows))
        facts["charts"] = self._history.finished
        if ended:
            facts["ended"] = {"stopped": self._control.stopping.reason or None}
        self._message = b"data: " + as_json(facts) + b"\n\n"
        self._news.set()
        self._news = asyncio.Event()

    async def publish_end(self) -> None:
        """Send how the run ended, while browsers are connected."""
        self._ended = True
        self._publish(self._monitor.snapshot(), ended=True)
        await asyncio.sleep(0.05)  # the connected browsers receive it in this time

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        endpoint, scenario = self._run.directory.endpoint, self._run.directory.scenario
        to = {"destination": destination(endpoint, scenario), "is_sandbox": is_sandbox(endpoint)}
        head = as_json({"job": self._run.name, **to})
        with suppress(ConnectionError):
            await response.write(b"event: head\ndata: " + head + b"\n\n" + self._message)
            while not self._ended:
                await self._news.wait()
                await response.write(self._message)
            await response.write(self._message)  # the last one, for a slow browser
        return response

    async def _charts(self, request: web.Request) -> web.Response:
        drawn = await asyncio.to_thread(charts, self._history.past())
        return web.Response(text=drawn, content_type="text/html")

    async def _control_run(self, request: web.Request) -> web.Response:
        try:
            command = orjson.loads(await request.read())
            carry_out(self._control, command, self._run.job_file.job.limits.rate, "on the page")
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as fault:
            raise web.HTTPBadRequest(text=f"{fault}\n") from None
        return web.Response(status=204)

    async def _invite(self, request: web.Request) -> web.Response:
        return web.Response(text=self.guard.invite())

    async def _metrics(self, request: web.Request) -> web.Response:
        try:
            from engager.output.live.metrics import CONTENT_TYPE, exposition  # an extra
        except ModuleNotFoundError:
            raise web.HTTPNotImplemented(text="Install engager[metrics] for the metrics.\n") from None
        # Not the id of the run, which is the seed of the Request-IDs.
        labels = {"job": self._run.job_file.job.job.name, "directory": self._run.directory.path.name}
        body = exposition(labels, lambda: (self._monitor.latest(), self._monitor.latency))
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def _health(self, request: web.Request) -> web.Response:
        now = self._monitor.latest()
        state = "paused" if now.holders else "sending" if now.waits_for is None else "waiting"
        facts = {"rows": now.rows, "holders": sorted(now.holders), "waits_for": now.waits_for}
        is_stopping = self._control.stopping.requested
        return web.json_response({"state": "stopping" if is_stopping else state, **facts})


def _file(path: Path, content_type: str) -> Any:
    body = path.read_bytes()

    async def serve(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset="utf-8")

    return serve


@asynccontextmanager
async def serving(run: Run, monitor: Monitor, address: str) -> AsyncIterator[str]:
    """Serve the live page while this is entered; yields its address with the key. Raises JobError."""
    host, port = address_of(address)
    page = Page(run, monitor, host)
    logger = logging.getLogger(f"{__name__}.requests")
    logger.addFilter(_NO_BAD_REQUESTS)
    runner = web.AppRunner(
        page.application(),
        access_log=None,
        logger=logger,
        shutdown_timeout=_FAREWELL,
        keepalive_timeout=_IDLE,
    )
    await runner.setup()
    assert runner.server is not None  # noqa: S101 - it is there after the setup
    server = runner.server
    door = Door(lambda: len(server.connections), server)
    page.guard.admit = door.admit
    try:
        try:
            listening = await asyncio.get_running_loop().create_server(door, host, port)
        except OSError as fault:
            raise JobError(f"--page {address}: the page cannot be served there: {fault.strerror}.") from fault
        publishing = asyncio.create_task(page.publish_forever())
        try:
            shown = f"[{host}]" if ":" in host else host
            yield f"http://{shown}:{listening.sockets[0].getsockname()[1]}/?key={page.guard.key}"
        finally:
            listening.close()
            publishing.cancel()
            await page.publish_end()
    finally:
        await runner.cleanup()
