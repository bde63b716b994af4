"""How work is done: in how many processes here or on which cluster, with which progress, keeping what where.

And how large a file may be that is read for it.

None of it changes a result, so none of it is an option of a design.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from study.core.arguments import check, hints_of, refuse_unknown
from study.core.cluster import connected
from study.core.errors import QuestionError

Progress = Callable[[str], None]
Backend = Literal["loky", "dask"]


@dataclass(frozen=True)
class Settings:
    """Processes (-1 is all cores), a function told of each step, a folder for what was learned, a cluster, limits."""

    jobs: int = 1
    progress: Progress | None = None
    cache: Path | None = None
    backend: Backend = "loky"
    address: str | None = None
    max_rows: int = 50_000_000
    max_columns: int = 10_000
    max_bytes: int = 1_000_000_000
    max_cell: int = 100_000


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
        Processes that fit learners or simulate; -1 is all cores. Numbers do not depend on it.
    progress : callable
        Called with a description of each step that is done.
    cache : Path
        Folder in which learners' predictions, and finished blocks of a tournament, are kept by all that they depend
        on, and looked up first.
    backend : {"loky", "dask"}
        Processes of this machine, or the workers of a dask cluster, as many as there are. Numbers do not depend on it.
    address : str
        Of the scheduler of the cluster, for example tcp://10.0.0.1:8786.
    max_rows, max_columns, max_bytes, max_cell : int
        Of a file that is read, and of its longest cell in characters; bytes without compression.

    Raises
    ------
    QuestionError
        If a setting is not one of these, or dask is not installed.
    WorkerError
        If the cluster does not answer, or is not what this process is.

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
    if changes.get("backend") == "loky":
        changes.setdefault("address", None)
    chosen = replace(_here.get(), **changes)
    if (chosen.backend == "dask") != (chosen.address is not None):
        raise QuestionError(
            f"settings: backend is {chosen.backend}, address {chosen.address}; a cluster needs both, as in "
            'backend="dask", address="tcp://10.0.0.1:8786".'
        )
    if chosen.address is not None and "address" in changes:
        with connected(chosen.address):  # or say now that it cannot be
            pass
    token = _here.set(chosen)
    try:
        yield _here.get()
    finally:
        _here.reset(token)


def tell(step: str) -> None:
    """Tell progress, where it is asked for, of a step."""
    progress = current_settings().progress
    if progress is not None:
        progress(step)


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
