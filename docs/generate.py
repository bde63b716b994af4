"""Writes the pages that follow from the package: designs, diagnostics, commands, API, side by side.

``python docs/generate.py FOLDER`` writes them; Sphinx's conf.py does so before every build.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from assumptions import picture
from pylatexenc.latex2text import LatexNodes2Text
from typer.main import get_command

import study
from study.commands.cli import app
from study.commands.design_pages import LABS, OF_A_FILE
from study.core import refuse_unknown
from study.designs import Assumes, Design
from study.diagnostics import Diagnostic, Needs, all_diagnostics
from study.figures import drawn
from study.paper import numbers
from study.paper.diagnose import ASSUMED
from study.paper.numbers import Sentence, filled, passages
from study.paper.page import taken_in
from study.report import DOCUMENTS
from study.simulate.process import DIALS

HERE = Path(__file__).parent
ROOT = HERE.parent
PAPER = ROOT / "paper"
GOLDEN = ROOT / "tests" / "parity" / "golden"
TOLERANCE = 1e-6

ALT = "---\nmystnb:\n  image:\n    alt: {}\n---\n"
# doubleml's progress bars ask for widgets, which a page has no use for.
INLINE = """```{code-cell} ipython3
:tags: [remove-cell]

%matplotlib inline
%config InlineBackend.figure_formats = ["svg"]
import warnings

warnings.filterwarnings("ignore", "IProgress not found")
```
"""
HEAD = "---\nfile_format: mystnb\nkernelspec:\n  name: python3\n  display_name: Python 3\n---\n\n"

QUESTION = {
    "outcome": "papers",
    "event": "first_accelerator",
    "scale": "log1p",
    "average": "event_average",
    "horizon": 4,
}
LEARNED = {"covariates": ("log_baseline_papers", "baseline_papers")}
GROUPED = {"panel": "cs_2007", "group": "group=learning"}
# What the example of a design asks otherwise than QUESTION, and the options that it takes.
ASKED: dict[str, dict[str, Any]] = {
    "dml_did": LEARNED | {"cohort_width": 3, "min_cohort_size": 5},
    "dml_irm": LEARNED,
    "dml_panel": LEARNED,
    "dml_stacked": LEARNED,
    "poisson_twfe": {"scale": "proportional"},
    "three_way": GROUPED,
    "triple_difference": GROUPED,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "dml_did": {"learner": "linear", "propensity": "linear", "repetitions": 2},
    "dml_irm": {"learner": "linear", "propensity": "linear", "repetitions": 2},
    "dml_panel": {"repetitions": 2},
    "dml_stacked": {"propensity": "linear", "repetitions": 2},
}
# No shipped panel has an instrument that could be defended, so that a lottery is drawn.
LOTTERY = """import numpy as np
import pandas as pd
import study

rng = np.random.default_rng(2401)
n, years = 400, np.arange(2011, 2015)
size, lottery, hidden = rng.normal(size=n), rng.integers(0, 2, size=n), rng.random(n)
treated = (hidden > 0.8) | ((hidden > 0.3) & (lottery == 1))  # always-takers, and compliers who won
first = np.where(treated, 2013.0, np.nan)
since = first[:, None] <= years
papers = size[:, None] + 2 * hidden[:, None] * (years - 2011) + 1.5 * since + rng.normal(size=since.shape)
labs = pd.DataFrame({"lab": np.arange(n), "cluster": first, "size": size, "lottery": lottery})
table = labs.loc[labs.index.repeat(len(years))].assign(year=np.tile(years, n), papers=papers.ravel())
table["lottery_post"] = table["lottery"] * (table["year"] >= 2013)
columns = {"outcomes": "papers", "covariates": ["size", "lottery", "lottery_post"]}
panel = study.Panel.from_long(table, unit="lab", time="year", first_treated="cluster", **columns)
"""
DML_IV = """question = study.Question("papers", "cluster", covariates=("size",), instrument="lottery")
fit = study.estimate(panel, question, "dml_iv", learner="linear", propensity="linear", repetitions=2)
print(fit)"""
IV = """question = study.Question("papers", "cluster", instrument="lottery_post")
fit = study.estimate(panel, question, "iv")
print(fit)
print(study.estimate(panel, question.replace(instrument="lottery"), "iv", stage="first").tidy())"""
# Nor one in which all units get a dose at once.
DOSES = """import numpy as np
import pandas as pd
import study

