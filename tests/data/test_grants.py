from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from audit_samples import CRI_SIZES, SIZES, award_stratum, draw_awards
from originals import RAW, write_universities

from study.core.errors import DataError
from study.data.audits import GrantsAudit, grants_audit
from study.data.grants import (
    CLUSTER,
    NETWORK,
    OTHER,
    OTHER_INSTRUMENT,
    STORAGE,
    accelerators,
    awards_table,
    bought,
    classify,
    contest,
    events,
    first_issues,
    of_programmes,
    programme,
    programmes_won,
    roles,
)
from study.data.institutions import Entity, Matcher, load, read_overrides
from study.data.sources import nsf, universities
from study.panel import shipped

ROOT = Path(__file__).parents[2]
HAS_RAW = pytest.mark.skipif(not (RAW / "nsf").is_dir(), reason=f"the originals are not in {RAW}")

BUYS = "This award supports the purchase of a computing cluster of 40 GPU nodes."


@pytest.mark.parametrize(
    ("title", "abstract", "kind"),
    [
        ("MRI: Acquisition of a High-Performance Computing Cluster for Research", "", CLUSTER),
        ("MRI-R2: Acquisition of a Beowulf Cluster for Materials Research", "", CLUSTER),
        ("MRI Consortium: Acquisition of a Shared Supercomputer by Two Campuses", "", CLUSTER),
        ("MRI: Acquisition of a GPU-Accelerated Visualization Cluster", "", CLUSTER),
        ("MRI: Acquisition of Computing Equipment for Microscopy", "", CLUSTER),
        ("Equipment: MRI: Track 1 Acquisition of NVIDIA DGX H100 GPU system", "", CLUSTER),
        ("MRI Acquisition: Advanced Computing Infrastructure Driving Sciences", "", CLUSTER),
        ("MRI: Acquisition of Petascale Storage for Data Intensive Research", "", STORAGE),
        ("MRI: Acquisition of High-Power Energy Storage System Test Equipment", "", OTHER_INSTRUMENT),
        ("MRI: Acquisition of a Resource for Archiving of Research Data", BUYS, STORAGE),
        ("MRI: Acquisition of High Speed Network Infrastructure for Distributed Computation", BUYS, NETWORK),
        ("MRI: Acquisition of a Confocal Microscope for Research", "", OTHER_INSTRUMENT),
        ("MRI: Acquisition of a Micro-Computed Tomography System", "", OTHER_INSTRUMENT),
        ("MRI: Acquisition of a Synthesis Cluster Tool", "", OTHER_INSTRUMENT),
        ("MRI: Acquisition of a Velocimetry System and Multiprocessor Computer", "", OTHER_INSTRUMENT),
        ("MRI: Acquisition of an Immersive Virtual Reality System", BUYS, OTHER_INSTRUMENT),
        ("MRI: Acquisition of a Data Center Testbed for Security Research", BUYS, OTHER_INSTRUMENT),
        ("MRI: Acquisition of Real-Time Simulators for Smart Grids", BUYS, OTHER_INSTRUMENT),
        ("Workshops on the Major Research Instrumentation Program", BUYS, OTHER),
    ],
)
def test_what_a_title_names_as_acquired_decides(title: str, abstract: str, kind: str) -> None:
    assert bought("MRI", title, abstract)[0] == kind


