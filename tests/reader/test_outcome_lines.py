"""The written lines of a row can be read again, with any content."""

from __future__ import annotations

import io
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engager.config.encodings import mark_of
from engager.models import Outcome, Row, Status, Unreadable
from engager.reader.csv_rows import CsvRows
from engager.reader.lines import lines
from engager.reader.outcome_fields import result_fields
from engager.reader.outcome_lines import (
    CsvLines,
    JsonLines,
    RejectedCsv,
    RejectedJson,
    TextForm,
    guarded,
    without_guard,
)
from engager.reader.results import results_of
from engager.reader.rows import InputSpec, Rows, open_rows

#: Values in which each character that means something to CSV is likely.
VALUES = st.text(
    st.sampled_from("ab,;\t|\"'\r\n\u2028 ") | st.characters(exclude_categories=["Cs"]), max_size=8
)


def unchanged(text: str) -> str:
    return text


@given(values=st.tuples(VALUES, VALUES), delimiter=st.sampled_from(",;\t|"))
def test_rejected_rows_are_an_input_again(values: tuple[str, str], delimiter: str) -> None:
    rejected = RejectedCsv(("email", "name"), delimiter, TextForm(), unchanged)
    outcome = Outcome(Row(7, 8, "people.csv", values), "a@x.org", Status.FAILED, error_text=values[1])
    file = [rejected.head + rejected.line(outcome) + rejected.line(outcome)]
    rows = CsvRows(lines(file, "utf-8", 1 << 20), "failed.csv", delimiter, 1 << 20)
    read = [row for batch in rows.batches(1) for row in batch]
    assert [type(row) for row in read] == [Row, Row]
    for row in read:
        assert dict(zip(rows.header, row.values, strict=True)) == {  # type: ignore[union-attr]
            "email": values[0],
            "name": values[1],
            "engager_row": "7",
            "engager_line": "8",
            "engager_status": "failed",
            "engager_error": "",
            "engager_error_text": guarded(values[1]),
            "engager_raw": "",
        }


@pytest.mark.parametrize("raw", ["a\rb", "a\r", '"a\rb', "a,b"])
def test_a_record_that_cannot_be_read_is_a_row_of_the_rejected_rows_file(raw: str) -> None:
    rejected = RejectedCsv(("email",), ",", TextForm(), unchanged)
    outcome = Outcome.unsent(Unreadable(3, 4, "people.csv", "bad_quotes", "a quote", raw))
    rows = CsvRows(
        lines([rejected.head + rejected.line(outcome)], "utf-8", 1 << 20), "failed.csv", ",", 1 << 20
    )
    ((row,),) = rows.batches(1)
    assert isinstance(row, Row)
    assert row.values[rows.header.index("engager_raw")] == raw  # type: ignore[index]


TEXTS = [
    ("utf-8", False, b"A\xff\xd0,n"),
    ("utf-8", True, b"A\xff\xd0,n"),
    ("utf-8-sig", True, b"\xff,n"),
    ("cp1251", False, b"\xc0\x98,n"),
    ("shift_jis", False, b"A\xff,n"),
    ("utf-16", True, "Анна,n".encode("utf-16-le") + b"\x00\xd8"),
    ("utf-16-le", True, "Анна,n".encode("utf-16-le") + b"\x00\xd8"),
    ("utf-16-be", False, "Анна,n".encode("utf-16-be") + b"\xd8\x00"),
]


def encode_bare(text: str, encoding: str) -> bytes:
    return text.encode({"utf-16": "utf-16-le", "utf-8-sig": "utf-8"}.get(encoding, encoding))


def opened(data: bytes, form: str, encoding: str) -> Rows:
    return open_rows(InputSpec("-", Path(), form, encoding=encoding), io.BytesIO(data))  # type: ignore[arg-type]


def records(rows: Rows) -> list[Row | Unreadable]:
    return [record for chunk in rows.chunks() for record in chunk]


def rejected_again(data: bytes, encoding: str, path: Path) -> bytes:
    """The rejected-rows file of an input of which no row was engaged."""
    rows = opened(data, "csv", encoding)
    found = records(rows)
    assert rows.columns is not None
    rejected = RejectedCsv(rows.columns, ",", TextForm(encoding, rows.has_mark), unchanged)
    outcomes = [
        Outcome.unsent(row)
        if isinstance(row, Unreadable)
        else Outcome(row, None, Status.INVALID, error="empty", error_text="")
        for row in found
    ]
    path.write_bytes(rejected.head + b"".join(map(rejected.line, outcomes)))
    assert [line for _, _, line in rejected.whole_lines(path)] == list(map(rejected.line, outcomes))
    return path.read_bytes()


