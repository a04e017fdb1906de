"""Mixed models with two grouping factors, each with an intercept or an intercept and a slope, for many features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from metastable.stats.mixed_models.crossed import newton_step
from metastable.stats.mixed_models.random_intercept import SINGULAR_THETA
from metastable.stats.mixed_models.satterthwaite import CriterionFit
from metastable.stats.mixed_models.term_deviance import ROOT, TRIANGLE, Expansion, inverse_logdet

__all__ = ["Factor", "TwoFactorSums", "fit_two_factors", "two_factor_sums"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MAX_STEPS = 60
# Relative rounding of the deviance; deviance that a last step may gain; the same for a fit that counts as converged.
ROUNDING = 1e-10
GAIN_TOLERANCE = 1e-12
CONVERGED_GAIN = 1e-6
# Relative standard deviations of the random effects to start from, common to all features.
START = (0.03, 0.2, 0.7, 2.5, 10.0)
# Off the diagonal of a start's symmetric root, relative to the diagonal, where intercepts and slopes are correlated.
LEANING = 0.7
# Up to this many rows, less the fixed effects, a fit is begun at several points.
FEW_ROWS = 500
# A relative standard deviation above this is one of a residual that vanishes.
LARGEST_THETA = 1e6
# Floats of the largest array of one batch of features.
BATCH_FLOATS = 2**23
NO_BASIS = np.zeros((0, 0, 0))


@dataclass(frozen=True)
class Factor:
    """A grouping factor.

    Attributes
    ----------
    codes : ndarray of int64, shape (n_obs,)
        Level of each row, from 0, all in use.
    width : {0, 1, 2}
        Random effects of each level: none, an intercept, or an intercept and a slope that go together.
    """

    codes: Ints
    width: int

    @property
    def n_levels(self) -> int:
        """Number of levels."""
        return int(self.codes.max()) + 1

    def columns(self, slope: Floats) -> sparse.csr_array:
        """Columns Z of the random effects, level by level.

        Parameters
        ----------
        slope : ndarray of float64, shape (n_obs,)
            Covariate of the slope.

        Returns
        -------
        scipy.sparse.csr_array, shape (n_obs, n_levels * width)
            Z.
        """
        n_obs, width = self.codes.size, self.width
        values = np.column_stack([np.ones(n_obs), slope])[:, :width]
        index = self.codes[:, None] * width + np.arange(width)
        rows = np.repeat(np.arange(n_obs), width)
        return sparse.csr_array((values.ravel(), (rows, index.ravel())), shape=(n_obs, self.n_levels * width))


@dataclass(frozen=True)
class TwoFactorSums:
    """Cross-products of design X, outcomes y and the random effects' columns of two factors.

    The first factor, e, is eliminated level by level; the second, s, is then solved for.

    Attributes
    ----------
    n_obs : int
        Rows.
    widths : tuple of int
        Random effects of each level of e and of s.
    ee : ndarray of float64, shape (n_levels_e, width_e, width_e)
        Of e with itself, a block a level.
    es : ndarray of float64, shape (n_levels_e, width_e, n_levels_s * width_s)
        Of e with s.
    ss : ndarray of float64, shape (n_levels_s * width_s, n_levels_s * width_s)
        Of s with itself.
    ex, ey : ndarray of float64, shape (n_levels_e, width_e, p) and (n_levels_e, width_e, n_features)
        Of e with design and outcomes.
    sx, sy : ndarray of float64, shape (n_levels_s * width_s, p) and (n_levels_s * width_s, n_features)
        Of s with design and outcomes.
    xx, xy, yy : ndarray of float64, shape (p, p), (p, n_features), (n_features,)
        Of design and outcomes.
    """

    n_obs: int
    widths: tuple[int, int]
    ee: Floats
    es: Floats
    ss: Floats
    ex: Floats
    ey: Floats
    sx: Floats
    sy: Floats
    xx: Floats
    xy: Floats
    yy: Floats

    @property
    def n_theta(self) -> tuple[int, int]:
        """Variance parameters of e and of s."""
        return (_n_theta(self.widths[0]), _n_theta(self.widths[1]))

    @property
    def dof(self) -> int:
        """Rows less columns of the design."""
        return self.n_obs - int(self.xx.shape[0])

    def features(self, index: Ints) -> TwoFactorSums:
        """Keep some of the features.

        Parameters
        ----------
        index : ndarray of int64
            Which features.

        Returns
        -------
        TwoFactorSums
            Theirs, in that order.
        """
        return replace(self, ey=self.ey[..., index], sy=self.sy[..., index], xy=self.xy[..., index], yy=self.yy[index])


def _n_theta(width: int) -> int:
    return width * (width + 1) // 2


def two_factor_sums(x: Floats, y: Floats, slope: Floats, first: Factor, second: Factor) -> TwoFactorSums:
    """Reduce the rows to cross-products.

    Parameters
    ----------
    x : ndarray of float64, shape (n_obs, p)
        Design, for numerical safety with orthonormal columns.
    y : ndarray of float64, shape (n_obs, n_features)
        Outcomes, best as residuals of a regression on `x`, with a mean square of about one.
    slope : ndarray of float64, shape (n_obs,)
        Covariate of the slopes.
    first, second : Factor
        The factors; the first should have more levels, for it costs less.

    Returns
    -------
    TwoFactorSums
    """
    ze, zs = first.columns(slope), second.columns(slope)
    levels, width = first.n_levels, first.width
    ee = np.zeros((levels, width, width))
    entries = sparse.coo_array(ze.T @ ze)
    ee[entries.row // max(width, 1), entries.row % max(width, 1), entries.col % max(width, 1)] = entries.data

    def by_level(matrix: Floats) -> Floats:
        return np.asarray(matrix, dtype=np.float64).reshape(levels, width, matrix.shape[1])

    return TwoFactorSums(
        n_obs=x.shape[0],
        widths=(width, second.width),
        ee=ee,
        es=by_level((ze.T @ zs).toarray()),
        ss=(zs.T @ zs).toarray(),
        ex=by_level(ze.T @ x),
        ey=by_level(ze.T @ y),
        sx=np.asarray(zs.T @ x),
        sy=np.asarray(zs.T @ y),
        xx=x.T @ x,
        xy=x.T @ y,
        yy=np.einsum("nf,nf->f", y, y),
    )


Bases = dict[int, Floats]


def _factors(sums: TwoFactorSums, theta: Floats, bases: Bases) -> tuple[Floats, Floats]:
    """Lambda of either factor, shape (n_features, width, width)."""
    cut = sums.n_theta[0]
    made = []
    for width, part in zip(sums.widths, (theta[:, :cut], theta[:, cut:]), strict=True):
        basis = bases[width] if width else NO_BASIS
        made.append(np.einsum("fj,jab->fab", part, basis))
    return made[0], made[1]


def _times(matrix: Floats, factor: Floats) -> Floats:
    """Multiply the columns, level by level, by Lambda: (n, m, levels * width) with (n, width, width)."""
    n, rows, size = matrix.shape
    width = factor.shape[-1]
    if width < 2:
        return matrix * factor if width else matrix
    product: Floats = (matrix.reshape(n, rows * (size // width), width) @ factor).reshape(n, rows, size)
    return product


def _around(matrix: Floats, factor: Floats) -> Floats:
    """Lambda' M Lambda of a symmetric M."""
    return _times(np.swapaxes(_times(matrix, factor), 1, 2), factor)


