"""pretrends (Roth) on the coefficients and covariances that its runs were given, or on our own where we have them."""

from __future__ import annotations

from typing import Any

import goldens
import numpy as np

from references.comparison import Comparison, Row, fit
from study import Question
from study.diagnostics.event_path import EventPath, event_path
from study.diagnostics.pretrends import detectable_slopes, mean_after_passing, pretest

CRITICAL = 1.96  # as the package has it
POWERS = {"slope_power50": 0.5, "slope_power80": 0.8}
OUR_DESIGN = "did_universal_e-4_2"
OURS = Question(outcome="y", event="first_treated", comparison="never_treated", min_cohort_size=1)


def pretrends(panel: str, run: dict[str, Any]) -> Comparison:
    """Return slopes, powers and means after passing as rows; what is not simulated, as digits.

    The package's slopes end at uniroot's default tolerance of 1.2e-4, its probabilities are mvtnorm's, drawn
    anew; the likelihood ratio is closed form.
    """
    name, reported = run["id"].rsplit("__", 1)
    path = given(panel, name)
    if reported in POWERS:
        power = POWERS[reported]
        slope = detectable_slopes(path, [power], CRITICAL)[power]
        return Comparison((_row("slope", slope, run["slope"]),), digits=_our_path(panel, name, path))
    violation = run["slope"] * (path.event_time - path.reference)
    found, after = pretest(path, violation, CRITICAL), mean_after_passing(path, violation, CRITICAL)
    theirs, by_time = run["df_power"][0], {point["t"]: point for point in run["df_eventplot"]}
    rows = [
        _row("Power", found.power, theirs["Power"]),
        _row("Bayes.Factor", found.bayes_factor, theirs["Bayes.Factor"]),
        *(
            _row(f"mean {e:g}", v, by_time[e]["meanAfterPretesting"])
            for e, v in zip(path.event_time, after, strict=True)
        ),
    ]
    std_error = np.sqrt(np.diag(path.covariance))
    closed = {
        "Likelihood.Ratio": goldens.distance(found.likelihood_ratio, theirs["Likelihood.Ratio"], 0.0),
        "deltatrue": _largest(violation, [by_time[e]["deltatrue"] for e in path.event_time]),
        "se": _largest(std_error, [by_time[e]["se"] for e in path.event_time]),
    }
    return Comparison(tuple(rows), digits={k: gap / goldens.TOLERANCE for k, gap in closed.items()})


def given(panel: str, name: str) -> EventPath:
    """Return the coefficients and covariance that the runs of one name were given."""
    run = goldens.runs(panel, "pretrends")[f"{name}__slope_power50"]
    times = np.array(run["tVec"], dtype=float)
    return EventPath(times, -1, np.array(run["betahat"]), np.array(run["sigma"]), int(np.sum(times < -1)))


def _our_path(panel: str, name: str, theirs: EventPath) -> dict[str, float]:
    """Compare our own coefficients and covariance with the run's, where a design has them."""
    if name != OUR_DESIGN:
        return {}
    made = fit(panel, OURS, "callaway_santanna")
    ours = event_path(made, "pretrends", before=theirs.n_pre, after=int(theirs.event_time[-1]))
    std_error = np.sqrt(np.diag(theirs.covariance))
    gaps = {
        "betahat": goldens.distance(ours.effect, theirs.effect, std_error),
        "sigma": goldens.distance(ours.covariance, theirs.covariance, np.outer(std_error, std_error)),
    }
    return {what: gap / goldens.TOLERANCE for what, gap in gaps.items()}


def _row(term: str, ours: float, theirs: float) -> Row:
    return Row(term, float(ours), np.nan, theirs, np.nan)


def _largest(ours: Any, theirs: Any) -> float:
    return goldens.distance(ours, theirs, 0.0)
