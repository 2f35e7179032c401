"""An nginx of one worker on a core of its own: a fixed answer, plain, over TLS and after given delays.

It counts what it answers, so that no client's word has to be taken for what it sent.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environment import find
from benchmarks.measure import SERVER_CORE, start

METHOD = "/api/v1.1/workflows/start"
IMPORTS = "/api/v1.1/workflows/import_and_start"
ANSWER = '{"data":null,"error":0,"error_text":"Successful operation"}'
#: Rows of the batches that are answered.
BATCH = 500

ECHO = "/usr/lib/nginx/modules/ngx_http_echo_module.so"

CONFIG = """
{modules}
worker_processes 1; worker_rlimit_nofile 16384; daemon off; pid nginx.pid; error_log error.log;
events {{ worker_connections 8192; }}
http {{
    log_format moment $msec; access_log {log};
    keepalive_requests 100000000; keepalive_timeout 300; default_type application/json;
    client_body_temp_path body; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    ssl_certificate certificate.pem; ssl_certificate_key key.pem; ssl_protocols TLSv1.3;
    server {{ listen 127.0.0.1:{counted}; access_log off; location / {{ stub_status; }} }}
    {servers}
}}
"""
SERVER = """
    server {{
        listen 127.0.0.1:{port}{tls} backlog=4096;
        client_max_body_size 10m; client_body_buffer_size 2m;
        location = {method} {{ {act} }}
        location = {imports} {{ return 200 '{answer}'; }}
        location = {imports}_batch {{ root .; error_page 405 =200 $uri; }}
        location @answer {{ return 200 '{answer}'; }}
    }}
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the answers are."""

    plain: str
    tls: str
    delayed: dict[int, str]  #: by milliseconds
    certificate: Path
    counted: str

    def answered(self) -> int:
        """How many requests were answered so far, this question included."""
        with urllib.request.urlopen(self.counted) as page:
            return int(page.read().split(b"\n")[2].split()[2])


@contextmanager
def endpoint(folder: Path, delays: Sequence[int] = (), log: Path | None = None) -> Iterator[Endpoint]:
    """Serve until the block ends; `log`: where the moment of each request is written to."""
    nginx = find("nginx")
    if nginx is None:
        sys.exit("benchmarks: there is no nginx here, which everything is measured against.")
    _certify(folder)
    _write_batch_answer(folder)
    counted, plain, tls, *slow = ports = free_ports(3 + len(delays))
    servers = [_server(plain), _server(tls, " ssl")]
    servers += [_server(port, delay=delay) for port, delay in zip(slow, delays, strict=True)]
    modules = f"load_module {ECHO};" if delays else ""
    config = folder / "nginx.conf"
    written = f"{log} moment" if log else "off"
    config.write_text(CONFIG.format(modules=modules, log=written, counted=counted, servers="".join(servers)))
    command = [nginx, "-p", str(folder), "-c", str(config), "-e", "error.log"]
    # What it has to wait for the core, its log would show as a bunch of requests that left one by one.
    process = start(command, [SERVER_CORE], first=True)
    try:
        for port in ports:
            wait_for(port, process)
        delayed = {delay: f"http://127.0.0.1:{port}" for delay, port in zip(delays, slow, strict=True)}
        yield Endpoint(
            f"http://127.0.0.1:{plain}",
            f"https://127.0.0.1:{tls}",
            delayed,
            folder / "certificate.pem",
            f"http://127.0.0.1:{counted}",
        )
    finally:
        process.terminate()
        process.wait()


def _server(port: int, tls: str = "", delay: int = 0) -> str:
    # echo_sleep hands on to a fixed answer: an answer of echo's own would be chunked.
    wait = f"echo_sleep {delay / 1000}; echo_exec @answer;" if delay else f"return 200 '{ANSWER}';"
    return SERVER.format(port=port, tls=tls, method=METHOD, imports=IMPORTS, act=wait, answer=ANSWER)


def _write_batch_answer(folder: Path) -> None:
    """The answer to a batch of `BATCH` rows, as a file: it is too long for the configuration."""
    entries = ",".join(
        f'{{"error":0,"error_text":"Successful operation","profile_id":"{number:024x}"}}'
        for number in range(BATCH)
    )
    path = folder / f"{IMPORTS}_batch".removeprefix("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    for parent in (path.parent, path.parent.parent, path.parent.parent.parent):
        parent.chmod(0o755)
    path.write_text(f'{ANSWER[:-1]},"result":[{entries}]}}')


def _certify(folder: Path) -> None:
    command = (
        "openssl req -x509 -nodes -days 30 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=localhost"
    )
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "keyUsage=digitalSignature,keyCertSign"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)


def free_ports(count: int) -> list[int]:
    found = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in found]
    for each in found:
        each.close()
    return ports


def wait_for(port: int, process: subprocess.Popen[str]) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
        if process.poll() is not None:
            break
    sys.exit("benchmarks: the endpoint did not start.")
