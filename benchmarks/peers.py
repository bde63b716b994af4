"""What the other packages are asked for in each workload of ``designs.py``.

Every peer takes the long table and returns its effects by event time or dose, a coefficient at event time 0, with
standard errors clustered by unit. It has its fastest settings that we know of, in several variants where none is the
fastest everywhere. Columns that it needs beside the panel's own are in the table before the clock starts: ``rel``, the
event time (-1 for the never-treated), and ``cell``, a number for each treated cohort and period, else 0.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

PACKAGES = (
    "diff-diff",
    "moderndid",
    "csdid",
    "pyfixest",
    "linearmodels",
    "py-did-multiplegt-dyn",
    "wildboottest",
)
ENVIRONMENT = {"DIFF_DIFF_BACKEND": "auto", "DIFF_DIFF_SOLVE_OLS_FASTPATH": "1"}
DRAWS = 999
BEFORE, AFTER = 3, 6
EFFECTS, PLACEBOS = 6, 3
PANEL = ("unit", "time", "first", "y")
COVARIATES = ("x1", "x2")
DOSES = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75)
BY_UNIT = {"CRV1": "unit"}
LEAN = {"vcov": BY_UNIT, "lean": True, "copy_data": False, "store_data": False}

Effects = dict[float, tuple[float, float]]


class Peer(NamedTuple):
    """One package's answer to one workload: its settings as printed, its columns, and the call."""

    package: str
    settings: str
    columns: tuple[str, ...]
    fit: Callable[[pd.DataFrame], Effects]


def collect(times: Iterable[Any], effects: Iterable[Any], errors: Iterable[Any]) -> Effects:
    """Return effect and standard error by event time, without reference terms."""
    rows = ((float(e), float(b), float(s)) for e, b, s in zip(times, effects, errors, strict=True))
    return {e: (b, s) for e, b, s in rows if s > 0}


def _given(covariates: tuple[str, ...]) -> str:
    return f" given {', '.join(covariates)}" if covariates else ""


def diff_diff(estimator: str, settings: str, covariates: tuple[str, ...] = (), **options: Any) -> Peer:
    """Return an estimator of diff-diff with the event study that it forms after the fit."""

    def fit(data: pd.DataFrame) -> Effects:
        import diff_diff

        more = {"covariates": list(covariates)} if covariates else {}
        made = getattr(diff_diff, estimator)(**options).fit(data, "y", "unit", "time", "first", **more)
        study = made.aggregate("event_study")
        return collect(study.event_time, study.att, study.se)

    return Peer("diff-diff", f"{estimator}({settings}), compiled backend", (*PANEL, *covariates), fit)


def diff_diff_callaway(covariates: tuple[str, ...] = (), draws: int = 0) -> Peer:
    """Return diff-diff's group-time effects; to average them within ``fit`` draws once and not twice."""

    def fit(data: pd.DataFrame) -> Effects:
        import diff_diff

        design = diff_diff.CallawaySantAnna(
            base_period="universal", n_bootstrap=draws, seed=1 if draws else None
        )
        more = {"covariates": list(covariates)} if covariates else {}
        made = design.fit(data, "y", "unit", "time", "first", aggregate="event_study", **more)
        rows = made.event_study_effects
        return collect(rows, [r["effect"] for r in rows.values()], [r["se"] for r in rows.values()])

    drawn = f", n_bootstrap={draws}, cband=True" if draws else ""
    settings = f'CallawaySantAnna(base_period="universal"{drawn}){_given(covariates)}, compiled backend'
    return Peer("diff-diff", settings, (*PANEL, *covariates), fit)


