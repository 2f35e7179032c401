"""What an ending of a try proves: the whole table, by hand."""

from __future__ import annotations

from encodings.aliases import aliases

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engager.altcraft.classification import MAX_PARSED, Meaning, judge, why_no_response
from engager.models import Lost, NotSent, Reply, Withheld

OK = b'{"data": null, "error": 0, "error_text": "Successful operation"}'
XML_OK = b"<xml><data/><error>0</error><error_text>Successful operation</error_text></xml>"
CSV_OK = b"data,error,error_text\n,0,Successful operation\n"
HTML = b"<html><head><title>502 Bad Gateway</title></head></html>"


def says(code: int) -> bytes:
    return b'{"data": null, "error": %d, "error_text": "no"}' % code


TAKEN, REJECTED, NOT_TAKEN = Meaning.ACCEPTED, Meaning.REJECTED, Meaning.NOT_ACCEPTED
REFUSES_ALL, UNKNOWN = Meaning.FATAL, Meaning.UNKNOWN


@pytest.mark.parametrize("body", [OK, XML_OK, CSV_OK, b'<?xml version="1.0" encoding="UTF-8"?>\n' + XML_OK])
def test_success_is_read_in_every_format(body: bytes) -> None:
    assert judge(Reply(200, body)).meaning is TAKEN


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        # the endpoint's own code under HTTP 200
        (200, says(400), REJECTED),
        (200, says(440), REJECTED),
        (200, says(-1), REJECTED),
        (200, says(401), REFUSES_ALL),
        (200, says(402), REFUSES_ALL),
        (200, says(403), REFUSES_ALL),
        (200, says(409), UNKNOWN),
        (200, says(429), NOT_TAKEN),
        (200, says(500), UNKNOWN),
        (200, says(503), NOT_TAKEN),
        (200, says(599), UNKNOWN),
        (200, says(600), REJECTED),
        # the same code as the HTTP status
        (400, says(400), REJECTED),
        (401, says(401), REFUSES_ALL),
        (429, says(429), NOT_TAKEN),
        (500, says(500), UNKNOWN),
        (503, says(503), NOT_TAKEN),
        (200, says(408), UNKNOWN),
        (408, says(408), UNKNOWN),
        (200, says(425), NOT_TAKEN),
        # a gateway's answer: it says nothing about the row
        (300, HTML, NOT_TAKEN),
        (301, b"", NOT_TAKEN),
        (302, HTML, UNKNOWN),
        (303, b"", UNKNOWN),
        (304, b"", NOT_TAKEN),
        (307, b"", NOT_TAKEN),
        (308, HTML, NOT_TAKEN),
        (400, HTML, NOT_TAKEN),
        (400, b'{"error": "bad request"}', NOT_TAKEN),
        (401, b"", NOT_TAKEN),
        (403, HTML, NOT_TAKEN),
        (404, HTML, NOT_TAKEN),
        (404, b'{"detail": "Not Found"}', NOT_TAKEN),
        (407, b"", NOT_TAKEN),
        (408, b"", UNKNOWN),
        (409, b"", UNKNOWN),
        (413, HTML, NOT_TAKEN),
        (425, b"", NOT_TAKEN),
        (429, b"", NOT_TAKEN),
        (499, b"", NOT_TAKEN),
        (500, HTML, UNKNOWN),
        (502, HTML, UNKNOWN),
        (503, HTML, NOT_TAKEN),
        (504, b"", UNKNOWN),
        # success, and what is no proof of it
        (200, b"", UNKNOWN),
        (200, HTML, UNKNOWN),
        (204, b"", UNKNOWN),
        (200, b'{"data": null, "error": 0', UNKNOWN),
        (200, b'{"error": "0"}', TAKEN),
        (200, b'{"error": false}', UNKNOWN),
        (200, b'{"data": null}', UNKNOWN),
        (200, b"[0]", UNKNOWN),
        (200, b'{"error": 0, "error_text": "\xff"}', TAKEN),
        (200, b"<xml><error></error></xml>", UNKNOWN),
        (200, b"<answer><error>0</error></answer>", UNKNOWN),
        (200, b"data,error,error_text\n", UNKNOWN),
        # two signs that disagree: the more careful one counts
        (500, OK, UNKNOWN),
        (404, OK, UNKNOWN),
        (400, says(500), UNKNOWN),
        (500, says(400), UNKNOWN),
        (400, says(503), NOT_TAKEN),
        (401, says(400), REFUSES_ALL),
    ],
)
def test_an_answer_proves(status: int, body: bytes, meaning: Meaning) -> None:
    assert judge(Reply(status, body)).meaning is meaning


