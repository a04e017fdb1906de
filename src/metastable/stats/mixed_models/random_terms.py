"""Random effects of a second factor or a slope, and the cross-products that their likelihood needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from metastable.stats.mixed_models.random_intercept import GroupSums, group_sums

__all__ = ["SATURATED", "RandomTerms", "TermSums", "saturated", "term_sums"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Eigenvalues below this part of the largest are zero.
RANK_TOLERANCE = 1e-9
# Mean square left by all effects, random ones taken as fixed, below which there is no residual variance.
SATURATED = 1e-12


@dataclass(frozen=True)
class RandomTerms:
    """Which random effects a model has, besides the residual.

    Attributes
    ----------
    inner : ndarray of int64, shape (n_obs,), or None
        Codes of a factor with a random intercept that is eliminated in closed form; the finer one.
    outer : ndarray of int64, shape (n_obs,)
        Codes of the factor whose random effects are solved for; crossed with `inner` or containing it.
    slope : ndarray of float64, shape (n_obs,), or None
        Covariate whose effect varies over the levels of `outer`, correlated with their intercepts.
    """

    inner: Ints | None
    outer: Ints
    slope: Floats | None = None

    @property
    def width(self) -> int:
        """Random effects of each level of `outer`: 1, or 2 with a slope."""
        return 1 if self.slope is None else 2

    @property
    def n_theta(self) -> int:
        """Number of relative variance parameters."""
        return int(self.inner is not None) + self.width * (self.width + 1) // 2

    @property
    def nested(self) -> bool:
        """Whether every level of `inner` lies within one level of `outer`."""
        if self.inner is None:
            return True
        pairs = np.unique(np.column_stack([self.inner, self.outer]), axis=0)
        return bool(pairs.shape[0] == int(self.inner.max()) + 1)


@dataclass(frozen=True)
class TermSums:
    """Cross-products of design, outcomes and the columns Z of the outer random effects.

    Z falls into `n_blocks` blocks of `size` columns that no level of the inner factor joins: one block a level
    where inner is nested in outer, otherwise one block in all. Arrays named between have a first axis for the
    classes of inner levels of one size, as in `GroupSums`.

    Attributes
    ----------
    base : GroupSums
        Cross-products of design and outcomes; no classes where there is no inner factor.
    width : int
        Random effects of each outer level.
    has_inner : bool
        Whether there is an inner factor.
    within_zz, within_zx, within_zy : ndarray of float64
        Shapes (n_blocks, size, size), (n_blocks, size, p), (n_blocks, size, n_features).
    between_zz, between_zx, between_zy : ndarray of float64
        The same behind an axis of classes.
    """

    base: GroupSums
    width: int
    has_inner: bool
    within_zz: Floats
    within_zx: Floats
    within_zy: Floats
    between_zz: Floats
    between_zx: Floats
    between_zy: Floats

    def features(self, index: Ints) -> TermSums:
        """Keep some of the features.

        Parameters
        ----------
        index : ndarray of int64
            Which features.

        Returns
        -------
        TermSums
            Theirs, in that order.
        """
        return replace(
            self,
            base=self.base.features(index),
            within_zy=self.within_zy[..., index],
            between_zy=self.between_zy[..., index],
        )


def term_sums(x: Floats, y: Floats, terms: RandomTerms) -> TermSums:
    """Reduce the rows to cross-products.

    Parameters
    ----------
    x : ndarray of float64, shape (n_obs, p)
        Design, for numerical safety with orthonormal columns.
    y : ndarray of float64, shape (n_obs, n_features)
        Outcomes, best as residuals of a regression on `x`.
    terms : RandomTerms
        The random effects.

    Returns
    -------
    TermSums
        Of a size that does not depend on the number of rows.
    """
    n_obs, width = x.shape[0], terms.width
    n_levels = int(terms.outer.max()) + 1
    columns = np.ones((n_obs, 1)) if terms.slope is None else np.column_stack([np.ones(n_obs), terms.slope])
    index = terms.outer[:, None] * width + np.arange(width)
    rows = np.repeat(np.arange(n_obs), width)
    z = sparse.csr_array((columns.ravel(), (rows, index.ravel())), shape=(n_obs, n_levels * width))
    n_blocks = n_levels if terms.nested else 1

    def square(matrix: Any) -> Floats:
        entries = sparse.coo_array(matrix)
        size = n_levels * width // n_blocks
        blocks = np.zeros((n_blocks, size, size))
        blocks[entries.row // size, entries.row % size, entries.col % size] = entries.data
        return blocks

    def tall(matrix: Any) -> Floats:
        return np.asarray(matrix).reshape(n_blocks, n_levels * width // n_blocks, -1)

    zz, zx, zy = square(z.T @ z), tall(z.T @ x), tall(z.T @ y)
    if terms.inner is None:
        none = np.zeros(0)
        base = GroupSums(
            n_obs=n_obs,
            size=none,
            count=none,
            within_xx=x.T @ x,
            within_xy=x.T @ y,
            within_yy=np.einsum("nf,nf->f", y, y),
            between_xx=np.zeros((0, x.shape[1], x.shape[1])),
            between_xy=np.zeros((0, x.shape[1], y.shape[1])),
            between_yy=np.zeros((0, y.shape[1])),
        )
        empty = [np.zeros((0, *a.shape)) for a in (zz, zx, zy)]
        return TermSums(base, width, False, zz, zx, zy, *empty)

    base = group_sums(x, y, terms.inner)
    size = np.bincount(terms.inner)
    member = sparse.csr_array((np.ones(n_obs), (terms.inner, np.arange(n_obs))), shape=(size.size, n_obs))
    x_sum, y_sum = np.asarray(member @ x), np.asarray(member @ y)
    # Rows of the groups of one size, each divided by the root of that size.
    classes = [np.flatnonzero(size == n) for n in base.size]
    roots = [sparse.csr_array(member[i] @ z) / np.sqrt(n) for i, n in zip(classes, base.size, strict=True)]
    between_zz = np.stack([square(a.T @ a) for a in roots])
    between_zx = np.stack([tall(a.T @ x_sum[i]) / np.sqrt(size[i[0]]) for a, i in zip(roots, classes, strict=True)])
    between_zy = np.stack([tall(a.T @ y_sum[i]) / np.sqrt(size[i[0]]) for a, i in zip(roots, classes, strict=True)])
    return TermSums(
        base,
        width,
        True,
        zz - between_zz.sum(axis=0),
        zx - between_zx.sum(axis=0),
        zy - between_zy.sum(axis=0),
        between_zz,
        between_zx,
        between_zy,
    )


def saturated(sums: TermSums) -> NDArray[np.bool_]:
    """Say which features the fixed and random effects together explain entirely.

    Parameters
    ----------
    sums : TermSums
        The data, outcomes with a mean square of about one.

    Returns
    -------
    ndarray of bool, shape (n_features,)
        True where the residual variance would be zero, and the likelihood without bound.
    """
    base = sums.base
    inverse = np.linalg.pinv(sums.within_zz, rcond=RANK_TOLERANCE, hermitian=True)
    of_x, of_y = inverse @ sums.within_zx, inverse @ sums.within_zy
    xx = base.within_xx - np.einsum("jmp,jmq->pq", sums.within_zx, of_x)
    xy = base.within_xy - np.einsum("jmp,jmf->pf", sums.within_zx, of_y, optimize=True)
    yy = base.within_yy - np.einsum("jmf,jmf->f", sums.within_zy, of_y)
    left = yy - np.einsum("pf,pf->f", xy, np.linalg.pinv(xx, rcond=RANK_TOLERANCE, hermitian=True) @ xy)
    result: NDArray[np.bool_] = left <= SATURATED * base.n_obs
    return result
