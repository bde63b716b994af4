"""The paper's files: what they hold, that they are whole, stable and agree with the estimates."""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import PLAN, ROOT, files_of
from tex import assert_compiles_alone, needs_tex

import study
from study.core.errors import OutputError, QuestionError
from study.core.outputs import write_all
from study.core.words import significant
from study.figures import drawing
from study.paper import numbers, record
from study.paper import run as running
from study.paper.exhibits.designs import path_figure
from study.paper.exhibits.exhibit import Setting
from study.paper.numbers import answer_numbers
from study.paper.plan import read_plan
from study.report.compile import compile_paper


@pytest.fixture(scope="module")
def plan_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("plan") / "study.toml"
    path.write_text(PLAN)
    return path


@pytest.fixture(scope="module")
def ran(plan_path):
    plan = read_plan(plan_path)
    panel = running.load(plan)
    results = running.run(plan, panel, jobs=1)
    return plan, panel, results, files_of(plan, panel, results)


def test_every_cell_of_the_table_is_the_design_asked_directly(ran):
    _plan, panel, results, files = ran
    table = files["tables/sim1.tex"].decode()
    for scale in ("proportional", "log1p"):
        question = study.Question("count", "first_treated", scale=scale, average="event_average", horizon=3)
        for design, label in (("callaway_santanna", "CS"), ("event_study", "ES"), ("twfe", "TWFE")):
            fit = study.estimate(panel, question, design).headline
            assert results["sim1", scale, "count", label].headline.estimate == fit.effect[0]
            assert results["sim1", scale, "count", label].headline.std_error == fit.std_error[0]
            factor, digits = (100, 1) if scale == "proportional" else (1, 3)
            marked = rf"{label}\w*†?" if design == "twfe" else label
            assert re.search(rf"{marked} & {factor * fit.effect[0]:.{digits}f} ", table)
            assert f"{{(}}{factor * fit.std_error[0]:.{digits}f}{{)}}" in table


def test_the_same_run_gives_the_same_bytes_for_any_number_of_jobs(ran):
    plan, panel, _, files = ran
    assert files_of(plan, panel, running.run(plan, panel, jobs=2)) == files


def test_an_interrupted_run_goes_on_and_a_damaged_or_foreign_answer_is_found_anew(ran, tmp_path, monkeypatch):
    plan, panel, results, files = ran

    def stop_after_two(description):
        done.append(description)
        if len(done) == 2:
            raise KeyboardInterrupt

    done = []
    with pytest.raises(KeyboardInterrupt):
        running.run(plan, panel, jobs=1, progress=stop_after_two, cache=tmp_path)
    kept = sorted(tmp_path.glob("*.answer"))
    assert len(kept) >= 2
    kept[0].write_bytes(kept[0].read_bytes()[:50])
    asked = []
    real = running.answer
    monkeypatch.setattr(running, "answer", lambda *a: asked.append(1) or real(*a))
    assert files_of(plan, panel, running.run(plan, panel, jobs=1, cache=tmp_path)) == files
    assert len(asked) == len(results) - len(kept) + 1
    asked.clear()
    running.run(
        plan,
        replace(panel, outcomes={**panel.outcomes, "count": panel.outcomes["count"] + 1}),
        jobs=1,
        cache=tmp_path,
    )
    assert len(asked) == len(results)


def test_another_headline_design_moves_the_randomization_test_the_figure_and_the_numbers(ran):
    plan, panel, _, files = ran
    swapped = plan.under("event_study")
    results = running.run(swapped, panel, jobs=1)
    fresh = files_of(swapped, panel, results)
    assert results["sim1", "log1p", "count", "ES"].randomization is not None
    assert results["sim1", "log1p", "count", "CS"].randomization is None
    assert "\nplan/headline,ES," in fresh["every.csv"].decode()
    assert fresh["figures/sim1_log1p.png"] != files["figures/sim1_log1p.png"]


def test_a_headline_without_event_times_leaves_the_figure_to_a_design_that_has_them(ran):
    plan, _panel, _, _files = ran
    swapped = plan.under("twfe")
    assert swapped.figure_row.label == "CS"
    assert swapped.headline.label == "TWFE"


