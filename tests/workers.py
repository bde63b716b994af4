"""Workers of a cluster, forked from a process that has loaded once what each of them needs.

Usage: python tests/workers.py; a line with an address, a name and a number of threads is answered with the process of
the worker.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

# Unused here: what is loaded before a worker is forked is loaded once for all.
import doubleml  # noqa: F401
import lightgbm  # noqa: F401
import matplotlib.backends.backend_pdf  # noqa: F401
from distributed.cli.dask_worker import main

import study.paper.run  # noqa: F401


def _reap(*_: object) -> None:
    """Let go of workers that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, _reap)
    for line in sys.stdin:
        address, name, threads = line.split()
        if not (pid := os.fork()):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            main([address, "--no-dashboard", "--no-nanny", "--name", name, "--nthreads", threads])
        print(pid, flush=True)
