"""The normal draws of R's default generator (Mersenne Twister, inversion), and quantiles that R simulates with them."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Array = NDArray[np.float64]

SCRAMBLES, WORDS = 50, 624
MULTIPLIER, WORD = 69069, 2**32
COARSE = 2**27


@cache
def normals(n: int, seed: int = 0) -> Array:
    """Return what ``set.seed(seed); rnorm(n)`` gives."""
    generator = np.random.MT19937()
    state = generator.state
    state["state"] = {"key": _words(seed), "pos": WORDS}
    generator.state = state
    uniform = generator.random_raw(2 * n) / (WORD - 1)
    return ndtri((np.floor(COARSE * uniform[::2]) + uniform[1::2]) / COARSE)


def _words(seed: int) -> NDArray[np.uint32]:
    """Return the generator's state: a congruential sequence after its scrambling and one word for the position."""
    sequence = []
    for _ in range(SCRAMBLES + 1 + WORDS):
        seed = (MULTIPLIER * seed + 1) % WORD
        sequence.append(seed)
    return np.array(sequence[-WORDS:], dtype=np.uint32)


def multivariate(n: int, sigma: Array) -> Array:
    """Return what ``set.seed(0); mvtnorm::rmvnorm(n, sigma = sigma)`` gives, shape (n, k)."""
    values, vectors = np.linalg.eigh(sigma)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    return normals(n * len(sigma)).reshape(n, -1) @ root


@cache
def folded_normal_quantile(level: float, mean: float) -> float:
    """Return the quantile of |N(mean, 1)| among HonestDiD's million draws."""
    return float(np.quantile(np.abs(normals(1_000_000) + mean), level))