def diff_diff_triple(covariates: tuple[str, ...] = ()) -> Peer:
    """Return diff-diff's staggered triple differences."""

    def fit(data: pd.DataFrame) -> Effects:
        import diff_diff

        design = diff_diff.StaggeredTripleDifference(control_group="nevertreated", base_period="universal")
        more = {"covariates": list(covariates)} if covariates else {}
        made = design.fit(data, "y", "unit", "time", "first", "eligible", aggregate="event_study", **more)
        rows = made.event_study_effects
        return collect(rows, [r["effect"] for r in rows.values()], [r["se"] for r in rows.values()])

    settings = f'StaggeredTripleDifference(base_period="universal"){_given(covariates)}, compiled backend'
    return Peer("diff-diff", settings, (*PANEL, *covariates, "eligible"), fit)


def moderndid_triple(covariates: tuple[str, ...] = ()) -> Peer:
    """Return moderndid's triple differences and their event study."""

    def fit(data: pd.DataFrame) -> Effects:
        import moderndid

        formula = f"~ {' + '.join(covariates)}" if covariates else None
        cells = moderndid.ddd(data, "y", "time", "unit", "first", "eligible", xformla=formula)
        study = moderndid.agg_ddd(cells, type="eventstudy", boot=False, cband=False)
        return collect(study.egt, study.att_egt, study.se_egt)

    settings = f'ddd(base_period="universal"){_given(covariates)}, one process'
    return Peer("moderndid", settings, (*PANEL, *covariates, "eligible"), fit)


def diff_diff_sun_abraham(data: pd.DataFrame) -> Effects:
    import diff_diff

    rows = diff_diff.SunAbraham().fit(data, "y", "unit", "time", "first").event_study_effects
    return collect(rows, [r["effect"] for r in rows.values()], [r["se"] for r in rows.values()])


def diff_diff_wooldridge(data: pd.DataFrame) -> Effects:
    import diff_diff

    made = diff_diff.WooldridgeDiD().fit(data, "y", "unit", "time", "first").aggregate("event_study")
    rows = made.event_study_effects
    return collect(rows, [r["att"] for r in rows.values()], [r["se"] for r in rows.values()])


def diff_diff_local_projections(data: pd.DataFrame) -> Effects:
    import diff_diff

    relative = data["rel"][data["first"] > 0]
    design = diff_diff.LPDiD(pre_window=-int(relative.min()), post_window=int(relative.max()))
    table = design.fit(data, "y", "unit", "time", "D", only_event=True).event_study
    return collect(table["horizon"], table["coefficient"], table["se"])


def diff_diff_switching(data: pd.DataFrame) -> Effects:
    import diff_diff

    design = diff_diff.ChaisemartinDHaultfoeuille(twfe_diagnostic=False, drop_larger_lower=False)
    study = design.fit(data, "y", "unit", "time", "path", L_max=EFFECTS).aggregate("event_study")
    return collect(np.asarray(study.event_time) - 1, study.att, study.se)


def moderndid_switching(data: pd.DataFrame) -> Effects:
    import moderndid

    made = moderndid.did_multiplegt(data, "y", "time", "unit", "path", effects=EFFECTS, placebo=PLACEBOS)
    rows: Effects = {}
    for part in (made.effects, made.placebos):
        rows |= collect(part.horizons - 1, part.estimates, part.std_errors)
    return rows


def did_multiplegt_dyn(data: pd.DataFrame) -> Effects:
    """Return the effects of the authors' own package, which counts rows as polars below 2 did."""
    import polars
    from did_multiplegt_dyn import DidMultiplegtDyn

    count = polars.count
    polars.count = lambda *columns: count(*columns) if columns else polars.len()
    roles = {"outcome": "y", "group": "unit", "time": "time", "treatment": "path"}
    design = DidMultiplegtDyn(df=polars.from_pandas(data), **roles, effects=EFFECTS, placebo=PLACEBOS)
    design.fit()
    made = design.result["did_multiplegt_dyn"]
    effects, placebos = made["Effects"], made["Placebos"]
    return collect(range(EFFECTS), effects["Estimate"], effects["SE"]) | collect(
        range(-2, -2 - PLACEBOS, -1), placebos["Estimate"], placebos["SE"]
    )


