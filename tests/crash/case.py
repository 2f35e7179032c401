"""A case, drawn from a seed: the endpoint, the input, the kills, and the damage between processes."""

from __future__ import annotations

import json
import random
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash.deadly import OFTEN, POINTS, RARE, RESUMING, SYNCED

MODES = ("exactly-once", "at-most-once", "at-least-once")

ENDPOINTS: dict[str, dict[str, Any]] = {
    "deduplicates": {},
    "forgets errors": {"replay_errors": False},
    "refuses repeats in flight": {"refuse_in_flight": True},
    "does not deduplicate": {"deduplicate": False},
}

FAULTS = {
    "429": 0.03,
    "503": 0.06,
    "500": 0.04,
    "500_after": 0.04,
    "reset_before": 0.04,
    "reset_after": 0.04,
    "garbage": 0.04,
    "truncated": 0.03,
    "empty": 0.03,
    "bad_bytes": 0.02,
    "close": 0.03,
    "413": 0.02,
    "reset_mid_body": 0.02,
}

JOB = """
[job]
name = "crash"
[endpoint]
url = "{url}"
token = "file:token"
timeout = 2
[input]
path = "people.{suffix}"
unique = {unique}
{request}
[limits]
concurrency = {concurrency}
[retry]
attempts = {attempts}
base_delay = 0.005
max_delay = 0.02
budget = 10000
[breaker]
pause = 0.02
longest_pause = 0.1
[delivery]
mode = "{mode}"
durability = "{durability}"
[output]
results = "{results}"
"""

#: The part of a job that says what a request carries: one row, or a batch of them.
OF_ONE_ROW = """[request]
id = 12
email = "{email}"
"""
OF_MANY_ROWS = """[request]
method = "import_and_start_batch"
workflow_id = 12
matching = "email"
email = "{{email}}"
skip_triggers = true
data = {{ email = "{{email}}", subscriptions = [{{ channel = "email", email = "{{email}}" }}] }}
[batch]
rows = {batch}
"""

#: Rows of a batch; 0: the method carries one row.
BATCHES = (0, 0, 7, 500)

#: How an endpoint speaks of the rows of a batch.
SPEECHES: tuple[dict[str, Any], ...] = (
    {},
    {"batch_result": "ids"},
    {"batch_result": "none"},
    {"bad_item_refuses_batch": True},
)

#: Faults of rows of a batch, and of batches.
BATCH_FAULTS = {
    "item_400": 0.03,
    "item_429": 0.05,
    "item_503": 0.03,
    "item_500": 0.03,
    "short_result": 0.03,
    "long_result": 0.03,
    "413": 0.03,
    "reset_mid_body": 0.03,
}


