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
# # A tour in ten minutes
#
# When a university gets a large computer, does it publish more machine-learning research? This tour asks that of the
# data that ship with the package, and shows how much the answer can be trusted. You need some statistics (what a
# standard error is) and no knowledge of the package. Every number is computed when the notebook runs: open this file
# in Jupyter with jupytext, or run it as a script.

# %%
# %matplotlib inline
import numpy as np

import study
from study.report import as_tables

panel = study.load_panel("cvpr")
print(
    panel.n_units, "universities in", len(panel.periods), "years,", panel.periods[0], "to", panel.periods[-1]
)
print("What can be counted:", ", ".join(panel.outcomes))
print("What can happen to a university:", ", ".join(panel.events))

# %% [markdown]
# A **panel** is a table with one row for each unit (here a university) and period (here a year). An **outcome** is
# what is counted: papers at CVPR, a large conference on computer vision. An **event** is dated once for a unit: here
# `first_accelerator`, the year from which a university's first machine with accelerators (GPUs, for instance) stands
# in the TOP500 list of supercomputers. Units without the event are called **never-treated**.
#
# ## Why a plain comparison misleads
#
# Universities with such a machine publish more. But did they publish more because of it?

# %%
papers, year = panel.outcomes["papers"], panel.first_treated["first_accelerator"]
has = year > panel.periods[0]
for label, units in (("with it by now", has), ("without it", np.isnan(year))):
    first, last = papers[units, 0].mean(), papers[units, -1].mean()
    print(f"{units.sum():5d} universities {label:15s}{first:6.2f} papers in {panel.periods[0]}, ", end="")
    print(f"{last:6.2f} in {panel.periods[-1]}")

# %% [markdown]
# The universities with a machine were larger from the start, before most of them had one, and the conference grew.
# **Difference-in-differences** takes both away: it compares the *change* of a treated university with the change of
# others over the same years. That is the effect of the event only under **parallel trends**: without the event, both
# would have changed alike. Nobody can observe that. The rest of the tour is about whether to believe it.
#
# ## What is asked
#
# A question says what is estimated, before any method is chosen. Here: papers, as a *share* of what they would have
# been without the event (`scale="proportional"`), averaged over the year of the event and the years that follow it up
# to `horizon`, compared with universities that had about as many papers before (`covariates`).

# %%
question = study.Question(
    outcome="papers",
    event="first_accelerator",
    scale="proportional",
    covariates=("log_baseline_papers", "baseline_papers"),
    average="event_average",
    horizon=4,
)
for step in question.sample(panel).flow:
    print(f"{step.units:5d} universities {'kept' if step.kept else 'dropped'}: {step.reason}")

# %% [markdown]
# Nobody is dropped without a reason. Universities that are treated in the same year are a **cohort**.
#
# ## An answer
#
# A **design** is a method with its assumptions. This one (Callaway and Sant'Anna) compares each cohort's change with
# that of universities not yet treated, and then averages over cohorts.

# %%
fit = study.estimate(panel, question, design="callaway_santanna", method="reg")
answer = fit.headline.tidy().iloc[0]
smallest = fit.headline.minimum_detectable_effect()[0]
print(f"Estimate: {answer.estimate:+.1%} papers, standard error {answer.std_error:.1%}.")
print(f"95% interval: {answer.conf_low:+.1%} to {answer.conf_high:+.1%}.")
inside = "contains" if answer.conf_low <= 0 <= answer.conf_high else "does not contain"
print(f"The interval {inside} zero. The minimum detectable effect is {smallest:.1%} (80% power).")

# %% [markdown]
# The last sentence gives the **minimum detectable effect**. An interval around zero says that there is no effect only
# as far as an effect that matters would have been found; otherwise it says that the data are too few.
#
# ## What happened before the event?
#
# The same comparison by year since the event, now on the logarithmic scale (as a share, early years would be divided
# by means near zero). Years before the event should show nothing, if trends are parallel. A thin line is the interval
# of one year; the wide bars hold the whole path at once in most samples (a **simultaneous band**). The year before
# the event is zero by construction, since everything is compared with it.

# %%
logs = question.replace(scale="log1p")
fit_logs = study.estimate(panel, logs, design="callaway_santanna", method="reg")
path = fit_logs.aggregate("event")
before = path.test(path.pre)
print(f"Are all years before the event zero? p = {before.p_value:.2g}, {before.rank} years tested together.")
path.plot()

# %% [markdown]
# A small p-value here means that adopters grew differently before they had a machine, so that what comes after cannot
# all be put down to it. A large one would not prove the contrary. Two diagnostics say what that means for the answer:
# which trend would this test have missed, and how far may trends differ before the answer is lost?

# %%
print(study.diagnostics.pretrends(fit_logs).sentences[2])
honest = study.diagnostics.honest_did(fit_logs)
print(*honest.sentences[:2], sep="\n")
honest.plot()

# %% [markdown]
# The figure shows the interval that remains if trends may differ after the event by as much as they differed before
# (one on the horizontal axis), by half as much, by twice as much. Where the interval covers zero, a violation of that
# size would be enough to explain the estimate.
#
# ## An effect where there should be none
#
# Papers in robotics need few accelerators. If they move with the event as CVPR papers do, what moves is the
# department and not the machine. Such a **placebo** is compared on the same scale.

# %%
robotics = {"robotics papers": (study.load_panel("robotics"), "papers")}
placebo = study.diagnostics.placebo_outcomes(panel, logs, robotics, "callaway_santanna", method="reg")
print(placebo.verdict)
columns = ["outcome", "estimate", "conf_low", "conf_high", "p_value"]
print(placebo.tidy()[columns].round(3).to_string(index=False))

# %% [markdown]
# ## Another design is another word
#
# Designs assume different things and may give different answers. The comparison names those that estimate the same
# thing and tests whether *these* agree; `swapping_designs.py` is about nothing else.

# %%
names = ["callaway_santanna", "imputation", "event_study", "twfe"]
compared = study.compare(panel, question.replace(covariates=()), designs=names)
print(compared.tidy()[["design", "estimate", "std_error", "compared"]].round(3).to_string(index=False))
print(*compared.notes, sep="\n")
test = compared.tests().iloc[0]
print(f"Do those that are compared agree? p = {test.sup_t_p_value:.2g}")

# %% [markdown]
# ## A table for your paper
#
# The same as a table with its notes, in LaTeX, HTML or Markdown. In a terminal it is
# `study table main/papers --designs callaway_santanna,imputation --format latex`.

# %%
averages, *_ = as_tables(compared)
print(averages.markdown())

# %% [markdown]
# ## Where to go from here
#
# - `swapping_designs.py`: one question under many designs, why they differ, and what a design refuses.
# - `own_panel.py`: your own table, from a CSV file to a whole paper's tables.
# - `adding_design.py`: a design of your own, checked and compared.
# - `study diagnose main` puts everything that speaks against an answer on one page; `study run` makes the whole
#   paper.
