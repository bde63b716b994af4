"""Every number of the paper's texts is tied to an exhibit: few in a sentence, none typed, each beside its table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import pytest
from plans import ROOT

from study.paper import find_exhibit, numbers
from study.paper.exhibits.exhibit import Source, Traced
from study.paper.numbers import filled, passages, sentences

TEXTS = {name: (ROOT / "paper" / name).read_text() for name in ("main.tex", "appendix.tex")}
# Which program makes what, in the list that a run writes.
LISTED = re.findall(
    r"\| `study/paper/exhibits/(\w+)\.py` \| `paper/(table|figure)s/([\w-]+)\.",
    (ROOT / "REPLICATION.md").read_text(),
)
NUMBERS = numbers.read_sources(ROOT / "paper")
OF_TEXTS = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
ABSTRACT = re.compile(r"\\begin\{abstract\}.*?\\end\{abstract\}", re.DOTALL)
# What is no prose: arguments, columns and lengths of layout, mathematics with a letter, and names with a digit.
ARGUMENT = r"(?:\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})"
NO_PROSE = re.compile(
    rf"\\begin\{{[\w*]+\}}(?:\[[^]]*\])?{ARGUMENT}*|\\(?:exhibit|multicolumn)\{{[^}}]*\}}\{{[^}}]*\}}"
    rf"|\\(?:result|\w*ref|label|input|bibliography\w*|texttt|url|includegraphics|cite\w*|nocite|set\w+"
    rf"|[vh]space\*?|cmidrule)(?:\[[^]]*\]|\([^)]*\))*{ARGUMENT}*"
    r"|-?\d*\.?\d+(?:(?:pt|em|ex|cm|mm)\b|\\\w*(?:width|height|size)\b)|\$[^$]*[A-Za-z\\][^$]*\$|TOP500|3IA"
)
WORDS = (
    "(?:three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen"
    "|(?:twen|thir|for|fif|six|seven|eigh|nine)ty(?:-[a-z]+)?|(?:a|one) (?:dozen|hundred)|hundreds?)"
)
COUNTED = (
    "(?:universit|institution|compan|countr|stud|cit|histor)(?:y|ies)|(?:paper|title|author|venue|field|topic|area|year"
    "|month|cohort|adopter|machine|system|device|grant|award|proposal|contest|model|team|panel|draw|estimate|interval"
    "|comparison|specification|design|test|lead|coefficient|outcome|moment|repetition|region|treatment|event|point|cell)s?"
    "|process(?:es)?|percent(?:age)?|hypothes[ei]s|analys[ei]s"
)
IN_WORDS = re.compile(
    rf"\b(?:{WORDS} (?:[a-z-]+ ){{0,2}}(?:{COUNTED})\b"
    r"|(?:half|thirds?|quarters?|fifths?|tenths?) of (?:the |all )?[a-z]+)"
)
# Number words of structure and of definitions, which no data could change.
STRUCTURE = ("half of each",)
# Exhibits whose tables and figures show numbers of other exhibits too.
SHOWS: dict[str, tuple[str, ...]] = {
    "contrasts": ("designs", "families", "placebos", "further"),
    "event_studies": ("composition", "designs"),
    "tournament": ("designs",),
    "treatments": ("timing", "machines", "gpu_stock"),
}


def typed(text: str) -> list[str]:
    """Return the digits of a text's prose and its number words before what data count, each with what is beside it."""
    bare = re.sub(r"(?<!\\)%.*", "", text)
    body = bare.partition(r"\begin{document}")[2] or bare
    prose = re.sub(r"\s+", " ", NO_PROSE.sub(" ", body).replace("~", " "))
    words = [match[0] for match in IN_WORDS.finditer(prose) if match[0] not in STRUCTURE]
    return re.findall(r".{0,30}\d+.{0,30}", prose) + words


def crowded(text: str, known: Mapping[str, Traced] = NUMBERS) -> list[str]:
    """Return the sentences of a text that cite more than three numbers."""
    return [
        f"line {each.line}: {filled(each, known)}" for each in sentences(text, known) if len(each.cited) > 3
    ]


