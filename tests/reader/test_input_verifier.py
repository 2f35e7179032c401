"""The same input is verified in any splits; another one is refused before its changed part is returned."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engager.errors import InputError
from engager.reader.input_verifier import InputVerifier

Known = list[tuple[int, bytes]]


def split(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(ends)]


def record_marks(verifier: InputVerifier) -> Known:
    marks: Known = []
    verifier.notify(lambda position, digest, final: marks.append((position, digest)))
    return marks


def verify(files: list[bytes], places: list[int], known: Known) -> tuple[bytes, Known]:
    verifier = InputVerifier(known)
    marks = record_marks(verifier)
    out = b""
    for left, file in enumerate(files, 1 - len(files)):
        out += b"".join(verifier.watch(split(file, places), "file", last=left == 0))
    verifier.end()
    return out, marks


FILES = st.lists(st.binary(max_size=200), min_size=1, max_size=3)
PLACES = st.lists(st.integers(0, 1000), max_size=8)


@given(FILES, PLACES, PLACES, st.randoms(use_true_random=False))
def test_the_same_input_is_verified_in_any_splits(
    files: list[bytes], first: list[int], second: list[int], draw: object
) -> None:
    out, known = verify(files, first, [])
    assert out == b"".join(files)
    known_part = [mark for mark in known if draw.random() < 0.7]  # type: ignore[attr-defined]
    assert verify(files, second, known_part)[0] == out


@given(st.binary(min_size=1, max_size=300), PLACES, PLACES, st.integers(0, 1000))
def test_no_byte_of_a_changed_part_is_returned(
    data: bytes, first: list[int], second: list[int], place: int
) -> None:
    _, known = verify([data], first, [])
    at = place % len(data)
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    verifier, out = InputVerifier(known), b""
    with pytest.raises(InputError, match=r"file: .*--out"):  # noqa: PT012
        for block in verifier.watch(split(changed, second), "file", True):
            out += block
    assert len(out) <= at


def test_a_shorter_input_is_refused() -> None:
    _, known = verify([b"a" * 100], [], [])
    with pytest.raises(InputError, match=r"50 bytes.*100"):
        verify([b"a" * 50], [], known)


def test_no_byte_of_a_shorter_stream_is_returned() -> None:
    _, known = verify([b"a" * 100], [], [])
    verifier, out = InputVerifier(known), list[bytes]()
    with pytest.raises(InputError, match=r"stdin: .*50 bytes.*100"):
        out.extend(verifier.watch([b"b" * 50], "stdin", last=True))
    assert out == []


def test_each_returned_byte_is_before_a_mark() -> None:
    verifier = InputVerifier()
    marks = record_marks(verifier)
    returned = 0
    for block in verifier.watch([b"abc", b"d", b"efgh"], "file", True):
        returned += len(block)
        assert marks[-1][0] >= returned
