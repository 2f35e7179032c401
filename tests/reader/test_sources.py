"""What is no file of rows is refused with the command that makes one of it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from engager.errors import InputError
from engager.reader.rows import InputSpec, Rows


@pytest.mark.parametrize(
    ("address", "fetches", "form"),
    [
        ("s3://bucket/a b.csv", ["aws", "s3", "cp", "s3://bucket/a b.csv", "-"], "csv"),
        ("gs://bucket/a.jsonl", ["gcloud", "storage", "cat", "gs://bucket/a.jsonl"], "jsonl"),
        ("HTTPS://x.org/a.ndjson?k=1&l=2", ["curl", "-fsS", "HTTPS://x.org/a.ndjson?k=1&l=2"], "jsonl"),
        ("s3://b/a.csv.gz", ["aws", "s3", "cp", "s3://b/a.csv.gz", "-", "|", "gunzip"], "csv"),
        ("http://x.org/a.csv.zst", ["curl", "-fsS", "http://x.org/a.csv.zst", "|", "zstd", "-d"], "csv"),
    ],
)
def test_an_address_is_refused_with_the_command_that_streams_it(
    address: str, fetches: list[str], form: str
) -> None:
    with pytest.raises(InputError) as refused:
        Rows(InputSpec(address, Path()))
    command = shlex.split(str(refused.value).splitlines()[-1])
    goes_on = ["|", "engager", "run", "JOB", "--input", "-", "--set", f"input.format={form}"]
    assert command == [*fetches, *goes_on]


def test_any_other_address_is_refused_too() -> None:
    with pytest.raises(InputError, match=r"hdfs://x/a\.csv"):
        Rows(InputSpec("hdfs://x/a.csv", Path()))


@pytest.mark.parametrize("name", ["people.xlsx", "PEOPLE.XLS", "a b.ods"])
def test_a_spreadsheet_is_refused_with_the_command_that_converts_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\3\4")
    with pytest.raises(InputError) as refused:
        Rows(InputSpec(name, tmp_path))
    assert shlex.split(str(refused.value).splitlines()[-1])[-1] == name
