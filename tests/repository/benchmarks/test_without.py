"""The engager that is measured against has no ledger, and all else."""

from __future__ import annotations

from pathlib import Path

import pytest

import engager
from benchmarks.without import INSTEAD, emptied

PACKAGE = Path(engager.__file__).parent


@pytest.mark.parametrize("name", INSTEAD)
def test_the_functions_that_are_emptied_are_there(name: str) -> None:
    source = emptied((PACKAGE / name).read_text(), INSTEAD[name])
    compile(source, name, "exec")


def test_only_what_is_named_is_emptied() -> None:
    source = "def kept() -> int:\n    return 1\n\ndef settle() -> bool:\n    return kept() == 2"
    assert emptied(source, {"settle": "return True"}) == source.replace("kept() == 2", "True")
    with pytest.raises(KeyError, match="leaves"):
        emptied(source, {"leaves": "pass"})
