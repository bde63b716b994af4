"""Every design against its brute-force twin on random small panels with all patterns of gaps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
import searching
from drawn_panels import Asked, asked
from hypothesis import given
from hypothesis import strategies as st
from twins import comparisons, learned, regressions, switching, synthetic
from twins.plain import Answer, Array, Refused, Unsettled, Values, derivative, effects

from study import Estimate, QuestionError
from study.core.errors import StudyError
from study.designs import all_designs, find_design
from study.panel.question import Sample

EVERYTHING = ("event", "cohort", "calendar")
AVERAGES = ("event_average", "treated_average", "cohort_average", "calendar_average")


class Case(NamedTuple):
    """A design with the options that are drawn for it, its twin, and what its panels are like."""

    design: str
    twin: Callable[..., Answer]
    options: Mapping[str, tuple[Any, ...]] = MappingProxyType({})
    panels: Mapping[str, Any] = MappingProxyType({})
    tolerance: float = 1e-9
    small: int = 15
    full: int = 800

    def __str__(self) -> str:
        return "-".join([self.design, *(str(v[0]) for v in self.options.values() if len(v) == 1)])


COUNTS = {"counts": True}
VARIANCE = ("sampling", "sampling", "conditional")
FEW = {"units": (4, 11)}
GROUPED = {"units": (12, 31), "most_covariates": 1}
MANY = {"units": (12, 33), "most_covariates": 1}
LEARNED = {"learner": ("linear", "linear"), "folds": (2, 2, 3), "repetitions": (1, 2), "seed": (0, 1)}
PROPENSITY = {"propensity": ("linear", "linear"), "trim": (0.01, 0.3)}
ENDS = {"before": (1, 1, 1, 2), "after": (1, 1, 2)}
MOVED = {
    "instruments": ("moving", "dose_path", ("moving", "dose_path"), "lottery"),
    "covariates": ("patchy", "drift", "fixed"),
}
CASES = [
    Case("twfe", regressions.twfe),
    Case("panel_ols", regressions.panel_ols, small=8),
    Case("iv", regressions.iv, {"method": ("2sls",)}, MOVED, 1e-7),
    Case("iv", regressions.iv, {"method": ("liml",)}, MOVED, 1e-7),
    Case("event_study", regressions.event_study, {"bin_at": (None, None, 1, 2)}),
    Case("sun_abraham", regressions.sun_abraham, {"variance": VARIANCE}),
    Case("imputation", regressions.imputation, {"leads": (None, None, 0, 2)}),
    Case("etwfe", regressions.etwfe, {"family": ("gaussian",), "effects": ("cohort",), "variance": VARIANCE}),
    Case("etwfe", regressions.etwfe, {"family": ("gaussian",), "effects": ("unit",), "variance": VARIANCE}),
    Case(
        "etwfe",
        regressions.etwfe,
        {"family": ("poisson",), "effects": ("cohort",), "variance": VARIANCE},
        COUNTS,
    ),
    Case(
        "etwfe",
        regressions.etwfe,
        {"family": ("poisson",), "effects": ("unit",), "variance": VARIANCE},
        COUNTS,
    ),
    Case("poisson_twfe", regressions.poisson_twfe, {"terms": ("treatment",)}, COUNTS),
    Case("poisson_twfe", regressions.poisson_twfe, {"terms": ("event_time",)}, COUNTS),
    Case("callaway_santanna", comparisons.callaway_santanna, {"method": ("dr",)}),
    Case("callaway_santanna", comparisons.callaway_santanna, {"method": ("ipw",)}),
    Case("callaway_santanna", comparisons.callaway_santanna, {"method": ("reg",)}),
    Case("lee_wooldridge", comparisons.lee_wooldridge, {"transform": ("demean",)}),
    Case("lee_wooldridge", comparisons.lee_wooldridge, {"transform": ("detrend",)}),
    Case("triple_difference", comparisons.triple_difference, {"method": ("dr",)}, GROUPED),
    Case("triple_difference", comparisons.triple_difference, {"method": ("ipw",)}, GROUPED),
    Case("triple_difference", comparisons.triple_difference, {"method": ("reg",)}, GROUPED),
    Case("three_way", regressions.three_way, panels={"units": (8, 21)}),
    Case("stacked", comparisons.stacked, {"before": (1, 1, 2), "after": (None, 0, 0, 1)}),
    Case(
        "lp_did",
        comparisons.lp_did,
        {"weighting": ("variance",), "before": (None, None, 2), "after": (None, 1)},
    ),
    Case(
        "lp_did", comparisons.lp_did, {"weighting": ("equal",), "before": (None, None, 2), "after": (None, 1)}
    ),
    Case(
        "dcdh",
        switching.dcdh,
        {
            "placebos": (None, None, 0, 1),
            "normalized": (False, False, True),
            "switchers": ("both", "both", "in", "out"),
            "same_switchers": (False, False, True),
            "trends_nonparam": (None, None, None, "state"),
        },
        {"units": (6, 20), "covariates": ("moving", "patchy", "drift"), "most_covariates": 1},
    ),
    Case("synthetic_did", synthetic.synthetic_did, {"method": ("synthetic_did",)}, FEW, 1e-7),
    Case("synthetic_did", synthetic.synthetic_did, {"method": ("synthetic_control",)}, FEW, 1e-7),
    Case(
        "generalized_synthetic_control",
        synthetic.generalized_synthetic_control,
        {"factors": (None, 0, 1, 1, 2)},
        {"covariates": ("moving", "drift", "dose_path")},
        1e-7,
    ),
    Case(
        "matrix_completion",
        synthetic.matrix_completion,
        {"penalty": (0.02, 0.02, 0.1)},
        FEW | {"covariates": ("moving", "drift", "dose_path"), "most_covariates": 1},
        1e-7,
        10,
        200,
    ),
    Case("matrix_completion", synthetic.matrix_completion, {"factors": (0,)}, FEW),
    Case("dml_panel", learned.dml_panel, LEARNED | {"approach": ("first_differences",)}, MANY, 1e-7),
    Case("dml_panel", learned.dml_panel, LEARNED | {"approach": ("within",)}, MANY, 1e-7),
    Case("dml_panel", learned.dml_panel, LEARNED | {"approach": ("correlated_random_effects",)}, MANY, 1e-7),
    Case("dml_did", learned.dml_did, LEARNED | PROPENSITY | {"variance": VARIANCE}, MANY, 1e-7),
    Case(
        "dml_stacked",
        learned.dml_stacked,
        LEARNED | PROPENSITY | {"folds": (1, 2, 3), "before": (None, None, 2), "after": (None, None, 1)},
        MANY,
        1e-7,
    ),
    Case("dml_irm", learned.dml_irm, LEARNED | PROPENSITY | ENDS | {"effect": ("att",)}, MANY, 1e-7),
    Case("dml_irm", learned.dml_irm, LEARNED | PROPENSITY | ENDS | {"effect": ("ate",)}, MANY, 1e-7),
    Case(
        "dml_iv",
        learned.dml_iv,
        LEARNED | PROPENSITY | ENDS | {"model": ("iivm",)},
        MANY | {"units": (24, 57), "instruments": ("lottery",)},
        1e-7,
    ),
    Case("dml_iv", learned.dml_iv, LEARNED | PROPENSITY | ENDS | {"model": ("pliv",)}, MANY, 1e-7),
]


def averaged(sample: Sample, answer: Answer, weights: Array, kind: str) -> Values:
    """Average effects and untreated means as the question's averages are defined, one label after the other."""
    values = answer.at(weights)
    if answer.shares_fixed:
        values = values._replace(size=answer.at(sample.weights).size)
    cohort, period, event = np.array(answer.terms).T
    label = {"e": event, "c": cohort, "t": np.zeros(len(event))}[kind[0]]
    label = period if kind.startswith("calendar") else label
    chosen = event >= 0
    if kind == "event":
        chosen = ~np.isnan(event)
    if kind == "event_average" and sample.question.horizon is not None:
        chosen &= event <= sample.question.horizon

    def mean(of: Values, which: Array) -> tuple[Any, Any, Any]:
        size = of.size[which] if which.sum() > 1 else np.ones(1)
        share = size / size.sum()
        return share @ of.effect_level[which], share @ of.untreated[which], of.size[which].sum()

    labels = np.unique(label[chosen])
    by_label = Values(
        *map(np.array, zip(*(mean(values, chosen & (label == v)) for v in labels), strict=True))
    )
    if kind in EVERYTHING or kind == "treated_average":
        return by_label
    # Event times and periods count equally, cohorts by their size.
    size = np.ones(len(labels))
    if kind == "cohort_average":
        of_units = sample.weights if answer.shares_fixed else weights
        averaged_over = True if sample.group is None else sample.group
        size = np.array([of_units[(sample.first_treated == g) & averaged_over].sum() for g in labels])
    return Values(*map(np.atleast_1d, mean(by_label._replace(size=size), np.ones(len(labels), dtype=bool))))