rng = np.random.default_rng(2405)
n, years = 300, np.arange(2011, 2017)
hours = rng.uniform(0, 10, size=(n, 1)) * (years >= 2014)  # GPU hours, some of them close to none
papers = rng.normal(size=(n, 1)) + 0.2 * (years - 2011) + 0.5 * hours + rng.normal(size=hours.shape)
labs = {"lab": np.repeat(np.arange(n), len(years)), "year": np.tile(years, n)}
table = pd.DataFrame(labs | {"gpu_hours": hours.ravel(), "papers": papers.ravel()})
panel = study.Panel.from_long(table, unit="lab", time="year", doses="gpu_hours", outcomes="papers")
fit = study.estimate(panel, study.Question("papers", "gpu_hours"), "heterogeneous_adoption")
print(fit.headline)"""
# Nor one in which some get doses and some none, and doses of early and late adopters overlap.
AMOUNTS = """import numpy as np
import pandas as pd
import study

rng = np.random.default_rng(2406)
n, years = 300, np.arange(2011, 2017)
first, hours = rng.choice([2013.0, 2015.0, np.nan], size=n), rng.uniform(1, 5, size=n)
since = years >= first[:, None]
papers = 0.2 * (years - 2011) + np.sqrt(hours)[:, None] * since + rng.normal(size=since.shape)
labs = {"lab": np.repeat(np.arange(n), len(years)), "year": np.tile(years, n), "papers": papers.ravel()}
table = pd.DataFrame(labs | {"cluster": np.repeat(first, len(years)), "gpu_hours": (hours[:, None] * since).ravel()})
columns = {"first_treated": "cluster", "doses": "gpu_hours", "outcomes": "papers"}
panel = study.Panel.from_long(table, unit="lab", time="year", **columns)
fit = study.estimate(panel, study.Question("papers", "cluster", dose="gpu_hours"), "dose_response")
print(fit.headline)
print(fit.aggregate("dose").tidy())"""
# Nor does treatment end in one, so that grants of two or three years are drawn.
ENDING = """import numpy as np
import pandas as pd
import study

