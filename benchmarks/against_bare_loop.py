"""Whole runs of engager beside a bare aiohttp loop that sends the same requests, in turn, to one endpoint.

    .venv/bin/python benchmarks/against_bare_loop.py               # CPU and throughput, as a ratio
    .venv/bin/python benchmarks/against_bare_loop.py --memory      # peak memory at two lengths of input
    .venv/bin/python benchmarks/against_bare_loop.py --rate 500    # the pace, measured at the endpoint

The endpoint is nginx with a fixed answer where there is one (Debian: `apt-get install nginx-light`), else a
small server of this file. Client and endpoint have a core each. Machines are noisy: read the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

ANSWER = '{"data":null,"error":0,"error_text":"Successful operation"}'
CONNECTIONS = 64

NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 100000000; client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{
        listen 127.0.0.1:{port};
        location / {{ default_type application/json; return 200 '{answer}'; }}
    }}
}}
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def endpoint(folder: Path) -> Iterator[str]:
    """A fixed answer on the second core."""
    port = free_port()
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx:
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, port=port, answer=ANSWER))
        command = [nginx, "-c", str(config), "-e", str(folder / "error.log")]
    else:
        command = [sys.executable, __file__, "--serve", str(port)]
    process = subprocess.Popen(pinned(command, 1))
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def pinned(command: list[str], core: int) -> list[str]:
    taskset = shutil.which("taskset")
    return [taskset, "-c", str(core), *command] if taskset and (os.cpu_count() or 1) > 1 else command


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the endpoint did not start")


def write_people(path: Path, rows: int) -> None:
    with path.open("w") as file:
        file.write("email,first_name,city,phone,bonus\n")
        for number in range(rows):
            file.write(f"person{number}@example.com,Anna,Moscow,+7900{number:07d},{number % 5000}\n")


JOB = """
[job]
name = "benchmark"
[endpoint]
url = "{url}"
token = "env:BENCHMARK_TOKEN"
[input]
path = "people.csv"
[request]
id = 12
matching = "email"
email = "{{email}}"
content = {{ first_name = "{{first_name}}", bonus = "{{bonus:int}}" }}
[limits]
concurrency = {concurrency}
"""


def run(command: list[str], folder: Path) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and peak memory in MB of a finished command."""
    env = {**os.environ, "BENCHMARK_TOKEN": "benchmark"}
    begun = time.perf_counter()
    process = subprocess.Popen(pinned(command, 0), cwd=folder, env=env, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command}: ended with {status}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - begun, usage.ru_maxrss / 1024


def engager(folder: Path, url: str, out: str, *flags: str) -> list[str]:
    (folder / "job.toml").write_text(JOB.format(url=url, concurrency=CONNECTIONS))
    shutil.rmtree(folder / out, ignore_errors=True)
    call = "from engager.cli import main; main()"
    return [sys.executable, "-c", call, "run", "job.toml", "--out", out, "--no-progress", "--quiet", *flags]


def compare(folder: Path, rows: int, turns: int) -> None:
    write_people(folder / "people.csv", rows)
    figures: dict[str, list[tuple[float, float, float]]] = {"engager": [], "bare loop": []}
    with endpoint(folder) as url:
        for turn in range(turns + 1):
            whole = run(engager(folder, url, "run"), folder)
            bare = run([sys.executable, __file__, "--bare", url], folder)
            if turn:  # the first turn warms up
                figures["engager"].append(whole)
                figures["bare loop"].append(bare)
    print(f"{rows:,} rows, {CONNECTIONS} connections, {turns} turns, medians")
    print(f"{'':12}{'CPU µs/row':>12}{'rows/s':>10}{'peak MB':>10}")
    for name, runs in figures.items():
        cpu, wall, memory = (statistics.median(column) for column in zip(*runs, strict=True))
        print(f"{name:12}{cpu / rows * 1e6:12.1f}{rows / wall:10.0f}{memory:10.0f}")
    pairs = list(zip(figures["engager"], figures["bare loop"], strict=True))
    print(f"engager / bare loop, CPU, pair by pair: {spread([a[0] / b[0] for a, b in pairs])}")
    print(f"engager / bare loop, time, pair by pair: {spread([a[1] / b[1] for a, b in pairs])}")


def spread(values: list[float]) -> str:
    return f"{min(values):.2f} … {statistics.median(values):.2f} … {max(values):.2f}"


def compare_memory(folder: Path, lengths: tuple[int, int]) -> None:
    with endpoint(folder) as url:
        for rows in lengths:
            write_people(folder / "people.csv", rows)
            cpu, wall, memory = run(engager(folder, url, "run"), folder)
            print(
                f"{rows:>10,} rows: peak {memory:6.1f} MB, {cpu / rows * 1e6:6.1f} CPU µs/row, {wall:.0f} s"
            )


def measure_rate(folder: Path, rate: float) -> None:
    rows, log = int(rate * 8), folder / "seen.jsonl"
    write_people(folder / "people.csv", rows)
    command = [sys.executable, "-c", "from engager.cli import main; main()", "sandbox"]
    command += ["--port", "0", "--latency", "20ms", "--log", str(log)]
    process = subprocess.Popen(pinned(command, 1), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().split()[-1]
    run(engager(folder, url, "run", "--set", f"limits.rate={rate}"), folder)
    process.terminate()
    process.wait()
    times = sorted(orjson.loads(line)["arrived"] for line in log.read_bytes().splitlines())
    first, worst = 0, 0
    for last, moment in enumerate(times):
        while times[first] <= moment - 1:
            first += 1
        worst = max(worst, last - first + 1)
    average = (len(times) - 1) / (times[-1] - times[0])
    print(f"rate {rate:g}: {len(times):,} requests, {average:.1f}/s on average, {worst} in the worst second")
    print(f"this machine keeps {stalls():.0%} of the time from a process that only looks at the clock")


def stalls() -> float:
    """How much of two seconds this machine keeps from a process that never waits."""
    begun = last = time.monotonic()
    lost = 0.0
    while last < begun + 2:
        now = time.monotonic()
        lost += now - last if now - last > 0.002 else 0
        last = now
    return lost / (last - begun)


async def bare(url: str) -> None:
    """The least that can be done with a client session: encode, post, decode."""
    import csv

    import aiohttp

    with Path("people.csv").open(newline="") as file:  # noqa: ASYNC230 - it is read as it is sent
        rows = iter(csv.DictReader(file))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:

            async def worker() -> None:
                for row in rows:
                    content = {"first_name": row["first_name"], "bonus": int(row["bonus"])}
                    fields = {"token": "benchmark", "id": 12, "matching": "email", "email": row["email"]}
                    body = orjson.dumps({**fields, "content": content})
                    async with session.post(f"{url}/api/v1.1/workflows/start", data=body) as response:
                        assert orjson.loads(await response.read())["error"] == 0

            await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))


async def serve(port: int) -> None:
    """An endpoint with a fixed answer, for machines without nginx."""
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(ANSWER)}\r\n\r\n{ANSWER}".encode()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            writer.write(answer)

    await (await asyncio.start_server(handle, "127.0.0.1", port)).serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--rate", type=float)
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.bare:
        asyncio.run(bare(given.bare))
        return
    if given.serve:
        asyncio.run(serve(given.serve))
        return
    with tempfile.TemporaryDirectory() as name:
        if given.memory:
            compare_memory(Path(name), (100_000, 1_000_000))
        elif given.rate:
            measure_rate(Path(name), given.rate)
        else:
            compare(Path(name), given.rows, given.turns)


if __name__ == "__main__":
    main()
