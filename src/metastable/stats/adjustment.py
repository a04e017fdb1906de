"""What adjusting for covariates does to the difference of every feature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from metastable.errors import InputError
from metastable.stats.determined import independent_columns
from metastable.stats.effects import check_confidence
from metastable.stats.labels import label_codes
from metastable.stats.samples import (
    ROUNDING,
    Moments,
    covariate_matrix,
    is_constant,
    sample_moments,
    split_samples,
    unit_scaled,
)
from metastable.stats.single_units import SingleUnitError

__all__ = [
    "AdjustedDifference",
    "DifferenceDesign",
    "RobustFit",
    "adjusted_difference",
    "adjustment_table",
    "difference_design",
    "robust_regression",
]

# Singular values of the standardized design below this share of the largest make it rank-deficient.
_RANK = 1e-8
# A sum of squared residuals below this share of the outcome's is rounding.
_RESIDUAL = 1e-20


@dataclass(frozen=True)
class RobustFit:
    """Ordinary least squares of many outcomes on one design, with jackknife standard errors.

    Attributes
    ----------
    coefficients, se : ndarray of float64, shape (p, n_features)
        Estimates and standard errors.
    dof : float
        Degrees of freedom: units, or clusters, minus columns.
    """

    coefficients: NDArray[np.float64]
    se: NDArray[np.float64]
    dof: float


def robust_regression(
    values: NDArray[np.float64], design: NDArray[np.float64], *, cluster: NDArray[np.intp] | None = None
) -> RobustFit:
    """Regress every feature on `design`, standard errors robust to unequal variances and clusters.

    Parameters
    ----------
    values : ndarray of float64, shape (n_units, n_features)
        Outcomes.
    design : ndarray of float64, shape (n_units, p)
        Columns of full rank, the constant included.
    cluster : ndarray of int, shape (n_units,), or None
        Units of a cluster may have correlated errors.

    Returns
    -------
    RobustFit

    Raises
    ------
    InputError
        If there are no more units (or clusters) than columns; a SingleUnitError if one alone determines a coefficient.

    Notes
    -----
    HC3 (MacKinnon & White 1985), each residual divided by one minus its leverage; with clusters its
    counterpart CR3 (Bell & McCaffrey 2002), which leaves out one cluster at a time.
    """
    n_units, p = design.shape
    code = np.arange(n_units) if cluster is None else np.unique(cluster, return_inverse=True)[1]
    n_clusters = int(code.max()) + 1
    if n_clusters <= p:
        raise InputError(
            f"{n_clusters} {'units' if cluster is None else 'clusters'} cannot carry a design of {p} columns; "
            "leave out covariates"
        )
    q, r = np.linalg.qr(design)
    values, unit = unit_scaled(values)
    coefficients = np.linalg.solve(r, q.T @ values)
    residuals = values - design @ coefficients
    floor = _RESIDUAL * (values**2).sum(axis=0)
    residuals = np.where((residuals**2).sum(axis=0) <= floor, 0.0, residuals)
    variance = (
        _variance_of_units(q, r, residuals) if n_clusters == n_units else _variance_of_clusters(q, r, residuals, code)
    )
    return RobustFit(unit * coefficients, unit * np.sqrt(variance), float(n_clusters - p))


def _variance_of_units(
    q: NDArray[np.float64], r: NDArray[np.float64], residuals: NDArray[np.float64]
) -> NDArray[np.float64]:
    kept = 1.0 - (q**2).sum(axis=1)
    if kept.min() < _RANK:
        raise SingleUnitError(
            f"unit {kept.argmin()} alone determines a coefficient of the design; leave it or the covariate out"
        )
    return np.asarray((np.linalg.solve(r, q.T) / kept) ** 2 @ residuals**2, dtype=np.float64)


def _variance_of_clusters(
    q: NDArray[np.float64], r: NDArray[np.float64], residuals: NDArray[np.float64], code: NDArray[np.intp]
) -> NDArray[np.float64]:
    variance = np.zeros((q.shape[1], residuals.shape[1]))
    order = np.argsort(code, kind="stable")
    for g, rows in enumerate(np.split(order, np.flatnonzero(np.diff(code[order])) + 1)):
        kept = np.eye(len(rows)) - q[rows] @ q[rows].T
        if np.linalg.eigvalsh(kept)[0] < _RANK:
            raise SingleUnitError(
                f"cluster {g} alone determines a coefficient of the design; leave it or the covariate out"
            )
        moved = np.linalg.solve(r, q[rows].T @ np.linalg.solve(kept, residuals[rows]))
        variance += moved**2
    return variance


def adjustment_table(
    values: ArrayLike,
    condition: ArrayLike,
    covariates: pd.DataFrame,
    *,
    pair: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Difference of every feature before and after adjusting for covariates, side by side.

    Parameters
    ----------
    values : array_like of float, shape (n_units, n_features)
        One row per unit.
    condition : array_like of bool, shape (n_units,)
        True for condition a, False for b; differences are a - b.
    covariates : pandas.DataFrame, n_units rows
        One numeric column per covariate.
    pair : array_like, shape (n_units,), or None
        Code that joins each unit of a with one of b; differences of partners are then regressed on the
        differences of their covariates.
    cluster : array_like, shape (n_units,), or None
        Cluster of each unit; with `pair` a pair lies in one cluster.
    confidence : float
        Coverage of the intervals, between 0 and 1.

    Returns
    -------
    pandas.DataFrame
        One row per feature, in order:

        * ``difference``, ``se``, ``ci_low``, ``ci_high``, ``p``: before, from ``value ~ condition``
        * ``difference_adjusted``, ``se_adjusted``, ``ci_low_adjusted``, ``ci_high_adjusted``,
          ``p_adjusted``: after, from ``value ~ condition + covariates``
        * ``change``: adjusted minus unadjusted difference
        * ``g``, ``g_adjusted``: both differences over the standard deviation of Hedges' g (no bias
          correction), so that features compare
        * ``change_NAME`` for each covariate: its share of the change (they add up to it)

        A covariate that the ones before it determine is left out, its share of the change 0; its name stands in
        ``table.attrs["determined"]``.

        A feature that is constant in both conditions has p = 1 where the difference is 0 and p = 0
        otherwise, and g 0.

    Raises
    ------
    InputError
        As `split_samples` and `covariate_matrix`; or if the condition goes into what explains a covariate (it cannot
        be told from it), or one unit or cluster alone determines a coefficient. A covariate that never
        varies (whose partners never differ) is no error: its share of the change is 0.

    Notes
    -----
    Ordinary least squares per unit. Standard errors are HC3, or CR3 where there are clusters (see
    `robust_regression`), with t tails. The shares of the change are Gelbach's (2016): the difference of
    the covariate between conditions, the other things not held fixed, times its adjusted slope, with the
    opposite sign; unlike adding covariates one by one they do not depend on an order.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> condition = np.arange(200) < 100
    >>> pieces = rng.normal(size=200) + condition  # a has longer words
    >>> values = (2 * pieces + 0.1 * rng.normal(size=200))[:, None]  # and the count follows length alone
    >>> table = adjustment_table(values, condition, pd.DataFrame({"pieces": pieces}))
    >>> print(table[["difference", "change_pieces", "p_adjusted"]].round(1).to_string(index=False))
     difference  change_pieces  p_adjusted
            2.0           -2.0         0.2
    """
    check_confidence(confidence)
    design = difference_design(values, condition, covariates, pair=pair, cluster=cluster)
    names, moments, at = design.names, design.moments, design.at
    before = robust_regression(design.outcome, design.short, cluster=design.cluster)
    after = design.adjusted()
    gaps = np.linalg.lstsq(design.short, design.used, rcond=None)[0][at]
    shares = np.zeros((len(names), design.outcome.shape[1]))
    shares[design.kept] = -gaps[:, None] * after.coefficients[at + 1 :]
    deviation = moments.unit * moments.standardizer
    columns: dict[str, NDArray[np.float64]] = {}
    for suffix, fit in (("", before), ("_adjusted", after)):
        columns.update(_tested(fit, at, moments.flat, confidence, suffix))
    columns["change"] = columns["difference_adjusted"] - columns["difference"]
    for suffix in ("", "_adjusted"):
        difference = columns[f"difference{suffix}"]
        columns[f"g{suffix}"] = np.divide(difference, deviation, out=np.zeros_like(difference), where=deviation > 0)
    for name, share in zip(names, shares, strict=True):
        columns[f"change_{name}"] = np.where(moments.flat, 0.0, share)
    table = pd.DataFrame(columns)
    table.attrs["determined"] = list(design.determined)
    return table


