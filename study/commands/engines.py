"""Options of commands that answer from an engine, for panels larger than memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer

from study import core, report
from study import panel as panels
from study.commands.options import OfPanel, flag, labels
from study.core import OutputError, QuestionError, progress_bar, steps

ENGINES = ("duckdb",)
# Options of a panel that need more of it than an engine adds up.
OF_ROWS = ("levels", "dose", "instrument", "group", "group_column")


@dataclass(frozen=True)
class OfEngine:
    """What reads a panel that is larger than memory.

    Attributes
    ----------
    engine : str, optional
        duckdb, for a panel larger than memory: --panel is then a Parquet file, a folder of them or a pattern such as
        "data/*.parquet". Spark is for study.LargePanel, in Python.
    memory_limit : str
        What the engine may hold in memory before it goes on in files.
    temp : Path, optional
        Folder in which the engine has a scratch folder, which may need twice the space of the Parquet files; the
        system's if not given.
    limit : int
        Most strata that the engine adds units up by: those of one event date, pattern of missing cells, weight,
        covariates and cluster.
    """

    engine: str | None = None
    memory_limit: str = "4GB"
    temp: Path | None = None
    limit: int = 10_000

    def designs(self, named: list[str] | None) -> list[str] | None:
        """Return designs by name; where none is named, those that an engine can answer by, if there is an engine."""
        return named if named or self.engine is None else _able()

    def refuse_several(self, who: str, outcomes: Sequence[str]) -> None:
        """Refuse several outcomes, whose joint distribution is in the rows alone."""
        if self.engine is not None and len(outcomes) > 1:
            raise QuestionError(
                f"{who}: an engine adds outcomes up one at a time, so that p-values cannot be adjusted for "
                f"{len(outcomes)}; name one outcome, or take study estimate."
            )

    @contextmanager
    def opened(
        self,
        who: str,
        source: OfPanel,
        question: panels.Question,
        outcomes: Sequence[str],
        designs: Sequence[str] | None,
        label: Sequence[str] | None,
    ) -> Iterator[panels.Panel | panels.LargePanel]:
        """Give the panel, which an engine lets go of in the end.

        What no engine answers is refused before it reads: ``designs`` by name, and a ``label`` of what is no column.
        """
        if self.engine is None:
            for name, value in vars(self).items():
                if value != getattr(type(self), name):
                    raise QuestionError(f"{flag(name)} is about an engine; add --engine {ENGINES[0]}.")
            yield source.read(outcomes, question)
            return
        from study.designs import Supports, find_design

        core.refuse_unknown("engine", self.engine, ENGINES, "--engine")
        why = "which needs the rows of single units; leave out --engine, for a sample of them perhaps"
        for name in OF_ROWS:
            if getattr(source, name):
                raise QuestionError(f"{who}: {flag(name)} is given, {why}.")
        for name in designs or ():
            if Supports.SUMS not in find_design(name).supports:
                able = ", ".join(_able())
                raise QuestionError(f"{who}: --engine does not go with {name}, {why}. It goes with {able}.")
        columns: Any = panels.columns_for(question, outcomes, path=source.treatment)
        del columns["doses"]
        known = {name for names in columns.values() for name in names}
        report.check_labels(labels(label), None, {*known, source.period or "period", "year"}, who)
        reading: Any = {
            name: getattr(source, name) for name in ("unit", "time", "period", "never", "ambiguous")
        }
        with (
            _scratch_folder(self.temp) as folder,
            progress_bar() as progress,
            panels.LargePanel.from_parquet(
                source.panel,
                **columns,
                **reading,
                memory_limit=self.memory_limit,
                limit=self.limit,
                temp=folder,
                progress=steps(progress, None),
            ) as panel,
        ):
            yield panel


def _able() -> list[str]:
    """Return the designs that answer from what an engine adds up."""
    from study.designs import Supports, all_designs

    return [name for name, design in all_designs().items() if Supports.SUMS in design.supports]


@contextmanager
def _scratch_folder(temp: Path | None) -> Iterator[str]:
    """Make a folder and name it on the error stream, and remove it in the end with all that is in it."""
    try:
        if temp is not None:
            temp.mkdir(parents=True, exist_ok=True)
        made = TemporaryDirectory(dir=temp, prefix="study-", ignore_cleanup_errors=True)
    except OSError as error:
        raise OutputError(
            f"--temp {temp}: cannot write here ({error.strerror}); name another folder."
        ) from error
    with made as folder:
        typer.echo(f"Scratch folder, removed in the end: {folder}", err=True)
        yield folder
