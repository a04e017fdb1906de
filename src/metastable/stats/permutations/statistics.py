"""Test statistics of many features under many relabelings at once, as matrix products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from metastable.stats.samples import far_exponents

__all__ = [
    "CPU",
    "Backend",
    "ClusteredTwoSample",
    "LinearModel",
    "Prepared",
    "Statistic",
    "TwoSample",
    "contrast_model",
    "torch_backend",
]

Floats = NDArray[np.float64]

# A residual sum of squares below this share of the total is rounding: the statistic stays finite and is
# the same for every relabeling that leaves no variance.
_FLOOR = 1e-13

# A cluster whose leverage is this near to one determines a coefficient alone.
_ALONE = 1e-8

# Product of a column, as it is moved, with values of the features: (n_features, n_relabelings).
_Product = Callable[[Floats, Any], Any]


@dataclass(frozen=True)
class Backend:
    """Where the products run; the arithmetic is written once, for NumPy arrays and torch tensors alike.

    Attributes
    ----------
    send : callable
        Array of any type -> the backend's array of the same type.
    real : callable
        The backend's array -> the same as float64, row by row in memory.
    fetch : callable
        The backend's float64 array -> NumPy array.
    library : module
        NumPy or torch, whose functions of the same names the arithmetic takes.
    grain : int
        Elements of one product that suit it: few enough to stay in the cache, or enough to fill a card.
    device : str or None
        The torch device; None for NumPy.
    """

    send: Callable[[Any], Any]
    real: Callable[[Any], Any]
    fetch: Callable[[Any], Any]
    library: Any
    grain: int
    device: str | None = None


CPU = Backend(np.asarray, lambda x: np.ascontiguousarray(x, dtype=np.float64), np.asarray, np, 1 << 16)


def torch_backend(device: str) -> Backend:
    """Products on a torch device in float64, `device` as torch names it (``"cuda"``, ``"cpu"``)."""
    import torch

    return Backend(
        # What is there already stays as it is.
        lambda x: x if isinstance(x, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(x)).to(device),
        lambda x: x.double().contiguous(),
        lambda x: x.cpu().numpy(),
        torch,
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

    @classmethod
    def of_parts(cls, parts: Sequence[Prepared]) -> Prepared:
        """Put features that were prepared on the host in parts next to one another."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(part, entry.name) for part in parts]) for entry in fields(cls)))


class Statistic(Protocol):
    """What the permutation engine needs of a statistic."""

    def prepare(self, values: Any, backend: Backend) -> Prepared:
        """Make a block of features ready: finite float64, shape (n_units, n_features), the backend's already or not."""

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


