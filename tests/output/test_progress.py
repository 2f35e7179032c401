"""What a person sees of a run under way."""

from __future__ import annotations

import re
from dataclasses import replace

from rich.console import Console

from engager.events import ErrorKind, SenderState, Snapshot
from engager.models import Status
from engager.output.terminal import view
from engager.output.text import checked_line, status_line

UNKNOWN = dict.fromkeys(("p50", "p95", "p99"))

NOW = Snapshot(
    elapsed_seconds=45.0,
    rows=600,
    total=1000,
    eta_seconds=5.0,
    statuses=dict.fromkeys(map(str, Status), 0) | {"engaged": 600},
    errors=[],
    attempts=900,
    retries=300,
    requests=950,
    duplicates=0,
    latency_ms=UNKNOWN,
    recent_latency_ms=UNKNOWN,
    waited_ms=UNKNOWN,
    rows_per_second=333.3,
    requests_per_second=498.6,
    rate=500.0,
    rows_per_request=1,
    in_flight=64,
    rows_in_flight=64,
    oldest_in_flight_seconds=0.4,
    holders={},
    waits_for=None,
    stopping=None,
    stops_within_seconds=None,
)


def seen(now: Snapshot, width: int) -> list[str]:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(view(now))
    return capture.get().splitlines()


def test_the_limit_is_shown_beside_the_requests_that_leave() -> None:
    text = "499 requests/s (limit 500), 333 rows/s, 64 requests in flight"
    assert text in status_line(NOW)
    assert text in seen(NOW, 80)


def test_without_a_limit_none_is_shown() -> None:
    assert "499 requests/s, 333 rows/s, 64 requests in flight" in status_line(replace(NOW, rate=None))


def test_of_batches_the_people_are_shown_beside_the_requests() -> None:
    now = replace(
        NOW, rate=2.0, requests_per_second=1.96, rows_per_second=980.0, rows_per_request=500, in_flight=8
    )
    now = replace(now, rows_in_flight=4000)
    for text in (status_line(now), "\n".join(seen(now, 80))):
        assert "2.0 requests/s (limit 2), 980 rows/s, 8 requests (4,000 rows) in flight" in text
        assert "300 retries of rows" in text


def test_a_hanging_endpoint_does_not_look_healthy() -> None:
    """The latency is that of the responses that came; the requests without one are counted by their age."""
    now = replace(NOW, requests_per_second=0.0, oldest_in_flight_seconds=12.3, waits_for="the endpoint")
    for text in (status_line(now), "\n".join(seen(now, 80))):
        assert "64 requests in flight (oldest 12 s)" in text
        assert "no request leaves" in text
        assert " left" not in text


def test_a_run_that_stops_says_how_long_that_can_last() -> None:
    now = replace(NOW, stopping="interrupted by SIGINT", stops_within_seconds=25.2)
    for text in (status_line(now), "\n".join(seen(now, 80))):
        assert "interrupted by SIGINT" in text
        assert "at most 26 s" in text
        assert " left" not in text


def test_the_share_is_of_all_rows_and_the_end_by_the_clock() -> None:
    for text in (status_line(NOW), "\n".join(seen(NOW, 80))):
        assert "600 of 1,000 rows (60.0 %)" in text
        assert re.search(r"5 s left, until \d\d:\d\d", text)


def test_a_reason_at_80_columns_is_whole_and_skipped_rows_are_no_errors() -> None:
    path = "/a/folder/with/a/long/name/and/another/one/people-of-the-spring-campaign.csv, line 8"
    kinds = [
        ErrorKind("rejected", "400", 9, 7, "k", f"{path}: the phone is not valid"),
        ErrorKind("skipped", "repeat", 900, 8, "k", "row 2 has the same key"),
    ]
    text = " ".join(" ".join(seen(replace(NOW, errors=kinds), 80)).split())
    assert "the phone is not valid" in text
    assert text.index("400") < text.index("900 repeat")
    assert "row 2 has" not in text


def test_a_noun_agrees_with_its_number() -> None:
    one = replace(NOW, rows=1, total=1, retries=1, rows_per_request=500, in_flight=1, rows_in_flight=1)
    for text in (status_line(one), "\n".join(seen(one, 120))):
        assert "1 request (1 row) in flight" in text
        assert "1 of 1 row" in text
        assert "1 retry of rows" in text
        assert not re.search(r"\b1 (of 1 )?(rows|requests|retries)\b", text)
    assert "1 request (100 rows) in flight" in status_line(replace(one, rows_in_flight=100))
    assert checked_line(1, None, 1.0).startswith("1 row checked")
    assert checked_line(1, 2000, 1.0).startswith("1 of 2,000 rows checked")


SENDERS = (
    SenderState("process 1", 20, 1500, 250.0, 0.1, lost=False),
    SenderState("process 2", 7, 900, 4.5, 3.0, lost=False),
    SenderState("tls://10.0.0.3:40001", 0, 12, None, 16.0, lost=True),
)


def test_each_sender_is_shown_with_what_it_does() -> None:
    now = replace(NOW, senders=SENDERS)
    assert "2 senders, 1 lost" in status_line(now)
    for width in (80, 200):
        lines = seen(now, width)
        at = lines.index("2 senders, 1 lost")
        assert lines[at + 1 : at + 4] == [
            "  process 1: 20 in flight, 1,500 sent, 250/s of the rate",
            "  process 2: 7 in flight, 900 sent, 4.5/s of the rate, silent for 3 s",
            "  tls://10.0.0.3:40001: lost, 12 sent",
        ]


def test_a_run_that_sends_by_itself_shows_no_sender() -> None:
    assert "sender" not in status_line(NOW) + "".join(seen(NOW, 80))


def test_the_view_of_many_senders_has_a_bound() -> None:
    many = [replace(SENDERS[0], name=f"process {number}") for number in range(64)]
    lines = seen(replace(NOW, senders=many), 80)
    assert "64 senders" in lines
    assert len(lines) < 24
