"""The paper's exhibits of data and event studies: what they count and estimate, and how their figures print."""

from __future__ import annotations

import re
import shlex
import warnings
from collections import Counter
from dataclasses import replace
from itertools import combinations

import matplotlib
import numpy as np
import pandas as pd
import pytest
from drawings import drawn_as
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from paper_inputs import paper_panel, paper_plan
from plans import PLAN

import study
from study.designs import Estimand, find_design
from study.estimates import NONE, Effect
from study.figures import Group, adoption_windows, drawing
from study.figures import paths as figures
from study.paper import run as running
from study.paper.exhibits import balance as balancing
from study.paper.exhibits import event_studies, exhibit, raw_means, timing
from study.paper.exhibits import sample as sampling
from study.paper.exhibits import scales as scaling
from study.paper.exhibits.designs import path_figure
from study.paper.exhibits.exhibit import Exhibited, Setting, address
from study.paper.numbers import select
from study.paper.plan import Event, Row, read_plan
from study.paper.results import answer, headline_effect

NAMES = ("timing", "raw_means", "balance", "event_studies", "scales")
MADE = {
    "timing": timing.timing,
    "raw_means": raw_means.raw_means,
    "balance": balancing.balance,
    "event_studies": event_studies.event_studies,
    "scales": scaling.scales,
}


def setting_of(plan, panel) -> Setting:
    """Return a setting with the plan's answers about its first event, without randomization tests."""
    tasks = [replace(t, permutations=0) for t in plan.tasks() if t.event == plan.events[0]]
    return Setting(plan, panel, {task.key: answer(task, panel) for task in tasks})


@pytest.fixture(scope="module")
def paper():
    """Return the paper's plan on its panel, without the rows that draw folds and with fewer draws of the band."""
    plan = paper_plan()
    rows = tuple(row for row in plan.rows if not find_design(row.name).draws)
    return setting_of(replace(plan, rows=rows, band_draws=199), paper_panel())


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Return the small plan on its simulated panel, which has none of the paper's events."""
    path = tmp_path_factory.mktemp("plan") / "study.toml"
    path.write_text(PLAN)
    plan = read_plan(path)
    return setting_of(plan, running.load(plan))


@pytest.fixture(scope="module")
def made_and_drawn(paper):
    """Return the exhibits, and their figures before they were files."""
    figures, made = [], {}

    def drawn(figure, kind):
        figures.append(figure)
        # Of one exhibit alone a test reads the PNG.
        return drawing.drawn(figure, kind) if kind == "pdf" or name == "raw_means" else b""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exhibit, "drawn", drawn)
        for name, make in MADE.items():
            made[name] = make(paper)
    names = [figure.name for shown in made.values() for figure in shown.figures]
    return made, dict(zip(names, figures[::2], strict=True))


@pytest.fixture(scope="module")
def made(made_and_drawn):
    return made_and_drawn[0]


@pytest.fixture(scope="module")
def small(simulated):
    """Return the exhibits of the small plan with a row that is refused."""
    row = replace(event_studies.OTHERS[2], options={"before": 90})
    plan = replace(simulated.plan, rows=(*simulated.plan.rows, row))
    with drawn_as("png"):
        return {name: make(replace(simulated, plan=plan)) for name, make in MADE.items()}


def balanced(plan):
    """Return the row of the paper's plan whose universities are the same at all event times of the average."""
    return next(row for row in plan.rows if "balance" in row.question)


@pytest.fixture(scope="module")
def compared(paper):
    """Return the sample whose balance is shown, what is compared, and what the diagnostic finds."""
    task = paper.plan.task(paper.plan.events[0], "papers", "proportional", paper.plan.headline)
    sample = task.question.sample(paper.panel)
    names = balancing.compared(paper, sample)
    return sample, names, study.diagnostics.balance(sample, covariates=names)


@pytest.fixture(scope="module")
def drawings(paper, made_and_drawn, compared):
    """Return the figures of the exhibits before they are files, that of balance as its diagnostic draws it."""
    return made_and_drawn[1] | {
        "balance": compared[2].plot(),
        "path": path_figure(
            paper.plan, paper.answers(paper.event, "log1p", paper.plan.figure_row.label), "year"
        ),
    }


