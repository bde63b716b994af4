"""Double machine learning with an instrument for ever being treated, of the change over the window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from study.core import FloatArray, QuestionError
from study.designs import Assumes, Estimand, Supports, design
from study.designs.long_change import LongChange, long_change
from study.estimates import Estimate, anderson_rubin, first_stage, in_words, long_change_effect
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
    from doubleml import DoubleMLIIVM, DoubleMLPLIV

Model = Literal["iivm", "pliv"]


def nuisances(sample: Sample, learning: Learning, *, model: Model, before: int, after: int) -> Nuisances:
    """Return the nuisance functions of the model; arguments and errors are those of the design."""
    learning.check("dml_iv")
    long = long_change(sample, before, after, "dml_iv")
    cluster = sample.cluster[long.unit]
    check_number("dml_iv", sample, cluster, learning.folds, "seen at both ends of the window")
    if not np.ptp(long.change) > 0:
        raise QuestionError(
            f"dml_iv: {sample.question.outcome} changes alike for all {len(long.unit)} units that are seen at both "
            "ends of the window, so there is nothing to explain; name another outcome or window."
        )
    z = check_instrument(sample, long, model)
    stratum = 2 * (1 - long.treated) + (1 - z if model == "iivm" else 0)
    assigned = learning.draw(cluster, stratum.astype(np.int64))
    check_both("dml_iv", sample, long.treated == 1, cluster, assigned, "treated")
    name, change = sample.question.instrument, f"the change of {outcome_in_words(sample.question)}"
    if model == "pliv":
        functions = {
            "l": Nuisance(long.change, learning.learner),
            "m": Nuisance(z, learning.learner),
            "r": Nuisance(long.treated, learning.learner),
        }
        said = {"l": change, "m": f"the instrument {name}", "r": "treatment"}
    else:
        functions = {"m": Nuisance(z, learning.propensity, "probability")}
        said = {"m": f"the instrument {name}"}
        check_both("dml_iv", sample, z == 1, cluster, assigned, f"of {name} 1")
        for value in (0, 1):
            arm = z == value
            functions[f"g{value}"] = Nuisance(long.change, learning.learner, among=arm)
            said[f"g{value}"] = f"{change} where {name} is {value}"
            if np.any(long.treated[arm] != value):
                inside = Folds(assigned.place[arm], learning.folds)
                treated = f"treated among those of {name} {value}"
                check_both("dml_iv", sample, long.treated[arm] == 1, cluster[arm], inside, treated)
                functions[f"r{value}"] = Nuisance(long.treated, learning.propensity, "probability", among=arm)
                said[f"r{value}"] = f"treatment where {name} is {value}"
    part = Part(long.unit, long.x, np.zeros(len(z), dtype=np.int64), functions, assigned)
    limits = (learning.trim, 1 - learning.trim) if model == "iivm" else (0.0, 1.0)
    return Nuisances((part,), learning.seed, said, treatment="m", without="the mean", limits=limits)


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
    supports=(
        Supports.COVARIATES,
        Supports.MISSING_CELLS,
        Supports.ANTICIPATION,
        Supports.CLUSTERS,
        Supports.NEVER_TREATED,
        Supports.INSTRUMENT,
    ),
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
    long = long_change(sample, before, after, "dml_iv")
    z = check_instrument(sample, long, model)
    (part,) = asked.parts
    predicted = cross_fit(part.x, part.period, part.functions, part.folds, seed)
    m_hat = clipped(predicted["m"], asked.limits) if model == "iivm" else predicted["m"]
    fitted = (interactive if model == "iivm" else partialled)(long, z, predicted | {"m": m_hat}, part.folds)
    found = averaged(fitted, long.unit, sample.n_units)
    psi_a, psi_b = (fitted.psi_elements[name][:, :, 0] for name in ("psi_a", "psi_b"))
    size = np.ones_like(psi_a) if model == "iivm" else (z[:, None] - m_hat) ** 2
    of_unit = sample.cluster[long.unit]
    notes = [
        clipping_note(predicted["m"], asked.limits, f"the instrument {sample.question.instrument}"),
        *compliance(sample, predicted),
    ]
    return long_change_effect(
        sample,
        f"{'LATE' if model == 'iivm' else 'IV coefficient'} on {long.window}",
        found.coefficient,
        found.influence,
        n_obs=len(long.unit),
        of_draw=found.of_draw[None],
        clusters=len(np.unique(of_unit)),
        notes=(
            *long.notes,
            *(notes if model == "iivm" else ()),
            first_stage(-psi_a, size, of_unit, f"one more of {sample.question.instrument}"),
            in_words(anderson_rubin(psi_b.mean(axis=1), psi_a.mean(axis=1), of_unit)),
            *found.notes(sample),
        ),
    )


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


def interactive(
    long: LongChange, z: FloatArray, predicted: dict[str, FloatArray], folds: Folds
) -> DoubleMLIIVM:
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
    from doubleml.utils import DMLDummyClassifier, DMLDummyRegressor, PSProcessorConfig

    centre = long.change.mean()
    model = DoubleMLIIVM(
        data_of(long, z),
        DMLDummyRegressor(),
        DMLDummyClassifier(),
        DMLDummyClassifier(),
        subgroups={"always_takers": "r0" in predicted, "never_takers": "r1" in predicted},
        ps_processor_config=PSProcessorConfig(clipping_threshold=LEAST),
        draw_sample_splitting=False,
    )
    model.set_sample_splitting(splits(folds))
    known = {"r0": np.zeros_like(predicted["m"]), "r1": np.ones_like(predicted["m"])}
    less = {f"g{value}": predicted[f"g{value}"] - centre for value in (0, 1)}
    given = {f"ml_{name}": values for name, values in (known | predicted | less).items()}
    return model.fit(external_predictions={"d": given})


def partialled(
    long: LongChange, z: FloatArray, predicted: dict[str, FloatArray], folds: Folds
) -> DoubleMLPLIV:
    """Return doubleml's partially linear IV model; ``predicted`` holds l, m and r, else as above."""
    from doubleml import DoubleMLPLIV
    from doubleml.utils import DMLDummyRegressor

    learners = (DMLDummyRegressor() for _ in range(3))
    model = DoubleMLPLIV(data_of(long, z), *learners, draw_sample_splitting=False)
    model.set_sample_splitting(splits(folds))
    less = {"l": predicted["l"] - long.change.mean()}
    given = {f"ml_{name}": values for name, values in (predicted | less).items()}
    return model.fit(external_predictions={"d": given})


def data_of(long: LongChange, z: FloatArray) -> Any:
    """Return doubleml's data: no covariates, since all is predicted, and the change less its mean.

    Of an outcome of 0 and 1 doubleml refuses or warns of predictions; less its mean it is none.
    """
    from doubleml import DoubleMLData

    change = long.change - long.change.mean()
    return DoubleMLData.from_arrays(np.zeros((len(z), 1)), change, long.treated, z)


def compliance(sample: Sample, predicted: dict[str, FloatArray]) -> list[str]:
    """Say which probabilities of treatment are known, so that nobody is an always-taker or a never-taker."""
    name = sample.question.instrument
    told = []
    if "r0" not in predicted:
        told.append(f"Nobody is treated where {name} is 0, so there are no always-takers.")
    if "r1" not in predicted:
        told.append(f"Everybody is treated where {name} is 1, so there are no never-takers.")
    return told
