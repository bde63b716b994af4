"""The design tournament: which design would have found the truth on a panel like this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from study.core import QuestionError, listed
from study.designs import all_designs, find_design
from study.diagnostics import Finding, titled
from study.panel import Panel, Question
from study.simulate.calibrate import calibrate, calibration
from study.simulate.performance import findings_of
from study.simulate.process import NO_EFFECT, Process, checked_dials, effect_title
from study.simulate.replications import Entrant, Task, block, is_slow, replicate, samples_of

EFFECTS = (0.0, 0.1, 0.2, 0.4)
# By how much fewer panels slow designs are asked of, where nobody says.
SLOW_SHARE = 10
# Panels on which a design that nobody named is tried before it takes part.
TRIED = 3
PARALLEL: dict[str, float] = {"factor": 0.0, "selection": 0.0}
EFFECT: dict[str, float] = {"effect": 0.2}
# Processes in which one assumption fails that a design's paper warns of, and those in which none does, by their dials.
VIOLATIONS: Mapping[str, Mapping[str, float]] = {
    "as calibrated": EFFECT,
    "trends parallel in levels": EFFECT | PARALLEL | {"size_growth": 0.0},
    "trends parallel in proportion": EFFECT | PARALLEL | {"size_growth": 1.0},
    "adopters' own trends": EFFECT | {"trends": 0.2},
    "anticipation": EFFECT | {"anticipation": 0.5},
    "heterogeneous, dynamic effects": EFFECT | {"heterogeneity": 1.0, "dynamics": 0.25, "early": 0.1},
    "linear confounding": EFFECT | {"linear": 0.2},
    "nonlinear confounding": EFFECT | {"nonlinear": 0.2},
    "spillovers": EFFECT | {"spillovers": 0.25},
    "hidden treatment": EFFECT | {"hidden": 0.1},
    "unfounded events": EFFECT | {"unfounded": 0.15},
    "reversal": EFFECT | {"reversal": 0.1},
}


@titled("Design tournament")
def tournament(
    panel: Panel,
    question: Question,
    designs: Sequence[str | Entrant] | None = None,
    *,
    dials: Mapping[str, float] | None = None,
    effects: Sequence[float] = EFFECTS,
    processes: Mapping[str, Mapping[str, float]] | None = None,
    neighbours: str | None = None,
    repetitions: int = 1000,
    slow_repetitions: int | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Finding:
    """Simulate panels like this one, and see which design would have found the truth on them.

    Panels are drawn from processes calibrated to the panel (:func:`study.calibrate`) whose effects are known; every
    design answers the question on every panel. Draws are the same for all designs and do not depend on the number of
    jobs. With a folder for its cache (``study.settings(cache=...)``) a tournament that was killed goes on where it was.

    Parameters
    ----------
    panel : Panel
    question : Question
    designs : sequence of str or Entrant, optional
        Those that take part; an :class:`~study.simulate.replications.Entrant` has options, and changes of the question
        such as covariates. By default all that can answer the question, whose answers are closed forms.
    dials : mapping of str to float, optional
        What is other than calibrated, in all processes; see :data:`study.simulate.process.DIALS`.
    effects : sequence of float
        Of the processes, in shares of the counterfactual mean, or of the outcome's standard deviation where it is
        negative or no count.
    processes : mapping of str to mapping, optional
        The processes' names and dials, in place of one for each of ``effects``;
        :data:`study.simulate.tournament.VIOLATIONS` has one for each assumption that designs make.
    neighbours : str, optional
        Attribute whose labels are the groups in which treatment spills over.
    repetitions, slow_repetitions : int
        Panels a process for closed forms, and a tenth of it, at least 2, for designs that learn, draw, or search for
        weights, factors or ranks.
    level : float
        Of the intervals.
    seed : int

    Returns
    -------
    Finding
        The verdict recommends a design; the frame has a row a process and design, as
        :func:`study.simulate.performance.performance` explains them. Details: ``calibration`` (a Finding),
        ``processes`` (dials by name), ``panels`` (by design, how many of each process it was asked of), ``left_out``
        (by design, why it does not take part), and those of :func:`study.simulate.performance.findings_of`.

    Raises
    ------
    QuestionError
        If an argument is not as above, the panel cannot be calibrated to, or a design that is named cannot answer;
        all before any panel is drawn.

    Examples
    --------
    >>> import study
    >>> panel = study.load_panel("cvpr")
    >>> question = study.Question("papers", "first_accelerator", scale="proportional", min_cohort_size=1)
    >>> finding = study.tournament(panel, question, ["twfe", "sun_abraham"], effects=[0, 0.2], repetitions=2)
    >>> list(finding["panels"].items())
    [('twfe', 2), ('sun_abraham', 2)]
    """
    for name, number in (("repetitions", repetitions), ("slow_repetitions", slow_repetitions)):
        if number is not None and number < 2:
            raise QuestionError(f"tournament: {name} is {number}; it must be a whole number, at least 2.")
    slow_repetitions = max(2, repetitions // SLOW_SHARE) if slow_repetitions is None else slow_repetitions
    of_processes = _dials(effects, processes, dials or {})
    entrants = None if designs is None else _entrants(designs)
    if entrants is not None:
        samples_of(question.sample(panel), entrants)
    calibrated = calibrate(panel, question, neighbours=neighbours, seed=seed)
    if processes is None and calibrated.family == "continuous":
        of_processes = {_in_deviations(each): each for each in of_processes.values()}
    drawn = {name: calibrated.turned(**given) for name, given in of_processes.items()}
    left_out: dict[str, str] = {}
    if entrants is None:
        entrants, left_out = able(calibrated, seed)
    of_calibration = calibration(calibrated, seed=seed)
    numbers = {"repetitions": repetitions, "slow_repetitions": slow_repetitions}
    replications = replicate(drawn, entrants, **numbers, seed=seed, level=level)
    finding = findings_of(replications, question.effect_scale)
    first = next(iter(replications.values()))
    details = {
        "calibration": of_calibration,
        "processes": {name: dict(process.dials) for name, process in drawn.items()},
        "panels": dict(zip(first.labels, first.ran.tolist(), strict=True)),
        "left_out": left_out,
    }
    remarks = [f"Not asked, since they cannot answer the question: {listed(left_out)}."] if left_out else []
    evidence = (*finding.evidence, *remarks, of_calibration.verdict)
    return replace(finding, evidence=evidence, details={**finding.details, **details})


def _dials(
    effects: Sequence[float], processes: Mapping[str, Mapping[str, float]] | None, shared: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """Return the dials of every process by its name, checked."""
    shared = checked_dials(shared, "tournament")
    if processes is None:
        if "effect" in shared:
            raise QuestionError("tournament: dial effect is set; name it in effects= instead.")
        processes = {effect_title(each): {"effect": each} for each in effects}
        if len(processes) < len(effects):
            raise QuestionError("tournament: effects has one effect twice; name each once.")
    if not processes:
        raise QuestionError("tournament: there is no process; name effects, or processes with their dials.")
    return {
        name: shared | checked_dials(given, f'tournament, process "{name}"')
        for name, given in processes.items()
    }


def _in_deviations(dials: Mapping[str, float]) -> str:
    return f"effect of {dials['effect']:g} standard deviations" if dials["effect"] else NO_EFFECT


def _entrants(designs: Sequence[str | Entrant]) -> list[Entrant]:
    """Return designs as entrants, each known and each under a label of its own."""
    if isinstance(designs, str | Entrant) or not len(designs):
        raise QuestionError(
            'tournament: designs is a list of names, such as ["twfe", "imputation"]; name some.'
        )
    entrants = [each if isinstance(each, Entrant) else Entrant(each, each) for each in designs]
    labels = [entrant.label for entrant in entrants]
    for entrant in entrants:
        find_design(entrant.design)
        if labels.count(entrant.label) > 1:
            raise QuestionError(
                f"tournament: {entrant.label} is in designs more than once; label each entrant."
            )
    return entrants


def able(process: Process, seed: int) -> tuple[list[Entrant], dict[str, str]]:
    """Return all designs with closed forms that answer on some of the first panels, and why others do not."""
    able, left_out = [], {}
    for entrant in (Entrant(name, name) for name in all_designs()):
        if is_slow(entrant):
            continue
        try:
            samples = samples_of(process.sample, [entrant])
        except QuestionError as refusal:
            left_out[entrant.label] = str(refusal)
            continue
        tried = block({"": process}, [entrant], {"": samples}, seed, 0.95, Task("", (0,), 0, TRIED))
        if np.isnan(tried.answers[:, :, 0]).all():
            left_out[entrant.label] = tried.reasons[0][1]
        else:
            able.append(entrant)
    if not able:
        raise QuestionError(f"tournament: no design can answer the question: {next(iter(left_out.values()))}")
    return able, left_out