@dataclass(frozen=True)
class _Solved:
    """Log determinant of V, the covariance over the residual variance, and cross-products through its inverse.

    `kernel_e` and `kernel_s` are Lambda (I + Lambda' N Lambda)^-1 Lambda' of e, and of s once e is eliminated;
    `rest` is I - N kernel_e. Products named e and s have e eliminated but not s, the others both.
    """

    logdet: Floats
    kernel_e: Floats
    kernel_s: Floats
    rest: Floats
    ss: Floats
    sx: Floats
    sy: Floats
    solved_x: Floats
    solved_y: Floats
    xx: Floats
    xy: Floats
    yy: Floats


def _solve(sums: TwoFactorSums, factors: tuple[Floats, Floats], ey: Floats, sy: Floats, xy: Floats) -> _Solved:
    """Eliminate e, then s; outcomes of shape (n or 1, levels, width, m) and so on, `yy` without its first part."""
    factor_e, factor_s = factors
    n, (levels, we) = factor_e.shape[0], sums.ee.shape[:2]
    size = sums.ss.shape[0]

    def flat(array: Floats) -> Floats:
        return array.reshape(*array.shape[:-3], levels * we, array.shape[-1])

    lam = factor_e[:, None]
    system = np.eye(we) + np.swapaxes(lam, -1, -2) @ sums.ee @ lam
    inverse, logdet = inverse_logdet(system) if we else (system, np.zeros((n, levels)))
    kernel_e = lam @ inverse @ np.swapaxes(lam, -1, -2)
    kernel_y = kernel_e @ ey
    es, ex = flat(sums.es), flat(sums.ex)
    ss = sums.ss - es.T @ flat(kernel_e @ sums.es)
    sx = sums.sx - es.T @ flat(kernel_e @ sums.ex)
    sy = sy - es.T @ flat(kernel_y)
    xx = sums.xx - ex.T @ flat(kernel_e @ sums.ex)
    xy = xy - ex.T @ flat(kernel_y)
    inverse_s, logdet_s = inverse_logdet(np.eye(size) + _around(ss, factor_s))
    kernel_s = _around(inverse_s, np.swapaxes(factor_s, 1, 2))
    solved_x, solved_y = kernel_s @ sx, kernel_s @ sy
    return _Solved(
        logdet=logdet.sum(axis=1) + logdet_s,
        kernel_e=kernel_e,
        kernel_s=kernel_s,
        rest=np.eye(we) - sums.ee @ kernel_e,
        ss=ss,
        sx=sx,
        sy=sy,
        solved_x=solved_x,
        solved_y=solved_y,
        xx=xx - np.swapaxes(sx, 1, 2) @ solved_x,
        xy=xy - np.swapaxes(sx, 1, 2) @ solved_y,
        yy=-np.einsum("flam,flam->fm", np.broadcast_to(ey, kernel_y.shape), kernel_y)
        - np.einsum("fsm,fsm->fm", np.broadcast_to(sy, solved_y.shape), solved_y),
    )


