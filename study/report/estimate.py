"""One estimate as a table and as text for a terminal."""

from __future__ import annotations

from study.designs import find_design
from study.estimates import Estimate, smallest_effect
from study.report.columns import CONVENTIONS, POWER_OF
from study.report.comparison import left_out
from study.report.table import Block, Format, Line, Number, Table, error


def estimate_table(fit: Estimate, kind: Format = "latex", level: float = 0.95) -> bytes:
    """Return one estimate's terms as a table that stands alone, as "latex", "html" or "md"."""
    return as_table(fit, level).formatted(kind)


def as_table(fit: Estimate, level: float = 0.95) -> Table:
    """Return one estimate's terms as a table: estimate, standard error, pointwise interval at a level.

    Parameters
    ----------
    fit : Estimate
        Its K terms are the lines.
    """
    lines = [
        Line(
            row.term,
            [Number(row.estimate), error(row.std_error), Number(row.conf_low), Number(row.conf_high)],
        )
        for row in fit.tidy(level).itertuples()
    ]
    question = fit.sample.question
    return Table(
        name="estimate",
        caption=f"Effect of {question.event} on {question.outcome}",
        headings=["Estimate", "Std. error", f"{100 * level:g}% low", f"{100 * level:g}% high"],
        blocks=[Block(find_design(fit.design).title, lines)],
        notes=[f"{sentence}." for sentence in described(fit)],
    )


def estimate_text(fit: Estimate, level: float = 0.95) -> str:
    """Return one estimate's terms as text for a terminal, with intervals at a level."""
    shown = fit.tidy(level).to_string(index=False, float_format=lambda v: f"{v:.4f}")
    return "\n".join([find_design(fit.design).title, shown, *(f"{sentence}." for sentence in described(fit))])


def described(fit: Estimate) -> list[str]:
    """Say what an estimate is, on whom, with what uncertainty, and what it could have found.

    Returns
    -------
    list of str
        Sentences without their full stops.
    """
    sample, dropped = fit.sample, left_out(fit.sample)
    average = fit if len(fit.terms) == 1 else fit.headline
    return [
        f"Estimand: {fit.estimand}, scale {sample.question.scale}",
        f"{sample.n_units} units, {sample.n_treated} of them treated in {len(sample.cohorts)} cohorts; "
        f"{fit.n_obs} observations; {fit.n_clusters} clusters; {CONVENTIONS[fit.convention]}",
        f"Minimum detectable effect of {average.terms[0]} at 80% power and 5% size: {smallest_effect(average)} in "
        f"units of {sample.question.outcome} and in percent of {POWER_OF[sample.question.scale]}",
        *([f"Left out: {'; '.join(dropped)}"] if dropped else []),
        *(note.rstrip(".") for note in fit.notes),
    ]
