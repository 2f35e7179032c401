"""A real Prometheus scrapes a run and the file that it leaves, and fires the alert of a stopped night."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import yaml
from aiohttp import web

import engager
from engager.sandbox import Sandbox, SandboxConfig

ALERTS = Path(__file__).parents[3] / "configs/monitoring/alerts.yaml"

#: The gate sets this variable to `required`: there the test fails without Prometheus.
REQUIRED = "ENGAGER_TEST_PROMETHEUS"

PROGRAMS = ("prometheus", "promtool")

#: Seconds until Prometheus has shown what a test waits for, at most.
PATIENCE = 30


@pytest.fixture(autouse=True)
def programs() -> None:
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        assert os.environ.get(REQUIRED) != "required", f"missing: {missing}"
        pytest.skip(f"missing: {missing}")


def job(folder: Path, endpoint: str) -> engager.JobFile:
    (folder / "people.csv").write_text("email\n" + "".join(f"p{n}@example.com\n" for n in range(2000)))
    tables = {
        "job": {"name": "nightly"},
        "endpoint": {"url": endpoint, "token": "env:ENGAGER_TEST_TOKEN"},
        "input": {"path": "people.csv"},
        "request": {"id": 12, "email": "{email}"},
        "limits": {"rate": 50},
        "output": {"metrics": "night.prom", "report": False},
    }
    return engager.build_job(tables, base=folder)


def soon(folder: Path) -> Path:
    """The alert rules, with a second in the place of each hour that a person is given."""
    rules = yaml.safe_load(ALERTS.read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        if "for" in rule:
            rule["for"] = "1s"
    path = folder / "alerts.yaml"
    path.write_text(yaml.safe_dump(rules))
    return path


@asynccontextmanager
async def exporter(file: Path) -> AsyncIterator[str]:
    """Serves a file as the textfile collector of the node exporter does; yields its address."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=file.read_text() if file.exists() else "")

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def prometheus(folder: Path, **targets: str) -> AsyncIterator[str]:
    """A Prometheus that scrapes and evaluates every second; yields the address of its interface."""
    scraped = [{"job_name": name, "static_configs": [{"targets": [at]}]} for name, at in targets.items()]
    table = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(soon(folder))],
        "scrape_configs": [{**one, "honor_labels": True} for one in scraped],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(table))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield f"http://{address}/api/v1"
    finally:
        process.kill()
        await process.wait()


async def shown(url: str, what: str, **query: str) -> list[Any]:
    """What the interface of Prometheus shows, as soon as it is there."""
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/{what}", params=query) as response:
                    data = (await response.json())["data"]
            except (aiohttp.ClientError, KeyError):  # it is starting
                data = {}
            if found := data.get("result") or data.get("alerts"):
                return list(found)
            await asyncio.sleep(0.1)


async def firing(url: str, alert: str) -> dict[str, Any]:
    query = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'
    await shown(url, "query", query=query)
    (found,) = [one for one in await shown(url, "alerts") if one["labels"]["alertname"] == alert]
    return dict(found)


def check_metrics(text: str) -> None:
    """Raises AssertionError if promtool finds a fault in metrics."""
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
async def endpoint(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A sandbox at an address of its own: a rehearsal on the embedded one leaves no metrics."""
    monkeypatch.setenv("ENGAGER_TEST_TOKEN", "t0ken-of-the-tests")
    async with Sandbox(SandboxConfig()) as sandbox:
        yield sandbox.url


async def test_a_run_is_scraped_and_a_night_that_is_stopped_fires_its_alert(
    tmp_path: Path, endpoint: str
) -> None:
    serving, control = asyncio.get_running_loop().create_future(), engager.Control()

    def watch(event: engager.Event) -> None:
        if isinstance(event, engager.Serving):
            serving.set_result(urlsplit(event.url).netloc)

    begun = engager.run_async(
        job(tmp_path, endpoint),
        out=tmp_path / "n-1",
        yes=True,
        page="127.0.0.1:0",
        watch=watch,
        control=control,
    )
    run = asyncio.ensure_future(begun)
    at = await serving
    night = tmp_path / "night.prom"
    async with exporter(night) as nights, prometheus(tmp_path, run=at, nights=nights) as url:
        (rows,) = await shown(url, "query", query='engager_rows_total{status="engaged"} > 0')
        assert rows["metric"]["instance"] == at
        async with aiohttp.ClientSession() as session, session.get(f"http://{at}/metrics") as response:
            check_metrics(await response.text())
        control.stop("stopped by the test")
        assert not (await run).complete
        check_metrics(night.read_text())
        alert = await firing(url, "EngagerNightNotFinished")
        assert alert["state"] == "firing"
        assert {"job": "nightly", "run": "n-1", "severity": "critical"}.items() <= alert["labels"].items()
        (unsettled,) = await shown(url, "query", query="engager_unsettled")
        assert unsettled["value"][1] == "1"
