"""Writes what draws or iterates, as it is recorded; run under several kernels, whose files are compared.

Usage: python tests/kernel_parts.py FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import kernels
import simulated
from plans import PLAN, files_of

import study
from study import Estimate, Panel, Question
from study.core.outputs import write_all
from study.core.words import significant
from study.inference.agreement import adjusted_p_values
from study.inference.randomization import randomization
from study.inference.wild import wild_bootstrap
from study.paper import run as running
from study.paper.plan import read_plan

Rows = Iterator[tuple[str, float]]

# What iterates, with the options that keep it short, and what learns by which designs; all designs answer in the
# small paper as well.
ITERATE = {
    "poisson_twfe": {"terms": "event_time"},
    "etwfe": {"family": "poisson"},
    "imputation": {},
    "synthetic_did": {},
    "generalized_synthetic_control": {"factors": 1},
}
LEARN = {
    "lasso": ("dml_panel", "dml_stacked"),
    "lightgbm": ("dml_panel", "dml_stacked"),
    "forest": ("dml_panel",),
}
MORE = """
[[designs]]
name = "poisson_twfe"
label = "Poisson"
[[designs]]
name = "sun_abraham"
label = "SA"
"""


def estimates(panel: Panel, asked: Question) -> Rows:
    """Yield effects and standard errors of what iterates and of what learns."""
    for name, options in ITERATE.items():
        yield from effects(name, study.estimate(panel, asked, design=name, **options))
    learned = asked.replace(covariates=("x1", "x2"))
    for learner, designs in LEARN.items():
        for name in designs:
            fit = study.estimate(panel, learned, design=name, learner=learner, folds=2, repetitions=1)
            yield from effects(f"{name}, {learner}", fit)


def effects(label: str, fit: Estimate) -> Rows:
    """Yield the effects by event time and the average of an estimate, with standard errors and band."""
    for part in (fit.headline, *([fit.aggregate("event")] if fit.estimand.has_path else [])):
        for row in part.tidy().itertuples():
            yield f"{label}, {row.term}", significant(row.estimate, beside=row.std_error)
            yield f"{label}, {row.term}, error", significant(row.std_error)
        if part.varies.any():
            for row in part.band(draws=999).itertuples():
                yield f"{label}, {row.term}, band", significant(row.band_low, beside=row.std_error)


def draws(panel: Panel, asked: Question) -> Rows:
    """Yield p-values that count draws, all their digits, and ends of intervals."""
    sample = asked.sample(panel)
    for design in ("callaway_santanna", "twfe", "poisson_twfe"):
        for kind in ("t", "estimate"):
            test = randomization(sample, design, permutations=39, statistic=kind)
            yield f"randomization, {design}, {kind}", test.p_value
    for kind in ("C", "S", "V", "B"):
        for weights in ("rademacher", "webb"):
            found = wild_bootstrap(sample, "twfe", kind=kind, weights=weights, draws=999)
            yield f"wild bootstrap, {kind}, {weights}", found.p_value
            yield from ((f"{kind}, {weights}, interval", significant(end)) for end in found.interval)
    fits = {name: study.estimate(panel, asked, design=name) for name in ("twfe", "sun_abraham", "stacked")}
    for label, value in adjusted_p_values(fits, draws=999).items():
        yield f"step-down, {label}", significant(value)
    for agreement in study.compare(panel, asked, designs=list(fits)).agreement.values():
        yield from (("agreement", value) for value in agreement.p_adjusted)
        if agreement.sup_t is not None:
            yield "agreement, critical value", significant(agreement.sup_t.critical_value)


def small_paper(folder: Path) -> dict[str, bytes]:
    """Return the files of a small paper of one's own panel."""
    plan_path = folder / "study.toml"
    plan_path.write_text(PLAN.replace("[inference]", f"{MORE}[inference]"))
    plan = read_plan(plan_path)
    panel = running.load(plan)
    return files_of(plan, panel, running.run(plan, panel, jobs=1))


def main(folder: Path) -> str:
    """Write all files and return the report of the kernels."""
    folder.mkdir(parents=True)
    own, shipped = simulated.counts(simulated.panel(n=80)), study.load_panel("cvpr")
    parts = {
        "estimates": estimates(own, Question("y", "event", scale="proportional", min_cohort_size=1)),
        "draws": draws(own, Question("y", "event")),
        "shipped": effects(
            "cvpr",
            study.estimate(
                shipped, Question("papers", "first_accelerator", scale="log1p", min_cohort_size=1)
            ),
        ),
    }
    files = {
        f"{name}.txt": "".join(f"{label}: {value!r}\n" for label, value in rows).encode()
        for name, rows in parts.items()
    }
    write_all(folder, files | small_paper(folder))
    return kernels.report()


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
