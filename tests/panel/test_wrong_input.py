"""Wrong input of any kind: a right answer or a StudyError of one line, and never anything else."""

from __future__ import annotations

import gzip
import inspect
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import simulated
from hypothesis import given, settings
from hypothesis import strategies as st

import study
from study import Panel, Question, QuestionError, StudyError, estimate
from study.commands import options
from study.commands.cli import app
from study.core import hints_of
from study.designs import all_designs

EXAMPLES = 40

BIG = 10**400
TABLE = pd.DataFrame(
    {
        "unit": np.repeat(["A", "B", "C"], 3),
        "year": [2014, 2015, 2016] * 3,
        "event": np.repeat([2016.0, 2015.0, np.nan], 3),
        "grant": [0, 0, 1, 0, 1, 1, 0, 0, 0],
        "y": [1.0, 2.0, 4.0, 2.0, 4.0, 5.0, 1.0, 3.0, 3.0],
        "x": np.arange(9.0),
        "country": np.repeat(["CH", "US", "US"], 3),
    }
)
ROLES: dict[str, Any] = {
    "unit": "unit",
    "time": "year",
    "first_treated": "event",
    "treatment": "grant",
    "outcomes": "y",
    "covariates": "x",
    "attributes": "country",
}


def panel_of(table: Any, **roles: Any) -> Panel:
    return Panel.from_long(table, **(ROLES | roles))


def error_of(call: Callable[[], Any]) -> str | None:
    """Return the one line of a StudyError, None where there is an answer; any other error is one of the test."""
    said = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except StudyError as error:
        said = str(error)
    assert said is None or ("\n" not in said and len(said) < 1000)
    return said


plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 2030),
    st.sampled_from([BIG, -BIG, 2**70, -(2**63), 1e308, -1e308, np.inf, np.nan, 1j, 2 + 0j, 0.5, -0.0]),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["twfe", "y", "event", "lasso", "1e999", "a\nb", "\ud800", "\0", "=1", "x>=1", "é"]),
    st.binary(max_size=3),
    st.sampled_from(
        [np.float64("nan"), np.int64(-1), np.bool_(True), np.datetime64("2014"), np.array(3), np.str_("y")]
    ),
    st.sampled_from(
        [Decimal("NaN"), Fraction(1, 3), date(2014, 1, 1), timedelta(1), pd.NA, pd.NaT, pd.Period("2014")]
    ),
    st.sampled_from(
        [object(), int, print, np.zeros((2, 2)), np.array(["a"]), pd.DataFrame(), pd.Series([1])]
    ),
)
values = st.one_of(
    plain,
    st.lists(plain, max_size=3),
    st.lists(plain, max_size=2).map(tuple),
    st.dictionaries(st.text(max_size=3), plain, max_size=2),
    st.builds(lambda: Question("y", "event")),
    st.builds(lambda: small()),
)


@cache
def small() -> Panel:
    return simulated.panel(n=40, level=5.0)


@cache
def good() -> dict[str, Any]:
    """Return arguments by name with which every public function has an answer, or a cheap refusal."""
    panel, question = small(), Question("y", "event")
    fit = estimate(panel, question, "twfe")
    return {
        "panel": panel,
        "question": question,
        "sample": question.sample(panel),
        "design": "twfe",
        "fit": estimate(panel, question),
        "fits": {"twfe": fit},
        "models": fit,
        "eras": ((3, 5), (6, 8)),
        "outcomes": ["y"],
        "scores": None,
        "by": "state",
        "name": "cvpr",
        "path": "no such file.npz",
        "formula": "y ~ 1 | unit + year",
        "data": TABLE,
    }


CHEAP = {
    "draws": 19,
    "permutations": 9,
    "folds": 2,
    "repetitions": 1,
    "trees": 4,
    "learner": "linear",
    "most": 1,
    "jobs": 1,
    "first_treated": "event",
}
# Where a value that is right is a long computation, or starts processes.
NEVER = {"jobs", "progress", "trees", "repetitions", "seeds", "draws", "permutations"}


