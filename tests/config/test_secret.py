"""A token is taken out of a text in whatever notation it stands there."""

from __future__ import annotations

import html
import json

import pytest

from engager.config.secret import MASK, Secret

VALUE = """t0ken-<&>"'\\-of-the-tests"""


@pytest.mark.parametrize(
    "written",
    [
        VALUE,
        json.dumps(VALUE)[1:-1],
        html.escape(VALUE),
        html.escape(VALUE, quote=False),
        json.dumps(json.dumps(VALUE)[1:-1])[1:-1],
        html.escape(json.dumps(VALUE)[1:-1]),
    ],
    ids=["as it is", "JSON", "HTML attribute", "HTML text", "JSON in JSON", "JSON in HTML"],
)
def test_a_token_is_masked_in_every_notation(written: str) -> None:
    assert Secret(VALUE).redact(f"before {written} after") == f"before {MASK} after"


def test_a_token_prints_as_a_mask() -> None:
    secret = Secret(VALUE)
    assert f"{secret} {secret!r} {[secret]}" == f"{MASK} {MASK} [{MASK}]"
    assert secret.reveal() == VALUE


def test_the_mark_distinguishes_tokens_and_does_not_contain_them() -> None:
    assert Secret(VALUE).mark("run") == Secret(VALUE).mark("run")
    assert (
        len({Secret(VALUE).mark("run"), Secret(VALUE).mark("other"), Secret("another-token").mark("run")})
        == 3
    )


def test_a_secret_that_begins_as_another_one_leaves_no_rest() -> None:
    short = Secret("pr3fix-of-two")
    long = Secret("pr3fix-of-two-and-its-rest")
    assert Secret.redact_all(f"{long.reveal()} {short.reveal()}") == "*** ***"
