"""One's own panel through the commands: validated, given a plan, estimated, diagnosed and run."""

from __future__ import annotations

import io
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from command_line import command

import study
from study.commands import cli
from study.commands.options import OfColumns, build_of, plan_of
from study.core import QuestionError
from study.heterogeneity.page import Report
from study.paper import plan_from, read_plan, run
from study.paper.diagnose import Verdict, answered, assumptions, conclusion
from study.paper.exhibits.designs import designs
from study.paper.exhibits.exhibit import Setting

ROLES = ("--unit", "lab", "--time", "month", "--outcome", "papers", "--period", "month", "--never", "none")
DATED = (*ROLES, "--first-treated", "entry")
QUICK = {"band_draws = 9999": "band_draws = 99", "permutations = 999": "permutations = 9"}


def quick(text: str) -> str:
    """Return a plan with few draws and permutations."""
    for given, less in QUICK.items():
        assert given in text
        text = text.replace(given, less)
    return text


def of_design(text: str, name: str) -> str:
    """Return a plan with one of its designs alone."""
    head, *designs = re.split(r"(?=\[\[designs\]\]|\[inference\])", text)
    kept = [part for part in designs if f'name = "{name}"' in part or part.startswith("[inference]")]
    return re.sub(r'^headline = "\w+"', f'headline = "{name}"', "".join([head, *kept]), flags=re.M)


@pytest.fixture
def own(tmp_path):
    """Write a panel of months, with labels of months for dates and "none" for never."""
    draws, n, months = (
        np.random.default_rng(5),
        60,
        pd.period_range("2019-08", periods=8, freq="M").astype(str),
    )
    since = np.repeat(np.resize([3, 5, 99], n), 8)
    data = pd.DataFrame({"lab": np.repeat([f"lab {i}" for i in range(n)], 8), "month": np.tile(months, n)})
    data["papers"] = draws.poisson(6 + 2 * (np.tile(np.arange(8), n) >= since))
    data["entry"] = [months[k] if k < 8 else "none" for k in since]
    data["field"] = np.repeat(np.resize(["vision", "robots"], n), 8)
    data.to_stata(tmp_path / "my.dta", write_index=False)
    return tmp_path


def test_validate_prints_the_profile_of_any_file(own):
    done = command("validate", "my.dta", *DATED, cwd=own)
    assert done.returncode == 0, done.stderr
    assert "The file is fit to use: 60 units, periods 2019-08 to 2020-03." in done.stdout
    assert "Cohorts (first treated, units): 2019-11 20, 2020-01 20, never 20." in done.stdout
    assert "Not dml_iv, iv: the question has no instrument.\n" in done.stdout


def test_validate_says_how_a_word_for_never_is_read(own):
    pd.read_stata(own / "my.dta").replace("none", "nie").to_csv(own / "my.csv", index=False)
    done = command("validate", "my.csv", *DATED, cwd=own)
    assert "or empty for never, or the one word or number for it that --never names; 160 lines" in done.stdout


def test_columns_are_named_with_commas(own):
    roles = (*ROLES[:4], "--outcome", "papers,late", "--attribute", "field,lab", *ROLES[6:])
    data = pd.read_stata(own / "my.dta")
    data.assign(late=data["papers"] + 1).to_csv(own / "two.csv", index=False)
    done = command("validate", "two.csv", *roles, "--first-treated", "entry", cwd=own)
    assert done.returncode == 0, done.stderr
    assert "  late: outcome\n  field: attribute\n" in done.stdout


def test_estimate_takes_any_file_period_and_never(own):
    done = command("estimate", "--panel", "my.dta", *ROLES, "--event", "entry", cwd=own)
    assert done.returncode == 0, done.stderr
    assert "40 treated in 2 cohorts" in done.stdout


