"""What is often written first: httpx in a gather of workers.

python -m benchmarks.clients.httpx_loop URL PEOPLE CERTIFICATE
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path

import httpx

from benchmarks.clients.bodies import bodies

CONNECTIONS = 64


async def send_all(url: str, people: Path, certificate: str) -> None:
    work = bodies(people)
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    trusted = ssl.create_default_context(cafile=certificate)
    async with httpx.AsyncClient(limits=limits, verify=trusted, timeout=30) as client:

        async def worker() -> None:
            for body in work:
                response = await client.post(url, content=body)
                assert response.json()["error"] == 0

        await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))


if __name__ == "__main__":
    asyncio.run(send_all(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