def test_every_event_is_counted_as_its_question_would_treat_it(paper):
    found, absent = timing.timed(paper.plan, paper.panel)
    assert not absent
    asked = {event.label for event in (*paper.plan.events, *paper.plan.families)}
    compared = 0
    for timed in found:
        if timed.event.label not in asked:
            continue
        task = paper.plan.task(timed.event, "papers", "level", paper.plan.headline)
        flow = {s.reason: s.units for s in task.question.replace(covariates=()).sample(paper.panel).flow}
        by_year = {
            int(k.removeprefix("first treated in ")): n
            for k, n in flow.items()
            if "treated in 20" in k and "already" not in k
        }
        assert timed.by_period == by_year
        counts = timed.counts
        assert counts["already_treated"] == flow.get(f"already treated in {paper.panel.periods[0]}", 0)
        assert counts["later"] == flow.get(f"first treated after {paper.panel.periods[-1]}", 0)
        assert counts["never_treated"] == flow.get("never treated", 0)
        assert counts["n_treated"] == sum(by_year.values())
        assert counts["population"] == sum(
            counts[name] for name in ("already_treated", "n_treated", "later", "never_treated")
        )
        compared += 1
    assert compared == len(asked) == 22


def test_a_lag_moves_dates_and_a_population_takes_others_out(paper):
    panel, plan = paper.panel, paper.plan
    at_once = timing.timed_event(plan, panel, Event("first_cluster_grant", "t", "s", "l"))
    later = timing.timed_event(plan, panel, Event("first_cluster_grant", "t", "s", "l", question={"lag": 1}))
    dates = panel.first_treated["first_cluster_grant"]
    assert at_once.by_period == dict(sorted(Counter(d for d in dates if 2013 < d < 2025).items()))
    assert later.by_period == dict(sorted(Counter(d + 1 for d in dates if 2013 <= d < 2024).items()))
    british = timing.timed_event(
        plan, panel, Event("first_uk_gpu", "t", "s", "l", question={"population": "uk_gpu"})
    )
    assert british.counts["population"] == np.sum(
        (panel.attributes["country"] == "GB") & (panel.attributes["uk_gpu_role"] != "unclear")
    )


def test_losers_are_those_of_the_contest_that_are_never_treated(paper):
    by_name = {t.event.name: t for t in timing.timed(paper.plan, paper.panel)[0]}
    panel = paper.panel
    lost, won = (panel.first_treated[n] for n in ("first_korea_ai_school_loser", "first_korea_ai_school"))
    compared = (panel.attributes["country"] == "KR") & (panel.attributes["korea_ai_school_role"] != "unclear")
    losers = compared & ~np.isnan(lost)
    assert by_name["first_korea_ai_school"].counts["losers"] == np.sum(losers & np.isnan(won))
    assert np.sum(losers & np.isnan(won)) < np.sum(losers)
    assert np.isnan(by_name["first_uk_gpu"].counts["losers"])


def test_losers_and_letters_of_contests_are_in_the_note_of_timing_where_there_are_some(made, small):
    (table,), (simulated,) = made["timing"].tables, small["timing"].tables
    assert table.headings[2:] == ["Before 2014", "Treated", "Years of adoption", "After 2024", "Never"]
    note = " ".join(table.notes)
    assert "Korea's AI graduate schools, 1; France's AI institutes (3IA), 9." in note
    for letters in timing.LETTERS:
        assert f"{letters}: " in note
        assert letters not in " ".join(simulated.notes)
    assert "losers" not in " ".join(simulated.notes)


def test_events_without_a_machine_are_known(paper):
    contrasts = {t.event.name for t in timing.timed(paper.plan, paper.panel)[0] if t.is_contrast}
    assert contrasts == {"first_other_instrument", "first_cri_other", "first_korea_ai_school", "first_3ia"}


def test_programmes_before_the_window_are_shown_and_said_to_be_too_early(made):
    assert any("Too early" in s and "IBM and Google" in s for s in made["timing"].sentences)
    values = {n.address: n.value for n in made["timing"].numbers}
    assert values["timing/clue/n_treated"] == "0"
    assert values["timing/clue/already_treated"] == "12"


def test_axes_of_raw_means_have_numbers_within_a_decade_and_names_of_quarters_apart(simulated):
    panel = simulated.panel
    names = tuple(f"{2014 + k // 4}Q{k % 4 + 1}" for k in range(len(panel.periods)))
    quarters = replace(simulated, panel=replace(panel, period="quarter", period_names=names))
    sample = next(iter(raw_means._samples(quarters).values()))
    sample = replace(sample, y=20 + sample.y / np.nanstd(sample.y))
    figure = raw_means.figure(quarters, sample, raw_means.by_adoption(sample), [])
    FigureCanvasAgg(figure).draw()
    axis = figure.axes[0]
    low, high = axis.get_ylim()
    assert high < 10 * low
    assert sum(low <= tick <= high for tick in axis.get_yticks()) >= 2
    boxes = [text.get_window_extent() for text in axis.get_xticklabels() if text.get_text()]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_what_a_panel_does_not_date_is_left_out_and_said(simulated, small):
    shown = small["timing"]
    assert [line.label for line in shown.tables[0].lines] == ["Event"]
    assert not any("IBM" in sentence for sentence in shown.sentences)  # a programme of the paper's panels
    another = replace(simulated.plan.events[0], name="another", label="another")
    plan = replace(simulated.plan, events=(*simulated.plan.events, another))
    assert timing.timed(plan, simulated.panel)[1] == [another]
    assert shown.sentences[0].startswith("1 event is dated in this panel; inside its window it treats ")
    switching = replace(simulated.panel, first_treated={}, treatment={"first_treated": np.zeros((200, 12))})
    assert timing.timing(replace(simulated, panel=switching)) == Exhibited()


