"""What was known when each specification was written."""

from __future__ import annotations

from collections.abc import Iterator

from study.paper import Part, Piece, Setting, exhibit
from study.report import Block, Line, Table


@exhibit("What was known when", Part.QUESTION)
def known(setting: Setting) -> Iterator[Piece]:
    """Yield the table of specifications: when each was written, what was known, why it differs from the first."""
    lines = [Line(k.specification, [f"{k.written}", k.known, k.differs]) for k in setting.plan.known]
    yield Table(
        name="known",
        caption="What was known when each specification was written",
        headings=["Written", "What was known", "Why it differs from the first"],
        blocks=[Block("", lines)],
        notes=[
            "What was known: of the data and of estimates, on the day on which the specification was written."
        ],
        prose=(0, 2, 3),
    )
