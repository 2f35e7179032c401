"""Settings of the sandbox from command line options."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from engager.sandbox.config import SandboxConfig


def sandbox_config(
    tokens: Iterable[str] = (),
    scenarios: Iterable[int] = (),
    profiles: Path | None = None,
    faults: Iterable[str] = (),
    assume: Iterable[str] = (),
    **settings: Any,
) -> SandboxConfig:
    """Convert options to settings. Raises ValueError, whose text says what is wrong."""
    table: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    table["faults"] = _pairs(faults)
    table["assumptions"] = _pairs(assume)
    if tokens := list(tokens):
        table["tokens"] = tokens
    if scenarios := list(scenarios):
        table["scenarios"] = [{"id": number} for number in scenarios]
    if profiles is not None:
        table["profiles"] = [
            orjson.loads(line) for line in profiles.read_bytes().splitlines() if line.strip()
        ]
    return SandboxConfig.from_mapping(table)


def _pairs(texts: Iterable[str]) -> dict[str, Any]:
    return dict(map(_pair, texts))


def _pair(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        raise ValueError(f"{text!r}: give NAME=VALUE") from None
