"""The joint tests that all effects before treatment are zero."""

from __future__ import annotations

from study.core import QuestionError, p_is
from study.diagnostics import Finding, Needs, Section, at_each, diagnostic, dots
from study.estimates import SIZE, Estimate, effects, effects_frame, pre_test


@diagnostic(
    "Joint test of effects before the event",
    "Are all effects before the event zero?",
    Section.AGAINST,
    of_sums=True,
    needs=(Needs.PATH,),
)
def leads(
    fit: Estimate, *, bound: float | None = None, level: float = 0.95, draws: int = 9999, seed: int = 0
) -> Finding:
    """Test jointly that all effects before treatment are zero, by the largest ``|t|`` and by Wald's statistic.

    Parameters
    ----------
    fit : Estimate
        With effects by event time.
    bound : float, optional
        Effect that counts as small, on the question's scale, for an equivalence test of each effect.
    level : float
        Coverage of the intervals; the tests are at 5%.
    draws, seed : int
        Of the normal draws of the largest ``|t|``.

    Returns
    -------
    Finding
        The frame has a row an event time before treatment: event_time, estimate, std_error, p_value, conf_low,
        conf_high and, with a bound, p_equivalence (of an effect at or beyond it). Details: ``p_largest`` and ``p_wald``
        with its ``rank``.

    Raises
    ------
    QuestionError
        If the estimate has no effect before treatment that varies.
    """
    if not fit.estimand.has_path:
        raise QuestionError(f"leads: {fit.design} has one {fit.estimand} and no effects by event time.")
    path = fit.by_event_time
    test = pre_test(path, draws=draws, seed=seed)
    before = [row for row, pre in zip(effects(path, level), path.pre & path.varies, strict=True) if pre]
    if not test.rank or not before:
        raise QuestionError(f"leads: {fit.design} has no effect before treatment that varies.")
    against, p_largest, p_wald = test.p_largest < SIZE, p_is(test.p_largest), p_is(test.p_value)
    table = effects_frame(before).drop(columns=["label", "n_units", "n_treated"])
    table.insert(0, "event_time", [row.event_time for row in before])
    verdict = (
        f"The joint test that all effects before the event are zero {'rejects' if against else 'does not reject'} at "
        f"{SIZE:.0%} by the largest t ({p_largest}); the Wald test has {p_wald}."
    )
    scale, sentences = fit.sample.question.effect_scale, [verdict]
    if bound is not None:
        table["p_equivalence"], sentence = at_each(before, bound, scale, "event time before it")
        sentences.append(sentence)
    if scale.percent:
        sentences.append(
            "Each effect is divided by the counterfactual mean at its own event time; the tests are of effects in "
            "levels."
        )
    return Finding.of(
        sentences,
        table,
        dots(scale, level, table["event_time"].map("event time {:g}".format)),
        against=against,
        objection=f"the joint test of all effects before treatment (largest t: {p_largest}; Wald: "
        f"{p_wald}, rank {test.rank})",
        details={"p_largest": test.p_largest, "p_wald": test.p_value, "rank": test.rank},
    )
