"""The likelihood of the joint model over heads, from a few sums, and its optimum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metastable.stats.mixed_models.satterthwaite import CriterionFit

__all__ = ["JointSums", "fit_joint", "joint_sums"]

Floats = NDArray[np.float64]

# Entries of theta: sequences, sequences by layer, and the Cholesky factor of the heads' intercepts and slopes.
SEQUENCE, SEQUENCE_LAYER, HEAD, COVARIANCE, SLOPE = range(5)
N_THETA = 5

# lme4's isSingular(): a relative standard deviation below this is on the boundary.
SINGULAR_THETA = 1e-4
# Steps of finite differences, in units of the larger of 0.1 and the parameter.
_STEP = 2e-3
# Newton steps that finish what the quasi-Newton search began, and the gain below which they stop.
_NEWTON_STEPS = 20
_GAIN = 1e-11
# Largest gain that a further Newton step may promise at a minimum.
_CONVERGED = 1e-6
_STARTS = ((0.5, 0.5, 1.0, 0.0, 0.3), (1.5, 0.2, 3.0, 0.0, 1.0))


@dataclass(frozen=True)
class JointSums:
    """All that the likelihood needs of sequences by heads.

    Sequences are turned so that the design of the sequences (constant, condition, covariates) fills the first rows
    and none of the others; heads so that the layers' means, times the root of their sizes, fill the first columns.
    What is left in rows or columns has mean zero, and independent errors.

    Attributes
    ----------
    n_sequences, n_heads : int
    size : ndarray of float64, shape (n_layers,)
        Heads of each layer.
    condition : ndarray of float64, shape (2, 2)
        Turned columns of constant and condition, in the first two rows.
    nuisance : ndarray of float64, shape (2 + n_covariates, n_covariates)
        Turned covariates.
    layers : ndarray of float64, shape (2 + n_covariates, n_layers)
        The first rows of the layers' columns.
    layers_rest : ndarray of float64, shape (n_layers, n_layers)
        Cross-products of the layers' columns over the other rows.
    within : ndarray of float64, shape (2, 2)
        Cross-products of the first two rows over the other columns.
    within_rest : float
        Sum of squares of the other rows over the other columns.
    """

    n_sequences: int
    n_heads: int
    size: Floats
    condition: Floats
    nuisance: Floats
    layers: Floats
    layers_rest: Floats
    within: Floats
    within_rest: float

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return len(self.size)

    @property
    def n_coefficients(self) -> int:
        """Two of each layer, and the covariates."""
        return 2 * self.n_layers + int(self.nuisance.shape[1])


def joint_sums(values: Floats, condition: NDArray[np.bool_], layer: NDArray[np.intp], covariates: Floats) -> JointSums:
    """Reduce sequences by heads to sums.

    Parameters
    ----------
    values : ndarray of float64, shape (n_sequences, n_heads)
        Outcomes.
    condition : ndarray of bool, shape (n_sequences,)
        True for the first condition.
    layer : ndarray of int, shape (n_heads,)
        Layer of each head, codes from 0.
    covariates : ndarray of float64, shape (n_sequences, n_covariates)
        With constant and condition of full rank.

    Returns
    -------
    JointSums
    """
    n_sequences, n_heads = values.shape
    design = np.column_stack([np.ones(n_sequences), condition, covariates])
    q, r = np.linalg.qr(design)
    size = np.bincount(layer).astype(np.float64)
    means = np.zeros((n_heads, len(size)))
    means[np.arange(n_heads), layer] = 1 / np.sqrt(size[layer])
    of_layers = values @ means
    left = values - of_layers @ means.T
    first = q.T @ of_layers
    rest = of_layers - q @ first
    turned = q[:, :2].T @ left
    return JointSums(
        n_sequences=n_sequences,
        n_heads=n_heads,
        size=size,
        condition=r[:2, :2],
        nuisance=r[:, 2:],
        layers=first,
        layers_rest=rest.T @ rest,
        within=turned @ turned.T,
        within_rest=float((left**2).sum() - (turned**2).sum()),
    )


@dataclass(frozen=True)
class _At:
    """Parts of the deviance at one theta."""

    logdet: float
    rss: float
    beta: Floats
    unscaled: Floats


def _expand(sums: JointSums, theta: Floats, *, restricted: bool) -> _At:
    """Evaluate the parts of the deviance (Bates et al. 2015, eq. 34 and 42) at relative variance parameters."""
    root = np.sqrt(sums.size)
    factor = np.array([[theta[HEAD], 0.0], [theta[COVARIANCE], theta[SLOPE]]])
    # Heads' covariances in the turned rows, themselves turned to be independent.
    extra, turn = np.linalg.eigh(sums.condition @ factor @ factor.T @ sums.condition.T)
    extra = np.maximum(extra, 0.0)
    n_rows, n_layers = sums.layers.shape
    shared = theta[SEQUENCE_LAYER] ** 2 * np.diag(sums.size) + theta[SEQUENCE] ** 2 * np.outer(root, root)

    def rotated(rows: Floats) -> Floats:
        return np.concatenate([turn.T @ rows[:2], rows[2:]])

    rows = rotated(sums.layers)
    condition = np.concatenate([turn.T @ sums.condition, np.zeros((n_rows - 2, 2))])
    nuisance = rotated(sums.nuisance)
    n_within = sums.n_heads - n_layers
    p = sums.n_coefficients
    logdet: Any = 0.0
    rss: Any = sums.within_rest
    xx, xy, yy = np.zeros((p, p)), np.zeros(p), 0.0
    # Treatment coding of the layers: every layer's mean is the first one's plus its own.
    coding = np.eye(n_layers)
    coding[:, 0] = 1.0
    of_layer = np.arange(1, n_layers)
    places = (np.append(0, 1 + of_layer), np.append(1, n_layers + of_layer))
    for k in range(n_rows):
        more = extra[k] if k < 2 else 0.0
        inverse = np.linalg.inv(shared + (1.0 + more) * np.eye(n_layers))
        logdet -= np.linalg.slogdet(inverse)[1]
        x = np.zeros((n_layers, p))
        for side in (0, 1):
            x[:, places[side]] = condition[k, side] * root[:, None] * coding
        x[:, 2 * n_layers :] = root[:, None] * nuisance[k]
        xx += x.T @ inverse @ x
        xy += x.T @ inverse @ rows[k]
        yy += rows[k] @ inverse @ rows[k]
        if k < 2:
            logdet += n_within * np.log1p(more)
            rss += turn[:, k] @ sums.within @ turn[:, k] / (1.0 + more)
    inverse = np.linalg.inv(shared + np.eye(n_layers))
    logdet -= (sums.n_sequences - n_rows) * np.linalg.slogdet(inverse)[1]
    rss += float(np.sum(inverse * sums.layers_rest))
    unscaled = np.linalg.inv(xx)
    beta = unscaled @ xy
    rss += yy - xy @ beta
    if restricted:
        logdet += np.linalg.slogdet(xx)[1]
    return _At(float(logdet), float(rss), np.asarray(beta), np.asarray(unscaled))


def fit_joint(sums: JointSums, *, method: Literal["reml", "ml"] = "reml", with_slope: bool = True) -> CriterionFit:
    """Fit the joint model by REML or ML.

    Parameters
    ----------
    sums : JointSums
        The data, outcomes about their mean and with a mean square of about one.
    method : {"reml", "ml"}
        Criterion.
    with_slope : bool
        Whether the heads' effects vary; if not the last two entries of theta are 0.

    Returns
    -------
    CriterionFit
        Of one feature; theta holds the relative standard deviations of sequences and of sequences by layer, then the
        relative Cholesky factor of the heads' intercepts and slopes by column. Coefficients as R's treatment coding
        has them: intercept, condition, layers, condition by layers, covariates.

    Notes
    -----
    The deviance is even in every entry on a diagonal, so that the search needs no bounds: a variance of zero is a
    stationary point like any other, found from starts on several sides of it.
    """
    from scipy import optimize  # a third of a second to load, and few fits need it

    restricted = method == "reml"
    n = sums.n_sequences * sums.n_heads
    dof = n - sums.n_coefficients if restricted else n
    free = np.arange(N_THETA if with_slope else COVARIANCE)

    def whole(part: Floats) -> Floats:
        theta = np.zeros(N_THETA)
        theta[free] = part
        return theta

    def deviance(part: Floats) -> float:
        at = _expand(sums, whole(part), restricted=restricted)
        return float(at.logdet + dof * (1.0 + np.log(2.0 * np.pi * at.rss / dof)))

    searches = [
        optimize.minimize(deviance, np.array(start)[free], method="BFGS", options={"gtol": 1e-6}) for start in _STARTS
    ]
    found = min(searches, key=lambda one: float(one.fun))
    part, iterations, gain = np.asarray(found.x, dtype=np.float64), int(found.nit), np.inf
    for _ in range(_NEWTON_STEPS):
        gradient, hessian = _derivatives(deviance, part)
        values, vectors = np.linalg.eigh(hessian)
        # A direction without curvature is one of a covariance whose variance is zero.
        flat = np.abs(values) <= 1e-7 * np.abs(values).max()
        along = np.where(flat, 0.0, vectors.T @ gradient / np.where(flat, 1.0, np.abs(values)))
        gain = float(np.sum(along**2 * np.abs(values)))
        moved = part - vectors @ along
        if gain < _GAIN or deviance(moved) > deviance(part):
            break
        part, iterations = moved, iterations + 1
    theta = _signed(whole(part))
    at = _expand(sums, theta, restricted=restricted)
    sigma = float(np.sqrt(at.rss / dof))

    def of_both(parameters: Floats) -> float:
        here = _expand(sums, whole(parameters[:-1]), restricted=restricted)
        return float(here.logdet + dof * np.log(2.0 * np.pi * parameters[-1] ** 2) + here.rss / parameters[-1] ** 2)

    hessian = np.zeros((N_THETA + 1, N_THETA + 1))
    places = np.append(free, N_THETA)
    hessian[np.ix_(places, places)] = _derivatives(of_both, np.append(theta[free], sigma))[1]
    slopes = np.zeros((N_THETA, *at.unscaled.shape))
    for j in free:
        step = _STEP * max(abs(theta[j]), 0.1)
        for multiple, weight in ((-2, 1.0), (-1, -8.0), (1, 8.0), (2, -1.0)):
            moved = theta.copy()
            moved[j] += multiple * step
            slopes[j] += weight / (12.0 * step) * _expand(sums, moved, restricted=restricted).unscaled
    diagonal = [SEQUENCE, SEQUENCE_LAYER, HEAD, *([SLOPE] if with_slope else [])]
    return CriterionFit(
        theta=theta[None],
        sigma=np.array([sigma]),
        beta=at.beta[None],
        unscaled=at.unscaled[None],
        unscaled_gradient=slopes[None],
        hessian=hessian[None],
        criterion=np.array([at.logdet + dof * (1.0 + np.log(2.0 * np.pi * sigma**2))]),
        singular=np.array([bool((theta[diagonal] < SINGULAR_THETA).any())]),
        converged=np.array([bool(gain < _CONVERGED)]),
        iterations=np.array([iterations], dtype=np.int64),
    )


def _signed(theta: Floats) -> Floats:
    """Return the same covariances with no negative number on a diagonal."""
    theta = theta.copy()
    if theta[HEAD] < 0:
        theta[[HEAD, COVARIANCE]] *= -1.0
    for entry in (SEQUENCE, SEQUENCE_LAYER, SLOPE):
        theta[entry] = abs(theta[entry])
    return theta


def _derivatives(function: Callable[[Floats], float], at: Floats) -> tuple[Floats, Floats]:
    """Gradient and Hessian by central differences of fourth order."""
    n = len(at)
    step = _STEP * np.maximum(np.abs(at), 0.1)
    weights = {-2: 1.0, -1: -8.0, 1: 8.0, 2: -1.0}
    known: dict[tuple[float, ...], float] = {}

    def value(move: Floats) -> float:
        key = tuple(move.tolist())
        if key not in known:
            known[key] = function(at + move * step)
        return known[key]

    unit = np.eye(n)
    gradient = np.array([sum(w * value(m * unit[i]) for m, w in weights.items()) / (12.0 * step[i]) for i in range(n)])
    hessian = np.empty((n, n))
    middle = value(np.zeros(n))
    for i in range(n):
        sums = (value(unit[i]) + value(-unit[i]), value(2 * unit[i]) + value(-2 * unit[i]))
        hessian[i, i] = (16.0 * sums[0] - sums[1] - 30.0 * middle) / (12.0 * step[i] ** 2)
        for j in range(i):
            mixed = sum(
                w * v * value(m * unit[i] + k * unit[j]) for m, w in weights.items() for k, v in weights.items()
            )
            hessian[i, j] = hessian[j, i] = mixed / (144.0 * step[i] * step[j])
    return gradient, hessian
