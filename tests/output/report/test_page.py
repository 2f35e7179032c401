"""The page in a real browser: it adds up, only its own script is alive, it fits every screen."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from engager.errors import RunDirectoryError
from engager.models import Outcome, Status
from engager.output.report.page import page_of, write_report
from engager.store.run_directory import RunDirectory
from tests.output.browser import Browser
from tests.output.report.made import made, outcome

HOSTILE = (
    "<script>document.title = 'taken'</script>",
    '"><img src=x onerror="document.title=\'taken\'">',
    "' onmouseover='document.title=1' x='",
    "{{ 7 * 7 }}{% include 'report.css' %}",
    "</style></title></script><b>",
    "\u202eexe.gnp \u2066 מה זה",
    "&lt;b&gt; &amp; \x00\x1b[31m\r\n",
    "w" * 5_000,
    "https://example.com/" + "a-long-path/" * 400,
)


def mixed(rows: int = 600) -> list[Outcome]:
    kinds = {3: Status.FAILED, 5: Status.REJECTED, 7: Status.INVALID, 11: Status.IN_DOUBT, 13: Status.SKIPPED}
    kinds[17] = Status.ACCEPTED
    return [
        outcome(
            row, kinds.get(row % 20, Status.ENGAGED), attempts=row % 3 + 1, duplicate=not row % 50, error=503
        )
        for row in range(1, rows + 1)
    ]


async def page(path: Path, outcomes: list[Outcome], in_flight: list[int] | None = None) -> Path:
    return write_report(await made(path, outcomes, in_flight or [], complete=not in_flight))


def summed(browser: Browser, table: str, cells: str = "") -> int:
    """The rows, or the requests, that a table's cells say they stand for."""
    found = "[...document.querySelectorAll(arguments[0])]"
    number = "Number(cell.dataset.rows ?? cell.dataset.requests)"
    script = f"return {found}.reduce((sum, cell) => sum + {number}, 0)"
    return int(browser.run(script, f"{table} :is([data-rows], [data-requests]){cells}"))


async def test_every_plot_and_every_table_adds_up_to_the_results(browser: Browser, tmp_path: Path) -> None:
    outcomes = mixed()
    browser.open(await page(tmp_path, outcomes))
    expected = Counter(str(one.status) for one in outcomes)
    tiles = {
        status: int(browser.find(f".tile.{status} b")[0].get_dom_attribute("data-rows") or 0)
        for status in Status
    }
    assert tiles == {status: expected[status] for status in Status}
    assert summed(browser, "#attempts") == 600 == summed(browser, "#time-numbers")
    for status in Status:
        assert summed(browser, "#time-numbers", f"[data-status={status}]") == expected[status]
    measured = sum(one.latency_ms is not None for one in outcomes)
    assert (summed(browser, "#latency-numbers"), summed(browser, "#waited-numbers")) == (measured, measured)
    assert summed(browser, "#skipped") == expected["skipped"]
    assert (
        summed(browser, "#errors") == 600 - expected["engaged"] - expected["accepted"] - expected["skipped"]
    )
    assert sum(one.attempts for one in outcomes) == int(
        browser.find("#attempts caption")[0].text.split()[0].replace(",", "")
    )
    assert browser.find("#duplicates-title + .card .big")[0].text == str(sum(o.duplicate for o in outcomes))
    assert browser.complaints() == []


async def test_what_the_drawings_say_is_what_the_tables_say(browser: Browser, tmp_path: Path) -> None:
    browser.open(await page(tmp_path, mixed()))
    drawn = browser.run(
        """const rows = {}; let all = 0;
        for (const hit of document.querySelectorAll("#throughput .hit")) {
          hit.dispatchEvent(new PointerEvent("pointermove", {bubbles: true}));
          const shown = document.querySelector("#throughput .readout").textContent;
          for (const [, number, status] of shown.matchAll(/([\\d,]+) ([a-z ]+)(?=,|$)/g))
            rows[status] = (rows[status] ?? 0) + Number(number.replaceAll(",", ""));
        } return rows;"""
    )
    assert drawn == dict(Counter(one.status.replace("_", " ") for one in mixed()))
    # A column is as high as its rows: the areas of the first one add up to its share of the axis.
    path = browser.find("#throughput .fill.engaged")[0].get_dom_attribute("d") or ""
    assert len(re.findall("M", path)) == len(browser.find("#throughput .hit"))


