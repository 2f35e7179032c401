"""What each stage of engager costs a row, in CPU time of one process that runs one stage after the other.

The stages are engager's own, as a run puts them together, without the workers and the policies around them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.clients.bodies import write_people
from benchmarks.contenders import CONNECTIONS, Course, write_job
from benchmarks.endpoints import Endpoint, endpoint
from benchmarks.measure import client_cores, spread
from benchmarks.table import aligned, machine
from engager.config.job import JobFile
from engager.endpoint.access import destination_of
from engager.models import EngageRequest, Outcome, Reply, Status
from engager.run.prepare import Run, prepare
from engager.sending.transport.base import Transport
from engager.sending.transport.choice import transport_to
from engager.store.store import ResultStore

#: Requests that leave in one round of the loop, about as many as in a run with that number of connections.
BURST = CONNECTIONS // 2

STAGES = {
    "read": "the file to rows",
    "build": "a row to a request",
    "send": "a request to a reply",
    "record": "the intent and the outcome to the journal and the files",
}


def table_of(folder: Path, rows: int, turns: int) -> str:
    os.environ["BENCHMARK_TOKEN"] = "benchmark"
    people = folder / "people.csv"
    write_people(people, rows)
    with endpoint(folder) as server:
        os.sched_setaffinity(0, client_cores(1))
        shown = [asyncio.run(turn(folder, server, people, rows, each)) for each in range(turns + 1)][1:]
    lines = [["stage", "CPU µs/row", "(least–most)", "over TLS", "(least–most)"]]
    lines += [[f"{stage}: {text}", *figures(shown, stage)] for stage, text in STAGES.items()]
    lines.append(["all four", *figures(shown, *STAGES)])
    return "\n".join([f"{rows:,} rows, {turns} turns: medians.", machine(), "", *aligned(lines)])


def figures(shown: Sequence[dict[str, Counter[str]]], *stages: str) -> list[str]:
    cells = []
    for scheme in ("http", "https"):
        costs = spread([sum(each[scheme][stage] for stage in stages) for each in shown])
        cells += [f"{costs.median:.1f}", f"({costs.least:.1f}–{costs.most:.1f})"]
    return cells


async def turn(
    folder: Path, server: Endpoint, people: Path, rows: int, number: int
) -> dict[str, Counter[str]]:
    costs = {}
    for scheme, origin in (("http", server.plain), ("https", server.tls)):
        write_job(Course(folder, origin, people, rows, server.certificate))
        run = prepare(JobFile(folder / "job.toml"), folder / f"{scheme}-{number}", None)
        assert isinstance(run, Run)
        spent = await carry_out(run)
        costs[scheme] = Counter({stage: seconds / rows * 1e6 for stage, seconds in spent.items()})
    return costs


async def carry_out(run: Run) -> Counter[str]:
    """CPU seconds by stage."""
    spent: Counter[str] = Counter()
    origin = run.job_file.job.endpoint.url
    transport = transport_to(destination_of(run.job_file, run.secret, origin), CONNECTIONS)
    store, chunks, done = run.store, iter(run.rows.chunks()), False
    store.start(CONNECTIONS)
    while not done:
        with lap(spent, "read"):
            chunk = next(chunks, [])
        with lap(spent, "build"):
            requests = [run.builder.build(row) for row in chunk]
        with lap(spent, "send"):
            replies = await send(transport, requests)
        with lap(spent, "record"):
            await record(store, chunk, replies)
        done = not chunk
    await transport.aclose()
    run.resources.close()
    return spent


@contextmanager
def lap(spent: Counter[str], stage: str) -> Iterator[None]:
    begun = time.process_time()
    yield
    spent[stage] += time.process_time() - begun


async def send(transport: Transport, requests: list[EngageRequest]) -> list[tuple[EngageRequest, Reply]]:
    """Send a chunk's requests through as many workers as there are connections."""
    left, replies = iter(requests), []

    async def cleared() -> bool:
        return True

    async def worker() -> None:
        for request in left:
            reply = await transport.send(request.body, request.request_id, cleared)
            assert isinstance(reply, Reply), reply
            replies.append((request, reply))

    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
    return replies


async def record(store: ResultStore, chunk: list, replies: list[tuple[EngageRequest, Reply]]) -> None:
    if not chunk:
        await store.flush()
        return
    store.history(chunk)
    for begin in range(0, len(replies), BURST):
        await record_burst(store, replies[begin : begin + BURST])


async def record_burst(store: ResultStore, replies: list[tuple[EngageRequest, Reply]]) -> None:
    """Store what one round of the loop brings: attempts in one frame, then their outcomes."""
    for request, _ in replies:
        request.history = request.history.departed(store.clock())
    store.before_send([request for request, _ in replies])
    for request, reply in replies:
        known = {"request_id": request.request_id, "latency_ms": 1.5, "waited_ms": 0.5}
        outcome = Outcome(request.row, request.key, Status.ENGAGED, 1, reply.status, 0, **known)
        if (writing := store.after([outcome])) is not None:
            await writing
