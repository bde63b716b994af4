"""Faults put into commands that write: kills, disks full or read-only, wrong clocks, other writers, bad caches.

``python tests/faults.py`` puts in all of them, counts them and names each after which something was not as it should
be: outputs as they were or as they would be (what a reader of the folder sees), nothing half-written, and the next run
right, without litter. ``--sample`` puts in a few of each kind.

A command runs in a process of its own until it first writes; from there it is forked anew for every fault, which an
audit hook puts in: at the n-th time that a file is opened for writing, renamed, removed or made, the process is killed,
or the system says no. What is written by then is cut at a number of bytes by a limit of the system.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), *(str(ROOT / "tests" / name) for name in ("", "data"))]

from command_line import command  # noqa: E402
from plans import PANEL, PLAN  # noqa: E402

from study.core import settle  # noqa: E402
from study.figures import drawing  # noqa: E402

# The same plan with fewer files.
ONE_SCALE = PLAN.replace('proportional = "Share"\n', "")
LITTER = (".writing-", ".written-")
PATIENCE = 300
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
NO = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO, errno.EDQUOT)
Fault = dict[str, Any]
State = dict[str, bytes]


class Faults:
    """What was put in, by kind, and what was found to be wrong."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []

    def check(self, kind: str, what: str, *found: str | None) -> None:
        """Count a fault and note what was found to be wrong after it."""
        self.counts[kind] += 1
        self.wrong += [f"{kind}, {what}: {each}" for each in found if each]


def state(*folders: Path) -> State:
    """Return the files of folders with their contents."""
    paths = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in paths}


def litter(*folders: Path) -> str | None:
    left = [str(path) for folder in folders for path in folder.rglob("*") if path.name.startswith(LITTER)]
    return f"litter is left: {left[:3]}" if left else None


def restore(folder: Path, files: State) -> None:
    """Make a folder what it was."""
    for path in folder.rglob("*"):
        if path.is_file() and str(path) not in files:
            path.unlink()
    for name, content in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def forked(work: Callable[[], int], patience: float = PATIENCE) -> int:
    """Do something in a process of its own; return how that ended, by its code or by minus a signal."""
    pid = os.fork()
    if pid == 0:
        code = 99
        with suppress(BaseException):
            try:
                code = work()
            except BaseException:
                traceback.print_exc()
        os._exit(code)
    until = time.monotonic() + patience
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -1000


class Hook:
    """Hears of what is written below some folders, and answers with a fault."""

    def __init__(self, folders: list[Path]) -> None:
        self.folders = tuple(map(os.path.realpath, folders))
        self.fault: Fault = {}
        self.heard = 0
        self.first: Callable[[], None] | None = None
        self.on = True
        sys.addaudithook(self)

    def __call__(self, event: str, given: tuple[Any, ...]) -> None:
        if not self.on or event not in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"):
            return
        if event == "open" and not (isinstance(given[2], int) and given[2] & WRITING):
            return
        if not isinstance(given[0], str | bytes | Path):
            return
        path = os.path.abspath(os.fsdecode(given[0]))
        if not path.startswith(self.folders):
            return
        if self.first is not None:
            first, self.first = self.first, None
            first()
        self.heard += 1
        if self.heard == self.fault.get("at"):
            if "errno" in self.fault:
                number = self.fault["errno"]
                raise OSError(number, os.strerror(number), path)
            os.kill(os.getpid(), signal.SIGKILL)


def put_in(hook: Hook, fault: Fault) -> None:
    """Prepare this process for a fault."""
    hook.fault, hook.heard = fault, 0
    if "bytes" in fault:
        # Writing beyond so many bytes of a file kills, or is refused, as on a disk that is full.
        kills = fault.get("kills", True)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if kills else signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault["bytes"], resource.RLIM_INFINITY))
    if "clock" in fault:
        now = time.time
        time.time = lambda: now() + fault["clock"]