@pytest.mark.parametrize(
    ("title", "abstract", "kind"),
    [
        ("Acquisition of an AI Research Laboratory", "They will procure a deep learning platform.", CLUSTER),
        ("Development of a Platform for Data-Intensive Science", "It is equipped with 2 PB"
         " and GPU-accelerated computation.", CLUSTER),
        ("Acquisition of a Service Instrument for Deep Learning", "This project is about acquiring a Graphics"
         " Processing Unit (GPU)-based instrument.", CLUSTER),
        ("Acquisition of Infrastructure to Enhance Research in HPC", "It upgrades an existing cluster.", CLUSTER),
        ("Acquisition of QUICKER - Quick Sciences for All", "The project funds the acquisition of a composable"
         " data-analysis and computing instrument.", CLUSTER),
        ("Acquisition of QUICKER - Quick Sciences for All", "The project funds a probe. It will build on what"
         " our computing instrument found.", OTHER_INSTRUMENT),
        ("Acquisition of QUICKER - Quick Sciences for All", "The instrumentation includes a dispenser, a hood,"
         " a chamber, a freezer, and a computer cluster.", OTHER_INSTRUMENT),
        ("Acquisition of QUICKER - Quick Sciences for All", "Two buildings share a computing cluster.",
         OTHER_INSTRUMENT),
        ("Acquisition of a Modeling and Visualization System", "The system will include 16 compute nodes.",
         CLUSTER),
        ("Acquisition of a Visualization System", "The system will include 16 compute nodes.", OTHER_INSTRUMENT),
        ("Acquisition of two special-purpose computers for simulation", "", CLUSTER),
        ("Expansion of the Chemistry Consortium via Addition of High Performance Computers", "", CLUSTER),
        ("Expansion of the Computing Facility via Acquisition of a Microscope", "", OTHER_INSTRUMENT),
    ],
)  # fmt: skip
def test_an_open_title_leaves_the_word_to_what_the_abstract_says_is_acquired(
    title: str, abstract: str, kind: str
) -> None:
    assert bought("MRI", f"MRI: {title}", abstract)[0] == kind


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("MRI: Acquisition of SABER: Shared Analytics and Big-data Resource", CLUSTER),
        ("MRI: Acquisition of a Balanced Environment for Simulation", CLUSTER),
        ("MRI: Acquisition of Equipment for Insect Physiology", OTHER_INSTRUMENT),
    ],
)
def test_parts_that_an_abstract_lists_count_only_where_the_title_hints_at_computing(
    title: str, kind: str
) -> None:
    assert bought("MRI", title, "It is shared by all. The instrument consists of 40 GPU nodes.")[0] == kind
    assert bought("MRI", title, "It is shared by all.")[0] == OTHER_INSTRUMENT


def test_a_computer_that_is_only_mentioned_is_not_bought() -> None:
    title = "MRI: Acquisition of Equipment for Simulation of Weather"
    assert bought("MRI", title, "Data go to the San Diego Supercomputer Center.")[0] == OTHER_INSTRUMENT


@pytest.mark.parametrize(
    ("title", "abstract", "kind"),
    [
        ("MRI: Development of a Computing Facility for Astronomers", "It serves all.", CLUSTER),
        ("MRI: Development of a Cloud Computing Platform", "VICCI is a research testbed.", OTHER_INSTRUMENT),
        ("MRI: Development of a Computing System in Support of a Microscope", "", OTHER_INSTRUMENT),
        ("MRI: Development of an HPC-Backed Instrument for Visualization", "", OTHER_INSTRUMENT),
    ],
)
def test_what_is_developed_to_be_studied_or_for_one_instrument_is_no_cluster(
    title: str, abstract: str, kind: str
) -> None:
    assert bought("MRI", title, abstract)[0] == kind


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("CC* Compute: BioBurst", CLUSTER),
        ("Equipment: CC* Campus Compute: GPUs for All", CLUSTER),
        ("CC* Compute-Region: Harmony for Research Networks", CLUSTER),
        ("CC* Regional Computing: A Hub", CLUSTER),
        ("CC Campus Compute: Expansion of GPU Capacity", CLUSTER),
        ("CC* Planning: High-Performance GPU Cluster", OTHER),
        ("CC*Strategy-Region: Regional Computing Discovery", OTHER),
        ("CC* CIRA: HPC for ALL", OTHER),
        ("CC*IIE Engineer: Bridging Campus IT and Research Computing", OTHER),
        ("CC* Data Storage: A Cluster of Disks", STORAGE),
        ("CC*Storage-Campus: Storage beside the Compute Cluster", STORAGE),
        ("CC-NIE Network Infrastructure: A Science DMZ for High-Performance Computing", NETWORK),
        ("CC* Regional: Connecting Colleges", NETWORK),
        ("CC*DNI Campus Design:Next Generation Network", NETWORK),
        ("CC*IIE: Integration: COSciN", OTHER),
        ("CC* Integration-Large: Computing in the Network", OTHER),
        ("Conference: 2022 NSF Campus Cyberinfrastructure PI Workshop", OTHER),
        ("Cyberinfrastructure for a Region", OTHER),
    ],
)
def test_the_track_of_a_campus_award_decides(title: str, kind: str) -> None:
    assert bought("CC*", title, "It connects the campus and its computing.")[0] == kind


