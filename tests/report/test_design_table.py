"""`study.table`: one table of any estimates and comparisons, whose cells are their own numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import simulated

import study
from study import Panel, Question, QuestionError
from study.estimates.effect import smallest_effect
from study.report.design_table import SCALES, Style, Words, _rows_of, as_tables, design_tables, in_letters
from study.report.table import Number, Table

QUESTION = Question("y", "event", average="event_average", horizon=2, min_cohort_size=1)


@pytest.fixture(scope="module")
def panel() -> Panel:
    made = simulated.panel(90, level=9.0)
    return replace(made, outcomes={"y": made.outcomes["y"], "z": made.outcomes["y"] ** 2})


@pytest.fixture(scope="module")
def fits(panel: Panel) -> list[study.Estimate]:
    return [study.estimate(panel, QUESTION, design) for design in ("twfe", "callaway_santanna")]


def cells(table: Table, label: str, below: int = 0) -> list[object]:
    """Return the values of the line of a label, or of one below it."""
    at = [line.label for line in table.lines].index(label)
    return [cell.value if isinstance(cell, Number) else cell for cell in table.lines[at + below].cells]


def test_estimates_are_columns_with_what_they_rest_on(fits) -> None:
    table = study.table(
        fits, labels={"y": "Papers a year", "unit": "lab", "units": "labs", "event": "the cluster"}
    )
    assert list(table.headings) == [
        "(1) Two-way fixed effects, static",
        "(2) Group-time ATT (Callaway and Sant'Anna)",
    ]
    assert table.caption == "Effect of the cluster on Papers a year"
    assert cells(table, "Papers a year") == [fit.headline.effect[0] for fit in fits]
    assert cells(table, "Papers a year", below=1) == [fit.headline.std_error[0] for fit in fits]
    assert cells(table, "Observations") == [fit.n_obs for fit in fits]
    assert cells(table, "Labs") == [90, 90]
    assert cells(table, "Clusters") == [90, 90]
    assert cells(table, "Fixed effects") == ["lab, period", ""]
    r_squared = cells(table, "R²")
    assert r_squared[0] == fits[0].r_squared
    assert np.isnan(r_squared[1])
    assert [note.split(":")[0] for note in table.notes] == [
        "Standard errors in parentheses, clustered by lab",
        "Degrees of freedom of t",
    ]
    assert f"{fits[0].headline.degrees_of_freedom[0]:.1f} in (1)" in table.notes[1]


def test_a_unit_has_the_name_of_its_column_where_it_has_no_label(panel: Panel) -> None:
    assert study.load_panel("cvpr").unit == "university"
    long = pd.DataFrame(
        {
            "lab": np.repeat(panel.units, len(panel.periods)),
            "year": np.tile(panel.periods, panel.n_units),
            "y": panel.outcomes["y"].ravel(),
            "event": np.repeat(panel.first_treated["event"], len(panel.periods)),
        }
    )
    own = Panel.from_long(long, unit="lab", time="year", first_treated="event", outcomes="y")
    fit = study.estimate(own, QUESTION, "twfe")
    table = study.table([fit])
    assert "clustered by lab:" in table.notes[0]
    assert cells(table, "Fixed effects") == ["lab, period"]
    assert "jackknife standard errors by lab, " in str(fit)
    assert "jackknife standard errors by lab." in str(
        study.compare(own, QUESTION, ["twfe", "imputation"], draws=99)
    )


def test_the_r_squared_is_that_of_the_regression_with_dummies(panel: Panel, fits) -> None:
    sample = fits[0].sample
    y, treated = sample.y.ravel(), sample.treatment.ravel()
    unit, period = (index.ravel() for index in np.indices(sample.y.shape))
    dummies = [np.eye(int(index.max()) + 1)[index] for index in (unit, period)]
    design = np.column_stack([treated, *dummies])
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    assert fits[0].r_squared == pytest.approx(
        1 - residual @ residual / np.sum((y - y.mean()) ** 2), abs=1e-10
    )


@pytest.mark.parametrize("covariates", [(), ("x1",)])
def test_the_r_squared_of_etwfe_is_that_of_the_regression_with_cohort_dummies(
    panel: Panel, covariates: tuple[str, ...]
) -> None:
    fit = study.estimate(panel, QUESTION.replace(covariates=covariates), "etwfe")
    y, first = fit.sample.y, np.nan_to_num(fit.sample.first_treated)
    cohort, period = (index.ravel() for index in np.broadcast_arrays(first[:, None], np.arange(y.shape[1])))
    treated = fit.sample.treatment.ravel() == 1
    cells = [(cohort == g) & (period == t) & treated for g in fit.sample.cohorts for t in range(y.shape[1])]
    dummies = [*(cohort == g for g in np.unique(cohort)), *(period == t for t in range(y.shape[1])), *cells]
    plain = np.column_stack(dummies).astype(float)
    baseline = fit.sample.x_baseline.repeat(y.shape[1], axis=0)
    design = np.column_stack([plain, *(plain * x[:, None] for x in baseline.T)])
    residual = y.ravel() - design @ np.linalg.lstsq(design, y.ravel(), rcond=None)[0]
    assert fit.r_squared == pytest.approx(1 - residual @ residual / np.sum((y - y.mean()) ** 2), abs=1e-10)


def test_outcomes_as_columns_are_the_same_cells_turned(panel: Panel) -> None:
    compared = study.compare(panel, QUESTION, ["twfe", "imputation", "dml_iv"], ["y", "z"], draws=99)
    turned, table = (study.table(compared, columns=columns) for columns in ("designs", "outcomes"))
    assert table.caption == "Effect of event on y and z"
    by_design = [cells(turned, outcome) for outcome in ("y", "z")]
    by_outcome = [cells(table, label) for label in turned.headings]
    assert list(map(list, zip(*by_design, strict=True))) == by_outcome
    assert by_outcome[2] == ["–", "–"]
    for shown in (turned, table):
        assert "names no" not in shown.notes[-1]
        assert shown.notes[-1].startswith("– : refused.")
    # Whether designs agree is known of those that were compared with each other alone.
    pairs = ["callaway_santanna", "imputation"], ["sun_abraham", "lee_wooldridge"]
    first, other = (study.compare(panel, QUESTION, pair, ["y", "z"], draws=99) for pair in pairs)
    agree = [
        [line.label for line in study.table(models, columns="outcomes").lines if "agree" in line.label]
        for models in (first, [first, other])
    ]
    assert agree == [["Designs agree, p-value", "Designs agree, Wald p"], []]
    apart = study.table(
        [compared.about(["y"]), compared.about(["z"]).estimates["z", "twfe"].with_vcov("CR0")]
    )
    assert cells(apart, "z")[1:] == ["", ""]
    assert cells(table, "Outcome mean") == pytest.approx([panel.outcomes[o].mean() for o in ("y", "z")])
    assert cells(turned, "Outcome mean, y")[:2] == pytest.approx([panel.outcomes["y"].mean()] * 2)


def test_scales_are_panels_and_the_specification_is_told_where_it_differs(panel: Panel) -> None:
    asked = [QUESTION, QUESTION.replace(cluster="state"), QUESTION.replace(scale="log1p")]
    table = study.table([study.estimate(panel, question, "twfe") for question in asked])
    assert [block.title.partition(". ")[0] for block in table.blocks] == ["Panel A", "Panel B", "Panel C"]
    assert list(table.headings) == [
        "(1) Two-way fixed effects, static (no cluster)",
        "(2) Two-way fixed effects, static (cluster state)",
    ]
    logarithm = table.blocks[1].lines[0].cells
    assert isinstance(logarithm[0], Number)
    assert logarithm[1] == ""
    assert cells(table, "Cluster") == ["unit", "state"]
    assert "Population" not in [line.label for line in table.lines]


def test_stars_have_the_levels_that_are_stated(fits) -> None:
    p_values = [fit.headline.tidy()["p_value"][0] for fit in fits]
    levels = [min(p_values) / 2, np.mean(p_values), 0.999]
    table = study.table(fits, stars=levels, digits=5, notes="none")
    shown = table.blocks[0].lines[0].cells
    assert [len(cell.stars) for cell in shown] == [sum(p < level for level in levels) for p in p_values]
    assert all(cell.digits == 5 for cell in shown)
    assert table.notes == [f"* p < 0.999, ** p < {levels[1]:g}, *** p < {levels[0]:g}."]
    assert study.table(fits, stars=True).notes[-1] == "* p < 0.1, ** p < 0.05, *** p < 0.01."
    assert study.table(fits, notes="none").notes == []


@pytest.mark.parametrize(
    ("terms", "to", "name"),
    [("event_time", "event", "Event time"), ("cohort", "cohort", "Cohort"), ("period", "calendar", "Period")],
)
@pytest.mark.parametrize("columns", ["designs", "outcomes"])
def test_effects_by_event_time_cohort_and_period_are_lines(panel: Panel, terms, to, name, columns) -> None:
    designs = ["callaway_santanna", "twfe", "imputation"]
    compared = study.compare(panel, QUESTION, designs, ["y", "z"], draws=99)
    table = study.table(compared, terms=terms, columns=columns, stars=True)
    labels = [line.label for line in table.blocks[0].lines]
    for outcome in ("y", "z"):
        for number, design in enumerate(designs):
            if design == "twfe":
                continue
            path = study.estimate(panel, QUESTION.replace(outcome=outcome), design).aggregate(to)
            tidy = path.tidy()
            tidy = tidy[tidy[terms].between(-3, 2)] if terms == "event_time" else tidy
            title = outcome if columns == "designs" else table_title(labels, number)
            start = labels.index(title)
            column = number if columns == "designs" else ["y", "z"].index(outcome)
            at = start + 1
            for row in tidy.itertuples():
                line = table.blocks[0].lines[at]
                assert line.label == f"{name} {getattr(row, terms):g}".replace("-", "\N{MINUS SIGN}")
                cell = line.cells[column]
                assert isinstance(cell, Number)
                assert cell.value == pytest.approx(row.estimate, rel=1e-12)
                assert len(cell.stars) == sum(row.p_value < level for level in (0.1, 0.05, 0.01))
                below = table.blocks[0].lines[at + 1]
                at += 1
                if below.label == "":
                    if np.isfinite(row.std_error):
                        assert below.cells[column].value == pytest.approx(row.std_error, rel=1e-12)
                    at += 1
    assert "twfe" not in labels
    assert "its term is a coefficient" in table.notes[-1]
    assert "Designs agree, p-value" not in labels


def test_a_table_by_event_time_says_where_effects_before_the_event_have_another_base(panel: Panel) -> None:
    fits = [study.estimate(panel, QUESTION, name) for name in ("callaway_santanna", "imputation")]
    said = "those before it against other ones, in (2)."
    assert said in study.table(fits, terms="event_time").noted
    assert "against other ones" not in study.table(fits[:1], terms="event_time").noted
    assert "against other ones" not in study.table(fits, terms="cohort").noted


def test_differences_say_that_their_critical_value_is_on_the_normal_scale(panel: Panel) -> None:
    compared = study.compare(panel, QUESTION, ["callaway_santanna", "imputation"], draws=99)
    *_, differences = as_tables(compared)
    assert "each put on the normal scale by its degrees of freedom, is" in differences.noted


def table_title(labels: list[str], number: int) -> str:
    """Return the label of the lines of a design by its number."""
    (title,) = [label for label in labels if label.startswith(f"({number + 1}) ")]
    return title


def test_periods_are_called_what_the_panel_of_each_estimate_calls_them() -> None:
    def counted_from(first: int) -> study.Estimate:
        rows = [(u, first + 2 * t, u % 5 + t * (u % 3), first + 6) for u in range(12) for t in range(6)]
        long = pd.DataFrame(rows, columns=["unit", "time", "y", "event"])
        long.loc[long["unit"] > 5, "event"] = np.nan
        made = Panel.from_long(
            long,
            unit="unit",
            time="time",
            outcomes="y",
            first_treated="event",
            period="rank",
            name=str(first),
        )
        return study.estimate(made, QUESTION, "callaway_santanna")

    fits = {"early": counted_from(1980), "late": counted_from(2000)}
    lines = {
        line.label: [*map(str, line.cells)] for line in study.table(fits, terms="cohort").blocks[0].lines
    }
    assert [label for label in lines if label] == ["y", "Cohort 1986", "Cohort 2006"]
    assert [bool(cell) for cell in lines["Cohort 1986"]] == [True, False]
    assert [bool(cell) for cell in lines["Cohort 2006"]] == [False, True]


def test_an_estimate_that_is_averaged_already_is_shown_as_it_is(fits) -> None:
    path = fits[1].aggregate("cohort")
    (of, line, *_) = study.table(path, terms="cohort", caption="A caption that names nothing").lines
    assert of.label == path.sample.question.outcome
    assert line.cells[0].value == path.effect[0]
    assert str(study.table(path, terms="cohort")) == str(study.table(fits[1], terms="cohort"))


def test_names_in_other_letters_are_labels_of_their_own() -> None:
    assert [*map(in_letters, ("α", "β", "gpu_stock 2"))] == ["u3b1", "u3b2", "gpu-stock-2"]


def test_no_decimals_round_means_and_leave_counts(panel: Panel) -> None:
    compared = study.compare(panel, QUESTION, ["twfe", "imputation"], ["y", "z"], draws=99)
    table = study.table(compared, columns="outcomes", digits=0)
    at = next(line for line in table.lines if line.label == "Outcome mean")
    assert [cell.text for cell in at.cells] == [f"{panel.outcomes[o].mean():.0f}" for o in ("y", "z")]


def test_effects_of_an_outcome_of_a_tiny_scale_have_digits_where_decimals_leave_none(panel: Panel) -> None:
    scaled = replace(panel, outcomes=panel.outcomes | {"tiny": 1e-8 * panel.outcomes["y"]})
    compared = study.compare(scaled, QUESTION, ["callaway_santanna", "imputation"], ["y", "tiny"], draws=99)
    table = study.table(compared, columns="outcomes", mde=True)
    for label in ("Minimum detectable effect", "Outcome mean"):
        both = [float(cell.text) for cell in next(own for own in table.lines if own.label == label).cells]
        assert both[1] == pytest.approx(1e-8 * both[0], rel=0.005)
    fit = compared.fits["tiny", "callaway_santanna"]
    effect = fit.headline.tidy().iloc[0]
    for text in (study.table(fit), compared):
        assert f"{effect.estimate:.10f}" in str(text)
        assert f"{effect.std_error:.10f}" in str(text)
    written = fit.sample.question.effect_scale.texts
    assert f"{written(effect.estimate)[0]} tiny, std. error {written(effect.std_error)[0]}" in str(
        fit.headline
    )
    assert float(fit.sample.question.effect_scale.number(effect.estimate)) == pytest.approx(
        effect.estimate, rel=0.005
    )


def test_effects_of_an_outcome_of_a_huge_scale_have_no_decimals_and_those_beside_them_have(
    panel: Panel,
) -> None:
    scaled = replace(panel, outcomes=panel.outcomes | {"huge": 1e9 * panel.outcomes["y"]})
    compared = study.compare(scaled, QUESTION, ["callaway_santanna", "imputation"], ["y", "huge"], draws=99)
    lines = study.table(compared, columns="outcomes", mde=True).lines
    of_effects = lines[: next(k for k, line in enumerate(lines) if line.label.endswith("%"))]
    for line in (*of_effects, next(own for own in lines if own.label == "Outcome mean")):
        ordinary, huge = (cell.text.strip("()") for cell in line.cells)
        assert huge == f"{float(huge):.0f}"
        assert 1e9 * float(ordinary) == pytest.approx(float(huge), abs=6e5)
        assert ordinary == f"{float(ordinary):.3f}"


def test_many_designs_are_several_tables_with_their_numbers(panel: Panel) -> None:
    names = [name for name, design in study.all_designs().items() if not design.draws][:8]
    rows = [(name, {}, f"Design {k}") for k, name in enumerate(names)]
    words = Words("t", "Effects", {"y": "Papers"}, SCALES)
    first, second = design_tables(words, [study.compare(panel, QUESTION, rows, draws=9)], Style("designs"))
    assert (first.name, second.name) == ("t-1", "t-2")
    assert second.caption == "Effects (designs 7 to 8 of 8)"
    assert list(second.headings) == ["(7) Design 6", "(8) Design 7"]


def test_notes_are_short_or_full(fits) -> None:
    short, full = (study.table(fits, notes=notes).notes for notes in ("short", "full"))
    assert set(short) < set(full)
    assert any("only if what its design assumes holds" in note for note in full)


def test_full_notes_say_of_each_estimate_which_panel_it_is_of_and_what_is_left_out(
    panel: Panel, fits
) -> None:
    gone = panel.outcomes["y"].copy()
    gone[:7] = np.nan
    other = replace(panel, name="other", outcomes={"y": gone, "z": panel.outcomes["z"]})
    few = study.estimate(other, QUESTION, "imputation")
    notes = " ".join(study.table([*fits, few], notes="full").notes)
    assert f"(1), (2): Panel of 90 units: {panel.name}, checksum {panel.checksum}." in notes
    assert (
        f"(3): Panel of 90 units: other, checksum {other.checksum}. Left out: 7 y is never observed" in notes
    )
    both = study.compare(other, QUESTION, ["twfe", "imputation"], ["y", "z"], draws=99)
    notes = " ".join(study.table([both], notes="full").notes)
    panel_of = f"Panel of 90 units: other, checksum {other.checksum}."
    assert f"(1), y; (2), y: {panel_of} Left out: 7 y is never observed" in notes
    assert f"(1), z; (2), z: {panel_of}" in notes


def test_the_warning_of_few_clusters_is_of_every_estimate_that_has_one(panel: Panel) -> None:
    labels = np.array([f"c{i % 4}" for i in range(panel.n_units)])
    clustered = replace(panel, attributes={"state": labels, "again": labels})
    asked = [QUESTION.replace(cluster=name) for name in (None, "state", "again")]
    fits = [study.estimate(clustered, question, "twfe") for question in asked]
    fits.append(study.estimate(clustered, asked[1], "event_study"))
    _, _, first, like = study.table(fits).notes
    assert first.startswith("(2), (3): 4 treated and 4 comparison clusters carry the variance of treatment; ")
    assert like == "A like warning holds for (4)."


def test_minimum_detectable_effects_stand_below_each_effect_on_request(fits) -> None:
    powers = [smallest_effect(fit.headline) for fit in fits]
    table = study.table(fits, mde=True)
    assert cells(table, "y", below=2) == [power.effect for power in powers]
    assert cells(table, "y", below=3) == [power.percent for power in powers]
    assert "detectable" not in str(study.table(fits)).lower()


def test_models_with_labels_of_their_own_and_the_same_bytes_each_time(fits) -> None:
    table = study.table({"OLS": fits[0], "Main": fits[1]})
    assert list(table.headings) == ["(1) OLS", "(2) Main"]
    for kind in ("latex", "html", "md", "docx", "csv", "txt"):
        assert table.formatted(kind) == study.table({"OLS": fits[0], "Main": fits[1]}).formatted(kind)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"labels": {"yy": "Papers"}}, 'Did you mean "y"'),
        ({"digits": -1}, "digits is -1"),
        ({"stars": [5]}, "levels between 0 and 1"),
        ({"columns": "rows"}, 'no columns "rows"'),
        ({"notes": "long"}, 'no notes "long"'),
        ({"terms": "event"}, 'no terms "event"'),
        ({"models": []}, "one at least"),
        ({"models": "twfe"}, "models is"),
        ({"models": [1]}, "models is"),
    ],
)
def test_a_mistake_is_one_clear_line(fits, arguments, said) -> None:
    with pytest.raises(QuestionError, match=said):
        study.table(**{"models": fits} | arguments)


def test_the_same_model_twice_is_refused_with_what_to_do(fits) -> None:
    with pytest.raises(
        QuestionError, match='2 models of y are "Two-way fixed effects, static"; give each a label'
    ):
        study.table([fits[0], fits[0]])
    assert len(study.table({"a": fits[0], "b": fits[0]}).headings) == 2


def test_what_models_on_several_scales_rest_on_is_one_line_a_row(panel: Panel) -> None:
    fits = [
        study.estimate(panel, QUESTION.replace(outcome=outcome, scale=scale), design)
        for outcome, scale in (("y", "level"), ("z", "level"), ("z", "log1p"))
        for design in ("twfe", "callaway_santanna")
    ]
    table = study.table(fits, columns="outcomes")
    labels = [line.label for line in table.lines if line.label.startswith(("Fixed effects", "Outcome mean"))]
    assert labels == ["Outcome mean", "Fixed effects, (1)"]
    assert cells(table, "Fixed effects, (1)") == ["unit, period"] * 2
    twice = [("(1)", (fits[2], None)), ("(1)", (fits[4], None))]  # what they do not rest on alike stays apart
    scales = _rows_of("Scale", twice, lambda fit: fit.sample.question.scale)
    assert [line.cells for line in scales] == [["level", ""], ["log1p", ""]]
    by_design = study.table([fits[0], fits[3], fits[4]])
    means = [panel.outcomes[outcome].mean() for outcome in ("y", "z", "z")]
    assert cells(by_design, "Outcome mean, y")[0] == pytest.approx(means[0])
    assert cells(by_design, "Outcome mean, z") == pytest.approx(means[1:])
