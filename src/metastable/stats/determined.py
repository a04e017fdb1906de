"""Covariates that others determine: a regression has no use for them, and can do without."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["independent_columns"]

Floats = NDArray[np.float64]

# What the columns before it leave of a column, below this share of it, is rounding.
_RANK = 1e-8


def independent_columns(table: Floats, base: Floats | None = None) -> NDArray[np.bool_]:
    """Tell which columns the base and the columns before them do not determine.

    Parameters
    ----------
    table : ndarray of float64, shape (n_units, n_columns)
        Covariates in the order in which they are to be kept.
    base : ndarray of float64, shape (n_units, n_base), or None
        Columns that are there in any case, such as the intercept.

    Returns
    -------
    ndarray of bool, shape (n_columns,)
        False for a column that, but for rounding, is a linear combination of the base and of the columns kept before
        it, one of zeros among them.

    Examples
    --------
    >>> words = np.array([3.0, 5.0, 4.0, 9.0])
    >>> tokens = words + 2  # of one piece each, between two special tokens
    >>> independent_columns(np.column_stack([words, tokens, words**2]), np.ones((4, 1))).tolist()
    [True, False, True]
    """
    basis = np.empty((len(table), 0)) if base is None else np.linalg.qr(base)[0]
    kept = np.zeros(table.shape[1], dtype=bool)
    for j, column in enumerate(table.T):
        # The size that a combination is rounding of is that of the column, its mean included.
        size = np.linalg.norm(column)
        rest = column - basis @ (basis.T @ column)
        rest = rest - basis @ (basis.T @ rest)
        left = np.linalg.norm(rest)
        kept[j] = left > _RANK * size
        if kept[j]:
            basis = np.column_stack([basis, rest / left])
    return kept
