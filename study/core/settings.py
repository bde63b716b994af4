"""How long work is done here: in how many processes, with which progress, keeping what in which folder.

None of it changes a result, so none of it is an option of a design.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from study.core.arguments import check, hints_of, refuse_unknown

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """Processes (-1 is all cores), a function that is told of each step, and a folder for what was learned."""

    jobs: int = 1
    progress: Progress | None = None
    cache: Path | None = None


_here: ContextVar[Settings] = ContextVar("work", default=Settings())  # noqa: B039 (a frozen dataclass)


def current_settings() -> Settings:
    """Return how work is done now."""
    return _here.get()


@contextmanager
def settings(**changes: Any) -> Iterator[Settings]:
    """Do the work inside with other settings; those that are not named stay as they are.

    Parameters
    ----------
    jobs : int
        Processes that fit learners; -1 is all cores. Numbers do not depend on it.
    progress : callable
        Called with a description of each step that is done.
    cache : Path
        Folder in which learners' predictions are kept by their content, and looked up first.

    Examples
    --------
    >>> import study
    >>> panel = study.load_panel("cvpr")
    >>> question = study.Question("papers", "first_accelerator", covariates=("log_baseline_papers",))
    >>> with study.settings(jobs=2):
    ...     fit = study.estimate(panel, question, "dml_panel", learner="linear", repetitions=1)
    """
    hints = hints_of(Settings)
    refuse_unknown("setting", changes, hints, "settings")
    check("settings", hints, changes)
    token = _here.set(replace(_here.get(), **changes))
    try:
        yield _here.get()
    finally:
        _here.reset(token)


@contextmanager
def telling(what: str) -> Iterator[None]:
    """Do the work inside with these words before each step that progress is told of."""
    progress = current_settings().progress
    with settings(progress=None if progress is None else lambda step: progress(f"{what}, {step}")):
        yield


def expecting(steps: int) -> None:
    """Tell progress how many steps there will be, where it can be told, so that it can say how long they take."""
    expect = getattr(current_settings().progress, "expect", None)
    if expect is not None:
        expect(steps)