def _common_deviance(sums: TwoFactorSums, theta: Floats) -> Floats:
    """Deviance of every feature at one theta for all."""
    at = _solve(sums, _factors(sums, theta[None], ROOT), sums.ey, sums.sy, sums.xy)
    explained = np.einsum("pf,pf->f", at.xy[0], np.linalg.solve(at.xx[0], at.xy[0]))
    rss = np.maximum(sums.yy + at.yy[0] - explained, np.finfo(np.float64).tiny)
    value: Floats = at.logdet[0] + np.linalg.slogdet(at.xx[0])[1] + sums.dof * np.log(rss)
    return value


def _expand(sums: TwoFactorSums, theta: Floats, bases: Bases) -> Expansion:
    """Parts of the REML deviance and their gradients, each feature at its own theta."""
    factors = _factors(sums, theta, bases)
    ey = np.moveaxis(sums.ey, -1, 0)[..., None]
    at = _solve(sums, factors, ey, sums.sy.T[..., None], sums.xy.T[..., None])
    (n, p), (levels, we), ws = at.xx.shape[:2], sums.ee.shape[:2], sums.widths[1]
    n_s = sums.ss.shape[0] // max(ws, 1)
    unscaled: Floats = np.asarray(np.linalg.inv(at.xx), dtype=np.float64)
    beta = (unscaled @ at.xy)[..., 0]
    rss = sums.yy + at.yy[:, 0] - np.einsum("fp,fp->f", beta, at.xy[..., 0])
    logdet = at.logdet + np.linalg.slogdet(at.xx)[1]

    # Z'V^-1 Z level by level, Z'V^-1 X, and Z'V^-1 of the residual, of s and of e.
    through = at.ss @ at.kernel_s
    size = at.ss.shape[1]
    own = (at.ss - through @ at.ss).reshape(n, n_s, ws, n_s, ws)
    of_s = (
        np.einsum("flalb->flab", own),
        (at.sx - at.ss @ at.solved_x).reshape(n, n_s, ws, p),
        (at.sy - at.ss @ at.solved_y).reshape(n, n_s, ws),
    )
    rest = at.rest
    joint = (rest @ sums.es).reshape(n, levels * we, size)
    through_s = joint @ at.kernel_s
    across, inner = joint.reshape(n, levels, we, size), through_s.reshape(n, levels, we, size)
    of_e = (
        rest @ sums.ee - inner @ np.swapaxes(across, -1, -2),
        rest @ sums.ex - (through_s @ at.sx).reshape(n, levels, we, p),
        (rest @ ey)[..., 0] - (through_s @ at.sy).reshape(n, levels, we),
    )
    gradients = [
        _along(products, factor, bases[width], beta, unscaled)
        for products, factor, width in zip((of_e, of_s), factors, sums.widths, strict=True)
        if width
    ]
    joined = [np.concatenate(parts, axis=1) for parts in zip(*gradients, strict=True)]
    return Expansion(logdet, rss, joined[0], joined[1], beta, unscaled, joined[2])