rng = np.random.default_rng(2401)
n, years = 120, np.arange(2011, 2023)
start, length = rng.integers(2014, 2019, size=(n, 1)), rng.integers(2, 4, size=(n, 1))
granted = rng.random((n, 1)) < 0.6
grant, after = granted & (years >= start) & (years < start + length), granted & (years == start + length)
papers = 1.5 * grant + 0.8 * after + rng.normal(size=(n, 1)) + rng.normal(size=grant.shape)
cells = {"lab": np.repeat(np.arange(n), len(years)), "year": np.tile(years, n)}
table = pd.DataFrame(cells | {"grant": grant.ravel().astype(int), "papers": papers.ravel()})
panel = study.Panel.from_long(table, unit="lab", time="year", treatment="grant", outcomes="papers")
sample = study.Question("papers", "grant").sample(panel)
design = "imputation"
"""
# Examples on data that are drawn, and what is asked of them in a terminal.
DRAWN = {
    "dml_iv": (LOTTERY + DML_IV, f"{LABS} --event cluster --instrument lottery"),
    "dose_response": (AMOUNTS, OF_A_FILE["dose_response"]),
    "heterogeneous_adoption": (DOSES, OF_A_FILE["heterogeneous_adoption"]),
    "iv": (LOTTERY + IV, f"{LABS} --event cluster --instrument lottery_post"),
}
# What else a diagnostic's example needs, by the name of the argument.
ARGUMENTS = {
    "fit": "fit = study.estimate(panel, question, DESIGN)",
    "sample": "sample = question.sample(panel)",
    "design": "design = DESIGN",
    "eras": "eras = [(2014, 2016), (2017, 2019), (2020, 2024)]",
    "outcomes": 'outcomes = {"robotics papers": (study.load_panel("robotics"), "papers")}',
}
# Options that an example needs, or that keep it short to run.
SHORT: dict[str, dict[str, Any]] = {
    "nuisances": {"learners": ("linear", "lasso"), "repetitions": 1},
    "oster": {"form": "long_difference"},
    "sensitivity": {"form": "long_difference"},
    "seeds": {"seeds": 3, "repetitions": 1},
    "leave_one_unit_out": {"most": 10},
    "uncertainty": {"permutations": 99, "draws": 999},
    "placebo_dates": {"draws": 999},
    "specification_curve": {
        "designs": ["callaway_santanna", "imputation", "event_study", "twfe"],
        "draws": 199,
    },
}


def write(folder: Path) -> None:
    """Write every generated page, picture and executed notebook to a folder."""
    for name, text in pages().items():
        _file(folder / name).write_text(text, encoding="utf-8")
    for assumption in Assumes:
        _file(folder / "pictures" / f"{assumption.name.lower()}.png").write_bytes(
            drawn(picture(assumption), "png")
        )
    for path in sorted((ROOT / "notebooks").glob("*.py")):
        _file(folder / "notebooks" / f"{path.stem}.ipynb").write_text(executed(path), encoding="utf-8")


def pages() -> dict[str, str]:
    """Return the text of every generated page by its file."""
    designs, diagnostics = study.all_designs(), all_diagnostics()
    written = {f"designs/{name}.md": design_page(each) for name, each in designs.items()}
    written |= {f"diagnostics/{name}.md": diagnostic_page(each) for name, each in diagnostics.items()}
    written |= {f"api/{name}.md": api_page(name) for name in PUBLIC}
    notebooks = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.py"))}
    return written | {
        "designs/index.md": index(
            "Designs",
            "What each estimates is on its page, with what it assumes, its options and an example. "
            "{doc}`Which design when </which_design>` helps to choose.",
            designs,
            [(f"[{n}]({n}.md)", each.title, str(each.estimand)) for n, each in designs.items()],
            ("design", "method", "its terms"),
        ),
        "diagnostics/index.md": index(
            "Diagnostics",
            "Each answers with a verdict in one sentence, a table and a figure; `study diagnose` makes all "
            "that fit a question and a design.",
            diagnostics,
            [(f"[{n}]({n}.md)", each.question, str(each.section)) for n, each in diagnostics.items()],
            ("diagnostic", "what it asks", "where on the page of `study diagnose`"),
        ),
        "api/index.md": index(
            "API reference",
            "The names of `import study`. {doc}`Designs </generated/designs/index>` and "
            "{doc}`diagnostics </generated/diagnostics/index>` have pages of their own.",
            PUBLIC,
            [(f"[study.{name}]({name}.md)", first_sentence(named(name))) for name in PUBLIC],
            ("name", "what it is"),
        ),
        "notebooks/index.md": index(
            "Notebooks", "Four notebooks, executed when this site was built.", notebooks, [], ()
        ),
        "commands.md": commands_page(),
        "findings.md": findings_page(),
        "assumptions.inc": assumptions_table(),
        "dials.inc": dials_table(),
        "side_by_side.inc": side_by_side(),
    }


def index(
    title: str, text: str, names: Iterable[str], rows: Iterable[tuple[str, ...]], heads: tuple[str, ...]
) -> str:
    """Return a page that lists other pages of its folder."""
    tree = "\n".join(names)
    shown = table(heads, rows) if heads else ""
    hidden = ":hidden:\n" if heads else ":maxdepth: 1\n"
    return f"# {title}\n\n{text}\n\n{shown}\n```{{toctree}}\n{hidden}\n{tree}\n```\n"


def design_page(design: Design) -> str:
    """Return the page of a design: what it estimates and assumes, options, an example, references."""
    supports = "".join(f"- {trait}\n" for trait in design.supports)
    assumes = "".join(
        f"```{{figure}} ../pictures/{each.name.lower()}.png\n:alt: {each}\n:figclass: assumption\n\n"
        f"{_sentence(each)} {ASSUMED[each].format(units='units')}\n```\n\n"
        for each in design.assumes
    )
    defaults = ", ".join(f"`{name}={value!r}`" for name, value in design.options.items()) or "none"
    return (
        f"{HEAD}# {design.name}\n\n**{design.title}.** Its terms: {design.estimand}.\n\n{INLINE}\n"
        f"## What it assumes\n\n{assumes}\n"
        f"## What it supports\n\n{supports or 'Nothing beyond the question itself.'}\n"
        f"What it does not support it refuses in one line before it computes.\n\n"
        f"## Example\n\n{design_example(design)}\n"
        f"In a terminal:\n\n```sh\n{terminal(design)}\n```\n\n"
        f"## Options\n\nDefaults: {defaults}.\n\n{numpydoc(design.function)}\n"
        f"## Reference\n\n{reference(design.reference)}\n"
    )


def design_example(design: Design) -> str:
    """Return the cells of a design's worked example."""
    options = "".join(f", {name}={quoted(value)}" for name, value in OPTIONS.get(design.name, {}).items())
    fit = f'fit = study.estimate(panel, question, "{design.name}"{options})\nprint(fit.headline)'
    code = DRAWN[design.name][0] if design.name in DRAWN else f"{asked(ASKED.get(design.name, {}))}{fit}"
    cells = cell(code)
    if design.estimand.has_path:
        cells += "\nIts effects by event time, with pointwise intervals and a simultaneous band:\n\n"
        cells += cell('fit.aggregate("event").plot()', f"Effects by event time of {design.name}")
    return cells


