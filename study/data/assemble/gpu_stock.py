"""Does an event tell who holds GPUs later? Totals over US universities by event, from a third party's table."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from study.core import FloatArray
from study.data.audit import Share
from study.data.institutions import UNIT, Matcher, by_university
from study.data.sources.gpus_per_student import MONTH

# The definitions of treatment that are checked, where the assembled events have them.
EVENTS = (
    "first_top500", "first_accelerator", "first_gpu_system", "first_own_gpu_system", "first_other_accelerator",
    "first_gpu_access", "first_cluster_grant", "first_gpu_grant", "first_cri_cluster", "first_cri_gpu",
    "first_ccstar",
)  # fmt: skip
LEVEL = 0.95


def totals(stock: pd.DataFrame, matcher: Matcher, units: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """Compare the GPUs of the universities with each event with those of the others.

    Parameters
    ----------
    stock : DataFrame
        Of ``sources.gpus_per_student.read``.
    units : DataFrame
        university, country of a panel's universities; those of the United States that the stock names are compared.
    events : DataFrame
        university, country, event, date ("YYYY-MM" or "YYYY"), left_censored.

    Returns
    -------
    DataFrame
        One row an event of ``EVENTS`` that occurs: event; with and without the event by the month of the stock, each
        the number of universities (n), the share that holds some and the median in whole H100, both with 95%
        intervals (Wilson 1927; order statistics); the share of those without it that hold more than the median of those
        with it (above_without); and the probability that one with it holds more than one without
        (auc), with the interval of DeLong, DeLong and Clarke-Pearson (1988). A university whose event is only known to
        be before a later month than the stock's is in neither group.
    """
    named = [matcher.universities(name, "US") for name in stock["university"]]
    held = by_university(stock, named).groupby(UNIT, as_index=False)["h100_equivalent"].max()
    held = held.merge(units[UNIT].drop_duplicates(), on=UNIT).query("country == 'US'")
    rows = []
    for event in (name for name in EVENTS if name in set(events["event"])):
        of_event = events[events["event"] == event]
        later = of_event["date"].str[:7] > MONTH
        unknown = of_event.loc[later & of_event["left_censored"].astype(bool), "university"]
        known = held[~held["university"].isin(unknown)]
        amounts = known["h100_equivalent"].to_numpy(float)
        having = known["university"].isin(of_event.loc[~later, "university"]).to_numpy()
        row: dict[str, float | str] = {"event": event}
        for name, group in (("with", amounts[having]), ("without", amounts[~having])):
            row |= {f"n_{name}": len(group), **_summary(name, group)}
        above = amounts[~having] > np.median(amounts[having]) if having.any() else np.array([])
        row["above_without"] = float(above.mean()) if len(above) else float("nan")
        area = auc(amounts[having], amounts[~having])
        rows.append(row | dict(zip(("auc", "auc_low", "auc_high"), area, strict=True)))
    return pd.DataFrame(rows)


def auc(larger: FloatArray, smaller: FloatArray) -> tuple[float, float, float]:
    """Return P(x > y) + P(x = y) / 2 of x from the first and y from the second sample, with its 95% interval.

    The variance is that of the placement values (DeLong, DeLong and Clarke-Pearson 1988, equation 5). NaN where one
    sample has fewer than two values.
    """
    if min(len(larger), len(smaller)) < 2:
        return float("nan"), float("nan"), float("nan")
    wins = (larger[:, None] > smaller) + 0.5 * (larger[:, None] == smaller)
    area, parts = float(wins.mean()), (wins.mean(axis=1), wins.mean(axis=0))
    error = float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts)))
    margin = float(stats.norm.ppf(0.5 + LEVEL / 2)) * error
    return area, max(0.0, area - margin), min(1.0, area + margin)


def median(values: FloatArray) -> tuple[float, float, float]:
    """Return the median with the order statistics that cover it with at least 95%; NaN where no two do."""
    if not len(values):
        return float("nan"), float("nan"), float("nan")
    low, high = stats.quantile_test(values).confidence_interval(LEVEL)
    return float(np.median(values)), float(low), float(high)


def _summary(name: str, values: FloatArray) -> dict[str, float]:
    some, ends = Share.of(pd.Series(values > 0)), ("", "_low", "_high")
    return {
        f"{what}_{name}{end}": float(value)
        for what, three in (("some", (some.value, *some.interval)), ("median", np.round(median(values))))
        for end, value in zip(ends, three, strict=True)
    }
