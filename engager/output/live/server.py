"""A run under way in, its page, its metrics and its health out: served from the run's own loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
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
from engager.output.live.history import History, as_message
from engager.run.control import OPERATOR, Control
from engager.run.monitor import Monitor
from engager.run.prepare import Run

#: Seconds between two words to a browser.
EVERY = 0.5

#: Seconds for which a browser that is slow may hold up the end.
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
        self._history = History()
        self._news = asyncio.Event()
        self._message = b""
        self._ended = False

    def application(self) -> web.Application:
        """All that is served."""
        application = web.Application(middlewares=[self.guard.middleware], client_max_size=4096)
        application.add_routes(
            [
                web.get("/", _file("index.html", "text/html")),
                web.get("/page.js", _file("page.js", "text/javascript")),
                web.get("/page.css", _file("page.css", "text/css")),
                web.get("/icon.svg", _file("icon.svg", "image/svg+xml")),
                web.get("/events", self._events),
                web.post("/control", self._control_run),
                web.get("/metrics", self._metrics),
                web.get("/health", self._health),
            ]
        )
        return application

    async def publish_forever(self) -> None:
        """Tell every browser of the run, until cancelled."""
        while True:
            self._publish(self._monitor.latest())
            await asyncio.sleep(EVERY)

    def _publish(self, now: Snapshot, ended: bool = False) -> None:
        self._history.add(now)
        rate = self._run.job_file.job.limits.rate
        facts = {**as_message(now), "rate_is_found": rate == "auto"}
        if ended:
            facts["ended"] = {"stopped": self._control.stopping.reason or None}
        self._message = b"data: " + as_json(facts) + b"\n\n"
        self._news.set()
        self._news = asyncio.Event()

    async def publish_end(self) -> None:
        """Tell how the run ended, while there is somebody to hear it."""
        self._ended = True
        self._publish(self._monitor.snapshot(), ended=True)
        await asyncio.sleep(0.05)  # who listens is handed it in this time

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        history = as_json({"job": self._run.name, "points": self._history.points})
        with suppress(ConnectionError):
            await response.write(b"event: history\ndata: " + history + b"\n\n" + self._message)
            while not self._ended:
                await self._news.wait()
                await response.write(self._message)
            await response.write(self._message)  # the last word, for who was slow
        return response

    async def _control_run(self, request: web.Request) -> web.Response:
        try:
            command = orjson.loads(await request.read())
            _carry_out(self._control, command, self._run.job_file.job.limits.rate)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as fault:
            raise web.HTTPBadRequest(text=f"{fault}\n") from None
        return web.Response(status=204)

    async def _metrics(self, request: web.Request) -> web.Response:
        try:
            from engager.output.live.metrics import CONTENT_TYPE, exposition  # an extra
        except ModuleNotFoundError:
            raise web.HTTPNotImplemented(text="pip install 'engager[metrics]' for these.\n") from None
        # Not the run's id: it is the seed of the Request-IDs.
        labels = {"job": self._run.job_file.job.job.name, "directory": self._run.directory.path.name}
        body = exposition(labels, lambda: (self._monitor.latest(), self._monitor.latency))
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def _health(self, request: web.Request) -> web.Response:
        now = self._monitor.latest()
        state = "stopping" if self._control.stopping.requested else "paused" if now.holders else "sending"
        return web.json_response({"state": state, "rows": now.rows, "holders": sorted(now.holders)})


def _carry_out(control: Control, wish: Any, rate: float | str | None) -> None:
    """Carry out what the page asks for; `rate`: the job's. Raises ValueError for what it cannot."""
    kind = wish["do"]
    if kind == "pause":
        control.pause(OPERATOR)
    elif kind == "resume":
        control.resume(OPERATOR)
    elif kind == "stop":
        control.stop("stopped on the page")
    elif kind != "rate":
        raise ValueError("this is no wish of the page")
    elif isinstance(rate, str):
        raise ValueError('limits.rate is "auto": the run finds it by itself')
    elif rate is not None and float(wish["rate"]) > rate:
        raise ValueError(f"limits.rate = {rate:g} is the most that this page may set")
    else:
        control.set_rate(float(wish["rate"]))


def _file(name: str, content_type: str) -> Any:
    async def serve(request: web.Request) -> web.Response:
        return web.Response(body=(_FILES / name).read_bytes(), content_type=content_type, charset="utf-8")

    return serve


@asynccontextmanager
async def serving(run: Run, monitor: Monitor, address: str) -> AsyncIterator[str]:
    """The page's address with its key, as long as this is entered. Raises JobError."""
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
            raise JobError(f"--page {address}: it cannot be served there: {fault.strerror}.") from fault
        telling = asyncio.create_task(page.publish_forever())
        try:
            shown = f"[{host}]" if ":" in host else host
            yield f"http://{shown}:{listening.sockets[0].getsockname()[1]}/?key={page.guard.key}"
        finally:
            listening.close()
            telling.cancel()
            await page.publish_end()
    finally:
        await runner.cleanup()
