"""Rows of a program: one line of JSON each, in order, as they come."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson
import pytest

from engager.errors import InputError
from engager.models import Row, Unreadable
from engager.reader.objects import Objects, stream_of_objects
from engager.reader.rows import InputSpec, Record, Rows


def read(rows: Objects) -> list[Record]:
    opened = Rows(InputSpec("-", Path(), "jsonl", examine=False, on_empty="ok"), 64, stream_of_objects(rows))
    return [record for chunk in opened.chunks(7) for record in chunk]


def values_of(rows: Objects) -> list[Any]:
    return [record.values if isinstance(record, Row) else record.error for record in read(rows)]


class Frame:
    """A data frame as pandas has it: it iterates over the names of its columns."""

    def __iter__(self) -> Iterator[str]:
        return iter(["email"])

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        assert orient == "records"
        return [{"email": "a@x.org", "age": float("nan")}]


class OtherFrame:
    """A data frame as polars has it."""

    def __iter__(self) -> Iterator[str]:
        return iter(["email"])

    def iter_rows(self, named: bool = False) -> Iterator[Any]:
        yield {"email": "a@x.org"} if named else ("a@x.org",)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], []),
        ([{"a": 1}, {"a": "x\ny", "b": None}], [{"a": 1}, {"a": "x\ny", "b": None}]),
        (iter([{"a": 1}]), [{"a": 1}]),
        (({"a": n} for n in range(3)), [{"a": 0}, {"a": 1}, {"a": 2}]),
        (Frame(), [{"email": "a@x.org", "age": None}]),
        (OtherFrame(), [{"email": "a@x.org"}]),
        ([{"a": Decimal("1.10"), "b": date(2026, 11, 29)}], [{"a": "1.10", "b": "2026-11-29"}]),
        ([{"a": datetime(2026, 11, 29, tzinfo=UTC)}], [{"a": "2026-11-29T00:00:00+00:00"}]),
    ],
)
def test_every_object_is_one_row(rows: Objects, expected: list[Any]) -> None:
    assert values_of(rows) == expected


def test_a_row_of_a_database_is_a_row() -> None:
    with sqlite3.connect(":memory:", check_same_thread=False) as base:
        base.row_factory = sqlite3.Row
        assert values_of(base.execute("select 'a@x.org' as email")) == [{"email": "a@x.org"}]
    base.close()


@pytest.mark.parametrize(
    "odd", [{"a": object()}, {"a": 1 << 70}, {1: 2}, {"a": "\ud800"}, "text", None, ("a",)]
)
def test_an_object_that_is_no_row_is_the_outcome_of_that_row_alone(odd: Any) -> None:
    before, wrong, after = read([{"a": 1}, odd, {"a": 2}])
    assert isinstance(wrong, Unreadable)
    assert wrong.number == 2
    assert [found.values for found in (before, after) if isinstance(found, Row)] == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("given", ["people.csv", b"x", {"email": "a@x.org"}, 5])
def test_what_gives_no_rows_is_refused(given: Any) -> None:
    with pytest.raises(InputError):
        stream_of_objects(given)


def test_rows_before_a_fault_are_read() -> None:
    def broken() -> Iterator[dict[str, int]]:
        yield {"a": 1}
        raise ConnectionError("gone")

    opened = Rows(InputSpec("-", Path(), "jsonl", examine=False), stdin=stream_of_objects(broken()))
    chunks = opened.chunks()
    assert [record.number for record in next(chunks)] == [1]
    with pytest.raises(InputError, match="ConnectionError: gone"):
        list(chunks)


async def test_an_async_iterator_is_read_in_its_own_loop() -> None:
    loops = set()

    async def rows() -> Any:
        for number in range(500):
            loops.add(asyncio.get_running_loop())
            await asyncio.sleep(0)
            yield {"a": number}

    stream = stream_of_objects(rows())
    opened = await asyncio.to_thread(Rows, InputSpec("-", Path(), "jsonl", examine=False), 64, stream)
    chunks = await asyncio.to_thread(lambda: list(opened.chunks()))
    assert [record.values["a"] for chunk in chunks for record in chunk] == list(range(500))  # type: ignore
    assert loops == {asyncio.get_running_loop()}


async def test_a_silent_async_iterator_ends_when_it_is_closed() -> None:
    async def rows() -> Any:
        await asyncio.Event().wait()
        yield {}

    stream: Any = stream_of_objects(rows())
    reading = asyncio.create_task(asyncio.to_thread(stream.read1, 64))
    await asyncio.sleep(0)
    stream.close()
    assert await reading == b""


def test_lines_are_cut_into_blocks_of_any_size() -> None:
    stream: Any = stream_of_objects([{"a": "x" * 100}])
    data = b"".join(iter(lambda: stream.read1(7), b""))
    assert orjson.loads(data) == {"a": "x" * 100}


def test_a_generator_is_begun_read_and_closed_in_one_thread() -> None:
    seen: list[int] = []

    def rows() -> Iterator[dict[str, int]]:
        connection = sqlite3.connect(":memory:")  # it refuses every other thread
        seen.append(threading.get_ident())
        try:
            for number in range(5000):
                yield dict(zip(("a",), connection.execute("SELECT ?", (number,)).fetchone(), strict=True))
                seen.append(threading.get_ident())
        finally:
            connection.close()
            seen.append(threading.get_ident())

    assert len(values_of(rows())) == 5000
    opened = Rows(InputSpec("-", Path(), "jsonl", examine=False), 64, stream_of_objects(rows()))
    read_in_another = threading.Thread(target=next, args=(opened.chunks(7),))
    read_in_another.start()
    read_in_another.join()
    opened.close()
    assert seen[-1] != threading.get_ident()
    first, *others = (list(group) for _, group in groupby(seen))
    assert (len(first), [len(set(group)) for group in others]) == (5002, [1])


def test_a_connection_of_another_thread_is_named_with_what_to_do() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        rows = ({"a": one} for (one,) in iter(lambda: connection.execute("SELECT 1").fetchone(), None))
        with pytest.raises(InputError, match="check_same_thread=False") as refused:
            read(rows)
    assert ".." not in str(refused.value)


def test_an_input_that_waits_for_ever_is_closed() -> None:
    never = threading.Event()

    def rows() -> Iterator[dict[str, int]]:
        yield {"a": 1}
        never.wait()

    opened = Rows(InputSpec("-", Path(), "jsonl", examine=False), 64, stream_of_objects(rows()))
    reading = threading.Thread(target=list, args=(opened.chunks(),))
    reading.start()
    opened.close()
    reading.join(60)
    assert not reading.is_alive()
    never.set()
