"""Identifies the files of an input before they are read, so that another input is refused at once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engager.errors import InputError

_SAMPLE = 1 << 16
_SAMPLES = 16

#: The identities of the files of an input; empty for a stream.
Files = Sequence[Mapping[str, Any]]


def input_identity(files: Sequence[Path]) -> Files:
    """The identity of input files before they are read: their sizes, and samples spread over them.

    It distinguishes files of any size at once; the checkpoints identify every byte that was read. Raises
    InputError.
    """
    for file in files:
        if not file.is_file():
            raise InputError(
                f"{file}: it is a pipe, and a resumed run could not read it again. "
                "Send it to stdin, with --input -."
            )
    return [_sampled(file) for file in files]


def whole_identity(file: Path) -> dict[str, Any]:
    """The identity of a file that is read as a whole in any case."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
        return {"bytes": stream.tell(), "digest": digest.hexdigest()[:32]}


def _sampled(file: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            for index in range(_SAMPLES):
                stream.seek(max(0, size - _SAMPLE) * index // (_SAMPLES - 1))
                digest.update(stream.read(_SAMPLE))
    except OSError as fault:
        raise InputError(f"{file}: it cannot be read: {fault.strerror or fault}.") from fault
    return {"bytes": size, "sample": digest.hexdigest()[:32]}