def test_a_campus_award_without_a_track_needs_a_purchase_in_its_abstract() -> None:
    assert (
        bought("CC*", "Cyberinfrastructure for a Region", "They will purchase a GPU cluster.")[0] == CLUSTER
    )
    assert bought("CC*", "A Study of Cyberinfrastructure", "They will purchase a GPU cluster.")[0] == OTHER


def test_the_reason_is_the_phrase_that_decided() -> None:
    assert bought("MRI", "MRI: Acquisition of a GPU Cluster", "") == (CLUSTER, "title: GPU")
    assert bought("CC*", "CC* Compute: BioBurst", "") == (CLUSTER, "track: Compute")
    assert bought("MRI", "MRI: Acquisition of a Simulation Environment", BUYS) == (
        CLUSTER, "abstract: computing cluster",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("64 GPUs of one kind", "GPUs"),
        ("graphics processing units", "graphics processing"),
        ("an Intel Xeon Phi co-processor", "Xeon Phi"),
        ("use advanced graphics accelerators", "graphics accelerators"),
        ("FPGA cards and hardware accelerators", "FPGA"),
        ("a linear particle accelerator", ""),
        ("the award accelerates computing and accelerated science", ""),
        ("an accelerator program for start-ups", ""),
    ],
)
def test_accelerators_are_those_of_computers(text: str, word: str) -> None:
    assert accelerators("MRI: Acquisition of a Cluster", text) == word


@pytest.mark.parametrize(
    ("title", "elements", "references", "name"),
    [
        ("MRI: Acquisition of X", "", "", "MRI"),
        ("MRIConsortium: Development of X", "", "", "MRI"),
        ("Acquisition of X", "1189 MAJOR RESEARCH INSTRUMENTATION|1580 INSTRUMENTATION", "", "MRI"),
        ("Acquisition of X", "152400 Atmospheric Chemistry", "1189 MAJOR RESEARCH INSTRUMENTATION", "MRI"),
        ("Acquisition of X", "118900", "", "MRI"),
        ("CC* Compute: X", "747600 XD-Extreme Digital", "", "CC*"),
        ("CC*IIE Region: X", "", "", "CC*"),
        ("Planning X", "808000 Campus Cyberinfrastructure", "", "CC*"),
        ("MRI: Acquisition of X", "808000 Campus Cyberinfrastructure", "", "MRI"),
        ("CRI: Acquisition of X", "7359 COMPUTING RES INFRASTRUCTURE", "", "CRI"),
        ("Functional MRIs of birds", "", "", ""),
    ],
)
def test_the_programme_is_in_the_title_or_the_codes(
    title: str, elements: str, references: str, name: str
) -> None:
    assert programme(title, elements, references) == name


@pytest.mark.parametrize(
    ("name", "award", "title", "expected"),
    [
        ("MRI", "1531636", "MRI: Acquisition of X", "MRI 2015"),
        ("MRI", "0922362", "MRI: Acquisition of X", "MRI 2009"),
        ("MRI", "0959870", "MRI-R2: Acquisition of X", "MRI-R2 2009"),
        ("MRI", "0958710", "MRI: Acquisition of X", "MRI-R2 2009"),
        ("CC*", "2201435", "CC* Compute: X", "CC* 2022"),
        ("CC*", "2232628", "CC* Regional Computing: X", "CC* 2022 second"),
        ("MRI", "1057736", "MRI RAPID: Acquisition of X", ""),
        ("MRI", "1229036", "MRI: Development of Portable Detectors (RAPID)", "MRI 2012"),
        ("MRI", "0722780", "MRI: Acquisition of a Rapid Compression Machine", "MRI 2007"),
        ("CC*", "2331094", "Travel: WINS Travel Funds", ""),
    ],
)
def test_the_contest_is_the_year_of_the_proposals(name: str, award: str, title: str, expected: str) -> None:
    assert contest(name, award, title) == expected


