"""Text from templates: what LaTeX and Markdown would read as commands is escaped in one place."""

from __future__ import annotations

import math
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
_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>|#"})
_DIGITS = dict(
    zip(
        "0123456789",
        ["Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine"],
        strict=True,
    )
)


def escape(text: object) -> str:
    """Return text with every character that LaTeX reads as a command made literal."""
    return str(text).translate(_ESCAPES)


def pipe(text: object) -> str:
    """Return text with every character that Markdown reads as a command made literal."""
    return str(text).translate(_MARKDOWN)


def decimal(value: float, digits: int = 3) -> str:
    """Return a number as text, an empty text for NaN; never minus zero."""
    return "" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def in_brackets(value: float, digits: int = 3) -> str:
    """Return a number in parentheses for a siunitx column, an empty cell for NaN."""
    return "" if math.isnan(value) else f"{{(}}{decimal(value, digits)}{{)}}"


def macro_name(*parts: str) -> str:
    """Return a LaTeX command name, letters only: words joined in capitals, digits spelled out."""
    words = "_".join(parts).replace("-", "_").split("_")
    spelled = ("".join(_DIGITS.get(c, c) for c in word) for word in words if word)
    return "".join(word[0].upper() + word[1:] for word in spelled)


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
