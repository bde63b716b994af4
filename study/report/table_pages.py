"""What of a table fits a page: how wide and tall it is, and its parts where it does not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from study.inference import Comparison
from study.report.table import GAP, LETTER, Block, Line, Table, letters, measured, span_lines, wrapped

# Centimetres: a narrow page's text, and the labels' column.
PAGE = 11.8
NARROWEST, WIDEST = 3.0, 9.0
# Points of a narrow page: what a table may be high, and lines of its caption, of itself and of its notes.
TALLEST, CAPTION_LINE, TABLE_LINE, NOTE_LINE = 545.0, 12.0, 9.5, 8.0
# A letter of the caption and of the notes as a share of one of the table.
CAPTION_LETTER, NOTE_LETTER = 1.13, 0.84
BELOW_THE_LAST = "The notes are below the last part."


def pages(
    comparisons: Sequence[Comparison],
    made: Callable[[Sequence[Comparison], str], Table],
    scales: Mapping[str, str] | None = None,
    columns: int = 1,
) -> list[Table]:
    """Return a table of comparisons as tables that fit on a page each.

    Where it is wider than a page, each has as many outcomes as fit; where it is taller, each has one scale or, if need
    be, a part of the designs.

    Parameters
    ----------
    comparisons : sequence of Comparison
        Of the same outcomes, one a scale.
    made : callable
        Makes the table of comparisons; its second argument is what the caption says of the outcomes and the scale.
    scales : mapping of str to str, optional
        Titles of the scales, where there are several comparisons.
    columns : int
        Of an outcome.
    """
    outcomes, tables = comparisons[0].outcomes, []
    for which in together(letters(made(comparisons, "")), columns):
        some = [c.about(outcomes[which.start : which.stop]) for c in comparisons]
        counted = _counted(which, len(outcomes))
        table = made(some, counted)
        if height(table) <= TALLEST or len(some) == 1 or scales is None:
            tables += parts(table)
            continue
        for c in some:
            tables += parts(made([c], f"{counted}. {scales[c.question.scale]}"))
    return numbered(tables)


def _counted(which: range, total: int) -> str:
    """Say which of the outcomes a table has, or nothing where it has all."""
    if len(which) == total:
        return ""
    if len(which) == 1:
        return f" (outcome {which.stop} of {total})"
    return f" (outcomes {which.start + 1} to {which.stop} of {total})"


def fitted(table: Table) -> Table:
    """Return a table for a narrow page, with the width that its labels can have there."""
    table = replace(table, narrow=True)
    return replace(table, widths=[label_width(letters(table))])


def label_width(columns: Sequence[float]) -> float:
    """Return how wide labels can be, in centimetres, beside columns of some letters on a narrow page."""
    left = PAGE - GAP - _across(columns)
    return round(min(max(left, NARROWEST), WIDEST), 1)


def together(columns: Sequence[float], each: int = 1) -> list[range]:
    """Return which outcomes stand in one table: as many as leave labels their room.

    Parameters
    ----------
    columns : sequence of float
        Letters of the columns of all outcomes.
    each : int
        Columns of an outcome.
    """
    ranges, first, used = [], 0, 0.0
    for k in range(len(columns) // each):
        wide = _across(columns[k * each : (k + 1) * each])
        if k > first and used + wide > PAGE - GAP - NARROWEST:
            ranges.append(range(first, k))
            first, used = k, 0.0
        used += wide
    return [*ranges, range(first, len(columns) // each)]


def _across(columns: Sequence[float]) -> float:
    return sum(LETTER * column + GAP for column in columns)


def height(table: Table) -> float:
    """Return about how many points a table is high on a narrow page."""
    labels = (
        table.widths[0]
        if table.widths
        else LETTER * max((measured(x.label) for x in table.lines), default=0.0)
    )
    wide = min(labels + GAP + _across(letters(table)), PAGE) / LETTER
    lines = len(wrapped(table.caption, int(wide / CAPTION_LETTER))) * CAPTION_LINE / TABLE_LINE + 2
    lines += max((len(span) for span in span_lines(table)), default=0)
    lines += max(len(wrapped(heading)) for heading in table.headings) + 1
    lines += sum(1.5 + sum(_lines_of(x, table.widths) for x in block.lines) for block in table.blocks)
    noted = 1 + sum(len(note) + 1 for note in table.notes) * NOTE_LETTER / wide
    return lines * TABLE_LINE + noted * NOTE_LINE


def _lines_of(line: Line, widths: Sequence[float]) -> int:
    """Return on how many lines a line of a table is."""
    texts = [line.label, *(cell if isinstance(cell, str) else "" for cell in line.cells)]
    columns = zip(texts, widths, strict=False)
    return max((len(wrapped(text, int(width / LETTER))) for text, width in columns if width), default=1)


def parts(table: Table) -> list[Table]:
    """Return a table as it is or, where it is taller than a page, as several with some of its lines each."""
    if height(table) <= TALLEST:
        return [table]
    made = [table]
    for count in range(2, len(_entries(table)) + 1):
        for spread in (False, True):
            made = _in_parts(table, count, spread)
            if all(height(part) <= TALLEST for part in made):
                return made
    return made


def _entries(table: Table) -> list[tuple[int, list[Line]]]:
    """Return lines with the number of their block, each with those below it that have no label."""
    entries: list[tuple[int, list[Line]]] = []
    for number, block in enumerate(table.blocks):
        for line in block.lines:
            if not line.label and entries and entries[-1][0] == number:
                entries[-1][1].append(line)
            else:
                entries.append((number, [line]))
    return entries


def _in_parts(table: Table, count: int, spread: bool) -> list[Table]:
    """Return a table as some parts of about the same height, with its notes below the last or spread over all."""
    entries = _entries(table)
    tall = [sum(_lines_of(line, table.widths) for line in lines) for _, lines in entries]
    part_of = _shared(tall, count)
    below = _shared([len(note) for note in table.notes], count) if spread else [count - 1] * len(table.notes)
    made = []
    for part in range(count):
        blocks = []
        for number, block in enumerate(table.blocks):
            its = [k for k, (of, _) in enumerate(entries) if of == number]
            here = [line for k in its if part_of[k] == part for line in entries[k][1]]
            again = bool(block.title) and any(part_of[k] < part for k in its)
            if here:
                blocks.append(Block(f"{block.title} (continued)" if again else block.title, here))
        notes = [note for note, at in zip(table.notes, below, strict=True) if at == part]
        made.append(
            replace(
                table,
                caption=f"{table.caption} (part {part + 1} of {count})",
                blocks=blocks,
                notes=notes if spread or part == count - 1 else [BELOW_THE_LAST],
            )
        )
    return made


def _shared(sizes: Sequence[float], count: int) -> list[int]:
    """Return the part that each of some things goes to, in their order, so that parts are about alike."""
    total = max(sum(sizes), 1.0)
    middles = [end - size / 2 for size, end in zip(sizes, accumulate(sizes), strict=True)]
    return [min(int(middle / total * count), count - 1) for middle in middles]


def numbered(tables: Sequence[Table]) -> list[Table]:
    """Return tables of one name with a number after it, or the only one as it is."""
    if len(tables) == 1:
        return list(tables)
    return [replace(table, name=f"{table.name}-{k}") for k, table in enumerate(tables, start=1)]