CITED = (
    "plan/headline",
    "plan/level",
    "sim1/sample/n_units",
    "sim1/sample/largest_cohort",
    "sim1/count/log1p/headline/estimate",
    "sim1/count/proportional/headline/mde",
    "sim1/count/log1p/headline/randomization_p",
    "sim1/count/log1p/headline/leads_p_wald",
    "sim1/count/log1p/headline/window_first/estimate",
    "sim1/count/log1p/headline/window_last/band_high",
    "sim1/count/log1p/designs/excluding_zero",
    "sim1/count/log1p/cs/event_time/-3/conf_low",
)


def test_the_numbers_of_answers_are_the_answers_at_their_addresses(ran):
    plan, panel, results, _ = ran
    values = {n.address: n.value for n in answer_numbers(Setting(plan, panel, results), CITED)}
    assert set(values) == set(CITED)
    answers = [results["sim1", "log1p", "count", label] for label in ("CS", "ES", "TWFE")]
    result, headline = answers[0], answers[0].headline
    path = {effect.event_time: effect for effect in result.path}
    signed = {
        address: float(value.replace("\N{MINUS SIGN}", "-"))
        for address, value in values.items()
        if "sim1" in address
    }
    at = "sim1/count/log1p"
    assert values["plan/headline"] == "CS"
    assert values["plan/level"] == "90"
    assert signed["sim1/sample/n_units"] == result.n_units
    assert signed[f"{at}/headline/estimate"] == pytest.approx(headline.estimate, abs=5e-4)
    assert signed[f"{at}/headline/randomization_p"] == pytest.approx(result.randomization.p_value, abs=5e-4)
    assert signed[f"{at}/headline/leads_p_wald"] == pytest.approx(result.pre_test.p_value, abs=5e-4)
    assert signed[f"{at}/headline/window_first/estimate"] == pytest.approx(path[-3].estimate, abs=5e-4)
    assert signed[f"{at}/headline/window_last/band_high"] == pytest.approx(path[4].band_high, abs=5e-4)
    assert signed[f"{at}/cs/event_time/-3/conf_low"] == pytest.approx(path[-3].conf_low, abs=5e-4)
    assert signed[f"{at}/designs/excluding_zero"] == sum(a.headline.excludes_zero for a in answers)
    power = results["sim1", "proportional", "count", "CS"].power.effect
    assert signed["sim1/count/proportional/headline/mde"] == pytest.approx(100 * power, abs=5e-2)


def test_the_text_has_the_same_addresses_under_every_headline_design(ran):
    plan, panel, _, _ = ran
    for design in ("event_study", "twfe"):
        swapped = plan.under(design)
        results = running.run(swapped, panel, jobs=1)
        fresh = {n.address: n.value for n in answer_numbers(Setting(swapped, panel, results), CITED[:-1])}
        assert set(fresh) == set(CITED[:-1])
        assert all(fresh.values())


def test_the_record_reads_back_to_itself_and_a_changed_cell_is_named(ran, tmp_path):
    _, _, results, files = ran
    path = tmp_path / "estimates.csv"
    path.write_bytes(files["estimates.csv"])
    recorded = record.read_record(path)
    fresh = record.record(results)
    assert record.differences(recorded, fresh) == []
    changed = recorded.copy()
    changed.loc[0, "std_error"] *= 1 + 2e-6
    changed.loc[1, "n_obs"] = "7"
    found = record.differences(changed.drop(index=2), fresh)
    assert columns(found) == ["estimate", "std_error", "n_obs"]
    assert "first_treated, count, proportional" in found[1]


def columns(differences):
    """Return the columns that sentences about differences name."""
    return [sentence.split(": ")[-1].split(" is recorded as ")[0] for sentence in differences]


def test_the_record_holds_every_effect_by_event_time_but_the_reference(ran):
    _, panel, results, _ = ran
    table = record.record(results)
    rows = table[(table.label == "CS") & (table.scale == "log1p")]
    question = study.Question("count", "first_treated", scale="log1p", average="event_average", horizon=3)
    path = study.estimate(panel, question).aggregate("event")
    expected = dict(zip(np.array(path.terms)[~path.reference], path.effect[~path.reference], strict=True))
    recorded = dict(zip(rows.term, rows.estimate, strict=True))
    assert [recorded[term] for term in expected] == pytest.approx(list(expected.values()), rel=5e-8)
    assert "event -1" not in recorded
    assert 1 / 20 <= recorded["randomization p-value"] <= 1


