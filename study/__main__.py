"""``python -m study`` and the command ``study``, which answer Ctrl-C also while they import."""

import sys


def main() -> None:
    """Run the command."""
    try:
        from study.commands.cli import main as command
    except KeyboardInterrupt:
        print("study: interrupted; nothing was half-written, and nothing begun.", file=sys.stderr)
        raise SystemExit(130) from None
    command()


if __name__ == "__main__":
    main()
