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
# One panel, one question, several designs. Open this file in Jupyter with jupytext, or run it as a script.

# %%
import study

panel = study.load_panel("cvpr")
print(panel.n_units, "universities,", panel.periods[0], "to", panel.periods[-1])
print("outcomes:", ", ".join(panel.outcomes), "| events:", ", ".join(panel.events))

# %% [markdown]
# **What** is asked is a question. Here: papers over the five years from the first accelerator system in the TOP500,
# as a share of what they would have been, compared with universities of like size before 2014.

# %%
question = study.Question(
    outcome="papers",
    event="first_accelerator",
    scale="proportional",
    covariates=("log_baseline_papers", "baseline_papers"),
    horizon=4,
    min_cohort_size=1,
)
for step in question.sample(panel).flow:
    print(f"{step.units:5d}  {'kept' if step.kept else 'dropped'}: {step.reason}")

# %% [markdown]
# **How** it is answered is a design.

# %%
fit = study.estimate(panel, question, design="callaway_santanna", method="reg")
print(fit.headline.tidy().round(3))
print("Smallest effect found with 80% power:", fit.headline.minimum_detectable_effect().round(3)[0])

# %% [markdown]
# The path by years since adoption, with its simultaneous band, and the joint test of the years before.

# %%
path = fit.aggregate("event")
print(path.band(draws=999).round(2))
print(path.test(path.pre))
figure = fit.plot()

# %% [markdown]
# Another design is another word. What a design cannot answer it refuses in one line.

# %%
plain = question.but(covariates=())
for name in ("callaway_santanna", "event_study", "twfe"):
    row = study.estimate(panel, plain, design=name).headline.tidy().iloc[0]
    print(f"{name:20s} {row.estimate:6.3f} ({row.std_error:.3f})")

try:
    study.estimate(panel, plain.but(comparison="never_treated"), design="twfe")
except study.QuestionError as refusal:
    print(refusal)

# %% [markdown]
# Do designs agree? Their influence functions give the joint distribution of their differences. Designs that are the
# same on this sample are told and not tested; static coefficients are no averages and are left out.

# %%
names = ["callaway_santanna", "sun_abraham", "imputation", "etwfe", "lp_did", "event_study", "twfe"]
compared = study.compare(panel, plain, designs=names)
print(compared.tidy()[["design", "estimate", "std_error", "compared"]].to_string(index=False))
print(compared.tests().T)
print("\n".join(compared.notes))

# %% [markdown]
# **What speaks against it?** A diagnostic answers with sentences, a table and a figure: would the test for pre-trends
# have seen a trend that matters, how large a violation of parallel trends overturns the result, and does a field
# move that needs few accelerators? `study diagnose` puts all of them on one page.

# %%
logs = question.but(scale="log1p")
fit = study.estimate(panel, logs, design="callaway_santanna", method="reg")
print(study.diagnostics.pretrends(fit).sentences[1])
honest = study.diagnostics.honest_did(fit)
print(*honest.sentences[:2], sep="\n")
figure = honest.plot()
robotics = {"robotics papers": (study.load_panel("robotics"), "papers")}
placebo = study.diagnostics.placebo_outcomes(panel, logs, robotics, "callaway_santanna", method="reg")
print(
    placebo.tidy()[["outcome", "estimate", "conf_low", "conf_high", "p_value"]]
    .round(3)
    .to_string(index=False)
)

# %% [markdown]
# Standard errors are results too: the same interval by several ways of inference, and the randomization test.

# %%
shown = ["inference", "estimate", "std_error", "conf_low", "conf_high", "p_value"]
plain_logs = logs.but(covariates=()).sample(panel)
table = study.diagnostics.uncertainty(plain_logs, "event_study", permutations=99).tidy()
print(table[shown].round(3).to_string(index=False))
