"""Probability of superiority: how often a unit of a exceeds a unit of b."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from metastable.stats.samples import split_samples

__all__ = ["probability_of_superiority"]


def probability_of_superiority(
    values: ArrayLike, condition: ArrayLike, *, pair: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Probability that a random unit of a exceeds a random unit of b, ties counted half.

    Parameters
    ----------
    values : array_like of float, shape (n_units, n_features)
        One row per unit of inference.
    condition : array_like of bool, shape (n_units,)
        True for condition a, False for b.
    pair : array_like, shape (n_units,), or None
        Code that joins each unit of a with one of b: then the share of pairs in which a exceeds b.

    Returns
    -------
    ndarray of float64, shape (n_features,)
        Between 0 and 1; 0.5 where neither side tends to be larger, as in a flat feature.

    Raises
    ------
    InputError
        As `split_samples`.

    Notes
    -----
    P(A > B) + P(A = B) / 2, Vargha & Delaney's A (2000), which is Mann and Whitney's U / (n_a n_b),
    computed from midranks.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.array([[3.0], [2.0], [2.0], [1.0]])
    >>> print(probability_of_superiority(values, np.array([True, True, False, False])))
    [0.875]
    """
    samples = split_samples(values, condition, pair=pair, minimum=1)
    a, b = samples.a, samples.b
    if samples.paired:
        return np.asarray((a > b).mean(axis=0) + 0.5 * (a == b).mean(axis=0), dtype=np.float64)
    n_a, n_b = len(a), len(b)
    ranks = stats.rankdata(np.concatenate([a, b]), axis=0)
    return np.asarray((ranks[:n_a].sum(axis=0) - n_a * (n_a + 1) / 2) / (n_a * n_b), dtype=np.float64)