@pytest.mark.parametrize(
    ("sizes", "windows"),
    [
        ([5, 6, 7], [(1, 1), (2, 2), (3, 3)]),
        ([5, 1, 5, 4], [(1, 2), (3, 4)]),
        ([5, 5, 5, 5, 5], [(1, 2), (3, 4), (5, 5)]),
        ([1, 1, 2], []),
        ([4, 0, 1], [(1, 3)]),
    ],
)
def test_adoption_years_are_pooled_so_that_no_small_cohort_is_a_line(sizes, windows):
    seen = np.flatnonzero(sizes)
    found = adoption_windows(seen + 1.0, np.array(sizes)[seen], float(len(sizes)))
    assert found == windows


def test_lines_of_raw_means_are_means_of_groups_that_do_not_overlap(paper):
    sample = next(iter(raw_means._samples(paper).values()))
    cohorts = raw_means.by_adoption(sample)
    assert min(g.size for g in (*cohorts, *raw_means.by_label(sample, "tier"))) >= raw_means.FEWEST
    assert np.max(sum(g.member.astype(int) for g in cohorts)) == 1
    assert sum(g.size for g in cohorts) == sample.n_units
    never = next(g for g in cohorts if g.label == "never")
    rows = np.isnan(paper.panel.first_treated[paper.plan.events[0].name])
    np.testing.assert_allclose(never.means(sample.y), paper.panel.outcomes["papers"][rows].mean(axis=0))


def test_no_line_of_raw_means_breaks_off_at_zero(paper, drawings):
    sample = next(iter(raw_means._samples(paper).values()))
    assert {axis.get_yscale() for axis in drawings["raw_means"].axes} == {"log"}
    for group in (*raw_means.by_adoption(sample), *raw_means.by_label(sample, "tier")):
        assert group.means(sample.y).min() > 0
    smallest = sample.attributes["tier"] == "1 paper"
    assert sample.y[smallest & (sample.first_treated <= 2024)].mean(axis=0).min() == 0
    assert raw_means.not_drawn(sample, "tier", raw_means.by_label(sample, "tier")) == "1 paper"
    assert "not drawn: 1 paper" in drawings["raw_means"].axes[1].get_title(loc="left")
    below = replace(sample, y=sample.y - 1)
    assert len(raw_means.by_label(below, "tier")) > len(raw_means.by_label(sample, "tier"))


def test_adopters_are_larger_before_they_adopt_and_grow_no_faster(made):
    values = {n.address: float(n.value) for n in made["raw_means"].numbers if "/papers/" in n.address}
    start = {who: values[f"raw_means/papers/{who}/first"] for who in ("treated", "never")}
    assert values["raw_means/papers/ratio"] == pytest.approx(start["treated"] / start["never"], rel=0.03)
    assert values["raw_means/papers/ratio"] > 6
    assert values["raw_means/papers/treated/growth"] < values["raw_means/papers/never/growth"]


def test_where_all_are_treated_nobody_is_never_treated_and_a_mean_below_zero_has_no_growth(simulated):
    panel, event = simulated.panel, simulated.event.name
    dates = panel.first_treated[event]
    late = np.where(np.isnan(dates), panel.periods[-1], dates)
    y = panel.outcomes["count"] - np.arange(len(panel.periods))
    changed = replace(
        panel, first_treated=panel.first_treated | {event: late}, outcomes=panel.outcomes | {"count": y}
    )
    sentences = raw_means.raw_means(replace(simulated, panel=changed)).sentences
    assert not any("never treated was" in sentence or "nan" in sentence for sentence in sentences)
    assert not any("grew −" in sentence or "grew -" in sentence for sentence in sentences)


def test_the_ratio_of_adopters_to_the_never_treated_can_be_read_from_the_raw_means(made, drawings):
    lines = {line.get_label(): line.get_ydata() for line in drawings["raw_means"].axes[0].get_lines()}
    start = {name.partition(" (")[0]: y[0] for name, y in lines.items()}
    values = {n.address: n.value for n in made["raw_means"].numbers}
    assert f"{start['all adopters'] / start['never']:.2f}" == values["raw_means/papers/ratio"]


