"""The contract's endpoint on loopback: the opponent of the runner. It imports nothing of the rest."""

from engager.sandbox.config import SandboxConfig
from engager.sandbox.server import Sandbox

__all__ = ["Sandbox", "SandboxConfig"]
