"""What the words around a name in an affiliation tell: units, legal forms, campuses, names of several."""

from __future__ import annotations

from study.data.institutions.gazetteer import SYSTEMS
from study.data.institutions.names import words as word_set

LEGAL_FORMS = word_set(
    "inc incorporated ltd limited gmbh corp corporation llc llp co company plc pte ag kk bv oy ab spa srl sas"
)
# The legal forms that may stand alone after a comma; the others are also places ("Denver, CO").
ALONE = word_set("inc incorporated ltd limited gmbh corp corporation llc")
# Names with campuses, some of which are the everyday name of the first campus.
WITH_CAMPUS = (
    SYSTEMS
    | frozenset(
        f"university of {state}"
        for state in word_set(
            "illinois maryland massachusetts michigan minnesota wisconsin colorado tennessee nebraska houston "
            "missouri alaska alabama arkansas hawaii"
        )
    )
    | {"university of north carolina", "rutgers university", "indiana university", "insa", "inp"}
)
# First words of the names of their other campuses and schools that are universities of their own.
OTHER_CAMPUS = word_set(
    "stout milwaukee eau oshkosh platteville parkside river stevens superior whitewater flint dearborn duluth "
    "morris crookston springfield worcester lowell boston dartmouth eastern global denver anschutz springs "
    "martin chattanooga medical health kearney omaha downtown clear kansas st rolla huntsville birmingham little "
    "fort pine hilo wilmington greensboro asheville pembroke purdue south east northwest kokomo southeast"
)
# Places that look like names of universities.
PLACES = frozenset({"university park", "college park", "university city", "university of park"})
# Words with which another name begins ("Technische University Munich" is not the University of Munich).
ADJECTIVES = word_set(
    "technical technische tecnica technological polytechnic medical catholic normal national american open free "
    "agricultural christian islamic azad royal pedagogical federal"
)
# What follows the name of a university after which a street is named.
STREETS = word_set("road rd street avenue ave boulevard blvd drive circle crescent")
# A university's own parts: words that may stand before or after its name in one piece.
UNITS = word_set(
    "department departments school schools laboratory laboratories institute center centers faculty college "
    "division group chair section program programme team unit hospital robotics vision csail ai ece cse eecs "
    "cs computing dep graduate key joint mmlab campus postdoc faculdade facultad facolta faculte fakultat dipartimento "
    "departamento departement laboratoire laboratorio lehrstuhl escuela institut instituto istituto depto dpto fak "
    "station box equipe ag robotik hci ri dei disi dist dibris diten diro deec fct psi iminds csc cluster mmci umr"
)
# What departments are named after: a name that follows such a word begins there.
SUBJECTS = word_set(
    "engineering science sciences informatics mathematics statistics physics psychology robotics medicine "
    "systems automation electronics computation neuroscience learning mechanics linguistics economics biology "
    "chemistry aeronautics mechatronics manufacturing cybernetics intelligence research education "
    "behaviour behavior modelling modeling informatik systeme industrial organisation student undergraduate lecturer "
    "candidate professor fellow university universite institute college hospital academy"
)
JOINS = word_set("and with from to formerly done")
BEFORE_NAME = UNITS | SUBJECTS | JOINS | word_set("of da de di della der del do")
LIKE_UNIVERSITY = ("univ", "instit", "college", "polytec", "ecole", "school of", "hochschule", "academy")
CONTINUES = word_set("of for de di da do del della degli du des fur y university college universitat")

# Where two curated universities share a name, the country of the one that is meant if none stands beside it.
DEFAULTS = {
    name: code
    for code, names in {
        "CN": "tsing hua university, tsinghua university, hit, hust, soochow university",
        "DK": "aau, sdu",
        "DE": "fau",
        "FR": "isir",
        "AU": "monash university, university of newcastle",
        "NO": "ntnu",
        "SG": "ntu, smu",
        "GB": "open university, ucl",
        "US": "uab, uah, uga, unl, northeastern university",
        "ES": "upm",
        "CA": "york university, queens university",
        "CO": "universidad de los andes, university of los andes, los andes university",
        "TW": "national defense university",
    }.items()
    for name in names.split(", ")
}