def near(ours: Array, theirs: Array, scale: Any, what: str, tolerance: float) -> None:
    ours, theirs = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    assert ours.shape == theirs.shape, f"{what}: {ours.shape} and {theirs.shape}"
    assert np.array_equal(np.isnan(ours), np.isnan(theirs)), f"{what}: {ours} is not {theirs}"
    gap = np.nan_to_num(np.abs(ours - theirs)) / scale
    assert gap.max(initial=0.0) <= tolerance, f"{what}: {ours} is not {theirs} (off by {gap.max():.3g})"


def answered_once(at: Callable[[Array], Values]) -> Callable[[Array], Values]:
    """Return the function, which answers the same weights once, for terms and every average alike."""
    answers: dict[bytes, Values] = {}

    def answer(weights: Array) -> Values:
        key = weights.tobytes()
        if key not in answers:
            answers[key] = at(weights)
        return answers[key]

    return answer


def compare(fit: Estimate, answer: Answer, exact: float) -> str:
    """Hold terms, effects, influence and covariances to those of the twin; say what was compared."""
    sample, answer = fit.sample, answer._replace(at=answered_once(answer.at))
    keys = [tuple(map(float, key)) for key in zip(fit.cohort, fit.period, fit.event_time, strict=True)]
    ours = [str(key) for key, r in zip(keys, fit.reference, strict=True) if not r]
    unknown = {str(tuple(map(float, key))) for key in answer.open}
    wanted = [str(tuple(map(float, key))) for key in answer.terms]
    assert sorted(set(ours) - unknown) == sorted(set(wanted)), (
        f"terms {sorted(ours)} are not {sorted(wanted)}"
    )
    if not unknown:
        references = [str(key) for key, r in zip(keys, fit.reference, strict=True) if r]
        expected = [str(tuple(map(float, key))) for key in answer.references]
        assert sorted(references) == sorted(expected), f"references {references} are not {expected}"
    if wanted == ours:
        place = np.flatnonzero(~fit.reference)
    else:
        number = {str(key): k for k, (key, r) in enumerate(zip(keys, fit.reference, strict=True)) if not r}
        place = np.array([number[key] for key in wanted], dtype=int)
    values = answer.at(sample.weights)
    found = np.asarray(effects(sample, values), dtype=float)
    of_outcome = max(1.0, float(np.nanmax(np.abs(sample.y))))
    over_mean = np.ones(len(found))
    if sample.question.scale == "proportional":
        hold_in_levels(fit, answer, place, of_outcome, exact)
        # A share of a mean near zero is as far off as effect and mean are in levels, over the mean.
        over_mean = np.maximum(1.0, of_outcome / np.abs(np.real(values.untreated)))
        over_mean[np.isnan(found)] = 1.0
    size = np.maximum(of_outcome, np.nan_to_num(np.abs(found)))
    near(fit.effect[place], found, size * over_mean, "effects", exact)
    influence = derivative(sample, lambda w: effects(sample, answer.at(w)))
    finite = ~np.isnan(found)
    scale = np.maximum(size, np.nan_to_num(np.abs(influence)).max(axis=0)) * over_mean
    near(fit.influence[:, place[finite]], influence[:, finite], scale[finite], "influence", exact)
    if sample.question.scale != "proportional":
        zero = np.zeros(int(fit.reference.sum()))
        near(fit.effect[fit.reference], zero, size.max(), "references", exact)
        near(
            fit.influence[:, fit.reference],
            zero * fit.influence[:, :1],
            scale.max(),
            "references' influence",
            exact,
        )
    if answer.n_obs is not None and not answer.open:
        assert fit.n_obs == answer.n_obs
    if answer.rank is not None and finite.all():
        sums = np.zeros((sample.cluster.max() + 1, len(place)))
        np.add.at(sums, sample.cluster, influence)
        plain = sums.T @ sums / sample.n_units**2
        among = np.ix_(place, place)
        clusters, df_k = answer.clusters, answer.rank - max(answer.nested - 1, 0)
        if clusters > 1 and answer.n_obs > df_k:
            factor = clusters / (clusters - 1) * (answer.n_obs - 1) / (answer.n_obs - df_k)
            made = fit.covariance("CR1_fixest")[among]
            near(made, factor * plain, factor * np.outer(scale, scale), "CR1_fixest", exact)
    if answer.averages and not answer.open:
        for kind in (*EVERYTHING, *AVERAGES):
            compare_average(fit, answer, kind, scale.max(), exact)
    return "compared"


