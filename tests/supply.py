"""Write what the package is built from: ``make sbom``.

``sbom.json`` is a CycloneDX list of every locked dependency with its licence and what it depends on (here: what other
systems need is "optional"), ``LICENCES.md`` the same for readers. Both follow from ``requirements.lock``,
``pyproject.toml`` and the metadata of what is installed, and hold no date and no address; the checksums of the files
are in ``requirements.lock``.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SBOM, LICENCES = ROOT / "sbom.json", ROOT / "LICENCES.md"

_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)(?: *; *([^\\]+?))? *\\?$", re.MULTILINE)

PERMISSIVE = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "LLVM-exception", "MIT", "MIT-0", "MIT-CMU",
    "NCSA", "PSF-2.0", "Zlib",
}  # fmt: skip
# Copyleft by file: who changes a file of it publishes that file; who only depends on it owes nothing.
BY_FILE = {"MPL-2.0"}
# What packages write that have no SPDX expression.
_WRITTEN = {
    "Apache 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "2-clause BSD": "BSD-2-Clause",
    "BSD": "BSD-3-Clause",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "ISC license": "ISC",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
# Of packages for other systems than this one.
ELSEWHERE = {"appnope": "BSD-2-Clause", "colorama": "BSD-3-Clause"}


class Locked(NamedTuple):
    """A line of the lock: name, version, and for which Python and system it is ("" = all)."""

    name: str
    version: str
    marker: str

    @property
    def purl(self) -> str:
        """The package URL, under which lists of vulnerabilities know it."""
        return f"pkg:pypi/{self.name}@{self.version}"


def locked() -> list[Locked]:
    """Return the lines of the lock in their order."""
    found = _LOCKED.findall((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    return [Locked(canonicalize_name(name), version, marker) for name, version, marker in found]


def licence(name: str) -> str:
    """Return the licence of a package as an SPDX expression, from its own metadata.

    Raises
    ------
    SystemExit
        If it says none that is known here, or one that is not permissive and not copyleft by file.
    """
    try:
        about = metadata(name)
    except PackageNotFoundError:
        said = [ELSEWHERE.get(name, "")]
    else:
        kinds = [
            line.split("::")[-1].strip() for line in about.get_all("Classifier") or [] if "License ::" in line
        ]
        said = [str(about.get("License-Expression") or ""), str(about.get("License") or ""), *kinds]
    terms = PERMISSIVE | BY_FILE
    for text in said:
        expression = _WRITTEN.get(text.strip(), text.strip())
        if expression and set(re.findall(r"[\w.-]+", expression)) <= terms | {"AND", "OR", "WITH"}:
            return expression
    sys.exit(
        f"supply: {name} has the licence {said}; see what it asks of those who depend on it, and say it in supply.py."
    )


def needs(name: str) -> set[str]:
    """Return the packages that an installed package needs here, without its extras."""
    try:
        lines = metadata(name).get_all("Requires-Dist") or []
    except PackageNotFoundError:
        return set()
    parsed = map(Requirement, lines)
    return {
        canonicalize_name(each.name)
        for each in parsed
        if not each.marker or each.marker.evaluate({"extra": ""})
    }


def closure(names: Iterable[str]) -> set[str]:
    """Return packages and all that they need."""
    found: set[str] = set()
    waiting = set(names)
    while waiting:
        found |= waiting
        waiting = set().union(*map(needs, waiting)) - found
    return found


def sbom() -> str:
    """Return the bill of materials as JSON."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    direct = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    required, lines = closure(direct), locked()
    refs: dict[str, list[str]] = {}
    for line in lines:
        refs.setdefault(line.name, []).append(line.purl)

    def of(names: Iterable[str]) -> list[str]:
        return sorted(ref for name in names for ref in refs.get(name, ()))

    root = {
        "type": "application",
        "bom-ref": project["name"],
        "name": project["name"],
        "version": project["version"],
        "licenses": [{"expression": project["license"]}],
    }
    components = [
        {
            "type": "library",
            "bom-ref": line.purl,
            "name": line.name,
            "version": line.version,
            "purl": line.purl,
            "scope": "required" if line.name in required else "optional",
            "licenses": [{"expression": licence(line.name)}],
            **({"properties": [{"name": "python:marker", "value": line.marker}]} if line.marker else {}),
        }
        for line in lines
    ]
    graph = [{"ref": root["bom-ref"], "dependsOn": of(direct)}]
    graph += [{"ref": line.purl, "dependsOn": of(needs(line.name))} for line in lines]
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root},
        "components": components,
        "dependencies": graph,
    }
    return json.dumps(bill, indent=1) + "\n"


def licences(bill: str) -> str:
    """Return the table of licences of a bill of materials as Markdown."""
    components = json.loads(bill)["components"]
    rows = {
        (part["name"], part["licenses"][0]["expression"], part["scope"]): None
        for part in sorted(components, key=lambda part: part["name"])
    }
    copyleft = [name for name, terms, _ in rows if BY_FILE & set(re.findall(r"[\w.-]+", terms))]
    lines = [
        f"| {name} | {terms} | {'runs' if scope == 'required' else 'tests'} |" for name, terms, scope in rows
    ]
    return (
        f"""\
# Licences of the dependencies

Written by `make sbom` from `requirements.lock` and what the packages say of themselves. This package is under the MIT
licence and ships no code of its dependencies: pip fetches them from where they are published.

- Permissive licences (MIT, BSD, Apache-2.0, ISC, PSF, NCSA, Zlib and the like) ask who hands on the code to hand on the
  notice. Nothing follows for a package that depends on it.
- Copyleft by file (MPL-2.0): {", ".join(copyleft)}. Who changes a file of theirs and hands it on
  publishes that file; who imports them, under whatever licence, owes nothing. None is changed here.
- There is no dependency under GPL, LGPL or AGPL; `make sbom` stops at a licence that is none of the above. Wheels of
  numpy, scipy and others bring libraries of compilers along (libgfortran, GPL-3.0 with the GCC runtime exception),
  which by that exception ask nothing of programs that use them.
- Who hands on an environment or an image with all of this in it hands on these packages too, and their notices.

"runs" is what the package needs to run, "tests" what its tests, tools and optional parts add.

| package | licence | for |
|---|---|---|
"""
        + "\n".join(lines)
        + "\n"
    )


if __name__ == "__main__":
    made = sbom()
    SBOM.write_text(made, encoding="utf-8")
    LICENCES.write_text(licences(made), encoding="utf-8")
