"""Attention that measures while it attends: scores, softmax, counts, masses and output, a few rows at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch

from metastable.errors import InputError
from metastable.extraction.kernels import COUNTS, MASSES, NOT_FINITE, softmax_and_measure_rows
from metastable.extraction.mass import TOLERANCE, check_thresholds
from metastable.extraction.row_kernels import choose_row_kernel
from metastable.extraction.row_measures import (
    N_VISIBLE,
    Rows,
    check_wanted,
    lengths_if_finite,
    measure_rows,
    refuse_values,
)
from metastable.extraction.threads import most_threads, share_out
from metastable.models.capture import Scores

__all__ = [
    "LayerMeasures",
    "Measured",
    "Measuring",
    "attend_and_measure",
    "refuse_faults",
]

# Scores that exist at a time: on the CPU few enough for each thread's to stay in its cache, elsewhere enough to
# keep the device busy; between Triton's kernels what a share of the card's memory holds, since every part of a layer
# is launched anew, up to a number that they count to.
_SCORES_IN_CACHE = 1 << 19
_SCORES_ON_DEVICE = 1 << 26
_SHARE_OF_CARD = 1 / 64
_MOST_SCORES_ON_CARD = 1 << 30

# An additive mask or bias that takes as much as this off a score hides the key: masks add -10000 (-9984 in bfloat16),
# the least number of their type, or minus infinity; position biases stay far from it.
_HIDES = -9000.0


class Measured(NamedTuple):
    """What an attention layer hands on, and the measures of its rows.

    Attributes
    ----------
    output : torch.Tensor
        (batch, queries, heads, size), contiguous, in the values' dtype.
    values : dict of str to torch.Tensor
        By the names of `metastable.extraction.row_measures.ROW_MEASURES`, on the CPU where the softmax ran there.
        Counts are (batch, heads, queries, thresholds) int32, 0 for queries that were not asked and for rows without
        mass. Masses are (batch, heads, queries) float32, NaN for queries that were not asked or see no key. The
        number of visible keys is (batch, heads, queries) int32, 0 for queries that were not asked.
    faults : torch.Tensor
        (2,) boolean, on the device of the values: whether scores, and whether values, are NaN or infinite.
    """

    output: torch.Tensor
    values: dict[str, torch.Tensor]
    faults: torch.Tensor


@dataclass(frozen=True)
class LayerMeasures:
    """One layer's measures of one batch.

    Attributes
    ----------
    site : str
        Name of the site.
    layer : int
        Position of the layer in its site, from 0.
    values : mapping of str to torch.Tensor
        As `Measured` has them.
    faults : torch.Tensor
        As `Measured` has them; whoever takes the measures of a device hands them to `refuse_faults`.
    """

    site: str
    layer: int
    values: Mapping[str, torch.Tensor]
    faults: torch.Tensor


@dataclass(frozen=True)
class Measuring:
    """A listener that wants measures of rows, so that a layer's weights never exist as a whole.

    Attributes
    ----------
    thresholds : tuple of float
        Shares of a row's mass.
    wanted : collection of str
        Of `metastable.extraction.row_measures.ROW_MEASURES`; ``"count"`` is always there.
    asked : callable
        ``asked(site, n_queries)`` gives (batch, queries) boolean: the rows to measure.
    word_keys : callable
        ``word_keys(site, n_keys)`` gives (batch, keys) boolean: True for the pieces of words.
    take : callable
        Called with the `LayerMeasures` of each layer.
    """

    thresholds: tuple[float, ...]
    wanted: Collection[str]
    asked: Callable[[str, int], torch.Tensor]
    word_keys: Callable[[str, int], torch.Tensor]
    take: Callable[[LayerMeasures], None]

    def attend(self, scores: Scores, site: str, layer: int) -> torch.Tensor:
        """Attend and measure together, a few rows at a time, as `metastable.models.capture.Attending` has it."""
        measured = attend_and_measure(
            *scores[:5],
            self.thresholds,
            self.wanted,
            softcap=scores.softcap,
            bias=scores.bias,
            sinks=scores.sinks,
            asked=self.asked(site, scores.query.shape[2]),
            word_keys=self.word_keys(site, scores.key.shape[2]),
            # A device that is waited for in every layer stands still in every layer.
            checks=scores.query.device.type == "cpu",
        )
        self.take(LayerMeasures(site, layer, measured.values, measured.faults))
        return measured.output


def attend_and_measure(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None,
    thresholds: Sequence[float],
    wanted: Collection[str] = (),
    *,
    bias: torch.Tensor | None = None,
    softcap: float | None = None,
    sinks: torch.Tensor | None = None,
    asked: torch.Tensor | None = None,
    word_keys: torch.Tensor | None = None,
    checks: bool = True,
) -> Measured:
    """Attend with a float32 softmax and measure its rows before they leave the cache.

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
    wanted : collection of str
        Of `metastable.extraction.row_measures.ROW_MEASURES`: what is measured beside ``"count"``, which always is.

        - ``count``: the smallest number of keys that hold the threshold's share of the row's mass.
        - ``count_words``: the same of the row over the keys of words.
        - ``count_contributions``: the same of the row times the lengths of the values, p_j |v_j| [2]_.
        - ``special_mass``: share of the softmax on keys that are no words.
        - ``first_mass``: share of the softmax on the first key.
        - ``sink_mass``: share of the softmax on the learned sink; 0 where there is none.
        - ``n_visible``: number of keys that the row's query sees.
    bias : torch.Tensor, optional
        Added to the scores, broadcastable to them: a position bias.
    softcap : float, optional
        Scores s become softcap * tanh(s / softcap) before bias and mask.
    sinks : torch.Tensor, optional
        (heads,) score of each head's learned sink, which takes part in the softmax and is no key: the weights of a
        row then sum to less than one, and counts are of the row relative to its own sum.
    asked : torch.Tensor, optional
        (batch, queries) boolean; other queries attend but are not measured. All by default.
    word_keys : torch.Tensor, optional
        (batch, keys) boolean: True for the pieces of words, which ``count_words`` and ``special_mass`` need.
    checks : bool
        Whether scores and values that are not finite are refused at once, for which the device is waited for; else
        the caller does so by `refuse_faults`.

    Returns
    -------
    Measured
        The output and the measures. Counts equal those of `metastable.extraction.mass.count_entries` on the
        softmax but for rows whose mass comes within float32 rounding of a threshold.

    Raises
    ------
    InputError
        If a threshold lies outside (0, 1], a measure is unknown or lacks what it needs, or scores or values are NaN
        or infinite.

    References
    ----------
    .. [1] Dao et al. (2022), "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness",
       arXiv 2205.14135, whose order of work this follows.
    .. [2] Kobayashi et al. (2020), "Attention is Not Only a Weight: Analyzing Transformers with Vector Norms",
       arXiv 2004.10102.
    """
    shares = check_thresholds(thresholds)
    names = check_wanted(wanted, word_keys)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    groups = query.shape[1] // key.shape[1]
    lengths, finite = None, None
    kernel = choose_row_kernel(query.device, key.shape[2]).name
    if "count_contributions" in names:
        lengths, finite = _value_lengths(value, kernel)
    if groups > 1:
        lengths = None if lengths is None else lengths.repeat_interleave(groups, dim=1)
    n_batch, n_heads, n_queries, _ = query.shape
    n_keys = key.shape[2]
    visible, bias = _visible_and_bias(mask, bias, n_keys)
    if asked is None:
        asked = torch.ones(n_batch, n_queries, dtype=torch.bool, device=query.device)
    rows = Rows(shares, names, visible, bias, asked, sinks, word_keys, lengths)
    if kernel == "triton":
        rows = _with_others(rows)
    if checks and finite is not None and not bool(finite):
        refuse_values()
    output = value.new_empty(n_batch, n_queries, n_heads, value.shape[-1])
    filled = _empty_values(names, (n_batch, n_heads, n_queries), len(shares), query.device)
    attend = _WAYS[kernel]
    attend(_Heads(query, key, value, scaling, softcap, output), rows, filled)
    values = filled.by_name(names)
    broken = (values["count"] == NOT_FINITE).any()
    if sinks is not None:
        broken = broken | sinks.isnan().any()
    faults = torch.stack([broken, torch.zeros_like(broken) if finite is None else ~finite])
    if checks:
        refuse_faults(faults)
    if N_VISIBLE in wanted:
        visible_keys = _number_of_visible_keys(visible, bias, n_keys, asked.device) * asked[:, None]
        values[N_VISIBLE] = visible_keys.int().expand(n_batch, n_heads, n_queries)
    return Measured(output, values, faults)


def _value_lengths(value: torch.Tensor, kernel: str) -> tuple[torch.Tensor, torch.Tensor]:
    if kernel != "triton":
        return lengths_if_finite(value)
    from metastable.extraction.triton_lengths import lengths_if_finite_on_card

    return lengths_if_finite_on_card(value)


def _with_others(rows: Rows) -> Rows:
    """List the keys that are no words once for all parts of a layer, where they are asked for."""
    if rows.needed_words is None:
        return rows
    from metastable.extraction.triton_rows import list_others

    return replace(rows, others=list_others(rows.needed_words, rows.visible))


def refuse_faults(faults: torch.Tensor) -> None:
    """Refuse a model whose scores or values are not finite.

    Parameters
    ----------
    faults : torch.Tensor
        (..., 2) boolean, as `Measured` has them.

    Raises
    ------
    InputError
        If any of them is True.
    """
    scores, values = faults.reshape(-1, 2).any(dim=0).tolist()
    if values:
        refuse_values()
    if scores:
        raise InputError("the model's attention scores are NaN or infinite; load it in float32, or check its weights")


@dataclass(frozen=True)
class _Filled:
    """Where measures go: (kinds, batch, heads, queries, thresholds) and (kinds, batch, heads, queries)."""

    counts: torch.Tensor
    masses: torch.Tensor

    def cut(self, b: slice, h: slice, q: slice) -> _Filled:
        return _Filled(self.counts[:, b, h, q], self.masses[:, b, h, q])

    def by_name(self, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
        counted = [name for name in COUNTS if name in names]
        weighed = [name for name in MASSES if name in names]
        return dict(zip(counted, self.counts, strict=True)) | dict(zip(weighed, self.masses, strict=True))

    def fill(self, names: tuple[str, ...], values: Mapping[str, Any]) -> None:
        for name, place in self.by_name(names).items():
            place.copy_(torch.as_tensor(values[name]))


def _empty_values(names: tuple[str, ...], shape: tuple[int, int, int], n_shares: int, device: torch.device) -> _Filled:
    n_counts = sum(name in COUNTS for name in names)
    return _Filled(
        torch.empty(n_counts, *shape, n_shares, dtype=torch.int32, device=device),
        torch.empty(len(names) - n_counts, *shape, dtype=torch.float32, device=device),
    )


def _number_of_visible_keys(
    visible: torch.Tensor | None, bias: torch.Tensor | None, n_keys: int, device: torch.device
) -> torch.Tensor:
    """Count the keys that queries see, in a shape that (batch, heads, queries) broadcasts."""
    seen = torch.ones(1, 1, 1, n_keys, dtype=torch.bool, device=device) if visible is None else visible
    if bias is not None:
        seen = seen & (bias > _HIDES)
    return seen.sum(dim=-1)


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


@dataclass(frozen=True)
class _Heads:
    """What attends, how, and where the output goes: (batch, queries, heads, size)."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    scaling: float
    softcap: float | None
    output: torch.Tensor

    def capped(self, products: torch.Tensor) -> tuple[torch.Tensor, float]:
        """Give products the softcap, if there is one, and the factor that makes them scores."""
        if self.softcap is None:
            return products, self.scaling
        return products.float().mul_(self.scaling / self.softcap).tanh_().mul_(self.softcap), 1.0


