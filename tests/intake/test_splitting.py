"""An input in parts: read one after the other, they are the whole, whatever stands in it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engager.intake.rows import InputSpec, Rows, open_rows
from engager.intake.splitting import can_split
from engager.model import Row

PLAIN = ["a", "b,c", ",", "\n", "\r\n", "\r", " ", "é", "p@x.org,Ann\n"]
QUOTED = ['"', '""', '"x\ny"', '5" pipe,x\n', '"q,\n",z\n']
CSV = st.one_of(
    st.lists(st.sampled_from(PLAIN), max_size=40), st.lists(st.sampled_from(PLAIN + QUOTED), max_size=40)
).map("".join)
LINES = ['{"a": 1}', '{"b": "\u2028"}', "", " ", "[1]", "{broken", "\u00a0", '  {"c": 2}']
JSONL = st.lists(st.sampled_from(LINES), max_size=30).map("\n".join)


def records(rows: Rows) -> list[tuple[object, ...]]:
    found = []
    for chunk in rows.chunks():
        for record in chunk:
            said = record.values if isinstance(record, Row) else (record.error, record.raw)
            found.append((record.number, record.line, record.source, said))
    rows.close()
    return found


def in_parts(spec: InputSpec, parts: int) -> list[tuple[object, ...]]:
    whole = open_rows(spec)
    ranges = whole.split(parts)
    whole.close()
    assert ranges
    assert len(ranges) <= parts
    found = []
    for part in ranges:
        got = records(open_rows(InputSpec(spec.path, spec.base, spec.format, range=part)))
        assert not got or got[0][0] == part.first_row
        found += got
    return found


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CSV, min_size=1, max_size=3), st.integers(1, 6))
def test_parts_of_csv_files_are_the_whole(tmp_path: Path, bodies: list[str], parts: int) -> None:
    for old in tmp_path.glob("*.csv"):
        old.unlink()
    for index, body in enumerate(bodies):
        (tmp_path / f"{index}.csv").write_bytes(f"x,y\n{body}".encode())
    spec = InputSpec("*.csv", tmp_path)
    assert in_parts(spec, parts) == records(open_rows(spec))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSONL, st.integers(1, 6))
def test_parts_of_a_jsonl_file_are_the_whole(tmp_path: Path, body: str, parts: int) -> None:
    (tmp_path / "people.jsonl").write_bytes(('{"first": 1}\n' + body).encode())
    spec = InputSpec("people.jsonl", tmp_path)
    assert in_parts(spec, parts) == records(open_rows(spec))


@pytest.mark.parametrize("note", ["plain", 'said "hello",\nand more', '5" pipe'])
def test_parts_are_about_the_same_size(tmp_path: Path, note: str) -> None:
    quoted = note.replace('"', '""')
    note = f'"{quoted}"' if "\n" in note else note
    lines = [f"p{n:05}@example.com,{note}\n" for n in range(60_000)]
    (tmp_path / "people.csv").write_text("email,note\n" + "".join(lines))
    whole = open_rows(InputSpec("people.csv", tmp_path))
    ranges = whole.split(4)
    whole.close()
    firsts = [part.first_row for part in ranges]
    assert firsts[0] == 1
    assert all(abs(first - 15_000 * index) < 3 for index, first in enumerate(firsts))
    middle = records(open_rows(InputSpec("people.csv", tmp_path, range=ranges[2])))
    assert [number for number, *_ in middle] == list(range(firsts[2], firsts[3]))
    assert middle[0][3][0] == f"p{firsts[2] - 1:05}@example.com"  # type: ignore[index]


def test_what_can_only_be_read_as_a_whole_is_not_split(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_bytes("x,y\na,b\nc,d\n".encode("utf-16"))
    with gzip.open(tmp_path / "people.csv.gz", "wb") as file:
        file.write(b"x,y\na,b\nc,d\n")
    for name, encoding in (("people.csv", "utf-16"), ("people.csv.gz", "utf-8")):
        whole = open_rows(InputSpec(name, tmp_path, encoding=encoding))
        assert whole.split(2) == []
        whole.close()


@pytest.mark.parametrize(
    ("encoding", "splits"),
    [("utf-8", True), ("UTF8", True), ("cp1251", True), ("latin-1", True), ("gbk", False)],
)
def test_which_encodings_can_be_split(encoding: str, splits: bool) -> None:
    assert can_split(encoding) is splits


def test_an_unreadable_record_has_its_line_in_the_whole_file(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"n": n}) + "\n" for n in range(100))
    (tmp_path / "people.jsonl").write_text(rows + "broken\n" + rows)
    spec = InputSpec("people.jsonl", tmp_path)
    (broken,) = (record for record in in_parts(spec, 3) if isinstance(record[3], tuple))
    assert broken[:2] == (101, 101)
