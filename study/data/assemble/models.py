"""Epoch's models: notable ones by university and year, one row a model for the seed paper's facts, and by field.

How fast a field's training compute grows is the dose of the panels of fields: which teams write a venue's papers on a
topic.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from study.core import DataError
from study.data.assemble.panels import DEADLINES, first_year
from study.data.institutions import NOBODY, UNIT, UNIVERSITY, Matcher, Overrides, by_spelling

# The fields of the panels, and Epoch's domains in each. A model of several domains counts in each of its fields.
FIELDS: dict[str, tuple[str, ...]] = {
    "vision": ("vision", "image generation", "video", "drawing", "3d modeling"),
    "language": ("language",),
    "speech": ("speech", "audio"),
    "games": ("games",),
    "robotics": ("robotics", "driving"),
    "biology": ("biology", "medicine"),
}
OTHER, ALL = "other", "all"
OUTCOMES = ("models", "models_academic_only", "models_with_industry", "models_with_known_compute")
# The seed paper leaves out models that are notable for their use alone, since companies have the users (its
# supplementary material, on data). "Highly cited" is here what the table calls so, which need not be that paper's rule.
SEED_CRITERIA = frozenset({"highly cited", "sota improvement", "historical significance"})
WEIGHTS = by_spelling(
    ", ",
    unrestricted="open weights (unrestricted), fully open-source, permissive license",
    restricted="open weights (restricted use), open weights (non-commercial)",
    hosted="api access, api accessible, hosted access (no api)",
    unreleased="unreleased",
) | {"": ""}

YEARS = tuple(range(2000, 2025))
VENUES = ("acml", "aistats", "colt", "cvpr", "iccv", "icml", "icra", "iros", "nips", "rss")
TEAMS = ["academic_only", "collaborative", "industry_only", "other_teams"]
# The field of Epoch's models whose training compute a field of papers is compared with; all models elsewhere.
COMPUTE_OF_VENUE = by_spelling(vision="cvpr iccv", robotics="icra iros rss")
COMPUTE_OF_AREA = {area: area for area in ("language", "robotics", "speech", "vision")}
COMPUTE_OF_AREA["reinforcement learning"] = "games"
# AlexNet, trained on two consumer GPUs, won the ImageNet challenge (Krizhevsky, Sutskever and Hinton 2012). The
# fields that it concerns are the compute-heavy ones, or by area those of perception.
GPU_SHOCK = "2012-10"
SHOCKED = frozenset({"compute_heavy", "vision", "speech"})


def organisations(models: pd.DataFrame, matcher: Matcher, known: Overrides) -> pd.DataFrame:
    """Return the crosswalk of Epoch's organisations.

    Parameters
    ----------
    models : DataFrame
        Of ``sources.epoch.read``.
    matcher : Matcher
    known : mapping
        Organisation -> university or None, before the rule.

    Returns
    -------
    DataFrame
        One row an organisation and institution (one without institution where none is known), by name:
        organisation, institution, country, kind (of the institution), method ("decision" for an exception),
        models (that name it), academic_models (of those where Epoch calls it academia).
    """
    pairs = models[["organisations", "kinds"]].explode(["organisations", "kinds"])
    academic = (pairs["kinds"] == "academia").groupby(pairs["organisations"]).agg(["size", "sum"])
    records = []
    for name, count, count_academic in academic.itertuples(name=None):
        methods = {hit.entity: hit.method for hit in matcher.match(name) if hit.entity is not None}
        if name in known:
            methods = {known[name] or NOBODY: "decision"}
        for entity, method in (methods or {NOBODY: "unmatched"}).items():
            records.append((name, entity.name, entity.country, entity.kind, method, count, count_academic))
    columns = ["organisation", "institution", "country", "kind", "method", "models", "academic_models"]
    return pd.DataFrame(records, columns=columns)


def models_by_university(models: pd.DataFrame, crosswalk: pd.DataFrame) -> pd.DataFrame:
    """Return the notable models of each university and year; a model counts fully for each of its universities.

    Parameters
    ----------
    models : DataFrame
        Of ``sources.epoch.read``. Models without year, and those that are not notable, are left out.
    crosswalk : DataFrame
        Of :func:`organisations`.

    Returns
    -------
    DataFrame
        One row a university and year with at least one model, sorted: university, country, year, models,
        models_academic_only (all categories of the model are academia), models_with_industry,
        models_with_known_compute, log10_largest_compute (decimal logarithm of FLOP; NaN if none is known).
        The two kinds of teams do not add up to models: those with governments or research collectives but
        without industry are in neither, and those without any category are in neither.
    """
    used = models[models["notable"] & models["year"].notna()].reset_index(drop=True)
    table = used.assign(
        model=used.index,
        year=used["year"].astype(int),
        academic_only=[categories == ("academia",) for categories in used["categories"]],
        with_industry=["industry" in categories for categories in used["categories"]],
        log_compute=np.log10(used["training_compute"].to_numpy(float)),
    )
    known = crosswalk.loc[crosswalk["kind"] == UNIVERSITY, ["organisation", "institution", "country"]]
    known = known.rename(columns={"organisation": "organisations", "institution": "university"})
    pairs = table.explode("organisations").merge(known, on="organisations")
    # Two laboratories of one university on one model are one university.
    pairs = pairs.drop_duplicates(["model", *UNIT])
    return pairs.groupby([*UNIT, "year"], as_index=False).agg(
        models=("model", "size"),
        models_academic_only=("academic_only", "sum"),
        models_with_industry=("with_industry", "sum"),
        models_with_known_compute=("log_compute", "count"),
        log10_largest_compute=("log_compute", "max"),
    )


def panel(models: pd.DataFrame, units: pd.DataFrame, years: Sequence[int]) -> pd.DataFrame:
    """Return the outcomes of the panel of models: one row a unit and year, zeros included.

    Parameters
    ----------
    models : DataFrame
        Of :func:`models_by_university`.
    units : DataFrame
        university, country.
    years : sequence of int
    """
    grid = units[UNIT].merge(pd.DataFrame({"year": years}), how="cross")
    return grid.merge(models, on=[*UNIT, "year"], how="left").fillna(dict.fromkeys(OUTCOMES, 0))


def compute_growth(models: pd.DataFrame) -> pd.DataFrame:
    """Return the growth of training compute by field and year from 2010 on, the dose of the panels of fields.

    The definition was fixed before any outcome was looked at, and uses nothing from after the year:
    growth in year t is the slope of the least-squares line of log10 compute on the date of publication (in
    years) over the field's models of the years t-4 to t. It is not known where these are fewer than five
    models, or lie in fewer than three years.

    Parameters
    ----------
    models : DataFrame
        Of ``sources.epoch.read``; models that are not notable, or without year or compute, are left out.

    Returns
    -------
    DataFrame
        One row a field (of :data:`FIELDS`, then "other" and "all") and year, to the last full one before the
        vintage: field, year, models (with known compute, of that year), window_models (of the years t-4 to t),
        log10_upper_compute (80th percentile over the window, decimal logarithm of FLOP), log10_largest_compute (of
        all years up to t), growth (orders of magnitude a year). NaN where nothing is known.
    """
    used = models[models["notable"] & models["year"].notna() & models["training_compute"].notna()]
    used = used.assign(
        log_compute=np.log10(used["training_compute"].to_numpy(float)),
        decimal_date=used["date"].map(_decimal),
        field=used["domains"].map(_fields),
    )
    by_field = used.explode("field")
    records = []
    for field in (*FIELDS, OTHER, ALL):
        of_field = by_field[by_field["field"] == field]
        for year in range(2010, int(models["vintage"].max()[:4])):
            before = of_field[of_field["year"] <= year]
            window = before[before["year"] > year - 5]
            count, compute = int((before["year"] == year).sum()), window["log_compute"]
            largest = before["log_compute"].max()
            records.append((field, year, count, len(window), compute.quantile(0.8), largest, _slope(window)))
    columns = ["field", "year", "models", "window_models"]
    columns += ["log10_upper_compute", "log10_largest_compute", "growth"]
    return pd.DataFrame(records, columns=columns)


def _fields(domains: tuple[str, ...]) -> list[str]:
    fields = [field for field, names in FIELDS.items() if set(names) & set(domains)]
    return [*(fields or [OTHER]), ALL]


def _decimal(date: str) -> float:
    """Return a date in years; the middle of the year or month where no day is given."""
    parts = [int(part) for part in date.split("-")]
    if len(parts) == 1:
        return parts[0] + 0.5
    day = parts[2] if len(parts) == 3 else 16
    return parts[0] + (parts[1] - 1 + (day - 1) / 31) / 12


def _slope(models: pd.DataFrame) -> float:
    """Return the slope of log10 compute on the date; NaN of fewer than five models, or of fewer than three years."""
    if len(models) < 5 or models["year"].nunique() < 3:
        return np.nan
    dates, compute = (models[name].to_numpy(float) for name in ("decimal_date", "log_compute"))
    return float(np.polyfit(dates, compute, 1)[0])


def fact_models(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
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
    table = pd.concat(tables, ignore_index=True)
    labels = table["accessibility"].str.lower()
    for model, label in table.loc[~labels.isin(WEIGHTS), ["model", "accessibility"]].itertuples(index=False):
        raise DataError(
            f'epoch: model "{model}" has accessibility "{label}", which is none of '
            f"{', '.join(filter(None, WEIGHTS))}; correct it, or add it to WEIGHTS."
        )
    columns = {
        "vintage": table["vintage"].str[:7],
        "model": table["model"],
        "date": table["date"],
        "sector": table["categories"].map(sector),
        "notable": table["notable"].astype(int),
        "seed_criteria": [int(bool(SEED_CRITERIA & set(criteria))) for criteria in table["criteria"]],
        "log10_training_compute": np.log10(table["training_compute"].to_numpy(float)),
        "weights": labels.map(WEIGHTS),
    }
    return pd.DataFrame(columns).sort_values(["vintage", "date", "model"], kind="stable", ignore_index=True)


def sector(categories: tuple[str, ...]) -> str:
    """Return who made a model.

    Academia and industry are models with an organisation of that kind and none of the other one, collaborations those
    with both; governments, research collectives and non-profits beside them change nothing. All others are "other".

    >>> sector(("academia",)), sector(("academia", "industry", "government")), sector(())
    ('academia', 'collaboration', 'other')
    """
    sides = {"academia", "industry"} & set(categories)
    return "collaboration" if len(sides) == 2 else next(iter(sides), "other")


def teams(papers: pd.DataFrame) -> pd.DataFrame:
    """Return which kind of team wrote each paper with an affiliation (columns of ``institutions.Signed.papers``).

    Academia is universities, research institutes and national centres.

    Returns
    -------
    DataFrame
        venue, year, compute_heavy, area, and one 0/1 column for each of :data:`TEAMS`; they add up to 1.
    """
    known = papers[papers["affiliated"]]
    academia, company = known["university"] | known["institute"], known["company"]
    table = known[["venue", "year", "compute_heavy", "area"]].assign(
        academic_only=academia & ~company,
        collaborative=academia & company,
        industry_only=~academia & company,
        other_teams=~academia & ~company,
    )
    return table.astype(dict.fromkeys(TEAMS, int))


def fields_panel(
    table: pd.DataFrame, years: pd.DataFrame, growth: pd.DataFrame, by: Literal["topic", "area"]
) -> pd.DataFrame:
    """Return one row a field and year.

    Parameters
    ----------
    table : DataFrame
        Of :func:`teams`.
    years : DataFrame
        Of ``assemble.panels.venue_years``.
    growth : DataFrame
        field, year, growth (orders of magnitude a year), of :func:`compute_growth`.
    by : {"topic", "area"}
        A field is a venue's compute-heavy or other papers, told by the words of the title; or a venue's papers
        of one task area, which do not depend on whether the title names a method.

    Returns
    -------
    DataFrame
        field, venue, topic or area, year, papers (with an affiliation), the counts of :data:`TEAMS` and
        their shares (empty in years without papers), gpu_shock (first year whose papers could respond, for
        the fields that it concerns), compute_growth, coverage. Editions known in part only are left out.
    """
    papers = table[table["venue"].isin(VENUES) & table["year"].isin(YEARS)]
    papers = papers.assign(topic=np.where(papers["compute_heavy"], "compute_heavy", "other"))
    keys = ["venue", by]
    summed = papers.groupby([*keys, "year"], as_index=False)[TEAMS].sum()
    fields = papers[keys].drop_duplicates().sort_values(keys)
    result = fields.merge(pd.DataFrame({"year": YEARS}), how="cross")
    result = result.merge(summed, on=[*keys, "year"], how="left")
    result = result.merge(years[["venue", "year", "partial", "coverage"]], on=["venue", "year"], how="left")
    # A held edition without a paper of the field is a zero; an edition that is not known in full is empty.
    held = (result["partial"] == 0) & result["coverage"].notna()
    result[TEAMS] = result[TEAMS].fillna(0).where(held)
    total = result[TEAMS].sum(axis=1, skipna=False)
    for team in TEAMS:
        result[f"share_{team}"] = (result[team] / total).where(total > 0)
    shock = {venue: first_year(GPU_SHOCK, *DEADLINES[venue]) for venue in VENUES}
    compute = result[by].map(COMPUTE_OF_AREA) if by == "area" else result["venue"].map(COMPUTE_OF_VENUE)
    names = result["venue"].str.upper().replace("NIPS", "NeurIPS")
    result = result.assign(
        field=names + ", " + result[by].str.replace("_", "-"),
        papers=total,
        gpu_shock=result["venue"].map(shock).where(result[by].isin(SHOCKED)).astype("Int64"),
        compute_field=compute.fillna("all"),
    )
    known = growth.rename(columns={"field": "compute_field", "growth": "compute_growth"})
    result = result.merge(known, on=["compute_field", "year"], how="left")
    counts = ["papers", *TEAMS, *(f"share_{team}" for team in TEAMS)]
    columns = ["field", *keys, "year", *counts, "gpu_shock", "compute_field", "compute_growth", "coverage"]
    return result[columns].sort_values(["field", "year"], ignore_index=True)
