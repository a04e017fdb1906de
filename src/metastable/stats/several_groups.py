"""Do more than two conditions differ at all? Welch's test of every feature, by permutations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from metastable.errors import InputError

__all__ = ["SeveralGroups", "several_groups_test", "welch_anova"]

# Values of one batch of relabelings stay below this many.
_BATCH = 2**22
# A variance below this share of the largest square is rounding.
_ROUNDING = 1e-20
# Statistics that differ by less than this share are the same.
_TIE = 1e-10


@dataclass(frozen=True)
class SeveralGroups:
    """Tests of every feature over all conditions.

    Attributes
    ----------
    statistic : ndarray of float64, shape (n_features,)
        Welch's F; within blocks that of Hotelling's T-squared of the differences between conditions.
    df1 : float
        Conditions minus one.
    df2 : ndarray of float64, shape (n_features,)
    p_parametric : ndarray of float64, shape (n_features,)
        By the F distribution.
    p : ndarray of float64, shape (n_features,)
        By permutation, (b + 1) / (m + 1).
    p_fwer : ndarray of float64, shape (n_features,)
        The same against the largest statistic of the feature's family.
    p_all : float
        Of the sum of the statistics over all features: whether the conditions differ in any.
    """

    statistic: NDArray[np.float64]
    df1: float
    df2: NDArray[np.float64]
    p_parametric: NDArray[np.float64]
    p: NDArray[np.float64]
    p_fwer: NDArray[np.float64]
    p_all: float


def _moments(
    values: NDArray[np.float64], squares: NDArray[np.float64], member: NDArray[np.float64], floor: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Size, mean and variance of every group; `member` is (..., k, n) of zeros and ones."""
    size = member.sum(axis=-1)[..., None]
    mean = member @ values / size
    variance = np.maximum((member @ squares - size * mean**2) / (size - 1), floor)
    return size, mean, variance