def test_names_at_the_ends_of_lines_are_apart_and_each_is_there(drawings):
    figure = drawings["raw_means"]
    FigureCanvasAgg(figure).draw()
    for axis in figure.axes:
        names = [line.get_label() for line in axis.get_lines() if not line.get_label().startswith("_")]
        assert sorted(text.get_text() for text in axis.texts) == sorted(names)
        boxes = [Text.get_window_extent(text) for text in axis.texts]
        assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_means_skip_cells_that_are_not_observed(paper):
    sample = next(iter(raw_means._samples(paper).values()))
    y = sample.y.copy()
    y[0, :] = np.nan
    y[:, 2] = np.nan
    everyone = Group("all", np.ones(len(y), dtype=bool))
    found = everyone.means(y)
    assert np.isnan(found[2])
    np.testing.assert_allclose(np.delete(found, 2), np.delete(sample.y[1:].mean(axis=0), 2))


def test_regression_balances_its_own_covariates_and_weighs_others_as_it_implies(paper, compared):
    sample, names, found = compared
    left = balancing.adjusted_differences(sample, found, names)
    assert abs(left["log_baseline_papers"]) < 1e-9
    assert abs(left["baseline_papers"]) < 1e-9
    # The twin: weights of the comparison units that the regression implies, cohort by cohort.
    years, spread = (
        paper.panel.covariates["first_paper_year"][:, 0],
        found.frame[found.frame["cohort"] == "pooled"].set_index("covariate")["std_deviation"],
    )
    place = {u: i for i, u in enumerate(paper.panel.units)}
    years = years[[place[u] for u in sample.unit_ids]]
    x = np.column_stack([np.ones(sample.n_units), sample.x_baseline])
    total = 0.0
    for g in sample.cohorts:
        ours, theirs = sample.first_treated == g, ~(sample.first_treated <= g)
        weights = x[theirs] @ np.linalg.solve(x[theirs].T @ x[theirs], x[ours].mean(axis=0))
        assert weights.sum() == pytest.approx(1.0)
        total += ours.sum() * (years[ours].mean() - weights @ years[theirs])
    expected = total / (sample.first_treated <= 2024).sum() / spread["first_paper_year"]
    assert left["first_paper_year"] == pytest.approx(expected, abs=1e-8)


def test_numbers_of_balance_are_those_of_its_table(made):
    shown = made["balance"]
    numbers = {number.address: number for number in shown.numbers}
    columns = list(zip(*(line.cells for line in shown.tables[0].lines), strict=True))
    for k, ending in ((2, ""), (4, "_adjusted")):
        differences = [abs(cell.value) for cell in columns[k]]
        assert numbers[f"balance/summary/large{ending}"].value == str(sum(d > 0.25 for d in differences))
    assert numbers["balance/summary/differences"].value == str(len(columns[2]))
    tiers, regions = (block for block in shown.tables[0].blocks if block.title)
    assert [line.label for line in tiers.lines] == ["1 paper", "2-9 papers", "10-49 papers", "50+ papers"]
    assert [line.label for line in regions.lines] == sorted(line.label for line in regions.lines)
    growth = next(line for line in shown.tables[0].lines if line.label.startswith("Growth"))
    number = numbers["balance/growth_of_papers_before/adjusted_difference"]
    assert number.value == growth.cells[4].text.replace("-", "\N{MINUS SIGN}")
    assert number.source.quantity == "standardised difference after regression, Growth of papers before"


def test_means_of_small_covariates_are_not_zero():
    row = {"mean_treated": 4.77e-9, "mean_comparison": 2e-10}
    assert [balancing._cell(row, name).text for name in row] == ["0.00000000477", "0.00000000020"]


def test_a_covariate_of_one_s_own_keeps_its_capitals_in_a_sentence(paper, simulated):
    words = [balancing.in_a_sentence(paper, name) for name in ("Land Bayern", "baseline_papers")]
    assert words == ["Land Bayern", "baseline papers, all venues"]
    assert balancing.in_a_sentence(simulated, "baseline_papers") == "baseline papers"


def test_of_a_panel_of_one_s_own_nothing_is_said_that_is_true_of_those_that_ship(simulated):
    panel = simulated.panel
    covered = {"coverage": np.random.default_rng(1).random(panel.outcomes["y"].shape)}
    own = replace(
        panel,
        covariates=panel.covariates | covered,
        attributes=panel.attributes | {"tier": np.where(np.arange(panel.n_units) % 2, "A", "B")},
        period="quarter",
        period_names=tuple(f"{2014 + k // 4}Q{k % 4 + 1}" for k in range(len(panel.periods))),
    )
    event = replace(simulated.plan.events[0], short="First MRI (contrast)", question={"lag": 1})
    setting = replace(simulated, panel=own, plan=replace(simulated.plan, events=(event,), strata="tier"))
    made = [make(setting) for make in (timing.timing, sampling.sample, balancing.balance)]
    said = [table.latex() for shown in made for table in shown.tables]
    said += [figure.caption for shown in made for figure in shown.figures]
    said += [sentence for shown in made for sentence in shown.sentences]
    words = r"[Mm]achine|Awards|Instrumentation|venue|[Pp]aper|Coverage|affiliation|compute|\byear"
    assert not re.search(words, " ".join(said))
    assert "Events are moved by the question's lag." in said[0]
    assert any(text.endswith("by family of events; dashed: contrasts.") for text in said)
    assert "Tier" in said[2]


