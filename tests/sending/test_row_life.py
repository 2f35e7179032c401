"""The delivery rules of a row against a model of the endpoint, without I/O, with kills at any moment.

The model counts the messages that went out. The status of a row must be true, however its attempts end.
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
    """Remembers Request-IDs if it deduplicates; counts the messages."""

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
# Whether the endpoint processed an attempt, and whether its response arrived.
DELIVERIES = st.sampled_from(
    [
        "responded",
        "response lost",
        "response damaged",
        "never arrived",
        "gateway 503",
        "503 after processing",
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
        self.misled = False  #: a gateway denied a processed attempt: the assumption about its 503 was wrong

    def _attempt(self, error: int, delivered: str) -> Ending:
        if delivered == "refused":
            return NotSent("connect_failed", "refused")
        self.history = self.history.departed(self.now)
        if delivered == "gateway 503":
            return Reply(503, HTML)
        if delivered == "never arrived":
            return Lost("timeout", "no response")
        reply = self.endpoint.process(f"id.{self.history.request_id_version}", self.now, error)
        if delivered == "503 after processing":
            self.misled = True
            return Reply(503, HTML)
        if delivered == "response lost":
            return Lost("timeout", "no response")
        return Reply(502, HTML) if delivered == "response damaged" else reply

    @precondition(lambda self: self.status is None)
    @rule(error=ERRORS, delivered=DELIVERIES)
    def attempt(self, error: int, delivered: str) -> None:
        ending = self._attempt(error, delivered)
        step, self.history = decide(self.delivery, self.history.ended(), judge(ending), self.now)
        self.status = None if isinstance(step, Decision) else step

    @precondition(lambda self: self.status is None)
    @rule(error=ERRORS, delivered=DELIVERIES)
    def kill_during_an_attempt(self, error: int, delivered: str) -> None:
        if isinstance(self._attempt(error, delivered), NotSent):
            return
        # As the journal reads a row that was in flight.
        self.history = self.history.ended()._replace(in_doubt=True)
        self._resume()

    @precondition(lambda self: self.status is None)
    @rule()
    def kill_between_attempts(self) -> None:
        self._resume()

    def _resume(self) -> None:
        if not may_attempt(self.delivery, self.history, self.now):
            self.status = Status.IN_DOUBT

    @precondition(lambda self: self.status is None)
    @rule(hours=st.floats(0.1, 30))
    def pass_time_without_a_process(self, hours: float) -> None:
        self.now += hours * HOUR
        self._resume()

    @precondition(lambda self: self.status is None)
    @rule()
    def use_up_attempts(self) -> None:
        self.status = give_up(self.history)

    @precondition(lambda self: self.status is Status.FAILED)
    @rule()
    def retry_a_failed_row(self) -> None:
        self.history = AttemptHistory(request_id_version=self.history.request_id_version)
        self.status = None

    @precondition(lambda self: self.status is not None)
    @rule(mode=st.sampled_from(Mode), deduplicates=st.booleans(), replays=st.booleans())
    def next_row(self, mode: Mode, deduplicates: bool, replays: bool) -> None:
        self.begin(mode, deduplicates, replays)

    @invariant()
    def status_is_true(self) -> None:
        if not hasattr(self, "endpoint"):
            return
        messages, status = self.endpoint.messages, self.status
        if self.delivery.mode is not Mode.AT_LEAST_ONCE:
            # After the window nothing shows that a gateway denied a processed attempt.
            assert messages <= 1 or (self.misled and self.now >= WINDOW)
        if status is Status.ENGAGED:
            assert messages >= 1
        if status in (Status.REJECTED, Status.FAILED) and not self.misled:
            assert messages == 0


RowLife.TestCase.settings = settings(max_examples=400, stateful_step_count=25, deadline=None)
TestRowLife = RowLife.TestCase
