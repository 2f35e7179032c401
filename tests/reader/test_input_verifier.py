"""The input is known again: the same one passes however it is cut, another one is found out in time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engager.errors import InputError
from engager.reader.input_verifier import InputVerifier

Known = list[tuple[int, bytes]]


def cut(data: bytes, limiter: list[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(place % (len(data) + 1) for place in limiter)})
    return [data[a:b] for a, b in pairwise(ends)]


def marks(witness: InputVerifier) -> Known:
    kept: Known = []
    witness.notify(lambda position, digest, final: kept.append((position, digest)))
    return kept


def passed(files: list[bytes], limiter: list[int], known: Known) -> tuple[bytes, Known]:
    witness = InputVerifier(known)
    kept = marks(witness)
    out = b""
    for left, file in enumerate(files, 1 - len(files)):
        out += b"".join(witness.watch(cut(file, limiter), "file", last=left == 0))
    witness.end()
    return out, kept


FILES = st.lists(st.binary(max_size=200), min_size=1, max_size=3)
PLACES = st.lists(st.integers(0, 1000), max_size=8)


@given(FILES, PLACES, PLACES, st.randoms(use_true_random=False))
def test_the_same_input_passes_unchanged_however_it_is_cut(
    files: list[bytes], first: list[int], second: list[int], draw: object
) -> None:
    out, known = passed(files, first, [])
    assert out == b"".join(files)
    survived = [mark for mark in known if draw.random() < 0.7]  # type: ignore[attr-defined]
    assert passed(files, second, survived)[0] == out


@given(st.binary(min_size=1, max_size=300), PLACES, PLACES, st.integers(0, 1000))
def test_nothing_of_a_changed_part_is_handed_on(
    data: bytes, first: list[int], second: list[int], place: int
) -> None:
    _, known = passed([data], first, [])
    at = place % len(data)
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    witness, out = InputVerifier(known), b""
    with pytest.raises(InputError, match=r"file: .*--out"):  # noqa: PT012
        for block in witness.watch(cut(changed, second), "file", True):
            out += block
    assert len(out) <= at


def test_an_input_that_became_shorter_is_found_out() -> None:
    _, known = passed([b"a" * 100], [], [])
    with pytest.raises(InputError, match=r"50 bytes.*100"):
        passed([b"a" * 50], [], known)


def test_nothing_of_a_shorter_stream_is_handed_on() -> None:
    _, known = passed([b"a" * 100], [], [])
    witness, out = InputVerifier(known), list[bytes]()
    with pytest.raises(InputError, match=r"stdin: .*50 bytes.*100"):
        out.extend(witness.watch([b"b" * 50], "stdin", last=True))
    assert out == []


def test_every_byte_that_is_handed_on_is_under_a_mark() -> None:
    witness = InputVerifier()
    kept = marks(witness)
    handed = 0
    for block in witness.watch([b"abc", b"d", b"efgh"], "file", True):
        handed += len(block)
        assert kept[-1][0] >= handed
