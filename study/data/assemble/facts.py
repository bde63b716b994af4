"""Epoch's models, one row a model and vintage, with what the seed paper's facts need."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from study.core import DataError

# The seed paper leaves out models that are notable for their use alone, since companies have the users (its
# supplementary material, on data). "Highly cited" is here what the table calls so, which need not be that paper's rule.
SEED_CRITERIA = frozenset({"highly cited", "sota improvement", "historical significance"})
WEIGHTS = {
    "open weights (unrestricted)": "unrestricted",
    "fully open-source": "unrestricted",
    "permissive license": "unrestricted",
    "open weights (restricted use)": "restricted",
    "open weights (non-commercial)": "restricted",
    "api access": "hosted",
    "api accessible": "hosted",
    "hosted access (no api)": "hosted",
    "unreleased": "unreleased",
    "": "",
}


def models(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the models of several vintages in one table.

    Parameters
    ----------
    tables : iterable of DataFrame
        Of ``sources.epoch.read``, one a vintage.

    Returns
    -------
    DataFrame
        Sorted by vintage, date, model and the organisations' order in the original: vintage ("YYYY-MM"), model, date
        as given, sector (:func:`sector`), notable and seed_criteria (0 or 1), log10_training_compute (decimal
        logarithm of FLOP, NaN if not known), weights (of :data:`WEIGHTS`, empty if not known).

    Raises
    ------
    DataError
        If a table says of a model's weights what is not in :data:`WEIGHTS`.
    """
    made = pd.concat([_vintage(table) for table in tables], ignore_index=True)
    return made.sort_values(["vintage", "date", "model"], kind="stable", ignore_index=True)


def sector(categories: tuple[str, ...]) -> str:
    """Return who made a model.

    Academia and industry are models with an organisation of that kind and none of the other one, collaborations those
    with both; governments, research collectives and non-profits beside them change nothing. All others are "other".

    >>> sector(("academia",)), sector(("academia", "industry", "government")), sector(())
    ('academia', 'collaboration', 'other')
    """
    sides = {"academia", "industry"} & set(categories)
    return "collaboration" if len(sides) == 2 else next(iter(sides), "other")


def _vintage(table: pd.DataFrame) -> pd.DataFrame:
    labels = table["accessibility"].str.lower()
    strange = table[~labels.isin(WEIGHTS)]
    if len(strange):
        model, label = strange[["model", "accessibility"]].iloc[0]
        raise DataError(
            f'epoch: model "{model}" has accessibility "{label}", which is none of '
            f"{', '.join(filter(None, WEIGHTS))}; correct it, or add it to WEIGHTS."
        )
    return pd.DataFrame(
        {
            "vintage": table["vintage"].str[:7],
            "model": table["model"],
            "date": table["date"],
            "sector": table["categories"].map(sector),
            "notable": table["notable"].astype(int),
            "seed_criteria": [int(bool(SEED_CRITERIA & set(criteria))) for criteria in table["criteria"]],
            "log10_training_compute": np.log10(table["training_compute"].to_numpy(float)),
            "weights": labels.map(WEIGHTS),
        }
    )
