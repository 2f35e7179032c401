"""What a run and its remote senders tell each other. No secret is part of it.

The run keeps everything: rows, journal, rate, retries, outcomes. A sender is stateless: it is handed
requests, and returns how each ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Final, Literal, NamedTuple, Protocol

from engager.models import Ending
from engager.policies.rate import Pace
from engager.sending.transport.choice import Kind

#: Stands in the bodies of requests for the token, which each sender reads by itself. Random, so that no row
#: can contain it.
TOKEN_PLACE: Final = f"engager-token-{token_hex(16)}"

#: Seconds after which a request that was handed out does not leave any more. This is the whole fencing: after
#: that long, no sender has a request that the run could give to another one.
EXPIRY: Final = 5.0

#: Seconds without a sign after which a sender is lost, and after which a sender ends by itself.
SILENCE: Final = 15.0

#: Seconds within which a sender begins: a new process, or a worker that loads engager, on a busy machine.
BEGINNING: Final = 60.0

#: Seconds for which a question about endings may wait for one.
LONG_POLL: Final = 0.5


def order_of(name: str) -> tuple[int, str]:
    """By what the names of senders are sorted: numbers are at their end, and 2 is before 10."""
    return len(name), name


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a sender needs to reach the endpoint, without any secret."""

    version: str  #: of engager, which must be the same everywhere
    url: str
    headers: Mapping[str, str]  #: of every request, without the token
    wire: Literal["json", "xml"]  #: the format of the bodies, in which the token is escaped
    token: str | None  #: where the sender finds it, as `env:NAME` or `file:/PATH`; None: the sandbox's
    least_token: int  #: characters of a token
    bearer: bool  #: the token is a header
    timeout: float  #: seconds for connecting, and again for one exchange
    longest_answer: int  #: bytes of a response that are read
    transport: Kind
    connections: int
    tls: bool = False
    authorities: str | None = None  #: certificates to trust instead of those of the system, in PEM
    client_cert: str | None = None  #: path on the machine of the sender, as the next one
    client_key: str | None = None
    proxy: str | None = None  #: its address without a password, or where the sender finds it
    token_place: str = TOKEN_PLACE
    mark_key: str = ""  #: of the mark of the token that a check asks for


class Hello(NamedTuple):
    """How a sender introduces itself."""

    version: str
    python: str
    host: str
    boot: float  #: seconds on its boot clock
    wall: float  #: seconds since the epoch
    fault: str = ""  #: why it cannot send, for the operator
    token_mark: str = ""  #: of a check: recognizes the token that it found, see `Secret.mark`


class HandedOut(NamedTuple):
    """A request that is handed to a sender."""

    number: int
    body: tuple[bytes | int, ...]  #: its parts; a number stands for a part that the sender keeps
    request_id: str
    expires: float  #: on the sender's boot clock


class Ended(NamedTuple):
    """How a request ended at a sender."""

    number: int
    ending: Ending
    left_at: float | None = None  #: on the sender's boot clock; None: it did not leave


class RemoteSender(Protocol):
    """A sender as the run sees it. Each call raises an exception if the sender may not have heard it."""

    async def begin(self, settings: Settings, check: bool = False) -> Hello:
        """Prepare to send; with `check`, connect to the endpoint and end at once."""
        ...

    async def take(self, batch: int, requests: Sequence[HandedOut], parts: Mapping[int, bytes]) -> None:
        """Take requests, and the parts of bodies to keep; the same batch is taken once."""
        ...

    async def endings(self, read: int) -> tuple[int, Sequence[Ended], float]:
        """How many endings there are, those after the first `read` ones, and the boot clock; waits."""
        ...

    async def recall(self, batch: int) -> None:
        """Give back every request of the batches up to this one that has not left, also if it comes later."""
        ...

    async def set_share(self, pace: Pace) -> None:
        """Set the requests per second of this sender, which has no limit before."""
        ...

    async def aclose(self) -> None:
        """Give back what has not left, and end."""
        ...


class CalledSender:
    """A sender in another process, called over some connection."""

    def __init__(self, call: Callable[..., Awaitable[Any]]) -> None:
        """`call` takes the name of a method and its arguments."""
        self._call = call

    async def begin(self, settings: Settings, check: bool = False) -> Hello:
        """Prepare to send; with `check`, connect to the endpoint and end at once."""
        return Hello(*await self._call("begin", settings, check))

    async def take(self, batch: int, requests: Sequence[HandedOut], parts: Mapping[int, bytes]) -> None:
        """Take requests, and the parts of bodies to keep; the same batch is taken once."""
        await self._call("take", batch, requests, parts)

    async def endings(self, read: int) -> tuple[int, Sequence[Ended], float]:
        """How many endings there are, those after the first `read` ones, and the boot clock; waits."""
        endings: tuple[int, Sequence[Ended], float] = await self._call("endings", read)
        return endings

    async def recall(self, batch: int) -> None:
        """Give back every request of the batches up to this one that has not left, also if it comes later."""
        await self._call("recall", batch)

    async def set_share(self, pace: Pace) -> None:
        """Set the requests per second of this sender, which has no limit before."""
        await self._call("set_share", pace)

    async def aclose(self) -> None:
        """Give back what has not left, and end."""
        await self._call("aclose")
