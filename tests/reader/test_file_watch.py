"""A file may grow while it is read; any other change ends the reading before a changed row is returned."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from engager.errors import InputError
from engager.models import Row
from engager.reader.rows import InputSpec, Rows

LINES = [f"p{number:05}@example.com,N\n" for number in range(2000)]
WHOLE = "email,name\n" + "".join(LINES)
BLOCK = 4096


def rewritten(file: Path) -> None:
    with file.open("r+") as stream:
        stream.write(WHOLE.replace("p0", "q0"))


def rewritten_longer(file: Path) -> None:
    file.write_text(WHOLE.replace("p0", "q0") + "z@example.com,Z\n")


def emptied(file: Path) -> None:
    os.truncate(file, 0)


def shortened(file: Path) -> None:
    os.truncate(file, 2000)


def replaced(file: Path) -> None:
    other = file.with_suffix(".new")
    other.write_text(WHOLE)
    other.replace(file)


def removed(file: Path) -> None:
    file.unlink()


def opened(file: Path, chunks: int) -> tuple[Rows, list[str]]:
    """An input of which a part was read."""
    rows = Rows(InputSpec(file.name, file.parent), BLOCK)
    return rows, [
        row.values[0]  # type: ignore[index]
        for chunk in islice(rows.chunks(), chunks)
        for row in chunk
        if isinstance(row, Row)
    ]


@pytest.mark.parametrize(
    "change", [rewritten, rewritten_longer, emptied, shortened, replaced, removed], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("chunks", [1, 5])
def test_a_change_other_than_growth_ends_the_reading(
    tmp_path: Path, change: Callable[[Path], None], chunks: int
) -> None:
    file = tmp_path / "people.csv"
    file.write_text(WHOLE)
    rows, seen = opened(file, chunks)
    change(file)
    with pytest.raises(InputError, match=r"people\.csv"):
        seen.extend(row.values[0] for chunk in rows.chunks() for row in chunk)  # type: ignore[union-attr, index]
    rows.close()
    assert seen == [line.split(",")[0] for line in LINES[: len(seen)]]


def test_a_change_with_the_last_block_is_detected(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("email,name\n" + LINES[0])
    rows, seen = opened(file, 1)
    os.truncate(file, 0)
    with pytest.raises(InputError):
        list(rows.chunks())
    rows.close()
    assert len(seen) == 1


@pytest.mark.parametrize("times", [1, 5])
def test_a_growing_file_is_read_to_its_end(tmp_path: Path, times: int) -> None:
    file = tmp_path / "people.csv"
    file.write_text(WHOLE)
    rows, seen = opened(file, 1)
    for number in range(times):
        with file.open("a") as stream:
            stream.write(f"late{number}@example.com,L\n")
    seen += [row.values[0] for chunk in rows.chunks() for row in chunk if isinstance(row, Row)]  # type: ignore[index]
    rows.close()
    assert seen[-times:] == [f"late{number}@example.com" for number in range(times)]
    assert len(seen) == 2000 + times


def test_a_touched_file_is_read_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "people.csv.gz"
    file.write_bytes(gzip.compress(WHOLE.encode()))
    rows, seen = opened(file, 1)
    os.utime(file, (1, 1))
    seen += [row.values[0] for chunk in rows.chunks() for row in chunk if isinstance(row, Row)]  # type: ignore[index]
    rows.close()
    assert len(seen) == 2000
