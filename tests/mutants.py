"""Change one thing in the code and see whether a test notices: ``make mutants``.

The things are those of mutmut (an operator, a number, an argument, a keyword, a key), in core, estimates, inference and
the designs, but for the wording of sentences and strict= of zip; a sample of them is drawn by ``--seed``. A mutant is
tried on tests that ran its line, those named after its file first and short ones before long ones, for as many seconds
as ``--seconds``.
Results go into ``tests/MUTANTS.md`` with the reasons of survivors, which ``tests/survivors.toml`` has, by hand.

    python tests/mutants.py --sample 1000 --seed 1
    python tests/mutants.py --survivors                   # tries again those of the last run, after new tests
    python tests/mutants.py --files study/designs/etwfe.py

The second tells in the record which are killed now; the last writes none. The map from lines to tests, half an hour of
one core, is kept in ``build/mutants`` until a test or a source file is newer; ``--keep-map`` uses an older one, with
every test of newer test files. A run that was interrupted goes on where it was, as long as no file has changed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import math
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import date
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RECORD, REASONS = ROOT / "tests" / "MUTANTS.md", ROOT / "tests" / "survivors.toml"
SCRATCH = ROOT / "build" / "mutants"
MAP, TIMES, RESULTS = SCRATCH / "covered.sqlite", SCRATCH / "seconds.json", SCRATCH / "results.jsonl"
ROOMS = ("core", "estimates", "inference", "designs")
ASKED = 0.9  # of the mutants
MOST_TESTS, FIRST = 400, 20  # tests of a mutant, and those that are collected before the others
MOST_MEMORY = 12 << 30  # of a process and its libraries' mappings
# Loaded once, before the copies of a process that each try one mutant.
LIBRARIES = ("pandas", "scipy.stats", "sklearn.linear_model", "lightgbm", "doubleml", "statsmodels.api", "linearmodels",
             "matplotlib.figure", "pyarrow", "duckdb", "ibis", "joblib", "pydantic", "rich.progress", "typer", "pytest",
             "hypothesis", "polars")  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: in which file and line, and what the changed lines were and become."""

    file: str
    line: int
    place: int  # among the mutants of its file
    before: str
    after: str
    state: str = ""

    @property
    def lives(self) -> bool:
        """Whether no test noticed it."""
        return self.state not in ("killed", "hangs")

    @property
    def key(self) -> tuple[str, str, str]:
        """What a reason is given for; lines move."""
        return self.file, self.before, self.after


def sources() -> list[Path]:
    """Files of the rooms."""
    return sorted(path for room in ROOMS for path in (ROOT / "study" / room).rglob("*.py"))


class Source:
    """A file and what mutmut would change in it."""

    def __init__(self, path: Path) -> None:
        import libcst
        from libcst.metadata import MetadataWrapper, PositionProvider
        from mutmut.mutation.file_mutation import Mutation, MutationVisitor
        from mutmut.mutation.mutators import mutation_operators
        from mutmut.mutation.pragma_handling import IgnoredCode

        found: list[tuple[int, Mutation]] = []
        code = libcst.Module([]).code_for_node

        def is_strict(node: libcst.CSTNode) -> bool:
            """Whether a node is strict= of zip, which no input needs as long as the code is right."""
            return (
                isinstance(node, libcst.Arg) and node.keyword is not None and node.keyword.value == "strict"
            )

        class Visitor(MutationVisitor):
            """Goes into decorated functions too, which mutmut cannot run in its own way, and tells lines."""

            def _skip_node_and_children(self, node: libcst.CSTNode) -> bool:
                if isinstance(node, libcst.FunctionDef) or is_strict(node):
                    return is_strict(node)
                return super()._skip_node_and_children(node)

            def _removes_ignored_code(self, node: libcst.CSTNode, mutated: libcst.CSTNode) -> bool:
                return (
                    isinstance(node, libcst.Call)
                    and len(
                        {
                            code(call.with_changes(args=[each for each in call.args if not is_strict(each)]))
                            for call in (node, mutated)
                        }
                    )
                    == 1
                )

            def _create_mutations(self, node: libcst.CSTNode) -> None:
                if isinstance(node, libcst.BaseString) and " " in code(node):
                    return
                super()._create_mutations(node)
                line = self.get_metadata(PositionProvider, node).start.line if self.mutations else 0
                found.extend((line, mutation) for mutation in self.mutations)
                self.mutations.clear()

        self.name, self.text = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        wrapper = MetadataWrapper(libcst.parse_module(self.text))
        wrapper.visit(Visitor(mutation_operators, IgnoredCode(set(), set(), set())))
        self.module, self.found = wrapper.module, found

    def mutant(self, place: int) -> tuple[Mutant, str]:
        """The mutant at a place, and the whole text with it."""
        line, mutation = self.found[place]
        changed = self.module.deep_replace(mutation.original_node, mutation.mutated_node).code
        return Mutant(self.name, line, place, *differing(self.text, changed)), changed


