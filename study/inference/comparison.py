"""The answers of several designs to one question, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from study.core import Described, QuestionError, checked, grouped, html_page, p_is
from study.designs import Supports, all_designs, find_design
from study.estimates import NUMBERS, Estimate, VcovWord, Wald
from study.inference.agreement import LEVEL, Agreement, SupT, adjusted_p_values, agreement_of
from study.panel import Panel, Question
from study.panel.question import LargePanel

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Legend of designs, by whether they are in the test that designs agree.
COMPARED = ("compared", "not compared: another kind, or no standard error")

AGREE = "test that all effects are equal"


class Variant(NamedTuple):
    """A design with its options and the label that it has in the comparison."""

    name: str
    options: Mapping[str, Any] = {}
    label: str = ""


class Adjusted(NamedTuple):
    """P-values of a design's average, adjusted for all the outcomes that the design answers."""

    romano_wolf: float
    holm: float


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Described):
    """The answers of several designs to one question, for one or more outcomes.

    Attributes
    ----------
    question : Question
    labels, outcomes : tuple of str
        The rows and columns of the table.
    estimates : dict of (outcome, label) to Estimate
        The headline average of each design that answers.
    refusals : dict of (outcome, label) to str
        Why the others do not, in one line.
    agreement : dict of outcome to Agreement
    adjusted : dict of (outcome, label) to Adjusted
        Empty for one outcome. A design's family is its averages that vary, one an outcome; designs are
        alternative answers to one question, so they are not part of it.
    draws : int
        Of the multiplier bootstrap.
    fits : dict of (outcome, label) to Estimate
        What ``estimates`` are the averages of.
    """

    question: Question
    labels: tuple[str, ...]
    outcomes: tuple[str, ...]
    estimates: dict[tuple[str, str], Estimate]
    refusals: dict[tuple[str, str], str]
    agreement: dict[str, Agreement]
    adjusted: dict[tuple[str, str], Adjusted]
    draws: int
    fits: dict[tuple[str, str], Estimate] = field(default_factory=dict)

    def _described(self) -> tuple[str, dict[str, str]]:
        scale, facts = self.question.effect_scale, {}
        for outcome in self.outcomes:
            on = f", {outcome}" if len(self.outcomes) > 1 else ""
            for label in self.labels:
                fit = self.estimates.get((outcome, label))
                if fit is None:
                    facts[label + on] = f"refused: {self.refusals[outcome, label]}"
                else:
                    row = fit.tidy(LEVEL).iloc[0]
                    size, low, high = scale.texts(row.estimate, row.conf_low, row.conf_high)
                    facts[label + on] = f"{size} ({LEVEL:.0%} CI {low} to {high})"
            test = self.agreement[outcome].sup_t
            if test is not None:
                facts[f"{AGREE}{on}"] = f"sup-t {test.statistic:.3g}, {p_is(test.p_value)}"
        what = f"effect of {self.question.event} on {', '.join(self.outcomes)}, scale {self.question.scale}"
        return f"Comparison of {len(self.labels)} designs: {what}", facts

    def __str__(self) -> str:
        """Return the averages, the tests that they agree and their differences as plain text."""
        from study.report import comparison_in

        return comparison_in("text", self)

    def _repr_html_(self) -> str:
        title, facts = self._described()
        frame = self.tidy().drop(columns=["term", "compared", "refusal"])
        tests = [f"{name}: {fact}" for name, fact in facts.items() if name.startswith(AGREE)]
        return html_page(title, [*tests, *self.notes, *self.refused], frame)

    def has(self, key: tuple[str, str]) -> bool:
        """Say whether an outcome's design, (outcome, label), was asked, be it that it refuses."""
        return key in self.estimates or key in self.refusals

    def about(self, outcomes: Sequence[str]) -> Comparison:
        """Return what it says of some of its outcomes."""
        names = ("estimates", "refusals", "adjusted", "fits")
        some: dict[str, Any] = {
            name: {k: v for k, v in getattr(self, name).items() if k[0] in outcomes} for name in names
        }
        agreement = {outcome: self.agreement[outcome] for outcome in outcomes}
        return replace(self, outcomes=tuple(outcomes), agreement=agreement, **some)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was not compared or is equal, each sentence once, with the outcomes that it holds for."""
        return self.each_once({outcome: self.agreement[outcome].notes for outcome in self.outcomes})

    @property
    def refused(self) -> tuple[str, ...]:
        """The refusals, each once, with the designs and the outcomes that it holds for."""
        by_outcome = {}
        for outcome in self.outcomes:
            refusals = ((self.refusals.get((outcome, label)), label) for label in self.labels)
            by_reason = grouped((why, label) for why, label in refusals if why is not None)
            by_outcome[outcome] = [f"{', '.join(labels)}: {reason}" for reason, labels in by_reason.items()]
        return self.each_once(by_outcome)

    def each_once(self, by_outcome: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
        """Return sentences on outcomes, each once, with the outcomes that it holds for where these are not all."""
        sentences = dict.fromkeys(sentence for outcome in self.outcomes for sentence in by_outcome[outcome])
        holds = {s: [outcome for outcome in self.outcomes if s in by_outcome[outcome]] for s in sentences}
        return tuple(
            s if len(outcomes) == len(self.outcomes) else f"{', '.join(outcomes)}: {s}"
            for s, outcomes in holds.items()
        )

    def tidy(self, level: float = LEVEL) -> pd.DataFrame:
        """Return one row an outcome and design: the average with its uncertainty, or the refusal.

        For more than one outcome with p-values adjusted for all of them, by Romano and Wolf and by Holm.
        """
        import pandas as pd

        rows = []
        for outcome, label in product(self.outcomes, self.labels):
            row: dict[str, Any] = {}
            fit, adjusted = self.estimates.get((outcome, label)), self.adjusted.get((outcome, label))
            if fit is not None:
                row |= fit.tidy(level).iloc[0].to_dict()
                row |= {"vcov": fit.errors_by, "n_units": fit.sample.n_units, "n_obs": fit.n_obs}
            if adjusted is not None:
                row |= {f"p_{method}": p_value for method, p_value in adjusted._asdict().items()}
            row |= {"outcome": outcome, "design": label, "compared": label in self.agreement[outcome].labels}
            row["refusal"] = self.refusals.get((outcome, label), "")
            rows.append(row)
        several = ["p_romano_wolf", "p_holm"] if len(self.outcomes) > 1 else []
        sizes = ["vcov", "n_units", "n_obs"]
        columns = ["outcome", "design", "term", *NUMBERS, *several, *sizes, "compared", "refusal"]
        return pd.DataFrame(rows, columns=columns).astype({"n_units": "Int64", "n_obs": "Int64"})

    @checked
    def plot(
        self,
        ax: Axes | None = None,
        *,
        title: str | None = None,
        labels: Mapping[str, str] | None = None,
        level: float = LEVEL,
    ) -> Figure:
        """Draw the average of each design with its pointwise interval, outcomes side by side.

        Designs that are not compared, since they have another estimand, scale or window than most, or no standard
        error, are squares in a second colour; the row of a design that refuses the question says so.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Drawn on instead of a figure of its own, where there is one outcome.
        title : str, optional
        labels : mapping of str to str, optional
            What designs and outcomes are called on the figure, by their names.
        level : float
            Coverage of the intervals.

        Returns
        -------
        matplotlib Figure

        Raises
        ------
        QuestionError
            If one axis is given for several outcomes.
        """
        from study.figures import dot_figure, panels

        words, table, scale = labels or {}, self.tidy(level), self.question.effect_scale
        count = len(self.outcomes)
        if ax is not None and count > 1:
            raise QuestionError(
                f"Comparison.plot: ax is one axis for {count} outcomes; leave it out, or plot one of them "
                f'by comparison.about(["{self.outcomes[0]}"]).'
            )
        size = 1.9 + 2.7 * count, 1.3 + 0.21 * max(len(self.labels), 2)
        with panels(ax, 1, count, *size, legend=2, sharey=True) as (figure, axes):
            for outcome, axis in zip(self.outcomes, axes, strict=True):
                rows = table[table["outcome"] == outcome].reset_index()
                rows["label"] = [words.get(design, design) for design in rows["design"]]
                look: dict[str, Any] = {"percent": scale.percent, "level": level}
                if rows["compared"].any():
                    look |= {"marked": ~rows["compared"] & rows["estimate"].notna(), "names": COMPARED}
                xlabel = replace(scale, outcome=words.get(outcome, outcome)).axis()
                dot_figure(rows, axis, xlabel=xlabel, **look)
                for row in rows.index[rows["estimate"].isna()]:
                    place: Any = {"transform": axis.get_yaxis_transform(), "va": "center", "fontsize": 7}
                    axis.text(0.02, row, "refused", bbox={"color": "white", "pad": 0.5}, **place)
            axes[0].set_title(title or "", loc="left" if count > 1 else "center", fontsize=9)
        return figure

    def differences(self) -> pd.DataFrame:
        """Return one row an outcome and pair of compared designs: the first less the second."""
        import pandas as pd

        names = ("difference", "std_error", "statistic", "p_adjusted")
        rows = []
        for outcome, agreement in self.agreement.items():
            same = {pair for group in agreement.equal for pair in combinations(group, 2)}
            statistic = agreement.difference / agreement.std_error
            numbers = (agreement.difference, agreement.std_error, statistic, agreement.p_adjusted)
            for pair, *values in zip(agreement.pairs, *numbers, strict=True):
                rows.append((outcome, *pair, *values, pair in same))
        return pd.DataFrame(rows, columns=["outcome", "first", "second", *names, "equal"])

    def tests(self) -> pd.DataFrame:
        """Return one row an outcome: the sup-t test that the designs agree, and the Wald test with its rank."""
        import pandas as pd

        rows = []
        for outcome, agreement in self.agreement.items():
            row: dict[str, Any] = {"outcome": outcome, "designs": len(agreement.labels)}
            for test, values in (("sup_t", agreement.sup_t), ("wald", agreement.wald)):
                row |= {} if values is None else {f"{test}_{k}": v for k, v in values._asdict().items()}
            rows.append(row)
        of_sup_t = [f"sup_t_{name}" for name in SupT._fields]
        of_wald = [f"wald_{name}" for name in Wald._fields]
        table = pd.DataFrame(rows, columns=["outcome", "designs", *of_sup_t, *of_wald])
        return table.astype({"sup_t_draws": "Int64", "wald_rank": "Int64"})


@checked
def compare(
    panel: Panel | LargePanel,
    question: Question,
    designs: Sequence[str | tuple[Any, ...]] | None = None,
    outcomes: Sequence[str] | None = None,
    *,
    vcov: VcovWord = "jackknife",
    force: bool = False,
    draws: int = 9999,
    seed: int = 0,
) -> Comparison:
    """Answer a question with several designs and test whether their averages agree.

    Of a question with a dose, designs that take none answer for the same units what treatment of whatever dose does.

    Parameters
    ----------
    panel : Panel or LargePanel
    question : Question
    designs : sequence, optional
        Names, or tuples (name, options) or (name, options, label); by default every design that draws
        nothing at random.
    outcomes : sequence of str, optional
        Outcomes of the panel; by default the question's. With more than one, each design's p-values are also
        adjusted for all of them.
    vcov : str or mapping
        The covariance estimator, as :func:`study.estimate` takes it.
    force : bool
        Compare also estimates of unlike estimand, scale or window.
    draws, seed : int
        Of the multiplier bootstrap.

    Returns
    -------
    Comparison
        A design that refuses the question has its refusal in the table.

    Raises
    ------
    QuestionError
        If there is no such design, option or outcome, or two designs have one label.
    """
    variants = variants_of(designs, "compare")
    for variant in variants:
        question, word = find_design(variant.name).asked(question, vcov)
    names = (question.outcome,) if outcomes is None else tuple(outcomes)
    if not names or len(set(names)) < len(names):
        raise QuestionError(f"compare: outcomes is {outcomes!r}; give a list of different names.")
    if len(names) > 1 and isinstance(panel, LargePanel):
        raise QuestionError(
            "compare: outcomes of a panel larger than memory are added up one at a time, so that p-values cannot be "
            "adjusted for several; compare designs for one outcome."
        )
    samples = {outcome: question.replace(outcome=outcome).sample(panel) for outcome in names}
    no_dose = {o: replace(s, question=s.question.replace(dose=None), dose=None) for o, s in samples.items()}

    def fit_of(variant: Variant, outcome: str) -> Estimate:
        design = find_design(variant.name)
        takes_doses = Supports.DOSE in design.supports
        return design((samples if takes_doses else no_dose)[outcome], **variant.options).with_vcov(word)

    answers = answers_of(variants, names, fit_of, force=force, draws=draws, seed=seed)
    labels = tuple(variant.label for variant in variants)
    adjusted: dict[tuple[str, str], Adjusted] = {}
    for label in labels:
        family = {
            x: fit
            for (x, design), fit in answers["estimates"].items()
            if design == label and fit.joint and fit.varies[0]
        }
        if family and len(names) > 1:
            stepped = adjusted_p_values(family, draws=draws, seed=seed)
            by_holm = adjusted_p_values(family, method="holm")
            adjusted |= {(outcome, label): Adjusted(stepped[outcome], by_holm[outcome]) for outcome in family}
    return Comparison(question, labels, names, **answers, adjusted=adjusted, draws=draws)


def answers_of(
    asked: Sequence[Any], outcomes: Sequence[str], fit_of: Callable[[Any, str], Estimate], **how: Any
) -> dict[str, Any]:
    """Return what a :class:`Comparison` has of its answers: estimates, refusals, agreement and fits.

    Parameters
    ----------
    asked : sequence
        What has the name of a design and a label.
    outcomes : sequence of str
    fit_of : callable
        Takes one of them and an outcome, and returns the estimate or refuses.
    **how
        Of the tests that designs agree, as :func:`study.inference.agreement.agreement_of` takes it.
    """
    estimates, refusals, agreement, every = {}, {}, {}, {}
    for outcome in outcomes:
        fits = {}
        for row in asked:
            try:
                fit = fit_of(row, outcome)
                estimates[outcome, row.label] = answered(fit.headline)
                fits[row.label] = every[outcome, row.label] = fit
            except QuestionError as refusal:
                refusals[outcome, row.label] = str(refusal).removeprefix(f"{row.name}: ")
        agreement[outcome] = agreement_of(fits, **how)
    return {"estimates": estimates, "refusals": refusals, "agreement": agreement, "fits": every}


def answered(headline: Estimate) -> Estimate:
    """Return an average that is a number, or refuse."""
    if np.isfinite(headline.effect[0]):
        return headline
    raise QuestionError(
        f"{headline.design}: its average cannot be formed, because a mean to divide by is not positive."
    )


def variants_of(designs: Sequence[str | tuple[Any, ...]] | None, who: str) -> list[Variant]:
    """Return the designs asked for, each with a label of its own."""
    if designs is None:
        designs = [name for name, design in all_designs().items() if not design.draws]
    variants = []
    for given in designs:
        variant = Variant(given) if isinstance(given, str) else None
        if isinstance(given, tuple) and 0 < len(given) <= len(Variant._fields):
            variant = Variant(*given)
        if not (variant and isinstance(variant.name, str) and isinstance(variant.options, Mapping)):
            raise QuestionError(
                f"{who}: {given!r} is no design; give a name, or (name, options), or (name, options, label)."
            )
        find_design(variant.name).check_options(dict(variant.options))
        options = ", ".join(f"{name}={value}" for name, value in variant.options.items())
        default = f"{variant.name} ({options})" if options else variant.name
        variants.append(variant._replace(label=variant.label or default))
    if not variants:
        raise QuestionError(f"{who}: designs is empty; give a list of names.")
    for label, count in Counter(variant.label for variant in variants).items():
        if count > 1:
            raise QuestionError(f'{who}: two designs have the label "{label}"; give each its own.')
    return variants
