"""What the tests say of a feature: different, different but negligible, equivalent or undecided."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError

__all__ = ["DIFFERENT", "EQUIVALENT", "NEGLIGIBLE", "UNDECIDED", "VERDICTS", "verdicts"]

DIFFERENT = "different"
NEGLIGIBLE = "negligible"
EQUIVALENT = "equivalent"
UNDECIDED = "undecided"
VERDICTS = (DIFFERENT, NEGLIGIBLE, EQUIVALENT, UNDECIDED)
"""All of them, in the order in which they are counted; "negligible" is different, but negligibly so."""


def verdicts(
    p_fdr: ArrayLike, p_tost_fdr: ArrayLike, alpha: float = 0.05, *, within: ArrayLike | None = None
) -> NDArray[np.str_]:
    """Verdict per feature from the corrected p-values of the test and of the equivalence test.

    Parameters
    ----------
    p_fdr : array_like of float, shape (n_features,)
        Corrected p of the test for a difference.
    p_tost_fdr : array_like of float, shape (n_features,)
        Corrected p of the equivalence test.
    alpha : float
        Significance level.
    within : array_like of bool, shape (n_features,), or None
        Whether the interval of the standardized effect lies within the margin; nowhere if None.

    Returns
    -------
    ndarray of str, shape (n_features,)
        Where ``p_fdr < alpha``, "negligible" if the interval lies within the margin and "different" if not; otherwise
        "equivalent" where ``p_tost_fdr < alpha``; otherwise "undecided": the data do not tell.

    Raises
    ------
    InputError
        If the shapes differ, a p-value is outside [0, 1] or NaN, or `alpha` is outside (0, 1).

    Examples
    --------
    >>> print(verdicts([0.01, 0.6, 0.6], [0.9, 0.01, 0.3], alpha=0.05))
    ['different' 'equivalent' 'undecided']
    """
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha}; give a number between 0 and 1, such as 0.05")
    different, equivalent = np.asarray(p_fdr, dtype=np.float64), np.asarray(p_tost_fdr, dtype=np.float64)
    if different.shape != equivalent.shape:
        raise InputError(f"p_fdr has shape {different.shape} and p_tost_fdr {equivalent.shape}; give one p per feature")
    for name, p in (("p_fdr", different), ("p_tost_fdr", equivalent)):
        if not ((p >= 0) & (p <= 1)).all():  # NaN fails this too
            raise InputError(f"{name} has values outside 0 to 1 or NaN; give a p-value for every feature")
    small = np.zeros(different.shape, dtype=bool) if within is None else np.asarray(within, dtype=bool)
    if small.shape != different.shape:
        raise InputError(f"p_fdr has shape {different.shape} and within {small.shape}; give one value per feature")
    found = np.where(small, NEGLIGIBLE, DIFFERENT)
    return np.where(different < alpha, found, np.where(equivalent < alpha, EQUIVALENT, UNDECIDED))
