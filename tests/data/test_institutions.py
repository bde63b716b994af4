from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from study.core.errors import DataError
from study.data.institutions import Matcher, load
from study.data.institutions.gazetteer import clean, key, pieces, put_right
from study.panel import shipped

COLUMNS = ["name", "country", "iso2", "domains"]
LISTED = [
    ("Brigham Young University", "United States", "US", ("byu.edu",)),
    ("Northeastern University", "United States", "US", ("northeastern.edu",)),
    ("Nanjing University", "China", "CN", ("nju.edu.cn",)),
    ("Henan University", "China", "CN", ("henu.edu.cn",)),
    ("Hunan University", "China", "CN", ("hnu.edu.cn",)),
    ("Universität Musterstadt", "Germany", "DE", ("uni-musterstadt.de",)),
    ("Musterstadt University of Technology", "Germany", "DE", ("tu-musterstadt.de",)),
    ("University of Lakeside", "Kenya", "KE", ("lakeside.ac.ke",)),
    ("Korea University", "Japan", "JP", ("korea-u.ac.jp",)),
    ("Massachusetts Institute of Technology", "United States", "US", ("mit.edu",)),
    ("York St John University", "United Kingdom", "GB", ("yorksj.ac.uk",)),
    ("University of York", "United Kingdom", "GB", ("york.ac.uk",)),
    ("Institute of Technology", "Ireland", "IE", ("it.ie",)),
    ("University of London", "United Kingdom", "GB", ("london.ac.uk",)),
]


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    table = pd.DataFrame(LISTED, columns=COLUMNS)
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
        ("Universitiit Wiirzburg", "Universiteit Würzburg"),
        ("Stevens Institute of Technolozv", "Stevens Institute of Technology"),
        ("Univ. of Calif., Irvine", "University of California, Irvine"),
        ("Uni-versity of Oslo", "University of Oslo"),
        ("Worcester Polytechnic In-stitute", "Worcester Polytechnic Institute"),
        ("Universit à di Trento", "Università di Trento"),
        ("l’Université de Rennes", "Université de Rennes"),
        ("ψUniversity of Washington", "University of Washington"),
        ("Alan Turing InstituteUniversity of Warwick", "Alan Turing Institute University of Warwick"),
    ],
)
def test_spellings_of_one_name_have_one_key(one: str, other: str) -> None:
    assert key(one) == key(other)


def test_a_name_decided_by_hand_is_not_the_known_one_within_it(matcher: Matcher) -> None:
    for name in ("Texas A&M University-Victoria", "Texas A&M University, Victoria"):
        assert matcher.university(name, "US").name == name
    assert matcher.university("Texas A and M University", "US").name == "Texas A&M University"


def test_departments_places_and_second_affiliations_are_pieces() -> None:
    assert pieces("Dept. of CS, MIT + Google (Zurich) / ETH - D-ITET") == [
        "department of cs", "mit", "google", "zurich", "eth", "d itet",
    ]  # fmt: skip


