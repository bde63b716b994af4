"""`study table`: its cells are the designs' own answers, in LaTeX, HTML and Markdown that any label leaves whole."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import simulated
import typer
from command_line import command
from plans import PANEL, PLAN
from tex import assert_within_margins, compiled, logs_of_parts, needs_tex

from study import Panel, Question, QuestionError, StudyError, compare, estimate
from study import table as study_table
from study.commands import paper_commands
from study.commands.options import spread
from study.designs import all_designs, find_design
from study.estimates.effect import smallest_effect
from study.inference.agreement import agreement_of
from study.panel.question import FlowStep
from study.paper import run as running
from study.paper.plan import read_plan
from study.report import comparison_in, estimates_in
from study.report.design_table import Style, as_tables, assumed, left_out
from study.report.estimates import as_table, described
from study.report.table import Number, Table

NASTY = r"a_b & 50% #1 {x} <y> ~ ^ \ $ | *"
QUESTION = Question("y", "event", average="event_average", horizon=2, min_cohort_size=1)
DESIGNS = ["twfe", "callaway_santanna", "imputation"]


@pytest.fixture(scope="module")
def panel() -> Panel:
    made = simulated.panel(90, level=9.0)
    return replace(made, outcomes={"y": made.outcomes["y"], "z": made.outcomes["y"] ** 2})


@pytest.fixture(scope="module")
def plan_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a plan with two outcomes and two events about a CSV file beside it."""
    path = tmp_path_factory.mktemp("plan") / "study.toml"
    text = PLAN
    for old, new in {
        str(PANEL): "mine.csv",
        '["first_treated"]': '["first_treated", "later"]',
        '"count"]': '"count", "y2"]',
        '["x1"]': '["x2"]',
        'count = "A_count"': 'count = "A_count"\ny2 = "Another"',
    }.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(f'{text}[[events]]\nname = "later"\ntitle = "later"\nshort = "L"\nlabel = "sim2"\n')
    table = pd.read_csv(PANEL)
    table.assign(y2=table["count"] + 1, later=table.first_treated).to_csv(
        path.with_name("mine.csv"), index=False
    )
    return path


of_panel = partial(paper_commands.of_panel, labels={}, style=Style())
of_plan = partial(paper_commands.of_plan, labels={}, style=Style())


def cells(table: Table, block: int, label: str, below: int = 0) -> list[object]:
    """Return the cells of a line of a block, or of the line below it."""
    lines = table.blocks[block].lines
    at = next(k for k, line in enumerate(lines) if line.label == label)
    return [cell.value if isinstance(cell, Number) else cell for cell in lines[at + below].cells]


def invoke(*arguments: object) -> None:
    """Call the command in this process."""
    app = typer.Typer()
    app.callback()(lambda: None)
    app.command()(spread(paper_commands.table))
    app(["table", *map(str, arguments)], standalone_mode=False)


def test_every_cell_for_a_panel_is_the_design_asked_directly(panel: Panel) -> None:
    questions = [QUESTION, QUESTION.replace(scale="log1p")]
    (table,) = of_panel(panel, questions, ["y", "z"], DESIGNS, draws=99, seed=4, style=Style(mde=True))
    assert list(table.headings) == ["y", "z"]
    for block, question in enumerate(questions):
        found = compare(panel, question, DESIGNS, ["y", "z"], draws=99, seed=4)
        assert cells(table, block, "Designs agree, p-value") == list(found.tests()["sup_t_p_value"])
        for number, name in enumerate(DESIGNS, start=1):
            label = f"({number}) {find_design(name).title}"
            fits = [estimate(panel, question.replace(outcome=o), name).headline for o in ("y", "z")]
            assert cells(table, block, label) == [fit.effect[0] for fit in fits]
            assert cells(table, block, label, below=1) == [fit.std_error[0] for fit in fits]
            could = [smallest_effect(fit) for fit in fits]
            assert cells(table, block, label, below=2) == [p.effect for p in could]
            assert cells(table, block, label, below=3) == [p.percent for p in could]
            fitted = [fit.r_squared for fit in fits]
            if name == "twfe":
                assert cells(table, block, "R², (1)") == fitted
                assert 0 < min(fitted) < max(fitted) < 1
            else:
                assert np.isnan(fitted).all()
    treated = int((~np.isnan(panel.first_treated["event"])).sum())
    assert cells(table, 2, "Units") == [90, 90]
    assert cells(table, 2, "Units treated") == [treated, treated]
    assert cells(table, 2, "Observations") == [90 * len(panel.periods)] * 2
    assert cells(table, 2, "Outcome mean") == pytest.approx([panel.outcomes[o].mean() for o in ("y", "z")])
    assert cells(table, 2, "Fixed effects, (1)") == ["unit, period"] * 2


