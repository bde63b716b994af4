"""A small plan on a simulated panel, for tests of everything between a plan and its files."""

from __future__ import annotations

from pathlib import Path

from study.paper import numbers
from study.paper import run as running

ROOT = Path(__file__).parents[1]
PANEL = ROOT / "tests/parity/golden/panels/sim_small.csv"
PLAN = f"""
headline = "callaway_santanna"
seed = 3
[panel]
file = "{PANEL}"
unit = "unit"
time = "time"
first_treated = ["first_treated"]
outcomes = ["y", "count"]
covariates = ["x1"]
attributes = ["cluster"]
[text]
unit = "unit"
units = "units"
outcome = "a unit's 50% & more of #1_outcomes {{x}}"
outcomes_with_units = "Counts a year"
sample_notes = ["A simulated panel."]
[question]
average = "event_average"
horizon = 3
[outcomes]
count = "A_count"
[scales]
proportional = "Share"
log1p = "Log"
[[events]]
name = "first_treated"
title = "the 1st event"
short = "Event"
label = "sim1"
[[designs]]
name = "callaway_santanna"
label = "CS"
[[designs]]
name = "event_study"
label = "ES"
[[designs]]
name = "twfe"
label = "TWFE"
[inference]
level = 0.9
band_draws = 199
permutations = 19
strata = "cluster"
[figure]
window = [-3, 4]
"""


def files_of(plan, panel, results):
    """Return the paper's files from a plan's answers, and every number that a text could cite."""
    paper = running.exhibit(plan, panel, results, jobs=1)
    return paper.files(Path()) | {"every.csv": numbers.sources_file(paper.every_number())}
