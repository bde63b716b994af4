"""sensemakr (Cinelli and Hazlett 2020) as a regression by numpy and the algebra of omitted-variable bias."""

from __future__ import annotations

import re
from typing import Any

import goldens
import numpy as np
import pandas as pd
import pytest

from references.comparison import Comparison, Row
from study.diagnostics import omitted_variable_bias as ovb
from study.diagnostics.omitted_variable_bias import Partialled, residual


def sensemakr(panel: str, run: dict[str, Any]) -> Comparison:
    """Return every statistic and bound of a run beside ours; rows are estimates with their standard errors."""
    (theirs,) = run["sensitivity_stats"]
    form = regression(panel, run["call"])
    c = form.coefficient
    f, f_star = ovb.partial_f(c.estimate / c.std_error, c.dof), ovb.critical_f(c.dof, 0.95)
    rows = [Row("treatment", c.estimate, c.std_error, theirs["estimate"], theirs["se"])]
    statistics = {
        "t_statistic": c.estimate / c.std_error,
        "r2yd.x": ovb.partial_r2(c.estimate / c.std_error, c.dof),
        "rv_q": ovb.robustness_value(f),
        "rv_qa": ovb.robustness_value(f, 1.0, f_star),
        "f2yd.x": f**2,
    }
    digits = {name: distance(ours, theirs[name]) for name, ours in statistics.items()}
    benchmark = re.search(r'benchmark_covariates="(\w+)"', run["call"]).group(1)
    strength = form.strength((benchmark,))
    for reported in run["bounds"]:
        label = reported["bound_label"]
        k = float(label.split("x ")[0])
        limits = ovb.bound(*strength, k, k)
        made = ovb.adjusted(c.estimate, c.std_error, c.dof, *limits)
        rows.append(
            Row(label, made.estimate, made.std_error, reported["adjusted_estimate"], reported["adjusted_se"])
        )
        ours = {
            "r2dz.x": limits[0],
            "r2yz.dx": limits[1],
            "adjusted_t": made.statistic,
            "adjusted_lower_CI": made.conf_low,
            "adjusted_upper_CI": made.conf_high,
        }
        digits |= {f"{label} {name}": distance(value, reported[name]) for name, value in ours.items()}
    return Comparison(tuple(rows), counts={"dof": (c.dof, theirs["dof"])}, digits=digits)


def regression(panel: str, call: str) -> Partialled:
    """Return the regression of an lm call: factors as dummies, absorbed with the constant; skip without the panel."""
    path = goldens.panel_file(panel)
    if path is None:
        pytest.skip(f"the panel {panel} is not ours to copy, and the shared folder is absent here")
    outcome, right = re.search(r"lm\((\w+) ~ ([^)]+)\)", call).groups()
    treatment, *controls = right.split(" + ")
    table = pd.read_csv(path)
    factors = [name for name in controls if not pd.api.types.is_numeric_dtype(table[name])]
    names = tuple(name for name in controls if name not in factors)
    dummies = pd.get_dummies(table[factors], drop_first=True).to_numpy(float)
    n_fixed_effects = np.column_stack([np.ones(len(table)), dummies])
    left = residual(table[[outcome, treatment, *names]].to_numpy(float), n_fixed_effects)
    return Partialled(
        "long_difference",
        call,
        left[:, 0],
        left[:, 1],
        left[:, 2:],
        names,
        np.arange(len(table)),
        n_fixed_effects.shape[1],
    )


def distance(ours: float, theirs: float) -> float:
    """Return the difference as a share of the tolerance."""
    return goldens.distance(ours, theirs, 0.0) / goldens.TOLERANCE