def _along(
    products: tuple[Floats, Floats, Floats], factor: Floats, basis: Floats, beta: Floats, unscaled: Floats
) -> tuple[Floats, Floats, Floats]:
    """Differentiate log determinants, residual and `unscaled` by one factor's theta."""
    own, of_x, of_y = products
    of_r = of_y - np.einsum("flap,fp->fla", of_x, beta)
    slope = own.sum(axis=1) @ factor
    slope -= np.einsum("flap,fpq,flcq->fac", of_x, unscaled, of_x, optimize=True) @ factor
    rss_slope = -np.einsum("fla,flc->fac", of_r, of_r) @ factor
    # Moving entry (a, b) of Lambda moves X'V^-1 X by this and its transpose, down.
    shift = np.einsum("flap,flcq,fcb->fabpq", of_x, of_x, factor, optimize=True)
    moved = np.einsum("fabpq,jab->fjpq", shift, basis)
    both = moved + np.swapaxes(moved, -1, -2)
    return (
        2.0 * np.einsum("fab,jab->fj", slope, basis),
        2.0 * np.einsum("fab,jab->fj", rss_slope, basis),
        unscaled[:, None] @ both @ unscaled[:, None],
    )


def fit_two_factors(sums: TwoFactorSums) -> CriterionFit:
    """Fit ``y = X beta + Z_e b + Z_s c + error`` to every feature by REML.

    The first factor is eliminated level by level, the second through a square root of its relative covariance
    (Bates, Maechler, Bolker & Walker 2015, Journal of Statistical Software 67(1), section 3). The optimum is
    found by Newton's method in symmetric roots, for which a variance of zero is an ordinary minimum.

    Parameters
    ----------
    sums : TwoFactorSums
        The data; at least one factor has random effects.

    Returns
    -------
    CriterionFit
        `theta` holds the lower triangle of the first factor's Lambda by columns, then the second's.
    """
    n_features = sums.yy.size
    grid = [
        np.concatenate(point)
        for point in product(*([_diagonal_point(w, s) for s in START] if w else [np.zeros(0)] for w in sums.widths))
    ]
    if n_features == 0:
        return _described(sums, np.zeros((0, sum(sums.n_theta))), np.zeros(0, dtype=np.int64))
    deviance = np.stack([_common_deviance(sums, point) for point in grid])
    points = np.stack(grid)
    parts = []
    for rows in _batches(sums, n_features):
        mine = sums.features(rows)
        found = [_descend(mine, start) for start in _starts(points, deviance[:, rows], sums)]
        ends = np.stack([_expand(mine, theta, ROOT).deviance(sums.dof) for theta, _ in found])
        lowest, column = ends.argmin(axis=0), np.arange(len(rows))
        theta, iterations = (np.stack(part)[lowest, column] for part in zip(*found, strict=True))
        parts.append(_described(mine, theta, iterations))
    return CriterionFit(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in CriterionFit.__dataclass_fields__)
    )


