"""Size and power of 5% tests with 1, 2, 5 and 12 treated units: python benchmarks/few_treated.py.

Simulated panels of about the study's size, 300 units in 12 periods; no record is real and the seeds are fixed. Errors
are AR(1) and normal, and treated units adopt in periods 5, 7 and 9. Errors vary "alike" for all units, or with the
variance A + B / size of means over persons, where treated units are drawn from the largest or from the smallest fifth.
The effect is zero for the size, and one standard deviation of an error for the power. A test of no effect where there
is one is a test of its opposite where there is none, so that a panel is drawn and fitted once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from study import Estimate, Panel, Question, few_treated, randomization, wild_bootstrap
from study.core import two_sided_p
from study.designs import find_design
from study.panel import Sample

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import simulated

# What treated units' outcomes weigh depends on their dates alone, which are the same in panels with as many treated.
inference = import_module("study.inference.few_treated")
weights_of, weights = inference._weights, {}


def weights_once(sample: Sample, *arguments: Any) -> Any:
    """Return the weights of treated units' outcomes, computed once for each number of treated units."""
    if sample.n_treated not in weights:
        weights[sample.n_treated] = weights_of(sample, *arguments)
    return weights[sample.n_treated]


inference._weights = weights_once

UNITS, PERIODS, DATES = 300, np.arange(1, 13), (5, 7, 9)
PERSISTENCE, SPREAD, EFFECT = 0.7, 0.5, 0.5
LEVEL = 0.05
ERRORS = ("alike", "largest treated", "smallest treated")
ASKED = Question("y", "event", average="treated_average")
DESIGN = "callaway_santanna"
Tests = dict[str, Callable[[float], float]]


def draw(rng: np.random.Generator, treated: int, errors: str, units: int = UNITS) -> Panel:
    """Return a new panel without effects."""
    size = np.sort(np.exp(rng.normal(2.0, 1.0, size=units)))
    fifth = np.arange(units)
    if errors != "alike":
        fifth = fifth[-(units // 5) :] if errors == "largest treated" else fifth[: units // 5]
    first = np.full(units, np.nan)
    first[np.sort(rng.choice(fifth, treated, replace=False))] = np.resize(DATES, treated)
    noise = np.empty((units, len(PERIODS)))
    noise[:, 0] = rng.normal(size=units)
    for t in range(1, len(PERIODS)):
        fresh = rng.normal(size=units)
        noise[:, t] = PERSISTENCE * noise[:, t - 1] + np.sqrt(1 - PERSISTENCE**2) * fresh
    variance = np.ones(units) if errors == "alike" else 0.2 + 0.8 * (1 / size) / np.mean(1 / size)
    y = rng.normal(size=(units, 1)) + 0.05 * PERIODS + SPREAD * np.sqrt(variance)[:, None] * noise
    across = np.ones(len(PERIODS))
    return replace(
        simulated.panel(n=units),
        periods=PERIODS,
        outcomes={"y": y},
        first_treated={"event": first},
        covariates={"size": np.outer(size, across)},
    )


def by_t(headline: Estimate, null: float) -> float:
    """Return the p-value of an estimate's t test; one where it has no standard error, so that it never rejects."""
    statistic = (headline.effect - null) / headline.std_error
    return float(np.nan_to_num(two_sided_p(statistic, headline.degrees_of_freedom)[0], nan=1.0))


def tests(sample: Sample, draws: int, seed: int) -> Tests:
    """Return what tests an effect in a panel, by name."""
    fit = find_design(DESIGN)(sample).headline
    transformed = find_design("lee_wooldridge")(sample).aggregate("cohort_average")
    errors: dict[str, Any] = {"draws": draws, "seed": seed}
    by_size = few_treated(sample, DESIGN, inference="ferman_pinto", size="size", **errors)
    found: Tests = {
        "jackknife, t (the default)": partial(by_t, fit),
        "CR1": partial(by_t, fit.with_vcov("CR1")),
        "pooled, t": partial(by_t, fit.with_vcov("pooled")),
        "Lee and Wooldridge, pooled t": partial(by_t, transformed.with_vcov("pooled")),
        "Conley and Taber": few_treated(sample, DESIGN, **errors).p_value_at,
        "Ferman and Pinto": by_size.p_value_at,
    }
    if sample.n_treated > 1:
        found["wild bootstrap (twfe)"] = wild_bootstrap(sample, "twfe", **errors).p_value_at
    return found


def permuted(sample: Sample, permutations: int, seed: int) -> Tests:
    """Return the randomization test of the average over event times, of which many assignments are computed at once."""
    by_event = replace(sample, question=sample.question.replace(average="event_average"))
    how: dict[str, Any] = {"permutations": permutations, "statistic": "estimate", "seed": seed}
    return {"randomization of dates": lambda null: randomization(by_event, DESIGN, null=null, **how).p_value}


def rejected(treated: int, errors: str, seed: int, permutations: int, draws: int) -> dict[str, list[bool]]:
    """Return by test whether no effect is rejected in a new panel, where it is true and where there is an effect."""
    sample = ASKED.sample(draw(np.random.default_rng(seed), treated, errors))
    tested = permuted(sample, permutations, seed) if permutations else tests(sample, draws, seed)
    return {name: [p_value(null) <= LEVEL for null in (0.0, -EFFECT)] for name, p_value in tested.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--panels", type=int, default=500)
    parser.add_argument("--treated", type=int, nargs="+", default=[1, 2, 5, 12])
    parser.add_argument("--permutations", type=int, default=0, help="of the randomization test, alone")
    parser.add_argument("--draws", type=int, default=999)
    parser.add_argument("--seed", type=int, default=20261128)
    parser.add_argument("--jobs", type=int, default=-1)
    chosen = parser.parse_args()
    for errors in ERRORS:
        rates: dict[str, list[str]] = {}
        for treated in chosen.treated:
            seeds = range(chosen.seed, chosen.seed + chosen.panels)
            tasks = (
                joblib.delayed(rejected)(treated, errors, seed, chosen.permutations, chosen.draws)
                for seed in seeds
            )
            found = joblib.Parallel(n_jobs=chosen.jobs)(tasks)
            for name in found[0]:
                size, power = 100 * np.mean([one[name] for one in found], axis=0)
                rates.setdefault(name, []).append(f"{size:.1f} ({power:.0f})")
                print(errors, treated, name, rates[name][-1], file=sys.stderr, flush=True)
        print(f"\nErrors: {errors}; % of {chosen.panels} panels, size (power)\n")
        print(f"| test | {' | '.join(f'{n} treated' for n in chosen.treated)} |")
        print(f"| --- | {' | '.join('---:' for _ in chosen.treated)} |")
        for name, cells in rates.items():
            empty = ["–"] * (len(chosen.treated) - len(cells))
            print(f"| {name} | {' | '.join([*empty, *cells])} |", flush=True)


if __name__ == "__main__":
    main()
