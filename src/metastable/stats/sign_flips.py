"""A test over the models of a family: under the null each model's effect is as likely to have the other sign."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError

__all__ = ["SignFlips", "least_models", "sign_flip_test"]

# Up to this many models all signs are gone through: 2^15 of them, with the first one held.
_EXACT = 16
# Statistics this much apart, relative to the larger, are equal but for rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class SignFlips:
    """What the sign flips found.

    Attributes
    ----------
    statistic : ndarray of float64, shape (n_quantities,)
        One-sample t over models.
    p : ndarray of float64, shape (n_quantities,)
        Two-sided p of each quantity.
    p_fwer : ndarray of float64, shape (n_quantities,)
        The same corrected over the quantities by the largest statistic (Westfall & Young 1993).
    n_flips : int
        Patterns of signs that were compared.
    exact : bool
        Whether these are all there are.
    """

    statistic: NDArray[np.float64]
    p: NDArray[np.float64]
    p_fwer: NDArray[np.float64]
    n_flips: int
    exact: bool


def least_models(alpha: float) -> int:
    """Return the fewest models whose signs can give a two-sided p below a level: 2 / 2^n < alpha.

    Examples
    --------
    >>> least_models(0.05), least_models(0.01)
    (6, 8)
    """
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha}; give a level between 0 and 1, such as 0.05")
    n = 1
    while 2.0 ** (1 - n) >= alpha:
        n += 1
    return n


def sign_flip_test(
    values: ArrayLike,
    *,
    alpha: float = 0.05,
    n_permutations: int = 10_000,
    rng: int | np.random.Generator | None = None,
) -> SignFlips:
    """Test over models whether quantities are symmetric about 0.

    Parameters
    ----------
    values : array_like of float, shape (n_models, n_quantities)
        Signed quantities of each model, 0 where nothing differs.
    alpha : float
        The level that is to be reached.
    n_permutations : int
        Random patterns of signs where there are more than 16 models; else all patterns are gone through.
    rng : int, numpy.random.Generator or None
        Seed or generator of these.

    Returns
    -------
    SignFlips

    Raises
    ------
    InputError
        If there are too few models to reach alpha at all, or values are not finite.

    Notes
    -----
    Models are exchanged, and what they read is not: where all read the same units the test is of these units, and
    says nothing of others. The statistic is that of Student, which makes the test valid about the mean where the
    distribution over models is not symmetric and models are many (Janssen 1997).

    Examples
    --------
    >>> found = sign_flip_test([[0.3], [0.4], [0.2], [0.5], [0.6], [0.1]])
    >>> float(found.p[0]), found.exact
    (0.03125, True)
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or not np.isfinite(table).all():
        raise InputError(f"values has shape {table.shape}; give finite numbers, models by quantities")
    n = len(table)
    least = least_models(alpha)
    if n < least:
        raise InputError(
            f"{n} models have {2**n} patterns of signs, so no p is below {2.0 ** (1 - n):g}; alpha = {alpha:g} needs "
            f"at least {least} models"
        )
    exact = n <= _EXACT
    if exact:
        # turning all signs leaves |t| as it is: the first one is held
        bits = np.arange(2 ** (n - 1))[:, None] >> np.arange(n - 1) & 1
        signs = np.column_stack([np.ones(len(bits)), 1.0 - 2.0 * bits])
    else:
        signs = np.random.default_rng(rng).choice([-1.0, 1.0], size=(n_permutations, n))
    squares = (table**2).sum(axis=0)
    observed = _t(table.sum(axis=0)[None], squares, n)[0]
    flipped = np.abs(_t(signs @ table, squares, n))
    size = np.abs(observed) * (1 - _ROUNDING)
    extra = 0 if exact else 1
    p = ((flipped >= size).sum(axis=0) + extra) / (len(signs) + extra)
    p_fwer = ((flipped.max(axis=1)[:, None] >= size).sum(axis=0) + extra) / (len(signs) + extra)
    return SignFlips(observed, p, p_fwer, len(signs) * (2 if exact else 1), exact)


def _t(sums: NDArray[np.float64], squares: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """One-sample t from sums, whose squares do not change with signs."""
    mean = sums / n
    variance = np.maximum(squares / n - mean**2, 0) / (n - 1)
    infinite = np.where(mean == 0, 0.0, np.copysign(np.inf, mean))
    return np.divide(mean, np.sqrt(variance), out=infinite, where=variance > _ROUNDING * squares / n**2)
