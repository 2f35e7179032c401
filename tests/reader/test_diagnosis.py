"""A wrong file is recognized by its beginning."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from pathlib import Path

import pytest
import zstandard

from engager.errors import InputError
from engager.models import Row
from engager.reader.diagnosis import looks_like_data
from engager.reader.garbage import RUSSIAN, garbled
from engager.reader.rows import InputSpec, Rows

SHARED = b"email,name\na@x.org,Ann\n"


@pytest.mark.parametrize(
    ("data", "format_", "fact"),
    [
        (gzip.compress(SHARED, mtime=0), "csv", ".gz"),
        (b"PK\x03\x04" + bytes(100), "csv", "spreadsheet"),
        (b"\xd0\xcf\x11\xe0" + bytes(100), "csv", "spreadsheet"),
        (b"PAR1" + bytes(100), "csv", "Parquet"),
        (b"PAR1" + bytes(100), "jsonl", "Parquet"),
        (b"%PDF-1.7\n", "csv", "PDF"),
        (b"SQLite format 3\0" + bytes(100), "jsonl", "database"),
        (SHARED.decode().encode("utf-16"), "csv", '"utf-16"'),
        (SHARED.decode().encode("utf-16-be"), "csv", '"utf-16-be"'),
        (b'{"a": 1}\n'.decode().encode("utf-16-le"), "jsonl", '"utf-16-le"'),
        ("email,имя\na@x.org,Анна\n".encode("utf-32-le"), "csv", '"utf-32-le"'),
        (b'{"a": 1}\n'.decode().encode("utf-32-be"), "jsonl", '"utf-32-be"'),
        (b"sep=;\r\nemail;name\r\na@x.org;Ann\r\n", "csv", "sep="),
        (b'\xef\xbb\xbfsep=,\n"email"\n', "csv", "sep="),
        (b'[\n{"email":"a@x.org"},\n{"email":"b@x.org"}\n]\n', "jsonl", "array"),
        (b'[{"email":"a@x.org"}]', "jsonl", "array"),
        (b' [ {"email":"a@x.org"}]', "csv", "array"),
        (b'{"email": "a@x.org"}\n', "csv", '"jsonl"'),
        (b'// {"email": "a@x.org"}\n{"email": "b@x.org"}\n', "csv", '"jsonl"'),
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>\n", "csv", "page"),
        (b'<?xml version="1.0"?>\n<rows/>\n', "jsonl", "page"),
        (b"Ann Lee;1990;Ann@Example.COM \nBob Ray;1991;bob@example.com\n", "csv", "line 1"),
        (b"Ann Lee <ann@example.com>,1\nBob,2\n", "csv", "line 1"),
        (b"8 (916) 000-00-01,Ann\n8 (916) 000-00-02,Bob\n", "csv", "line 1"),
        (b"5a74876369d42613b31947b8,Ann\n", "csv", "line 1"),
        (b"# exported on Monday\nemail,name\na@x.org,Ann\n", "csv", "title"),
        ("Клиенты на 01.11.2026,,\nEmail,Имя,Город\na@x.org,Анна,Москва\n".encode(), "csv", "title"),
    ],
)
@pytest.mark.parametrize("block", [1, 7, 1 << 16])
def test_a_wrong_file_is_refused_whole(
    tmp_path: Path, data: bytes, format_: str, fact: str, block: int
) -> None:
    (tmp_path / "people.txt").write_bytes(data)
    with pytest.raises(InputError, match=fact):
        Rows(InputSpec("people.txt", tmp_path, format_), block)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=fact):
        Rows(InputSpec("-", tmp_path, format_), block, io.BytesIO(data))  # type: ignore[arg-type]


MARKED = ["utf-8-sig", "utf-16", "utf-32"]


@pytest.mark.parametrize("declared", ["utf-16-be", "utf-32-be", *MARKED])
@pytest.mark.parametrize("written", MARKED)
def test_a_byte_order_mark_that_contradicts_the_job_is_reported(written: str, declared: str) -> None:
    spec = InputSpec("-", Path(), "csv", encoding=declared)
    if written == declared:
        assert Rows(spec, stdin=io.BytesIO(SHARED.decode().encode(written))).columns == ("email", "name")
        return
    with pytest.raises(InputError, match=f'"{written.removesuffix("-sig")}"'):
        Rows(spec, stdin=io.BytesIO(SHARED.decode().encode(written)))


WIDE = ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
LATIN = "email,name\na@x.org,Ann\n"
SCRIPTS = (LATIN, "email,имя,x\na@y,анна,7\n", "Почта;Имя\na@x.org;Анна\n", "名前\n李小龍\n")


@pytest.mark.parametrize("encoding", WIDE)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("text", SCRIPTS)
@pytest.mark.parametrize("added", [True, False])
@pytest.mark.parametrize("declared", ["as it is", "without its order"])
def test_text_that_is_shifted_by_a_byte_is_refused(
    encoding: str, mark: str, text: str, added: bool, declared: str
) -> None:
    data = (mark + text).encode(encoding)
    spec = InputSpec("-", Path(), "csv", ";", encoding if declared == "as it is" else encoding[:6])
    with pytest.raises(InputError, match=r"stdin: .* complete copy"):
        Rows(spec, 7, io.BytesIO(b"x" + data if added else data[1:]))
    if mark or declared == "as it is":
        assert Rows(spec, 7, io.BytesIO(data)).columns == tuple(text.partition("\n")[0].split(";"))


def test_a_wide_encoding_needs_a_mark_or_a_byte_order() -> None:
    spec = InputSpec("-", Path(), "csv", encoding="utf-16")
    with pytest.raises(InputError, match=r'stdin: .*"utf-16-be"'):
        Rows(spec, stdin=io.BytesIO(LATIN.encode("utf-16-be")))


def test_half_a_character_at_the_end_causes_a_warning(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_bytes(LATIN.encode("utf-16-le") + b"x")
    opened = Rows(InputSpec("people.csv", tmp_path, encoding="utf-16-le"))
    assert any("people.csv" in warning and "2 bytes" in warning for warning in opened.warnings)
    opened.close()


PACKED = {
    ".gz": gzip.compress(SHARED),
    ".zst": zstandard.compress(SHARED),
    ".bz2": bz2.compress(SHARED),
    ".xz": lzma.compress(SHARED),
}


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("left", range(7))
@pytest.mark.parametrize("named", [True, False])
def test_a_packed_file_that_is_cut_within_its_mark_is_refused(
    tmp_path: Path, format_: str, suffix: str, left: int, named: bool
) -> None:
    name = f"people.txt{suffix}" if named else "people.txt"
    (tmp_path / name).write_bytes(PACKED[suffix][:left])
    fact = "compressed|cut" if left or (named and suffix in (".gz", ".zst")) else "empty"
    with pytest.raises(InputError, match=rf"{name}: .*({fact})"):
        Rows(InputSpec(name, tmp_path, format_))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        b"email,2024,2025\na@x.org,1,2\n",
        b"id,,name\n7,x,Ann\n",
        b"email,,\na@x.org,Ann,Lee\n",
        b"name\nAnn\n",
        b"\n\nemail,name\na@x.org,Ann\n",
        "Почта,Имя\na@x.org,Анна\n".encode(),
    ],
)
def test_a_valid_header_is_accepted(data: bytes) -> None:
    (record,) = (
        r for chunk in Rows(InputSpec("-", Path(), "csv"), 5, io.BytesIO(data)).chunks() for r in chunk
    )
    assert isinstance(record, Row)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ann@Example.COM ", True),
        ("\u00a0ann@example.com\u200b", True),
        ("<ann@example.com>", True),
        ("'+7 916 000-00-01'", True),
        ("{5a748763-69d4-2613-b319-47b800000000}", True),
        ("100234", True),
        ("email", False),
        ("E-mail @", False),
        ("2026", False),
        ("phone 1", False),
        ("", False),
    ],
)
def test_data_is_not_a_name_of_a_column(text: str, expected: bool) -> None:
    assert looks_like_data(text) is expected


TEXTS = {
    "names": "email;Имя;Город\na@x.org;Иван Петрович;Нижний Новгород\nb@x.org;Анна;Ростов-на-Дону\n",
    "capitals": "email;name\na@x.org;АННА\nb@x.org;БОРИС\nc@x.org;МАРИЯ\nd@x.org;ЕКАТЕРИНА\n",
    "few": "email;name\na@x.org;Анна\nb@x.org;Борис\n",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("written", [*RUSSIAN, "utf-8"])
@pytest.mark.parametrize("read", [*RUSSIAN, "utf-8", "cp1252", "latin-1"])
def test_text_in_another_encoding_is_recognized_as_garbled(text: str, written: str, read: str) -> None:
    data = text.encode(written)
    same = data.decode(read, "replace") == text
    assert (garbled(data, read) is None) is same


@pytest.mark.parametrize(
    "text",
    ["name\nJosé\nMálaga\nRenée\nBesançon\nJürgen\nKöln\n", "name\nAnn\nBob\n", "name\n“Ann” – it’s…\n" * 9],
)
def test_western_text_is_not_read_as_russian(text: str) -> None:
    assert garbled(text.encode("cp1252"), "cp1252") is None
    assert garbled(text.encode(), "utf-8") is None


@pytest.mark.parametrize("misread_as", ["cp1251", "latin-1"])
def test_text_that_was_garbled_before_it_was_written_is_reported(misread_as: str) -> None:
    text = TEXTS["names"].replace("И", "и").encode().decode(misread_as)
    assert misread_as in str(garbled(text.encode(), "utf-8"))


def test_each_file_of_an_input_is_examined(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_bytes(TEXTS["names"].encode("cp1251"))
    (tmp_path / "2.csv").write_bytes(TEXTS["names"].replace("Имя", "имя").encode("koi8-r"))
    (tmp_path / "2.csv").write_bytes("email;Имя;Город\n".encode("cp1251") + TEXTS["names"].encode("koi8-r"))
    opened = Rows(InputSpec("*.csv", tmp_path, delimiter=";", encoding="cp1251"))
    opened.close()
    assert ["2.csv" in warning for warning in opened.warnings] == [True]
