"""How often default intervals cover and joint tests of leads reject: python benchmarks/interval_coverage.py.

Simulated panels of 150 units in 8 periods with AR(1) errors; no record is real and the seeds are fixed. Cohorts of one
size adopt in periods 4, 5 and 6. Effects have the mean 1 in every treated cell, so that every design estimates the same
number, and are the same for all units or vary between them. Counts for the Poisson designs have means that grow by a
quarter with treatment. A rate of 95% has a Monte-Carlo standard error of
0.7 points over 1,000 panels and of 1.5 over 200.

With ``--vcov`` it compares covariance estimators on panels of 150 units in 10 periods: with normal errors, where some
cohorts have one unit, and with counts of units whose sizes are skewed or heavily skewed, without an effect and with one
in proportion to size.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np

from study import Estimate, Panel, Question, QuestionError
from study.designs import find_design
from study.estimates import WORDS
from study.estimates.effect import pre_test

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import simulated

UNITS, COHORTS = 150, (4, 5, 6)
PERSISTENCE = 0.5
SIZE = 0.05


@dataclass(frozen=True, eq=False)
class Case:
    """A design with its options and fields of its question."""

    design: str
    options: Mapping[str, Any] = field(default_factory=dict)
    question: Mapping[str, Any] = field(default_factory=dict)
    slow: bool = False

    def __str__(self) -> str:
        said = [
            str(value) for name, value in self.options.items() if name not in ("repetitions", "propensity")
        ]
        share = ["proportional"] if self.question.get("scale") and self.design == "callaway_santanna" else []
        return ", ".join([self.design, *said, *share])

    @property
    def counts(self) -> bool:
        return self.question.get("outcome") == "count"


COUNT = {"outcome": "count", "scale": "proportional"}
LINEAR = {"learner": "linear", "repetitions": 1}
BOTH = LINEAR | {"propensity": "linear"}
CASES = (
    Case("callaway_santanna"),
    Case("callaway_santanna", {"method": "reg"}, {"covariates": ("x",)}),
    Case("callaway_santanna", {"method": "dr"}, {"covariates": ("x",)}),
    Case("sun_abraham"),
    Case("imputation"),
    Case("etwfe"),
    Case("stacked", {"before": 3, "after": 2}, {"average": "event_average", "horizon": 2}),
    Case("lp_did"),
    Case("lee_wooldridge"),
    Case("lee_wooldridge", {"transform": "detrend"}),
    Case("event_study"),
    Case("twfe"),
    Case("poisson_twfe", {}, COUNT),
    Case("etwfe", {"family": "poisson"}, COUNT),
    Case("etwfe", {"family": "poisson", "effects": "unit"}, COUNT),
    Case("callaway_santanna", {}, {"scale": "proportional"} | COUNT),
    Case("dml_panel", LINEAR, {"covariates": ("x",)}, slow=True),
    Case("dml_did", BOTH, {"covariates": ("x",)}, slow=True),
    Case("dml_stacked", BOTH, {"covariates": ("x",)}, slow=True),
    Case("dml_irm", BOTH, {"covariates": ("x",)}, slow=True),
    Case("synthetic_did", slow=True),
    Case("generalized_synthetic_control", slow=True),
    Case("matrix_completion", slow=True),
)


class Setting(NamedTuple):
    """How many of the units are treated, and how much effects vary between them."""

    treated: int
    varying: float = 0.0


class Answer(NamedTuple):
    """What one design answered on one panel: whether intervals cover, and whether joint tests of leads reject."""

    covers: bool
    published: bool
    error: float
    wald: float
    largest: float


def draw(rng: np.random.Generator, setting: Setting, units: int = UNITS) -> Panel:
    """Return a new panel; outcomes "y", with effects of mean 1, and "count", with effects of mean 1/4 in proportion."""
    first = np.full(units, np.nan)
    first[: setting.treated] = np.resize(np.sort(np.resize(COHORTS, setting.treated)), setting.treated)
    periods = simulated.PERIODS
    errors = np.empty((units, len(periods)))
    errors[:, 0] = rng.normal(size=units) / np.sqrt(1 - PERSISTENCE**2)
    for t in range(1, len(periods)):
        errors[:, t] = PERSISTENCE * errors[:, t - 1] + rng.normal(size=units)
    on = periods >= first[:, None]
    effect = np.where(on, 1 + setting.varying * rng.normal(size=(units, 1)), 0.0)
    y = 2 * rng.normal(size=(units, 1)) + 0.3 * periods + errors + effect
    spread = 0.35 * errors - 0.35**2 / (1 - PERSISTENCE**2) / 2
    ratio = np.where(on, 1.25, 1.0)
    if setting.varying:
        ratio = np.where(on, ratio * rng.gamma(10, 1 / 10, size=(units, 1)), ratio)
    mean = np.exp(1 + 0.1 * periods + spread) * rng.gamma(4, 1 / 4, size=(units, 1)) * ratio
    covariate = np.repeat(rng.normal(size=(units, 1)), len(periods), axis=1)
    return replace(
        simulated.panel(n=units),
        outcomes={"y": y, "count": rng.poisson(mean).astype(float)},
        first_treated={"event": first},
        covariates={"x": covariate},
    )


def ask(case: Case, panel: Panel) -> Estimate | None:
    """Ask a design; None where it refuses."""
    question = Question(**{"outcome": "y", "event": "event", "average": "event_average"} | case.question)
    try:
        return find_design(case.design)(question.sample(panel), **case.options)
    except QuestionError:
        return None


def answer(case: Case, panel: Panel, draws: int = 199) -> Answer | None:
    """Ask a design for its interval and its tests of leads; None where it refuses."""
    fit = ask(case, panel)
    if fit is None:
        return None
    truth = 0.25 if case.counts else 1.0
    leads = pre_test(fit.by_event_time, draws=draws) if fit.estimand.has_path else None
    return Answer(
        covers(fit.headline, truth),
        covers(fit.with_vcov(fit.published).headline, truth),
        float(fit.headline.std_error[0]),
        leads.p_value if leads else np.nan,
        leads.p_largest if leads else np.nan,
    )


def covers(headline: Estimate, truth: float) -> bool:
    """Say whether the 95% interval of a headline holds a number."""
    half = headline.critical_value()[0] * headline.std_error[0]
    return bool(abs(headline.effect[0] - truth) <= half)


def answers(case: Case, setting: Setting, panels: int, seed: int) -> list[Answer | None]:
    """Ask a design about new panels; the panels are the same for all designs."""
    rng = np.random.default_rng(seed)
    return [answer(case, draw(rng, setting)) for _ in range(panels)]


class Rates(NamedTuple):
    """Percentages of panels; None where a design refuses all of them, or has no leads."""

    no_error: float
    published: float | None
    default: float | None
    wald: float | None
    largest: float | None


def percent(holds: list[bool]) -> float | None:
    """Return in how many percent of cases something holds, None without a case."""
    return 100 * float(np.mean(holds)) if holds else None


def rates(found: list[Answer | None]) -> Rates:
    """Return what a design's answers amount to, of those that have a standard error."""
    said = [one for one in found if one is not None]
    with_error = [one for one in said if np.isfinite(one.error)]
    tests = ([getattr(one, test) for one in said] for test in ("wald", "largest"))
    return Rates(
        100 - 100 * len(with_error) / len(found),
        percent([one.published for one in with_error]),
        percent([one.covers for one in with_error]),
        *(percent([p <= SIZE for p in test if np.isfinite(p)]) for test in tests),
    )


