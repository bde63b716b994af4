"""How well a design's learners predict its nuisance functions, and how far its estimate moves with the learner."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from study.core import (
    FloatArray,
    IntArray,
    QuestionError,
    checked,
    current_settings,
    one_thread,
    settings,
    telling,
)
from study.designs import Design, all_designs, find_design
from study.diagnostics.losses import (
    STANDARD_ERRORS,
    Loss,
    Score,
    in_order,
    log_losses,
    loss_of,
    squared_errors,
)
from study.diagnostics.propensities import Propensities
from study.diagnostics.refits import check, headline
from study.estimates import Effect
from study.learners import Learner
from study.learners.nuisances import Judged, Nuisances
from study.panel import Question, Sample

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from study.diagnostics.propensities import Propensities
    from study.learners.nuisances import Nuisances

BINS = 24
BELOW_LEGEND = 0.72  # share of the height that is drawn on
# Shares of rows at each end, which the first and last bins hold; of the treated there are few.
OUTSIDE, OUTSIDE_TREATED = 0.001, 0.02
NEAREST = 1e-4  # to 0 and 1 on the logit axis
TICKS = (0.0001, 0.001, 0.01, 0.03, 0.1, 0.3, 0.7, 0.9, 0.97, 0.99, 0.999)


WHO = "nuisances"
COMPARED: tuple[Learner, ...] = ("lasso", "forest", "lightgbm", "ensemble")
QUANTILE_NAMES = ("minimum", "q05", "q25", "median", "q75", "q95", "maximum")


@dataclass(frozen=True, eq=False)
class NuisanceQuality:
    """Cross-fitted predictions of each nuisance function by each learner, and the estimate that they lead to.

    Attributes
    ----------
    design : str
    question : Question
    asked : Nuisances
        With the first learner.
    scores : tuple of Score
        By learner and nuisance function, that of treatment first.
    fits : tuple of Row
        The headline under each learner that has one.
    refused : tuple of (str, str)
        Each learner under which the design has no estimate, and why.
    propensities : dict of str to Propensities
        Predicted treatment, by learner.
    level : float
        Coverage of the intervals.
    draw_errors : dict of str to float
        By learner that has an estimate: what the draws of the folds leave to chance in it, which the standard error
        leaves out; NaN for one draw.
    """

    design: str
    question: Question
    asked: Nuisances
    scores: tuple[Score, ...]
    fits: tuple[Effect, ...]
    refused: tuple[tuple[str, str], ...]
    propensities: dict[str, Propensities]
    level: float
    draw_errors: dict[str, float]

    @property
    def title(self) -> str:
        """Heading."""
        return f"How well do learners predict what {self.design} adjusts for?"

    @property
    def learners(self) -> tuple[str, ...]:
        """Names of the learners, in the order in which they were given."""
        return tuple(self.propensities)

    def of(self, nuisance: str) -> tuple[Score, ...]:
        """Return the scores of one nuisance function."""
        return tuple(score for score in self.scores if score.nuisance == nuisance)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the nuisance functions, that of treatment first."""
        return tuple(dict.fromkeys(score.nuisance for score in self.scores))

    @property
    def moves(self) -> float:
        """Largest less smallest estimate, in standard errors of the first learner's."""
        estimates = [row.estimate for row in self.fits]
        return (max(estimates) - min(estimates)) / self.fits[0].std_error

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found."""
        return sentences(self)

    def tidy(self) -> pd.DataFrame:
        """Return one row a learner and nuisance function.

        Returns
        -------
        DataFrame
            learner; nuisance; kind; r2, against what is known without covariates, with r2_std_error; for
            probabilities brier and log_loss beside brier_of_share and log_loss_of_share, those of the training
            folds' share, and mcfadden_r2, the share of the latter that is saved, with mcfadden_r2_std_error; for what
            is 0 or 1 auc, the share of pairs that covariates put in order; estimate and std_error of the headline.
            Designs that learn no probability have none of their columns.
        """
        import pandas as pd

        fits = {row.label: row for row in self.fits}
        return pd.DataFrame([_line(score, fits.get(score.learner)) for score in self.scores]).dropna(
            axis="columns", how="all"
        )

    def overlap(self) -> pd.DataFrame:
        """Return predicted treatment of treated and comparison rows, by learner.

        Returns
        -------
        DataFrame
            learner, treated, rows, units; quantiles of the predictions; above_comparison, the share of treated rows
            whose prediction no comparison row reaches; for propensities clipped, the number of rows that are, and
            effective_units, the effective number of comparison units under the odds of the propensity. All are
            averages over draws of the folds.
        """
        import pandas as pd

        lines = [
            _overlap_line(learner, found, treated)
            for learner, found in self.propensities.items()
            for treated in (True, False)
        ]
        return pd.DataFrame(lines).dropna(axis="columns", how="all")

    def plot(self) -> Figure:
        """Draw the R2 by nuisance function and learner, and predicted treatment by group under the first learner."""
        return drawing(self)


@checked
def nuisances(
    sample: Sample,
    design: str,
    *,
    learners: Sequence[Learner] = COMPARED,
    level: float = 0.95,
    **options: Any,
) -> NuisanceQuality:
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
    NuisanceQuality

    Raises
    ------
    QuestionError
        If the design learns nothing, there is no learner or one twice, or the design refuses.

    References
    ----------
    Chernozhukov, V. et al. (2018). Double/debiased machine learning for treatment and structural
    parameters. Econometrics Journal 21(1).
    """
    check(WHO, design, options, level)
    chosen = find_design(design)
    used = of_learners(chosen, learners, options)
    refusal = chosen.refusal(sample)
    if refusal is not None:
        raise QuestionError(refusal)
    with one_thread(), learned_once():
        asked = {name: described(chosen, sample, given) for name, given in used.items()}
        first = next(iter(asked.values()))
        with settings(progress=None, jobs=1):  # there is nothing to learn in it
            known = first.known()
        scores: list[Score] = []
        fits, propensities, draw_errors, refused = {}, {}, {}, []
        for learner, given in used.items():
            with telling(learner):
                predicted = asked[learner].predicted()
            judged = {words: first.judged(words, predicted) for words in first.kinds}
            scores += [
                score_of(learner, words, first, ours, first.judged(words, known), sample.cluster)
                for words, ours in judged.items()
            ]
            propensities[learner] = propensities_of(first, judged[first.said[first.treatment]])
            try:
                with settings(progress=None):  # what the design learns has been learned
                    average = headline(sample, design, given)
                fits[learner] = Effect.of(learner, average, level)
                draw_errors[learner] = float(average.draw_error[0])
            except QuestionError as reason:
                refused.append((learner, str(reason)))
    if not fits:
        raise QuestionError(f"{WHO}: {refused[0][1]}")
    return NuisanceQuality(
        design,
        sample.question,
        first,
        tuple(scores),
        tuple(fits.values()),
        tuple(refused),
        propensities,
        level,
        draw_errors,
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
    if isinstance(learners, str):
        raise QuestionError(f'{WHO}: learners is one text, "{learners}"; give a sequence of learners.')
    names = [name_of(learner) for learner in learners]
    twice = [name for k, name in enumerate(names) if name in names[:k]]
    if twice:
        raise QuestionError(f"{WHO}: two of the learners are called {twice[0]}; give each name once.")
    every = {
        name: dict(options) | dict.fromkeys(design.learners, of)
        for name, of in zip(names, learners, strict=True)
    }
    own = {}
    if not options.keys().isdisjoint(design.learners):
        given = [name_of((design.options | dict(options))[key]) for key in design.learners]
        own = {" and ".join(dict.fromkeys(given)): dict(options)}
    if not own | every:
        raise QuestionError(f"{WHO}: learners is empty; give at least one, for example lasso.")
    return own | {name: of for name, of in every.items() if name not in own}


def name_of(learner: Learner) -> str:
    """Return what a learner is called: its name, or that of the estimator's class."""
    return learner if isinstance(learner, str) else type(learner).__name__


def described(design: Design, sample: Sample, options: Mapping[str, Any]) -> Nuisances:
    """Return what a design learns under some options, the others at their defaults."""
    assert design.nuisances is not None
    return design.nuisances(sample, **(design.options | dict(options)))


def score_of(
    learner: str, words: str, asked: Nuisances, ours: Judged, plain: Judged, cluster: IntArray
) -> Score:
    """Return how well a learner predicts what words stand for; ``plain`` is what is known without covariates."""
    kind, predicted, known = asked.kinds[words], ours.predicted, plain.predicted
    if kind == "probability" and words == asked.said[asked.treatment]:
        predicted, known = (np.clip(p, *asked.limits) for p in (predicted, known))

    def of(losses: Callable[[FloatArray, FloatArray], FloatArray]) -> Loss:
        return loss_of(losses(ours.target, predicted), losses(ours.target, known), cluster[ours.unit])

    log = of(log_losses) if kind == "probability" else None
    auc = in_order(ours.target, predicted - known)
    return Score(learner, words, kind, of(squared_errors), log, auc)


def propensities_of(asked: Nuisances, judged: Judged) -> Propensities:
    """Return predicted treatment, with who is treated."""
    words = asked.said[asked.treatment]
    limits = asked.limits if asked.kinds[words] == "probability" else None
    return Propensities.grouped(words, *judged, limits)


@contextmanager
def learned_once() -> Iterator[None]:
    """Keep what is learned inside, so that the design and an ensemble need not learn it again."""
    if current_settings().cache is not None:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="study-") as folder, settings(cache=Path(folder)):
        yield


