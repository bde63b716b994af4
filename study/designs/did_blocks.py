"""Cells of group-time effects that rest on the same units, on which nuisance functions are learned at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from study.core import FloatArray, IntArray, group_mean
from study.designs.did_cells import Cells, Comparison, comparison
from study.learners.cross_fitting import Folds, kind_of_cluster
from study.learners.problem import Rows
from study.panel import Sample


class Block(NamedTuple):
    """Cells of one cohort whose treated units are the same, and whose comparison units are.

    Attributes
    ----------
    cells : ndarray of int, shape (k,)
        Their numbers among all cells.
    rows : ndarray of int, shape (m,)
        The units, in the sample's order.
    treated : ndarray of bool, shape (m,)
        Which of them are of the cohort.
    """

    cells: IntArray
    rows: IntArray
    treated: Rows


class Blocks(NamedTuple):
    """What there is to be learned in K cells, and what is known before.

    Attributes
    ----------
    cells : Cells
    blocks : tuple of Block
    reasons : dict of int to str
        Why some of the cells are in no block; the base periods are in none either.
    mean : ndarray, shape (K,)
        Mean outcome of the cell's treated units in its period.
    mean_influence : ndarray, shape (n, K)
    n_obs : int
        Unit-periods that the blocks rest on.
    """

    cells: Cells
    blocks: tuple[Block, ...]
    reasons: dict[int, str]
    mean: FloatArray
    mean_influence: FloatArray
    n_obs: int

    @property
    def known(self) -> Rows:
        """Which cells have an estimate, or are a base period, shape (K,)."""
        known = np.ones(len(self.mean), dtype=bool)
        known[list(self.reasons)] = False
        return known

    def changes(self, sample: Sample, block: Block) -> dict[str, FloatArray]:
        """Return the change since the base of each of a block's units, shape (m,), in each of its cells.

        They are named by event time, since learners that draw take their seed from the name.
        """
        y, cells = sample.y[block.rows], self.cells.select(block.cells)
        names = [f"event time {e:g}" for e in cells.period - cells.cohort]
        return dict(zip(names, (y[:, cells.now] - y[:, cells.base]).T, strict=True))


def blocks_of(sample: Sample, cells: Cells, folds: Folds) -> Blocks:
    """Put cells together that rest on the same units.

    Cells in which nothing can be learned outside each fold are left out.

    Parameters
    ----------
    sample : Sample
        Absorbing treatment, no weights.
    cells : Cells
    folds : Folds
        Of the sample's units.
    """
    n, n_terms = sample.n_units, len(cells.cohort)
    y, observed = np.nan_to_num(sample.y).T, sample.observed.T
    few = f"too few {kind_of_cluster(sample)} are seen to learn from outside each of the {folds.number} folds"
    mean, mean_influence = np.zeros(n_terms), np.zeros((n, n_terms))
    used = np.zeros(observed.shape, dtype=bool)
    blocks: list[Block] = []
    reasons: dict[int, str] = {}
    for g in np.unique(cells.cohort):
        own = np.flatnonzero(cells.cohort == g)
        c = comparison(sample, observed, cells.select(own))
        level = group_mean(y[np.ix_(c.now, c.members)], c.treated_now, np.ones(len(c.members)), n)
        mean[own] = level.estimate
        mean_influence[np.ix_(c.members, own)] = level.influence.T
        why = c.unseen
        for alike in c.alike(np.setdiff1d(np.flatnonzero(c.now != c.base), list(why))):
            block = _block(c, alike, own)
            if can_learn(sample.cluster[block.rows], block.treated, folds.fold[block.rows], folds.number):
                blocks.append(block)
                used |= c.used(alike, len(used))
            else:
                why |= dict.fromkeys(map(int, alike), few)
        reasons |= {int(own[k]): reason for k, reason in why.items()}
    return Blocks(cells, tuple(blocks), reasons, mean, mean_influence, int(used.sum()))


def _block(c: Comparison, alike: IntArray, own: IntArray) -> Block:
    """Return the block of some of a cohort's cells, whose numbers among all are ``own``."""
    treated = np.zeros(c.compared_now.shape[1], dtype=bool)
    treated[c.members] = c.treated_now[alike[0]]
    rows = np.flatnonzero(treated | c.compared_now[alike[0]])
    return Block(own[alike], rows, treated[rows])


def can_learn(cluster: IntArray, treated: Rows, fold: IntArray, n_folds: int) -> bool:
    """Say whether each fold, shape (m, R), has a row and leaves two clusters with treated rows and two with others."""
    for of_draw in fold.T:
        for k in range(n_folds):
            train = of_draw != k
            if train.all() or any(len(np.unique(cluster[train & side])) < 2 for side in (treated, ~treated)):
                return False
    return True
