"""Text from templates: what LaTeX and Markdown would read as commands is escaped in one place."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Any

import jinja2

_ESCAPES = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    # At the start of a line of a table these would belong to the command that ended the line before.
    | {sign: f"{{{sign}}}" for sign in "[]*"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}"}
)
# What pdfLaTeX has in its usual fonts: Latin letters up to here but some, and some signs.
_LAST_LATIN = "\N{LATIN SMALL LETTER Z WITH CARON}"
_NOT_LATIN = "ĦħĸĿŀŉŦŧ"
_SIGNS = "ȘșȚț–—‘’‚“”„†‡•…‰‹›€™"
# Where pylatexenc names a command of a package that tables do not load, or another sign.
_BASE_FONTS = {
    "∅": r"\ensuremath{\emptyset}",
    "★": r"\ensuremath{\star}",
    "\N{MINUS SIGN}": r"\ensuremath{-}",
}
# Combining marks: the command in text and that in mathematics.
_ACCENTS = {
    "\u0300": (r"\`", r"\grave"),
    "\u0301": (r"\'", r"\acute"),
    "\u0302": (r"\^", r"\hat"),
    "\u0303": (r"\~", r"\tilde"),
    "\u0304": (r"\=", r"\bar"),
    "\u0306": (r"\u", r"\breve"),
    "\u0307": (r"\.", r"\dot"),
    "\u0308": (r"\"", r"\ddot"),
    "\u030a": (r"\r", r"\mathring"),
    "\u030b": (r"\H", ""),
    "\u030c": (r"\v", r"\check"),
    "\u0323": (r"\d", ""),
    "\u0327": (r"\c", ""),
    "\u0328": (r"\k", ""),
    "\u0331": (r"\b", ""),
}
_IN_MATH = re.compile("GREEK|SCRIPT")
_BEYOND_ASCII = re.compile("[^\x00-\x7f][\u0300-\u036f]*|[A-Za-z][\u0300-\u036f]+")
# White space but that which does not break, and characters that are not printed.
_SPACE = re.compile("[^\\S\u00a0]+")
_UNPRINTED = ("Cc", "Cf")
MINUS, EN_DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
# A hyphen that is the minus of a number, and one that is the dash between two, which are no part of a name or date.
_MINUS = re.compile(r"(?<![\w)\]/.\-\N{EN DASH}])-(?=\.?\d)")
_RANGE = re.compile(r"(?<![\w/.\-])(?!0\d)(\d+(?:\.\d+)?)-(?!0\d)(\d+(?:\.\d+)?)(?![\w/\-]|\.\w)")
_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>|#$~"})


def escape(text: object) -> str:
    """Return text on one line with every character that LaTeX reads as a command made literal.

    Greek letters, mathematical signs and accents become commands; letters that pdfLaTeX's usual fonts do not have
    stay as they are, see :func:`needs_other_fonts`. Hyphens of an option stay two.
    """
    return re.sub("-(?=-)", "-{}", _BEYOND_ASCII.sub(_typed, one_line(text).translate(_ESCAPES)))


def pipe(text: object) -> str:
    """Return text on one line with every character that Markdown reads as a command made literal."""
    return one_line(text).translate(_MARKDOWN)


def with_signs(text: str) -> str:
    """Return text with a minus before negative numbers and a dash in ranges: "2014–2016", "2007–18"."""
    dashed = _RANGE.sub(
        lambda ends: EN_DASH.join(ends.groups()) if _goes_up(*ends.groups()) else ends[0], text
    )
    return _MINUS.sub(MINUS, dashed)


def _goes_up(low: str, high: str) -> bool:
    """Say whether two numbers are a range: also a year and the last digits of another, which are no month."""
    if len(low) == 4 and len(high) == 2:
        return max(12, int(low[2:])) < int(high)
    return float(low) < float(high)


def one_line(text: object) -> str:
    """Return text with each run of white space as one space, and without characters that are not printed."""
    spaced = _SPACE.sub(" ", str(text))
    printed = (c for c in spaced if unicodedata.category(c) not in _UNPRINTED)
    return unicodedata.normalize("NFC", "".join(printed))


def needs_other_fonts(latex: str) -> bool:
    """Say whether LaTeX that is escaped has characters that pdfLaTeX's usual fonts lack."""
    return not all(c.isascii() or _is_printed(c) for c in latex)


def _is_printed(character: str) -> bool:
    return (character <= _LAST_LATIN and character not in _NOT_LATIN) or character in _SIGNS


def _typed(character: re.Match[str]) -> str:
    """Return a character that is not ASCII, with its accents, as pdfLaTeX takes it, or as it is."""
    text = character[0]
    known = _command(text) if len(text) == 1 else None
    if known is not None:
        return known
    base, *marks = list(unicodedata.normalize("NFD", text))
    command = base if base.isascii() and base.isalpha() else _command(base)
    if command is None or not all(mark in _ACCENTS for mark in marks):
        return text
    in_math = re.fullmatch(r"\\ensuremath\{(.*)\}", command)
    accents = [_ACCENTS[mark][bool(in_math)] for mark in marks]
    if not all(accents):
        return text
    inner = in_math[1] if in_math else command
    for accent in accents:
        inner = f"{accent}{{{inner}}}"
    return rf"\ensuremath{{{inner}}}" if in_math else inner


def _command(character: str) -> str | None:
    """Return a character as pdfLaTeX takes it, None where it does not."""
    if _is_printed(character):
        return character
    if character in _BASE_FONTS:
        return _BASE_FONTS[character]
    if unicodedata.category(character)[0] == "L" and not _IN_MATH.match(unicodedata.name(character)):
        return None  # a letter of another script, for which pylatexenc has commands of other packages
    typed: str = _encoder().unicode_to_latex(character)
    return None if typed == character else typed


@cache
def _encoder() -> Any:
    from pylatexenc.latexencode import UnicodeToLatexEncoder

    return UnicodeToLatexEncoder(non_ascii_only=True, unknown_char_policy="keep", unknown_char_warning=False)


def address_part(text: str) -> str:
    """Return a part of a result's address: small letters, digits, signs and underscores."""
    letters = (c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c))
    plain = "".join(c if c.isascii() or not c.isalnum() else f"u{ord(c):x}" for c in letters if c != "'")
    return re.sub(r"[^a-z0-9.-]+|(?<=[a-z0-9])-", "_", plain).strip("_")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("study.report", "templates"),
        block_start_string=r"\BLOCK{",
        block_end_string="}",
        variable_start_string=r"\VAR{",
        variable_end_string="}",
        comment_start_string=r"\#{",
        comment_end_string="}",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
    environment.filters |= {"escape": escape, "pipe": pipe}
    return environment


def render(template: str, **values: Any) -> bytes:
    """Return a template of ``study/report/templates`` filled in, as UTF-8."""
    return _environment().get_template(template).render(**values).encode()
