"""Plots of estimates, comparisons and panels: what is drawn where, what axes and legends say, what is refused."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache
from io import BytesIO
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import simulated
from command_line import command
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import FillBetweenPolyCollection, QuadMesh
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from paper_inputs import paper_panel
from plans import PANEL

from study import (
    Comparison,
    Estimate,
    Panel,
    Question,
    QuestionError,
    Sample,
    compare,
    diagnostics,
    estimate,
    event_plot,
)
from study.designs import find_design
from study.estimates import Effect
from study.figures import COLOUR, SERIES, dot_figure, drawing, drawn, effects_plot
from study.figures.paths import event_study, shortened
from study.panel import Scale

QUESTION = Question("y", "event")


@cache
def fit(design: str = "callaway_santanna", **changes: Any) -> Estimate:
    return estimate(simulated.panel(n=120, level=9.0), QUESTION.replace(**changes), design)


def axes_of(figure: Figure) -> Axes:
    (axis,) = figure.axes
    return axis


def legend_of(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def intervals(axis: Axes) -> list[np.ndarray[Any, Any]]:
    """Return, a series, the places and the ends of its intervals."""
    bars = [c for c in axis.containers if isinstance(c, ErrorbarContainer)]
    return [
        np.array([s for s in bar.lines[2][0].get_segments() if np.isfinite(s).all() and len(s)])
        for bar in bars
    ]


def bands(axis: Axes) -> list[BarContainer]:
    return [c for c in axis.containers if isinstance(c, BarContainer)]


def test_intervals_and_the_band_of_a_plot_are_those_of_the_estimate_at_its_level() -> None:
    path = fit().aggregate("event")
    axis = axes_of(fit().plot(level=0.9))
    table, band = path.tidy(0.9)[path.varies], path.band(0.9)[path.varies]
    (segments,) = intervals(axis)
    np.testing.assert_allclose(segments[:, 0, 0], band["event_time"])
    np.testing.assert_allclose(segments[:, :, 1], table[["conf_low", "conf_high"]])
    bars = [bar for bar in bands(axis)[0] if np.isfinite(bar.get_height())]
    np.testing.assert_allclose([bar.get_y() for bar in bars], band["band_low"])
    np.testing.assert_allclose([bar.get_y() + bar.get_height() for bar in bars], band["band_high"])


def test_a_plot_has_a_zero_line_a_hollow_reference_and_says_what_its_intervals_are() -> None:
    figure = fit().plot(level=0.9)
    axis = axes_of(figure)
    assert any(list(line.get_ydata()) == [0, 0] for line in axis.lines)
    (reference,) = [line for line in axis.lines if line.get_label() == "reference"]
    assert list(reference.get_xdata()) == [-1]
    assert (reference.get_markerfacecolor(), reference.get_markeredgecolor()) == ("white", COLOUR)
    assert legend_of(figure) == ["estimate, 90% pointwise interval", "90% simultaneous band", "reference"]


def test_axes_say_the_unit_of_the_period_and_the_labels_of_the_question() -> None:
    plain = axes_of(fit().plot())
    assert (plain.get_xlabel(), plain.get_ylabel()) == ("Periods since first treated", "Effect on y")
    assert plain.get_title() == "callaway_santanna"
    labels = {"y": "papers", "event": "a cluster", "callaway_santanna": "CS", "period": "quarter"}
    named = axes_of(fit().plot(labels=labels))
    assert (named.get_xlabel(), named.get_ylabel()) == ("Quarters since a cluster", "Effect on papers")
    assert named.get_title() == "CS"
    assert axes_of(fit().plot(title="By event time")).get_title() == "By event time"
    panel = simulated.panel(n=120)
    dated = replace(
        panel, periods=panel.periods + 2010, first_treated={"event": panel.first_treated["event"] + 2010}
    )
    assert axes_of(estimate(dated, QUESTION).plot()).get_xlabel() == "Years since first treated"


def test_dollars_in_a_name_are_no_formula() -> None:
    name = r"price ($) less cost ($ per \unit)"
    panel = simulated.panel(n=60, level=9.0)
    named = replace(panel, outcomes={name: panel.outcomes["y"]})
    figure = estimate(named, Question(name, "event"), "callaway_santanna").plot(title=name)
    assert axes_of(figure).get_title() == name
    drawn(figure, "svg")
    assert not any(text.get_parse_math() for text in (axes_of(figure).title, axes_of(figure).yaxis.label))


def test_a_share_is_drawn_in_percent() -> None:
    share = fit(scale="proportional")
    axis = axes_of(share.plot())
    path = share.aggregate("event")
    np.testing.assert_allclose(intervals(axis)[0][:, 0, 1], 100 * path.tidy()["conf_low"][path.varies])
    assert "% of the counterfactual mean" in axis.get_ylabel()


def test_the_window_of_a_plot_is_what_is_asked_or_the_horizons() -> None:
    def times(**how: Any) -> set[float]:
        return {
            bar.get_x() + bar.get_width() / 2
            for bar in bands(axes_of(fit(average="event_average", horizon=1).plot(**how)))[0]
        }

    assert times() == {-2, -1, 0, 1}
    assert times(window=(-3, 2)) == {-3, -2, -1, 0, 1, 2}
    every = fit(average="event_average", horizon=1).aggregate("event").event_time
    assert times(window=(-99, 99)) == set(every)


def test_several_designs_stand_side_by_side_each_with_its_own_band() -> None:
    fits = [fit(name) for name in ("callaway_santanna", "event_study", "stacked")]
    figure = event_plot(fits, labels={"stacked": "Stacked"})
    axis = axes_of(figure)
    assert legend_of(figure) == [
        "callaway_santanna",
        "event_study",
        "Stacked",
        "95% simultaneous band (lines: pointwise)",
        "reference",
    ]
    drawn_bands = bands(axis)
    edges = np.array([[b.get_x(), b.get_x() + b.get_width()] for bars in drawn_bands for b in bars])
    first, last = edges[edges[:, 0].argsort()].T
    assert np.all(first[1:] >= last[:-1] - 1e-9)
    for one, bars, series in zip(fits, drawn_bands, SERIES, strict=False):
        path = one.aggregate("event")
        expected = path.band()[path.varies]
        heights = [bar.get_height() for bar in bars if np.isfinite(bar.get_height())]
        np.testing.assert_allclose(heights, expected["band_high"] - expected["band_low"])
        assert any(
            line.get_color() == series.colour and line.get_marker() == series.marker for line in axis.lines
        )


def test_a_mapping_names_estimates_that_have_one_design() -> None:
    pair = {"all": fit(), "never treated": fit(comparison="never_treated")}
    assert legend_of(event_plot(pair))[:2] == [*pair]
    assert legend_of(event_plot(pair, labels={"all": "everyone"}))[:2] == ["everyone", "never treated"]


def test_effects_before_the_event_on_another_base_are_hollow_and_said_to_be() -> None:
    figure = fit("imputation").plot()
    axis = axes_of(figure)
    before = "before the event: another base"
    assert before in legend_of(figure)
    assert before not in legend_of(fit().plot())
    (hollow,) = [c for c in axis.containers if c.get_label() == before]
    assert np.all(hollow.lines[0].get_xdata() < 0)
    assert hollow.lines[0].get_markerfacecolor() == "white"
    ribbon = axes_of(fit("imputation").plot(style="ribbon"))
    lines = [line for line in ribbon.lines if line.get_linestyle() == "-" and len(line.get_xdata()) > 2]
    assert not any(min(line.get_xdata()) < 0 <= max(line.get_xdata()) for line in lines)


def monthly() -> Panel:
    """Return the simulated panel with its periods as months from 2019-11 on."""
    panel = simulated.panel(n=120, level=9.0)
    moved = 12 * 2019 + 9
    dates = {"event": panel.first_treated["event"] + moved}
    names = tuple(f"{k // 12}-{k % 12 + 1:02d}" for k in panel.periods + moved)
    return replace(
        panel, periods=panel.periods + moved, first_treated=dates, period="month", period_names=names
    )


@pytest.mark.parametrize(
    ("to", "label", "axis_name"),
    [("cohort", "cohort", "Month of a cluster"), ("calendar", "period", "Month")],
)
def test_averages_by_cohort_and_by_period_stand_at_the_panels_own_periods(to, label, axis_name) -> None:
    average = estimate(monthly(), QUESTION).aggregate(to)
    figure = average.plot(labels={"event": "a cluster"}, level=0.9)
    axis = axes_of(figure)
    (segments,) = intervals(axis)
    np.testing.assert_allclose(segments[:, 0, 0], getattr(average, label))
    np.testing.assert_allclose(segments[:, :, 1], average.tidy(0.9)[["conf_low", "conf_high"]])
    heights = [bar.get_height() for bar in bands(axis)[0]]
    band = average.band(0.9)
    np.testing.assert_allclose(heights, band["band_high"] - band["band_low"])
    assert axis.get_xlabel() == axis_name
    FigureCanvasAgg(figure).draw()
    shown = [text.get_text() for text in axis.get_xticklabels()]
    assert shown
    assert all(text.startswith(("2019-", "2020-")) for text in shown)


def test_one_cohort_is_named_once_on_its_axis() -> None:
    panel = monthly()
    dates = panel.first_treated["event"]
    first = np.nanmin(dates)
    alone = replace(panel, first_treated={"event": np.where(dates == first, first, np.nan)})
    figure = estimate(alone, QUESTION).aggregate("cohort").plot()
    axis = axes_of(figure)
    FigureCanvasAgg(figure).draw()
    left, right = axis.get_xlim()
    shown = [text.get_text() for text in axis.get_xticklabels() if left < text.get_position()[0] < right]
    assert shown == [panel.period_name(first)]
    assert axis.get_xlabel() == "Month first treated"


def test_a_legend_of_many_lines_leaves_the_axis_its_height() -> None:
    named = {f"a design whose name is as long as the titles of papers, {k}": fit() for k in range(5)}
    figure = event_plot(named, labels={"y": "the number of papers a year at all of the venues of the field"})
    FigureCanvasAgg(figure).draw()
    axis = axes_of(figure)
    assert axis.yaxis.label.get_window_extent().height < figure.bbox.height
    assert axis.get_window_extent().height > 0.45 * drawing.HEIGHT * figure.dpi


def test_quantiles_of_several_cells_are_not_joined_by_a_line() -> None:
    quantiles = fit("changes_in_changes")
    assert quantiles.at is not None
    assert axes_of(quantiles.plot()).get_xlabel() == "Periods since first treated"
    alone = quantiles.aggregate("quantile")
    rows = [text.get_text() for text in axes_of(alone.plot()).get_yticklabels()]
    assert len(rows) == len(alone.terms)


def test_diagnostics_name_the_periods_of_the_panel() -> None:
    panel = monthly()
    figure = diagnostics.negative_weights(QUESTION.sample(panel)).plot()
    axis = figure.axes[0]
    FigureCanvasAgg(figure).draw()
    cohorts = QUESTION.sample(panel).cohorts
    assert [text.get_text() for text in axis.get_yticklabels()] == [panel.period_name(g) for g in cohorts]
    assert axis.get_xlabel() == "Month"
    assert all(text.get_text().startswith("2020-") for text in axis.get_xticklabels() if text.get_text())
    leads = diagnostics.pretrends(estimate(panel, QUESTION)).plot()
    assert leads.axes[0].get_xlabel() == "Months since first treated"
    tested = axes_of(diagnostics.leads(estimate(panel, QUESTION)).plot())
    assert all(text.get_text().startswith("event time -") for text in tested.get_yticklabels())


def test_names_of_many_periods_below_shades_leave_each_other_room() -> None:
    panel, months = monthly(), np.arange(24) + 12 * 2019
    names = tuple(f"{k // 12}-{k % 12 + 1:02d}" for k in months)
    y = np.hstack([panel.outcomes["y"]] * 3)
    first = panel.first_treated["event"]
    dates = {"event": first - np.nanmin(first) + months[6]}
    named: Any = {"periods": months, "period_names": names}
    long = replace(panel, outcomes={"y": y}, first_treated=dates, covariates={}, **named)
    figure = diagnostics.negative_weights(QUESTION.sample(long)).plot()
    FigureCanvasAgg(figure).draw()
    axis = figure.axes[0]
    left, right = axis.get_xlim()
    texts = [text for text in axis.get_xticklabels() if left < text.get_position()[0] < right]
    boxes = [text.get_window_extent() for text in texts]
    assert len(boxes) > 1
    assert all(one.x1 + 5 < other.x0 for one, other in pairwise(boxes))


def test_coefficients_and_averages_are_dots_on_lines() -> None:
    alone = axes_of(fit("twfe").plot())
    np.testing.assert_allclose(intervals(alone)[0][:, :, 0], fit("twfe").tidy()[["conf_low", "conf_high"]])
    assert [text.get_text() for text in alone.get_yticklabels()] == ["treatment"]
    assert [text.get_text() for text in axes_of(fit().headline.plot()).get_yticklabels()] == [
        "treated average"
    ]
    pair = {"Two-way": fit("twfe"), "CS": fit()}
    axis = axes_of(effects_plot(pair, title="Headlines"))
    assert [text.get_text() for text in axis.get_yticklabels()] == [*pair]
    expected = [each.headline.tidy()[["conf_low", "conf_high"]].to_numpy()[0] for each in pair.values()]
    np.testing.assert_allclose(intervals(axis)[0][:, :, 0], expected)
    assert axis.get_title() == "Headlines"


def test_a_band_much_wider_than_the_others_ends_at_the_axis_and_the_legend_says_so() -> None:
    usual = axes_of(fit().plot())
    assert "band goes on beyond the axis" not in legend_of(fit().plot())
    path = pd.DataFrame({"event_time": [-2.0, -1, 0, 1], "estimate": [0.1, 0.0, 1.0, 2.0]})
    half = np.array([0.5, np.nan, 0.5, 5.0])
    for name, sign in (("low", -1), ("high", 1)):
        path[f"conf_{name}"] = path["estimate"] + sign * half / 2
        path[f"band_{name}"] = path["estimate"] + sign * half
    figure = event_study({"": path}, scale=Scale("level"), unit="year")
    axis = axes_of(figure)
    low, high = axis.get_ylim()
    assert (low, high) == pytest.approx((-0.4 - 0.08 * 2.4, 2 + 0.08 * 2.4))
    marks = [line for line in axis.lines if line.get_label() == "band goes on beyond the axis"]
    assert [(list(m.get_xdata()), m.get_ydata()[0], m.get_marker()) for m in marks] == [
        ([1], low, "v"),
        ([1], high, "^"),
    ]
    assert "band goes on beyond the axis" in legend_of(figure)
    assert usual.get_ylim()[0] < min(bar.get_y() for bar in bands(usual)[0] if np.isfinite(bar.get_height()))


def test_outcomes_of_unlike_size_are_on_axes_of_their_own_and_four_at_most_in_a_row() -> None:
    effects = path()
    numbers = effects.columns.difference(["event_time"]).intersection(effects.select_dtypes("float").columns)
    sizes = [1.0, 2.0, 1e-7, 1e9, 5.0]
    paths = {f"{size:g}": effects.assign(**size * effects[numbers]) for size in sizes}
    axes = event_study(paths, scale=Scale("level"), unit="year").axes[: len(sizes)]
    ends = np.array([axis.get_ylim() for axis in axes])
    np.testing.assert_allclose(ends / ends[0], np.column_stack(2 * [sizes]), rtol=1e-6)
    tops = [axis.get_subplotspec().rowspan.start for axis in axes]
    assert tops == [0, 0, 0, 1, 1]
    for size, scales in ((9.0, 1), (11.0, 2)):
        two = {"one": effects, "larger": effects.assign(**size * effects[numbers])}
        drawn = event_study(two, scale=Scale("level"), unit="year").axes
        assert len({axis.get_ylim() for axis in drawn}) == scales


def test_a_band_beyond_any_axis_is_in_the_legend() -> None:
    figure = event_study({"usual": path(), "wide": wide()}, scale=Scale("level"), unit="year")
    assert "band goes on beyond the axis" in legend_of(figure)


def test_a_ribbon_has_the_limits_of_the_intervals_and_of_the_band() -> None:
    path = fit().aggregate("event")
    axis = axes_of(fit().plot(style="ribbon"))
    shades = [c for c in axis.collections if isinstance(c, FillBetweenPolyCollection)]
    band, table = path.band(), path.tidy()
    for shade, high, low in (
        (shades[0], band["band_high"], band["band_low"]),
        (shades[1], table["conf_high"], table["conf_low"]),
    ):
        heights = shade.get_paths()[0].vertices[:, 1]
        assert (heights.max(), heights.min()) == pytest.approx((high.max(), low.min()))


def test_given_axes_are_drawn_on_with_a_legend_only_where_there_are_several() -> None:
    figure = Figure()
    left, right, below = figure.subplots(1, 3)
    assert fit().plot(left) is figure
    event_plot([fit(), fit("event_study")], right)
    assert left.get_legend() is None
    assert right.get_legend() is not None
    assert not figure.legends
    compared().about(["y"]).plot(below, title="Averages")
    assert below.get_title() == "Averages"
    assert len(figure.axes) == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: event_plot([]), "0 estimates are given"),
        (lambda: event_plot([fit()] * 6), "6 estimates are given; a panel shows one to 5"),
        (lambda: event_plot([fit(), fit()]), "give a mapping of names to estimates"),
        (lambda: event_plot([fit(), fit("event_study", scale="log1p")]), "scales level and log1p"),
        (lambda: event_plot("callaway_santanna"), "fits is 'callaway_santanna'"),
        (lambda: event_plot({"a": 1}), "event_plot: fits is"),
        (lambda: fit().plot(style="ribon"), 'there is no style "ribon"'),
        (lambda: fit().plot(window=(50, 60)), "callaway_santanna has no event time in the window (50, 60)"),
        (lambda: fit().plot(level=95), "level is 95; it must lie between 0 and 1"),
        (lambda: fit().plot(0.9), "ax is 0.9; give matplotlib axes"),
        (lambda: event_plot(fit("twfe")), "use a design with event times"),
        (lambda: event_plot(fit().headline), "treated_average has no event time to draw"),
        (lambda: fit("twfe").plot(window=(-1, 2)), "a window is of event times"),
        (lambda: compared().plot(Figure().subplots()), 'comparison.about(["y"])'),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(call: Any, message: str) -> None:
    with pytest.raises(QuestionError) as refusal:
        call()
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


LONG = "the first accelerator system in the TOP500 of the university or of a centre that it shares"
DRAWN = {
    "one design": lambda: fit().plot(),
    "another base": lambda: fit("imputation", scale="proportional").plot(title="Imputation"),
    "five designs": lambda: event_plot(
        [fit(name) for name in ("callaway_santanna", "imputation", "event_study", "stacked", "lp_did")]
    ),
    "long names": lambda: event_plot({"A design of many words and options": fit(), "B": fit("event_study")}),
    "long outcomes": lambda: event_study(
        dict.fromkeys(["an outcome of many words and units", "x" * 60], path()),
        scale=Scale("level"),
        unit="year",
    ),
    "a band beyond the axis": lambda: event_study({"y": wide()}, scale=Scale("level"), unit="year"),
    "long outcome": lambda: long_outcome().plot(),
    "long words of an outcome": lambda: fit().plot(
        labels={"y": "an outcome with a very long name of its own"}
    ),
    "comparison": lambda: compared().plot(title="Averages"),
    "cohorts": lambda: estimate(monthly(), QUESTION).aggregate("cohort").plot(),
    "coefficient": lambda: fit("twfe").plot(),
    "one outcome": lambda: compared().about(["y"]).plot(title="Averages"),
    "panel": lambda: simulated.panel(n=120).plot("event"),
    "long words": lambda: fit().plot(title=LONG, labels={"event": LONG}),
    "long words of cohorts": lambda: fit().aggregate("cohort").plot(labels={"event": LONG}),
    "long words of a coefficient": lambda: fit("twfe").plot(title=LONG),
    "long words of a panel": lambda: simulated.panel(n=120).plot("event", labels={"event": LONG, "y": LONG}),
    "hidden treatment": lambda: diagnostics.misclassification(long_sample(), "callaway_santanna").plot(),
    "shares hidden": lambda: diagnostics.misclassification(
        long_sample(scale="proportional"), "callaway_santanna"
    ).plot(),
    "Oster": lambda: diagnostics.oster(long_sample(), "callaway_santanna").plot(),
    "confounding": lambda: diagnostics.sensitivity(long_sample(), "callaway_santanna").plot(),
    "Goodman-Bacon": lambda: diagnostics.goodman_bacon(long_sample(covariates=())).plot(),
    "pre-trends": lambda: diagnostics.pretrends(
        find_design("callaway_santanna")(long_sample(covariates=())), slope=0.1
    ).plot(),
}


@pytest.mark.parametrize("name", [*DRAWN])
def test_titles_labels_and_legends_lie_inside_the_figure_and_apart(name: str) -> None:
    figure = DRAWN[name]()
    FigureCanvasAgg(figure).draw()
    renderer = figure.canvas.get_renderer()
    legends = [*figure.legends, *(legend for axis in figure.axes if (legend := axis.get_legend()))]
    texts: list[Any] = [*legends]
    titles = [axis.title.get_window_extent(renderer) for axis in figure.axes if axis.get_title()]
    assert not any(one.overlaps(other) for one, other in combinations(titles, 2))
    for axis in figure.axes:
        texts += [axis.title, axis._left_title, axis.xaxis.label, axis.yaxis.label]
        texts += [axis.xaxis.get_tightbbox(renderer), axis.yaxis.get_tightbbox(renderer)]
    boxes = [
        text.get_window_extent(renderer) if hasattr(text, "get_window_extent") else text for text in texts
    ]
    boxes = [box for box in boxes if box is not None and box.width > 1 and box.height > 1]
    inside = figure.bbox.padded(1)
    for box in boxes:
        assert inside.contains(box.x0, box.y0)
        assert inside.contains(box.x1, box.y1)
    for legend in legends:
        frame = legend.get_window_extent(renderer)
        others = [axis.get_window_extent(renderer) for axis in figure.axes]
        others += [axis.title.get_window_extent(renderer) for axis in figure.axes if axis.get_title()]
        assert not any(frame.overlaps(other.padded(-1)) for other in others)


def long_sample(covariates: tuple[str, ...] = ("x1", "x2"), **more: Any) -> Sample:
    panel = simulated.panel(n=60, level=9.0)
    name = "Readmissions within thirty days of discharge per 1,000 patients"
    panel = replace(panel, outcomes={name: panel.outcomes["y"]})
    return Question(name, "event", covariates=covariates, **more).sample(panel)


def test_names_of_outcomes_before_treatment_lie_inside_the_figure_of_balance() -> None:
    figure = diagnostics.balance(long_sample()).plot()
    figure.draw_without_rendering()
    labels = figure.axes[0].get_yticklabels()
    assert len(labels) == 4
    assert all(label.get_window_extent().x0 >= 0 for label in labels)


def path() -> pd.DataFrame:
    path = fit().by_event_time
    return path.tidy().assign(**path.band()[["band_low", "band_high"]])


def wide() -> pd.DataFrame:
    """Return a path of which one band has no room on the axis."""
    effects, last = path(), path()["event_time"].idxmax()
    effects.loc[last, ["band_low", "band_high"]] = -100.0, 100.0
    return effects


def long_outcome() -> Estimate:
    panel = simulated.panel(n=60, level=9.0)
    name = "x" * 20 + " of many words and units " + "x" * 60
    return estimate(replace(panel, outcomes={name: panel.outcomes["y"]}), Question(name, "event"), "twfe")


@cache
def compared() -> Comparison:
    panel = simulated.panel(n=120, level=9.0)
    panel = replace(panel, outcomes={"y": panel.outcomes["y"], "z": 2 * panel.outcomes["y"]})
    designs = ["callaway_santanna", "twfe", "dml_iv", "event_study"]
    return compare(panel, QUESTION, designs, ["y", "z"], draws=99)


def test_a_comparison_draws_each_design_of_each_outcome_in_its_row() -> None:
    found = compared()
    figure = found.plot(labels={"twfe": "Two-way", "z": "citations"}, level=0.9, title="Designs")
    table = found.tidy(0.9)
    assert [axis.get_xlabel() for axis in figure.axes] == [
        "Effect on y\n(90% intervals)",
        "Effect on citations\n(90% intervals)",
    ]
    left, right = (axis.get_subplotspec() for axis in figure.axes)
    assert (left.rowspan, left.colspan.stop) == (right.rowspan, right.colspan.start)  # side by side
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    for outcome, axis in zip(found.outcomes, figure.axes, strict=True):
        rows = table[table["outcome"] == outcome].reset_index()
        together, apart = intervals(axis)
        expected = rows[["conf_low", "conf_high"]].to_numpy()
        np.testing.assert_allclose(together[:, :, 0], expected[[0, 3]])
        np.testing.assert_allclose(together[:, 0, 1], [0, 3])
        np.testing.assert_allclose(apart[:, :, 0], expected[[1]])
        (refused,) = axis.texts
        assert (refused.get_text(), refused.get_position()[1]) == ("refused", 2)
    assert legend_of(figure) == ["compared", "not compared: another kind, or no standard error"]
    names = ["callaway_santanna", "Two-way", "dml_iv", "event_study"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == names
    assert figure.axes[0].get_title(loc="left") == "Designs"


MINUS = "\N{MINUS SIGN}"
ASKED = ("--panel", PANEL, "--outcome", "y", "--event", "first_treated")
COMMANDS = {
    "estimate": ("estimate", *ASKED),
    "compare": (
        "compare",
        *ASKED,
        "--design",
        "callaway_santanna",
        "--design",
        "event_study",
        "--draws",
        "99",
    ),
}


@cache
def printed(name: str) -> str:
    """Return what a command without a plot prints."""
    return command(*COMMANDS[name], cwd=Path()).stdout


@pytest.mark.parametrize("name", [*COMMANDS])
@pytest.mark.parametrize(
    ("file", "begins"), [("a.pdf", b"%PDF"), ("new/a.PNG", b"\x89PNG"), ("a.svg", b"<?xml")]
)
def test_a_command_writes_its_plot_and_prints_what_it_prints_without(
    name: str, file: str, begins: bytes, tmp_path: Path
) -> None:
    done = command(*COMMANDS[name], "--plot", file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{printed(name)}Written: {file}\n"
    content = (tmp_path / file).read_bytes()
    assert content.startswith(begins)
    if name == "compare":
        command(*COMMANDS[name], "--plot", file, cwd=tmp_path)
        assert (tmp_path / file).read_bytes() == content


def test_a_plot_has_the_title_the_words_and_the_window_of_its_command(tmp_path: Path) -> None:
    words = ("--title", "My title", "--label", "y=Papers", "--label", "callaway_santanna=CS")
    for name, more in {"estimate": ("--window", "-2", "3"), "compare": ()}.items():
        done = command(*COMMANDS[name], *words, *more, "--plot", "a.svg", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        text = (tmp_path / "a.svg").read_text()
        for shown in ("My title", "Effect on Papers", *(("CS",) if name == "compare" else ("-2", "3"))):
            assert f"<!-- {shown.replace('-', MINUS)} -->" in text, shown
        assert "<!-- 4 -->" not in text or name == "compare"
    paths = command(*COMMANDS["compare"], *words, "--window", "-2", "3", "--plot", "a.svg", cwd=tmp_path)
    assert paths.returncode == 0, paths.stderr
    for shown in ("My title", "CS", "event_study", "Periods since first treated", "3"):
        assert f"<!-- {shown} -->" in (tmp_path / "a.svg").read_text(), shown
    alone = command(*COMMANDS["compare"], *words, cwd=tmp_path)
    assert (alone.returncode, alone.stdout) == (2, "")
    assert "--title is about a figure; add --plot FILE." in alone.stderr


@pytest.mark.parametrize("name", [*COMMANDS])
@pytest.mark.parametrize("file", ["a.jpg", "a", "pdf", "a.pdf.gz", ""])
def test_a_plot_of_another_ending_is_refused_before_the_panel_is_read(
    name: str, file: str, tmp_path: Path
) -> None:
    absent = ["no_such.csv" if argument == PANEL else argument for argument in COMMANDS[name]]
    done = command(*absent, "--plot", file, cwd=tmp_path)
    assert done.returncode == 2
    assert "a figure is a .pdf, .png or .svg file; name one." in done.stderr
    assert not [*tmp_path.iterdir()]


def test_a_plot_that_cannot_be_drawn_writes_and_prints_nothing(tmp_path: Path) -> None:
    asked = (*COMMANDS["estimate"], "--window", "50", "60", "--plot", "a.pdf")
    done = command(*asked, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no event time in the window (50, 60)" in done.stderr
    assert not [*tmp_path.iterdir()]


def test_a_file_without_the_draw_for_its_layout_has_the_bytes_of_one_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawings = [lambda: event_plot(fit()), lambda: diagnostics.balance(fit().sample).plot()]

    def files() -> list[bytes]:
        tight = BytesIO()
        drawings[0]().savefig(tight, bbox_inches="tight", metadata={"Software": None})
        return [*(drawn(draw(), kind) for draw in drawings for kind in ("pdf", "png")), tight.getvalue()]

    short = files()
    monkeypatch.setattr(FigureCanvasBase, "is_saving", lambda _: False)
    assert files() == short


def test_an_svg_has_no_date_and_no_version() -> None:
    text = drawn(fit().plot(), "svg").decode()
    assert "<dc:date>" not in text
    assert "Matplotlib v" not in text


def mixed() -> Panel:
    """Return five units of each kind: treated from the start, in 4, in 6, after the panel, never."""
    panel = simulated.panel(n=25)
    dates = np.repeat([1.0, 4.0, 6.0, 20.0, np.nan], 5)
    y = panel.outcomes["y"].copy()
    y[5:10, 6:] = np.nan
    y[10, :3] = np.nan
    return replace(panel, outcomes={"y": y}, first_treated={"event": dates})


def cells_of(figure: Figure) -> tuple[list[str], np.ndarray[Any, Any]]:
    axis = figure.axes[0]
    (mesh,) = [c for c in axis.collections if isinstance(c, QuadMesh)]
    return [label.get_text() for label in axis.get_yticklabels()], np.asarray(mesh.get_array())


def test_a_panel_draws_who_is_treated_when_by_cohort() -> None:
    panel = mixed()
    figure = panel.plot("event", labels={"y": "papers", "event": "a cluster", "period": "term"})
    labels, cells = cells_of(figure)
    assert labels == ["1 or before (5)", "4 (5)", "6 (5)", "later (5)", "never (5)"]
    expected = (panel.periods >= np.array([[1], [4], [6], [99], [99]])).astype(int)
    expected[1, 6:] = -1
    np.testing.assert_array_equal(cells, expected)
    above, below = figure.axes
    (crosses,) = [line for line in above.lines if line.get_label() == "not observed"]
    assert (list(crosses.get_xdata()), list(crosses.get_ydata())) == ([7, 8], [1, 1])
    assert above.get_title() == "a cluster: treatment history (number of units)"
    assert (below.get_xlabel(), below.get_ylabel()) == ("Term", "Mean papers")
    assert [text.get_text() for text in above.get_legend().get_texts()] == [
        "not treated",
        "treated",
        "not observed",
    ]


def test_a_panel_draws_the_raw_mean_of_each_cohort_hollow_until_it_adopts() -> None:
    panel = mixed()
    lines = {line.get_label(): line for line in panel.plot("event").axes[1].lines}
    members = {"4 (5)": slice(5, 10), "6 (5)": slice(10, 15), "already treated (5)": slice(0, 5)}
    members |= {"later (5)": slice(15, 20), "never (5)": slice(20, 25)}
    for label, rows in members.items():
        outcome = panel.outcomes["y"][rows]
        seen = ~np.isnan(outcome).all(axis=0)
        np.testing.assert_allclose(lines[label].get_ydata()[seen], np.nanmean(outcome[:, seen], axis=0))
        assert np.isnan(lines[label].get_ydata()[~seen]).all()
    hollow = [line for line in panel.plot("event").axes[1].lines if line.get_markerfacecolor() == "white"]
    assert sorted(max(line.get_xdata()) for line in hollow) == [3, 5]


def test_numbers_of_units_on_a_figure_of_a_panel_have_no_mark_as_in_tables() -> None:
    above, below = simulated.panel(n=6000).plot("event").axes
    for names in (
        [line.get_label() for line in below.lines],
        [x.get_text() for x in above.get_yticklabels()],
    ):
        sizes = [name[name.index("(") + 1 : -1] for name in names if name.endswith(")")]
        assert max(map(int, sizes)) > 999


def test_a_treatment_that_switches_off_has_a_row_for_each_path() -> None:
    path = np.zeros((25, 8))
    path[:5, 2:4] = 1
    path[5:10, 4] = 1
    path[5:10, 6:] = 1
    path[11, 3:] = np.nan
    figure = replace(mixed(), treatment={"on": path}).plot("on")
    labels, cells = cells_of(figure)
    assert labels == ["3-4 (5)", "5, 7-8 (5)", "never (14)", "never (1)"]
    np.testing.assert_array_equal(cells[0], path[0])
    assert set(cells[3]) == {0, -1}
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == [
        "ever treated (10)",
        "never (15)",
    ]


def test_units_with_an_ambiguous_date_have_a_row_and_no_part_in_the_means() -> None:
    frame = pd.DataFrame(
        {"u": np.repeat(["a", "b", "c"], 4), "t": np.tile([1, 2, 3, 4], 3), "y": np.arange(12.0)}
    )
    frame["d"] = [0, np.nan, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0]
    panel = Panel.from_long(frame, unit="u", time="t", treatment="d", outcomes="y")
    figure = panel.plot("d")
    labels, cells = cells_of(figure)
    assert labels == ["3 (1)", "never (1)", "date ambiguous (1)"]
    assert set(cells[2]) == {-1}
    lines = {line.get_label(): list(line.get_ydata()) for line in figure.axes[1].lines}
    assert lines["3 (1)"] == [4, 5, 6, 7]
    assert lines["never (1)"] == [8, 9, 10, 11]


def test_years_on_the_axis_of_a_panel_are_whole_and_named() -> None:
    figure = paper_panel().plot("first_accelerator", "papers")
    drawn(figure, "png")
    ticks = [label.get_text() for label in figure.axes[1].get_xticklabels()]
    assert all(len(tick) == 4 and tick.isdigit() for tick in ticks)
    assert figure.axes[1].get_xlabel() == "Year"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda panel: panel.plot("evnt"), 'there is no event "evnt". Did you mean "event"?'),
        (lambda panel: panel.plot("event", "yy"), 'there is no outcome "yy". Did you mean "y"?'),
        (lambda panel: panel.plot(3), "event is 3; it must be a text"),
        (lambda panel: panel.plot("many"), "many has 70 treatment histories, and a figure has room for 60"),
    ],
)
def test_what_a_panel_cannot_draw_is_refused_in_one_line(call: Any, message: str) -> None:
    path = (np.random.default_rng(0).random((70, 8)) < 0.5).astype(float)
    path[:, :7] = np.arange(70)[:, None] >> np.arange(7) & 1
    panel = replace(simulated.panel(n=70), treatment={"many": path})
    with pytest.raises(QuestionError) as refusal:
        call(panel)
    assert message in str(refusal.value)


def test_letters_that_no_font_has_are_one_note_and_another_font_that_has_them_stands_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drawing, "FONTS", ("cmss10", "no such font", "DejaVu Sans"))
    with drawing.canvas() as figure:
        figure.suptitle("Ж")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawing.drawn(figure, "png")
    figure.suptitle("\U000f1234 and \U000f1235")
    with pytest.warns(UserWarning, match="no font") as told:
        drawing.drawn(figure, "png")
    (said,) = {str(each.message) for each in told}
    assert "has \U000f1234, \U000f1235; boxes stand in their place" in said


def test_long_labels_that_begin_alike_stay_apart() -> None:
    labels = [f"University of the very long northern region number {k}" for k in range(12)]
    cut = [shortened(label) for label in labels]
    assert len({*cut}) == len(labels)
    assert {len(label) for label in cut} <= {35, 36}
    assert shortened("University of Oslo") == "University of Oslo"


def test_warnings_that_are_not_of_letters_are_passed_on() -> None:
    class Warns(Artist):
        def draw(self, renderer: Any) -> None:
            warnings.warn("something else", UserWarning, stacklevel=1)

    with drawing.canvas() as figure:
        figure.add_artist(Warns())
    with pytest.warns(UserWarning, match="something else"):
        figure.savefig(BytesIO(), format="svg")


@pytest.mark.parametrize("n", [1, 2, 3])
def test_labels_of_few_rows_do_not_overlap_above_an_axis_label_of_several_lines(n: int) -> None:
    labels = [f"cohort 201{k} (42 units)" for k in range(n)]
    frame = pd.DataFrame({"label": labels, "estimate": 0.1, "conf_low": 0.0, "conf_high": 0.2})
    look: dict[str, Any] = {
        "names": ("without the cohort", "same, interval includes zero"),
        "behind": Effect.of("all units", fit().headline, 0.95),
    }
    marked = [k == 0 for k in range(n)]
    figure = dot_figure(frame, xlabel=Scale("proportional", "papers").axis(), marked=marked, **look)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


@pytest.mark.parametrize("style", ["pointrange", "ribbon"])
def test_effects_without_a_standard_error_are_crosses_and_no_reference(style: Any) -> None:
    panel = simulated.panel(n=60)
    path = estimate(panel, QUESTION, "callaway_santanna").aggregate("event")
    left = path.leave_out
    none = left._replace(estimable=left.estimable & (path.event_time < 3))
    path = replace(path, contrast=replace(path.contrast, left_out=none, only=None))
    lacking = ~path.varies & ~path.reference
    assert lacking.any()
    figure = path.plot(style=style)
    lines = {line.get_label(): line for line in axes_of(figure).lines}
    assert list(lines["no standard error"].get_xdata()) == list(path.event_time[lacking])
    assert list(lines["reference"].get_xdata()) == [-1]
    assert legend_of(figure)[-1] == "no standard error"


def test_one_cohort_without_a_standard_error_is_not_drawn_among_centuries() -> None:
    panel = simulated.panel(n=2, cohorts=(4,))
    first = np.where(np.arange(2) == 0, 2004.0, np.nan)
    alone = replace(panel, periods=panel.periods + 2000, first_treated={"event": first})
    average = estimate(alone, QUESTION).aggregate("cohort")
    assert np.isnan(average.std_error).all()
    left, right = axes_of(average.plot()).get_xlim()
    assert 2003 < left < 2004 < right < 2005


@pytest.mark.parametrize("design", ["callaway_santanna", "imputation"])
def test_the_path_of_one_treated_and_one_comparison_unit_is_drawn_without_a_band(design: str) -> None:
    panel = simulated.panel(n=2)
    dates = np.array([4.0, np.nan])
    alone = estimate(replace(panel, first_treated={"event": dates}), QUESTION, design)
    assert not alone.varies.any()
    lines = {line.get_label(): line for line in axes_of(alone.plot()).lines}
    path = alone.aggregate("event")
    np.testing.assert_allclose(lines["no standard error"].get_ydata(), path.effect[~path.reference])