def test_texts_and_tables_call_the_clusters_by_the_unit_column_of_a_file(own):
    asked = ("--panel", "my.dta", *ROLES, "--event", "entry")
    one = command("estimate", *asked, cwd=own)
    assert "jackknife standard errors by lab, " in one.stdout
    table = command("estimate", *asked, "--format", "md", cwd=own)
    assert "480 observations; 60 clusters, by lab; standard errors" in table.stdout
    two = command("compare", *asked, "--design", "twfe,imputation", "--draws", "9", cwd=own)
    assert "standard errors by lab." in " ".join(two.stdout.split())


def test_errors_of_independent_observations_have_no_clusters(own):
    study_of = ("--panel", "my.dta", *ROLES, "--event", "entry", "--design", "panel_ols")
    done = command("estimate", *study_of, "--vcov", "robust", cwd=own)
    assert "robust standard errors\n" in done.stdout


def test_init_writes_a_plan_that_run_and_check_take(own):
    done = command("init", "my.dta", *DATED, "--attribute", "field", cwd=own)
    assert done.returncode == 0, done.stderr
    plan = own / "study.toml"
    text = quick(plan.read_text()).replace('label = "entry"', 'label = "entry #1"')
    plan.write_text(text.replace("horizon = 4", "horizon = 6"))
    assert read_plan(plan).strata is None  # the first label that a file has does not make events exchangeable
    done = command("run", "--plan", "study.toml", "--jobs", "1", cwd=own)
    assert done.returncode == 0, done.stderr
    assert "| 2019-11 | 20 |" in (own / "tables/sample.md").read_text()
    # The first are treated in the fourth of eight months.
    effects = (own / "tables/entry-1.md").read_text()
    assert (own / "figures/entry-1_level.pdf").exists()  # by a name that LaTeX takes
    assert "Average over event times 0 to 4; " in effects
    assert "clustered by lab " in effects
    assert command("check", "--plan", "study.toml", "--jobs", "1", cwd=own).returncode == 0
    again = command("init", "my.dta", *DATED, cwd=own)
    assert again.returncode == 2
    assert "study.toml: it is there already; name another file with --output." in again.stderr


def test_a_plan_s_wrong_column_is_told_of_in_its_own_words(own):
    command("init", "my.dta", *DATED, cwd=own)
    plan, text = own / "study.toml", (own / "study.toml").read_text()
    for key, wrong, said in (
        ('unit = "lab"', 'unit = "labo"', "Name the unit column with unit in the plan's table of the panel."),
        ('period = "month"', 'period = "week"', "must be a date in a certain week"),
    ):
        assert key in text
        plan.write_text(text.replace(key, wrong))
        done = command("run", "--plan", "study.toml", "--jobs", "1", cwd=own)
        assert done.returncode == 2
        assert said in done.stderr
        assert "--" not in done.stderr


def test_the_sample_of_a_treatment_that_ends_counts_who_is_treated_and_no_dates(own):
    data = pd.read_stata(own / "my.dta")
    started = (data["month"] >= data["entry"]) & (data["entry"] != "none")
    data["on"] = (started & (data["month"] < "2020-03")).astype(int)
    data.to_csv(own / "ends.csv", index=False)
    done = command("init", "ends.csv", *ROLES, "--first-treated", "entry", "--treatment", "on", cwd=own)
    assert done.returncode == 0, done.stderr
    plan = own / "study.toml"
    plan.write_text(quick(plan.read_text()).replace('["sample", "designs"]', '["sample"]'))
    done = command("run", "--plan", "study.toml", "--jobs", "1", cwd=own)
    assert done.returncode == 0, done.stderr
    rows = (own / "tables/sample.md").read_text().splitlines()
    assert "| of which first treated in 2019-09 to 2020-03 | 40 |  |" in rows
    assert "| of which treated in some period |  | 40 |" in rows
    assert "| 2019-11 | 20 |  |" in rows


def test_a_plan_without_attributes_permutes_among_all_units_and_refuses_exhibits_within_strata(own):
    command("init", "my.dta", *DATED, cwd=own)
    content = tomllib.loads((own / "study.toml").read_text())
    plan = plan_from(content, "study.toml", own)
    assert plan.strata is None
    with pytest.raises(QuestionError, match='the exhibit "raw_means" is made within strata of units'):
        run.load(plan_from(content | {"exhibits": ["raw_means"]}, "study.toml", own))