def public_functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    for room in (study, study.diagnostics, study.heterogeneity):
        for name in room.__all__:
            member = getattr(room, name)
            if inspect.isfunction(member) and name not in (
                "design",
                "diagnostic",
                "all_designs",
                "all_diagnostics",
            ):
                yield name, member


FUNCTIONS = dict(public_functions())
ARGUMENTS = [
    (name, argument.name)
    for name, function in FUNCTIONS.items()
    for argument in inspect.signature(function).parameters.values()
    if argument.kind in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY)
]
WRONG: tuple[Any, ...] = (
    object(),
    BIG,
    -1.5,
    b"x",
    {"a": None},
    [[]],
    ("a", {}),
    np.zeros((2, 2)),
    int,
    ["abc"],
    "\ud800",
)


def call(name: str, argument: str, value: Any) -> None:
    parameters = inspect.signature(FUNCTIONS[name]).parameters
    needed = {key: good()[key] for key, p in parameters.items() if p.default is p.empty and key in good()}
    cheap = {key: value for key, value in CHEAP.items() if key in parameters}
    FUNCTIONS[name](**(needed | cheap | {argument: value}))


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS, ids=map(".".join, ARGUMENTS))
def test_a_public_function_refuses_a_value_of_the_wrong_type_in_one_line(name: str, argument: str) -> None:
    for value in WRONG:
        error_of(lambda: call(name, argument, value))  # noqa: B023 (called at once)


@given(which=st.sampled_from([pair for pair in ARGUMENTS if pair[1] not in NEVER]), value=values)
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
def test_a_public_function_answers_or_refuses_any_value_in_one_line(
    which: tuple[str, str], value: Any
) -> None:
    if which[0] not in ("compare", "honest_did", "pretrends") or not isinstance(
        value, int | float | type(None)
    ):
        error_of(lambda: call(*which, value))


SWAPPED: list[tuple[Callable[[Panel, Question], tuple[Any, ...]], str]] = [
    (
        lambda panel, question: (question, panel),
        "estimate: panel and question are swapped; write estimate(panel, question).",
    ),
    (
        lambda _, question: ("cvpr", question),
        "estimate: panel is 'cvpr'; it must be a Panel or a LargePanel.",
    ),
    (
        lambda panel, _: (panel, {"outcome": "y"}),
        "estimate: question is {'outcome': 'y'}; it must be a Question.",
    ),
    (
        lambda panel, question: (panel, question, ["twfe"]),
        "estimate: design is ['twfe']; it must be a text; give one, or several to study.compare.",
    ),
    (lambda panel, question: (panel, question, None), "estimate: design is None; it must be a text."),
]


@pytest.mark.parametrize(("arguments", "said"), SWAPPED)
def test_swapped_arguments_are_named(arguments: Callable[..., tuple[Any, ...]], said: str) -> None:
    assert error_of(lambda: estimate(*arguments(small(), Question("y", "event")))) == said


@pytest.mark.parametrize("name", sorted(all_designs()))
def test_an_option_of_a_design_with_an_impossible_value_is_named_with_what_is_allowed(name: str) -> None:
    design = all_designs()[name]
    hints = hints_of(design.function)
    for option in design.options:
        for value in ("abc", b"x", 1.5j, BIG, -BIG, [], {}, object(), int, np.nan, np.inf, True, "\ud800"):
            if type(value) in (bool, str) and type(value) in (hints[option], *get_args(hints[option])):
                continue  # names of attributes are looked up in the panel
            said = error_of(lambda: design.check_options({option: value}))  # noqa: B023 (called at once)
            assert said is not None, (option, value)
            assert said.startswith(f"{name}: ")
            assert option in said


