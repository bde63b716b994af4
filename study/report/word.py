"""Tables as a Word document, by python-docx."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any

from study.report.latex import one_line

# What a file's parts are dated, so that the same tables are the same bytes.
DATE = (1980, 1, 1, 0, 0, 0)
POINTS = 9


# Tables are study.report.table's, which imports this.
def word_file(tables: Sequence[Any]) -> bytes:
    """Return tables as a .docx file, each between caption and notes; the same bytes for the same tables."""
    from docx import Document

    document = Document()
    for table in tables:
        document.add_paragraph(one_line(table.caption), style="Caption")
        _add(document, table)
        _say(document.add_paragraph(), table.noted)
    written, dated = io.BytesIO(), io.BytesIO()
    document.save(written)
    with zipfile.ZipFile(written) as old, zipfile.ZipFile(dated, "w") as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name, DATE), old.read(name), zipfile.ZIP_DEFLATED)
    return dated.getvalue()


def _add(document: Any, table: Any) -> None:
    """Add a table whose cells stand to the right, with rules above and below it and below its headings."""
    above = [table.spans] if table.spans else []
    written = [["", *table.headings], *table.rows]
    rows = document.add_table(len(above) + len(written), len(written[0])).rows
    for row, spans in zip(rows, above, strict=False):
        at, cells = 1, row.cells
        for title, columns in spans:
            _say(cells[at].merge(cells[at + columns - 1]).paragraphs[0], title, "CENTER")
            at += columns
    for row, texts in zip(rows[len(above) :], written, strict=True):
        cells = row.cells
        if len(texts) == 1:
            cells[0].merge(cells[-1])
        for k, text in enumerate(texts):
            _say(cells[k].paragraphs[0], text, "RIGHT" if k else "LEFT")
    _rule(rows[0], "top", *["bottom"] * (not above))
    _rule(rows[-1], "bottom")
    if above:
        _rule(rows[1], "bottom")


def _say(paragraph: Any, text: str, side: str = "LEFT") -> None:
    """Write a text, on one line and in small letters, into an empty paragraph."""
    from docx.enum.text import WD_ALIGN_PARAGRAPH
    from docx.shared import Pt

    paragraph.add_run(one_line(text)).font.size = Pt(POINTS)
    paragraph.paragraph_format.space_after = Pt(0)
    paragraph.alignment = getattr(WD_ALIGN_PARAGRAPH, side)


def _rule(row: Any, *sides: str) -> None:
    """Draw rules along sides of a row that has none."""
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    for cell in row._tr.tc_lst:
        rules = OxmlElement("w:tcBorders")
        for side in sides:
            rule = OxmlElement(f"w:{side}")
            for name, value in {"val": "single", "sz": "6", "space": "0", "color": "auto"}.items():
                rule.set(qn(f"w:{name}"), value)
            rules.append(rule)
        cell.get_or_add_tcPr().append(rules)
