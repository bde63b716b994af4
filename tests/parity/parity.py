"""The report tests/parity/PARITY.md on how closely the designs meet the reference packages.

Made anew with ``python tests/parity/parity.py``, which needs the shared folder with panels that are not ours to copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import goldens
from conventions import CONVENTIONS, DISAGREEMENTS, Number
from manifest import RULES, TOLERANCES, WHY, Run, every_run
from references import (
    bacondecomp,
    completion,
    contdid,
    counterfactual,
    did,
    did_multiplegt_dyn,
    didhad,
    etwfe,
    fixest,
    honestdid,
    imputation,
    instruments,
    lwdid,
    pretrends,
    qte,
    sensemakr,
    synthetic,
    triplediff,
    wildboot,
)
from references.comparison import Comparison

REPORT = Path(__file__).parent / "PARITY.md"
LEAST = -9  # ten digits are printed, so a relative difference below 1e-9 is none

READERS: dict[str, tuple[str, Callable[[str, dict[str, Any]], Comparison]]] = {
    "fixest_twfe": ("twfe", fixest.regression),
    "fixest_eventstudy": ("event_study", fixest.regression),
    "did_251": ("callaway_santanna", did.did),
    "did_230": ("callaway_santanna", did.did),
    "drdid": ("callaway_santanna", did.drdid),
    "fixest_sunab": ("sun_abraham", fixest.sunab),
    "didhad": ("heterogeneous_adoption", didhad.didhad),
    "qte": ("changes_in_changes", qte.qte),
    "didimputation": ("imputation", imputation.didimputation),
    "did2s": ("imputation", imputation.did2s),
    "fect": ("imputation", imputation.fect),
    "etwfe": ("etwfe", etwfe.read),
    "etwfe_poisson": ("etwfe", etwfe.read),
    "fixest_poisson": ("poisson_twfe", fixest.poisson),
    "bacondecomp": ("goodman_bacon", bacondecomp.bacondecomp),
    "pretrends": ("pretrends", pretrends.pretrends),
    "honestdid": ("honest_did", honestdid.honestdid),
    "wildboot_cr3": ("twfe", wildboot.wildboot),
    "sensemakr": ("sensitivity", sensemakr.sensemakr),
    "fect_tests": ("matrix_completion", completion.fect),
    "synthdid": ("synthetic_did", synthetic.synthdid),
    "did_multiplegt_dyn": ("dcdh", did_multiplegt_dyn.read),
    "contdid": ("dose_response", contdid.read),
    "linearmodels": ("iv", instruments.linearmodels),
    "fixest_iv": ("iv", instruments.fixest),
    "lwdid": ("lee_wooldridge", lwdid.lwdid),
    "triplediff": ("triple_difference", triplediff.triplediff),
    "triplediff_corrected": ("triple_difference", triplediff.corrected),
    "scinference": ("conformal", counterfactual.scinference),
    "ivdiag_ivmodel": ("iv", instruments.diagnosed),
}
# Runs that another design answers than the others of their package, by the beginning of their names.
ANOTHER: dict[tuple[str, str], tuple[str, Callable[[str, dict[str, Any]], Comparison]]] = {
    ("fect", "gsynth"): ("generalized_synthetic_control", synthetic.gsynth),
    ("fect", "ife"): ("matrix_completion", completion.fect),
    ("fect", "mc"): ("matrix_completion", completion.fect),
    **{
        ("fect_tests", f"{model}_{kind}"): ("placebo_periods", counterfactual.fect_tests)
        for model in ("fe", "ife1", "ife2", "mc")
        for kind in ("placebo", "tests", "carryover", "loo")
    },
    ("synthdid", "did"): ("imputation", synthetic.synthdid),
    ("linearmodels", "panelols"): ("panel_ols", instruments.linearmodels),
    ("fixest_iv", "ols"): ("panel_ols", instruments.fixest),
}

HEAD = """# How closely the designs meet the reference packages