def _starts(points: Floats, deviance: Floats, sums: TwoFactorSums) -> list[Floats]:
    """Return where to start from for every feature, once or several times, each of shape (n_features, n_theta).

    Of few rows the criterion can have several minima: with hardly any variance of a factor, or with intercepts and
    slopes that go along with each other or against each other. The best points of the grid of each of these kinds are
    then started from as well.
    """
    best = points[deviance.argmin(axis=0)]
    if sums.dof > FEW_ROWS:
        return [best]
    starts, cut, least = [best], sums.n_theta[0], START[0]
    for part in (points[:, :cut], points[:, cut:]):
        little = np.flatnonzero(part.max(axis=1, initial=0.0) == least)
        if part.shape[1] and len(little) < len(points):
            starts.append(points[little[deviance[little].argmin(axis=0)]])
    # the element off the diagonal of a symmetric root
    off = [first + 1 for first, width in zip((0, cut), sums.widths, strict=True) if width == 2]
    for signs in product((-1.0, 1.0), repeat=len(off)) if off else ():
        leaning = best.copy()
        for place, sign in zip(off, signs, strict=True):
            leaning[:, place] = sign * LEANING * leaning[:, place - 1]
        starts.append(leaning)
    return starts


def _diagonal_point(width: int, size: float) -> Floats:
    return np.array([size]) if width == 1 else np.array([size, 0.0, size])


