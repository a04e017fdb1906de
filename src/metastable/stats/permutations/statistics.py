"""Test statistics of many features under many relabelings at once, as matrix products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["CPU", "Backend", "LinearModel", "Prepared", "Statistic", "TwoSample", "contrast_model", "torch_backend"]

Floats = NDArray[np.float64]

# A residual sum of squares below this share of the total is rounding: the statistic stays finite and is
# the same for every relabeling that leaves no variance.
_FLOOR = 1e-13


@dataclass(frozen=True)
class Backend:
    """Where the products run; the arithmetic is written once, for NumPy arrays and torch tensors alike.

    Attributes
    ----------
    send : callable
        Array of any type -> the backend's array of the same type.
    real : callable
        The backend's array -> the same as float64.
    fetch : callable
        The backend's float64 array -> NumPy array.
    grain : int
        Elements of one product that suit it: few enough to stay in the cache, or enough to fill a card.
    device : str or None
        The torch device; None for NumPy.
    """

    send: Callable[[Any], Any]
    real: Callable[[Any], Any]
    fetch: Callable[[Any], Any]
    grain: int
    device: str | None = None


CPU = Backend(np.asarray, lambda x: x.astype(np.float64, copy=False), np.asarray, 1 << 16)


def torch_backend(device: str) -> Backend:
    """Products on a torch device in float64, `device` as torch names it (``"cuda"``, ``"cpu"``)."""
    import torch

    return Backend(
        # What is there already stays as it is.
        lambda x: x if isinstance(x, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(x)).to(device),
        lambda x: x.double(),
        lambda x: x.cpu().numpy(),
        1 << 16 if device == "cpu" else 1 << 24,
        device,
    )


@dataclass(frozen=True)
class Prepared:
    """Features made ready for `Statistic.evaluate`, one a row.

    Attributes
    ----------
    values, squares : array, shape (n_features, n_units)
        Centered (or nuisance-free) values in units of `scale`, and their squares.
    total, total_squares : array, shape (n_features, 1)
        Row sums of both; the second is 1 for a flat feature.
    scale : array, shape (n_features, 1)
        Root mean square that the values were divided by; 1 where the feature is flat.
    flat : ndarray of bool, shape (n_features,)
        Features without variance.
    """

    values: Any
    squares: Any
    total: Any
    total_squares: Any
    scale: Any
    flat: NDArray[np.bool_]


class Statistic(Protocol):
    """What the permutation engine needs of a statistic."""

    def prepare(self, values: Floats, backend: Backend) -> Prepared:
        """Make a block of features, shape (n_units, n_features), ready."""

    def evaluate(self, prepared: Prepared, relabeled: Any, backend: Backend) -> Any:
        """Statistic of every feature under every relabeling, shape (n_features, n_relabelings).

        Relabelings may be the backend's already; what is returned went through ``backend.fetch``.
        """

    def observed(self, prepared: Prepared, backend: Backend) -> Floats:
        """Statistic of every feature as labelled, shape (n_features,)."""

    @property
    def studentized(self) -> bool:
        """Whether the statistic is free of the feature's scale."""

    @property
    def quadratic(self) -> bool:
        """Whether the statistic is a square already, as F is."""


def _prepare(residuals: Floats, reference: Floats, backend: Backend) -> Prepared:
    """Scale residuals, shape (n_units, n_features), next to the size of the values that they come from."""
    scale = np.sqrt(np.mean(residuals**2, axis=0))
    flat = scale <= 1e-12 * reference
    scale = np.where(flat, 1.0, scale)
    values = np.ascontiguousarray(np.where(flat, 0.0, residuals / scale).T)
    squares = values**2
    return Prepared(
        backend.send(values),
        backend.send(squares),
        backend.send(values.sum(axis=1, keepdims=True)),
        # One for a flat feature, whose variance is then positive and whose statistic is 0.
        backend.send(np.where(flat, 1.0, squares.sum(axis=1))[:, None]),
        backend.send(scale[:, None]),
        flat,
    )


