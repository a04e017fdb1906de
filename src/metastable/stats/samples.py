"""Splitting units by features into two samples, checked once for every estimate and test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError
from metastable.stats.labels import check_condition, check_labels

__all__ = [
    "ROUNDING",
    "Moments",
    "Samples",
    "check_values",
    "covariate_frame",
    "covariate_matrix",
    "far_exponents",
    "is_constant",
    "sample_moments",
    "split_samples",
    "unit_scaled",
]

#: A sample whose range is below this share of its largest absolute value is constant but for rounding.
ROUNDING = 1e-12
# Powers of two beyond which a feature's squares, and the squares of these, come near the limits of a float.
_FAR = 128


@dataclass(frozen=True)
class Samples:
    """The units of two conditions.

    Attributes
    ----------
    a, b : ndarray of float64, shape (n_a, n_features) and (n_b, n_features)
        Values of each condition's units, in units of `unit`; where `paired`, row i of a is the partner of row i of b.
    paired : bool
        Whether the rows are partners.
    unit : ndarray of float64, shape (n_features,)
        What the values were divided by, as `unit_scaled` says: 1 unless they are very large or very small.
    """

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    paired: bool
    unit: NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Mean and variance of each feature of two samples.

    Attributes
    ----------
    n_a, n_b : int
        Numbers of units.
    mean_a, mean_b, var_a, var_b : ndarray of float64, shape (n_features,)
        Means and unbiased variances, in units of `unit` and of its square; a constant sample has variance exactly 0.
    var_difference : ndarray of float64, shape (n_features,), or None
        Unbiased variance of the differences of partners, in a paired design.
    flat : ndarray of bool, shape (n_features,)
        Features that have the same value in every unit of both samples.
    unit : ndarray of float64, shape (n_features,)
        As in `Samples`.
    """

    n_a: int
    n_b: int
    mean_a: NDArray[np.float64]
    mean_b: NDArray[np.float64]
    var_a: NDArray[np.float64]
    var_b: NDArray[np.float64]
    var_difference: NDArray[np.float64] | None
    flat: NDArray[np.bool_]
    unit: NDArray[np.float64]

    @property
    def difference(self) -> NDArray[np.float64]:
        """Mean of a minus mean of b in units of `unit`, exactly 0 where the feature is flat."""
        return np.where(self.flat, 0.0, self.mean_a - self.mean_b)

    @property
    def standardizer(self) -> NDArray[np.float64]:
        """Standard deviation in whose units an effect is told, itself in units of `unit`.

        The pooled one of two groups; of partners the root of the mean of both variances, so that
        effects of paired and unpaired designs are in the same units.
        """
        weight_a = 0.5 if self.var_difference is not None else (self.n_a - 1) / (self.n_a + self.n_b - 2)
        return np.sqrt(weight_a * self.var_a + (1 - weight_a) * self.var_b)


def check_values(values: ArrayLike) -> NDArray[np.float64]:
    """Return values as float64, units by features, and refuse other shapes and values that are not finite."""
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2:
        raise InputError(f"values has shape {table.shape}; give units by features, two dimensions")
    finite = np.isfinite(table)
    if not finite.all():
        unit, feature = np.argwhere(~finite)[0]
        raise InputError(
            f"values[{unit}, {feature}] is {table[unit, feature]} ({int((~finite).sum())} such values); "
            "leave out the units or features that have no count"
        )
    return table


