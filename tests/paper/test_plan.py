"""Plans: what is misspelt or is not what it must be is one line that says so, before any work."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from pathlib import Path

import pytest
from plans import PLAN, ROOT

from study import Panel, QuestionError
from study.core.errors import DataError, StudyError
from study.paper import plan_keys
from study.paper import run as running
from study.paper.exhibits.exhibit import Setting
from study.paper.exhibits.heterogeneity import heterogeneity
from study.paper.exhibits.specifications import specifications
from study.paper.plan import Event, read_plan

FURTHER = 'label = "f"\nevent = "first_treated"\nasks = "A"'
TOP = "seed = 3"
END = "window = [-3, 4]"
FAMILY = 'name = "first_treated"\ntitle = "F"\nshort = "F"'


def load(folder: Path, old: str, new: str) -> Panel:
    assert PLAN.count(old) >= 1
    path = folder / "study.toml"
    path.write_text(PLAN.replace(old, new, 1))
    return running.load(read_plan(path))


def more(old: str, added: str) -> tuple[str, str]:
    return old, f"{old}\n{added}"


def diagnose(line: str) -> tuple[str, str]:
    return more(END, f"[diagnose]\n{line}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            more(TOP, 'exhibts = ["sample"]'),
            'study.toml: there is no key "exhibts". Did you mean "exhibits"?',
        ),
        (
            more('label = "CS"', 'option = { method = "reg" }'),
            '[[designs]] number 1: there is no key "option". Did you mean "options"?',
        ),
        (more('label = "sim1"', 'grupo = "A"'), '[[events]] number 1: there is no key "grupo"'),
        (
            more(END, f'[[families]]\n{FAMILY}\nlabel = "f"\nthreats = "A"'),
            '[[families]] number 1: there is no key "threats". Did you mean "threat"?',
        ),
        (more("level = 0.9", "draws = 9"), '[inference]: there is no key "draws"'),
        (more(END, "windows = [-3, 4]"), '[figure]: there is no key "windows". Did you mean "window"?'),
        (
            diagnose('neighbors = "cluster"'),
            '[diagnose]: there is no key "neighbors". Did you mean "neighbours"?',
        ),
        (
            more('unit = "unit"', 'treatments = "x"'),
            '[panel]: there is no key "treatments". Did you mean "treatment"? Known: ambiguous, attributes',
        ),
        (more('outcomes_with_units = "Counts a year"', 'note = "x"'), '[text]: there is no key "note"'),
        (
            diagnose('placebos.a = { file = "a.csv", time = "year" }'),
            "2 keys are missing: [diagnose.placebos.a] unit; [diagnose.placebos.a] outcomes; add them.",
        ),
        (more(TOP, "venues = { A = 3 }"), "[venues]: A is 3; it must be the name of a panel or a table"),
    ],
)
def test_a_key_that_a_plan_does_not_have_is_refused(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    with pytest.raises(QuestionError, match=re.escape(message)) as error:
        load(tmp_path, *change)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("permutations = 19", 'permutations = "49"'),
            "[inference]: permutations is '49'; it must be a whole number",
        ),
        (
            ("permutations = 19", "permutations = -1"),
            "permutations is -1; it must be a whole number, 0 or more",
        ),
        (("band_draws = 199", "band_draws = 0"), "band_draws is 0; it must be a whole number, 1 or more"),
        (("seed = 3", 'seed = "one"'), "study.toml: seed is 'one'; it must be a whole number, 0 or more"),
        (("seed = 3", "seed = true"), "seed is True; it must be a whole number"),
        (("level = 0.9", "level = 95"), "level is 95; it must be a number between 0 and 1"),
        (("[-3, 4]", "[-3]"), "window is [-3]; it must be two event times"),
        (("[-3, 4]", '"abc"'), "window is 'abc'; it must be two event times"),
        (("[-3, 4]", "[3, -3]"), "window is [3, -3]; it must be two event times"),
        (("[-3, 4]", "[2, 3]"), "window is [2, 3]; it must be two event times"),
        (more(TOP, "exhibits = [1]"), "exhibits is [1]; it must be a list of texts"),
        (more(TOP, 'exhibits = "sample"'), "exhibits is 'sample'; it must be a list of texts"),
        (more(TOP, 'exhibits = ["samples"]'), 'there is no exhibit "samples". Did you mean "sample"?'),
        (
            ('count = "A_count"', "count = 3"),
            "outcomes is {'count': 3}; it must be a table of one or more texts",
        ),
        (
            ('label = "sim1"', 'label = ""'),
            "[[events]] number 1: label is ''; it must be a text that is not empty",
        ),
        (
            ('label = "sim1"', 'label = "a/b"'),
            "label is 'a/b'; it must be a text that is not empty, without slashes",
        ),
        (('label = "CS"', "label = 3"), "[[designs]] number 1: label is 3; it must be a text"),
        (
            ('covariates = ["x1"]', "covariates = [1]"),
            "[panel]: covariates is [1]; it must be a text or a list",
        ),
        (("horizon = 3", 'covariates = "x1"'), "[question]: covariates is 'x1'; it must be a list of texts"),
        (("horizon = 3", "cluster = 3"), "[question]: cluster is 3; it must be a text"),
        (
            more('label = "CS"', 'question = { scale = "level" }'),
            "number 1, question: scale does not belong here",
        ),
        (diagnose("populations = []"), "populations is []; it must be a list of one or more texts"),
        (diagnose('populations = ["alll"]'), 'there is no population "alll". Did you mean "all"?'),
        (diagnose('placebos = { a = "cvrp" }'), 'there is no panel "cvrp". Did you mean "cvpr"?'),
        (
            more(TOP, 'exhibits = ["fields"]'),
            'the exhibit "fields" is made of the table [fields], which is not there',
        ),
        (more(TOP, 'exhibits = ["families"]'), "is made of the table [[families]], which is not there"),
        (
            more(TOP, 'exhibits = ["composition"]'),
            '"composition" is made of diagnose.eras, which is not there',
        ),
        (more(TOP, 'exhibits = ["known"]'), "is made of the table [[known]], which is not there"),
        (more(TOP, 'exhibits = ["treatments"]'), "is made of the list treatments, which is not there"),
        (
            diagnose("eras = [[5, 3]]"),
            "[diagnose.eras]: number 1 is [5, 3]; it must be two periods of adoption",
        ),
        (diagnose("eras = [5, 3]"), "[diagnose.eras]: number 1 is 5; it must be two periods of adoption"),
        (more(TOP, 'definitions = ["sim"]'), 'there is no event "sim". Did you mean "sim1"?'),
        (
            more(END, '[[known]]\nspecification = "First"\nwritten = "soon"\nknown = "Nothing."'),
            "[[known]] number 1: written is 'soon'; it must be a date such as 2026-11-25, without quotes",
        ),
        (
            more(END, '[[known]]\nspecification = "First"\nwritten = 2026-11-25'),
            "[[known]] number 1: the key 'known' is missing; add it",
        ),
        (
            more(END, '[[known]]\nspecification = "First"\nwritten = 2026-11-25\nknown = "x"\nwhy = "y"'),
            '[[known]] number 1: there is no key "why"',
        ),
        (more(TOP, 'exhibits = ["venues"]'), "is made of the table [venues], which is not there"),
        (more(TOP, 'exhibits = ["further"]'), "is made of the table [[further]], which is not there"),
        (
            more(END, f'[[further]]\n{FURTHER}\nname = "twfee"'),
            'there is no design "twfee". Did you mean "twfe"?',
        ),
        (more(END, f'[[further]]\n{FURTHER}\nname = "twfe"\nevents = "x"'), 'there is no key "events"'),
        (
            more(END, f'[[further]]\n{FURTHER}\nname = "twfe"\noptions = {{ leads = 1 }}'),
            'twfe: there is no option "leads"',
        ),
        (more(END, "[fields]\nlines = 3"), "[fields]: lines is 3; it must be a list"),
        (more(END, "[fields]\nlines = [3]"), "[fields.lines]: number 1 is 3; it must be a table"),
        (more(TOP, "diagnose = 3"), "study.toml: diagnose is 3; it must be a table"),
        (more(END, f'[[families]]\n{FAMILY}\nlabel = "sim1"'), "two events have the same label"),
    ],
)
def test_a_value_that_is_not_what_it_must_be_is_refused(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    with pytest.raises(QuestionError, match=re.escape(message)) as error:
        load(tmp_path, *change)
    assert "\n" not in str(error.value)


def test_an_unknown_exhibit_is_told_of_the_file_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(PLAN.replace(TOP, f'{TOP}\nexhibits = ["bogus"]', 1))
    with pytest.raises(QuestionError, match=r'^own\.toml, exhibits: there is no exhibit "bogus"'):
        running.load(read_plan(path))


def test_a_placebo_whose_file_is_not_there_is_refused(tmp_path: Path) -> None:
    absent = 'placebos.a = { file = "a.csv", unit = "u", time = "t", outcomes = "y" }'
    with pytest.raises(DataError, match=r"a\.csv: there is no such file"):
        load(tmp_path, *diagnose(absent))


def test_a_plan_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not valid TOML"):
        read_plan(tmp_path / "study.toml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (more("horizon = 3", 'missing = "pair"'), 'study.toml, CS: there is no missing "pair"'),
        (('name = "twfe"', 'name = "twfee"'), 'study.toml, designs: there is no design "twfee"'),
    ],
)
def test_a_word_that_a_field_or_the_catalogue_does_not_have_is_placed_in_the_plan(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    with pytest.raises(QuestionError, match=re.escape(message)):
        load(tmp_path, *change)


def test_a_mistake_is_placed_in_the_file_that_the_plan_is_in(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(PLAN)
    plan = read_plan(path)
    with pytest.raises(QuestionError, match=r'^mine\.toml: there is no question "other"'):
        plan.ask("other")
    with pytest.raises(QuestionError, match=r"^mine\.toml, inference\.strata: there is no attribute"):
        replace(plan, strata="other").check(running.load(plan))


def test_a_contrast_that_no_exhibit_reads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QuestionError, match=re.escape('contrast of "sim1" is read of [[families]] alone')):
        load(tmp_path, *more('label = "sim1"', 'contrast = "sim1"'))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            more(END, f'[[families]]\n{FAMILY}\nlabel = "SIM1"'),
            'results of the event labels "sim1" and "SIM1" would have the same address',
        ),
        (('label = "sim1"', 'label = "--"'), 'the event label "--" has no letter and no digit'),
        (diagnose('placebos = { "a-b" = "cvpr", a_b = "cvpr" }'), 'the placebos "a-b" and "a_b"'),
        (more(TOP, 'venues = { ICML = "icml", icml = "icml" }'), 'the venues "ICML" and "icml"'),
    ],
)
def test_numbers_of_the_text_have_addresses_of_their_own(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    with pytest.raises(QuestionError, match=re.escape(message)):
        load(tmp_path, *change)


def test_outcomes_and_designs_whose_numbers_would_have_one_address_are_refused(tmp_path: Path) -> None:
    panel = load(tmp_path, TOP, TOP)
    counted = panel.outcomes["count"]
    panel = replace(panel, outcomes={"papers-1": counted, "papers_1": counted})
    plan = read_plan(tmp_path / "study.toml")
    with pytest.raises(
        QuestionError, match='results of the outcomes "papers-1" and "papers_1" would have the same address'
    ):
        replace(plan, outcomes={"papers-1": "A", "papers_1": "B"}).check(panel)
    labelled = PLAN.replace('label = "CS"', 'label = "C_S"')
    for first, second in (("C_S", "C-S"), ("headline", "Headline")):
        (tmp_path / "study.toml").write_text(labelled.replace('label = "ES"', f'label = "{second}"'))
        with pytest.raises(QuestionError, match=f'"{first}" and "{second}" would have the same address'):
            running.load(read_plan(tmp_path / "study.toml"))


def test_a_plan_is_refused_as_a_whole_where_one_of_its_questions_cannot_be_asked_of_its_panel(
    tmp_path: Path,
) -> None:
    asked = 'label = "ES"\nquestion = { covariates = ["x9"] }'
    with pytest.raises(QuestionError, match='no covariate "x9"'):
        load(tmp_path, 'label = "ES"', asked)


def test_the_keys_of_a_panel_are_the_arguments_that_it_is_made_from() -> None:
    taken = {*inspect.signature(Panel.from_long).parameters} - {"data"} | {"file"}
    assert {*plan_keys.PanelEntry.__annotations__} == taken


def test_a_family_s_own_fields_stand_above_those_of_the_design(tmp_path: Path) -> None:
    of_family = f'[[families]]\n{FAMILY}\nlabel = "f"\nquestion = {{ covariates = [], horizon = 0 }}'
    text = PLAN.replace('label = "CS"', 'label = "CS"\nquestion = { covariates = ["x1"], horizon = 1 }')
    (tmp_path / "study.toml").write_text(text.replace(END, f"{END}\n{of_family}"))
    plan = read_plan(tmp_path / "study.toml")
    cell = next(iter(plan.outcomes)), next(iter(plan.scales)), plan.headline
    asked = [plan.task(event, *cell).question for event in plan.every_event]
    assert [(each.covariates, each.horizon) for each in asked] == [(("x1",), 1), ((), 0)]
    setting = Setting(plan, running.load(plan), {})
    assert [*map(setting.averaged, plan.every_event)] == ["event times 0 to 1", "event time 0 alone"]


def test_a_further_question_is_refused_before_any_work_as_those_of_the_tables_are(tmp_path: Path) -> None:
    asked = f'{END}\n[[further]]\n{FURTHER}\nname = "twfe"\nquestion = {{ cluster = "clutser" }}'
    text = PLAN.replace(END, asked)
    (tmp_path / "study.toml").write_text(text)
    running.load(read_plan(tmp_path / "study.toml"))  # nothing shows it
    (tmp_path / "study.toml").write_text(text.replace(TOP, f'{TOP}\nexhibits = ["further"]', 1))
    with pytest.raises(QuestionError, match='there is no attribute "clutser"'):
        running.load(read_plan(tmp_path / "study.toml"))


def test_the_paper_has_a_plan_without_a_mistake() -> None:
    running.load(read_plan(ROOT / "paper/study.toml"))


@pytest.mark.parametrize("plan", ["absent.toml", "."])
def test_a_plan_that_is_not_there_is_said_to_be_so(tmp_path: Path, plan: str) -> None:
    with pytest.raises(StudyError, match="there is no such plan"):
        read_plan(tmp_path / plan)


def test_exhibits_that_cannot_be_made_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = load(tmp_path, TOP, TOP)
    plan = read_plan(tmp_path / "study.toml")
    shown = heterogeneity(Setting(plan, panel, {}))
    (sentence,) = shown.sentences
    assert sentence.startswith("Not made: heterogeneity: the question has no covariates")
    only = replace(plan, rows=(plan.headline,), populations=("x1>1e9",))
    (sentence,) = specifications(Setting(only, panel, {})).sentences
    assert sentence.startswith("Not made: ")


def test_an_event_whose_title_has_an_article_has_one_in_a_sentence() -> None:
    titles = {
        "the first accelerator": "the first accelerator",
        "first accelerator": "the first accelerator",
        "e": "e",
    }
    assert {title: Event("e", title, "s", "l").called for title in titles} == titles


def test_a_headline_with_an_instrument_has_no_randomization_test(tmp_path: Path) -> None:
    for asked, tested in (("", 19), ('question = {instrument = "x1"}', 0)):
        rows = f'[[designs]]\nname = "iv"\nlabel = "IV"\n{asked}\n[inference]'
        (tmp_path / "study.toml").write_text(PLAN.replace("[inference]", rows))
        plan = read_plan(tmp_path / "study.toml").under("iv")
        assert {task.permutations for task in plan.tasks() if task.row == plan.headline} == {tested}
