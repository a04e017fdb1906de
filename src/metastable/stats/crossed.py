"""Mixed models with a second grouping factor or a random slope, of many features that share one design."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from metastable.stats.random_intercept import SINGULAR_THETA, GroupSums, group_sums
from metastable.stats.satterthwaite import CriterionFit

__all__ = ["SATURATED", "RandomTerms", "TermSums", "criterion_at", "fit_terms", "saturated", "term_sums"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Method = Literal["reml", "ml"]

# Eigenvalues below this part of the largest are zero.
RANK_TOLERANCE = 1e-9
# Mean square left by all effects, random ones taken as fixed, below which there is no residual variance.
SATURATED = 1e-12
MAX_STEPS = 100
# Curvature below minus this part of the largest is negative and not rounding, and how far to step along it.
NEGATIVE = 1e-5
ESCAPE = 0.1
# Relative rounding of the deviance.
ROUNDING = 1e-10
# Deviance that one more Newton step would gain; its root is the error in standard errors.
GAIN_TOLERANCE = 1e-14
# The same at the end, by an independent Hessian, for a fit to count as converged.
CONVERGED_GAIN = 1e-8
# Eigenvalues of the Hessian below this part of the largest are directions that the data say nothing on.
FLAT_DIRECTION = 1e-10
# Relative standard deviations of the random effects to start from, common to all features.
START = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, 1e3, 1e4)
# Blocks up to this size are inverted together, larger ones one by one by Cholesky's method.
SMALL_BLOCK = 16


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


@dataclass(frozen=True)
class _Expansion:
    """Parts of the deviance at one theta a feature, with their gradients."""

    logdet: Floats  # (n_features,)
    rss: Floats  # (n_features,)
    logdet_gradient: Floats  # (n_features, n_theta)
    rss_gradient: Floats  # (n_features, n_theta)
    beta: Floats  # (n_features, p)
    unscaled: Floats  # (n_features, p, p)
    unscaled_gradient: Floats  # (n_features, n_theta, p, p)

    def deviance(self, dof: int) -> Floats:
        """Profiled deviance without constants."""
        value: Floats = self.logdet + dof * np.log(self.rss)
        return value

    def gradient(self, dof: int) -> Floats:
        """Gradient of the profiled deviance by theta."""
        value: Floats = self.logdet_gradient + dof * self.rss_gradient / self.rss[:, None]
        return value


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


def fit_terms(sums: TermSums, *, method: Method = "reml") -> CriterionFit:
    """Fit ``y = X beta + Z b + u[inner] + e`` to every feature by REML or ML.

    The inner factor is eliminated group by group, the outer one through the Cholesky factor Lambda of its
    relative covariance (Bates, Maechler, Bolker & Walker 2015, Journal of Statistical Software 67(1), section
    3), and theta is found by Newton's method with an analytic gradient and its differences as Hessian. The
    deviance is even in every column of Lambda, so no bound is needed: a variance of zero is an ordinary
    minimum, and negative curvature is walked down, not up.

    Parameters
    ----------
    sums : TermSums
        The data.
    method : {"reml", "ml"}
        Criterion.

    Returns
    -------
    CriterionFit
        `theta` holds the inner factor's relative standard deviation, where there is one, then the lower
        triangle of Lambda by columns.
    """
    base = sums.base
    dof = base.n_obs - base.within_xx.shape[0] if method == "reml" else base.n_obs
    theta = _start(sums, dof, method)
    n_features = theta.shape[0]
    proposed, step = theta.copy(), np.zeros_like(theta)
    value = np.full(n_features, np.inf)
    done, trusted = np.zeros(n_features, dtype=np.bool_), np.zeros(n_features, dtype=np.bool_)
    iterations = np.zeros(n_features, dtype=np.int64)
    for _ in range(MAX_STEPS):
        rows = np.flatnonzero(~done)
        if rows.size == 0:
            break
        at = _expand(sums.features(rows), proposed[rows], method)
        found = at.deviance(dof)
        better = trusted[rows] | (found <= value[rows])
        worse = rows[~better]
        step[worse] *= 0.5
        proposed[worse] = theta[worse] + step[worse]

        rows, gradient = rows[better], at.gradient(dof)[better]
        if rows.size == 0:
            continue
        theta[rows], value[rows] = proposed[rows], found[better]
        hessian = _forward_hessian(sums.features(rows), theta[rows], gradient, dof, method)
        step[rows], gain, upright = _newton_step(gradient, hessian, theta[rows], _units(sums, theta[rows]))
        proposed[rows] = theta[rows] + step[rows]
        # Close to the minimum the deviance's own rounding hides whether it falls; Newton's step is then taken.
        trusted[rows] = upright & (gain < ROUNDING * (1.0 + np.abs(value[rows])))
        done[rows] = upright & (gain < GAIN_TOLERANCE)
        iterations[rows] += 1
    theta = np.where(done[:, None], proposed, theta)
    theta = _with_positive_diagonal(theta, sums)
    fit = criterion_at(sums, theta, method=method)
    return replace(fit, converged=fit.converged & done, iterations=iterations)


def criterion_at(
    sums: TermSums, theta: Floats, *, method: Method = "reml", tolerance: float = CONVERGED_GAIN
) -> CriterionFit:
    """Estimates and the deviance's expansion at given variance parameters.

    Parameters
    ----------
    sums : TermSums
        The data.
    theta : ndarray of float64, shape (n_features, n_theta)
        Relative variance parameters, in the order of `fit_terms`.
    method : {"reml", "ml"}
        Criterion.
    tolerance : float
        How far above its minimum the deviance may be, by its own curvature.

    Returns
    -------
    CriterionFit
        `converged` says whether theta is a minimum of the deviance.
    """
    base = sums.base
    dof = base.n_obs - base.within_xx.shape[0] if method == "reml" else base.n_obs
    at = _expand(sums, theta, method)
    sigma = np.sqrt(at.rss / dof)
    logdet_second, rss_second = _central_hessian(sums, theta, method)
    n_features, n_theta = theta.shape
    hessian = np.empty((n_features, n_theta + 1, n_theta + 1))
    hessian[:, :-1, :-1] = logdet_second + rss_second / sigma[:, None, None] ** 2
    hessian[:, :-1, -1] = hessian[:, -1, :-1] = -2.0 * at.rss_gradient / sigma[:, None] ** 3
    hessian[:, -1, -1] = 4.0 * dof / sigma**2

    # The profiled deviance's Hessian is the Schur complement of sigma's.
    cross = at.rss_gradient / at.rss[:, None]
    profiled = hessian[:, :-1, :-1] - dof * cross[:, :, None] * cross[:, None, :]
    _, gain, upright = _newton_step(at.gradient(dof), profiled, theta, _units(sums, theta))
    return CriterionFit(
        theta=theta,
        sigma=sigma,
        beta=at.beta,
        unscaled=at.unscaled,
        unscaled_gradient=at.unscaled_gradient,
        hessian=hessian,
        criterion=at.logdet + dof * (1.0 + np.log(2.0 * np.pi * sigma**2)),
        singular=np.any(theta[:, _diagonal(sums)] < SINGULAR_THETA, axis=1),
        converged=(gain < tolerance) & upright,
        iterations=np.zeros(n_features, dtype=np.int64),
    )


def _diagonal(sums: TermSums) -> list[int]:
    """Entries of theta that are standard deviations."""
    first = int(sums.has_inner)
    return [*range(first), first] + ([first + 2] if sums.width == 2 else [])


def _with_positive_diagonal(theta: Floats, sums: TermSums) -> Floats:
    """Flip the signs of whole columns of Lambda, which leaves the model as it is."""
    theta, first = theta.copy(), int(sums.has_inner)
    if sums.has_inner:
        theta[:, 0] = np.abs(theta[:, 0])
    if sums.width == 2:
        theta[:, first + 1] *= np.where(theta[:, first] < 0.0, -1.0, 1.0)
        theta[:, first + 2] = np.abs(theta[:, first + 2])
    theta[:, first] = np.abs(theta[:, first])
    return theta


def _factor(sums: TermSums, theta: Floats) -> Floats:
    """Lambda, the Cholesky factor of the outer effects' relative covariance; shape (..., width, width)."""
    first = int(sums.has_inner)
    if sums.width == 1:
        single: Floats = theta[..., first, None, None]
        return single
    a, b, c = (theta[..., first + j] for j in range(3))
    lower: Floats = np.stack([np.stack([a, np.zeros_like(a)], axis=-1), np.stack([b, c], axis=-1)], axis=-2)
    return lower


