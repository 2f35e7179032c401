"""A row in doubt: which ending causes the doubt, and which one settles it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engager.models import (
    AttemptHistory,
    Ending,
    Lost,
    NotSent,
    Outcome,
    Reply,
    Status,
)
from engager.policies.delivery import Mode
from engager.policies.retry import Retry
from tests.conftest import VirtualLoop
from tests.sending.scripted import (
    SILENT,
    Script,
    compose,
    request,
    settle,
)

#: Endings by their effect on a doubt; each is identified by the number in its text.
RAISING = (
    lambda n: Lost("timeout", f"silence {n}"),
    lambda n: Reply(502, b"broken %d" % n),
    lambda n: Reply(200, b'{"error":500,"error_text":"fault %d"}' % n),
)
SETTLING = (lambda n: Reply(200, b'{"error":500,"error_text":"repeated %d"}' % n, duplicate=True),)
NEUTRAL = (
    lambda n: NotSent("connect_failed", f"refused {n}"),
    lambda n: Reply(429, b"busy %d" % n),
    lambda n: Reply(404, b"<p>nothing %d</p>" % n),
)


@settings(deadline=None)
@given(
    st.sampled_from(Mode),
    st.lists(st.sampled_from([*RAISING, *SETTLING, *NEUTRAL]), min_size=4, max_size=4),
    st.sampled_from([None, "interrupted", "before this pass"]),
)
def test_a_row_in_doubt_names_the_ending_that_caused_the_doubt(
    mode: Mode, makes: list[Callable[[int], Ending]], earlier_doubt: str | None
) -> None:
    sent = request()
    sent.history = AttemptHistory(
        in_doubt=earlier_doubt is not None, first_left=0, forced=earlier_doubt == "before this pass"
    )

    async def outcome_of_row() -> Outcome | None:
        script = Script(*[make(number) for number, make in enumerate(makes)], seconds=0)
        return await compose(script, mode=mode)(sent)

    with closing(VirtualLoop()) as loop:
        outcome = loop.run_until_complete(outcome_of_row())
    doubt = earlier_doubt
    for number, make in enumerate(makes[: sent.history.attempts]):
        settles = make in SETTLING and earlier_doubt != "before this pass"
        if settles or (make in RAISING and doubt is None):
            doubt = None if settles else str(number)
    assert outcome is not None
    assert (outcome.status is Status.IN_DOUBT) == (doubt is not None)
    if doubt is not None:
        reported, _, then = (outcome.error_text or "").partition("; then: ")
        assert doubt in reported
        last = sent.history.attempts - 1
        assert last < 0 or str(last) in (reported if doubt == str(last) else then)


@pytest.mark.virtual_time
async def test_a_repeat_that_waited_beyond_the_window_does_not_leave() -> None:
    """The window is judged when the repeat would leave, not when it was decided on."""
    retry = Retry(attempts=5, base_delay=100, max_delay=100)
    script = Script(SILENT, SILENT, SILENT, SILENT, SILENT)
    engage = compose(script, retry=retry, window=60)
    outcome = await settle(engage)
    assert outcome.status is Status.IN_DOUBT
    assert max(moment for moment, _ in script.left) < 60
