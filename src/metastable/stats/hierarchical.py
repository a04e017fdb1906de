"""Hierarchical false discovery rate: groups of tests first, then the tests in the groups rejected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError
from metastable.stats.corrections import adjust_p_values
from metastable.stats.labels import label_codes

__all__ = ["HierarchicalResult", "hierarchical_test", "simes"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HierarchicalResult:
    """Results of `hierarchical_test`, one entry a test.

    Attributes
    ----------
    group_adjusted : ndarray of float64, shape (n_tests,)
        Adjusted p of the group that the test belongs to.
    adjusted : ndarray of float64, shape (n_tests,)
        The larger of `group_adjusted` and of the test's p adjusted within its group, so that a value at most
        alpha means that the group and then the test were rejected.
    tested : ndarray of bool, shape (n_tests,)
        Whether the test's group was rejected at alpha.
    rejected : ndarray of bool, shape (n_tests,)
        Whether the test was, too.
    fdr_bound : float
        Estimated bound on the false discovery rate among the tests rejected (`hierarchical_test`, Notes).
    """

    group_adjusted: Floats
    adjusted: Floats
    tested: NDArray[np.bool_]
    rejected: NDArray[np.bool_]
    fdr_bound: float


def simes(p: ArrayLike) -> float:
    """Test whether all null hypotheses of a group hold: the smallest Benjamini-Hochberg p (Simes 1986)."""
    return float(adjust_p_values(p).min())


def hierarchical_test(
    p: ArrayLike,
    group: ArrayLike,
    *,
    group_p: ArrayLike | None = None,
    family: ArrayLike | None = None,
    method: str = "bh",
    alpha: float = 0.05,
) -> HierarchicalResult:
    """Correct groups of tests first, then the tests within the groups rejected (Yekutieli 2008).

    For attention heads a group is a layer and a family is a site: an effect confined to one layer is then
    not paid for by the heads of all others.

    Parameters
    ----------
    p : array_like of float, shape (n_tests,)
        Unadjusted p-values.
    group : array_like, shape (n_tests,)
        Code of the group (layer) of each test. Groups of different families are different groups.
    group_p : array_like of float or None, shape (n_tests,)
        The group's own p, repeated for each of its tests: an omnibus p of `permutation_test`, say.
        Simes' combination of the group's p if None.
    family : array_like or None, shape (n_tests,)
        Code of the family (site) of each test; groups are corrected within families.
    method : str
        Correction at both steps, as `adjust_p_values` names it.
    alpha : float
        Level of both steps.

    Returns
    -------
    HierarchicalResult

    Raises
    ------
    InputError
        If a p is NaN or outside 0..1, a label is missing, a group's tests carry different `group_p`, or shapes do not
        fit.

    Notes
    -----
    Each step controls the false discovery rate at alpha within its own family of tests. Over the tests
    of all groups together the rate is higher; with independent p-values it is about
    ``alpha * (R + T) / (R + 1)`` for R tests rejected and T families of tests looked into, the groups'
    own among them (Yekutieli 2008, with his factor delta* at 1; he finds it below 1.44).

    Examples
    --------
    >>> p = [0.001, 0.02, 0.6, 0.03, 0.5, 0.7]
    >>> result = hierarchical_test(p, ["first", "first", "first", "second", "second", "second"])
    >>> print(result.adjusted.round(3), result.rejected)
    [0.006 0.03  0.6   0.09  0.7   0.7  ] [ True  True False False False False]
    """
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1:
        raise InputError(f"p must have one dimension, but its shape is {values.shape}; pass one p-value a test.")
    n = len(values)
    families = np.zeros(n, dtype=np.intp) if family is None else label_codes("family", family, n, each="test")
    keys = np.column_stack([families, label_codes("group", group, n, each="test")])
    _, first, groups = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    groups = groups.reshape(-1)
    within = adjust_p_values(values, method=method, family=groups, alpha=alpha)
    if group_p is None:
        of_group = np.array([simes(values[groups == code]) for code in range(len(first))])
    else:
        given = np.asarray(group_p, dtype=np.float64)
        if given.shape != (n,):
            raise InputError(f"group_p has shape {given.shape}, but must be ({n},): the group's p for each test.")
        of_group = given[first]
        differs = np.flatnonzero(given != of_group[groups])
        if len(differs):
            raise InputError(
                f"group_p[{differs[0]}] is {given[differs[0]]}, but another test of its group has "
                f"{of_group[groups[differs[0]]]}; repeat one p for all tests of a group."
            )
    group_adjusted = adjust_p_values(of_group, method=method, family=families[first], alpha=alpha)[groups]
    adjusted = np.maximum(group_adjusted, within)
    tested, rejected = group_adjusted <= alpha, adjusted <= alpha
    looked_into = len(np.unique(families)) + len(np.unique(groups[tested]))
    n_rejected = int(rejected.sum())
    bound = min(1.0, alpha * (n_rejected + looked_into) / (n_rejected + 1))
    return HierarchicalResult(group_adjusted, adjusted, tested, rejected, bound)
