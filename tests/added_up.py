"""Panels whose units are added up by numpy, for tests of what the designs make of sums; an engine does the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from study import Panel, Question
from study.panel import Products, Summed, first_observed
from study.panel.drawing import terms_in
from study.panel.summed import rows_of

# What answers from sums.
DESIGNS = (
    "twfe",
    "event_study",
    "callaway_santanna",
    "sun_abraham",
    "imputation",
    "stacked",
    "etwfe",
    "lp_did",
)


def added_up(panel: Panel, question: Question, products: bool = False) -> Panel:
    """Return rows that stand for the units of a panel, strata being of one date, pattern of gaps, weight and so on.

    With ``products`` covariates are not distinguished, but their products with each other and with outcomes added up.
    """
    y, dates = panel.outcomes[question.outcome], panel.first_treated[question.event]
    if question.scale == "log1p":
        y = np.log1p(y)
    numbers = {name: first_observed(panel.covariates[name]) for name in named(panel, question)}
    names = [name for name in (question.cluster, *labels(panel, question)) if name is not None]
    pattern = ~np.isnan(y) @ (2 ** np.arange(y.shape[1]))
    x = np.column_stack(
        [np.ones(len(y)), *(numbers.pop(name) for name in (question.covariates if products else ()))]
    )
    x[:, 1:] = (x[:, 1:] - x[:, 1:].mean(axis=0)) / x[:, 1:].std(axis=0)
    keys = [dates, pattern, *numbers.values()]
    keys += [np.unique(panel.attributes[name], return_inverse=True)[1] for name in names]
    distinct, first, stratum = np.unique(
        np.nan_to_num(np.column_stack(keys).astype(float), nan=-9e9),
        axis=0,
        return_index=True,
        return_inverse=True,
    )
    level = np.nan_to_num(first_observed(y))
    change, (n, p) = np.nan_to_num(y - level[:, None]), x.shape
    pairs, cross = x[:, :, None] * x[:, None, :], x[:, :, None] * change[:, None, :]
    of_x = [pairs.reshape(n, -1), cross.reshape(n, -1)] if products else []
    features = np.column_stack([level, change, *of_x])
    members = [np.flatnonzero(stratum == s) for s in range(len(distinct))]
    mean = np.array([features[own].mean(axis=0) for own in members])
    left = [features[own] - centre for own, centre in zip(members, mean, strict=True)]
    squares = None if question.cluster else np.array([own.T @ own for own in left])
    rows = rows_of(np.array([float(len(own)) for own in members]), mean, squares)
    one = first[rows.stratum]

    def fourths(values: np.ndarray) -> np.ndarray:
        maps = rows.affine(values)
        out = np.zeros((len(members), values.shape[1]))
        for s, own in enumerate(members):
            of_unit = maps[s, 0] + np.tensordot(features[own], maps[s, 1:], axes=1)
            out[s] = ((of_unit**2).sum(axis=2) ** 2).sum(axis=0)
        return out

    seen = ~np.isnan(y[one])
    number = np.concatenate([np.arange(np.sum(rows.stratum == s)) for s in range(len(members))])
    units = np.array([f"{s:06d}/{k:03d}" for s, k in zip(rows.stratum, number, strict=True)])
    n_periods = y.shape[1]
    outcome = np.where(seen, rows.points[:, :1] + rows.points[:, 1 : 1 + n_periods], np.nan)
    added = None
    if products:
        pairs, cross = np.split(rows.points[:, 1 + n_periods :], [p * p], axis=1)
        added = Products(pairs.reshape(-1, p, p), cross.reshape(-1, p, n_periods))
        numbers |= {name: pairs[:, 1 + k] for k, name in enumerate(question.covariates)}
    across = np.ones(y.shape[1])
    return replace(
        panel,
        units=units,
        outcomes={question.outcome: outcome},
        covariates={
            name: np.outer(values[one] if len(values) == n else values, across)
            for name, values in numbers.items()
        },
        first_treated={question.event: dates[one]},
        treatment={},
        attributes={name: panel.attributes[name][one] for name in names},
        summed=Summed(rows.frequency, rows.stratum, fourths, "0" * 16, products=added),
    )


def named(panel: Panel, question: Question) -> list[str]:
    """Return the covariates that the question needs."""
    used = [question.weights, *question.covariates, *(term.name for rule in rules(question) for term in rule)]
    return [name for name in dict.fromkeys(used) if name in panel.covariates]


def labels(panel: Panel, question: Question) -> list[str]:
    """Return the attributes that the question needs besides the cluster."""
    used = [*question.covariates, *(term.name for rule in rules(question) for term in rule)]
    return [name for name in dict.fromkeys(used) if name in panel.attributes]


def rules(question: Question) -> list[list]:
    """Return the terms of the population and of covariates that are rules."""
    return [list(terms_in(rule)) for rule in (question.population, *question.covariates)]