async def test_what_rows_and_answers_say_is_text_and_nothing_else(browser: Browser, tmp_path: Path) -> None:
    outcomes = [
        outcome(row, Status.FAILED, key=text, error=f"{row}{text}", error_text=text)
        for row, text in enumerate(HOSTILE, 1)
    ]
    browser.look(390)
    browser.open(await page(tmp_path, outcomes))
    browser.run("document.querySelectorAll('details').forEach(found => found.open = true)")
    assert browser.driver.title == "spring: complete, 9 rows"
    assert len(browser.find("script")) == 1
    assert browser.find("#errors img, #errors b b, [onmouseover], #errors script") == []
    shown = "\n".join(found.text for found in browser.find("#errors td"))
    assert HOSTILE[0] in shown
    assert "{{ 7 * 7 }}" in shown
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069\x00\x1b]", browser.driver.page_source)
    assert browser.overflow() <= 0
    assert browser.complaints() == []


async def test_nothing_but_the_page_itself_is_loaded_or_run(browser: Browser, tmp_path: Path) -> None:
    path = await page(tmp_path, mixed(50))
    text = path.read_text()
    assert re.findall(r"""(?:src|href|url)\s*[=(]""", text) == []
    browser.open(path)
    assert browser.run("return performance.getEntriesByType('resource').length") == 0
    # What got in all the same would be stopped: a script, a style, a picture, a request.
    browser.run(
        """const script = document.createElement("script"); script.textContent = "document.title = 'taken'";
        document.body.append(script);
        const image = document.createElement("img"); image.src = "https://127.0.0.1:9/x.png";
        document.body.append(image); document.body.setAttribute("style", "display: none");
        fetch("https://127.0.0.1:9/").catch(() => 0);"""
    )
    assert browser.driver.title == "spring: complete, 50 rows"
    assert browser.run("return getComputedStyle(document.body).display") == "block"
    assert len([text for text in browser.complaints() if "Content Security Policy" in text]) >= 4


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [320, 390, 768, 1280, 2560])
async def test_it_fits_every_screen_by_day_and_by_night(
    browser: Browser, tmp_path: Path, width: int, dark: bool
) -> None:
    browser.look(width, dark=dark)
    browser.open(await page(tmp_path, mixed()))
    browser.run("document.querySelectorAll('details').forEach(found => found.open = true)")
    assert browser.overflow() <= 0
    red, green, blue = browser.run(
        "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert (red + green + blue < 150) == dark
    labels = browser.run(
        """const all = [];
        for (const axis of document.querySelectorAll(".x-axis")) {
          const boxes = [...axis.querySelectorAll("text")].map(text => text.getBoundingClientRect())
            .filter(box => box.width).sort((a, b) => a.left - b.left);
          for (let i = 1; i < boxes.length; i++) all.push(boxes[i].left - boxes[i - 1].right);
        } return all;"""
    )
    assert min(labels) > 0, "labels of an axis overlap"


async def test_it_works_for_screen_readers_and_on_paper(browser: Browser, tmp_path: Path) -> None:
    browser.look(paper=True)
    browser.open(await page(tmp_path, mixed()))
    drawings = browser.find("svg[role=img]")
    assert [drawing.accessible_name for drawing in drawings] == [
        "Throughput rows/s",
        "Statuses share of rows",
        "Latency over time log scale",
        "Latency distribution requests",
        "Waiting over time log scale",
        "Waiting distribution requests",
    ]
    assert all(browser.find(f"#{drawing.get_dom_attribute('aria-describedby')}") for drawing in drawings)
    assert not browser.find(".readout")[0].is_displayed()
    assert len(browser.find("#time-numbers tbody tr")) == len(browser.find("#throughput .hit"))


async def test_the_page_of_a_crashed_run_says_so(browser: Browser, tmp_path: Path) -> None:
    run = await made(tmp_path, mixed(40), in_flight=[41, 42, 43], complete=False)
    with (tmp_path / "results.jsonl").open("ab") as file:
        file.write(b'nonsense\n{"row": 41, "key')
    browser.open(write_report(run))
    notices = "\n".join(found.text for found in browser.find(".notice"))
    assert re.search(r"\b3 rows\b.*in flight", notices)
    assert notices.count("results.jsonl") == 2  # one line is incomplete, and one is damaged
    assert browser.find(".state")[0].text == "stopped"
    assert summed(browser, "#time-numbers") == 40


async def test_shares_are_of_all_rows_and_skipped_rows_are_no_errors(
    browser: Browser, tmp_path: Path
) -> None:
    rows = [outcome(1), outcome(2, Status.REJECTED, error=400), outcome(3, Status.SKIPPED, error="repeat")]
    run = await made(tmp_path, rows, complete=False)
    browser.open(write_report(replace(run, invocation={**run.invocation, "rows": 12})))
    assert browser.find(".tile.engaged dd")[0].text.split("\n") == ["1", "8.3 %"]
    assert "3 of 12 rows (25.0 %)" in browser.find("#rows-title")[0].text
    assert [found.text for found in browser.find("#errors .error")] == ["400"]
    assert [found.text for found in browser.find("#skipped .error")] == ["repeat"]


async def test_the_page_of_the_sandbox_says_that_nobody_is_reached(tmp_path: Path) -> None:
    run = await made(tmp_path, [outcome(1)], exit_code=1)
    assert "nobody is reached" not in page_of(run)
    found = page_of(replace(run, identity={**run.identity, "endpoint": {"url": "sandbox"}}))
    assert "nobody is reached" in found
    assert "exit code 1" in found


async def test_lines_that_are_not_written_yet_are_missed_aloud(tmp_path: Path) -> None:
    run = await made(tmp_path, mixed(40))
    lines = (tmp_path / "results.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "results.jsonl").write_bytes(b"".join(lines[:30]))
    assert re.search(r"\b10 .*results\.jsonl", page_of(run))


async def test_a_run_without_an_outcome_has_a_page(browser: Browser, tmp_path: Path) -> None:
    browser.open(await page(tmp_path, [], [1]))
    assert "No row has an outcome yet." in browser.find("main")[0].text
    assert browser.complaints() == []


@pytest.mark.parametrize("outcomes", [[outcome(1)], [outcome(1, Status.INVALID)]], ids=["one", "none sent"])
async def test_a_single_row_has_a_page(browser: Browser, tmp_path: Path, outcomes: list[Outcome]) -> None:
    browser.open(await page(tmp_path, outcomes))
    assert summed(browser, "#attempts") == 1
    assert browser.complaints() == []


@pytest.mark.parametrize("status", [Status.ENGAGED, Status.ACCEPTED])
async def test_accepted_is_shown_where_it_occurs_and_is_no_error(tmp_path: Path, status: Status) -> None:
    text = page_of(await made(tmp_path, [outcome(1), outcome(2, status)]))
    occurs = status is Status.ACCEPTED
    assert ('class="tile accepted"' in text, 'data-status="accepted"' in text) == (occurs, occurs)
    assert ('class="fill accepted"' in text) == occurs
    assert 'id="errors"' not in text


async def test_results_of_csv_make_the_same_page(tmp_path: Path) -> None:
    texts = [
        page_of(await made(tmp_path / form, mixed(), results=form))
        .replace("results.csv", "results.jsonl")
        .replace(str(tmp_path / form), "")
        for form in ("jsonl", "csv")
    ]
    moment = re.compile(r" at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC|<dd><bdi>[0-9a-f]{12}</bdi>")
    assert moment.sub("", texts[0]) == moment.sub("", texts[1])


async def test_the_page_is_for_its_owner_and_spares_other_files(tmp_path: Path) -> None:
    run = await made(tmp_path / "run", [outcome(1)])
    mine = tmp_path / "mine.html"
    mine.write_text("precious")
    with pytest.raises(RunDirectoryError, match=r"mine\.html"):
        write_report(run, mine)
    assert mine.read_text() == "precious"
    for _ in range(2):
        path = write_report(run, tmp_path / "page.html")
        assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(RunDirectoryError, match="nowhere"):
        write_report(run, tmp_path / "nowhere" / "page.html")


async def test_what_no_longer_is_wanted_is_given_up(tmp_path: Path) -> None:
    run: RunDirectory = await made(tmp_path, [outcome(1)])
    with pytest.raises(RunDirectoryError, match="report"):
        write_report(run, give_up=lambda: True)
    assert "report.html" not in os.listdir(tmp_path)