def _line(score: Score, fit: Effect | None) -> dict[str, Any]:
    """Return one row of the table."""
    log, probability = score.log, score.kind == "probability"
    return {
        "learner": score.learner,
        "nuisance": score.nuisance,
        "kind": score.kind,
        "r2": score.squared.saved,
        "r2_std_error": score.squared.error,
        "brier": score.squared.value if probability else np.nan,
        "brier_of_share": score.squared.without if probability else np.nan,
        "log_loss": np.nan if log is None else log.value,
        "log_loss_of_share": np.nan if log is None else log.without,
        "mcfadden_r2": np.nan if log is None else log.saved,
        "mcfadden_r2_std_error": np.nan if log is None else log.error,
        "auc": np.nan if score.auc is None else score.auc,
        "estimate": np.nan if fit is None else fit.estimate,
        "std_error": np.nan if fit is None else fit.std_error,
    }


def _overlap_line(learner: str, found: Propensities, treated: bool) -> dict[str, Any]:
    """Return one row of the table of overlap."""
    mine = found.treated == treated
    weighed = found.limits is not None
    return {
        "learner": learner,
        "treated": treated,
        "rows": int(mine.sum()),
        "units": len(np.unique(found.unit[mine])),
        **dict(zip(QUANTILE_NAMES, found.quantiles(treated).tolist(), strict=True)),
        "above_comparison": found.above if treated else np.nan,
        "clipped": found.clipped(treated) if weighed else np.nan,
        "effective_units": found.effective if weighed and not treated else np.nan,
    }


