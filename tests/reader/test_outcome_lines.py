"""What is written of a row can be read again, whatever the row holds."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engager.models import Outcome, Row, Status, Unreadable
from engager.reader.csv_rows import CsvRows
from engager.reader.jsonl_rows import JsonlRows
from engager.reader.lines import lines
from engager.reader.outcome_fields import result_fields
from engager.reader.outcome_lines import CsvLines, MendableCsv, MendableJson, guarded, without_guard

#: Values in which each character that means something to CSV is likely.
VALUES = st.text(
    st.sampled_from("ab,;\t|\"'\r\n\u2028 ") | st.characters(exclude_categories=["Cs"]), max_size=8
)


def same(text: str) -> str:
    return text


@given(values=st.tuples(VALUES, VALUES), delimiter=st.sampled_from(",;\t|"))
def test_rows_to_be_mended_are_an_input_again(values: tuple[str, str], delimiter: str) -> None:
    mend = MendableCsv(("email", "name"), delimiter, "utf-8", same)
    outcome = Outcome(Row(7, 8, "people.csv", values), "a@x.org", Status.FAILED, error_text=values[1])
    file = [mend.head + mend.line(outcome) + mend.line(outcome)]
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


ENCODINGS = ["utf-8", "utf-8-sig", "cp1251", "shift_jis", "utf-7", "utf-16", "utf-16-be", "utf-32"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_objects_to_be_mended_are_an_input_again_in_its_encoding(encoding: str, tmp_path: Path) -> None:
    mend = MendableJson(same, encoding)
    values = {"email": "a+1@x.org", "имя": "Анна 😀", "n": [1, None]}
    outcome = Outcome(Row(7, 8, "people.jsonl", values), "a+1@x.org", Status.FAILED, error_text="нет")
    written = mend.head + mend.line(outcome) + mend.line(outcome)
    rows = JsonlRows(lines([written], encoding, 1 << 20), "failed.jsonl")
    read = [row for batch in rows.batches(1) for row in batch]
    assert [type(row) for row in read] == [Row, Row]
    for row in read:
        assert {**row.values, **values} == row.values  # type: ignore[union-attr, dict-item]
    (tmp_path / "failed.jsonl").write_bytes(written[:-3])
    assert [(row, line) for row, _, line in mend.survivors(tmp_path / "failed.jsonl")][:1] == [
        (7, mend.line(outcome))
    ]


@pytest.mark.parametrize("raw", ["a\rb", "a\r", '"a\rb', "a,b"])
def test_a_record_that_cannot_be_read_is_a_row_of_the_file_to_be_mended(raw: str) -> None:
    mend = MendableCsv(("email",), ",", "utf-8", same)
    outcome = Outcome.unsent(Unreadable(3, 4, "people.csv", "bad_quotes", "a quote", raw))
    rows = CsvRows(lines([mend.head + mend.line(outcome)], "utf-8", 1 << 20), "failed.csv", ",", 1 << 20)
    ((row,),) = rows.batches(1)
    assert isinstance(row, Row)
    assert row.values[rows.header.index("engager_raw")] == raw  # type: ignore[index]


@pytest.mark.parametrize(
    "text", ["one\rtwo", "\r", "one\r\ntwo", 'a "b", c', "=1+1", "'=1", "''@x", "+79160000001", "-", "'", ""]
)
def test_a_line_of_results_is_read_back_whole(text: str, tmp_path: Path) -> None:
    outcome = Outcome(Row(7, 8, "people.csv", ()), text, Status.REJECTED, error=404, error_text=text)
    line = CsvLines.line(orjson.dumps(result_fields(outcome, same)))
    (tmp_path / CsvLines.name).write_bytes(CsvLines.head + line)
    ((row, fields, kept),) = CsvLines.survivors(tmp_path / CsvLines.name)
    assert (row, fields["key"], fields["error_text"], kept) == (7, text, text, line)


@given(st.text("=+-@\t\r'1.ab ", max_size=6))
def test_no_text_is_a_formula_and_every_text_comes_back(text: str) -> None:
    written = guarded(text)
    assert without_guard(written) == text
    assert written[:1] not in {*"=@\t\r"}
    assert written[:1] not in {*"+-"} or written[1:].replace(".", "", 1).isdigit()
