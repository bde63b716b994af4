"""Progress on the error stream, so that the output of a command can be piped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Show progress bars while the work inside is done."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    left = TextColumn("left:"), TimeRemainingColumn()
    # The time left is that of the pace so far: blocks of work take seconds each.
    with Progress(*columns, *left, console=console, speed_estimate_period=600) as progress:
        yield progress


class Steps:
    """Moves a progress bar by one step with a description; whoever works can say how many there will be."""

    def __init__(self, progress: Progress, total: int | None, first: str = "Reading") -> None:
        self._progress = progress
        self._bar = progress.add_task("Estimating" if total else first, total=total)

    def __call__(self, description: str) -> None:
        """Move the bar."""
        self._progress.update(self._bar, advance=1, description=description)

    def expect(self, steps: int) -> None:
        """Expect so many more."""
        done = next(task.completed for task in self._progress.tasks if task.id == self._bar)
        self._progress.update(self._bar, total=done + steps)


def arrived(progress: Progress) -> Any:
    """Return a function that shows how much of a file has arrived."""
    bar = progress.add_task("Downloading", total=None)

    return lambda url, done, total: progress.update(
        bar, completed=done, total=total, description=url.rsplit("/", 1)[-1]
    )
