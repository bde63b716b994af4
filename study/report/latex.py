"""Text from templates: what LaTeX and Markdown would read as commands is escaped in one place."""

from __future__ import annotations

import math
import re
import unicodedata
from functools import cache
from typing import Any

import jinja2

_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        # At the start of a line of a table these would belong to the command that ended the line before.
        "[": "{[}",
        "]": "{]}",
        "*": "{*}",
    }
)
# What pdfLaTeX has in its usual fonts: Latin letters up to here but some, and some signs. The minus sign is left to
# whoever prints: the paper declares it, for the numbers in its text.
_LAST_LATIN = "\N{LATIN SMALL LETTER Z WITH CARON}"
_NOT_LATIN = "ĦħĸĿŀŉŦŧ"
_SIGNS = "ȘșȚț–—‘’‚“”„†‡•…‰‹›€™\N{MINUS SIGN}"
_MATH = {
    **{"α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "ε": r"\varepsilon", "ζ": r"\zeta"},
    **{"η": r"\eta", "θ": r"\theta", "ι": r"\iota", "κ": r"\kappa", "λ": r"\lambda", "μ": r"\mu"},
    **{"ν": r"\nu", "ξ": r"\xi", "ο": "o", "π": r"\pi", "ρ": r"\rho", "ς": r"\varsigma", "σ": r"\sigma"},
    **{"τ": r"\tau", "υ": r"\upsilon", "φ": r"\varphi", "χ": r"\chi", "ψ": r"\psi", "ω": r"\omega"},
    **{"ϵ": r"\epsilon", "ϑ": r"\vartheta", "ϕ": r"\phi", "Γ": r"\Gamma", "Δ": r"\Delta", "Θ": r"\Theta"},
    **{"Λ": r"\Lambda", "Ξ": r"\Xi", "Π": r"\Pi", "Σ": r"\Sigma", "Υ": r"\Upsilon", "Φ": r"\Phi"},
    **{"Ψ": r"\Psi", "Ω": r"\Omega", "≥": r"\geq", "≤": r"\leq", "≠": r"\neq", "≈": r"\approx"},
    **{"≡": r"\equiv", "≪": r"\ll", "≫": r"\gg", "∼": r"\sim", "≃": r"\simeq", "≅": r"\cong"},
    **{"∝": r"\propto", "∞": r"\infty", "∓": r"\mp", "⋅": r"\cdot", "∗": r"\ast", "√": r"\surd"},
    **{"∑": r"\sum", "∏": r"\prod", "∫": r"\int", "∂": r"\partial", "∇": r"\nabla", "∆": r"\Delta"},
    **{"∈": r"\in", "∉": r"\notin", "∩": r"\cap", "∪": r"\cup", "⊂": r"\subset", "⊆": r"\subseteq"},
    **{"∅": r"\emptyset", "∀": r"\forall", "∃": r"\exists", "∧": r"\wedge", "∨": r"\vee", "⊥": r"\perp"},
    **{"→": r"\rightarrow", "←": r"\leftarrow", "↔": r"\leftrightarrow", "↑": r"\uparrow"},
    **{"↓": r"\downarrow", "⇒": r"\Rightarrow", "⇐": r"\Leftarrow", "⇔": r"\Leftrightarrow"},
    **{"′": r"{}^{\prime}", "″": r"{}^{\prime\prime}", "⋯": r"\cdots", "ℓ": r"\ell", "★": r"\star"},
    # Capitals of Greek that look as those of Latin.
    **{greek: rf"\mathrm{{{latin}}}" for greek, latin in zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧ", "ABEZHIKMNOPTX", strict=True)},
    **{lowered: f"{{}}_{{{digit}}}" for digit, lowered in enumerate("₀₁₂₃₄₅₆₇₈₉")},
    **{raised: f"{{}}^{{{digit}}}" for digit, raised in zip("0456789", "⁰⁴⁵⁶⁷⁸⁹", strict=True)},
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
_BEYOND_ASCII = re.compile("[^\x00-\x7f][\u0300-\u036f]*|[A-Za-z][\u0300-\u036f]+")
# White space but that which does not break, and characters that are not printed.
_SPACE = re.compile("[^\\S\u00a0]+")
_UNPRINTED = ("Cc", "Cf")
_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>|#"})
_DIGITS = dict(
    zip(
        "0123456789",
        ["Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine"],
        strict=True,
    )
)


def escape(text: object) -> str:
    """Return text on one line with every character that LaTeX reads as a command made literal.

    Greek letters, mathematical signs and accents become commands; letters that pdfLaTeX's usual fonts do not have
    stay as they are, see :func:`needs_other_fonts`.
    """
    return _BEYOND_ASCII.sub(_typed, one_line(text).translate(_ESCAPES))


def pipe(text: object) -> str:
    """Return text on one line with every character that Markdown reads as a command made literal."""
    return one_line(text).translate(_MARKDOWN)


def one_line(text: object) -> str:
    """Return text with each run of white space as one space, and without characters that are not printed."""
    spaced = _SPACE.sub(" ", str(text))
    return unicodedata.normalize(
        "NFC", "".join(c for c in spaced if unicodedata.category(c) not in _UNPRINTED)
    )


def needs_other_fonts(latex: str) -> bool:
    """Say whether LaTeX that is escaped has characters that pdfLaTeX's usual fonts lack."""
    return not all(c.isascii() or _is_printed(c) for c in latex)


def _is_printed(character: str) -> bool:
    return (character <= _LAST_LATIN and character not in _NOT_LATIN) or character in _SIGNS


def _typed(found: re.Match[str]) -> str:
    """Return a character that is not ASCII, with its accents, as pdfLaTeX takes it, or as it is."""
    if len(found[0]) == 1 and _is_printed(found[0]):
        return found[0]
    if found[0] in _MATH:
        return rf"\ensuremath{{{_MATH[found[0]]}}}"
    parts = list(unicodedata.normalize("NFD", found[0]))
    commands = [_ACCENTS.get(mark, ("", "")) for mark in parts[1:]]
    if parts[0] in _MATH and all(in_math for _, in_math in commands):
        made = _MATH[parts[0]]
        for _, in_math in commands:
            made = f"{in_math}{{{made}}}"
        return rf"\ensuremath{{{made}}}"
    if parts[0].isascii() and parts[0].isalpha() and all(in_text for in_text, _ in commands):
        made = parts[0]
        for in_text, _ in commands:
            made = f"{in_text}{{{made}}}"
        return made
    return found[0]


def decimal(value: float, digits: int = 3) -> str:
    """Return a number as text, an empty text for NaN; never minus zero."""
    return "" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def in_brackets(value: float, digits: int = 3) -> str:
    """Return a number in parentheses for a siunitx column, an empty cell for NaN."""
    return "" if math.isnan(value) else f"{{(}}{decimal(value, digits)}{{)}}"


def macro_name(*parts: str) -> str:
    """Return a LaTeX command name, letters only: words joined in capitals, digits spelled out.

    Accents are left out, a letter of another script is spelled by its number; all else stands between words.
    """
    letters = (c for c in unicodedata.normalize("NFKD", "_".join(parts)) if not unicodedata.combining(c))
    plain = "".join(c if c.isascii() or not c.isalnum() else f"_U{ord(c):X}_" for c in letters)
    words = re.split(r"[^A-Za-z0-9]+", plain)
    spelled = ("".join(_DIGITS.get(c, c) for c in word) for word in words if word)
    return "".join(word[0].upper() + word[1:] for word in spelled)


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
    environment.filters["escape"] = escape
    environment.filters["pipe"] = pipe
    return environment


def render(template: str, **values: Any) -> bytes:
    """Return a template of ``study/report/templates`` filled in, as UTF-8."""
    return _environment().get_template(template).render(**values).encode()
