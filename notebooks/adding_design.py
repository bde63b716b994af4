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
# # Adding a design
#
# A design is one function: it takes a sample (arrays) and returns an estimate (effects with their influence
# function). It reads no file, draws no table and computes no standard error; these follow from what it returns. This
# notebook writes one, registers it, checks it, and sets it beside the designs that ship.
#
# The design is the simplest difference-in-differences of all: the change of each treated unit in the year of its
# event, less the mean change of the never-treated in the same year, averaged over treated units.
#
# ## The influence function
#
# With $\Delta_i$ the change of unit $i$ in the year of its event, $m_g$ the never-treated units' mean change in year
# $g$, $p$ the share of treated units, $q$ that of never-treated units and $p_g$ that of cohort $g$,
#
# $$\hat\theta = \frac{\sum_{i\ \mathrm{treated}} (\Delta_i - m_{g_i})}{\mathrm{number\ treated}}.$$
#
# What one unit adds to the error, per unit of the sample, is its **influence**: for a treated unit $(\Delta_i -
# m_{g_i} - \hat\theta) / p$; for a never-treated one the error that it brings into every $m_g$, $-\sum_g (p_g /
# p)\,(\Delta_{ig} - m_g) / q$, where $\Delta_{ig}$ is its change in year $g$. The mean of the influence over units is
# zero, and the standard error is the root of its mean square over the number of units.
#
# ## The file
#
# It can lie in `study/designs/`, or in a package of your own that names it as an entry point in the group
# `study.designs`: the commands, tables and tests pick it up by its name. Here it lies in a temporary folder and is
# imported.

# %%
import importlib
import sys
import tempfile
from pathlib import Path

import numpy as np

import study

CODE = '''
"""The change in the year of the event, less that of never-treated units."""

import numpy as np

from study.designs import Assumes, Estimand, Supports, design
from study.core import Influence, QuestionError
from study.estimates import Estimate, event_time_effects


@design(
    name="first_year",
    title="Change in the year of the event",
    reference="callaway2021",                      # a key of paper/references.bib
    estimand=Estimand.EVENT_TIME_ATT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION),
    supports=(Supports.NEVER_TREATED, Supports.CLUSTERS, Supports.PROPORTIONAL),
)
def first_year(sample) -> Estimate:
    if sample.question.comparison != "never_treated":
        raise QuestionError('first_year: it compares with never-treated units; ask with comparison="never_treated".')
    n, never = sample.n_units, np.isnan(sample.first_treated)
    change = np.diff(sample.y, axis=1)             # column t is the change into period t + 1
    gain, level, mean_change = np.zeros(n), np.zeros(n), np.zeros(n)
    treated = np.isin(sample.first_treated, sample.cohorts)
    q, p = never.mean(), treated.mean()
    influence = np.zeros(n)
    for g in sample.cohorts:
        cohort, t = sample.first_treated == g, int(g - sample.periods[0])
        m = change[never, t - 1].mean()
        gain[cohort] = change[cohort, t - 1] - m
        level[cohort] = sample.y[cohort, t]
        influence[never] -= cohort.mean() / p * (change[never, t - 1] - m) / q
    effect, mean = gain[treated].mean(), level[treated].mean()
    influence[treated] = (gain[treated] - effect) / p
    of_mean = np.where(treated, (level - mean) / p, 0.0)
    return event_time_effects(
        sample,
        times=np.array([0.0]),
        effect_level=np.array([effect]),
        influence=Influence.of(influence[:, None]),
        mean=np.array([mean]),
        mean_influence=Influence.of(of_mean[:, None]),
        reference=np.array([False]),
        n_obs=2 * int(treated.sum() + never.sum()),
    )
'''
temporary = tempfile.TemporaryDirectory(prefix="adding-design-")  # gone when the notebook ends
Path(temporary.name, "my_design.py").write_text(CODE)
sys.path.insert(0, temporary.name)
importlib.import_module("my_design")
print("first_year" in study.all_designs(), "-", study.all_designs()["first_year"].title)

# %% [markdown]
# ## It answers, and it refuses
#
# Standard errors, intervals and proportional effects come from what it returned. What it does not list under
# `supports` (covariates here) is refused before it is called; what metadata cannot say, the comparison group that it
# does *not* have, it refuses itself.

# %%
panel = study.load_panel("cvpr")
question = study.Question(
    "papers", "first_accelerator", comparison="never_treated", average="event_average", horizon=0
)
fit = study.estimate(panel, question, "first_year")
print(fit.tidy().round(3).to_string(index=False))
print(
    study.estimate(panel, question.replace(scale="proportional"), "first_year")
    .tidy()
    .round(3)
    .to_string(index=False)
)
for asked in (
    question.replace(covariates=("log_baseline_papers",)),
    question.replace(comparison="not_yet_treated"),
):
    try:
        study.estimate(panel, asked, "first_year")
    except study.QuestionError as refusal:
        print(refusal)

# %% [markdown]
# ## Is the influence function right?
#
# A wrong influence function gives wrong standard errors and says nothing. So check it. The **jackknife** leaves out
# one unit at a time: $(n-1)(\hat\theta - \hat\theta{}_{(-i)})$ is nearly the influence of unit $i$, without any
# formula.

# %%
sample = question.sample(panel)
first_year, n = study.all_designs()["first_year"], sample.n_units
effect = fit.effect[0]
alone = np.arange(n)
without = np.array([first_year(sample.only(alone != i, "the jackknife")).effect[0] for i in range(n)])
pseudo = (n - 1) * (effect - without)
influence = fit.influence[:, 0]
print(f"{n} refits; correlation with the influence function {np.corrcoef(pseudo, influence)[0, 1]:.5f}")
by_jackknife = np.sqrt(np.sum((pseudo - pseudo.mean()) ** 2)) / n
print(f"Standard error by influence {fit.std_error[0]:.4f}, by jackknife {by_jackknife:.4f}")

# %% [markdown]
# Would the check have seen a mistake? Suppose that the never-treated units' part had been forgotten, as is easily
# done: they only serve as the comparison.

# %%
forgotten = np.where(np.isnan(sample.first_treated), 0.0, influence)
for label, tried in (("as written", influence), ("with a part forgotten", forgotten)):
    never = np.isnan(sample.first_treated)
    difference = np.abs(pseudo - tried)[never].max() / np.abs(pseudo[never]).max()
    print(
        f"{label:22s}: never-treated units differ from the jackknife by at most {difference:.1%} of their largest value"
    )

# %% [markdown]
# ## Beside the others
#
# With never-treated units as the comparison and the year of the event alone, this is what Callaway and Sant'Anna's
# estimator averages to, so the two should be the *same number*, not merely close. The comparison finds that out by
# itself.

# %%
designs = ["first_year", "callaway_santanna", "imputation", "lp_did"]
compared = study.compare(panel, question, designs)
print(compared.tidy()[["design", "estimate", "std_error", "compared"]].round(4).to_string(index=False))
print(*compared.notes, sep="\n")
print(compared.tests().T.to_string(header=False))

# %% [markdown]
# Identities like this one are the best tests that a design can have: they hold on every panel, and they fail if
# either side is wrong.
#
# ## In the tables
#
# Nothing else is needed: the tables know its name. In a terminal, once it is installed:
# `study table --outcome papers --event first_accelerator --comparison never_treated --designs first_year,imputation`.

# %%
both = study.compare(panel, question, designs[:3], ["papers", "papers_academic_only"], draws=999)
print(study.table(both))
