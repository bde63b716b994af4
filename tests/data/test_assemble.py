from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import test_affiliations
import test_csmetrics
import test_epoch
import test_herd
import test_herd_fields
import test_nsf
import test_osg
from originals import NAMED, write_all, write_universities

from study.core import settings
from study.core.errors import DataError
from study.data.assemble.build import assemble, heading
from study.data.institutions import Hit, Matcher, load
from study.data.institutions.match import decisions, match_sites
from study.data.sources import entity_list, gpus_per_student, paperlists, universities
from study.data.sources.published import RECORDED
from study.panel import panel_entries, shipped
from study.panel.files import countries
from study.panel.panel import load_panel

ROOT = Path(__file__).parents[2]
LARGEST = 4 * 1024**2


def write_originals(raw: Path) -> Path:
    """Write a complete small set of originals: what Stanford did, mostly."""
    write_all(raw)
    write_universities(raw / "universities", [*NAMED, *_credited()])
    stanford = "Stanford University"
    test_epoch.current(raw / "epoch", test_epoch.JOINT)
    test_epoch.december(raw / "epoch", test_epoch.OLD)
    test_herd.write_copy(raw / "herd", test_herd.COPIED)
    test_herd_fields.write(raw / "herd_fields")
    test_affiliations.write(raw / "affiliations")
    test_csmetrics.write(
        raw / "csmetrics", test_csmetrics.LINES + test_csmetrics.LINES.replace("cvpr", "stoc")
    )
    (raw / "osg").mkdir()
    test_osg.groups(raw / "osg", ("topology/S.yaml", stanford, "S", "S", "1", "2021-03-29", ""))
    award = test_nsf.dumped(
        inst={**test_nsf.dumped()["inst"], "inst_name": stanford, "inst_state_code": "CA"}
    )
    test_nsf.put_json(raw / "nsf", 2023, award)
    titled = award | {"awd_id": "1212345", "awd_titl_txt": "II-New: A Compute Cluster"}
    test_nsf.put_json(raw / "nsf_cri", 2012, titled, award)
    write_csv(raw / "entity_list" / entity_list.FILE, LISTED)
    write_csv(raw / "gpus_per_student" / gpus_per_student.FILE, GPUS)
    return raw


LISTED = "university,country,date,how_dated,confidence,source,note\nTianjin University,CN,2020-12-18,a page,high,x,\n"
GPUS = "university,h100_equivalent\nStanford University,12.5\nBrigham Young University,0\n"