def hold_in_levels(fit: Estimate, answer: Answer, place: Array, of_outcome: float, exact: float) -> None:
    """Hold the effects and means that shares are made of, and their influence, to those of the twin."""
    sample = fit.sample
    for part, ours, influence in (
        ("effect_level", fit.effect_level, fit.level_influence),
        ("untreated", fit.untreated_mean, fit.untreated_influence),
    ):

        def at(weights: Array, part: str = part) -> Array:
            return getattr(answer.at(weights), part)

        theirs, moves = np.real(at(sample.weights)), derivative(sample, at)
        size = np.maximum(of_outcome, np.nan_to_num(np.abs(theirs)))
        near(ours[place], theirs, size, f"{part} in levels", exact)
        size = np.maximum(size, np.abs(moves).max(axis=0))
        near(influence.dense()[:, place], moves, size, f"influence of {part} in levels", exact)


def compare_average(fit: Estimate, answer: Answer, kind: str, scale: float, exact: float) -> None:
    cohort, _, event = np.array(answer.terms).T
    by_cohort = not np.isnan(cohort).all()
    formed = (
        by_cohort or kind == "event_average" or (kind == "treated_average" and fit.cohort_weights is not None)
    )
    horizon = fit.sample.question.horizon if kind == "event_average" else None
    observed = (event >= 0) & (event <= (np.inf if horizon is None else horizon))
    if not (kind == "event" or (observed.any() and formed)):
        return

    def at(weights: Array) -> Array:
        return effects(fit.sample, averaged(fit.sample, answer, weights, kind))

    made, found = fit.aggregate(kind), at(fit.sample.weights)
    used, finite = ~made.reference, ~np.isnan(found)
    influence = derivative(fit.sample, at)[:, finite]
    near(made.effect[used], found, np.maximum(scale, np.nan_to_num(np.abs(found))), kind, exact)
    # A mean near zero to divide by makes an average larger than its parts.
    size = np.maximum(scale, np.abs(influence).max(axis=0))
    near(made.influence[:, used][:, finite], influence, size, f"influence of {kind}", exact)


