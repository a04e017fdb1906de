"""The lengths of values on a graphics card, which read them twice and write nothing else."""

# Triton's functions are compiled from their source, in a language whose types mypy does not know.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

import torch
import triton
import triton.language as tl

__all__ = ["lengths_if_finite_on_card"]

# Keys that a program holds at a time.
_KEYS = 64


@triton.jit
def _lengths(
    values,
    lengths,
    longest,
    finite,
    n_heads,
    n_keys,
    value_b,
    value_h,
    value_k,
    SIZE: tl.constexpr,
    PADDED: tl.constexpr,
    KEYS: tl.constexpr,
):
    head = tl.program_id(0).to(tl.int64)
    number = tl.arange(0, PADDED)[None, :]
    at = values + head // n_heads * value_b + head % n_heads * value_h + number
    tops = tl.zeros([KEYS, PADDED], tl.float32)
    faults = tl.zeros([KEYS, PADDED], tl.int32)
    for start in range(0, n_keys, KEYS):
        key = (start + tl.arange(0, KEYS))[:, None]
        value = tl.load(at + key * value_k, mask=(key < n_keys) & (number < SIZE), other=0.0).to(tl.float32)
        tops = tl.maximum(tops, tl.abs(value))
        # Nothing is left of a number taken off itself, but of NaN and infinity.
        faults += (value - value != 0.0).to(tl.int32)
    largest = tl.max(tl.max(tops, 1), 0)
    divisor = tl.where(largest > 0.0, largest, 1.0)
    most = tl.zeros([KEYS], tl.float32)
    for start in range(0, n_keys, KEYS):
        key = (start + tl.arange(0, KEYS))[:, None]
        value = tl.load(at + key * value_k, mask=(key < n_keys) & (number < SIZE), other=0.0).to(tl.float32)
        # Squares are at most one.
        value = value / divisor
        length = tl.sqrt(tl.sum(value * value, 1))
        key = start + tl.arange(0, KEYS)
        tl.store(lengths + head * n_keys + key, length, mask=key < n_keys)
        most = tl.maximum(most, length)
    tl.store(longest + head, tl.max(most, 0))
    tl.store(finite + head, tl.max(tl.max(faults, 1), 0) == 0)


def lengths_if_finite_on_card(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As `metastable.extraction.row_measures.lengths_if_finite`, by one kernel.

    Parameters
    ----------
    value : torch.Tensor
        (batch, key heads, keys, size), any float type; the numbers of a value side by side.

    Returns
    -------
    lengths : torch.Tensor
        (batch, key heads, keys) float32, relative to the longest of their head.
    finite : torch.Tensor
        One boolean.
    """
    if value.stride(-1) != 1:
        value = value.contiguous()
    n_batch, n_heads, n_keys, size = value.shape
    lengths = torch.empty(n_batch, n_heads, n_keys, dtype=torch.float32, device=value.device)
    longest = torch.empty(n_batch, n_heads, 1, dtype=torch.float32, device=value.device)
    finite = torch.empty(n_batch, n_heads, dtype=torch.bool, device=value.device)
    padded = 1 << (size - 1).bit_length()
    _lengths[(n_batch * n_heads,)](
        value, lengths, longest, finite, n_heads, n_keys, *value.stride()[:3], size, padded, _KEYS
    )
    return lengths / longest.masked_fill(longest == 0, 1.0), finite.all()
