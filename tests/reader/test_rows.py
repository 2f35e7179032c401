"""The reader: each record is returned exactly once, for any content of the file."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import os
import re
import tracemalloc
from collections.abc import Callable, Iterator
from encodings.aliases import aliases
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engager.config.encodings import carries_rows
from engager.errors import InputError
from engager.models import Row, Unreadable
from engager.reader.lines import TextLine, lines
from engager.reader.rows import InputSpec, Record, Rows

HEADER = b"email,name\n"

#: Text encodings without a line feed, or that are not for files.
NO_FILES = {"cp037", "cp1026", "cp1140", "cp273", "cp424", "cp500", "idna", "punycode", "undefined"}
NO_FILES |= {"unicode_escape", "oem", "mbcs"}


def read(data: bytes, format_: str = "csv", block: int = 64, **spec: object) -> list[Record]:
    given = {"on_empty": "ok", **spec}
    opened = Rows(InputSpec("-", Path(), format_, **given), block, io.BytesIO(data))  # type: ignore[arg-type]
    return [record for chunk in opened.chunks(7) for record in chunk]


def contents(records: list[Record]) -> list[object]:
    return [record.values if isinstance(record, Row) else record.error for record in records]


def test_a_named_pipe_is_read_once() -> None:
    reading, writing = os.pipe()
    os.write(writing, HEADER + b"a@x.org,Ann\n")
    os.close(writing)
    opened = Rows(InputSpec(f"/dev/fd/{reading}", Path(), "csv"))
    assert contents(next(opened.chunks())) == [["a@x.org", "Ann"]]
    opened.close()
    os.close(reading)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a@x.org,Ann\n", [["a@x.org", "Ann"]]),
        (b"a@x.org,Ann", [["a@x.org", "Ann"]]),
        (b"a@x.org,Ann\r\n\r\nb@x.org,Bob\r\n", [["a@x.org", "Ann"], ["b@x.org", "Bob"]]),
        (b'a@x.org,"Ann\nof, ""Green"" Gables"\n', [["a@x.org", 'Ann\nof, "Green" Gables']]),
        (b'a@x.org,5" pipe\n', [["a@x.org", '5" pipe']]),
        ("a@x.org,A\u2028n\x0bn\x85\n".encode(), [["a@x.org", "A\u2028n\x0bn\x85"]]),
        (b"a@x.org\nb@x.org,Bob\n", ["field_count", ["b@x.org", "Bob"]]),
        (b" ,\n,,,\n,\nb@x.org,Bob\n", [[" ", ""], ["", ""], ["", ""], ["b@x.org", "Bob"]]),
        (b"a,b,c\nb@x.org,Bob\n", ["field_count", ["b@x.org", "Bob"]]),
        (b"a@x.org,\xff\nb@x.org,Bob\n", ["bad_bytes", ["b@x.org", "Bob"]]),
        # a stray quote makes only its own row unreadable
        (b'a@x.org,"Ann\nb@x.org,Bob\n', ["bad_quotes", ["b@x.org", "Bob"]]),
        (b'a@x.org,"Ann\nb@x.org,"Bob"\nc@x.org,C\n', ["bad_quotes", ["b@x.org", "Bob"], ["c@x.org", "C"]]),
        (b'a@x.org,"Ann" x\nb@x.org,Bob\n', ["bad_quotes", ["b@x.org", "Bob"]]),
        (b"a@x.org," + b"x" * 2000 + b"\nb@x.org,Bob\n", ["too_long", ["b@x.org", "Bob"]]),
        (b"a@x.org," + b"x" * 2000, ["too_long"]),
    ],
)
@pytest.mark.parametrize("block", [1, 3, 1024, 1 << 16])
def test_csv_is_read(data: bytes, expected: list[object], block: int) -> None:
    records = read(HEADER + data, block=block, max_row_bytes=1024)
    assert contents(records) == expected
    assert [record.number for record in records] == list(range(1, len(expected) + 1))


def test_a_record_has_the_number_of_its_first_line() -> None:
    records = read(HEADER + b'a,"1\n2\n3"\n\nb,1\nc\n')
    assert [record.line for record in records] == [2, 6, 7]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"a": 1, "b": [null, true]}\n\n{"a": 2}', [{"a": 1, "b": [None, True]}, {"a": 2}]),
        (b'{"a": 1\n{"a": 2}\n', ["bad_json", {"a": 2}]),
        (b"[1]\n7\nnull\n", ["not_an_object"] * 3),
        (b'{"a": "\xff"}\n', ["bad_bytes"]),
        (b'{"a": %b1%b}\n{"a":1}\n' % (b"[" * 254, b"]" * 254), ["too_deep", {"a": 1}]),
        (b'{"a": %b12345678901234567890%b}\n' % (b"[" * 450, b"]" * 450), ["too_deep"]),
        (b'{"a": "%b"}\n' % (b"[{" * 200), [{"a": "[{" * 200}]),
        (b'{"a": "' + b"x" * 2000 + b'"}\n{"a": 2}\n', ["too_long", {"a": 2}]),
        (b'{"a": 123456789012345678901234}\n', ["number_too_large"]),
        (b'{"a": 12345678901234567}\n', [{"a": 12345678901234567}]),
        (b'{"a": 0.1234567890123456789}\n', ["number_too_large"]),
        (b'{"a": 0.30000000000000004}\n', [{"a": 0.30000000000000004}]),
        (b'{"a": 1, "a": 2}\n{"a": 3}\n', ["repeated_key", {"a": 3}]),
        (b'{"a":1,"a" :2}\n', ["repeated_key"]),
        (b'{"a" :1,"b":"x\\":","a":2}\n', ["repeated_key"]),
        (b'{"b":[{"a":1,"a":1}]}\n', ["repeated_key"]),
        (b'{"a":"\\": :","b":{"a":1}}\n', [{"a": '": :', "b": {"a": 1}}]),
        (b'{"a": "123456789012345678901234"}\n', [{"a": "123456789012345678901234"}]),
        (b'\xef\xbb\xbf{"a": 1}\n', [{"a": 1}]),
    ],
)
@pytest.mark.parametrize("block", [1, 1024])
def test_jsonl_is_read(data: bytes, expected: list[object], block: int) -> None:
    assert contents(read(data, "jsonl", block, max_row_bytes=1024)) == expected


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "cp1251", "koi8-r", "utf-16", "utf-16-le", "utf-32"]
)
def test_an_encoding_is_decoded(encoding: str) -> None:
    data = "почта,имя\na@x.org,Анна\nb@x.org,Борис\n".encode(encoding)
    assert contents(read(data, encoding=encoding, block=5)) == [["a@x.org", "Анна"], ["b@x.org", "Борис"]]


def test_half_a_surrogate_pair_makes_only_its_row_unreadable() -> None:
    data = "email\n\ud800@x.org\nb@x.org\n".encode("utf-7", "surrogatepass")
    broken, whole = read(data, encoding="utf-7")
    assert isinstance(broken, Unreadable)
    assert broken.error == "bad_bytes"
    assert broken.raw.encode().endswith(b"@x.org")
    assert isinstance(whole, Row)
    assert contents(read(data.replace(b"email", b"{}"), "jsonl", encoding="utf-7")) == [
        {},
        "bad_bytes",
        "bad_json",
    ]


@pytest.mark.parametrize(
    "encoding", sorted({*aliases.values(), "utf-8-sig", "utf-16-le", "idna", "undefined"})
)
def test_each_encoding_that_carries_rows_is_read(encoding: str) -> None:
    if not carries_rows(encoding):
        assert encoding in NO_FILES or not codecs.lookup(encoding)._is_text_encoding
        return
    text = "email,name\na@x.org,Ann\n"
    assert contents(read(text.encode(encoding), encoding=encoding)) == [["a@x.org", "Ann"]]
    for byte in range(256):
        read(text.encode(encoding) + bytes([byte]) * 3 + b"\n", encoding=encoding)


def test_a_broken_unit_makes_only_its_row_unreadable() -> None:
    data = "a,b\n1,".encode("utf-16-le") + b"\x00\xd8" + "\n2,3\n".encode("utf-16-le")
    assert contents(read(data, encoding="utf-16-le")) == ["bad_bytes", ["2", "3"]]


any_bytes = st.binary(max_size=300) | st.text("ab,\"'\n\r\t{}[]:1é\ufeff", max_size=200).map(str.encode)


@given(any_bytes, st.sampled_from(["csv", "jsonl"]), st.sampled_from(["utf-8", "cp1251", "utf-16"]))
@settings(max_examples=400, deadline=None)
def test_no_input_crashes_the_reader_and_blocks_do_not_matter(
    data: bytes, format_: str, encoding: str
) -> None:
    def outcome(block: int) -> list[object] | str:
        try:
            return [
                (r.number, r.line, r.values if isinstance(r, Row) else (r.error, r.raw))
                for r in read(data, format_, block, encoding=encoding, max_row_bytes=1024)
            ]
        except InputError as fault:
            return str(fault)

    whole = outcome(1 << 16)
    assert outcome(1) == whole == outcome(7)
    if isinstance(whole, list):
        assert [number for number, _, _ in whole] == list(range(1, len(whole) + 1))  # type: ignore[misc, has-type]


@given(st.binary(max_size=300).map(lambda data: data.replace(b"\r", b"")))
@settings(max_examples=300, deadline=None)
def test_each_nonblank_line_is_in_one_record(data: bytes) -> None:
    records = read(b"a\n" + data, encoding="latin-1", max_row_bytes=1024, examine=False)
    expected = [number for number, line in enumerate(data.split(b"\n"), 2) if line]
    begun = [record.line for record in records]
    assert begun == sorted(set(begun))
    assert set(begun) <= set(expected) | set(range(2, 2 + data.count(b"\n") + 1))
    covered: set[int] = set()
    for record in records:
        text = record.values[0] if isinstance(record, Row) else record.raw  # type: ignore[index]
        covered |= set(range(record.line, record.line + str(text).count("\n") + 1))
    assert set(expected) <= covered


@given(
    st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=20).map(
        lambda rows: [
            tuple(cell.replace("\r", "").encode("utf-8", "ignore").decode() or "x" for cell in row)
            for row in rows
        ]
    ),
    st.sampled_from([",", ";", "\t", "|"]),
)
@settings(max_examples=300, deadline=None)
def test_written_csv_is_read_as_it_was(rows: list[tuple[str, str]], delimiter: str) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator="\n").writerows([("a", "b"), *rows])
    data = buffer.getvalue().encode()
    assert contents(read(data, delimiter=delimiter, block=11)) == [list(row) for row in rows]


@given(
    st.lists(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()))
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_written_json_is_read_as_it_was(objects: list[dict[str, object]]) -> None:
    data = "".join(json.dumps(item) + "\n" for item in [{"first": 1}, *objects])
    expected = [{"first": 1}, *objects]
    try:
        data.encode()
        assert all(json.dumps(item, ensure_ascii=False).encode() for item in objects)
    except UnicodeEncodeError:
        return
    assert contents(read(data.encode(), "jsonl", 13)) == expected


def test_packed_files_of_a_glob_are_read_in_one_column_order(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "2.csv.gz").write_bytes(gzip.compress(b"b,a\n4,3\n") + gzip.compress(b"6,5\n"))
    compress = zstandard.ZstdCompressor().compress
    (tmp_path / "3.csv.zst").write_bytes(compress(b"a,b\n7,8\n") + compress(b"9,0\n"))
    opened = Rows(InputSpec("*.csv*", tmp_path))
    assert opened.columns == ("a", "b")
    records = [record for chunk in opened.chunks() for record in chunk]
    assert contents(records) == [["1", "2"], ["3", "4"], ["5", "6"], ["7", "8"], ["9", "0"]]
    assert [record.number for record in records] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("name", "data", "fact"),
    [
        ("people.csv", b"", "people.csv"),
        ("people.csv", b"\n\n", "people.csv"),
        ("people.csv", b",,\na,b,c\n", "people.csv"),
        ("people.csv", b'"a,b\n1,2\n', "people.csv"),
        ("people.jsonl", b"", "people.jsonl"),
        ("people.jsonl", b"\n\n", "people.jsonl"),
        ("people.txt", b"a,b\n", "input.format"),
        ("people.csv.gz", b"not gzip", "people.csv.gz"),
        ("people.csv.gz", gzip.compress(b"a,b\n", mtime=0)[:-9], "people.csv.gz"),
        ("people.csv.zst", b"not zstd", "people.csv.zst"),
    ],
)
def test_an_unreadable_input_is_refused(tmp_path: Path, name: str, data: bytes, fact: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=re.escape(fact)):
        Rows(InputSpec(name, tmp_path))


def test_files_with_different_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "2.csv").write_bytes(b"a,c\n1,2\n")
    with pytest.raises(InputError, match=r"2\.csv.*'b', 'c'"):
        Rows(InputSpec("*.csv", tmp_path))
    with pytest.raises(InputError, match=r"\*\.jsonl"):
        Rows(InputSpec("*.jsonl", tmp_path))
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        Rows(InputSpec(".", tmp_path))


def _linked(folder: Path, name: str) -> None:
    (folder / name).symlink_to("people.csv")


def _hard_linked(folder: Path, name: str) -> None:
    (folder / name).hardlink_to(folder / "people.csv")


def _packed(folder: Path, name: str) -> None:
    pack = gzip.compress if name.endswith(".gz") else zstandard.compress
    (folder / name).write_bytes(pack((folder / "people.csv").read_bytes()))


def _copied(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / "people.csv").read_bytes())


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("again.csv", _linked),
        ("again.csv", _hard_linked),
        ("people.csv.gz", _packed),
        ("people.csv.zst", _packed),
        ("people (1).csv", _copied),
    ],
)
def test_the_same_rows_under_two_names_are_refused(
    tmp_path: Path, name: str, make: Callable[[Path, str], None]
) -> None:
    (tmp_path / "people.csv").write_bytes(b"a,b\n1,2\n")
    make(tmp_path, name)
    with pytest.raises(InputError) as refused:
        Rows(InputSpec("*.csv*", tmp_path))
    assert {part in str(refused.value) for part in ("people.csv", name)} == {True}
    assert len(list(Rows(InputSpec(name.replace("(", "[(]"), tmp_path)).chunks())) == 1


def test_empty_files_are_no_repeats(tmp_path: Path) -> None:
    for name in ("1.csv", "2.csv"):
        (tmp_path / name).write_bytes(b"a,b\n")
    assert list(Rows(InputSpec("*.csv", tmp_path, on_empty="ok")).chunks()) == []


def test_a_header_without_rows_has_no_records() -> None:
    assert read(HEADER) == []


def test_an_endless_line_takes_bounded_memory() -> None:
    def endless() -> Iterator[bytes]:
        block = b"x" * (1 << 20)
        for _ in range(200):
            yield block
        yield b"\nlast\n"

    tracemalloc.start()
    batches = [batch for batch in lines(endless(), "utf-8", 1 << 20) if batch]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [isinstance(batch[0], TextLine) for batch in batches] == [True, False]
    assert batches[-1] == ["last\n"]
    assert peak < 10 << 20


PACK: dict[str, Callable[[bytes], bytes]] = {".zst": zstandard.compress, ".gz": gzip.compress}


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize(
    ("name", "head", "row"), [("p.csv", b"a\n", b"1\n"), ("p.jsonl", b"", b'{"a":"1"}\n')]
)
@pytest.mark.parametrize("filler", [b"x" * (32 << 20), b"\n" * (1 << 19)], ids=["one line", "blank lines"])
def test_blocks_without_rows_are_returned_in_small_chunks(
    tmp_path: Path, name: str, head: bytes, row: bytes, filler: bytes, suffix: str
) -> None:
    data = head + row + filler + b"\n" + row
    (tmp_path / (name + suffix)).write_bytes(PACK[suffix](data))
    chunks = list(Rows(InputSpec(name + suffix, tmp_path)).chunks())
    records = [record for chunk in chunks for record in chunk]
    assert [isinstance(record, Row) for record in records if record.number in (1, records[-1].number)] == [
        True
    ] * 2
    assert [record.number for record in records] == list(range(1, 3 + (filler[:1] == b"x")))
    assert records[-1].line == data.count(b"\n")
    assert len(chunks) >= len(data) >> 17  # at most two blocks at a time


def test_a_truncated_zstandard_file_is_reported(tmp_path: Path) -> None:
    data = HEADER + b"".join(b"p%d@x.org,N%d\n" % (number, number * 7919) for number in range(500))
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    whole = (
        compressor.compress(data[:5000]) + b"\x50\x2a\x4d\x18\x03\0\0\0abc" + compressor.compress(data[5000:])
    )
    between = {len(compressor.compress(data[:5000])), len(whole) - len(compressor.compress(data[5000:]))}
    file = tmp_path / "people.csv.zst"
    for cut in range(1, len(whole), 7):
        file.write_bytes(whole[:cut])
        if cut in between:
            continue
        with pytest.raises(InputError, match=r"people\.csv\.zst"):
            list(Rows(InputSpec(file.name, tmp_path)).chunks())
    file.write_bytes(whole)
    assert sum(map(len, Rows(InputSpec(file.name, tmp_path)).chunks())) == 500


def test_an_unreadable_record_has_its_raw_text() -> None:
    (record,) = read(HEADER + b"one,two,three\n")
    assert record == Unreadable(
        1, 2, "stdin", "field_count", "3 fields where the header has 2", "one,two,three"
    )


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # the addresses of two people are in the name of a third
        (
            b'b@x.org,"Bob\nc@x.org,Cid\nd@x.org,Dan\ne@x.org,Eva"\nf@x.org,Fil\n',
            [
                "swallowed_rows",
                ["c@x.org", "Cid"],
                ["d@x.org", "Dan"],
                ["e@x.org", 'Eva"'],
                ["f@x.org", "Fil"],
            ],
        ),
        (b'b@x.org,"Bob\ne@x.org,Eva"\n', ["swallowed_rows", ["e@x.org", 'Eva"']]),
        (b'1001,"Bob\n1002,Cid\n1003,Eva"\n', ["swallowed_rows", ["1002", "Cid"], ["1003", 'Eva"']]),
        (b'a-1,"Bob\nb-2,Cid\nc-3,Eva"\n', ["swallowed_rows", ["b-2", "Cid"], ["c-3", 'Eva"']]),
        # the quote that ends the text is one that the second row opens
        (b'b@x.org,"Bob\nc@x.org,"\nd@x.org,Dan\n', ["swallowed_rows", "bad_quotes", ["d@x.org", "Dan"]]),
        # the first row has a text of two lines
        (
            b'b@x.org,"Bob\nRay\nc@x.org,Cid\nd@x.org,Dan"\n',
            ["swallowed_rows", "field_count", ["c@x.org", "Cid"], ["d@x.org", 'Dan"']],
        ),
        # a text of several lines, which may have as many commas
        (b'a@x.org,"Hello, Ann\nyes, it is\nBye, Bob"\n', [["a@x.org", "Hello, Ann\nyes, it is\nBye, Bob"]]),
        (b'a@x.org,"Main St 7\nflat 8, Rome"\n', [["a@x.org", "Main St 7\nflat 8, Rome"]]),
        (b'a@x.org,"write to\nb@x.org\nor c@x.org"\n', [["a@x.org", "write to\nb@x.org\nor c@x.org"]]),
    ],
)
@pytest.mark.parametrize("block", [1, 64, 1 << 16])
def test_rows_within_a_quoted_text_are_read(data: bytes, expected: list[object], block: int) -> None:
    assert contents(read(HEADER + data, block=block)) == expected


def test_multiline_allows_a_text_that_looks_like_rows() -> None:
    data = HEADER + b'a@x.org,"as they wrote:\nb@x.org,Bob\nc@x.org,Cid\nand so on"\n'
    assert contents(read(data, multiline=True)) == [
        ["a@x.org", "as they wrote:\nb@x.org,Bob\nc@x.org,Cid\nand so on"]
    ]
    assert contents(read(data))[0] == "swallowed_rows"


ROWS = [["a@x.org", "Ann"], ["b@x.org", "Bob"], ["c@x.org", "Cid"]]


@pytest.mark.parametrize("ends", ["\r", "\n", "\r\n", "\r\n\r", "\n\r"])
@pytest.mark.parametrize("block", [1, 2, 3, 7, 1 << 16])
@pytest.mark.parametrize("limit", [1024, 1 << 20])
def test_a_carriage_return_ends_a_line(ends: str, block: int, limit: int) -> None:
    text = ends.join(",".join(row) for row in [["email", "name"], *ROWS]) + ends
    assert contents(read(text.encode(), block=block, max_row_bytes=limit)) == ROWS
    objects = ends.join(json.dumps({"a": row}) for row in ROWS)
    assert contents(read(objects.encode(), "jsonl", block, max_row_bytes=limit)) == [
        {"a": row} for row in ROWS
    ]


def test_mixed_line_ends_lose_no_row() -> None:
    people = [f"p{number}@x.org,N" for number in range(300)]
    data = HEADER + "\n".join(people[:100]).encode() + b"\n" + "\r".join(people[100:]).encode() + b"\n"
    assert [values[0] for values in contents(read(data))] == [text.split(",")[0] for text in people]  # type: ignore[index]


def test_a_carriage_return_within_quotes_is_a_character() -> None:
    assert contents(read(HEADER + b'a@x.org,"A\rnn"\nb@x.org,B\n')) == [
        ["a@x.org", "A\rnn"],
        ["b@x.org", "B"],
    ]


def test_a_row_with_a_carriage_return_reports_it() -> None:
    first, _ = read(HEADER + b"a@x.org\r,Ann\n")
    assert isinstance(first, Unreadable)
    assert (first.error, "carriage return" in first.error_text) == ("field_count", True)


@pytest.mark.parametrize("block", [1, 700, 1 << 16])
def test_a_record_of_several_lines_ends_at_the_limit(block: int) -> None:
    data = HEADER + b'"' + b"x" * 600 + b"\n" + b"y" * 600 + b'"\na@x.org,Ann\n'
    found = contents(read(data, block=block, max_row_bytes=1024, examine=False))
    assert found == ["bad_quotes", "field_count", ["a@x.org", "Ann"]]


@given(
    st.lists(
        st.sampled_from([b"a@x,A", b'"b', b"\r", b"\n", b"\r\n", b'"', b"x" * 600, b"\xff"]), max_size=30
    )
)
@settings(max_examples=200, deadline=None)
def test_line_ends_do_not_depend_on_blocks(parts: list[bytes]) -> None:
    def outcome(block: int) -> list[object]:
        records = read(HEADER + b"".join(parts), block=block, max_row_bytes=1024, examine=False)
        return [(r.number, r.line, r.values if isinstance(r, Row) else (r.error, r.raw)) for r in records]

    assert outcome(1) == outcome(2) == outcome(1 << 16)


def test_a_truncated_raw_text_is_marked() -> None:
    long = b"a," * 3000
    (record, other) = read(HEADER + long + b"\n" + b"y" * 5000 + b"\n", max_row_bytes=4096)[0:2]
    assert isinstance(record, Unreadable)
    assert isinstance(other, Unreadable)
    assert [record.error, other.error] == ["too_long", "too_long"]
    assert "cut" in record.raw
    (whole,) = read(HEADER + long + b"\n")
    assert isinstance(whole, Unreadable)
    assert whole.raw.encode() == long


@pytest.mark.parametrize("written", ["utf-8", "koi8-r"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("before", [0, 5_000, 20_000])
def test_garbled_text_is_reported_at_any_position(
    written: str, packed: bool, before: int, tmp_path: Path
) -> None:
    plain = b"".join(b"p%d@x.org,Ann\n" % row for row in range(before))
    data = HEADER + plain + "q@x.org,Анна Сергеевна Петрова\n".encode(written) * 2_000
    file = tmp_path / ("people.csv.gz" if packed else "people.csv")
    file.write_bytes(gzip.compress(data) if packed else data)
    opened = Rows(InputSpec(str(file), tmp_path, encoding="cp1251"))
    streamed = Rows(InputSpec("-", Path(), "csv", encoding="cp1251"), stdin=io.BytesIO(data))
    for rows in (opened, streamed):
        assert sum(map(len, rows.chunks())) == before + 2_000
        (warning,) = rows.warnings
        assert f'"{written}"' in warning
        rows.close()


def test_text_in_its_encoding_causes_no_warning() -> None:
    data = HEADER + "q@x.org,Анна Сергеевна Петрова\n".encode("cp1251") * 20_000
    rows = Rows(InputSpec("-", Path(), "csv", encoding="cp1251"), stdin=io.BytesIO(data))
    assert sum(map(len, rows.chunks())) == 20_000
    assert rows.warnings == []


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1251"])
def test_bad_bytes_stay_in_the_raw_text(encoding: str) -> None:
    (record,) = read(
        HEADER + b"a@x.org,\x98\xff\n"[: -2 if encoding == "cp1251" else None] + b"\n", encoding=encoding
    )
    assert isinstance(record, Unreadable)
    assert record.error == "bad_bytes"
    assert b"\x98" in record.raw.encode(encoding, "surrogateescape")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a@x.org,Ann\nb@x.org,Bo", [2]),
        (b"a@x.org,Ann\nb@x.org,Bob\n", []),
        (b"a@x.org,Ann\nb@x.org,Bob\r", []),
        (b"", []),
    ],
)
@pytest.mark.parametrize("block", [1, 1 << 16])
@pytest.mark.parametrize("pack", [False, True])
def test_a_last_line_without_end_is_reported_with_its_row(
    tmp_path: Path, data: bytes, expected: list[int], block: int, pack: bool
) -> None:
    name = "people.csv.gz" if pack else "people.csv"
    (tmp_path / name).write_bytes(gzip.compress(HEADER + data) if pack else HEADER + data)
    opened = Rows(InputSpec(name, tmp_path, on_empty="ok"), block)
    reported: list[str] = list(opened.warnings)
    opened.warn = reported.append
    list(opened.chunks())
    assert all(f"row {row} " in text for row, text in zip(expected, reported, strict=True))
