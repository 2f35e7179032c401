"""Sends runs of the import methods to odd endpoints, and compares every claim with what was done.

    python -m tests.odd.imports --cases 500            # the long form
    python -m tests.odd.imports --seed 4711 --cases 1  # one case again, exactly as it was drawn

The invariant is that of `tests.odd.endpoints`, for each person of a batch. Between the starts of a run, the
settings of batches change, a list of excluded people grows, and some starts are stopped or killed.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import engager
from engager import Summary
from tests.odd.endpoints import MODES, Case, Course, main
from tests.odd.odd_imports import MANNERS, ImportNature, ImportServer
from tests.odd.odd_server import ALL_TWISTS, OddServer

_TWISTS = (*ALL_TWISTS, "reset_mid_body")

#: How a start ends before its end.
_ENDS = ("none", "none", "limit", "stop", "cancel", "kill", "kill")


@dataclass(frozen=True)
class ImportCase(Case):
    """One case, drawn from its seed."""

    command: ClassVar = "tests.odd.imports"

    nature: ImportNature
    batch_rows: tuple[int, ...]  #: of each start
    batch_bytes: tuple[int, ...]
    split: bool
    unique: bool
    excludes: bool  #: a list of excluded people grows from start to start
    ends: tuple[str, ...]  #: how each start ends
    durability: str

    @classmethod
    def drawn(cls, seed: int) -> ImportCase:
        draw = random.Random(f"imports {seed}")
        mode = draw.choice(MODES)
        hopeless = draw.random() < 0.06
        method = draw.choice(
            (*["import_and_start_batch"] * 6, "import_and_start_batch_task", "import_and_start")
        )
        twists = draw.sample(_TWISTS, draw.choice((1, 2, 3, len(_TWISTS))))
        bad_row = draw.choice(("one", "one", "one", "untouched", "touched"))
        changes, excludes = draw.random() < 0.5, draw.random() < 0.3
        most = draw.choice((1, 2, 3, 7, 20, 50))
        sizes = [draw.choice((1, 2, 3, 7, 20, 50)) if changes else most for _ in range(8)]
        lengths = [draw.choice((2000, 5000, 1_000_000)) if changes else 1_000_000 for _ in range(8)]
        nature = ImportNature(
            method=method,
            deduplicates=mode == "exactly-once" or draw.random() < 0.5,
            replays_errors=draw.random() < 0.7,
            refuses_in_flight=draw.random() < 0.3,
            answer=draw.choice(("json", "json", "xml")),
            twists=tuple(twists),
            share=1.0 if hopeless else draw.choice((0.0, 0.0, 0.1, 0.4, 0.8)),
            odd_requests=10**9 if hopeless else draw.choice((1, 4, 20, 60, 200)),
            rejects=draw.choice((0, 0, 5, 13)),
            xml_item=draw.choice(("xml", "result")),
            result=draw.choice(("objects", "objects", "objects", "ids", "none")),
            bad_row=bad_row,
            manners=tuple(draw.sample(MANNERS, draw.choice((1, 2, len(MANNERS))))),
            codes=draw.choice((0.0, 0.0, 0.1, 0.4, 1.0)),
            fatal=draw.random() < 0.1,
            most_bytes=draw.choice((None, None, 700, 2500, 8000)),
            # Of a run without batches, a first row that a gateway finds too large stops each start.
            own_refusal=draw.random() < 0.5 or method == "import_and_start",
        )
        return cls(
            seed=seed,
            mode=mode,
            rows=draw.randint(1, 120),
            nature=nature,
            concurrency=draw.choice((1, 4, 8)),
            attempts=draw.choice((1, 2, 5, 8)),
            transport=draw.choice(("lean", "lean", "aiohttp")),
            format=draw.choice(("json", "json", "xml")),
            uvloop=draw.random() < 0.3,
            hopeless=hopeless,
            passes=draw.choice(((), (False,), (False,), (False, True), (True, False))),
            batch_rows=tuple(sizes),
            batch_bytes=tuple(lengths),
            # Of an endpoint that refuses a batch after it engaged some of it, halves are a second message.
            split=bad_row != "touched" and draw.random() < 0.8,
            unique=draw.random() < 0.3,
            excludes=excludes,
            ends=tuple(draw.choice(_ENDS) if draw.random() < 0.7 else "none" for _ in range(8)),
            durability=draw.choice(("process", "process", "disk")),
        )

    @property
    def emails(self) -> list[str]:
        """The address in each row; some are none, and some people are in two rows."""
        draw = random.Random(f"people {self.seed}")
        found = [f"p{number}@example.com" for number in range(1, self.rows + 1)]
        for row in range(1, self.rows):
            if draw.random() < 0.05:
                found[row] = draw.choice(("nobody", "", " "))
            elif self.unique and draw.random() < 0.1:
                found[row] = found[draw.randrange(row)]
        return found

    def server(self) -> OddServer:
        """The endpoint of it."""
        return ImportServer(self.nature, self.seed)

    def course(self, folder: Path, server: OddServer, url: str) -> Course:
        """What happens in it."""
        return ImportCourse(self, folder, server, url)

    def write_input(self, folder: Path) -> None:
        """Write the file of people."""
        draw = random.Random(f"cells {self.seed}")
        names = ("", " ", "Ann", "<b>Zoë & co</b>", "李", "long " * 100, "long " * 400)
        lines = [
            f"{email},{draw.choice(names)},{draw.choice(('', '7', '+79160000001'))}\n"
            for email in self.emails
        ]
        (folder / "people.csv").write_text("email,name,phone\n" + "".join(lines))
        (folder / "excluded.txt").write_text("nobody@example.com\n")

    def tables(self, url: str, start: int = 0) -> dict[str, Any]:
        """The tables of its job at one of its starts."""
        tables = super().tables(url)
        tables["request"] = {
            "method": self.nature.method,
            "workflow_id": 12,
            "matching": "email",
            "skip_triggers": True,
            "email": "{email}",
            "data": {
                "email": "{email}",
                "_fname": "{name}",
                "code": "{phone}",
                "subscriptions": [{"channel": "email", "email": "{email}", "status": "{name}"}],
            },
        }
        if self.nature.method != "import_and_start":
            rows, size = self.batch_rows[start], self.batch_bytes[start]
            tables["batch"] = {"rows": rows, "bytes": size, "split": self.split}
        tables["input"] |= {"unique": self.unique}
        if self.excludes:
            tables["input"] |= {"exclude": "excluded.txt"}
        tables["delivery"] |= {"durability": self.durability}
        # One row after another may be refused with the same error.
        tables["stop"] = {"all_rejected": 0}
        return tables


class ImportCourse(Course):
    """The course of one case."""

    case: ImportCase
    server: ImportServer

    async def _start(self, start: int) -> Summary | None:
        """Carry out one start of the run; None if it was killed."""
        self.job = engager.build_job(self.case.tables(self.url, start), base=self.folder)
        self.limited = False
        draw, how = random.Random(f"start {start} {self.case.seed}"), self.case.ends[start]
        if self.case.excludes and start:
            person = draw.choice(self.case.emails)
            if "@" in person:
                with (self.folder / "excluded.txt").open("a") as excluded:
                    excluded.write(f"{person}\n")
        if how == "none" or (self.server.well and not self.case.hopeless):
            return await self._carried_out(None)
        if how == "limit":
            self.limited = True
            return await engager.run_async(self.job, out=self.run, limit=draw.randint(1, self.case.rows))
        return await self._ended_early(how, draw.choice((0.0, 0.01, 0.03, 0.1, 0.3)))

    async def _ended_early(self, how: str, seconds: float) -> Summary | None:
        control = engager.Control()
        run = asyncio.create_task(engager.run_async(self.job, out=self.run, control=control))
        await asyncio.wait([run], timeout=seconds)
        if run.done() or not (self.run / "run.json").exists():
            return await run
        self.server.happened[how] += 1
        if how == "stop":
            control.stop("the test stops it")
            return await run
        if how == "kill":
            # What a kill at this moment leaves. What the process does after it does not count.
            self.server.deaf = True
            shutil.copytree(self.run, self.folder / "killed", ignore=shutil.ignore_patterns("control"))
        run.cancel()
        with suppress(asyncio.CancelledError):
            await run
        await self.server.rest()
        if how == "kill":
            self.server.deaf = False
            shutil.rmtree(self.run)
            (self.folder / "killed").rename(self.run)
        return None

    def _claim(self, line: dict[str, Any]) -> Iterator[str]:
        person, status = self.case.emails[line["row"] - 1], line["status"]
        if ("@" in person) is (status == "invalid") and line["error"] not in ("too_large", "blank"):
            yield f"row {line['row']}: {person!r} is {status} ({line})"
        if status in ("skipped", "invalid") and self._rows[person] > 1:
            return  # the person was engaged, or will be, by another row
        if status == "skipped" and person in self.server.denied:
            return  # a 503 of a gateway is assumed to be true
        yield from super()._claim(line)

    def _is_once(self, person: str) -> bool:
        """Whether the person may have one message only.

        Not where a row is sent again alone, as the mode allows it, or as it was in doubt and this was asked
        for; nor where a 503 of a gateway followed the effect, and the batch has other rows by now.
        """
        is_changed = self.case.excludes and person in self.server.denied
        is_again = self.case.mode == "at-least-once" or person in self._doubted
        return not is_changed and not is_again and super()._is_once(person)

    @property
    def _doubted(self) -> set[str]:
        """The people who were in doubt before a pass that sent them again."""
        if not self.asked_for:
            return set()
        texts = [path.read_text() for path in self.run.glob("results.*.jsonl")]
        lines = [json.loads(line) for text in texts for line in text.splitlines()]
        return {self.case.emails[line["row"] - 1] for line in lines if line["status"] == "in_doubt"}

    @property
    def _rows(self) -> Counter[str]:
        return Counter(self.case.emails)


if __name__ == "__main__":
    main(__doc__, ImportCase.drawn)
