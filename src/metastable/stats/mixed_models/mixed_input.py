"""The input of the mixed models, checked: every message says which argument is wrong, and what would do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError
from metastable.stats.labels import label_codes
from metastable.stats.mixed_models.random_terms import RandomTerms

__all__ = ["MixedInput", "check_mixed_input", "group_means"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Singular values of the scaled design below this part of the largest make it rank-deficient.
RANK_TOLERANCE = 1e-9


@dataclass(frozen=True)
class MixedInput:
    """Outcomes, design and grouping factors of mixed models that can be fitted.

    Attributes
    ----------
    values : ndarray of float64, shape (n_obs, n_features)
        Outcomes.
    design : ndarray of float64, shape (n_obs, p)
        Fixed effects, of full column rank.
    group : ndarray of int64, shape (n_obs,)
        Codes of the groups, from 0, all in use.
    cluster : ndarray of int64, shape (n_obs,), or None
        The same for the clusters.
    slope : ndarray of float64, shape (n_obs,), or None
        Covariate whose effect varies over the clusters, or over the groups where there are no clusters.
    """

    values: Floats
    design: Floats
    group: Ints
    cluster: Ints | None
    slope: Floats | None

    @property
    def has_terms(self) -> bool:
        """Whether there is more than a random intercept of the groups."""
        return self.cluster is not None or self.slope is not None

    @property
    def terms(self) -> RandomTerms:
        """Random effects, the factor that is cheaper to eliminate taken as the inner one."""
        if self.cluster is None:
            return RandomTerms(None, self.group, self.unit_slope)
        if not self.cluster_is_inner:
            return RandomTerms(self.group, self.cluster, self.unit_slope)
        return RandomTerms(self.cluster, self.group)

    @property
    def slope_scale(self) -> float:
        """Root mean square of the slope's covariate; 1 without one."""
        return 1.0 if self.slope is None else float(np.sqrt(np.mean(self.slope**2)))

    @property
    def unit_slope(self) -> Floats | None:
        """The slope's covariate with a mean square of one."""
        return None if self.slope is None else self.slope / self.slope_scale

    @property
    def cluster_is_inner(self) -> bool:
        """Whether `terms` has the clusters as its inner factor."""
        if self.cluster is None or self.slope is not None:
            return False
        if RandomTerms(self.group, self.cluster).nested:
            return False
        if RandomTerms(self.cluster, self.group).nested:
            return True
        return bool(self.cluster.max() > self.group.max())


def group_means(array: Floats, codes: Ints) -> Floats:
    """Mean of every column in every group.

    Parameters
    ----------
    array : ndarray of float64, shape (n_obs, n_columns)
        Rows to average.
    codes : ndarray of int64, shape (n_obs,)
        Group of each row, from 0, all in use.

    Returns
    -------
    ndarray of float64, shape (n_groups, n_columns)
        The means.
    """
    size = np.bincount(codes)
    order = np.argsort(codes, kind="stable")
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    means: Floats = np.add.reduceat(array[order], start, axis=0) / size[:, None]
    return means


def check_mixed_input(
    values: ArrayLike,
    design: ArrayLike,
    group: ArrayLike,
    *,
    column: int,
    cluster: ArrayLike | None = None,
    slope: int | None = None,
) -> MixedInput:
    """Turn the arguments of `fit_mixed_models` into arrays and codes.

    Parameters
    ----------
    values, design, group, column, cluster, slope
        As `metastable.stats.mixed_models.mixed.fit_mixed_models` takes them.

    Returns
    -------
    MixedInput
        What can be fitted.

    Raises
    ------
    InputError
        For everything that `fit_mixed_models` lists.
    """
    y = np.asarray(values, dtype=np.float64)
    x = np.asarray(design, dtype=np.float64)
    if y.ndim != 2 or y.shape[1] == 0:
        raise InputError(f"values has shape {y.shape}; give rows by features, a single feature as values[:, None]")
    if x.ndim != 2 or x.shape[0] != y.shape[0]:
        raise InputError(f"design has shape {x.shape}; give {y.shape[0]} rows, one for each row of values")
    for name, array in (("values", y), ("design", x)):
        if not np.isfinite(array).all():
            row, where = np.argwhere(~np.isfinite(array))[0]
            raise InputError(f"{name} row {row}, column {where} is {array[row, where]}; remove that row or fill it in")
    for name, index in (("column", column), ("slope", slope)):
        if index is not None and not 0 <= index < x.shape[1]:
            raise InputError(f"{name} is {index}; design has columns 0 to {x.shape[1] - 1}")
    groups = _codes(group, y.shape[0], "group")
    clusters = None if cluster is None else _codes(cluster, y.shape[0], "cluster")
    _check_rank(x, column)
    _check_group(x, groups)
    if clusters is not None:
        _check_cluster(x, groups, clusters)
    if slope is not None:
        _check_slope(x[:, slope], slope, groups, clusters)
    return MixedInput(y, x, groups, clusters, None if slope is None else x[:, slope])


