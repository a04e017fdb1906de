"""Two one-sided tests that a difference is smaller than the smallest effect of interest."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from metastable.errors import InputError
from metastable.stats.adjustment import adjusted_difference
from metastable.stats.effects import welch
from metastable.stats.samples import Moments, Samples, sample_moments, split_samples

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
        margin has no size and nothing is shown; nor is it by two pairs that differ by the same, which have no error.

    Raises
    ------
    InputError
        As `split_samples` and, with covariates, `adjustment_table`; or if `margin` is not positive and finite.

    Notes
    -----
    Two one-sided t-tests (Schuirmann 1987; Lakens 2017) of the difference of means against
    plus and minus ``margin * s``, s the standard deviation that Hedges' g divides by: pooled of two
    groups, root mean square of both for pairs. The small-sample factor of g is left out.

    Of two groups without covariates s is taken as known, as TOSTER takes it: its error adds to that of the
    difference the share margin^2 / 8 or so, 3% of the variance at a margin of 0.5. Where partners or covariates take
    most of the error out of the difference, that of s is what is left of it (with partners who correlate by .99
    and a margin of 0.5 a known s gives a type I error of .27), so each test has the standard error of
    difference -+ margin * s: by the jackknife over pairs, and with covariates by the sum of HC3's influences and the
    jackknife's of s.

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
    samples = split_samples(values, condition, pair=pair)
    moments = sample_moments(samples)
    scale, difference = moments.standardizer, moments.difference
    # The worse of the two tests is the one whose bound is nearer to the difference.
    side = np.where(difference < 0, -1.0, 1.0)
    if covariates is not None and covariates.shape[1]:
        held = adjusted_difference(values, condition, covariates, pair=pair)
        difference, dof = held.difference / moments.unit, np.full_like(scale, held.dof)
        side = np.where(difference < 0, -1.0, 1.0)
        order = np.argsort(~np.asarray(condition), kind="stable")  # a before b, as the samples stand
        influence = held.influence / moments.unit
        moved = side * (influence if samples.paired else influence[order]) - margin * _moved_scale(samples, moments)
        se = np.sqrt((moved**2).sum(axis=0))
    elif samples.paired:
        n = moments.n_a
        moved = side * (samples.a - samples.b - difference) / (n - 1) - margin * _moved_scale(samples, moments)
        moved = np.where(moments.var_difference == 0, -margin * _moved_scale(samples, moments), moved)
        se = np.sqrt((n - 1) / n * ((moved - moved.mean(axis=0)) ** 2).sum(axis=0))
        dof = np.full_like(scale, n - 1.0)
    elif equal_variance:
        se = scale * np.sqrt(1 / moments.n_a + 1 / moments.n_b)
        dof = np.full_like(scale, moments.n_a + moments.n_b - 2.0)
    else:
        se, dof = welch(moments)
    room = margin * scale - np.abs(difference)
    t = np.divide(room, se, out=np.full_like(room, -np.inf), where=se > 0)
    return np.where(scale > 0, special.stdtr(dof, -t), 1.0)


def _moved_scale(samples: Samples, moments: Moments) -> NDArray[np.float64]:
    """How much the standard deviation of g changes with each unit, or pair: what is left without it taken from it.

    Shape (n_units, n_features), units of a before those of b, or (n_pairs, n_features); 0 where two units are all that
    a condition has.
    """

    def left(sample: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of squares without each unit."""
        n = len(sample)
        squares = (n - 1) * variance
        return np.asarray(np.maximum(squares - n / (n - 1) * (sample - sample.mean(axis=0)) ** 2, 0.0))

    of_a, of_b = left(samples.a, moments.var_a), left(samples.b, moments.var_b)
    scale = moments.standardizer
    if samples.paired:
        n = moments.n_a
        return scale - np.sqrt((of_a + of_b) / 2 / (n - 2)) if n > 2 else np.zeros_like(of_a)
    whole_a, whole_b = (moments.n_a - 1) * moments.var_a, (moments.n_b - 1) * moments.var_b
    rest = np.concatenate([of_a + whole_b, whole_a + of_b])
    n = moments.n_a + moments.n_b
    return scale - np.sqrt(rest / (n - 3)) if n > 4 else np.zeros_like(rest)
