"""The pass over attention rows on a graphics card: softmax, counts and masses by one Triton kernel.

A warp takes one row, or several short ones side by side (a row of more than 512 keys is shared by several warps), holds
them in registers, and writes weights, counts and masses; the scores are read once and the weights written once, in
their place. The count at a threshold is found as
`metastable.extraction.kernels` finds that of a long row: by pivots that close in on the entry where the goal is
reached, pairs of them around a linear interpolation, and by bounds that end the search as soon as they meet. Rising
thresholds take over the bracket of the one before.

Sums run in float32. Where rounding could decide, which a bound of their error tells, the search goes on by float64
sums, so that the result is that of float64 sums.

Triton decides when a function is decorated whether it is compiled or interpreted: with TRITON_INTERPRET=1 in the
environment the same code runs on tensors of the CPU, which is how it is tested where there is no card.
"""

# Triton's functions are compiled from their source, in a language whose types mypy does not know.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist
from typing import Any

import torch
import triton
import triton.language as tl

from metastable.extraction.kernels import COUNTS, MASSES, NOT_FINITE
from metastable.extraction.mass import TOLERANCE
from metastable.extraction.row_measures import Rows

__all__ = ["MOST_KEYS", "softmax_and_measure"]

MOST_KEYS = 1 << 14
"""The longest row that one program holds."""

# Entries that a lane holds: few enough for its registers, and enough that the steps of a search weigh little.
_KEYS_OF_LANE = 16
_LANES_OF_WARP = 32
_FEWEST_LANES = 4

_BITS_OF_ONE = tl.constexpr(0x3F800000)
_BITS_PER_OCTAVE = tl.constexpr(2.0**23)
_PAIRS = tl.constexpr(10)
_INTERPOLATIONS = tl.constexpr(4)
_APART = tl.constexpr(0.1)
_NOT_FINITE = tl.constexpr(NOT_FINITE)
_SMALLEST = tl.constexpr(1e-37)


@triton.jit
def _as_float(bits):
    return bits.to(tl.float32, bitcast=True)


@triton.jit
def _as_bits(number):
    return number.to(tl.int32, bitcast=True)


@triton.jit
def _of_rows(numbers):
    """Give one number a row the axes of the entries."""
    return numbers[None, :, None]


@triton.jit
def _sum(lines):
    """Sum each row: first what a lane holds of it, then over lanes."""
    return tl.sum(tl.sum(lines, 0), 1)


@triton.jit
def _largest(lines):
    return tl.max(tl.max(lines, 0), 1)


@triton.jit
def _above(lines, pivots):
    """Mass and number of each row's entries above its pivot, in float32."""
    above = lines > _of_rows(_as_float(pivots))
    return _sum(tl.where(above, lines, 0.0)), _sum(above.to(tl.float32))


@triton.jit
def _mass_above_exactly(lines, pivots):
    above = lines > _of_rows(_as_float(pivots))
    return _sum(tl.where(above, lines, 0.0).to(tl.float64))


@triton.jit
def _search_exactly(lines, near, share, high, low):
    """Count the rows marked near by halving their brackets with float64 sums; other rows get nonsense.

    A share of 0 or less needs one entry.
    """
    goal = share * _sum(lines.to(tl.float64))
    high = tl.where(near, high, _BITS_OF_ONE)
    low = tl.where(near, low, _BITS_OF_ONE - 1)
    while tl.max(high - low, 0) > 1:
        middle = low + (high - low) // 2
        reaches = _mass_above_exactly(lines, middle) >= goal
        is_open = high - low > 1
        low = tl.where(is_open & reaches, middle, low)
        high = tl.where(is_open & (reaches == 0), middle, high)
    # No number lies between the pivots, so all entries there are equal.
    needed = tl.ceil((goal - _mass_above_exactly(lines, high)) / _as_float(high).to(tl.float64)).to(tl.float32)
    _, number_above = _above(lines, high)
    _, number_reached = _above(lines, low)
    return number_above + tl.maximum(tl.minimum(needed, number_reached - number_above), 1.0)