def test_a_recorded_number_has_eight_digits_of_the_larger_of_it_and_its_error_a_p_value_of_one(ran):
    rows = pd.read_csv(BytesIO(ran[3]["estimates.csv"]), dtype=str, keep_default_na=False)
    for estimate, error in zip(rows.estimate, rows.std_error, strict=True):
        largest = max(abs(Decimal(estimate)), Decimal(error or "1"))
        last = 10 ** Decimal(largest.adjusted() - 7)
        assert Decimal(estimate) % last == 0, (estimate, error)
        assert len(Decimal(error or "0").normalize().as_tuple().digits) <= 8


@given(st.floats(1e-300, 1e300), st.floats(-1e-13, 1e-13), st.sampled_from([0.0, 1e-3, 1e5, math.nan]))
def test_rounding_moves_a_recorded_number_only_where_it_is_between_two(value, rounding, beside):
    def recorded(number):
        return significant(number, beside=beside * value)

    exact = Fraction(recorded(value))
    step = Fraction(10) ** (Decimal(max(value, 0.0 if math.isnan(beside) else beside * value)).adjusted() - 7)
    assert abs(Fraction(value) - exact) <= step
    assert recorded(recorded(value)) == recorded(value)
    between = abs(abs(Fraction(value) - exact) - step / 2) < Fraction(value) * Fraction(2e-13)
    assert between or recorded(value * (1 + rounding)) == recorded(value)


def test_a_half_is_recorded_as_it_is_meant_whatever_it_was_added_up_to():
    for half in (511 / 512, 509 / 512, 5 * 511 / 512):
        assert len({significant(half * (1 + rounding)) for rounding in (-1e-14, 0.0, 1e-14)}) == 1


def test_the_check_allows_a_p_value_two_draws_and_no_more(ran):
    fresh = record.record(ran[2])
    simulated = fresh.index[fresh.tolerance == "simulated"]
    assert set(fresh.term[simulated]) == {"randomization p-value", "pre-period largest-t p-value"}
    assert set(fresh.draws[simulated]) == {19, 199}
    for draws, expected in ((2, []), (3, ["estimate"] * len(simulated))):
        moved = fresh.copy()
        moved.loc[simulated, "estimate"] += draws / (1 + fresh.draws[simulated].astype(float))
        recorded = as_read(moved)
        assert columns(record.differences(recorded, fresh)) == expected


def as_read(table):
    """Return a record as it is when it has been written and read."""
    with NamedTemporaryFile(suffix=".csv") as file:
        file.write(record.csv_file(table))
        file.flush()
        return record.read_record(Path(file.name))


def test_a_truncated_record_is_one_clear_error(tmp_path):
    path = tmp_path / "estimates.csv"
    path.write_text("event,outcome\na,b\n")
    with pytest.raises(study.DataError, match="column scale is missing"):
        record.read_record(path)
    header = ",".join(record.COLUMNS)
    path.write_text(header + "\n" + ",".join(["a"] * 8 + ["x"] + ["1"] * 8) + "\n")
    with pytest.raises(study.DataError, match='"x" on line 2'):
        record.read_record(path)


def test_files_appear_whole_or_not_at_all(tmp_path):
    (tmp_path / "kept").write_text("old")
    (tmp_path / "folder").write_text("a file where a folder is needed")
    with pytest.raises(OutputError, match="cannot write here"):
        write_all(tmp_path / "folder", {"kept": b"new"})
    write_all(tmp_path, {"kept": b"new", "deep/er": b"x"})
    assert (tmp_path / "kept").read_text() == "new"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep", "folder", "kept"]


def test_a_figure_is_the_same_bytes_when_drawn_again(ran):
    plan, panel, results, files = ran
    answers = Setting(plan, panel, results).answers(plan.events[0], "log1p", plan.figure_row.label)
    for kind in ("pdf", "png"):
        again = drawing.drawn(path_figure(plan, answers, "period"), kind)
        assert again == files[f"figures/sim1_log1p.{kind}"]


