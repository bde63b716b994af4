"""Seconds of 999 permutations of the study's panel, for the designs of the paper and the others.

    python benchmarks/randomization.py [--permutations 999] [--jobs 1]

The panel, the event, the outcome and the strata are those of ``paper/study.toml``; the first line is the paper's
headline, whose p-value has to be the recorded one. One run in one process after one refit, which does not count, nor do
imports and the panel. Designs that fit learners are left out: a refit takes them about a second. With more jobs the CPU
seconds are those of the first process alone.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import study
from study.inference.randomization import randomization
from study.panel.question import Question
from study.paper.plan import Plan, read_plan

PLAN = Path(__file__).resolve().parent.parent / "paper" / "study.toml"
OTHERS = ("twfe", "event_study", "imputation", "sun_abraham", "etwfe", "stacked", "lp_did", "poisson_twfe")


def cases(plan: Plan) -> list[tuple[str, str, Question, dict[str, Any]]]:
    """Return the label, design, question and options of each line."""
    event, outcome = plan.events[0], next(iter(plan.outcomes))
    main, logs = (
        plan.task(event, outcome, scale, plan.headline).question for scale in ("proportional", "log1p")
    )
    headline = plan.headline.name, plan.headline.options
    plain = main.replace(covariates=())
    return [
        ("headline, proportional", headline[0], main, headline[1]),
        ("headline, log1p", headline[0], logs, headline[1]),
        ("callaway_santanna, no covariates", "callaway_santanna", plain, {}),
        *((name, name, plain if "poisson" in name else logs.replace(covariates=()), {}) for name in OTHERS),
    ]


def main() -> None:
    """Print one line a design."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--permutations", type=int, default=999)
    arguments.add_argument("--jobs", type=int, default=1)
    given = arguments.parse_args()
    plan = read_plan(PLAN)
    assert isinstance(plan.panel, str)
    panel = study.load_panel(plan.panel)
    how = {"strata": plan.strata, "seed": plan.seed, "jobs": given.jobs}
    print(f"{'':34} seconds  CPU seconds  p-value  not defined")
    for label, design, question, options in cases(plan):
        sample = question.sample(panel)
        randomization(sample, design, permutations=2 * given.jobs, **how, **options)
        start, cpu = time.perf_counter(), time.process_time()
        found = randomization(sample, design, permutations=given.permutations, **how, **options)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        print(
            f"{label:34} {seconds:7.2f}  {cpu:11.2f}  {found.p_value:7.3f}  {found.undefined:11}", flush=True
        )


if __name__ == "__main__":
    main()