@dataclass
class Case:
    """One run with its endpoint, its kills and its damage."""

    seed: int
    forced: dict[str, str]  #: what was not left to the draw
    point: str | None  #: where every kill takes place; None = anywhere
    mode: str
    endpoint: str
    suffix: str
    rows: int
    concurrency: int
    attempts: int
    kills: int  #: at most, until the end and again in each further pass
    faults: bool
    spoils: bool  #: whether files are damaged between two processes
    rotates: bool  #: whether each process has another token
    passes: tuple[tuple[str, ...], ...]  #: the flags of `retry`, once the run is complete
    durability: str
    results: str
    unique: bool  #: whether people come again in the input, to be skipped then
    batch: int  #: rows of a batch; 0: the method carries one row
    speech: dict[str, Any]  #: how the endpoint speaks of the rows of a batch

    @classmethod
    def drawn(cls, seed: int, **forced: str) -> Case:
        """A case; `forced` has the properties that the options of the harness fix."""
        draw = random.Random(seed)
        point = forced.get("point")
        mode = draw.choice(MODES)
        mode = forced.get("mode", mode)
        # Exactly once is only promised by an endpoint that deduplicates.
        endpoint = draw.choice(list(ENDPOINTS)[: 3 if mode == "exactly-once" else None])
        passes: tuple[tuple[str, ...], ...] = draw.choice(
            ((), (), ((),), (("--in-doubt",),), ((), ("--in-doubt",)))
        )
        rare, workers = point in RARE, draw.choice((1, 4, 16))
        # From a source of its own: what was drawn for a seed before stays the same.
        of_batches = random.Random(f"batches {seed}")
        batch = int(forced.get("batch", of_batches.choice(BATCHES)))
        return cls(
            seed,
            forced,
            point,
            mode,
            forced.get("endpoint", endpoint),
            draw.choice(("csv", "jsonl")),
            rows=draw.randint(40, 80) + 12 * workers,
            concurrency=workers,
            attempts=draw.choice((6, 6, 1)) if not rare else 1,
            kills=draw.randint(2, 9) if point is None else 3 if point in OFTEN else 5,
            faults=draw.random() < 0.4 or rare,
            spoils=draw.random() < 0.4 and point is None,
            rotates=draw.random() < 0.2 or "token" in forced,
            passes=passes if not rare else ((), ("--in-doubt",)),
            durability=(
                draw.choice(("process", "process", "disk"))
                if "durability" not in forced
                else forced["durability"]
            )
            if point not in SYNCED
            else "disk",
            results=draw.choice(("jsonl", "jsonl", "csv")),
            unique=draw.random() < 0.3 or "unique" in forced,
            batch=batch,
            speech=of_batches.choice(SPEECHES) if batch else {},
        )

    @property
    def again(self) -> str:
        """The command that repeats the case."""
        forced = [word for name, value in self.forced.items() for word in (f"--{name}", value)]
        return shlex.join(
            ["python", "-m", "tests.crash.harness", "--seed", str(self.seed), "--runs", "1", *forced]
        )

    def once(self, asked_for: bool) -> bool:
        """Whether a second message is forbidden; `forced`: rows in doubt were tried again by hand."""
        if self.mode == "at-least-once" or asked_for:
            # A row in doubt goes with other rows, and so under another Request-ID.
            return self.endpoint != "does not deduplicate" and not (self.rotates or self.batch)
        return True

    @property
    def endpoint_faults(self) -> dict[str, float]:
        """The shares of the endpoint's faults."""
        if not self.faults:
            return {}
        if not self.batch:
            return FAULTS
        # Success for a row that was refused, and an id too many where ids are all that is said, are lies.
        lies = {"bad_bytes"} | ({"long_result"} if self.speech.get("batch_result") == "ids" else set())
        return {name: share for name, share in {**FAULTS, **BATCH_FAULTS}.items() if name not in lies}

    @property
    def rows_in_flight(self) -> int:
        """Rows that may be in flight at most."""
        return self.concurrency * max(1, min(self.batch, self.rows))

    @property
    def calm(self) -> bool:
        """Whether only the kills can make an attempt fail."""
        return not self.faults and self.endpoint != "refuses repeats in flight"

    def next_kill(self, turn: int, draw: random.Random) -> tuple[str | None, int]:
        """The point at which the next process is killed, and at which passage of it."""
        if self.point in RESUMING:  # a process passes them once, and the first one not at all
            return (self.point, 1) if turn else ("after_frame", 20)
        if self.point is not None:
            often = self.point in ("inside_frame", "after_frame")
            return self.point, ((1, 20, 33, 60, 9) if often else (1, 2, 1, 3, 7))[turn % 5]
        if draw.random() < 0.4:
            return None, 0
        point = draw.choice([point for point in POINTS if point not in RARE or draw.random() < 0.2])
        return point, int(draw.expovariate(0.06)) + 1 if point in OFTEN else draw.choice((1, 1, 2, 3))

    def write(self, folder: Path, url: str, draw: random.Random) -> list[str]:
        """Write the job, its token and its input; returns the people in it."""
        people = self._people(draw)
        if self.suffix == "csv":
            text = "email,note\n" + "".join(f'{person},"a\nb"\n' for person in people)
        else:
            text = "".join(json.dumps({"email": person, "note": "a\nb"}) + "\n" for person in people)
        (folder / f"people.{self.suffix}").write_text(text)
        request = OF_MANY_ROWS.format(batch=self.batch) if self.batch else OF_ONE_ROW
        texts = {"unique": str(self.unique).lower(), "request": request}
        (folder / "job.toml").write_text(JOB.format(url=url, **{**vars(self), **texts}))
        self.write_token(folder, draw)
        return people

    def _people(self, draw: random.Random) -> list[str]:
        people = [f"p{number}@example.com" for number in range(1, self.rows + 1)]
        people[draw.randrange(self.rows)] = "nobody"  # an invalid row
        if self.unique:
            for index in sorted(draw.sample(range(1, self.rows), self.rows // 5)):
                # The endpoint tells capitals apart, so that a message to the second of two would be seen.
                people[index] = people[draw.randrange(index)].upper()
        return people

    def skipped(self, people: Sequence[str]) -> frozenset[int]:
        """The rows that an uninterrupted run skips."""
        first: dict[str, int] = {}
        repeats = [
            row
            for row, person in enumerate(people, 1)
            if "@" in person and first.setdefault(person.lower(), row) != row
        ]
        return frozenset(repeats if self.unique else ())

    def write_token(self, folder: Path, draw: random.Random) -> None:
        """Another token, if tokens change."""
        (folder / "token").write_text(f"t0ken-{draw.random() if self.rotates else 0}")


def spoil(folder: Path, draw: random.Random) -> tuple[int, bool]:
    """Tear the ends of files, and flip bits: what a kill cannot do, and a failing disk can.

    Returns how many files of outcomes were damaged, and whether the journal was.
    """
    damaged = 0
    for name in ("results.jsonl", "results.csv", "failed.csv", "failed.jsonl", "in_doubt.csv"):
        path = folder / name
        if not path.exists() or draw.random() < 0.5:
            continue
        data = bytearray(path.read_bytes())
        options = draw.randrange(4)
        if options == 0:
            del data[max(0, len(data) - draw.randint(1, 400)) :]
        elif options == 1 and data:
            data[-draw.randint(1, min(400, len(data)))] ^= 1 << draw.randrange(8)
        else:
            data += b'{"row": 3, "status": "enga'
        path.write_bytes(data)
        if options == 3:
            path.unlink()
        damaged += 1
    return damaged, draw.random() < 0.5 and _flip(folder / draw.choice(("journal.0", "journal.1")), draw)


def _flip(path: Path, draw: random.Random) -> bool:
    if not path.exists() or not (data := bytearray(path.read_bytes())):
        return False
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)
    return True
