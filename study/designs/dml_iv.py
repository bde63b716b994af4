"""Double machine learning with an instrument for ever being treated, of the change over the window."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np

from study.core import QuestionError
from study.designs import COMMON, Assumes, Estimand, Sample, Supports, design
from study.designs.long_change import long_change
from study.estimates import Contrast, Estimate, anderson_rubin, first_stage, in_words, lottery_sides
from study.learners import (
    Learner,
    Learning,
    Nuisance,
    Nuisances,
    averaged_model,
    least_squares,
    refuse_explained,
    refuse_separated,
)

Model = Literal["iivm", "pliv"]


def nuisances(sample: Sample, learning: Learning, *, model: Model, before: int, after: int) -> Nuisances:
    """Return the nuisance functions of the model; arguments and errors are those of the design."""
    learning.check("dml_iv")
    long = long_change(sample, before, after, "dml_iv")
    treated, unit, name = long.treated == 1, long.unit, sample.question.instrument
    assert sample.instrument is not None
    z = sample.instrument[unit]
    stratum = 2 * (1 - long.treated) + (1 - z if model == "iivm" else 0)
    folds = learning.draw("dml_iv", sample, unit, stratum.astype(np.int64))
    if not np.ptp(z) > 0:
        raise QuestionError(
            f"dml_iv: the instrument {name} is {z[0]:g} for all {len(z)} units that are seen at both ends of the "
            "window, so it moves nobody; name another."
        )
    other = np.flatnonzero((z != 0) & (z != 1))
    if model == "iivm" and other.size:
        raise QuestionError(
            f'dml_iv: model="iivm" takes an instrument of 0 and 1, but {name} is {z[other[0]]:g} for '
            f'{sample.unit_ids[unit[other[0]]]}; use model="pliv".'
        )
    folds.check_both("dml_iv", sample, unit, treated, "treated")
    change = f"the change of {sample.question.outcome_in_words}"
    if model == "pliv":
        means = {
            "l": (long.change, change),
            "m": (z, f"the instrument {name}"),
            "r": (long.treated, "treatment"),
        }
        functions = {key: Nuisance(y, learning.learner, words=words) for key, (y, words) in means.items()}
        return long.nuisances(functions, folds, learning.seed, (0.0, 1.0))
    folds.check_both("dml_iv", sample, unit, z == 1, f"of {name} 1")
    functions = {"m": Nuisance(z, learning.propensity, "probability", words=f"the instrument {name}")}
    for value in (0, 1):
        arm, where = z == value, f"where {name} is {value}"
        functions[f"g{value}"] = Nuisance(long.change, learning.learner, among=arm, words=f"{change} {where}")
        if np.any(long.treated[arm] != value):
            among = f"treated among those of {name} {value}"
            folds.of(arm).check_both("dml_iv", sample, unit[arm], treated[arm], among)
            probability = Nuisance(long.treated, learning.propensity, "probability", arm)
            functions[f"r{value}"] = probability._replace(words=f"treatment {where}")
    return long.nuisances(functions, folds, learning.seed, (learning.trim, 1 - learning.trim))


@design(
    title="Double machine learning with an instrument, effect on the change over the window",
    reference="chernozhukov2018",
    estimand=Estimand.LONG_CHANGE,
    assumes=(
        Assumes.RANDOM_INSTRUMENT,
        Assumes.EXCLUSION,
        Assumes.MONOTONICITY,
        Assumes.LIMITED_ANTICIPATION,
        Assumes.NUISANCE_RATES,
    ),
    supports=COMMON - {Supports.PROPORTIONAL} | {Supports.NEVER_TREATED, Supports.INSTRUMENT},
    nuisances=nuisances,
)
def dml_iv(
    sample: Sample,
    *,
    model: Model = "iivm",
    learner: Learner = "lasso",
    propensity: Learner = "lasso",
    before: int = 1,
    after: int = 1,
    folds: int = 5,
    repetitions: int = 10,
    trim: float = 0.01,
    seed: int = 0,
) -> Estimate:
    """Compare the change over the window by an instrument Z, over the difference that Z makes to who is treated.

    One row a unit: Y is its mean outcome over the last periods less that over the first, D is 1 if it is treated by
    the last period, Z is the question's instrument and X are its covariates at baseline.

    - "iivm", for an instrument of 0 and 1: with g(z, X) = E[Y | Z = z, X], r(z, X) = P(D = 1 | Z = z, X) and
      m(X) = P(Z = 1 | X), the score of Chernozhukov et al. (2018, section 5.2). It is the effect on units that Z
      brings to treatment and that would not be treated otherwise, if Z is as good as random given X, changes Y
      through D alone, and keeps no unit from treatment.
    - "pliv", for any instrument: with l(X) = E[Y | X], r(X) = E[D | X] and m(X) = E[Z | X], the partialling-out
      score (Y - l - theta (D - r))(Z - m) of section 4.2. It is the effect if that is the same for all units; where
      it is not, it is a weighted average over those that Z moves, with weights that the regression chooses.

    Each function is predicted by learners that have not seen the unit's fold. Nothing is said of units that Z does
    not move. "Ever treated" puts units that are treated early and late in the window together.

    Parameters
    ----------
    sample : Sample
        Gaps are allowed: units are left out that are not seen in all periods of both ends of the window.
    model : {"iivm", "pliv"}
    learner : {"lasso", "forest", "lightgbm", "ensemble", "linear"} or scikit-learn regressor
        Of means: of all three functions of "pliv"; see :func:`study.designs.dml_panel`.
    propensity : the same, or scikit-learn classifier
        Of the probabilities in "iivm".
    before, after : int
        Periods at the start and at the end of the window whose mean is taken; nobody may be treated in the first.
    folds : int
        Folds by unit, or by cluster where the question names clusters; those with treated units are assigned first.
    repetitions : int
        Times the folds are drawn; estimate and influence are the averages.
    trim : float
        m(X) is clipped to [trim, 1 - trim] in "iivm"; a note counts what is clipped.
    seed : int
        Of the folds and of learners that draw.

    Returns
    -------
    Estimate
        One term, with standard errors "CR0", those of doubleml within one repetition. Where nobody is treated with
        Z = 0, or everybody with Z = 1, r is known and not learned. Notes say so, how much Z moves treatment with
        its t statistic, and the Anderson-Rubin set of :func:`study.estimates.weak_instrument.anderson_rubin`, of
        the scores averaged over the draws of the folds, for "iivm" with the degrees of freedom of the t statistic. The
        sides of "jackknife" errors are the winners and losers of a lottery.

    Raises
    ------
    QuestionError
        If the outcome changes alike for all, the question has no instrument, it is constant or for "iivm" not 0 and
        1, an option is impossible, treatment is not absorbing or starts in the first periods, or a fold would have
        fewer than two clusters, or leave fewer than two of a kind that is learned from; if covariates explain all or
        nearly all of the instrument, or it moves nobody.

    References
    ----------
    Chernozhukov, V. et al. (2018). Double/debiased machine learning for treatment and structural parameters.
    Econometrics Journal 21(1).
    Imbens, G. W. and J. D. Angrist (1994). Identification and estimation of local average treatment effects.
    Econometrica 62(2).
    """
    from doubleml import DoubleMLIIVM, DoubleMLPLIV

    learning = Learning(learner, folds, repetitions, seed, propensity, trim)
    functions = nuisances(sample, learning, model=model, before=before, after=after)
    (part,), (predicted,), long = functions.parts, functions.predicted(), functions.layout
    z, name, notes = part.functions["m"].target, sample.question.instrument, []
    if model == "pliv":
        refuse_explained("dml_iv", f"the instrument {name}", z, predicted["m"], least_squares(z, long.x))
        fitted = long.fitted(DoubleMLPLIV, predicted, z)
        size = (z[:, None] - predicted["m"]) ** 2
    else:
        notes.append(functions.clipping_note(predicted["m"], f"predictions of the instrument {name}"))
        if "r0" not in predicted:
            notes.append(f"Nobody is treated where {name} is 0, so there are no always-takers.")
        if "r1" not in predicted:
            notes.append(f"Everybody is treated where {name} is 1, so there are no never-takers.")
        size = np.ones_like(predicted["m"])
        known = {"r0": np.zeros_like(size), "r1": size}
        m_hat = functions.clipped(predicted["m"])
        refuse_separated("dml_iv", f"the instrument {name}", z, m_hat, long.x, both=True)
        given = known | predicted | {"m": m_hat}
        fitted = long.fitted(DoubleMLIIVM, given, z, probabilities="mr")
    psi_a, psi_b = (fitted.psi_elements[element][:, :, 0] for element in ("psi_a", "psi_b"))
    # A millionth of what it could move is what learners leave of a treatment that covariates explain.
    if not (np.abs(psi_a.sum(axis=0)) > 1e-6 * np.sqrt(len(z) * size.sum(axis=0))).all():
        raise QuestionError(
            f"dml_iv: given covariates {name} moves nobody to treatment; use another or another learner."
        )
    cluster = sample.cluster[long.unit]
    average = averaged_model(fitted, long.unit, sample.n_units)
    seen = np.isin(np.arange(sample.n_units), long.unit)[:, None]
    assert sample.instrument is not None
    contrast = lottery_sides(sample.instrument[:, None], seen, 1) or Contrast()
    answer = partial(
        long.effect, sample, "LATE" if model == "iivm" else "IV coefficient", average, contrast=contrast
    )
    degrees = np.inf
    # Its means by Z are of the other folds, so that the scores of few winners are not smaller.
    if model == "iivm":
        degrees = float(np.nan_to_num(answer(()).degrees_of_freedom[0], nan=np.inf))
    notes += [
        first_stage(-psi_a, size, cluster, f"one more of {name}"),
        in_words(anderson_rubin(psi_b.mean(axis=1), psi_a.mean(axis=1), cluster, degrees=degrees)),
    ]
    return answer(tuple(notes))
