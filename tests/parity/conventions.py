"""What the report on parity says of conventions that differ and of references that disagree."""

from __future__ import annotations

from typing import NamedTuple


class Number(NamedTuple):
    """One reported estimate with its standard error: where it stands in the reference files."""

    panel: str
    package: str
    run: str
    term: str
    section: str = "estimates"
    what: str = ""


class Disagreement(NamedTuple):
    """Two references that differ on one question, examples of it, and which one the paper supports."""

    title: str
    examples: tuple[tuple[Number, Number], ...]
    text: str


CONVENTIONS: dict[str, tuple[str, ...]] = {
    "twfe": (
        'fixest counts the parameters that are not nested in the clusters; this is "CR1_fixest" here, and the '
        'default of the regressions. Its option without adjustments is "CR0". Its option that counts no fixed '
        'effects is "CR1" with one regressor, where (N-1)/(N-k) is one. Its option that counts all of them is '
        '"CR1_areg", as in Stata\'s areg; Stata\'s xtreg and reghdfe count as "CR1_fixest" does.',
        "fixest's default covariance is the one for independent errors with equal variance. Here a covariance is "
        "always by unit or by a cluster above it, since the outcomes of a unit are not independent over time.",
        "sandwich's HC0 and HC1 for clusters are CR1 and CR1_areg here, since it has G/(G-1) in both; boottest after "
        "lm has CR1_areg and after feols CR1. CR3 is summclust's CRV3, with centre=\"mean\" its CRV3J. summclust's "
        "leverage of a cluster counts the dummies of its units; ours leaves them out.",
        "fwildclusterboot counts draws that are more extreme; here a draw that ties counts too, and the observed "
        "statistic is one of the draws. The comparison counts as it does.",
    ),
    "panel_ols": (
        "linearmodels multiplies every covariance of PanelOLS by N/(N-k) with all fixed effects in k, clustered ones "
        'too, and has no G/(G-1); its group_debias is "CR1_areg". fixest has the same as iid and hetero.',
    ),
    "iv": (
        "linearmodels has asymptotic covariances of IV; debiased ones are compared after multiplying by N/(N-k), or "
        "G/(G-1) (N-1)/(N-k) by cluster, with all fixed effects in k. fixest's are compared in the same way with its "
        "count, and with its first stage.",
        "With several instruments these take the first stage as given; the influence here does not, so that its errors "
        "differ from theirs where instruments move units of other effects (Lee 2018). With one instrument they agree.",
        "ivDiag's effective F weighs by products of the instruments less fixed effects but not less covariates, the "
        "design's by those less both, as in Montiel Olea and Pflueger (2013); with one instrument they are the same. "
        "Its Anderson-Rubin test takes the variance of the reduced form's own residuals, and its set is on a grid; the "
        "design's takes the variance under the hypothesis, which keeps its level with few clusters. The comparison is "
        "with ivDiag's forms of both.",
        "ivmodel does not count absorbed effects; its errors are compared after multiplying by N/(N-2).",
    ),
    "goodman_bacon": (
        "Weights and two-by-two effects are those of the paper's Theorem 1. Units first treated in the first period, "
        "which bacondecomp would keep as always treated, are not in a sample here.",
    ),
    "honest_did": (
        "Where HonestDiD simulates the least favourable critical value from 1,000 draws and the quantiles of "
        "the folded normal from a million, ours are integrated. The comparison takes the draws of R's generator"
        " with the package's seed, so that what is left is the grid and the optimiser.",
        "The covariance handed to it is CR0 times G/(G-1); the reference runs were made with CR0, and are "
        "compared with their own covariance.",
    ),
    "pretrends": (
        "Power is that of the test that rejects if any coefficient before treatment is significant on its own, "
        "as in the package; the joint Wald test's power is ours.",
    ),
    "sensitivity": (
        "sensemakr's adjusted interval has t(dof), its robustness value t(dof - 1); both are followed.",
    ),
    "event_study": ("The conventions are those of twfe.",),
    "heterogeneous_adoption": (
        "DIDHAD reports the estimate without bias correction and an interval centred on the corrected one. Here the "
        "corrected one is the estimate, so that its interval is the package's; the other is in a note. Both are "
        'compared, with the errors of variance="robust" under "CR0". The default errors, "sampling", leave each unit '
        "out, so that the mean change and the mean dose vary too.",
        "In DIDHAD 1.0.1 all event times have the dose of the first treated period, for the regression and, without "
        "dynamic, as the unit of the effect; its documentation says the dose of the period, which it is here, in "
        "YatchewTest's runs and in later versions of the package. The runs are compared on a panel in which units keep "
        "their first dose, and dynamic ones are divided by the sum of the true doses.",
        "nprobust 1.0.0 takes the bandwidth of the estimate for its bias too, with which the corrected intercept is "
        "that of the local quadratic regression.",
    ),
    "changes_in_changes": (
        "Quantiles are inverse distributions without interpolation, R's type 1, in qte and here. Its standard errors "
        "are bootstrapped; here they are analytic.",
    ),
    "callaway_santanna": (
        "did reports no small-sample factor and takes the normal distribution, as this design does.",
        'On unbalanced panels did treats periods as repeated cross-sections; this is missing="cells" here, while '
        'the default, missing="pairs", takes differences of units that are seen in both periods.',
        "did reports the covariance of the event study by unit also in clustered runs; it is compared as such.",
        "did takes a covariate that varies over time at each base period. Here it is its first observed value, so "
        "that one value of a covariate holds for all effects of a unit.",
        'The runs are compared under variance="drdid"; the default, "sampling", differs from it only for dr with '
        'covariates and missing="cells" (see below).',
    ),
    "sun_abraham": (
        'fixest takes the shares that average cohorts as fixed. This is variance="conditional" here; the default, '
        '"sampling", adds the influence of estimated shares, since cohorts are drawn with the units.',
        "fixest averages with shares of unit-periods that are observed, as the design does here. On a balanced "
        "panel these are shares of units.",
    ),
    "poisson_twfe": (
        "The effect here is proportional, exp(coefficient) - 1. The comparison is with the coefficient, "
        "log(1 + effect), whose standard error is that of the effect divided by 1 + effect.",
        "fixest takes p-values of Poisson regressions from the normal distribution; they are not compared.",
        'Poisson runs of sunab are compared with etwfe under family="poisson" and effects="unit", which is that '
        "regression. fixest averages the cohorts' coefficients, on the scale of the logarithm. The comparison does so "
        "too; the averages of the design are of proportional effects.",
    ),
    "imputation": (
        'The runs of didimputation are compared under variance="conservative", those of did2s under '
        '"sampling", the default. Neither package has a small-sample factor for the effects.',
        "didimputation, did2s and fect remove the effects of units and periods by iteration, which shows in their "
        "seventh or eighth digit; on balanced panels etwfe reports the same averages and agrees with us to 1e-9.",
        "didimputation takes the errors of its leads from fixest, whose factor counts the untreated unit-periods and "
        "the parameters of that regression; the comparison multiplies by the same factor. Here leads and effects have "
        'one covariance estimator, "CR0", so that they have a joint covariance.',
        "Leads come from a regression on untreated unit-periods, as Borusyak, Jaravel and Spiess propose, and not "
        "from the residuals of the first stage. did2s reports means of those residuals before treatment, which "
        "shrink towards zero by construction; they are not compared.",
        'didimputation runs with fixef.rm = "none": under fixest 0.13 or later its default silently loses the '
        "treated observations of units with a single untreated one.",
    ),
    "triple_difference": (
        "triplediff averages cohorts by shares of their eligible and other units. Here the shares are those of the "
        "eligible, of whom the effects are, as in equation (2.3) of the paper. The comparison takes whole cohorts.",
        "In the error of triplediff's average over cohorts, estimated shares of every cohort have the influence of the "
        "first cohort's units. The comparison computes it so; the error here is that of callaway_santanna.",
        "The package divides by n - 1 where it has two periods, and where a cell has several comparison cohorts and "
        "errors are by unit; elsewhere by n. The comparison does so too.",
        "The bootstrapped error by cluster of two periods is compared as computed from the influence function.",
    ),
    "synthetic_did": (
        "synthdid finds weights by steps of Frank and Wolfe and stops where the objective falls by less than "
        '(1e-5 sigma)^2, short of the minimum. The runs are compared under solver="frank_wolfe", which takes the same '
        "steps. The default finds the minimum: on prop99 it gives -15.6054 for synthetic difference-in-differences "
        "where synthdid has -15.6038, and -19.5136 for the synthetic control where it has -19.6197.",
        'The jackknife holds the weights, as Algorithm 3 does, and is the default error here under "CR1", which is '
        "(n-1)/n times the sum of squares. Placebo errors that synthdid draws are not compared; those that were "
        "enumerated are, in tests/designs/test_synthetic_did.py, with its way of starting from the weights of the "
        'estimate and keeping the estimate\'s sigma. inference="placebo" instead takes each choice of comparison units '
        "through the whole of Algorithm 1, and takes every choice once where there are few.",
        "synthdid's did_estimate is imputation where one cohort is compared with the never-treated.",
    ),
    "lee_wooldridge": (
        "Without covariates lwdid's default is the pooled vcov here, with its t(N - 2), and HC3 is the default "
        "jackknife, whose degrees of freedom are those of two groups with variances of their own. Errors given "
        'covariates are the option variance; the default, "sampling", adds that covariates and effects vary.',
        "lwdid leaves covariates out without a word where a group has no more units than coefficients; those runs are "
        "compared with questions that have none.",
    ),
    "generalized_synthetic_control": (
        "fect's gsynth iterates slopes and factors to a relative change of 1e-7, ours to 1e-12; without covariates "
        "both are closed form. Its errors are compared with its jackknife; the number of factors is given.",
    ),
    "dcdh": (
        "Effect_l is event time l - 1 and Placebo_l event time -l - 1 here, Av_tot_eff the term treated_average.",
        'The runs are compared under variance="didmultiplegt" and "CR0". The package takes as given who switches when, '
        'and demeans changes within cohorts; the default here, "sampling", has the influence of units drawn with their '
        "paths.",
        "Treatment is a path that is known where the row is there, so that in an unbalanced panel a unit without a row "
        "before the switch is compared with until then and is no switcher, as in the package. The package counts it "
        "among the never-switchers; here it is none of the never-treated, since it does switch.",
        "Joint tests of placebos and of effects, and the test that effects are equal, are compared by their p-values.",
    ),
    "dose_response": (
        "contdid bootstraps its errors with multipliers; they are compared with the sums of squares of the influence "
        "functions that it returns, from which the comparison repeats three things that differ here.",
        "In contdid 0.1.0 the influence of the treated units on ACRT(g,t) is multiplied by the number of all units "
        "over that of the cell's units, where it is over that of its treated units, so that errors of ACRT(g,t) and of "
        "its averages are too small by the share of treated units in the cell (0.054 in place of 0.084 on sim_dose2). "
        "Errors of ACRT(d) do not have this. Here tests hold the influence to derivatives by weights and to leaving "
        "units out.",
        "It adds the comparison units' part to the influence on ATT(d) with the sign turned. That is the same where "
        "units are only treated or only compared, as in two periods, but a cohort that is compared before its own "
        "treatment has both parts, and their covariance then counts with the wrong sign (up to 10% of the error on "
        "sim_dose).",
        'It takes the shares of cohorts as given on curves, which is variance="conditional" here; the default, '
        '"sampling", adds the influence of estimated shares. In averages over cohorts ptetools 1.0.2 estimates them, '
        "but subtracts shares among the treated from indicators of cohorts among all units, so that their influence "
        "has not mean zero.",
        "cont_did 0.1.0 does not pass control_group and base_period on; all of its runs are with units not yet treated "
        'and base="varying".',
    ),
    "matrix_completion": (
        "fect's lambda is the penalty here, on singular values over n T; where a unit is left out, n is one less in "
        "both.",
        "fect drops treated units with fewer than five periods before treatment from its mc and ife runs, and so does "
        "the comparison; here a unit needs one untreated cell, or one more than there are factors.",
        "fect's errors are the jackknife's of each average over treated cells. The comparison leaves each unit out of "
        "these averages; the design's influence is the jackknife's of effects by cohort and period, averaged with "
        "estimated shares, which is the same for one cohort. A term of one treated unit has no error here.",
        "fect's cross-validation draws folds at random and takes a penalty by one standard error. Here folds are the "
        "treated units' cells 1, 6, 11, ... periods before treatment, then 2, 7, 12, ..., and so on, so that neither "
        "seed nor order matters, and the penalty that predicts best is taken.",
    ),
    "placebo_periods": (
        "fect takes its p-values from the normal distribution; here they are from the t distribution whose degrees of "
        "freedom the clusters leave. Errors are the same jackknife.",
        "The covariance in fect's F statistic lacks the jackknife's factor (J-1)^2/J, so that the statistic is too "
        "large by about the number of units. The comparison follows it; here the covariance is that of the standard "
        "errors, and degrees of freedom are those that the clusters leave and not the number of treated units. Units "
        "without which some event time has no cell are left out of its covariance.",
        "fect's event time 1 is our 0. Its tests before treatment are in-sample unless loo is set; ours hide each "
        "event time in turn unless in_sample is.",
    ),
    "conformal": (
        "scinference tries effects on a grid and reports the first and the last that is not rejected; here ends are "
        "those of the interval around the estimate.",
    ),
    "etwfe": (
        "etwfe has effects of cohorts by default, and of units with its option ivar; here these are "
        'effects="cohort" and effects="unit".',
        'emfx takes covariates and shares as given; this is variance="conditional" here. The default, '
        '"sampling", adds the influence of both.',
        "emfx computes derivatives numerically, which costs the standard errors of its averages some digits.",
        "Coefficients of a Poisson regression are compared as log(1 + proportional effect) of each cohort and "
        "period.",
    ),
}

