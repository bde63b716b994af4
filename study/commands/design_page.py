"""What a design assumes, supports and takes, with its reference and an example, as a page for a terminal."""

from __future__ import annotations

import inspect
import re
from typing import Any, Literal, get_args, get_origin

from study.commands.options import described
from study.core import hints_of, section
from study.designs import Design, Supports
from study.paper.diagnose import ASSUMED

# What the example adds where a design needs it.
GROUPED = "--panel cs_2007 --group group=learning"
NEEDS = {
    "dml_iv": "--covariate baseline_papers --instrument herd_federal --option model=pliv",
    "iv": "--instrument herd_federal",
    "three_way": GROUPED,
    "triple_difference": GROUPED,
}

# Options of the example where no shipped panel has what a design needs.
LABS = "--panel labs.csv --unit lab --time year --outcome papers"
OF_A_FILE = {
    "dose_response": f"{LABS} --event cluster --dose gpu_hours",
    "heterogeneous_adoption": f"{LABS} --event gpu_hours --levels",
}


def design_page(design: Design) -> str:
    """Return the page of a design."""
    beginning, text_of = described(design.function)
    assumptions = [f"{each}: {ASSUMED[each].format(units='units')}" for each in design.assumes]
    refused = [str(trait).partition(",")[0] for trait in Supports if trait not in design.supports]
    hints = hints_of(design.function)
    taken = [
        f"{name}={default}: {values(hints[name])}. {text_of.get(name, '')}".rstrip()
        for name, default in design.options.items()
    ]
    references = re.split(r"References\n-+\n", inspect.getdoc(design.function) or "")[1:]
    example = OF_A_FILE.get(design.name, "--outcome papers --event first_accelerator --min-cohort-size 2")
    parts = [
        f"{design.name}: {design.title}",
        re.sub(r":\w+:`~?([^`]+)`", r"\1", beginning),
        f"Estimand: {design.estimand}",
        section("Assumes", assumptions),
        section("Supports", map(str, design.supports)),
        *([section("Refuses", refused)] if refused else []),
        section("Options, with their defaults", taken or ["none"]),
        section("References", [" ".join(each.split()) for each in "".join(references).split("\n\n")]),
        f"Example\n  study estimate {example} --design {design.name} {NEEDS.get(design.name, '')}".rstrip(),
    ]
    return "\n\n".join(parts)


def values(hint: Any) -> str:
    """Say which values a type hint allows."""
    if get_origin(hint) is Literal:
        return ", ".join(map(str, get_args(hint)))
    if get_args(hint):
        return " or ".join(values(kind) for kind in get_args(hint))
    words = {int: "a whole number", float: "a number", bool: "true or false", type(None): "none given"}
    return words.get(hint, getattr(hint, "__name__", str(hint)))