def sentences(found: NuisanceQuality) -> tuple[str, ...]:
    """Return what was found: the verdict on treatment, how far the estimate moves, then the other functions."""
    first, *others = (found.of(name) for name in found.names)
    return (
        quality(first, found.asked),
        *moved(found),
        *ranked(first),
        *(quality(scores, found.asked) for scores in others),
        overlap_in_words(found),
        _how(found),
        *(f"Without an estimate: {learner}, because {reason}" for learner, reason in found.refused),
    )


def _how(found: NuisanceQuality) -> str:
    """Return how predictions were made and judged."""
    folds, draws = found.asked.parts[0].folds.number, found.asked.parts[0].folds.place.shape[1]
    made = (
        f"cross-fitted, and losses averaged over {draws} {'draw' if draws == 1 else 'draws'} of {folds} folds"
    )
    if folds == 1:
        made = "not cross-fitted, for there is one fold, so that they look better than they are"
    return f"Predictions are {made}; better and worse mean by more than {STANDARD_ERRORS:g} clustered standard errors."


def quality(scores: tuple[Score, ...], asked: Nuisances) -> str:
    """Return how well one function is predicted, by learner."""
    name, log = scores[0].nuisance, scores[0].log
    plain = asked.without if log is None else "its share"
    better, worse = ([s.learner for s in scores if getattr(s.judged, side)] for side in ("better", "worse"))
    if better:
        verdict = f"{capital(name)} is predicted better than by {plain} by {listed(better)}"
        verdict += f", and worse by {listed(worse)}" if worse else ""
    else:
        verdict = f"No learner predicts {name} better than {plain}"
        verdict += f", and {listed(worse)} {'do' if len(worse) > 1 else 'does'} worse" if worse else ""
    its = "its cross-fitted" if asked.parts[0].folds.number > 1 else "its"
    if log is None:
        values = ", ".join(f"{number(s.squared.saved)} ({s.learner})" for s in scores)
        return f"{verdict}: {its} R2 is {values}."
    values = ", ".join(f"{s.log.value:.4f} ({s.learner})" for s in scores if s.log is not None)
    return f"{verdict}: {its} log loss is {values}, and that of the share {log.without:.4f}."