def terminal(design: Design) -> str:
    """Return the command that answers the example's question."""
    if design.name in DRAWN:
        asked = DRAWN[design.name][1]
    else:
        fields = QUESTION | ASKED.get(design.name, {})
        covariates = [("covariate", name) for name in fields.pop("covariates", ())]
        options = [("option", f"{name}={value}") for name, value in OPTIONS.get(design.name, {}).items()]
        words = [*fields.items(), *covariates, *options]
        asked = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in words)
    return f"study estimate --design {design.name} {asked}"


def diagnostic_page(diagnostic: Diagnostic) -> str:
    """Return the page of a diagnostic: what it asks and needs, an example with its figure, options."""
    needs = "".join(f"- {need}\n" for need in diagnostic.needs)
    about = "".join(f"- the design [{name}](../designs/{name}.md)\n" for name in diagnostic.designs)
    references = f"## Reference\n\n{reference(diagnostic.reference)}\n" if diagnostic.reference else ""
    function = diagnostic.function
    return (
        f"{HEAD}# {diagnostic.name}\n\n**{diagnostic.title}.** {diagnostic.question}\n\n{INLINE}\n"
        f"## What it needs\n\n{needs + about or 'A question and a design; nothing more.'}\n"
        f"## Example\n\n{diagnostic_example(diagnostic)}\n"
        f"In a terminal, `study diagnose` prints it with the others.\n\n"
        f"## `study.diagnostics.{function.__name__}`\n\n{numpydoc(function)}\n{references}"
    )