def test_minimum_detectable_effects_are_told_on_request_only(panel: Panel) -> None:
    for mde in (False, True):
        (table,) = of_panel(panel, [QUESTION], ["y"], DESIGNS, draws=99, style=Style(mde=mde))
        said = " ".join([*(line.label for line in table.lines), *table.notes]).lower()
        assert ("detectable" in said) is mde


def test_every_cell_for_a_plan_is_its_row_with_its_own_options_and_covariates(plan_path: Path) -> None:
    own = 'label = "CS"\noptions = { method = "reg" }\nquestion = { covariates = ["x2"] }'
    path = plan_path.with_name("covariates.toml")
    path.write_text(plan_path.read_text().replace('label = "CS"', own))
    plan, panel = read_plan(path), running.load(read_plan(path))
    (table,) = of_plan(path, ["sim1/count/log1p"], None)
    assert list(table.headings) == ["A_count"]
    asked = {"CS": ("callaway_santanna", {"method": "reg"}, ("x2",)), "ES": ("event_study", {}, ())}
    for number, (label, (name, options, covariates)) in enumerate(asked.items(), start=1):
        question = Question(
            "count", "first_treated", scale="log1p", average="event_average", horizon=3, covariates=covariates
        )
        fit = estimate(panel, question, name, **options).headline
        assert cells(table, 0, f"({number}) {label}") == [fit.effect[0]]
        assert cells(table, 0, f"({number}) {label}", below=1) == [fit.std_error[0]]
    tasks = [plan.task(plan.events[0], "count", "log1p", row) for row in plan.rows]
    fits = {t.row.label: find_design(t.row.name)(t.question.sample(panel), **t.options) for t in tasks}
    found = agreement_of(fits, draws=plan.band_draws, seed=plan.seed)
    assert cells(table, 0, "Designs agree, p-value") == [found.sup_t.p_value]
    assert cells(table, 0, "Designs compared") == [2]


def test_questions_give_columns_panels_and_a_table_an_event(plan_path: Path) -> None:
    # The plan's own words, as in its exhibits: effects are in percent in both.
    share = "Panel A. Share"
    asked = ["sim2", "sim1/y2/log1p", "sim1/count", "sim1/count"]
    second, first = of_plan(plan_path, asked, ["twfe", "imputation"])
    assert (second.name, first.name) == ("sim2-designs", "sim1-designs")
    assert [list(table.headings) for table in (second, first)] == [["A_count"], ["A_count", "Another"]]
    assert [block.title for block in first.blocks] == [share, "Panel B. Log", "Panel C. Sample"]
    assert [block.title for block in second.blocks] == [share, "Panel B. Sample"]
    labels = [line.label for line in first.blocks[0].lines if line.label.startswith("(")]
    assert labels == ["(1) TWFE", f"(2) {find_design('imputation').title}"]


def test_a_refusal_is_a_dash_with_its_reason_and_finds_nothing(panel: Panel) -> None:
    question = QUESTION.replace(comparison="never_treated")
    names = ["callaway_santanna", "event_study"]
    (table,) = of_panel(panel, [question], ["y"], names, style=Style(mde=True))
    label = f"(2) {find_design('event_study').title}"
    assert cells(table, 0, label) == ["–"]
    assert "--comparison never_treated" in table.notes[-1]
    assert sum("detectable" in line.label for line in table.lines) == 2  # of the other design
    assert "Designs agree, p-value" not in [line.label for line in table.lines]


def many(panel: Panel, names: list[str], sign: int = 1) -> Panel:
    """Return a panel with some outcomes of these names."""
    return replace(
        panel, outcomes={name: sign * (1 + k % 3) * panel.outcomes["y"] for k, name in enumerate(names)}
    )


SNAKES = [f"outcome_number_{k}_long" for k in range(10)]


