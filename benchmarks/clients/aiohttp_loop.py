"""The least that can be done with a client session: encode, post, decode.

python -m benchmarks.clients.aiohttp_loop URL PEOPLE CERTIFICATE
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path

import aiohttp
import orjson

from benchmarks.clients.bodies import bodies

CONNECTIONS = 64


async def send_all(url: str, people: Path, certificate: str) -> None:
    work = bodies(people)
    connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=ssl.create_default_context(cafile=certificate))
    async with aiohttp.ClientSession(connector=connector) as session:

        async def worker() -> None:
            for body in work:
                async with session.post(url, data=body) as response:
                    assert orjson.loads(await response.read())["error"] == 0

        await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))


if __name__ == "__main__":
    asyncio.run(send_all(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
