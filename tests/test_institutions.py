from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from study.errors import DataError
from study.institutions import Matcher, key, load, pieces
from study.institutions.names import clean
from study.shipped import shipped

LISTED = [
    ("Brigham Young University", "United States", "US", ("byu.edu",)),
    ("Northeastern University", "United States", "US", ("northeastern.edu",)),
    ("Nanjing University", "China", "CN", ("nju.edu.cn",)),
    ("Henan University", "China", "CN", ("henu.edu.cn",)),
    ("Hunan University", "China", "CN", ("hnu.edu.cn",)),
    ("Universität Musterstadt", "Germany", "DE", ("uni-musterstadt.de",)),
    ("Korea University", "Japan", "JP", ("korea-u.ac.jp",)),
    ("Massachusetts Institute of Technology", "United States", "US", ("mit.edu",)),
    ("York St John University", "United Kingdom", "GB", ("yorksj.ac.uk",)),
    ("University of York", "United Kingdom", "GB", ("york.ac.uk",)),
    ("Institute of Technology", "Ireland", "IE", ("it.ie",)),
    ("University of London", "United Kingdom", "GB", ("london.ac.uk",)),
]


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    table = pd.DataFrame(LISTED, columns=["name", "country", "iso2", "domains"])
    return Matcher(load(shipped("data", "institutions.csv"), shipped("data", "organisations.csv"), table))


def found(matcher: Matcher, text: str, country: str = "") -> set[str]:
    return {hit.entity.name for hit in matcher.match(text, country) if hit.entity is not None}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Univ. of Maryland at College Park", "University of Maryland, College Park"),
        ("ETH Z ¨urich", "ETH Zürich"),
        ("Inst. for Artiﬁcial Intelligence", "Institute for Artificial Intelligence"),
        ("Xi’an Jiaotong University", "Xi'an Jiaotong University"),
        (
            "Korea Advanced Institute of Science & Technology",
            "Korea Advanced Institute of Science and Technology",
        ),
        ("T´el´ecom Paris", "Télécom Paris"),
        ("U. of Utah", "University of Utah"),
        ("2Tsinghua University", "Tsinghua University3"),
        ("Technische Universitaet Muenchen", "Technische Universität München"),
    ],
)
def test_spellings_of_one_name_have_one_key(one: str, other: str) -> None:
    assert key(one) == key(other)


def test_departments_places_and_second_affiliations_are_pieces() -> None:
    assert pieces("Dept. of CS, MIT + Google (Zurich) / ETH - D-ITET") == [
        "department of cs", "mit", "google", "zurich", "eth", "d itet",
    ]  # fmt: skip


def test_character_references_do_not_part_authors() -> None:
    assert clean("Texas A&amp;amp;M").split(";") == ["Texas A&M"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("MIT CSAIL, Cambridge, MA", {"Massachusetts Institute of Technology"}),
        ("University of Washington", {"University of Washington"}),
        ("Washington University, St. Louis", {"Washington University in St. Louis"}),
        ("Washington University in St. Louis", {"Washington University in St. Louis"}),
        ("NTU, Singapore", {"Nanyang Technological University"}),
        ("National Taiwan University", {"National Taiwan University"}),
        ("National Taiwan Univ. of Science and Technology", {"National Taiwan University of Science and Technology"}),
        ("Cornell Tech", {"Cornell University"}),
        ("University of California, San Diego", {"University of California, San Diego"}),
        ("University of California, Department of EE, Los Angeles", {"University of California, Los Angeles"}),
        ("University of California", set()),
        ("University of London", set()),
        ("University of Michigan, Ann Arbor", {"University of Michigan"}),
        ("University of Illinois at Chicago", {"University of Illinois at Chicago"}),
        ("University of Illinois, Urbana-Champaign", {"University of Illinois at Urbana-Champaign"}),
        ("Toyota Technological Institute at Chicago", {"Toyota Technological Institute at Chicago"}),
        ("Toyota Research Institute", {"Toyota"}),
        ("Chinese Academy of Sciences", {"Chinese Academy of Sciences"}),
        ("Institute of Automation, Chinese Academy of Sciences", {"Chinese Academy of Sciences"}),
        ("University of Chinese Academy of Sciences", {"University of Chinese Academy of Sciences"}),
        ("University of Science and Technology of China", {"University of Science and Technology of China"}),
        (
            "University of Electronic Science and Technology of China",
            {"University of Electronic Science and Technology of China"},
        ),
        ("The Chinese University of Hong Kong (Shenzhen)", {"Chinese University of Hong Kong, Shenzhen"}),
        ("CUHK - SenseTime Joint Lab", {"Chinese University of Hong Kong", "SenseTime"}),
        ("MIT-IBM Watson AI Lab", {"Massachusetts Institute of Technology", "IBM"}),
        ("Zhejiang University & Westlake University", {"Zhejiang University", "Westlake University"}),
        ("School of Software, Tsinghua University, Beijing 100084, China", {"Tsinghua University"}),
        ("Northeastern University", {"Northeastern University"}),
        ("Northeastern University, Shenyang, China", {"Northeastern University (China)"}),
        ("Korea University, Seoul", {"Korea University"}),
        ("Max Planck Institute for Informatics, Saarbruecken", {"Max Planck Society"}),
        ("MIT Lincoln Laboratory", {"MIT Lincoln Laboratory"}),
        ("Huawei Technologies Co., Ltd", {"Huawei"}),
        ("Technion, Israel Institute of Technology", {"Technion"}),
        ("University of Musterstadt", {"Universität Musterstadt"}),
        ("Brigham Young University", {"Brigham Young University"}),
    ],
)  # fmt: skip
def test_affiliations_go_where_they_belong(matcher: Matcher, text: str, names: set[str]) -> None:
    assert found(matcher, text) == names