def test_numbers_of_footnotes_laboratories_and_posts_part_what_they_stand_between() -> None:
    assert pieces("1HKUST2Kuaishou Technology") == ["hkust", "kuaishou technology"]
    assert pieces("1TU Munich") == ["tu munich"]
    assert pieces("LAB CNRS UMR6596ENSMM, Besancon") == ["laboratory cnrs umr659", "ensmm", "besancon"]


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("Ecole Normale SupÃ©rieure, Midi-PyrÃ©nÃ©es", "Ecole Normale Supérieure, Midi-Pyrénées"),
        ("Changwon NatE28099l University", "Changwon Nat’l University"),
        ("Universit\\u00e9 de Montru00e9al", "Université de Montréal"),
        ('KU Eichst\\"att, Universit\\.{a} della Svizzera', "KU Eichstatt, Universita della Svizzera"),
    ],
)
def test_text_that_was_read_in_the_wrong_encoding_is_read_again(text: str, mended: str) -> None:
    assert clean(text) == mended


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("univeristy", "university"),
        ("univcrsite", "universite"),
        ("unversitat", "universitat"),
        ("niversity", "university"),
        ("insititue", "institute"),
        ("polytecnique", "polytechnique"),
        # Words of their own.
        ("universities", "universities"),
        ("universitet", "universitet"),
        ("biodiversity", "biodiversity"),
        ("technologies", "technologies"),
        ("tecnologia", "tecnologia"),
        ("institution", "institution"),
        ("unity", "unity"),
    ],
)
def test_only_misspellings_of_common_words_are_put_right(word: str, right: str) -> None:
    assert put_right(word) == right


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
        ("University of Texas", set()),
        ("State University of New York", set()),
        ("Indian Institute of Technology", set()),
        ("University of Texas at Austin", {"University of Texas at Austin"}),
        ("Computer Science at the University of California, Irvine", {"University of California, Irvine"}),
        ("University of Wisconsin Stout", set()),
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
    ("text", "names"),
    [
        # Research organisations of a country or a firm are no universities, whatever they are called.
        ("Inria Paris", {"Inria"}),
        ("Korea Institute of Science and Technology", {"KIST"}),
        ("Samsung Advanced Institute of Technology", {"Samsung"}),
        ("Samsung Research", {"Samsung"}),
        ("Microsoft Research Cambridge", {"Microsoft"}),
        ("Google Research University Relations", {"Google"}),
        ("Huawei - University of Toronto Joint Lab", {"Huawei", "University of Toronto"}),
        # Romanisations.
        ("Qinghua University", {"Tsinghua University"}),
        ("Zhongshan University, Guangzhou", {"Sun Yat-sen University"}),
        ("Xian Jiao Tong University", {"Xi'an Jiaotong University"}),
        ("Yonsei Univ., Seoul", {"Yonsei University"}),
        ("Pohang Univ. of Science & Technology", {"POSTECH"}),
        ("Hangyang University", {"Hanyang University"}),
        ("SKKU, Suwon", {"Sungkyunkwan University"}),
        ("Kwangju Institute of Science and Technology", {"GIST"}),
        ("Tokyo Kogyo Daigaku, Meguro, JP", {"Tokyo Institute of Technology"}),
        # Names that share their words.
        ("George Washington University", {"George Washington University"}),
        ("Washington State University", {"Washington State University"}),
        ("Miami University, Oxford, OH", {"Miami University"}),
        ("University of Miami", {"University of Miami"}),
        ("York University, Toronto", {"York University"}),
        ("York University, UK", {"University of York"}),
        ("New York University", {"New York University"}),
        ("Penn State", {"Pennsylvania State University"}),
        ("Penn", {"University of Pennsylvania"}),
        ("Beijing University of Technology", {"Beijing University of Technology"}),
        ("Beijing University", {"Peking University"}),
        ("National Tsing Hua University, Hsinchu", {"National Tsing Hua University"}),
        ("Tsing Hua University, Hsinchu, Taiwan", {"National Tsing Hua University"}),
        ("National Chiao Tung University", {"National Yang Ming Chiao Tung University"}),
        ("NTU, Taiwan", {"National Taiwan University"}),
        ("EPFL, Lausanne", {"EPFL"}),
        ("Swiss Federal Institute of Technology Lausanne", {"EPFL"}),
        ("Swiss Federal Institute of Technology Zurich", {"ETH Zurich"}),
        ("TU Munich", {"Technical University of Munich"}),
        ("Technische Universität, Munich", {"Technical University of Munich"}),
        ("University of Munich", {"LMU Munich"}),
        # One university under several names, and campuses that are their own.
        ("Weill Cornell Medicine", {"Cornell University"}),
        ("Rutgers University - Newark", {"Rutgers University"}),
        ("Indiana University, Bloomington", {"Indiana University"}),
        ("IUPUI", {"Indiana University-Purdue University Indianapolis"}),
        ("Université Pierre et Marie Curie", {"Sorbonne University"}),
        ("Télécom ParisTech", {"Télécom Paris"}),
        ("IRISA, Rennes", {"Joint laboratories of several French universities"}),
        ("Queen Mary, University of London", {"Queen Mary University of London"}),
        ("Indian Institute of Technology, Bombay", {"Indian Institute of Technology Bombay"}),
        ("IIIT-Hyderabad", {"IIIT Hyderabad"}),
        ("National Institute of Technology, Trichy", {"National Institute of Technology Tiruchirappalli"}),
        ("IISc Bangalore", {"Indian Institute of Science"}),
        ("Charles III University of Madrid", {"Universidad Carlos III de Madrid"}),
        ("Federal Fluminense University", {"Universidade Federal Fluminense"}),
        ("University of Western Sydney", {"Western Sydney University"}),
        ("Instituto Politécnico do Porto", {"Polytechnic Institute of Porto"}),
        ("Dublin Institute of Technology", {"Technological University Dublin"}),
        ("Faculté Polytechnique de Mons", {"University of Mons"}),
        ("Pontifícia Universidade Católica de Minas Gerais", {"PUC Minas"}),
        ("State University of New York System", set()),
        # Several affiliations of one author.
        ("MIT + Harvard", {"Massachusetts Institute of Technology", "Harvard University"}),
        ("Nanjing University, China University of Oslo, Norway", {"Nanjing University", "University of Oslo"}),
        ("Nanjing University University of Oxford", {"Nanjing University", "University of Oxford"}),
        ("Princeton University1POSTECH2", {"Princeton University", "POSTECH"}),
        ("IBM Research & MIT-IBM Watson AI Lab", {"IBM", "Massachusetts Institute of Technology"}),
        ("Broad Institute of MIT and Harvard", {"Massachusetts Institute of Technology", "Harvard University"}),
        ("FAMU-FSU Coll. of Engineering", {"Florida A&M University", "Florida State University"}),
        ("Samsung AI Center Montreal McGill University", {"Samsung", "McGill University"}),
        ("Faculté de Médecine de l’Université Grenoble Alpes", {"Université Grenoble Alpes"}),
        ("UPS, INSA, INP, Toulouse", {"INSA Toulouse", "INP Toulouse"}),
        # A unit tells its university only where no other is named.
        ("Donders Institute, Nijmegen", {"Radboud University"}),
        ("Computer Aided Medical Procedures, Johns Hopkins University", {"Johns Hopkins University"}),
        ("GRASP Lab + Zhejiang University", {"University of Pennsylvania", "Zhejiang University"}),
        # A comma may part a name after the words of a unit.
        (
            "Department of X at Massachusetts, Institute of Technology, Boston",
            {"Massachusetts Institute of Technology"},
        ),
        ("Center for Spatial Information Science, University of Tokyo", {"University of Tokyo"}),
        ("Institute of Technology, Harbin", {"Harbin Institute of Technology"}),
        # What only begins like a name, or names a street, is none.
        ("Technsiche Universität München", {"Technical University of Munich"}),
        ("Technische University Munich (TUM)", {"Technical University of Munich"}),
        ("Tokyo University of Agriculture and Technolozv", {"Tokyo University of Agriculture and Technology"}),
        ("University of Toronto, 6 Kings College Road", {"University of Toronto"}),
        ("Univ. of Texas, Medical School", set()),
        # Names that begin or end as that of another university.
        ("University of Córdoba (Colombia)", {"Universidad de Córdoba (Colombia)"}),
        ("University of Cordoba", {"Universidad de Córdoba"}),
        ("University of Córdoba, Córdoba, Spain", {"Universidad de Córdoba"}),
        ("UT Health San Antonio", {"University of Texas Health Science Center at San Antonio"}),
        (
            "University of Texas Health Science Center at San Antonio",
            {"University of Texas Health Science Center at San Antonio"},
        ),
        (
            "École nationale supérieure d'informatique et de mathématiques appliquées de Grenoble",
            {"Grenoble INP"},
        ),
        ("École nationale supérieure d'informatique, Algiers", {"École nationale supérieure d'informatique"}),
        ("MODUL University Vienna", {"Modul University Vienna"}),
        ("University of the South, Toulon-Var", {"Université de Toulon"}),
        ("University of Houston–Clear Lake", {"University of Houston-Clear Lake"}),
        ("University of Houston, Houston, TX", {"University of Houston"}),
        ("Montana Tech of the University of Montana", {"Montana Tech"}),
        ("Southem Illinois University, Carbondale, IL", {"Southern Illinois University-Carbondale"}),
        ("Tianjin University of Technology and Education", {"Tianjin University of Technology and Education"}),
        ("University of Paris III: Sorbonne Nouvelle", {"Université Sorbonne-Nouvelle (Paris III)"}),
        ("University of Hyogo, Kobe, Japan", {"University of Hyogo"}),
        ("Health Sciences University of Hokkaido", {"Hokkaido University of Health Sciences"}),
        ("Ecole Polytechnique Federalrale de Lausanne, Switzerland", {"EPFL"}),
        ("McMaster-Carr", {"McMaster-Carr"}),
        ("American University, Washington, DC", {"American University"}),
        ("Queens College", {"CUNY Queens College"}),
        ("Université Paris-SaclayCREST", set()),
    ],
)  # fmt: skip
def test_names_that_mislead_go_where_they_belong(matcher: Matcher, text: str, names: set[str]) -> None:
    assert found(matcher, text) == names


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CarnegieMellonUniversity", "Carnegie Mellon University"),
        ("Technical Univer-sity of Munich", "Technical University of Munich"),
        ("Università degli Studi di Trento", "University of Trento"),
        ("University Trento", "University of Trento"),
        ("Huazhong University Science Technology", "Huazhong University of Science and Technology"),
        ("University of Technology, Musterstadt", "Musterstadt University of Technology"),
        ("2ETH Zurich", "ETH Zurich"),
        ("3 University of Oslo", "University of Oslo"),
        ("U. Michigan", "University of Michigan"),
        ("Dept. of Statistics, All authors are with the University of Oslo", "University of Oslo"),
    ],
)
def test_letters_decide_where_spaces_small_words_and_languages_differ(
    matcher: Matcher, text: str, name: str
) -> None:
    assert found(matcher, text) == {name}