def differing(text: str, changed: str) -> tuple[str, str]:
    """The lines of two texts between those that they share at start and end, joined."""
    old, new = text.splitlines(), changed.splitlines()
    start = next((k for k, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), 0)
    shared = min(len(old), len(new)) - start
    end = next((k for k in range(shared) if old[-1 - k] != new[-1 - k]), shared)
    first, second = (
        " ".join(line.strip() for line in lines[start : len(lines) - end]) for lines in (old, new)
    )
    return first, second


def draw_map() -> None:
    """Run all tests once and note which ran which line, and how long each took."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    print("mutants: which test runs which line (about 15 minutes on two cores)", flush=True)
    rooms = [f"--cov=study/{room}" for room in ROOMS]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "--numprocesses", "auto", "--dist", "loadfile", *rooms, "--cov-context=test",
         "--cov-report=", "-p", "mutants"],
        cwd=ROOT, env=os.environ | {"COVERAGE_FILE": str(MAP), "MUTANTS_SECONDS": str(TIMES)},
    )  # fmt: skip
    if ended.returncode > 1:
        sys.exit(f"mutants: pytest ended with {ended.returncode}; run make test first.")


SECONDS: dict[str, float] = defaultdict(float)


def pytest_runtest_logreport(report: Any) -> None:
    """As a plugin: how long a test takes, with its fixtures; one that fails without any change tells nothing."""
    SECONDS[report.nodeid] += report.duration if report.passed or report.skipped else math.inf


def pytest_sessionfinish(session: Any) -> None:
    """As a plugin: keep how long the tests took."""
    if "MUTANTS_SECONDS" in os.environ and not hasattr(session.config, "workerinput"):
        Path(os.environ["MUTANTS_SECONDS"]).write_text(json.dumps(SECONDS), encoding="utf-8")


@dataclass(frozen=True)
class Tests:
    """Which tests ran the lines of a file, and how long each test takes."""

    ran: dict[str, dict[int, set[str]]]
    seconds: dict[str, float]
    newer: tuple[str, ...]  # test files that are newer than the map

    @classmethod
    def read(cls, keep: bool) -> Tests:
        """Read the map; draw it first if it is missing, or older than a file and not to be kept."""
        files = [*sources(), *(ROOT / "tests").rglob("test_*.py")]
        drawn = MAP.stat().st_mtime if MAP.is_file() else 0.0
        newer = [path for path in files if path.stat().st_mtime > drawn]
        if not drawn or (newer and not keep):
            draw_map()
            newer = []
        from coverage import CoverageData

        data = CoverageData(str(MAP))
        data.read()
        ran = {
            str(Path(file).relative_to(ROOT)): {
                line: set(tests) - {""} for line, tests in data.contexts_by_lineno(file).items()
            }
            for file in data.measured_files()
        }
        recent = tuple(str(path.relative_to(ROOT)) for path in newer if path.name.startswith("test_"))
        return cls(ran, json.loads(TIMES.read_text(encoding="utf-8")), recent)

    def of(self, mutant: Mutant, seconds: float) -> list[str]:
        """Tests to try a mutant on, best first, which take no longer than ``seconds`` together."""
        lines = self.ran.get(mutant.file, {})
        contexts = lines.get(mutant.line) or set().union(*lines.values())
        # A fixture of a module is run by its first test alone, and every test there may look at what it made.
        files = {context.split("::")[0] for context in contexts if context.endswith("|setup")}
        tests = {context.rsplit("|", 1)[0] for context in contexts}
        tests |= {test for test in self.seconds if test.split("::")[0] in files}
        stem = Path(mutant.file).stem

        def rank(test: str) -> tuple[bool, bool, bool, float]:
            """Tests of the file's name, of a case of that name, of its room, then the shortest."""
            file = test.split("::")[0]
            room = Path(file).parts[1] == Path(mutant.file).parts[1]
            return stem not in Path(file).stem, stem not in test, not room, self.seconds.get(test, 0.0)

        chosen, total = list(self.newer), 0.0
        for test in sorted(tests, key=rank):
            if test in self.seconds and total + self.seconds[test] <= seconds and len(chosen) < MOST_TESTS:
                chosen.append(test)
                total += self.seconds[test]
        return chosen


def answer(tests: list[str], limit: float) -> int | None:
    """Pytest's exit code in a copy of this process, or None after ``limit`` seconds."""
    child = os.fork()
    if not child:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        sys.dont_write_bytecode = True
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
        import pytest

        code = 3
        with contextlib.suppress(BaseException):
            code = int(pytest.main(["-x", "--numprocesses", "0", "-p", "no:cacheprovider", *tests]))
        os._exit(code)
    end = time.monotonic() + limit
    try:
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)


