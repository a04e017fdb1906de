"""Probability of superiority: how often a unit of a exceeds a unit of b."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
    computed from the number of b below each of a.

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
    wins = [_half_wins(a[:, feature], b[:, feature]) for feature in range(a.shape[1])]
    return np.asarray(wins, dtype=np.float64) / 2 / (len(a) * len(b))


def _half_wins(a: NDArray[np.float64], b: NDArray[np.float64]) -> int:
    """Count the pairs in which a exceeds b, and those in which it does not fall below: twice the wins, ties half."""
    ordered = np.sort(b)
    return int(np.searchsorted(ordered, a, side="left").sum() + np.searchsorted(ordered, a, side="right").sum())
