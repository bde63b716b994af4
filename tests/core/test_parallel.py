"""Tasks in parallel: the same bytes in this process, in several, and on a cluster whose workers are lost on the way."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simulated
from command_line import command
from plans import PANEL, PLAN, ROOT
from tasks import Counting, fatal_once, nested, processes, summed, threads
from test_settings import LEARNS

import study
from study import QuestionError, StudyError, WorkerError, settings
from study.core import cluster, current_settings, each_kept, encoded, in_parallel
from study.paper import record
from study.paper import run as running
from study.paper.plan import read_plan
from study.simulate import replications
from study.simulate.process import Process
from study.simulate.replications import Entrant, replicate

needs_dask = pytest.mark.skipif(
    find_spec("distributed") is None,
    reason="distributed is not installed: pip install 'compute-access-study[dask]'",
)


def process_of(folder: Path, *given: str, path: Path = ROOT, **how: Any) -> subprocess.Popen[str]:
    """Start Python in a folder, with the study of a path; what it says goes to a file there."""
    where = os.pathsep.join(map(str, (path, ROOT / "tests")))
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *given],
            env=os.environ | {"PYTHONPATH": where, "OMP_NUM_THREADS": "2"},
            cwd=folder,
            stderr=log,
            **{"stdout": log, "text": True} | how,
        )


class Forked:
    """A worker that is forked from the process of ``workers.py``, with what it has loaded."""

    def __init__(self, source: subprocess.Popen[str], *given: str) -> None:
        source.stdin.write(" ".join(given) + "\n")
        source.stdin.flush()
        self.pid = int(source.stdout.readline())

    def poll(self) -> int | None:
        """Return None as long as it runs."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        while self.poll() is None:
            time.sleep(0.01)


class Cluster:
    """A scheduler and its workers, each a process of its own."""

    def __init__(self, folder: Path, processes: ExitStack, source: subprocess.Popen[str] | None) -> None:
        self.folder, self.processes, self.source = folder, processes, source
        self.workers: dict[str, subprocess.Popen[str] | Forked] = {}
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0")
        self.address = self._said("tcp://")

    def _start(self, what: str, *given: str, **how: Path) -> subprocess.Popen[str]:
        module = f"distributed.cli.dask_{what}"
        return self._ended(process_of(self.folder, "-m", module, "--no-dashboard", *given, **how))

    def _ended(self, process: Any) -> Any:
        """Return a process that is killed in the end."""
        self.processes.callback(process.wait)
        self.processes.callback(process.kill)
        return process

    def _said(self, what: str) -> str:
        for _ in range(1200):
            words = (self.folder / "log").read_text().split()
            if found := [word for word in words if word.startswith(what)]:
                return found[0]
            time.sleep(0.05)
        raise TimeoutError(what)

    def start(self, threads: str = "1", path: Path = ROOT) -> subprocess.Popen[str] | Forked:
        """Start a worker, of another study in a process that loads it."""
        name = f"worker-{len(self.workers)}"
        if path == ROOT:
            self.workers[name] = self._ended(Forked(self.source, self.address, name, threads))
        else:
            named = ("--no-nanny", "--name", name, "--nthreads", threads)
            self.workers[name] = self._start("worker", self.address, *named, path=path)
        return self.workers[name]

    @property
    def living(self) -> dict[str, subprocess.Popen[str] | Forked]:
        """The workers that run, by name."""
        return {name: worker for name, worker in self.workers.items() if worker.poll() is None}

    def with_workers(self, number: int) -> str:
        """Return the address when there are so many workers, with those started that are missing."""
        for _ in range(number - len(self.living)):
            self.start()
        self.wait()
        assert len(self.living) == number
        return self.address

    def wait(self) -> None:
        """Wait until the workers that the scheduler knows of are those that run."""
        from distributed import Client

        known: set[str] = set()
        with Client(self.address, set_as_default=False) as client:
            for _ in range(1200):
                known = {each["name"] for each in client.scheduler_info(n_workers=-1)["workers"].values()}
                if known == self.living.keys():
                    return
                time.sleep(0.05)
        raise TimeoutError(f"{known}, not {self.living.keys()}")

    def end(self, worker: subprocess.Popen[str] | Forked) -> None:
        """Kill a worker, and wait until the scheduler knows."""
        worker.kill()
        worker.wait()
        self.wait()


@contextmanager
def started(folder: Path, source: subprocess.Popen[str] | None = None):
    with ExitStack() as processes:
        yield Cluster(folder, processes, source)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A process that workers are forked from."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with process_of(tmp_path_factory.mktemp("source"), str(ROOT / "tests/workers.py"), **pipes) as process:
        yield process


