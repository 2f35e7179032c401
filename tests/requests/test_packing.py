"""Batches: closed by what is the same after a crash, and repeated as they were or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from engager.models import AttemptHistory, EngageRequest, Invalid, Outcome, Row, Skipped, Status, Withdrawn
from engager.requests.identity import RequestIds
from engager.requests.packing import BatchForm, Packer

IDS = RequestIds("run")


def join(items: Sequence[bytes]) -> tuple[bytes, tuple[bytes, ...]]:
    content = b"[" + b",".join(items) + b"]"
    return content, (b"{" + content + b"}",)


def packer(most_rows: int = 3, most_bytes: int = 10_000) -> Packer:
    return Packer(BatchForm(join, IDS, frame_bytes=4, separator_bytes=1), most_rows, most_bytes)


def row(number: int) -> Row:
    return Row(number, number + 1, "people.csv", [])


def item(number: int, history: AttemptHistory | None = None, last: int | None = None) -> EngageRequest:
    return EngageRequest(
        row(number), f"p{number}", "", (b"%03d" % number,), history or AttemptHistory(), last=last
    )


def rows_of(packed: Sequence[object]) -> list[list[int]]:
    return [[member.row.number for member in one.members] for one in packed if isinstance(one, EngageRequest)]


def packed_all(one: Packer, works: Sequence[object], chunk: int = 4) -> list[object]:
    packed: list[object] = []
    for at in range(0, len(works), chunk):
        packed += one.pack(works[at : at + chunk])  # type: ignore[arg-type]
    return packed + one.finish()


LOST = AttemptHistory(attempts=1, first_left=5.0, in_doubt=True)


def test_a_batch_has_at_most_so_many_rows_and_names_its_first_and_last() -> None:
    batches = packed_all(packer(), [item(number) for number in range(1, 8)])
    assert rows_of(batches) == [[1, 2, 3], [4, 5, 6], [7]]
    first = batches[0]
    assert isinstance(first, EngageRequest)
    assert (first.row.number, first.last, first.body) == (1, 3, (b"{[001,002,003]}",))


def test_a_body_has_at_most_so_many_bytes() -> None:
    batches = packed_all(packer(most_rows=100, most_bytes=4 + 2 * 4), [item(number) for number in (1, 2, 3)])
    assert rows_of(batches) == [[1, 2], [3]]
    assert all(len(batch.body[0]) <= 12 for batch in batches if isinstance(batch, EngageRequest))


def test_after_a_body_that_was_too_large_bodies_are_smaller() -> None:
    one = packer(most_rows=100, most_bytes=40)
    one.lower_bytes(26)
    assert rows_of(packed_all(one, [item(number) for number in range(1, 6)])) == [[1, 2], [3, 4], [5]]


def test_what_is_no_request_closes_no_batch_and_passes_at_once() -> None:
    wrong = Invalid(row(2), None, "malformed", "")
    one = packer()
    assert one.pack([item(1), wrong]) == [wrong]
    assert rows_of(one.pack([item(3), item(4)])) == [[1, 3, 4]]


def test_a_row_that_is_settled_closes_a_batch() -> None:
    """A batch carries all rows from its first to its last that are built to a request."""
    assert rows_of(packed_all(packer(), [item(1), item(2), item(4), item(5)])) == [[1, 2], [4, 5]]


def test_an_open_batch_is_repeated_with_the_same_rows_bytes_and_request_id() -> None:
    (before,) = packed_all(packer(), [item(1), item(2), item(3)])
    works = [item(1, LOST, last=3), item(2, LOST, last=3), item(3, LOST, last=3), item(4)]
    again, other = packed_all(packer(most_rows=2), works)
    assert isinstance(before, EngageRequest)
    assert isinstance(again, EngageRequest)
    assert (again.request_id, again.body, again.last) == (before.request_id, before.body, 3)
    assert again.history == LOST
    assert rows_of([other]) == [[4]]


def test_an_open_batch_of_one_row_takes_no_other_row() -> None:
    works = [item(1), item(2, LOST, last=2), item(3)]
    assert rows_of(packed_all(packer(), works)) == [[1], [2], [3]]


def test_an_open_batch_without_one_of_its_rows_is_not_repeated_under_another_id() -> None:
    """A row that the job skips by now makes other bytes, which the endpoint does not recognize."""
    gone = Withdrawn(Outcome(row(2), "p2", Status.IN_DOUBT), last=3)
    for works in (
        [item(1, LOST, last=3), gone, item(3, LOST, last=3)],
        [gone, item(1, LOST, last=3), item(3, LOST, last=3)],
        [item(1, LOST, last=3), item(3, LOST, last=3), gone],
    ):
        batches = [one for one in packed_all(packer(), works) if isinstance(one, EngageRequest)]
        assert rows_of(batches) == [[1], [3]]
        assert all(one.history.first_left == -inf for one in batches)


def test_an_open_batch_that_ends_after_the_last_row_of_the_process_stays_open() -> None:
    one = packer()
    assert packed_all(one, [item(1, LOST, last=3), item(2, LOST, last=3)]) == []
    assert one.left_open == 2


def test_an_open_batch_of_which_another_request_carries_a_row_is_not_repeated() -> None:
    """The journal lost what became of it."""
    works = [item(1, LOST, last=4), item(2, LOST, last=2), item(3, LOST, last=4), item(4, LOST, last=4)]
    batches = [one for one in packed_all(packer(), works) if isinstance(one, EngageRequest)]
    assert rows_of(batches) == [[1], [2], [3], [4]]
    assert [one.history.first_left for one in batches] == [-inf, LOST.first_left, -inf, -inf]


RESTING = AttemptHistory(attempts=1, first_left=5.0)


def test_an_open_batch_whose_last_row_is_skipped_by_now_is_sent_without_it() -> None:
    gone = Skipped(row(3), "p3", "excluded", "in a list")
    for more in ([], [item(4)]):
        works = [item(1, RESTING, last=3), item(2, RESTING, last=3), gone, *more]
        assert rows_of(packed_all(packer(), works, chunk=1))[0] == [1, 2]


def test_a_row_whose_batch_the_journal_lost_is_sent_with_no_other_and_repeats_nothing() -> None:
    batches = packed_all(packer(), [item(1), item(2, LOST), item(3)])
    assert rows_of(batches) == [[1], [2], [3]]
    lost = batches[1]
    assert isinstance(lost, EngageRequest)
    assert (lost.history.in_doubt, lost.history.first_left) == (True, -inf)


def test_rows_of_a_further_pass_are_packed_anew_under_the_latest_version() -> None:
    """The same rows may have been sent under this version; the endpoint knows it since the first of them."""
    old, new = AttemptHistory(0, 1, first_left=9.0), AttemptHistory(0, 4, first_left=7.0)
    (batch,) = packed_all(packer(), [item(1, old), item(2, new)])
    assert isinstance(batch, EngageRequest)
    assert (batch.history.request_id_version, batch.history.first_left) == (4, 7.0)


@given(
    st.lists(st.sampled_from(["due", "invalid", "settled"]), min_size=1, max_size=60),
    st.integers(1, 9),
    st.integers(4 + 4, 60),
    st.integers(1, 8),
    st.data(),
)
def test_whatever_was_open_is_packed_as_it_was_and_every_row_is_in_one_batch(
    kinds: list[str], most_rows: int, most_bytes: int, chunk: int, data: st.DataObject
) -> None:
    """A first process packs all rows and dies; the next one packs what is not settled."""
    form = BatchForm(join, IDS, frame_bytes=4, separator_bytes=1)
    built = [
        Invalid(row(number), None, "malformed", "") if kind == "invalid" else item(number)
        for number, kind in enumerate(kinds, 1)
    ]
    first = packed_all(Packer(form, most_rows, most_bytes), built, chunk)
    batches = [one for one in first if isinstance(one, EngageRequest)]
    due = [number for number, kind in enumerate(kinds, 1) if kind != "invalid"]
    assert [number for rows in rows_of(batches) for number in rows] == due

    fate = {id(one): data.draw(st.sampled_from(["settled", "open", "untouched"])) for one in batches}
    of_row = {member.row.number: one for one in batches for member in one.members}
    works: list[object] = []
    for number in due:
        one = of_row[number]
        if fate[id(one)] == "open":
            works.append(item(number, LOST, last=one.last))
        elif fate[id(one)] == "untouched":
            works.append(item(number))
    again = packed_all(
        Packer(form, data.draw(st.integers(1, 9)), data.draw(st.integers(8, 60))),
        works,
        data.draw(st.integers(1, 8)),
    )
    repeated = [one for one in again if isinstance(one, EngageRequest)]
    for one in repeated:
        between = [number for number in due if one.row.number <= number <= (one.last or 0)]
        assert [member.row.number for member in one.members] == between
    assert [number for rows in rows_of(repeated) for number in rows] == [
        number for number in due if fate[id(of_row[number])] != "settled"
    ]
    still_open = {one.request_id: one for one in batches if fate[id(one)] == "open"}
    in_doubt = {one.request_id: one for one in repeated if one.history.in_doubt}
    assert still_open.keys() == in_doubt.keys()
    assert all(still_open[key].body == in_doubt[key].body for key in in_doubt)
