"""Estimates and comparisons in the format that a reader or a program asks for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from study.estimates import Estimate
from study.inference import Comparison
from study.report.design_table import as_tables
from study.report.estimate import as_table, estimate_summary
from study.report.table import Format, document

if TYPE_CHECKING:
    import pandas as pd


def estimates_in(form: str, fits: Sequence[Estimate], level: float = 0.95) -> str:
    """Return estimates one after another, as "text", "latex", "html", "md", "csv" or "json".

    Intervals are at ``level``. The last two have what :meth:`study.Estimate.tidy` has, and JSON besides what
    was asked and what each estimate rests on.
    """
    if form == "json":
        return as_json([_record(fit, level) for fit in fits])
    if form == "csv":
        import pandas as pd

        return pd.concat([fit.tidy(level) for fit in fits], ignore_index=True).to_csv(index=False)
    if form == "text":
        return "\n\n".join(estimate_summary(fit, level) for fit in fits)
    return document([as_table(fit, level) for fit in fits], cast("Format", form)).decode()


def comparison_in(form: str, comparison: Comparison, level: float = 0.95) -> str:
    """Return a comparison as "text", "latex", "html", "md", "csv" (averages) or "json" (tests as well)."""
    if form == "json":
        record = {
            "question": asdict(comparison.question),
            "outcomes": comparison.outcomes,
            "averages": rows_of(comparison.tidy(level)),
            "differences": rows_of(comparison.differences()),
            "tests": rows_of(comparison.tests()),
            "notes": comparison.notes,
            "refused": comparison.refused,
        }
        return as_json(record)
    if form == "csv":
        return comparison.tidy(level).to_csv(index=False)
    if form == "text":
        return str(comparison)
    return document(as_tables(comparison), cast("Format", form)).decode()


def _record(fit: Estimate, level: float) -> dict[str, Any]:
    return {
        "design": fit.design,
        "options": dict(fit.options),
        "question": asdict(fit.sample.question),
        "panel": {"name": fit.sample.panel.name, "checksum": fit.sample.panel_checksum},
        "estimand": fit.estimand,
        "convention": fit.errors_by,
        "level": level,
        "n_units": fit.sample.n_units,
        "n_treated": fit.sample.n_treated,
        "n_obs": fit.n_obs,
        "n_clusters": fit.n_clusters,
        "notes": fit.notes,
        "terms": rows_of(fit.tidy(level)),
    }


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame, None where a cell is empty."""
    cells = frame.astype(object)
    return cells.where(frame.notna(), None).to_dict(orient="records")


def as_json(record: Any) -> str:
    """Return a record as indented JSON, what JSON does not know as text."""
    return json.dumps(record, indent=2, ensure_ascii=False, default=str)
