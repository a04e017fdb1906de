"""Intervals of rates that are estimated by simulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from metastable.errors import InputError
from metastable.stats.effects import check_confidence

__all__ = ["Rate", "estimate_rate"]


@dataclass(frozen=True)
class Rate:
    """A rate and its Monte Carlo interval.

    Attributes
    ----------
    estimate, low, high : float
        Mean over replicates and limits, all between 0 and 1.
    """

    estimate: float
    low: float
    high: float


def estimate_rate(rates: ArrayLike, *, confidence: float = 0.95) -> Rate:
    """Estimate a rate from independent replicates, each of which has a rate of its own.

    Parameters
    ----------
    rates : array_like of float, shape (n_replicates,)
        Between 0 and 1: whether a replicate had an event, or the share of its features that did.
    confidence : float
        Coverage of the interval, between 0 and 1.

    Returns
    -------
    Rate

    Raises
    ------
    InputError
        If there is no replicate, a rate is outside [0, 1], or `confidence` is outside (0, 1).

    Notes
    -----
    Clopper & Pearson's interval at the effective number of trials p (1 - p) n / var (Korn & Graubard
    1998), so that features of one replicate, which go together, do not count as independent. Of rates
    that are 0 or 1 that number is n and the interval Clopper & Pearson's own (1934).

    Examples
    --------
    >>> rate = estimate_rate([0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
    >>> print(rate.estimate, round(rate.low, 4), round(rate.high, 4))
    0.1 0.0025 0.445
    """
    check_confidence(confidence)
    observed = np.asarray(rates, dtype=np.float64)
    if observed.ndim != 1 or len(observed) == 0 or not ((observed >= 0) & (observed <= 1)).all():
        raise InputError(f"rates has shape {observed.shape} or values outside 0 to 1; give one rate a replicate")
    estimate, variance, n = float(observed.mean()), float(observed.var()), float(len(observed))
    trials = estimate * (1 - estimate) * n / variance if variance > 0 else n
    tail = (1 - confidence) / 2
    events = estimate * trials
    low = special.betaincinv(events, trials - events + 1, tail) if events > 0 else 0.0
    high = special.betaincinv(events + 1, trials - events, 1 - tail) if estimate < 1 else 1.0
    return Rate(estimate, float(low), float(high))
