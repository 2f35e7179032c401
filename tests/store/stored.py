"""A result store without a run around it."""

from __future__ import annotations

from pathlib import Path

from engager.models import EngageRequest, Outcome, Row, Status
from engager.reader.outcome_lines import JsonLines, RejectedJson
from engager.store.files.formats import Formats, RejectFormat
from engager.store.opening import begin, resume
from engager.store.run_directory import find_run, new_run
from engager.store.status import existing_run
from engager.store.store import ResultStore, StoreOptions


def row(number: int) -> Row:
    return Row(number, number, "people.jsonl", {"email": f"p{number}@x.org"})


def request(number: int, last: int | None = None) -> EngageRequest:
    last_of_batch = last if last != number else None
    return EngageRequest(row(number), f"p{number}@x.org", f"id-{number}", (b"{}",), last=last_of_batch)


def outcome(number: int, status: Status = Status.ENGAGED, **fields: object) -> Outcome:
    return Outcome(row(number), f"p{number}@x.org", status, 1, **fields)  # type: ignore[arg-type]


def make_store(
    path: Path,
    reject: RejectFormat | None = None,
    token: str = "",
    synced: bool = False,
    formats: Formats | None = None,
) -> ResultStore:
    """The store of a run in a folder, begun or resumed."""
    formats = formats or Formats(JsonLines(), reject or RejectedJson(str), str)
    options = StoreOptions(formats, synced, token)
    if find_run(path) is None:
        return begin(new_run(path), options)
    return resume(existing_run(path), options)


async def open_store(
    path: Path,
    reject: RejectFormat | None = None,
    token: str = "",
    synced: bool = False,
    formats: Formats | None = None,
) -> ResultStore:
    """The store as a process opens it: lines that an earlier process could not append come first."""
    store = make_store(path, reject, token, synced, formats)
    store.start(attempts=1)
    await store.flush()
    return store


async def settle(store: ResultStore, *outcomes: Outcome) -> None:
    for one in outcomes:
        if (writing := store.after([one])) is not None:
            await writing


async def finish(store: ResultStore) -> None:
    await store.finish()
    store.close()
