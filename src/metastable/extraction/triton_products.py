"""The products of attention on a graphics card: queries with keys, and weights with values, of many heads at a time.

A library's product of many matrices wants them at one step from each other, which those of all heads of all sequences
are not where heads lie between the tokens of a sequence; these two kernels take them as they lie. They are for numbers
of 16 bits, which the card multiplies in its tensor cores and sums in float32. Triton's interpreter has no product of
numbers in bfloat16, and gets them as float32, in which their products are the same.
"""

# Triton's functions are compiled from their source, in a language whose types mypy does not know.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

import torch
import triton
import triton.language as tl

from metastable.extraction.triton_rows import sequence_and_head

__all__ = ["add_up_values", "multiplies", "multiply_queries_by_keys"]

_MOST_SIZE = 256
# Rows and columns of a product that a program makes, the keys that it takes at a time of weights and values, and how
# many such it has under way.
_BLOCK = 128
_KEYS = 64
_STAGES = 3


@triton.jit
def _matrix(n_sequences, n_heads, first_b, first_h, n_blocks, HEADS_FIRST: tl.constexpr):
    """Say which sequence and head a program is for, and which of the blocks of their product."""
    block = tl.program_id(0) % n_blocks
    matrix = tl.program_id(0) // n_blocks
    b, h = sequence_and_head(matrix.to(tl.uint32), n_sequences, n_heads, HEADS_FIRST)
    return matrix.to(tl.int64), (first_b + b).to(tl.int64), (first_h + h).to(tl.int64), block