def unit_scaled(values: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take features that are very large or very small in units in which their squares are neither.

    Parameters
    ----------
    values : array_like of float, shape (n_units, n_features)
        As `check_values` takes them.

    Returns
    -------
    table : ndarray of float64, shape (n_units, n_features)
        The values over `unit`.
    unit : ndarray of float64, shape (n_features,)
        A power of two, so that nothing is rounded; 1 where no absolute value is beyond 1e38 and the largest is not
        below 1e-38.

    Raises
    ------
    InputError
        As `check_values`.
    """
    table = check_values(values)
    exponent = far_exponents(np.abs(table).max(axis=0, initial=0.0))
    if not exponent.any():
        return table, np.ones(table.shape[1])
    return np.ldexp(table, -exponent), np.ldexp(1.0, exponent)


def far_exponents(largest: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return the exponents of the powers of two that `unit_scaled` takes as units, 0 where it leaves the values.

    Parameters
    ----------
    largest : ndarray of float64, shape (n_features,)
        The largest absolute value of each feature.

    Returns
    -------
    ndarray of int32, shape (n_features,)
    """
    exponent = np.frexp(largest)[1]
    return np.where(np.abs(exponent) > _FAR, exponent, np.int32(0))


def split_samples(
    values: ArrayLike, condition: ArrayLike, *, pair: ArrayLike | None = None, minimum: int = 2
) -> Samples:
    """Split units by condition, partners aligned.

    Parameters
    ----------
    values : array_like of float, shape (n_units, n_features)
        One row per unit of inference.
    condition : array_like of bool, shape (n_units,)
        True for condition a, False for b.
    pair : array_like, shape (n_units,), or None
        Code that joins each unit of a with one of b.
    minimum : int
        Fewest units that each condition must have.

    Returns
    -------
    Samples

    Raises
    ------
    InputError
        If the shapes do not agree, a value is not finite, a condition has fewer units than
        `minimum`, or a code of `pair` is missing or does not occur exactly once in each condition.
    """
    table, unit = unit_scaled(values)
    labels = check_condition(condition, len(table))
    n_a, n_b = int(labels.sum()), int((~labels).sum())
    if min(n_a, n_b) < minimum:
        raise InputError(f"condition has {n_a} units of a and {n_b} of b; each condition needs at least {minimum}")
    a, b = table[labels], table[~labels]
    if pair is None:
        return Samples(a, b, False, unit)
    codes = check_labels("pair", pair, len(table))
    order_a, order_b = _partners(codes[labels], codes[~labels])
    return Samples(a[order_a], b[order_b], True, unit)


def _partners(codes_a: NDArray[Any], codes_b: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Orders of the units of a and of b that put partners side by side."""
    for name, codes in (("a", codes_a), ("b", codes_b)):
        unique, counts = np.unique(codes, return_counts=True)
        if (counts > 1).any():
            raise InputError(
                f"pair {unique[counts > 1][0]!s} occurs more than once in condition {name}; a pair has one "
                "unit of each condition"
            )
    lonely = np.setxor1d(codes_a, codes_b)
    if len(lonely):
        raise InputError(
            f"pair {lonely[0]!s} has a unit in one condition only ({len(lonely)} such pairs); drop it or add "
            "its partner"
        )
    return np.argsort(codes_a, kind="stable"), np.argsort(codes_b, kind="stable")


def is_constant(sample: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which columns hold one value but for rounding: bool, shape (n_features,)."""
    low, high = sample.min(axis=0), sample.max(axis=0)
    constant: NDArray[np.bool_] = high - low <= ROUNDING * np.maximum(np.abs(low), np.abs(high))
    return constant


def _variance(sample: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(is_constant(sample), 0.0, sample.var(axis=0, ddof=1))


def sample_moments(samples: Samples) -> Moments:
    """Means and variances of two samples; a sample constant but for rounding has variance 0.

    Parameters
    ----------
    samples : Samples
        Two samples of at least two units.

    Returns
    -------
    Moments
    """
    a, b = samples.a, samples.b
    var_a, var_b = _variance(a), _variance(b)
    var_difference = None
    if samples.paired:
        # Partners may differ by a constant: what is left of the difference is rounding of the values.
        differences = a - b
        scale = np.maximum(np.abs(a).max(axis=0), np.abs(b).max(axis=0))
        spread = np.ptp(differences, axis=0)
        var_difference = np.where(spread <= ROUNDING * scale, 0.0, differences.var(axis=0, ddof=1))
    return Moments(
        n_a=len(a),
        n_b=len(b),
        mean_a=a.mean(axis=0),
        mean_b=b.mean(axis=0),
        var_a=var_a,
        var_b=var_b,
        var_difference=var_difference,
        flat=is_constant(np.concatenate([a, b])),
        unit=samples.unit,
    )


def covariate_frame(covariates: ArrayLike | pd.DataFrame) -> pd.DataFrame:
    """Return covariates as a table: one as it is, columns of an array under the names 0, 1, ..."""
    if isinstance(covariates, pd.DataFrame):
        return covariates
    columns = np.asarray(covariates, dtype=np.float64)
    if columns.ndim != 2:
        raise InputError(f"covariates has shape {columns.shape}; give units by covariates, two dimensions")
    return pd.DataFrame(columns)


def covariate_matrix(covariates: pd.DataFrame, n_units: int) -> NDArray[np.float64]:
    """Check covariates and return them as numbers.

    Parameters
    ----------
    covariates : pandas.DataFrame, n_units rows
        One numeric or boolean column per covariate.
    n_units : int
        Rows that there must be.

    Returns
    -------
    ndarray of float64, shape (n_units, n_covariates)

    Raises
    ------
    InputError
        If the number of rows differs, or a column is not numeric or has a value that is missing or not
        finite; the message names the column and the row.
    """
    if len(covariates) != n_units:
        raise InputError(f"covariates has {len(covariates)} rows for {n_units} units; give one row per unit")
    table = np.empty((n_units, covariates.shape[1]))
    for j, name in enumerate(covariates.columns):
        column = covariates[name]
        if not pd.api.types.is_numeric_dtype(column):
            raise InputError(
                f"covariate {name!r} has dtype {column.dtype}; give numbers (code categories as 0/1 columns)"
            )
        table[:, j] = column.to_numpy(dtype=np.float64, na_value=np.nan)
        missing = np.flatnonzero(~np.isfinite(table[:, j]))
        if len(missing):
            raise InputError(
                f"covariate {name!r} has no finite value in row {missing[0]} ({len(missing)} such rows); "
                "leave out the units or the covariate"
            )
    return table
