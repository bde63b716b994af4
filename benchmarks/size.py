"""How large the package is: python benchmarks/size.py, or make size.

Lines of code without docstrings, comments and blanks; imports from one file of the package to another, also inside
functions and for type checkers; circles of such imports, but for those that the contract "circles" in pyproject.toml
names; and the files in which a second, warm answer runs a function.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
import tomllib
from collections import Counter
from pathlib import Path

import grimp
import numpy as np
import pandas as pd

from study import Panel, Question, estimate

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "study"
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def code_lines(source: str) -> int:
    """Count the lines of a module that hold code."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None
        for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    }
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {
        n for token in tokens if token.type not in NO_CODE for n in range(token.start[0], token.end[0] + 1)
    }
    return len(lines - docstrings)


def room(path: Path) -> str:
    """Name the room that a file is in."""
    first, *rest = path.relative_to(PACKAGE).parts
    return first if rest else "the face"


def allowed() -> set[tuple[str, str]]:
    """Return the upward imports inside methods that the contract names."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    circles = next(contract for contract in contracts if contract["id"] == "circles")
    return {tuple(line.split(" -> ")) for line in circles["ignore_imports"]}


def behind_doors() -> int:
    """Count the files that the doors of rooms, their ``__init__.pyi``, offer names of."""
    stubs = (ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.pyi"))
    return sum(len({node.module for node in stub.body if isinstance(node, ast.ImportFrom)}) for stub in stubs)


def circles(graph: grimp.ImportGraph) -> list[list[str]]:
    """Return the sets of files that import one another in circles."""
    for importer, imported in allowed():
        graph.remove_import(importer=importer, imported=imported)
    reach = {m: graph.find_upstream_modules(m) for m in graph.modules}
    sets = {frozenset([m, *(other for other in reach[m] if m in reach[other])]) for m in graph.modules}
    return [sorted(found) for found in sets if len(found) > 1]


def files_run() -> set[str]:
    """Return the files of the package in which a second answer runs a function."""
    rng = np.random.default_rng(0)
    rows = [(u, t, rng.normal(), 5 if u < 20 else 0) for u in range(60) for t in range(1, 9)]
    table = pd.DataFrame(rows, columns=["unit", "period", "y", "first"])

    def answer() -> None:
        panel = Panel.from_long(table, unit="unit", time="period", outcomes=["y"], first_treated="first")
        estimate(panel, Question("y", "first"), "callaway_santanna").headline.tidy()

    run: set[str] = set()

    def note(frame, event, _):  # type: ignore[no-untyped-def]
        if event == "call" and frame.f_code.co_filename.startswith(str(PACKAGE)):
            run.add(frame.f_code.co_filename)

    answer()
    sys.setprofile(note)
    answer()
    sys.setprofile(None)
    return run


def main() -> None:
    """Print the sizes."""
    by_room: Counter[str] = Counter()
    files: Counter[str] = Counter()
    for path in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi")]:
        by_room[room(path)] += code_lines(path.read_text(encoding="utf-8"))
        files[room(path)] += 1
    for name, lines in by_room.most_common():
        print(f"{name:<15}{lines:>7,} lines of code in {files[name]:>3} files")
    graph = grimp.build_graph("study", cache_dir=None)
    print(f"{'study/':<15}{by_room.total():>7,} lines of code in {files.total():>3} files")
    print(f"{graph.count_imports() + behind_doors():,} imports from one file to another")
    found = circles(graph)
    print(
        f"{len(found)} circles of imports but for {len(allowed())} inside methods",
        *map(" ".join, found),
        sep="\n  ",
    )
    print(f"{len(files_run())} files run by a second answer of callaway_santanna")


if __name__ == "__main__":
    main()
