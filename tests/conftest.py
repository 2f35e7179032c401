"""Tests marked `virtual_time` run on a loop whose clock jumps; all others on the real one. And a browser."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tests.output.browser import Browser, chromium


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: what the loop wants to wait for, the clock is moved on by."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        # A clock that stands still makes a limiter spin for ever on the rounding of a float.
        self.now += max(timeout, 1e-6) if not ready else 1e-6
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def stall(self, seconds: float) -> None:
        """The machine gives this process no time for so long."""
        self._jumping.now += seconds


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "virtual_time: run on a loop whose clock jumps to the next timer")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: begun last, it would keep one process busy and the others idle."""
    items.sort(key=lambda item: item.path.parent.name != "crash")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.get_closest_marker("virtual_time"):
        return {"virtual": VirtualLoop}
    return {"real": asyncio.new_event_loop}


@pytest.fixture(scope="session")
def one_browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def browser(one_browser: Browser) -> Browser:
    """A desktop's browser in daylight; `browser.look(390, dark=True)` makes it a phone's at night."""
    one_browser.look()
    return one_browser
