"""A real browser without a screen: a page in, what a person and a screen reader get of it out."""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webelement import WebElement

#: Set by the gate: a browser that is missing is an error there, and no reason to skip.
REQUIRED = "ENGAGER_TEST_BROWSER"

_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Browser:
    """Chromium, looked into from outside."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def look(self, width: int = 1280, height: int = 900, *, dark: bool = False, paper: bool = False) -> None:
        """From now on a screen so wide, light or dark; or paper."""
        self._tell(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._tell("Emulation.setEmulatedMedia", media="print" if paper else "screen", features=[scheme])

    def open(self, page: str | Path) -> None:
        """Open an address or a file, and wait until it is loaded."""
        self.complaints()
        self.driver.get(page if isinstance(page, str) else page.resolve().as_uri())

    def find(self, selector: str) -> list[WebElement]:
        """The elements that a CSS selector names."""
        return self.driver.find_elements("css selector", selector)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a JavaScript function body returns."""
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        """The messages of the console since the last call: faults of scripts, breaches of the CSP."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def overflow(self) -> int:
        """Pixels by which the page is wider than the screen."""
        root = "document.documentElement"
        return int(self.run(f"return {root}.scrollWidth - {root}.clientWidth"))

    def picture(self, path: Path) -> Path:
        """A picture of the whole page, for a person to look at."""
        shot = self._tell("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    def _tell(self, command: str, **facts: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, facts)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser for some tests; skips them where none is installed, unless one is required."""
    found, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if found is None or driver is None:
        text = "chromium and chromedriver are not installed: apt-get install chromium chromium-driver"
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(text)
    options = webdriver.ChromeOptions()
    options.binary_location = found
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for argument in (*_ARGUMENTS, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        opened = webdriver.Chrome(options, Service(driver))
        try:
            yield Browser(opened)
        finally:
            opened.quit()
