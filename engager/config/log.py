"""The logger of engager. A failing handler or filter of the embedding program never ends a run."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Any


class _Tolerant(logging.LoggerAdapter[logging.Logger]):
    """Logs, and continues if a handler or a filter of the embedding program fails."""

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log a record."""
        try:
            super().log(level, msg, *args, **kwargs)
        except Exception as fault:
            with suppress(Exception):
                print(f"engager: a log handler failed: {type(fault).__name__}", file=sys.stderr, flush=True)


log = _Tolerant(logging.getLogger("engager"), {})
