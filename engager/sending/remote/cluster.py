"""Remote senders on the workers of a Dask cluster, one actor a worker.

An actor, not tasks: the scheduler never executes a call of an actor again, as it does with the tasks of a
worker that is lost. The client repeats a call by itself when a connection breaks, which is why batches are
numbered.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from distributed import Client, Security

from engager.sending.remote.messages import BEGINNING, CalledSender
from engager.sending.remote.sender import StatelessSender
from engager.sending.remote.transport import Joined

#: Seconds between two questions to the scheduler; for which it may be silent, and questions may fail.
_ASK_EVERY: Final = 0.5
_GONE_AFTER: Final = 5.0

#: Seconds after which a worker that could not be used, or was lost, is tried again.
_AGAIN: Final = 5.0


class Cluster:
    """The workers of a cluster: those that are there, and those that join while the run lasts."""

    def __init__(
        self, scheduler: str, ca_file: str | None = None, cert: str | None = None, key: str | None = None
    ) -> None:
        self._scheduler = scheduler
        self._security = Security(
            tls_ca_file=ca_file,
            tls_client_cert=cert,
            tls_client_key=key,
            require_encryption=scheduler.startswith("tls:"),
        )
        self._client: Any = None  #: its types depend on the version
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ended: dict[str, float] = {}  #: when the task of a worker ended
        # What it says at a loss, this program says in its own words.
        for name in ("distributed", "distributed.client"):  # each has a level of its own
            logging.getLogger(name).setLevel(logging.CRITICAL)

    async def connect(self) -> None:
        """Connect to the scheduler. Raises OSError or TimeoutError."""
        self._client = await Client(
            self._scheduler,
            security=self._security,
            asynchronous=True,
            timeout=_GONE_AFTER,
            set_as_default=False,
            name="engager",
        )

    async def workers(self) -> list[str]:
        """The addresses of the workers. Raises OSError or TimeoutError where the scheduler is silent."""
        async with asyncio.timeout(_GONE_AFTER):
            return list(await self._client.nthreads())

    async def watch(self, joined: Joined, left: Callable[[str], None]) -> str:
        """Report the workers that come and go, until the scheduler is gone; returns why."""
        try:
            await self.connect()
        except (OSError, ValueError) as fault:
            return f"the scheduler {self._scheduler} cannot be reached: {fault}"
        failing: float | None = (
            None  #: since when; not the last reply, which is old after a stop of this process
        )
        while failing is None or time.monotonic() - failing < _GONE_AFTER:
            try:
                present = await self.workers()
            except Exception:  # a closed client raises more than OSError
                failing = failing or time.monotonic()
                await asyncio.sleep(_ASK_EVERY)
                continue
            failing = None
            for name in self._tasks.keys() - present:
                left(name)
            for name in present:
                self._use(name, joined)
            await asyncio.sleep(_ASK_EVERY)
        return f"the scheduler {self._scheduler} is gone"

    def _use(self, name: str, joined: Joined) -> None:
        """Let a worker join, unless it has, or was lost a moment ago."""
        task, now = self._tasks.get(name), time.monotonic()
        if task is not None and not task.done():
            return
        if task is not None and now - self._ended.setdefault(name, now) < _AGAIN:
            return
        self._ended.pop(name, None)
        self._tasks[name] = joined(name, self.sender(name))

    def sender(self, worker: str) -> CalledSender:
        """The sender of a worker, which its first call creates."""
        actors: list[Any] = []

        async def call(name: str, *args: Any) -> Any:
            if not actors:
                future = self._client.submit(
                    StatelessSender,
                    key=f"engager-sender-{uuid4().hex}",
                    workers=[worker],
                    allow_other_workers=False,
                    actor=True,
                    pure=False,
                )
                async with asyncio.timeout(BEGINNING):
                    with self._client.as_current():  # an actor finds its client by that
                        actors.append(await future)
                actors.append(future)  # the actor lives as long as this
            return await getattr(actors[0], name)(*args)

        return CalledSender(call)

    async def aclose(self) -> None:
        """Leave the cluster."""
        if self._client is not None:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(2):
                    await self._client.close(timeout=1)