def moderndid_callaway(covariates: tuple[str, ...] = (), draws: int = 0) -> Peer:
    """Return moderndid's group-time effects and their event study."""

    def fit(data: pd.DataFrame) -> Effects:
        import moderndid

        drawn = {"boot": True, "biters": draws, "cband": True, "random_state": 1} if draws else {}
        formula = f"~ {' + '.join(covariates)}" if covariates else None
        cells = moderndid.att_gt(
            data, "y", "time", "unit", "first", xformla=formula, base_period="universal", **drawn
        )
        study = moderndid.aggte(cells, type="dynamic", random_state=1 if draws else None)
        return collect(study.event_times, study.att_by_event, study.se_by_event)

    drawn = f", boot=True, biters={draws}, cband=True" if draws else ""
    settings = f'att_gt(base_period="universal"{drawn}){_given(covariates)}, one process'
    return Peer("moderndid", settings, (*PANEL, *covariates), fit)


def moderndid_etwfe(data: pd.DataFrame) -> Effects:
    import moderndid

    study = moderndid.emfx(moderndid.etwfe(data, "y", "time", "first", "unit"), type="event")
    return collect(study.event_times, study.att_by_event, study.se_by_event)


def csdid(covariates: tuple[str, ...] = (), draws: int = 0) -> Peer:
    """Return csdid's group-time effects and their event study."""

    def fit(data: pd.DataFrame) -> Effects:
        from csdid.att_gt import ATTgt

        bands = {"cband": bool(draws), "biters": draws or DRAWS}
        formula = f"y ~ {' + '.join(covariates)}" if covariates else None
        design = ATTgt(
            "y", "time", "unit", "first", data, control_group="nevertreated", xformla=formula, **bands
        )
        cells = design.fit(base_period="universal", bstrap=bool(draws))
        study = cells.aggte("dynamic", bstrap=bool(draws), **bands).atte
        return collect(study["egt"], np.ravel(study["att_egt"]), np.ravel(study["se_egt"]))

    drawn = f"bstrap=True, biters={draws}, cband=True" if draws else "bstrap=False"
    settings = f'ATTgt(faster_mode=True), base_period="universal", {drawn}{_given(covariates)}'
    return Peer("csdid", settings, (*PANEL, *covariates), fit)


def pyfixest_within(formula: str, columns: tuple[str, ...], demeaner: str) -> Peer:
    """Return a regression of pyfixest with one of its two ways to take out the fixed effects."""

    def fit(data: pd.DataFrame) -> Effects:
        import pyfixest

        chosen = getattr(pyfixest, demeaner)()
        return of_pyfixest(pyfixest.feols(formula, data, demeaner=chosen, **LEAN).tidy())

    settings = f'feols("{formula}", {demeaner}()), lean, no copy'
    return Peer("pyfixest", settings, columns, fit)


def of_pyfixest(table: pd.DataFrame) -> Effects:
    """Return the rows of pyfixest's table, whose names end in the event time where there is one."""
    times = [float(name.rsplit("::")[1]) if "::" in name else 0.0 for name in table.index]
    return collect(times, table["Estimate"], table["Std. Error"])


def pyfixest_two_stage(data: pd.DataFrame) -> Effects:
    """Return the effects after treatment; before it, two-stage terms are means of residuals."""
    import pyfixest

    stages = {"first_stage": "~ 0 | unit + time", "second_stage": "~ i(rel, ref=-1)"}
    fit = pyfixest.did2s(data, yname="y", treatment="D", cluster="unit", **stages)
    return {e: row for e, row in of_pyfixest(fit.tidy()).items() if e >= 0}


def pyfixest_saturated(data: pd.DataFrame) -> Effects:
    import pyfixest

    fit = pyfixest.event_study(data, "y", "unit", "time", "first", estimator="saturated", cluster="unit")
    table = fit.aggregate()
    return collect(table.index, table["Estimate"], table["Std. Error"])


