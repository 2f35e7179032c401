"""A run of batches, killed at any step and resumed: a message a person at most, an outcome a row."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engager.models import Ending, EngageRequest, Invalid, Lost, Prepared, Reply, Row, Skipped, Withheld
from engager.policies.adaptive import Adaptive
from engager.policies.delivery import Delivery, Mode
from engager.policies.retry import Retry
from engager.requests.identity import RequestIds, fresh
from engager.requests.packing import BatchForm, Packer
from engager.run.pipeline import NextWorks, carry_out
from engager.run.plan import Plan
from engager.sending.limits import Limits
from engager.sending.stop import Stop
from engager.sending.transport.base import Admission, is_admitted
from engager.store.store import ResultStore
from tests.store.stored import make_store

#: Starts until nothing is odd any more.
STARTS = 6


class KilledError(Exception):
    """The process was killed."""


def join(items: Sequence[bytes]) -> tuple[bytes, tuple[bytes, ...]]:
    content = b"[" + b",".join(items) + b"]"
    return content, (content,)


async def in_loop(call: NextWorks) -> list[Prepared] | None:
    return call()


class Model:
    """An endpoint that remembers what it did, the way to it, and the process that sends."""

    def __init__(self, mode: Mode, rows: int, draw: Random, path: Path) -> None:
        self.mode, self.rows, self.draw, self.path = mode, rows, draw, path
        self.effects: Counter[int] = Counter()
        self.bodies: dict[str, bytes] = {}
        self.is_well = False
        self.starts = 0
        self._answers: dict[str, Reply] = {}
        self._left = 0  #: requests until the process is killed

    async def start(self) -> bool:
        """One process; returns whether it has completed the run."""
        self.starts += 1
        self.is_well = self.starts > STARTS
        self._left = self.draw.randint(1, 9)
        store = make_store(self.path)
        try:
            return await self._carried_out(store)
        except ExceptionGroup as group:
            if group.split(KilledError)[1] is not None:
                raise
            self.path = self.path.with_name(f"run{self.starts}")
            return False
        finally:
            store.close()

    async def _carried_out(self, store: ResultStore) -> bool:
        store.start(attempts=3)
        await store.flush()
        plan = Plan(
            concurrency=self.draw.choice((1, 3)),
            pace=None,
            retry=Retry(attempts=3, base_delay=0.0, max_delay=0.0),
            delivery=Delivery(self.mode),
            adaptive=Adaptive(),
        )
        packer = Packer(BatchForm(join, RequestIds("run"), 2, 1), self.draw.choice((1, 3, 7)), 10_000)
        limits = Limits.create(Stop(), None)
        chunks: Iterator[list[Row]] = iter([[_row(n) for n in range(1, self.rows + 1)]])
        done = await carry_out(plan, chunks, self.build, packer, self.send, fresh, store, limits, in_loop)
        await store.finish()
        return done

    def build(self, row: Row) -> EngageRequest | Invalid | Skipped:
        if row.number % 11 == 0:
            return Invalid(row, None, "malformed", "")
        if row.number % 7 == 0 and self.starts > row.number % 5:  # a list of excluded people has grown
            return Skipped(row, f"p{row.number}", "excluded", "")
        return EngageRequest(row, f"p{row.number}", "", (b"%d" % row.number,))

    async def send(self, body: tuple[bytes, ...], request_id: str, admission: Admission) -> Ending:
        if not await is_admitted(admission):
            return Withheld()
        assert self.bodies.setdefault(request_id, b"".join(body)) == b"".join(body)
        await asyncio.sleep(0)
        what = "well" if self.is_well else self.draw.choice(("well", "well", "lost", "late", "whole", "413"))
        self._may_be_killed()
        if what == "lost":
            return Lost("timeout", "before the effect")
        if what == "413":
            return Reply(413, b"<html>")
        answer = self._answer(request_id, orjson.loads(b"".join(body)), what)
        self._may_be_killed()
        return Lost("timeout", "after the effect") if what == "late" else answer

    def _may_be_killed(self) -> None:
        self._left -= 1
        if not self._left and not self.is_well:
            shutil.copytree(self.path, self.path.with_name(f"run{self.starts}"))
        if self._left <= 0 and not self.is_well:
            raise KilledError

    def _answer(self, request_id: str, rows: list[int], what: str) -> Reply:
        if self.mode is Mode.EXACTLY_ONCE and (known := self._answers.get(request_id)):
            return Reply(known.status, known.body, duplicate=True)
        result = []
        for row in rows if what != "whole" else ():
            code = 0 if self.is_well else self.draw.choice((0, 0, 0, 400, 429, 500))
            self.effects[row] += code == 0 or (code == 500 and self.draw.random() < 0.5)
            result.append({"error": code, "error_text": ""})
        if not self.is_well and len(result) > 1 and self.draw.random() < 0.2:
            result.pop()
        error = 400 if what == "whole" else 0
        said = (
            {"error": error, "error_text": "", "result": result}
            if result
            else {"error": error, "error_text": ""}
        )
        self._answers[request_id] = answer = Reply(200, orjson.dumps(said))
        return answer


def _row(number: int) -> Row:
    return Row(number, number + 1, "people.jsonl", {"email": f"p{number}"})


@pytest.mark.parametrize("mode", [Mode.EXACTLY_ONCE, Mode.AT_MOST_ONCE])
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 40))
def test_a_killed_run_of_batches_reaches_nobody_twice_and_accounts_for_everybody(
    mode: Mode, seed: int, rows: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = Model(mode, rows, Random(seed), Path(folder) / "run")
        model.path.mkdir()
        while not asyncio.run(model.start()):
            assert model.starts <= STARTS
        assert max(model.effects.values(), default=0) <= 1
        lines = [orjson.loads(line) for line in (model.path / "results.jsonl").read_bytes().splitlines()]
        assert sorted(line["row"] for line in lines) == [*range(1, rows + 1)]
        for line in lines:
            if line["status"] == "engaged":
                assert model.effects[line["row"]] == 1
            elif line["status"] not in ("in_doubt", "accepted"):
                assert model.effects[line["row"]] == 0, line
