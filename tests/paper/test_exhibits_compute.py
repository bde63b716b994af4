"""The exhibits of what treatments measure: machines behind events, and who holds GPUs later."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import simulated
from drawings import drawn_as
from paper_inputs import paper_panel, paper_plan
from plans import PLAN, ROOT

from study import DataError, QuestionError
from study.diagnostics.misclassification import misclassification
from study.figures import dot_figure
from study.panel import Question, shipped
from study.paper import run as running
from study.paper.diagnose import answered
from study.paper.exhibits import gpu_stock, machines, sample, timing, treatments
from study.paper.exhibits.exhibit import Exhibited, Setting, address
from study.paper.exhibits.timing import timed_event
from study.paper.plan import Plan, read_plan

MACHINES = """\
machine,source,university,country,device,owner,partners,evidence,device_1,owner_1,device_2,owner_2
top500:2013-06:28,top500,Purdue University,US,other,own,,,other,own,other,own
top500:2015-06:60,top500,Stanford University,US,gpu,own,,,gpu,own,gpu,own
top500:2015-06:61,top500,Stanford University,US,other,field,,,other,field,other,own
top500:2021-06:9,top500,Linköping University,SE,gpu,national,,,gpu,national,none,national
top500:2019-06:5,top500,Purdue University,US,gpu,own,,,gpu,own,gpu,own
nsf:1,nsf,Purdue University;Yale University,US,gpu,shared,Yale University (2020-01); Rice University,,gpu,shared,,
"""
STOCK = """\
event,n_with,some_with,some_with_low,some_with_high,median_with,median_with_low,median_with_high,n_without,some_without,some_without_low,some_without_high,median_without,median_without_low,median_without_high,above_without,auc,auc_low,auc_high
first_accelerator,26,1,0.87,1,163,68,417,102,0.87,0.79,0.92,11,8,20,0.03,0.88,0.82,0.95
first_cluster_grant,90,0.93,0.86,0.97,22,12,31,38,0.81,0.66,0.91,17,3,32,0.47,0.58,0.47,0.69
first_own_gpu_system,3,1,0.4,1,20,,,125,0.9,0.8,0.95,18,9,25,0.4,0.6,0.5,0.9
first_ccstar,1,1,0.2,1,20,,,127,0.9,0.8,0.95,18,9,25,0.4,,,
"""
HAND = {machines.FILE: MACHINES, gpu_stock.FILE: STOCK}
needs_tables = pytest.mark.skipif(
    not all(shipped(*file).is_file() for file in HAND), reason="the tables are not assembled yet"
)


@pytest.fixture
def by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the tables above in the place of those that ship."""
    for module in (machines, gpu_stock):
        for file, text in HAND.items():
            (tmp_path / file[-1]).write_text(text, encoding="utf-8")
        monkeypatch.setattr(
            module, "shipped", lambda *parts: tmp_path / parts[-1] if parts in HAND else shipped(*parts)
        )
        monkeypatch.setattr(module, "checksum", lambda *parts: parts[-1])


@pytest.fixture(scope="module")
def paper() -> Setting:
    """Return the paper's plan on its panel, with no answers: these exhibits estimate nothing of their own."""
    return Setting(paper_plan(), paper_panel(), {})


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    path = tmp_path_factory.mktemp("plan") / "study.toml"
    path.write_text(PLAN)
    plan = read_plan(path)
    return Setting(plan, running.load(plan), {})


def values_of(shown: Exhibited) -> dict[str, str]:
    return {number.address: number.value for number in shown.numbers}


@pytest.mark.usefixtures("by_hand")
def test_machines_and_their_holders_are_counted_by_device_and_owner(small: Setting) -> None:
    shown = machines.machines(small)
    values = values_of(shown)
    assert (values["machines/gpu/shared/machines"], values["machines/gpu/shared/universities"]) == ("1", "3")
    assert (values["machines/other/own/machines"], values["machines/none/own/machines"]) == ("1", "0")
    assert (values["machines/all/machines"], values["machines/all/universities"]) == ("6", "5")
    assert shown.sentences[0].startswith("3 of 6 machines")
    every, (systems, *_) = shown.tables[0].blocks[0], shown.tables[0].blocks[1].lines
    assert [line.label for line in every.lines] == ["GPUs that train", "Other accelerator"]
    assert [cell.text for cell in every.lines[0].cells] == ["2", "1", "1", "0", "2", "3", "1", "0"]
    assert [cell.text for cell in systems.cells] == ["2", "0", "1", "0", "2", "0", "1", "0"]
    # The machine that one reader alone saw is in no agreement.
    assert (values["machines/device/share"], values["machines/owner/share"]) == ("80.0", "80.0")
    # Cohen's kappa by its definition: agreement beyond that by chance.
    owner = ["own", "own", "field", "national", "own"], ["own", "own", "own", "national", "own"]
    chance = sum(owner[0].count(label) * owner[1].count(label) for label in machines.OWNERS) / 25
    assert values["machines/owner/kappa"] == f"{(4 / 5 - chance) / (1 - chance):.2f}"


