"""Intervals of the features that were called, which allow for the choice of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError
from metastable.stats.labels import label_codes

__all__ = ["selected_intervals"]

Floats = NDArray[np.float64]


def selected_intervals(
    interval: Callable[[float], tuple[Floats, Floats]],
    selected: ArrayLike,
    *,
    family: ArrayLike | None = None,
    alpha: float = 0.05,
) -> tuple[Floats, Floats]:
    """Widen the intervals of the selected features so that of these the share that misses is bounded.

    Parameters
    ----------
    interval : callable
        Returns the lower and upper limits of every feature, shape (n_features,), at a confidence.
    selected : array_like of bool, shape (n_features,)
        Which features were called.
    family : array_like, shape (n_features,), or None
        Features that were corrected together; None for all.
    alpha : float
        The false coverage rate: the expected share of the selected whose interval misses the truth.

    Returns
    -------
    low, high : ndarray of float64, shape (n_features,)
        NaN where a feature was not selected.

    Raises
    ------
    InputError
        If `selected` has another shape than the limits.

    Notes
    -----
    Of m features of a family of which R are selected, each interval has the confidence 1 - R alpha / m (Benjamini &
    Yekutieli 2005). Where the features are independent and the rule of selection is as simple as that of Benjamini &
    Hochberg (1995), at most alpha of the intervals of the selected are expected to miss; of correlated features that
    is simulated in the tests of this module. An interval at 1 - alpha holds for a feature that was chosen beforehand;
    of those that were selected for their size more miss.

    Examples
    --------
    >>> from scipy import stats
    >>> estimate, error = np.array([3.0, 0.1, -0.4, 0.2]), 1.0
    >>> def interval(confidence):
    ...     reach = error * stats.norm.ppf(0.5 + confidence / 2)
    ...     return estimate - reach, estimate + reach
    >>> low, high = selected_intervals(interval, [True, False, False, False])
    >>> print(low.round(2), high.round(2))
    [0.5 nan nan nan] [5.5 nan nan nan]
    """
    chosen = np.asarray(selected, dtype=bool)
    codes = np.zeros(len(chosen), dtype=np.intp) if family is None else label_codes("family", family, len(chosen))
    low, high = np.full((2, len(chosen)), np.nan)
    for code in np.unique(codes):
        mine = codes == code
        here = mine & chosen
        if not here.any():
            continue
        limits = interval(1.0 - alpha * here.sum() / mine.sum())
        if limits[0].shape != chosen.shape:
            raise InputError(f"selected has shape {chosen.shape} for limits of shape {limits[0].shape}; give one each")
        low[here], high[here] = limits[0][here], limits[1][here]
    return low, high