def test_a_listed_name_is_not_credited_in_another_country_than_the_text_names(matcher: Matcher) -> None:
    assert found(matcher, "University of Lakeside") == {"University of Lakeside"}
    assert found(matcher, "University of Lakeside, Nairobi, Kenya") == {"University of Lakeside"}
    assert found(matcher, "University of Lakeside, Germany") == set()
    # Each of an author's affiliations has its own country.
    assert found(matcher, "Google, Germany + University of Lakeside") == {"Google", "University of Lakeside"}


def test_a_misspelt_name_is_only_looked_for_in_the_country_that_the_text_names(matcher: Matcher) -> None:
    assert found(matcher, "University of Southampten, UK") == {"University of Southampton"}
    assert found(matcher, "University of Southampten, Japan") == set()


def test_a_listed_university_of_the_us_is_that_of_its_territory_of_the_same_name() -> None:
    rows = [
        (f"{kind} of Puerto Rico", "United States", "US", ())
        for kind in ("University", "Polytechnic University")
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    known = load(shipped("data", "institutions.csv"), shipped("data", "organisations.csv"), table)
    for name, *_ in rows:
        assert Matcher(known).universities(name, "US") == Matcher(known).universities(name, "PR")


def test_state_and_federal_universities_of_brazil_have_an_english_name() -> None:
    rows = [("Universidade Federal da Paraíba", "BR"), ("Universidade Estadual do Ceará", "BR")]
    table = pd.DataFrame([(name, "Brazil", code, ()) for name, code in rows], columns=COLUMNS)
    known = Matcher(load(shipped("data", "institutions.csv"), shipped("data", "organisations.csv"), table))
    assert found(known, "Federal University of Paraíba") == {"Universidade Federal da Paraíba"}
    assert found(known, "State University of Ceará, Brazil") == {"Universidade Estadual do Ceará"}


def test_a_state_of_the_us_is_no_country_of_the_same_name(matcher: Matcher) -> None:
    assert found(matcher, "Georgia Institute of Technology, Atlanta, Georgia") == {
        "Georgia Institute of Technology"
    }
    assert found(matcher, "Johns Hopkins University, Baltimore, Maryland, USA") == {
        "Johns Hopkins University"
    }


def test_identifiers_of_the_registry_name_one_university_each() -> None:
    table = pd.read_csv(shipped("data", "institutions.csv"), keep_default_na=False)
    named = table[table["ror"] != ""].set_index("name")["ror"]
    assert named["Massachusetts Institute of Technology"] == "https://ror.org/042nb2s44"
    assert named.is_unique
    assert len(named) > 200


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Tokyo University of Agriculture and Forest Enginering", set()),
        ("Tokyo University of Agriculture and Statistics", {"Tokyo University of Agriculture"}),
    ],
)
def test_a_name_that_goes_on_as_a_longer_one_misspelt_is_not_the_shorter_one(
    text: str, names: set[str]
) -> None:
    longer = ("Tokyo University of Agriculture and Forest Engineering", "Japan", "JP", ("forest.jp",))
    shorter = ("Tokyo University of Agriculture", "Japan", "JP", ("nodai.jp",))
    table = pd.DataFrame([*LISTED, longer, shorter], columns=COLUMNS)
    two = Matcher(load(shipped("data", "institutions.csv"), shipped("data", "organisations.csv"), table))
    assert found(two, f"Department of X {text} Fuchu") == names