@dataclass(frozen=True)
class AdjustedDifference:
    """Difference of two conditions beside covariates, one entry per feature.

    Attributes
    ----------
    difference, se : ndarray of float64, shape (n_features,)
        Estimate a - b and its HC3 standard error; both 0 where the feature is flat.
    dof : float
        Degrees of freedom: units (pairs) minus columns of the design.
    influence : ndarray of float64, shape (n_units or n_pairs, n_features)
        How much the difference changes with each unit (pair, in the order of the codes): what HC3 adds up the
        squares of. Units as they are given.
    """

    difference: NDArray[np.float64]
    se: NDArray[np.float64]
    dof: float
    influence: NDArray[np.float64]


def adjusted_difference(
    values: ArrayLike, condition: ArrayLike, covariates: pd.DataFrame, *, pair: ArrayLike | None = None
) -> AdjustedDifference:
    """Difference of every feature with covariates held fixed; arguments and errors as in `adjustment_table`."""
    design = difference_design(values, condition, covariates, pair=pair)
    fit, flat = design.adjusted(), design.moments.flat
    columns = np.column_stack([design.short, design.used])
    q, r = np.linalg.qr(columns)
    residual = design.outcome - columns @ fit.coefficients
    influence = (np.linalg.solve(r, q.T)[design.at] / (1.0 - (q**2).sum(axis=1)))[:, None] * residual
    return AdjustedDifference(
        np.where(flat, 0.0, fit.coefficients[design.at]),
        np.where(flat, 0.0, fit.se[design.at]),
        fit.dof,
        np.where(flat, 0.0, influence),
    )


