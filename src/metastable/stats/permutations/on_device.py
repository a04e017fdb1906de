"""The pass over relabelings where torch computes: null distributions are made, compared and summed on the device.

Relabelings are drawn on the host, since one seed is to give one answer on every device; they are drawn once, not once
for every block of features, on threads side by side, and leave for the device while it computes. So do the values,
which are made ready there. What comes back are counts and maxima.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metastable.stats.permutations.omnibus import Collector
from metastable.stats.permutations.relabelings import Relabelings
from metastable.stats.permutations.statistics import Backend, Prepared, Statistic

__all__ = ["Labels", "add_to_groups", "critical_values", "null_on_device", "number_reaching", "running_maxima"]

Floats = NDArray[np.float64]

# Features whose null distributions are compared at a time, each with a copy or two.
_AT_A_TIME = 256


class Labels:
    """Relabelings on a device, kept there where they take no more memory than they may.

    Parameters
    ----------
    relabelings : Relabelings
    backend : Backend
    most_bytes : int
        What they may take.
    """

    def __init__(self, relabelings: Relabelings, backend: Backend, most_bytes: int) -> None:
        self._relabelings = relabelings
        self._backend = backend
        self._most_bytes = most_bytes
        self._kept: list[Any] | None = None

    def blocks(self, size: int) -> Iterator[Any]:
        """Yield them in blocks of at most `size`, which is the same in every pass."""
        if self._kept is not None:
            yield from self._kept
            return
        sent, n_bytes = [], 0
        for relabeled in self._relabelings.blocks(size):
            n_bytes += relabeled.nbytes
            block = self._backend.send(relabeled)
            if n_bytes <= self._most_bytes:
                sent.append(block)
            else:
                sent.clear()
            yield block
        if n_bytes <= self._most_bytes:
            self._kept = sent


def null_on_device(
    statistic: Statistic,
    prepared: Prepared,
    labels: Labels,
    size: int,
    backend: Backend,
    alternative: Literal["two-sided", "greater", "less"],
) -> Iterator[Any]:
    """Yield the directed statistics under blocks of relabelings, (n_features, at most size), on the device."""
    resident = replace(backend, fetch=lambda x: x)
    for relabeled in labels.blocks(size):
        found = statistic.evaluate(prepared, relabeled, resident)
        if alternative != "greater":
            found = found.abs() if alternative == "two-sided" else found.neg()
        # A relabeling without a number counts as reaching whatever was observed.
        yield found.masked_fill(found.isnan(), float("inf"))


def number_reaching(null: Any, bounds: Floats) -> NDArray[np.int64]:
    """Count, in every row, the statistics that reach the row's bound."""
    import torch

    sent = torch.from_numpy(np.ascontiguousarray(bounds)).to(null.device)[:, None]
    parts = [(rows >= bound).sum(dim=1) for rows, bound in _together(null, sent)]
    return np.asarray(torch.cat(parts).cpu().numpy())


def running_maxima(null: Any, maximum: Floats, bounds: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Count how often the maximum over the rows until each one reaches its bound.

    Parameters
    ----------
    null : torch.Tensor
        (n_features, n) statistics, the features from the smallest observed one up.
    maximum : ndarray of float64, shape (n,)
        Over the features before.
    bounds : ndarray of float64, shape (n_features,)

    Returns
    -------
    reached : ndarray of int, shape (n_features,)
    maximum : ndarray of float64, shape (n,)
        Over these features too.
    """
    import torch

    sent = torch.from_numpy(np.ascontiguousarray(bounds)).to(null.device)[:, None]
    last = torch.from_numpy(maximum).to(null.device)[None]
    reached = []
    for rows, bound in _together(null, sent):
        maxima = torch.cat([last, rows]).cummax(dim=0).values
        reached.append((maxima[1:] >= bound).sum(dim=1))
        last = maxima[-1:]
    return np.asarray(torch.cat(reached).cpu().numpy()), np.asarray(last[0].cpu().numpy())


def critical_values(null: Any, observed: Floats, alpha: float, *, exact: bool) -> Floats:
    """Largest statistic of each row whose p among the others is not below alpha."""
    import torch

    sent = torch.from_numpy(np.ascontiguousarray(observed)).to(null.device)[:, None]
    found = []
    for rows, own in _together(null, sent):
        pool = rows if exact else torch.cat([rows, own], dim=1)
        few = int(np.ceil(alpha * pool.shape[1] - 1e-9)) - 1
        found.append(pool.topk(few + 1, dim=1).values[:, -1])
    return np.asarray(torch.cat(found).cpu().numpy())


def add_to_groups(
    groups: Collector, features: NDArray[np.intp], observed: Floats, null: Any, margin: Floats, critical: Floats
) -> None:
    """Add features to the groups that hold them, as `Collector.add` does one by one."""
    import torch

    bounds = torch.from_numpy(np.ascontiguousarray(critical)).to(null.device)[:, None]
    for name, mask in groups.masks.items():
        held = np.flatnonzero(mask[features])
        if not len(held):
            continue
        at = torch.from_numpy(held).to(null.device)
        sums = null.new_zeros(3, null.shape[1])
        sums[0] = -torch.inf
        for rows, bound in _together(null[at], bounds[at]):
            reach = rows.clamp_min(0.0)
            sums[0] = torch.maximum(sums[0], rows.amax(dim=0))
            sums[1] += (reach.square() if groups.square else reach).sum(dim=0)
            sums[2] += (rows > bound).sum(dim=0)
        groups.add_many(name, observed[held], sums.cpu().numpy(), margin[held], critical[held])


def _together(null: Any, *beside: Any) -> Iterator[tuple[Any, ...]]:
    yield from zip(*(tensor.split(_AT_A_TIME) for tensor in (null, *beside)), strict=True)
