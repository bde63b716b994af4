# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own panel
#
# From a CSV file to tables: what the file must look like, what happens when it is wrong, how to ask, and how to make
# the tables of a whole paper from a plan of your own. The data here are **simulated**, so that nothing is
# confidential and the true effect is known; put your own file in their place.

# %%
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import study
from study.panel.files import verdict
from study.paper import run as running
from study.paper.plan import read_plan

temporary = tempfile.TemporaryDirectory(prefix="own-panel-")  # gone when the notebook ends
folder = Path(temporary.name)
rng = np.random.default_rng(7)
labs, years = 160, np.arange(2010, 2022)
first = rng.choice([0, 2014, 2016, 2018], size=labs, p=[0.55, 0.15, 0.15, 0.15])
size = rng.gamma(2.0, 2.0, size=labs)
since = np.where(first[:, None] > 0, years - first[:, None], -1)
TRUE_EFFECT = 0.25
mean = size[:, None] * np.exp(0.04 * (years - years[0])) * np.where(since >= 0, 1 + TRUE_EFFECT, 1.0)
table = pd.DataFrame(
    {
        "lab": np.repeat([f"lab {i:03d}" for i in range(labs)], len(years)),
        "year": np.tile(years, labs),
        "first_cluster": np.repeat(np.where(first > 0, first.astype(str), ""), len(years)),
        "papers": rng.poisson(mean).ravel(),
        "citations": rng.poisson(8 * mean).ravel(),
        "country": np.repeat(rng.choice(["A", "B", "C"], size=labs), len(years)),
    }
)
table.to_csv(folder / "my.csv", index=False)
print((folder / "my.csv").read_text()[:230])

# %% [markdown]
# One row for each lab and year; a column with the year of the first cluster, the same in all rows of a lab and empty
# where there was none. (A column that is `1` in treated years and `0` elsewhere does as well.)
#
# ## Is the file fit to use?
#
# In a terminal: `study validate my.csv --unit lab --time year --outcome papers --first-treated first_cluster`.

# %%
roles = {
    "unit": "lab",
    "time": "year",
    "first_treated": "first_cluster",
    "outcomes": ["papers", "citations"],
    "attributes": "country",
}
text, fit_to_use = verdict(folder / "my.csv", roles)
print(text)

# %% [markdown]
# ## A mistake, and its error
#
# Suppose that two files were stacked, so that one lab's year stands twice, and that somebody typed a word where a
# number belongs. `verdict` lists every row that breaks a rule; reading the panel stops at the first one with a single
# line that says what is wrong, where, and what to do.

# %%
wrong = pd.concat([table.astype(str), table.astype(str).iloc[[5]]])
wrong.iloc[2, wrong.columns.get_loc("papers")] = "many"
wrong.to_csv(folder / "wrong.csv", index=False)
text, fit_to_use = verdict(folder / "wrong.csv", roles)
print(text)
try:
    study.Panel.from_long(folder / "wrong.csv", **roles)
except study.DataError as error:
    print("\nDataError:", error)

# %% [markdown]
# ## Ask
#
# A misspelt name is an error too, with the nearest name that exists.

# %%
panel = study.Panel.from_long(folder / "my.csv", **roles)
question = study.Question("papers", "first_cluster", scale="proportional", average="event_average", horizon=3)
try:
    question.replace(outcome="paper").sample(panel)
except study.QuestionError as error:
    print("QuestionError:", error)
for step in question.sample(panel).flow:
    print(f"{step.units:4d} labs {'kept' if step.kept else 'dropped'}: {step.reason}")

# %%
fit = study.estimate(panel, question, design="callaway_santanna")
answer = fit.headline.tidy().iloc[0]
print(f"Estimate {answer.estimate:.1%}, 95% interval {answer.conf_low:.1%} to {answer.conf_high:.1%}.")
print(f"The simulation put in {TRUE_EFFECT:.0%}.")
test = fit.by_event_time.test(fit.by_event_time.pre)
print(
    f"Years before the event are all zero: p = {test.p_value:.2f}. Trends are parallel here by construction."
)

# %% [markdown]
# The scale matters. Here the event multiplies papers, and without it all labs grow by the same *percentage*; in
# papers, large labs then grow by more than small ones. (Dates are permuted at random here, so trends are parallel on
# every scale; in real data, think about which.) With two outcomes of unlike size, such as papers and citations, a
# share is also the easier to compare.
#
# ## A table of designs by outcomes
#
# In a terminal:
#
#     study table --panel my.csv --unit lab --time year --event first_cluster --outcome papers --outcome citations \
#         --scale proportional --horizon 3 --designs callaway_santanna,imputation,twfe --output table.tex
#
# In Python `study.table` makes one of estimates and comparisons; `save` writes it as .tex, .html, .md, .docx,
# .csv or .txt.

# %%
designs = ["callaway_santanna", "imputation", "twfe"]
compared = study.compare(panel, question, designs, ["papers", "citations"], draws=999)
table = study.table(compared, stars=True, mde=True, labels={"papers": "Papers a year", "units": "labs"})
print(table)

# %%
print(table.latex()[:900], "...")

# %% [markdown]
# ## A plan of your own
#
# A whole paper is a file `study.toml`: the panel, the questions with their reasons, the designs as rows, how
# inference is done. Write it *before* you look at estimates. `study run --plan study.toml` makes all tables, figures
# and numbers, and `study run --plan study.toml --design imputation` makes them under another headline.

# %%
PLAN = """
headline = "callaway_santanna"
seed = 1

[panel]                      # the arguments of study.Panel.from_long
file = "my.csv"
unit = "lab"
time = "year"
first_treated = "first_cluster"
outcomes = ["papers", "citations"]
attributes = ["country"]

[text]                       # words of captions and notes
unit = "lab"
units = "labs"
outcome = "a lab's output"
outcomes_with_units = "papers or citations a year"
sample_notes = ["A simulated panel."]

[question]                   # what all estimates share
average = "event_average"
horizon = 3

[outcomes]                   # columns
papers = "Papers"
citations = "Citations"

[scales]                     # panels of the tables
proportional = "Effect, % of the counterfactual mean"

[[events]]
name = "first_cluster"
title = "first cluster"
short = "Cluster"
label = "cluster"

[[designs]]                  # rows; the headline first
name = "callaway_santanna"
label = "Callaway-Sant'Anna"

[[designs]]
name = "poisson_twfe"
label = "Poisson"

[inference]
level = 0.95
band_draws = 999
permutations = 99
strata = "country"           # event dates are permuted within countries

[figure]
window = [-3, 3]
"""
(folder / "study.toml").write_text(PLAN)
print("The plan is", len(PLAN.splitlines()), "lines long.")

# %%
plan = read_plan(folder / "study.toml")
results = running.run(plan, running.load(plan), jobs=1)
for (_, _, outcome, label), result in results.items():
    term = result.headline
    permuted = (
        "" if result.randomization is None else f", randomization p = {result.randomization.p_value:.2f}"
    )
    print(f"{outcome:10s}{label:20s}{term.estimate:6.3f} ({term.std_error:.3f}){permuted}")

# %% [markdown]
# The plan is checked before any work: a design, an outcome or a field that does not exist is one line that says so.

# %%
(folder / "study.toml").write_text(PLAN.replace("horizon = 3", "horizn = 3"))
try:
    running.load(read_plan(folder / "study.toml"))
except study.QuestionError as error:
    print("QuestionError:", error)