This file is made by `python tests/parity/parity.py` from the comparisons of `tests/parity/test_parity.py`; do not
edit it. `tests/parity/manifest.py` says of every reference run how closely it is to be met, or why it is not compared.
"""


@cache
def measured(run: Run) -> Comparison:
    """Answer a run in scope and put the answer beside it, once for the tests and the report."""
    return reader(run)[1](run.panel, goldens.runs(run.panel, run.package)[run.name])


def reader(run: Run) -> tuple[str, Callable[[str, dict[str, Any]], Comparison]]:
    """Return the design that answers a run, and what reads it."""
    others = (
        found
        for (package, start), found in ANOTHER.items()
        if package == run.package and run.name.startswith(start)
    )
    return next(others, READERS[run.package])


def report() -> str:
    """Return the text of tests/parity/PARITY.md."""
    shared = list(every_run(goldens.shared_files()))
    parts = [
        HEAD,
        differences([run for run in shared if run.in_scope]),
        tolerances(),
        conventions(),
        disagreements(),
        not_compared(shared),
    ]
    return "\n".join(parts)


def differences(runs: list[Run]) -> str:
    """Return the table of the largest differences by design, reference and tolerance class."""
    rows = []
    answered = {(package, design) for (package, _), (design, _) in ANOTHER.items()}
    for package, design in [*((p, d) for p, (d, _) in READERS.items()), *sorted(answered)]:
        for kind in TOLERANCES:
            chosen = [
                run
                for run in runs
                if (run.package, run.rule.kind) == (package, kind) and reader(run)[0] == design
            ]
            if not chosen:
                continue
            made = [measured(run) for run in chosen]
            estimates = [bound(c.estimates) for c in made if c.rows]
            errors = [bound(c.std_errors) for c in made if c.has_errors]
            rows.append(
                (
                    f"`{design}`",
                    version(chosen[0]) + (" (Poisson)" if package.endswith("poisson") else ""),
                    ", ".join(dict.fromkeys(run.panel for run in chosen)),
                    kind,
                    len(made),
                    largest(estimates) if estimates else "none compared",
                    largest(errors) if errors else "none compared",
                    sum(len(c.digits) + len(c.counts) for c in made),
                )
            )
    head = ("design", "reference", "panels", "class", "runs", "estimates", "standard errors", "other numbers")
    return (
        "## Largest differences\n\n"
        "Estimates: |ours - theirs| / max(|theirs|, their standard error). Standard errors: |ours - theirs| / theirs. "
        "Both are rounded up to a power of ten; the references print ten digits, so 1e-9 is the least. Other "
        "numbers are counted: observations, parameters and degrees of freedom are held to the same whole numbers; "
        "covariances, Wald tests and p-values to the digits that are printed; interval ends and draws to the error of "
        "their class.\n\n" + table(head, rows)
    )


def bound(difference: float) -> int:
    """Return the exponent of the power of ten that a difference stays below."""
    return max(LEAST, math.floor(math.log10(difference)) + 1) if difference > 0 else LEAST


def largest(exponents: Iterable[int]) -> str:
    return f"< 1e{max(exponents)}"


def version(run: Run) -> str:
    """Return the package and version that made a run."""
    about = goldens.read(goldens.HERE / f"{run.panel}__{run.package}.json")
    return f"{about['package']} {about['version']}"


def tolerances() -> str:
    """Return the table of tolerance classes."""
    rows = [
        (kind, *(f"{t:.0e}" for t in TOLERANCES[kind]), why) if kind in TOLERANCES else (kind, "", "", why)
        for kind, why in WHY.items()
    ]
    return "## Tolerance classes\n\n" + table(("class", "estimates", "standard errors", "meaning"), rows)


def conventions() -> str:
    parts = ["## Conventions that differ\n"]
    for design, sentences in CONVENTIONS.items():
        parts.append(f"### {design}\n\n" + "".join(f"- {sentence}\n" for sentence in sentences))
    return "\n".join(parts)


def disagreements() -> str:
    parts = ["## Where references disagree\n"]
    for title, examples, text in DISAGREEMENTS:
        parts.append(f"### {title}\n\n{text}\n")
        if examples:
            rows = [(one.panel, *shown(one), *shown(other)) for one, other in examples]
            parts.append(table(("panel", "one", "estimate (error)", "the other", "estimate (error)"), rows))
    return "\n".join(parts)


def shown(number: Number) -> tuple[str, str]:
    """Return where a reported number comes from, and the number."""
    about = goldens.read(goldens.HERE / f"{number.panel}__{number.package}.json")
    run = goldens.runs(number.panel, number.package)[number.run]
    (found,) = [r for r in run[number.section] if r["term"] == number.term]
    name = f"{about['package']} {about['version']}" + (f", {number.what}" if number.what else "")
    return name, f"{found['estimate']:.4f} ({found['se']:.4f})"


def not_compared(runs: list[Run]) -> str:
    """Return the tables of runs, and of terms of runs, that are not compared."""
    outside = [run for run in runs if not run.in_scope]
    groups = groupby(
        sorted(outside, key=lambda r: (r.package, RULES.index(r.rule))), lambda r: (r.package, r.rule)
    )
    rows = [(f"`{package}`", len(list(of_rule)), rule.reason) for (package, rule), of_rule in groups]
    left_out: dict[tuple[str, str], int] = {}
    for run in runs:
        if run.rule.left_out:
            key = (run.package, run.rule.left_out)
            left_out[key] = left_out.get(key, 0) + 1
    terms = [(f"`{package}`", count, why) for (package, why), count in sorted(left_out.items())]
    return (
        f"## What is not compared\n\nOf {len(runs)} reference runs {len(runs) - len(outside)} are compared. "
        "The others, with the reason:\n\n"
        + table(("reference", "runs", "reason"), rows)
        + "\nIn runs that are compared, these terms are not:\n\n"
        + table(("reference", "runs", "terms"), terms)
    )


def table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


if __name__ == "__main__":
    REPORT.write_text(report(), encoding="utf-8")
