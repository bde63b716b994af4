"""The words for standard errors: those of this package, and those of other packages that users try."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, cast, get_args

from study.core import QuestionError, listed, refuse_unknown

Clustered = Literal["CR0", "CR1", "CR1_fixest", "CR1_areg"]
# Covariance matrices that a design takes from linearmodels, some of which are no sums over clusters of units.
Given = Literal["unadjusted", "robust", "clustered", "twoway", "driscoll_kraay"]
VcovName = Literal["jackknife", "bell_mccaffrey", "pooled", Clustered, Given]
VcovWord = str | Mapping[str, str]

NAMED: tuple[Clustered, ...] = get_args(Clustered)
GIVEN: tuple[Given, ...] = get_args(Given)
WORDS: tuple[VcovName, ...] = ("jackknife", "bell_mccaffrey", "pooled", *NAMED)

EXAMPLE = 'vcov={"CRV1": "state"}'
CLUSTERED_BY: dict[str, VcovName] = {"CRV1": "CR1_fixest", "CRV3": "jackknife"}  # as pyfixest writes them
INDEPENDENT = ("iid", "nonrobust", "unadjusted", "hetero", "robust", "white", *(f"HC{k}" for k in range(4)))
SYNONYMS: dict[str, VcovName] = {
    "cluster": "CR1",
    "clustered": "CR1",
    "CRV1": "CR1_fixest",
    "CRV2": "bell_mccaffrey",
    "CRV3": "jackknife",
    "CR2": "bell_mccaffrey",
    "CR3": "jackknife",
    "fixest": "CR1_fixest",
    "stata": "CR1_fixest",
    "areg": "CR1_areg",
}
# Arguments by which other packages choose standard errors.
ARGUMENTS = ("se", "se_type", "std_errors", "errors", "cov_type", "covariance", "robust", "vce", "clusters")


def read_vcov(who: str, word: Any, given: Collection[str] = ()) -> tuple[VcovName, str | None]:
    """Return the name of a covariance estimator, and the column of clusters if the word has one.

    Parameters
    ----------
    who : str
        The function or design that was called, for errors.
    word : str or mapping of str to str
        A name, or as pyfixest writes it ``{"CRV1": "state"}``.
    given : collection of str
        Names of matrices that the design has from linearmodels.

    Raises
    ------
    QuestionError
        If there is no such covariance estimator.
    """
    if isinstance(word, Mapping):
        return _with_clusters(who, word)
    if not isinstance(word, str):
        raise QuestionError(f'{who}: vcov is {word!r}; give a name such as "CR1", or {EXAMPLE}.')
    name = {known.lower(): known for known in (*WORDS, *given)}.get(word.lower(), word)
    if name not in (*WORDS, *given):
        if name.lower() in map(str.lower, INDEPENDENT):
            raise QuestionError(
                f'{who}: vcov="{word}" assumes that the periods of one unit are independent, which they are not in a '
                'panel; use "jackknife", "CR1" or another that clusters by unit.'
            )
        same = {known.lower(): here for known, here in SYNONYMS.items()}.get(name.lower())
        if same is not None:
            raise QuestionError(
                f'{who}: vcov="{word}" is called "{same}" here and clusters by unit; use that.'
            )
        refuse_unknown("vcov", name, (*WORDS, *given), who)
    return cast(VcovName, name), None


def _with_clusters(who: str, word: Mapping[Any, Any]) -> tuple[VcovName, str]:
    if len(word) != 1:
        raise QuestionError(f"{who}: vcov has {len(word)} entries; it takes one, as in {EXAMPLE}.")
    (name, cluster), *_ = word.items()
    if name not in CLUSTERED_BY:
        raise QuestionError(
            f"{who}: vcov has clusters for {name!r}; it takes them for {listed(CLUSTERED_BY)}, as in {EXAMPLE}. For "
            "others name the clusters by Question(cluster=...)."
        )
    if not isinstance(cluster, str) or not cluster.strip():
        raise QuestionError(f"{who}: vcov clusters by {cluster!r}; name one column, as in {EXAMPLE}.")
    return CLUSTERED_BY[name], cluster


def refuse_other_arguments(who: str, options: Collection[str]) -> None:
    """Refuse arguments by which other packages choose standard errors, and name the one that does it here.

    Raises
    ------
    QuestionError
        If one of the options is such an argument.
    """
    for name in options:
        if name in ARGUMENTS:
            raise QuestionError(
                f'{who}: {name}= is not an argument here; standard errors are chosen by vcov=, for example vcov="CR1" '
                f"or {EXAMPLE}."
            )