def untied(text: str, made: Mapping[str, str], known: Mapping[str, Traced] = NUMBERS) -> Iterator[str]:
    """Yield the passages that cite a number and refer to no table or figure with numbers of the exhibit that makes it.

    What is made are labels, each with its exhibit. The abstract may refer to nothing, and what is of the plan is no
    exhibit's.
    """
    for passage in passages(ABSTRACT.sub(lambda abstract: "\n" * abstract[0].count("\n"), text)):
        named = re.findall(r"\\(?:ref|label)\{([^}]*)\}", passage.text)
        refers = {made[label] for label in named if label in made}
        cited = [at for at in passage.cited if not at.startswith("plan/")]
        makers = {known[at].source.exhibit if at in known else f"no result {at}" for at in cited}
        lacking = makers.difference(refers, *(SHOWS.get(name, ()) for name in refers))
        if lacking:
            begins = " ".join(passage.text.split()[:12])
            yield f"line {passage.line}: {', '.join(sorted(lacking))} beside {sorted(refers)}: {begins}"


def labels(texts: list[str]) -> dict[str, str]:
    """Return the labels of the paper's tables and figures, each with the exhibit that makes it."""
    made = {f"tab:{name}": exhibit for exhibit, kind, name in LISTED if kind == "table"}
    drawn = {name: exhibit for exhibit, kind, name in LISTED if kind == "figure"}
    taken = re.findall(rf"\\exhibit\{{[\d.]+\}}\{{([\w:-]+)\}}({ARGUMENT})", "".join(texts))
    named = {label: name for name, caption in taken for label in re.findall(r"\\label\{([^}]*)\}", caption)}
    return made | {label: drawn[name] for label, name in named.items() if name in drawn}


@OF_TEXTS
def test_no_sentence_of_the_paper_has_more_than_three_numbers(text):
    assert not (found := crowded(text)), "\n".join(found)


@OF_TEXTS
def test_no_number_of_the_paper_is_typed(text):
    assert typed(text) == []


@pytest.mark.parametrize("name", TEXTS)
def test_each_number_of_the_paper_stands_beside_a_reference_to_an_exhibit_that_has_it(name):
    lacking = list(untied(TEXTS[name], labels(list(TEXTS.values()))))
    assert not lacking, "\n".join(lacking)


def test_notes_of_tables_and_captions_of_figures_can_be_read():
    tables = {
        path.name: path.read_text().partition("\n*Notes.*")[2] for path in ROOT.glob("paper/tables/*.md")
    }
    assert len(tables) > 30
    long = {name: len(notes.split()) for name, notes in tables.items() if len(notes.split()) > 80}
    captions = re.findall(rf"\\exhibit\{{[\d.]+\}}\{{([\w:-]+)\}}({ARGUMENT})", "".join(TEXTS.values()))
    words = {name: len(re.sub(r"\\label\{[^}]*\}", "", caption).split()) for name, caption in captions}
    assert words
    assert not long | {name: count for name, count in words.items() if count > 45}


def document(body: str) -> str:
    return (
        "\\documentclass{article}\n\\newcommand{\\x}{3}\n\\begin{document}\n" + body + "\n\\end{document}\n"
    )


def number(at: str, value: str = "1.5", exhibit: str = "facts") -> dict[str, Traced]:
    return {at: Traced(at, value, Source(exhibit, "a number", "panel", "0"))}


KNOWN = (
    number("a/b")
    | number("a/c", "-2")
    | number("a/d", "Two reject. 3 do not.")
    | number("s/t", "4", "sample")
)


@pytest.mark.parametrize(
    ("body", "cited"),
    [
        (r"Papers rose by \result{a/b}\% (\citet{x} et al. say \result{a/c}). Others fell.", ["a/b", "a/c"]),
        (r"One. Papers rose by \result{a/b}, i.e. by much, e.g. A.~B. by \result{a/c}. Two.", ["a/b", "a/c"]),
        (r"No? \result{a/d} Papers rose by \result{a/b}.", ["a/d"]),
        (r"\emph{A claim that rose by \result{a/b}.} Papers rose by \result{a/c}.", ["a/b"]),
        ("It rose by \\result{a/b}\n\nand by \\result{a/c}.", ["a/b"]),
        (r"\item It rose by \result{a/b} \item and by \result{a/c}.", ["a/b"]),
        (r"\exhibit{1}{x}{It rose by \result{a/b}\label{fig:x}} and by \result{a/c}.", ["a/b"]),
        (r"A & \result{a/b} & 1 \\ B & \result{a/c} \\", ["a/b"]),
        ("% \\result{a/c}.\nIt rose by \\result{a/b}.", ["a/b"]),
    ],
)
def test_a_sentence_ends_where_a_reader_ends_it(body, cited):
    found = [each for each in sentences(document(body), KNOWN) if each.cited]
    assert found[0].cited == cited
    rest = [at for each in found[1:] for at in each.cited]
    assert len(rest) == len(re.findall(r"\\result", re.sub(r"(?<!\\)%.*", "", body))) - len(cited)


