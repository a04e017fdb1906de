"""Transformations of the count before a linear model sees it."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError

__all__ = ["Transform", "transform_counts"]

Transform = Literal["raw", "log", "logit"]


def transform_counts(
    count: ArrayLike, n_keys: ArrayLike | None = None, *, transform: Transform = "raw"
) -> NDArray[np.float64]:
    """Put counts on the scale on which a model's effects add up.

    Parameters
    ----------
    count : array_like of int, any shape
        Number k of entries that a softmax row needs, from 1 to n.
    n_keys : array_like of int, broadcastable to `count`, or None
        Number n of real key tokens of each row; needed for ``"logit"`` only. With `count` as tokens by heads,
        give one number per token as ``n_keys[:, None]``.
    transform : {"raw", "log", "logit"}
        ``"raw"`` leaves k, in tokens; ``"log"`` is the natural logarithm, whose differences are ratios of
        counts; ``"logit"`` is the empirical logit ``log((k + 1/2) / (n - k + 1/2))`` of the share k / n
        (Haldane 1956), finite at k = n where the plain logit is not.

    Returns
    -------
    ndarray of float64
        Of the shape of `count`.

    Raises
    ------
    InputError
        For a count below 1 or above `n_keys`, or a logit without `n_keys`.

    Examples
    --------
    >>> transform_counts([1, 5, 10], 10, transform="logit").round(3).tolist()
    [-1.846, 0.0, 3.045]
    """
    if transform not in get_args(Transform):
        raise InputError(f"transform is {transform!r}; choose 'raw', 'log' or 'logit'")
    k = np.asarray(count, dtype=np.float64)
    if not (k >= 1.0).all():
        raise InputError("count has a value below 1 or missing; leave padding and absent heads out")
    if transform == "raw":
        return k
    if transform == "log":
        return np.log(k)
    if n_keys is None:
        raise InputError("transform='logit' needs n_keys, the number of real key tokens of each row")
    n = np.asarray(n_keys, dtype=np.float64)
    if not (k <= n).all():
        raise InputError("count is above n_keys somewhere; give the number of real key tokens of each row")
    return np.log((k + 0.5) / (n - k + 0.5))