def test_an_answer_that_was_cut_off_is_believed_by_its_status_only() -> None:
    assert judge(Reply(200, OK, complete=False)).meaning is UNKNOWN
    assert judge(Reply(400, OK, complete=False)).meaning is NOT_TAKEN


def test_entities_in_an_xml_answer_are_not_expanded() -> None:
    bomb = b'<!DOCTYPE xml [<!ENTITY a "0">]><xml><error>&a;</error></xml>'
    assert judge(Reply(200, bomb)).meaning is UNKNOWN


def test_faults_of_the_wire() -> None:
    assert judge(NotSent("connect_failed", "refused")).meaning is NOT_TAKEN
    assert judge(NotSent("tls", "certificate")).meaning is REFUSES_ALL
    assert judge(Lost("timeout", "silence")).meaning is UNKNOWN
    assert judge(Withheld()).meaning is Meaning.NOT_SENT


def test_only_limits_may_pause_the_run() -> None:
    assert judge(Reply(429, b"", retry_after="7")).retry_after == "7"
    assert judge(Reply(200, says(503), retry_after="7")).retry_after == "7"
    assert judge(Reply(500, HTML, retry_after="7")).retry_after is None
    assert judge(Reply(503, HTML, retry_after="7", date="now")).date == "now"


@given(st.sampled_from([b"", b"{", b"<", b"error\n", OK, XML_OK]), st.binary())
def test_whatever_is_answered_is_judged(begun: bytes, rest: bytes) -> None:
    assert judge(Reply(500, begun + rest)).meaning in (UNKNOWN, REFUSES_ALL)


def test_an_xml_answer_may_claim_any_encoding() -> None:
    body = b"<xml><error>0</error><error_text>\xff\\x+AGE-</error_text></xml>"
    for name in {*aliases, *aliases.values()}:
        claims = f'<?xml version="1.0" encoding="{name}"?>'.encode()
        assert judge(Reply(200, claims + body)).meaning in (TAKEN, UNKNOWN)


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":0,"data":"%b"}' % (b"x" * MAX_PARSED),
        b"<xml><error>0</error><data>%b</data></xml>" % (b"x" * MAX_PARSED),
        b"<xml><error>0</error><data>%b</data></xml>" % (b"<a/>" * 5000),
        b"error,error_text\n0,%b\n" % (b"x" * MAX_PARSED),
    ],
    ids=["json", "xml", "elements", "csv"],
)
def test_an_answer_that_takes_long_to_parse_is_believed_by_its_status_only(body: bytes) -> None:
    assert judge(Reply(200, body)).meaning is UNKNOWN
    assert judge(Reply(404, body)).meaning is NOT_TAKEN
    assert not judge(Reply(404, body)).by_endpoint


def test_a_long_answer_is_parsed_if_the_caller_allows_it() -> None:
    body = b'{"error":0,"data":"%b"}' % (b"x" * MAX_PARSED)
    assert judge(Reply(200, body), longest=2 * MAX_PARSED).meaning is TAKEN


def test_a_gateway_is_distinguished_from_the_endpoint() -> None:
    assert judge(Reply(400, says(400))).by_endpoint
    assert not judge(Reply(400, HTML)).by_endpoint


def test_a_gateways_page_is_quoted_without_its_markup() -> None:
    assert judge(Reply(502, HTML)).error_text == "HTTP 502: 502 Bad Gateway"


@pytest.mark.parametrize("body", [b"", HTML, b'{"detail": "no"}', b"0"])
def test_no_answer_of_another_form_rejects_a_row_or_stops_for_all(body: bytes) -> None:
    for verdict in (judge(Reply(status, body)) for status in [*range(200, 600), 999]):
        assert verdict.meaning in (NOT_TAKEN, UNKNOWN)
        assert not verdict.by_endpoint


def test_a_503_is_believed_by_assumption_unless_the_endpoint_says_it_or_a_pause_is_asked_for() -> None:
    assert judge(Reply(503, HTML)).assumed
    assert not judge(Reply(503, says(503))).assumed
    assert not judge(Reply(503, HTML, retry_after="7")).assumed
    assert not judge(Reply(429, HTML)).assumed


def test_what_never_left_was_not_sent() -> None:
    assert not judge(NotSent("connect_failed", "refused")).sent
    assert judge(Lost("timeout", "silence")).sent
    assert judge(Reply(404, HTML)).sent


@pytest.mark.parametrize(("status", "is_down"), [(503, True), (502, True), (404, False), (200, False)])
def test_a_server_that_is_down_is_not_called_a_wrong_address(status: int, is_down: bool) -> None:
    verdict = judge(Reply(status, HTML))
    assert ("endpoint.url" in why_no_response(verdict)) is not is_down
    assert ("breaker.give_up" in why_no_response(verdict)) is is_down