def moved(found: NuisanceQuality) -> tuple[str, ...]:
    """Return how far the estimate moves between learners."""
    if len(found.fits) < 2:
        return ()
    low, *_, high = sorted(found.fits, key=lambda row: row.estimate)
    ends = (f"{found.question.effect_scale.text(row.estimate)} ({row.label})" for row in (low, high))
    return (
        f"Between learners the estimate moves from {' to '.join(ends)}, by {found.moves:.2f} standard errors of that "
        f"with {found.fits[0].label}.",
    )


def ranked(scores: tuple[Score, ...]) -> tuple[str, ...]:
    """Return how often who is treated is predicted above who is not, where treatment is 0 or 1."""
    known = [s for s in scores if s.auc is not None]
    if not known:
        return ()
    values = ", ".join(f"{s.auc:.0%} ({s.learner})" for s in known)
    return (
        f"Of two rows, one with {known[0].nuisance} and one without, covariates rank the one with it higher in "
        f"{values} of all pairs, where chance gives 50%.",
    )


def overlap_in_words(found: NuisanceQuality) -> str:
    """Return how predicted treatment differs between who is treated and who is not, under the first learner."""
    learner, rows = next(iter(found.propensities.items()))
    name = found.asked.said[found.asked.treatment]
    middle = len(rows.quantiles(True)) // 2
    medians = (rows.quantiles(group)[middle] for group in (True, False))
    ours, theirs = (f"{value:.2%}" if rows.shares else f"{value:.3g}" for value in medians)
    told = (
        f"Under {learner} the prediction of {name} has the median {ours} in rows {rows.groups[0]} and {theirs} in rows "
        f"{rows.groups[1]}, and {rows.above:.0%} of the former are above all of the latter"
    )
    if rows.limits is None:
        return f"{told}."
    clipped = rows.clipped(True) + rows.clipped(False)
    units = len(np.unique(rows.unit[~rows.treated]))
    return (
        f"{told}; the number of clipped propensities is {clipped:,.0f}, and under their odds the {units:,} comparison "
        f"units are worth {rows.effective:,.0f} equally weighted ones."
    )


def number(value: float) -> str:
    """Write an R2, without the sign of a rounded zero."""
    return f"{round(value, 3) + 0.0:.3f}"


def capital(text: str) -> str:
    """Return a text that can open a sentence."""
    return text[0].upper() + text[1:]