def test_a_project_that_moves_is_a_re_issue_and_one_of_two_campuses_is_none() -> None:
    text = "One cluster for two. " * 20
    arra = (
        "This award is funded under the American Recovery and Reinvestment Act of 2009 (Public Law 111-5). "
    )
    awards = [
        ("0923001", "Collaborative Research: MRI: A", text, "2012-08-31"),
        ("0923777", "Collaborative Research: MRI: A", arra + text, "2010-01-31"),
        ("1012345", "MRI: A", text, "2013-08-31"),
        ("0923888", "MRI: A", "Another cluster.", "2012-08-31"),
    ]
    assert first_issues(awards) == {"1012345": "0923777"}


def award(number: str, **fields: Any) -> dict[str, Any]:
    return {
        "award_id": number, "title": "MRI: Acquisition of a Computing Cluster", "abstract": f"Abstract {number}.",
        "programme_elements": "118900 Major Research Instrumentation", "programme_references": "",
        "awardee": "Oldtown University", "performer": "", "city": "", "state": "OH", "country": "United States",
        "amount": 100000.0, "amount_intended": 100000.0, "effective": f"20{number[:2]}-09-01",
        "letter": f"20{number[:2]}-08-01", "expires": "2030-08-31", "instrument": "Standard Grant",
        "collaborative": False, **fields,
    }  # fmt: skip