@pytest.mark.usefixtures("by_hand")
def test_what_the_first_specified_event_bought_is_read_from_the_machines_of_its_list(paper: Setting) -> None:
    shown = machines.machines(paper)
    values = {
        name: values_of(shown)[f"machines/first_accelerator/{name}"]
        for name in ("treated", "no_gpu", "not_theirs", "usable")
    }
    # Stanford has a GPU of its own beside a one-field machine, Linköping a national one, Purdue none.
    assert values == {"treated": "3", "no_gpu": "1", "not_theirs": "1", "usable": "1"}
    every = pd.read_csv(ROOT / "data/events/top500.csv").query("event == 'first_accelerator'")
    dates = dict(zip(every["university"], every["date"], strict=True))
    assert dates["Purdue University"] == "2013-06"
    assert any("1 had no machine on that list that trains, and 1 host" in s for s in shown.sentences)


@needs_tables
def test_the_shipped_machines_are_those_of_a_plain_count(paper: Setting) -> None:
    shown, every = machines.machines(paper), pd.read_csv(shipped(*machines.FILE), dtype=str).fillna("")
    values = values_of(shown)
    table = pd.crosstab(every["device"], every["owner"])
    for device in machines.DEVICES:
        for owner in machines.OWNERS:
            counted = table[owner].get(device, 0) if owner in table else 0
            assert values[f"machines/{device}/{owner}/machines"] == str(counted)
    event = next(event for event in paper.plan.every_event if event.name == machines.FIRST)
    treated = timed_event(paper.plan, paper.panel, event).counts["n_treated"]
    assert values["machines/first_accelerator/treated"] == str(treated)


@pytest.mark.usefixtures("by_hand")
def test_definitions_whose_interval_has_one_half_in_it_are_named(
    paper: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Setting, "findings_of", lambda *_: [])
    shown = gpu_stock.gpu_stock(paper)
    (verdict,) = shown.sentences
    short = {event.name: event.short for event in paper.plan.every_event}
    assert f"above one half for 1 of 4 definitions of treatment ({short['first_accelerator']})" in verdict
    assert (
        f"for 2 ({short['first_cluster_grant']}; Own GPU system): by this check they are not shown to separate anybody"
        in verdict
    )
    assert short["first_ccstar"] not in verdict
    (table,) = shown.tables
    below = {line.label: under for line, under in pairwise(table.lines) if line.label}
    assert below["Own GPU system"].cells[2] == "–"
    assert below[short["first_cluster_grant"]].cells[-1] == "[0.47, 0.69]"
    assert [line.cells[-1] for line in table.lines[-2:]] == ["–", "–"]
    assert "after treatment" in table.notes[0]
    assert table.latex()
    values = values_of(shown)
    assert values["gpu_stock/first_accelerator/median_with"] == "163"
    assert values["gpu_stock/first_cluster_grant/auc_low"] == "0.47"
    assert values["gpu_stock/first_cluster_grant/above_without"] == "47.0"
    assert {number.source.data for number in shown.numbers} == {"data/gpu_stock.csv"}


@needs_tables
def test_grants_are_distinguished_by_what_was_bought(paper: Setting) -> None:
    values = values_of(machines.machines(paper))
    awards, every = (
        pd.read_csv(ROOT / f"data/{name}.csv", dtype=str).fillna("") for name in ("events/nsf", "machines")
    )
    won = awards[awards["event"] == "first_cluster_grant"].set_index("university")["award_id"]
    event = next(event for event in paper.plan.every_event if event.name == "first_cluster_grant")
    treated = timed_event(paper.plan, paper.panel, event).treated
    devices = every.set_index("machine")["device"]
    bought = [devices[f"nsf:{won[university]}"] for university in treated]
    at = "machines/first_cluster_grant"
    assert values[f"{at}/treated"] == str(len(treated)) == "75"
    assert values[f"{at}/no_gpu"] == str(sum(device != "gpu" for device in bought)) == "26"
    assert values["machines/first_gpu_system/no_gpu"] == "0"
    assert values["machines/first_other_accelerator/no_gpu"] == "21"


