"""The record of what was read: versions, combined checksums, terms."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from study.data.sources import csv_rows, paperlists, sha256_of, top500

# Title, terms, and how to obtain it, of each source.
SOURCES: dict[str, tuple[str, str, str]] = {
    "top500": (
        "TOP500 lists, sublist as Excel or XML, one file a list",
        "none stated for redistribution: only derived events are shipped",
        "top500.org, Lists, download as Excel or XML (free login); save as top500/TOP500_YYYYMM.xls, .xlsx or .xml",
    ),
    "paperlists": (
        "papercopilot/paperlists: accepted papers with affiliations, one JSON a venue and year",
        "none stated: only counts are shipped, no titles, names, abstracts or addresses",
        "study fetch paperlists; or the GitHub repository papercopilot/paperlists, its folders under paperlists/",
    ),
    "universities": (
        "Hipo/university-domains-list: university names, domains, countries",
        "MIT",
        "study fetch universities; or the GitHub repository Hipo/university-domains-list",
    ),
    "epoch": (
        "Epoch AI: notable AI models, and the table of machine-learning systems of December 2023",
        "CC BY 4.0",
        "study fetch epoch (current tables); GitHub repository epoch-research/training-cost-trends (December 2023)",
    ),
    "herd": (
        "NCSES Higher Education Research and Development Survey, R&D spending by source of funds",
        "US-government data, public domain",
        "study fetch herd (public-use CSV files)",
    ),
    "osg": (
        "Open Science Grid topology: campus resources with CC* tag, projects, institutions with ROR ids",
        "Apache-2.0",
        "study fetch osg; or the GitHub repository opensciencegrid/topology",
    ),
    "nsf": (
        "NSF award records: Major Research Instrumentation and campus cyberinfrastructure (CC*)",
        "US-government data, public domain",
        "study fetch nsf (awards API, yearly files)",
    ),
    "nsf_cri": (
        "NSF award records: Computing Research Infrastructure (programme element 7359)",
        "US-government data, public domain",
        "the same yearly files of all awards; put them, or one of a year's awards of the programme, into nsf_cri/",
    ),
    "entity_list": (
        "Chinese universities on the US Entity List, with dates",
        "facts, compiled for this study from the public pages that each row names",
        "compiled by hand: entity_list/entity_list_universities_dates.csv; the list itself is in the Federal Register",
    ),
    "gpus_per_student": (
        "GPUs of US universities in December 2025 (Fchaubard/GPUsPerStudent.org), compiled with a language model",
        "none stated: only totals by event are shipped",
        "study fetch gpus_per_student; or the GitHub repository Fchaubard/GPUsPerStudent.org",
    ),
    "csmetrics": (
        "csmetrics: papers of 309 computer-science venues by institution, from the Microsoft Academic Graph",
        "CC BY 4.0 (csmetrics.org)",
        "study fetch csmetrics; or the GitHub repository csmetrics/csmetrics.org",
    ),
    "affiliations": (
        "NeurIPS 2019 and 2020, ICLR 2018 and 2019 by author (dcharrezt/NeurIPS-2019-Stats, "
        "mzolfaghari/NeurIPS-2020-Paper-Statistics, martenlienen/icml-nips-iclr-dataset)",
        "none stated: only counts are shipped",
        "study fetch affiliations; or the three GitHub repositories",
    ),
    "herd_fields": (
        "NCSES HERD survey, R&D spending in computer and information sciences",
        "US-government data; table MIT (saberusama-hub/herd-survey-dashboard)",
        "study fetch herd_fields; or the agency's data tables by field",
    ),
}

# Versions of the files from which the tables in data/ were made, by combined checksum; of others it alone is known.
VERSIONS: dict[str, str] = {
    "3e7007d92dd037449d685e32288e976eb9313d442dcbfbb8c1941d319e9dad0b": "commit bb07faf0",
    "2fc1c9fdc35fa83956b9b864a46a4668003b63224d9dd083b6d521bb60be1161": "24 November 2025 and 20 December 2023",
    "60028b10313a10ab48701183c60d19d8b2760739e35d0a4bf2cc8ba3098390ab": "fiscal years 2010 to 2024, SQLite copy",
    "38f1943b39ff3c62afe59ebe00603f79b48f03b9d2b6dede0385992576ea3b2a": "commit 5270db32",
    "0d6be42be0c46d0d4b0a86565cbe83bb038b9084b1aee7a6e297ff332f858c42": "commit 2a872972 of 22 September 2020",
    "15acf4307db8558e55a102b8f00c9061f08b085882e24d508dbd13a39b3f6398": "commits ad78a71, bad9cb3 and 9752e17",
    "79f411b025616884ccc583eff9be1a7cf0f2ecb0d4fb9d7d615b2deab1da0afa": "fiscal years 2005 to 2024, commit ee65ca92",
    "4f5f65d846e858ad314576005342d70faf4e2c444dd11bafc27ba0ef75405236": (
        "2007 to April 2025 (siwelwerd/NSF-Awards eae892b6, jallen2/Research-Trend b91409ce)"
    ),
    "dd441c33d988cc3b022b49e472c136529ab4c74d8fee2aa2cd3eceb15db4cfdc": "as nsf",
    "d6d36f1f186224ebd533d603cd4db21e1819fe5a40ac6dfe2973755ff4980d79": "November 2026",
    "9fde1d970d480c593e15b108489bc1ee487661ad09be4e50376c531a96eb3684": "commit dbd5d58 of 5 January 2026",
}


def sources_toml(raw: Path, papers: Sequence[tuple[str, int]]) -> str:
    """Return the record of what was read: version, combined checksum and terms of each source."""
    lines = [
        "# Written by study assemble. A checksum is the SHA-256 over the lines",
        '# "<sha256 of the file>  <its name>" of all files read, in the order of their names.',
        "",
    ]
    for name, (title, licence, obtain) in SOURCES.items():
        files, version = sorted(path for path in (raw / name).rglob("*") if path.is_file()), ""
        if name == "top500":
            lists = top500.lists(raw / name)
            files, version = list(lists.values()), f"lists {min(lists)} to {max(lists)}"
        elif name == "paperlists":
            files = [paperlists.locate(raw / name, venue, year) for venue, year in papers]
            version = _paperlists_versions(raw, papers)
        digest = checksum(files)
        version = version or VERSIONS.get(digest, "not recorded")
        lines += [f"[{name}]", f'title = "{title}"', f'version = "{version}"', f'licence = "{licence}"']
        lines += [f'obtain = "{obtain}"', f"files = {len(files)}", f'sha256 = "{digest}"', ""]
    return "\n".join(lines)


def checksum(paths: Iterable[Path]) -> str:
    """Return one SHA-256 over several files: of the lines "<sha256 of the content>  <name>" by name.

    Compressed files count with the name and the bytes that they have on disk.
    """
    lines = (f"{sha256_of(path)}  {path.name}\n" for path in paths)
    return hashlib.sha256("".join(sorted(lines, key=lambda line: line[66:])).encode()).hexdigest()


def _paperlists_versions(raw: Path, read: Sequence[tuple[str, int]]) -> str:
    """Return the range of commits and dates of the files read; empty where the folder does not record them."""
    path = raw / "paperlists_versions.csv"
    if not path.is_file():
        return ""
    wanted = {f"{venue}/{venue}{year}.json" for venue, year in read}
    rows = csv_rows(path, ("path", "commit", "commit_date"), remedy="restore or delete it")
    commits = sorted({(row["commit_date"], row["commit"][:8]) for _, row in rows if row["path"] in wanted})
    named = [f"{commit} ({day})" for day, commit in commits]
    return f"{len(named)} commits, {named[0]} to {named[-1]}" if named else ""
