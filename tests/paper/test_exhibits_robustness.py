"""The paper's robustness exhibits: what they print is what the diagnostics find, asked directly."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import simulated
from drawings import drawn_as
from paper_inputs import paper_panel, paper_plan
from plans import PANEL, PLAN

import study
from study.designs import find_design
from study.diagnostics import Finding, all_diagnostics
from study.panel import Scale
from study.paper import diagnose
from study.paper.exhibits import heterogeneity as who_gains
from study.paper.exhibits import learners as by_learner
from study.paper.exhibits.contrasts import BY_T, contrasts
from study.paper.exhibits.exhibit import Exhibited, Setting
from study.paper.exhibits.heterogeneity import heterogeneity
from study.paper.exhibits.inference import inference
from study.paper.exhibits.learners import learners
from study.paper.exhibits.leave_one_out import leave_one_out, short
from study.paper.exhibits.placebos import placebos
from study.paper.exhibits.raw_means import raw_means
from study.paper.exhibits.specifications import specifications
from study.paper.exhibits.verdicts import verdicts
from study.paper.exhibits.violations import _table as _violations_table
from study.paper.exhibits.violations import bias, violations
from study.paper.numbers import select
from study.paper.plan import Plan, read_plan
from study.paper.results import answer
from study.paper.run import load, other_panels
from study.report.columns import REFUSED
from study.report.table import Line, Number, Table

EXTRA = f"""
[diagnose]
neighbours = "cluster"
[diagnose.placebos.other]
file = "{PANEL.with_name("sim_unbalanced.csv")}"
unit = "unit"
time = "time"
first_treated = ["first_treated"]
outcomes = ["count"]
"""
LEARNED = """
[[designs]]
name = "dml_stacked"
label = "ML"
options = { learner = "lasso", propensity = "linear", before = 2, after = 1, folds = 3 }
question = { covariates = ["x1"] }
"""
CONTRASTS = """
[[further]]
name = "twfe"
label = "Static"
event = "first_treated"
asks = "effect by a static regression."
[contrasts]
"Of the plan" = ["sim1", "other"]
"Of other kinds" = ["Static"]
"""
EXHIBITS = (
    placebos,
    violations,
    inference,
    learners,
    heterogeneity,
    specifications,
    leave_one_out,
    verdicts,
)
# Whose figures a test compares with those of another setting.
AGAIN = (placebos, violations)


def planned(folder: Path, text: str) -> Plan:
    path = folder / "study.toml"
    path.write_text(text)
    return read_plan(path)


def setting_of(plan: Plan, *, answered: bool = True) -> Setting:
    panel = load(plan)
    asked = Setting(plan, panel, {}, other_panels(plan.placebos))
    tasks = [asked.task_of(scale) for scale in plan.scales] if answered else []
    return replace(asked, results={task.key: answer(task, panel) for task in tasks})


@pytest.fixture(scope="module", autouse=True)
def _png_alone() -> Iterator[None]:
    with drawn_as("png"):
        yield


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """The small plan on its simulated panel, with a placebo panel that is simulated too."""
    return setting_of(planned(tmp_path_factory.mktemp("plan"), PLAN + EXTRA))


@pytest.fixture(scope="module")
def made(setting: Setting) -> dict[str, Exhibited]:
    with drawn_as():
        made = {make.__name__: make(setting) for make in EXHIBITS if make not in AGAIN}
    return made | {make.__name__: make(setting) for make in AGAIN}


def lines(table: Table) -> dict[tuple[str, str], Line]:
    """Return lines by panel, without what its title says of estimates, and label."""
    return {
        (block.title.partition(": estimates")[0], line.label): line
        for block in table.blocks
        for line in block.lines
    }


def values(line: Line) -> list[float]:
    return [cell.value for cell in line.cells if isinstance(cell, Number)]


def test_every_number_has_a_name_of_its_own_and_says_where_it_comes_from(
    made: dict[str, Exhibited], setting: Setting
) -> None:
    every = [traced for shown in made.values() for traced in shown.numbers]
    for traced in select(every, [traced.address for traced in every]).values():
        assert traced.source.quantity
        assert traced.source.checksum == setting.panel.checksum
        assert traced.source.question.startswith("outcome=count, event=first_treated")
        assert traced.source.command.startswith("study ")
        assert "nan" not in traced.value
        assert traced.value


def test_tables_are_whole_in_every_format_and_figures_have_words(made: dict[str, Exhibited]) -> None:
    tables = [table for shown in made.values() for table in shown.tables]
    assert {"placebos", "violations", "inference", "specifications", "leave-one-out", "verdicts"} <= {
        table.name for table in tables
    }
    for table in tables:
        assert table.notes
        for kind in ("latex", "html", "md"):
            assert b"nan" not in table.formatted(kind).lower()
    figures = {figure.name: figure for shown in made.values() for figure in shown.figures}
    assert {"honest", "specifications"} <= set(figures)
    assert all(figure.caption and figure.alternative for figure in figures.values())


def test_sentences_are_complete(made: dict[str, Exhibited]) -> None:
    for name, shown in made.items():
        assert not shown.tables or shown.sentences, name
        assert shown.tables or not shown.sentences or shown.sentences[0].startswith("Not made: "), name
        for sentence in shown.sentences:
            assert sentence[0].isupper()
            assert sentence.endswith("."), sentence


def test_an_effect_on_a_placebo_outcome_is_that_of_the_design_on_the_other_panel(
    made: dict[str, Exhibited], setting: Setting
) -> None:
    task = setting.task_of("log1p")
    ours, theirs = (
        find_design(task.row.name)(task.question.sample(panel), **task.options).headline
        for panel in (setting.panel, setting.placebos["other"])
    )
    line = lines(made["placebos"].tables[0])["Panel B. Log", "Other"]
    estimate, error, _, gap, gap_error, _, detectable, treated, units = line.cells
    assert estimate == Number(theirs.effect[0])
    assert error.value == theirs.std_error[0]
    assert gap.value == pytest.approx(ours.effect[0] - theirs.effect[0])
    together = study.joint(theirs, ours).differences()
    assert gap_error.value == pytest.approx(float(np.sqrt(together.covariance()[0, 0])))
    assert detectable.value == pytest.approx(theirs.minimum_detectable_effect(0.8, 1 - setting.plan.level)[0])
    assert (treated.value, units.value) == (
        (theirs.sample.treatment == 1).any(axis=1).sum(),
        theirs.sample.n_units,
    )


def test_contrasts_are_the_answers_of_the_plan_its_placebos_and_further_questions(
    made: dict[str, Exhibited], setting: Setting, tmp_path: Path
) -> None:
    plan = planned(tmp_path, PLAN + EXTRA + CONTRASTS)
    found = lines(contrasts(replace(setting, plan=plan)).tables[0])
    first, second = plan.scales
    answers = {s: setting.results[setting.task_of(s).key] for s in (first, second)}
    cells = found["", "Event"].cells  # above all panels
    assert cells[0] == Number(answers[first].n_treated, 0)
    assert [cells[k].value for k in (1, 6, 7)] == [
        100 * answers[first].headline.estimate,
        100 * answers[first].headline.mde,
        answers[second].headline.estimate,
    ]
    assert (cells[5].value, cells[9].value) == tuple(a.randomization.p_value for a in answers.values())
    placebo = found["Panel A. Of the plan", f"Other outcome{BY_T}"].cells
    theirs = lines(made["placebos"].tables[0])["Panel A. Share", "Other"].cells
    assert (placebo[1], placebo[2], placebo[6]) == (theirs[0], theirs[1], theirs[6])
    question = setting.task_of(second).question
    static = study.estimate(setting.panel, question, "twfe").headline
    assert found["Panel B. Of other kinds", f"Static{BY_T}"].cells[7].value == static.effect[0]


def test_contrasts_say_over_which_event_times_an_average_goes_that_the_panel_makes_shorter(
    setting: Setting, tmp_path: Path
) -> None:
    late = '[[families]]\nname = "late"\ntitle = "L"\nshort = "Late"\nlabel = "late"\n'
    plan = planned(tmp_path, PLAN + EXTRA + late + '[contrasts]\n"Of the plan" = ["sim1", "late"]\n')
    first = setting.panel.first_treated["first_treated"]
    dates = {"first_treated": first, "late": np.where(np.isnan(first), first, setting.panel.periods[-1])}
    panel = replace(setting.panel, first_treated=dates)
    tasks = [plan.task(plan.families[0], "count", scale, plan.headline) for scale in plan.scales]
    results = {**setting.results} | {task.key: answer(task, panel) for task in tasks}
    (table,) = contrasts(replace(setting, plan=plan, panel=panel, results=results)).tables
    assert "Late: event time 0 alone." in table.notes


def test_contrasts_name_what_the_plan_has(tmp_path: Path) -> None:
    wrong = planned(tmp_path, PLAN + EXTRA + CONTRASTS.replace('"sim1", ', '"sim2", '))
    with pytest.raises(study.QuestionError, match="sim2"):
        load(wrong)
    none = planned(tmp_path, 'exhibits = ["contrasts"]\n' + PLAN)
    with pytest.raises(study.QuestionError, match=r"the table \[contrasts\], which is not there"):
        load(none)


def test_a_trend_that_the_pre_trend_test_finds_half_the_time_adds_its_mean_to_the_average(
    made: dict[str, Exhibited], setting: Setting
) -> None:
    trends = setting.finding_of("log1p", "pretrends", "CS")
    assert isinstance(trends, study.diagnostics.Finding)
    horizon = setting.plan.question["horizon"]
    slope = trends["slopes"][0.5]
    assert bias(trends, slope) == pytest.approx(slope * np.mean(np.arange(horizon + 1) + 1))
    direct = study.diagnostics.pretrends(
        study.estimate(setting.panel, setting.task_of("log1p").question, "callaway_santanna"),
        level=setting.plan.level,
    )
    assert slope == pytest.approx(direct["slopes"][0.5], rel=1e-9)
    line = lines(made["violations"].tables[0])["Panel B. Log", "CS"]
    assert slope in values(line)
    assert bias(trends, slope) in values(line)


def test_event_times_that_a_path_breaks_off_at_are_named_below_the_table(setting: Setting) -> None:
    (row,) = setting.findings_of(("honest_smoothness", "pretrends"), ["CS"])[:1]
    assert not any("left out" in note for note in _violations_table([row]).notes)
    cut = {
        name: replace(finding, details={**finding.details, "left_out": ("event time 1 is left out",)})
        for name, finding in row.by_name.items()
    }
    assert _violations_table([replace(row, by_name=cut)]).notes[-1] == "CS: event time 1 is left out."


def test_breakdown_values_are_those_of_honest_did_and_coefficients_have_no_line(
    made: dict[str, Exhibited], setting: Setting
) -> None:
    found = lines(made["violations"].tables[0])
    assert {label for _, label in found} == {"CS", "ES"}
    for label, design in (("CS", "callaway_santanna"), ("ES", "event_study")):
        fit = study.estimate(setting.panel, setting.task_of("log1p").question, design)
        honest = study.diagnostics.honest_did(fit, level=setting.plan.level)
        first = found["Panel B. Log", label].cells[0]
        assert first == ("none" if honest["breakdown"] is None else Number(honest["breakdown"], 2))


def test_numbers_on_violations_are_at_the_address_of_their_row_and_column(
    made: dict[str, Exhibited], setting: Setting
) -> None:
    numbers = {number.address: number.value for number in made["violations"].numbers}
    honest = setting.finding_of("log1p", "honest_relative_magnitudes", "ES")
    trends = setting.finding_of("log1p", "pretrends", "ES")
    assert isinstance(honest, study.diagnostics.Finding)
    assert isinstance(trends, study.diagnostics.Finding)
    at, low = "violations/log1p/es", honest.frame.set_index("M")["conf_low"]
    expected = {
        f"{at}/relative_magnitudes/sign_change": f"{honest['sign_change']:.2f}",
        f"{at}/relative_magnitudes/0.5/conf_low": f"{low[0.5]:.3f}",
        f"{at}/pretrends/power_80/slope": f"{trends['slopes'][0.8]:.3f}",
        f"{at}/pretrends/power_80/bias": f"{bias(trends, trends['slopes'][0.8]):.3f}",
        f"{at}/pretrends/significant": str(trends["rejected"].sum()),
    }
    assert {address: numbers[address].replace("\N{MINUS SIGN}", "-") for address in expected} == expected


def test_the_exhibits_take_the_randomization_test_from_the_answers_and_find_the_same_without_them(
    setting: Setting, tmp_path: Path
) -> None:
    alone = setting_of(planned(tmp_path, PLAN + EXTRA), answered=False)
    for scale in setting.plan.scales:
        ours, theirs = (s.finding_of(scale, "uncertainty") for s in (setting, alone))
        assert isinstance(ours, Finding)
        assert isinstance(theirs, Finding)
        known = setting.results[setting.task_of(scale).key].randomization
        assert ours["randomization"] is known
        assert theirs["randomization"] is not None
        assert ours["randomization"].p_value == theirs["randomization"].p_value
        assert ours.frame.equals(theirs.frame)


def test_a_way_of_inference_that_a_design_does_not_offer_is_a_dash_with_its_reason(
    made: dict[str, Exhibited], setting: Setting
) -> None:
    table = made["inference"].tables[0]
    found = lines(table)
    assert found["CS", "Wild cluster bootstrap"].cells[0] == REFUSED
    assert any("callaway_santanna is not" in sentence for sentence in made["inference"].sentences)
    question = setting.task_of("log1p").question
    direct = study.wild_bootstrap(
        question.sample(setting.panel), "event_study", draws=199, level=0.9, seed=setting.plan.seed
    )
    scale = list(setting.plan.scales).index("log1p")
    cells = found["ES", "Wild cluster bootstrap"].cells[4 * scale : 4 * scale + 4]
    assert cells[0].value == direct.std_error
    assert (cells[1].value, cells[2].value) == direct.interval


def test_inference_clustered_by_neighbours_is_the_question_asked_so(
    made: dict[str, Exhibited], setting: Setting
) -> None:
    question = setting.task_of("log1p").question.replace(cluster="cluster")
    fit = study.estimate(setting.panel, question, "event_study").headline
    scale = list(setting.plan.scales).index("log1p")
    line = lines(made["inference"].tables[0])["ES", "Jackknife, by cluster"]
    assert line.cells[4 * scale].value == fit.std_error[0]
    assert fit.n_clusters < setting.panel.n_units


def test_specifications_count_what_the_curve_has(made: dict[str, Exhibited], setting: Setting) -> None:
    table = made["specifications"].tables[0]
    assert not any("rows that fit learners" in sentence for sentence in made["specifications"].sentences)
    for scale, line in zip(setting.plan.scales, table.lines, strict=True):
        fits = [
            study.estimate(
                setting.panel, setting.task_of(scale).question.replace(comparison=comparison), design
            ).headline
            for comparison in ("never_treated", "not_yet_treated")
            for design in ("callaway_santanna", "event_study", "twfe")
            if design == "callaway_santanna" or comparison == "not_yet_treated"
        ]
        effects = [fit.effect[0] for fit in fits]
        assert line.cells[0].value == len(effects)
        factor = study.panel.Scale(scale).factor
        assert line.cells[2].value == factor * min(effects)
        assert line.cells[4].value == factor * max(effects)
        assert line.cells[5].value == 100 * np.mean(np.array(effects) > 0)
        printed = {traced.address: traced.value for traced in made["specifications"].numbers}
        assert printed[f"specifications/{scale}/count"] == str(len(effects))
        assert printed[f"specifications/{scale}/positive"] == f"{line.cells[5].value:.0f}"


def test_the_smallest_estimate_without_one_cohort_is_that_of_the_sample_without_it(
    made: dict[str, Exhibited], setting: Setting
) -> None:
    task = setting.task_of("log1p")
    sample = task.question.sample(setting.panel)
    without = {
        f"{g:g}": find_design(task.row.name)(sample.only(sample.first_treated != g, "test")).headline.effect[
            0
        ]
        for g in sample.cohorts
    }
    smallest = min(without, key=without.__getitem__)
    line = lines(made["leave_one_out"].tables[0])["Panel B. Log", "One cohort"]
    assert line.cells[2].value == pytest.approx(without[smallest])
    full_sample = find_design(task.row.name)(sample).headline.effect[0]
    assert line.cells[6].value == sum(effect * full_sample <= 0 for effect in without.values())
    assert line.cells[3] == smallest
    printed = {traced.address: traced.value for traced in made["leave_one_out"].numbers}
    assert printed["leave_one_out/log1p/cohort/smallest_without"] == smallest


def test_a_verdict_has_a_line_for_each_diagnostic_and_agrees_with_the_page_of_diagnose(
    made: dict[str, Exhibited], setting: Setting
) -> None:
    for scale, table in list(zip(setting.plan.scales, made["verdicts"].tables, strict=True))[:1]:
        task = setting.task_of(scale)
        page = diagnose.diagnose(setting.plan, task, setting.panel, setting.placebos)
        told = {line.label: line.cells for line in table.lines}
        assert len(told) == len(page.checks)
        assert {cells[1] for cells in told.values()} <= {"yes", "no", REFUSED}
        tested = sum(cells[1] != REFUSED for cells in told.values())
        numbers = {traced.address: traced.value for traced in made["verdicts"].numbers}
        assert numbers[f"verdicts/{scale}/tested"] == str(tested)
        against = " ".join(diagnose.conclusion(page))
        for label, words in (
            ("Joint test of effects before the event", "joint test of all effects before treatment"),
            ("Placebo adoption dates", "joint test of the placebo dates"),
            ("Placebo outcomes", "outcomes that should have none"),
            ("Alternative inference", "the randomization test"),
            ("Spillovers to untreated neighbours", "untreated neighbours"),
            ("Pre-trend test and its power (Roth)", "significant on their own"),
        ):
            assert (told[label][1] == "yes") == (words in against), label


def test_the_rules_of_the_verdict_say_yes_where_a_finding_rejects(setting: Setting) -> None:
    """On a panel whose treated units grow before the event every test of it that looks at growth objects."""
    grown = simulated.panel(n=150, seed=4)
    first = grown.first_treated["event"]
    trend = np.where(np.isnan(first)[:, None], 0.0, 1.5 * simulated.PERIODS)
    panel = replace(
        grown,
        outcomes={"count": grown.outcomes["y"] + trend},
        first_treated={"first_treated": first},
        attributes={"cluster": grown.attributes["state"]},
    )
    plan = replace(setting.plan, scales={"level": "Level"}, placebos={})
    (table,) = verdicts(Setting(plan, panel, {})).tables
    told = {line.label: line.cells[1] for line in table.lines}
    for name in ("leads", "pretrends", "placebo_dates"):
        assert told[all_diagnostics()[name].title] == "yes", name
    assert told[all_diagnostics()["leave_one_cohort_out"].title] == REFUSED


def test_learners_are_each_the_designs_own_answer_with_that_learner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_learner, "COMPARED", ("linear",))
    plan = planned(tmp_path, PLAN + LEARNED)
    plan = replace(plan, scales={"log1p": "Log"})
    setting = setting_of(plan, answered=False)
    shown = learners(setting)
    (table,) = shown.tables
    task = setting.task_of("log1p", "ML")
    fit = study.estimate(
        setting.panel,
        task.question,
        "dml_stacked",
        **task.options | {"learner": "linear", "propensity": "linear", "repetitions": 2},
    ).headline
    line = next(line for line in table.lines if line.label == "Linear")
    estimate, error, noise, outcome, _, loss, share = values(line)
    assert (estimate, error) == (fit.effect[0], fit.std_error[0])
    assert noise == fit.draw_error[0] / fit.std_error[0]
    assert outcome < 1
    assert 0 < loss < 5
    assert 0 < share < 1
    assert table.lines[0].label.startswith("Lasso; propensity linear")
    numbers = {number.address: number.value for number in shown.numbers}
    assert numbers["learners/log1p/ml/linear/noise"] == f"{noise:.2f}"
    assert numbers["learners/log1p/ml/linear/std_error"] == f"{error:.3f}"
    estimates = [values(line)[0] for line in table.lines]
    spread = (max(estimates) - min(estimates)) / values(table.lines[0])[1]
    assert numbers["learners/log1p/ml/estimate_range"] == f"{spread:.2f}"


def test_groups_that_gain_are_those_of_the_scores_asked_directly(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(who_gains, "LEARNER", "linear")
    monkeypatch.setattr(who_gains, "REPETITIONS", 2)
    many = simulated.panel(n=260, seed=2)
    rng = np.random.default_rng(0)
    panel = replace(
        many,
        outcomes={"count": many.outcomes["y"]},
        first_treated={"first_treated": many.first_treated["event"]},
        attributes={"cluster": rng.choice(["a", "b"], size=many.n_units)},
    )
    plan = replace(setting.plan, question=setting.plan.question | {"covariates": ["x1"]}, placebos={})
    shown = heterogeneity(Setting(plan, panel, {}))
    question = study.Question(
        "count", "first_treated", covariates=("x1",), average="event_average", horizon=3
    )
    scores = study.heterogeneity.score(
        question.sample(panel), learner="linear", groups=("cluster",), repetitions=2, seed=plan.seed
    )
    groups = study.heterogeneity.effects_by_group(
        scores, "cluster", level=plan.level, draws=plan.band_draws, seed=plan.seed
    )
    found = {label: line for (title, label), line in lines(shown.tables[0]).items() if "cluster" in title}
    for term, effect in zip(groups["fit"].terms, groups["fit"].effect, strict=True):
        assert found[term].cells[0].value == effect
    assert any("grants" in sentence for sentence in shown.sentences)


def test_what_a_plan_does_not_allow_is_left_out_without_an_error(setting: Setting) -> None:
    coefficients = replace(setting.plan.under("twfe"), placebos={}, scales={"log1p": "Log"})
    coefficients = replace(coefficients, rows=(coefficients.headline,), neighbours="")
    bare = Setting(coefficients, setting.panel, {})
    assert violations(bare) == Exhibited()
    assert learners(bare) == Exhibited()
    assert heterogeneity(bare).sentences[0].startswith("Not made: ")
    assert not heterogeneity(bare).tables
    assert {line.label for line in placebos(bare).tables[0].lines} >= {"Events 1 period earlier"}
    assert verdicts(bare).tables


def test_diagnostics_of_a_headline_with_learners_are_about_the_first_design_without(
    tmp_path: Path, made: dict[str, Exhibited]
) -> None:
    plan = replace(planned(tmp_path, PLAN + EXTRA + LEARNED).under("dml_stacked"), scales={"log1p": "Log"})
    setting = setting_of(plan, answered=False)
    assert plan.headline.label == "ML"
    assert setting.main_row.label == "CS"
    line = lines(placebos(setting).tables[0])["Panel A. Log", "Other"]
    assert line == lines(made["placebos"].tables[0])["Panel B. Log", "Other"]


def test_the_command_of_a_number_shows_its_design_whatever_the_headline(
    setting: Setting, made: dict[str, Exhibited]
) -> None:
    for traced in made["leave_one_out"].numbers:
        command = traced.source.command
        question, design = command.removeprefix("study diagnose ").split(" --design ")
        for plan in (setting.plan, setting.plan.under("twfe")):
            task = plan.ask(question, design)
            assert traced.source.design == f"{task.row.label} ({task.row.name})"
            assert f"scale={task.scale}" in traced.source.question


def test_nothing_is_shown_where_the_headline_refuses_the_question(setting: Setting) -> None:
    varying = replace(setting.plan, question=setting.plan.question | {"covariates": ["x1"]})
    varying = replace(varying, placebos={}).under("event_study")
    bare = Setting(replace(varying, rows=(varying.headline,), neighbours=""), setting.panel, {})
    assert isinstance(bare.verdict_of("log1p"), str)
    for make in set(EXHIBITS) - {heterogeneity, specifications}:  # whose designs are their own
        assert make(bare) == Exhibited(), make.__name__
    assert specifications(bare).sentences[0].startswith("Not made: ")


def test_the_papers_placebo_fields_are_compared_with_its_outcome_university_by_university() -> None:
    plan = replace(paper_plan(), scales={"log1p": "Log"})
    panels = other_panels({name: plan.placebos[name] for name in ("robotics",)})
    setting = Setting(plan, paper_panel(), {}, panels)
    numbers = {traced.address: traced for traced in placebos(setting).numbers}
    task = setting.task_of("log1p")
    ours, theirs = (
        find_design(task.row.name)(task.question.sample(panel), **task.options).headline
        for panel in (setting.panel, panels["robotics"])
    )
    less = numbers["placebos/log1p/robotics/difference"]
    assert float(less.value.replace("\N{MINUS SIGN}", "-")) == round(ours.effect[0] - theirs.effect[0], 3)
    assert less.source.checksum == setting.panel.checksum
    # They share universities: their errors are subtracted university by university.
    errors: dict[str, float] = {}
    for sign, fit in ((1, ours), (-1, theirs)):
        own = fit.errors.dense()[:, 0] / fit.sample.n_units
        for unit, error in zip(fit.sample.unit_ids, own, strict=True):
            errors[unit] = errors.get(unit, 0.0) + sign * error
    shared_error = float(np.sqrt(np.sum(np.square(list(errors.values())))))
    shown = float(numbers["placebos/log1p/robotics/difference_std_error"].value)
    assert (
        shown == round(shared_error, 3) != round(float(np.hypot(ours.std_error[0], theirs.std_error[0])), 3)
    )


def test_an_exhibit_is_the_same_bytes_again_from_a_new_setting(
    made: dict[str, Exhibited], tmp_path: Path
) -> None:
    again = setting_of(planned(tmp_path, PLAN + EXTRA))
    for make in AGAIN:
        shown, before = make(again), made[make.__name__]
        assert [t.latex() for t in shown.tables] == [t.latex() for t in before.tables]
        assert [f.png for f in shown.figures] == [f.png for f in before.figures]
        assert shown.numbers == before.numbers


def test_a_cohort_is_named_by_its_year_and_a_unit_by_its_name() -> None:
    assert short("cohort 2017 (9 units)") == "2017"
    assert short("ETH Zurich") == "ETH Zurich"


def test_an_exhibit_says_why_a_diagnostic_was_not_made_on_each_scale(setting, monkeypatch) -> None:
    real = Setting.finding_of

    def refused(of: Setting, scale: str, name: str, label: str | None = None) -> Finding | str:
        return "the dates cannot be moved." if name == "placebo_dates" else real(of, scale, name, label)

    monkeypatch.setattr(Setting, "finding_of", refused)
    sentences = placebos(setting).sentences
    for scale in setting.plan.scales:
        title = Scale(scale).title
        assert f"{title}: Not made: the dates cannot be moved." in sentences


def test_a_verdict_of_the_table_has_three_numbers_at_most_and_can_be_read_at_once(
    made: dict[str, Exhibited],
) -> None:
    for table in made["verdicts"].tables:
        for line in table.lines:
            said = str(line.cells[0]).replace("log(1 + ", "log(")
            if not said.startswith("Not made: "):
                assert len(re.findall(r"(?<![\w.])-?\d[\d.,]*", said)) <= 3, said
                assert len(said.split()) <= 40, said
                assert not re.search(r"[a-z]_[a-z]", said), said


def test_effects_of_a_tiny_outcome_are_more_than_zeros_and_a_slope_is_a_period_of_the_panel(
    tmp_path: Path,
) -> None:
    data = pd.read_csv(PANEL)
    data.assign(count=1e-8 * data["count"]).to_csv(tmp_path / "tiny.csv", index=False)
    text = PLAN.replace(str(PANEL), "tiny.csv").replace(
        'proportional = "Share"\nlog1p = "Log"', 'level = "L"'
    )
    tiny = setting_of(planned(tmp_path, text))
    for make in (leave_one_out, inference, specifications, violations):
        (table,) = make(tiny).tables
        shown = [
            c for line in table.lines for c in line.cells if isinstance(c, Number) and 0 < abs(c.value) < 1e-5
        ]
        assert shown
        assert all(float(number.text.strip("()")) for number in shown), table.name
    assert "the slope a period that" in " ".join(table.notes)
    quantities = [number.source.quantity for number in violations(tiny).numbers]
    assert any("change of slope a period" in words for words in quantities)
    assert not any("a year" in words for words in quantities)
    assert not re.search(r"was 0\.00 in", " ".join(raw_means(tiny).sentences))