def tables(found: Mapping[tuple[Case, Setting], Rates]) -> str:
    """Write coverage, and sizes of the joint tests of leads, with a row a design and a column a setting."""
    cases, settings = (list(dict.fromkeys(part)) for part in zip(*found, strict=True))

    def table(cell: Callable[[Rates], str], kept: list[Case]) -> str:
        heads = [f"{s.treated}, {'varying' if s.varying else 'the same'}" for s in settings]
        lines = [["design", *heads], ["---", *["---:"] * len(heads)]]
        lines += [[str(case), *(cell(found[case, setting]) for setting in settings)] for case in kept]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    with_leads = [c for c in cases if any(found[c, s].wald is not None for s in settings)]
    return "\n\n".join(
        [
            "Coverage, and with published standard errors, by number of treated units and effects:",
            table(lambda r: f"{shown(r.default)} ({shown(r.published)})" + without(r), cases),
            "Joint tests of leads at 5% that reject, Wald and largest t:",
            table(lambda r: f"{shown(r.wald)}, {shown(r.largest)}", with_leads),
        ]
    )


def shown(rate: float | None) -> str:
    """Write a rate with one decimal."""
    return "–" if rate is None else f"{rate:.1f}"


def without(found: Rates) -> str:
    """Say in how many percent of panels there is no standard error, where in any."""
    return f"; none in {found.no_error:.1f}" if 0 < found.no_error < 100 else ""


SINGLE = {0: (), 2: (3, 7), 5: (2, 3, 5, 7, 9)}  # dates of the cohorts of one unit, by their number
AVERAGES = ("treated_average", "event_average")
BY_DESIGN = ("callaway_santanna", "imputation", "event_study", "lp_did", "etwfe")
COUNTS = "counts"  # a tenth of the units has half of them
SKEWED = "skewed counts"  # a tenth of the units has three quarters of them, and a hundredth more than a third


GROWTH = 0.5  # of the counts of treated units, where there is an effect


class Asked(NamedTuple):
    """One row of the table of covariance estimators: what a panel is like, and what is asked of it.

    ``effect`` is "none", or that on "the treated" units of each panel or on the "population" that they are drawn from.
    """

    design: str
    treated: int
    single: int
    errors: str
    scale: str
    effect: str
    average: str


