"""Bad input, through the command line and Python: each is one line that says what, where, what to do."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_line import command

import study
from study import Panel, Question, StudyError


@cache
def labs() -> pd.DataFrame:
    """Return 24 labs over 2010-2019; a third is treated in 2014, a third in 2016."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame([(f"lab{i:02}", year) for i in range(24) for year in range(2010, 2020)])
    table.columns = ["lab", "year"]
    number = table["lab"].str[3:].astype(int)
    table["entry"] = (number % 3).map({0: np.nan, 1: 2014.0, 2: 2016.0})
    table["on"] = (table["year"] >= table["entry"]).astype(int)
    table["access"] = table["on"] * (table["year"] != 2018)
    table["papers"] = number + rng.poisson(3, len(table)) + 2 * table["on"]
    table["size"], table["funding"] = number * 1.0, rng.normal(size=len(table))
    table["country"] = np.where(number < 12, "US", "CH")
    return table


def changed(row: int, column: str, value: Any) -> pd.DataFrame:
    table = labs().astype(object)
    table.loc[row, column] = value
    return table


FILES: dict[str, Callable[[], pd.DataFrame | bytes]] = {
    "own.csv": labs,
    "short.csv": lambda: labs().rename(columns={"lab": "unit", "year": "time"}),
    "twice.csv": lambda: pd.concat([labs(), labs().iloc[[5]]]),
    "gap.csv": lambda: labs()[labs()["year"] != 2013],
    "text.csv": lambda: changed(3, "papers", "many"),
    "infinite.csv": lambda: changed(3, "papers", "1e999"),
    "nolab.csv": lambda: changed(3, "lab", ""),
    "noyear.csv": lambda: changed(3, "year", ""),
    "dates.csv": lambda: labs().assign(year=labs()["year"].astype(str) + "-05-01"),
    "months.csv": lambda: labs().assign(year=(labs()["year"] - 2009).map("2010-{:02d}".format)),
    "half.csv": lambda: labs().assign(year=labs()["year"] + 0.5),
    "late.csv": lambda: labs().assign(entry=labs()["entry"] * 10),
    "moves.csv": lambda: changed(15, "entry", 2015),
    "country.csv": lambda: changed(15, "country", "FR"),
    "two.csv": lambda: changed(15, "on", 2),
    "everyone.csv": lambda: labs().assign(entry=2014),
    "nobody.csv": lambda: labs().assign(entry=np.nan),
    "already.csv": lambda: labs().assign(entry=labs()["entry"] - 10),
    "empty.csv": lambda: b"",
    "heading.csv": lambda: labs().iloc[:0],
    "doubled.csv": lambda: b"lab,year,papers,papers,entry\na,2010,1,1,\n",
    "ragged.csv": lambda: b"lab,year,papers,entry\na,2010,1,\na,2011,1,2,\n",
    "semicolons.csv": lambda: b"lab;year;papers;entry\na;2010;1;\n",
    "tabs.csv": lambda: b"lab\tyear\tpapers\tentry\na\t2010\t1\t\n",
    "bars.csv": lambda: b"lab|year|papers|entry\na|2010|1|\n",
    "latin.csv": lambda: "lab,year,papers,entry\nZürich,2010,1,\n".encode("latin-1"),
    "wide16.csv": lambda: "lab,year,papers,entry\n".encode("utf-16"),
    "wide.csv": lambda: b"lab,entry,2010,2011,2012\na,,1,2,3\n",
    "page.csv": lambda: b"<!doctype html><html></html>",
    "bad.json": lambda: b'{"lab": 1}',
    "bad.sav": lambda: b"$FL2@(#) SPSS DATA FILE",
    "soon.csv": lambda: labs().assign(entry=labs()["entry"].astype(object).fillna("soon")),
    "bad.parquet": lambda: b"PAR1 broken",
    "bad.dta": lambda: b"<stata_dta>",
    "bad.xlsx": lambda: b"PK\x03\x04 broken",
    "stata.csv": lambda: b"<stata_dta><header>",
    "bad.pdf": lambda: b"%PDF-1.7",
    "bad.h5": lambda: b"\x89HDF\r\n\x1a\n",
    "bad.pkl": lambda: b"\x80\x04\x95\x00",
    "bad.rds": lambda: b"X\n\x00\x00\x00\x02",
    "bad.sqlite": lambda: b"SQLite format 3\x00",
    "bad.gz": lambda: b"\x1f\x8b\x08broken",
}
OWN: dict[str, Any] = {
    "panel": "own.csv",
    "unit": "lab",
    "time": "year",
    "outcome": "papers",
    "event": "entry",
    "design": "sun_abraham",
}
PLAIN: dict[str, Any] = {"panel": None, "unit": None, "time": None, "event": "first_accelerator"}