@triton.jit
def _store_counts(lines, is_counted, places, is_row, plan, n_shares, ERROR: tl.constexpr):
    """Count rows of non-negative entries at rising shares; `places` points to each row's first count.

    `plan` holds share, normal quantile and place among the counts of each threshold. ERROR bounds the relative error
    of a float32 sum.
    """
    total = _sum(lines)
    log_2 = _as_bits(lines).to(tl.float32) * (1 / _BITS_PER_OCTAVE) - 127.0
    weighed = lines * log_2
    number = _sum((lines > 0.0).to(tl.float32))
    has_mass = total > 0.0
    is_counted = is_counted & has_mass
    divisor = tl.where(has_mass, total, 1.0)
    center = _sum(weighed) / divisor
    deviation = tl.sqrt(tl.maximum(_sum(weighed * log_2) / divisor - center * center, 1e-4))
    slack = total * ERROR
    # Of the entries above `high` the mass falls short of the goal; with those above `low` it does not.
    high = _largest(_as_bits(lines))
    high_mass = total * 0.0
    high_number = total * 0.0
    low = high * 0
    low_mass = total
    low_number = number
    for t in range(n_shares):
        share = tl.load(plan + 3 * t)
        quantile = tl.load(plan + 3 * t + 1).to(tl.float32)
        goal = share.to(tl.float32) * total
        # The bracket of the share before: its lower end may lie above the goal, or take the upper end's part.
        passed = low_mass < goal - slack
        unsure = low_mass < goal + slack
        high = tl.where(passed, low, high)
        high_mass = tl.where(passed, low_mass, high_mass)
        high_number = tl.where(passed, low_number, high_number)
        low = tl.where(unsure, 0, low)
        low_mass = tl.where(unsure, total, low_mass)
        low_number = tl.where(unsure, number, low_number)
        # All entries up to this one together are less than what may be missing.
        least = _as_bits(0.999 * (total - goal) / tl.maximum(number, 1.0))
        guess = center - quantile * deviation
        is_open = is_counted & (goal > slack)
        near = is_counted & (is_open == 0)
        count = total * 0.0
        step = 0
        while tl.max(is_open.to(tl.int32), 0) > 0:
            between = low_number - high_number
            mass = low_mass - high_mass
            missing = goal - high_mass
            # The largest entries hold at least the average, and at most `high` each; the rest hold more than `low`.
            most = tl.ceil((missing + slack) * between / tl.maximum(mass - 2 * slack, _SMALLEST))
            most = tl.where(mass > 2 * slack, tl.minimum(most, between), between)
            fewest = tl.ceil((missing - slack) / tl.maximum(_as_float(high), _SMALLEST))
            least_each = _as_float(low)
            rest = (mass - missing + 2 * slack) / tl.maximum(least_each, _SMALLEST)
            fewest = tl.maximum(fewest, tl.where(least_each > _SMALLEST, tl.ceil(between - rest), 1.0))
            most = tl.maximum(most, 1.0)
            fewest = tl.maximum(fewest, 1.0)
            meet = is_open & (fewest >= most)
            count = tl.where(meet, high_number + most, count)
            is_open = is_open & (meet == 0)
            stuck = is_open & ((high - low <= 1) | (step >= _PAIRS))
            near = near | stuck
            is_open = is_open & (stuck == 0)

            span = (high - low).to(tl.float32)
            part = missing / tl.maximum(mass, _SMALLEST)
            margin = 1.0 / tl.maximum(between, 1.0) + 0.1 * part * (1.0 - part)
            # Thirds end every search, whatever the row.
            part = tl.where(step > _INTERPOLATIONS, 0.5, part)
            margin = tl.where(step > _INTERPOLATIONS, 1 / 6, margin)
            upper = high - (tl.maximum(part - margin, 0.0) * span).to(tl.int32)
            lower = high - (tl.minimum(part + margin, 1.0) * span).to(tl.int32)
            if step == 0:
                upper = ((guess + _APART * deviation) * _BITS_PER_OCTAVE).to(tl.int32) + _BITS_OF_ONE
                lower = ((guess - _APART * deviation) * _BITS_PER_OCTAVE).to(tl.int32) + _BITS_OF_ONE
            first = tl.maximum(low + 1, least)
            upper = tl.minimum(tl.maximum(upper, first), high - 1)
            lower = tl.minimum(tl.maximum(lower, first), high - 1)
            upper_mass, upper_number = _above(lines, upper)
            lower_mass, lower_number = _above(lines, lower)
            step += 1

            close = is_open & ((tl.abs(upper_mass - goal) <= slack) | (tl.abs(lower_mass - goal) <= slack))
            near = near | close
            is_open = is_open & (close == 0)
            upper_reaches = is_open & (upper_mass >= goal)
            upper_short = is_open & (upper_mass < goal)
            lower_reaches = upper_short & (lower_mass >= goal)
            lower_short = upper_short & (lower_mass < goal)
            low = tl.where(upper_reaches, upper, tl.where(lower_reaches, lower, low))
            low_mass = tl.where(upper_reaches, upper_mass, tl.where(lower_reaches, lower_mass, low_mass))
            low_number = tl.where(upper_reaches, upper_number, tl.where(lower_reaches, lower_number, low_number))
            high = tl.where(lower_short, lower, tl.where(upper_short, upper, high))
            high_mass = tl.where(lower_short, lower_mass, tl.where(upper_short, upper_mass, high_mass))
            high_number = tl.where(lower_short, lower_number, tl.where(upper_short, upper_number, high_number))
        if tl.max(near.to(tl.int32), 0) > 0:
            count = tl.where(near, _search_exactly(lines, near, share, high, low), count)
        tl.store(places + tl.load(plan + 3 * t + 2).to(tl.int32), count.to(tl.int32), mask=is_row)


