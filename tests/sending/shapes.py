"""Load shapes as data, and how the adaptive limits cope with each, in virtual time.

    python -m tests.sending.shapes                # the table
    python -m tests.sending.shapes "halves"       # shapes whose names contain this

A simulated endpoint has a number of workers, a service time and a queue; it may refuse requests beyond a
bound. The throughput, as a share of the best possible, and the load on the endpoint are measured over the
whole run and over its last quarter.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from statistics import fmean

from engager.errors import Exit
from engager.models import Ending, EngageRequest, Reply, Row, Withheld
from engager.policies.adaptive import Adaptive, concurrency_settings, rate_settings
from engager.policies.delivery import Delivery
from engager.policies.rate import Pace
from engager.policies.retry import Retry
from engager.sending.adaptive import with_adaptive_limit
from engager.sending.admission import AdmissionControl
from engager.sending.limits import Limits, RateLimiter, RetryBudget
from engager.sending.pause import PauseGate
from engager.sending.retry import Engage, with_retry
from engager.sending.sender import Sender
from engager.sending.stop import Stop
from engager.sending.transport.base import Admission, is_admitted
from tests.conftest import VirtualLoop

OK = Reply(200, b'{"data":null,"error":0,"error_text":"Successful operation"}')
FAULT = Reply(500, b"")

#: Seconds into the run → a number.
Curve = Callable[[float], float]


def at(*steps: tuple[float, float]) -> Curve:
    """A curve in steps: from each moment on, a value."""
    return lambda now: next(value for since, value in reversed(steps) if now >= since)


def always(value: float) -> Curve:
    return lambda now: value


NONE, A_TENTH, TWENTY = always(0), always(0.1), always(20)


@dataclass(frozen=True)
class Shape:
    """How an endpoint behaves."""

    name: str
    workers: Curve = TWENTY  #: requests that it works on at a time
    service: Curve = A_TENTH  #: seconds that it works on one
    jitter: float = 0.0  #: spread of that, as the sigma of a lognormal
    capacity: float = 1e9  #: requests in work and in the queue beyond which it responds 503
    rate: float = 1e9  #: requests a second beyond which it responds 429
    retry_after: str | None = None
    faults: Curve = NONE  #: share that ends at once, as a 500
    seconds: float = 80.0

    def best(self, now: float, concurrency: int) -> float:
        """Requests per second that it could serve at a concurrency."""
        workers = min(self.workers(now), self.capacity, concurrency)
        return min(workers / self.service(now), self.rate) * (self.faults(now) < 1)


SHAPES = (
    Shape("constant capacity"),
    Shape("a capacity that halves", workers=at((0, 32), (30, 16))),
    Shape("a capacity that collapses", workers=at((0, 32), (30, 4))),
    Shape("a capacity that recovers", workers=at((0, 32), (20, 8), (40, 32))),
    Shape("a queue that grows", workers=lambda now: max(8.0, 32 - now / 2.5)),
    Shape("a hard rate limit", rate=100),
    Shape("a hard rate limit with Retry-After", rate=100, retry_after="1"),
    Shape("503 when over capacity", capacity=30, workers=always(30)),
    Shape("latency that jumps for a while", service=at((0, 0.05), (20, 0.2), (40, 0.05))),
    Shape("fast errors for a while", faults=at((0, 0), (20, 1), (30, 0))),
    Shape("a third fast errors", faults=always(0.33)),
    Shape("jittery latency", jitter=0.5),
    Shape("very jittery latency", jitter=1.0),
    Shape("a cold cache", service=lambda now: 0.05 + 0.5 * max(0.0, 1 - now / 20)),
    Shape("a capacity of one", workers=always(1), service=always(0.05)),
    Shape("a very high capacity", workers=always(5000), service=always(0.1), seconds=15),
)


class Endpoint:
    """A transport that behaves as a shape does, and records the requests that reached it."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.served: list[tuple[float, float]] = []  #: when each arrived, and its seconds in the endpoint
        self.sent: list[float] = []
        self.refused: list[float] = []
        self.longest_queue = 0  #: requests in the queue at most
        self._working = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._tokens, self._at = 1.0, 0.0
        self._chance = random.Random(4711)

    async def send(self, body: tuple[bytes, ...], request_id: str, admission: Admission) -> Ending:
        if not await is_admitted(admission):
            return Withheld()
        shape, now = self.shape, asyncio.get_running_loop().time()
        self.sent.append(now)
        if self._chance.random() < shape.faults(now):
            await asyncio.sleep(0.005)
            return FAULT
        if self._is_over_rate(now) or self._working + len(self._queue) >= shape.capacity:
            self.refused.append(now)
            await asyncio.sleep(0.005)
            return Reply(429 if shape.rate < 1e9 else 503, b"", retry_after=shape.retry_after)
        await self._work()
        self.served.append((now, asyncio.get_running_loop().time() - now))
        return OK

    def _is_over_rate(self, now: float) -> bool:
        """A bucket of tokens, a tenth of a second deep."""
        depth = max(1.0, self.shape.rate / 10)
        self._tokens = min(depth, self._tokens + (now - self._at) * self.shape.rate)
        self._at = now
        if self._tokens < 1:
            return True
        self._tokens -= 1
        return False

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        self._queue.append(loop.create_future())
        turn = self._queue[-1]
        self._admit(loop.time())
        self.longest_queue = max(self.longest_queue, len(self._queue))
        await turn
        spread = self._chance.lognormvariate(-(self.shape.jitter**2) / 2, self.shape.jitter)
        await asyncio.sleep(self.shape.service(loop.time()) * spread)
        self._working -= 1
        self._admit(loop.time())

    def _admit(self, now: float) -> None:
        while self._queue and self._working < int(self.shape.workers(now)):
            self._working += 1
            self._queue.popleft().set_result(None)