@dataclass(frozen=True)
class TwoSample:
    """Difference of two group means: raw, or over its standard error.

    Attributes
    ----------
    condition : ndarray of bool, shape (n_units,)
        True for group a; the difference is a - b.
    kind : {"welch", "student", "mean"}
        Standard error from each group's variance, from the pooled variance, or none.
    """

    condition: NDArray[np.bool_]
    kind: Literal["welch", "student", "mean"]

    @property
    def studentized(self) -> bool:
        """All but the raw difference."""
        return self.kind != "mean"

    @property
    def quadratic(self) -> bool:
        """None of them is."""
        return False

    def prepare(self, values: Floats, backend: Backend) -> Prepared:
        """Center and scale the features."""
        return _prepare(values - values.mean(axis=0), np.abs(values).max(axis=0), backend)

    def observed(self, prepared: Prepared, backend: Backend) -> Floats:
        """Statistic under the labels given."""
        return np.asarray(self.evaluate(prepared, self.condition[None, :], backend)[:, 0])

    def evaluate(self, prepared: Prepared, relabeled: Any, backend: Backend) -> Any:
        """Statistic under labels, shape (n_relabelings, n_units)."""
        sent = backend.send(relabeled)
        n_a = backend.real(sent.sum(axis=1))
        n_b = relabeled.shape[1] - n_a
        labels = backend.real(sent).T
        sum_a = prepared.values @ labels
        sum_b = prepared.total - sum_a
        difference = sum_a / n_a - sum_b / n_b
        if self.kind == "mean":
            return backend.fetch(difference * prepared.scale)
        explained_a, explained_b = sum_a**2 / n_a, sum_b**2 / n_b
        floor = _FLOOR * prepared.total_squares
        if self.kind == "student":
            within = (prepared.total_squares - explained_a - explained_b).clip(floor)
            variance = within * ((1 / n_a + 1 / n_b) / (n_a + n_b - 2))
        else:
            squares_a = prepared.squares @ labels
            within_a = (squares_a - explained_a).clip(floor)
            within_b = (prepared.total_squares - squares_a - explained_b).clip(floor)
            variance = within_a / (n_a * (n_a - 1)) + within_b / (n_b * (n_b - 1))
        return backend.fetch(difference / variance**0.5)