def both(panel: Panel, names: list[str], designs: list[str] | None = None) -> list[list[Table]]:
    """Return the tables of `study table` and those of `study compare` for some outcomes."""
    question = QUESTION.replace(outcome=names[0])
    found = compare(panel, question, designs or DESIGNS, names, draws=99)
    return [
        of_panel(panel, [question], names, designs or DESIGNS, draws=99),
        list(as_tables(found)),
    ]


def test_many_outcomes_are_several_tables(panel: Panel) -> None:
    made, compared = both(many(panel, SNAKES), SNAKES)
    averages = [table for table in compared if table.name.startswith("comparison")]
    for tables, name in ((made, "designs"), (averages, "comparison")):
        assert [table.name for table in tables] == [f"{name}-{k + 1}" for k in range(len(tables))]
        assert "(outcomes 1 to " in tables[0].caption
        assert "of 10)" in tables[-1].caption
    assert [heading for table in made for heading in table.headings] == SNAKES
    assert [heading for table in averages for heading in table.headings] == SNAKES
    assert "its averages for 10 outcomes" in " ".join(averages[0].notes)
    assert SNAKES[-1] not in averages[0].caption
    names = [table.name for table in (*made, *compared)]
    assert len(set(names)) == len(names)


NAMES = {
    "three": SNAKES[:3],
    "four": SNAKES[:4],
    "ten": SNAKES,
    "long": ["GDP_PER_CAPITA_USD", "x" * 40, "WWWW.MMMM/WWWW-MMMM"],
}


