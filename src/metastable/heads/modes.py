"""Classes of heads by the median of their count: the paper's four operating modes, and the founding figure's bands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError

__all__ = [
    "FOUNDING_BANDS",
    "MODES",
    "Band",
    "Mode",
    "count_mode_changes",
    "count_quartiles",
    "founding_bands",
    "median_counts",
    "operating_modes",
]

# Shares of whole numbers: those that are equal but for rounding become equal, and no two others do.
_DIGITS = 12


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
        The share median / n that it spans: low < share <= high.
    """

    name: str
    words: str
    low: float
    high: float


MODES: tuple[Mode, ...] = (
    Mode("IV", "few", 0.0, 1 / 32),
    Mode("III", "some", 1 / 32, 1 / 8),
    Mode("II", "many", 1 / 8, 1 / 2),
    Mode("I", "very many", 1 / 2, 1.0),
)
"""The classes of Ramsauer et al. (2021, figure 2), few patterns first."""


@dataclass(frozen=True)
class Band:
    """One colour of the founding figure.

    Attributes
    ----------
    number : int
        From 1, few patterns first.
    words : str
        The medians that it holds, at the founding experiment's 20 tokens.
    low, high : float
        The share median / n that it spans: low <= share < high.
    """

    number: int
    words: str
    low: float
    high: float


FOUNDING_BANDS: tuple[Band, ...] = (
    Band(1, "below 4 of 20", 0.0, 0.2),
    Band(2, "from 4", 0.2, 0.4),
    Band(3, "from 8", 0.4, 0.6),
    Band(4, "from 12", 0.6, 0.8),
    Band(5, "16 of 20 or more", 0.8, float("inf")),
)
"""The founding figure's bands, cut at 4, 8, 12 and 16 of 20 tokens: not the paper's classes."""


def _shares(median: ArrayLike, n: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    medians, lengths = np.broadcast_arrays(np.asarray(median, dtype=float), np.asarray(n, dtype=float))
    if not (lengths > 0).all():
        raise InputError("n must be positive everywhere; give the number of keys that a query sees")
    present = ~np.isnan(medians)
    if (medians[present] < 0).any() or (medians[present] > lengths[present]).any():
        raise InputError("every median must lie in 0..n; give n as the number of keys that a query sees")
    return np.round(np.where(present, medians, 0.0) / lengths, _DIGITS), present


def operating_modes(median: ArrayLike, n: ArrayLike) -> NDArray[np.str_]:
    """Sort heads by the median of their count into the operating modes.

    Parameters
    ----------
    median : array_like of float
        Median count of each head, in patterns; NaN where there is no such head.
    n : array_like of float
        Number of keys that a query sees; broadcast against `median`. Where queries see different numbers (mixed
        lengths, causal and local layers) give the median of count / keys as `median`, and 1.

    Returns
    -------
    numpy.ndarray of str
        ``"I"`` (very many: above n/2), ``"II"`` (many: above n/8), ``"III"`` (some: above n/32) or ``"IV"`` (few),
        of the broadcast shape; the empty string where `median` is NaN.

    Raises
    ------
    InputError
        Where n is not positive, or a median is below 0 or above n.

    Notes
    -----
    Ramsauer et al. (2021), "Hopfield Networks is All You Need", figure 2 and section 3.

    Examples
    --------
    >>> operating_modes([10, 20, 60, 100, 200, 260, 300, 500], 512).tolist()
    ['IV', 'III', 'III', 'II', 'II', 'I', 'I', 'I']
    """
    shares, present = _shares(median, n)
    edges = [mode.high for mode in MODES[:-1]]
    names = np.array([mode.name for mode in MODES])
    # side="left": a share equal to an edge is not above it
    return np.where(present, names[np.searchsorted(edges, shares, side="left")], "")


def founding_bands(median: ArrayLike, n: ArrayLike) -> NDArray[np.int64]:
    """Sort heads by the median of their count into the bands of the founding figure.

    Parameters
    ----------
    median, n : array_like of float
        As for `operating_modes`. The bands are cut at 4, 8, 12 and 16 of 20 keys, and scaled to n.

    Returns
    -------
    numpy.ndarray of int64
        1 (few) to 5 (nearly all), of the broadcast shape; 0 where `median` is NaN.

    Raises
    ------
    InputError
        As `operating_modes` does.

    Examples
    --------
    >>> founding_bands([3, 4, 11.5, 12, 16], 20).tolist()
    [1, 2, 3, 4, 5]
    """
    shares, present = _shares(median, n)
    edges = [band.high for band in FOUNDING_BANDS[:-1]]
    # side="right": a share equal to an edge belongs to the band above it
    return np.where(present, 1 + np.searchsorted(edges, shares, side="right"), 0)


def count_quartiles(histograms: ArrayLike) -> NDArray[np.float64]:
    """Return the quartiles of the count of each head from its histogram.

    Parameters
    ----------
    histograms : array_like of int, shape (..., n + 1)
        As for `median_counts`.

    Returns
    -------
    numpy.ndarray of float64, shape (..., 3)
        First quartile, median and third quartile, interpolated between neighbours as `numpy.quantile` does; NaN for a
        head without query tokens.

    Raises
    ------
    InputError
        As `median_counts` does.

    Examples
    --------
    >>> count_quartiles([0, 1, 2, 2]).tolist()
    [2.0, 2.0, 3.0]
    """
    cumulative = _cumulative(histograms)
    total = cumulative[..., -1]
    rank = np.maximum(total - 1, 0)[..., None] * np.array([0.25, 0.5, 0.75])
    # the counts of the tokens on either side of each rank, from 0
    low, high = (
        1 + (cumulative[..., None, :] <= place[..., None]).sum(axis=-1) for place in (np.floor(rank), np.ceil(rank))
    )
    return np.where(total[..., None] > 0, low + (high - low) * (rank - np.floor(rank)), np.nan)


def _cumulative(histograms: ArrayLike) -> NDArray[np.int64]:
    """Numbers of tokens whose count is at most 1, 2, ..., n."""
    table = np.asarray(histograms)
    if table.ndim == 0 or table.shape[-1] < 2 or (table < 0).any():
        raise InputError("histograms must hold numbers of tokens >= 0 for the counts 0..n, with n >= 1")
    return np.cumsum(table[..., 1:].astype(np.int64), axis=-1)


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
    cumulative = _cumulative(histograms)
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
