"""The version and the kind of build, where everything can import them."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec

__version__ = "0.1.0"


def is_compiled() -> bool:
    """Whether what every row goes through is compiled, or runs as Python."""
    spec = find_spec("engager.model")
    return spec is not None and (spec.origin or "").endswith(tuple(EXTENSION_SUFFIXES))