def begin(folders: Any, seconds: float) -> None:
    """Prepare a process that tries mutants: its own copy of the checkout, and the libraries."""
    global TESTS, BUDGET
    folder = folders.get()
    os.chdir(folder)
    sys.path[:0] = [folder, str(Path(folder) / "tests")]
    os.environ.update(PYTHONPATH=folder, PYTHONDONTWRITEBYTECODE="mutants", OMP_NUM_THREADS="1")
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    TESTS, BUDGET = Tests.read(keep=True), seconds
    shortest = sorted(TESTS.seconds, key=TESTS.seconds.__getitem__)[:20]
    if (code := answer([*TESTS.newer, *shortest], 600)) != 0:
        raise RuntimeError(
            f"mutants: tests fail without any change (pytest ends with {code}); run make test first."
        )


def tried(pair: tuple[Mutant, str]) -> Mutant:
    """Say whether the tests notice a mutant, in the copy of the checkout where this process is."""
    mutant, changed = pair
    tests = TESTS.of(mutant, BUDGET)
    if not tests:
        return Mutant(**asdict(mutant) | {"state": "no test"})
    path = Path(mutant.file)
    original = path.read_text(encoding="utf-8")
    limit = 4 * BUDGET + 60
    try:
        path.write_text(changed, encoding="utf-8")
        for batch in filter(None, (tests[:FIRST], tests[FIRST:])):
            if (code := answer(batch, limit)) != 0:
                break
    finally:
        path.write_text(original, encoding="utf-8")
    # Tests that cannot be found, or do not end, tell nothing unless they are well without the change.
    if code not in (0, 1, 2, 3) and answer(batch, limit) != 0:
        return Mutant(**asdict(mutant) | {"state": "undecided"})
    return Mutant(**asdict(mutant) | {"state": "survived" if code == 0 else "killed" if code else "hangs"})


def try_all(mutants: list[tuple[Mutant, str]], options: argparse.Namespace, log: Path) -> list[Mutant]:
    """Try each mutant but those in the log, note each there, and print survivors as they are found."""
    done = logged(log)
    known = {(mutant.file, mutant.place) for mutant in done}
    mutants = [pair for pair in mutants if (pair[0].file, pair[0].place) not in known]
    context = get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        folders = context.Queue()
        for k in range(options.jobs):
            folder = Path(scratch) / f"{k}" / "main"
            subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, folder], check=True)
            changed = subprocess.run(["git", "ls-files", "--modified", "--others", "--exclude-standard"], cwd=ROOT,
                                     capture_output=True, text=True, check=True).stdout.split()  # fmt: skip
            for name in changed:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
            if (ROOT.parent / "shared").exists():
                (folder.parent / "shared").symlink_to((ROOT.parent / "shared").resolve())
            subprocess.run(
                [sys.executable, "-m", "compileall", "-q", "study", "tests"], cwd=folder, check=True
            )
            folders.put(str(folder))
        with (
            ProcessPoolExecutor(options.jobs, context, begin, (folders, options.seconds)) as pool,
            log.open("a", encoding="utf-8") as noted,
        ):
            for future in as_completed([pool.submit(tried, pair) for pair in mutants]):
                result = future.result()
                done.append(result)
                print(json.dumps(asdict(result)), file=noted, flush=True)
                if result.lives:
                    print(
                        f"{result.state} {result.file}:{result.line}\n  - {result.before}\n  + {result.after}"
                    )
                lived = sum(each.lives for each in done)
                print(f"mutants: {len(done)} of {len(mutants) + len(known)} tried, {lived} live", flush=True)
    return sorted(done, key=lambda mutant: (mutant.file, mutant.line, mutant.place))


def log_of(places: list[tuple[Source, int]], options: argparse.Namespace) -> Path:
    """The log of a run, begun anew unless files and options are those that it was begun with."""
    digest = hashlib.sha256(repr((options.seed, options.seconds, [place for _, place in places])).encode())
    for path in [*sources(), *sorted((ROOT / "tests").rglob("*.py"))]:
        digest.update(path.read_bytes())
    log = SCRATCH / "again.jsonl" if options.survivors or options.files else RESULTS
    begun = f"{digest.hexdigest()} {options.seed} {options.seconds:g}\n"
    if not log.is_file() or not log.read_text(encoding="utf-8").startswith(begun):
        log.write_text(begun, encoding="utf-8")
    return log


def logged(log: Path) -> list[Mutant]:
    """The mutants in a log."""
    return [Mutant(**json.loads(line)) for line in log.read_text(encoding="utf-8").splitlines()[1:]]