def draw_asked(rng: np.random.Generator, row: Asked) -> tuple[Panel, float]:
    """Return a panel in which cohorts of one unit are some of the treated, and the average effect."""
    units, periods = UNITS, np.arange(1, 11)
    first = np.full(units, np.nan)
    first[: row.single] = SINGLE[row.single]
    first[row.single : row.treated] = np.resize((4, 6, 8), row.treated - row.single)
    errors = np.empty((units, len(periods)))
    errors[:, 0] = rng.normal(size=units) / np.sqrt(1 - PERSISTENCE**2)
    for t in range(1, len(periods)):
        errors[:, t] = PERSISTENCE * errors[:, t - 1] + rng.normal(size=units)
    y, effect = 2 * rng.normal(size=(units, 1)) + 0.3 * periods + errors, 0.0
    if row.errors != "normal":
        shape = (units, 1)
        size = rng.gamma(0.5, 2.0, size=shape) if row.errors == COUNTS else rng.lognormal(-2, 2, size=shape)
        mean, on = 3 * size * np.exp(0.3 * errors + 0.05 * periods), periods >= first[:, None]
        growth = 0.0 if row.effect == "none" else GROWTH
        if row.scale == "proportional":
            effect = growth
        elif row.effect == "the treated":
            effect = growth * float(mean[on].mean())
        else:
            everywhere = 3 * np.exp(0.3**2 / (1 - PERSISTENCE**2) / 2 + 0.05 * periods)
            effect = growth * float(np.broadcast_to(everywhere, on.shape)[on].mean())
        y = rng.poisson(mean * np.where(on, 1 + growth, 1.0)).astype(float)
    nothing: Any = {"treatment": {}, "covariates": {}, "attributes": {}}
    panel = Panel(
        name="simulated",
        units=np.arange(units),
        periods=periods,
        outcomes={"y": y},
        first_treated={"event": first},
        **nothing,
    )
    return panel, effect


def hits(row: Asked, panels: int, seed: int) -> dict[str, float]:
    """Return how often intervals by each covariance estimator cover the average effect, in percent."""
    rng, found = np.random.default_rng(seed), {word: list[bool]() for word in WORDS}
    for _ in range(panels):
        panel, effect = draw_asked(rng, row)
        sample = Question("y", "event", scale=row.scale, average=row.average).sample(panel)
        average = find_design(row.design)(sample).headline
        for word, covering in found.items():
            covering.append(covers(average.with_vcov(word), effect))
    return {word: 100 * float(np.mean(covering)) for word, covering in found.items()}


def by_vcov(panels: int, seed: int, jobs: int) -> str:
    """Return coverage by covariance estimator as a table."""
    rows = [
        Asked("callaway_santanna", treated, single, errors, scale, "none", average)
        for errors in ("normal", COUNTS, SKEWED)
        for scale in (("level",) if errors == "normal" else ("level", "log1p", "proportional"))
        for treated in (12, 30, 60)
        for single in (SINGLE if errors == "normal" else (0,))
        for average in AVERAGES
    ]
    rows += [
        Asked("callaway_santanna", treated, 0, errors, scale, effect, "treated_average")
        for errors in (COUNTS, SKEWED)
        for scale, effect in (
            ("level", "the treated"),
            ("level", "population"),
            ("proportional", "population"),
        )
        for treated in (12, 30, 60)
    ]
    rows += [
        Asked(design, 30, single, "normal", "level", "none", average)
        for design in BY_DESIGN[1:]
        for single in SINGLE
        for average in AVERAGES
    ]
    done = joblib.Parallel(n_jobs=jobs)(joblib.delayed(hits)(row, panels, seed) for row in rows)
    heads = ["design", "treated", "cohorts of one", "errors", "scale", "effect", "average", *WORDS]
    lines = [heads, ["---"] * 7 + ["---:"] * len(WORDS)]
    for row, found in zip(rows, done, strict=True):
        lines.append([*map(str, row), *(shown(found[word]) for word in WORDS)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--panels", type=int, default=1000)
    parser.add_argument("--slow-panels", type=int, default=200, help="for learners and synthetic designs")
    parser.add_argument("--treated", type=int, nargs="+", default=[12, 90, 138])
    parser.add_argument("--designs", nargs="+", help="names of designs; all of them by default")
    parser.add_argument("--vcov", action="store_true", help="compare covariance estimators instead")
    parser.add_argument("--seed", type=int, default=20261126)
    parser.add_argument("--jobs", type=int, default=-1)
    chosen = parser.parse_args()
    if chosen.vcov:
        print(by_vcov(chosen.panels, chosen.seed, chosen.jobs))
        return
    cases = [case for case in CASES if chosen.designs is None or case.design in chosen.designs]
    found = {}
    for treated in chosen.treated:
        for varying in (0.0, 1.0):
            setting = Setting(treated, varying)
            tasks = (
                joblib.delayed(answers)(
                    case, setting, chosen.slow_panels if case.slow else chosen.panels, chosen.seed
                )
                for case in cases
            )
            done = joblib.Parallel(n_jobs=chosen.jobs, return_as="generator")(tasks)
            for case, of_panels in zip(cases, done, strict=True):
                found[case, setting] = rates(of_panels)
                print(case, setting, found[case, setting], file=sys.stderr, flush=True)
    print(tables(found))


if __name__ == "__main__":
    main()
