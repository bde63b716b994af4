"""Tasks done by the workers of a dask cluster, which have to run what this process runs.

Tasks go by dask's Client and not by joblib's backend for it, which returns nothing before all is done and loses what
tasks share with the worker that holds it. Here the scheduler keeps all that a task needs, so that the tasks of a
worker that is lost are done by another one, with the same result.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import platform
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from importlib.metadata import entry_points
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from study.core.cache import NUMERICS, code_of, root_of, versions
from study.core.errors import QuestionError, WorkerError

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")
R = TypeVar("R")

ANSWERS = 4.0  # seconds in which an address answers and has a first worker
PATIENCE = 60.0  # seconds without any worker after which no other one is expected
GLANCE = 2.0  # seconds without a result after which to see whether there are workers
KEPT = "what was finished is kept where there is a cache, so run it again."
AHEAD = 8  # tasks on their way to each worker, so that none waits for its next one


def on_cluster(
    address: str, function: Callable[[T], R], tasks: Iterable[T], ordered: bool = True
) -> Iterator[R]:
    """Yield what a function returns for each task, done by the workers of a scheduler.

    Parameters
    ----------
    address : str
        Of the scheduler, for example tcp://10.0.0.1:8786.
    function : callable
        Takes a task; goes to each worker once.
    tasks : iterable
    ordered : bool
        In the order of the tasks, or else as they are done.

    Raises
    ------
    QuestionError, WorkerError
        As :func:`connected`, and where the scheduler or all workers were lost.
    """
    with connected(address) as client:
        from cloudpickle import dumps, loads

        given, following = enumerate(tasks), 0
        running: dict[Future, int] = {}
        finished: dict[int, R] = {}
        done: SimpleQueue[Future] = SimpleQueue()
        own, room = _checksum_of_state(), AHEAD * len(_threads(address, client))
        shared = _submit(address, client, bytes, dumps(function))
        while True:
            for place, task in islice(given, max(0, room - len(running) - len(finished))):
                future = _submit(address, client, _done, shared, own, dumps(task))
                running[future] = place
                future.add_done_callback(done.put)
            if not running:
                return
            future, value = _next(address, client, done)
            place = running.pop(future)
            if not ordered:
                yield loads(value)
                continue
            finished[place] = loads(value)
            while following in finished:
                yield finished.pop(following)
                following += 1


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Connect to a scheduler that, with its workers, is what this process is.

    Raises
    ------
    QuestionError
        If dask is not installed.
    WorkerError
        If the address does not answer, has no workers, or one of them has other code, other versions or more than
        one thread, any of which could change a number.
    """
    try:
        from distributed import Client
        from distributed.comm import connect
        from distributed.security import Security
    except ImportError as error:
        raise QuestionError(
            "backend dask needs the package distributed; install it with: pip install 'compute-access-study[dask]'."
        ) from error

    # It would tell more of what is lost than the one line of our error.
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)

    async def handshake() -> None:
        comm = await connect(address, timeout=ANSWERS, **Security().get_connection_args("client"))
        await comm.close()

    try:
        # A Client that cannot connect is not rid of for seconds, so it is made where it can.
        with ThreadPoolExecutor(1) as apart:
            apart.submit(asyncio.run, handshake()).result()
        client = Client(address, timeout=ANSWERS, set_as_default=False)
    except Exception as error:  # what stands at the address can be anything
        expected = isinstance(error, OSError | ValueError)
        why = str(error).split("\n")[0] if expected else "something else is there"
        raise WorkerError(
            f"{_at(address)} does not answer as a scheduler ({why}); start one there with: dask scheduler."
        ) from error
    with client:
        _refuse_others(address, client)
        yield client


def _refuse_others(address: str, client: Client) -> None:
    """Refuse a cluster without workers, or with one that could find other numbers than this process."""
    start = f"dask worker {address} --nthreads 1"
    try:
        client.wait_for_workers(1, timeout=ANSWERS)
    except TimeoutError as error:
        raise WorkerError(f"{_at(address)} has no workers; start them with: {start}.") from error
    for worker, threads in _threads(address, client).items():
        if threads > 1:
            raise WorkerError(
                f"{_at(address)}: the worker {worker} has {threads} threads, which would share what only one may use; "
                f"start it with: {start} --nworkers {threads}."
            )
    own = state()
    try:
        others = {"scheduler": client.run_on_scheduler(state)}
    except Exception as error:  # whatever it cannot import
        others = {"scheduler": error}
    others |= {f"worker {worker}": other for worker, other in client.run(state, on_error="return").items()}
    for name, other in others.items():
        if other == own:
            continue
        if isinstance(other, Exception):
            differs = f"cannot run the study ({type(other).__name__}: {str(other).split(chr(10))[0]})"
        else:
            differs = f"has {_difference(own, other)}"
        raise WorkerError(
            f"{_at(address)}: the {name} {differs}; numbers could differ. Install the same there, and start it anew."
        )