@dataclass(frozen=True)
class LinearModel:
    """Effect of one or more columns beside nuisance columns, by Freedman & Lane.

    What is exchanged are the residuals of the nuisance model, which is the same as moving the rows of the
    whole design against them (Winkler et al. 2014, table 2 and appendix).

    Attributes
    ----------
    basis : ndarray of float64, shape (n_units, rank)
        Orthonormal columns: first the tested ones, free of nuisance, then the nuisance ones.
    n_tested : int
        Number of tested columns.
    kind : {"student", "welch", "mean"}
        t (F for several tested columns); t with a variance for each of two groups (Winkler et al. 2014,
        equation 5; Welch's t where the nuisance is the mean alone); or the estimate itself.
    unit : float
        Estimate of the contrast per unit of the first basis column's coefficient.
    group : ndarray of bool or None, shape (n_units,)
        Groups of ``"welch"``.
    """

    basis: Floats
    n_tested: int
    kind: Literal["student", "welch", "mean"]
    unit: float
    group: NDArray[np.bool_] | None = None

    @property
    def studentized(self) -> bool:
        """All but the raw estimate."""
        return self.kind != "mean"

    @property
    def quadratic(self) -> bool:
        """Whether several columns are tested."""
        return self.n_tested > 1

    def prepare(self, values: Floats, backend: Backend) -> Prepared:
        """Take the nuisance out of the features and scale them."""
        nuisance = self.basis[:, self.n_tested :]
        residuals = values - nuisance @ (nuisance.T @ values)
        return _prepare(residuals, np.abs(values).max(axis=0), backend)

    def observed(self, prepared: Prepared, backend: Backend) -> Floats:
        """Statistic of the design as given."""
        rows = np.arange(len(self.basis), dtype=np.int32)[None, :]
        return np.asarray(self.evaluate(prepared, rows, backend)[:, 0])

    def evaluate(self, prepared: Prepared, relabeled: Any, backend: Backend) -> Any:
        """Statistic under row indices or under signs, shape (n_relabelings, n_units)."""
        moves = backend.send(relabeled)
        signs = moves.dtype == backend.send(np.empty(0)).dtype

        def product(column: Floats, values: Any) -> Any:
            sent = backend.send(column)
            return values @ (sent * moves if signs else sent[moves]).T

        if self.kind == "mean":
            return backend.fetch(product(self.basis[:, 0], prepared.values) * prepared.scale * self.unit)
        if self.kind == "welch":
            return self._two_variances(prepared, product, backend)
        tested, nuisance = 0.0, 0.0
        for k, column in enumerate(self.basis.T):
            score = product(column, prepared.values)
            if k == 0:
                first = score
            if k < self.n_tested:
                tested = tested + score**2
            else:
                nuisance = nuisance + score**2
        within = (prepared.total_squares - tested - nuisance).clip(_FLOOR * prepared.total_squares)
        dof = len(self.basis) - self.basis.shape[1]
        if self.n_tested == 1:
            return backend.fetch(first / (within / dof) ** 0.5)
        return backend.fetch((tested / self.n_tested) / (within / dof))

    def _two_variances(self, prepared: Prepared, product: Callable[[Floats, Any], Any], backend: Backend) -> Any:
        if self.group is None:
            raise TypeError("a variance for each group needs the groups")
        in_a = self.group.astype(np.float64)
        # In the basis that makes both groups' cross-products diagonal, M'WM is diagonal for all weights W.
        share, rotation = np.linalg.eigh(self.basis.T @ (in_a[:, None] * self.basis))
        share = share.clip(0.0, 1.0)
        columns = self.basis @ rotation
        contrast = rotation[0]
        freedom_a = in_a.sum() - share.sum()
        freedom_b = (1 - in_a).sum() - (1 - share).sum()
        residual_a = product(in_a, prepared.squares)
        residual_b = prepared.total_squares - residual_a
        estimate = 0.0
        for column, part, weight in zip(columns.T, share, contrast, strict=True):
            score = product(column, prepared.values)
            score_a = product(column * in_a, prepared.values)
            residual_a = residual_a + score * (part * score - 2 * score_a)
            residual_b = residual_b + score * ((1 - part) * score - 2 * (score - score_a))
            estimate = estimate + weight * score
        floor = _FLOOR * prepared.total_squares
        variance_a = residual_a.clip(floor) / freedom_a
        variance_b = residual_b.clip(floor) / freedom_b
        variance = sum(
            weight**2 / (part / variance_a + (1 - part) / variance_b)
            for part, weight in zip(share, contrast, strict=True)
        )
        return backend.fetch(estimate / variance**0.5)


def contrast_model(
    design: Floats,
    contrast: Floats,
    kind: Literal["student", "welch", "mean"],
    group: NDArray[np.bool_] | None = None,
) -> LinearModel | None:
    """Split a design into what a contrast tests and the nuisance beside it.

    With M the design and C the contrast, the columns of ``pinv(M)' C'`` are orthogonal to every model in
    which the contrast is zero, and their products with the data are the contrast's estimates.

    Parameters
    ----------
    design : ndarray of float64, shape (n_units, n_columns)
    contrast : ndarray of float64, shape (n_tested, n_columns)
    kind, group
        As in `LinearModel`.

    Returns
    -------
    LinearModel or None
        None where the design cannot estimate the contrast.
    """
    size = np.linalg.norm(design, axis=0)
    size[size == 0] = 1.0
    scaled = design / size
    inverse = np.linalg.pinv(scaled, rcond=1e-10)
    rows = contrast / size
    if not np.allclose(rows @ inverse @ scaled, rows, rtol=0, atol=1e-8 * np.abs(rows).max()):
        return None
    effect = (rows @ inverse).T
    tested, triangle = np.linalg.qr(effect)
    if np.abs(np.diag(triangle)).min() <= 1e-10 * np.abs(triangle).max():
        return None
    tested = tested * np.sign(triangle[0, 0]) if effect.shape[1] == 1 else tested
    rest = scaled - tested @ (tested.T @ scaled)
    left, singular, _ = np.linalg.svd(rest, full_matrices=False)
    nuisance = left[:, singular > 1e-10 * max(1.0, singular[0])]
    return LinearModel(np.hstack([tested, nuisance]), effect.shape[1], kind, float(abs(triangle[0, 0])), group)
