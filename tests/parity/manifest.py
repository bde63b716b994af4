"""Every run of the reference files: how closely it is to be met, or why it is none of ours.

A rule names runs by a pattern on "panel/run"; each run falls under exactly one rule of its package.
``python tests/manifest.py`` lists all runs that the copied reference files hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import goldens

Kind = Literal[
    "exact",
    "iterative",
    "stopped",
    "differenced",
    "integrated",
    "gridded",
    "drawn",
    "simulated",
    "out of scope",
]


class Tolerance(NamedTuple):
    """The largest relative difference of estimates, and of standard errors."""

    estimates: float
    std_errors: float


TOLERANCES: dict[str, Tolerance] = {
    "exact": Tolerance(goldens.TOLERANCE, goldens.TOLERANCE),
    "iterative": Tolerance(goldens.TOLERANCE, 1e-5),
    "stopped": Tolerance(1e-4, 5e-5),
    "differenced": Tolerance(goldens.TOLERANCE, 1e-5),
    "integrated": Tolerance(1e-3, 1e-3),
    "gridded": Tolerance(goldens.TOLERANCE, goldens.TOLERANCE),
    "drawn": Tolerance(goldens.TOLERANCE, goldens.TOLERANCE),
}
WHY: dict[str, str] = {
    "exact": "The reference is closed form, or iterates to a tolerance well below 1e-6.",
    "iterative": "The reference is a Poisson regression of fixest at its default tolerance, which stops at a relative "
    "change of the deviance of 1e-8: the coefficients of the last step are exact to the printed digits, but the "
    "weights in the covariance are those of the step before, from which a test reproduces the errors. Averages by emfx "
    "are differenced as well.",
    "stopped": "The reference fills in and fits by turns until a step moves the fit by 1e-7 of itself, short of the "
    "minimum; ours goes on to it. A test takes as many plain steps as the reference and has its ten digits.",
    "differenced": "The reference is an average by emfx, whose standard error rests on numerical derivatives: on mpdta "
    "it gives a single cell a standard error that differs by 1e-6 from the one in its own regression.",
    "integrated": "The reference integrates by quasi Monte Carlo and finds slopes to uniroot's default tolerance; ours "
    "is deterministic, and what is closed form is held to the printed digits.",
    "gridded": "The reference searches interval ends on a grid and simulates critical values; ours are exact. With the "
    "reference's own draws, which are those of R's generator with its seed, each end is within one grid step (two "
    "where its first stage is optimised numerically), and the draws agree with our critical values within three "
    "standard errors. What is closed form is held to 1e-6.",
    "drawn": "The reference bootstraps: its t statistics are held to 1e-6, and its p-values exactly where all patterns "
    "of signs are enumerated; where it draws, p-values agree within four binomial standard errors, and the ends of its "
    "intervals have p-values here that do.",
    "simulated": "The reference draws at random, so it is held to its simulation error and not to digits.",
}


class Rule(NamedTuple):
    """What holds for the runs of a package that match a pattern.

    ``reason`` says why a run is out of scope, or where a simulated one is tested; ``left_out`` says which
    terms of a run in scope are not compared, and why.
    """

    package: str
    runs: str
    kind: Kind
    reason: str = ""
    left_out: str = ""


class Run(NamedTuple):
    """One run of a reference file, with the rule that it falls under."""

    panel: str
    package: str
    name: str
    rule: Rule

    @property
    def in_scope(self) -> bool:
        """Whether a design of ours answers the run, digit for digit."""
        return self.rule.kind in TOLERANCES


CLUSTERED = "cl_(unit|cluster)"
NOT_CLUSTERED = "Its covariance is not clustered by unit or above."
COVARIATE_ROW = "The coefficient of the covariate is not a term of the design."
NO_DESIGN = "There is no such design here."
OTHER_COVARIANCE = "It is none of the covariances that panel_ols and iv have by name."
WEIGHTS_OF_CELLS = "Its weights differ within units; here they are of units."
NO_EFFECTS = "It has no unit effects."
IN_SAMPLE = (
    "Its means of in-sample residuals before treatment, and after treatment ends, are what the fit makes small and are "
    "not offered; leads hold periods out. The lambda that its cross-validation with random folds picked is given."
)

_NOT_IN_DID = {
    "drdid_imp_(panel|rc|rc1)": "It calibrates the propensity score, which did does not.",
    "drdid_rc1": "It is not locally efficient, and did does not use it.",
    "ipw_did_(panel|rc)": "Its weights do not add up to one, and did does not use it.",
    "twfe_did_(panel|rc)": "It is a two-way regression with covariates, which DRDID has for comparison.",
}

_NOT_IN_DCDH = {
    "trends_lin": "It extrapolates a linear trend of each unit, which is not offered.",
    "dont_drop_larger_lower": "It keeps units after treatment has been above and below its first level, so that what "
    "they switch to is no one direction.",
    "less_conservative_se": "Its errors take means of units of one whole path, where these are several.",
    "same_switchers_pl": "It leaves units out of all placebos that are not in each.",
}

RULES: tuple[Rule, ...] = (
    # fixest
    Rule("fixest_twfe", rf".*/twfe__{CLUSTERED}__(default|Gdf_conv|noadj|none|full)", "exact"),
    Rule("fixest_twfe", rf".*/twfe_x2__{CLUSTERED}__default", "exact"),
    Rule("fixest_twfe", r".*/twfe(_x2)?__(iid|hetero|twoway)__.*", "out of scope", NOT_CLUSTERED),
    Rule(
        "fixest_twfe", r".*/pooled_ols__.*", "out of scope", "It is a pooled regression without unit effects."
    ),
    Rule("fixest_eventstudy", rf".*/es(_binned_pm4)?__{CLUSTERED}__default", "exact"),
    Rule("fixest_eventstudy", r".*/es(_binned_pm4)?__(iid|hetero|twoway)__.*", "out of scope", NOT_CLUSTERED),
    Rule("fixest_sunab", rf".*/sunab__(period|att|cohort|no_agg)__{CLUSTERED}", "exact"),
    Rule("fixest_sunab", rf".*/sunab_x2__(period|att)__{CLUSTERED}", "exact", left_out=COVARIATE_ROW),
    Rule("fixest_sunab", r".*/sunab__.*__(iid|hetero|twoway)", "out of scope", NOT_CLUSTERED),
    Rule("fixest_poisson", rf".*/pois_(twfe|es)__{CLUSTERED}__(default|noadj|full)", "exact"),
    Rule("fixest_poisson", rf".*/pois_twfe_x2__{CLUSTERED}__default", "exact", left_out=COVARIATE_ROW),
    Rule("fixest_poisson", rf".*/pois_sunab__(period|att)__{CLUSTERED}", "exact"),
    Rule("fixest_poisson", rf".*/pois_twfe_defaulttol__{CLUSTERED}", "iterative"),
    Rule(
        "fixest_poisson", r".*/pois_(twfe|twfe_x2|es)__(iid|hetero|twoway)__.*", "out of scope", NOT_CLUSTERED
    ),
    # did and DRDID
    Rule("did_251|did_230", r".*/(?!bootstrap)(?!.*__varying__ant0__x1x2__).*", "exact"),
    Rule(
        "did_251|did_230",
        r".*/nevertreated__varying__ant0__x1x2__dr",
        "out of scope",
        "It takes x2 at each base period; here a baseline covariate is its first value.",
    ),
    Rule(
        "did_230",
        r".*/bootstrap_.*",
        "simulated",
        "tests/estimates/test_inference.py holds its critical values to 3%.",
    ),
    Rule("drdid", r".*/(drdid|reg_did|std_ipw_did)_(panel|rc)__.*", "exact"),
    *(Rule("drdid", rf".*/{runs}__.*", "out of scope", why) for runs, why in _NOT_IN_DID.items()),
    # imputation
    Rule("didimputation", r".*", "exact"),
    Rule("did2s", rf".*/static(_x2)?__{CLUSTERED}", "exact"),
    Rule(
        "did2s",
        rf".*/es__{CLUSTERED}",
        "exact",
        left_out="Its leads are means of first-stage residuals, which shrink towards zero and are not offered.",
    ),
    # etwfe
    Rule("etwfe", rf".*/(notyet|never)(_ivar)?__{CLUSTERED}__coef", "exact"),
    Rule("etwfe", rf".*/(notyet|never)(_ivar|_x1)?__{CLUSTERED}__emfx_.*", "differenced"),
    Rule(
        "etwfe",
        rf"(?!sim_unbalanced).*/(notyet|never)_x1__{CLUSTERED}__coef",
        "exact",
        left_out="Slopes of the covariate and its interactions are not terms of the design.",
    ),
    Rule(
        "etwfe",
        rf"sim_unbalanced/(notyet|never)_x1__{CLUSTERED}__coef",
        "out of scope",
        "With gaps in the panel a coefficient at the cohort's mean of the covariate is not the cell's average "
        "effect, which is the term here.",
    ),
    Rule(
        "etwfe_poisson",
        rf".*/pois_(notyet|never)__{CLUSTERED}__coef",
        "iterative",
        left_out="Group and period effects and the intercept are not terms of the design.",
    ),
    Rule("etwfe_poisson", rf".*/pois_(notyet|never)(_x1)?__{CLUSTERED}__emfx_.*", "iterative"),
    Rule(
        "etwfe_poisson",
        rf".*/pois_notyet_x1__{CLUSTERED}__coef",
        "out of scope",
        "With a covariate a coefficient of the index is not the cell's average effect, which is the term here.",
    ),
    # decomposition
    Rule("bacondecomp", r".*/bacon", "exact"),
    Rule(
        "bacondecomp",
        r".*/bacon_x2",
        "out of scope",
        "With a covariate it is another decomposition, whose parts do not add up to the coefficient.",
    ),
    # other estimators
    Rule("pretrends", r".*", "integrated"),
    Rule("sensemakr", r".*", "exact"),
    Rule("honestdid", r".*", "gridded"),
    Rule("wildboot_cr3", r".*__(sandwich_vcovCL__HC[01]|summclust.*)", "exact"),
    Rule("wildboot_cr3", r".*__boottest.*", "drawn"),
    Rule(
        "wildboot_cr3",
        r".*__sandwich_vcovCL__HC[23]",
        "out of scope",
        "sandwich gives no number: with unit dummies nested in clusters the blocks that it inverts are singular.",
    ),
    Rule(
        "fect",
        r".*/fe(_x)?",
        "exact",
        left_out="Its jackknifed errors are compared for the average of all treated cells; its means of residuals "
        "before treatment shrink towards zero and are not offered; with gaps in the panel its event times number the "
        "periods in which a unit is observed.",
    ),
    Rule(
        "fect",
        r".*/gsynth_.*",
        "exact",
        left_out="Its jackknifed errors are compared for the average of all treated cells; its means of residuals "
        "before treatment are what the loadings make small and are not offered.",
    ),
    Rule("fect", r".*/(ife|mc)_.*", "stopped", left_out=IN_SAMPLE),
    Rule("fect_tests", r".*/(mc_lambda.*|ife1_x2)|sim_small/mc_cv", "stopped", left_out=IN_SAMPLE),
    Rule(
        "fect_tests",
        r"sim_gsynth/(mc|ife)_cv.*",
        "out of scope",
        "Its folds are random, and after cross-validation its fit stops sooner: with the two factors that it picks it "
        "reports 4.707 where its run with two factors has 4.743.",
    ),
    Rule("synthdid", r".*", "exact"),
    Rule(
        "staggered",
        r".*",
        "out of scope",
        "Its errors are for dates assigned at random, and its efficient estimator is no design here.",
    ),
    # did_multiplegt_dyn
    Rule(
        "did_multiplegt_dyn",
        rf".*/(?!.*__({'|'.join(_NOT_IN_DCDH)}))(?!trends_lin).*",
        "exact",
    ),
    *(
        Rule("did_multiplegt_dyn", rf".*/(.*__)?{run}.*", "out of scope", why)
        for run, why in _NOT_IN_DCDH.items()
    ),
    # part two
    Rule("triplediff", r"sim_triple/nevertreated.*|sim_triple2/.*__(unweighted|weights_w)", "exact"),
    Rule(
        "triplediff",
        r"sim_triple/notyettreated.*",
        "exact",
        left_out="In cells with several comparison cohorts and cohorts treated before, the package puts influence at "
        "other units; these cells and what has them in it are compared with its corrected runs.",
    ),
    Rule("triplediff_corrected", r".*", "exact"),
    Rule(
        "triplediff",
        r"sim_triple2/.*__boot_cluster",
        "simulated",
        "The clustered error that it draws is compared as computed from its influence function, in the other runs.",
    ),
    Rule("contdid", r".*/(dose__degree\d_knots\d(__nevertreated)?|eventstudy__slope__.*)", "exact"),
    Rule(
        "contdid",
        r".*/dose__.*__default_dvals",
        "out of scope",
        "At the doses that it shows, the basis has these doses' ends for boundary knots, and those of all doses in the "
        "regression, so that its curve is not that of its regression.",
    ),
    Rule("contdid", r".*/dose__cck", "out of scope", "Its data-driven sieve is no form of the curve here."),
    Rule("didhad", r".*", "exact"),
    Rule(
        "qte",
        r".*/(cic_disc|cic2|cic2_weights|cic2_rcs)",
        "exact",
        left_out="Its standard errors are bootstrapped.",
    ),
    Rule(
        "qte",
        r".*/(cic|cic_boot)",
        "out of scope",
        "Ranks that round are those of neighbouring outcomes there; the runs named cic2 have exact ones.",
    ),
    Rule("qte", r".*/cic2?_x1", "out of scope", "The design takes no covariates."),
    Rule("qte", r".*/(q|m|d)did.*", "out of scope", NO_DESIGN),
    Rule("fixest_iv", rf".*/(ols_fe|iv[12]_fe)__(iid|hetero|{CLUSTERED})", "exact"),
    Rule("fixest_iv", r".*/(ols_fe|iv[12]_fe)__(twoway|DK|NW)", "out of scope", OTHER_COVARIANCE),
    Rule("fixest_iv", r".*/iv2_fe_weights__.*", "out of scope", WEIGHTS_OF_CELLS),
    Rule("fixest_iv", r".*/iv2_nofe__.*", "out of scope", NO_EFFECTS),
    Rule("fixest_iv", r".*/iv1_fe_unit__.*", "out of scope", "It has no period effects."),
    Rule("ivdiag_ivmodel", r".*/iv[12]_fe(__cl_(unit|cluster))?", "exact"),
    Rule(
        "ivdiag_ivmodel",
        r".*/ivmodel__.*",
        "exact",
        left_out="Fuller's estimator is not offered, and its weak-instrument tests take errors to be independent.",
    ),
    Rule(
        "linearmodels",
        rf".*/(2sls|liml)__iv[12]_fe__(unadjusted|robust|{CLUSTERED}|twoway)(_debiased)?",
        "exact",
    ),
    Rule("linearmodels", r".*/gmm__iv2_fe__(unadjusted__iter\d+|robust__iter1)", "exact"),
    Rule(
        "linearmodels",
        r".*/gmm__iv2_fe__robust__iter(2|100)",
        "out of scope",
        "Its weights take unit-periods to be independent; the weights of GMM are by cluster here, in two steps.",
    ),
    Rule("linearmodels", r".*_nofe__.*", "out of scope", NO_EFFECTS),
    Rule(
        "linearmodels",
        r".*_fe__kernel_bartlett4",
        "out of scope",
        "Its kernel runs over stacked rows, from the last period of one unit to the first of the next.",
    ),
    Rule("linearmodels", r".*/fuller1__.*", "out of scope", "Fuller's modification of LIML is not offered."),
    Rule(
        "linearmodels",
        r".*/panelols_twoway__(unadjusted|robust|cl_entity(_nogd|_gd)?|cl_cluster|twoway|DK_default)",
        "exact",
    ),
    Rule(
        "linearmodels",
        r".*/panelols_twoway__(cl_time|DK_(bartlett|parzen)3)",
        "out of scope",
        OTHER_COVARIANCE,
    ),
    Rule("linearmodels", r".*/panelols_twoway__weights_w__.*", "out of scope", WEIGHTS_OF_CELLS),
    Rule("linearmodels", r".*/panelols_unit__.*", "out of scope", "It has no period effects."),
    Rule("linearmodels", r".*/(firstdiff|random_effects)__.*", "out of scope", NO_DESIGN),
    Rule("lwdid", r".*/(k[125]__.*__(ols|hc0|hc1)|k[25]__.*__hc[234])(__x1)?", "exact"),
    Rule(
        "lwdid",
        r".*/k1__.*__hc[234](__x1)?",
        "out of scope",
        "With one treated unit its residual is zero and its leverage one, so that the package prints rounding noise; "
        "the design refuses.",
    ),
    Rule("lwdid", r".*/stag__.*__(none|cohort)__.*", "exact"),
    Rule(
        "lwdid",
        r".*/stag__.*__overall__.*",
        "exact",
        left_out="Its error of the average over cohorts counts how treated units' outcomes, and not their effects, "
        "differ between cohorts, and takes the cohorts' shares as given.",
    ),
    Rule("fect_tests", r".*/fe_(placebo|tests|loo|carryover)", "exact"),
    Rule("fect_tests", r".*/fe_.*_boot", "out of scope", "It draws what another run has by the jackknife."),
    Rule("fect_tests", r"(?!sim_small/ife).*/(ife[12]|mc)_(placebo|tests|carryover(?!_rm)).*", "stopped"),
    Rule(
        "fect_tests",
        r"sim_small/ife.*",
        "out of scope",
        "There is no factor in the data, and a fit with some has no minimum: loadings of units with few untreated "
        "periods grow without end.",
    ),
    Rule(
        "fect_tests",
        r"sim_onoff/ife1_carryover_rm1",
        "out of scope",
        "It leaves out the first period after treatment ends and counts the others anew; study.diagnostics.carry_over "
        "hides these periods.",
    ),
    Rule("scinference", r".*/(conformal__.*__mb__.*|ttest__.*)", "exact"),
    Rule("scinference", r".*/conformal__.*__iid__.*", "drawn"),
    Rule("scinference", r".*/conformal_ci__.*", "gridded"),
    Rule(
        "augsynth",
        r".*",
        "out of scope",
        "It augments a synthetic control by an outcome model, which is no design here; without one its weights are "
        "solved to 1e-4, and synthdid and scinference hold the synthetic control to more digits.",
    ),
)


def rules_of(panel: str, package: str, name: str) -> list[Rule]:
    """Return the rules that a run falls under, of which there has to be one."""
    run = f"{panel}/{name}"
    return [rule for runs, rule in _rules_of_package(package) if runs.fullmatch(run)]


@cache
def _rules_of_package(package: str) -> list[tuple[re.Pattern[str], Rule]]:
    """Return the rules about a package, each after what it says of runs: re keeps too few expressions for all."""
    return [(re.compile(rule.runs), rule) for rule in RULES if re.fullmatch(rule.package, package)]


def every_run(files: Iterable[Path] | None = None) -> Iterator[Run]:
    """Yield every run of some reference files, or of those that are copied, with its rule."""
    for path in sorted(goldens.HERE.glob("*.json")) if files is None else files:
        panel, package = path.stem.split("__")
        for run in goldens.read(path)["runs"]:
            rules = rules_of(panel, package, run["id"])
            assert len(rules) == 1, f"{path.stem} {run['id']} falls under {len(rules)} rules"
            yield Run(panel, package, run["id"], rules[0])


if __name__ == "__main__":
    for listed in every_run():
        print(*listed[:3], listed.rule.kind, listed.rule.reason, sep="\t")
