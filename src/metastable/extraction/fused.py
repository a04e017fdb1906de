"""Attention that counts while it attends: scores, softmax, count and output, a few rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from metastable.errors import InputError
from metastable.extraction.kernels import NOT_FINITE, softmax_and_count_rows
from metastable.extraction.mass import TOLERANCE, check_thresholds, count_entries
from metastable.extraction.threads import most_threads, share_out
from metastable.models.capture import Scores

__all__ = ["Attended", "Counting", "LayerCounts", "attend_and_count"]

# Scores that exist at a time: on the CPU few enough for each thread's to stay in its cache, elsewhere enough to
# keep the device busy.
_SCORES_IN_CACHE = 1 << 19
_SCORES_ON_DEVICE = 1 << 26


class Attended(NamedTuple):
    """What an attention layer hands on, and its counts.

    Attributes
    ----------
    output : torch.Tensor
        (batch, queries, heads, size), contiguous, in the values' dtype.
    counts : torch.Tensor
        (batch, heads, queries, thresholds) int32, on the CPU where the softmax ran there; 0 for queries that
        were not asked or see no key.
    """

    output: torch.Tensor
    counts: torch.Tensor


@dataclass(frozen=True)
class LayerCounts:
    """One layer's counts of one batch.

    Attributes
    ----------
    site : str
        Name of the site.
    layer : int
        Position of the layer in its site, from 0.
    counts : torch.Tensor
        (batch, heads, queries, thresholds) int32, 0 where nothing is asked.
    """

    site: str
    layer: int
    counts: torch.Tensor


@dataclass(frozen=True)
class Counting:
    """A listener that wants counts alone, so that a layer's weights never exist as a whole.

    Attributes
    ----------
    thresholds : tuple of float
        Shares of a row's mass.
    asked : callable
        ``asked(site, n_queries)`` gives (batch, queries) boolean: the rows to count.
    take : callable
        Called with the `LayerCounts` of each layer.
    """

    thresholds: tuple[float, ...]
    asked: Callable[[str, int], torch.Tensor]
    take: Callable[[LayerCounts], None]

    def attend(self, scores: Scores, site: str, layer: int) -> torch.Tensor:
        """Attend and count together, a few rows at a time, as `metastable.models.capture.Attending` has it."""
        asked = self.asked(site, scores.query.shape[2])
        attended = attend_and_count(*scores[:5], self.thresholds, softcap=scores.softcap, bias=scores.bias, asked=asked)
        self.take(LayerCounts(site, layer, attended.counts))
        return attended.output


def attend_and_count(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None,
    thresholds: Sequence[float],
    *,
    bias: torch.Tensor | None = None,
    softcap: float | None = None,
    asked: torch.Tensor | None = None,
) -> Attended:
    """Attend with a float32 softmax and count its rows before they leave the cache.

    Takes the place of a model's attention: the output is softmax(scaling * query key' + bias) value over the
    visible keys, and no more than a few megabytes of weights exist at a time, whatever the length.

    Parameters
    ----------
    query : torch.Tensor
        (batch, heads, queries, size), any float dtype and device.
    key, value : torch.Tensor
        (batch, key heads, keys, size); the heads are a multiple of the key heads.
    mask : torch.Tensor or None
        Boolean (True: visible) or additive, broadcastable to (batch, heads, queries, keys).
    scaling : float or None
        Factor of the scores; by default one over the square root of the query's size.
    thresholds : sequence of float
        Each in (0, 1].
    bias : torch.Tensor, optional
        Added to the scores, broadcastable to them: a position bias.
    softcap : float, optional
        Scores s become softcap * tanh(s / softcap) before bias and mask.
    asked : torch.Tensor, optional
        (batch, queries) boolean; other queries attend but are not counted. All by default.

    Returns
    -------
    Attended
        The output and the counts, equal to those of `metastable.extraction.mass.count_entries` on the softmax
        but for rows whose mass comes within float32 rounding of a threshold.

    Raises
    ------
    InputError
        If a threshold lies outside (0, 1], or scores are NaN or infinite.

    References
    ----------
    .. [1] Dao et al. (2022), "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness",
       arXiv 2205.14135, whose order of work this follows.
    """
    shares = check_thresholds(thresholds)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key = key.repeat_interleave(groups, dim=1)
        value = value.repeat_interleave(groups, dim=1)
    n_batch, n_heads, n_queries, _ = query.shape
    n_keys = key.shape[2]
    visible, bias = _visible_and_bias(mask, bias, n_keys)
    if asked is None:
        asked = torch.ones(n_batch, n_queries, dtype=torch.bool, device=query.device)
    output = value.new_empty(n_batch, n_queries, n_heads, value.shape[-1])
    on_cpu = query.device.type == "cpu"
    counts = torch.empty(
        n_batch, n_heads, n_queries, len(shares), dtype=torch.int32, device="cpu" if on_cpu else query.device
    )
    count = _softmax_and_count_cpu if on_cpu else _softmax_and_count_torch

    def attend(tile: tuple[slice, slice, slice]) -> None:
        b, h, q = tile
        scores = torch.matmul(query[b, h, q], key[b, h].transpose(-1, -2)).float()
        factor = scaling
        if softcap is not None:
            scores.mul_(scaling / softcap).tanh_().mul_(softcap)
            factor = 1.0
        counts[b, h, q] = count(scores, shares, factor, _tile(bias, b, h, q), _tile(visible, b, h, q), asked[b, q])
        output[b, q, h] = torch.matmul(scores.to(value.dtype), value[b, h]).transpose(1, 2)

    n_scores = _SCORES_IN_CACHE if on_cpu else _SCORES_ON_DEVICE
    tiles = list(_tiles(n_batch, n_heads, n_queries, n_keys, n_scores))
    share_out(attend, tiles, min(most_threads(), len(tiles)) if on_cpu else 1)
    if bool((counts == NOT_FINITE).any()):
        raise InputError("the model's attention scores are NaN or infinite; load it in float32, or check its weights")
    return Attended(output, counts)


def _visible_and_bias(
    mask: torch.Tensor | None, bias: torch.Tensor | None, n_keys: int
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Split what is added to the scores from what hides keys."""
    visible = None
    if mask is not None:
        mask = mask[..., :n_keys] if mask.shape[-1] > 1 else mask
        if mask.dtype == torch.bool:
            visible = _compact(mask, n_keys)
        else:
            bias = mask if bias is None else bias + mask
    return visible, None if bias is None else _compact(bias.float(), n_keys)


