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
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=False) as progress:
        yield progress


@contextmanager
def learning(jobs: int) -> Iterator[None]:
    """Fit learners in some processes and show how far they are."""
    from study.core.settings import settings

    with progress_bar() as progress, settings(jobs=jobs, progress=steps(progress, None, "Learning")):
        yield


def steps(progress: Progress, total: int | None, first: str = "Reading") -> Any:
    """Return a function that moves a progress bar by one step with a description."""
    bar = progress.add_task("Estimating" if total else first, total=total)

    return lambda description: progress.update(bar, advance=1, description=description)


def arrived(progress: Progress) -> Any:
    """Return a function that shows how much of a file has arrived."""
    bar = progress.add_task("Downloading", total=None)

    return lambda url, done, total: progress.update(
        bar, completed=done, total=total, description=url.rsplit("/", 1)[-1]
    )
