"""The page is a page, each file says what it is for, every example is a job."""

from __future__ import annotations

from pathlib import Path

import pytest

from engager.config.job import JobFile
from engager.config.positions import locate

ROOT = Path(__file__).parents[2]


def test_the_whole_way_fits_on_one_page() -> None:
    assert len((ROOT / "engager/run/pipeline.py").read_text().splitlines()) <= 150


@pytest.mark.parametrize("file", sorted((ROOT / "engager").rglob("*.py")), ids=lambda file: file.name)
def test_every_file_says_what_it_is_for(file: Path) -> None:
    assert file.read_text().startswith('"""')


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.toml")), ids=lambda file: file.name)
def test_every_example_is_a_job(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert JobFile(file).job.job.name


@pytest.mark.parametrize(
    ("key", "line"), [("a.b", 2), ("a.c", 6), ("a.b.d", 2), ("t", 8), ("t.x", 9), ("t.u.y", 11), ("no", None)]
)
def test_where_a_key_stands(key: str, line: int | None) -> None:
    text = '[a]\nb = """\nc = 1\n[t]\n"""\nc = 2\n\n[ t ]\nx = 1\n[t."u"]\ny = 2\n'
    assert locate(text, key) == line