# Steps are not specialized: a lane would then load several keys side by side, and rows be summed over more lanes.
@triton.jit(
    do_not_specialize=[
        "scale",
        "n_rows",
        "n_heads",
        "n_queries",
        "n_keys",
        "n_kinds",
        "n_shares",
        *(f"count_{axis}" for axis in ("kind", "b", "h", "q")),
        *(f"mass_{axis}" for axis in ("kind", "b", "h", "q")),
        *(f"visible_{axis}" for axis in "bhq"),
        *(f"bias_{axis}" for axis in "bhq"),
        *("asked_b", "words_b", "lengths_b", "lengths_h"),
    ]
)
def _rows(
    scores,
    weights,
    counts,
    masses,
    plan,
    visible,
    bias,
    asked,
    sinks,
    words,
    lengths,
    scale,
    n_rows,
    n_heads,
    n_queries,
    n_keys,
    n_kinds,
    n_shares,
    count_kind,
    count_b,
    count_h,
    count_q,
    mass_kind,
    mass_b,
    mass_h,
    mass_q,
    visible_b,
    visible_h,
    visible_q,
    bias_b,
    bias_h,
    bias_q,
    asked_b,
    words_b,
    lengths_b,
    lengths_h,
    HAS_VISIBLE: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_SINKS: tl.constexpr,
    WORDS_AT: tl.constexpr,
    CONTRIBUTIONS_AT: tl.constexpr,
    OTHERS_AT: tl.constexpr,
    FIRST_AT: tl.constexpr,
    SINK_AT: tl.constexpr,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
    KEYS_OF_LANE: tl.constexpr,
    ERROR: tl.constexpr,
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    is_row = row < n_rows
    q = (row % n_queries).to(tl.int64)
    h = ((row // n_queries) % n_heads).to(tl.int64)
    b = (row // (n_queries * n_heads)).to(tl.int64)
    key = tl.arange(0, KEYS_OF_LANE)[:, None, None] * LANES + tl.arange(0, LANES)[None, None, :]
    there = _of_rows(is_row) & (key < n_keys)
    at = _of_rows(row.to(tl.int64) * n_keys) + key

    line = tl.load(scores + at, mask=there, other=0.0).to(tl.float32) * scale
    if HAS_BIAS:
        at_bias = _of_rows(b * bias_b + h * bias_h + q * bias_q) + key
        line += tl.load(bias + at_bias, mask=there, other=0.0)
    seen = there
    if HAS_VISIBLE:
        at_visible = _of_rows(b * visible_b + h * visible_h + q * visible_q) + key
        seen = there & (tl.load(visible + at_visible, mask=there, other=0) != 0)
    line = tl.where(seen, line, float("-inf"))
    largest = _largest(line)
    # Without a visible key there is nothing to take off; NaN and infinity make the total NaN.
    line = tl.exp(line - _of_rows(tl.where(largest == float("-inf"), 0.0, largest)))
    total = _sum(line)
    is_broken = (total < float("inf")) == 0
    sees_some = total > 0.0
    whole = total
    on_sink = total * 0.0
    if HAS_SINKS:
        on_sink = tl.exp(tl.load(sinks + h, mask=is_row, other=0.0) - largest)
        whole = total + on_sink
    whole = tl.where(sees_some, whole, 1.0)
    share_each = tl.where(is_broken, float("nan"), tl.where(sees_some, 1.0 / whole, 0.0))
    tl.store(weights + at, (line * _of_rows(share_each)).to(weights.dtype.element_ty), mask=there)

    is_asked = is_row & (tl.load(asked + b * asked_b + q, mask=is_row, other=0) != 0)
    if OTHERS_AT >= 0 or WORDS_AT >= 0:
        is_word = tl.load(words + _of_rows(b * words_b) + key, mask=there, other=0) != 0
    has_masses = is_asked & sees_some
    at_masses = masses + b * mass_b + h * mass_h + q * mass_q
    if OTHERS_AT >= 0:
        others = _sum(tl.where(is_word, 0.0, line)) / whole
        tl.store(at_masses + OTHERS_AT * mass_kind, tl.where(has_masses, others, float("nan")), mask=is_row)
    if FIRST_AT >= 0:
        first = _sum(tl.where(key == 0, line, 0.0)) / whole
        tl.store(at_masses + FIRST_AT * mass_kind, tl.where(has_masses, first, float("nan")), mask=is_row)
    if SINK_AT >= 0:
        # A sink far above the keys is infinitely many times their mass.
        sink = tl.where(on_sink == float("inf"), 1.0, on_sink / whole)
        tl.store(at_masses + SINK_AT * mass_kind, tl.where(has_masses, sink, float("nan")), mask=is_row)

    # A row that is not finite is counted as if it were empty, and marked.
    line = tl.where(_of_rows(is_broken), 0.0, line)
    at_counts = counts + b * count_b + h * count_h + q * count_q
    for kind in range(n_kinds):
        counted = line
        if WORDS_AT >= 0:
            counted = tl.where(is_word | (kind != WORDS_AT), counted, 0.0)
        if CONTRIBUTIONS_AT >= 0:
            at_lengths = _of_rows(b * lengths_b + h * lengths_h) + key
            counted *= tl.load(lengths + at_lengths, mask=there & (kind == CONTRIBUTIONS_AT), other=1.0)
        _store_counts(counted, is_asked, at_counts + kind * count_kind, is_row, plan, n_shares, ERROR)
    for t in range(n_shares):
        tl.store(at_counts + t, tl.zeros([ROWS], tl.int32) + _NOT_FINITE, mask=is_row & is_broken)


def _next_power(number: int) -> int:
    return 1 << max(number - 1, 0).bit_length()


@lru_cache(maxsize=64)
def _plan(shares: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """Rising shares, the normal quantiles where their search begins, and their places in the order given."""
    normal = NormalDist()
    rows = []
    for place in sorted(range(len(shares)), key=shares.__getitem__):
        share = shares[place] - TOLERANCE
        rows.append((share, normal.inv_cdf(min(max(share, 1e-6), 1 - 1e-6)), float(place)))
    return torch.tensor(rows, dtype=torch.float64, device=device)


def _strides(tensor: torch.Tensor | None, n: int) -> tuple[int, ...]:
    """Return the steps along the first axes, 0 where an axis only repeats."""
    if tensor is None:
        return (0,) * n
    return tuple(0 if tensor.shape[axis] == 1 else tensor.stride(axis) for axis in range(n))


def _bytes(mask: torch.Tensor | None, instead: torch.Tensor) -> torch.Tensor:
    return instead if mask is None else mask.view(torch.uint8)


def softmax_and_measure(
    scores: torch.Tensor,
    weights: torch.Tensor,
    scaling: float,
    rows: Rows,
    counts: torch.Tensor,
    masses: torch.Tensor,
    *,
    rows_at_once: int | None = None,
) -> None:
    """Turn scores into the weights of their softmax and measure the rows, as `kernels.softmax_and_measure_rows` does.

    Parameters
    ----------
    scores : torch.Tensor
        (batch, heads, queries, keys), contiguous, of any float type: products of queries and keys, of up to
        `MOST_KEYS` keys.
    weights : torch.Tensor
        Of the same shape, contiguous, of any float type: filled with the weights. May be the scores.
    scaling : float
        What the scores are multiplied with.
    rows : Rows
        What is measured, and of which rows; its tensors on the device of the scores, with keys side by side.
    counts : torch.Tensor
        (kinds, batch, heads, queries, thresholds) int32, the kinds those of `COUNTS` that are named: filled with the
        counts, 0 for rows that were not asked or have no mass, `NOT_FINITE` for scores that are NaN or infinite.
    masses : torch.Tensor
        (kinds, batch, heads, queries) float32, the kinds those of `MASSES` that are named: filled with shares of the
        softmax with its sink, NaN for rows that were not asked, see no key, or are not finite.
    rows_at_once : int, optional
        Rows of a program, a power of two; by default what suits a card.
    """
    n_batch, n_heads, n_queries, n_keys = scores.shape
    n_rows = n_batch * n_heads * n_queries
    if n_rows == 0:
        return
    lanes = max(_FEWEST_LANES, _next_power(-(-n_keys // _KEYS_OF_LANE)))
    at_once = rows_at_once or max(1, _LANES_OF_WARP // lanes)
    keys_of_lane = _next_power(-(-n_keys // lanes))
    counted = [name for name in COUNTS if name in rows.names]
    weighed = [name for name in MASSES if name in rows.names]
    places = [counted.index(name) if name in counted else -1 for name in COUNTS[1:]]
    places += [weighed.index(name) if name in weighed else -1 for name in MASSES]
    # Stands for tensors that are not there and that the program then does not read.
    nothing = rows.asked.view(torch.uint8)
    options: dict[str, Any] = {"num_warps": max(1, lanes // _LANES_OF_WARP)}
    _rows[(-(-n_rows // at_once),)](
        scores,
        weights,
        counts,
        masses,
        _plan(rows.shares, scores.device),
        _bytes(rows.visible, nothing),
        nothing if rows.bias is None else rows.bias,
        nothing,
        nothing if rows.sinks is None else rows.sinks.float(),
        _bytes(rows.word_keys, nothing),
        nothing if rows.lengths is None else rows.lengths,
        scaling,
        n_rows,
        n_heads,
        n_queries,
        n_keys,
        len(counts),
        len(rows.shares),
        *counts.stride()[:4],
        *masses.stride(),
        *_strides(rows.visible, 3),
        *_strides(rows.bias, 3),
        rows.asked.stride(0),
        *_strides(rows.word_keys, 1),
        *_strides(rows.lengths, 2),
        rows.visible is not None,
        rows.bias is not None,
        rows.sinks is not None,
        *places,
        at_once,
        lanes,
        keys_of_lane,
        # Sums of a lane's entries, over lanes and warps, and the product of share and total.
        (_KEYS_OF_LANE + 16) * 2 * 2.0**-24,
        **options,
    )
