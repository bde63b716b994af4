"""The sources by name, and their fetching from the publishers: one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from study.core import DataError, refuse_unknown
from study.data.sources import Fetcher, record_checksums, tell
from study.data.sources.provenance import SOURCES as RECORDED

# Those that `study assemble` reads, but for what is cut from another one's files, or compiled by hand.
READ = [name for name in RECORDED if name not in ("nsf_cri", "entity_list")]
SOURCES = (*READ, "openalex")


@dataclass(frozen=True)
class Fetched:
    """What came of fetching one source: its files, or why there are none."""

    source: str
    files: tuple[Path, ...] = ()
    error: str = ""


def source(name: str) -> ModuleType:
    """Return the module of a source, with its ``fetch`` and ``read``.

    Raises
    ------
    QuestionError
        If there is no such source.
    """
    refuse_unknown("source", name, SOURCES, "study fetch")
    return import_module(f"study.data.sources.{name}")


def fetch(names: Iterable[str], raw: Path, fetcher: Fetcher) -> list[Fetched]:
    """Fetch sources from their publishers into ``raw/<name>/``; one that fails does not stop the others.

    The checksums of the files are recorded in ``raw/SHA256SUMS``.

    Parameters
    ----------
    names : iterable of str
        Names among ``SOURCES``, checked before anything is fetched.
    raw : Path
        Folder of originals; what is there already is kept.
    fetcher : Fetcher
        The client that downloads.

    Returns
    -------
    list of Fetched
        In the order of the names.

    Raises
    ------
    QuestionError
        If there is no source of a name.
    OutputError
        If the folder cannot be written to.
    """
    modules = {name: source(name) for name in names}
    results = []
    for name, module in modules.items():
        tell(name)
        try:
            results.append(Fetched(name, tuple(module.fetch(raw, fetcher))))
        except DataError as error:
            results.append(Fetched(name, error=str(error)))
    files = [path for result in results for path in result.files]
    if files:
        record_checksums(raw, files)
    return results
