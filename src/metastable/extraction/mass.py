"""The count: the smallest number of a row's entries whose mass reaches the threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.extraction.kernels import count_rows

__all__ = ["TOLERANCE", "check_thresholds", "count_entries"]

TOLERANCE = 1e-6
"""Share of a row's mass within which a sum counts as reaching the threshold.

Decimal weights are not binary fractions: as float32, 0.5 + 0.4 falls short of 0.9 of the row
[0.5, 0.4, 0.1] by 8e-10. A millionth is ten times what rounding to float32 can do to a sum and a
tenth of what float32 products differ by between two batch sizes.
"""

# Elements sorted at a time: bounds the memory of the float64 sums to 32 MiB.
_CHUNK = 1 << 22

_LARGEST_WEIGHT = 2.0**64
_MOST_KEYS = 1 << 24


def check_thresholds(thresholds: Sequence[float] | NDArray[Any]) -> tuple[float, ...]:
    """Return the thresholds as floats.

    Parameters
    ----------
    thresholds : sequence of float
        Each in (0, 1].

    Returns
    -------
    tuple of float

    Raises
    ------
    InputError
        If there is none, or one lies outside (0, 1].
    """
    values = tuple(float(threshold) for threshold in thresholds)
    if not values:
        raise InputError("no threshold was given; give at least one in (0, 1], such as 0.9")
    for value in values:
        if not 0.0 < value <= 1.0:
            raise InputError(f"threshold {value} is outside (0, 1]; give a share of the row's mass, such as 0.9")
    return values


def _count_compiled(weights: torch.Tensor, thresholds: tuple[float, ...]) -> torch.Tensor:
    rows = weights.float().contiguous().numpy()
    return torch.from_numpy(count_rows(rows, np.array(thresholds) - TOLERANCE))


def _suits_kernel(weights: torch.Tensor, largest: float) -> bool:
    """Whether the compiled count is exact: float32 holds the weights, their sums and the number of keys."""
    return weights.dtype != torch.float64 and largest < _LARGEST_WEIGHT and weights.shape[1] < _MOST_KEYS


def _count_sorted(weights: torch.Tensor, thresholds: tuple[float, ...]) -> torch.Tensor:
    """Count by one sort that serves all thresholds; weights (n_rows, n_keys)."""
    ordered = weights.sort(dim=-1, descending=True).values
    mass = ordered.cumsum(dim=-1, dtype=torch.float64)
    total = mass[:, -1]
    counts = torch.empty(len(weights), len(thresholds), dtype=torch.int32, device=weights.device)
    for index, threshold in enumerate(thresholds):
        short = mass < ((threshold - TOLERANCE) * total)[:, None]
        counts[:, index] = torch.where(total > 0, 1 + short.sum(dim=-1), 0)
    return counts


def _check_weights(rows: torch.Tensor) -> float:
    """Return the largest weight, which is finite as all are."""
    if rows.numel() == 0:
        return 0.0
    smallest, largest = (float(value) for value in rows.aminmax())
    if not (smallest >= 0 and math.isfinite(largest)):
        raise InputError("attention weights must be finite and not negative; give the rows of a softmax")
    return largest


def _count_torch(weights: torch.Tensor, thresholds: tuple[float, ...]) -> torch.Tensor:
    rows = max(1, _CHUNK // weights.shape[1])
    return torch.cat([_count_sorted(block, thresholds) for block in torch.split(weights, rows)])


@overload
def count_entries(
    weights: torch.Tensor,
    thresholds: Sequence[float],
    *,
    key_mask: torch.Tensor | NDArray[np.bool_] | None = None,
) -> torch.Tensor: ...


@overload
def count_entries(
    weights: NDArray[Any],
    thresholds: Sequence[float],
    *,
    key_mask: torch.Tensor | NDArray[np.bool_] | None = None,
) -> NDArray[np.int32]: ...


def count_entries(
    weights: torch.Tensor | NDArray[Any],
    thresholds: Sequence[float],
    *,
    key_mask: torch.Tensor | NDArray[np.bool_] | None = None,
) -> torch.Tensor | NDArray[np.int32]:
    """Count the entries that hold a given share of each row's mass.

    The size of a head's metastable state for one query token: with p sorted downwards,

        k = 1 + #{j : p(1) + ... + p(j) < threshold * sum(p)}.

    Sums are taken in float64 whatever the weights' type, and reach the threshold when no more than
    `TOLERANCE` of the row's mass is missing, so that ties count as on paper: [0.5, 0.4, 0.1] gives 2
    at 0.9, and n equal entries give the next integer from 0.9 n.

    Parameters
    ----------
    weights : Tensor or ndarray of float, shape (..., n_keys)
        Attention rows, on any device; they need not sum to one.
    thresholds : sequence of float
        Each in (0, 1].
    key_mask : Tensor or ndarray of bool, broadcastable to weights, optional
        True where an entry is a key. Other entries carry no mass, whatever their weight.

    Returns
    -------
    Tensor (or ndarray, where weights are) of int32, shape (..., n_thresholds)
        Between 1 and the row's number of keys; 0 for a row without mass, which has nothing to count.

    Raises
    ------
    InputError
        If a threshold lies outside (0, 1], or weights are negative, not finite, or without keys.

    References
    ----------
    .. [1] Ramsauer et al. (2021), "Hopfield Networks is All You Need", section 3, arXiv 2008.02217.

    Examples
    --------
    >>> count_entries(np.array([[0.95, 0.03, 0.02], [0.6, 0.2, 0.2]]), [0.5, 0.9])
    array([[1, 1],
           [1, 3]], dtype=int32)
    """
    values = check_thresholds(thresholds)
    if isinstance(weights, np.ndarray):
        return count_entries(torch.as_tensor(weights), values, key_mask=key_mask).numpy()
    if not weights.is_floating_point() or weights.ndim == 0 or weights.shape[-1] == 0:
        raise InputError(
            f"attention weights of shape {tuple(weights.shape)} and type {weights.dtype} hold no rows; "
            "give floats with at least one key in the last dimension"
        )
    if key_mask is not None:
        mask = torch.as_tensor(key_mask, dtype=torch.bool, device=weights.device)
        weights = weights.masked_fill(~mask, 0.0)
    rows = weights.detach().reshape(-1, weights.shape[-1])
    largest = _check_weights(rows)
    # Where the device has no float64, the CPU does the counting.
    home = rows.device
    if home.type == "mps":
        rows = rows.cpu()
    compiled = rows.device.type == "cpu" and _suits_kernel(rows, largest)
    counts = (_count_compiled if compiled else _count_torch)(rows, values).to(home)
    return counts.reshape(*weights.shape[:-1], len(values))