def pyfixest_cells(data: pd.DataFrame) -> Effects:
    """Regress on the treated cells, cohort and period effects, and average the cells by their share."""
    import pyfixest

    fit = pyfixest.feols("y ~ i(cell, ref=0) | first + time", data, **LEAN)
    cells = np.array([int(name.rsplit("::")[1]) for name in fit._coefnames])
    event_time = cells % 1000 - cells // 1000
    share = data["cell"].value_counts().reindex(cells).to_numpy(dtype=float)
    times = np.unique(event_time)
    weight = np.where(event_time == times[:, None], share, 0.0)
    weight /= weight.sum(axis=1, keepdims=True)
    errors = np.sqrt(np.einsum("ek,kl,el->e", weight, fit._vcov, weight))
    return collect(times, weight @ fit._beta_hat, errors)


def pyfixest_local_projections(data: pd.DataFrame) -> Effects:
    import pyfixest

    relative = data["rel"][data["first"] > 0]
    window = {"pre_window": int(relative.min()), "post_window": int(relative.max())}
    fit = pyfixest.lpdid(data, "y", "unit", "time", "first", vcov=BY_UNIT, att=False, **window)
    return of_pyfixest(fit.tidy())


def pyfixest_poisson(demeaner: str) -> Peer:
    """Return a Poisson regression of pyfixest, whose coefficient is made a proportional effect."""

    def fit(data: pd.DataFrame) -> Effects:
        import pyfixest

        chosen = getattr(pyfixest, demeaner)()
        row = pyfixest.fepois("count ~ D | unit + time", data, demeaner=chosen, **LEAN).tidy().iloc[0]
        ratio = np.exp(row["Estimate"])
        return {0.0: (ratio - 1, ratio * row["Std. Error"])}

    settings = f'fepois("count ~ D | unit + time", {demeaner}()), lean, no copy'
    return Peer("pyfixest", settings, ("unit", "time", "count", "D"), fit)


def linearmodels(dynamic: bool) -> Peer:
    """Return linearmodels' two-way regression, on treatment or on indicators of event time."""

    def fit(data: pd.DataFrame) -> Effects:
        from linearmodels.panel import PanelOLS

        rows = data.set_index(["unit", "time"])
        if dynamic:
            regressors = pd.get_dummies(rows["rel"], dtype=float).drop(columns=-1)
            regressors.columns = regressors.columns.map(str)
        else:
            regressors = rows[["D"]]
        model = PanelOLS(rows["y"], regressors, entity_effects=True, time_effects=True)
        made = model.fit(cov_type="clustered", cluster_entity=True, auto_df=False, count_effects=False)
        times = [float(name) if dynamic else 0.0 for name in made.params.index]
        return collect(times, made.params, made.std_errors)

    settings = 'PanelOLS(entity_effects, time_effects), cov_type="clustered"'
    return Peer("linearmodels", settings, ("unit", "time", "y", "rel" if dynamic else "D"), fit)


PATH = ("unit", "time", "y", "path")


def diff_diff_dose(data: pd.DataFrame) -> Effects:
    import diff_diff

    made = diff_diff.ContinuousDiD(dvals=np.array(DOSES)).fit(data, "y", "unit", "time", "first", "dose")
    curve = made.dose_response_att
    return collect(curve.dose_grid, curve.effects, curve.se)


def moderndid_dose(data: pd.DataFrame) -> Effects:
    import moderndid

    never = {"control_group": "nevertreated", "dvals": np.array(DOSES)}
    made = moderndid.cont_did(data, "y", "time", "unit", "first", "dose", **never)
    return collect(made.dose, made.att_d, made.att_d_se)


STATIC, DYNAMIC = "y ~ D | unit + time", "y ~ i(rel, ref=-1) | unit + time"
DEMEANERS = ("MapDemeaner", "LsmrDemeaner")
WINDOW = f"kappa_pre={BEFORE}, kappa_post={AFTER}"

