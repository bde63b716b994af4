"""Double machine learning of the average effect of ever being treated on the change over the window."""

from __future__ import annotations

from typing import Literal

import numpy as np

from study.core import FloatArray, Influence, QuestionError, with_ties
from study.designs import COMMON, OF_LEARNERS, Estimand, Sample, Supports, design
from study.designs.long_change import LongChange, long_change
from study.estimates import Estimate
from study.learners import Learner, Learning, Nuisance, Nuisances, averaged_model, refuse_separated

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
    treated, change = long.treated == 1, f"the change of {sample.question.outcome_in_words}"
    folds = learning.draw("dml_irm", sample, long.unit, np.where(treated, 0, 1))
    folds.check_both("dml_irm", sample, long.unit, treated, "treated")
    mean = Nuisance(long.change, learning.learner)
    functions = {
        "g0": mean._replace(among=~treated, words=f"{change} among untreated units"),
        "m": Nuisance(long.treated, learning.propensity, "probability", words="treatment"),
    }
    if effect == "ate":
        functions["g1"] = mean._replace(among=treated, words=f"{change} among treated units")
    limits = (learning.trim if effect == "ate" else 0.0, 1 - learning.trim)
    return long.nuisances(functions, folds, learning.seed, limits)


@design(
    title="Double machine learning, effect on the change over the window",
    reference="chernozhukov2018",
    estimand=Estimand.LONG_CHANGE,
    assumes=OF_LEARNERS,
    supports=COMMON | {Supports.NEVER_TREATED},
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
        Gaps are allowed: units are left out that are not seen in all periods of both ends of the window.
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
        If the outcome changes alike for all, an option is impossible, treatment is not absorbing or starts in the first
        periods, or a fold would have fewer than two clusters, or leave fewer than two treated or untreated ones;
        if covariates nearly tell who is treated.

    References
    ----------
    Chernozhukov, V. et al. (2018). Double/debiased machine learning for treatment and structural parameters.
    Econometrics Journal 21(1).
    """
    from doubleml import DoubleMLIRM

    learning = Learning(learner, folds, repetitions, seed, propensity, trim)
    functions = nuisances(sample, learning, effect=effect, before=before, after=after)
    (predicted,), long = functions.predicted(), functions.layout
    m_hat = functions.clipped(predicted["m"])
    refuse_separated("dml_irm", "treatment", long.treated, m_hat, long.x, both=effect == "ate")
    given = {"g1": predicted["g0"]} | predicted | {"m": m_hat}
    score = "ATTE" if effect == "att" else "ATE"
    model = long.fitted(DoubleMLIRM, given, probabilities="m", score=score)
    average = averaged_model(model, long.unit, sample.n_units)
    clipping = functions.clipping_note(predicted["m"], "predictions of treatment")
    if effect == "ate":
        return long.effect(sample, "ATE", average, (clipping,))
    mean = long.at_end[long.treated == 1].mean()
    of_mean = np.zeros((sample.n_units, 1))
    of_mean[long.unit, 0] = sample.n_units * long.treated * (long.at_end - mean) / long.treated.sum()
    return long.effect(
        sample,
        "ATT",
        average,
        (clipping, weights_note(sample, long, m_hat)),
        untreated_mean=mean - average.coefficient,
        untreated_influence=Influence.of(of_mean - average.influence),
    )


def weights_note(sample: Sample, long: LongChange, m_hat: FloatArray) -> str:
    """Say how few untreated units an effect on the treated rests on; m_hat has shape (N, R).

    The number of equally weighted units that would be as precise is that of Kish (1965), averaged over draws.
    """
    weight = np.where(long.treated[:, None] == 1, 0.0, m_hat / (1 - m_hat))
    share = weight / weight.sum(axis=0)
    of_unit = share.mean(axis=1)
    return (
        f"The {(long.treated == 0).sum()} untreated units have the weight of {np.mean(1 / (share**2).sum(axis=0)):.1f} "
        f"equally weighted ones; {sample.unit_ids[long.unit[with_ties(of_unit).argmax()]]} has the largest share, "
        f"{of_unit.max():.0%}."
    )
