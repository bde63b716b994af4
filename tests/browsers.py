"""A headless Chromium that can reach nothing, for tests of the report page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NARROW, WIDE = 400, 1200


@contextmanager
def opened_page(page: Path, profile: Path) -> Iterator[Any]:
    """Give a page in Chromium, with all that the browser logged and asked for while it loaded.

    The test is skipped where Chromium, its driver or selenium is not installed.
    """
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed, so the page cannot be opened in a browser")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    )
    try:
        seen_at(driver, WIDE)
        driver.get_log("performance")  # what the browser did before, on its own start page
        driver.get(page.as_uri())
        driver.logged = driver.get_log("browser")
        driver.requested = [
            message["params"]["request"]["url"]
            for message in (
                json.loads(entry["message"])["message"] for entry in driver.get_log("performance")
            )
            if message["method"] == "Network.requestWillBeSent"
        ]
        yield driver
    finally:
        driver.quit()


def seen_at(driver: Any, width: int) -> None:
    """Look at the page in a window of a width in CSS pixels."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