def test_without_covariates_balance_shows_no_adjustment(small):
    shown = small["balance"]
    assert shown.tables[0].headings == ["Treated", "Comparison", "Difference", "Variance ratio"]


def test_bases_are_what_the_designs_say_of_themselves(simulated):
    task = simulated.plan.task(simulated.plan.events[0], "count", "log1p", simulated.plan.headline)
    names = (
        "callaway_santanna",
        "sun_abraham",
        "stacked",
        "lp_did",
        "event_study",
        "imputation",
        "lee_wooldridge",
    )
    answers = {}
    for name in names:
        fit = find_design(name)(task.question.sample(simulated.panel))
        path = fit.aggregate("event")
        assert (-1 in path.event_time[path.reference]) == (name != "lee_wooldridge")
        result = answer(replace(task, row=Row(name, name), permutations=0), simulated.panel)
        answers["log1p", name] = result
        assert (event_studies._base(result) == event_studies.ONE_PERIOD) == (fit.against == "base")
    assert event_studies._apart(answers) == ["imputation", "lee_wooldridge"]
    others = [row.name for row in event_studies.OTHERS]
    assert {d.name for d in map(find_design, others) if d.estimand is Estimand.COEFFICIENT} == set()


def test_effects_before_the_event_without_an_error_are_said_to_be_in_no_test(simulated):
    task = simulated.plan.task(simulated.plan.events[0], "count", "log1p", simulated.plan.headline)
    known = answer(replace(task, row=Row("event_study", "ES"), permutations=0), simulated.panel)
    path = [replace(t, std_error=np.nan) if t.event_time == -3 else t for t in known.path]
    for shown, said in ((known, False), (replace(known, path=tuple(path)), True)):
        leads = pd.DataFrame.from_dict({("log1p", "ES"): event_studies.leads_of(simulated, shown)}, "index")
        notes = event_studies._table(simulated, {("log1p", "ES"): shown}, leads, []).notes
        assert ("Effects without a standard error are in none of the tests." in notes) == said


def test_answers_of_the_plan_are_shown_and_not_found_anew(paper, monkeypatch):
    asked = []
    real = answer
    monkeypatch.setattr(
        event_studies, "answer", lambda task, panel: asked.append(task.row.name) or real(task, panel)
    )
    for row in event_studies.shown_rows(paper.plan):
        event_studies._answer(paper, "log1p", row)
    assert sorted(asked) == ["imputation", "stacked", "sun_abraham"]


def test_effects_before_the_event_are_tested_together(paper, made):
    plan, label = paper.plan, paper.plan.headline.label
    task = plan.task(plan.events[0], "papers", "log1p", plan.headline)
    path = find_design("callaway_santanna")(task.question.sample(paper.panel), **task.options).aggregate(
        "event"
    )
    in_window = path.test((path.event_time < 0) & (path.event_time >= -5))
    lead = event_studies.leads_of(paper, paper.results["main", "log1p", "papers", label])
    every = paper.results["main", "log1p", "papers", label].pre_test
    assert (lead["leads_p_wald"], lead["leads_rank"], lead["leads_p_largest"]) == every
    assert (lead["window_p_wald"], lead["window_rank"]) == (in_window.p_value, in_window.rank)
    assert lead["window_rank"] == 4 < lead["leads_rank"]
    assert 0.05 < lead["window_p_largest"] < 1
    shown = np.isin(path.event_time, [-5, -4, -3, -2])
    assert abs(lead["estimate"]) == np.abs(path.effect[shown]).max()
    values = {n.address: n.value for n in made["event_studies"].numbers}
    at = "event_studies/log1p/callaway_santanna_conditional_on_size/largest/event_time"
    assert values[at] == f"\N{MINUS SIGN}{-lead['event_time']:.0f}"


def test_single_event_times_that_differ_from_zero_are_counted_over_all(paper, made):
    path = paper.results["main", "log1p", "papers", "Callaway-Sant'Anna"].path
    before = [e for e in path if e.event_time < 0 and not np.isnan(e.std_error)]
    differing = [e for e in before if not e.conf_low <= 0 <= e.conf_high]
    (line,) = [o for o in made["event_studies"].tables[0].blocks[1].lines if o.label == "Callaway-Sant'Anna"]
    assert line.cells[2] == f"{len(differing)} of {len(before)}"
    assert min(e.event_time for e in differing) < paper.plan.window[0]


