"""Valid settings are read; others are refused before the sandbox serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engager.sandbox import SandboxConfig
from engager.sandbox.command import sandbox_config
from engager.sandbox.config import Scenario


@pytest.mark.parametrize(
    "settings",
    [
        {"faults": 3},
        {"faults": {"503": True}},
        {"scenarios": 5},
        {"scenarios": "any"},
        {"scenarios": [{"id": "1"}]},
        {"scenarios": [5]},
        {"profiles": "any"},
        {"profiles": ["x"]},
        {"tokens": "abc"},
        {"tokens": [5]},
        {"tariff_limit": "x"},
        {"tariff_limit": True},
        {"keep_log": "x"},
        {"latency": -1},
        {"assumptions": {"deduplicate": "no"}},
        {"assumptions": {"dedupe_window": "1h"}},
        {"assumptions": {"most_profiles": 1.5}},
        {"assumptions": {"most_profiles": True}},
        {"assumptions": {"batch_result": "all"}},
        {"assumptions": {"content_by_row": 1}},
        {"assumptions": {"content_by_row": "yes"}},
        {"profiles": [{"phones": "x"}]},
        {"faults": {"item_503": 0.6, "item_429": 0.6}},
    ],
)
def test_a_wrong_type_is_refused_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings)).rstrip("s")):
        SandboxConfig.from_mapping(settings)


@pytest.mark.parametrize(
    ("latency", "seconds"),
    [("20ms", (0.02, 0.02)), ("20-80ms", (0.02, 0.08)), ("1s", (1, 1)), (0.5, (0.5, 0.5))],
)
def test_a_latency_is_a_duration_or_a_range(latency: Any, seconds: tuple[float, float]) -> None:
    assert SandboxConfig.from_mapping({"latency": latency}).faults.latency == pytest.approx(seconds)


def test_options_of_the_command_become_settings(tmp_path: Path) -> None:
    profiles = tmp_path / "p.jsonl"
    profiles.write_text('{"email": "ann@x.org"}\n\n')
    config = sandbox_config(["t"], [12], profiles, ["503=0.1"], ["old_headers=true"], seed=3, log_file=None)
    assert (config.tokens, config.scenarios, config.seed) == (["t"], (Scenario(12),), 3)
    assert (config.profiles, config.faults.shares) == ([{"email": "ann@x.org"}], {"503": 0.1})
    assert config.assumptions.old_headers


def test_shares_of_items_and_of_requests_are_separate() -> None:
    shares = {"503": 0.6, "item_503": 0.6}
    assert SandboxConfig.from_mapping({"faults": shares}).faults.shares == shares


@pytest.mark.parametrize("value", [True, False, "ignored"])
def test_a_switch_may_have_three_states(value: Any) -> None:
    config = SandboxConfig.from_mapping({"assumptions": {"content_by_row": value}})
    assert config.assumptions.content_by_row is value


def test_an_option_that_is_not_a_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="NAME=VALUE"):
        sandbox_config(faults=["503"])