@pytest.fixture(scope="module")
def dask(tmp_path_factory, source):
    with started(tmp_path_factory.mktemp("dask"), source) as made:
        made.with_workers(2)
        yield made


def at(address: str):
    return settings(backend="dask", address=address)


def lines_of(error) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("jobs", [1, 2])
def test_tasks_are_done_in_their_order_or_all_as_they_are_done(jobs):
    expected = [summed(task) for task in range(20)]
    assert list(in_parallel(summed, iter(range(20)), jobs=jobs)) == expected
    assert sorted(in_parallel(summed, range(20), jobs=jobs, ordered=False)) == expected
    assert list(in_parallel(nested, range(4), jobs=jobs)) == [expected[:n] for n in range(4)]
    assert list(in_parallel(summed, [], jobs=jobs)) == []


def test_tasks_of_a_task_are_done_in_its_process():
    assert [len(each) for each in in_parallel(processes, range(2), jobs=2)] == [1, 1]


def test_what_a_function_remembers_serves_all_tasks_of_a_process_and_no_other_call():
    for _ in range(2):
        found = list(in_parallel(Counting(), range(7), jobs=2))
        for own in {process for process, _ in found}:
            counts = sorted(count for process, count in found if process == own)
            assert counts == list(range(1, len(counts) + 1))


def test_a_process_that_is_killed_is_one_line(tmp_path):
    with pytest.raises(WorkerError, match="a process was ended from outside") as error:
        list(in_parallel(partial(fatal_once, tmp_path / "marker"), range(8), jobs=2))
    lines_of(error)
    again = in_parallel(partial(fatal_once, tmp_path / "marker"), range(8), jobs=2)
    assert list(again) == [summed(task) for task in range(8)]


@needs_dask
def test_a_cluster_finds_what_one_process_finds(dask):
    with at(dask.with_workers(2)):
        assert list(in_parallel(summed, iter(range(40)))) == [summed(task) for task in range(40)]
        assert sorted(in_parallel(summed, range(40), ordered=False)) == [summed(task) for task in range(40)]
        assert list(in_parallel(nested, range(4))) == [nested(n) for n in range(4)]
        apart = list(in_parallel(lambda task: (time.sleep(0.02), processes(task))[1], range(40)))
        assert {len(each) for each in apart} == {1}
        assert set().union(*apart) == {worker.pid for worker in dask.living.values()}
        assert list(in_parallel(threads, range(4))) == [{1}] * 4
        with settings(backend="loky"):
            assert list(in_parallel(lambda _: os.getpid(), range(2))) == [os.getpid()] * 2
        with pytest.raises(ZeroDivisionError):
            list(in_parallel(lambda task: 1 / task, range(3)))


def answers() -> list[bytes]:
    """Return what a randomization test and a design with learners find, as bytes."""
    panel = study.Panel.from_long(
        PANEL, unit="unit", time="time", outcomes=["y"], first_treated="first_treated", covariates=["x1"]
    )
    question = study.Question("y", "first_treated", covariates=("x1",))
    test = study.randomization(question.sample(panel), "callaway_santanna", permutations=60, seed=5)
    learned = study.estimate(panel, question, "dml_panel", learner="linear", repetitions=2, folds=2)
    return [test.drawn.tobytes(), learned.effect.tobytes(), learned.std_error.tobytes()]


@needs_dask
def test_randomization_and_learners_on_a_cluster_are_the_same_to_the_byte(dask):
    with at(dask.with_workers(2)):
        apart = answers()
    assert apart == answers()


@needs_dask
def test_replications_on_a_cluster_that_loses_a_worker_are_the_same(dask, monkeypatch):
    monkeypatch.setattr(replications, "BLOCK", 10)
    sample = study.Question("y", "event").sample(simulated.panel(60))
    size, hazard = np.stack([np.zeros(60), np.ones(60)]), np.array([0.3, 0.0])
    process = Process(sample, "continuous", size, 0.3 * np.arange(8.0), 0.0, 1.0, hazard, {"shocks": 1.0})
    learns = {"learner": "linear", "repetitions": 1}
    entrants = (Entrant("twfe", "twfe"), Entrant("dml", "dml_panel", learns, {"covariates": ("x1",)}))
    repeat = partial(replicate, {"only": process}, entrants, repetitions=24, slow_repetitions=8, seed=3)
    told = []

    def progress(step: str) -> None:
        told.append(step)
        if len(told) == 1:
            next(iter(dask.living.values())).kill()

    with at(dask.with_workers(2)), settings(progress=progress):
        apart = repeat()
    assert len(told) > 2
    assert encoded(apart) == encoded(repeat())


