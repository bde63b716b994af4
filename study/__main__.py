"""``python -m study`` and the command ``study``, which answer Ctrl-C also while they import."""

import signal
import sys


def main() -> None:
    """Run the command."""
    try:
        from study.commands.cli import main as command
    except KeyboardInterrupt:
        print("study: interrupted; nothing was half-written, and nothing begun.", file=sys.stderr)
        raise SystemExit(130) from None
    try:
        command()
    finally:  # what was to be written is: the end of worker processes, which is left, has nothing to interrupt
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
