"""The limit of a mixed model as its residual variance vanishes: a model of the group means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from metastable.stats.mixed_models.crossed import fit_terms
from metastable.stats.mixed_models.mixed_input import RANK_TOLERANCE, MixedInput, group_means
from metastable.stats.mixed_models.random_intercept import GroupSums
from metastable.stats.mixed_models.random_terms import SATURATED, RandomTerms, saturated, term_sums
from metastable.stats.mixed_models.satterthwaite import CriterionFit

__all__ = ["GroupMeanModel", "group_mean_model", "still_within"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class GroupMeanModel:
    """What is left of the data once deviations from the group means are explained exactly.

    Attributes
    ----------
    applies : ndarray of bool, shape (n_features,)
        Features whose limit this is; not those whose random effects explain the group means entirely, or vary
        within groups.
    terms : RandomTerms or None
        Random effects of the group means; None where they are independent.
    exact : ndarray of float64, shape (p, n_features)
        The part of the fixed effects that deviations within groups determine.
    free : ndarray of float64, shape (p, n_free)
        Directions of the fixed effects that they leave open.
    design, means : ndarray of float64, shapes (n_groups, n_free) and (n_groups, n_features)
        Group means of the design in these directions, and of the outcomes without the exact part.
    """

    applies: Bools
    terms: RandomTerms | None
    exact: Floats
    free: Floats
    design: Floats
    means: Floats

    def fit(self, *, method: Literal["reml", "ml"] = "reml") -> CriterionFit:
        """Fit the features that it applies to.

        Parameters
        ----------
        method : {"reml", "ml"}
            Criterion.

        Returns
        -------
        CriterionFit
            With the fixed effects of the full design. `sigma` is the standard deviation of the groups; `theta`
            that of `terms` relative to it.
        """
        if self.terms is None:
            reduced = _least_squares(self.design, self.means[:, self.applies], method)
        else:
            reduced = fit_terms(term_sums(self.design, self.means[:, self.applies], self.terms), method=method)
        return replace(
            reduced,
            beta=self.exact[:, self.applies].T + reduced.beta @ self.free.T,
            unscaled=self.free @ reduced.unscaled @ self.free.T,
            unscaled_gradient=self.free @ reduced.unscaled_gradient @ self.free.T,
        )


def still_within(sums: GroupSums) -> Bools:
    """Say which features vary between groups only, but for what the design explains.

    Parameters
    ----------
    sums : GroupSums
        The data by groups, outcomes with a mean square of about one.

    Returns
    -------
    ndarray of bool, shape (n_features,)
        True where the residual variance of a random-intercept model would be zero.
    """
    inverse = np.linalg.pinv(sums.within_xx, rcond=RANK_TOLERANCE, hermitian=True)
    left = sums.within_yy - np.einsum("pf,pf->f", sums.within_xy, inverse @ sums.within_xy)
    result: Bools = left <= SATURATED * sums.n_obs
    return result


def group_mean_model(data: MixedInput, x: Floats, y: Floats) -> GroupMeanModel:
    """Reduce features that are still within groups to their group means.

    Parameters
    ----------
    data : MixedInput
        Grouping factors and slope.
    x : ndarray of float64, shape (n_obs, p)
        Design with orthonormal columns.
    y : ndarray of float64, shape (n_obs, n_features)
        Outcomes for which `still_within` holds.

    Returns
    -------
    GroupMeanModel
        The reduced model.
    """
    x_mean, y_mean = group_means(x, data.group), group_means(y, data.group)
    x_within, y_within = x - x_mean[data.group], y - y_mean[data.group]
    exact = np.linalg.pinv(x_within, rcond=RANK_TOLERANCE) @ y_within
    _, singular_values, directions = np.linalg.svd(x_within, full_matrices=False)
    free = directions[singular_values <= RANK_TOLERANCE].T
    design, means = x_mean @ free, y_mean - x_mean @ exact
    terms, applies = None, np.ones(y.shape[1], dtype=np.bool_)
    if data.cluster is not None and not data.cluster_is_inner:
        first = np.unique(data.group, return_index=True)[1]
        slope = data.unit_slope
        outer, by_group = data.cluster[first], None if slope is None else slope[first]
        if np.array_equal(outer[data.group], data.cluster) and (
            slope is None or by_group is None or np.array_equal(by_group[data.group], slope)
        ):
            terms = RandomTerms(None, outer, by_group)
            applies = ~saturated(term_sums(design, means, terms))
        else:
            # Effects of clusters that cross the groups vary within them, unless they are all the same.
            applies &= slope is None and _connected(data.group, data.cluster)
    return GroupMeanModel(applies, terms, exact, free, design, means)


def _connected(group: NDArray[np.int64], cluster: NDArray[np.int64]) -> bool:
    """Whether a chain of shared rows joins every group and cluster to every other."""
    n_groups = int(group.max()) + 1
    size = n_groups + int(cluster.max()) + 1
    graph = sparse.csr_array((np.ones(group.size), (group, n_groups + cluster)), shape=(size, size))
    return bool(csgraph.connected_components(graph, directed=False)[0] == 1)


def _least_squares(x: Floats, y: Floats, method: str) -> CriterionFit:
    """Ordinary regression, as a mixed model without random effects."""
    (n_obs, p), n_features = x.shape, y.shape[1]
    unscaled = np.linalg.inv(x.T @ x)
    beta = unscaled @ x.T @ y
    dof = n_obs - p if method == "reml" else n_obs
    sigma = np.sqrt(np.sum((y - x @ beta) ** 2, axis=0) / dof)
    return CriterionFit(
        theta=np.zeros((n_features, 0)),
        sigma=sigma,
        beta=beta.T,
        unscaled=np.broadcast_to(unscaled, (n_features, p, p)),
        unscaled_gradient=np.zeros((n_features, 0, p, p)),
        hessian=(4.0 * dof / sigma**2)[:, None, None],
        criterion=dof * (1.0 + np.log(2.0 * np.pi * sigma**2)),
        singular=np.zeros(n_features, dtype=np.bool_),
        converged=np.ones(n_features, dtype=np.bool_),
        iterations=np.zeros(n_features, dtype=np.int64),
    )
