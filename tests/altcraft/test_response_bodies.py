"""Answers are read leniently where nothing is in doubt, and strictly where something is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engager.altcraft.response_bodies import ResponseBody, read_response

JSON = b'{"data":null,"error":%b,"error_text":"%b"}'
XML = b"<xml><error>%b</error><error_text>%b</error_text></xml>"
CSV = b"data,error,error_text\n,%b,%b\n"
FORMS = (JSON, XML, CSV)


@pytest.mark.parametrize("form", FORMS)
@given(before=st.sampled_from([b"", b"\xef\xbb\xbf"]), space=st.text(" \t\r\n", max_size=80))
def test_what_surrounds_an_answer_does_not_matter(form: bytes, before: bytes, space: str) -> None:
    body = before + space.encode() + form % (b"404", b"no") + space.encode()
    assert read_response(body) == ResponseBody(404, "no")


@pytest.mark.parametrize(
    ("code", "read"), [(b'"0"', 0), (b"0.0", 0), (b'" 12 "', 12), (b'"3.0"', 3), (b"-1", -1), (b"7e0", 7)]
)
def test_a_code_is_a_number_however_it_is_written(code: bytes, read: int) -> None:
    assert read_response(JSON % (code, b"x")) == ResponseBody(read, "x")


@pytest.mark.parametrize(
    "code", [b"true", b"null", b'""', b"0.5", b'"0x0"', b"[0]", b"{}", b"1e30", b'"none"']
)
def test_what_is_no_number_is_no_code(code: bytes) -> None:
    assert read_response(JSON % (code, b"x")) is None


@pytest.mark.parametrize("form", [JSON, CSV])
def test_a_text_in_another_character_set_hides_no_code(form: bytes) -> None:
    answer = read_response(form % (b"0", "готово".encode("cp1251")))
    assert answer is not None
    assert answer.error == 0


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": 404}',
        b'{"error": 500, "message": "no upstream"}',
        b"<xml><error>404</error></xml>",
        b"error,message\n404,none\n",
    ],
)
def test_an_error_without_its_text_is_of_another_server(body: bytes) -> None:
    assert read_response(body) is None


@pytest.mark.parametrize("body", [b'{"error": 0}', b"<xml><error>0</error></xml>"])
def test_a_success_needs_no_text(body: bytes) -> None:
    assert read_response(body) == ResponseBody(0, "")


def test_a_text_may_be_null() -> None:
    assert read_response(b'{"error": 404, "error_text": null}') == ResponseBody(404, "")


@pytest.mark.parametrize("body", [b"", b"   ", b"\xef\xbb\xbf", b"[]", b"{", b"<html>", b"0", b"error\n0\n1"])
def test_what_has_another_form_is_no_answer(body: bytes) -> None:
    assert read_response(body) is None
