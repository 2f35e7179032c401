"""The truth table: what the ending of an attempt proves.

Invariant: no other module interprets a status or a code. `sending/delivery.py` decides what follows from a
meaning.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final

from engager.altcraft.batch_bodies import (
    BatchResult,
    longest_response,
    most_elements,
    read_batch_result,
    read_reference,
)
from engager.altcraft.response_bodies import ResponseBody, read_response
from engager.models import CLIENT_CERT, OWN_MACHINE, Ending, Lost, NotSent, Reply


class Meaning(IntEnum):
    """What the ending of an attempt proves; if two signs disagree, the higher value counts."""

    ACCEPTED = 0  #: the endpoint accepted the row
    REJECTED = 1  #: no effect, and there never will be one: a permanent error of this row
    NOT_ACCEPTED = 2  #: no effect, and a further attempt may succeed
    FATAL = 3  #: no effect, and no row can succeed: the run must stop
    UNKNOWN = 4  #: it may have had an effect
    NOT_SENT = 5  #: never sent, because the run stops


# To look up a member of an enumeration is a call before Python 3.12, and every row needs this one.
ACCEPTED: Final = Meaning.ACCEPTED

#: Assumed: the response to a repeat while the first attempt is still being processed.
IN_FLIGHT: Final = 409

#: Code → what it proves, for the HTTP status and for the body's `error` alike, in a response in the
#: contract's form. First match counts; any other code is a permanent error.
TABLE: tuple[tuple[range, Meaning, str], ...] = (
    (range(1), Meaning.ACCEPTED, "success"),
    (range(401, 402), Meaning.FATAL, "the token is missing or wrong"),
    (range(402, 403), Meaning.FATAL, "the tariff's limit is reached"),
    (range(403, 404), Meaning.FATAL, "the token has no rights to this"),
    # Proxies also send it after the effect, when the endpoint takes longer than they wait.
    (range(408, 409), Meaning.UNKNOWN, "it took too long"),
    (range(IN_FLIGHT, IN_FLIGHT + 1), Meaning.UNKNOWN, "an earlier attempt is still in flight"),
    (range(425, 426), Meaning.NOT_ACCEPTED, "too early"),
    (range(429, 430), Meaning.NOT_ACCEPTED, "too many requests"),
    # Assumed: an overloaded gateway rejects a request before the endpoint processes it.
    (range(503, 504), Meaning.NOT_ACCEPTED, "the service is unavailable"),
    (range(500, 600), Meaning.UNKNOWN, "the endpoint failed, perhaps after the effect"),
)

#: HTTP status → what it proves in a response of another form, which a gateway wrote. It says nothing about
#: the row, so no status rejects it. First match counts.
GATEWAY_TABLE: Final[tuple[tuple[range, Meaning], ...]] = (
    # A redirect after a POST may follow the effect (RFC 9110, 15.4.3 and 15.4.4).
    (range(302, 304), Meaning.UNKNOWN),
    (range(300, 400), Meaning.NOT_ACCEPTED),
    (range(408, 410), Meaning.UNKNOWN),
    (range(400, 500), Meaning.NOT_ACCEPTED),
    (range(503, 504), Meaning.NOT_ACCEPTED),
)

#: Of one row, it is the endpoint itself that says so, and not a gateway that gave up waiting.
_TOOK_TOO_LONG: Final = 408

#: The codes under which a Retry-After pauses the run.
LIMITS: Final = frozenset({429, 503})


#: The body of a request is too large (RFC 9110, 15.5.14).
TOO_LARGE: Final = 413


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one attempt proved, with the fields of its line of results."""

    meaning: Meaning
    error: int | str | None = None  #: the endpoint's code, or a word of engager
    error_text: str | None = None
    http_status: int | None = None
    duplicate: bool = False
    by_endpoint: bool = False  #: the response is in the contract's form: no gateway wrote it
    retry_after: str | None = None  #: the header's text, where it counts
    date: str | None = None  #: the Date header's text, the clock of `retry_after`
    sent: bool = True  #: False: the request ended before its first byte left
    assumed: bool = False  #: that it had no effect is assumed: some gateways send this after the effect
    #: Of the response to a batch: what it proves of each row, in the order of the request. Empty: some rows
    #: may have been accepted, and it does not say which. None: all rows are as the request.
    rows: Sequence[Verdict] | None = None
    references: Sequence[str | None] = ()  #: with `rows`: the profile that it names for each
    request_only: bool = False  #: it accepts the request, and says nothing of the rows in it
    reference: str | None = None  #: the profile or the task that the response names

    @property
    def is_limit(self) -> bool:
        """Whether the endpoint reports a limit."""
        return self.http_status in LIMITS or self.error in LIMITS

    @property
    def is_too_large(self) -> bool:
        """Whether the body of the request is longer than the endpoint, or a gateway, accepts."""
        return TOO_LARGE in (self.http_status, self.error)


