"""Double machine learning with an instrument for ever being treated, of the change over the window."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from study.core import FloatArray, QuestionError
from study.designs import COMMON, Assumes, Estimand, Supports, design
from study.designs.long_change import LongChange, long_change
from study.estimates import Estimate, anderson_rubin, first_stage, in_words
from study.learners import (
    Folds,
    Learner,
    Learning,
    Nuisance,
    Nuisances,
    averaged,
    check_both,
    check_number,
    clipped,
    clipping_note,
    of_predictions,
    outcome_in_words,
)
from study.panel import Sample

Model = Literal["iivm", "pliv"]


def nuisances(sample: Sample, learning: Learning, *, model: Model, before: int, after: int) -> Nuisances:
    """Return the nuisance functions of the model; arguments and errors are those of the design."""
    learning.check("dml_iv")
    long = long_change(sample, before, after, "dml_iv")
    cluster, treated = sample.cluster[long.unit], long.treated == 1
    check_number("dml_iv", sample, cluster, learning.folds, "seen at both ends of the window")
    if not np.ptp(long.change) > 0:
        raise QuestionError(
            f"dml_iv: {sample.question.outcome} changes alike for all {len(long.unit)} units that are seen at both "
            "ends of the window, so there is nothing to explain; name another outcome or window."
        )
    z, name = check_instrument(sample, long, model), sample.question.instrument
    stratum = 2 * (1 - long.treated) + (1 - z if model == "iivm" else 0)
    folds = learning.draw(cluster, stratum.astype(np.int64))
    check_both("dml_iv", sample, treated, cluster, folds, "treated")
    change = f"the change of {outcome_in_words(sample.question)}"
    if model == "pliv":
        targets = {"l": long.change, "m": z, "r": long.treated}
        functions = {key: Nuisance(target, learning.learner) for key, target in targets.items()}
        said, limits = {"l": change, "m": f"the instrument {name}", "r": "treatment"}, (0.0, 1.0)
    else:
        functions = {"m": Nuisance(z, learning.propensity, "probability")}
        said, limits = {"m": f"the instrument {name}"}, (learning.trim, 1 - learning.trim)
        check_both("dml_iv", sample, z == 1, cluster, folds, f"of {name} 1")
        for value in (0, 1):
            arm, where = z == value, f"where {name} is {value}"
            functions[f"g{value}"] = Nuisance(long.change, learning.learner, among=arm)
            said[f"g{value}"] = f"{change} {where}"
            if np.any(long.treated[arm] != value):
                words = f"treated among those of {name} {value}"
                check_both("dml_iv", sample, treated[arm], cluster[arm], folds.of(arm), words)
                functions[f"r{value}"] = Nuisance(long.treated, learning.propensity, "probability", among=arm)
                said[f"r{value}"] = f"treatment {where}"
    part = long.part(functions, folds)
    return Nuisances((part,), learning.seed, said, "m", layout=long, without="the mean", limits=limits)


@design(
    name="dml_iv",
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
        Difference are allowed: units are left out that are not seen at both ends of the window.
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
        the scores averaged over the draws of the folds.

    Raises
    ------
    QuestionError
        If the outcome changes alike for all, the question has no instrument, it is constant or for "iivm" not 0 and
        1, an option is impossible, treatment is not absorbing or starts in the first periods, or a fold would have
        fewer than two clusters, or leave fewer than two of a kind that is learned from.

    References
    ----------
    Chernozhukov, V. et al. (2018). Double/debiased machine learning for treatment and structural parameters.
    Econometrics Journal 21(1).
    Imbens, G. W. and J. D. Angrist (1994). Identification and estimation of local average treatment effects.
    Econometrica 62(2).
    """
    learning = Learning(learner, folds, repetitions, seed, propensity, trim)
    asked = nuisances(sample, learning, model=model, before=before, after=after)
    (part,), (predicted,), long = asked.parts, asked.predicted(), asked.layout
    z, name, cluster = (
        check_instrument(sample, long, model),
        sample.question.instrument,
        sample.cluster[long.unit],
    )
    if model == "pliv":
        term, notes = "IV coefficient", []
        fitted = partialled(long, z, predicted, part.folds)
        size = (z[:, None] - predicted["m"]) ** 2
    else:
        term, notes = (
            "LATE",
            [clipping_note(predicted["m"], asked.limits, f"predictions of the instrument {name}")],
        )
        if "r0" not in predicted:
            notes.append(f"Nobody is treated where {name} is 0, so there are no always-takers.")
        if "r1" not in predicted:
            notes.append(f"Everybody is treated where {name} is 1, so there are no never-takers.")
        m_hat = clipped(predicted["m"], asked.limits)
        fitted = interactive(long, z, predicted | {"m": m_hat}, part.folds)
        size = np.ones_like(m_hat)
    psi_a, psi_b = (fitted.psi_elements[element][:, :, 0] for element in ("psi_a", "psi_b"))
    notes += [
        first_stage(-psi_a, size, cluster, f"one more of {name}"),
        in_words(anderson_rubin(psi_b.mean(axis=1), psi_a.mean(axis=1), cluster)),
    ]
    return long.effect(sample, term, averaged(fitted, long.unit, sample.n_units), tuple(notes))


def check_instrument(sample: Sample, long: LongChange, model: Model) -> FloatArray:
    """Return the instrument of each row, shape (N,); refuse one that is constant or that the model cannot take."""
    assert sample.instrument is not None
    z, name = sample.instrument[long.unit], sample.question.instrument
    if not np.ptp(z) > 0:
        raise QuestionError(
            f"dml_iv: the instrument {name} is {z[0]:g} for all {len(z)} units that are seen at both ends of the "
            "window, so it moves nobody; name another."
        )
    other = np.flatnonzero((z != 0) & (z != 1))
    if model == "iivm" and other.size:
        raise QuestionError(
            f'dml_iv: model="iivm" takes an instrument of 0 and 1, but {name} is {z[other[0]]:g} for '
            f'{sample.unit_ids[long.unit[other[0]]]}; use model="pliv".'
        )
    return z


def interactive(long: LongChange, z: FloatArray, predicted: dict[str, FloatArray], folds: Folds) -> Any:
    """Return doubleml's interactive IV model, with its coefficients and scores by draw of the folds.

    Parameters
    ----------
    long : LongChange
    z : ndarray, shape (N,)
    predicted : dict of str to ndarray, shape (N, R)
        Cross-fitted predictions m, g0, g1, and r0 and r1 as far as they are not known.
    folds : Folds
    """
    from doubleml import DoubleMLIIVM

    known = {"r0": np.zeros_like(predicted["m"]), "r1": np.ones_like(predicted["m"])}
    less_mean = {name: predicted[name] - long.change.mean() for name in ("g0", "g1")}
    return of_predictions(
        DoubleMLIIVM,
        long.data(z),
        {"ml_g": "mean", "ml_m": "probability", "ml_r": "probability"},
        folds,
        {f"ml_{name}": values for name, values in (known | predicted | less_mean).items()},
        subgroups={"always_takers": "r0" in predicted, "never_takers": "r1" in predicted},
    )


def partialled(long: LongChange, z: FloatArray, predicted: dict[str, FloatArray], folds: Folds) -> Any:
    """Return doubleml's partially linear IV model; ``predicted`` holds l, m and r, else as above."""
    from doubleml import DoubleMLPLIV

    less_mean = {"l": predicted["l"] - long.change.mean()}
    given = {f"ml_{name}": values for name, values in (predicted | less_mean).items()}
    return of_predictions(DoubleMLPLIV, long.data(z), dict.fromkeys(given, "mean"), folds, given)
