"""Estimates as files of arrays and text, without pickle."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from study.core import (
    DataError,
    Influence,
    OutputError,
    Part,
    QuestionError,
    Values,
    checked,
    decoded,
    encoded,
    write_all,
)
from study.estimates.contrast import Contrast, LeftOut
from study.estimates.estimand import Estimand
from study.estimates.estimate import Estimate
from study.panel import BLOCKS, FlowStep, NotSaved, Panel, Question, Sample

FORMAT, SUFFIX = 1, ".npz"
_SAVED = (Question, FlowStep, Influence, Part, Values, Contrast, LeftOut)


def _fields(value: Any, without: Collection[str]) -> dict[str, Any]:
    """Return the fields of a dataclass by name."""
    return {field.name: getattr(value, field.name) for field in fields(value) if field.name not in without}


def save(fit: Estimate, path: Path) -> None:
    """Write an estimate to a file; see :meth:`study.Estimate.save`."""
    arrays: list[Any] = []
    panel = fit.sample.panel
    if path.suffix != SUFFIX:
        raise OutputError(
            f"Estimate.save: {path} does not end in {SUFFIX}; estimates are saved as such files."
        )
    content = {
        "format": FORMAT,
        "checksum": panel.checksum,
        "panel": _fields(panel, BLOCKS),
        "sample": _fields(fit.sample, ("panel",)),
        "estimate": _fields(fit, ("sample", "form")),
    }
    try:
        text = encoded(content, str, arrays)
    except TypeError as error:
        raise OutputError(f"Estimate.save: {path} cannot be written, since {error}") from error
    buffer = BytesIO()
    np.savez_compressed(buffer, *arrays, text=np.frombuffer(text, dtype=np.uint8))
    write_all(path.parent, {path.name: buffer.getvalue()})


@checked
def load_estimate(path: str | Path, panel: Panel | None = None) -> Estimate:
    """Read an estimate that :meth:`Estimate.save` wrote.

    Effects, standard errors under every vcov, covariance, intervals, bands, tests, averages, tables and
    figures are those of the estimate that was saved, and so is what a design finds on ``fit.sample``.

    Parameters
    ----------
    path : str or Path
    panel : Panel, optional
        The panel of the estimate, for what looks at more of it than the sample has: other questions of
        ``fit.sample.panel``, heterogeneity, balance, neighbours. What needs it and does not have it raises a
        QuestionError that says so.

    Returns
    -------
    Estimate

    Raises
    ------
    DataError
        If there is no such file, or it is damaged or of another kind.
    QuestionError
        If the panel is not that of the estimate.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = [file[f"arr_{k}"] for k in range(len(file.files) - 1)]
            content = decoded(file["text"].tobytes(), _SAVED, arrays)
        form, checksum, of_panel, sample, estimate = content.values()
        if form != FORMAT:
            raise ValueError(form)
        estimate["estimand"] = Estimand(estimate["estimand"])
        known = Panel(**of_panel | dict.fromkeys(BLOCKS, NotSaved())) if panel is None else panel
        if panel is None:
            vars(known)["checksum"] = checksum  # where it is kept once it was computed
        fit = Estimate(sample=Sample(panel=known, **sample), **estimate)
    except FileNotFoundError as error:
        raise DataError(f"load_estimate: there is no file {path}.") from error
    except Exception as error:  # whatever is wrong with a file
        raise DataError(
            f"load_estimate: {path} is damaged, or no file that Estimate.save of this version wrote; save it "
            "anew."
        ) from error
    if fit.sample.panel_checksum != checksum:
        raise QuestionError(
            f"load_estimate: {path} is of the panel {of_panel['name']} with checksum {checksum}, and "
            f"{known.name} has {known.checksum}; give the panel that the estimate was made on."
        )
    return fit