def diagnostic_example(diagnostic: Diagnostic) -> str:
    """Return the cells of a diagnostic's worked example, called as its parameters say."""
    parameters = inspect.signature(diagnostic.function).parameters.values()
    required = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    learns = {Needs.LEARNERS, Needs.DRAWS} & set(diagnostic.needs)
    design = (*diagnostic.designs, "dml_panel" if learns else "callaway_santanna")[0]
    more: dict[str, Any] = LEARNED if learns or Needs.COVARIATES in diagnostic.needs else {}
    given = dict(diagnostic.given) | SHORT.get(diagnostic.name, {})
    call = ", ".join([*required, *(f"{name}={quoted(value)}" for name, value in given.items())])
    made = "".join(f"{ARGUMENTS[name]}\n" for name in required if name in ARGUMENTS)
    made = made.replace("DESIGN", f'"{design}"')
    finding = f"finding = study.diagnostics.{diagnostic.function.__name__}({call})\nfinding"
    ready = ENDING if Needs.ENDS in diagnostic.needs else asked(more) + made
    return cell(f"{ready}{finding}") + "\n" + cell("finding.plot()", diagnostic.title)


def asked(more: Mapping[str, Any]) -> str:
    """Return the code of the examples' question on a shipped panel."""
    named = QUESTION | dict(more)
    panel = named.pop("panel", "cvpr")
    fields = "".join(f"    {name}={quoted(value)},\n" for name, value in named.items())
    return f'import study\n\npanel = study.load_panel("{panel}")\nquestion = study.Question(\n{fields})\n'


def quoted(value: Any) -> str:
    """Return a value as code with the quotes of the house."""
    return repr(value).replace("'", '"')


def cell(code: str, alt: str = "") -> str:
    """Return a cell that is executed when the site is built; ``alt`` describes its figure."""
    head = ALT.format(json.dumps(alt)) if alt else ""
    return f"```{{code-cell}} ipython3\n{head}{code}\n```\n"


def numpydoc(function: Any) -> str:
    """Return the docstring of a function as numpydoc has it."""
    from numpydoc.docscrape_sphinx import SphinxDocString

    docstring = SphinxDocString(inspect.getdoc(function) or "")
    docstring["References"] = ""  # the page has them already
    lines = str(docstring).strip()
    return f"```{{eval-rst}}\n{lines}\n```\n"


OTHERS = sorted({*study.__all__} - {*study.INDEX, "__version__"}, key=str.lower)
PUBLIC = (*study.INDEX, *OTHERS)


def named(name: str) -> Any:
    """Return a public object of the package."""
    return getattr(study, name)


def first_sentence(thing: Any) -> str:
    """Return the first sentence of a docstring."""
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")


def api_page(name: str) -> str:
    """Return the page of a public name."""
    thing = named(name)
    if inspect.ismodule(thing):
        members = [each for each in thing.__all__ if inspect.isfunction(getattr(thing, each))]
        skipped = {diagnostic.function.__name__ for diagnostic in all_diagnostics().values()}
        blocks = [f".. autofunction:: study.{name}.{each}" for each in members if each not in skipped]
        text = f"{first_sentence(thing)}\n"
    else:
        kind, text = ("class", "") if inspect.isclass(thing) else ("function", "")
        blocks = [f".. auto{kind}:: study.{name}" + ("\n   :members:" if kind == "class" else "")]
    directives = "\n\n".join(blocks)
    return f"# study.{name}\n\n{text}\n```{{eval-rst}}\n{directives}\n```\n"


def commands_page() -> str:
    """Return the page of the command line: every command with its arguments and options."""
    group: Any = get_command(app)
    parts = [
        "# The command line\n\n`study COMMAND --help` prints the same in a terminal. A mistake is one line, "
        "exit code 2, and nothing is written.\n"
    ]
    commands = dict(group.commands)
    commands |= {f"data {name}": each for name, each in commands.pop("data").commands.items()}
    for name, command in sorted(commands.items()):
        parts.append(f"## study {name}\n\n{' '.join((command.help or '').split())}\n")
        rows = [
            (_spelled(each), " ".join((getattr(each, "help", "") or "").split()), _default(each))
            for each in command.params
            if each.name != "help"
        ]
        parts.append(table(("argument or option", "what it is", "default"), rows) if rows else "")
    return "\n".join(parts)