def test_designs_with_covariates_have_vertical_axes_of_their_own(paper, drawings):
    parts = drawings["event_studies"].subfigs
    assert len(parts) == 2 * len(paper.plan.scales)
    titles = [{axis.get_title().replace("\n", " ") for axis in part.axes} - {""} for part in parts]
    given = {row.label for row in paper.plan.rows if row.question.get("covariates")}
    assert titles[0] == titles[2] == titles[0] & given
    assert not titles[1] & given
    assert parts[0].axes[0].get_ylim() != parts[1].axes[0].get_ylim()


def test_a_design_that_refuses_is_a_dash_with_its_reason(small):
    shown = small["event_studies"]
    refused = [line for line in shown.tables[0].lines if line.label == "Stacked"]
    assert len(refused) == 2
    assert all(line.cells[0] == "–" for line in refused)
    assert any("refused" in note for note in shown.tables[0].notes)


def test_reasons_on_the_page_do_not_list_the_designs_that_can_answer(simulated):
    why = "stacked: it cannot answer a question with covariates; imputation, twfe can."
    refused = replace(next(iter(simulated.results.values())), headline=None, notes=(why,))
    assert exhibit.refusals([refused]) == ["stacked: it cannot answer a question with covariates."]


def test_where_no_design_has_effects_before_the_event_no_sentence_tests_them(simulated):
    result = replace(next(iter(simulated.results.values())), path=(), pre_test=NONE)
    leads = {(scale, "A"): event_studies.leads_of(simulated, result) for scale in simulated.plan.scales}
    assert not [*event_studies._sentences(simulated, pd.DataFrame.from_dict(leads, orient="index"))]


def test_effects_on_another_base_are_drawn_hollow_and_apart(drawings):
    hollow = {
        axis.get_title()
        for part in drawings["event_studies"].subfigs
        for axis in part.axes
        for line in axis.get_lines()
        if line.get_marker() == "D" and line.get_markerfacecolor() == "white"
    }
    assert hollow == {"Imputation"}


def test_the_paths_of_fixed_composition_stand_over_who_is_in_them(paper, made, drawings):
    assert [figure.name for figure in made["event_studies"].figures] == ["event_studies", "fixed_composition"]
    assert all("intervals at 95%" in figure.caption for figure in made["event_studies"].figures)
    plan, figure = paper.plan, drawings["fixed_composition"]
    for axis, scale in zip(figure.axes, plan.scales, strict=True):
        factor = 100 if scale == "proportional" else 1
        labels = [plan.headline.label, balanced(plan).label]
        drawn = [np.asarray(bar.lines[0].get_ydata()) for bar in axis.containers if hasattr(bar, "has_yerr")]
        for label, own in zip(labels, drawn, strict=True):
            path = paper.results["main", scale, "papers", label].path
            shown = [
                factor * e.estimate for e in path if -5 <= e.event_time <= 5 and not np.isnan(e.band_low)
            ]
            assert own == pytest.approx(shown)
        # The axis is for the intervals of the average's event times: of the rest what goes on is cut and marked.
        effects = [e for label in labels for e in paper.results["main", scale, "papers", label].path]
        inside = [e for e in effects if 0 <= e.event_time <= 4]
        low, high = axis.get_ylim()
        assert low < factor * min(e.conf_low for e in inside)
        assert factor * max(e.conf_high for e in inside) < high
        assert high < factor * np.nanmax([e.band_high for e in effects])
        assert any(line.get_label() == figures.CUT for line in axis.get_lines())
        numbers = [text.get_text() for text in axis.texts if text.get_text().isdigit()]
        every, fixed = numbers[:11], numbers[11:]
        assert len(every) == len(fixed) == 11
        assert len(set(fixed[4:10])) == 1
        assert fixed[10] == "0"
        assert int(every[0]) < int(every[5]) > int(every[10])


def test_log_effects_move_with_the_unit_and_proportional_ones_do_not(paper):
    for outcome in paper.plan.outcomes:
        asked = scaling.questions(paper, outcome)
        of = {name: headline_effect(task, panel).estimate for name, (task, panel, _) in asked.items()}
        units = [scaling.in_units(paper.panel, outcome, unit) for unit in scaling.UNITS.values()]
        shares = [headline_effect(asked["proportional"][0], panel).estimate for panel in units]
        assert max(shares) - min(shares) < 1e-10
        label = paper.plan.headline.label
        assert of["log_one"] == paper.results["main", "log1p", outcome, label].headline.estimate
        assert of["proportional"] == pytest.approx(
            paper.results["main", "proportional", outcome, label].headline.estimate
        )
        assert len({round(of[f"log_{name}"], 3) for name in scaling.UNITS}) == 4