def _spread(factor: Floats, n_levels: int) -> Floats:
    """Put Lambda on the diagonal once for every level of a block."""
    if n_levels == 1:
        return factor
    width = factor.shape[-1]
    big: Floats = np.einsum("lm,...ab->...lamb", np.eye(n_levels), factor)
    return big.reshape(*factor.shape[:-2], n_levels * width, n_levels * width)


def _inverse_logdet(matrices: Floats) -> tuple[Floats, Floats]:
    """Inverse and log determinant of symmetric positive definite matrices, shape (..., size, size)."""
    size = matrices.shape[-1]
    inverse: Floats
    logdet: Floats
    if size == 1:
        inverse, logdet = 1.0 / matrices, np.log(matrices[..., 0, 0])
    elif size <= SMALL_BLOCK:
        inverse = np.asarray(np.linalg.inv(matrices), dtype=np.float64)
        logdet = np.linalg.slogdet(matrices)[1]
    else:
        inverse, logdet = np.empty_like(matrices), np.empty(matrices.shape[:-2])
        for i in np.ndindex(*matrices.shape[:-2]):
            factor, _ = linalg.lapack.dpotrf(matrices[i], lower=True)
            logdet[i] = 2.0 * np.log(np.diag(factor)).sum()
            # Only the lower triangle is computed; the other one stays zero.
            lower, _ = linalg.lapack.dpotri(factor, lower=True)
            inverse[i] = lower + lower.T
            inverse[i][np.diag_indices(size)] *= 0.5
    return inverse, logdet