@pytest.mark.parametrize(
    "text",
    [
        "Nanjing University of Fine Cooking",
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
        ("University of Southern Californa", "University of Southern California"),
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


LIST = pd.DataFrame(LISTED, columns=COLUMNS)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("name,country\n", "line 1: no column ror, aliases"),
        ("name,country,ror,aliases\nMIT,US,\n", "line 2: 3 fields, the heading has 4"),
        ("name,country,ror,aliases\nMIT,USA,,\n", "line 2: country"),
        ("name,country,ror,aliases\nMIT,US,042nb2s44,\n", 'line 2: ror is "042nb2s44"'),
        (
            "name,country,ror,aliases\nA College X,US,,AX\nB College Y,US,,AX\n",
            'line 3: "AX" is also a name of A College X',
        ),
        ("name,country,ror,aliases\nThe University,US,,\n", "identifies nobody"),
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
    with pytest.raises(DataError, match='kind is "firm"'):
        load(shipped("data", "institutions.csv"), path, LIST)


def test_an_unknown_country_is_refused(matcher: Matcher) -> None:
    assert matcher.gazetteer.country("Korea, South", "here") == "KR"
    with pytest.raises(DataError, match='country "Atlantis" is unknown'):
        matcher.gazetteer.country("Atlantis", "TOP500 1993-06")