def listed(names: Iterable[str]) -> str:
    """Write names with commas and an and."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def drawing(found: NuisanceQuality) -> Figure:
    """Draw a panel of dots for each function, and predicted treatment by group below."""
    from study.figures import WIDTH
    from study.figures.canvas import canvas

    dots = 0.8 + 0.16 * len(found.learners)
    heights = [dots] * len(found.names) + [2.4]
    with canvas(WIDTH, sum(heights)) as figure:
        axes = figure.subplots(len(heights), 1, gridspec_kw={"height_ratios": heights})
        for axis, name in zip(axes, found.names, strict=False):
            _draw_quality(axis, found.of(name), found.asked.without)
        learner, rows = next(iter(found.propensities.items()))
        _draw_groups(axes[-1], rows, found.asked.said[found.asked.treatment], learner)
    return figure


def _draw_quality(axis: Axes, scores: tuple[Score, ...], without: str) -> None:
    """Draw the share of the loss that each learner saves."""
    from study.figures import COLOUR, GREY

    saved = 100 * np.array([s.judged.saved for s in scores])
    half = 100 * STANDARD_ERRORS * np.array([s.judged.error for s in scores])
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.errorbar(saved, range(len(scores)), xerr=half, fmt="o", markersize=3.5, linewidth=1.0, color=COLOUR)
    axis.set_yticks(range(len(scores)), [s.learner for s in scores])
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(scores) - 0.4, -0.6)
    axis.set_title(capital(scores[0].nuisance), loc="left")
    measure = f"R² against {without}" if scores[0].log is None else "Log loss saved against its share"
    axis.set_xlabel(f"{measure}, % (bars: {STANDARD_ERRORS:g} standard errors)", fontsize=8)


def _draw_groups(axis: Axes, rows: Propensities, name: str, learner: str) -> None:
    """Draw the shares of each group's rows by predicted treatment, all draws of the folds together."""
    from study.figures import BAND, GREY, SECOND

    groups = {treated: _placed(rows, rows.of(treated).ravel()) for treated in (True, False)}
    edges = np.linspace(*_ends(groups[True], groups[False]), BINS + 1)
    for treated, filled, colour in ((False, True, BAND), (True, False, SECOND)):
        values = np.clip(groups[treated], edges[0], edges[-1])
        share = 100 * np.histogram(values, edges)[0] / len(values)
        label = f"{rows.groups[0 if treated else 1]} ({(rows.treated == treated).sum():,} rows)"
        axis.stairs(share, edges, fill=filled, color=colour, linewidth=1.5, label=label)
    if rows.limits is not None:
        for limit in rows.limits:
            if 0 < limit < 1:
                place = float(_logit(np.array(limit)))
                axis.axvline(place, ymax=BELOW_LEGEND, color=GREY, linewidth=0.9, linestyle="--")
        low, high = axis.get_xlim()
        places = [(float(_logit(np.array(tick))), f"{100 * tick:g}") for tick in TICKS]
        axis.set_xticks(*zip(*[place for place in places if low <= place[0] <= high], strict=True))
    axis.set_title(f"Prediction of {name} by {learner}", loc="left")
    dashed = "; dashed: where clipped" if rows.limits is not None else ""
    clipped = ", logit axis" if rows.limits is not None else ""
    axis.set_xlabel(
        f"Prediction of {name}{', %' if rows.shares else ''}{clipped}\n(end bins: all beyond{dashed})",
        fontsize=8,
    )
    axis.set_ylabel("Share of rows, %")
    axis.set_ylim(0, axis.dataLim.y1 / BELOW_LEGEND)
    axis.legend(loc="upper right", frameon=False, fontsize=7.5)


def _placed(rows: Propensities, values: FloatArray) -> FloatArray:
    """Return where predictions lie on the axis: logits of propensities, percent of means."""
    if rows.limits is not None:
        return _logit(values)
    return 100 * values if rows.shares else values


def _logit(share: FloatArray) -> FloatArray:
    inside = np.clip(share, NEAREST, 1 - NEAREST)
    placed: FloatArray = np.log(inside / (1 - inside))
    return placed


def _ends(treated: FloatArray, compared: FloatArray) -> tuple[float, float]:
    """Return the ends of the axis, beyond which few rows of each group are; the end bins hold these."""
    ends = [
        np.quantile(group, (share, 1 - share))
        for group, share in ((treated, OUTSIDE_TREATED), (compared, OUTSIDE))
    ]
    low, high = float(min(end[0] for end in ends)), float(max(end[1] for end in ends))
    return (low, high) if high > low else (low - 1, high + 1)