PEERS: dict[str, tuple[Peer, ...]] = {
    "twfe": (
        *(pyfixest_within(STATIC, ("unit", "time", "y", "D"), demeaner) for demeaner in DEMEANERS),
        linearmodels(dynamic=False),
    ),
    "event_study": (
        *(pyfixest_within(DYNAMIC, ("unit", "time", "y", "rel"), demeaner) for demeaner in DEMEANERS),
        linearmodels(dynamic=True),
    ),
    "callaway_santanna": (diff_diff_callaway(), moderndid_callaway(), csdid()),
    "callaway_santanna, 999 draws": (
        diff_diff_callaway(draws=DRAWS),
        moderndid_callaway(draws=DRAWS),
        csdid(draws=DRAWS),
    ),
    "dr": (diff_diff_callaway(COVARIATES), moderndid_callaway(COVARIATES), csdid(COVARIATES)),
    "dr, 999 draws": (
        diff_diff_callaway(COVARIATES, DRAWS),
        moderndid_callaway(COVARIATES, DRAWS),
        csdid(COVARIATES, DRAWS),
    ),
    "triple_difference": (diff_diff_triple(), moderndid_triple()),
    "triple_difference, dr": (diff_diff_triple(COVARIATES), moderndid_triple(COVARIATES)),
    "imputation": (
        diff_diff("ImputationDiD", ""),
        diff_diff("TwoStageDiD", ""),
        Peer(
            "pyfixest",
            'did2s("~ 0 | unit + time", "~ i(rel, ref=-1)")',
            (*PANEL, "D", "rel"),
            pyfixest_two_stage,
        ),
    ),
    "sun_abraham": (
        Peer("diff-diff", "SunAbraham(), compiled backend", PANEL, diff_diff_sun_abraham),
        Peer("pyfixest", 'event_study(estimator="saturated"), aggregate()', PANEL, pyfixest_saturated),
    ),
    "stacked": (diff_diff("StackedDiD", WINDOW, kappa_pre=BEFORE, kappa_post=AFTER),),
    "etwfe": (
        Peer("diff-diff", "WooldridgeDiD(), compiled backend", PANEL, diff_diff_wooldridge),
        Peer("moderndid", 'etwfe(), emfx(type="event")', PANEL, moderndid_etwfe),
        Peer(
            "pyfixest",
            'feols("y ~ i(cell, ref=0) | first + time"), lean, no copy; averaged by hand',
            ("unit", "time", "first", "y", "cell"),
            pyfixest_cells,
        ),
    ),
    "lp_did": (
        Peer(
            "diff-diff",
            "LPDiD(all horizons), only_event=True",
            (*PANEL, "D", "rel"),
            diff_diff_local_projections,
        ),
        Peer("pyfixest", "lpdid(all horizons)", (*PANEL, "rel"), pyfixest_local_projections),
    ),
    "dcdh": (
        Peer(
            "diff-diff",
            f"ChaisemartinDHaultfoeuille(twfe_diagnostic=False, drop_larger_lower=False), L_max={EFFECTS}",
            PATH,
            diff_diff_switching,
        ),
        Peer(
            "moderndid",
            f"did_multiplegt(effects={EFFECTS}, placebo={PLACEBOS})",
            PATH,
            moderndid_switching,
        ),
        Peer(
            "py-did-multiplegt-dyn",
            f"DidMultiplegtDyn(effects={EFFECTS}, placebo={PLACEBOS})",
            PATH,
            did_multiplegt_dyn,
        ),
    ),
    "dose_response": (
        Peer("diff-diff", "ContinuousDiD(dvals)", (*PANEL, "dose"), diff_diff_dose),
        Peer("moderndid", 'cont_did(control_group="nevertreated", dvals)', (*PANEL, "dose"), moderndid_dose),
    ),
    "poisson_twfe": tuple(pyfixest_poisson(demeaner) for demeaner in DEMEANERS),
}


def use_fastest_settings() -> None:
    """Set what diff-diff reads when it is imported."""
    os.environ.update(ENVIRONMENT)