def table(*records: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(list(records), columns=nsf.COLUMNS)


@pytest.mark.parametrize(
    ("title", "of"),
    [
        ("II-NEW: GPU Cluster for Computing Research", "CRI"),
        ("II NEW: Infrastructure", "CRI"),
        ("Collaborative Research: II-EN: Parasol", "CRI"),
        ("Collaborative Research: CRI/IAD: Programmable Infrastructure", "CRI"),
        ("CRI-IAD: Collaborative Research: Enabling Security", "CRI"),
        ("CRI: MISER: A Power-aware Cluster", "CRI"),
        ("CRI: CRD: A Treebank", ""),
        ("CRI: CI-P: A Corpus", ""),
        ("CRI: Collaborative: Next Generation CiteSeer", ""),
        ("CRII: CHS: Learning", ""),
        ("CI-NEW: A Community Testbed", ""),
        ("MRI: Acquisition of a Cluster for CRI", "MRI"),
    ],
)
def test_cri_is_known_by_the_institutional_tracks_in_its_titles(title: str, of: str) -> None:
    assert programme(title, "7359 COMPUTING RES INFRASTRUCTURE", "") == of


def test_only_awards_of_the_programmes_are_classified_and_none_of_them_is_lost() -> None:
    other = award("1900003", title="CAREER: Clusters", programme_elements="1234 X")
    awards = table(award("1900001"), award("1900002", title="CC* Compute: X"), other)
    found = classify(awards)
    assert found["award_id"].tolist() == ["1900001", "1900002"]
    assert found["kind"].tolist() == [CLUSTER, CLUSTER]
    assert [of_programmes(record) for record in awards.to_dict("records")] == [True, True, False]


UNIVERSITIES = [
    (f"{name} University", "United States", "US", f"{name.lower()}-university.edu")
    for name in ("Oldtown", "Newtown", "Twintown")
]


@pytest.fixture(scope="module")
def matcher(tmp_path_factory: pytest.TempPathFactory) -> Matcher:
    """Return a matcher that knows three towns beside what ships."""
    folder = tmp_path_factory.mktemp("universities")
    write_universities(folder, UNIVERSITIES)
    institutions, organisations = shipped("data", "institutions.csv"), shipped("data", "organisations.csv")
    return Matcher(load(institutions, organisations, universities.read(folder)))


def crosswalk(tmp_path: Path, text: str, matcher: Matcher) -> dict[tuple[str, str], Entity | None]:
    path = tmp_path / "awardees.csv"
    path.write_text(text, encoding="utf-8")
    return read_overrides(path, matcher, "awardee", "state")


HEADING = "awardee,state,university,country,note\n"


def owners(matcher: Matcher, by_hand: dict[tuple[str, str], Entity | None], **fields: Any) -> str:
    return str(awards_table(classify(table(award("1900001", **fields))), matcher, by_hand)["university"][0])


def test_an_award_belongs_to_the_university_that_the_awardee_names(matcher: Matcher, tmp_path: Path) -> None:
    text = HEADING + "Regents of Old,OH,Oldtown University,US,x\nOldtown University,TX,,,another\n"
    by_hand = crosswalk(tmp_path, text, matcher)
    assert owners(matcher, by_hand) == "Oldtown University"
    assert (
        owners(matcher, by_hand, awardee="Newtown University Research Foundation, Inc.")
        == "Newtown University"
    )
    assert owners(matcher, by_hand, awardee="Regents of Old") == "Oldtown University"
    assert owners(matcher, by_hand, awardee="Oldtown University", state="TX") == ""
    assert owners(matcher, by_hand, awardee="Old Museum") == ""
    assert (
        owners(matcher, by_hand, awardee="A Corporation of Regents", performer="Newtown University")
        == "Newtown University"
    )


def test_a_university_that_the_list_lacks_is_what_the_table_by_hand_calls_it(
    matcher: Matcher, tmp_path: Path
) -> None:
    by_hand = crosswalk(tmp_path, HEADING + "Nowhere Univ,NJ,Nowhere University,US,not listed\n", matcher)
    assert by_hand["Nowhere Univ", "NJ"] == Entity("Nowhere University", "university", "US")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("awardee,university\n", r"awardees.csv, line 1: no column state"),
        (HEADING + "A,OH,B\n", r"awardees.csv, line 2: 3 fields, the heading has 5"),
        (HEADING + "A,OH,,,x\nA,OH,,,y\n", r"awardees.csv, line 3: A, OH is also on line 2"),
    ],
)
def test_a_broken_table_by_hand_is_told(matcher: Matcher, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        crosswalk(tmp_path, text, matcher)


def test_a_missing_table_by_hand_is_told(matcher: Matcher, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"awardees.csv is missing"):
        read_overrides(tmp_path / "awardees.csv", matcher, "awardee", "state")


def first_events(matcher: Matcher, *records: dict[str, Any]) -> dict[tuple[str, str], tuple[str, int]]:
    found = events(awards_table(classify(table(*records)), matcher, {}))
    keys = zip(found["university"], found["event"], strict=True)
    return dict(zip(keys, zip(found["date"], found["left_censored"], strict=True), strict=True))


def test_the_first_award_of_each_kind_is_an_event_and_those_of_the_first_year_are_left_censored(
    matcher: Matcher,
) -> None:
    found = first_events(
        matcher,
        award("0700001"),
        award("1500001", title="MRI: Acquisition of a GPU Cluster"),
        award("1200001", title="MRI: Acquisition of a Microscope", awardee="Newtown University"),
        award("1100001", title="MRI: Acquisition of a Telescope", awardee="Newtown University"),
        award("1300001", awardee="Newtown University", effective="2013-03-15"),
    )
    assert found == {
        ("Oldtown University", "first_cluster_grant"): ("2007-09", 1),
        ("Oldtown University", "first_gpu_grant"): ("2015-09", 0),
        ("Newtown University", "first_other_instrument"): ("2011-09", 0),
        ("Newtown University", "first_cluster_grant"): ("2013-03", 0),
    }


def test_cri_is_a_contest_of_its_own_with_events_and_a_role(matcher: Matcher) -> None:
    found = events(
        awards_table(
            classify(
                table(
                    award("0700001", awardee="Twintown University"),
                    award("1200001", title="II-New: A GPU Cluster"),
                    award("1300001", title="CRI: II-New: A Robot Arm"),
                    award("1300002", title="II-New: A Robot", awardee="Newtown University"),
                    award("1400001", title="II-New: Disk Storage", awardee="Newtown University"),
                )
            ),
            matcher,
            {},
        )
    )
    dates = found.set_index(["university", "event"])["date"].to_dict()
    assert dates == {
        ("Twintown University", "first_cluster_grant"): "2007-09",
        ("Oldtown University", "first_cri_cluster"): "2012-09",
        ("Oldtown University", "first_cri_gpu"): "2012-09",
        ("Oldtown University", "first_cri_other"): "2013-09",
        ("Newtown University", "first_cri_other"): "2013-09",
    }
    known = roles(found).set_index("university").fillna("none")
    assert known["cri_role"].to_dict() == {
        "Twintown University": "none", "Oldtown University": "cluster", "Newtown University": "other_instrument",
    }  # fmt: skip
    assert known.loc["Twintown University", "nsf_role"] == "cluster"


def test_a_university_took_part_in_the_contests_that_brought_it_a_purchase(matcher: Matcher) -> None:
    awards = awards_table(
        classify(
            table(
                award("1200001", title="MRI: Acquisition of a Microscope"),
                award("1300001", title="II-New: Disk Storage"),
                award("1400001", title="CC* Planning: A Plan"),
                award("1500001", title="MRI: RAPID: A Cluster", awardee="Newtown University"),
            )
        ),
        matcher,
        {},
    )
    assert programmes_won(awards)[["university", "contests"]].to_numpy().tolist() == [
        ["Oldtown University", "CRI+MRI"]
    ]


def test_each_campus_of_a_collaborative_project_has_its_event(matcher: Matcher) -> None:
    found = first_events(
        matcher,
        award("0700009", awardee="Newtown University"),
        award("1500001", abstract="The same."),
        award("1500002", abstract="The same.", awardee="Twintown University"),
    )
    assert found["Oldtown University", "first_cluster_grant"] == ("2015-09", 0)
    assert found["Twintown University", "first_cluster_grant"] == ("2015-09", 0)


@pytest.mark.parametrize(
    ("began", "owner"), [("2015-09-01", "Newtown University"), ("2018-01-01", "Oldtown University")]
)
def test_a_machine_is_where_the_project_moved_within_a_year(matcher: Matcher, began: str, owner: str) -> None:
    found = first_events(
        matcher,
        award("0700009", awardee="Twintown University"),
        award("1500001", abstract="The same."),
        award("1544444", abstract="The same.", awardee="Newtown University", effective=began),
    )
    assert [
        name for name, event in found if event == "first_cluster_grant" and name != "Twintown University"
    ] == [owner]


def test_awards_outside_of_the_contests_are_no_events(matcher: Matcher) -> None:
    assert (
        first_events(matcher, award("1000001", title="MRI RAPID: Acquisition of a Computing Cluster")) == {}
    )


def test_the_table_that_ships_has_no_abstracts(matcher: Matcher) -> None:
    shipping = awards_table(classify(table(award("1900001"))), matcher, {})
    assert "Abstract" not in shipping.to_csv()
    assert shipping.columns[:6].tolist() == [
        "award_id", "university", "country", "awardee", "state", "programme",
    ]  # fmt: skip


def judged(kinds: dict[str, str], verdicts: dict[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    strata = {"1": ("cluster", 2, 2), "2": ("cluster", 2, 2), "3": ("near", 10, 2), "4": ("near", 10, 2)}
    rows = [(number, *about) for number, about in strata.items()]
    design = pd.DataFrame(rows, columns=["award_id", "stratum", "population", "sampled"])
    design = design.assign(kind=list(kinds.values()), accelerators=[1, 0, 0, 0])
    read = pd.DataFrame({"award_id": list(verdicts), "verdict": verdicts.values(), "accelerators": "yes"})
    return read, design


KINDS_JUDGED = {"1": "cluster", "2": "cluster", "3": "other", "4": "other"}


def test_recall_counts_a_missed_award_for_all_that_it_stands_for() -> None:
    result = grants_audit(
        *judged(KINDS_JUDGED, {"1": "cluster", "2": "cluster", "3": "cluster", "4": "not_cluster"})
    )
    assert result.recall.value == pytest.approx(2 / (2 + 5))
    assert result.missed == ("3",)
    assert (result.precision.successes, result.precision.total) == (2, 2)
    assert (result.accelerators.successes, result.accelerators.total) == (1, 2)
    # Wilson's interval of one in two is 0.0945 to 0.9055, and the stratum has ten awards.
    assert result.recall.interval == pytest.approx((2 / (2 + 9.055), 2 / (2 + 0.945)), abs=1e-3)


def test_precision_is_the_share_of_those_called_clusters() -> None:
    result = grants_audit(
        *judged(KINDS_JUDGED, {"1": "cluster", "2": "not_cluster", "3": "not_cluster", "4": "not_cluster"})
    )
    assert (result.precision.successes, result.precision.total) == (1, 2)
    assert (result.recall.value, result.missed) == (1.0, ())


@pytest.mark.parametrize("verdict", ["maybe", ""])
def test_an_award_without_a_verdict_is_told(verdict: str) -> None:
    with pytest.raises(DataError, match=r"audit: award 3 has no verdict"):
        grants_audit(*judged(KINDS_JUDGED, {"1": "cluster", "2": "cluster", "3": verdict, "4": "cluster"}))


def test_an_award_of_the_design_that_nobody_read_is_told() -> None:
    with pytest.raises(DataError, match=r"audit: award 4 has no verdict"):
        grants_audit(*judged(KINDS_JUDGED, {"1": "cluster", "2": "cluster", "3": "cluster"}))


def test_two_verdicts_on_one_award_are_told() -> None:
    read, design = judged(KINDS_JUDGED, dict.fromkeys(KINDS_JUDGED, "cluster"))
    with pytest.raises(DataError, match=r"audit: award 2 has two verdicts"):
        grants_audit(pd.concat([read, read[1:2]]), design)


def test_a_stratum_is_drawn_whole_if_it_is_small_and_the_same_seed_draws_the_same() -> None:
    classified = classify(
        table(
            *(award(f"19000{i:02d}", title="MRI: Acquisition of a Microscope") for i in range(20)),
            award("1900099"),
        )
    )
    one = draw_awards(classified, {"cluster": 5, "none": 4}, seed=1)
    assert one.equals(draw_awards(classified, {"cluster": 5, "none": 4}, seed=1))
    assert one.groupby("stratum")[["population", "sampled"]].first().to_dict("index") == {
        "cluster": {"population": 1, "sampled": 1},
        "none": {"population": 20, "sampled": 4},
    }
    assert one.set_index("award_id").loc["1900099", ["kind", "accelerators"]].tolist() == [CLUSTER, 0]


@pytest.mark.parametrize(
    ("title", "abstract", "name"),
    [
        ("MRI: Acquisition of a Microscope", "It has a lens.", "none"),
        ("MRI: Acquisition of a Microscope", "It has a computer.", "mention"),
        ("MRI: Acquisition of a Microscope for Data", "It has a lens.", "near"),
        ("MRI: Acquisition of a Microscope", "It uses a computing cluster.", "near"),
    ],
)
def test_strata_go_by_what_is_named(title: str, abstract: str, name: str) -> None:
    record = {"title": title, "abstract": abstract, "kind": OTHER_INSTRUMENT, "programme": "MRI"}
    assert award_stratum(record) == name


def shipped_audit(name: str) -> tuple[pd.DataFrame, GrantsAudit]:
    """Return the design of a sample that ships, and what its reader's verdicts say of the rule."""
    design = pd.read_csv(shipped("data", "audits", f"{name}_design.csv"), dtype={"award_id": str})
    path = shipped("data", "audits", f"{name}_verdicts.csv")
    verdicts = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert set(verdicts["award_id"]) == set(design["award_id"])
    return design, grants_audit(verdicts, design)


def test_the_rule_before_its_last_change_missed_four_of_the_first_sample() -> None:
    design, result = shipped_audit("nsf_first")
    assert len(design) == 200
    assert (result.precision.successes, result.precision.total) == (91, 91)
    assert result.recall.value == pytest.approx(0.935, abs=5e-4)
    assert result.missed == ("1828181", "1828265", "2019129", "2320600")


def test_the_rule_finds_95_in_100_clusters_and_97_in_100_that_it_finds_are_some() -> None:
    design, result = shipped_audit("nsf")
    assert len(design) == sum(SIZES.values())
    assert result.precision.value >= 0.97
    assert result.recall.value >= 0.95


def test_the_rule_is_right_for_six_in_ten_clusters_of_a_programme_that_it_was_not_written_for() -> None:
    design, result = shipped_audit("cri")
    assert len(design) == sum(CRI_SIZES.values())
    assert (result.precision.successes, result.precision.total) == (36, 60)
    assert result.recall.value == pytest.approx(0.661, abs=5e-4)


@pytest.mark.parametrize("name", ["nsf", "nsf_first", "cri"])
def test_what_a_judge_is_given_tells_nothing_but_the_awards(name: str) -> None:
    sample = pd.read_csv(shipped("data", "audits", f"{name}_sample.csv"), dtype=str)
    design = pd.read_csv(shipped("data", "audits", f"{name}_design.csv"), dtype={"award_id": str})
    assert sample.columns.tolist() == ["award_id"]
    assert sorted(sample["award_id"]) == design["award_id"].tolist() != sample["award_id"].tolist()