@needs_tables
def test_definitions_of_treatment_have_the_numbers_of_the_exhibits_that_they_show(
    paper: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Setting, "findings_of", lambda *_: [])
    (table,) = treatments.treatments(paper).tables
    with drawn_as():  # test_exhibits_data draws the figure
        made = (timing.timing(paper), machines.machines(paper), gpu_stock.gpu_stock(paper))
    values = {at: value for shown in made for at, value in values_of(shown).items()}
    by_label = {event.label: event for event in paper.plan.every_event}
    events = {by_label[label].short: by_label[label] for label in paper.plan.treatments}
    assert [line.label for line in table.lines] == list(events)
    for line in table.lines:
        event = events[line.label]
        at = [address("timing", event.label, name) for name in treatments.COUNTS]
        at += [address("machines", event.name, name) for name in treatments.BOUGHT]
        at += [address("gpu_stock", event.name, "n_with")]
        *cells, separation = line.cells
        assert [cell.text for cell in cells] == [values[each] for each in at]
        auc, low, high = (values[f"gpu_stock/{event.name}/auc{end}"] for end in ("", "_low", "_high"))
        assert separation == f"{auc} [{low}, {high}]"
    totals = {
        int(values[f"gpu_stock/{e.name}/n_with"]) + int(values[f"gpu_stock/{e.name}/n_without"])
        for e in events.values()
    }
    assert totals == {128}
    assert "of 120 or 128 on a third party's list" in table.notes[0]
    # Of the first accelerators 27 are not usable: 12 train nothing and 18 are hosted, and 3 are both.
    first = next(line for line in table.lines if line.label == "First accelerator")
    assert [cell.text for cell in first.cells[4:7]] == ["33", "12", "18"]
    assert "not known" not in " ".join(table.notes)  # there is no dash


@needs_tables
def test_definitions_of_treatment_are_apart_by_whom_they_are_compared_with(paper: Setting) -> None:
    (table,) = treatments.treatments(paper).tables
    (everyone, (_, plain)), (winners, (_, contest)) = ((block.title, block) for block in table.blocks)
    assert everyone == f"All universities of the panel ({paper.panel.n_units})"
    assert winners == "Contest winners alone (233)"
    assert [line.label for line in contest] == ["Cluster grant", "Accelerator cluster grant"]
    assert plain[0].label == paper.event.short
    assert table.headings[0] == "Before 2014"


def test_definitions_whose_machines_nobody_has_read_have_dashes(small: Setting) -> None:
    named = replace(small, plan=replace(small.plan, treatments=(small.event.label,)))
    (table,) = treatments.treatments(named).tables
    assert [line.label for line in table.lines] == [small.event.short]
    assert table.lines[0].cells[len(treatments.COUNTS) :] == ["–"] * 5
    assert table.notes[-1] == "– : not known."
    assert table.latex()
    undated = replace(named, panel=replace(named.panel, first_treated={}, treatment={}))
    assert treatments.treatments(undated) == Exhibited()


def test_the_never_treated_without_a_paper_and_the_ten_largest_are_those_of_a_plain_count(
    paper: Setting,
) -> None:
    panel, event = paper.panel, paper.event
    found = sample.of_outcome(paper, event)
    total = pd.Series(panel.outcomes["papers"].sum(axis=1), index=panel.units)
    dates = pd.Series(panel.first_treated[event.name], index=panel.units)
    assert found["never_treated"] == dates.isna().sum() == 1268
    assert found["without_papers"] == (total[dates.isna()] == 0).sum() == 695
    treated = total[dates.between(2014, 2024)]
    assert found["ten_largest"] == pytest.approx(treated.nlargest(10).sum() / treated.sum())
    # As a reader found for the event as first specified, less the three units that mended matching joined to others.
    specified = sample.of_outcome(paper, next(e for e in paper.plan.events if e.name == machines.FIRST))
    assert (specified["without_papers"], round(100 * specified["ten_largest"])) == (691, 59)


def test_an_outcome_with_negative_totals_has_no_share_of_the_largest_and_is_not_nothing_where_it_cancels(
    small: Setting,
) -> None:
    y = np.zeros_like(small.panel.outcomes["count"])
    y[:, 0], y[:, 1] = 1.0, -1.0
    cancelling = replace(small.panel, outcomes={"count": y.copy()})
    assert sample.of_outcome(replace(small, panel=cancelling), small.event)["without_papers"] == 0
    y[::2, 0] = 10.0
    y[1::2, 0] = 0.0
    mixed = replace(small.panel, outcomes={"count": y})
    assert np.isnan(sample.of_outcome(replace(small, panel=mixed), small.event)["ten_largest"])


