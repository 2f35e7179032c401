"""The rules of a row's life against every endpoint there may be, without any I/O: crashes are free here.

The endpoint is a model that knows how often a message went out. Whatever happens to the tries of a row,
what is claimed of it must be true.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engager.altcraft.classification import judge
from engager.models import AttemptHistory, Ending, Lost, NotSent, Reply, Status
from engager.policies.delivery import Delivery, Mode
from engager.sending.delivery import Decision, decide, give_up, may_attempt

HOUR = 3600.0
WINDOW = 24 * HOUR
SUCCESS = b'{"data":null,"error":0,"error_text":"Successful operation"}'
HTML = b"<html>nginx</html>"


class Endpoint:
    """Remembers Request-IDs, or not; counts the messages."""

    def __init__(self, deduplicates: bool, replays_errors: bool) -> None:
        self.messages = 0
        self._deduplicates, self._replays_errors = deduplicates, replays_errors
        self._remembered: dict[str, tuple[float, bytes]] = {}

    def process(self, request_id: str, now: float, error: int) -> Reply:
        then, body = self._remembered.get(request_id, (-WINDOW, b""))
        if self._deduplicates and body and now - then < WINDOW:
            return Reply(200, body, duplicate=True)
        self.messages += error == 0
        body = SUCCESS if error == 0 else b'{"error":%d,"error_text":"no"}' % error
        if error == 0 or self._replays_errors:
            self._remembered[request_id] = (now, body)
        return Reply(200, body)


ERRORS = st.sampled_from([0, 0, 0, 400, 429, 503, 440])
# What the endpoint made of a try, and what came back of its answer.
FATES = st.sampled_from(
    [
        "answered",
        "answer lost",
        "answer spoiled",
        "never arrived",
        "gateway 503",
        "503 after the deed",
        "refused",
    ]
)


class RowLife(RuleBasedStateMachine):
    """One row, one endpoint, any number of processes."""

    @initialize(mode=st.sampled_from(Mode), deduplicates=st.booleans(), replays=st.booleans())
    def begin(self, mode: Mode, deduplicates: bool, replays: bool) -> None:
        # Exactly once is promised where the endpoint deduplicates, and only there.
        self.endpoint = Endpoint(deduplicates or mode is Mode.EXACTLY_ONCE, replays)
        self.delivery = Delivery(mode, WINDOW)
        self.history = AttemptHistory()
        self.now = 0.0
        self.status: Status | None = None
        self.deceived = False  #: a gateway denied what had been done: what was not taken by assumption was

    def _leave(self, error: int, fate: str) -> Ending:
        if fate == "refused":
            return NotSent("connect_failed", "refused")
        self.history = self.history.departed(self.now)
        if fate == "gateway 503":
            return Reply(503, HTML)
        if fate == "never arrived":
            return Lost("timeout", "no answer")
        reply = self.endpoint.process(f"id.{self.history.request_id_version}", self.now, error)
        if fate == "503 after the deed":
            self.deceived = True
            return Reply(503, HTML)
        if fate == "answer lost":
            return Lost("timeout", "no answer")
        return Reply(502, HTML) if fate == "answer spoiled" else reply

    @precondition(lambda self: self.status is None)
    @rule(error=ERRORS, fate=FATES)
    def one_try(self, error: int, fate: str) -> None:
        ending = self._leave(error, fate)
        step, self.history = decide(self.delivery, self.history.ended(), judge(ending), self.now)
        self.status = None if isinstance(step, Decision) else step

    @precondition(lambda self: self.status is None)
    @rule(error=ERRORS, fate=FATES)
    def a_kill_during_a_try(self, error: int, fate: str) -> None:
        if isinstance(self._leave(error, fate), NotSent):
            return
        # What the ledger gives back of a row that was in flight.
        self.history = self.history.ended()._replace(in_doubt=True)
        self._resume()

    @precondition(lambda self: self.status is None)
    @rule()
    def a_kill_between_two_tries(self) -> None:
        self._resume()

    def _resume(self) -> None:
        if not may_attempt(self.delivery, self.history, self.now):
            self.status = Status.IN_DOUBT

    @precondition(lambda self: self.status is None)
    @rule(hours=st.floats(0.1, 30))
    def time_passes_while_no_process_runs(self, hours: float) -> None:
        self.now += hours * HOUR
        self._resume()

    @precondition(lambda self: self.status is None)
    @rule()
    def the_tries_are_used_up(self) -> None:
        self.status = give_up(self.history)

    @precondition(lambda self: self.status is Status.FAILED)
    @rule()
    def another_pass_over_a_failed_row(self) -> None:
        self.history = AttemptHistory(request_id_version=self.history.request_id_version)
        self.status = None

    @precondition(lambda self: self.status is not None)
    @rule(mode=st.sampled_from(Mode), deduplicates=st.booleans(), replays=st.booleans())
    def the_next_row(self, mode: Mode, deduplicates: bool, replays: bool) -> None:
        self.begin(mode, deduplicates, replays)

    @invariant()
    def what_is_claimed_is_true(self) -> None:
        if not hasattr(self, "endpoint"):
            return
        messages, status = self.endpoint.messages, self.status
        if self.delivery.mode is not Mode.AT_LEAST_ONCE:
            # Behind the window nothing tells that a gateway denied what had been done.
            assert messages <= 1 or (self.deceived and self.now >= WINDOW)
        if status is Status.ENGAGED:
            assert messages >= 1
        if status in (Status.REJECTED, Status.FAILED) and not self.deceived:
            assert messages == 0


RowLife.TestCase.settings = settings(max_examples=400, stateful_step_count=25, deadline=None)
TestRowLife = RowLife.TestCase
