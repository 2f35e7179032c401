"""How an input is written, found out from its beginning."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from engager.errors import InputError
from engager.init.sample import SAMPLED, read_sample
from tests.init.inputs import sampled


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_shows_in_the_records_and_not_within_quotes(tmp_path: Path, delimiter: str) -> None:
    lines = ['"email"', '"name, or; what|ever\tit is"', '"city"'], ["a@x.org", '"Smith, J; K|L"', "Rome"]
    sample = sampled(tmp_path, "".join(delimiter.join(line) + "\n" for line in (*lines, lines[1])))
    assert sample.columns == ("email", "name, or; what|ever\tit is", "city")
    assert (sample.delimiter or ",") == delimiter
    assert (len(sample.rows), len(sample.unreadable)) == (2, 0)


def test_a_broken_row_does_not_hide_the_delimiter(tmp_path: Path) -> None:
    sample = sampled(tmp_path, "email;name\na@x.org;A\nb@x.org\n")
    assert (sample.columns, len(sample.unreadable)) == (("email", "name"), 1)


def test_a_tsv_file_needs_no_delimiter(tmp_path: Path) -> None:
    assert sampled(tmp_path, "email\tname\na@x.org\tA\n", "people.tsv").delimiter is None


def test_one_column_needs_no_delimiter(tmp_path: Path) -> None:
    sample = sampled(tmp_path, "email\na@x.org\n")
    assert (sample.delimiter, sample.columns) == (None, ("email",))


@pytest.mark.parametrize(
    ("name", "content", "format_", "named"),
    [
        ("a.csv", "email,name\n", "csv", True),
        ("a.txt", "email,name\n", "csv", False),
        ("a.jsonl", '{"email": "a@x.org"}\n', "jsonl", True),
        ("a.json", '{"email": "a@x.org"}\n', "jsonl", False),
        ("a.csv", '{"email": "a@x.org"}\n', "jsonl", False),
        ("a.csv", "{email},name\n1,2\n", "csv", True),
        ("a.json", '// {"email": "a@x.org"}\r{"email": "b@x.org"}\r', "jsonl", False),
        ("a.csv", 'attributes,email\n{"a": 1},a@x.org\n', "csv", True),
    ],
)
def test_the_format_is_what_the_content_is(
    tmp_path: Path, name: str, content: str, format_: str, named: bool
) -> None:
    sample = sampled(tmp_path, content, name)
    assert (sample.format, sample.named) == (format_, named)


def test_a_compressed_input_is_looked_into(tmp_path: Path) -> None:
    sample = sampled(tmp_path, gzip.compress(b"email;name\na@x.org;A\n"), "people.csv.gz")
    assert (sample.columns, sample.delimiter) == (("email", "name"), ";")


def test_the_keys_of_jsonl_rows_are_columns_also_where_a_row_lacks_them(tmp_path: Path) -> None:
    sample = sampled(tmp_path, '{"a": 1}\n{"b": null, "a": 2}\nbroken\n', "a.jsonl")
    assert sample.columns == ("a", "b")
    assert (sample.values("b"), len(sample.unreadable)) == ([None, None], 1)


def test_a_long_input_is_not_read_to_its_end(tmp_path: Path) -> None:
    sample = sampled(tmp_path, "email\n" + "a@x.org\n" * (SAMPLED + 1))
    assert (len(sample.rows), sample.whole) == (SAMPLED, False)


@pytest.mark.parametrize(
    ("name", "content", "fact"),
    [
        ("a.csv", b"", "a.csv"),
        ("a.csv", b" \n\n", "a.csv"),
        ("a.csv", b"PK\x03\x04\x14\0\0", "CSV"),
        ("a.csv", gzip.compress(b"email\n", mtime=0), ".gz"),
        ("a.csv", b"\0\1\2\3", "a.csv"),
        ("a.csv", b"sep=;\r\nemail;name\r\n", "sep="),
        ("a.json", b'[\n  {"email": "a@x.org"}\n]\n', "jq -c"),
        ("a.jsonl", b'{\n  "email": "a@x.org"\n}\n', "a.jsonl, line 1"),
        ("a.csv", b"ann@x.org,Ann\nbob@x.org,Bob\n", "header"),
        ("a.csv", b"# exported on Monday\nemail;name\na@x.org;Ann\nb@x.org;Bob\n", "title"),
        ("a.csv", b"Our people\r\remail,name\ra@x.org,Ann\rb@x.org,Bob\r", "title"),
        ("a.csv", b"Ann,+79160000000\nBob,+79160000001\n", "header"),
    ],
)
def test_an_input_without_a_job_is_reported_with_a_way_out(
    tmp_path: Path, name: str, content: bytes, fact: str
) -> None:
    with pytest.raises(InputError, match=re.escape(fact)) as refused:
        sampled(tmp_path, content, name)
    assert "ann@x.org" not in str(refused.value)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("text", ["email,name\na@x.org,Ann\n", "email\na@x.org", "почта,имя\na@x.org,Анна\n"])
@pytest.mark.parametrize("added", [True, False])
def test_text_that_is_shifted_by_a_byte_gets_no_job(
    tmp_path: Path, encoding: str, mark: str, text: str, added: bool
) -> None:
    data = (mark + text).encode(encoding)
    with pytest.raises(InputError, match=r"people\.csv: .* complete copy"):
        sampled(tmp_path, b"x" + data if added else data[1:])
    if mark:
        sampled(tmp_path, data)


def test_a_delimiter_within_the_text_of_one_column_is_no_header(tmp_path: Path) -> None:
    sample = sampled(tmp_path, "name\nLee, Ann\nRay\nDoe; Cid\n")
    assert sample.columns == ("name",)


def test_stdin_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--input -"):
        read_sample("-", tmp_path)
    with pytest.raises(InputError, match=r"people\.csv"):
        read_sample("people.csv", tmp_path)
