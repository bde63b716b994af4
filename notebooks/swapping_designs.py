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
# # One question, many designs
#
# What is asked and how it is answered are two things here: a `Question` and the name of a design. So a design can be
# swapped by changing one word, and the differences that remain are those of assumptions and of what is averaged, not
# of data handling. This notebook asks one question under every design, looks at why the answers differ, tests whether
# they do, and shows what a refusal means.

# %%
# %matplotlib inline
from dataclasses import replace
from pathlib import Path

import study
from study.paper import run as running
from study.paper.plan import read_plan
from study.report import as_tables

panel = study.load_panel("cvpr")
question = study.Question("papers", "first_accelerator", scale="log1p", average="event_average", horizon=4)
for name, design in study.all_designs().items():
    print(f"{name:18s} {design.estimand:40s} {'learns' if design.draws else ''}")

# %% [markdown]
# The second column is what a design estimates:
#
# - a **group-time ATT** is the average effect on those treated in one year (a cohort), in one year; such effects are
#   averaged afterwards, in a way that the question names;
# - an **event-time effect** is averaged over cohorts already, by years since the event;
# - a **coefficient** is the weight of a variable in a regression, an average of effects only if they are all alike;
# - an **effect on the change over the window** compares the first with the last year.
#
# Designs that learn fit machine-learning models (double machine learning) and take longer; they are left out below
# unless they are named.
#
# ## All of them at once

# %%
compared = study.compare(panel, question)
shown = ["design", "estimate", "std_error", "conf_low", "conf_high", "compared", "refusal"]
print(compared.tidy()[shown].round(3).to_string(index=False))

# %% [markdown]
# The scale is the logarithm of one plus papers, so an estimate times a hundred is about the percent change.

# %%
compared.plot()

# %% [markdown]
# ## Do they agree?
#
# All these numbers come from the same universities, so their errors move together and two overlapping intervals say
# little. Each design hands over how much every university moves its estimate (its **influence function**); together
# they give the standard error of each *difference*. The test takes the largest difference, in standard errors, and
# asks how often it would be as large if all designs had the same average. Beside it stands a Wald test of all
# differences, which rejects too often when few units are treated.

# %%
test = compared.tests().iloc[0]
print(f"Largest |t| {test.sup_t_statistic:.2f}, 95% critical value {test.sup_t_critical_value:.2f}, ", end="")
print(f"p = {test.sup_t_p_value:.2g}; Wald test of rank {test.wald_rank}, p = {test.wald_p_value:.2g}")
apart = compared.differences().sort_values("p_adjusted")
print(
    apart.head(5)[["first", "second", "difference", "std_error", "p_adjusted"]]
    .round(3)
    .to_string(index=False)
)
print(*compared.notes, sep="\n")

# %% [markdown]
# The notes say what was not tested: estimates of another kind, designs that have no standard error here, and designs
# that are *algebraically equal* on this panel, whose difference is zero by construction. They count as one answer,
# not as two that confirm each other.
#
# ## Why they differ, first: what is averaged
#
# The static regression `twfe` is a weighted average of many comparisons of two groups before and after, and in some
# of them universities that are treated already serve as the comparison. Goodman-Bacon's decomposition lays them open.

# %%
sample = question.sample(panel)
parts = study.diagnostics.goodman_bacon(sample)
print(*parts.sentences, sep="\n")
weights = study.diagnostics.negative_weights(sample)
print(*weights.sentences, sep="\n")

# %% [markdown]
# ## Why they differ, second: who is compared
#
# Parallel trends are assumed of somebody. Given the same design, answers move with the comparison group, with
# covariates (universities of like size are compared) and with the scale on which trends are parallel. Each is a field
# of the question, so each is one word too.

# %%
variants = {
    "as above": question,
    "never-treated only": question.replace(comparison="never_treated"),
    "conditional on size before": question.replace(covariates=("log_baseline_papers", "baseline_papers")),
    "active universities": question.replace(population="active"),
}
for label, asked in variants.items():
    row = study.estimate(panel, asked, "callaway_santanna", method="reg").headline.tidy().iloc[0]
    print(f"{label:20s} {row.estimate:6.3f} ({row.std_error:.3f})")

# %% [markdown]
# If the answer moves most with the covariates, it is not the estimator that matters but who is compared with whom. A
# design cannot repair that; look at the years before the event under each.

# %%
for label, asked in variants.items():
    path = study.estimate(panel, asked, "callaway_santanna", method="reg").aggregate("event")
    test = path.test(path.pre)
    print(f"{label:20s} years before the event are all zero: p = {test.p_value:.2g} ({test.rank} tested)")

# %% [markdown]
# ## A refusal, and what to do about it
#
# A design that cannot answer a question says so in one line before it computes anything, and names the designs that
# can. It never answers another question silently.

# %%
asked = question.replace(comparison="never_treated")
try:
    study.estimate(panel, asked, "twfe")
except study.QuestionError as refusal:
    print(refusal)

# %% [markdown]
# Two ways out: take a design that the message names, or ask what the design can answer. In a comparison a refusal is
# a row of its own, and the others are compared all the same.

# %%
print(study.estimate(panel, asked, "sun_abraham").headline.tidy().round(3).to_string(index=False))
print(
    study.estimate(panel, asked.replace(comparison="not_yet_treated"), "twfe")
    .tidy()
    .round(3)
    .to_string(index=False)
)
partly = study.compare(panel, asked, ["twfe", "callaway_santanna", "sun_abraham"], draws=999)
print(*partly.refused, sep="\n")

# %% [markdown]
# ## The whole paper under another headline
#
# What the paper estimates is written down in `paper/study.toml`, with its reasons. The **headline** is the design of
# the text, of the event-study figure and of the randomization test. In a terminal, `study run --design imputation`
# makes the whole paper under another one. Here it is a small part of that plan, in Python: one event, one outcome,
# three designs.

# %%
path = next(p for p in (Path("paper/study.toml"), Path("../paper/study.toml")) if p.is_file())
plan = read_plan(path)
small = replace(
    plan,
    events=plan.events[:1],
    families=(),
    outcomes={"papers": plan.outcomes["papers"]},
    rows=tuple(row for row in plan.rows if row.name in ("callaway_santanna", "event_study", "twfe")),
    permutations=99,
)
for chosen in (small, small.under("imputation")):
    results = running.run(chosen, panel, jobs=1)
    for scale in chosen.scales:
        answer = results[chosen.events[0].label, scale, "papers", chosen.headline.label]
        term, p_value = answer.headline, answer.randomization.p_value
        print(f"{chosen.headline.label:45s} {scale:13s} {term.estimate:6.3f} ({term.std_error:.3f})", end="")
        print(f"  randomization p = {p_value:.2f}; detectable {answer.power.effect:.3f}")

# %% [markdown]
# The last columns are a test that permutes the event dates among universities of one size class and needs no large
# numbers, and the effect that the design would have found with a power of four in five.
#
# ## As a table
#
# In a terminal: `study table main/papers/log1p --designs callaway_santanna,event_study,imputation --output
# table.tex`.

# %%
print(as_tables(partly)[0].markdown())
