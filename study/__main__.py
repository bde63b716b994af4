"""``python -m study``: the same as the command ``study``."""

from study.commands.cli import main

main()