@needs_dask
def test_tasks_of_a_killed_worker_are_done_by_another(dask, tmp_path):
    address = dask.with_workers(2)
    with at(address):
        found = list(in_parallel(partial(fatal_once, tmp_path / "marker"), range(20)))
    assert (tmp_path / "marker").exists()
    assert found == [summed(task) for task in range(20)]


def plan_in(folder: Path):
    (folder / "study.toml").write_text(PLAN.replace("[inference]\n", LEARNS))
    plan = read_plan(folder / "study.toml")
    return plan, running.load(plan)


def files_made(folder: Path, *options: object) -> dict[Path, bytes]:
    """Return what `study run` writes for the plan."""
    plan_in(folder)
    kept = ["--cache", folder / "kept", "--output", folder / "out"]
    done = command("run", "--plan", "study.toml", *kept, *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    paths = [path for path in (folder / "out").rglob("*") if path.is_file()]
    return {path.relative_to(folder): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What `study run` writes in one process."""
    return files_made(tmp_path_factory.mktemp("alone"), "--jobs", 1)


def estimates_of(results) -> bytes:
    return record.csv_file(record.record(results))


def test_answers_that_a_folder_has_come_first_and_others_are_kept_if_they_have_a_key(tmp_path):
    made = []

    def double(n: int) -> float:
        made.append(n)
        return 2.0 * n

    keys = {"one": "a" * 64, "two": None, "three": "b" * 64}

    def answers(*names: str) -> list[tuple[str, float]]:
        tasks = {name: place for place, name in enumerate(keys, start=1) if name in names}
        return list(each_kept(double, tasks, {name: keys[name] for name in names}, tmp_path, (float,)))

    assert answers("two", "three") == [("two", 4.0), ("three", 6.0)]
    assert answers("one", "two", "three") == [("three", 6.0), ("one", 2.0), ("two", 4.0)]
    assert made == [2, 3, 1, 2]
    assert dict(each_kept(double, {"one": 1}, {}, None, (float,))) == {"one": 2.0}
    assert made[-1] == 1


def test_a_worker_without_the_folder_of_fits_writes_nothing(tmp_path):
    def folder_in_use(_: object) -> Path | None:
        return current_settings().cache

    for folder, used in ((tmp_path, tmp_path), (tmp_path / "elsewhere", None)):
        assert running._run_step(None, folder, folder_in_use) == used
    assert not (tmp_path / "elsewhere").exists()


@needs_dask
def test_a_run_on_a_cluster_writes_the_same_files(dask, tmp_path, alone):
    made = files_made(tmp_path, "--backend", "dask", "--address", dask.with_workers(2))
    assert len(made) > 10
    assert made == alone


@needs_dask
def test_a_run_that_loses_a_worker_finds_the_same(dask, tmp_path, alone):
    plan, panel = plan_in(tmp_path)
    told = []

    def progress(step: str) -> None:
        told.append(step)
        if len(told) == 2:
            next(iter(dask.living.values())).kill()

    with at(dask.with_workers(2)):
        results = running.run(plan, panel, progress=progress)
    assert len(told) == len(list(plan.tasks()))
    assert estimates_of(results) == alone[Path("out/estimates.csv")]


@needs_dask
def test_a_run_that_loses_its_cluster_keeps_what_was_finished(tmp_path, alone, source):
    plan, panel = plan_in(tmp_path)
    cache, told = tmp_path / "cache", []
    with started(tmp_path, source) as lost, at(lost.with_workers(1)):

        def progress(step: str) -> None:
            told.append(step)
            if len(told) == 3:
                lost.scheduler.kill()

        with pytest.raises(WorkerError, match="the scheduler was lost; what was finished is kept") as error:
            running.run(plan, panel, progress=progress, cache=cache)
    lines_of(error)
    assert 3 <= len(list(cache.glob("*.answer"))) < len(list(plan.tasks()))
    assert estimates_of(running.run(plan, panel, jobs=1, cache=cache)) == alone[Path("out/estimates.csv")]


def other_code(folder: Path) -> Path:
    """Put a study that differs by a line into a folder."""
    shutil.copytree(ROOT / "study", folder / "study", ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "study/core/words.py").open("a") as file:
        file.write("\nOTHER = True\n")
    return folder


@needs_dask
def test_workers_that_could_find_other_numbers_are_refused(dask, tmp_path):
    address = dask.with_workers(2)
    other_code(tmp_path)
    (tmp_path / "empty/study").mkdir(parents=True)
    (tmp_path / "empty/study/__init__.py").touch()
    for given, words in (
        ({"threads": "2"}, "has 2 threads, .* --nthreads 1 --nworkers 2"),
        ({"path": tmp_path}, "has other code of study; numbers could differ"),
        ({"path": tmp_path / "empty"}, "cannot run the study"),
    ):
        worker = dask.start(**given)
        dask.wait()
        with pytest.raises(WorkerError, match=words) as error, at(address):
            raise AssertionError
        lines_of(error)
        dask.end(worker)


@needs_dask
@pytest.mark.parametrize("threads", ["1", "2"], ids=["other code", "two threads"])
def test_a_worker_that_comes_later_is_held_to_the_same(dask, tmp_path, threads):
    path = other_code(tmp_path) if threads == "1" else ROOT
    with at(dask.with_workers(2)):
        done = in_parallel(lambda _: time.sleep(0.05), range(2000))
        next(done)
        late = dask.start(threads, path)
        with pytest.raises(WorkerError, match="a worker that came later has other") as error:
            list(done)
    lines_of(error)
    dask.end(late)


def test_the_state_of_a_process_names_what_differs():
    own = cluster.state()
    assert (own["numpy"], own["python"]) == (np.__version__, platform.python_version())
    assert cluster._difference(own, own | {"numpy": "1.0"}) == f"numpy 1.0, here {np.__version__}"


@needs_dask
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", "spark://10.0.0.1:7077"])
def test_an_address_that_does_not_answer_is_one_line_within_seconds(address, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWERS", 1.0)
    start = time.monotonic()
    with (
        pytest.raises(WorkerError, match=f"dask at {address} does not answer as a scheduler") as error,
        at(address),
    ):
        raise AssertionError
    lines_of(error)
    assert time.monotonic() - start < cluster.ANSWERS + 4
    levels = [logging.getLogger(name).level for name in ("distributed", "distributed.client", None)]
    assert levels == [logging.CRITICAL, logging.CRITICAL, logging.WARNING]  # others are as they were


@needs_dask
def test_a_scheduler_without_workers_says_how_to_start_them(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWERS", 1.0)
    words = "has no workers; start them with: dask worker"
    with started(tmp_path) as empty, pytest.raises(WorkerError, match=words), at(empty.address):
        raise AssertionError


def test_without_dask_one_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(QuestionError, match=r"pip install 'compute-access-study\[dask\]'") as error,
        at("tcp://127.0.0.1:1"),
    ):
        raise AssertionError
    lines_of(error)


@pytest.mark.parametrize(
    "given", [{"backend": "dask"}, {"address": "tcp://127.0.0.1:1"}, {"backend": "spark"}, {"address": 3}]
)
def test_half_of_a_cluster_is_refused(given):
    with pytest.raises(QuestionError) as error, settings(**given):
        raise AssertionError
    lines_of(error)


def test_the_command_says_in_one_line_that_an_address_does_not_answer(tmp_path):
    (tmp_path / "study.toml").write_text(PLAN)
    done = command("run", "--plan", "study.toml", "--backend", "dask", "--address", "nonsense", cwd=tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert issubclass(WorkerError, StudyError)


KILLED = """
import os, sys, time
from study.core import in_parallel

def waiting(_):
    os.write(1, f"{os.getpid()}\\n".encode())
    time.sleep(600)

if __name__ == "__main__":
    os.write(1, f"{os.getpid()}\\n".encode())
    list(in_parallel(waiting, range(2), jobs=2))
"""


def session(started: subprocess.Popen[str]) -> set[int]:
    """Return the processes of a session, but for those that have ended and are not yet asked for how."""
    there = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it has ended
            continue
        if int(of) == started.pid and state != "Z":
            there.add(int(path.parent.name))
    return there


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_a_process_that_is_killed_leaves_no_other_ones(tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    started = subprocess.Popen(
        [sys.executable, tmp_path / "killed.py"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    try:
        pids = {int(started.stdout.readline()) for _ in range(3)}
        assert started.pid in pids
        assert pids <= session(started)
        started.kill()
        started.wait()
        until = time.monotonic() + 60
        while session(started) and time.monotonic() < until:
            time.sleep(0.05)
        assert not session(started)
    finally:
        for pid in session(started):
            os.kill(pid, 9)
