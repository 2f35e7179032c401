"""A local endpoint that implements the API contract. It imports nothing of the rest of the package."""

from engager.sandbox.config import SandboxConfig
from engager.sandbox.server import Sandbox

__all__ = ["Sandbox", "SandboxConfig"]
