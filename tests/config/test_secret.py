"""A token is taken out of a text in whatever notation it stands there."""

from __future__ import annotations

import copy
import html
import json
import pickle
from collections.abc import Callable
from functools import partial

import pytest

from engager.config.secret import MASK, Secret
from engager.sending.transport.base import Proxy

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


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_does_not_leave_its_process(copied: Callable[[object], object]) -> None:
    """Neither by itself nor as a part of something."""
    for thing in (Secret(VALUE), [Secret(VALUE)], partial(print, Secret(VALUE))):
        if copied is copy.copy and not isinstance(thing, Secret):
            continue
        with pytest.raises(TypeError):
            copied(thing)


def test_a_proxy_with_a_password_does_not_leave_its_process() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Proxy.at("http://user:passw0rd@proxy:3128"))


@pytest.mark.parametrize("written", [VALUE, json.dumps(VALUE)[1:-1], html.escape(VALUE)])
def test_a_token_is_masked_in_bytes_that_are_no_text(written: str) -> None:
    data = b"\xff\xfe" + written.encode() + b"\x80"
    assert Secret(VALUE).redact_bytes(data) == b"\xff\xfe" + MASK.encode() + b"\x80"