@cache
def every_kind_of_mark(rounding: float) -> dict[str, bytes]:
    """Return a figure's files, drawn of numbers that are off by a relative error."""
    numbers = np.random.default_rng(0).normal(size=(12, 12)) * (1 + rounding)
    x, y = np.arange(12), numbers[0]
    with drawing.canvas() as figure:
        left, right = figure.subplots(1, 2)
        left.errorbar(x, y, yerr=np.abs(numbers[1]), fmt="o", label="a")
        left.bar(x, y, bottom=numbers[2])
        right.scatter(x, y, c=drawing.SECOND)
        right.hist(numbers[5])
        right.fill_between(x, y, numbers[3])
        right.axhline(numbers[4, 0])
        figure.legend(loc="outside lower center")
    return drawing.figure_files("marks", figure)


def test_numbers_that_differ_by_rounding_are_drawn_by_the_same_bytes() -> None:
    assert every_kind_of_mark(3e-13) == every_kind_of_mark(0.0) == every_kind_of_mark(-3e-13)


def test_no_coordinate_of_a_figure_has_more_decimals_than_can_be_seen() -> None:
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", every_kind_of_mark(0.0)["marks.pdf"], re.DOTALL)
    drawing = max((zlib.decompress(s) for s in streams if b" cm" in zlib.decompress(s)), key=len).decode()
    placed = re.findall(r"^(.*) (?:m|l|re|cm)\b", drawing, re.MULTILINE)
    assert len(placed) > 200
    assert [line for line in placed if re.search(r"\.\d{3}", line)] == []


def test_an_estimate_draws_one_point_an_event_time_and_the_reference_apart(ran):
    _, panel, _, _ = ran
    figure = study.estimate(panel, study.Question("count", "first_treated")).plot()
    points = figure.axes[0].lines
    times = np.concatenate([line.get_xdata() for line in points if len(line.get_xdata()) > 2])
    assert len(times) == len(set(times)) == 17


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "twfe"', 'name = "twef"', 'Did you mean "twfe"'),
        ('headline = "callaway_santanna"', 'headline = "dml_panel"', "not among the designs"),
        ("seed = 3", "", "'seed' is missing"),
        ("seed = 3", "sead = 3", 'Did you mean "seed"'),
        ("seed = 3", 'seed = 3\ndefinitions = ["sim9"]', 'study.toml, definitions: there is no event "sim9"'),
        ("seed = 3", 'seed = 3\ntreatments = ["sim9"]', 'study.toml, treatments: there is no event "sim9"'),
        ("seed = 3", 'seed = 3\ncontrasts = { All = ["sim9"] }', "study.toml, contrasts: there is no event"),
        ("horizon = 3", "horizn = 3", 'Did you mean "horizon"'),
        ('label = "ES"', 'label = "CS"', "same label"),
        ('strata = "cluster"', 'strata = "clustr"', 'Did you mean "cluster"'),
        ('count = "A_count"', 'cuont = "A_count"', 'Did you mean "count"'),
        ('label = "TWFE"', 'label = "TWFE"\noptions = { binat = 2 }', 'no option "binat"'),
    ],
)
def test_a_plan_with_a_mistake_is_refused_before_any_work(tmp_path, old, new, message):
    assert PLAN.count(old) >= 1
    path = tmp_path / "study.toml"
    path.write_text(PLAN.replace(old, new, 1))
    with pytest.raises(QuestionError, match=re.escape(message)):
        running.load(read_plan(path))


@needs_tex
def test_a_table_with_awkward_names_compiles_alone_without_overfull_boxes(ran, tmp_path):
    write_all(tmp_path, ran[3])
    assert_compiles_alone(tmp_path, rb"\input{tables/sim1}\input{tables/sample}")


