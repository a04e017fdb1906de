"""Input of a permutation test: checked, and told apart from what is computed of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError
from metastable.stats.determined import independent_columns
from metastable.stats.labels import check_condition, check_labels
from metastable.stats.permutations.engine import Alternative, Plan, Progress
from metastable.stats.permutations.relabelings import Relabelings, Sampling, mixed_clusters
from metastable.stats.permutations.statistics import CPU, Backend, LinearModel, torch_backend
from metastable.stats.samples import is_constant
from metastable.stats.single_units import SingleUnitError

__all__ = [
    "Layout",
    "check_choice",
    "check_clusters",
    "check_codes",
    "check_freedom",
    "check_layout",
    "check_matrix",
    "check_resolution",
    "check_same",
    "check_values",
    "make_plan",
    "make_sampling",
]

Floats = NDArray[np.float64]

# Multiply-adds from which a graphics card repays loading torch and moving the data.
_WORTH_A_CARD = 1e11
# A unit whose leverage is this near to one determines a coefficient alone.
_ALONE = 1e-8


@dataclass(frozen=True)
class Layout:
    """Checked labels of the units."""

    condition: NDArray[np.bool_]
    pair: NDArray[Any] | None
    cluster: NDArray[Any] | None
    block: NDArray[Any] | None
    covariates: Floats | None


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is none of the choices."""
    if value not in choices:
        raise InputError(f"{name} is {value!r}, but it must be one of {', '.join(choices)}.")


