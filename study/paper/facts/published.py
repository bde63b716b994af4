"""What the seed paper published: values that are recomputed here, and findings that public data do not allow."""

from __future__ import annotations

from typing import NamedTuple

SEED_PAPER = "Besiroglu et al. (2024, arXiv 2401.02452)"
# The full text was not at hand. The values were found in a public summary of the paper (study.space), and the rules
# about the models in its supplementary material (arXiv, HTML of version 1). Windows of years are our reading of "early
# 2010s" and "early 2020s".
_SUMMARY = f"{SEED_PAPER}, key findings as a public summary of the paper gives them"
_SUPPLEMENT = f"{SEED_PAPER}, supplementary material"


class Published(NamedTuple):
    """A published value, as a share or in months, and where it was read."""

    value: float
    source: str


class NotRecomputed(NamedTuple):
    """A published finding that cannot be recomputed from public data: what was found, why not, where it was read."""

    claim: str
    published: str
    reason: str
    source: str


PUBLISHED: dict[str, Published] = {
    "academic_only_early": Published(0.65, _SUMMARY),
    "academic_only_late": Published(0.10, _SUMMARY),
    "industry_only": Published(0.81, _SUMMARY),
    "doubling_time": Published(6.0, _SUMMARY),
}

NOT_RECOMPUTED = (
    NotRecomputed(
        "Compute of NeurIPS 2021 papers, academic against industry",
        "hand annotation",
        "The authors drew 519 papers at random and found the compute of 109 of them by reading. The supplement says "
        "that the readings can be downloaded, but their address was not at hand; a reading of ours would be another "
        "measurement.",
        _SUPPLEMENT,
    ),
    NotRecomputed(
        "Power of the hardware that groups with and without industry report",
        "5 times",
        "It rests, as we understand it, on what papers say of their hardware; the lists of proceedings that are public "
        "have titles and affiliations alone.",
        _SUMMARY,
    ),
    NotRecomputed(
        "Engineering topics in language research, academic against industry",
        "not known to us",
        "Its method is not known to us in full, and the venues of language research are public for single years only.",
        _SUPPLEMENT,
    ),
    NotRecomputed(
        "Use of open pre-trained models of companies in academic papers",
        "not known to us",
        "What a paper builds on is in its text and not in its title. Rates at which weights are released are given "
        "instead.",
        f"{SEED_PAPER}, abstract",
    ),
)