def _sent(values: Any, backend: Backend) -> tuple[Any, Any, Floats]:
    """Send features in units in which squares are numbers, as `unit_scaled` does.

    Returns
    -------
    table : array, shape (n_units, n_features)
    largest : array, shape (n_features,)
        The largest absolute value, in the units.
    unit : ndarray of float64, shape (n_features,)
    """
    table, library = backend.send(values), backend.library
    largest = library.maximum(library.amax(table, 0), -library.amin(table, 0))
    exponent = far_exponents(backend.fetch(largest))
    if exponent.any():
        # In two steps, since the inverse of the unit of denormal numbers is none of float64.
        for part in (exponent // 2, exponent - exponent // 2):
            share = backend.send(np.ldexp(1.0, -part))
            table, largest = table * share, largest * share
    return table, largest, np.ldexp(1.0, exponent)


def _prepare(residuals: Any, reference: Any, unit: Floats, backend: Backend) -> Prepared:
    """Scale residuals, shape (n_units, n_features), next to the size of the values that they come from.

    All are in units of `unit`, shape (n_features,), and the backend's but for the units.
    """
    library = backend.library
    scale = library.sqrt((residuals**2).mean(0))
    flat = scale <= 1e-12 * reference
    scale = library.where(flat, 1.0, scale)
    values = backend.real((library.where(flat, 0.0, residuals) / scale).T)
    squares = values**2
    return Prepared(
        values,
        squares,
        values.sum(axis=1)[:, None],
        # One for a flat feature, whose variance is then positive and whose statistic is 0.
        library.where(flat, 1.0, squares.sum(axis=1))[:, None],
        (backend.send(unit) * scale)[:, None],
        backend.fetch(flat),
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

    def prepare(self, values: Any, backend: Backend) -> Prepared:
        """Center and scale the features."""
        table, largest, unit = _sent(values, backend)
        return _prepare(table - table.mean(0), largest, unit, backend)

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
class ClusteredTwoSample:
    """Difference of two groups' means over a standard error that lets the units of a cluster depend on one another.

    Every cluster lies in one group. The variance of the mean of a is the jackknife's over its G_a clusters: with the
    sum S and the size m of each, n_a units in all, (G_a - 1) / G_a times the sum of ((S - m mean_a) / (n_a - m))^2, for
    that is how far the mean moves without the cluster (CR3: Bell & McCaffrey 2002). Of clusters of one size it is
    Welch's t of their means.

    Attributes
    ----------
    condition : ndarray of bool, shape (n_units,)
        True for group a; the difference is a - b.
    cluster : ndarray of int, shape (n_units,)
        Codes from 0.
    """

    condition: NDArray[np.bool_]
    cluster: NDArray[np.intp]

    @property
    def studentized(self) -> bool:
        """Always."""
        return True

    @property
    def quadratic(self) -> bool:
        """Never."""
        return False

    def prepare(self, values: Any, backend: Backend) -> Prepared:
        """Center and scale the features, and add up the units of each cluster."""
        table, largest, unit = _sent(values, backend)
        of_units = _prepare(table - table.mean(0), largest, unit, backend)
        by_cluster = of_units.values[:, backend.send(np.argsort(self.cluster, kind="stable"))]
        stops = np.cumsum(np.bincount(self.cluster)).tolist()
        each = [by_cluster[:, start:stop].sum(axis=1) for start, stop in pairwise([0, *stops])]
        sums = backend.library.stack(each, axis=1)
        # The squares are summed by the units, so that clusters whose sums agree but for rounding leave no variance.
        return replace(of_units, values=sums, squares=sums**2, total=sums.sum(axis=1)[:, None])

    def observed(self, prepared: Prepared, backend: Backend) -> Floats:
        """Statistic under the labels given."""
        return np.asarray(self.evaluate(prepared, self.condition[None, :], backend)[:, 0])

    def evaluate(self, prepared: Prepared, relabeled: Any, backend: Backend) -> Any:
        """Statistic under labels, shape (n_relabelings, n_units)."""
        where, size = backend.library.where, np.bincount(self.cluster).astype(np.float64)
        n_units = float(size.sum())
        first = np.unique(self.cluster, return_index=True)[1]
        in_a = backend.real(backend.send(relabeled)[:, backend.send(first)])
        number_a, units_a = in_a.sum(axis=1), in_a @ backend.send(size)
        number_b, units_b = len(size) - number_a, n_units - units_a
        sum_a = prepared.values @ in_a.T
        mean_a = sum_a / units_a
        mean_b = (prepared.total - sum_a) / units_b
        shrunk_a, shrunk_b = (number_a - 1) / number_a, (number_b - 1) / number_b
        variance: Any = 0.0
        for code, m in enumerate(size.tolist()):
            label = in_a[:, code]
            n = where(label > 0, units_a, units_b)
            weight = where(label > 0, shrunk_a, shrunk_b) / (n - m) ** 2
            mean = mean_b + (mean_a - mean_b) * label
            variance = variance + (prepared.values[:, [code]] - m * mean) ** 2 * weight
        floor = _FLOOR / n_units * prepared.total_squares
        return backend.fetch((mean_a - mean_b) / variance.clip(floor) ** 0.5)


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
    kind : {"hc3", "student", "mean"}
        The estimate over its HC3 standard error (of several columns Wald's statistic over their number), which is
        right whatever the variances (MacKinnon & White 1985; DiCiccio & Romano 2017); over that of equal variances, t
        (of several columns F); or the estimate itself.
    unit : float
        Estimate of the contrast per unit of the first basis column's coefficient.
    cluster : ndarray of int or None, shape (n_units,)
        Codes from 0 of clusters that move as a whole, whose units may depend on one another: HC3 of one tested column
        is then CR3, which leaves out one cluster at a time (Bell & McCaffrey 2002).
    """

    basis: Floats
    n_tested: int
    kind: Literal["hc3", "student", "mean"]
    unit: float
    cluster: NDArray[np.intp] | None = None

    @property
    def studentized(self) -> bool:
        """All but the raw estimate."""
        return self.kind != "mean"

    @property
    def quadratic(self) -> bool:
        """Whether several columns are tested."""
        return self.n_tested > 1

    @property
    def leverage(self) -> Floats:
        """Leverage of each unit, shape (n_units,)."""
        return np.asarray((self.basis**2).sum(axis=1))

    def prepare(self, values: Any, backend: Backend) -> Prepared:
        """Take the nuisance out of the features and scale them."""
        nuisance = backend.send(self.basis[:, self.n_tested :])
        table, largest, unit = _sent(values, backend)
        return _prepare(table - nuisance @ (nuisance.T @ table), largest, unit, backend)

    def observed(self, prepared: Prepared, backend: Backend) -> Floats:
        """Statistic of the design as given."""
        rows = np.arange(len(self.basis), dtype=np.int32)[None, :]
        return np.asarray(self.evaluate(prepared, rows, backend)[:, 0])

    def evaluate(self, prepared: Prepared, relabeled: Any, backend: Backend) -> Any:
        """Statistic under row indices (int32) or under signs (any other type), shape (n_relabelings, n_units)."""
        moves = backend.send(relabeled)
        signs = moves.dtype != backend.send(np.empty(0, dtype=np.int32)).dtype
        if signs:
            moves = backend.real(moves)

        def product(column: Floats, values: Any) -> Any:
            sent = backend.send(column)
            return values @ (sent * moves if signs else sent[moves]).T

        def even(column: Floats, values: Any) -> Any:
            """Product with a column that a change of sign leaves as it is."""
            sent = backend.send(column)
            return values @ (sent[None, :] if signs else sent[moves]).T

        if self.kind == "mean":
            return backend.fetch(product(self.basis[:, 0], prepared.values) * prepared.scale * self.unit)
        if self.kind == "hc3":
            if self.n_tested == 1 and self.cluster is not None:
                return self._robust_of_clusters(prepared, moves, backend, signs=signs)
            if self.n_tested == 1:
                return self._robust(prepared, product, even, backend)
            return self._robust_of_several(prepared, product, even, backend)
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

    def _robust(self, prepared: Prepared, product: _Product, even: _Product, backend: Backend) -> Any:
        """Estimate over its HC3 standard error.

        With q the tested column, h the leverages and M the basis, the variance is the sum of w e^2, w = (q / (1 - h))^2
        and e the residuals y - M M'y; written out it needs products with w, M and w M alone.
        """
        weight = (self.basis[:, 0] / (1.0 - self.leverage)) ** 2
        # In the basis that makes M'WM diagonal, the square of the fit is a sum of squares.
        size, rotation = np.linalg.eigh(self.basis.T @ (weight[:, None] * self.basis))
        variance, estimate = even(weight, prepared.squares), 0.0
        for column, part, share in zip((self.basis @ rotation).T, size.tolist(), rotation[0].tolist(), strict=True):
            score = product(column, prepared.values)
            variance = variance + score * (part * score - 2 * product(weight * column, prepared.values))
            estimate = estimate + share * score
        floor = _FLOOR * float(weight.mean()) * prepared.total_squares
        return backend.fetch(estimate / variance.clip(floor) ** 0.5)

    def moved_by_cluster(self) -> Floats:
        """Weigh the tested column by the leverage of each cluster: what the cluster's residuals move the estimate by.

        Raises
        ------
        LinAlgError
            If a cluster alone determines a coefficient.
        """
        moved = np.empty(len(self.basis))
        if self.cluster is None:
            raise TypeError("the clusters are not known")
        for code in range(int(self.cluster.max()) + 1):
            rows = np.flatnonzero(self.cluster == code)
            part = self.basis[rows]
            kept = np.eye(len(rows)) - part @ part.T
            if np.linalg.eigvalsh(kept)[0] < _ALONE:
                raise np.linalg.LinAlgError(f"cluster {code} determines a coefficient")
            moved[rows] = np.linalg.solve(kept, part[:, 0])
        return moved

    def _robust_of_clusters(self, prepared: Prepared, moves: Any, backend: Backend, *, signs: bool) -> Any:
        """Estimate over its CR3 standard error: the squares of what each cluster moves it by, added up."""
        if self.cluster is None:
            raise TypeError("the clusters are not known")
        moved = self.moved_by_cluster()

        def placed(column: Floats, rows: NDArray[np.intp]) -> Any:
            sent, here = backend.send(column), backend.send(rows)
            return sent[here] * moves[:, here] if signs else sent[moves[:, here]]

        every = np.arange(len(self.basis))
        scores = [prepared.values @ placed(column, every).T for column in self.basis.T]
        variance: Any = 0.0
        for code in range(int(self.cluster.max()) + 1):
            rows = np.flatnonzero(self.cluster == code)
            here = placed(moved, rows)
            part = prepared.values[:, backend.send(rows)] @ here.T
            for score, column in zip(scores, self.basis.T, strict=True):
                part = part - score * (here * placed(column, rows)).sum(axis=1)
            variance = variance + part**2
        floor = _FLOOR / len(self.basis) * prepared.total_squares
        return backend.fetch(scores[0] / variance.clip(floor) ** 0.5)

    def _robust_of_several(self, prepared: Prepared, product: _Product, even: _Product, backend: Backend) -> Any:
        """Wald's statistic of several columns with their HC3 covariance, over their number."""
        n, library = self.n_tested, backend.library
        scaled = self.basis / (1.0 - self.leverage)[:, None]
        scores = [product(column, prepared.values) for column in self.basis.T]
        covariance: list[list[Any]] = [[None] * n for _ in range(n)]
        least = 0.0
        for j in range(n):
            for k in range(j + 1):
                weight = scaled[:, j] * scaled[:, k]
                part = even(weight, prepared.squares) + library.zeros_like(scores[0])
                inner = self.basis.T @ (weight[:, None] * self.basis)
                for score, column, row in zip(scores, self.basis.T, inner.tolist(), strict=True):
                    fitted = sum(share * other for share, other in zip(row, scores, strict=True))
                    part = part + score * (fitted - 2 * product(weight * column, prepared.values))
                covariance[j][k] = covariance[k][j] = part
                if j == k:
                    least = max(least, float(weight.mean()))
        square = library.stack([library.stack(row, axis=-1) for row in covariance], axis=-2)
        values, vectors = library.linalg.eigh(square)
        along = library.einsum("...i,...ij->...j", library.stack(scores[:n], axis=-1), vectors)
        floor = _FLOOR * least * prepared.total_squares[..., None]
        return backend.fetch((along**2 / library.maximum(values, floor)).sum(axis=-1) / n)


def contrast_model(
    design: Floats,
    contrast: Floats,
    kind: Literal["hc3", "student", "mean"],
) -> LinearModel | None:
    """Split a design into what a contrast tests and the nuisance beside it.

    With M the design and C the contrast, the columns of ``pinv(M)' C'`` are orthogonal to every model in
    which the contrast is zero, and their products with the data are the contrast's estimates.

    Parameters
    ----------
    design : ndarray of float64, shape (n_units, n_columns)
    contrast : ndarray of float64, shape (n_tested, n_columns)
    kind
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
    return LinearModel(np.hstack([tested, nuisance]), effect.shape[1], kind, float(abs(triangle[0, 0])))
