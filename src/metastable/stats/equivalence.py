"""Two one-sided tests that a difference is smaller than the smallest effect of interest."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from metastable.errors import InputError
from metastable.stats.adjustment import adjusted_difference
from metastable.stats.effects import welch
from metastable.stats.samples import sample_moments, split_samples

__all__ = ["equivalence_test"]


def equivalence_test(
    values: ArrayLike,
    condition: ArrayLike,
    *,
    margin: float = 0.2,
    pair: ArrayLike | None = None,
    equal_variance: bool = False,
    covariates: pd.DataFrame | None = None,
) -> NDArray[np.float64]:
    """Test every feature for equivalence within plus or minus `margin` standard deviations.

    Parameters
    ----------
    values : array_like of float, shape (n_units, n_features)
        One row per unit of inference.
    condition : array_like of bool, shape (n_units,)
        True for condition a, False for b.
    margin : float
        Smallest effect of interest, in standard deviations (the units of Hedges' g).
    pair : array_like, shape (n_units,), or None
        Code that joins each unit of a with one of b.
    equal_variance : bool
        Student's t instead of Welch's; of no meaning for pairs or beside covariates.
    covariates : pandas.DataFrame or None, n_units rows
        Covariates to hold fixed: the difference is then the adjusted one of `adjustment_table`, with its HC3
        standard error. The margin keeps its size: s is the standard deviation without adjusting.

    Returns
    -------
    ndarray of float64, shape (n_features,)
        The larger p of the two one-sided tests: small where the difference is shown to lie inside the
        margin. A feature in which both samples are constant has p = 1: without a standard deviation the
        margin has no size and nothing is shown.

    Raises
    ------
    InputError
        As `split_samples` and, with covariates, `adjustment_table`; or if `margin` is not positive and finite.

    Notes
    -----
    Two one-sided t-tests (Schuirmann 1987; Lakens 2017) of the difference of means against
    plus and minus ``margin * s``, s the standard deviation that Hedges' g divides by: pooled of two
    groups, root mean square of both for pairs. s is taken as known, as is usual where the margin is
    given in standard deviations; the small-sample factor of g, above 0.99 from 80 units on, is left out.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.tile([[1.0], [2.0], [3.0], [4.0]], (50, 1))
    >>> condition = np.arange(200) < 100
    >>> print(equivalence_test(values, condition, margin=0.5).round(4))
    [0.0003]
    """
    if not (np.isfinite(margin) and margin > 0):
        raise InputError(f"margin is {margin}; give a positive effect in standard deviations, such as 0.2")
    moments = sample_moments(split_samples(values, condition, pair=pair))
    scale, difference = moments.standardizer, moments.difference
    if covariates is not None and covariates.shape[1]:
        held = adjusted_difference(values, condition, covariates, pair=pair)
        difference, se, dof = held.difference, held.se, np.full_like(scale, held.dof)
    elif equal_variance and moments.var_difference is None:
        se = scale * np.sqrt(1 / moments.n_a + 1 / moments.n_b)
        dof = np.full_like(scale, moments.n_a + moments.n_b - 2.0)
    else:
        se, dof = welch(moments)
    # The worse of the two tests is the one whose bound is nearer to the difference.
    room = margin * scale - np.abs(difference)
    t = np.divide(room, se, out=np.copysign(np.inf, room), where=se > 0)
    return np.where(scale > 0, special.stdtr(dof, -t), 1.0)
