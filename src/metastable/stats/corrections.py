"""Corrections of p-values for the number of tests: false discovery rate and Holm, within families."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError

__all__ = ["CORRECTIONS", "adjust_p_values", "null_proportion"]

Floats = NDArray[np.float64]


def _ordered(p: Floats, factors: Floats, *, step_up: bool) -> Floats:
    """Multiply the sorted p by factors and make them monotone, from the largest down or the smallest up."""
    order = np.argsort(p, kind="stable")
    scaled = p[order] * factors
    running = np.minimum.accumulate(scaled[::-1])[::-1] if step_up else np.maximum.accumulate(scaled)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(running, 1.0)
    return adjusted


def _benjamini_hochberg(p: Floats, alpha: float) -> Floats:  # noqa: ARG001 - one signature for all methods
    m = len(p)
    return _ordered(p, m / np.arange(1, m + 1), step_up=True)


def _benjamini_yekutieli(p: Floats, alpha: float) -> Floats:  # noqa: ARG001
    m = len(p)
    ranks = np.arange(1, m + 1)
    return _ordered(p, m * np.sum(1 / ranks) / ranks, step_up=True)


def _holm(p: Floats, alpha: float) -> Floats:  # noqa: ARG001
    m = len(p)
    return _ordered(p, np.arange(m, 0, -1.0), step_up=False)


def _two_stage(p: Floats, alpha: float) -> Floats:
    m = len(p)
    first = _benjamini_hochberg(p, alpha)
    level = alpha / (1 + alpha)
    accepted = m - int(np.sum(first <= level))
    # The paper stops after the first stage where it rejects nothing or everything.
    share = accepted / m if 0 < accepted < m else 1.0
    return np.minimum(first * (1 + alpha) * share, 1.0)


def _storey(p: Floats, alpha: float) -> Floats:  # noqa: ARG001
    return np.minimum(_benjamini_hochberg(p, 0.0) * null_proportion(p), 1.0)


CORRECTIONS: dict[str, Callable[[Floats, float], Floats]] = {
    "bh": _benjamini_hochberg,
    "by": _benjamini_yekutieli,
    "tsbh": _two_stage,
    "storey": _storey,
    "holm": _holm,
}


def null_proportion(p: ArrayLike, *, cut: float = 0.5) -> float:
    """Estimate the proportion of true null hypotheses.

    Parameters
    ----------
    p : array_like of float, shape (n_tests,)
        Unadjusted p-values.
    cut : float
        Storey's lambda: p-values above it are taken to come from null hypotheses.

    Returns
    -------
    float
        ``(#{p > cut} + 1) / (n_tests * (1 - cut))``, at most 1: the finite-sample form of Storey,
        Taylor & Siegmund (2004, eq. 6 with the +1 of Theorem 3), under which the adaptive
        procedure controls the false discovery rate for independent p-values.

    Examples
    --------
    >>> null_proportion([0.001, 0.002, 0.01, 0.2, 0.4, 0.45, 0.8, 0.9])
    0.75
    """
    values = np.asarray(p, dtype=np.float64)
    return float(min(1.0, (np.sum(values > cut) + 1) / (len(values) * (1 - cut))))


def _checked(p: ArrayLike, family: ArrayLike | None) -> tuple[Floats, NDArray[Any]]:
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1:
        raise InputError(f"p must have one dimension, but its shape is {values.shape}; pass one p-value a test.")
    outside = np.flatnonzero(~((values >= 0) & (values <= 1)))
    if len(outside):
        raise InputError(
            f"p[{outside[0]}] is {values[outside[0]]}, but p-values lie in 0..1; "
            "drop the tests that could not be computed."
        )
    if family is None:
        return values, np.zeros(len(values), dtype=np.intp)
    codes = np.asarray(family)
    if codes.shape != values.shape:
        raise InputError(f"family has shape {codes.shape} and p {values.shape}; give one family code a test.")
    return values, np.unique(codes, return_inverse=True)[1]


def adjust_p_values(
    p: ArrayLike, *, method: str = "bh", family: ArrayLike | None = None, alpha: float = 0.05
) -> Floats:
    """Adjust p-values for the number of tests in each family.

    A test is significant at level q where its adjusted p is at most q.

    Parameters
    ----------
    p : array_like of float, shape (n_tests,)
        Unadjusted p-values in 0..1.
    method : {"bh", "by", "tsbh", "storey", "holm"}
        - ``"bh"``: Benjamini & Hochberg (1995); false discovery rate, for independent or positively
          dependent tests.
        - ``"by"``: Benjamini & Yekutieli (2001); false discovery rate under any dependence.
        - ``"holm"``: Holm (1979); family-wise error rate under any dependence.
        - ``"tsbh"``: two-stage adaptive BH, Benjamini, Krieger & Yekutieli (2006, definition 6). The
          first stage runs at `alpha`, so the adjusted values are meant for comparison with `alpha`.
        - ``"storey"``: BH times the estimated proportion of true nulls, `null_proportion`.

        The last two hold for independent tests. Where tests go together, as heads do, the proportion is estimated
        too low in some samples, and the rate comes out above its level (`calibrate` shows by how much).

    family : array_like or None, shape (n_tests,)
        Code of the family that a test belongs to; each family is corrected on its own. One family if None.
    alpha : float
        Level of the first stage of ``"tsbh"``; the other methods do not use it.

    Returns
    -------
    ndarray of float64, shape (n_tests,)
        Adjusted p-values, in the order given; never above 1.

    Raises
    ------
    InputError
        If a p-value is NaN or outside 0..1, the method is unknown, alpha is outside (0, 1) or the
        family codes do not fit.

    Examples
    --------
    >>> adjust_p_values([0.01, 0.04, 0.03, 0.5])
    array([0.04      , 0.05333333, 0.05333333, 0.5       ])
    """
    if method not in CORRECTIONS:
        raise InputError(f"method is {method!r}, but it must be one of {', '.join(CORRECTIONS)}.")
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha}, but it must lie between 0 and 1.")
    values, codes = _checked(p, family)
    adjusted = np.empty_like(values)
    for code in np.unique(codes):
        members = codes == code
        adjusted[members] = CORRECTIONS[method](values[members], alpha)
    return adjusted