@pytest.mark.parametrize(
    "text",
    [
        "Nanjing University of Finance and Economics",
        "South Tsinghua University",
        "Institute of Technology",
        "Department of Computer Science",
        "Denver, CO",
        "Xuchang University",
        "Labs",
    ],
)
def test_a_name_inside_another_name_is_no_match(matcher: Matcher, text: str) -> None:
    assert found(matcher, text) == set()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Massachussetts Institute of Technology", "Massachusetts Institute of Technology"),
        ("National University of Singaore", "National University of Singapore"),
        ("Univesity of Southern California", "University of Southern California"),
    ],
)
def test_misspelt_words_are_recognised(matcher: Matcher, text: str, name: str) -> None:
    (hit,) = [hit for hit in matcher.match(text) if hit.entity is not None]
    assert (hit.entity.name if hit.entity else "", hit.method) == (name, "fuzzy")
    assert hit.score < 100


def test_a_real_name_is_not_another_one_misspelt(matcher: Matcher) -> None:
    assert found(matcher, "Henan University") == {"Henan University"}
    assert found(matcher, "Hainan Univarsity") == set()


def test_a_legal_form_makes_a_company(matcher: Matcher) -> None:
    (hit,) = matcher.match("Acme Robotics GmbH")
    assert hit.entity is not None
    assert (hit.entity.kind, hit.method) == ("company", "legal_form")


@pytest.mark.parametrize(
    ("site", "country", "name"),
    [
        ("NCSA", "US", "University of Illinois at Urbana-Champaign"),
        ("Texas Advanced Computing Center/Univ. of Texas", "US", "University of Texas at Austin"),
        ("HLRS - Höchstleistungsrechenzentrum Stuttgart", "DE", "University of Stuttgart"),
        ("SciNet/University of Toronto/Compute Canada", "CA", "University of Toronto"),
        ("GSIC Center, Tokyo Institute of Technology", "JP", "Tokyo Institute of Technology"),
        ("Information Technology Center, The University of Tokyo", "JP", "University of Tokyo"),
        ("Universitaet Aachen/RWTH", "DE", "RWTH Aachen University"),
        ("UCSD/San Diego Supercomputer Center", "US", "University of California, San Diego"),
    ],
)
def test_a_centre_of_one_university_is_the_university(
    matcher: Matcher, site: str, country: str, name: str
) -> None:
    assert name in found(matcher, site, country)


@pytest.mark.parametrize(
    "site",
    [
        "CINECA",
        "CNRS/IDRIS-GENCI",
        "CSC (Center for Scientific Computing)",
        "Barcelona Supercomputing Center",
    ],
)
def test_national_centres_are_no_universities(matcher: Matcher, site: str) -> None:
    kinds = {hit.entity.kind for hit in matcher.match(site) if hit.entity is not None}
    assert kinds <= {"national_centre", "research_institute"}
    assert "national_centre" in kinds


def test_a_domain_belongs_to_the_longest_known_ending(matcher: Matcher) -> None:
    entity = matcher.domain("csail.mit.edu")
    assert entity is not None
    assert entity.name == "Massachusetts Institute of Technology"
    assert matcher.domain("gmail.com") is None
    assert matcher.domain("edu") is None


LIST = pd.DataFrame(LISTED, columns=["name", "country", "iso2", "domains"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("name,country\n", "line 1: the heading"),
        ("name,country,aliases\nMIT,US\n", "line 2: three fields"),
        ("name,country,aliases\nMIT,USA,\n", "line 2: country"),
        (
            "name,country,aliases\nA College X,US,AX\nB College Y,US,AX\n",
            'line 3: "AX" is also a name of A College X',
        ),
        ("name,country,aliases\nThe University,US,\n", "identifies nobody"),
    ],
)
def test_a_malformed_table_of_institutions_is_named_with_its_line(
    tmp_path: Path, rows: str, message: str
) -> None:
    path = tmp_path / "institutions.csv"
    path.write_text(rows, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load(path, shipped("data", "organisations.csv"), LIST)


def test_an_unknown_kind_of_organisation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "organisations.csv"
    path.write_text("name,kind,aliases\nAcme,firm,\n", encoding="utf-8")
    with pytest.raises(DataError, match='kind "firm"'):
        load(shipped("data", "institutions.csv"), path, LIST)


def test_an_unknown_country_is_refused(matcher: Matcher) -> None:
    assert matcher.gazetteer.country("Korea, South", "here") == "KR"
    with pytest.raises(DataError, match='country "Atlantis" is unknown'):
        matcher.gazetteer.country("Atlantis", "TOP500 1993-06")
