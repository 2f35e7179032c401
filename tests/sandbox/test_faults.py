"""Faults: their shares, their seed, and their effect on a client."""

from __future__ import annotations

import asyncio
from collections import Counter

import aiohttp
import orjson
import pytest

from engager.sandbox import Sandbox, SandboxConfig
from engager.sandbox.faults import FAULTS, HARMLESS, FaultPlan, Faults, ItemFaults

START = "workflows/start", b'{"token":"t","id":12,"email":"ann@x.org"}'
BATCH = (
    "workflows/import_and_start_batch",
    b'{"token":"t","workflow_id":12,"matching":"email","data":[{"email":"ann@x.org"},{"email":"bob@x.org"}]}',
)


def test_one_seed_draws_the_same_faults() -> None:
    plan = FaultPlan({"503": 0.2, "reset_after": 0.1})
    draws = [
        [faults.draw() for _ in range(5000)] for faults in (Faults(plan, 3), Faults(plan, 3), Faults(plan, 4))
    ]
    assert draws[0] == draws[1] != draws[2]
    counts = Counter(draws[0])
    assert counts["503"] == pytest.approx(1000, rel=0.1)
    assert counts["reset_after"] == pytest.approx(500, rel=0.15)


def test_faults_of_items_do_not_change_the_faults_of_requests() -> None:
    alone, both = {"503": 0.2}, {"item_503": 0.2, "503": 0.2}
    draws = [
        [faults.draw() for _ in range(500)] for faults in (Faults(FaultPlan(s), 3) for s in (alone, both))
    ]
    assert draws[0] == draws[1]
    items = [ItemFaults(FaultPlan(both), seed) for seed in (3, 3, 4)]
    first, same, other = ([faults.draw() for _ in range(500)] for faults in items)
    assert first == same != other


async def provoke(fault: str, method: str, body: bytes) -> tuple[object, bool]:
    """What a client sees of a fault, and whether a message was sent."""
    config = SandboxConfig.from_mapping({"faults": {fault: 1.0}, "retry_after": 7, "keep_log": True})
    timeout = aiohttp.ClientTimeout(total=0.5 if "silence" in fault else 20)
    async with Sandbox(config) as sandbox, aiohttp.ClientSession(timeout=timeout) as session:
        try:
            async with session.post(f"{sandbox.url}/api/v1.1/{method}", data=body) as response:
                seen: object = (response.status, await response.read(), response.headers)
        except (aiohttp.ClientError, TimeoutError) as ended:
            seen = type(ended)
        await asyncio.sleep(0)
        (entry,) = sandbox.log
        assert entry.fault == fault
        assert sum(entry.effects) == sandbox.brain.effects.total()
        assert entry.effect == any(entry.effects)
        return seen, entry.effect


@pytest.mark.parametrize("request_", [START, BATCH], ids=["start", "batch"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_occurs_before_or_after_processing(fault: str, request_: tuple[str, bytes]) -> None:
    seen, effect = await provoke(fault, *request_)
    assert effect is FAULTS[fault]
    if fault in HARMLESS:
        assert isinstance(seen, tuple)
        assert b"Successful" in seen[1]
    elif fault in ("short_result", "long_result"):
        assert isinstance(seen, tuple)
        length = {"short_result": 1, "long_result": 3}[fault] if request_ is BATCH else 0
        assert len(orjson.loads(seen[1]).get("result", ())) == length
    elif fault in ("429", "503"):
        assert isinstance(seen, tuple)
        assert (seen[0], seen[2]["Retry-After"]) == (int(fault), "7")
    elif fault in ("413", "500", "500_after"):
        assert isinstance(seen, tuple)
        assert (seen[0], b"<html>" in seen[1]) == (int(fault[:3]), True)
    elif fault.startswith(("reset", "silence")) or fault in ("garbage", "truncated"):
        assert isinstance(seen, type)
    else:
        assert isinstance(seen, tuple)
        assert b"Successful" not in seen[1]
