"""How well a design's learners predict its nuisance functions, and how far its estimate moves with the learner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import logit

from study.core import FloatArray, IntArray, QuestionError, capital, listed, one_thread, settings, telling
from study.designs import Design, all_designs, find_design
from study.diagnostics import Finding, Needs, Refits, Section, diagnostic, headline
from study.diagnostics.overlap import Propensities
from study.figures import BAND, GREY, SECOND, WIDTH, Axes, Figure, draw_intervals, label_rows, panels
from study.learners import Learner, Nuisances
from study.panel import Sample, Scale


class Loss(NamedTuple):
    """A mean loss, that of what is known without covariates, and the share of the latter that is saved.

    All three are means over the draws of the folds. ``saved`` of a squared error is the R2 against what is known
    without covariates; of a log loss it is McFadden's. Its standard error is clustered, for given predictions.
    """

    value: float
    without: float
    saved: float
    error: float


def loss_of(losses: FloatArray, without: FloatArray, cluster: IntArray) -> Loss:
    """Return mean losses of rows, and the share saved with the error clustered.

    Parameters
    ----------
    losses, without : ndarray, shape (N, R)
        Of the predictions, and of what is known without covariates.
    cluster : ndarray of int, shape (N,)
    """
    value, known = losses.mean(axis=0), without.mean(axis=0)
    divisor = np.where(known > 0, known, 1.0)
    saved = np.where(known > 0, 1 - value / divisor, 0.0)
    influence = (((1 - saved) * without - losses) / divisor).mean(axis=1)
    error = float(np.linalg.norm(np.bincount(cluster, weights=influence))) / len(losses)
    return Loss(float(value.mean()), float(known.mean()), float(saved.mean()), error)


def squared_errors(target: FloatArray, predicted: FloatArray) -> FloatArray:
    """Return the squared error of each prediction, shape (N, R); the target has shape (N,)."""
    return np.asarray((target[:, None] - predicted) ** 2)


def log_losses(target: FloatArray, predicted: FloatArray) -> FloatArray:
    """Return minus the log of the probability that was predicted for what happened, shape (N, R).

    A probability is not quite 0, where it is certain and wrong, for the loss would be infinite.
    """
    happened = np.where(target[:, None] == 1, predicted, 1 - predicted)
    return np.asarray(-np.log(np.clip(happened, np.finfo(np.float64).eps, 1.0)))


def in_order(target: FloatArray, predicted: FloatArray) -> float:
    """Return the share of pairs of a 1 and a 0 that are predicted in order, ties a half, averaged over draws.

    NaN where the target takes other values.
    """
    ones, zeros = int(np.sum(target == 1)), int(np.sum(target == 0))
    if not ones or ones + zeros < len(target) or not zeros:
        return np.nan
    tied = pd.DataFrame(np.round(predicted, 12))  # where they are equal up to rounding
    ranks = tied.rank().to_numpy()[target == 1]
    return float(np.mean((ranks.sum(axis=0) - ones * (ones + 1) / 2) / (ones * zeros)))


WHO = "nuisances"
COMPARED: tuple[Learner, ...] = ("lasso", "forest", "lightgbm", "ensemble")
STANDARD_ERRORS = 2.0
BELOW_LEGEND = 0.72  # share of the height that is drawn on
NEAREST = 1e-4  # to 0 and 1 on the logit axis
TICKS = (0.0001, 0.001, 0.01, 0.03, 0.1, 0.3, 0.7, 0.9, 0.97, 0.99, 0.999)


@diagnostic(
    title="Predictions of the learners",
    question="How well do the learners predict what the design adjusts for?",
    section=Section.AGAINST,
    needs=(Needs.LEARNERS,),
    shown=4,
)
def nuisances(
    sample: Sample,
    design: str,
    *,
    learners: Sequence[Learner] = COMPARED,
    level: float = 0.95,
    **options: Any,
) -> Finding:
    """Predict each nuisance function of a design by several learners, on the design's own folds.

    A mean is judged by its squared error relative to what is known without covariates by the same training folds
    (the mean of a row's period, for most), so that R2 is what covariates add. A probability is judged by its log
    loss relative to that of the training folds' share, with a propensity clipped as the design clips it. A learner is
    said to predict better, or worse, where the difference is more than two standard errors, clustered as the question
    says. Each function is judged on the rows that it may be learned from.

    Parameters
    ----------
    sample : Sample
    design : str
        One with learners.
    learners : sequence of str or estimator
        A learner among the design's options comes before them.
    level : float
    **options
        Options of the design. Learners take the place of every option that takes a learner.

    Returns
    -------
    Finding
        The frame has a row a learner and nuisance function, that of treatment first: learner; nuisance; kind; r2,
        against what is known without covariates, with r2_std_error; for probabilities brier and log_loss beside
        brier_of_share and log_loss_of_share, those of the training folds' share, and mcfadden_r2, the share of the
        latter that is saved, with mcfadden_r2_std_error; for what is 0 or 1 auc, the share of pairs that covariates
        put in order; estimate and std_error of the headline. Designs that learn no probability have none of their
        columns. Details: ``rows``, the headline under each learner that has one; ``estimate_range``, the largest less
        the smallest of them in standard errors of the first; ``draw_errors``, by learner what the draws of the folds
        leave to chance in the estimate, which its standard error leaves out, NaN for one draw; ``refused``, each
        learner without an estimate with the reason; ``overlap``, a frame of predicted treatment of treated and
        comparison rows by learner, in averages over draws of the folds: rows, units, quantiles, above_comparison (the
        share of treated rows whose prediction no comparison row reaches), and for propensities clipped (the number of
        rows) and effective_units (the effective number of comparison units under the odds of the propensity).

    Raises
    ------
    QuestionError
        If the design learns nothing, there is no learner or one twice, or the design refuses.

    References
    ----------
    Chernozhukov, V. et al. (2018). Double/debiased machine learning for treatment and structural
    parameters. Econometrics Journal 21(1).
    """
    chosen = find_design(design)
    chosen.check_options(options)
    used = of_learners(chosen, learners, options)
    chosen.refuse(sample)
    scores, propensities = [], []
    with one_thread(), learned_once():
        functions = {name: chosen.nuisances_of(sample, **given) for name, given in used.items()}
        first = next(iter(functions.values()))
        treatment = first.words[first.treatment]
        limits = first.limits if first.kinds[treatment] == "probability" else None
        with settings(progress=None, jobs=1, backend="loky"):  # there is nothing to learn in it
            known = first.known()
        for learner, of_learner in functions.items():
            with telling(learner):
                predicted = of_learner.predicted()
            for words in first.kinds:
                score = _score(first, words, predicted, known, sample.cluster)
                scores.append({"learner": learner} | score)
            rows = first.judged(treatment, predicted)
            instrument = bool(sample.question.instruments)
            propensities.append(Propensities(treatment, *rows, limits, learner, instrument))
        with settings(progress=None):  # what the design learns has been learned
            fits = {name: partial(headline, sample, design, given) for name, given in used.items()}
            refits = Refits.of(fits, level, keep=True)
    if not refits.rows:
        raise QuestionError(f"{WHO}: {refits.refused[0][1]}")
    frame = pd.DataFrame(scores)
    for name in ("estimate", "std_error"):
        frame[name] = frame["learner"].map({row.label: getattr(row, name) for row in refits.rows})
    overlap = [predictions.summary(treated) for predictions in propensities for treated in (True, False)]
    return Finding.of(
        _sentences(frame, first, refits, sample.question.effect_scale, propensities[0]),
        frame.dropna(axis="columns", how="all"),
        partial(_chart, without=first.without, predictions=propensities[0]),
        details={
            "rows": refits.rows,
            "estimate_range": float(np.ptp([row.estimate for row in refits.rows])) / refits.rows[0].std_error,
            "draw_errors": {learner: float(fit.draw_error[0]) for learner, fit in refits.fits.items()},
            "refused": refits.refused,
            "overlap": pd.DataFrame(overlap).dropna(axis="columns", how="all"),
        },
    )


def of_learners(
    design: Design, learners: Sequence[Learner], options: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the design's options under each learner, by name, that among the options first.

    Raises
    ------
    QuestionError
        If the design does not say what it learns, or there is no learner.
    """
    if design.nuisances is None:
        others = [d.name for d in all_designs().values() if d.nuisances is not None]
        raise QuestionError(
            f"{WHO}: {design.name} has no nuisance functions that it says it learns; {', '.join(others)} "
            f"{'does' if len(others) == 1 else 'do'}."
        )

    def name_of(learner: Learner) -> str:
        """Return what a learner is called: its name, or that of the estimator's class."""
        return learner if isinstance(learner, str) else type(learner).__name__

    every: dict[str, dict[str, Any]] = {}
    for learner in learners:
        name = name_of(learner)
        if name in every:
            raise QuestionError(f"{WHO}: two of the learners are called {name}; give each name once.")
        every[name] = dict(options) | dict.fromkeys(design.learners, learner)
    own = {}
    if not options.keys().isdisjoint(design.learners):
        given = [name_of((design.options | dict(options))[key]) for key in design.learners]
        own = {" and ".join(dict.fromkeys(given)): dict(options)}
    if not own | every:
        raise QuestionError(f"{WHO}: learners is empty; give at least one, for example lasso.")
    return own | {name: of for name, of in every.items() if name not in own}


Predictions = Sequence[Mapping[str, FloatArray]]  # by part and function


def _score(
    functions: Nuisances, words: str, predictions: Predictions, plain: Predictions, cluster: IntArray
) -> dict[str, Any]:
    """Return how well a learner predicts what words stand for; ``plain`` is what is known without covariates."""
    kind, ours = functions.kinds[words], functions.judged(words, predictions)
    predicted, known = ours.predicted, functions.judged(words, plain).predicted
    if kind == "probability" and words == functions.words[functions.treatment]:
        predicted, known = (np.clip(p, *functions.limits) for p in (predicted, known))

    def mean_loss(losses: Callable[[FloatArray, FloatArray], FloatArray]) -> Loss:
        return loss_of(losses(ours.target, predicted), losses(ours.target, known), cluster[ours.unit])

    squared = mean_loss(squared_errors)
    score = {"nuisance": words, "kind": kind, "r2": squared.saved, "r2_std_error": squared.error}
    if kind == "probability":
        log = mean_loss(log_losses)
        score |= {"brier": squared.value, "brier_of_share": squared.without}
        score |= {"log_loss": log.value, "log_loss_of_share": log.without}
        score |= {"mcfadden_r2": log.saved, "mcfadden_r2_std_error": log.error}
    return score | {"auc": in_order(ours.target, predicted - known)}


@contextmanager
def learned_once() -> Iterator[None]:
    """Keep what is learned inside, so that the design and an ensemble need not learn it again."""
    with TemporaryDirectory() as folder, settings() as now, settings(cache=now.cache or Path(folder)):
        yield


def _sentences(
    frame: pd.DataFrame, functions: Nuisances, refits: Refits, scale: Scale, overlap: Propensities
) -> Iterator[str]:
    folds, draws = functions.parts[0].folds.number, functions.parts[0].folds.place.shape[1]
    first, *others = (rows for _, rows in frame.groupby("nuisance", sort=False))
    yield quality(first, functions.without, folds)
    if len(refits.rows) > 1:
        low, *_, high = sorted(refits.rows, key=lambda row: row.estimate)
        spread = (high.estimate - low.estimate) / refits.rows[0].std_error
        yield (
            f"Between learners the estimate moves from {scale.text(low.estimate)} ({low.label}) to "
            f"{scale.text(high.estimate)} ({high.label}), by {spread:.2f} standard errors of that "
            f"with {refits.rows[0].label}."
        )
    ranked = first.dropna(subset="auc")
    if len(ranked):
        yield (
            f"Of two rows, one with {overlap.name} and one without, covariates rank the one with it higher in "
            f"{_by_learner(ranked, 'auc', '.0%')} of all pairs, where chance gives 50%."
        )
    for rows in others:
        yield quality(rows, functions.without, folds)
    yield _overlap_text(overlap)
    how = f"cross-fitted, and losses averaged over {draws} draw{'s' * (draws > 1)} of {folds} folds"
    if folds == 1:
        how = "not cross-fitted, for there is one fold, so that they look better than they are"
    yield f"Predictions are {how}; better and worse mean by more than {STANDARD_ERRORS:g} clustered standard errors."
    yield from refits.refusals


def judged(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return the share saved of the loss that one function is judged by, and its standard error, by learner."""
    measure = "r2" if rows["kind"].iloc[0] == "mean" else "mcfadden_r2"
    return rows[measure], rows[f"{measure}_std_error"]


def quality(rows: pd.DataFrame, without: str, folds: int) -> str:
    """Return how well one function is predicted, by learner.

    Parameters
    ----------
    rows : DataFrame
        Of the function.
    without : str
        What is known of a mean without covariates.
    folds : int
        With one fold nothing is cross-fitted.
    """
    name, mean = rows["nuisance"].iloc[0], rows["kind"].iloc[0] == "mean"
    saved, error = judged(rows)
    better, worse = (rows["learner"][side * saved > STANDARD_ERRORS * error].tolist() for side in (1, -1))
    plain = without if mean else "its share"
    verdict = f"No learner predicts {name} better than {plain}"
    if better:
        verdict = f"{capital(name)} is predicted better than by {plain} by {listed(better)}"
    if worse:
        do_worse = f"{listed(worse)} {'do' if len(worse) > 1 else 'does'} worse"
        verdict += f", and worse by {listed(worse)}" if better else f", and {do_worse}"
    its = "its cross-fitted" if folds > 1 else "its"
    if mean:
        return f"{verdict}: {its} R2 is {_by_learner(rows, 'r2', '.3f')}."
    share = rows["log_loss_of_share"].iloc[0]
    losses = _by_learner(rows, "log_loss", ".4f")
    return f"{verdict}: {its} log loss is {losses}, and that of the share {share:.4f}."


def _by_learner(rows: pd.DataFrame, name: str, written: str) -> str:
    """Return the values of a column with their learners, without the sign of a rounded zero."""
    pairs = zip(rows["learner"], rows[name], strict=True)
    return ", ".join(f"{value:z{written}} ({learner})" for learner, value in pairs)


def _overlap_text(predictions: Propensities) -> str:
    """Return how predicted treatment differs between who is treated and who is not."""
    ours, theirs = predictions.summary(True), predictions.summary(False)
    written = ".2%" if predictions.binary else ".3g"
    text = (
        f"Under {predictions.learner} the prediction of {predictions.name} has the median {ours['median']:{written}} "
        f"in rows {predictions.group(True)} and {theirs['median']:{written}} in rows {predictions.group(False)}, and "
        f"{ours['above_comparison']:.0%} of the former are above all of the latter"
    )
    if predictions.limits is None:
        return f"{text}."
    return (
        f"{text}; the number of clipped propensities is {ours['clipped'] + theirs['clipped']:.0f}, and under their "
        f"odds the {theirs['units']} comparison units are worth {theirs['effective_units']:.0f} equally weighted "
        "ones."
    )


def _chart(frame: pd.DataFrame, ax: Axes | None, without: str, predictions: Propensities) -> Figure:
    """Draw how well each function is predicted and, below, predicted treatment by group; on given axes the first."""
    functions = [rows for _, rows in frame.groupby("nuisance", sort=False)]
    heights = [0.8 + 0.16 * frame["learner"].nunique()] * len(functions) + [2.4]
    with panels(ax, len(heights), 1, WIDTH, sum(heights), height_ratios=heights) as (figure, axes):
        for axis, rows in zip(axes, functions, strict=False):
            saved, error = (100 * column.to_numpy() for column in judged(rows))
            half = STANDARD_ERRORS * error
            axis.axvline(0, color=GREY, linewidth=0.8)
            draw_intervals(axis, saved, range(len(rows)), np.stack([saved - half, saved + half]))
            label_rows(axis, rows["learner"].tolist(), size=8)
            axis.set_title(capital(rows["nuisance"].iloc[0]), loc="left")
            mean = rows["kind"].iloc[0] == "mean"
            measure = f"R² against {without}" if mean else "Log loss saved against its share"
            axis.set_xlabel(f"{measure}, % (bars: {STANDARD_ERRORS:g} standard errors)", fontsize=8)
        if ax is None:
            _draw_groups(axes[-1], predictions)
    return figure


def _draw_groups(axis: Axes, predictions: Propensities) -> None:
    """Draw the shares of each group's rows by predicted treatment, all draws of the folds together.

    Propensities lie on a logit axis; few rows of each group are beyond its ends, and the end bins hold these.
    """
    limits, unit = predictions.limits, ", %" if predictions.binary else ""
    scaled = _logit if limits is not None else partial(np.multiply, 100 if predictions.binary else 1)
    groups = {treated: scaled(predictions.of(treated).ravel()) for treated in (True, False)}
    # Shares of rows at each end, which the first and last bins hold; of the treated there are few.
    beyond = ((True, 0.02), (False, 0.001))
    ends = [np.quantile(groups[treated], (share, 1 - share)) for treated, share in beyond]
    low, high = np.min(ends), np.max(ends)
    low, high = (low, high) if high > low else (low - 1, high + 1)
    edges = np.linspace(low, high, 25)
    for treated, filled, colour in ((False, True, BAND), (True, False, SECOND)):
        values = np.clip(groups[treated], low, high)
        share = 100 * np.histogram(values, edges)[0] / len(values)
        label = f"{predictions.group(treated)} ({len(predictions.of(treated))} rows)"
        axis.stairs(share, edges, fill=filled, color=colour, linewidth=1.5, label=label)
    if limits is not None:
        for limit in limits:
            if 0 < limit < 1:
                axis.axvline(_logit(limit), ymax=BELOW_LEGEND, color=GREY, linewidth=0.9, linestyle="--")
        first, last = axis.get_xlim()
        ticks = [tick for tick in TICKS if first <= _logit(tick) <= last]
        axis.set_xticks([_logit(tick) for tick in ticks], [f"{100 * tick:g}" for tick in ticks])
    axis.set_title(f"Prediction of {predictions.name} by {predictions.learner}", loc="left")
    logit_axis, dashed = (", logit axis", "; dashed: where clipped") if limits is not None else ("", "")
    below = f"Prediction of {predictions.name}{unit}{logit_axis}\n(end bins: all beyond{dashed})"
    axis.set_xlabel(below, fontsize=8)
    axis.set_ylabel("Share of rows, %")
    axis.set_ylim(0, axis.dataLim.y1 / BELOW_LEGEND)
    axis.legend(loc="upper right", frameon=False, fontsize=7.5)


def _logit(share: Any) -> Any:
    return logit(np.clip(share, NEAREST, 1 - NEAREST))
