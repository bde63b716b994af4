"""What holds of every file of the package, and no tool looks at."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import study


def test_no_constant_of_a_file_is_given_a_value_twice() -> None:
    twice = {}
    for file in sorted(Path(study.__file__).parent.rglob("*.py")):
        names = Counter(
            name.id
            for statement in ast.parse(file.read_text()).body
            if isinstance(statement, ast.Assign | ast.AnnAssign)
            for name in ast.walk(statement)
            if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store) and name.id.isupper()
        )
        twice |= {f"{file.name}: {name}": count for name, count in names.items() if count > 1}
    assert twice == {}