def test_a_sentence_is_printed_with_its_line_its_values_and_what_makes_them():
    text = document(
        "First.\n\nPapers rose by \\result{a/b}\\%\n\\emph{only} (Table~\\ref{tab:x}) or \\result{a/e}."
    )
    (sentence,) = (each for each in sentences(text, KNOWN) if each.cited)
    assert text.splitlines()[sentence.line - 1].startswith("Papers rose")
    said, made = filled(sentence, KNOWN).splitlines()
    assert said == "Papers rose by 1.5% only (Table tab:x) or [no result a/e]."
    assert made.split() == ["1.5", "a/b", "(facts)"]


def test_a_sentence_with_four_numbers_would_be_found():
    four = r"It rose by \result{a/b} (\result{a/c} to \result{a/b}; see \result{a/d} of"
    assert len(crowded(document(four + r" \result{a/c})."), KNOWN)) == 1
    assert crowded(document(four.replace("; see", ". See") + r" \result{a/c})."), KNOWN) == []


@pytest.mark.parametrize(
    "said",
    [
        r"rose by 18.7\%",
        "rose in 2012",
        r"rose by $18.7$\%",
        r"rose by \num{18}",
        "in three universities",
        "in twenty-three listed machines",
        "a hundred papers",
        "half of them",
        "two thirds of the weight",
        "(a third of papers)",
        "12 papers",
        r"\caption{Rose in 2012}",
        r"\exhibit{1}{x}{Rose in 2012.}",
        r"\begin{abstract}Rose by 3.\end{abstract}",
    ],
)
def test_a_typed_number_would_be_found(said):
    assert typed(document(f"Papers {said}."))


@pytest.mark.parametrize(
    "said",
    [
        r"rose by \result{a/b}\% \citep[p. 3]{roth2022} in the TOP500 (Table~\ref{tab:t2})",
        r"\exhibit{0.8}{x2}{Rose.\label{fig:x2}}\includegraphics[width=0.5\textwidth]{figures/x2}",
        r"grew at $t-1$, in $\log(1+y)$, by a quarter, and answer two questions of three kinds",
        r"\begin{tabularx}{\linewidth}{p{3cm}>{\hsize=.6\hsize}X} a & \multicolumn{2}{c}{b} \\[2pt] \cmidrule(lr){2-3}",
        r"\vspace{3pt}\setlength{\tabcolsep}{4.5pt} fell % by 3",
    ],
)
def test_what_is_no_number_of_the_prose_may_be_typed(said):
    assert typed(document(said)) == []


MADE = {"tab:facts": "facts", "fig:sample": "sample"}


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (r"Rose by \result{a/b} (Table~\ref{tab:facts}).", []),
        ("Rose by \\result{a/b}.\n\nSee Table~\\ref{tab:facts}.", [4]),
        (r"Rose by \result{a/b} and \result{s/t} (Table~\ref{tab:facts}).", [4]),
        (r"Rose by \result{a/b} and \result{s/t} (Table~\ref{tab:facts}, Figure~\ref{fig:sample}).", []),
        (r"Rose by \result{plan/level} (Section~\ref{sec:x}).", []),
        (r"Rose by \result{a/none} (Table~\ref{tab:facts}).", [4]),
        ("\\begin{abstract}\nRose by \\result{a/b}.\n\\end{abstract}\nRose by \\result{s/t}.", [7]),
        ("\\exhibit{1}{sample}{Of \\result{s/t}.\\label{fig:sample}}\nOf \\result{s/t}.", [5]),
        ("\\item \\result{a/b} (\\ref{tab:facts})\n\\item \\result{a/b}", [5]),
        ("A & \\result{a/b} & \\ref{tab:facts} \\\\\nB & \\result{a/b} \\\\", [5]),
    ],
)
def test_a_number_without_its_exhibit_would_be_found(body, lines):
    found = list(untied(document(body), MADE, KNOWN))
    assert [int(re.search(r"line (\d+)", each)[1]) for each in found] == lines, found


def test_numbers_that_a_table_shows_of_another_exhibit_may_stand_beside_it(monkeypatch):
    text = document(r"Of \result{s/t} (Table~\ref{tab:facts}).")
    assert len(list(untied(text, MADE, KNOWN))) == 1
    monkeypatch.setitem(SHOWS, "facts", ("sample",))
    assert list(untied(text, MADE, KNOWN)) == []


def test_each_label_of_a_figure_is_of_the_exhibit_that_draws_it():
    made = labels(list(TEXTS.values()))
    assert made["tab:main"] == "designs"
    assert made["fig:raw"] == "raw_means"
    assert {find_exhibit(name).name for name in made.values()} == set(made.values())
