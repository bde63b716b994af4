"""Figures of exhibits as the files that a test reads, since each kind takes as long as many estimates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from study.figures import drawing
from study.paper.exhibits import exhibit


@contextmanager
def drawn_as(*kinds: str) -> Iterator[None]:
    """Let exhibits draw their figures as files of some kinds ("pdf", "png") alone; the others are empty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            exhibit, "drawn", lambda figure, kind: drawing.drawn(figure, kind) if kind in kinds else b""
        )
        yield