@dataclass(frozen=True)
class Measures:
    """The measures of a run against a shape."""

    best: float  #: requests a second that were possible in the last quarter
    reached: float  #: requests a second that were served then
    whole: float  #: share of the possible that was served over the whole run
    refused: float  #: share of what was sent that was refused
    inflation: float  #: latency in the last quarter, in times of an idle endpoint's
    longest_queue: int  #: the longest queue
    sent: list[float]  #: when each request was sent

    @property
    def ratio(self) -> float:
        return self.reached / self.best


#: What is adaptive → the policies, and the concurrency.
LIMITS: dict[str, tuple[Adaptive, int]] = {
    "concurrency": (Adaptive(concurrency=concurrency_settings(256)), 256),
    "rate": (Adaptive(rate=rate_settings(1e9)), 64),
    "both": (Adaptive(concurrency_settings(256), rate_settings(1e9)), 256),
}


def compose(endpoint: Endpoint, adaptive: Adaptive, stop: Stop) -> Engage:
    """All policies around a simulated endpoint."""
    retry, clock = Retry(attempts=1000), asyncio.get_running_loop().time
    gate = PauseGate(stop)
    rate_limiter = RateLimiter(Pace(adaptive.rate.begin().value) if adaptive.rate else None, stop, gate)
    limits = Limits(stop, gate, rate_limiter)
    admission = AdmissionControl(limits, Delivery(), clock, list.clear, False)
    sender = Sender(endpoint.send, admission.admit, limits, retry)
    attempt = with_adaptive_limit(adaptive, rate_limiter, sender.attempt_once)
    budget = RetryBudget(retry.budget_rate, retry.budget_reserve)
    return with_retry(
        attempt, retry, Delivery(), budget, stop, lambda first, _: first, lambda _: None, clock
    ).engage


async def send_to_shape(shape: Shape, adaptive: Adaptive, concurrency: int) -> Measures:
    """Send to the shape, with a concurrency, for its duration."""
    stop, endpoint, numbers = Stop(), Endpoint(shape), count(1)
    engage = compose(endpoint, adaptive, stop)

    async def work() -> None:
        while not stop.requested:
            number = next(numbers)
            await engage(EngageRequest(Row(number, number, "people.csv", []), "key", str(number), (b"",)))

    asyncio.get_running_loop().call_later(shape.seconds, stop.request, Exit.STOPPED, "enough")
    await asyncio.gather(*(work() for _ in range(concurrency)))
    return _measures(endpoint, concurrency)


def _measures(endpoint: Endpoint, concurrency: int) -> Measures:
    shape = endpoint.shape
    late = shape.seconds * 3 / 4
    ended = [left + seconds for left, seconds in endpoint.served]
    bests = [shape.best(second + 0.5, concurrency) for second in range(int(shape.seconds))]
    slowed = [seconds / shape.service(left) for left, seconds in endpoint.served if left >= late]
    return Measures(
        best=fmean(bests[int(late) :]),
        reached=sum(late <= moment < shape.seconds for moment in ended) / (shape.seconds - late),
        whole=sum(moment < shape.seconds for moment in ended) / sum(bests),
        refused=len(endpoint.refused) / len(endpoint.sent),
        inflation=fmean(slowed),
        longest_queue=endpoint.longest_queue,
        sent=endpoint.sent,
    )


def measure(shape: Shape, limit: str) -> Measures:
    """Measure a run on its own loop; its random draws, those of retries included, are always the same."""
    random.seed(4711)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(send_to_shape(shape, *LIMITS[limit]))


def main(part: str = "") -> None:
    head = f"{'shape':36}{'adaptive':13}{'best/s':>8}{'reached':>9}{'ratio':>7}{'whole':>7}"
    print(f"{head}{'refused':>9}{'latency':>9}{'queue':>7}")
    for shape in SHAPES:
        for limit in LIMITS if part in shape.name else ():
            a = measure(shape, limit)
            row = f"{shape.name:36}{limit:13}{a.best:8.0f}{a.reached:9.1f}{a.ratio:7.2f}{a.whole:7.2f}"
            print(f"{row}{a.refused:9.2%}{a.inflation:8.2f}x{a.longest_queue:7}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
