"""Where the originals are, and small ones in the publishers' formats, written by hand for tests."""

from __future__ import annotations

import gzip
import json
import os
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

from study.data.sources import universities
from study.data.sources.paperlists import known_files

RAW = Path(os.environ.get("STUDY_RAW", Path(__file__).parents[2] / "shared" / "data" / "raw"))

OLD_HEADER = ["Rank", "Site", "Manufacturer", "Computer", "Country", "Year", "RMax", "Segment"]
NEW_HEADER = [
    "Rank", "Name", "Computer", "Site", "Country", "Segment", "Rmax [TFlop/s]", "Accelerator/Co-Processor",
]  # fmt: skip


def write_xlsx(path: Path, rows: list[list[object]]) -> Path:
    """Write a workbook of one sheet with inline strings and numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for row in rows:
        cells = (
            f"<c><v>{cell}</v></c>"
            if isinstance(cell, (int, float))
            else f'<c t="inlineStr"><is><t>{escape(str(cell))}</t></is></c>'
            for cell in row
        )
        lines.append(f"<row>{''.join(cells)}</row>")
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    files = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="list" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{"".join(lines)}</sheetData></worksheet>',
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def old_rows(systems: int = 500, site: str = "Stanford University") -> list[list[object]]:
    """Return a list of before June 2011: Rmax in GFlop/s, no accelerators."""
    body = [
        [rank, site if rank == 1 else f"Firm {rank}", "Cray", "T3E", "United States", 1993, 1000.0 / rank,
         "Academic" if rank == 1 else "Industry"]
        for rank in range(1, systems + 1)
    ]  # fmt: skip
    return [list(OLD_HEADER), *body]


def new_rows(systems: int = 500) -> list[list[object]]:
    """Return a list of after 2016: Rmax in TFlop/s, an accelerator on the first system, two lines above the heading."""
    body = [
        [rank, "", "PowerEdge", "Stanford University", "United States", "Academic", 1000.0 / rank,
         "NVIDIA A100" if rank == 1 else "None"]
        for rank in range(1, systems + 1)
    ]  # fmt: skip
    return [["TOP500 Supercomputers"], ["June 2021"], list(NEW_HEADER), *body]


def paper(aff: str, **fields: str) -> dict[str, str]:
    """Return one record of a paper."""
    return {
        "title": f"Of {aff}",
        "author": "A. Name",
        "track": "main",
        "status": "Poster",
        "aff": aff,
        **fields,
    }


def write_papers(path: Path, records: list[dict[str, str]]) -> Path:
    """Write a file of papers, compressed if its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(records).encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def write_universities(folder: Path, named: list[tuple[str, str, str, str]]) -> Path:
    """Write a list of universities: the named ones (name, country, code, domain) and as many as a list must have."""
    folder.mkdir(parents=True, exist_ok=True)
    filler = [(f"Filler{i} Akademie", "Austria", "AT", f"filler{i}.at") for i in range(universities.MINIMUM)]
    records = [
        {"name": name, "country": country, "alpha_two_code": code, "domains": [domain], "web_pages": []}
        for name, country, code, domain in [*named, *filler]
    ]
    path = folder / universities.FILE
    path.write_text(json.dumps(records), encoding="utf-8")
    return path


NAMED = [
    ("Stanford University", "United States", "US", "stanford.edu"),
    ("Brigham Young University", "United States", "US", "byu.edu"),
    ("Universität Musterstadt", "Germany", "DE", "uni-musterstadt.de"),
    ("Tsinghua University", "China", "CN", "tsinghua.edu.cn"),
    ("ETH Zurich", "Switzerland", "CH", "ethz.ch"),
]


def write_all(raw: Path) -> Path:
    """Write a complete small set of originals: one list, one paper a file, five universities."""
    write_xlsx(raw / "top500" / "TOP500_199306.xlsx", old_rows())
    write_universities(raw / "universities", NAMED)
    for venue, year in known_files():
        records = [paper("Dept. of CS, Stanford University")]
        if (venue, year) == ("cvpr", 2020):
            records += [paper("ETH Zürich; Google Research"), paper("ETH Zurich", status="Reject"), paper("")]
        if (venue, year) == ("icml", 2013):
            records += [paper("Brigham Young University;", aff_domain="byu.edu;")]
        if (venue, year) == ("icml", 2015):
            records += [paper("Tsinghua University")]
        write_papers(raw / "paperlists" / venue / f"{venue}{year}.json.gz", records)
    return raw
