"""The deviance of models with a second factor or a slope, with its gradient, for many features at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from metastable.stats.mixed_models.random_terms import TermSums

__all__ = ["ROOT", "TRIANGLE", "Expansion", "common_deviance", "expand", "inverse_logdet", "outer_factor"]

Floats = NDArray[np.float64]
Method = Literal["reml", "ml"]

# What theta multiplies to give Lambda: entries of a lower triangle, or of a symmetric matrix.
TRIANGLE = {
    1: np.ones((1, 1, 1)),
    2: np.array([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]]),
}
ROOT = {1: TRIANGLE[1], 2: np.maximum(TRIANGLE[2], np.swapaxes(TRIANGLE[2], 1, 2))}
# Blocks up to this size are inverted together, larger ones one by one by Cholesky's method.
SMALL_BLOCK = 16


@dataclass(frozen=True)
class Expansion:
    """Parts of the deviance at one theta a feature, with their gradients.

    Attributes
    ----------
    logdet, rss : ndarray of float64, shape (n_features,)
        Log determinants of the covariance and, for REML, of the fixed effects' information; residual sum of
        squares in the metric of the covariance.
    logdet_gradient, rss_gradient : ndarray of float64, shape (n_features, n_theta)
        Their derivatives.
    beta : ndarray of float64, shape (n_features, p)
        Fixed effects.
    unscaled : ndarray of float64, shape (n_features, p, p)
        Their covariance, divided by the residual variance.
    unscaled_gradient : ndarray of float64, shape (n_features, n_theta, p, p)
        Its derivatives.
    """

    logdet: Floats
    rss: Floats
    logdet_gradient: Floats
    rss_gradient: Floats
    beta: Floats
    unscaled: Floats
    unscaled_gradient: Floats

    def deviance(self, dof: int) -> Floats:
        """Profile the residual variance out, constants left away.

        Parameters
        ----------
        dof : int
            Rows, less the columns of the design for REML.

        Returns
        -------
        ndarray of float64, shape (n_features,)
            The deviance.
        """
        value: Floats = self.logdet + dof * np.log(self.rss)
        return value

    def gradient(self, dof: int) -> Floats:
        """Differentiate the profiled deviance by theta.

        Parameters
        ----------
        dof : int
            As for `deviance`.

        Returns
        -------
        ndarray of float64, shape (n_features, n_theta)
            The gradient.
        """
        value: Floats = self.logdet_gradient + dof * self.rss_gradient / self.rss[:, None]
        return value


def outer_factor(sums: TermSums, theta: Floats, basis: Floats) -> Floats:
    """Make Lambda, a square root of the outer effects' relative covariance.

    Parameters
    ----------
    sums : TermSums
        The model.
    theta : ndarray of float64, shape (..., n_theta)
        Relative variance parameters.
    basis : ndarray of float64, shape (n_outer, width, width)
        `TRIANGLE` or `ROOT` of the width.

    Returns
    -------
    ndarray of float64, shape (..., width, width)
        Sum of the basis with the outer part of theta as weights.
    """
    factor: Floats = np.einsum("...j,jab->...ab", theta[..., int(sums.has_inner) :], basis)
    return factor


def _spread(factor: Floats, n_levels: int) -> Floats:
    """Put Lambda on the diagonal once for every level of a block."""
    if n_levels == 1:
        return factor
    width = factor.shape[-1]
    big: Floats = np.einsum("lm,...ab->...lamb", np.eye(n_levels), factor)
    return big.reshape(*factor.shape[:-2], n_levels * width, n_levels * width)


def inverse_logdet(matrices: Floats) -> tuple[Floats, Floats]:
    """Invert symmetric positive definite matrices, and take the logarithm of their determinants.

    Parameters
    ----------
    matrices : ndarray of float64, shape (..., size, size)
        The matrices.

    Returns
    -------
    inverse : ndarray of float64, shape (..., size, size)
        Their inverses.
    logdet : ndarray of float64, shape (...)
        The logarithms.
    """
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


def common_deviance(sums: TermSums, theta: Floats, dof: int, method: Method) -> Floats:
    """Profiled deviance of every feature at one theta for all, which costs little more than that of one.

    Parameters
    ----------
    sums : TermSums
        The data.
    theta : ndarray of float64, shape (n_theta,)
        Relative variance parameters, a slope's as a symmetric root.
    dof : int
        Rows, less the columns of the design for REML.
    method : {"reml", "ml"}
        Criterion.

    Returns
    -------
    ndarray of float64, shape (n_features,)
        The deviance without constants.
    """
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
    factor = _spread(outer_factor(sums, theta, ROOT[sums.width]), size // sums.width)
    inverse, block_logdet = inverse_logdet(np.eye(size) + factor.T @ zz @ factor)
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


def _combine(weights: Floats, matrices: Floats) -> Floats:
    """Sum over classes of matrices that all features share; shape (n_features, ...)."""
    return np.tensordot(weights, matrices, 1)


def expand(sums: TermSums, theta: Floats, method: Method, basis: Floats) -> Expansion:
    """Evaluate the deviance's parts and their gradients, each feature at its own theta.

    Parameters
    ----------
    sums : TermSums
        The data.
    theta : ndarray of float64, shape (n_features, n_theta)
        Relative variance parameters: the inner factor's standard deviation, where there is one, then weights
        of `basis`.
    method : {"reml", "ml"}
        Criterion.
    basis : ndarray of float64, shape (n_outer, width, width)
        `TRIANGLE` or `ROOT` of the width.

    Returns
    -------
    Expansion
        The parts.
    """
    base, width = sums.base, sums.width
    n_features, p = theta.shape[0], base.within_xx.shape[0]
    ratio = theta[:, 0] ** 2 if sums.has_inner else np.zeros(n_features)
    weight = 1.0 / (1.0 + ratio[:, None] * base.size)
    parts = _weighted(sums, weight)
    zz, zx, zy = _combine(weight, sums.between_zz) + sums.within_zz, parts[0], parts[1]
    size = zz.shape[-1]
    n_levels = size // width

    factor = outer_factor(sums, theta, basis)
    if width == 1:
        system = factor[:, None] ** 2 * zz
        big = factor[:, None]
    else:
        big = _spread(factor, n_levels)[:, None]
        system = np.swapaxes(big, -1, -2) @ zz @ big
    system[..., np.arange(size), np.arange(size)] += 1.0
    inverse, block_logdet = inverse_logdet(system)
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
    logdet_gradient = 2.0 * np.einsum("fab,jab->fj", slope, basis)
    rss_gradient = 2.0 * np.einsum("fab,jab->fj", rss_slope, basis)
    moved = np.einsum("fabpq,jab->fjpq", shift, basis)
    both = moved + np.swapaxes(moved, -1, -2)
    unscaled_gradient = unscaled[:, None] @ both @ unscaled[:, None]
    if sums.has_inner:
        along = _along_inner(sums, theta[:, 0], weight, kernel, solved_x, solved_y, beta, unscaled, method)
        logdet_gradient = np.concatenate([along[0][:, None], logdet_gradient], axis=1)
        rss_gradient = np.concatenate([along[1][:, None], rss_gradient], axis=1)
        unscaled_gradient = np.concatenate([along[2][:, None], unscaled_gradient], axis=1)
    return Expansion(logdet, rss, logdet_gradient, rss_gradient, beta, unscaled, unscaled_gradient)


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