#: Bytes of the longest response that is parsed: those in the contract's form are far shorter, and parsing
#: delays every other request.
MAX_PARSED: Final = 1 << 16


def judge(ending: Ending, longest: int = MAX_PARSED) -> Verdict:
    """Returns what the ending of an attempt proves; a response longer than `longest` bytes is incomplete."""
    if isinstance(ending, Reply):
        judged = _judged_often if len(ending.body) <= _SHORT else _judged
        complete = ending.complete and len(ending.body) <= longest
        said = ending.status, ending.body, complete, ending.retry_after, ending.duplicate, ending.date
        return judged(*said, ending.location)
    if isinstance(ending, NotSent):
        return Verdict(_of_not_sent(ending), ending.error, ending.error_text, sent=False)
    if isinstance(ending, Lost):
        return Verdict(Meaning.UNKNOWN, ending.error, ending.error_text)
    return Verdict(Meaning.NOT_SENT)


def judge_batch(ending: Ending, rows: int, is_task: bool) -> Verdict:
    """Returns what the ending of an attempt proves that carries so many rows.

    Args:
        ending: how the attempt ended.
        rows: the number of rows that the request carries, 1 or more.
        is_task: the method answers before it imports, so a success is one of the request only.

    """
    if not isinstance(ending, Reply):
        return judge(ending)
    complete = ending.complete and len(ending.body) <= longest_response(rows)
    said = ending.status, ending.body, complete, ending.retry_after, ending.duplicate, ending.date
    answer = read_response(ending.body, most_elements(rows)) if complete else None
    verdict = _verdict_on(answer, *said, ending.location)
    if answer is not None and not (verdict.meaning is Meaning.UNKNOWN and verdict.error == 0):
        verdict = _of_answer(verdict, answer, 200 <= ending.status < 300, rows, is_task)
    if verdict.is_too_large and verdict.meaning is Meaning.NOT_ACCEPTED:
        # A gateway that says so has not passed it on.
        return replace(verdict, meaning=Meaning.REJECTED)
    return verdict


def _of_answer(whole: Verdict, answer: ResponseBody, is_mapped: bool, rows: int, is_task: bool) -> Verdict:
    """What a response of the endpoint to a batch proves; `is_mapped`: its status agrees with entries."""
    if not is_task:
        return _of_rows(whole, read_batch_result(answer), rows, is_mapped)
    if whole.meaning is not Meaning.ACCEPTED:
        return whole
    return replace(whole, request_only=True, reference=read_reference(answer))


def _of_rows(whole: Verdict, result: BatchResult | None, rows: int, is_mapped: bool) -> Verdict:
    """What a response to a batch proves of its rows, which are mapped by their places if the counts agree.

    Assumed: entries are in the order of the request, and an error without entries is one of all rows.
    `is_mapped`: the status agrees with entries.
    """
    if whole.meaning is Meaning.ACCEPTED:
        if result is None:
            return whole if rows == 1 else replace(whole, request_only=True)
        if result.ids == rows:
            return whole
    elif result is None or (result.is_known and not (result.rows or result.ids)):
        return whole
    if is_mapped and whole.meaning is not Meaning.UNKNOWN and len(result.rows) == rows:
        # Most rows share one verdict, so that it is made and looked at once.
        kinds = {kind: _of_row(whole, *kind) for kind in {row.kind for row in result.rows}}
        each, references = [kinds[row.kind] for row in result.rows], [row.reference for row in result.rows]
        return replace(whole, meaning=Meaning.ACCEPTED, rows=each, references=references)
    if whole.meaning is not Meaning.ACCEPTED:
        # An error, and entries that may say of some rows that they were accepted.
        meaning = whole.meaning if whole.meaning is Meaning.FATAL else Meaning.UNKNOWN
        return replace(whole, meaning=meaning, rows=())
    found = len(result.rows) or result.ids
    text = f"the response has {found:,} results in a form that is known, for {rows:,} rows"
    return replace(whole, error="unusable_result", error_text=text, rows=())


def _of_row(whole: Verdict, error: int, error_text: str) -> Verdict:
    meaning = Meaning.NOT_ACCEPTED if error == _TOOK_TOO_LONG else _of_code(error)
    return replace(whole, meaning=meaning, error=error, error_text=error_text)


def _of_not_sent(ending: NotSent) -> Meaning:
    # A certificate that does not verify is wrong for every row, and so is a machine without sockets: no wait
    # repairs it, and no row may fail for it.
    fatal = ending.error in ("tls", CLIENT_CERT, OWN_MACHINE)
    return Meaning.FATAL if fatal else Meaning.NOT_ACCEPTED


def _judged(status: int, body: bytes, complete: bool, *said: Any) -> Verdict:
    return _verdict_on(read_response(body) if complete else None, status, body, complete, *said)