def _welch(
    size: NDArray[np.float64], mean: NDArray[np.float64], variance: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    k = mean.shape[-2]
    weight = size / variance
    total = weight.sum(axis=-2, keepdims=True)
    centre = (weight * mean).sum(axis=-2, keepdims=True) / total
    between = (weight * (mean - centre) ** 2).sum(axis=-2) / (k - 1)
    lack = ((1 - weight / total) ** 2 / (size - 1)).sum(axis=-2)
    return between / (1 + 2 * (k - 2) / (k**2 - 1) * lack), (k**2 - 1) / (3 * lack)


def _floor(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the smallest variance of a group that is not rounding; 1 for a feature that does not vary."""
    largest = (values**2).max(axis=0)
    return np.where(np.ptp(values, axis=0) > 0, np.maximum(largest * _ROUNDING, np.finfo(float).tiny), 1.0)


def welch_anova(
    values: ArrayLike, label: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Welch's analysis of variance of every feature, which holds with unequal variances.

    Parameters
    ----------
    values : array_like, shape (n_units, n_features)
    label : array_like, shape (n_units,)
        The condition of each unit; at least two units of each.

    Returns
    -------
    statistic, df2, p : ndarray of float64, shape (n_features,)
        F with k - 1 and `df2` degrees of freedom.

    Raises
    ------
    InputError
        If the shapes do not fit, a value is not finite, or a condition has fewer than two units.

    References
    ----------
    Welch, B. L. (1951). On the comparison of several mean values: an alternative approach. Biometrika, 38, 330-336,
    equations 20 to 28.

    Examples
    --------
    >>> f, df2, p = welch_anova([[1.0], [2.0], [3.0], [4.0], [5.0], [9.0]], list("aabbcc"))
    >>> f.round(3), df2.round(3)
    (array([4.719]), array([1.813]))
    """
    values, codes, k = _checked(values, label)
    centred = values - values.mean(axis=0)
    member = np.eye(k)[codes].T
    statistic, df2 = _welch(*_moments(centred, centred**2, member, _floor(centred)))
    return statistic, df2, np.asarray(special.fdtrc(k - 1, df2, statistic))


def _checked(values: ArrayLike, label: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.intp], int]:
    values = np.asarray(values, dtype=np.float64)
    names, codes, sizes = np.unique(np.asarray(label), return_inverse=True, return_counts=True)
    if values.ndim != 2 or codes.shape != values.shape[:1]:
        raise InputError(
            f"values of shape {values.shape} and {codes.size} labels do not fit; give one row of features for each "
            "label"
        )
    if not np.isfinite(values).all():
        unit, feature = np.argwhere(~np.isfinite(values))[0]
        raise InputError(f"unit {unit}, feature {feature}: the value is not finite; leave the unit or the feature out")
    if len(names) < 2:
        raise InputError("there is one condition; a test needs two or more")
    if sizes.min() < 2:
        raise InputError(f"condition {names[sizes.argmin()]} has one unit; each needs two or more")
    return values, codes.astype(np.intp), len(names)


def _hotelling(cube: NDArray[np.float64], floor: NDArray[np.float64]) -> NDArray[np.float64]:
    """F of Hotelling's T-squared of the differences from the last condition; `cube` is (..., n, k, n_features)."""
    n, k = cube.shape[-3], cube.shape[-2]
    differences = np.moveaxis(cube[..., :-1, :] - cube[..., -1:, :], -1, -3)
    mean = differences.mean(axis=-2)
    rest = differences - mean[..., None, :]
    covariance = np.swapaxes(rest, -1, -2) @ rest / (n - 1) + floor[:, None, None] * np.eye(k - 1)
    solved = np.linalg.solve(covariance, mean[..., None])[..., 0]
    squared = n * (mean * solved).sum(axis=-1)
    return np.asarray((n - k + 1) / ((n - 1) * (k - 1)) * squared)


def several_groups_test(
    values: ArrayLike,
    label: ArrayLike,
    *,
    block: ArrayLike | None = None,
    family: ArrayLike | None = None,
    n_permutations: int = 10_000,
    rng: int | np.random.Generator = 0,
) -> SeveralGroups:
    """Test whether conditions differ, every feature and all at once, by one set of relabelings.

    Parameters
    ----------
    values : array_like, shape (n_units, n_features)
    label : array_like, shape (n_units,)
        The condition of each unit.
    block : array_like, shape (n_units,), or None
        What joins units of different conditions: each block has one unit of every condition, and labels are
        exchanged within blocks. None for units that are independent.
    family : array_like, shape (n_features,), or None
        Features that are corrected together; None for all.
    n_permutations : int
    rng : int or numpy.random.Generator

    Returns
    -------
    SeveralGroups
        Of a feature that does not vary the statistic is 0 and p is 1.

    Raises
    ------
    InputError
        If the shapes do not fit, a condition has fewer than two units, or a block lacks a condition or there are no
        more blocks than conditions.

    Notes
    -----
    The statistic is studentized without equal variances: Welch's F of independent units, within blocks Hotelling's
    T-squared with the covariance as it is, so that no sphericity is assumed.

    References
    ----------
    Welch, B. L. (1951). On the comparison of several mean values. Biometrika, 38, 330-336.
    Hotelling, H. (1931). The generalization of Student's ratio. Annals of Mathematical Statistics, 2, 360-378.
    Pauly, M., Brunner, E., & Konietschke, F. (2015). Asymptotic permutation tests in general factorial designs.
    Journal of the Royal Statistical Society B, 77, 461-473.
    """
    values, codes, k = _checked(values, label)
    n_features = values.shape[1]
    families = np.zeros(n_features, dtype=np.intp)
    if family is not None:
        families = np.unique(np.asarray(family), return_inverse=True)[1].astype(np.intp)
    random = np.random.default_rng(rng)
    centred = values - values.mean(axis=0)
    if block is None:
        squares, floor, member = centred**2, _floor(centred), np.eye(k)[codes].T
        observed, df2 = _welch(*_moments(centred, squares, member, floor))
        per_batch = max(1, _BATCH // (k * (len(centred) + n_features)))

        def draw(size: int) -> NDArray[np.float64]:
            order = np.argsort(random.random((size, len(codes))), axis=1)
            chosen = np.moveaxis(member[:, order], 0, 1)
            return _welch(*_moments(centred, squares, chosen, floor))[0]

    else:
        cube = _blocks(centred, codes, k, np.asarray(block))
        floor = _floor(cube.reshape(-1, n_features))
        observed = _hotelling(cube, floor)
        df2 = np.full(n_features, float(len(cube) - k + 1))
        per_batch = max(1, _BATCH // cube.size)

        def draw(size: int) -> NDArray[np.float64]:
            order = np.argsort(random.random((size, len(cube), k)), axis=2)
            return _hotelling(np.take_along_axis(cube[None], order[..., None], axis=2), floor)

    line = observed * (1 - _TIE)
    as_large, as_largest, as_much = np.zeros(n_features), np.zeros(n_features), 0
    done = 0
    while done < n_permutations:
        drawn = draw(min(per_batch, n_permutations - done))
        done += len(drawn)
        as_large += (drawn >= line).sum(axis=0)
        for one in np.unique(families):
            mine = families == one
            as_largest[mine] += (drawn[:, mine].max(axis=1)[:, None] >= line[mine]).sum(axis=0)
        as_much += int((drawn.sum(axis=1) >= line.sum()).sum())
    return SeveralGroups(
        statistic=observed,
        df1=float(k - 1),
        df2=df2,
        p_parametric=np.asarray(special.fdtrc(k - 1, df2, observed)),
        p=(as_large + 1) / (done + 1),
        p_fwer=(as_largest + 1) / (done + 1),
        p_all=(as_much + 1) / (done + 1),
    )


def _blocks(
    values: NDArray[np.float64], codes: NDArray[np.intp], k: int, block: NDArray[np.generic]
) -> NDArray[np.float64]:
    """Return the values as (n_blocks, k, n_features)."""
    names, home = np.unique(block, return_inverse=True)
    if home.shape != codes.shape:
        raise InputError(f"{home.size} blocks for {codes.size} units do not fit; give the block of each unit")
    counts = np.bincount(home * k + codes, minlength=len(names) * k)
    if (counts != 1).any():
        name = names[int(np.argmax(counts != 1)) // k]
        raise InputError(f"block {name} does not have one unit of each of the {k} conditions; give it one of each")
    if len(names) <= k:
        raise InputError(f"{len(names)} blocks of {k} conditions are too few; give more blocks than conditions")
    cube = np.empty((len(names), k, values.shape[1]))
    cube[home, codes] = values
    return cube