@pytest.mark.parametrize(("encoding", "has_mark", "bad"), TEXTS)
def test_a_mark_and_bad_bytes_stay_in_the_rejected_rows_file(
    encoding: str, has_mark: bool, bad: bytes, tmp_path: Path
) -> None:
    data = encode_bare("\ufeff" if has_mark else "", encoding) + encode_bare("email,name\n", encoding)
    data += bad + encode_bare("\n", encoding)
    rejected = rejected_again(data, encoding, tmp_path / "failed.csv")
    assert mark_of(rejected) == mark_of(data)
    if not encoding.startswith("utf-16"):  # in which a byte is no character
        assert bad in rejected
    rows = opened(rejected, "csv", encoding)
    assert rows.columns is not None
    assert rows.columns[:3] == ("email", "name", "engager_row")
    (row,) = records(rows)
    # The columns that a run added are no part of the row: once corrected, it can be sent.
    assert isinstance(row, Row)
    assert not any(row.values[:2])  # type: ignore[index]
    again = rejected_again(rejected, encoding, tmp_path / "failed.csv")
    assert rejected_again(again, encoding, tmp_path / "failed.csv") == again
    if not encoding.startswith("utf-16"):
        assert bad in again


def test_bad_bytes_in_the_columns_of_a_row_make_it_unreadable() -> None:
    data = b"email,name,engager_raw\na@x.org,A\xff,\nb@x.org,Bob,\xff\n"
    first, second = records(opened(data, "csv", "utf-8"))
    assert isinstance(first, Unreadable)
    assert isinstance(second, Row)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1251", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("has_mark", [False, True])
def test_rejected_objects_are_an_input_in_the_same_encoding(
    encoding: str, has_mark: bool, tmp_path: Path
) -> None:
    values = {"email": "a@x.org", "name": "Анна"}
    rejected = RejectedJson(unchanged, TextForm(encoding, has_mark))
    outcome = Outcome(Row(7, 8, "people.jsonl", values), "a@x.org", Status.FAILED, error_text="今日は")
    (tmp_path / "failed.jsonl").write_bytes(rejected.head + rejected.line(outcome) + rejected.line(outcome))
    for row in records(opened((tmp_path / "failed.jsonl").read_bytes(), "jsonl", encoding)):
        assert isinstance(row, Row)
        assert {**values, "engager_error_text": "今日は"}.items() <= dict(row.values).items()  # type: ignore[arg-type]
    whole_line = list(rejected.whole_lines(tmp_path / "failed.jsonl"))
    assert [(row, line) for row, _, line in whole_line] == [(7, rejected.line(outcome))] * 2


def test_bytes_that_json_cannot_hold_are_escaped() -> None:
    (record,) = records(opened(b'{"email": "a\xff"}\n', "jsonl", "utf-8"))
    rejected = RejectedJson(unchanged)
    assert isinstance(record, Unreadable)
    (row,) = records(opened(rejected.line(Outcome.unsent(record)), "jsonl", "utf-8"))
    assert isinstance(row, Row)
    assert row.values["engager_raw"] == '{"email": "a\\xff"}'  # type: ignore[call-overload]
    again = orjson.loads(rejected.line(Outcome(row, None, Status.INVALID)))
    assert again["engager_raw"] == row.values["engager_raw"]  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "text", ["one\rtwo", "\r", "one\r\ntwo", 'a "b", c', "=1+1", "'=1", "''@x", "+79160000001", "-", "'", ""]
)
def test_a_line_of_results_is_read_as_it_was_written(text: str, tmp_path: Path) -> None:
    outcome = Outcome(Row(7, 8, "people.csv", ()), text, Status.REJECTED, error=404, error_text=text)
    line = CsvLines.line(orjson.dumps(result_fields(outcome, unchanged)))
    (tmp_path / CsvLines.name).write_bytes(CsvLines.head + line)
    ((row, fields, whole_line),) = CsvLines.whole_lines(tmp_path / CsvLines.name)
    assert (row, fields["key"], fields["error_text"], whole_line) == (7, text, text, line)


@pytest.mark.parametrize("form", [JsonLines, CsvLines])
@pytest.mark.parametrize("reference", ["5f5a", "=7", "7", None])
def test_a_reference_is_read_as_it_was_written(
    form: type[JsonLines | CsvLines], reference: str | None, tmp_path: Path
) -> None:
    row = Row(7, 8, "people.csv", ())
    outcome = Outcome(row, "a@x.org", Status.ACCEPTED, attempts=1, reference=reference)
    line = form.line(orjson.dumps(result_fields(outcome, unchanged), option=orjson.OPT_APPEND_NEWLINE))
    path = tmp_path / form.name
    path.write_bytes(form.head + line)
    ((_, _, whole_line),) = form.whole_lines(path)
    (found,) = results_of(path)
    assert (whole_line, found.status, found.reference) == (line, Status.ACCEPTED, reference)


@given(st.text("=+-@\t\r'1.ab ", max_size=6))
def test_no_text_is_a_formula_and_its_guard_is_removable(text: str) -> None:
    written = guarded(text)
    assert without_guard(written) == text
    assert written[:1] not in {*"=@\t\r"}
    assert written[:1] not in {*"+-"} or written[1:].replace(".", "", 1).isdigit()