def _deviance_at(sums: TermSums, theta: Floats, dof: int, method: Method) -> Floats:
    """Profiled deviance of every feature, without constants, at one theta for all."""
    base = sums.base
    weight = 1.0 / (1.0 + base.size * (theta[0] ** 2 if sums.has_inner else 0.0))
    zz = sums.within_zz + np.tensordot(weight, sums.between_zz, 1)
    za = np.concatenate(
        [
            sums.within_zx + np.tensordot(weight, sums.between_zx, 1),
            sums.within_zy + np.tensordot(weight, sums.between_zy, 1),
        ],
        axis=2,
    )
    xx = base.within_xx + np.tensordot(weight, base.between_xx, 1)
    xy = base.within_xy + np.tensordot(weight, base.between_xy, 1)
    yy = base.within_yy + weight @ base.between_yy

    size, p = zz.shape[-1], xx.shape[0]
    factor = _spread(_factor(sums, theta), size // sums.width)
    inverse, block_logdet = _inverse_logdet(np.eye(size) + factor.T @ zz @ factor)
    half = factor.T @ za
    solved = inverse @ half
    xx = xx - np.einsum("jmp,jmq->pq", half[..., :p], solved[..., :p])
    xy = xy - np.einsum("jmp,jmf->pf", half[..., :p], solved[..., p:], optimize=True)
    yy = yy - np.einsum("jmf,jmf->f", half[..., p:], solved[..., p:])
    rss = yy - np.einsum("pf,pf->f", xy, np.linalg.solve(xx, xy))
    logdet = float(block_logdet.sum() - base.count @ np.log(weight))
    if method == "reml":
        logdet += float(np.linalg.slogdet(xx)[1])
    # Rounding can take a residual that is nothing below nothing.
    deviance: Floats = logdet + dof * np.log(np.maximum(rss, np.finfo(np.float64).tiny))
    return deviance


def _start(sums: TermSums, dof: int, method: Method) -> Floats:
    """Best point of a coarse grid for each feature."""
    first = int(sums.has_inner)
    points = []
    for inner in START if sums.has_inner else (0.0,):
        for outer in START:
            point = np.zeros(first + sums.width * (sums.width + 1) // 2)
            point[:first] = inner
            point[[i for i in _diagonal(sums) if i >= first]] = outer
            points.append(point)
    deviance = np.stack([_deviance_at(sums, point, dof, method) for point in points])
    start: Floats = np.stack(points)[deviance.argmin(axis=0)]
    return start


def _units(sums: TermSums, theta: Floats) -> Floats:
    """Size that each entry of theta has by nature: its own, its variance's, that of what it competes with."""
    first = int(sums.has_inner)
    unit = np.maximum(np.abs(theta), 1.0)
    if sums.width == 2:
        unit[:, first + 1 :] = np.linalg.norm(unit[:, first + 1 :], axis=1, keepdims=True)
    if sums.has_inner:
        unit[:, 1:] = np.maximum(unit[:, 1:], unit[:, :1])
    return unit


def _newton_step(
    gradient: Floats, hessian: Floats, theta: Floats, unit: Floats
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Step down the deviance, twice the gain that it promises, and whether all curvature is positive.

    Negative curvature counts as positive, and where it does the step is not short: on a symmetry axis such as
    a variance of zero the gradient vanishes however steep the descent beside it.
    """
    values, vectors = np.linalg.eigh(hessian * unit[:, :, None] * unit[:, None, :])
    largest = np.abs(values).max(axis=1, keepdims=True) + np.finfo(np.float64).tiny
    size = np.maximum(np.abs(values), FLAT_DIRECTION * largest)
    along = -np.einsum("fij,fi->fj", vectors, gradient * unit)
    step = along / size
    falling = values < -NEGATIVE * largest
    step = np.where(falling & (np.abs(step) < ESCAPE), np.copysign(ESCAPE, step), step)
    gain = np.sum(along**2 / size, axis=1)
    step = np.einsum("fij,fj->fi", vectors, step) * unit
    longest = 0.5 + 2.0 * np.linalg.norm(theta, axis=1)
    length = np.linalg.norm(step, axis=1)
    shorter: Floats = step * (longest / np.maximum(length, longest))[:, None]
    return shorter, gain, ~falling.any(axis=1)


def _forward_hessian(sums: TermSums, theta: Floats, gradient: Floats, dof: int, method: Method) -> Floats:
    """Hessian of the profiled deviance by forward differences of its gradient: good enough to walk by."""
    hessian = np.empty((*theta.shape, theta.shape[1]))
    for j in range(theta.shape[1]):
        h = 1e-6 * np.maximum(np.abs(theta[:, j]), 0.1)
        moved = theta.copy()
        moved[:, j] += h
        hessian[:, j] = (_expand(sums, moved, method).gradient(dof) - gradient) / h[:, None]
    return 0.5 * (hessian + np.swapaxes(hessian, 1, 2))


def _central_hessian(sums: TermSums, theta: Floats, method: Method) -> tuple[Floats, Floats]:
    """Hessians of the log determinants and of the residual sum of squares, by fourth-order differences."""
    n_theta = theta.shape[1]
    second = np.zeros((2, theta.shape[0], n_theta, n_theta))
    for j in range(n_theta):
        h = 1e-3 * np.maximum(np.abs(theta[:, j]), 0.1)
        for multiple, weight in ((-2, 1.0), (-1, -8.0), (1, 8.0), (2, -1.0)):
            moved = theta.copy()
            moved[:, j] += multiple * h
            at = _expand(sums, moved, method)
            second[0, :, j] += weight / (12.0 * h)[:, None] * at.logdet_gradient
            second[1, :, j] += weight / (12.0 * h)[:, None] * at.rss_gradient
    second = 0.5 * (second + np.swapaxes(second, 2, 3))
    return second[0], second[1]


def _combine(weights: Floats, matrices: Floats) -> Floats:
    """Sum over classes of matrices that all features share; shape (n_features, ...)."""
    return np.tensordot(weights, matrices, 1)


def _expand(sums: TermSums, theta: Floats, method: Method) -> _Expansion:
    """Evaluate the deviance's parts and their gradients, each feature at its own theta."""
    base, width = sums.base, sums.width
    n_features, p = theta.shape[0], base.within_xx.shape[0]
    ratio = theta[:, 0] ** 2 if sums.has_inner else np.zeros(n_features)
    weight = 1.0 / (1.0 + ratio[:, None] * base.size)
    parts = _weighted(sums, weight)
    zz, zx, zy = _combine(weight, sums.between_zz) + sums.within_zz, parts[0], parts[1]
    size = zz.shape[-1]
    n_levels = size // width

    factor = _factor(sums, theta)
    if width == 1:
        system = factor[:, None] ** 2 * zz
        big = factor[:, None]
    else:
        big = _spread(factor, n_levels)[:, None]
        system = np.swapaxes(big, -1, -2) @ zz @ big
    system[..., np.arange(size), np.arange(size)] += 1.0
    inverse, block_logdet = _inverse_logdet(system)
    half = inverse * big if width == 1 else inverse @ np.swapaxes(big, -1, -2)
    kernel = half * big if width == 1 else big @ half

    solved_x, solved_y = kernel @ zx, kernel @ zy
    xx = parts[2] - np.einsum("fjmp,fjmq->fpq", zx, solved_x, optimize=True)
    xy = parts[3] - np.einsum("fjmp,fjmq->fp", zx, solved_y, optimize=True)
    yy = parts[4] - np.einsum("fjmq,fjmq->f", zy, solved_y)
    unscaled = np.linalg.inv(xx)
    beta = np.einsum("fpq,fq->fp", unscaled, xy)
    rss = yy - np.einsum("fp,fp->f", xy, beta)
    logdet = block_logdet.sum(axis=1) - np.log(weight) @ base.count
    if method == "reml":
        logdet = logdet + np.linalg.slogdet(xx)[1]

    # Z'V^-1 X, and Z'V^-1 of the residual, level by level.
    of_x = (zx - zz @ solved_x).reshape(n_features, -1, width, p)
    of_r = (zy - zz @ solved_y).reshape(n_features, -1, width) - np.einsum("flap,fp->fla", of_x, beta)
    half_levels = half.reshape(n_features, -1, n_levels, width, size)
    zz_levels = zz.reshape(n_features, -1, n_levels, width, size)
    slope = np.einsum("fjlbx,fjlax->fab", half_levels, zz_levels)
    if method == "reml":
        slope -= np.einsum("flap,fpq,flcq,fcb->fab", of_x, unscaled, of_x, factor, optimize=True)
    rss_slope = -np.einsum("fla,flc,fcb->fab", of_r, of_r, factor, optimize=True)
    # Moving entry (a, b) of Lambda moves X'V^-1 X by this and its transpose, down.
    shift = np.einsum("flap,flcq,fcb->fabpq", of_x, of_x, factor, optimize=True)
    rows = [a for b in range(width) for a in range(b, width)]
    columns = [b for b in range(width) for _ in range(b, width)]
    logdet_gradient = 2.0 * slope[:, rows, columns]
    rss_gradient = 2.0 * rss_slope[:, rows, columns]
    both = shift[:, rows, columns] + np.swapaxes(shift[:, rows, columns], -1, -2)
    unscaled_gradient = unscaled[:, None] @ both @ unscaled[:, None]
    if sums.has_inner:
        along = _along_inner(sums, theta[:, 0], weight, kernel, solved_x, solved_y, beta, unscaled, method)
        logdet_gradient = np.concatenate([along[0][:, None], logdet_gradient], axis=1)
        rss_gradient = np.concatenate([along[1][:, None], rss_gradient], axis=1)
        unscaled_gradient = np.concatenate([along[2][:, None], unscaled_gradient], axis=1)
    return _Expansion(logdet, rss, logdet_gradient, rss_gradient, beta, unscaled, unscaled_gradient)


def _weighted(sums: TermSums, weight: Floats, *, within: bool = True) -> tuple[Floats, ...]:
    """Weighted cross-products of Z with X, Z with y, and among X and y, a set for each feature."""
    base, keep = sums.base, float(within)
    zx = _combine(weight, sums.between_zx) + keep * sums.within_zx
    zy = np.einsum("fc,cjmf->fjm", weight, sums.between_zy) + keep * np.moveaxis(sums.within_zy, -1, 0)
    xx = _combine(weight, base.between_xx) + keep * base.within_xx
    xy = np.einsum("fc,cpf->fp", weight, base.between_xy) + keep * base.within_xy.T
    yy = np.einsum("fc,cf->f", weight, base.between_yy) + keep * base.within_yy
    return zx, zy[..., None], xx, xy, yy


def _along_inner(
    sums: TermSums,
    theta: Floats,
    weight: Floats,
    kernel: Floats,
    solved_x: Floats,
    solved_y: Floats,
    beta: Floats,
    unscaled: Floats,
    method: Method,
) -> tuple[Floats, Floats, Floats]:
    """Differentiate log determinants, residual and `unscaled` by the inner factor's theta."""
    base = sums.base
    change = -2.0 * theta[:, None] * base.size * weight**2
    zz = _combine(change, sums.between_zz)
    zx, zy, xx, xy, yy = _weighted(sums, change, within=False)
    # With K Z'V1^-1 A = S, the Schur complement moves by dAA - dZA'S - S'dZA + S'dZZ S.
    pull_x, pull_y = zx - zz @ solved_x, zy - zz @ solved_y
    xx = xx - _inner(zx, solved_x) - _inner(solved_x, pull_x)
    xy = xy - (_inner(zx, solved_y) + _inner(solved_x, pull_y))[..., 0]
    yy = yy - (_inner(zy, solved_y) + _inner(solved_y, pull_y))[..., 0, 0]
    logdet = np.einsum("fjmn,fjmn->f", kernel, zz) + 2.0 * theta * (weight @ (base.count * base.size))
    if method == "reml":
        logdet = logdet + np.einsum("fpq,fqp->f", unscaled, xx)
    rss = yy - 2.0 * np.einsum("fp,fp->f", beta, xy) + np.einsum("fp,fpq,fq->f", beta, xx, beta)
    return logdet, rss, -unscaled @ xx @ unscaled


def _inner(a: Floats, b: Floats) -> Floats:
    """Sum over blocks of a'b."""
    product: Floats = np.einsum("fjmp,fjmq->fpq", a, b, optimize=True)
    return product