def check_values(values: ArrayLike) -> Floats:
    """Units by features as finite float64; anything else is refused."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"values has shape {array.shape}, but must be (n_units, n_features), neither of them 0.")
    _finite("values", array)
    return array


def _finite(name: str, array: Floats) -> None:
    if not np.isfinite(array.sum()):
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            row, column = bad[0]
            raise InputError(
                f"{name}[{row}, {column}] is {array[row, column]}; drop the unit or the feature, or fill it in."
            )


def check_matrix(name: str, matrix: ArrayLike, n_units: int) -> Floats:
    """Finite float64 with one row per unit; a vector becomes one column."""
    array = np.asarray(matrix, dtype=np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or len(array) != n_units:
        raise InputError(f"{name} has shape {array.shape}, but must have one row for each of {n_units} units.")
    _finite(name, array)
    return array


def check_codes(name: str, codes: ArrayLike | None, n: int) -> NDArray[Any] | None:
    """Codes of any type, shape (n,), none of them missing; None stays None."""
    return None if codes is None else check_labels(name, codes, n, each="feature" if name == "family" else "unit")


def check_layout(
    values: Floats,
    condition: ArrayLike,
    pair: ArrayLike | None,
    cluster: ArrayLike | None,
    block: ArrayLike | None,
    covariates: ArrayLike | None,
) -> Layout:
    """Labels of the units, with at least two units in each condition."""
    n_units = len(values)
    labels = check_condition(condition, n_units)
    for name, count in (("a", labels.sum()), ("b", (~labels).sum())):
        if count < 2:
            raise InputError(f"condition {name} has {count} units, but a test needs at least two in each; add some.")
    matrix = None if covariates is None else check_matrix("covariates", covariates, n_units)
    if matrix is not None:
        # A covariate that does not vary, or that others determine, holds nothing fixed that they do not.
        varies = ~is_constant(matrix)
        varies[varies] = independent_columns(matrix[:, varies] - matrix[:, varies].mean(axis=0), np.ones((n_units, 1)))
        matrix = matrix[:, varies] if varies.any() else None
    return Layout(
        labels,
        check_codes("pair", pair, n_units),
        check_codes("cluster", cluster, n_units),
        check_codes("block", block, n_units),
        matrix,
    )


def check_same(name: str, of_a: NDArray[Any], of_b: NDArray[Any]) -> None:
    """Refuse partners of a pair with different codes."""
    apart = np.flatnonzero(of_a != of_b)
    if len(apart):
        k = apart[0]
        raise InputError(f"the partners of a pair lie in {name} {of_a[k]} and {of_b[k]}; put both into one {name}.")


def check_freedom(model: LinearModel) -> None:
    """Refuse a model with as many columns as units, or one whose robust error a single unit leaves undefined."""
    if len(model.basis) <= model.basis.shape[1]:
        raise InputError(
            f"the design has {model.basis.shape[1]} independent columns for {len(model.basis)} units, which leaves "
            "no residual degrees of freedom; use fewer covariates."
        )
    if model.kind == "hc3" and model.n_tested == 1 and model.cluster is not None:
        try:
            model.moved_by_cluster()
        except np.linalg.LinAlgError as error:
            raise SingleUnitError(
                "one cluster alone determines a coefficient of the design; leave it or the covariate out."
            ) from error
        return
    if model.kind == "hc3" and model.leverage.max() > 1.0 - _ALONE:
        raise SingleUnitError(
            f"unit {model.leverage.argmax()} alone determines a coefficient of the design; leave it or the covariate "
            "out."
        )


def check_clusters(layout: Layout, relabelings: Relabelings, alpha: float, alternative: Alternative) -> None:
    """Refuse clusters too few to exchange, or for p to fall below alpha."""
    if layout.cluster is None:
        return
    if layout.pair is None:
        mixed = mixed_clusters(layout.condition, layout.cluster)
        if not mixed.any():
            for name, label in (("a", True), ("b", False)):
                n_clusters = len(np.unique(layout.cluster[layout.condition == label]))
                if n_clusters < 2:
                    raise InputError(
                        f"condition {name} has {n_clusters} cluster, but whole clusters are exchanged; "
                        "give each condition at least two."
                    )
    check_resolution(relabelings, alpha, alternative)


def check_resolution(relabelings: Relabelings, alpha: float, alternative: Alternative) -> None:
    """Refuse relabelings too few for p to fall below alpha."""
    mirrored = alternative == "two-sided" and relabelings.mirrored
    least = (2 if mirrored else 1) / relabelings.n_distinct
    if least >= alpha * (1 - 1e-9):
        raise InputError(
            f"the clusters allow {relabelings.n_distinct} relabelings, "
            f"{'which come in pairs of one size, ' if mirrored else ''}so that p is at least {least:.3g} and never "
            f"below alpha = {alpha}; gather more clusters."
        )


def make_sampling(n_permutations: int, rng: int | np.random.Generator | None) -> Sampling:
    """Fix number and seed of the relabelings; the seed is one draw of the generator given."""
    if isinstance(n_permutations, bool) or int(n_permutations) != n_permutations or n_permutations < 1:
        raise InputError(f"n_permutations is {n_permutations}, but must be a whole number from 1 up.")
    return Sampling(int(n_permutations), int(np.random.default_rng(rng).integers(1 << 62)))


def make_plan(
    values: Floats,
    relabelings: Relabelings,
    alternative: Alternative,
    family: ArrayLike | None,
    omnibus: Mapping[str, NDArray[np.bool_]] | None,
    alpha: float,
    tail: str,
    block_bytes: int,
    device: str,
    callback: Progress | None,
) -> Plan:
    """Check what is to be done with the statistics, and choose where they are computed."""
    n_features = values.shape[1]
    check_choice("alternative", alternative, ("two-sided", "greater", "less"))
    check_choice("tail", tail, ("none", "gpd"))
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha}, but it must lie between 0 and 1.")
    codes = check_codes("family", family, n_features)
    families = np.zeros(n_features, dtype=np.intp) if codes is None else np.unique(codes, return_inverse=True)[1]
    masks = {}
    for name, mask in (omnibus or {}).items():
        masks[name] = np.asarray(mask)
        if masks[name].shape != (n_features,) or masks[name].dtype != np.bool_:
            raise InputError(
                f"omnibus mask {name!r} has shape {masks[name].shape} and type {masks[name].dtype}, but must be "
                f"({n_features},) of bool."
            )
    work = float(values.size) * relabelings.n
    return Plan(alternative, families, masks, alpha, tail == "gpd", block_bytes, _backend(device, work), callback)


def _backend(device: str, work: float) -> Backend:
    if device not in ("auto", "cpu", "torch") and not device.startswith("cuda"):
        raise InputError(f"device is {device!r}, but it must be auto, cpu, torch, cuda or cuda:N.")
    if device == "cpu" or (device == "auto" and work < _WORTH_A_CARD):
        return CPU
    import torch  # seconds to load, and only large work repays them

    if device == "auto":
        return torch_backend("cuda") if torch.cuda.is_available() else CPU
    if device == "torch":
        return torch_backend("cpu")
    if not torch.cuda.is_available():
        raise InputError(f"device is {device!r}, but torch finds no CUDA device; use device='cpu'.")
    return torch_backend(device)
