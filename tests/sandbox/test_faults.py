"""Faults: by share, by seed, and as they look from outside."""

from __future__ import annotations

import asyncio
from collections import Counter

import aiohttp
import pytest

from engager.sandbox import Sandbox, SandboxConfig
from engager.sandbox.faults import FAULTS, HARMLESS, FaultPlan, Faults

BODY = b'{"token":"t","id":12,"email":"ann@x.org"}'


def test_the_same_seed_is_the_same_course() -> None:
    plan = FaultPlan({"503": 0.2, "reset_after": 0.1})
    draws = [
        [faults.draw() for _ in range(5000)] for faults in (Faults(plan, 3), Faults(plan, 3), Faults(plan, 4))
    ]
    assert draws[0] == draws[1] != draws[2]
    counts = Counter(draws[0])
    assert counts["503"] == pytest.approx(1000, rel=0.1)
    assert counts["reset_after"] == pytest.approx(500, rel=0.15)


async def suffer(fault: str) -> tuple[object, bool]:
    """What a client sees of a fault, and whether a message went out."""
    config = SandboxConfig.from_mapping({"faults": {fault: 1.0}, "retry_after": 7, "keep_log": True})
    timeout = aiohttp.ClientTimeout(total=0.5 if "silence" in fault else 20)
    async with Sandbox(config) as sandbox, aiohttp.ClientSession(timeout=timeout) as session:
        try:
            async with session.post(f"{sandbox.url}/api/v1.1/workflows/start", data=BODY) as response:
                seen: object = (response.status, await response.read(), response.headers)
        except (aiohttp.ClientError, TimeoutError) as ended:
            seen = type(ended)
        await asyncio.sleep(0)
        (entry,) = sandbox.log
        assert entry.fault == fault
        assert entry.effect == bool(sandbox.brain.effects.total())
        return seen, entry.effect


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_fault_strikes_before_or_after_as_it_says(fault: str) -> None:
    seen, effect = await suffer(fault)
    assert effect is FAULTS[fault]
    if fault in HARMLESS:
        assert isinstance(seen, tuple)
        assert b"Successful" in seen[1]
    elif fault in ("429", "503"):
        assert isinstance(seen, tuple)
        assert (seen[0], seen[2]["Retry-After"]) == (int(fault), "7")
    elif fault.startswith("500"):
        assert isinstance(seen, tuple)
        assert (seen[0], b"<html>" in seen[1]) == (500, True)
    elif fault in ("reset_before", "reset_after", "silence_before", "silence_after", "garbage", "truncated"):
        assert isinstance(seen, type)
    else:
        assert isinstance(seen, tuple)
        assert b"Successful" not in seen[1]