def two_documents(folder: Path, *, cites: str = r"\citet{a}") -> Path:
    """Write a paper and its appendix, each of which cites and refers to a table of the other."""
    (folder / "numbers.tex").write_text("")
    (folder / "references.bib").write_text(
        "@article{a, author={Ada B.}, title={C}, journal={D}, year={1850}}"
    )
    for name, other in (("main", "appendix"), ("appendix", "main")):
        body = rf"{cites} and Table~\ref{{tab:{other}}}. \begin{{table}}\caption{{A.}}\label{{tab:{name}}}\end{{table}}"
        (folder / f"{name}.tex").write_text(
            r"\documentclass{article}\usepackage{natbib}\usepackage{xr-hyper}\usepackage[hidelinks]{hyperref}"
            r"\newcommand{\sisetup}[1]{\typeout{Set: #1}}"
            rf"\externaldocument[][nocite]{{{other}}}\renewcommand{{\thetable}}{{{name[0].upper()}\arabic{{table}}}}"
            rf"\begin{{document}}{body}\bibliographystyle{{plainnat}}\bibliography{{references}}\end{{document}}"
        )
    return folder


@needs_tex
def test_a_paper_and_its_appendix_refer_to_the_tables_of_each_other(tmp_path):
    assert compile_paper(two_documents(tmp_path)) == [tmp_path / "main.pdf", tmp_path / "appendix.pdf"]
    for name in ("main", "appendix"):
        log = (tmp_path / f"{name}.log").read_text().lower()
        assert not re.search("undefined|multiply|rerun to", log)
        assert "set: " not in log, "numbers are aligned in what is kept"
    assert not list(tmp_path.glob("*.aux"))


@needs_tex
def test_numbers_are_aligned_in_a_text_that_no_run_has_to_repeat(tmp_path):
    two_documents(tmp_path)
    (tmp_path / "appendix.tex").unlink()
    (tmp_path / "main.tex").write_text(
        r"\documentclass{article}\newcommand{\sisetup}[1]{\typeout{Set: #1}}\begin{document}A.\end{document}"
    )
    compile_paper(tmp_path)
    assert "Set: " not in (tmp_path / "main.log").read_text()


@needs_tex
def test_a_paper_without_an_appendix_or_citations_compiles_and_an_error_names_its_document(tmp_path):
    two_documents(tmp_path, cites="Nobody")
    (tmp_path / "appendix.tex").write_text(r"\documentclass{article}\begin{document}\nothing\end{document}")
    with pytest.raises(OutputError, match=r"pdflatex appendix\.tex failed: ! Undefined control sequence"):
        compile_paper(tmp_path)
    assert not list(tmp_path.glob("*.pdf"))
    (tmp_path / "appendix.tex").write_text("What the paper takes in.")
    assert compile_paper(tmp_path) == [tmp_path / "main.pdf"]
    (tmp_path / "appendix.tex").unlink()
    (tmp_path / "main.tex").write_text(r"\documentclass{article}\begin{document}Nobody\end{document}")
    assert compile_paper(tmp_path) == [tmp_path / "main.pdf"]


def test_without_tex_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OutputError, match="texlive-science"):
        compile_paper(ROOT / "paper")


def test_the_committed_paper_is_what_the_committed_record_says():
    table = pd.read_csv(ROOT / "paper/estimates.csv")
    headline = table[
        (table.event == "first_gpu_system") & (table.outcome == "papers") & (table.scale == "log1p")
    ]
    headline = headline[(headline.design == "callaway_santanna") & (headline.term == "event_average")]
    shown = f"{headline.estimate.iloc[0]:.3f}".replace("-", "\N{MINUS SIGN}")
    written = rf"\csname result@main/papers/log1p/headline/estimate\endcsname{{{shown}}}"
    assert written in (ROOT / "paper/numbers.tex").read_text()


def test_a_plan_of_ones_own_is_in_its_own_words(ran, plan_path):
    plan, panel, results, files = ran
    own = replace(plan, text=replace(plan.text, counted="patents", unit="lab", units="labs"))
    paper = running.exhibit(own, panel, results, jobs=1)
    made = paper.files(Path()) | {"every.csv": numbers.sources_file(paper.every_number())}
    assert "Treated labs" in made["tables/sim1.tex"].decode()
    assert "Treated labs" not in files["tables/sim1.tex"].decode()
    page = paper.page(plan_path.read_text(), plan_path.parent).decode()
    texts = [page, *(text.decode() for name, text in made.items() if name.endswith((".tex", ".csv")))]
    assert not [
        word for text in texts for word in re.findall(r"(?i)\bpapers\b|institution|universit\w+", text)
    ]
    assert "labs" in page