def test_an_option_of_the_command_that_is_no_number_is_one_line() -> None:
    asked = options.read_options(["before=abc"])
    with pytest.raises(
        QuestionError, match=r"^stacked: before is 'abc'; it must be a whole number or None\.$"
    ):
        estimate(small(), Question("y", "event"), "stacked", **asked)


@pytest.mark.parametrize("field", [each.name for each in fields(Question)])
def test_a_question_takes_or_refuses_any_value_of_a_field(field: str) -> None:
    @given(value=values)
    @settings(max_examples=EXAMPLES // 4, deadline=None, derandomize=True)
    def ask(value: Any) -> None:
        error_of(lambda: Question(**({"outcome": "y", "event": "event"} | {field: value})).sample(small()))

    ask()


def test_a_horizon_or_lag_beyond_the_window_is_refused_with_the_largest() -> None:
    asked, panel = Question("y", "event"), small()
    assert asked.replace(average="event_average", horizon=6).sample(panel).question.horizon == 6
    with pytest.raises(
        QuestionError, match="horizon is 7, but the last event time in the window of 8 periods, 1-8, is 6"
    ):
        asked.replace(average="event_average", horizon=7).sample(panel)
    assert asked.replace(lag=-2).sample(panel).cohorts.min() == 2
    for lag in (-8, 8):
        with pytest.raises(QuestionError, match=rf"lag is {lag}, .* it can be at most 7 either way"):
            asked.replace(lag=lag).sample(panel)


def test_numbers_of_numpy_ask_the_same_question() -> None:
    asked = Question(
        np.str_("y"), "event", average="event_average", horizon=np.int64(2), covariates=[np.str_("x1")]
    )
    assert repr(asked) == repr(Question("y", "event", average="event_average", horizon=2, covariates=("x1",)))


@given(
    column=st.sampled_from(list(TABLE)), cells=st.lists(values, min_size=1, max_size=9), whole=st.booleans()
)
@settings(max_examples=EXAMPLES * 2, deadline=None, derandomize=True)
def test_any_cells_make_a_panel_of_finite_numbers_or_one_line(
    column: str, cells: list[Any], whole: bool
) -> None:
    table = TABLE.astype(object)
    column_of_cells = list(table[column])
    chosen = range(9) if whole else random.Random(len(cells)).sample(range(9), min(len(cells), 9))
    for k, row in enumerate(chosen):
        column_of_cells[row] = cells[k % len(cells)]
    series = pd.Series(np.empty(9, dtype=object))
    for row, cell in enumerate(column_of_cells):
        series.iat[row] = cell
    made: list[Panel] = []
    if error_of(lambda: made.append(panel_of(table.assign(**{column: series})))) is None:
        assert not np.isinf(made[0].outcomes["y"]).any()
        assert len(made[0].checksum) == 16


TYPES: dict[str, Callable[[pd.Series], Any]] = {
    "Int64": lambda s: s.astype("Int64"),
    "Float64": lambda s: s.astype("Float64"),
    "string": lambda s: s.astype(str).astype("string"),
    "category": lambda s: s.astype("category"),
    "category of texts": lambda s: s.astype(str).astype("category"),
    "sparse": lambda s: s.astype("Sparse[float]"),
    "object": lambda s: s.astype(object),
    "decimal": lambda s: s.map(Decimal),
    "complex without an imaginary part": lambda s: s.astype(complex),
    "annual period": lambda s: pd.PeriodIndex(s.astype(int).astype(str), freq="Y"),
    "category of periods": lambda s: pd.Categorical(pd.PeriodIndex(s.astype(int).astype(str), freq="Y")),
    "objects that are periods": lambda s: s.map(lambda year: pd.Period(str(int(year)), "Y")).astype(object),
}


@pytest.mark.parametrize("kind", TYPES)
def test_years_of_any_type_are_the_same_years(kind: str) -> None:
    assert panel_of(TABLE.assign(year=TYPES[kind](TABLE["year"]).copy())).checksum == panel_of(TABLE).checksum


def test_an_annual_period_that_is_missing_is_an_empty_cell() -> None:
    event = TABLE["event"].where(TABLE["unit"] != TABLE["unit"].iloc[0])
    years = event.map(lambda year: pd.NaT if np.isnan(year) else pd.Period(str(int(year)), "Y")).astype(
        "period[Y]"
    )
    assert panel_of(TABLE.assign(event=years)).checksum == panel_of(TABLE.assign(event=event)).checksum


REFUSED: dict[str, tuple[Callable[[], pd.DataFrame], str]] = {
    "list": (
        lambda: TABLE.assign(y=[[1]] * 9),
        'column y holds "[1]" on row 1; it must be a number such as 1234.5, or empty.',
    ),
    "mapping": (lambda: TABLE.assign(unit=[{"a": 1}] * 9), "on row 1; it must be one label."),
    "boundless": (lambda: TABLE.assign(y=pd.Series([1] * 8 + [BIG], dtype=object)), 'holds "inf" on row 9'),
    "imaginary": (lambda: TABLE.assign(y=[1 + 2j] * 9), 'column y holds "(1+2j)" on row 1'),
    "quarters": (
        lambda: TABLE.assign(year=list(pd.period_range("2014Q1", periods=3, freq="Q")) * 3),
        'column year holds "2014Q1" on row 1; a period is a whole number, such as the year of a date.',
    ),
    "dates": (
        lambda: TABLE.assign(year=pd.to_datetime(TABLE["year"].astype(str), utc=True)),
        "a period is a whole number, such as the year of a date.",
    ),
    "levels of columns": (lambda: pd.concat({"a": TABLE}, axis=1), "the columns have 2 levels of names"),
    "unit in the index": (lambda: TABLE.set_index(["unit", "year"]), "unit is in the index of the table"),
    "number for a name": (lambda: TABLE.rename(columns={"y": 7}), "there is no column"),
    "column twice": (lambda: pd.concat([TABLE, TABLE["y"]], axis=1), "2 columns are called y"),
    "no rows": (lambda: TABLE.iloc[:0], "the table has no rows"),
    "nothing": (pd.DataFrame, "there is no column"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_of_the_wrong_form_is_refused_by_column_and_row(case: str) -> None:
    table, said = REFUSED[case]
    assert said in str(error_of(lambda: panel_of(table())))


def test_a_name_that_is_no_text_is_distinguished_from_one_that_is_not_there() -> None:
    numbered = TABLE.rename(columns={"year": 2015})
    assert (
        error_of(lambda: panel_of(numbered, time=2015)) == "Panel.from_long: time is 2015; it must be a text."
    )
    assert "the name of column 2015 is no text; rename it" in str(
        error_of(lambda: panel_of(numbered, time="2015"))
    )


def test_no_event_of_a_kind_is_none_or_empty() -> None:
    assert panel_of(TABLE, first_treated=None).checksum == panel_of(TABLE, first_treated=()).checksum
    assert panel_of(TABLE, outcomes=pd.Index(["y"])).checksum == panel_of(TABLE).checksum


@given(role=st.sampled_from([*ROLES, "name", "provenance", "populations", "ambiguous", "data"]), value=values)
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
def test_any_argument_of_a_panel_is_taken_or_refused(role: str, value: Any) -> None:
    error_of(lambda: panel_of(value) if role == "data" else panel_of(TABLE, **{role: value}))


@pytest.mark.parametrize("places", [range(0, 80), range(80, 10_000, 37)], ids=["heading", "rest"])
def test_a_gzip_file_with_a_changed_bit_is_read_or_refused(places: range, tmp_path: Path) -> None:
    packed = gzip.compress(TABLE.to_csv(index=False).encode(), mtime=0)
    whole, path = panel_of(TABLE).checksum, tmp_path / "own.csv.gz"
    for place in places[: len(packed) * 8]:
        if place // 8 < len(packed):
            damaged = bytearray(packed)
            damaged[place // 8] ^= 1 << place % 8
            path.write_bytes(damaged)
            made: list[Panel] = []
            if error_of(lambda: made.append(panel_of(path))) is None:  # noqa: B023 (called at once)
                assert made[0].checksum == whole


loaded = cache(study.load_panel)
ASKED = ["--outcome", "papers", "--event", "first_accelerator"]
COMMANDS: list[tuple[list[str], str]] = [
    (["estimate", *ASKED, "--design", "stacked", "--option", "before=abc"], "stacked: before is 'abc'"),
    (["estimate", *ASKED, "--design", "dml_did", "--option", "seed=-1"], "dml_did: seed is -1"),
    (["estimate", *ASKED, "--option", "method=[1"], 'there is no method "[1"'),
    (
        ["estimate", *ASKED, "--average", "event_average", "--horizon", "50"],
        "horizon is 50, but the last event time",
    ),
    (["estimate", *ASKED, "--lag", "-30"], "lag is -30, which is out of the window"),
    (["estimate", *ASKED, "--min-cohort-size", "9" * 30], "--min-cohort-size is 9"),
    (["estimate", *ASKED, "--panel", "x" * 3000 + ".csv"], "it cannot be read"),
    (
        ["compare", *ASKED, "--design", "twfe", "--seed", "-1"],
        "seed is -1; it must be a whole number, at least 0",
    ),
    (
        ["compare", *ASKED, "--design", "twfe", "--draws", "0"],
        "draws is 0; it must be a whole number, at least 1",
    ),
    (["compare", *ASKED, "--design", "twfe", "--draws", "9" * 20], "it must be a whole number, at most"),
    (["table", *ASKED, "--designs", "twfe", "--seed", "-1"], "seed is -1"),
    (["table", "main/papers", "--designs", "twfe", "--seed", "-1"], "seed is -1"),
    (["table", "main/papers", "--designs", "twfe", "--draws", "-1"], "draws is -1"),
    (["heterogeneity", "main/papers", "--repetitions", "-1"], "repetitions is -1"),
    (["heterogeneity", "main/papers", "--grants", "-3"], "--grants is -3"),
    (["heterogeneity", "main/papers", "--jobs", "0"], "--jobs is 0"),
    (["validate", "/"], "there is no such file"),
    (["run", "--only", "fakts"], 'there is no exhibit "fakts"'),
]


@pytest.mark.parametrize(("arguments", "said"), COMMANDS)
def test_a_command_with_an_impossible_argument_is_one_line(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    for module in ("study.panel", "study.paper.run"):
        monkeypatch.setattr(f"{module}.load_panel", loaded)
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, StudyError), done.output
    assert said in str(done.exception)
    assert "\n" not in str(done.exception)


def test_a_sample_of_some_units_takes_one_truth_or_number_a_unit() -> None:
    sample = good()["sample"]
    for keep in (None, "abc", 1, [True], np.ones(sample.n_units), np.ones((2, 2), dtype=bool)):
        assert "keep must be 40 times true or false" in str(error_of(lambda: sample.only(keep, "no")))  # noqa: B023
    for order in (None, "abc", [0], np.arange(1, sample.n_units + 1), np.arange(1.0 * sample.n_units)):
        assert "order must be 40 numbers of units" in str(error_of(lambda: sample.permuted(order)))  # noqa: B023


def test_settings_of_the_work_are_named_and_checked() -> None:
    for changes in ({"job": 2}, {"jobs": 0}, {"jobs": "2"}, {"cache": 3}, {"progress": "bar"}):
        assert error_of(lambda: study.settings(**changes).__enter__()) is not None  # noqa: B023 (called at once)


def test_names_with_line_ends_and_odd_letters_stay_in_one_line() -> None:
    odd = replace(small(), outcomes={"y\nz\ud800": small().outcomes["y"]})
    assert error_of(lambda: Question("y\nzz", "event").sample(odd)) is not None
    assert Question("y\nz\ud800", "event").sample(odd).n_units