def typed(which: str, changes: dict[str, Any]) -> list[str]:
    """Return the words of a command with options of their own, None for what is left out."""
    words = [which]
    for name, value in (OWN | changes).items():
        for each in value if isinstance(value, list) else [value]:
            words += (
                [] if each is None else [f"--{name.replace('_', '-')}", *([] if each is True else [each])]
            )
    return words


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bad")
    for name, content in FILES.items():
        data = content()
        (made / name).write_bytes(data if isinstance(data, bytes) else data.to_csv(index=False).encode())
    (made / "a folder").mkdir()
    (made / "folder.tex").mkdir()
    return made


ASKED: list[tuple[str, dict[str, Any], str]] = [
    # Columns
    ("estimate", {"unit": None}, 'own.csv: there is no column "unit". Known:'),
    ("estimate", {"unit": None}, "Name the unit column with --unit."),
    ("estimate", {"time": None}, "Name the period column with --time."),
    ("estimate", {"unit": "LAB"}, 'Did you mean "lab"?'),
    ("estimate", {"unit": ""}, 'there is no column ""'),
    ("estimate", {"outcome": "paper"}, 'there is no column "paper". Did you mean "papers"?'),
    ("compare", {"event": "entri"}, 'there is no column "entri". Did you mean "entry"?'),
    ("table", {"covariate": "sise"}, 'there is no column "sise". Did you mean "size"?'),
    ("estimate", {"cluster": "contry"}, 'there is no column "contry". Did you mean "country"?'),
    ("estimate", {"weights": "sizes"}, 'there is no column "sizes". Did you mean "size"?'),
    ("estimate", {"instrument": "fund"}, 'Did you mean "funding"?'),
    (
        "estimate",
        {"covariate": "country"},
        "country=US is explained by the fixed effects and the other regressors; leave it out.",
    ),
    ("estimate", {"outcome": "country"}, 'column country holds "US" on line 2'),
    ("estimate", {"time": "lab"}, 'column lab holds "lab00" on line 2; a period is a whole number.'),
    ("estimate", {"unit": "year", "time": "lab"}, "a period is a whole number"),
    ("estimate", {"unit": "country"}, "unit-periods appear twice, first (US, 2010) on line 2 and line 12"),
    ("estimate", {"cluster": "year"}, "column year changes within lab00"),
    (
        "estimate",
        {"outcome": "entry", "event": "papers"},
        "an impossible event period for a panel of 2010 to 2019",
    ),
    ("estimate", {"outcome": ""}, "--outcome is empty or has an empty name"),
    ("compare", {"outcome": "papers,"}, "--outcome is empty or has an empty name"),
    ("estimate", {"outcome": "papers,papers"}, '--outcome: "papers" is named twice; name it once.'),
    ("table", {"outcome": ["papers", "papers"]}, '--outcome: "papers" is named twice; name it once.'),
    ("estimate", {"covariate": "size,size"}, '--covariate: "size" is named twice; name it once.'),
    ("estimate", {"outcome": None}, "Missing option '--outcome'"),
    ("estimate", {"event": None}, "Missing option '--event'"),
    # Events
    ("estimate", {"event": "on"}, "column on holds 0 and 1 (1 for lab01 on line 16)"),
    (
        "estimate",
        {"event": "on"},
        "which is a treatment by period and no first treated period; add --binary.",
    ),
    ("estimate", {"binary": True}, "column entry is 2014 for (lab01, 2010); a treatment is 0 or 1."),
    ("estimate", {"binary": True}, "It looks like first treated periods: leave out --binary."),
    (
        "estimate",
        {"binary": True, "event": "access"},
        "access goes back to 0 for lab01 in 2018, and for 15 more",
    ),
    ("estimate", {"binary": True, "event": "access", "lag": "1"}, "access is not absorbing, so lag and"),
    ("estimate", {"event": "on", "binary": True, "panel": "two.csv"}, "column on is 2 for (lab01, 2015)"),
    ("estimate", {"event": "on", "binary": True, "ambiguous": "often"}, 'there is no ambiguous "often"'),
    (
        "estimate",
        {"panel": "late.csv"},
        "column entry is 20140 for lab01 on line 12, an impossible event period",
    ),
    ("estimate", {"panel": "moves.csv"}, "column entry changes within lab01 between line 12 and line 17"),
    ("estimate", {"panel": "everyone.csv"}, "all units of everyone.csv are treated by entry at once"),
    ("estimate", {"panel": "nobody.csv"}, "nobody in nobody.csv is first treated by entry inside 2010-2019"),
    ("estimate", {"panel": "already.csv"}, "16 units already treated in 2010"),
    ("estimate", {"panel": "soon.csv"}, 'column entry holds "soon" on line 2; it must be a number, or empty'),
    ("estimate", {"panel": "soon.csv"}, "of your own, name it: --never soon."),
    ("estimate", {"panel": "soon.csv", "never": "later"}, 'column entry holds "soon" on line 2'),
    ("estimate", {"panel": "late.csv"}, "empty if the unit is never treated (or say --never 20140)."),
    # Periods
    (
        "estimate",
        {"panel": "dates.csv"},
        'column year holds "2010-05-01" on line 2; a period is a whole number',
    ),
    ("estimate", {"panel": "gap.csv"}, "(a biennial panel), use --period rank."),
    ("estimate", {"period": "fortnight"}, 'there is no period "fortnight"'),
    ("estimate", {"panel": "dates.csv", "period": "month"}, "periods jump from 2010-05-01 to 2011-05-01"),
    ("table", {"panel": "dates.csv", "period": "day"}, "periods jump from 2010-05-01 to 2011-05-01"),
    (
        "compare",
        {"panel": "months.csv", "period": "month"},
        'column entry holds "2014.0" on line 12; it must be a date in a certain month',
    ),
    # Files
    ("estimate", {"panel": "owm.csv"}, "owm.csv: there is no such file."),
    ("estimate", {"panel": "a folder"}, 'there is no panel "a folder"'),
    ("estimate", PLAIN | {"panel": "cvprr"}, 'there is no panel "cvprr". Did you mean "cvpr"?'),
    ("estimate", PLAIN | {"panel": ""}, 'there is no panel ""'),
    (
        "estimate",
        PLAIN | {"unit": "lab"},
        "--unit is about a file; cvpr ships, so leave it out or name --panel.",
    ),
    ("compare", PLAIN | {"binary": True}, "--binary is about a file"),
    ("estimate", PLAIN | {"period": "month"}, "--period is about a file"),
    ("estimate", PLAIN | {"never": "9999"}, "--never is about a file"),
    ("estimate", {"panel": "empty.csv"}, "it is empty"),
    ("estimate", {"panel": "heading.csv"}, "the table has no rows"),
    ("estimate", {"panel": "doubled.csv"}, 'the heading has "papers" more than once'),
    ("estimate", {"panel": "ragged.csv"}, "line 3 has 5 fields, the heading has 4"),
    ("estimate", {"panel": "semicolons.csv"}, "semicolons"),
    ("estimate", {"panel": "tabs.csv"}, "tabs"),
    ("estimate", {"panel": "bars.csv"}, "vertical bars"),
    ("estimate", {"panel": "latin.csv"}, "on line 2 is not UTF-8"),
    ("estimate", {"panel": "wide16.csv"}, "it is text in UTF-16"),
    ("estimate", {"panel": "wide.csv"}, "The columns 2010, 2011, 2012, ... look like periods"),
    ("estimate", {"panel": "page.csv"}, "it is a web page or XML"),
    ("estimate", {"panel": "bad.json"}, "it is JSON"),
    ("estimate", {"panel": "bad.parquet"}, "not a readable Parquet file"),
    ("estimate", {"panel": "bad.dta"}, "not a readable Stata file"),
    ("estimate", {"panel": "bad.xlsx"}, "not a readable Excel file"),
    ("estimate", {"panel": "stata.csv"}, "it is a Stata file"),
    ("estimate", {"panel": "bad.sav"}, "it is an SPSS file"),
    ("estimate", {"panel": "bad.pdf"}, "it is a PDF"),
    ("estimate", {"panel": "bad.h5"}, "it is an HDF5 file"),
    ("estimate", {"panel": "bad.pkl"}, "it is a Python pickle"),
    ("estimate", {"panel": "bad.rds"}, "it is an R object"),
    ("estimate", {"panel": "bad.sqlite"}, "it is an SQLite database"),
    ("estimate", {"panel": "bad.gz"}, "the gzip archive is damaged"),
    # Cells
    (
        "compare",
        {"panel": "twice.csv"},
        "1 unit-period appears twice, first (lab00, 2015) on line 7 and line 242",
    ),
    ("estimate", {"panel": "gap.csv"}, "periods jump from 2012 to 2014"),
    (
        "estimate",
        {"panel": "text.csv"},
        'column papers holds "many" on line 5; it must be a number such as 1234.5, or empty.',
    ),
    ("estimate", {"panel": "infinite.csv"}, 'column papers holds "1e999" on line 5'),
    ("estimate", {"panel": "nolab.csv"}, "column lab is empty on line 5"),
    ("estimate", {"panel": "noyear.csv"}, 'column year holds "" on line 5'),
    ("estimate", {"panel": "half.csv"}, 'column year holds "2010.5" on line 2'),
    ("estimate", {"panel": "country.csv", "cluster": "country"}, "column country changes within lab01"),
    # Values of the question
    ("estimate", {"scale": "log"}, '--scale: there is no scale "log". Did you mean "log1p"?'),
    ("estimate", {"average": "event"}, '--average: there is no average "event"'),
    ("estimate", {"comparison": "never"}, '--comparison: there is no comparison "never"'),
    ("estimate", {"base": "fixed"}, '--base: there is no base "fixed"'),
    ("estimate", {"missing": "drop"}, '--missing: there is no missing "drop"'),
    ("estimate", {"min_cohort_size": "0"}, "--min-cohort-size is 0; it must be at least 1."),
    ("estimate", {"cohort_width": "0"}, "--cohort-width is 0; it must be at least 1."),
    ("estimate", {"anticipation": "-1"}, "--anticipation is -1; it must be at least 0."),
    ("estimate", {"anticipation": "12"}, "--anticipation is 12, which is out of the window of 10 periods"),
    ("table", {"lag": "30"}, "--lag is 30, which is out of the window of 10 periods, 2010-2019"),
    ("compare", {"average": "event_average", "horizon": "50"}, "--horizon is 50, but the last event time"),
    ("estimate", {"horizon": "two"}, "Invalid value for '--horizon'"),
    ("estimate", {"balance": "-1"}, "--balance is -1; it must be at least 0"),
    (
        "estimate",
        {"average": "event_average", "balance": "6"},
        "--balance is 6, but no cohort of own.csv is seen later than event time 5, that of",
    ),
    (
        "estimate",
        {"average": "event_average", "balance": "2", "design": "twfe"},
        "twfe: it cannot answer a question with a balance of cohorts",
    ),
    (
        "estimate",
        {"average": "event_average", "balance": "2", "horizon": "3"},
        "--horizon is 3, but with --balance 2 effects end at event time 2",
    ),
    ("estimate", {"covariate": "country=FR"}, 'there is no country "FR". Known: CH, US.'),
    ("estimate", {"covariate": "country!=FR"}, "covariate country!=FR is 1 for every unit of the sample"),
    ("estimate", {"population": "country=FR"}, 'there is no country "FR"'),
    (
        "estimate",
        {"population": "papers>3"},
        "papers is an outcome, and a population is fixed before treatment",
    ),
    ("estimate", {"population": "size>"}, "has no number right of >"),
    ("estimate", {"covariate": "size", "instrument": "size"}, "size is both the instrument and a covariate"),
    ("estimate", {"level": "95"}, "--level is 95.0; it must lie between 0 and 1, for example 0.95."),
    ("compare", {"level": "0"}, "--level is 0.0; it must lie between 0 and 1"),
    # Designs and their options
    ("estimate", {"design": "sunab"}, 'there is no design "sunab". Did you mean "sun_abraham"?'),
    ("compare", {"design": "twfe,twfe"}, '--design: "twfe" is named twice; name it once.'),
    ("compare", {"design": "twfe,,etwfe"}, "--design is empty or has an empty name"),
    ("estimate", {"design": "dml_iv"}, "the question has no instrument; name one with --instrument."),
    ("estimate", {"option": "variance"}, "write NAME=VALUE, for example folds=5."),
    ("estimate", {"option": "method=dr"}, 'sun_abraham: there is no option "method". Known: variance.'),
    (
        "estimate",
        {"option": "horizon=2"},
        "horizon is part of what is asked and no option; say it with --horizon.",
    ),
    ("estimate", {"option": "variance=robust"}, 'sun_abraham: there is no variance "robust"'),
    ("estimate", {"design": "poisson_twfe", "scale": "log1p"}, "use --scale proportional"),
    ("estimate", {"vcov": "HC1"}, "--vcov HC1 assumes that the periods of one unit are independent"),
    ("estimate", {"base": "varying"}, "a question with --base varying"),
    ("compare", {"draws": "0"}, "--draws is 0; it must be a whole number, at least 1."),
    ("compare", {"seed": "-1"}, "--seed is -1; it must be a whole number, at least 0."),
    ("estimate", {"design": "dml_panel", "jobs": "0"}, "--jobs is 0; give a number of processes"),
    ("compare", {"design": "dml_panel", "jobs": "0"}, "--jobs is 0; give a number of processes"),
    ("estimate", {"terms": "events"}, 'there is no terms "events". Did you mean "event_time"?'),
    (
        "estimate",
        {"terms": "cohort", "design": "event_study"},
        'its terms are by event time, so "cohort" cannot',
    ),
    ("estimate", {"event": "on", "binary": True, "ambiguous": "never"}, 'there is no ambiguous "never"'),
    # Figures
    ("estimate", {"title": "Effects"}, "--title is about a figure; add --plot FILE."),
    ("compare", {"label": "papers=Papers"}, "--label is about a figure; add --plot FILE."),
    ("estimate", {"plot": "a.png", "label": "papers"}, "--label papers: write NAME=WORDS"),
    (
        "estimate",
        {"plot": "a.png", "label": "paper=Papers"},
        'no name to label "paper". Did you mean "papers"?',
    ),
    ("estimate", {"plot": "a.jpg"}, "a figure is a .pdf, .png or .svg file; name one."),
    # Outputs
    ("estimate", {"format": "pdf"}, 'there is no format "pdf"'),
    ("estimate", {"output": "out.xyz"}, 'there is no format for the ending ".xyz". Known: .csv'),
    ("compare", {"output": "out"}, 'there is no format for the ending ""'),
    ("estimate", {"output": "own.csv/out.tex"}, "own.csv: cannot write here"),
    ("estimate", {"output": "folder.tex"}, "folder.tex: this is a folder, and is not replaced by a file"),
    ("estimate", {"plots": "x"}, "No such option: --plots"),
]


