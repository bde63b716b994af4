"""Open Science Grid's registry: campus resources of the CC* programme, from its git repository into one table."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pandas as pd
import yaml

from study.core import DataError, tell, write_all
from study.data.sources import FILLED, Fetcher, csv_table, fetching, iso_day, one_line

REPOSITORY = "https://github.com/opensciencegrid/topology.git"
FILE = "osg_topology_ccstar_resource_groups.csv"
HEADING = ("file", "facility", "site", "group", "n_cc_resources", "first_registered", "grantish")
TAG = "CC*"

_OTHER_FILES = re.compile(r"(SITE|FACILITY|.*_downtime)\.ya?ml")
_AWARD = re.compile(r"(?:NSF|award|grant)\D{0,40}\b(\d{7})\b", re.IGNORECASE)
_RULES = {"file": FILLED, "facility": FILLED, "n_cc_resources": (re.compile(r"\d+"), "a number of resources")}
_SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def fetch(raw: Path, fetcher: Fetcher) -> list[Path]:
    """Clone the registry's repository and write its table of tagged groups into ``raw/osg``.

    Dates of registration are known only from the history of the repository, so that git does the download
    and ``fetcher`` is not used; it takes some minutes.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher
        Not used.

    Raises
    ------
    DataError
        If git is not installed, the repository cannot be cloned, or a file of it is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="study-osg-") as folder:
        clone = Path(folder) / "topology"
        tell("OSG registry: clone of the repository")
        _git(Path(folder), "clone", "--quiet", "--no-tags", "--", REPOSITORY, clone.name)
        tell("OSG registry: resource groups")
        table = pd.DataFrame(_groups(clone), columns=HEADING)
    return write_all(raw / "osg", {FILE: table.to_csv(index=False, lineterminator="\n").encode()})


def read(folder: Path) -> pd.DataFrame:
    """Read the resource groups in which CC* is mentioned.

    Returns
    -------
    DataFrame
        One row a group in the order of the file: file (in the repository), facility, site, group,
        ccstar_resources (how many resources have the tag CC*; 0 if it is only mentioned), first_registered
        ("YYYY-MM-DD", empty if not known), award (number of an NSF award that the group names, empty if none).

    Raises
    ------
    DataError
        If the file is missing, damaged or of another layout, or a group is there twice.
    """
    table = csv_table(folder / FILE, HEADING, unique=("file",), rules=_RULES).astype({"n_cc_resources": int})
    days = table["first_registered"].items()
    table["first_registered"] = [iso_day(day, f"{FILE}, line {line}: date") for line, day in days]
    names = {"n_cc_resources": "ccstar_resources", "grantish": "award"}
    return table.rename(columns=names).reset_index(drop=True)


def _groups(clone: Path) -> list[tuple[str, ...]]:
    """Return the groups with a tagged resource, by the day of the tag."""
    rows = []
    for path in sorted(clone.glob("topology/*/*/*.y*ml")):
        text = path.read_text(encoding="utf-8")
        if _OTHER_FILES.fullmatch(path.name) or TAG not in text:
            continue
        name = path.relative_to(clone).as_posix()
        try:
            registered = yaml.load(text, Loader=_SAFE_LOADER)
        except yaml.YAMLError as error:
            raise DataError(f"{name}: broken YAML ({one_line(error)}); clone it again.") from None
        resources = registered.get("Resources") if isinstance(registered, dict) else None
        if not isinstance(resources, dict) or not all(isinstance(each, dict) for each in resources.values()):
            raise DataError(f"{name}: holds no named resources; has its form changed?")
        tagged = sum(TAG in (resource.get("Tags") or ()) for resource in resources.values())
        if tagged:
            facility, site = path.parts[-3:-1]
            # The day of the first commit that put the tag into the file, under whatever name it had then.
            log = _git(clone, "log", "--follow", "--format=%as", f"-S{TAG}", "--", name)
            first, award = min(log.split(), default=""), _AWARD.search(text)
            rows.append((name, facility, site, path.stem, str(tagged), first, award[1] if award else ""))
    return sorted(rows, key=lambda row: (row[5], row[0]))


def _git(folder: Path, *arguments: str) -> str:
    if shutil.which("git") is None:
        raise DataError("OSG registry: git is not installed, and the dates are in its history; install it.")
    settings = {
        "core.quotePath": "false",
        "core.symlinks": "false",
        "http.followRedirects": "false",
        "http.lowSpeedLimit": fetching.SLOWEST,
        # A server that packs a history is silent for longer than one that sends a file.
        "http.lowSpeedTime": 5 * int(fetching.STALL),
    }
    chosen = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "https:file"}
    try:
        git = subprocess.run(
            ["git", *chosen, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            timeout=fetching.LONGEST,
            preexec_fn=_small_files if os.name == "posix" else None,
        )
    except subprocess.TimeoutExpired:
        fault = f"OSG registry: git {arguments[0]} is not done after {fetching.LONGEST / 3600:g} hours"
        raise DataError(f"{fault}; fetch again from a faster network.") from None
    if git.returncode:
        reason = one_line(git.stderr) or f"exit code {git.returncode}"
        raise DataError(f"OSG registry: git {arguments[0]} fails ({reason}); check the network, fetch again.")
    return git.stdout


def _small_files() -> None:
    """Let git write no file (a pack is one) that is larger than a download may be."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (fetching.LARGEST, most))