@dataclass(frozen=True)
class DifferenceDesign:
    """Outcomes and columns of two regressions: without covariates, and with those that are of use.

    Attributes
    ----------
    outcome : ndarray of float64, shape (n_units or n_pairs, n_features)
        Values of units, or differences of partners in the order of the codes of their pairs.
    short : ndarray of float64, shape (n_units, 2) or (n_pairs, 1)
        The constant and the condition, or the constant alone; the last column is the one tested.
    used : ndarray of float64, shape (n_units or n_pairs, n_used)
        Covariates about their means (differences of partners), in units of their size.
    kept : ndarray of bool, shape (n_covariates,)
        Which covariates these are.
    determined : tuple of str
        Names of those that vary and are left out, since the ones before them determine them.
    names : list of str
        Names of all covariates.
    moments : Moments
        Of the values.
    cluster : ndarray of int or None
        Cluster of each row.
    """

    outcome: NDArray[np.float64]
    short: NDArray[np.float64]
    used: NDArray[np.float64]
    kept: NDArray[np.bool_]
    determined: tuple[str, ...]
    names: list[str]
    moments: Moments
    cluster: NDArray[np.intp] | None

    @property
    def at(self) -> int:
        """Column of the difference."""
        return int(self.short.shape[1]) - 1

    def adjusted(self) -> RobustFit:
        """Fit the longer regression."""
        return robust_regression(self.outcome, np.column_stack([self.short, self.used]), cluster=self.cluster)


