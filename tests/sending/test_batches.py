"""Batches: a response settles each row, or makes it due in a smaller batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from math import log2

import orjson
import pytest

from engager.errors import Exit
from engager.models import AttemptHistory, Ending, EngageRequest, Lost, Outcome, Reply, Row, Status
from engager.policies.delivery import Mode
from engager.policies.retry import Retry
from engager.policies.slow_start import SlowStart
from engager.requests.identity import RequestIds
from engager.requests.packing import BatchForm, Packer
from engager.sending.batches import BatchSplitter, Part
from engager.sending.stop import Stop
from engager.sending.transport.base import Admission
from tests.sending.scripted import BUSY, REFUSED, SILENT, Script, retrying

pytestmark = pytest.mark.virtual_time

BAD = Reply(200, b'{"data":null,"error":400,"error_text":"Incorrect request"}')
WRONG_TOKEN = Reply(200, b'{"data":null,"error":401,"error_text":"Token is wrong"}')
TOO_LARGE = Reply(413, b"<html>413 Request Entity Too Large</html>")
WITHOUT_RESULTS = Reply(200, b'{"data":null,"error":0,"error_text":"Successful operation"}')


def join(items: Sequence[bytes]) -> tuple[bytes, tuple[bytes, ...]]:
    content = b"[" + b",".join(items) + b"]"
    return content, (content,)


def by_row(*errors: int, error: int = 0) -> Reply:
    result = [
        {"error": code, "error_text": f"text {code}", "profile_id": f"id{index}"}
        for index, code in enumerate(errors)
    ]
    return Reply(200, orjson.dumps({"error": error, "error_text": "", "result": result}))


class RecordingScript(Script):
    """A script that also records the rows of each request."""

    def __init__(self, *endings: Ending) -> None:
        super().__init__(*endings)
        self.rows: list[str] = []
        self.ids: list[str] = []

    async def __call__(self, body: tuple[bytes, ...], request_id: str, admission: Admission) -> Ending:
        self.rows.append(b"".join(body).decode())
        self.ids.append(request_id)
        return await super().__call__(body, request_id, admission)


class Batches:
    """A splitter of batches, with all that it needs."""

    def __init__(
        self,
        script: RecordingScript,
        *,
        mode: Mode = Mode.EXACTLY_ONCE,
        halves: bool = True,
        stop: Stop | None = None,
        settled: Sequence[int] = (),
        slow_start: SlowStart | None = None,
        retry: Retry | None = None,
    ) -> None:
        self.stop = stop or Stop()
        self.packer = Packer(BatchForm(join, RequestIds("run"), 2, 1), 10_000, 10_000_000)
        self.lowered: list[int] = []
        self.splitter = BatchSplitter(
            retrying(script, mode=mode, stop=self.stop, slow_start=slow_start, retry=retry),
            self.packer.packed,
            self.lowered.append,
            lambda row: row in settled,
            self.stop,
            halves,
        )

    def batch(self, *rows: int, history: AttemptHistory | None = None) -> EngageRequest:
        items = [
            EngageRequest(Row(row, row + 1, "people.csv", []), f"p{row}", "", (str(row).encode(),))
            for row in rows
        ]
        return self.packer.packed(items, history or AttemptHistory())

    async def settle(self, *rows: int, history: AttemptHistory | None = None) -> dict[int, Outcome]:
        """Engage a batch and its parts until all rows have their outcomes, or a stop defers them."""
        due: deque[EngageRequest | Part] = deque([self.batch(*rows, history=history)])
        outcomes: dict[int, Outcome] = {}
        while due and not self.stop.requested:
            settled = await self.splitter.engage(due.popleft())
            outcomes |= {outcome.row.number: outcome for outcome in settled.outcomes}
            due.extendleft(reversed(settled.due))
        return outcomes


def statuses(outcomes: dict[int, Outcome]) -> dict[int, str]:
    return {row: outcome.status.value for row, outcome in sorted(outcomes.items())}


async def test_the_entry_of_a_row_gives_its_status_and_reference() -> None:
    script = RecordingScript(by_row(0, 400, 0))
    outcomes = await Batches(script).settle(1, 2, 3)
    assert statuses(outcomes) == {1: "engaged", 2: "rejected", 3: "engaged"}
    assert [outcomes[row].reference for row in (1, 2, 3)] == ["id0", "id1", "id2"]
    assert (outcomes[2].error, outcomes[2].error_text) == (400, "text 400")
    assert len({outcome.request_id for outcome in outcomes.values()}) == 1


async def test_entries_by_row_count_beside_an_error_of_the_batch() -> None:
    assert statuses(await Batches(RecordingScript(by_row(0, 400, error=400))).settle(1, 2)) == {
        1: "engaged",
        2: "rejected",
    }


@pytest.mark.parametrize("code", [429, 503, 408, 425])
async def test_neighbours_that_are_due_share_a_batch_with_a_new_id(code: int) -> None:
    script = RecordingScript(by_row(0, code, code, 0, code), by_row(0, 0), by_row(0))
    outcomes = await Batches(script).settle(1, 2, 3, 4, 5)
    assert script.rows == ["[1,2,3,4,5]", "[2,3]", "[5]"]
    assert statuses(outcomes) == dict.fromkeys(range(1, 6), "engaged")
    assert len(set(script.ids)) == 3


async def test_a_batch_whose_rows_are_all_due_gets_a_new_id() -> None:
    script = RecordingScript(by_row(429, 429), by_row(0, 0))
    await Batches(script).settle(1, 2)
    assert script.rows == ["[1,2]", "[1,2]"]
    assert len(set(script.ids)) == 2


async def test_rows_that_stay_due_fail_after_the_attempts_of_a_row() -> None:
    script = RecordingScript(*[by_row(429, 0), *[by_row(429)] * 9])
    outcomes = await Batches(script).settle(1, 2)
    assert statuses(outcomes) == {1: "failed", 2: "engaged"}
    assert len(script.rows) == 4
    times = [moment for moment, _ in script.left]
    assert all(after - before > 0.05 for before, after in pairwise(times))


async def test_the_parts_of_one_batch_share_a_backoff() -> None:
    script = RecordingScript(by_row(*[429, 0] * 100))
    await Batches(script).settle(*range(1, 201))
    _, *parts = [moment for moment, _ in script.left]
    assert len(parts) == 100
    assert parts[-1] - parts[0] < 100 * 0.06  # each response takes 0.05 s


@pytest.mark.parametrize("mode", [Mode.EXACTLY_ONCE, Mode.AT_MOST_ONCE])
async def test_a_row_that_may_be_engaged_is_in_doubt_at_once(mode: Mode) -> None:
    script = RecordingScript(by_row(0, 500))
    assert statuses(await Batches(script, mode=mode).settle(1, 2)) == {1: "engaged", 2: "in_doubt"}
    assert script.rows == ["[1,2]"]


async def test_at_least_once_repeats_a_row_that_may_be_engaged_alone() -> None:
    script = RecordingScript(by_row(500, 500, 0), by_row(0), *[by_row(500)] * 9)
    outcomes = await Batches(script, mode=Mode.AT_LEAST_ONCE).settle(1, 2, 3)
    assert statuses(outcomes) == {1: "engaged", 2: "in_doubt", 3: "engaged"}
    assert script.rows == ["[1,2,3]", "[1]", "[2]", "[2]", "[2]"]


@pytest.mark.parametrize(
    ("ending", "rows", "status"),
    [
        (WITHOUT_RESULTS, (1, 2), "accepted"),
        (WITHOUT_RESULTS, (1,), "engaged"),
        (Reply(200, b'{"error":0,"error_text":"","result":["a","b"]}'), (1, 2), "engaged"),
        (Reply(200, b'{"error":0,"error_text":"","result":["a"]}'), (1, 2), "in_doubt"),
        (Reply(200, b'{"error":0,"error_text":"","result":[{"error":0},"b"]}'), (1, 2), "in_doubt"),
        (by_row(0, 0, 0), (1, 2), "in_doubt"),
        (by_row(0), (1, 2), "in_doubt"),
        (by_row(400, error=400), (1, 2), "in_doubt"),
    ],
)
async def test_entries_count_only_if_there_is_one_for_each_row(
    ending: Ending, rows: Sequence[int], status: str
) -> None:
    script = RecordingScript(ending)
    outcomes = await Batches(script, mode=Mode.AT_MOST_ONCE).settle(*rows)
    assert statuses(outcomes) == dict.fromkeys(rows, status)
    assert len(script.rows) == 1


@pytest.mark.parametrize("rows", [2, 3, 7, 64, 500])
async def test_halving_finds_one_bad_row(rows: int) -> None:
    class Endpoint(RecordingScript):
        async def __call__(self, body: tuple[bytes, ...], request_id: str, admission: Admission) -> Ending:
            carried = orjson.loads(body[0])
            self._endings = [BAD if bad in carried else by_row(*[0] * len(carried))]
            return await super().__call__(body, request_id, admission)

    for bad in {1, rows // 2, rows}:
        endpoint = Endpoint()
        outcomes = await Batches(endpoint).settle(*range(1, rows + 1))
        assert {row for row, outcome in outcomes.items() if outcome.status is Status.REJECTED} == {bad}
        assert len(outcomes) == rows
        assert len(endpoint.rows) <= 2 * -(-log2(rows) // 1) + 1
        assert len(set(endpoint.ids)) == len(endpoint.ids)


async def test_halving_uses_up_no_attempt() -> None:
    script = RecordingScript(
        BAD, BAD, by_row(429), by_row(429), by_row(429), by_row(0), by_row(0), by_row(0, 0)
    )
    outcomes = await Batches(script).settle(1, 2, 3, 4)
    assert statuses(outcomes) == dict.fromkeys((1, 2, 3, 4), "engaged")


async def test_a_row_that_is_settled_already_is_in_no_half() -> None:
    script = RecordingScript(BAD, by_row(0, 0))
    outcomes = await Batches(script, settled=[1, 4]).settle(1, 2, 3, 4)
    assert script.rows == ["[1,2,3,4]", "[2]", "[3]"]
    assert set(outcomes) == {1, 2, 3, 4}


async def test_a_batch_of_rows_that_are_settled_already_is_not_sent() -> None:
    script = RecordingScript()
    outcomes = await Batches(script, settled=[1, 2]).settle(1, 2)
    assert script.rows == []
    assert set(outcomes) == {1, 2}


async def test_a_repeated_response_to_a_row_alone_does_not_settle_the_doubt_of_its_batch() -> None:
    again = by_row(400)
    for ending in (again, BAD):
        repeated = Reply(200, ending.body, duplicate=True)
        script = RecordingScript(by_row(0, 500), SILENT, repeated)
        outcomes = await Batches(script, mode=Mode.AT_LEAST_ONCE).settle(1, 2)
        assert statuses(outcomes) == {1: "engaged", 2: "in_doubt"}


DOUBT = AttemptHistory(attempts=1, first_left=0.0, in_doubt=True)


@pytest.mark.parametrize(
    ("mode", "history", "statuses_"),
    [
        # The endpoint deduplicates: a fresh response proves that the attempt before never arrived.
        (Mode.EXACTLY_ONCE, DOUBT, ["engaged", "rejected", "engaged"]),
        (Mode.EXACTLY_ONCE, DOUBT._replace(forced=True), ["engaged", "in_doubt", "engaged"]),
        (Mode.AT_LEAST_ONCE, DOUBT, ["engaged", "in_doubt", "engaged"]),
    ],
)
async def test_the_mode_decides_what_a_response_proves_of_a_batch_in_doubt(
    mode: Mode, history: AttemptHistory, statuses_: list[str]
) -> None:
    script = RecordingScript(by_row(0, 400, 429), by_row(0))
    outcomes = await Batches(script, mode=mode).settle(1, 2, 3, history=history)
    assert list(statuses(outcomes).values()) == statuses_


async def test_a_row_that_may_be_engaged_never_fails() -> None:
    script = RecordingScript(by_row(429, 0), *[by_row(429)] * 9)
    outcomes = await Batches(script, mode=Mode.AT_LEAST_ONCE).settle(1, 2, history=DOUBT)
    assert statuses(outcomes) == {1: "in_doubt", 2: "engaged"}


async def test_a_refused_batch_is_in_doubt_without_halving() -> None:
    script = RecordingScript(BAD)
    assert statuses(await Batches(script, halves=False).settle(1, 2)) == {1: "in_doubt", 2: "in_doubt"}
    assert statuses(await Batches(RecordingScript(BAD), halves=False).settle(1)) == {1: "rejected"}


async def test_a_413_halves_a_batch_and_lowers_the_limit_of_bytes() -> None:
    script = RecordingScript(TOO_LARGE, by_row(0, 0), TOO_LARGE, TOO_LARGE, by_row(0))
    batches = Batches(script)
    outcomes = await batches.settle(1, 2, 3, 4)
    assert statuses(outcomes) == {1: "engaged", 2: "engaged", 3: "rejected", 4: "engaged"}
    assert script.rows == ["[1,2,3,4]", "[1,2]", "[3,4]", "[3]", "[4]"]
    assert batches.lowered == [9, 5]


async def test_a_busy_endpoint_gets_the_same_batch_until_its_rows_fail() -> None:
    endings: list[Ending] = [BUSY, REFUSED] * 5
    script = RecordingScript(*endings)
    outcomes = await Batches(script).settle(1, 2)
    assert statuses(outcomes) == {1: "failed", 2: "failed"}
    assert set(script.rows) == {"[1,2]"}
    assert len(set(script.ids)) == 1


async def test_a_batch_with_a_lost_response_is_repeated_whole() -> None:
    script = RecordingScript(SILENT, BAD, by_row(0, 0))
    outcomes = await Batches(script).settle(1, 2)
    assert script.rows[:2] == ["[1,2]", "[1,2]"]
    assert script.ids[0] == script.ids[1]
    assert statuses(outcomes).keys() == {1, 2}


async def test_a_batch_whose_responses_are_lost_is_in_doubt() -> None:
    script = RecordingScript(*[SILENT] * 9)
    assert statuses(await Batches(script).settle(1, 2)) == {1: "in_doubt", 2: "in_doubt"}
    once = RecordingScript(SILENT)
    outcomes = await Batches(once, mode=Mode.AT_MOST_ONCE).settle(1, 2)
    assert statuses(outcomes) == {1: "in_doubt", 2: "in_doubt"}
    assert len(once.rows) == 1


async def test_a_batch_in_doubt_is_not_halved() -> None:
    script = RecordingScript(Lost("timeout", "silence"), Reply(413, b"<html>"))
    assert statuses(await Batches(script).settle(1, 2)) == {1: "in_doubt", 2: "in_doubt"}
    assert set(script.rows) == {"[1,2]"}


@pytest.mark.parametrize("ending", [WRONG_TOKEN, by_row(0, 402)])
async def test_an_error_of_the_account_stops_the_run_and_leaves_its_rows_due(ending: Ending) -> None:
    for attempts in (4, 1):
        batches = Batches(RecordingScript(ending), retry=Retry(attempts=attempts))
        outcomes = await batches.settle(1, 2)
        assert batches.stop.exit is Exit.STOPPED
        assert 2 not in outcomes


async def test_a_row_that_is_settled_already_is_not_sent_alone() -> None:
    """It was repeated because of the other rows of its batch."""
    script = RecordingScript(by_row(429, 429, 0), by_row(0))
    await Batches(script, settled=[1]).settle(1, 2, 3)
    assert script.rows == ["[1,2,3]", "[2]"]


@pytest.mark.parametrize("ending", [BAD, by_row(400, 400)])
async def test_the_run_stops_if_the_first_batches_are_all_refused(ending: Ending) -> None:
    batches = Batches(RecordingScript(*[ending] * 99), slow_start=SlowStart(all_rejected=3))
    for first in (1, 3):
        await batches.splitter.engage(batches.batch(first, first + 1))
        assert batches.stop.exit is None
    await batches.splitter.engage(batches.batch(5, 6))
    assert batches.stop.exit is Exit.STOPPED


async def test_parts_of_a_refused_batch_do_not_count_as_refused_batches() -> None:
    """One bad row must not look like a wrong job."""
    batches = Batches(RecordingScript(*[BAD] * 4, by_row(0)), slow_start=SlowStart(all_rejected=3))
    outcomes = await batches.settle(*range(1, 9))
    assert batches.stop.exit is None
    assert len(outcomes) == 8


@pytest.mark.parametrize("duplicate", [False, True])
@pytest.mark.parametrize("error", [400, 429, 402, 500])
@pytest.mark.parametrize(
    "result", [b'["a"]', b'[{"error":0}]', b'[{"error":0},{"error":0},{"error":9}]', b"[7, {}]"]
)
async def test_an_error_beside_entries_for_other_rows_proves_nothing(
    result: bytes, error: int, duplicate: bool
) -> None:
    """Some may be engaged. A repeat would be answered in the same way, or engage them twice."""
    body = b'{"error":%d,"error_text":"","result":%b}' % (error, result)
    script = RecordingScript(Reply(200, body, duplicate=duplicate))
    batches = Batches(script)
    assert statuses(await batches.settle(1, 2)) == {1: "in_doubt", 2: "in_doubt"}
    assert len(script.rows) == 1
    assert (batches.stop.exit is Exit.STOPPED) is (error == 402 and not duplicate)


@pytest.mark.parametrize("status", [400, 413, 429, 500])
async def test_entries_under_an_error_status_contradict_it(status: int) -> None:
    for error in (400, 413, 429, 500):
        script = RecordingScript(Reply(status, by_row(0, 400, error=error).body))
        assert statuses(await Batches(script).settle(1, 2)) == {1: "in_doubt", 2: "in_doubt"}
        assert len(script.rows) == 1


async def test_a_limit_that_is_reached_within_a_batch_is_one_of_its_rows() -> None:
    batches = Batches(RecordingScript(by_row(0, 402, error=402)))
    assert statuses(await batches.settle(1, 2)) == {1: "engaged"}
    assert batches.stop.exit is Exit.STOPPED
    assert statuses(await Batches(RecordingScript(by_row(0, 429, error=429), by_row(0))).settle(1, 2)) == {
        1: "engaged",
        2: "engaged",
    }


async def test_a_limit_that_a_repeated_response_tells_of_may_be_over() -> None:
    batches = Batches(RecordingScript(Reply(200, by_row(0, 402).body, duplicate=True), by_row(0)))
    assert statuses(await batches.settle(1, 2)) == {1: "engaged", 2: "engaged"}


async def test_a_success_of_the_endpoint_under_413_is_not_refused() -> None:
    script = RecordingScript(Reply(413, WITHOUT_RESULTS.body))
    assert statuses(await Batches(script, mode=Mode.AT_MOST_ONCE).settle(1, 2)) == {
        1: "in_doubt",
        2: "in_doubt",
    }


LEFT_BEFORE = AttemptHistory(attempts=1, first_left=0.0, in_doubt=True)


@pytest.mark.parametrize(
    ("mode", "forced", "after"),
    [
        (Mode.AT_LEAST_ONCE, False, {1: "engaged", 2: "in_doubt", 3: "in_doubt"}),
        (Mode.EXACTLY_ONCE, True, {1: "engaged", 2: "in_doubt", 3: "in_doubt"}),
        (Mode.EXACTLY_ONCE, False, {1: "engaged", 2: "rejected", 3: "failed"}),
    ],
)
async def test_an_error_of_a_row_says_nothing_of_an_attempt_before_that_is_not_remembered(
    mode: Mode, forced: bool, after: dict[int, str]
) -> None:
    script = RecordingScript(by_row(0, 400, 429), *[by_row(429)] * 9)
    history = LEFT_BEFORE._replace(forced=forced)
    outcomes = await Batches(script, mode=mode).settle(1, 2, 3, history=history)
    assert statuses(outcomes) == after
    assert script.rows == ["[1,2,3]", "[3]", "[3]", "[3]"]


async def test_a_row_of_a_lost_batch_that_is_sent_again_alone_can_be_engaged() -> None:
    script = RecordingScript(SILENT, by_row(0, 503), by_row(0))
    outcomes = await Batches(script, mode=Mode.AT_LEAST_ONCE).settle(1, 2)
    assert statuses(outcomes) == {1: "engaged", 2: "engaged"}