def test_an_axis_of_dots_has_its_line_where_intervals_are_read_against() -> None:
    frame = pd.DataFrame({"label": ["a"], "estimate": [0.6], "conf_low": [0.55], "conf_high": [0.7]})
    (axis,) = dot_figure(frame, xlabel="AUC", null=0.5).axes
    assert axis.get_lines()[0].get_xydata()[:, 0].tolist() == [0.5, 0.5]


def test_bounds_are_at_the_shares_of_a_check_too_and_sentences_about_them() -> None:
    sample = Question("y", "event", average="event_average", horizon=2).sample(
        simulated.panel(n=80, seed=1, level=10.0)
    )
    how = {"shares": [0.1], "periods_late": 0}
    plain, checked = (
        misclassification(sample, "callaway_santanna", **how, **more)
        for more in ({}, {"hidden": (0.04, 0.55)})
    )
    frame = checked.tidy().set_index(["kind", "share"])
    pd.testing.assert_frame_equal(
        frame.drop(index=[0.04, 0.55], level="share"), plain.tidy().set_index(["kind", "share"])
    )
    assert plain["checked"] == []
    first, *others = checked["checked"]
    assert first == (
        "Of those never-treated units that a check outside of the panel covers, it finds 4% and 55% treated."
    )
    row, scale = frame.loc["worst case", 0.55], sample.question.effect_scale
    assert any("at most 55%" in s and scale.text(row["low"]) in s for s in others)
    assert set(checked["checked"]) < set(checked.sentences)
    assert sum("4%" in sentence for sentence in others) == 2
    (same,) = (line for line in checked.plot().axes[0].get_lines() if line.get_label() == "same effect")
    assert same.get_xydata()[:, 0].max() == 10
    with pytest.raises(QuestionError, match="each must lie in"):
        misclassification(sample, "callaway_santanna", hidden=(1.0,))


def checked_plan(folder: Path, text: str) -> Plan:
    (folder / "check.csv").write_text(text)
    (folder / "study.toml").write_text(f'{PLAN}[diagnose]\nhidden = "check.csv"\n')
    return read_plan(folder / "study.toml")


HEADING = "event,some_without,above_without,n\n"


@pytest.mark.usefixtures("by_hand")
def test_a_plan_gives_diagnostics_the_shares_of_its_check(tmp_path: Path) -> None:
    plan = checked_plan(tmp_path, f"{HEADING}first_treated,0.4,0.1,8\nanother,0.7,0.6,8\n")
    panel = running.load(plan)
    plan.check(panel)
    known = answered(plan, plan.ask("sim1"), panel, {}).known
    assert known["hidden"] == (0.1, 0.4)
    setting = Setting(plan, panel, {})
    sentences = gpu_stock.gpu_stock(setting).sentences
    assert sum("outside of the panel covers, it finds 10% and 40%" in s for s in sentences) == len(
        plan.scales
    )
    (row, *_) = setting.findings_of(("misclassification",))
    assert {0.1, 0.4} <= set(row.by_name["misclassification"].frame["share"])
    assert checked_plan(tmp_path, f"{HEADING}first_treated,1,0,8\n").hidden_shares(plan.events[0]) == ()
    assert checked_plan(tmp_path, f"{HEADING}first_treated,,0.2,8\n").hidden_shares(plan.events[0]) == (0.2,)
    assert replace(plan, hidden="").hidden_shares(plan.events[0]) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEADING}first_treated,40,0.1,8\n", 'check.csv, line 2: some_without is "40"; it must be a share'),
        ("event,some_without\nfirst_treated,0.4\n", "check.csv, line 1: no column above_without"),
        (f"{HEADING}first_treated,0.4\n", "check.csv, line 2: 2 fields, the heading has 4"),
        (
            f"{HEADING}another,0.4,0.1,8\n",
            'study.toml, diagnose.hidden: check.csv has no row for "first_treated"',
        ),
    ],
)
def test_a_broken_check_is_refused_before_any_work(tmp_path: Path, text: str, message: str) -> None:
    plan = checked_plan(tmp_path, text)
    with pytest.raises(DataError) as refused:
        plan.check(running.load(plan))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@needs_tables
def test_the_shares_of_the_paper_are_those_of_the_table_and_not_typed_in(paper: Setting) -> None:
    assert Path(paper.plan.hidden).samefile(shipped(*gpu_stock.FILE))
    row = pd.read_csv(shipped(*gpu_stock.FILE), index_col="event").loc[paper.event.name]
    assert paper.plan.hidden_shares(paper.event) == tuple(sorted([row["above_without"], row["some_without"]]))