@triton.jit(do_not_specialize=("n_sequences", "n_heads", "first_b", "first_h", "first_q"))
def _queries_by_keys(
    query,
    key,
    scores,
    n_sequences,
    n_heads,
    n_queries,
    n_keys,
    step,
    first_b,
    first_h,
    first_q,
    groups,
    query_b,
    query_h,
    query_q,
    key_b,
    key_h,
    key_k,
    HEADS_FIRST: tl.constexpr,
    SIZE: tl.constexpr,
    PADDED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    n_columns = tl.cdiv(n_keys, COLUMNS)
    n_blocks = tl.cdiv(n_queries, ROWS) * n_columns
    matrix, b, h, block = _matrix(n_sequences, n_heads, first_b, first_h, n_blocks, HEADS_FIRST)
    q = block // n_columns * ROWS + tl.arange(0, ROWS)
    k = block % n_columns * COLUMNS + tl.arange(0, COLUMNS)
    number = tl.arange(0, PADDED)
    at_query = query + b * query_b + h * query_h + (first_q + q)[:, None] * query_q + number[None, :]
    at_key = key + b * key_b + h // groups * key_h + k[None, :] * key_k + number[:, None]
    queries = tl.load(at_query, mask=(q < n_queries)[:, None] & (number < SIZE)[None, :], other=0.0)
    keys = tl.load(at_key, mask=(k < n_keys)[None, :] & (number < SIZE)[:, None], other=0.0)
    if INTERPRETED:
        queries, keys = queries.to(tl.float32), keys.to(tl.float32)
    products = tl.dot(queries, keys).to(scores.dtype.element_ty)
    at = scores + matrix * n_queries * step + q[:, None] * step + k[None, :]
    tl.store(at, products, mask=(q < n_queries)[:, None] & (k < step)[None, :])


@triton.jit(do_not_specialize=("n_sequences", "n_heads", "first_b", "first_h", "first_q"))
def _weights_by_values(
    weights,
    value,
    output,
    n_sequences,
    n_heads,
    n_queries,
    n_keys,
    step,
    first_b,
    first_h,
    first_q,
    groups,
    value_b,
    value_h,
    value_k,
    output_b,
    output_q,
    output_h,
    HEADS_FIRST: tl.constexpr,
    SIZE: tl.constexpr,
    PADDED: tl.constexpr,
    ROWS: tl.constexpr,
    KEYS: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    n_blocks = tl.cdiv(n_queries, ROWS)
    matrix, b, h, block = _matrix(n_sequences, n_heads, first_b, first_h, n_blocks, HEADS_FIRST)
    q = block * ROWS + tl.arange(0, ROWS)
    number = tl.arange(0, PADDED)
    at_weights = weights + matrix * n_queries * step + q[:, None] * step
    at_value = value + b * value_b + h // groups * value_h + number[None, :]
    is_row, is_number = (q < n_queries)[:, None], (number < SIZE)[None, :]
    sums = tl.zeros([ROWS, PADDED], tl.float32)
    for start in range(0, n_keys, KEYS):
        k = start + tl.arange(0, KEYS)
        weight = tl.load(at_weights + k[None, :], mask=is_row & (k < n_keys)[None, :], other=0.0)
        values = tl.load(at_value + k[:, None] * value_k, mask=(k < n_keys)[:, None] & is_number, other=0.0)
        if INTERPRETED:
            weight, values = weight.to(tl.float32), values.to(tl.float32)
        sums = tl.dot(weight, values, sums)
    at = output + b * output_b + h * output_h + (first_q + q)[:, None] * output_q + number[None, :]
    tl.store(at, sums.to(output.dtype.element_ty), mask=is_row & is_number)


def multiplies(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> bool:
    """Whether these kernels are for such tensors: of 16 bits, of one type, the numbers of a head side by side."""
    tensors = (query, key, value)
    return query.dtype in (torch.bfloat16, torch.float16) and all(
        one.dtype == query.dtype and one.stride(-1) == 1 and one.shape[-1] <= _MOST_SIZE for one in tensors
    )


def multiply_queries_by_keys(
    query: torch.Tensor, key: torch.Tensor, scores: torch.Tensor, first: tuple[int, int, int]
) -> None:
    """Fill scores with the products of queries and keys, rounded to their type as a product of matrices is.

    Parameters
    ----------
    query : torch.Tensor
        (batch, heads, queries, size), whole.
    key : torch.Tensor
        (batch, key heads, keys, size), whole; the heads are a multiple of the key heads.
    scores : torch.Tensor
        (batch, heads, queries, keys), a part of them, as `metastable.extraction.triton_rows.softmax_and_measure` has
        it; the room behind a row's keys is filled with anything.
    first : tuple of int
        Sequence, head and query of the first of the scores.
    """
    n_batch, n_heads, n_queries, n_keys = scores.shape
    rows, columns = _block(n_queries), _block(n_keys)
    size = query.shape[-1]
    _queries_by_keys[(n_batch * n_heads * -(-n_queries // rows) * -(-n_keys // columns),)](
        query, key, scores, n_batch, n_heads, n_queries, n_keys, scores.stride(2), *first,
        query.shape[1] // key.shape[1], *query.stride()[:3], *key.stride()[:3],
        scores.stride(1) > scores.stride(0), size, _padded(size), rows, columns, not scores.is_cuda,
        num_warps=_warps(rows * columns),
    )  # fmt: skip


def add_up_values(
    weights: torch.Tensor, value: torch.Tensor, output: torch.Tensor, first: tuple[int, int, int]
) -> None:
    """Fill a part of the output with the products of weights and values.

    Parameters
    ----------
    weights : torch.Tensor
        (batch, heads, queries, keys), a part of them, as the scores of `multiply_queries_by_keys`.
    value : torch.Tensor
        (batch, key heads, keys, size), whole.
    output : torch.Tensor
        (batch, queries, heads, size), whole; of the part of the weights it is filled.
    first : tuple of int
        Sequence, head and query of the first of the weights.
    """
    n_batch, n_heads, n_queries, n_keys = weights.shape
    rows, keys = _block(n_queries), min(_KEYS, _block(n_keys))
    size = value.shape[-1]
    _weights_by_values[(n_batch * n_heads * -(-n_queries // rows),)](
        weights, value, output, n_batch, n_heads, n_queries, n_keys, weights.stride(2), *first,
        output.shape[2] // value.shape[1], *value.stride()[:3], *output.stride()[:3],
        weights.stride(1) > weights.stride(0), size, _padded(size), rows, keys, not weights.is_cuda,
        num_warps=_warps(rows * _padded(size)), num_stages=_STAGES,
    )  # fmt: skip


def _block(length: int) -> int:
    """Choose how much of an axis a program takes: a power of two that the tensor cores can multiply."""
    return min(_BLOCK, max(16, 1 << (length - 1).bit_length()))


def _padded(size: int) -> int:
    return max(16, 1 << (size - 1).bit_length())


def _warps(n_sums: int) -> int:
    """Choose the warps of a program, 64 sums a lane."""
    return min(8, max(1, n_sums // 2048))