def room(file: str) -> str:
    """Which room a file of the package is in."""
    return Path(file).parts[1]


def of_before(read: list[Source]) -> Iterator[tuple[Source, int]]:
    """The survivors of the last sample, wherever their lines are now."""
    lived = [mutant for mutant in logged(RESULTS) if mutant.lives]
    keys = {mutant.key for mutant in lived}
    for source in read:
        lines = source.text.splitlines()
        befores = [mutant.before for mutant in lived if mutant.file == source.name]
        for place, (line, _) in enumerate(source.found):
            here = lines[line - 1].strip()
            if (
                any(here in before or before in here for before in befores)
                and source.mutant(place)[0].key in keys
            ):
                yield source, place


def record(done: list[Mutant], lived: list[Mutant], read: list[Source]) -> str:
    """What is written of a sample, and of those in it that live, also with the tests that were written since."""
    from statsmodels.stats.proportion import proportion_confint

    _, seed, seconds = RESULTS.read_text(encoding="utf-8").splitlines()[0].split()
    of_room: dict[str, int] = defaultdict(int)
    tried_of: dict[str, list[bool]] = defaultdict(list)
    for source in read:
        of_room[room(source.name)] += len(source.found)
    for mutant in done:
        tried_of[room(mutant.file)].append(not mutant.lives)
    killed = sum(map(sum, tried_of.values()))
    low, high = proportion_confint(killed, len(done), method="wilson")
    rows = "".join(
        f"| {name} | {of_room[name]:,} | {len(tried_of[name]):,} | {sum(tried_of[name]):,} |"
        f" {100 * sum(tried_of[name]) / max(len(tried_of[name]), 1):.1f} |\n"
        for name in ROOMS
    )
    given = reasons()
    first = sum(mutant.lives for mutant in done)
    listed = "".join(
        f"\n### `{file}`\n\n"
        + "".join(
            f"- line {each.line}: `{each.before}` becomes `{each.after}`. {given.get(each.key, '**No reason.**')}\n"
            for each in mutants
        )
        for file, mutants in groupby(lived, key=lambda mutant: mutant.file)
    )
    hang = sum(mutant.state == "hangs" for mutant in done)
    return f"""\
# Mutants

Written by `make mutants` (tests/mutants.py) on {date.today()}: {len(done):,} of {sum(of_room.values()):,}
mutants, drawn at random (seed {seed}), each tried on up to {seconds} seconds of the tests that run its line.
**{100 * killed / len(done):.1f}% were killed** (95% interval {100 * low:.1f} to {100 * high:.1f}; at least
{100 * ASKED:g}% is asked), {hang} of them since a test did not end. Of the {first} that lived,
{first - len(lived)} are killed by tests written since, or their line is gone; the others are below, with reasons.

| room | mutants | tried | killed | % |
|---|---|---|---|---|
{rows}
## Survivors
{listed}"""


def reasons() -> dict[tuple[str, str, str], str]:
    """Why a mutant may live, by file and change."""
    given = tomllib.loads(REASONS.read_text(encoding="utf-8")) if REASONS.is_file() else {}
    return {
        (each["file"], each["before"], each["after"]): each["reason"] for each in given.get("survivor", ())
    }


def main() -> int:
    """Draw, try and record; return 1 if too few are killed or a survivor has no reason."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=1000, help="how many mutants (default: 1000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30, help="of tests for a mutant (default: 30)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--files", nargs="+", help="a sample of these files alone, without a record")
    parser.add_argument(
        "--survivors", action="store_true", help="those of the last sample alone, after new tests"
    )
    parser.add_argument("--keep-map", action="store_true", help="though a file is newer")
    options = parser.parse_args()
    read = [
        Source(path)
        for path in sources()
        if not options.files or str(path.relative_to(ROOT)) in options.files
    ]
    if options.survivors:
        places = list(of_before(read))
    else:
        places = [(source, place) for source in read for place in range(len(source.found))]
        places = random.Random(options.seed).sample(places, min(options.sample, len(places)))
    Tests.read(options.keep_map)
    mutants = [source.mutant(place) for source, place in places]
    done = try_all(mutants, options, log_of(places, options))
    lived = [mutant for mutant in done if mutant.lives]
    unexplained = [mutant for mutant in lived if mutant.key not in reasons()]
    print(f"mutants: {len(done) - len(lived)} of {len(done)} killed, {len(unexplained)} without a reason")
    if options.files:
        return int(bool(unexplained))
    sample = logged(RESULTS)
    RECORD.write_text(record(sample, lived, read), encoding="utf-8")
    return int(bool(unexplained) or sum(mutant.lives for mutant in sample) > (1 - ASKED) * len(sample))


if __name__ == "__main__":
    sys.exit(main())
