"""The identity of the files of an input before they are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engager.errors import InputError
from engager.reader.identity import input_identity


def test_a_pipe_has_no_identity(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "people")
    with pytest.raises(InputError, match=r"people: .*--input -"):
        input_identity([tmp_path / "people"])
