"""Small random panels with every pattern of gaps, and questions about them, for searches by hypothesis."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from study import Panel, Question

STATES = ("a", "b", "c", "d", "e")


class Asked(NamedTuple):
    """A panel and a question; printed as what hypothesis drew them from."""

    panel: Panel
    question: Question

    def __repr__(self) -> str:
        y = {name: block.tolist() for name, block in self.panel.outcomes.items()}
        first = {name: dates.tolist() for name, dates in self.panel.first_treated.items()}
        path = {name: values.tolist() for name, values in self.panel.treatment.items()}
        x = {
            name: self.panel.covariates[name].tolist()
            for name in (*self.question.covariates, self.question.weights, *self.question.instruments)
            if name
        }
        x |= {"eligible": self.panel.covariates["eligible"].tolist()} if self.question.group else {}
        state = self.panel.attributes["state"].tolist() if self.question.cluster else None
        return f"Asked(y={y}, first={first}, path={path}, x={x}, state={state}, {self.question})"


@st.composite
def asked(
    draw: Any,
    supports: frozenset[str],
    *,
    units: tuple[int, int] = (4, 15),
    periods: tuple[int, int] = (3, 6),
    counts: bool = False,
    covariates: tuple[str, ...] = ("fixed", "binary", "moving", "patchy", "drift", "late"),
    most_covariates: int = 2,
    instruments: tuple[str | tuple[str, ...], ...] = ("lottery", "lottery", "dose"),
) -> Asked:
    """Draw a panel and a question of what a design supports; names of ``supports`` are those of ``Supports``."""
    n_periods = draw(st.integers(*periods))
    time = np.arange(1, n_periods + 1)
    inside = [float(t) for t in (*range(3, n_periods + 1), 2)]
    others = [np.nan, *inside, *inside, n_periods + 1.0, n_periods + 2.0, 1.0]
    pool = [np.nan, draw(st.sampled_from(inside)), *draw(st.lists(st.sampled_from(others), max_size=3))]
    n = draw(st.sampled_from(range(*units)))
    first = np.array(draw(st.lists(st.sampled_from(pool), min_size=n, max_size=n)))
    if draw(st.sampled_from([True] * 7 + [False])):  # otherwise most panels have no answer
        first[:2] = pool[:2]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    y = _outcome(draw, rng, first, time, counts)
    if "MISSING_CELLS" in supports and draw(st.sampled_from([True, True, True, False])):
        for _ in range(draw(st.integers(1, 3))):
            _remove(draw, rng, y, first)
    across = np.ones(n_periods)
    fixed, trend = rng.normal(size=(2, n))
    moving = rng.normal(size=y.shape)
    patchy = np.where(rng.random(y.shape) < 0.15, np.nan, rng.integers(0, 3, size=y.shape))
    late = np.where(time >= rng.integers(1, 3, size=(n, 1)), rng.normal(size=(n, 1)), np.nan)
    state = draw(st.integers(2, 5))
    columns = {
        "fixed": np.outer(fixed, across),
        "binary": np.outer(rng.integers(0, 2, size=n), across).astype(float),
        "moving": moving,
        "patchy": patchy,
        "drift": trend[:, None] * time**1.5,
        "late": late,
        "dose_path": np.cumsum(rng.integers(0, 2, size=y.shape), axis=1).astype(float),
        "size": np.outer(rng.choice([0.5, 1.0, 1.7, 3.0], size=n), across),
        "lottery": np.outer(((rng.random(n) < 0.3) ^ (first <= n_periods)), across).astype(float),
        "dose": np.outer(rng.normal(size=n) + (first <= n_periods), across),
    }
    if "GROUP" in supports:  # every other unit of a cohort, most of the time
        other = np.argsort(np.argsort(first, kind="stable")) % 2 == 1
        columns["eligible"] = np.outer(other ^ (rng.random(n) < 0.2), across).astype(float)
    switches = "SWITCHING" in supports and draw(st.sampled_from([False, False, True]))
    levels = draw(st.sampled_from([2, 3])) if "LEVELS" in supports else 2
    path = rng.integers(0, levels, size=y.shape) * (rng.random((n, 1)) < 0.7)
    path = np.where(np.isnan(y) & draw(st.booleans()), np.nan, path)
    panel = Panel(
        name="drawn",
        units=np.array([f"u{i:02d}" for i in range(n)]),
        periods=time,
        outcomes={"y": y},
        covariates=columns,
        first_treated={} if switches else {"event": first},
        treatment={"event": path} if switches else {},
        attributes={"state": np.array(STATES)[rng.integers(0, state, size=n)]},
    )
    return Asked(panel, _question(draw, supports, y, switches, covariates, most_covariates, instruments))


def _outcome(draw: Any, rng: np.random.Generator, first: np.ndarray, time: np.ndarray, counts: bool) -> Any:
    shape = (len(first), len(time))
    since = np.nan_to_num(time - first[:, None], nan=-1.0)
    effect = np.where(since >= 0, rng.normal(size=(len(first), 1)) * (1 + since / 2), 0.0)
    kind = draw(st.sampled_from(["counts", "zeros"] if counts else ["normal", "ties", "counts", "zeros"]))
    if kind == "normal":
        return (
            draw(st.sampled_from([0.0, 8.0]))
            + rng.normal(size=shape)
            + rng.normal(size=(len(first), 1))
            + effect
        )
    if kind == "ties":
        return rng.integers(-1, 3, size=shape).astype(float)
    mean = (0.7 if kind == "zeros" else 4.0) * np.exp(0.3 * effect + 0.5 * rng.normal(size=(len(first), 1)))
    return rng.poisson(mean).astype(float)


def _remove(draw: Any, rng: np.random.Generator, y: np.ndarray, first: np.ndarray) -> None:
    """Take cells out: single ones, units, cohorts or periods, wholly, at a time or but for one period."""
    n, n_periods = y.shape
    kind = draw(
        st.sampled_from(["cells", "cells", "period", "cohort", "cohort", "cohort spell", "unit", "spell"])
    )
    t = draw(st.integers(0, n_periods - 1))
    dates = np.unique(first)
    g = dates[draw(st.integers(0, len(dates) - 1))]
    members = np.isnan(first) if np.isnan(g) else first == g
    i = draw(st.integers(0, n - 1))
    if kind == "cells":
        y[rng.random(y.shape) < draw(st.sampled_from([0.05, 0.2, 0.4]))] = np.nan
    elif kind == "period":
        y[:, t] = np.nan
    elif kind == "cohort":
        y[members, t] = np.nan
    elif kind == "cohort spell":
        y[members, : t + 1] = np.nan
    elif kind == "unit":
        keep = y[i, t]
        y[i] = np.nan
        y[i, t] = keep
    else:
        y[i, t:] = np.nan


def _question(
    draw: Any,
    supports: frozenset[str],
    y: np.ndarray,
    switches: bool,
    covariates: tuple[str, ...],
    most_covariates: int,
    instruments: tuple[str | tuple[str, ...], ...],
) -> Question:
    def chosen(name: str, usual: Any, *others: Any) -> Any:
        return draw(st.sampled_from([usual, *others])) if name in supports else usual

    scales = ["level", "level", "log1p"] + ["proportional"] * 2 * ("PROPORTIONAL" in supports)
    names: list[str] = []
    if "COVARIATES" in supports and draw(st.booleans()):
        names = draw(st.permutations(covariates))[: draw(st.integers(1, most_covariates))]
    scale = draw(st.sampled_from(scales))
    if scale == "log1p":
        np.maximum(y, -0.5, out=y)
    horizon = draw(st.sampled_from([None, None, 0, 1]))
    return Question(
        "y",
        "event",
        scale=scale,
        comparison=chosen("NEVER_TREATED", "not_yet_treated", "never_treated"),
        base=chosen("VARYING_BASE", "universal", "varying"),
        anticipation=0 if switches else chosen("ANTICIPATION", 0, 0, 0, 0, 1, 2),
        covariates=tuple(names),
        cluster=chosen("CLUSTERS", None, None, "state"),
        weights=chosen("WEIGHTS", None, None, "size"),
        horizon=horizon,
        average="treated_average" if horizon is None else "event_average",
        missing=draw(
            st.sampled_from(["pairs", "pairs", "balanced"] + ["cells"] * ("REPEATED_CELLS" in supports))
        ),
        min_cohort_size=draw(st.sampled_from([1] if switches else [1, 1, 1, 1, 1, 2])),
        cohort_width=1 if switches else draw(st.sampled_from([1, 1, 1, 2])),
        instrument=draw(st.sampled_from(instruments)) if "INSTRUMENT" in supports else None,
        group="eligible>0" if "GROUP" in supports else None,
    )
