"""How alike the units of a cluster are: the intraclass correlation of every feature."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError
from metastable.stats.labels import label_codes

__all__ = ["intraclass_correlation"]


def intraclass_correlation(
    values: ArrayLike, cluster: ArrayLike, *, group: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Estimate the share of the variance that lies between clusters, feature by feature.

    Parameters
    ----------
    values : array_like of float, shape (n_units,) or (n_units, n_features)
        One row per unit within a cluster: a text, where a cluster is a subject.
    cluster : array_like, shape (n_units,)
        Cluster of each unit.
    group : array_like, shape (n_units,), or None
        Condition of each unit: clusters are then compared within conditions, about the mean of each. A cluster that has
        units in two conditions counts as one cluster in each.

    Returns
    -------
    ndarray of float64, shape (n_features,)
        Below 0 where clusters differ by less than chance gives; NaN where nothing varies.

    Raises
    ------
    InputError
        If values are not finite, labels are missing, there are fewer than two clusters in every group, or no cluster
        has more than one unit.

    Notes
    -----
    ICC(1) of the one-way random analysis of variance (Shrout & Fleiss 1979): (B - W) / (B + (k - 1) W), with B and W
    the mean squares between clusters and within. Of clusters of unequal size k is
    (n - sum of n_j^2 / n) / (number of clusters - 1) (Donner & Koval 1980), within each condition.

    Examples
    --------
    >>> print(intraclass_correlation([1.0, 2.0, 5.0, 6.0, 9.0, 8.0], ["a", "a", "b", "b", "c", "c"]).round(3))
    [0.96]
    """
    table = np.asarray(values, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or not np.isfinite(table).all():
        raise InputError(f"values has shape {table.shape} or values that are not finite; give one row per unit")
    n = len(table)
    of_group = np.zeros(n, dtype=np.intp) if group is None else label_codes("group", group, n)
    codes = label_codes("cluster", cluster, n)
    joint, code = np.unique(np.column_stack([of_group, codes]), axis=0, return_inverse=True)
    size = np.bincount(code).astype(np.float64)
    owner = joint[:, 0]
    n_clusters, n_groups = len(size), int(of_group.max()) + 1
    if n_clusters <= n_groups:
        raise InputError(f"{n_clusters} clusters in {n_groups} conditions do not vary within them; give more clusters")
    if n <= n_clusters:
        raise InputError("no cluster has more than one unit; give clusters of several units")
    of_cluster = np.zeros((n_clusters, table.shape[1]))
    np.add.at(of_cluster, code, table)
    means = of_cluster / size[:, None]
    total = np.bincount(owner, weights=size)
    grand = np.stack([np.bincount(owner, weights=column) for column in of_cluster.T], axis=1) / total[:, None]
    between = (size[:, None] * (means - grand[owner]) ** 2).sum(axis=0) / (n_clusters - n_groups)
    within = ((table - means[code]) ** 2).sum(axis=0) / (n - n_clusters)
    usual = (n - (np.bincount(owner, weights=size**2) / total).sum()) / (n_clusters - n_groups)
    denominator = between + (usual - 1) * within
    varied = denominator > 0
    return np.asarray(np.divide(between - within, denominator, out=np.full_like(between, np.nan), where=varied))