def test_scales_that_the_design_refuses_are_no_sentence_of_nan(simulated, monkeypatch):
    monkeypatch.setattr(scaling, "headline_effect", lambda *_: Effect("", note="It refuses."))
    shown = scaling.scales(simulated)
    assert set(shown.sentences) == {"It refuses."}
    assert "nan" not in str(shown.tables)


def test_a_unit_is_what_the_outcome_is_divided_by(paper):
    task = paper.plan.task(paper.plan.events[0], "papers", "log1p", paper.plan.headline)
    y = task.question.sample(scaling.in_units(paper.panel, "papers", 10.0)).y
    level = task.question.replace(scale="level").sample(paper.panel).y
    np.testing.assert_allclose(y, np.log1p(level / 10))


def test_in_ever_finer_units_the_log_effect_moves_by_the_effect_on_having_any(paper):
    task = paper.plan.task(paper.plan.events[0], "papers", "log1p", paper.plan.headline)
    fine, finer = (
        headline_effect(task, scaling.in_units(paper.panel, "papers", u)).estimate for u in (1e-8, 1e-9)
    )
    task, panel, _ = scaling.questions(paper, "papers")["any"]
    having_any = headline_effect(task, panel).estimate
    assert abs(having_any) > 1e-3
    assert finer - fine == pytest.approx(np.log(10) * having_any, abs=1e-6)


def test_numbers_have_the_exhibits_name_in_front_and_a_whole_source(paper, made):
    every = [traced for shown in made.values() for traced in shown.numbers]
    assert len(select(every, [traced.address for traced in every])) == len(every) > 100
    for name, shown in made.items():
        for traced in shown.numbers:
            assert traced.address.startswith(f"{name}/")
            assert traced.source.exhibit == name
            assert traced.source.checksum == paper.panel.checksum
            assert traced.source.quantity
            assert traced.source.command.startswith("study ")
            assert traced.value not in ("", "nan")


