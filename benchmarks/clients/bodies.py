"""Rows of the benchmark's input in, the bodies of its requests out."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path

import orjson


def write_people(path: Path, rows: int) -> None:
    with path.open("w") as file:
        file.write("email,first_name,city,phone,bonus\n")
        for number in range(rows):
            file.write(f"person{number}@example.com,Anna,Moscow,+7900{number:07d},{number % 5000}\n")


def bodies(path: Path) -> Iterator[bytes]:
    """The body of every row, encoded as it is asked for."""
    with path.open(newline="") as file:
        for email, first_name, _, _, bonus in itertools.islice(csv.reader(file), 1, None):
            content = {"first_name": first_name, "bonus": int(bonus)}
            fields = {"token": "benchmark", "id": 12, "matching": "email", "email": email}
            yield orjson.dumps({**fields, "content": content})


def fixed_bodies(path: Path) -> Iterator[bytes]:
    """The body of the first row, as many times as there are rows."""
    with path.open("rb") as file:
        rows = sum(1 for _ in file) - 1
    return itertools.repeat(next(bodies(path)), rows)
