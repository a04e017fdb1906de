"""The four operating modes of a head, from the median of its count (Ramsauer et al. 2021, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError

__all__ = ["MODES", "Mode", "count_mode_changes", "median_counts", "operating_modes"]


@dataclass(frozen=True)
class Mode:
    """One operating mode.

    Attributes
    ----------
    name : str
        The paper's Roman numeral.
    words : str
        How many patterns a head in this mode averages over.
    low, high : float
        The share median / n that it spans: low <= share < high.
    """

    name: str
    words: str
    low: float
    high: float


# The founding experiment's bands (medians of 4, 8 and 16 patterns at n = 20), as shares of n.
MODES: tuple[Mode, ...] = (
    Mode("IV", "few", 0.0, 0.2),
    Mode("III", "some", 0.2, 0.4),
    Mode("II", "many", 0.4, 0.8),
    Mode("I", "very many", 0.8, float("inf")),
)


def operating_modes(median: ArrayLike, n: ArrayLike) -> NDArray[np.str_]:
    """Sort heads by the median of their count into the operating modes.

    Parameters
    ----------
    median : array_like of float
        Median count of each head, in patterns; NaN where there is no such head.
    n : array_like of float
        Number of patterns (key tokens) that a head can choose from; broadcast against `median`.

    Returns
    -------
    numpy.ndarray of str
        ``"I"`` (very many), ``"II"`` (many), ``"III"`` (some) or ``"IV"`` (few), of the broadcast
        shape; the empty string where `median` is NaN.

    Raises
    ------
    InputError
        Where n is not positive, or a median is below 0 or above n.

    Notes
    -----
    Ramsauer et al. (2021), "Hopfield Networks is All You Need", figure 2, colours heads by bands of
    the median. The bands are scaled to n, so that models read at different lengths compare.

    Examples
    --------
    >>> operating_modes([3, 4, 8, 16], 20).tolist()
    ['IV', 'III', 'II', 'I']
    """
    medians, lengths = np.broadcast_arrays(np.asarray(median, dtype=float), np.asarray(n, dtype=float))
    if not (lengths > 0).all():
        raise InputError("n must be positive everywhere; give the number of key tokens")
    present = ~np.isnan(medians)
    if (medians[present] < 0).any() or (medians[present] > lengths[present]).any():
        raise InputError("every median must lie in 0..n; give n as the largest count that a head can have")
    share = np.where(present, medians, 0.0) / lengths
    edges = [mode.high for mode in MODES[:-1]]
    names = np.array([mode.name for mode in MODES])
    # side="right": a share equal to an edge belongs to the mode above it.
    return np.where(present, names[np.searchsorted(edges, share, side="right")], "")


def median_counts(histograms: ArrayLike) -> NDArray[np.float64]:
    """Return the median count of each head from its histogram.

    Parameters
    ----------
    histograms : array_like of int, shape (..., n + 1)
        Number of query tokens with count k at position k. Position 0 (not a query) is left out.

    Returns
    -------
    numpy.ndarray of float64, shape (...)
        The median, halfway between the two middle counts where their number is even; NaN for a head
        without query tokens.

    Raises
    ------
    InputError
        Where a histogram is negative or has no position beside 0.

    Examples
    --------
    >>> median_counts([[7, 2, 0, 2], [0, 1, 3, 0]]).tolist()
    [2.0, 2.0]
    """
    table = np.asarray(histograms)
    if table.ndim == 0 or table.shape[-1] < 2 or (table < 0).any():
        raise InputError("histograms must hold numbers of tokens >= 0 for the counts 0..n, with n >= 1")
    cumulative = np.cumsum(table[..., 1:].astype(np.int64), axis=-1)
    total = cumulative[..., -1]
    # The two middle ranks, from 1; they coincide where the number of tokens is odd.
    below = (cumulative < ((total + 1) // 2)[..., None]).sum(axis=-1)
    above = (cumulative < (total // 2 + 1)[..., None]).sum(axis=-1)
    return np.where(total > 0, (below + above) / 2 + 1, np.nan)


def count_mode_changes(modes_a: ArrayLike, modes_b: ArrayLike) -> int:
    """Return how many heads are in different modes under two conditions.

    Parameters
    ----------
    modes_a, modes_b : array_like of str
        As `operating_modes` returns them, of one shape. A head that is missing from either
        (the empty string) is not counted.

    Returns
    -------
    int
        Number of heads that change mode.

    Examples
    --------
    >>> count_mode_changes(["I", "II", ""], ["I", "III", "IV"])
    1
    """
    a, b = np.asarray(modes_a), np.asarray(modes_b)
    if a.shape != b.shape:
        raise InputError(f"the two conditions have heads of shapes {a.shape} and {b.shape}; give one shape")
    return int(((a != b) & (a != "") & (b != "")).sum())