def test_events_of_like_names_have_labels_of_their_own_and_any_column_may_be_named(own):
    data = pd.read_stata(own / "my.dta").rename(columns={"entry": "an entry", "field": "a\x7ffield"})
    named = ["an entry", "an-entry-2", "an-entry"]
    data.assign(**dict.fromkeys(named[1:], data["an entry"])).to_csv(own / "several.csv", index=False)
    done = command("init", "several.csv", *ROLES, "--first-treated", ",".join(named), cwd=own)
    assert done.returncode == 0, done.stderr
    text = (own / "study.toml").read_text()
    labels = [event["label"] for event in tomllib.loads(text)["events"]]
    assert labels == ["an-entry", "an-entry-2", "an-entry-3"]
    read_plan(own / "study.toml")
    assert '# "a\\u007ffield"' in text


def test_events_have_labels_that_tables_and_addresses_of_the_run_leave_free(own):
    data = pd.read_stata(own / "my.dta")
    named = ["sample", "Entry", "early"]
    data = data.assign(sample=data["entry"], Entry=data["entry"], early="2018-01", late=data["papers"])
    data.to_csv(own / "several.csv", index=False)
    roles = (*ROLES[:4], "--outcome", "papers,late", *ROLES[6:])
    done = command("init", "several.csv", *roles, "--first-treated", ",".join(["entry", *named]), cwd=own)
    assert done.returncode == 0, done.stderr
    plan = own / "study.toml"
    text = plan.read_text()
    assert [event["label"] for event in tomllib.loads(text)["events"]] == ["entry", "sample-2", "Entry-2"]
    assert 'study validate says why:\n# "early"\n' in text
    assert tomllib.loads(text)["text"]["outcome"] == "the outcome"  # captions are of both
    run.load(read_plan(plan))
    plan.write_text(text.replace('label = "sample-2"', 'label = "sample"'))
    with pytest.raises(QuestionError, match='event label "sample" is the name of an exhibit'):
        run.load(read_plan(plan))


def test_definitions_side_by_side_say_over_which_event_times_each_is_averaged(own):
    data = pd.read_stata(own / "my.dta")
    later = data["entry"].replace({"2019-11": "2020-02", "2020-01": "none"})
    data.assign(late=later, papers=data["papers"] * 1e-6).to_csv(own / "both.csv", index=False)
    done = command("init", "both.csv", *ROLES, "--first-treated", "entry,late", cwd=own)
    assert done.returncode == 0, done.stderr
    plan = own / "study.toml"
    exhibits = 'exhibits = ["designs"]\ndefinitions = ["entry", "late"]'
    plan.write_text(quick(plan.read_text()).replace('exhibits = ["sample", "designs"]', exhibits))
    done = command("run", "--plan", "study.toml", "--jobs", "1", cwd=own)
    assert done.returncode == 0, done.stderr
    assert (
        "Average over event times 0 to 4 (late: event times 0 to 1); "
        in (own / "tables/entry.md").read_text()
    )
    power = (own / "tables/entry-power.md").read_text()
    assert "| Counterfactual mean, papers | 0.00000" in power
    assert "0.00 |" not in power


def test_an_event_that_is_called_unit_keeps_its_name_in_a_table(own):
    pd.read_stata(own / "my.dta").rename(columns={"entry": "unit"}).to_csv(own / "unit.csv", index=False)
    asked = ("--panel", "unit.csv", *ROLES, "--event", "unit", "--designs", "twfe", "--format", "txt")
    done = command("table", *asked, cwd=own)
    assert done.stdout.startswith("Effect of unit on papers, by design\n"), done.stderr


def test_a_name_with_a_line_break_writes_no_line_of_the_plan(own):
    name = "labs\nseed = 7 #.csv"
    pd.read_stata(own / "my.dta").to_csv(own / name, index=False)
    done = command("init", name, *DATED, cwd=own)
    assert done.returncode == 0, done.stderr
    plan = read_plan(own / "study.toml")
    assert (plan.seed, plan.panel["file"]) == (1, str(own / name))