def write_csv(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _credited() -> list[tuple[str, str, str, str]]:
    """Return the universities that the shipped table of programmes names, as entries of the list of universities."""
    rows = pd.read_csv(shipped("data", "programmes.csv"), dtype=str, keep_default_na=False)
    names = {
        (name, code)
        for names, code in zip(rows["credited"], rows["country"], strict=True)
        for name in names.split("|")
    }
    return [
        (name, countries()[code]["name"], code, f"u{place}.test")
        for place, (name, code) in enumerate(sorted(names - {("", "")}))
        if name
    ]


@pytest.fixture(scope="module", autouse=True)
def few_universities() -> Iterator[None]:
    """Have a list of a few hundred universities, as the fillers of the originals make it, be a whole one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(universities, "MINIMUM", 300)
        yield


@pytest.fixture(scope="module")
def originals(few_universities: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_originals(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def derived(originals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data")
    assemble(originals, out)
    return out


@pytest.fixture(scope="module")
def matcher(originals: Path) -> Matcher:
    world = universities.read(originals / "universities")
    return Matcher(load(shipped("data", "institutions.csv"), shipped("data", "organisations.csv"), world))


def _systems(*rows: tuple[str, str, str]) -> pd.DataFrame:
    columns = ["list", "site", "accelerator"]
    return pd.DataFrame(rows, columns=columns).assign(country="US", system="Cluster", segment="Academic")


def test_a_national_centre_outranks_the_host_beside_it(matcher: Matcher) -> None:
    systems = _systems(("2012-11", "National Center for Atmospheric Research/Stanford University", ""))
    ((hit,),) = match_sites(systems, matcher, {}).values()
    assert hit.entity is not None
    assert hit.entity.kind == "national_centre"


def test_a_site_is_never_credited_to_a_university_of_another_country(matcher: Matcher) -> None:
    systems = _systems(("2012-11", "ETH Zurich", ""))
    ((hits),) = match_sites(systems, matcher, {}).values()
    assert hits == ()


def test_a_decision_about_a_site_outranks_the_rule(matcher: Matcher) -> None:
    systems = _systems(("2012-11", "Stanford University", ""))
    decided: dict[tuple[str, str], tuple[Hit, ...]] = {("Stanford University", "US"): ()}
    assert match_sites(systems, matcher, decided) == decided


def test_a_decision_for_an_unknown_university_is_refused(tmp_path: Path, matcher: Matcher) -> None:
    path = tmp_path / "site_decisions.csv"
    path.write_text("site,country,university,note\nX,US,Nowhere University,\n", encoding="utf-8")
    with pytest.raises(DataError, match="Nowhere University"):
        decisions(path, matcher.gazetteer)


def tables() -> list[Path]:
    return [path for path in shipped("data").rglob("*.csv*") if path.suffix in (".csv", ".gz")]


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_assemble_writes_the_same_bytes_twice(tmp_path: Path, originals: Path, derived: Path) -> None:
    steps: list[str] = []
    with settings(progress=steps.append):
        written = assemble(originals, tmp_path)
    assert _files(tmp_path) == _files(derived)
    assert sorted(_files(tmp_path)) == sorted(path.relative_to(tmp_path).as_posix() for path in written)
    assert "affiliations of papers" in steps


def test_assemble_writes_exactly_the_derived_files_that_ship(derived: Path) -> None:
    shipped_names = {
        name for name in _files(shipped("data")) if name.count("/") or name.endswith("codebook.md")
    }
    assert {name for name in _files(derived) if name.count("/")} == {
        name for name in shipped_names if name.count("/") and not name.startswith("audits/")
    }


def test_every_source_leaves_its_trace_in_the_panel(derived: Path) -> None:
    rows = pd.read_csv(derived / "panels" / "cvpr.csv").set_index(["university", "year"])
    assert set(rows.index.get_level_values(0)) == {"Stanford University", "Brigham Young University"}
    stanford = rows.loc[("Stanford University", 2019)]
    assert stanford["first_top500"] == 1994
    assert stanford["first_cluster_grant"] == stanford["first_gpu_grant"] == 2024
    # Of the first year of awards there is: an older one cannot be excluded, so that it stands before the panel.
    assert stanford["first_cri_cluster"] == stanford["first_contest_win"] == 2012
    assert stanford[["nsf_role", "cri_role", "contests"]].tolist() == ["cluster", "cluster", "CRI+MRI"]
    assert stanford["first_ccstar"] == 2022
    assert stanford["herd_total"] == 100
    assert stanford["herd_cs_before"] == 42
    assert rows.loc[("Stanford University", 2020), "papers"] == 1
    fields = pd.read_csv(derived / "panels" / "cs_2007.csv.gz").set_index(["university", "group"])
    papers = fields.loc["Stanford University"].query("year == 2007")["papers"]
    assert papers["vision"] == papers["theory"] == 4
    assert fields["papers"].sum() == 8
    neurips = pd.read_csv(derived / "panels" / "neurips_2013.csv").set_index(["university", "year"])
    assert neurips.loc["Stanford University", "source"].tolist() == [
        *["paperlists"] * 6,
        *["affiliations"] * 2,
        "paperlists",
    ]
    # The small table has nobody but the Massachusetts Institute of Technology, whose first paper is of 2018.
    iclr = pd.read_csv(derived / "panels" / "iclr_2018.csv").set_index(["university", "year"])
    assert iclr.loc["Stanford University", "papers"].fillna(-1).tolist() == [0, 0, -1, 1, 1]
    assert iclr.loc["Stanford University", "source"].fillna("").tolist() == [
        *["affiliations"] * 2,
        "",
        *["paperlists"] * 2,
    ]
    institute = iclr.loc["Massachusetts Institute of Technology"]
    assert institute["papers"].fillna(-1).tolist() == [336, 501, -1, 0, 0]
    assert institute["baseline_venue_papers"].unique().tolist() == [336]
    entrants = pd.read_csv(derived / "panels" / "entrants.csv")
    assert set(entrants["university"]) == {"Tsinghua University"}
    assert set(entrants["first_paper_year"]) == {2015}
    models = pd.read_csv(derived / "panels" / "models.csv").set_index(["university", "year"])
    assert models.loc[("Stanford University", 2021), "models_with_industry"] == 1
    facts = pd.read_csv(derived / "facts" / "models.csv").set_index("vintage")
    assert facts["sector"].to_dict() == {"2023-12": "academia", "2025-11": "collaboration"}
    recorded = tomllib.loads((derived / "sources.toml").read_text(encoding="utf-8"))
    assert set(recorded) == set(RECORDED)
    assert recorded["paperlists"]["files"] == len(paperlists.known_files())


def test_rejected_papers_and_those_without_affiliation_are_not_counted(derived: Path) -> None:
    years = pd.read_csv(derived / "venue_years.csv").set_index(["venue", "year"])
    row = years.loc[("cvpr", 2020)]
    assert row[["papers", "with_affiliation"]].tolist() == [3, 2]
    assert row["share_company"] == 0.5


@pytest.mark.parametrize(
    "spoil",
    [
        "top500/TOP500_199306.xlsx",
        "universities/world_universities_and_domains.json",
        "paperlists/cvpr/cvpr2020.json.gz",
        "paperlists/nips/nips1995.json.gz",
        "epoch/notable_ai_models_2025-11-24.csv",
        "epoch/all_ml_systems_2023-12-20.csv",
        "herd/herd.db",
        "herd_fields/herd_computer_sciences_by_institution_fy2005_2024.csv",
        "csmetrics/venue_year_institution_2007_2019.csv.gz",
        "csmetrics/coverage_by_venue_year.csv",
        "affiliations/raw_neurips2019_dcharrezt.txt",
        "affiliations/raw_neurips2020_mzolfaghari.json",
        "affiliations/raw_icml_nips_iclr_2019_martenlienen.csv",
        "nsf/json/2023.zip",
        "nsf_cri/json/2012.zip",
        "entity_list/entity_list_universities_dates.csv",
        "gpus_per_student/master_data.csv",
        "osg/osg_topology_ccstar_resource_groups.csv",
    ],
)
@pytest.mark.parametrize("how", ["missing", "web page"])
def test_a_bad_original_is_named_and_nothing_is_written(
    tmp_path: Path, originals: Path, spoil: str, how: str
) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    shutil.copytree(originals, raw, copy_function=os.link)
    path = raw / spoil
    path.unlink()
    if how == "web page":
        path.write_bytes(b"<!DOCTYPE html><html></html>")
    steps: list[str] = []
    with settings(progress=steps.append), pytest.raises(DataError) as caught:
        assemble(raw, out)
    # Before any work is done.
    assert "gazetteer" not in steps
    message = str(caught.value)
    named = {path.name, path.name.removesuffix(".gz"), path.parent.name, spoil.split("/")[0]}
    assert any(name.lower() in message.lower() for name in named), message
    assert "\n" not in message
    assert not out.exists()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="folder top500 is missing"):
        assemble(tmp_path, tmp_path / "out")


def test_shipped_tables_hold_no_titles_of_papers_names_or_addresses() -> None:
    for path in tables():
        header = heading(path)
        assert not {"author", "abstract", "email", "pi"} & set(header), path.name
        assert "title" not in header or path.name == "nsf_awards.csv"
    assert "@" not in pd.read_csv(shipped("data", "crosswalks", "affiliations.csv"))["segment"].str.cat()


PAPER_PANELS = ("cvpr", "iccv", "icml", "neurips", "robotics", "colt", "venues")


@pytest.mark.parametrize("name", PAPER_PANELS)
def test_a_panel_is_balanced_and_its_parts_add_up(name: str) -> None:
    table = pd.read_csv(shipped("data", panel_entries()[name]["file"]), keep_default_na=False, na_values=[""])
    keys = ["university", "country", *(["group"] if "group" in table else [])]
    assert not table.duplicated([*keys, "year"]).any()
    assert table.groupby(keys)["year"].nunique().nunique() == 1
    seen = table.dropna(subset="papers")
    assert (seen["papers"] == seen["papers_academic_only"] + seen["papers_with_industry"]).all()
    assert (seen["papers"] == seen["papers_compute_heavy"] + seen["papers_other_topics"]).all()
    assert (table["baseline_papers"] >= 1).all()
    assert (table["first_paper_year"] <= table["year"].min() + 5).all()


def test_no_event_of_a_left_censored_date_falls_into_a_window() -> None:
    events = pd.read_csv(shipped("data", "events", "top500.csv"), keep_default_na=False)
    censored = events[(events["left_censored"] == 1) & (events["event"] == "first_top500")]
    panel = load_panel("neurips")
    dates = dict(zip(panel.units, panel.first_treated["first_top500"], strict=True))
    inside = [dates[name] for name in censored["university"] if name in dates]
    assert len(inside) > 20
    assert set(inside) == {panel.periods[0] - 1}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git repository: nothing is tracked")
def test_no_tracked_file_is_larger_than_a_review_can_open() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert Path(__file__) in paths
    assert [path.name for path in paths if path.is_file() and path.stat().st_size > LARGEST] == []


def test_a_compressed_table_says_nothing_of_when_and_where_it_was_made(derived: Path) -> None:
    packed = sorted(derived.rglob("*.gz"))
    assert [path.name for path in packed] == ["cs_2007.csv.gz", "venues.csv.gz"]
    for path in [*packed, *(path for path in tables() if path.suffix == ".gz")]:
        # No name, no time, the strongest compression, no system.
        assert path.read_bytes()[:10] == b"\x1f\x8b\x08\0\0\0\0\0\x02\xff", path