@pytest.fixture(scope="module")
def logs(panel: Panel, nasty: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Compile the tables of all kinds with the packages that they need; return what was said of each kind."""
    tables = {kind: both(many(panel, names), names) for kind, names in NAMES.items()}
    tables["negative"] = both(many(panel, ["y", "z"], sign=-1), ["y", "z"])
    designs = [name for name, design in all_designs().items() if not design.draws]
    questions = [QUESTION.replace(scale=scale) for scale in ("level", "log1p", "proportional")]
    compared = as_tables(compare(panel, QUESTION, designs, ["y", "z"], draws=99))
    tables["designs"] = [
        of_panel(panel, questions, ["y", "z"], designs, draws=99),
        list(compared),
    ]
    assert len({t.name for made in tables["designs"] for t in made}) == sum(map(len, tables["designs"]))
    parts = {
        kind: "\\clearpage\n".join(table.latex() for made in several for table in made).encode()
        for kind, several in tables.items()
    }
    return logs_of_parts(tmp_path_factory.mktemp("tex"), parts | {"nasty": nasty["latex"]})


@needs_tex
@pytest.mark.parametrize("kind", [*NAMES, "negative", "designs", "nasty"])
def test_tables_of_any_names_labels_signs_and_designs_compile_within_the_margins(
    logs: dict[str, str], kind: str
) -> None:
    assert_within_margins(logs[kind])


def test_the_last_event_time_is_the_last_that_there_is(panel: Panel) -> None:
    question = QUESTION.replace(average="event_average", horizon=len(panel.periods) - 2)
    sample = question.replace(outcome="y").sample(panel)
    last = int(sample.periods[-1] - sample.cohorts[0])
    (table,) = of_panel(panel, [question], ["y"], ["callaway_santanna"], draws=99)
    assert f"the average over event times 0 to {last}, with equal weights" in table.notes[0]
    compared = as_tables(compare(panel, question, ["callaway_santanna"], ["y"], draws=99))
    assert f"over event times 0 to {last}," in compared[0].notes[0]


def test_periods_that_are_cut_are_not_counted_as_units(panel: Panel) -> None:
    sample = QUESTION.sample(panel)
    steps = (
        FlowStep("3 periods cut, no comparison left from 2017", 0, kept=False),
        FlowStep("x", 2, kept=False),
    )
    fit = replace(estimate(panel, QUESTION), sample=replace(sample, flow=steps))
    assert left_out(fit.sample) == ["3 periods cut, no comparison left from 2017", "2 x"]
    assert "Left out: 3 periods cut, no comparison left from 2017; 2 x" in described(fit)


def test_the_warning_of_few_clusters_names_its_outcome(panel: Panel) -> None:
    held = {"y": panel.outcomes["y"], "flat": np.zeros_like(panel.outcomes["y"])}
    flat = replace(panel, outcomes=held)
    table, *_ = of_panel(flat, [QUESTION], ["y", "flat"], ["twfe"], draws=99)
    assert table.caption == "Effect of event on y and flat, by design"
    notes = " ".join(table.notes)
    why = "outcomes do not vary between clusters beyond what the design fits, so treatment has no standard error"
    assert f"(1), flat: {why}" in notes
    compared = as_tables(compare(flat, QUESTION, ["twfe"], ["y", "flat"], draws=99))
    assert f"(1), flat: {why}" in " ".join(compared[0].notes)


def test_where_every_design_refuses_nothing_is_said_of_what_is_found(panel: Panel) -> None:
    (table,) = of_panel(panel, [QUESTION], ["y"], ["dml_iv"], draws=99)
    assert [block.title for block in table.blocks] == ["Panel A. Effect in units of the outcome"]
    assert [list(line.cells) for line in table.lines] == [["–"]]
    assert len(table.notes) == 1
    assert table.notes[0].startswith("– : refused.")


def test_the_notes_say_what_is_estimated_by_whom_and_under_which_assumptions(panel: Panel) -> None:
    (table,) = of_panel(
        panel, [QUESTION.replace(cluster="state")], ["y"], DESIGNS, draws=99, style=Style(mde=True)
    )
    notes = " ".join(table.notes)
    assert "the average over event times 0 to 2, with equal weights in (2), (3)" in notes
    assert "a coefficient, not an average effect in (1)" in notes
    assert "Standard errors in parentheses, clustered by state" in notes
    assert "the same effect in every cohort and event time in (1)" in notes
    assert f"simulated, checksum {panel.checksum}" in notes
    assert "(99 draws)" in notes
    assert "two-sided 5% test finds with 80% power" in notes


def test_trends_are_assumed_given_covariates_where_the_question_has_some(panel: Panel) -> None:
    plain = assumed(estimate(panel, QUESTION, "callaway_santanna"))
    given = assumed(estimate(panel, QUESTION.replace(covariates=("x1",)), "callaway_santanna"))
    assert "parallel trends" in plain
    assert not any("covariate" in each for each in plain)
    assert "parallel trends given covariates" in given
    assert "parallel trends" not in given


def test_the_bytes_are_the_same_for_any_number_of_processes(plan_path: Path, tmp_path: Path) -> None:
    path = plan_path.with_name("learning.toml")
    learning = 'name = "dml_panel"\noptions = { learner = "linear", folds = 2, repetitions = 1 }'
    path.write_text(plan_path.read_text().replace('name = "twfe"', learning))
    for jobs in (1, 2):
        arguments = ["--plan", path, "--jobs", jobs, "--cache", tmp_path / f"cache{jobs}"]
        (tmp_path / f"{jobs}").mkdir()
        invoke("sim1/count/log1p", *arguments, "--output", tmp_path / f"{jobs}/of_one.tex")
    first, second = (tmp_path / f"{jobs}/of_one.tex" for jobs in (1, 2))
    assert first.read_bytes() == second.read_bytes()
    assert rb"\label{tab:of-one}" in first.read_bytes()


def test_tables_of_a_file_are_labelled_by_it_so_that_several_files_can_be_of_one_document(
    plan_path: Path, tmp_path: Path
) -> None:
    designs = ["--plan", plan_path, "--designs", "twfe", "--cache", tmp_path / "cache"]
    invoke("sim1", "sim2", *designs, "--output", tmp_path / "both.tex")
    labels = re.findall(r"\\label{tab:(.*?)}", (tmp_path / "both.tex").read_text(encoding="utf-8"))
    assert labels == ["both-1", "both-2"]


def test_a_csv_of_ones_own_is_printed_or_written_in_each_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_csv(PANEL).rename(columns={"unit": "lab", "time": "year", "count": NASTY})
    table.to_csv(tmp_path / "my.csv", index=False)
    asked = ["--panel", tmp_path / "my.csv", "--unit", "lab", "--time", "year", "--event", "first_treated"]
    asked += ["--outcome", "y", "--outcome", NASTY, "--designs", "twfe, imputation", "--draws", 99]
    for ending, kind in {".tex": "latex", ".html": "html", ".csv": "csv", ".txt": "txt", ".md": "md"}.items():
        invoke(*asked, "--format", kind)
        printed = capsys.readouterr().out
        path = tmp_path / "out" / f"designs{ending}"
        invoke(*asked, "--output", path)
        assert capsys.readouterr().out == f"Written: {path}\n"
        assert path.read_text(encoding="utf-8") == printed
    own = Panel.from_long(table, unit="lab", time="year", first_treated="first_treated", outcomes="y")
    fit = estimate(own, Question("y", "first_treated"), "imputation").headline
    assert f"| {fit.effect[0]:.3f} |" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say what to show"),
        (["--outcome", "y"], "say what to show"),
        (["--outcome", "y", "--event", "e", "--plan", "study.toml"], "say what to show"),
        (["sim1", "--plan", "study.toml", "--lag", "1"], "--lag goes with --outcome and --event"),
        (["sim1", "--plan", "study.toml", "--outcome", "y"], "--outcome goes with"),
        (["sim1", "--plan", "study.toml", "--designs", "twef"], 'Did you mean "twfe"'),
        (["sim1", "--plan", "study.toml", "--designs", ", "], "--design is empty"),
        (["sim1", "--plan", "study.toml", "--format", "pdf"], 'no format "pdf"'),
        (["sim1", "--plan", "study.toml", "--format", "md"], "--format is md, but t.tex is latex"),
        (["sim1", "--plan", "study.toml", "--columns", "design"], 'Did you mean "designs"'),
        (["sim1", "--plan", "study.toml", "--notes", "long"], 'no notes "long"'),
        (["sim1", "--plan", "study.toml", "--digits", "11"], "digits is 11"),
        (["sim1", "--plan", "study.toml", "--terms", "events"], 'no terms "events"'),
        (["sim1", "--plan", "study.toml", "--star-levels", "0.1,x"], "--star-levels: could not convert"),
        (["sim1", "--plan", "study.toml", "--star-levels", "5"], "levels between 0 and 1"),
        (["sim1", "--plan", "study.toml", "--label", "count"], "--label count: write NAME=WORDS"),
        (["sim1", "--plan", "study.toml", "--label", "cuont=Papers"], 'Did you mean "count"'),
        (["sim", "--plan", "study.toml"], 'no question "sim"'),
        (["sim1/cuont", "--plan", "study.toml"], 'Did you mean "count"'),
        (["sim1", "--plan", "absent.toml"], "no such plan"),
        (["sim1", "--plan", "study.toml", "--draws", "0"], "draws is 0"),
        (["--outcome", "papers", "--event", "first_acc"], 'Did you mean "first_accelerator"'),
        (
            ["--outcome", "papers", "--outcome", "papesr", "--event", "first_accelerator"],
            'Did you mean "papers"',
        ),
        (["--outcome", "papers", "--event", "first_accelerator", "--scale", "logs"], 'no scale "logs"'),
        (["--panel", "no.csv", "--outcome", "papers", "--event", "e"], "no.csv"),
        (["--panel", "cvrp", "--outcome", "papers", "--event", "e"], 'Did you mean "cvpr"'),
    ],
)
def test_a_mistake_is_one_clear_line_and_nothing_is_written(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study.toml").write_text(PLAN)
    given = [str(tmp_path / a) if a.endswith(".toml") else a for a in arguments]
    with pytest.raises(Exception, match=re.escape(said)) as error:
        invoke(*given, "--output", tmp_path / "t.tex", "--cache", tmp_path / "kept")
    assert type(error.value).__module__ == "study.core.errors"
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]
    assert capsys.readouterr().out == ""


def test_an_error_of_the_command_exits_with_two_on_one_line(tmp_path: Path) -> None:
    done = command("table", "--outcome", "papers", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("study: study table: say what to show")
    assert done.stderr.count("\n") == 1


def test_what_is_asked_is_refused_before_any_design_has_worked(panel: Panel, monkeypatch) -> None:
    def work(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a design worked")

    monkeypatch.setattr("study.inference.comparison.compare", work)
    with pytest.raises(QuestionError, match='Did you mean "y"'):
        of_panel(panel, [QUESTION], ["y", "yy"], DESIGNS)


@pytest.fixture(scope="module")
def nasty(panel: Panel, plan_path: Path) -> dict[str, bytes]:
    """Return all tables of this part with labels that are commands in LaTeX, HTML and Markdown."""
    renamed = replace(
        panel,
        name=NASTY,
        outcomes={NASTY: panel.outcomes["y"], "z": panel.outcomes["z"]},
        first_treated={NASTY: panel.first_treated["event"]},
        attributes={NASTY: panel.attributes["state"]},
    )
    question = QUESTION.replace(outcome=NASTY, event=NASTY, cluster=NASTY)
    labelled = [("imputation", {}, NASTY), "callaway_santanna", ("twfe", {}, "a|b")]
    compared = compare(renamed, question, labelled, [NASTY, "z"], draws=99)
    path = plan_path.with_name("nasty.toml")
    quoted = NASTY.replace("\\", "\\\\")
    path.write_text(
        PLAN.replace('label = "ES"', f'label = "{quoted}"')
        .replace('"A_count"', f'"{quoted}"')
        .replace('label = "sim1"', 'label = "sim_1%"')
    )
    tables = [
        *of_panel(renamed, [question], [NASTY, "z"], DESIGNS, draws=99),
        *of_plan(path, ["sim_1%", "sim_1%/count/log1p"], None),
    ]
    fit = estimate(renamed, question, "callaway_santanna").aggregate("event")
    return {
        kind: b"\n".join(
            [
                *(t.formatted(kind) for t in tables),
                comparison_in(kind, compared).encode(),
                estimates_in(kind, [fit]).encode(),
            ]
        )
        for kind in ("latex", "html", "md")
    }


class Parsed(HTMLParser):
    """The text of an HTML fragment and its tags, each of which has to be closed in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[int] = []  # columns of each, with cells that reach into it from the row above
        self.reach = 0
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append(self.reach)
            self.reach = 0
        if tag in ("td", "th"):
            spans = dict(attrs)
            self.rows[-1] += int(spans.get("colspan") or 1)
            self.reach += int(spans.get("rowspan") or 1) - 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_html_of_any_label_is_well_formed_and_shows_it(nasty: dict[str, bytes]) -> None:
    for fragment in re.findall(r"<figure.*?</figure>", nasty["html"].decode(), re.S):
        parsed = Parsed()
        parsed.feed(fragment)
        parsed.close()
        assert parsed.open == []
        assert len(set(parsed.rows)) == 1
        assert NASTY in parsed.words


def test_the_markdown_of_any_label_has_as_many_cells_in_each_row(nasty: dict[str, bytes]) -> None:
    lines = nasty["md"].decode().splitlines()
    tables: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("|"):
            tables[-1].append(line)
        elif tables[-1]:
            tables.append([])
    shapes = [{len(re.findall(r"(?<!\\)\|", line)) for line in table} for table in tables if table]
    assert len(shapes) >= 6
    assert all(len(shape) == 1 for shape in shapes)


def test_one_estimate_is_a_table_of_its_terms(panel: Panel) -> None:
    path = estimate(panel, QUESTION).aggregate("event")
    table, rows = as_table(path), path.tidy()
    assert [line.label for line in table.lines] == list(rows.term)
    assert [line.cells[0].value for line in table.lines] == list(rows.estimate)
    reference = next(line for line in table.lines if line.label == "event -1")
    assert [cell.text for cell in reference.cells] == ["0.000", "", "", ""]
    assert "at 80% power" in " ".join(table.notes)
    assert estimates_in("md", [path]) == table.markdown()


def test_proportional_effects_are_in_percent_in_every_text_and_table(panel: Panel) -> None:
    question = replace(QUESTION, scale="proportional")
    fit = estimate(panel, question)
    effect, error = 100 * fit.headline.effect[0], 100 * fit.headline.std_error[0]
    shown = f"{effect:.1f}"
    assert f"event average: {shown}% of the counterfactual mean" in str(fit)
    assert f"  {shown}% of the counterfactual mean, std. error {error:.1f}%, " in str(fit.headline)
    assert "In percent of the counterfactual mean, each effect of its own:\n" in str(fit)
    one, many = as_table(fit.headline), study_table([fit], mde=True)
    assert one.blocks[0].title.endswith(", % of the counterfactual mean")
    assert [one.lines[0].cells[0].text, one.lines[0].cells[1].text] == [shown, f"({error:.1f})"]
    assert many.blocks[0].title == "Panel A. Effect, % of the counterfactual mean"
    assert [line.cells[0].text for line in many.blocks[0].lines[:2]] == [shown, f"({error:.1f})"]
    assert study_table([fit], digits=4).lines[0].cells[0].text == f"{effect:.2f}"
    # On this scale the effect in percent is the effect, and stands once.
    assert [line.label for line in many.lines if "etectable" in line.label] == [
        "Minimum detectable effect, %"
    ]
    assert "at their own event time." in " ".join(study_table([fit], terms="event_time").notes)
    compared = compare(panel, question, ["callaway_santanna", "imputation"], draws=99)
    averages, differences = as_tables(compared)
    assert averages.lines[0].cells[0].text == shown
    assert differences.lines[0].cells[0].text == f"{100 * compared.differences()['difference'][0]:.1f}"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("t.xlsx", "t.xlsx: .xlsx is no kind of table; use .tex, .html, .md, .docx, .csv or .txt"),
        ("t", "t: the file has no suffix"),
        ("t.docx", "python-docx, which is not installed"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_the_panel_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.setattr("study.report.table.find_spec", lambda _: None)
    asked = ["--panel", "absent.csv", "--outcome", "y", "--event", "e", "--output", tmp_path / name]
    with pytest.raises(StudyError, match=re.escape(said)):
        invoke(*asked)
    assert list(tmp_path.iterdir()) == []


def test_a_plan_that_is_labelled_anew_has_these_words_everywhere(plan_path: Path, tmp_path: Path) -> None:
    given = {"count": "Patents", "unit": "lab", "units": "labs", "proportional": "Per cent", "CS": "Main"}
    labels = [part for name, words in given.items() for part in ("--label", f"{name}={words}")]
    path = tmp_path / "t.txt"
    invoke("sim1/count", "--plan", plan_path, *labels, "--output", path)
    text = path.read_text(encoding="utf-8")
    for words in (
        "Patents",
        "Per cent",
        "(1) Main",
        "Labs treated",
        "lab, period",
        "clustered by lab",
        "200 labs",
    ):
        assert words in text
    assert "A_count" not in text
    assert "Units" not in text


def test_levels_of_stars_and_effects_by_event_time_are_options_for_a_plan_and_a_panel(
    plan_path: Path, tmp_path: Path
) -> None:
    how = ["--terms", "event_time", "--star-levels", "0.2, 0.001", "--columns", "designs"]
    own = [
        "--panel",
        PANEL,
        "--outcome",
        "count",
        "--event",
        "first_treated",
        "--average",
        "event_average",
        "--horizon",
        3,
    ]
    for name, asked in {
        "a.txt": ["sim1/count/log1p", "--plan", plan_path],
        "b.txt": [*own, "--designs", "stacked"],
    }.items():
        invoke(*asked, *how, "--output", tmp_path / name)
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "Event time \N{MINUS SIGN}2 " in text
        assert "Event time 3 " in text
        assert "Event time 4 " not in text
        assert "* p < 0.2, ** p < 0.001." in " ".join(text.split())
        assert "**" in text.split("Notes.")[0]


def test_the_unit_of_a_csv_is_what_its_column_is_called(tmp_path: Path) -> None:
    table = pd.read_csv(PANEL).rename(columns={"unit": "lab", "time": "year"})
    table.to_csv(tmp_path / "my.csv", index=False)
    asked = ["--panel", tmp_path / "my.csv", "--unit", "lab", "--time", "year", "--event", "first_treated"]
    invoke(*asked, "--outcome", "y", "--designs", "twfe", "--notes", "short", "--output", tmp_path / "t.md")
    text = (tmp_path / "t.md").read_text(encoding="utf-8")
    assert "clustered by lab:" in text
    assert "lab, period" in text


@needs_tex
@pytest.mark.parametrize("columns", ["designs", "outcomes"])
def test_the_command_writes_latex_that_compiles_without_a_paper(
    plan_path: Path, tmp_path: Path, columns
) -> None:
    asked = ["sim1/count", "sim1/y2/log1p", "--plan", plan_path, "--columns", columns, "--stars", "--mde"]
    invoke(*asked, "--standalone", "--output", tmp_path / "t.tex")
    log = compiled("pdflatex", tmp_path, (tmp_path / "t.tex").read_bytes())
    assert "Overfull" not in log
    body = (tmp_path / "t.tex").read_text(encoding="utf-8")
    assert "{***}" in body
    invoke(*asked, "--output", tmp_path / "part.tex")
    assert r"\documentclass" not in (tmp_path / "part.tex").read_text(encoding="utf-8")
