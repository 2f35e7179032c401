"""The metrics of a night: left whole by every start, as Prometheus reads them."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from anyio.from_thread import start_blocking_portal
from prometheus_client.parser import text_string_to_metric_families

import engager
from engager import Exit
from engager.output import night
from engager.sandbox import Sandbox, SandboxConfig

JOB: dict[str, Any] = {
    "job": {"name": "nightly"},
    "input": {"path": "people.csv"},
    "request": {"id": 12, "email": "{email}"},
    "output": {"metrics": "out/night.prom"},
}


@pytest.fixture
def platform(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A platform in a thread of its own: of the embedded sandbox, no metrics are left."""
    config = SandboxConfig.from_mapping(getattr(request, "param", {}))
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Sandbox(config)) as served,
    ):
        yield served


@pytest.fixture
def folder(tmp_path: Path, platform: Sandbox) -> Path:
    write(tmp_path, 30)
    (tmp_path / "url").write_text(platform.url)
    (tmp_path / "token").write_text("token")
    (tmp_path / "out").mkdir()
    return tmp_path


def write(folder: Path, rows: int) -> None:
    people = "".join(f"p{number}@example.com\n" for number in range(rows))
    (folder / "people.csv").write_text(f"email\n{people}")


def job(folder: Path, **tables: Any) -> engager.JobFile:
    endpoint = {"url": (folder / "url").read_text(), "token": "file:token"}
    return engager.build_job({"endpoint": endpoint, **JOB, **tables}, base=folder)


Metrics = Mapping[str, Mapping[tuple[str, ...], float]]


def parsed(text: str) -> Metrics:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert sample.labels["job"] == "nightly"
            labels = tuple(value for name, value in sample.labels.items() if name != "job")
            found.setdefault(sample.name, {})[labels] = sample.value
    return dict(found)


def left(folder: Path) -> Metrics:
    return parsed((folder / "out/night.prom").read_text())


def test_a_night_that_is_complete(folder: Path) -> None:
    before = time.time()
    summary = engager.run(job(folder), out=folder / "run-1")
    found = left(folder)
    assert set(found) == set(night.MEANINGS)
    assert found[night.EXIT] == {("run-1",): 0}
    assert found[night.UNSETTLED] == {("run-1",): 0}
    assert found[night.ROWS] == {("run-1", status): rows for status, rows in summary.statuses.items()}
    assert found[night.DURATION] == {("run-1",): summary.elapsed_seconds}
    assert before - 1 <= found[night.COMPLETE]["run-1",] <= found[night.END]["run-1",] <= time.time()
    assert (folder / "out/night.prom").stat().st_mode & 0o777 == 0o644
    assert [file.name for file in (folder / "out").iterdir()] == ["night.prom"]
    # Sending nothing is no further success.
    engager.run(job(folder), out=folder / "run-1")
    assert left(folder)[night.COMPLETE] == found[night.COMPLETE]


def test_a_start_that_is_refused_leaves_what_it_does_not_know(folder: Path) -> None:
    engager.run(job(folder), out=folder / "run-1")
    good = left(folder)
    engager.run(job(folder), out=folder / "run-2", limit=10)
    stopped = left(folder)
    assert (stopped[night.UNSETTLED], stopped[night.COMPLETE]) == ({("run-2",): 1}, good[night.COMPLETE])
    assert stopped[night.ROWS]["run-2", "engaged"] == 10
    write(folder, 7)
    with pytest.raises(engager.EngagerError):
        engager.run(job(folder), out=folder / "run-2")
    refused = left(folder)
    assert (refused[night.EXIT], refused[night.UNSETTLED]) == ({("run-2",): Exit.STOPPED}, {("run-2",): 1})
    assert refused[night.ROWS]["run-2", "engaged"] == 10
    (folder / "people.csv").unlink()
    with pytest.raises(engager.InputError):
        engager.run(job(folder), out=folder / "run-3")
    wrong = left(folder)
    assert wrong[night.EXIT] == {("run-2",): Exit.WRONG}
    assert [wrong[name] for name in (night.UNSETTLED, night.ROWS, night.COMPLETE)] == [
        refused[name] for name in (night.UNSETTLED, night.ROWS, night.COMPLETE)
    ]
    write(folder, 30)
    engager.run(job(folder), out=folder / "run-2")
    assert left(folder)[night.UNSETTLED] == {("run-2",): 0}


def test_a_first_start_that_is_refused_leaves_its_exit_code(folder: Path) -> None:
    (folder / "people.csv").unlink()
    with pytest.raises(engager.InputError):
        engager.run(job(folder), out=folder / "run-1")
    assert set(left(folder)) == {night.END, night.EXIT}
    assert left(folder)[night.EXIT] == {("",): Exit.WRONG}