def _attend_in_tiles(heads: _Heads, rows: Rows, filled: _Filled, weigh: _Weigh, n_scores: int) -> None:
    """Attend a tile at a time, of which a function makes weights and measures; on the CPU on all threads."""
    query, key, value = heads.query, heads.key, heads.value
    n_batch, n_heads, n_queries, _ = query.shape
    groups = n_heads // key.shape[1]
    if groups > 1:
        key = key.repeat_interleave(groups, dim=1)
        value = value.repeat_interleave(groups, dim=1)

    def attend(tile: tuple[slice, slice, slice]) -> None:
        b, h, q = tile
        scores, factor = heads.capped(torch.matmul(query[b, h, q], key[b, h].transpose(-1, -2)))
        weights = weigh(scores, factor, rows.cut(b, h, q), filled.cut(b, h, q), value.dtype)
        heads.output[b, q, h] = torch.matmul(weights, value[b, h]).transpose(1, 2)

    tiles = list(_tiles(n_batch, n_heads, n_queries, key.shape[2], n_scores))
    share_out(attend, tiles, min(most_threads(), len(tiles)) if query.device.type == "cpu" else 1)


def _attend_on_card(heads: _Heads, rows: Rows, filled: _Filled) -> None:
    """Attend by products without copies and one kernel between them: some heads at a time, or some sequences."""
    from metastable.extraction.triton_products import multiplies
    from metastable.extraction.triton_rows import room_of_row, softmax_and_measure

    query, key, value = heads.query, heads.key, heads.value
    n_batch, n_heads, n_queries, _ = query.shape
    n_keys = key.shape[2]
    room = room_of_row(n_keys)
    # Matrices that a library multiplies together lie at equal steps: those of one head, or those of one sequence.
    of_head = n_batch >= n_heads or n_heads > key.shape[1]
    n_outer, n_inner = (n_heads, n_batch) if of_head else (n_batch, n_heads)
    n_rows = max(1, _scores_on_card(query.device, query.element_size()) // room)
    most_q = min(n_queries, n_rows)
    most_inner = min(n_inner, max(1, n_rows // n_queries))
    most_outer = min(n_outer, max(1, n_rows // (n_queries * n_inner)))
    buffer = query.new_empty(most_outer * most_inner * most_q * room)
    multiply = _multiply_by_triton if multiplies(query, key, value) else _multiply_by_library
    by_keys, by_values = multiply(heads, of_head)
    for outer, inner, q in _parts(n_outer, most_outer, n_inner, most_inner, n_queries, most_q):
        shape = (outer.stop - outer.start, inner.stop - inner.start, q.stop - q.start)
        products = buffer[: math.prod(shape) * room].view(*shape, room)[..., :n_keys]
        by_keys(products, outer, inner, q)
        scores, factor = heads.capped(products)
        weights = scores
        if scores.dtype != value.dtype:
            # Without room; a lone row would keep the step that it had with it.
            scores = scores.reshape(-1).view(shape[0], shape[1], shape[2], n_keys)
            weights = torch.empty(scores.shape, dtype=value.dtype, device=scores.device)
        turned, first = _placed(scores, of_head, outer, inner, q)
        turned_weights, _ = _placed(weights, of_head, outer, inner, q)
        softmax_and_measure(turned, turned_weights, factor, rows, filled.counts, filled.masses, first=first)
        by_values(weights, outer, inner, q)


@cache
def _scores_on_card(device: torch.device, n_bytes: int) -> int:
    """Say how many scores of so many bytes are made at a time."""
    if device.type != "cuda":
        return _SCORES_ON_DEVICE
    most = int(torch.cuda.get_device_properties(device).total_memory * _SHARE_OF_CARD) // n_bytes
    return min(most, _MOST_SCORES_ON_CARD)


def _placed(
    part: torch.Tensor, of_head: bool, outer: slice, inner: slice, q: slice
) -> tuple[torch.Tensor, tuple[int, int, int]]:
    """Turn a part to (batch, heads, queries, keys), and say the sequence, head and query that it begins with."""
    if of_head:
        return part.transpose(0, 1), (inner.start, outer.start, q.start)
    return part, (outer.start, inner.start, q.start)


# Fills (outer, inner, queries, keys) scores, or takes such weights: of heads and sequences, or the other way round.
_Multiply = Callable[[torch.Tensor, slice, slice, slice], None]


def _multiply_by_library(heads: _Heads, of_head: bool) -> tuple[_Multiply, _Multiply]:
    """Make functions that multiply a part's queries by keys and weights by values, a head or sequence at a time."""
    axis = 1 if of_head else 0
    groups = heads.query.shape[1] // heads.key.shape[1] if of_head else 1
    queries, outputs = heads.query.unbind(axis), heads.output.transpose(1, 2).unbind(axis)
    keys, values = heads.key.transpose(-1, -2).unbind(axis), heads.value.unbind(axis)

    def by_keys(scores: torch.Tensor, outer: slice, inner: slice, q: slice) -> None:
        for product, one in zip(scores.unbind(0), range(outer.start, outer.stop), strict=True):
            torch.bmm(queries[one][inner, q], keys[one // groups][inner], out=product)

    def by_values(weights: torch.Tensor, outer: slice, inner: slice, q: slice) -> None:
        for weight, one in zip(weights.unbind(0), range(outer.start, outer.stop), strict=True):
            torch.bmm(weight, values[one // groups][inner], out=outputs[one][inner, q])

    return by_keys, by_values


def _multiply_by_triton(heads: _Heads, of_head: bool) -> tuple[_Multiply, _Multiply]:
    """As `_multiply_by_library`, all heads and sequences of the part by one kernel each."""
    from metastable.extraction.triton_products import add_up_values, multiply_queries_by_keys

    def by_keys(scores: torch.Tensor, outer: slice, inner: slice, q: slice) -> None:
        part, first = _placed(scores, of_head, outer, inner, q)
        multiply_queries_by_keys(heads.query, heads.key, part, first)

    def by_values(weights: torch.Tensor, outer: slice, inner: slice, q: slice) -> None:
        part, first = _placed(weights, of_head, outer, inner, q)
        add_up_values(part, heads.value, heads.output, first)

    return by_keys, by_values


def _parts(*lengths: int) -> Iterator[tuple[slice, ...]]:
    """Cut axes, given by their lengths and the most of each in a part, into parts."""
    n, most = lengths[::2], lengths[1::2]
    cuts = [[slice(i, min(i + step, end)) for i in range(0, end, step)] for end, step in zip(n, most, strict=True)]
    yield from itertools.product(*cuts)


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


_Weigh = Callable[[torch.Tensor, float, Rows, _Filled, torch.dtype], torch.Tensor]


def _weigh_compiled(
    scores: torch.Tensor, scaling: float, rows: Rows, filled: _Filled, dtype: torch.dtype
) -> torch.Tensor:
    """Fill in the measures of a tile, and return its weights."""
    scores = scores.float()
    values = softmax_and_measure_rows(
        scores.numpy(),
        np.array(rows.shares) - TOLERANCE,
        rows.names,
        scale=scaling,
        bias=_as_array(rows.bias),
        visible=_as_array(rows.visible),
        asked=_as_array(rows.asked),
        sinks=None if rows.sinks is None else _as_array(rows.sinks.double()),
        words=_as_array(rows.word_keys),
        lengths=_as_array(rows.lengths),
    )
    filled.fill(rows.names, values)
    return scores.to(dtype)


def _as_array(tensor: torch.Tensor | None) -> Any:
    return None if tensor is None else np.ascontiguousarray(tensor.numpy())


def _weigh_by_torch(
    scores: torch.Tensor, scaling: float, rows: Rows, filled: _Filled, dtype: torch.dtype
) -> torch.Tensor:
    """As `_weigh_compiled`, by torch operations that stay on the device."""
    scores = scores.float().mul_(scaling)
    if rows.bias is not None:
        scores.add_(rows.bias)
    if rows.visible is not None:
        scores.masked_fill_(~rows.visible, -torch.inf)
    largest = scores.amax(dim=-1, keepdim=True)
    sees_none = largest == -torch.inf
    broken = ~largest.isfinite() & ~sees_none
    on_keys, on_sink = torch.ones_like(largest), torch.zeros_like(largest)
    if rows.sinks is not None:
        above_keys = rows.sinks.float()[:, None, None] - scores.logsumexp(dim=-1, keepdim=True)
        on_keys, on_sink = torch.sigmoid(-above_keys), torch.sigmoid(above_keys)
    scores = torch.softmax(scores.masked_fill(sees_none, 0.0), dim=-1).masked_fill_(sees_none, 0.0)
    values = measure_rows(scores.masked_fill(broken, 0.0), on_keys, on_sink, broken | sees_none, rows)
    for name in values.keys() & set(COUNTS):
        values[name].masked_fill_(broken, NOT_FINITE)
    filled.fill(rows.names, values)
    return scores.mul_(on_keys).to(dtype)


_WAYS: dict[str, Callable[[_Heads, Rows, _Filled], None]] = {
    "compiled": lambda heads, rows, filled: _attend_in_tiles(heads, rows, filled, _weigh_compiled, _SCORES_IN_CACHE),
    "triton": _attend_on_card,
    "torch": lambda heads, rows, filled: _attend_in_tiles(heads, rows, filled, _weigh_by_torch, _SCORES_ON_DEVICE),
}
