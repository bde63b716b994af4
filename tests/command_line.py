"""The command `study` as a user calls it, in the process of the tests, which has imported its libraries already."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

from study.commands.cli import main


def command(
    *arguments: object, cwd: Path, environment: dict[str, str] | None = None
) -> CompletedProcess[str]:
    """Call `study` in a folder, with variables of the environment; return its exit code and what it printed."""
    typed = ["study", *map(str, arguments)]
    code: object = 0
    answers = signal.getsignal(signal.SIGINT)  # which the command, interrupted, does no more
    with (
        chdir(cwd),
        mock.patch.object(sys, "argv", typed),
        mock.patch.dict(os.environ, environment or {}),
        redirect_stdout(io.StringIO()) as out,
        redirect_stderr(io.StringIO()) as errors,
    ):
        try:
            main()
        except SystemExit as stopped:
            code = stopped.code
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, answers)
    return CompletedProcess(typed, int(code or 0), out.getvalue(), errors.getvalue())
