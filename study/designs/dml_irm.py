"""Double machine learning of the average effect of ever being treated on the change over the window."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from study.core import FloatArray, Influence, QuestionError
from study.designs import Assumes, Estimand, Supports, design
from study.designs.long_change import LongChange, long_change
from study.estimates import Estimate, long_change_effect
from study.learners import Learner
from study.learners.clipping import LEAST, clipped, clipping_note
from study.learners.cross_fitting import (
    Folds,
    Nuisance,
    check_both,
    check_number,
    cross_fit,
)
from study.learners.nuisances import Learning, Nuisances, Part, averaged, outcome_in_words, splits
from study.panel import Sample

if TYPE_CHECKING:
    from doubleml import DoubleMLIRM

Effect = Literal["att", "ate"]


def nuisances(sample: Sample, learning: Learning, *, effect: Effect, before: int, after: int) -> Nuisances:
    """Return g(0, X), for "ate" g(1, X), and m(X); arguments and errors are those of the design."""
    learning.check("dml_irm")
    if effect == "ate" and sample.question.scale == "proportional":
        raise QuestionError(
            'dml_irm: scale="proportional" divides by the mean of treated units without treatment, so effect="ate" '
            'has nothing to divide by; use effect="att" or another scale.'
        )
    long = long_change(sample, before, after, "dml_irm")
    treated = long.treated == 1
    cluster = sample.cluster[long.unit]
    check_number("dml_irm", sample, cluster, learning.folds, "seen at both ends of the window")
    assigned = learning.draw(cluster, np.where(treated, 0, 1))
    check_both("dml_irm", sample, treated, cluster, assigned, "treated")
    functions = {
        "g0": Nuisance(long.change, learning.learner, among=~treated),
        "m": Nuisance(long.treated, learning.propensity, "probability"),
    }
    change = f"the change of {outcome_in_words(sample.question)}"
    said = {"g0": f"{change} among untreated units", "m": "treatment"}
    if effect == "ate":
        functions["g1"] = Nuisance(long.change, learning.learner, among=treated)
        said["g1"] = f"{change} among treated units"
    part = Part(long.unit, long.x, np.zeros(len(long.unit), dtype=np.int64), functions, assigned)
    limits = (learning.trim if effect == "ate" else 0.0, 1 - learning.trim)
    return Nuisances((part,), learning.seed, said, treatment="m", without="the mean", limits=limits)


@design(
    name="dml_irm",
    title="Double machine learning, effect on the change over the window",
    reference="chernozhukov2018",
    estimand=Estimand.LONG_CHANGE,
    assumes=(
        Assumes.CONDITIONAL_PARALLEL_TRENDS,
        Assumes.LIMITED_ANTICIPATION,
        Assumes.OVERLAP,
        Assumes.NUISANCE_RATES,
    ),
    supports=(
        Supports.COVARIATES,
        Supports.MISSING_CELLS,
        Supports.ANTICIPATION,
        Supports.CLUSTERS,
        Supports.NEVER_TREATED,
        Supports.PROPORTIONAL,
    ),
    nuisances=nuisances,
)
def dml_irm(
    sample: Sample,
    *,
    effect: Effect = "att",
    learner: Learner = "lasso",
    propensity: Learner = "lasso",
    before: int = 1,
    after: int = 1,
    folds: int = 5,
    repetitions: int = 10,
    trim: float = 0.01,
    seed: int = 0,
) -> Estimate:
    """Compare the change over the window of units treated in it with that of units that are not.

    One row a unit: Y is its mean outcome over the last periods less that over the first, D is 1 if it is treated by
    the last period, X are its covariates at baseline. With g(d, X) = E[Y | D = d, X] and m(X) = P(D = 1 | X), each
    predicted by learners that have not seen the unit's fold, the effect solves the mean of the score of Chernozhukov
    et al. (2018, section 5.1).

    It is the effect if D is as good as random for the change given X. For a change this is parallel trends given
    covariates: units with the same X would have changed alike without treatment. "ate" takes in besides that they
    would have changed alike with it, and needs treated units at every X; "att" needs untreated ones at every X of
    the treated.

    "Ever treated" puts units that are treated early and late in the window together. The effect is an average over
    both, of effects after as many periods as each has been treated by the end, and says nothing of a path. Units
    that are treated after the window are untreated here.

    Parameters
    ----------
    sample : Sample
        Difference are allowed: units are left out that are not seen at both ends of the window.
    effect : {"att", "ate"}
        On the units that are treated, or on all.
    learner : {"lasso", "forest", "lightgbm", "ensemble", "linear"} or scikit-learn regressor
        Of g; see :func:`study.designs.dml_panel`. For "att" g(1, X) drops out of the score and is not learned.
    propensity : the same, or scikit-learn classifier
        Of m.
    before, after : int
        Periods at the start and at the end of the window whose mean is taken; nobody may be treated in the first.
    folds : int
        Folds by unit, or by cluster where the question names clusters; those with treated units are assigned first.
    repetitions : int
        Times the folds are drawn; estimate and influence are the averages.
    trim : float
        Propensity scores are clipped to [trim, 1 - trim] for "ate". For "att" untreated units weigh
        m / (1 - m), so they are clipped from above only: from below, where treatment is rare, clipping would give
        many units that are unlike the treated more weight than they have. A note counts what is clipped.
    seed : int
        Of the folds and of learners that draw.

    Returns
    -------
    Estimate
        One term. The influence of a unit is n times its score over the number of rows, zero for units without a
        row; standard errors "CR0", those of doubleml within one repetition. "Proportional" divides by the treated
        units' mean outcome at the end less the effect, for "att" only.

    Raises
    ------
    QuestionError
        If an option is impossible, treatment is not absorbing or starts in the first periods, or a fold would have
        fewer than two clusters, or leave fewer than two treated or untreated ones.

    References
    ----------
    Chernozhukov, V. et al. (2018). Double/debiased machine learning for treatment and structural parameters.
    Econometrics Journal 21(1).
    """
    learning = Learning(learner, folds, repetitions, seed, propensity, trim)
    asked = nuisances(sample, learning, effect=effect, before=before, after=after)
    long = long_change(sample, before, after, "dml_irm")
    (part,) = asked.parts
    predicted = cross_fit(part.x, part.period, part.functions, part.folds, seed)
    m_hat = clipped(predicted["m"], asked.limits)
    model = interactive(long, predicted["g0"], predicted.get("g1"), m_hat, part.folds)
    found = averaged(model, long.unit, sample.n_units)
    on_treated = effect == "att"
    return long_change_effect(
        sample,
        f"{effect.upper()} on {long.window}",
        found.coefficient,
        found.influence,
        n_obs=len(long.unit),
        of_draw=found.of_draw[None],
        clusters=len(np.unique(sample.cluster[long.unit])),
        notes=(
            *long.notes,
            clipping_note(predicted["m"], asked.limits, "treatment"),
            *((weights_note(sample, long, m_hat),) if on_treated else ()),
            *found.notes(sample),
        ),
        **(untreated(sample, long, found.coefficient, found.influence) if on_treated else {}),
    )


def interactive(
    long: LongChange, g0_hat: FloatArray, g1_hat: FloatArray | None, m_hat: FloatArray, folds: Folds
) -> DoubleMLIRM:
    """Return doubleml's interactive regression model, with its coefficients and scores by draw of the folds.

    Parameters
    ----------
    long : LongChange
    g0_hat, g1_hat, m_hat : ndarray, shape (N, R)
        Cross-fitted predictions; without ``g1_hat`` the effect is that on the treated.
    folds : Folds
    """
    from doubleml import DoubleMLData, DoubleMLIRM
    from doubleml.utils import DMLDummyClassifier, DMLDummyRegressor, PSProcessorConfig

    # doubleml refuses or warns of predictions of an outcome of 0 and 1; less its mean it is none.
    centre = long.change.mean()
    data = DoubleMLData.from_arrays(np.zeros((len(long.unit), 1)), long.change - centre, long.treated)
    model = DoubleMLIRM(
        data,
        DMLDummyRegressor(),
        DMLDummyClassifier(),
        score="ATTE" if g1_hat is None else "ATE",
        ps_processor_config=PSProcessorConfig(clipping_threshold=LEAST),
        draw_sample_splitting=False,
    )
    model.set_sample_splitting(splits(folds))
    given = {
        "ml_g0": g0_hat - centre,
        "ml_g1": g0_hat - centre if g1_hat is None else g1_hat - centre,
        "ml_m": m_hat,
    }
    with warnings.catch_warnings():  # of its sensitivity analysis, which is not asked for here
        warnings.filterwarnings("ignore", "The estimated nu2")
        return model.fit(external_predictions={"d": given})


def untreated(sample: Sample, long: LongChange, effect: FloatArray, influence: FloatArray) -> dict[str, Any]:
    """Return the mean that treated units would have had at the end without treatment, with its influence."""
    mean = long.at_end[long.treated == 1].mean()
    of_mean = np.zeros((sample.n_units, 1))
    of_mean[long.unit, 0] = sample.n_units * long.treated * (long.at_end - mean) / long.treated.sum()
    return {
        "untreated_mean": mean - effect,
        "untreated_influence": Influence.of(of_mean - influence),
    }


def weights_note(sample: Sample, long: LongChange, m_hat: FloatArray) -> str:
    """Say how few untreated units an effect on the treated rests on; m_hat has shape (N, R).

    The number of equally weighted units that would be as precise is that of Kish (1965), averaged over draws.
    """
    weight = np.where(long.treated[:, None] == 1, 0.0, m_hat / (1 - m_hat))
    share = weight / weight.sum(axis=0)
    effective = float(np.mean(1 / (share**2).sum(axis=0)))
    of_unit = share.mean(axis=1)
    most = int(of_unit.argmax())
    count = int((long.treated == 0).sum())
    return (
        f"The {count} untreated units have the weight of {effective:.1f} equally weighted ones; "
        f"{sample.unit_ids[long.unit[most]]} has the largest share, {of_unit[most]:.0%}."
    )