def test_diagnose_and_heterogeneity_take_a_panel_alone(own, monkeypatch):
    written = OfColumns.plan_text
    monkeypatch.setattr(OfColumns, "plan_text", lambda *asked: quick(written(*asked)))
    for found in (Verdict, Report):  # whose figures are drawn in tests of their own
        monkeypatch.setattr(found, "files", lambda self: {})
    done = command(
        "diagnose",
        "--panel",
        "my.dta",
        *DATED,
        "--design",
        "twfe",
        "--output",
        "said",
        "--jobs",
        "1",
        cwd=own,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Question: the effect of entry on papers (level)")
    assert (own / "said/verdict.txt").is_file()
    learnt = ("--learner", "linear", "--repetitions", "1", "--jobs", "1", "--output", "who")
    done = command("heterogeneity", "--panel", "my.dta", *DATED, "--attribute", "field", *learnt, cwd=own)
    assert done.returncode == 0, done.stderr
    assert "papers in 2019-08" in done.stdout


def test_a_column_that_is_named_as_a_covariate_is_controlled_for_as_by_estimate(own):
    data = pd.read_stata(own / "my.dta")
    size = data["lab"].str[4:].astype(int) % 7 + data["papers"] / 5
    data.assign(size=size.groupby(data["lab"]).transform("first")).to_csv(own / "my.csv", index=False)
    told = " ".join(command("validate", "my.csv", *DATED, "--covariate", "size", cwd=own).stdout.split())
    assert "Designs that can answer, given size: callaway_santanna, dml_did, " in told
    assert "lp_did, stacked, synthetic_did: it cannot answer a question with covariates. " in told
    made = command("init", "my.csv", *DATED, "--covariate", "size", cwd=own)
    assert made.returncode == 0, made.stderr
    plan = read_plan(own / "study.toml")
    assert plan.question["covariates"] == ("size",)
    lacking = "# Not lp_did: it cannot answer a question with covariates\n# Not twfe: size is explained by "
    assert lacking in (own / "study.toml").read_text()
    panel, asked = run.load(plan), plan.ask("entry").question
    assert plan.headline.name == "callaway_santanna"
    of = [
        study.estimate(panel, asked.replace(covariates=names), "callaway_santanna").headline.effect[0]
        for names in (asked.covariates, ("size",), ())
    ]
    assert of[0] == of[1] != of[2]
    (own / "study.toml").write_text(
        quick((own / "study.toml").read_text()).replace(
            "# Not lp_did", "[designs.question]\ncovariates = []\n#"
        )
    )
    plan = read_plan(own / "study.toml")
    (table,) = designs(Setting(plan, panel, run.run(plan, panel, jobs=1))).tables
    assert f"Covariates: size; none in {plan.rows[-1].label}." in table.notes
    asked = ("--panel", "my.csv", *ROLES, "--event", "entry", "--covariate", "size")
    done = command("estimate", *asked, cwd=own)
    assert "scale level, given size\n" in done.stdout
    assert "scale level, given size. 60 units" in command(
        "estimate", *asked, "--latex", cwd=own
    ).stdout.replace("\n", " ")


def test_weights_of_units_are_named_wherever_what_was_asked_is(own):
    data = pd.read_stata(own / "my.dta")
    heavy = data.assign(heavy=data["lab"].str[4:].astype(int) % 3 + 1)
    panel = study.Panel.from_long(
        heavy, unit="lab", time="month", first_treated="entry", never="none", period="month",
        outcomes="papers", covariates="heavy",
    )  # fmt: skip
    question = study.Question("papers", "entry", weights="heavy")
    fits = [study.estimate(panel, question.replace(weights=w), "twfe") for w in ("heavy", None)]
    assert "scale level, units weighted by heavy\n" in str(fits[0])
    assert "weighted" not in str(fits[1])
    for fit in fits:
        cells = [line.cells for line in study.table([fit]).lines if line.label == "Weights"]
        assert cells == ([["heavy"]] if fit is fits[0] else [])
    heavy.to_csv(own / "my.csv", index=False)
    assert command("init", "my.csv", *DATED, "--covariate", "heavy", cwd=own).returncode == 0
    text = quick((own / "study.toml").read_text()).replace(
        'covariates = ["heavy"]\nav', 'weights = "heavy"\nav'
    )
    (own / "study.toml").write_text(text)
    plan = read_plan(own / "study.toml")
    read = run.load(plan)
    (table,) = designs(Setting(plan, read, run.run(plan, read, jobs=1))).tables
    assert "Weights: heavy." in table.notes
    verdict = answered(plan, plan.ask("entry"), read, {})
    assert "the outcome itself, units weighted by heavy; " in assumptions(verdict)[-1]


def test_captions_of_several_outcomes_say_what_they_are_about(own):
    data = pd.read_stata(own / "my.dta")
    data.assign(cites=data["papers"] * 3).to_csv(own / "two.csv", index=False)
    roles = (*ROLES[:4], "--outcome", "papers,cites", *ROLES[6:], "--first-treated", "entry")
    assert command("init", "two.csv", *roles, cwd=own).returncode == 0
    plan = read_plan(own / "study.toml")
    text = plan.text
    assert (text.unit, text.outcome, text.sample_notes) == ("lab", "the outcome", ("Outcome: papers.",))
    for title, words in {"GDP per head": "GDP per head", "Papers of NATO": "papers of NATO"}.items():
        about = Setting(replace(plan, outcomes={"papers": title}), None, {})
        assert about.outcome_in_words == words


def test_covariates_may_be_labels_in_the_commands_that_read_a_file_for_a_plan(own):
    done = command("validate", "my.dta", *DATED, "--covariate", "field", cwd=own)
    assert done.returncode == 0, done.stdout
    assert "  field: covariate\n" in done.stdout
    assert command("init", "my.dta", *DATED, "--covariate", "field", cwd=own).returncode == 0
    plan = read_plan(own / "study.toml")
    assert plan.ask("entry").question.sample(run.load(plan)).x_baseline.shape == (60, 1)
    data = pd.read_stata(own / "my.dta")
    data.loc[0, "field"] = "mathematics"
    data.to_csv(own / "moved.csv", index=False)
    done = command("validate", "moved.csv", *DATED, "--covariate", "field", cwd=own)
    assert (done.returncode, "field must be the same in all rows of a unit" in done.stdout) == (1, True), (
        done.stdout
    )


def test_a_plan_of_several_outcomes_calls_none_of_them_by_the_first_one_s_name(own):
    data = pd.read_stata(own / "my.dta")
    data.assign(logs=np.log1p(data["papers"])).to_csv(own / "my.csv", index=False)
    done = command("init", "my.csv", *DATED, "--outcome", "logs", cwd=own)
    assert done.returncode == 0, done.stderr
    plan = read_plan(own / "study.toml")
    assert [*plan.outcomes] == ["papers", "logs"]
    said = answered(plan, plan.ask("entry/logs"), run.load(plan), {})
    assert "in units of outcome (percent" in next(conclusion(said))


def test_columns_without_a_panel_and_a_panel_that_is_not_fit_are_one_line(own):
    done = command("run", "--panel", "my.dta", *DATED, "--plan", "mine.toml", cwd=own)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--plan mine.toml goes without a file of your own" in done.stderr
    done = command("diagnose", "--unit", "lab", cwd=own)
    assert (done.returncode, done.stderr) == (
        2,
        "study: options about columns go with --panel; a plan names its own.\n",
    )
    done = command("init", "my.dta", *ROLES[:6], "--first-treated", "entry", "--period", "quarter", cwd=own)
    assert done.returncode == 2
    assert (
        'lab must not have a period twice; 480 lines break this rule: line 1 (lab 0, 2019-08): "lab 0". '
        in done.stderr
    )
    assert len(done.stderr.splitlines()) == 1


def test_init_writes_no_plan_of_outcomes_that_a_run_would_refuse(own):
    data = pd.read_stata(own / "my.dta")
    data.assign(Papers=2 * data["papers"]).to_csv(own / "case.csv", index=False)
    done = command("init", "case.csv", *DATED, "--outcome", "Papers", cwd=own)
    assert done.returncode == 2
    told = 'case.csv: results of the outcomes "papers" and "Papers" would have the same address, papers; rename one.'
    assert told in done.stderr
    assert not (own / "study.toml").exists()


def test_a_run_of_a_panel_leaves_a_plan_that_somebody_has_edited(own, monkeypatch):
    edited = own / "out/study.toml"
    edited.parent.mkdir()
    edited.write_text("# mine\n")
    done = command("run", "--panel", "my.dta", *DATED, "--output", "out", cwd=own)
    assert done.returncode == 2
    assert "study.toml: it is there already and is not the plan of this panel and its options" in done.stderr
    assert edited.read_text() == "# mine\n"
    assert [*edited.parent.iterdir()] == [edited]
    # Its own plan of last time is no such plan: the run goes on to read the panel.
    text_of = OfColumns.plan_text

    def kept(*given: object) -> str:
        edited.write_text(text_of(*given))
        return edited.read_text()

    monkeypatch.setattr(OfColumns, "plan_text", kept)
    monkeypatch.setattr(run, "load", mock.Mock(side_effect=QuestionError("it is read")))
    assert "it is read" in command("run", "--panel", "my.dta", *DATED, "--output", "out", cwd=own).stderr


def test_all_missing_keys_of_a_plan_are_told_at_once(tmp_path):
    (tmp_path / "study.toml").write_text('headline = "twfe"\n[text]\nunit = "lab"\n[[events]]\nname = "e"\n')
    done = command("run", "--plan", "study.toml", cwd=tmp_path)
    assert done.returncode == 2
    for key in ("[text] units", "[[events]] number 1 label", "panel", "outcomes", "designs", "inference"):
        assert f" {key};" in done.stderr, done.stderr


def test_a_table_of_fields_within_units_is_read_by_its_group_column(tmp_path):
    draws, years = np.random.default_rng(3), np.arange(2010, 2018)
    entry = np.where(np.arange(40) < 20, 2013 + np.arange(40) % 2, np.nan)
    cells = pd.MultiIndex.from_product([range(40), ["ml", "theory"], years], names=["lab", "field", "year"])
    data = cells.to_frame(index=False)
    data["entry"] = entry[data["lab"]]
    data["papers"] = draws.normal(size=len(data)) + (data["field"] == "ml") * (data["year"] >= data["entry"])
    data.to_csv(tmp_path / "fields.csv", index=False)
    question = study.Question("papers", "entry", group="field=ml")
    how = {"unit": "lab", "time": "year", "group": "field", "first_treated": "entry", "outcomes": "papers"}
    fit = study.estimate(study.Panel.from_long(tmp_path / "fields.csv", **how), question, "triple_difference")
    asked = (
        "--panel",
        "fields.csv",
        "--unit",
        "lab",
        "--time",
        "year",
        "--outcome",
        "papers",
        "--event",
        "entry",
    )
    fields = (
        "--group-column",
        "field",
        "--group",
        "field=ml",
        "--design",
        "triple_difference",
        "--format",
        "csv",
    )
    done = command("estimate", *asked, *fields, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = pd.read_csv(io.StringIO(done.stdout)).iloc[0]
    assert told["estimate"] == pytest.approx(fit.headline.effect[0], rel=1e-6)
    assert told["std_error"] == pytest.approx(fit.headline.std_error[0], rel=1e-6)


def test_the_page_of_one_design_calls_the_event_by_its_column_and_says_at_what_level_intervals_are(own):
    pd.read_stata(own / "my.dta").rename(columns={"papers": "my papers"}).to_csv(own / "my.csv", index=False)
    roles = ["my papers" if each == "papers" else each for each in DATED]
    assert command("init", "my.csv", *roles, cwd=own).returncode == 0
    plan = own / "study.toml"
    head, *designs = quick(plan.read_text()).partition("[[designs]]")
    first, rest = designs[1].split("[[designs]]")[0], designs[1].partition("[inference]")
    plan.write_text(f"{head}[[designs]]{first.partition('[inference]')[0]}{''.join(rest[1:])}")
    done = command("run", "--plan", "study.toml", "--jobs", "1", cwd=own)
    assert done.returncode == 0, done.stderr
    page = (own / "build/report.html").read_text()
    assert "Effects of entry by event time, Group-time ATT (Callaway and Sant&#39;Anna). " in page
    assert "Lines are pointwise intervals at 95%, bars simultaneous bands.</figcaption>" in page
    assert "The sample: units by treatment, and first treatment by month" in page
    assert "Its minimum detectable effect is" in page
    assert "Over 1 designs" not in page
    assert "of them, those whose outcome is zero in every month" in page
    assert "study table &#39;entry/my papers/level&#39;" in page
    assert "is named to them by <code>--plan</code>" in page


def test_dates_that_are_named_as_a_treatment_of_0_and_1_lead_to_the_option_for_dates(own):
    data = pd.read_stata(own / "my.dta")
    data.assign(entry=np.where(data["entry"] == "none", 0, 2019)).to_csv(own / "years.csv", index=False)
    done = command("validate", "years.csv", *ROLES[:8], "--treatment", "entry", cwd=own)
    assert done.returncode == 1
    assert "\nA column of first treated periods is named by --first-treated.\n" in done.stdout


@pytest.fixture
def planned(own):
    """Write a plan of one coefficient, whose text cites numbers that there are and one that there is not."""
    assert command("init", "my.dta", *DATED, cwd=own).returncode == 0
    (own / "study.toml").write_text(quick(of_design((own / "study.toml").read_text(), "twfe")))
    cited = "plan/window_last", "entry/sample/n_units", "entry/sample/units"
    (own / "main.tex").write_text("\n".join(f"\\result{{{at}}} is so." for at in cited))
    return own


def test_a_run_is_written_beside_its_plan_and_fails_where_a_text_cites_what_there_is_not(planned, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def asked(*words):
        return command(*words, "--plan", "../study.toml", cwd=elsewhere)

    ran = asked("run", "--jobs", "1")
    assert ran.returncode == 1
    assert (
        "study: main.tex, line 3: there is no result entry/sample/units; near are entry/sample/" in ran.stderr
    )
    assert (planned / "build/report.html").is_file()
    assert not [*elsewhere.iterdir()]
    assert (planned / "tables/entry.md").is_file()
    assert not [*planned.glob("figures/entry*")]  # the design has no effects by event time
    traced = asked("trace", "plan/window_last")
    assert (traced.returncode, traced.stderr) == (0, "")
    assert "What it is: months after the event that figures show" in traced.stdout
    data = pd.read_stata(planned / "my.dta")
    data.assign(papers=data["papers"] + 1).to_stata(planned / "my.dta", write_index=False)
    for words in (["trace", "entry/sample/n_units"], ["trace"]):
        traced = asked(*words)
        assert traced.returncode == 1
        assert "60" in traced.stdout
        assert "study: my.dta changed since the numbers were made; make them anew: study run" in traced.stderr


def test_what_a_plan_has_besides_its_paper_is_beside_the_folder_paper_or_the_plan(tmp_path):
    assert build_of(None) == build_of(plan_of()) == Path("build")
    assert build_of(tmp_path / "mine/study.toml") == tmp_path / "mine/build"
    assert build_of(tmp_path / "paper/study.toml") == tmp_path / "build"


def test_files_of_an_earlier_question_stay_only_in_a_folder_that_is_named(tmp_path):
    for name, output in {"usual": None, "named": tmp_path / "named"}.items():
        for file in ("groups_size.csv", "groups_region.csv"):
            cli._write(output, tmp_path / "usual", {file: b"", "page.txt": b""}, "", "figures")
        left = {path.name for path in (tmp_path / name).iterdir()}
        assert left - {"groups_region.csv", "page.txt"} == ({"groups_size.csv"} if output else set())