def state() -> dict[str, str]:
    """Return what the numbers of this process can depend on: versions, and checksums of the study's and designs' code.

    It is that on which answers depend that are kept.
    """
    roots = {root_of(entry.module) for entry in entry_points(group="study.designs")}
    codes = {f"code of {root}": code_of(root) or "" for root in sorted({"study", *roots})}
    return codes | dict(versions((*NUMERICS, "distributed"))) | {"python": platform.python_version()}


@cache
def _checksum_of_state() -> str:
    return hashlib.sha256(repr(sorted(state().items())).encode()).hexdigest()


def _difference(own: Mapping[str, str], other: Mapping[str, str]) -> str:
    """Return in words where a worker's state differs from this process's, at most three of it."""
    names = [name for name in {**own, **other} if own.get(name) != other.get(name)]
    words = [
        f"other {name}"
        if name.startswith("code of ")
        else f"{name} {other.get(name) or '(none)'}, here {own.get(name) or '(none)'}"
        for name in names[:3]
    ]
    return "; ".join(words)


def _at(address: str) -> str:
    return f"dask at {address}"


def _lost(address: str) -> WorkerError:
    return WorkerError(f"{_at(address)}: the scheduler was lost; {KEPT}")


def _threads(address: str, client: Client) -> dict[str, int]:
    """Return how many threads each worker has."""
    try:
        threads: dict[str, int] = client.nthreads()
    except Exception as error:  # of several classes, by what was on its way
        raise _lost(address) from error
    return threads


def _submit(address: str, client: Client, function: Callable[..., bytes], *arguments: Any) -> Future:
    """Hand in a call whose arguments the scheduler keeps, so that it can be done anew."""
    with warnings.catch_warnings():
        # What is shared is large, and goes to the scheduler once.
        warnings.filterwarnings("ignore", message="Sending large graph")
        try:
            return client.submit(function, *arguments, pure=False)
        except Exception as error:  # as above
            raise _lost(address) from error


def _done(function: bytes, own: str, task: bytes) -> bytes:
    """Return what a function returns for a task, on a worker that is what the process that asks is."""
    from cloudpickle import dumps, loads
    from distributed import get_worker

    if _checksum_of_state() != own or get_worker().state.nthreads > 1:
        raise WorkerError(
            "dask: a worker that came later has other code or versions than the process that asks, or several threads; "
            "start it anew."
        )
    try:
        call, given = _loaded(function), loads(task)
    except (ImportError, AttributeError) as error:
        raise WorkerError(
            f"dask: a worker cannot read its task ({error}); install there what it needs."
        ) from error
    return dumps(call(given))


@lru_cache(maxsize=1)
def _loaded(function: bytes) -> Callable[[Any], Any]:
    from cloudpickle import loads

    return loads(function)


def _next(address: str, client: Client, done: SimpleQueue[Future]) -> tuple[Future, bytes]:
    """Return the next task that is done, with its result; wait for it as long as there are workers."""
    from distributed import KilledWorker

    seen, wait = time.monotonic(), GLANCE
    while True:
        with suppress(Empty):
            future = done.get(timeout=GLANCE)
            try:
                if future.done():
                    return future, future.result(timeout=wait)
            except Exception as error:
                if isinstance(error, KilledWorker):
                    raise WorkerError(
                        f"{_at(address)}: a task ended each of {error.allowed_failures + 1} workers that tried it, for "
                        f"want of memory perhaps; {KEPT}"
                    ) from error
                if future.status == "error":  # of the task itself
                    raise
                if not isinstance(error, TimeoutError):
                    raise _lost(address) from error
                wait *= 2  # its result is large, or was lost with a worker
            future.add_done_callback(done.put)
        if _threads(address, client):
            seen = time.monotonic()
        elif time.monotonic() - seen > PATIENCE:
            raise WorkerError(f"{_at(address)}: all workers were lost; {KEPT}")