def _compact(tensor: torch.Tensor, n_keys: int) -> torch.Tensor:
    """Give four axes, the last of all keys, the others of length 1 where they only repeat."""
    tensor = tensor[(None,) * (4 - tensor.ndim)]
    for axis in range(3):
        if tensor.stride(axis) == 0:
            tensor = tensor.narrow(axis, 0, 1)
    return tensor.expand(*tensor.shape[:3], n_keys).contiguous()


def _tiles(
    n_batch: int, n_heads: int, n_queries: int, n_keys: int, n_scores: int
) -> Iterator[tuple[slice, slice, slice]]:
    """Cut batch, heads and queries into tiles of about n_scores scores: whole sequences if they fit, or heads."""
    q = min(n_queries, max(1, n_scores // n_keys))
    h = min(n_heads, max(1, n_scores // (n_keys * n_queries)))
    b = min(n_batch, max(1, n_scores // (n_keys * n_queries * n_heads)))
    for first_b in range(0, n_batch, b):
        for first_h in range(0, n_heads, h):
            for first_q in range(0, n_queries, q):
                yield slice(first_b, first_b + b), slice(first_h, first_h + h), slice(first_q, first_q + q)


def _tile(tensor: torch.Tensor | None, *cut: slice) -> torch.Tensor | None:
    if tensor is None:
        return None
    return tensor[tuple(part if n > 1 else slice(None) for part, n in zip(cut, tensor.shape, strict=False))]


def _softmax_and_count_cpu(
    scores: torch.Tensor,
    shares: tuple[float, ...],
    scaling: float,
    bias: torch.Tensor | None,
    visible: torch.Tensor | None,
    asked: torch.Tensor,
) -> torch.Tensor:
    counts = softmax_and_count_rows(
        scores.numpy(),
        np.array(shares) - TOLERANCE,
        scale=scaling,
        bias=_as_array(bias),
        visible=_as_array(visible),
        asked=_as_array(asked),
    )
    return torch.from_numpy(counts)


def _as_array(tensor: torch.Tensor | None) -> Any:
    return None if tensor is None else np.ascontiguousarray(tensor.numpy())


def _softmax_and_count_torch(
    scores: torch.Tensor,
    shares: tuple[float, ...],
    scaling: float,
    bias: torch.Tensor | None,
    visible: torch.Tensor | None,
    asked: torch.Tensor,
) -> torch.Tensor:
    """As the kernel does, by torch operations that stay on the device."""
    scores.mul_(scaling)
    if bias is not None:
        scores.add_(bias)
    if visible is not None:
        scores.masked_fill_(~visible, -torch.inf)
    largest = scores.amax(dim=-1, keepdim=True)
    sees_none = largest == -torch.inf
    # In place, since the caller goes on with the weights.
    scores.copy_(torch.softmax(scores.masked_fill(sees_none, 0.0), dim=-1)).masked_fill_(sees_none, 0.0)
    broken = ~largest.isfinite() & ~sees_none
    counts = count_entries(scores.masked_fill(broken, 0.0), shares)
    return counts.masked_fill_(broken, NOT_FINITE).masked_fill_(~asked[:, None, :, None], 0)
