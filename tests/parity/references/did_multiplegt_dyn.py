"""DIDmultiplegtDYN (de Chaisemartin and D'Haultfoeuille 2024) as questions to dcdh; Effect_l is event time l - 1."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

import goldens
import numpy as np
import pandas as pd
import pytest

from references.comparison import Comparison, matched, numbers
from study import Estimate, Panel, Question, estimate
from study.estimates import Stacked, stack

P_DIGITS = 1e-8  # ten digits are printed of numbers above one


@cache
def panel(name: str) -> Panel:
    """Return a reference panel whose treatment is a path: known where the row is there."""
    path = goldens.panel_file(name)
    if path is None:
        pytest.skip(f"the panel {name} is not ours to copy, and the shared folder is absent here")
    data = pd.read_csv(path)
    if "D" not in data:
        data["D"] = 1.0 * ((data["first_treated"] > 0) & (data["time"] >= data["first_treated"]))
    covariates = [c for c in ("x2", "w") if c in data and data[c].notna().any()]
    attributes = [c for c in ("cluster", "grp") if c in data]
    roles = {"covariates": covariates, "attributes": attributes, "outcomes": "y", "doses": "D"}
    return Panel.from_long(data, unit="unit", time="time", name=name, **roles)


def fitted(name: str, run: dict[str, Any], variance: str) -> Estimate:
    """Answer the question of a run with one of our two variances."""
    call = run["call"]
    asked = {
        key: value for key, value in re.findall(r"(\w+)=\"?(\w+)\"?", call) if key not in ("df", "outcome")
    }
    question = Question(
        "y",
        "D",
        average="event_average",
        horizon=int(asked["effects"]) - 1,
        comparison="never_treated" if "only_never_switchers" in asked else "not_yet_treated",
        covariates=("x2",) if "controls" in asked else (),
        cluster="cluster" if "cluster" in asked else None,
        weights="w" if "weight" in asked else None,
    )
    options = {
        "placebos": int(asked.get("placebo", 0)),
        "normalized": "normalized" in asked,
        "same_switchers": "same_switchers" in asked,
        "switchers": asked.get("switchers", "both"),
        "trends_nonparam": asked.get("trends_nonparam"),
    }
    return estimate(panel(name), question, "dcdh", vcov="CR0", variance=variance, **options)


def read(name: str, run: dict[str, Any]) -> Comparison:
    """Return effects, placebos, the average, the switchers of each and the joint tests of a run."""
    made = fitted(name, run, "didmultiplegt")
    terms = [term_of(e) for e in made.event_time]
    rows = matched(numbers(made, terms), run["estimates"])
    switchers = dict(zip(terms, fitted(name, run, "sampling").leave_out.clusters[0].tolist(), strict=True))
    counts = {} if made.sample.question.cluster else {
        f"switchers of {r['term']}": (switchers[r["term"]], r["switchers"])
        for r in run["estimates"]
        if r["term"] != "Av_tot_eff"
    }  # fmt: skip
    effects = made.event_time >= 0
    p_values = {
        "p_jointplacebo": lambda: made.test(made.pre).p_value,
        "p_jointeffects": lambda: made.test(effects).p_value,
        "p_equality": lambda: (
            stack(np.array(terms)[effects], [Stacked.of(made, effects)]).differences().test().p_value
        ),
    }
    digits = {key: abs(p() - run[key]) / P_DIGITS for key, p in p_values.items() if run[key] is not None}
    return Comparison(rows, counts, digits)


def term_of(event_time: float) -> str:
    """Return what the package calls one of our event times."""
    if math.isnan(event_time):
        return "Av_tot_eff"
    return f"Effect_{event_time + 1:.0f}" if event_time >= 0 else f"Placebo_{-event_time - 1:.0f}"