@pytest.mark.parametrize("platform", [{"faults": {"429": 0.5}, "seed": 1}], indirect=True)
def test_another_pass_leaves_its_metrics(folder: Path) -> None:
    engager.run(job(folder, retry={"attempts": 1}, breaker={"failures": 0}), out=folder / "run-1")
    assert left(folder)[night.EXIT] == {("run-1",): Exit.INCOMPLETE}
    complete = left(folder)[night.COMPLETE]["run-1",]
    assert complete > 0  # a few rows that are not engaged are no night that did not end
    engager.retry(folder / "run-1", overrides=["retry.attempts=50", "retry.base_delay=0.001"])
    assert left(folder)[night.COMPLETE]["run-1",] >= complete  # whole seconds
    assert left(folder)[night.EXIT] == {("run-1",): Exit.DONE}


def test_a_rehearsal_leaves_the_metrics_of_production(folder: Path) -> None:
    engager.run(job(folder), out=folder / "run-1")
    before = (folder / "out/night.prom").read_text()
    engager.run(job(folder, endpoint={"url": "sandbox"}), out=folder / "rehearsal")
    assert (folder / "out/night.prom").read_text() == before


def test_a_folder_that_does_not_exist_is_said_before_the_first_row(folder: Path) -> None:
    (folder / "out").rmdir()
    began: list[engager.Began] = []

    def watch(event: engager.Event) -> None:
        began.extend([event] if isinstance(event, engager.Began) else [])

    engager.run(job(folder), out=folder / "run-1", watch=watch)
    for warnings in (began[0].warnings, engager.check(job(folder)).warnings):
        assert any("output.metrics" in text and str(folder / "out") in text for text in warnings)


def test_a_watcher_that_fails_takes_no_metric_away(folder: Path) -> None:
    def watch(event: engager.Event) -> None:
        raise ValueError("oh")

    engager.run(job(folder), out=folder / "run-1", watch=watch)
    assert left(folder)[night.UNSETTLED] == {("run-1",): 0}


def test_no_link_is_followed(folder: Path) -> None:
    (folder / "victim").write_text("as it was")
    (folder / "out/night.prom").symlink_to(folder / "victim")
    (folder / "out/night.prom.new").symlink_to(folder / "victim")
    engager.run(job(folder), out=folder / "run-1")
    assert (folder / "victim").read_text() == "as it was"
    assert left(folder)[night.EXIT] == {("run-1",): 0}


@pytest.mark.parametrize(
    "text", ["not of prometheus {", "\x00\xff", 'engager_unsettled{job="other",run="x"} 1\n']
)
def test_what_is_no_file_of_this_job_is_replaced(folder: Path, text: str) -> None:
    (folder / "out/night.prom").write_text(text, encoding="latin-1")
    engager.run(job(folder), out=folder / "run-1")
    assert left(folder)[night.UNSETTLED] == {("run-1",): 0}


def test_a_file_that_cannot_be_written_is_a_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "out").rmdir()
    assert engager.run(job(folder), out=folder / "run-1").exit_code == 0
    assert "night.prom" in caplog.text


def test_without_its_library_nothing_is_sent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(night, "find_spec", lambda name: None)
    with pytest.raises(engager.JobError, match="metrics"):
        engager.run(job(folder), out=folder / "run-1")
    assert not (folder / "run-1").exists()


@pytest.mark.parametrize("path", ["night.txt", "night"])
def test_a_file_that_no_exporter_reads_is_refused(folder: Path, path: str) -> None:
    with pytest.raises(engager.JobError, match=r"output\.metrics"):
        job(folder, output={"metrics": path})


@pytest.mark.parametrize("url", ["localhost:9091", "http://user:word@x:9091", "http://x/metrics"])
def test_an_address_that_is_no_gateway_is_refused(folder: Path, url: str) -> None:
    with pytest.raises(engager.JobError, match=r"output\.push"):
        job(folder, output={"push": url})


async def test_a_push_brings_what_the_start_knows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: list[tuple[str, str, Metrics]] = []

    async def take(request: web.Request) -> web.Response:
        pushed.append((request.method, request.path, parsed((await request.read()).decode())))
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    output = {"push": f"http://127.0.0.1:{runner.addresses[0][1]}"}
    await engager.run_async(job(folder, output=output), out=folder / "run-1")
    (folder / "people.csv").unlink()
    with pytest.raises(engager.InputError):
        await engager.run_async(job(folder, output=output), out=folder / "run-2")
    await runner.cleanup()
    (method, path, first), (_, _, second) = pushed
    assert (method, path) == ("POST", "/metrics/job/nightly")  # which leaves the other metrics in the gateway
    assert first[night.ROWS]["run-1", "engaged"] == 30
    assert set(second) == {night.END, night.EXIT}


async def test_a_gateway_that_is_gone_or_silent_is_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(night, "PUSH_TIMEOUT", 0.2)
    silent = socket.create_server(("127.0.0.1", 0))
    port = silent.getsockname()[1]
    for number, address in enumerate((f"127.0.0.1:{port}", "127.0.0.1:1")):
        output = {"push": f"http://{address}"}
        summary = await engager.run_async(job(folder, output=output), out=folder / f"run-{number}")
        assert summary.exit_code == 0
        assert address in caplog.text
    silent.close()


def test_a_job_without_metrics_loads_no_library(folder: Path) -> None:
    assert "engager.output.night" in sys.modules
    output: dict[str, Any] = {}
    engager.run(job(folder, output=output), out=folder / "run-1")
    assert not (folder / "out/night.prom").exists()
