"""The judge of odd files: no person is lost or taken for another, and each refusal says what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from engager import EngagerError, InputError, JobError
from tests.odd.drawn_files import OddFile
from tests.odd.people import Person

#: Records that are engaged although something about them is odd.
_ENGAGED_ALL_THE_SAME = ("again", "blank_line", "blanks", "delimiters", "header_again")


@dataclass
class Seen:
    """What became of a file."""

    drafted: bool = False  #: the job is one of `init`
    wrongly_declared: bool = False
    refused: dict[str, EngagerError] = field(default_factory=dict)  #: by the stage that refused it
    warnings: list[str] = field(default_factory=list)
    checked: tuple[int, int, int] | None = None  #: rows, sendable, invalid
    requests: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    failed: bytes = b""  #: the rejected-rows file
    exit_code: int | None = None
    refused_again: EngagerError | None = None  #: why the rejected rows are no input
    again: tuple[int, int, int] | None = None  #: rejected rows, how many were engaged, exit code

    @property
    def invalid(self) -> int:
        return sum(line["status"] == "invalid" for line in self.results)


def judged(file: OddFile, seen: Seen) -> list[str]:
    """Everything that is wrong; nothing if all is well."""
    wrong = [*_refusals(file, seen), *_requests(file, seen)]
    if seen.exit_code is None:
        return wrong
    return [*wrong, *_rows(seen), *_people(file, seen), *_again(seen)]


def _again(seen: Seen) -> Iterator[str]:
    """Rows that are sent once more as they are can be no more right than they were."""
    # Of JSON that cannot be read no key is known.
    if seen.refused_again is not None and "no row at the beginning" not in str(seen.refused_again):
        yield f"the rejected rows are refused as an input: {seen.refused_again}"
    if seen.again is not None and seen.again != (seen.invalid, 0, 1):
        yield f"of {seen.invalid} rejected rows, once more, became (rows, engaged, exit code) {seen.again}"


def _refusals(file: OddFile, seen: Seen) -> Iterator[str]:
    for stage, fault in seen.refused.items():
        text = str(fault)
        if not isinstance(fault, JobError | InputError):
            yield f"{stage} refused with {type(fault).__name__}: {text}"
        if (
            file.name not in text
            and "job.toml" not in text
            and "request." not in text
            and "input" not in text
        ):
            yield f"{stage} does not name the file: {text}"
        if len([part for part in text.replace(": ", ". ").split(". ") if part.strip()]) < 2:
            yield f"{stage} does not say what to do: {text}"
    if seen.refused and _is_read_right(file, seen):
        yield f"a tidy file is refused: {seen.refused}"
    if "init" not in seen.refused and ("check" in seen.refused) != ("run" in seen.refused):
        yield f"check and run do not agree: {seen.refused}"


def _requests(file: OddFile, seen: Seen) -> Iterator[str]:
    by_key = {person.key: person for person in file.people}
    engaged = Counter(_key_of(request, file, seen) for request in seen.requests)
    for key, times in engaged.items():
        person = by_key.get(key)
        if person is None:
            if not _is_cut_key(file, seen, key):
                yield f"a person who is not in the file is engaged: {key!r}"
        elif times > (2 if file.wrong.get(person.number) == "again" else 1):
            yield f"{key} is engaged {times} times"
    for request in seen.requests:
        person = by_key.get(_key_of(request, file, seen))
        if person is not None:
            yield from _mixed_up(file, person, request["content"], seen)


def _key_of(request: Mapping[str, Any], file: OddFile, seen: Seen) -> str:
    """The key of the person that a request is for.

    Where no row that can be read has a key, `init` cannot know its column and proposes another one, with a
    mark to change it. The values of the content then say whom the request is for.
    """
    if seen.drafted and file.matching not in request:
        for person in file.people:
            if file.wrong.get(person.number) == "missing_key" and person.ref in str(request["content"]):
                return person.key
    return str(request.get(file.matching))


def _is_cut_key(file: OddFile, seen: Seen, key: str) -> bool:
    """Whether it is the beginning of the key of a person whose record was cut, with a warning of that."""
    cut = [person for person in file.people if not file.is_whole(person)]
    return bool(seen.warnings) and any(person.key.startswith(key) for person in cut)


def _mixed_up(file: OddFile, person: Person, content: Mapping[str, Any], seen: Seen) -> Iterator[str]:
    said = str(content)
    for other in file.people:
        if other is not person and (other.ref in said or other.key in said):
            yield f"{person.key} is sent what belongs to {other.key}: {content}"
            return
    wrong = [
        f"{person.key}: {column} is sent as {content[name.strip()]!r}, not as {person.values[column]!r}"
        for column, name in file.header.items()
        if column != "key" and name.strip() in content
        if not _is_same(content[name.strip()], person.values[column], seen)
    ]
    if not file.is_whole(person):
        if wrong and not seen.warnings:
            yield f"{person.key} is engaged with a cut record, without a warning: {content}"
    elif file.wrong.get(person.number, "again") in _ENGAGED_ALL_THE_SAME:
        yield from wrong


def _is_same(sent: Any, text: str, seen: Seen) -> bool:
    if sent == text or (sent is None and not text) or (type(sent) is int and str(sent) == text):
        return True
    # Where the encoding was guessed or declared wrong, only a warning can be asked for; the same of an end of
    # the file as DOS wrote it.
    return bool(seen.warnings) and (not text.isascii() or sent == f"{text}\x1a")


def _is_read_right(file: OddFile, seen: Seen) -> bool:
    """Whether everybody must be engaged: an encoding that is guessed may be another one."""
    guessed = seen.drafted and not file.encoding.startswith("utf-")
    return file.tidy and not (guessed or seen.wrongly_declared)


def _rows(seen: Seen) -> Iterator[str]:
    numbers = sorted(line["row"] for line in seen.results)
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"the rows of the results are {numbers[:30]}"
    statuses = Counter(line["status"] for line in seen.results)
    if statuses["engaged"] != len(seen.requests):
        yield f"{statuses['engaged']} rows are engaged, and {len(seen.requests)} requests came"
    expected = 0 if set(statuses) <= {"engaged", "skipped"} else 1
    if seen.exit_code != expected:
        yield f"exit code {seen.exit_code} where it must be {expected}: {dict(statuses)}"
    if seen.checked not in (None, (len(numbers), statuses["engaged"], seen.invalid)):
        yield f"check found {seen.checked}, run {len(numbers)}, {statuses['engaged']}, {seen.invalid}"


def _people(file: OddFile, seen: Seen) -> Iterator[str]:
    engaged = {_key_of(request, file, seen) for request in seen.requests}
    named = seen.failed + str([line["key"] for line in seen.results]).encode()
    for person in file.people:
        if file.is_gone(person) or person.key in engaged:
            continue
        if (seen.wrongly_declared or not file.is_whole(person)) and (seen.warnings or seen.invalid):
            continue  # what is left of the record, or what can be read of it, may be less than the key
        kind = file.wrong.get(person.number)
        if _is_read_right(file, seen):
            yield f"{person.key} is not engaged, and nothing is wrong with the file"
        elif not _names(named, person, file.encoding):
            yield f"{person.key} is neither engaged nor named ({kind or 'nothing wrong'})"


def _names(named: bytes, person: Person, encoding: str) -> bool:
    marks = (person.key, person.ref)
    return any(mark.encode(name) in named for mark in marks for name in ("utf-8", encoding))