@pytest.mark.parametrize(("which", "changes", "said"), ASKED, ids=[f"{w} {c}"[:70] for w, c, _ in ASKED])
def test_a_command_says_in_one_line_what_is_wrong_and_which_option_mends_it(
    which: str, changes: dict[str, Any], said: str, folder: Path
) -> None:
    before = sorted(folder.rglob("*"))
    done = command(*typed(which, changes), cwd=folder)
    assert done.returncode == 2, done.stdout
    *progress, message = done.stderr.strip().splitlines()
    assert said in message
    assert message.startswith("study: ")
    assert not [line for line in progress if "Traceback" in line]
    assert not done.stdout
    assert sorted(folder.rglob("*")) == before


@cache
def panel() -> Panel:
    roles: dict[str, Any] = {"first_treated": "entry", "outcomes": ["papers"], "covariates": ["size"]}
    return Panel.from_long(labs(), unit="lab", time="year", attributes=["country"], **roles)


@cache
def question() -> Question:
    return Question("papers", "entry")


def did(formula: str, **options: Any) -> study.Estimate:
    return study.did(formula, labs(), **({"first_treated": "entry"} | options))


SAID: list[tuple[Callable[[], Any], str]] = [
    # Arguments in the wrong order, lists for one and one for lists
    (
        lambda: study.estimate(question(), panel()),
        "panel and question are swapped; write estimate(panel, question).",
    ),
    (
        lambda: study.compare(question(), panel()),
        "panel and question are swapped; write compare(panel, question).",
    ),
    (lambda: study.did(labs(), "papers ~ 1 | lab + year"), "formula is a DataFrame; it must be a text."),
    (
        lambda: study.estimate("cvpr", question()),
        "estimate: panel is 'cvpr'; it must be a Panel or a LargePanel.",
    ),
    (lambda: study.estimate(panel(), "papers"), "estimate: question is 'papers'; it must be a Question."),
    (lambda: study.estimate(panel(), question(), ["twfe"]), "give one, or several to study.compare."),
    (
        lambda: study.compare(panel(), question(), "twfe"),
        "designs is 'twfe'; it must be a sequence of texts or tuples or None, as in designs=[\"twfe\"].",
    ),
    (lambda: study.compare(panel(), question(), []), "designs is empty"),
    (lambda: study.compare(panel(), question(), ["twfe", "twfe"]), 'two designs have the label "twfe"'),
    (lambda: study.compare(panel(), question(), ["twfe"], "papers"), 'as in outcomes=["papers"]'),
    (lambda: study.compare(panel(), question(), ["twfe"], ["papers"] * 2), "give a list of different names"),
    (lambda: study.load_panel(["cvpr"]), "name is ['cvpr']; it must be a text; give one at a time."),
    (lambda: study.load_panel("cvprr"), 'Did you mean "cvpr"?'),
    # Questions
    (lambda: Question(["papers"], "entry"), "outcome is ['papers']; it must be a text; give one, or several"),
    (lambda: Question("papers", ["entry"]), "event is ['entry']; it must be a text; give one at a time."),
    (lambda: Question("papers", "entry", covariates="size"), 'as in covariates=["size"].'),
    (
        lambda: Question("papers", "entry", average="event_average", horizon="2"),
        "horizon is '2'; it must be a whole number or None.",
    ),
    (lambda: Question("papers", "entry", scale="logs"), 'there is no scale "logs"'),
    (lambda: question().replace(outcom="papers"), 'there is no field "outcom". Did you mean "outcome"?'),
    (
        lambda: Question("entry", "papers").sample(panel()),
        "entry is an event and papers an outcome; swap outcome=",
    ),
    (
        lambda: Question("paper", "entry").sample(panel()),
        'there is no outcome "paper". Did you mean "papers"?',
    ),
    (lambda: question().replace(cluster="state").sample(panel()), 'there is no attribute "state"'),
    (lambda: question().sample(labs()), "panel is a DataFrame; it must be a Panel or a LargePanel."),
    # Tables
    (
        lambda: Panel.from_long([1], unit="a", time="b", outcomes="c"),
        "data is [1]; give a DataFrame of pandas or polars",
    ),
    (lambda: Panel.from_long(labs(), unit="unit", time="year", outcomes="papers"), "unit column with unit=."),
    (lambda: Panel.from_long(labs(), unit="lab", time="year", outcomes="papers"), "no event is named"),
    (lambda: did("papers ~ 1 | lab + year", first_treated="on"), 'give it as treatment="on".'),
    (
        lambda: did("papers ~ 1 | lab + year", first_treated=None, treatment="entry"),
        'give it as first_treated="entry".',
    ),
    # Estimates
    (lambda: study.estimate(panel(), question(), "sunab"), 'Did you mean "sun_abraham"?'),
    (lambda: study.estimate(panel(), question(), "twfe", folds=2), 'twfe: there is no option "folds"'),
    (
        lambda: study.estimate(panel(), question(), "twfe", covariates=["size"]),
        "covariates is part of what is asked and no option; say it with Question(covariates=...).",
    ),
    (
        lambda: study.estimate(panel(), question(), vcov="HC1"),
        'vcov="HC1" assumes that the periods of one unit are independent',
    ),
    (lambda: study.estimate(panel(), question()).aggregate("time"), '"time"'),
    (lambda: study.estimate(panel(), question()).tidy(95), "level is 95; it must lie between 0 and 1"),
    # Formulas
    (lambda: did("papers"), "is not of the form outcome ~ covariates | unit + time: it has no ~."),
    (lambda: did("papers ~ 1"), "it does not say | unit + time."),
    (lambda: did("papers ~ 1 | lab"), "after | stand the unit and the period, and nothing else."),
    (
        lambda: did("papers ~ 1 | lab + year + country"),
        "after | stand the unit and the period, and nothing else.",
    ),
    (lambda: did("papers ~ 1 | lab + year | size ~ funding"), "it has more than one ~."),
    (lambda: did("papers ~ 1 | lab + year | size"), "instruments are named by instrument=."),
    (lambda: did("papers + size ~ 1 | lab + year"), "it has several outcomes; give them to study.compare."),
    (lambda: did("log(papers) ~ 1 | lab + year"), '"log(papers)" is no column name'),
    (lambda: did("papers ~ i(year, on) | lab + year"), '"i(year, on)" is no column name'),
    (lambda: did("papers ~ size:funding | lab + year"), '"size:funding" is no column name'),
    (lambda: did("papers ~ | lab + year"), "a name is missing; write 1 where there is no covariate."),
    (lambda: did("paper ~ 1 | lab + year"), 'there is no column "paper". Did you mean "papers"?'),
    (lambda: did("papers ~ 1 | lab + year", first_treated=None), "give one of first_treated="),
    (lambda: did("papers ~ 1 | lab + year", treatment="on"), "give one of first_treated="),
    (
        lambda: did("papers ~ 1 | lab + year", cluser="country"),
        'there is no option "cluser". Did you mean "cluster"?',
    ),
    (lambda: did("papers ~ 1 | lab + year", outcome="size"), 'did: there is no option "outcome"'),
    (lambda: did(["papers ~ 1 | lab + year"]), "it must be a text; give one at a time."),
]


@pytest.mark.parametrize(("call", "said"), SAID, ids=[said[:60] for _, said in SAID])
def test_a_call_says_in_one_line_what_is_wrong(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(StudyError) as error:
        call()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_table_of_bad_input_is_long_and_says_each_thing_once() -> None:
    rows = [(which, str(changes), said) for which, changes, said in ASKED]
    assert len({*rows}) + len(SAID) >= 150
