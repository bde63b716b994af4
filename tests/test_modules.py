"""What holds of every file of the package, and no tool looks at."""

from __future__ import annotations

import ast
import doctest
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

import study

ROOM = Path(study.__file__).parent
SLOW = ("context", "tournament")  # whose examples fit learners and simulate, and are in other tests
WITH_EXAMPLES = [
    file for file in sorted(ROOM.rglob("*.py")) if file.stem not in SLOW and ">>> " in file.read_text()
]


def test_no_constant_of_a_file_is_given_a_value_twice() -> None:
    twice = {}
    for file in sorted(ROOM.rglob("*.py")):
        names = Counter(
            name.id
            for statement in ast.parse(file.read_text()).body
            if isinstance(statement, ast.Assign | ast.AnnAssign)
            for name in ast.walk(statement)
            if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store) and name.id.isupper()
        )
        twice |= {f"{file.name}: {name}": count for name, count in names.items() if count > 1}
    assert twice == {}


@pytest.mark.parametrize("file", WITH_EXAMPLES, ids=lambda file: file.stem)
def test_examples_of_docstrings_run(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = import_module(".".join(file.relative_to(ROOM.parent).with_suffix("").parts))
    assert doctest.testmod(module).failed == 0