class Command:
    """A command that has come to where it first writes into its folders, as often as it is asked for."""

    def __init__(self, given: list[object], cwd: Path, folders: list[Path], said: Path) -> None:
        self.given, self.cwd, self.folders, self.said = given, cwd, folders, said
        ours, self._ask = os.pipe()
        self._answers, theirs = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._ask)
            os.close(self._answers)
            self._wait(ours, theirs)
        os.close(ours)
        os.close(theirs)

    def _wait(self, asked: int, answers: int) -> None:
        """Come to where it writes, and go on from there in a process for each fault that is asked for."""
        hook = Hook(self.folders)

        def here() -> None:
            hook.on = False
            with os.fdopen(asked) as lines, os.fdopen(answers, "w") as back:
                for line in lines:
                    pid = os.fork()
                    if pid == 0:
                        put_in(hook, json.loads(line))
                        hook.on = True
                        return  # and go on
                    _, status = os.waitpid(pid, 0)
                    back.write(f"{os.waitstatus_to_exitcode(status)}\n")
                    back.flush()
            os._exit(0)

        hook.first = here
        try:
            done = command(*self.given, cwd=self.cwd)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            self.said.write_text(done.stderr + f"\nheard {hook.heard}")
            code = done.returncode
        except BaseException:
            self.said.write_text(traceback.format_exc())
            code = 99
        os._exit(code)

    def run(self, **fault: Any) -> int:
        """Go on to the end with a fault; return how that ended."""
        self.said.unlink(missing_ok=True)
        os.write(self._ask, json.dumps(fault).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            part = os.read(self._answers, 1)
            if not part:
                raise RuntimeError(f"the command ended: {self.said.read_text()}")
            answer += part
        return int(answer)

    def close(self) -> None:
        """End it."""
        os.kill(self.pid, signal.SIGKILL)  # other commands may have its pipes, too
        os.close(self._ask)
        os.close(self._answers)
        os.waitpid(self.pid, 0)

    @property
    def heard(self) -> int:
        """How often it wrote in its last run."""
        return int(self.said.read_text().rsplit("heard ", 1)[1])

    @property
    def lines(self) -> list[str]:
        """What it said in its last run on its error stream."""
        text = self.said.read_text().rsplit("\nheard", 1)[0]
        return [line for line in text.splitlines() if line and "\u2501" not in line]


def told(code: int, lines: list[str]) -> str | None:
    """Say what is wrong with how a command said that it cannot write."""
    if code == 2 and len(lines) == 1 and lines[0].startswith("study: "):
        return None
    return f"code {code}, {lines}"


def between(start: State, seen: State, end: State, together: bool) -> str | None:
    """Say what is wrong with a state: files that are neither as they were nor as they will be, or some of each."""
    for name in {*start, *seen, *end}:
        if seen.get(name) not in (start.get(name), end.get(name)):
            return f"{name} is neither as it was nor as it should be"
    if together and seen not in (start, end):
        return f"{sum(seen.get(name) != start.get(name) for name in seen)} of {len(end)} files changed"
    return None


def of_command(
    faults: Faults, name: str, given: list[object], home: Path, folders: list[Path], sample: bool
) -> None:
    """Put faults into a command while it writes: with files there from before, and with none."""
    made = Command(given, home, folders, home / "said")
    together = len(folders) == 1

    def files() -> State:
        return state(*(folder for folder in folders if folder.is_dir()))

    def clear() -> None:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

    clear()
    if made.run() != 0:
        raise RuntimeError(f"{name}: {made.lines}")
    end, steps = files(), made.heard
    old = {path: b"old " + path.encode() for path in end}
    sizes = sorted({len(content) for content in end.values()})
    points: list[Fault] = [{"at": n} for n in range(1, steps + 1)]
    points += [{"bytes": size // 2} for size in sizes[::2]] + [{"bytes": 0}, {"bytes": sizes[-1] - 1}]
    refusals: list[Fault] = [{"at": n, "errno": NO[n % len(NO)]} for n in range(1, steps + 1, 3)]
    refusals += [{"bytes": size // 2, "kills": False} for size in sizes[::3]]
    if sample:
        points, refusals = points[:: max(1, len(points) // 3)], refusals[:: max(1, len(refusals) // 2)]
    for n, fault in enumerate([*points, *refusals]):
        clear()
        start = old if n % 3 else {}
        restore(folders[0], start)
        code = made.run(**fault)
        kills = "errno" not in fault and fault.get("kills", True)
        raw = files()
        hidden = {path: c for path, c in raw.items() if Path(path).name.startswith(LITTER)}
        visible = {path: content for path, content in raw.items() if path not in hidden}
        found = [between(start, visible, end, together=False)]
        if kills:
            # Some limits of bytes are beyond what is written.
            found.append(None if code in (-signal.SIGKILL, -signal.SIGXFSZ, 0) else f"code {code}")
        elif code:
            found += [told(code, made.lines), None if fault.get("at") else litter(*folders)]
        for folder in folders:
            settle(folder)
        found.append(between(start, files(), end, together))
        found.append(None if code else between(end, files(), end, together=True))
        found.append(f"the next run ended with {again}" if (again := made.run()) else None)
        found.append(None if files() == end else "the next run is not right")
        found.append(litter(*folders))
        kind = "kill" if kills else "refusal"
        faults.check(f"{kind}, study {name}", f"{fault}", *found)
    made.close()


@contextmanager
def small_disk(size: str) -> Iterator[Path | None]:
    """Mount a small disk of its own, where that is allowed."""
    folder = Path(tempfile.mkdtemp(prefix="study-disk-"))
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True)
    try:
        yield folder if done.returncode == 0 else None
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


class Study:
    """A plan of one's own in a folder, what a run of it writes, and a cache in which its answers are."""

    def __init__(self, home: Path, plan: str) -> None:
        self.home, self.cache, self.out = home, home / "cache", home / "out"
        (home / "study.toml").write_text(plan)
        (home / "other.toml").write_text(plan.replace("level = 0.9", "level = 0.8"))
        self.end: dict[str, State] = {}
        for plan in ("other.toml", "study.toml"):
            code, lines = self.run(plan=plan)
            if code:
                raise RuntimeError(str(lines))
            self.end[plan] = self.written()
        self.answers = state(self.cache)

    def given(
        self, plan: str = "study.toml", cache: Path | None = None, out: Path | None = None
    ) -> list[object]:
        """Return how the command is typed."""
        kept = ["--cache", cache or self.cache, "--output", out or self.out, "--jobs", 1]
        return ["run", "--plan", plan, *kept]

    def run(self, **where: Any) -> tuple[int, list[str]]:
        """Run it in a process of its own; return its code and what it said on its error stream."""
        fault = where.pop("fault", {})
        watched = where.pop("watched", [self.home / "nothing"])
        said = self.home / "run-said"
        said.unlink(missing_ok=True)

        def work() -> int:
            put_in(Hook(watched), fault)
            # What is logged goes to the error stream of the process.
            with said.open("w") as stream:
                os.dup2(stream.fileno(), 2)
                sys.stderr = os.fdopen(2, "w", closefd=False)
                done = command(*self.given(**where), cwd=self.home)
                print(done.stderr, file=sys.stderr, flush=True)
            return done.returncode

        code = forked(work)
        lines = said.read_text().splitlines() if said.exists() else []
        return code, [line for line in lines if line.strip() and "\u2501" not in line and "left:" not in line]

    def written(self, out: Path | None = None) -> State:
        """Return what is in the folder of outputs, by names in it."""
        folder = out or self.out
        return {str(Path(name).relative_to(folder)): content for name, content in state(folder).items()}

    def right(self, out: Path | None = None, plan: str = "study.toml") -> str | None:
        """Say whether the outputs are not those of a run of the plan."""
        return None if self.written(out) == self.end[plan] else "the outputs are not right"


def of_caches(faults: Faults, study: Study, sample: bool, seed: int = 1) -> None:
    """Corrupt what is kept, and put faults into keeping it."""
    chance = random.Random(seed)
    spoil: dict[str, Callable[[Path], object]] = {
        "empty": lambda path: path.write_bytes(b""),
        "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        "a bit": lambda path: path.write_bytes(flipped(path.read_bytes(), chance)),
        "noise": lambda path: path.write_bytes(chance.randbytes(1000)),
        "another's": lambda path: path.write_bytes(chance.choice([*study.answers.values()])),
        "a folder": lambda path: (path.unlink(), path.mkdir()),
        "a link": lambda path: (path.unlink(), path.symlink_to("nowhere")),
        "litter": lambda path: (path.parent / f".writing-{chance.randbytes(8).hex()}").write_bytes(b"half"),
    }
    answers = sorted(study.cache.rglob("*.answer"))
    for name, spoiled in [*spoil.items()][:: 3 if sample else 1] * (1 if sample else 3):
        fresh(study)
        answers = sorted(study.cache.rglob("*.answer"))
        for path in chance.sample(answers, min(3, len(answers))):
            if path.is_file():
                spoiled(path)
        code, lines = study.run()
        found = [f"code {code}, {lines}" if code else None, study.right(), litter(study.cache, study.out)]
        faults.check("corrupted cache", name, *found)
    # Kills and refusals while answers are kept.
    steps = range(5, 6 if sample else 160, 8)
    for n in steps:
        for number in (None, NO[n % len(NO)]):
            fresh(study, empty=True)
            fault: Fault = {"at": n} if number is None else {"at": n, "errno": number}
            code, lines = study.run(fault=fault, watched=[study.cache])
            found = []
            if number is not None:
                found = [f"code {code}, {lines}" if code or len(lines) > 1 else None, study.right()]
                found.append(litter(study.cache))
            elif code not in (-signal.SIGKILL, 0):
                found = [f"code {code}, {lines}"]
            again, lines = study.run()
            found += [f"next: {again}, {lines}" if again or lines else None, study.right()]
            found.append(litter(study.cache, study.out))
            faults.check("kill, cache" if number is None else "refusal, cache", str(fault), *found)


def flipped(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << chance.randrange(8))]) + content[at + 1 :]


def fresh(study: Study, empty: bool = False) -> None:
    """Make the folder of outputs empty, and the cache what it was, or empty."""
    shutil.rmtree(study.out, ignore_errors=True)
    shutil.rmtree(study.cache, ignore_errors=True)
    if not empty:
        restore(study.cache, study.answers)


def of_disks(faults: Faults, study: Study, sample: bool) -> None:
    """Let disks be full or read-only: of outputs, and of the cache."""
    total = sum(map(len, study.end["study.toml"].values())) // 1024
    fresh(study, empty=True)
    study.run()
    answers = state(study.cache)
    kept = sum(map(len, answers.values())) // 1024
    parts = 1 if sample else 6
    for part in range(parts):
        with small_disk(f"{max(8, total * part // parts)}k") as disk:
            if disk is None:
                print("no disk can be mounted: its faults are those of limits of the system alone")
                return
            fresh(study)
            code, lines = study.run(out=disk / "out")
            faults.check("full disk", f"outputs, {part}", told(code, lines), litter(disk), empty(disk))
        with small_disk(f"{max(8, kept * part // parts)}k") as disk:
            fresh(study)
            code, lines = study.run(cache=disk / "cache")
            once = None if code == 0 and len(lines) == 1 and "not kept" in lines[0] else f"{code}, {lines}"
            if (code, lines) == (0, []) and len(state(disk)) == len(answers):
                once = None  # there was room for all
            faults.check("full disk", f"cache, {part}", once, study.right(), litter(disk))
    for again in range(1 if sample else 3):
        with small_disk("20m") as disk:
            (disk / "out").mkdir()
            (disk / "out" / "estimates.csv").write_text("old")
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            fresh(study)
            code, lines = study.run(out=disk / "out")
            same = None if study.written(disk / "out") == {"estimates.csv": b"old"} else "files changed"
            faults.check("read-only", f"outputs, {again}", told(code, lines), litter(disk), same)
            code, lines = study.run(cache=disk / "cache")
            once = None if code == 0 and len(lines) == 1 and "not kept" in lines[0] else f"{code}, {lines}"
            faults.check("read-only", f"cache, {again}", once, study.right(), litter(disk))


def empty(folder: Path) -> str | None:
    return f"files are left: {[*state(folder)][:3]}" if state(folder) else None


def of_clocks(faults: Faults, study: Study, sample: bool) -> None:
    """Let the clock be years off, with files that come from the future or from long ago."""
    for years in (-40, -1, 1, 40)[:: 3 if sample else 1]:
        for at in (0.0, 4e9)[: 1 if sample else 2]:
            fresh(study)
            restore(study.out, {})
            study.out.mkdir(exist_ok=True)
            for folder in (study.out, study.cache):
                left = folder / f".writing-{os.urandom(8).hex()}"
                left.write_bytes(b"half")
                for path in (left, *folder.rglob("*.answer")):
                    os.utime(path, (at, at))
            code, lines = study.run(fault={"clock": years * 3.15e7})
            found = [f"code {code}, {lines}" if code or lines else None, study.right()]
            faults.check("clock", f"{years} years, files of {at}", *found, litter(study.out, study.cache))


def of_writers(faults: Faults, study: Study, sample: bool, seed: int = 2) -> None:
    """Let two commands write the same files at once; one of them is killed at random, every other time."""
    chance = random.Random(seed)
    runs = [
        Command(study.given(plan), study.home, [study.out], study.home / f"said-{plan}") for plan in study.end
    ]
    steps = 0
    for n in range(2 if sample else 40):
        fresh(study)
        if not steps:
            runs[0].run()
            steps = runs[0].heard
        fault = {"at": chance.randrange(1, steps + 1)} if n % 2 else {}
        pid = os.fork()
        if pid == 0:
            code = runs[0].run(**fault)
            os._exit(0 if code in (0, -signal.SIGKILL) else 1)
        time.sleep(chance.random() * 0.02)
        code = runs[1].run()
        _, first = os.waitpid(pid, 0)
        settle(study.out)
        found = [f"codes {first}, {code}: {runs[1].lines}" if first or code else None]
        if study.written() not in study.end.values():
            found.append("outputs are of both")
        found += [f"next: {again}" if (again := runs[1].run()) else None]
        found += [study.right(plan="study.toml"), litter(study.out)]
        faults.check("two writers", f"{fault}", *found)
    for each in runs:
        each.close()


def of_moments(faults: Faults, study: Study, _: bool, seed: int = 3) -> None:
    """Kill a run of several processes, with nothing kept, at random moments; none of its processes stays."""
    chance = random.Random(seed)
    for n in range(12):
        fresh(study, empty=True)
        given = [sys.executable, "-m", "study", *map(str, study.given()[:-1]), "2"]
        where = os.environ | {"PYTHONPATH": str(ROOT)}
        with (study.home / "moment-said").open("w") as said:
            started = subprocess.Popen(
                given, cwd=study.home, stdout=said, stderr=said, start_new_session=True, env=where
            )
        sent = signal.SIGKILL if n % 3 else signal.SIGINT
        # Python itself answers an interrupt in its first moments.
        time.sleep(chance.uniform(0.5 if sent == signal.SIGKILL else 2.0, 8.0))
        started.send_signal(sent)
        code = started.wait(PATIENCE)
        until = time.monotonic() + 20
        while (left := session(started.pid)) and time.monotonic() < until:
            time.sleep(0.1)
        found = [f"processes are left: {left}" if left else None]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        said_so = "study: interrupted; nothing was half-written" in (study.home / "moment-said").read_text()
        if sent == signal.SIGINT and code != 0 and not (code == 130 and said_so):
            found.append(f"code {code} of an interrupt, not its message")
        settle(study.out)
        found.append(between({}, study.written(), study.end["study.toml"], together=True))
        code, lines = study.run()
        found += [f"next: {code}, {lines}" if code or lines else None, study.right()]
        found.append(litter(study.out, study.cache))
        faults.check("any moment", str(sent), *found)


def session(leader: int) -> set[int]:
    """Return the processes of a session that have not ended."""
    there = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            ended, _, _, of = path.read_text().rpartition(")")[2].split()[:4]
            if int(of) == leader and ended != "Z":
                there.add(int(path.parent.name))
    return there


def of_commands(faults: Faults, home: Path, sample: bool) -> None:
    """Put faults into every command that writes, while it does."""
    from test_assemble import write_originals

    shutil.copy(PANEL, home / "my.csv")
    (home / "study.toml").write_text(ONE_SCALE if sample else PLAN)
    own = [
        "--panel",
        "my.csv",
        "--unit",
        "unit",
        "--time",
        "time",
        "--outcome",
        "y",
        "--event",
        "first_treated",
    ]
    out = home / "out"
    given: dict[str, list[object]] = {
        "run": ["run", "--plan", "study.toml", "--jobs", 1, "--cache", home / "cache", "--output", out],
        "estimate": ["estimate", *own, "--output", out / "a.csv"],
        "table": ["table", *own, "--design", "twfe", "--output", out / "a.tex"],
        "simulate": [
            *("simulate", *own, "--design", "twfe", "--reps", 6, "--jobs", 1, "--cache", home / "cache"),
            *("--output", out),
        ],
        "assemble": ["data", "assemble", "--raw", home / "raw", "--output", out],
    }
    if not sample:
        write_originals(home / "raw")
    for name, typed in given.items():
        if sample and name not in ("run", "table"):
            continue
        of_command(faults, name, typed, home, [out], sample)


def warm(home: Path) -> None:
    """Run a plan of no fault in this process, so that none of those that are forked loads a library of its own."""
    home.mkdir()
    (home / "study.toml").write_text(ONE_SCALE)
    typed = ("run", "--plan", "study.toml", "--jobs", 1, "--cache", home / "cache", "--output", home / "out")
    done = command(*typed, cwd=home)
    if done.returncode:
        raise RuntimeError(done.stderr)


def main() -> int:
    """Put all faults in, or a few."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sample", action="store_true", help="put in a few of each kind")
    parser.add_argument("parts", nargs="*", help="only these, such as of_writers; all if none is named")
    given = parser.parse_args()
    sample = given.sample
    faults, start = Faults(), time.monotonic()
    from rich.progress import Progress

    # No fault is about the fonts in a figure, whose subsets take a third of drawing it.
    drawing.STYLE["pdf.fonttype"] = 3
    # A thread that draws could hold a lock when the process is forked.
    Progress.__init__.__kwdefaults__["auto_refresh"] = False  # type: ignore[index]
    parts = {"of_commands": lambda home: of_commands(faults, home, sample)}
    study: list[Study] = []
    for of in (of_writers, of_clocks, of_disks, of_caches, *(() if sample else (of_moments,))):
        parts[of.__name__] = lambda home, of=of: of(faults, study[0], sample)  # type: ignore[misc]
    memory = Path("/dev/shm")  # where nothing waits for a disk
    where = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="study-faults-", dir=where) as folder:
        warm(Path(folder) / "first")
        for name, part in parts.items():
            if given.parts and name not in given.parts:
                continue
            if name != "of_commands" and not study:
                (Path(folder) / "study").mkdir()
                study.append(Study(Path(folder) / "study", ONE_SCALE if sample else PLAN))
            home = Path(folder) / name
            home.mkdir()
            part(home)
            print(
                f"{name}: {faults.counts.total()} faults so far, {time.monotonic() - start:.0f} s", flush=True
            )
    for kind, number in sorted(faults.counts.items()):
        print(f"{number:5} {kind}")
    print(f"{faults.counts.total()} faults, {len(faults.wrong)} wrong")
    for wrong in faults.wrong:
        print(f"  {wrong}")
    return 1 if faults.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