def _verdict_on(
    answer: ResponseBody | None,
    status: int,
    body: bytes,
    complete: bool,
    retry_after: str | None,
    duplicate: bool,
    date: str | None,
    location: str | None,
) -> Verdict:
    limited = status in LIMITS or (answer is not None and answer.error in LIMITS)
    error: int | str
    if answer is None:
        meaning = _of_gateway(status)
        error = "unusable_answer" if 200 <= status < 300 else f"http_{status}"
        leads = f"it leads to {_without_query(location)}; " if location else ""
        text = f"HTTP {status}: {leads}{_excerpt(body, complete)}"
    else:
        meaning, error, text = _of_both(status, answer.error), answer.error, answer.error_text
    return Verdict(
        meaning,
        error,
        text,
        status,
        duplicate,
        by_endpoint=answer is not None,
        retry_after=retry_after if limited else None,
        date=date if limited else None,
        assumed=answer is None and status == 503 and retry_after is None,
    )


#: Endpoints repeat most responses: each is classified once, not once per row.
_judged_often = lru_cache(maxsize=256)(_judged)
_SHORT: Final = 1024


def _of_code(code: int) -> Meaning:
    return next((meaning for codes, meaning, _ in TABLE if code in codes), Meaning.REJECTED)


def _of_gateway(status: int) -> Meaning:
    """The meaning of a status whose body is not from the endpoint: a success without proof is unknown."""
    return next((meaning for statuses, meaning in GATEWAY_TABLE if status in statuses), Meaning.UNKNOWN)


def _of_both(status: int, code: int) -> Meaning:
    if 200 <= status < 300:
        return _of_code(code)
    if code == 0:
        return Meaning.UNKNOWN  # "success" under an error status: one of them is wrong
    return max(_of_code(status), _of_code(code))


def _excerpt(body: bytes, complete: bool) -> str:
    if not body:
        return "an empty response" if complete else "a response that was cut off"
    text = html.unescape(re.sub(r"<[^<>]*>", " ", body[:4096].decode(errors="replace")))
    return " ".join(text.split())[:200] or "a response without text"


def _without_query(location: str) -> str:
    """Where a redirect leads to, without what it hands over: that may be a secret."""
    return re.split(r"[?#]", location, maxsplit=1)[0][:200]


def is_transient(verdict: Verdict) -> bool:
    """Whether the endpoint, or a gateway, says that it cannot respond at this moment."""
    codes = [code for code in (verdict.http_status, verdict.error) if isinstance(code, int)]
    return any(code in (408, 425, 429) or 500 <= code < 600 for code in codes)


def fatal_reason(verdict: Verdict) -> str:
    """Why no row can succeed, for the operator."""
    if verdict.error == OWN_MACHINE:
        what = "this machine has run out of sockets or memory"
        return f"{what}; raise `ulimit -n` or lower limits.concurrency ({verdict.error_text})"
    if verdict.error == CLIENT_CERT:
        what = "the endpoint accepts only clients with a certificate that it trusts"
        return f"{what}; set endpoint.client_cert ({verdict.error_text})"
    codes = [code for code in (verdict.error, verdict.http_status) if isinstance(code, int)]
    named = (why for code in codes for r, m, why in TABLE if code in r and m is Meaning.FATAL)
    return f"{next(named, 'the endpoint cannot be trusted')} ({verdict.error_text})"


#: What to check for an error of engager, before the endpoint has responded.
_ADVICE: Final = {
    "connect_failed": "check the host in endpoint.url, the name server of this machine, and firewalls",
    "connect_timeout": "check the host and port in endpoint.url, and firewalls on the way",
    "timeout": "check that endpoint.url is the address of the platform, and that the platform is up",
}


#: HTTP statuses by which a server says that it, or the one behind it, does not work at the moment.
_DOWN: Final = frozenset({500, 502, 503, 504})


def why_no_response(verdict: Verdict) -> str:
    """Why a run stops before its endpoint has responded, for the operator."""
    if verdict.http_status in _DOWN:
        return (
            f"the endpoint, or a gateway before it, is down or overloaded: {verdict.error_text}. Run the "
            "same command later; breaker.give_up is only for an endpoint that has responded in this start"
        )
    advice = _ADVICE.get(str(verdict.error))
    if advice is None:
        advice = "check that endpoint.url is the address of the platform, and the gateway before it"
    what = (
        "no response was in the form of the endpoint"
        if verdict.http_status
        else "the endpoint was not reached"
    )
    return f"{what}: {verdict.error_text}; {advice} (engager doctor tests more)"


def why_all_rejected(verdict: Verdict, answers: int) -> str:
    """Why a run stops whose first responses are all the same error."""
    return (
        f"the first {answers:,} responses are all error {verdict.error} ({verdict.error_text}); check "
        "request.id, the scenario and request.matching (engager doctor tests more), or set "
        "stop.all_rejected = 0 if this is expected"
    )