def _codes(labels: ArrayLike, n_obs: int, name: str) -> Ints:
    """Labels as integers from 0, all of them in use."""
    codes = label_codes(name, labels, n_obs, each="row").astype(np.int64)
    if codes.max(initial=0) < 1:
        raise InputError(f"{name} has one level only; a random effect needs at least two")
    return codes


def _check_rank(x: Floats, column: int) -> None:
    """Raise for a design with a column that the others explain."""
    norm = np.linalg.norm(x, axis=0)
    if (norm == 0.0).any():
        raise InputError(f"design column {int(np.argmin(norm))} is zero throughout; leave it out")
    unit = x / norm
    rank = int(np.linalg.matrix_rank(unit, tol=RANK_TOLERANCE))
    if rank == x.shape[1]:
        return
    others = np.delete(unit, column, axis=1)
    if np.linalg.matrix_rank(others, tol=RANK_TOLERANCE) == rank:
        raise InputError(
            f"design column {column}, the one tested, is explained by the other columns (collinear); "
            "leave out the covariate that repeats the condition"
        )
    raise InputError(f"design has {x.shape[1]} columns but rank {rank}; leave out the columns that repeat others")


def _rank_within(x: Floats, codes: Ints) -> int:
    """Rank of the design's deviations from its group means."""
    deviations = (x - group_means(x, codes)[codes]) / np.linalg.norm(x, axis=0)
    return int(np.linalg.matrix_rank(deviations, tol=RANK_TOLERANCE))


def _check_levels(x: Floats, codes: Ints, name: str) -> int:
    """Raise where a factor's variance cannot be told from the coefficients; return the rank within levels."""
    n_levels, rank = int(codes.max()) + 1, _rank_within(x, codes)
    if n_levels + rank <= x.shape[1]:
        raise InputError(
            f"{name} has {n_levels} levels, too few to tell their variance from {x.shape[1]} coefficients; "
            "use more levels or fewer covariates"
        )
    return rank


def _check_group(x: Floats, group: Ints) -> None:
    """Raise where the data cannot tell the groups' variance from the residual or from the coefficients."""
    n_groups = int(group.max()) + 1
    if n_groups == group.size:
        raise InputError(f"every one of the {n_groups} groups has one row; a random intercept needs repeats")
    rank = _check_levels(x, group, "group")
    if group.size <= n_groups + rank:
        raise InputError(f"{group.size} rows in {n_groups} groups leave no residual degree of freedom; use more rows")


def _check_cluster(x: Floats, group: Ints, cluster: Ints) -> None:
    """Raise where the clusters cannot be told from the groups, the residual or the coefficients."""
    n_groups, n_clusters = int(group.max()) + 1, int(cluster.max()) + 1
    cells = np.unique(np.column_stack([group, cluster]), axis=0).shape[0]
    if cells == n_groups == n_clusters:
        raise InputError("cluster has the same levels as group; leave it out or give a coarser one")
    if n_clusters == cluster.size:
        raise InputError(f"every one of the {n_clusters} clusters has one row; leave cluster out")
    _check_levels(x, cluster, "cluster")


def _check_slope(values: Floats, column: int, group: Ints, cluster: Ints | None) -> None:
    """Raise where a random slope has nothing to be estimated from."""
    name, codes = ("group", group) if cluster is None else ("cluster", cluster)
    n_levels = int(codes.max()) + 1
    if _rank_within(values[:, None], codes) == 0:
        raise InputError(
            f"design column {column} is constant within every {name}, so its slope cannot vary over them; "
            "leave slope out"
        )
    if values.size <= 2 * n_levels:
        raise InputError(
            f"{values.size} rows are too few for an intercept and a slope of {n_levels} levels of {name}; "
            "leave slope out"
        )
    if cluster is not None and _rank_within(values[:, None], group) == 0:
        in_cells = np.unique(np.column_stack([codes, values]), axis=0, return_inverse=True)[1].ravel()
        n_cells = int(in_cells.max()) + 1
        if np.unique(np.column_stack([in_cells, group]), axis=0).shape[0] == n_cells:
            raise InputError(
                "every cluster has one group for each value of the slope, which leaves the groups' variance "
                "and the slope's entangled; leave slope out, or give the clusters as group"
            )