def _batches(sums: TwoFactorSums, n_features: int) -> list[Ints]:
    largest = max(sums.es.size, sums.ss.size, 1)
    step = int(np.clip(BATCH_FLOATS // largest, 1, 256))
    return [np.arange(first, min(first + step, n_features)) for first in range(0, n_features, step)]


def _descend(sums: TwoFactorSums, theta: Floats) -> tuple[Floats, Ints]:
    """Newton's method with an analytic gradient and its differences as Hessian; symmetric roots in and out."""
    theta, dof = theta.copy(), sums.dof
    proposed, step = theta.copy(), np.zeros_like(theta)
    n_features = theta.shape[0]
    value = np.full(n_features, np.inf)
    done, trusted = np.zeros(n_features, dtype=np.bool_), np.zeros(n_features, dtype=np.bool_)
    iterations = np.zeros(n_features, dtype=np.int64)
    for _ in range(MAX_STEPS):
        rows = np.flatnonzero(~done)
        if rows.size == 0:
            break
        at = _expand(sums.features(rows), proposed[rows], ROOT)
        found = at.deviance(dof)
        better = trusted[rows] | (found <= value[rows])
        worse = rows[~better]
        step[worse] *= 0.5
        proposed[worse] = theta[worse] + step[worse]
        rows, gradient = rows[better], at.gradient(dof)[better]
        if rows.size == 0:
            continue
        theta[rows], value[rows] = proposed[rows], found[better]
        hessian = _forward_hessian(sums.features(rows), theta[rows], gradient)
        step[rows], gain, upright = newton_step(gradient, hessian, theta[rows], np.maximum(np.abs(theta[rows]), 1.0))
        proposed[rows] = theta[rows] + step[rows]
        # Close to the minimum the deviance's own rounding hides whether it falls; Newton's step is then taken.
        trusted[rows] = upright & (gain < ROUNDING * (1.0 + np.abs(value[rows])))
        runaway = np.abs(theta[rows]).max(axis=1) > LARGEST_THETA
        done[rows] = (upright & (gain < GAIN_TOLERANCE)) | runaway
        iterations[rows] += 1
    return np.where(done[:, None], proposed, theta), iterations


def _forward_hessian(sums: TwoFactorSums, theta: Floats, gradient: Floats) -> Floats:
    """Hessian of the profiled deviance by forward differences of its gradient: good enough to walk by."""
    hessian = np.empty((*theta.shape, theta.shape[1]))
    for j in range(theta.shape[1]):
        h = 1e-6 * np.maximum(np.abs(theta[:, j]), 0.1)
        moved = theta.copy()
        moved[:, j] += h
        hessian[:, j] = (_expand(sums, moved, ROOT).gradient(sums.dof) - gradient) / h[:, None]
    return 0.5 * (hessian + np.swapaxes(hessian, 1, 2))


def _described(sums: TwoFactorSums, root: Floats, iterations: Ints) -> CriterionFit:
    """Estimates and the deviance's expansion where the search ended, in lower triangles as lme4 has them."""
    cut = sums.n_theta[0]
    theta = np.concatenate([_triangle(root[:, :cut], sums.widths[0]), _triangle(root[:, cut:], sums.widths[1])], axis=1)
    (n_features, n_theta), dof = theta.shape, sums.dof
    at = _expand(sums, theta, TRIANGLE)
    sigma = np.sqrt(np.maximum(at.rss, 0.0) / dof)
    second = np.zeros((2, n_features, n_theta, n_theta))
    for j in range(n_theta):
        h = 1e-3 * np.maximum(np.abs(theta[:, j]), 0.1)
        for multiple, weight in ((-2, 1.0), (-1, -8.0), (1, 8.0), (2, -1.0)):
            moved = theta.copy()
            moved[:, j] += multiple * h
            beside = _expand(sums, moved, TRIANGLE)
            second[0, :, j] += weight / (12.0 * h)[:, None] * beside.logdet_gradient
            second[1, :, j] += weight / (12.0 * h)[:, None] * beside.rss_gradient
    second = 0.5 * (second + np.swapaxes(second, 2, 3))
    hessian = np.empty((n_features, n_theta + 1, n_theta + 1))
    hessian[:, :-1, :-1] = second[0] + second[1] / sigma[:, None, None] ** 2
    hessian[:, :-1, -1] = hessian[:, -1, :-1] = -2.0 * at.rss_gradient / sigma[:, None] ** 3
    hessian[:, -1, -1] = 4.0 * dof / sigma**2
    # The profiled deviance's Hessian is the Schur complement of sigma's.
    cross = at.rss_gradient / at.rss[:, None]
    profiled = hessian[:, :-1, :-1] - dof * cross[:, :, None] * cross[:, None, :]
    _, gain, upright = newton_step(at.gradient(dof), profiled, theta, np.maximum(np.abs(theta), 1.0))
    diagonal = [0, 2][: sums.widths[0]] + [cut + place for place in [0, 2][: sums.widths[1]]]
    return CriterionFit(
        theta=theta,
        sigma=sigma,
        beta=at.beta,
        unscaled=at.unscaled,
        unscaled_gradient=at.unscaled_gradient,
        hessian=hessian,
        criterion=at.logdet + dof * (1.0 + np.log(2.0 * np.pi * sigma**2)),
        singular=np.any(theta[:, diagonal] < SINGULAR_THETA, axis=1),
        converged=(gain < CONVERGED_GAIN) & upright & (np.abs(theta).max(axis=1) < LARGEST_THETA),
        iterations=iterations,
    )


def _triangle(root: Floats, width: int) -> Floats:
    """Turn symmetric roots into lower triangles with a diagonal that is not negative."""
    if width < 2:
        return np.abs(root)
    a, b, c = root.T
    intercept, slope = np.hypot(a, b), np.hypot(b, c)
    # Without an intercept's variance there is nothing for the slope to go along with.
    alone = intercept < np.finfo(np.float64).tiny
    divisor = np.where(alone, 1.0, intercept)
    along = np.where(alone, 0.0, b * (a + c) / divisor)
    apart = np.where(alone, slope, np.abs(a * c - b**2) / divisor)
    return np.column_stack([intercept, along, apart])