_SIMPLE_DID = ("nevertreated__varying__ant0__nocov__dr", "simple_overall", "simple")

DISAGREEMENTS: tuple[Disagreement, ...] = (
    Disagreement(
        "fwildclusterboot's bootstrap types 13 and 33 and summclust on CR3",
        (),
        "In fwildclusterboot 0.14.3 the variance of the observed CR3 statistic has the factor G/(G-1) "
        "(N-1)/(N-k) and that of the draws has not, so that its p-values for these types are too large: 0.085 "
        "for the eleven states, where draws and observation treated alike give 0.048. summclust has no such "
        "factor, and neither have the draws. The comparison repeats the factor; here the observed statistic is "
        "treated as the draws are (MacKinnon, Nielsen and Webb 2023).",
    ),
    Disagreement(
        "did 2.3.0 and did 2.5.1 on clusters",
        tuple(
            (
                Number(panel, "did_230", "bootstrap_biters9999_cluster", "simple", "simple"),
                Number(
                    panel,
                    "did_251",
                    "clustered__nevertreated__varying__nocov__dr",
                    "simple_overall",
                    "simple",
                ),
            )
            for panel in ("mpdta", "sim_clustered")
        ),
        "Version 2.3.0 draws one multiplier a cluster and applies it to the mean of the cluster's influence, so that "
        "a small cluster counts as much as a large one; 2.5.1 applies it to the sum. Callaway and Sant'Anna (2021), "
        "Remark 10, draw a multiplier for each cluster in place of each unit, which is the sum. The two are the same "
        "where clusters have the same size. The design here follows the paper and 2.5.1. Version 2.3.0 has no analytic "
        "clustered error, so its numbers below are bootstrapped from the interquartile range of the draws.",
    ),
    Disagreement(
        "did2s and didimputation on standard errors",
        tuple(
            (
                Number(panel, "did2s", "static__cl_unit", "D::1"),
                Number(panel, "didimputation", "static__cl_unit", "treat"),
            )
            for panel in ("base_stagg", "mpdta", "sim_small", "sim_unbalanced", "sim_clustered")
        )
        + tuple(
            (
                Number(panel, "did2s", "static__cl_unit", "D::1"),
                Number(panel, "fect", "fe", "att_avg"),
            )
            for panel in ("sim_small", "sim_unbalanced")
        ),
        "The estimates are the same, and each error is the one of its paper. Both carry the variation of effects "
        "between the units of a cohort in a period. Borusyak, Jaravel and Spiess take cohorts and their sizes as "
        "given, so that the variation between the averages of cohorts and periods is not in the error. Gardner takes "
        "units as drawn with their cohorts, so that it is. The influence functions of all designs here are of the "
        'second kind, which is the default, "sampling"; a jackknife over units, as fect reports, agrees with it.',
    ),
    Disagreement(
        "DIDmultiplegtDYN's errors with controls, and its covariance matrix",
        (),
        "With controls the errors of version 2.1.2 have three things that the delta method has not, and "
        'variance="didmultiplegt" repeats: what the slopes of one first treatment add is multiplied by the changes of '
        "all first treatments over those of its own; the slopes, over the number of units, are added to the influence "
        "of all units; and residuals are those of the regression without weights. The default is the influence that "
        "tests hold to derivatives by weights. The matrix vcov that the package returns for sim_switch has covariances "
        "larger than the product of the standard errors; its own joint tests do not use them, and are met.",
    ),
    Disagreement(
        "DRDID on repeated cross-sections with covariates",
        (),
        "In DRDID 1.2.3 the influence of the doubly robust estimator for repeated cross-sections adds the comparison "
        "group's regression before treatment in two terms where the delta method of Sant'Anna and Zhao (2020), "
        "equation (3.4), subtracts it. The two are the same in the limit if the propensity model is right. The "
        'default here is the delta method, which tests hold to derivatives by weights; variance="drdid" does as the '
        "package does and is what the runs are compared with.",
    ),
    Disagreement(
        "etwfe with effects of cohorts, etwfe with effects of units, and imputation on unbalanced panels",
        (
            (
                Number("sim_unbalanced", "etwfe", "notyet__cl_unit__emfx_simple", "simple", what="cohorts"),
                Number(
                    "sim_unbalanced", "etwfe", "notyet_ivar__cl_unit__emfx_simple", "simple", what="units"
                ),
            ),
            (
                Number(
                    "sim_unbalanced", "etwfe", "notyet_ivar__cl_unit__emfx_simple", "simple", what="units"
                ),
                Number("sim_unbalanced", "didimputation", "static__cl_unit", "treat"),
            ),
            (
                Number("sim_small", "etwfe", "notyet_ivar__cl_unit__emfx_simple", "simple", what="units"),
                Number("sim_small", "didimputation", "static__cl_unit", "treat"),
            ),
        ),
        "On balanced panels the three estimates are the same, which is the equivalence that Wooldridge (2021) proves; "
        "etwfe's errors have fixest's factor, those of didimputation have none. With gaps "
        "the effects of cohorts compare different units in different periods, which is right if being observed does "
        "not depend on the units' levels. Effects of units allow for that, and the regression uses treated periods to "
        "estimate them where imputation does not. The papers support each on its own assumption; here the choice is "
        "the option effects, and imputation is a design of its own.",
    ),
    Disagreement(
        "fixest's sunab and did on averages",
        (
            (
                Number("sim_small", "fixest_sunab", "sunab__att__cl_unit", "ATT"),
                Number("sim_small", "did_251", *_SIMPLE_DID),
            ),
            (
                Number("sim_unbalanced", "fixest_sunab", "sunab__att__cl_unit", "ATT"),
                Number("sim_unbalanced", "did_251", *_SIMPLE_DID),
            ),
        ),
        "On balanced panels the estimates are the same and the errors are not: sunab takes the shares of cohorts as "
        "fixed, did estimates them. Sun and Abraham (2021), equations (27) to (29), average with estimated shares, "
        "and the authors' Stata command adds the variance of the shares; the default here does so. With gaps the "
        "estimates differ too: sunab is a regression with unit effects that averages by observed unit-periods, did "
        "compares repeated cross-sections and averages by the units of a cohort.",
    ),
)
