"""A row's state as one byte of the ledger: a word of the extended Hamming code (8, 4).

Two words differ in at least four bits. A flipped bit is therefore mended, and two are noticed: no
damage turns one state into another, which could send a message twice.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from engager.model import Status


class State(IntEnum):
    """What the ledger knows of a row."""

    UNTOUCHED = 0  #: no try has left
    OPEN = 1  #: its first try has left, and it is not settled
    ENGAGED = 2
    REJECTED = 3
    FAILED = 4
    IN_DOUBT = 5
    INVALID = 6
    SKIPPED = 7
    IN_DOUBT_RENEWED = 8  #: in doubt under a Request-ID that is not the row's first
    AGAIN = 9  #: it had failed, and another pass was asked for
    AGAIN_IN_DOUBT = 10  #: it was in doubt, and another pass was asked for
    SLOTTED = 11  #: a try has left, and it is not settled; its slot says more
    DAMAGED = 15  #: two or more bits were flipped: nothing is known


SETTLED: Final = {
    State.ENGAGED: Status.ENGAGED,
    State.REJECTED: Status.REJECTED,
    State.FAILED: Status.FAILED,
    State.IN_DOUBT: Status.IN_DOUBT,
    State.IN_DOUBT_RENEWED: Status.IN_DOUBT,
    State.INVALID: Status.INVALID,
    State.SKIPPED: Status.SKIPPED,
}

_STATE_OF: Final = {status: State[status.name] for status in Status}


def _word(nibble: int) -> int:
    a, b, c, d = (nibble >> bit & 1 for bit in range(4))
    word = nibble | (a ^ b ^ d) << 4 | (a ^ c ^ d) << 5 | (b ^ c ^ d) << 6
    return word | (word.bit_count() & 1) << 7


#: State → its byte.
WORDS: Final = bytes(map(_word, range(16)))


def _nearest(byte: int) -> int:
    close = (nibble for nibble in range(16) if (WORDS[nibble] ^ byte).bit_count() <= 1)
    return next(close, State.DAMAGED)


#: For `bytes.translate`: bytes of the ledger → states.
STATES: Final = bytes(map(_nearest, range(256)))


def settled_state(status: Status, renewed: bool) -> State:
    """The state of a row that has this outcome."""
    return State.IN_DOUBT_RENEWED if renewed and status is Status.IN_DOUBT else _STATE_OF[status]
