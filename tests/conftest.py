"""What pytest says at its end of the searches by random inputs."""

from __future__ import annotations

from typing import Any

import searching


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how many inputs the full searches tried, and what became of them."""
    if searching.FULL and searching.TRIED:
        terminalreporter.section("inputs that were tried")
        terminalreporter.write_line("\n".join(searching.report()))
