"""The encoding of a file is detected from its first bytes."""

from __future__ import annotations

import pytest

from engager.reader.encodings import encoding_of

RUSSIAN = "Имя;Город\nИван Петрович;Нижний Новгород\nАнна;Ростов-на-Дону\n"


ROWS = "email;Имя;Город\n" + "p1@example.com;Иван;Москва\np2@example.com;Пётр;Казань\n" * 9
UNICODE = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]
OLDER = ["cp1251", "koi8-r", "cp866", "mac-cyrillic"]


def read(content: bytes) -> str:
    found = encoding_of(content)
    assert found is not None
    return content.decode(found.name).lstrip("\ufeff")


@pytest.mark.parametrize("text", [RUSSIAN, RUSSIAN.upper(), ROWS, ROWS.upper()])
@pytest.mark.parametrize("name", [*UNICODE, *OLDER])
def test_russian_text_is_read_as_it_was_written(name: str, text: str) -> None:
    assert read(text.encode(name)) == text


def test_a_guessed_encoding_has_a_remark() -> None:
    assert [bool(encoding_of(RUSSIAN.encode(name)).remark) for name in ("utf-8", "cp1251")] == [False, True]  # type: ignore[union-attr]


def test_western_text_is_not_read_as_russian() -> None:
    text = "name;city\nJosé;Málaga\nRenée;Besançon\nJürgen;Köln\n"
    assert read(text.encode("cp1252")) == text


def test_utf_16_without_a_mark_is_detected() -> None:
    found = encoding_of("email,name\na@x.org,Ann\n".encode("utf-16-le"))
    assert found is not None
    assert found.name == "utf-16-le"


def test_a_truncated_character_at_the_end_is_no_damage() -> None:
    found = encoding_of("Имя".encode()[:-1])
    assert found is not None
    assert (found.name, found.remark) == ("utf-8", "")


def test_a_few_damaged_rows_do_not_change_the_encoding() -> None:
    found = encoding_of(RUSSIAN.encode() + b"\xff\n")
    assert found is not None
    assert found.name == "utf-8"
    assert found.remark


def test_binary_data_has_no_encoding() -> None:
    assert encoding_of(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x12\x80\x90") is None