def difference_design(
    values: ArrayLike,
    condition: ArrayLike,
    covariates: pd.DataFrame,
    *,
    pair: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
) -> DifferenceDesign:
    """Check the input of `adjustment_table`, and take differences of partners where there are pairs.

    Parameters
    ----------
    values, condition, covariates, pair, cluster
        As `adjustment_table` takes them.

    Returns
    -------
    DifferenceDesign

    Raises
    ------
    InputError
        As `split_samples` and `covariate_matrix`; or if a covariate cannot be told from the condition.
    """
    samples = split_samples(values, condition, pair=pair)
    moments = sample_moments(samples)
    side = np.asarray(condition)
    names, table = [str(name) for name in covariates.columns], covariate_matrix(covariates, len(side))
    code = _cluster_codes(cluster, len(side))
    if pair is None:
        outcome = np.asarray(values, dtype=np.float64)
        short = np.column_stack([np.ones(len(side)), side])
        regressors, idle = table - table.mean(axis=0), is_constant(table)
    else:
        codes = np.asarray(pair)
        order_a, order_b = np.argsort(codes[side], kind="stable"), np.argsort(codes[~side], kind="stable")
        outcome = samples.unit * np.where(moments.var_difference == 0, moments.difference, samples.a - samples.b)
        of_a, of_b = table[side][order_a], table[~side][order_b]
        short, regressors = np.ones((len(outcome), 1)), of_a - of_b
        idle = np.abs(regressors).max(axis=0) <= ROUNDING * np.abs(table).max(axis=0)
        code = _codes_of_pairs(code, side, order_a, order_b)
    # A covariate that does not vary has nothing to adjust for, nor has one that others determine.
    regressors = regressors / np.where(idle, 1.0, np.sqrt((regressors**2).mean(axis=0)))
    kept = ~idle
    kept[~idle] = independent_columns(regressors[:, ~idle], short[:, :0] if pair is not None else short[:, :1])
    determined = tuple(name for name, out in zip(names, ~(kept | idle), strict=True) if out)
    used = regressors[:, kept]
    apart = independent_columns(used, short)
    if not apart.all():
        name = [name for name, is_used in zip(names, kept, strict=True) if is_used][int(apart.argmin())]
        raise InputError(f"covariate {name!r} is explained by the condition and the covariates before it; leave it out")
    return DifferenceDesign(outcome, short, used, kept, determined, names, moments, code)


def _tested(
    fit: RobustFit, at: int, flat: NDArray[np.bool_], confidence: float, suffix: str
) -> dict[str, NDArray[np.float64]]:
    difference, se = np.where(flat, 0.0, fit.coefficients[at]), np.where(flat, 0.0, fit.se[at])
    undefined = np.where(difference == 0, 0.0, np.copysign(np.inf, difference))
    t = np.divide(difference, se, out=undefined, where=se > 0)
    reach = se * special.stdtrit(fit.dof, 0.5 + confidence / 2)
    return {
        f"difference{suffix}": difference,
        f"se{suffix}": se,
        f"ci_low{suffix}": difference - reach,
        f"ci_high{suffix}": difference + reach,
        f"p{suffix}": 2 * special.stdtr(fit.dof, -np.abs(t)),
    }


def _cluster_codes(cluster: ArrayLike | None, n_units: int) -> NDArray[np.intp] | None:
    if cluster is None:
        return None
    return label_codes("cluster", cluster, n_units)


def _codes_of_pairs(
    code: NDArray[np.intp] | None,
    side: NDArray[np.bool_],
    order_a: NDArray[np.intp],
    order_b: NDArray[np.intp],
) -> NDArray[np.intp] | None:
    if code is None:
        return None
    of_a, of_b = code[side][order_a], code[~side][order_b]
    if (of_a != of_b).any():
        raise InputError("a pair has partners in two clusters; give both partners the same cluster")
    return of_a