@pytest.mark.search
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_its_twin_or_both_refuse(case: Case) -> None:
    supports = frozenset(supported.name for supported in all_designs()[case.design].supports)
    drawn_options = st.fixed_dictionaries({name: st.sampled_from(v) for name, v in case.options.items()})

    @searching.examples(case.small, case.full)
    @given(asked(supports, **case.panels), drawn_options)
    def search(drawn: Asked, options: dict[str, Any]) -> None:
        check(case, drawn, options)

    search()


def check(case: Case, drawn: Asked, options: dict[str, Any]) -> None:
    searching.count(str(case), outcome(case, drawn, options))


def outcome(case: Case, drawn: Asked, options: dict[str, Any]) -> str:
    """Hold a design to its twin on one input, and say what was compared."""
    try:
        sample = drawn.question.sample(drawn.panel)
    except QuestionError:
        return "refused as a question"
    design = find_design(case.design)
    try:
        answer = case.twin(sample, **options)
    except Unsettled:
        return "left open by rounding"
    except Refused as refused:
        try:
            fit = design(sample, **options)
        except StudyError:
            return "refused by both"
        raise AssertionError(f"not refused though {refused}: {fit.terms} {fit.effect} {fit.notes}") from None
    return compare(design(sample, **options), answer, case.tolerance)


def test_every_design_has_a_twin() -> None:
    # Bandwidths and inverse distributions have no derivative by weights, and panels drawn here have no doses; these
    # designs' twins are met in their own tests.
    elsewhere = {"changes_in_changes", "heterogeneous_adoption", "dose_response"}
    assert {case.design for case in CASES} | elsewhere == set(all_designs())