def _spelled(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`"
    return ", ".join(f"`{spelling}`" for spelling in (*parameter.opts, *parameter.secondary_opts))


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    return f"`{value}`" if value not in (None, False, (), []) and not callable(value) else ""


def assumptions_table() -> str:
    """Return each assumption with its picture and the designs that make it."""
    rows = []
    for each in Assumes:
        making = [design.name for design in study.all_designs().values() if each in design.assumes]
        links = ", ".join(f"[{name}](/generated/designs/{name}.md)" for name in making)
        shown = f"![{each}](/generated/pictures/{each.name.lower()}.png)"
        rows.append((shown, f"**{_sentence(each)}** {ASSUMED[each].format(units='units')}", links))
    return table(("picture", "assumption", "designs"), rows)


def dials_table() -> str:
    """Return each dial of a simulated panel with its unit, its range and where it stands without calibration."""
    rows = [
        (f"`{name}`", dial.does, dial.unit, f"{dial.low:g} to {dial.high:g}", f"{dial.neutral:g}")
        for name, dial in DIALS.items()
    ]
    return table(("dial", "what it does", "unit", "range", "without calibration"), rows)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def reference(key: str) -> str:
    """Return an entry of the paper's bibliography in words."""
    text = (PAPER / "references.bib").read_text(encoding="utf-8")
    entries = dict(re.findall(r"@\w+\{(\w+),\n(.*?)\n\}", text, flags=re.DOTALL))
    refuse_unknown("reference", key, entries, "paper/references.bib")
    fields = dict(re.findall(r"(\w+)\s*=\s*\{(.*)\}", entries[key]))
    plain = {name: LatexNodes2Text().latex_to_text(value) for name, value in fields.items()}
    authors = plain["author"].replace(" and ", "; ")
    place = ", ".join(
        plain[name] for name in ("journal", "booktitle", "publisher", "volume", "pages") if name in plain
    )
    return f"{authors} ({plain['year']}). {plain['title'].rstrip('.')}. {place}."


def findings_page() -> str:
    """Return the page of what was found: README's lines, then the tables and figures of the paper in its order."""
    text, *more = ((PAPER / f"{name}.tex").read_text(encoding="utf-8") for name in DOCUMENTS)
    shown = "\n".join(exhibit_shown(at, "\n".join([text, *more])) for at in taken_in(text))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"<!-- findings -->\n(.*?)<!-- /findings -->", readme, re.DOTALL)
    return (
        f"# What was found\n\n{re.sub('<!--.*?-->', '', lines)}\n"
        "What speaks against each estimate is in the paper's appendix, and on the page that `study run` writes, "
        "`build/report.html`.\n\n"
        f"## Tables and figures of the paper\n\n{shown}"
    )


def exhibit_shown(at: str, paper: str) -> str:
    """Return a table or figure of the paper by its place, with the number and the caption that it has there."""
    kind, name = at.split("-", 1)
    number, file = taken_in(paper)[at], PAPER / "tables" / f"{name}.md"
    if kind == "fig":
        begin = f"{{{name}}}"
        (passage,) = [each.text for each in passages(paper) if re.match(rf"\\exhibit.*?{begin}", each.text)]
        caption = in_words(passage, paper).strip("{}")
        head = f"```{{figure}} ../../paper/figures/{name}.png\n:alt: {caption}\n:figclass: exhibit"
        return f"{head}\n\n{number}. {caption}\n```\n"
    if file.is_file():
        made = file.read_text(encoding="utf-8").replace("**", f"**{number}. ", 1)
        return f":::{{container}} exhibit\n{made}:::\n"
    # A table that is written in the paper by hand.
    written = next(each for each in paper.split(r"\begin{table}") if rf"\label{{tab:{name}}}" in each)
    (caption,) = re.findall(r"\\caption\{(.*)\}", written)[:1]
    body = re.sub(r"\\midrule|\\addlinespace(?:\[.*?\])?", "", written.split(r"\toprule")[1])
    lines = [line for line in body.split(r"\bottomrule")[0].split(r"\\") if line.strip()]
    heads, *rows = (tuple(in_words(cell, paper) for cell in line.split(" & ")) for line in lines)
    return f":::{{container}} exhibit\n**{number}. {in_words(caption, paper)}**\n\n{table(heads, rows)}:::\n"


def in_words(latex: str, paper: str) -> str:
    """Return LaTeX of the paper as it is read: with values, with the numbers of exhibits, and without citations."""
    labelled = re.findall(r"\\exhibit\{[\d.]+\}\{([\w:-]+)\}.*\\label\{fig:(.*?)\}", paper)
    figures = {label: name for name, label in labelled}

    def number(found: re.Match[str]) -> str:
        kind, label = found[1].split(":", 1)
        return taken_in(paper)[f"{kind}-{figures[label] if kind == 'fig' else label}"].split()[1]

    bare = re.sub(r"[ ~]*\\cite\w*\{[^}]*\}", "", latex)
    referring = re.sub(r"\\ref\{((?:tab|fig):.*?)\}", number, bare)
    return filled(Sentence(1, referring), numbers.read_sources(PAPER)).partition("\n")[0]


def side_by_side() -> str:
    """Return the calls of R and Stata beside ours, with the numbers of both."""
    parts = []
    for entry in entries():
        run, theirs, ours = entry["run"], entry["theirs"], answered(entry["ours"])
        if max(abs(o - t) / abs(t) for o, t in zip(ours, theirs, strict=True)) > TOLERANCE:
            raise ValueError(f"docs/side_by_side.toml: {entry['title']}: {theirs} there, {ours} here.")
        rows = [
            (f"{entry['package']} {entry['version']}", *(f"{number:.6f}" for number in theirs)),
            ("study", *(f"{number:.6f}" for number in ours)),
        ]
        calls = {
            "R": ("r", run["call"]),
            "Stata": ("stata", entry.get("stata")),
            "study": ("python", entry["ours"]),
        }
        blocks = "".join(
            f"{name}:\n\n```{language}\n{code.strip()}\n```\n\n"
            for name, (language, code) in calls.items()
            if code
        )
        shown = table(("", "estimate", "standard error"), rows)
        parts.append(f"### {entry['title']}\n\n{blocks}{shown}\n{entry.get('note', '')}\n")
    return "\n".join(parts)


def entries() -> list[dict[str, Any]]:
    """Return the rows of docs/side_by_side.toml, each with its reference run and that run's numbers."""
    listed = tomllib.loads((HERE / "side_by_side.toml").read_text(encoding="utf-8"))["entry"]
    for entry in listed:
        file = json.loads((GOLDEN / f"sim_small__{entry['file']}.json").read_text(encoding="utf-8"))
        entry["run"] = next(run for run in file["runs"] if run["id"] == entry["id"])
        terms = entry["run"][entry.get("section", "estimates")]
        term = next(each for each in terms if each["term"] == entry["term"])
        entry |= {key: file[key] for key in ("package", "version")}
        entry["theirs"] = (term["estimate"], term["se"])
    return listed


def answered(code: str) -> tuple[float, float]:
    """Run a call of ours on the simulated panel and return its estimate and standard error."""
    names: dict[str, Any] = {"study": study, "df": pd.read_csv(GOLDEN / "panels" / "sim_small.csv")}
    exec(f"{PANEL}\n{code}", names)
    fit = names["fit"]
    return float(fit.effect[0]), float(fit.std_error[0])


PANEL = """panel = study.Panel.from_long(
    df, unit="unit", time="time", first_treated="first_treated", outcomes=["y", "count"],
    covariates=["x1", "x2"], attributes="cluster",
)"""


def executed(path: Path) -> str:
    """Return a notebook with its outputs, run where it is."""
    import jupytext
    import nbclient
    import nbformat

    notebook = jupytext.read(path)
    where = {"metadata": {"path": str(path.parent)}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
    return nbformat.writes(notebook)


def _file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


if __name__ == "__main__":
    write(Path(sys.argv[1]))
