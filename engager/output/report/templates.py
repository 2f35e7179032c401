"""The templates of the report and of its charts. Every value is escaped."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from engager.output.report.text import milliseconds, number, word

FILES = Path(__file__).parent / "files"


@lru_cache(maxsize=1)
def templates() -> Environment:
    """The environment of the templates."""
    environment = Environment(
        loader=FileSystemLoader(FILES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"number": number, "ms": milliseconds, "word": word}
    return environment
