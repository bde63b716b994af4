"""The command line: its answers, its errors, and that it writes nothing when it fails."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer.main
from command_line import command
from plans import PANEL, PLAN, ROOT

from study.commands import options, paper_commands
from study.commands.cli import app, main
from study.commands.design_pages import OF_A_FILE
from study.core import current_settings
from study.core.errors import DataError, OutputError, QuestionError
from study.designs import all_designs
from study.panel.question import Question
from study.paper import find_exhibit, numbers
from study.paper.exhibits.exhibit import Source, Traced
from study.report import compile as compiling

HEAVY = ("econml", "doubleml", "linearmodels", "matplotlib", "sklearn", "lightgbm", "statsmodels", "pandas")


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], (*HEAVY, "numpy", "pydantic")),
        (["data", "--help"], (*HEAVY, "numpy")),
        (["designs"], HEAVY),
    ],
)
def test_help_and_designs_import_nothing_heavy(arguments, heavy, tmp_path):
    program = (
        f"import sys; sys.argv = ['study', *{arguments!r}]\n"
        "from study.commands.cli import main\n"
        "try:\n    main()\nfinally:\n"
        f"    print('HEAVY', [m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "HEAVY []" in done.stdout


def test_designs_says_what_each_assumes(tmp_path):
    done = command("designs", cwd=tmp_path)
    for name in ("callaway_santanna", "dml_panel", "event_study", "twfe"):
        assert f"{name}: " in done.stdout
    assert "parallel trends" in done.stdout


def every_command():
    """Return all commands by name, those of `study data` too."""
    commands = dict(typer.main.get_command(app).commands)
    return commands | {f"data {name}": command for name, command in commands.pop("data").commands.items()}


def options_of(name):
    """Return the options of a command as they are shown, by name."""
    return {p.opts[0]: p for p in every_command()[name].params if p.param_type_name == "option"}


def test_an_option_has_one_help_text_and_one_place_in_every_command():
    # What is written or read is another thing in each command; a panel may stand in a plan's place.
    others = {"--output", "--format", "--raw", "--panel"}
    every = {name: options_of(name) for name in every_command()}
    texts = {}
    for options_ in every.values():
        for name, option in options_.items():
            kind = (name, option.is_flag, option.multiple)
            if name not in others:
                assert texts.setdefault(kind, option.help) == option.help, kind
            assert option.help, kind
    for first, second in combinations(every.values(), 2):
        assert [name for name in first if name in second] == [name for name in second if name in first]


@pytest.mark.parametrize("name", every_command())
def test_every_option_is_in_a_panel_of_the_help(name):
    for option in options_of(name).values():
        if option.name != "help":
            assert option.rich_help_panel in options.HELP_PANELS, option.name


@pytest.mark.parametrize("width", ["80", "120"])
def test_help_has_its_panels_in_order_and_fits_the_terminal(width, tmp_path):
    shown = command("estimate", "--help", cwd=tmp_path, environment={"COLUMNS": width}).stdout
    assert re.findall("╭─ (.*?) ─", shown) == ["Options", *options.HELP_PANELS]
    assert {len(line) for line in shown.splitlines() if "│" in line} == {int(width)}
    assert "Number of worker processes; -1 uses all cores." in shown


def test_only_some_exhibits_are_printed_and_nothing_is_written_without_a_folder(tmp_path):
    (tmp_path / "study.toml").write_text(PLAN)
    asked = ("run", "--plan", "study.toml", "--only", "sample", "--jobs", "1", "--cache", tmp_path / "build")
    done = command(*asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{find_exhibit('sample').title}\n")
    assert {path.name for path in tmp_path.iterdir()} == {"study.toml", "build"}
    done = command(*asked, "--output", "some", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "some/tables/sample.tex").is_file()
    assert {path.name for path in (tmp_path / "some").iterdir()} <= {"tables", "figures"}


def test_an_exhibit_that_the_plan_does_not_have_is_one_line(tmp_path):
    (tmp_path / "study.toml").write_text(PLAN)
    done = command("run", "--plan", "study.toml", "--only", "smple", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith('study: --only: there is no exhibit "smple". Did you mean "sample"?')


def test_whatever_reads_a_file_takes_its_periods_and_its_ambiguous_dates():
    readers = [name for name in every_command() if "--unit" in options_of(name)]
    assert {*readers} == {
        "run", "diagnose", "heterogeneity", "validate", "init", "estimate", "compare", "table", "simulate", "designs"
    }  # fmt: skip
    for name in readers:
        assert {"--time", "--period", "--never", "--ambiguous"} <= {*options_of(name)}, name


def test_run_writes_all_files_and_check_agrees_until_a_cell_changes(tmp_path):
    plan = PLAN.replace("permutations = 19", "permutations = 9").replace('proportional = "Share"\n', "")
    (tmp_path / "study.toml").write_text(f'texts = ["text.md"]\n{plan}')
    (tmp_path / "text.md").write_text("There are <!--plan/n_units-->7 units.")
    done = command("run", "--plan", "study.toml", "--jobs", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    n_units = pd.read_csv(PANEL)["unit"].nunique()
    assert (tmp_path / "text.md").read_text() == f"There are <!--plan/n_units-->{n_units} units."
    listed = [line.strip() for line in done.stdout.split("Files written:")[1].split("\n") if line.strip()]
    assert sorted(listed) == sorted(
        str(p.relative_to(tmp_path))
        for p in tmp_path.rglob("*")
        if p.is_file() and p.suffix != ".toml" and tmp_path / "build/cache" not in p.parents
    )
    assert command("check", "--plan", "study.toml", "--jobs", "1", cwd=tmp_path).returncode == 0
    table = pd.read_csv(tmp_path / "estimates.csv", dtype=str, keep_default_na=False)
    table.loc[0, "estimate"] = "0.5"
    table.to_csv(tmp_path / "estimates.csv", index=False)
    done = command("check", "--plan", "study.toml", "--jobs", "1", cwd=tmp_path)
    assert done.returncode == 1
    assert "estimate is recorded as 0.5" in done.stdout
    assert "1 cells differ" in done.stdout


def test_an_own_csv_is_estimated_as_a_first_period_or_as_a_path(tmp_path):
    table = pd.read_csv(PANEL)
    table["cluster_on"] = ((table.first_treated > 0) & (table.time >= table.first_treated)).astype(int)
    table.to_csv(tmp_path / "mine.csv", index=False)
    shared = ["estimate", "--panel", "mine.csv", "--outcome", "y"]
    dated = command(*shared, "--event", "first_treated", cwd=tmp_path)
    path = command(*shared, "--event", "cluster_on", "--binary", cwd=tmp_path)
    assert dated.returncode == path.returncode == 0, dated.stderr + path.stderr
    assert dated.stdout == path.stdout.replace("cluster_on", "first_treated")
    assert "treated_average" in dated.stdout
    assert r"\begin{tabular}" in command(*shared, "--event", "first_treated", "--latex", cwd=tmp_path).stdout


def write(tmp_path, change):
    table = pd.read_csv(PANEL, dtype=str)
    change(table).to_csv(tmp_path / "mine.csv", index=False)


def put(row, column, value):
    def change(table):
        table.loc[row, column] = value
        return table

    return change


def switch_off(table):
    treated = (table.first_treated.astype(int) > 0) & (
        table.time.astype(int) == table.first_treated.astype(int)
    )
    return table.assign(first_treated=treated.astype(int))


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda t: pd.concat([t, t.iloc[[5]]]), [], "lines 7 and 2402"),
        (put(4, "y", "n/a?"), [], 'column y holds "n/a?" on line 6'),
        (put(slice(0, 11), "first_treated", "20155"), [], "impossible event period"),
        (put(0, "first_treated", "5"), [], "changes within 1"),
        (lambda t: t[t.first_treated == "8"], [], "no comparison group"),
        (lambda t: t[t.first_treated == "0"], [], "nobody"),
        (switch_off, ["--binary"], "an event that is not absorbing; dcdh, dml_panel, "),
        (lambda t: t, ["--outcome", "yy"], 'Did you mean "y"'),
        (lambda t: t, ["--design", "calaway_santana"], 'Did you mean "callaway_santanna"'),
        (lambda t: t, ["--scale", "logs"], 'no scale "logs"'),
        (lambda t: t[t.time != "6"], [], "jump from 5 to 7"),
        (lambda t: t.iloc[:0], [], "no rows"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_nothing_written(tmp_path, change, arguments, message):
    write(tmp_path, change)
    before = sorted(tmp_path.iterdir())
    given = ["--panel", "mine.csv", "--outcome", "y", "--event", "first_treated", *arguments]
    done = command("estimate", *given, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr.replace("line 7 and line 2402", "lines 7 and 2402")
    assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--plan", "absent.toml"], "there is no such plan"),
        (["run", "--plan", "study.toml", "--design", "sun_abrahm"], "there is no design"),
        (["check", "--plan", "study.toml"], "there is no record"),
        (["trace", "X", "--plan", "nope.toml"], "nope.toml: there is no such plan"),
        (["paper", "--plan", "nope.toml"], "nope.toml: there is no such plan"),
        (["run", "--plan", "study.toml", "--jobs", "0"], "--jobs is 0"),
        (["diagnose", "sim1", "--plan", "study.toml", "--jobs", "0"], "--jobs is 0"),
        (["data", "assemble", "--raw", "absent", "--output", "out"], "absent"),
        (["paper", "--plan", "study.toml"], "missing"),
    ],
)
def test_a_command_that_cannot_work_says_so_and_writes_nothing(tmp_path, arguments, message):
    (tmp_path / "study.toml").write_text(PLAN)
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr or "texlive" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["study.toml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", *["--outcome", "y", "--event", "e", "--draws", "1e3"]], "Invalid value for '--draws'"),
        (["estimate", "--outcome", "y"], "Missing option '--event'. See "),
        (["run", "--plans", "study.toml"], "No such option: --plans"),
        (
            ["estimate", "--first-treated", "entry"],
            "--first-treated is an option of commands that take a plan; others name that column by --event. See ",
        ),
        (["init", "my.csv", "--first-treated"], "Option '--first-treated' requires an argument. See "),
        (
            ["estimate", "--event", "cluster", "--treatment"],
            "--treatment names a column in commands that take a plan; that the column of --event is 0/1 is "
            "--binary. See ",
        ),
        (["estimat"], "No such command 'estimat'. Did you mean 'estimate', 'simulate'? See "),
    ],
)
def test_an_option_that_cannot_be_read_is_one_line_and_exit_2(tmp_path, arguments, message):
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"study: {message}")
    assert done.stderr.endswith(" --help.\n")
    assert len(done.stderr.splitlines()) == 1
    assert not done.stdout


def test_without_arguments_the_help_is_printed(tmp_path):
    done = command(cwd=tmp_path)
    assert done.returncode == 2
    assert "Usage" in done.stdout + done.stderr
    assert "study: " not in done.stderr


def test_an_interrupted_command_says_that_nothing_is_half_written(monkeypatch, capsys):
    def interrupted(*_given, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["study", "data", "audit"])
    monkeypatch.setattr("study.data.audits.results", interrupted)
    handled = []
    monkeypatch.setattr("signal.signal", lambda *given: handled.append(given))
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 130
    assert handled == [(signal.SIGINT, signal.SIG_IGN)]  # one who presses Ctrl-C twice sees one line, too
    assert capsys.readouterr().err.startswith("study: interrupted; nothing was half-written")


def test_a_file_that_is_no_table_is_one_clear_error(tmp_path):
    Path(tmp_path / "mine.csv").write_bytes(b"\xff\xfe\x00binary\x00")
    done = command("estimate", "--panel", "mine.csv", "--outcome", "y", "--event", "g", cwd=tmp_path)
    assert done.returncode == 2
    assert "save it as UTF-8 CSV" in done.stderr


LONG = "lab,year,cluster,papers\nA,2001,0,1\nA,2002,1,2\nB,2001,0,1\nB,2002,0,1\n"
ROLES = ("--unit", "lab", "--outcome", "papers", "--treatment", "cluster")


def test_validate_says_that_a_file_is_fit_and_what_its_columns_are_for(tmp_path):
    (tmp_path / "my.csv").write_text(LONG)
    done = command("validate", "my.csv", *ROLES, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "lab: unit" in done.stdout
    assert "The file is fit to use: 2 units, periods 2001 to 2002." in done.stdout


def test_validate_prints_every_row_that_breaks_a_rule(tmp_path):
    (tmp_path / "my.csv").write_text(LONG.replace("A,2002,1,2", "A,2001,3,many") + ",2002,0,1\n")
    done = command("validate", "my.csv", *ROLES, cwd=tmp_path)
    assert done.returncode == 1
    for told in ("line 3", "line 6", "many", "The file is not fit to use"):
        assert told in done.stdout, done.stdout


def test_validate_says_how_dates_are_read(tmp_path):
    (tmp_path / "my.csv").write_text(LONG.replace("2001", "2001Q1").replace("2002", "2001Q2"))
    done = command("validate", "my.csv", *ROLES, cwd=tmp_path)
    assert (
        "year must be a whole number, or a date of the unit of time that is named, year first, as with --period "
        "quarter; 4 lines" in done.stdout
    )
    assert command("validate", "my.csv", *ROLES, "--period", "quarter", cwd=tmp_path).returncode == 0


def test_validate_asks_for_what_the_names_of_columns_do_not_tell(tmp_path):
    (tmp_path / "my.csv").write_text(LONG)
    done = command("validate", "my.csv", cwd=tmp_path)
    assert done.returncode == 2
    assert "--outcome" in done.stderr
    assert "Traceback" not in done.stderr


def test_fetch_names_an_unknown_source_before_anything_is_fetched(tmp_path):
    done = command("data", "fetch", "topp500", "--raw", "raw", cwd=tmp_path)
    assert done.returncode == 2
    assert 'Did you mean "top500"' in done.stderr
    assert not (tmp_path / "raw").exists()


def test_fetch_says_what_could_not_be_fetched_and_fails(tmp_path):
    without_key = {"OPENALEX_API_KEY": ""}
    done = command("data", "fetch", "openalex", "--raw", "raw", cwd=tmp_path, environment=without_key)
    assert done.returncode == 2
    assert "openalex: OpenAlex: its API needs a key" in done.stdout
    assert "Traceback" not in done.stderr


def test_audit_prints_what_the_readme_of_the_data_says(tmp_path):
    done = command("data", "audit", cwd=tmp_path)
    said = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    said = said.split("<!-- audits -->\n")[1].split("<!-- /audits -->")[0]
    assert done.stdout.strip() == said.strip()


def test_estimate_takes_a_population_of_the_panel_by_name_or_rule(tmp_path):
    asked = ("estimate", "--outcome", "papers", "--event", "first_cluster_grant", "--min-cohort-size", "1")
    by_name, by_rule, unknown = (
        command(*asked, "--population", rule, cwd=tmp_path)
        for rule in ("united_states", "country=US", "united_statess")
    )
    assert by_name.returncode == by_rule.returncode == 0, by_name.stderr + by_rule.stderr
    assert by_name.stdout.replace("united_states", "country=US") == by_rule.stdout
    assert unknown.returncode == 2
    assert 'Did you mean "united_states"' in unknown.stderr


OWN = ("--outcome", "y", "--event", "first_treated")


@pytest.mark.parametrize("name", ["mine.csv", "MINE.CSV", "mine.txt", "mine", "folder/mine.csv"])
def test_a_file_of_any_ending_is_read_as_csv(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(PANEL.read_bytes())
    question = Question("y", "first_treated")
    for given in (name, str(path)):
        read = options.OfPanel(panel=given).read(["y"], question)
        assert read.name == path.name


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("p/base.CSV", DataError, "p/base.CSV: there is no such file"),
        ("base.txt", DataError, "base.txt: there is no such file"),
        ("p/base", DataError, "p/base: there is no such file"),
        ("cvrp", QuestionError, 'Did you mean "cvpr"'),
    ],
)
def test_a_panel_that_is_not_there_is_said_to_be_so(tmp_path, monkeypatch, name, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        options.OfPanel(panel=name).read(["y"], Question("y", "first_treated"))


def read_population(path, rule, **fields):
    question = Question("y", "first_treated", population=rule, **fields)
    return question.sample(options.OfPanel(panel=str(path)).read(["y"], question))


def test_a_population_of_an_own_csv_may_name_any_of_its_columns(tmp_path):
    table = pd.read_csv(PANEL, dtype={"unit": str})
    unit = pd.factorize(table["unit"])[0]
    table = table.assign(country=pd.Series(unit % 3).map({0: "A", 1: "B", 2: "C and D"}), size=unit)
    path = tmp_path / "mine.csv"
    table.to_csv(path, index=False)
    everyone = len(read_population(path, "all").unit_ids)
    some = read_population(path, "country=A|C and D and size>=30", cluster="country", covariates=("x1",))
    assert 0 < len(some.unit_ids) < everyone
    assert {*some.attributes["country"]} == {"A", "C and D"}
    assert {*some.panel.attributes, *some.panel.covariates} == {"country", "x1", "size"}
    with pytest.raises(DataError, match=r'there is no column "contry"\. Did you mean "country"'):
        read_population(path, "contry=A")
    with pytest.raises(QuestionError, match="y is an outcome, and a population is fixed before treatment"):
        read_population(path, "y>=3")
    shared = ("--panel", "mine.csv", *OWN, "--population", "country=A")
    for name in ("estimate", "compare", "table"):
        designs = ("--designs" if name == "table" else "--design", "twfe")
        done = command(name, *shared, *designs, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_the_cache_is_used_for_a_table_of_an_own_panel(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    seen = []
    monkeypatch.setattr(
        paper_commands, "of_panel", lambda *_, **__: seen.append(current_settings().cache) or []
    )
    given = ["table", "--panel", str(PANEL), *OWN, "--cache", str(tmp_path)]
    for designs in ("twfe", "dml_panel"):
        done = CliRunner().invoke(app, [*given, "--designs", designs])
        assert done.exit_code == 0, done.output
    assert seen == [tmp_path / "fits"] * 2


def test_no_processes_are_refused_where_designs_learn(tmp_path):
    done = command("estimate", "--panel", PANEL, *OWN, "--design", "dml_panel", "--jobs", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == "study: --jobs is 0; give a number of processes, or -1 for all cores."


@pytest.mark.parametrize(
    ("told", "printed"),
    [
        ("study table a/b/level", "study table a/b/level --plan 'my own/study.toml'"),
        ("study run", "study run --plan 'my own/study.toml'"),
        ("study data audit", "study data audit"),
        ("study estimate --outcome y", "study estimate --outcome y"),
    ],
)
def test_trace_prints_commands_with_the_plan_that_they_are_about(tmp_path, told, printed):
    source = Source("x", "a number", "panel", "0" * 16, told)
    for folder in ("my own", "paper"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "study.toml").write_text(PLAN)
        (tmp_path / folder / numbers.FILE).write_bytes(numbers.sources_file([Traced("a/b", "1", source)]))
    own = command("trace", "a/b", "--plan", "my own/study.toml", cwd=tmp_path)
    assert own.stdout.endswith(f"  Command: {printed}\n"), own.stdout + own.stderr
    for default in ([], ["--plan", "./paper/study.toml"], ["--plan", tmp_path / "paper/study.toml"]):
        done = command("trace", "a/b", *default, cwd=tmp_path)
        assert done.stdout.endswith(f"  Command: {told}\n"), done.stdout + done.stderr


def test_where_there_is_no_plan_the_one_that_ships_is_read_and_its_files_go_to_paper(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ships = ROOT / "paper" / "study.toml"
    assert (options.plan_of(), options.folder_of_paper(ships)) == (ships, Path("paper"))
    done = command("trace", "plan/level", cwd=tmp_path)
    assert "plan/level is printed as 95" in done.stdout, done.stderr
    assert "--plan" not in done.stdout
    (tmp_path / "paper").mkdir()
    Path("paper/study.toml").write_text(PLAN)
    assert options.plan_of() == Path("paper/study.toml")
    assert options.folder_of_paper(options.plan_of()) == tmp_path / "paper"
    assert options.plan_of(Path("other.toml")) == Path("other.toml")


def test_numbers_of_a_run_here_are_traced_before_those_that_ship(tmp_path):
    (tmp_path / "paper").mkdir()
    source = Source("x", "a number", "panel", "0" * 16, "study run")
    (tmp_path / "paper" / numbers.FILE).write_bytes(numbers.sources_file([Traced("a/b", "7", source)]))
    assert "a/b is printed as 7" in command("trace", "a/b", cwd=tmp_path).stdout


def test_every_argument_and_option_says_what_it_is():
    for name, listed in typer.main.get_command(app).commands.items():
        assert not [option.name for option in listed.params if not option.help], name


def test_commands_that_are_said_to_take_the_plan_take_it():
    known = typer.main.get_command(app).commands
    for name in paper_commands.OF_PLAN:
        assert any("--plan" in option.opts for option in known[name.removeprefix("study ")].params), name


def test_a_paper_without_a_text_is_told_that_the_text_is_its_authors(tmp_path, monkeypatch):
    monkeypatch.setattr(compiling.shutil, "which", lambda name: name)
    with pytest.raises(
        OutputError, match=r"main\.tex is missing; it is the paper's text, which is yours to write"
    ):
        compiling.compile_paper(tmp_path)
    (tmp_path / "main.tex").write_text("")
    with pytest.raises(
        OutputError, match=r"numbers\.tex is missing; write the generated files with `study run`"
    ):
        compiling.compile_paper(tmp_path)


def test_units_without_a_certain_adoption_date_are_counted_or_dated_as_the_option_says(tmp_path):
    from typer.testing import CliRunner

    rows = [
        {"unit": f"u{i}", "time": t, "d": int(i < 6 and t >= 4), "y": i % 3 + t * (1 + (i < 6)) + (i * t) % 5}
        for i in range(14)
        for t in range(1, 7)
    ]
    data = pd.DataFrame(rows)
    data[(data["unit"] != "u0") | (data["time"] != 4)].to_csv(tmp_path / "own.csv", index=False)
    asked = [
        "estimate",
        "--panel",
        str(tmp_path / "own.csv"),
        "--outcome",
        "y",
        "--event",
        "d",
        "--binary",
    ]
    said = {}
    for rule in ("drop", "earliest", "often"):
        done = CliRunner().invoke(app, [*asked, "--ambiguous", rule])
        said[rule] = done.output or str(done.exception)
    assert "Left out: 1 adoption date ambiguous, between 4 and 5" in " ".join(said["drop"].split())
    assert "14 units" in said["earliest"]
    assert said["often"] == 'Panel.from_long: there is no ambiguous "often". Known: drop, earliest, latest.'


def test_diagnostics_are_listed_with_what_they_ask_and_need():
    listed = command("diagnostics", cwd=ROOT).stdout
    assert (
        "placebo_dates: Placebo adoption dates\n  asks:  Is there an effect before there should be one?"
        in listed
    )
    assert "needs: nothing more" in listed
    assert "needs: the design twfe" in listed


def test_a_text_that_is_not_there_is_refused_before_any_work(tmp_path):
    (tmp_path / "study.toml").write_text('texts = ["gone.tex"]\n' + PLAN)
    done = command("run", "--plan", "study.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "gone.tex: there is no such text" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.toml"]


CVPR = ("--outcome", "papers", "--event", "first_accelerator")


def test_the_version_is_printed():
    from study import __version__

    assert command("--version", cwd=ROOT).stdout == f"study {__version__}\n"


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("study est", ["estimate"]),
        ("study compare --design sun", ["sun_abraham"]),
        ("study designs po", ["poisson_twfe"]),
    ],
)
def test_a_shell_completes_commands_and_designs(words, completed):
    from typer.testing import CliRunner

    typed = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_STUDY_COMPLETE": "complete_bash"}
    assert CliRunner().invoke(app, [], prog_name="study", env=typed).output.split() == completed


@pytest.mark.parametrize("name", ["estimate", "compare", "table"])
def test_outcomes_and_designs_are_repeated_or_have_commas_in_every_command(tmp_path, name):
    more = ("--event", "first_treated", "--panel", PANEL)
    commas = command(name, *more, "--outcome", "y,count", "--design", "twfe, lp_did", cwd=tmp_path)
    several = ("--outcome", "y", "--outcomes", "count", "--design", "twfe", "--designs", "lp_did")
    assert commas.returncode == 0, commas.stderr
    assert commas.stdout == command(name, *more, *several, cwd=tmp_path).stdout
    shown = {"estimate": "in units of count", "compare": "lp_did", "table": "count"}
    assert shown[name] in commas.stdout


def test_a_name_with_a_comma_stands_in_quotes(tmp_path):
    table = pd.read_csv(PANEL).rename(columns={"y": "papers, all"})
    table.to_csv(tmp_path / "own.csv", index=False)
    asked = ("--panel", "own.csv", "--event", "first_treated", "--design", "twfe", "--format", "csv")
    done = command("estimate", *asked, "--outcome", '"papers, all",count', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"papers, all"') == 1
    split = command("estimate", *asked, "--outcome", "papers, all", cwd=tmp_path)
    assert split.stderr.endswith("""A name with a comma needs quotes of its own: '"papers, all"'.\n""")
    shown = command("estimate", "--help", cwd=tmp_path).stdout
    assert "Quote a name that contains a comma" in " ".join(re.sub("[│┃]", " ", shown).split())


def test_commands_to_type_next_are_quoted_for_the_shell_and_for_the_option(tmp_path):
    table = pd.read_csv(PANEL).rename(columns={"x1": "size, log"})
    folder = tmp_path / "own panel"
    folder.mkdir()
    table.to_csv(folder / "own.csv", index=False)
    asked = ("own panel/own.csv", "--outcome", "y", "--covariate", '"size, log"')
    done = command("init", *asked, "--first-treated", "first_treated", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("Next: study run --plan 'own panel/study.toml'\n")
    shown = command("designs", "--for", *asked, "--first-treated", "first_treated", cwd=tmp_path)
    assert """--covariate '"size, log"'""" in " ".join(shown.stdout.split()), shown.stderr


@pytest.mark.parametrize("name", ["estimate", "compare", "table"])
def test_what_a_question_has_is_an_option_of_every_command_that_asks_one(name):
    from dataclasses import fields

    known = {
        option for parameter in typer.main.get_command(app).commands[name].params for option in parameter.opts
    }
    asked = {
        "--covariate" if f.name == "covariates" else f"--{f.name.replace('_', '-')}" for f in fields(Question)
    }
    assert asked <= known


@pytest.mark.parametrize(
    ("field", "value"),
    [("weights", "baseline_papers"), ("average", "cohort_average"), ("cohort_width", 2), ("anticipation", 1)],
)
def test_an_option_of_the_question_changes_the_answer(field, value, tmp_path):
    import json

    asked = ("estimate", *CVPR, "--design", "sun_abraham", "--min-cohort-size", "2", "--format", "json")
    plain, other = (
        json.loads(command(*asked, *more, cwd=tmp_path).stdout)[0]
        for more in ((), (f"--{field.replace('_', '-')}", value))
    )
    assert other["question"] == plain["question"] | {field: value}
    assert other["terms"][0]["estimate"] != plain["terms"][0]["estimate"]


def test_json_has_the_answer_with_what_was_asked_and_at_the_level(tmp_path):
    import json

    from study import estimate, load_panel

    asked = (*CVPR, "--design", "twfe,event_study", "--level", "0.9")
    first, second = json.loads(command("estimate", *asked, "--format", "json", cwd=tmp_path).stdout)
    fit = estimate(load_panel("cvpr"), Question("papers", "first_accelerator"), "twfe")
    row = fit.tidy(0.9).iloc[0]
    (term,) = first["terms"]
    assert [first["design"], second["design"], first["level"]] == ["twfe", "event_study", 0.9]
    assert first["question"]["event"] == "first_accelerator"
    assert first["panel"]["checksum"] == fit.sample.panel_checksum
    for name in ("estimate", "std_error", "conf_low", "conf_high", "p_value"):
        assert term[name] == row[name]
    path = command(
        "estimate",
        *asked[:4],
        "--design",
        "event_study",
        "--terms",
        "event_time",
        "--format",
        "json",
        cwd=tmp_path,
    )
    assert None in [term["std_error"] for term in json.loads(path.stdout)[0]["terms"]]
    compared = json.loads(
        command("compare", *asked, "--format", "json", "--draws", "99", "--force", cwd=tmp_path).stdout
    )
    assert [row["design"] for row in compared["averages"]] == ["twfe", "event_study"]
    assert compared["averages"][0]["conf_low"] == row["conf_low"]
    assert compared["tests"][0]["sup_t_draws"] == 99


@pytest.mark.parametrize("name", ["estimate", "compare"])
@pytest.mark.parametrize(
    ("ending", "form", "part"),
    [
        (".txt", "text", "twfe"),
        (".tex", "latex", r"\begin{tabular}"),
        (".html", "html", "<table"),
        (".md", "md", "|"),
        (".csv", "csv", "estimate,std_error"),
        (".json", "json", '"design": "twfe"'),
    ],
)
def test_a_file_has_the_format_of_its_ending(tmp_path, name, ending, form, part):
    asked = (name, *OWN, "--panel", PANEL, "--design", "twfe")
    done = command(*asked, "--output", f"new/out{ending}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Written: new/out{ending}\n"
    text = (tmp_path / "new" / f"out{ending}").read_text()
    assert part in text or form == "text"
    assert text == command(*asked, "--format", form, cwd=tmp_path).stdout
    if form == "latex":
        assert text == command(*asked, "--latex", cwd=tmp_path).stdout


def test_intervals_are_at_the_level_and_their_headings_say_so(tmp_path):
    asked = ("estimate", *OWN, "--panel", PANEL, "--design", "twfe", "--format", "md", "--level")
    narrow, wide = (command(*asked, level, cwd=tmp_path).stdout for level in ("0.9", "0.975"))
    assert "90% low" in narrow
    assert "97.5% high" in wide
    text = command(
        "estimate", *OWN, "--panel", PANEL, "--design", "twfe", "--level", "0.999", cwd=tmp_path
    ).stdout
    assert " 99.9% CI " in text


def test_a_design_is_shown_with_its_assumptions_options_references_and_an_example():
    page = " ".join(command("designs", "sun_abraham", cwd=ROOT).stdout.split())
    for part in (
        "sun_abraham: Interaction-weighted event study",
        "parallel trends: Without the event the treated units would have changed as the others did.",
        "variance=sampling: one of sampling, conditional. Whether averages carry the estimation of cohort shares",
        "Refuses",
        "Sun, L., and Abraham, S. (2021).",
    ):
        assert part in page
    assert 'Did you mean "sun_abraham"' in command("designs", "sunab", cwd=ROOT).stderr


@pytest.mark.parametrize("name", sorted(name for name, design in all_designs().items() if not design.draws))
def test_the_example_of_a_design_has_an_answer(name, tmp_path):
    page = command("designs", name, cwd=tmp_path).stdout
    assert all(f"- {option}=" in page for option in all_designs()[name].options)
    example = page.strip().splitlines()[-1].split()
    if name in OF_A_FILE:
        rng, years = np.random.default_rng(1), np.tile(np.arange(4), 60)
        hours, papers = np.repeat(rng.uniform(0, 9, 60), 4) * (years > 1), rng.normal(size=240)
        labs = {
            "lab": np.repeat(np.arange(60), 4),
            "year": years,
            "gpu_hours": hours,
            "cluster": np.where(np.arange(240) < 160, 2, np.nan),
            "papers": papers + hours,
        }
        pd.DataFrame(labs).to_csv(tmp_path / "labs.csv", index=False)
    done = command(*example[1:], "--format", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f'"design": "{name}"' in done.stdout


def test_designs_and_diagnostics_are_listed_as_json():
    import json

    listed = json.loads(command("designs", "--format", "json", cwd=ROOT).stdout)
    assert [design["name"] for design in listed] == sorted(all_designs())
    (one,) = json.loads(command("designs", "stacked", "--format", "json", cwd=ROOT).stdout)
    assert one["options"] == {"before": None, "after": None}
    checks = json.loads(command("diagnostics", "--format", "json", cwd=ROOT).stdout)
    assert "Is there an effect before there should be one?" in [check["question"] for check in checks]
    assert 'there is no format "yaml"' in command("designs", "--format", "yaml", cwd=ROOT).stderr


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["event", "binary", "lag"], "add --binary; or --lag 2."),
        (["plan"], 'give it as treatment="on"; or lag=2.'),
    ],
)
def test_a_message_names_options_that_the_command_has_and_leaves_the_rest(names, said):
    assert options.as_options('give it as treatment="on"; or lag=2.', names) == said


def test_a_value_of_several_words_is_quoted_as_the_shell_reads_it():
    assert options.as_options('name it: never="not yet"', ["never"]) == "name it: --never 'not yet'"


def test_a_column_that_is_called_as_an_option_stays_a_column():
    message = "Question about p: lag is an outcome, and a population is fixed before treatment"
    assert options.as_options(message, ["lag"]) == message


def test_an_interrupt_after_the_command_has_ended_says_nothing():
    program = (
        "import atexit, os, signal, sys; atexit.register(os.kill, os.getpid(), signal.SIGINT); "
        "sys.argv = ['study', 'designs']; from study.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_while_the_command_is_imported_is_one_line(monkeypatch, capsys):
    from study.__main__ import main as begin

    class Interrupted:
        def find_spec(self, name, *_given):
            if name == "study.commands.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "study.commands.cli")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as stopped:
        begin()
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "study: interrupted; nothing was half-written, and nothing begun.\n"