def test_commands_of_numbers_show_the_number(paper, made):
    from typer.testing import CliRunner

    from study.commands.cli import app

    number = next(n for n in made["scales"].numbers if n.address == "scales/papers/log_one/estimate")
    shown = CliRunner().invoke(app, shlex.split(number.source.command)[1:], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    (found,) = re.findall(r"^  (\S+) log points, std. error", shown.output, re.M)
    assert f"{float(found):.3f}" == number.value


@pytest.mark.parametrize("name", NAMES)
def test_exhibits_are_made_on_the_small_plan_too(small, name):
    shown = small[name]
    assert shown.tables or shown.figures
    for table in shown.tables:
        assert table.latex()
        assert table.html()
        assert table.markdown()


@pytest.mark.parametrize("name", [n for n in NAMES if n != "scales"])
def test_figures_are_vectors_with_embedded_fonts(made, name):
    for figure in made[name].figures:
        assert b"/Subtype /Image" not in figure.pdf
        assert b"/FontFile2" in figure.pdf
        assert b"/Type3" not in figure.pdf


def test_a_figure_has_the_same_bytes_each_time(paper, made):
    (figure,) = made["raw_means"].figures
    (again,) = raw_means.raw_means(paper).figures
    assert (again.pdf, again.png) == (figure.pdf, figure.png)


def clipped(figure, monkeypatch) -> list[str]:
    """Return the texts that are drawn and do not lie in the figure as a whole, to a pixel."""
    seen, real = [], Text.draw
    FigureCanvasAgg(figure)
    with drawing.styled(), monkeypatch.context() as patched:
        patched.setattr(Text, "draw", lambda text, renderer: (seen.append(text), real(text, renderer))[1])
        figure.canvas.draw()
        outer = figure.bbox.padded(1.0)
        shown = [t for t in seen if t.get_visible() and t.get_text().strip()]
        extents = {t: t.get_window_extent() for t in shown}
    inside = {
        t: outer.x0 <= e.x0 and e.x1 <= outer.x1 and outer.y0 <= e.y0 and e.y1 <= outer.y1
        for t, e in extents.items()
    }
    assert shown
    return [t.get_text() for t, fits in inside.items() if not fits]


def overlapping(figure) -> list[tuple[str, str]]:
    """Return pairs of tick labels of one axis that lie on one another."""
    pairs = []
    for axis in [a for part in (figure, *figure.subfigs) for a in part.axes]:
        for side in (axis.xaxis, axis.yaxis):
            low, high = sorted(side.get_view_interval())
            labels = [
                t.label1 if t.label1.get_visible() else t.label2
                for t in side.get_major_ticks()
                if low <= t.get_loc() <= high
            ]
            shown = [label for label in labels if label.get_visible() and label.get_text()]
            pairs += [
                (a.get_text(), b.get_text())
                for a, b in combinations(shown, 2)
                if a.get_window_extent().overlaps(b.get_window_extent())
            ]
    return pairs


@pytest.mark.parametrize(
    "name", ["timing", "raw_means", "balance", "event_studies", "fixed_composition", "path"]
)
def test_no_text_is_cut_or_written_over_another_or_too_small_to_read(drawings, monkeypatch, name):
    figure = drawings[name]
    assert clipped(figure, monkeypatch) == []
    assert overlapping(figure) == []
    assert min(t.get_fontsize() for t in figure.findobj(Text) if t.get_text().strip()) >= 7
    assert figure.get_size_inches()[0] <= drawing.FULL + 0.3


def test_a_cut_text_is_found(monkeypatch):
    with drawing.canvas() as figure:
        figure.text(0.95, 0.5, "this does not fit")
    assert clipped(figure, monkeypatch) == ["this does not fit"]


def grey(figure) -> np.ndarray:
    """Return the figure in grey, as it is rendered, from 0 (black) to 1."""
    figure.canvas.draw()
    rgb = np.asarray(figure.canvas.buffer_rgba())[:, :, :3] / 255
    return rgb @ [0.299, 0.587, 0.114]


def test_lines_are_distinguished_in_grey(drawings):
    figure = drawings["raw_means"]
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axis in figure.axes[:2]:
        for other in figure.axes:
            other.set_visible(other is axis)
        axis.set_axis_off()
        lines = [line for line in axis.get_lines() if not line.get_label().startswith("_")]
        assert len(lines) >= 5
        for line in axis.get_lines():
            line.set_visible(False)
        empty, shades = grey(figure), {}
        for line in lines:
            line.set_visible(True)
            alone = grey(figure)
            shades[line] = alone[alone != empty].min()
            line.set_visible(False)
        for line in axis.get_lines():
            line.set_visible(True)
        for one, other in combinations(lines, 2):
            told = {(line.is_dashed(), line.get_markerfacecolor()) for line in (one, other)}
            assert abs(shades[one] - shades[other]) > 0.07 or len(told) == 2
            assert one.get_marker() != other.get_marker() or len(told) == 2
    for axis in figure.axes:
        axis.set_axis_on()
        axis.set_visible(True)


def test_colours_are_of_unlike_shade_and_series_grow_lighter():
    fixed = [drawing.luminance(c) for c in (drawing.COLOUR, drawing.SECOND, drawing.THIRD, drawing.BAND)]
    assert min(np.diff(fixed)) > 0.1
    series = [drawing.luminance(s.colour) for s in drawing.SERIES]
    assert min(np.diff(series)) > 0.08
    assert len({s.marker for s in drawing.SERIES}) == len(drawing.SERIES)
    assert drawing.luminance("white") == pytest.approx(1)
    assert drawing.luminance("black") == 0


def test_numbers_in_the_cells_of_timing_stand_out_from_their_shade():
    for share in (0.01, 0.3, 0.6, 1.0):
        shade = drawing.luminance(timing._shade(share, light=False))
        assert abs(shade - (1.0 if shade < 0.55 else 0.0)) > 0.44
    shades = [drawing.luminance(timing._shade(s, light=False)) for s in (0.05, 0.2, 0.5, 1.0)]
    assert shades == sorted(shades, reverse=True)


def test_settings_of_the_readers_machine_do_not_change_a_figure():
    def bytes_of_figure():
        with drawing.canvas() as figure:
            figure.subplots().plot([1, 2], [3, 4], label="line")
        return drawing.figure_files("one", figure)

    usual = bytes_of_figure()
    assert set(usual) == {"one.pdf", "one.png"}
    with (
        warnings.catch_warnings(),
        matplotlib.rc_context({"font.size": 20, "pdf.fonttype": 3, "lines.linewidth": 5}),
    ):
        warnings.simplefilter("error")
        assert bytes_of_figure() == usual


def test_a_path_apart_is_the_only_one_with_a_second_mark():
    import pandas as pd

    times = np.array([-3.0, -2.0, -1.0, 0.0, 1.0])
    low = np.where(times == -1, np.nan, -1.0)
    path = pd.DataFrame(
        {
            "event_time": times,
            "estimate": 0.0,
            "conf_low": low,
            "conf_high": -low,
            "band_low": low,
            "band_high": -low,
        }
    )
    for apart in (False, True):
        with drawing.canvas() as figure:
            axis = figure.subplots()
            figures.draw_path(axis, path, apart=apart)
        marks = [line for line in axis.get_lines() if line.get_marker() == "D"]
        assert [list(line.get_xdata()) for line in marks] == ([[-3.0, -2.0]] if apart else [])


def test_addresses_of_numbers_are_made_of_labels_with_other_signs():
    assert address("event_studies", "log1p", "Callaway-Sant'Anna (conditional on size)", "estimate") == (
        "event_studies/log1p/callaway_santanna_conditional_on_size/estimate"
    )
