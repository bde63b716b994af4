"""The sentences of a text that cite results, for whoever holds each against its exhibit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from study.paper.exhibits.exhibit import Traced
from study.paper.numbers import CITED

RESULT = re.compile(CITED[".tex"])
_ARGUMENT = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
# What stands by itself: a caption, a heading; and what parts passages: an empty line, an item, a row of a table.
_ALONE = (
    rf"\\exhibit\{{[^}}]*\}}\{{[^}}]*\}}{_ARGUMENT}|\\(?:caption|(?:sub)*section\*?|paragraph){_ARGUMENT}"
)
_BETWEEN = r"\n[ \t]*\n|\\item\b|\\\\|\\(?:begin|end|input|bibliography\w*)\{[^}]*\}|\\(?:top|mid|bottom)rule"
_CUT = re.compile(rf"({_ALONE})|{_BETWEEN}")
# Ends of sentences: not after an abbreviation or an initial, and after a value that is a sentence, which has the mark.
_MARK = "\0"
_END = re.compile(rf"(?<=[.?!{_MARK}])(?<!\bal\.)(?<!\b[a-zA-Z]\.)(?<!vs\.)(?<!cf\.)[)}}']*\s+(?=[^a-z\s])")


class Sentence(NamedTuple):
    """A sentence of a text in LaTeX: the line that it begins on, and what is written."""

    line: int
    text: str

    @property
    def cited(self) -> list[str]:
        """The addresses that it cites."""
        return RESULT.findall(self.text)


def passages(text: str) -> Iterator[Sentence]:
    """Yield the paragraphs, items, captions, headings and rows of a text in LaTeX, each with its first line."""
    text = re.sub(r"(?<!\\)%.*", "", text)
    at = max(text.find(r"\begin{document}"), 0)
    for cut in [*_CUT.finditer(text, at), None]:
        for start, end in ((at, cut.start() if cut else len(text)), cut.span(1) if cut else (0, 0)):
            written = text[start:end]
            if written.strip():
                begin = start + len(written) - len(written.lstrip())
                yield Sentence(text.count("\n", 0, begin) + 1, written.strip())
        at = cut.end() if cut else at


def sentences(text: str, numbers: Mapping[str, Traced]) -> Iterator[Sentence]:
    """Yield the sentences of a text in LaTeX; a number whose value is a sentence is one by itself."""
    for line, passage in passages(text):
        at = 0
        marked = RESULT.sub(lambda cited: cited[0] + _MARK * _is_sentence(numbers, cited[1]), passage)
        for end in [*(match.end() for match in _END.finditer(marked)), len(marked)]:
            yield Sentence(line + marked.count("\n", 0, at), marked[at:end].replace(_MARK, "").strip())
            at = end


def _is_sentence(numbers: Mapping[str, Traced], at: str) -> bool:
    return at in numbers and numbers[at].value.endswith((".", "?"))


def filled(sentence: Sentence, numbers: Mapping[str, Traced]) -> str:
    """Return a sentence as it is read, with the values that it cites and the names of what it refers to.

    On lines below it is each value with its address and the exhibit that makes it.
    """
    from pylatexenc.latex2text import LatexNodes2Text

    values = {at: numbers[at].value if at in numbers else f"[no result {at}]" for at in sentence.cited}
    bare = re.sub(r"\\label\{[^}]*\}|\\exhibit\{[^}]*\}\{[^}]*\}", "", sentence.text)
    named = re.sub(r"\\(?:ref|cite\w*|texttt)\{([^}]*)\}", r"\1", bare)
    typed = RESULT.sub(lambda cited: values[cited[1]].replace("%", r"\%"), named)
    read = " ".join(LatexNodes2Text().latex_to_text(typed).split())
    made = [f"    {values[at]}  {at}  ({numbers[at].source.exhibit})" for at in values if at in numbers]
    return "\n".join([read, *made])
