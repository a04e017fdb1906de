"""The pass over attention rows on a graphics card: softmax, counts and masses by one Triton kernel.

A warp takes one row, or several short ones side by side (a row of more than 1,024 keys is shared by several warps),
holds them in registers, and writes weights, counts and masses; the scores are read once and the weights written once,
in their place. The count at a threshold is found as `metastable.extraction.kernels` finds that of a long row: by pivots
that close in on the entry where the goal is reached. The first pair lies around the quantile of a lognormal
distribution with the row's moments, which settles three rows of four; later pairs lie around a linear interpolation,
and bounds end the search as soon as they meet. Rising thresholds take over the bracket of the one before.

Sums run in float32. Where rounding could decide, which a bound of their error tells, float64 sums do, so that the
result is that of float64 sums.

A row that is longer than the registers of one program hold is measured in parts: the program goes over its scores once
for the largest, once for the moments of each kind of count, once for every pair of pivots of a search, and once to
write the weights, which it does last since they may lie where the scores do. All sums are then float64.

Triton decides when a function is decorated whether it is compiled or interpreted: with TRITON_INTERPRET=1 in the
environment the same code runs on tensors of the CPU, which is how it is tested where there is no card.
"""

# Triton's functions are compiled from their source, in a language whose types mypy does not know.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist

import torch
import triton
import triton.language as tl

from metastable.extraction.kernels import COUNTS, MASSES, NOT_FINITE
from metastable.extraction.mass import TOLERANCE
from metastable.extraction.row_measures import Rows

__all__ = ["MOST_KEYS", "room_of_row", "softmax_and_measure"]

MOST_KEYS = 1 << 14
"""The longest row that one program holds; a longer one is measured in parts."""

# Keys of a part, the warps that share it, eight keys a lane, and the rows of such a program.
_KEYS_OF_PART = 1 << 10
_WARPS_OF_PART = 4
_ROWS_IN_PARTS = 1

# How many deviations the first pivots lie to both sides of a guess, up to so many keys.
_MOST_APART = 0.1
_KEYS_MOST_APART = 256

# Entries that a lane holds: few of a short row; more of a long one, of which a second warp would have to be waited for.
_KEYS_OF_LANE = 16
_MOST_KEYS_OF_LANE = 32
# What a lane reads at a time.
_BYTES_SIDE_BY_SIDE = 16
# What a lane may use, so that many rows are at work at a time.
_MOST_REGISTERS = 80
_LANES_OF_WARP = 32
_FEWEST_LANES = 4

_BITS_OF_ONE = tl.constexpr(0x3F800000)
_BITS_PER_OCTAVE = tl.constexpr(2.0**23)
_LOG2_OF_E = tl.constexpr(1.4426950408889634)
# Stands for minus infinity, of which zero times would be no number.
_HIDDEN = tl.constexpr(-1e30)
_PAIRS = tl.constexpr(10)
_INTERPOLATIONS = tl.constexpr(4)
_SNAP = tl.constexpr(3)
_NOT_FINITE = tl.constexpr(NOT_FINITE)
_SMALLEST = tl.constexpr(1e-37)
# Relative error of float64 sums over a row, with room to spare.
_ROUNDING = tl.constexpr(1e-13)


@triton.jit
def _as_float(bits):
    return bits.to(tl.float32, bitcast=True)


@triton.jit
def _as_bits(number):
    return number.to(tl.int32, bitcast=True)


@triton.jit
def _logs_by_bits(numbers):
    """Give numbers what is to within a tenth their logarithm to the base 2, and rises with them in the same order."""
    return _as_bits(numbers).to(tl.float32) * (1 / _BITS_PER_OCTAVE) - 127.0


@triton.jit
def _bits_by_log(log):
    """Undo `_logs_by_bits`, but for the last step to a number."""
    return (log * _BITS_PER_OCTAVE).to(tl.int32) + _BITS_OF_ONE


@triton.jit
def _of_rows(numbers):
    """Give one number a row the axes of the entries."""
    return numbers[None, :, None, None]


@triton.jit
def _sum(lines):
    """Sum each row: first what a lane holds of it, then over lanes."""
    return tl.sum(tl.sum(tl.sum(lines, 3), 0), 1)


@triton.jit
def _largest(lines):
    return tl.max(tl.max(tl.max(lines, 3), 0), 1)


@triton.jit
def _smallest(lines):
    return tl.min(tl.min(tl.min(lines, 3), 0), 1)


@triton.jit
def _above(lines, pivots):
    """Mass and number of each row's entries above its pivot, in float32."""
    # Ones and zeros take half the instructions of a choice.
    above = tl.where(lines > _of_rows(_as_float(pivots)), 1.0, 0.0)
    return _sum(lines * above), _sum(above)


@triton.jit
def _missing_exactly(lines, pivots, share, plan):
    """Find what the entries above each row's pivot lack of its goal, by float64 sums: 0 or less where they reach it."""
    # The number before the plan is a one that the compiler does not know: else it would make float64 numbers of
    # every row beforehand, whether they are needed or not.
    lines = lines * tl.load(plan - 1, volatile=True).to(tl.float32)
    above = lines > _of_rows(_as_float(pivots))
    mass = _sum(tl.where(above, lines, 0.0).to(tl.float64))
    rest = _sum(tl.where(above, 0.0, lines).to(tl.float64))
    return share * (mass + rest) - mass


@triton.jit
def _search_exactly(lines, near, share, high, low, plan):
    """Count the rows marked near by halving their brackets with float64 sums; other rows get nonsense.

    A share of 0 or less needs one entry.
    """
    high = tl.where(near, high, _BITS_OF_ONE)
    low = tl.where(near, low, _BITS_OF_ONE - 1)
    while tl.max(high - low, 0) > 1:
        middle = low + (high - low) // 2
        reaches = _missing_exactly(lines, middle, share, plan) <= 0.0
        is_open = high - low > 1
        low = tl.where(is_open & reaches, middle, low)
        high = tl.where(is_open & (reaches == 0), middle, high)
    # No number lies between the pivots, so all entries there are equal.
    needed = tl.ceil(_missing_exactly(lines, high, share, plan) / _as_float(high).to(tl.float64)).to(tl.float32)
    _, number_above = _above(lines, high)
    _, number_reached = _above(lines, low)
    return number_above + tl.maximum(tl.minimum(needed, number_reached - number_above), 1.0)


@triton.jit
def _store_counts(
    lines, logs, number, apart, is_counted, places, is_row, plan, n_shares, BY_BITS: tl.constexpr, ERROR: tl.constexpr
):
    """Count rows of entries from zero to one at rising shares; `places` points to each row's first count.

    `logs` are the logarithms of the entries to the base 2, or where they are made of bits BY_BITS what `_logs_by_bits`
    gives, and `number` is the most entries that are not 0. The first pivots lie `apart` deviations to both sides of a
    guess. `plan` holds share, normal quantile and place among the
    counts of each threshold. ERROR bounds the relative error of a float32 sum.
    """
    total = _sum(lines)
    weighed = lines * logs
    # NaN is no mass, and its row is not counted.
    has_mass = total > 0.0
    is_counted = is_counted & has_mass
    divisor = tl.where(has_mass, total, 1.0)
    center = _sum(weighed) / divisor
    deviation = tl.sqrt(tl.maximum(_sum(weighed * logs) / divisor - center * center, 1e-4))
    slack = total * ERROR
    # Of the entries above `high` the mass falls short of the goal; with those above `low` it does not.
    high = (total * 0.0).to(tl.int32) + _BITS_OF_ONE
    high_mass = total * 0.0
    high_number = total * 0.0
    low = high * 0
    low_mass = total
    low_number = total * 0.0 + number
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
        least = _as_bits(0.999 * (total - goal) / number)
        guess = center - quantile * deviation
        is_open = is_counted & (goal > slack)
        near = is_counted & (is_open == 0)
        count = total * 0.0
        step = 0
        while tl.max(is_open.to(tl.int32), 0) > 0:
            if step == 0:
                if BY_BITS:
                    upper = _bits_by_log(guess + apart * deviation)
                    lower = _bits_by_log(guess - apart * deviation)
                else:
                    upper = _as_bits(tl.exp2(guess + apart * deviation))
                    lower = _as_bits(tl.exp2(guess - apart * deviation))
            else:
                span = (high - low).to(tl.float32)
                part = (goal - high_mass) / tl.maximum(low_mass - high_mass, _SMALLEST)
                margin = 1.0 / tl.maximum(low_number - high_number, 1.0) + 0.1 * part * (1.0 - part)
                # Thirds end every search, whatever the row.
                part = tl.where(step > _INTERPOLATIONS, 0.5, part)
                margin = tl.where(step > _INTERPOLATIONS, 1 / 6, margin)
                upper = high - (tl.maximum(part - margin, 0.0) * span).to(tl.int32)
                lower = high - (tl.minimum(part + margin, 1.0) * span).to(tl.int32)
            first = tl.maximum(low + 1, least)
            upper = tl.minimum(tl.maximum(upper, first), high - 1)
            lower = tl.minimum(tl.maximum(lower, first), high - 1)
            upper_mass, upper_number = _above(lines, upper)
            lower_mass, lower_number = _above(lines, lower)
            step += 1

            reached_by_upper = upper_mass >= goal
            reached_by_lower = lower_mass >= goal
            close = is_open & ((tl.abs(upper_mass - goal) <= slack) | (tl.abs(lower_mass - goal) <= slack))
            if tl.max(close.to(tl.int32), 0) > 0:
                reached_by_upper = _missing_exactly(lines, upper, share, plan) <= 0.0
                reached_by_lower = _missing_exactly(lines, lower, share, plan) <= 0.0
            upper_reaches = is_open & reached_by_upper
            upper_short = is_open & (reached_by_upper == 0)
            lower_reaches = upper_short & reached_by_lower
            lower_short = upper_short & (reached_by_lower == 0)
            low = tl.where(upper_reaches, upper, tl.where(lower_reaches, lower, low))
            low_mass = tl.where(upper_reaches, upper_mass, tl.where(lower_reaches, lower_mass, low_mass))
            low_number = tl.where(upper_reaches, upper_number, tl.where(lower_reaches, lower_number, low_number))
            high = tl.where(lower_short, lower, tl.where(upper_short, upper, high))
            high_mass = tl.where(lower_short, lower_mass, tl.where(upper_short, upper_mass, high_mass))
            high_number = tl.where(lower_short, lower_number, tl.where(upper_short, upper_number, high_number))
            if step == _SNAP:
                # Equal entries keep a bracket open however narrow it is, until it ends at entries.
                top = _largest(tl.where(_as_bits(lines) <= _of_rows(high), lines, 0.0))
                bottom = _smallest(tl.where(_as_bits(lines) > _of_rows(low), lines, float("inf")))
                high = tl.where(is_open, _as_bits(top), high)
                low = tl.where(is_open, _as_bits(bottom) - 1, low)

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
        if tl.max(near.to(tl.int32), 0) > 0:
            count = tl.where(near, _search_exactly(lines, near, share, high, low, plan), count)
        tl.store(places + tl.load(plan + 3 * t + 2).to(tl.int32), count.to(tl.int32), mask=is_row)


@triton.jit
def _scores_of_part(at, at_bias, at_visible, key, there, scale, HAS_BIAS: tl.constexpr, HAS_VISIBLE: tl.constexpr):
    """Load a part of every row's scores; minus infinity where a key is hidden."""
    line = tl.load(at + key, mask=there, other=0.0).to(tl.float32) * scale
    if HAS_BIAS:
        line += tl.load(at_bias + key, mask=there, other=0.0)
    seen = there
    if HAS_VISIBLE:
        seen = there & (tl.load(at_visible + key, mask=there, other=0) != 0)
    return tl.where(seen, line, float("-inf"))


@triton.jit
def _entries_of_part(
    at,
    at_bias,
    at_visible,
    at_words,
    at_lengths,
    largest,
    kind,
    key,
    there,
    scale,
    HAS_BIAS: tl.constexpr,
    HAS_VISIBLE: tl.constexpr,
    WORDS_AT: tl.constexpr,
    CONTRIBUTIONS_AT: tl.constexpr,
):
    """Make a part of every row's entries of one kind: what is counted, relative to the largest weight."""
    line = _scores_of_part(at, at_bias, at_visible, key, there, scale, HAS_BIAS, HAS_VISIBLE)
    line = tl.exp2((line - largest) * _LOG2_OF_E)
    if WORDS_AT >= 0:
        is_word = tl.load(at_words + key, mask=there & (kind == WORDS_AT), other=1) != 0
        line = tl.where(is_word, line, 0.0)
    if CONTRIBUTIONS_AT >= 0:
        line *= tl.load(at_lengths + key, mask=there & (kind == CONTRIBUTIONS_AT), other=1.0)
    return line


@triton.jit
def _store_counts_in_parts(
    at,
    at_bias,
    at_visible,
    at_words,
    at_lengths,
    largest,
    kind,
    apart,
    is_row,
    is_asked,
    places,
    plan,
    n_shares,
    n_keys,
    scale,
    HAS_BIAS: tl.constexpr,
    HAS_VISIBLE: tl.constexpr,
    WORDS_AT: tl.constexpr,
    CONTRIBUTIONS_AT: tl.constexpr,
    ROWS: tl.constexpr,
    PART: tl.constexpr,
):
    """As `_store_counts`, of rows in parts, whose pointers and largest scores have the shape (ROWS, 1).

    Returns the sum of each row's entries in float64.
    """
    there = is_row[:, None]
    sums = tl.zeros([ROWS, PART], tl.float64)
    numbers = tl.zeros([ROWS, PART], tl.int32)
    logs = tl.zeros([ROWS, PART], tl.float32)
    squares = tl.zeros([ROWS, PART], tl.float32)
    for start in range(0, n_keys, PART):
        key = start + tl.arange(0, PART)[None, :]
        line = _entries_of_part(
            at, at_bias, at_visible, at_words, at_lengths, largest, kind, key, there & (key < n_keys), scale,
            HAS_BIAS, HAS_VISIBLE, WORDS_AT, CONTRIBUTIONS_AT,
        )  # fmt: skip
        log_2 = _logs_by_bits(line)
        sums += line.to(tl.float64)
        numbers += (line > 0.0).to(tl.int32)
        logs += line * log_2
        squares += line * log_2 * log_2
    total = tl.sum(sums, 1)
    number = tl.sum(numbers, 1).to(tl.float64)
    # NaN is no mass, and its row is not counted.
    has_mass = total > 0.0
    is_counted = is_asked & has_mass
    divisor = tl.where(has_mass, total, 1.0).to(tl.float32)
    center = tl.sum(logs, 1) / divisor
    deviation = tl.sqrt(tl.maximum(tl.sum(squares, 1) / divisor - center * center, 1e-4))
    slack = total * _ROUNDING
    # No entry is above one. Of those above `high` the mass falls short of the goal; with those above `low` it does not.
    high = tl.zeros([ROWS], tl.int32) + _BITS_OF_ONE
    high_mass = total * 0.0
    high_number = total * 0.0
    low = high * 0
    low_mass = total
    low_number = number
    for t in range(n_shares):
        goal = tl.load(plan + 3 * t) * total
        quantile = tl.load(plan + 3 * t + 1).to(tl.float32)
        # The lower end of the bracket of the share before may have to take the upper end's part.
        passed = low_mass < goal
        high = tl.where(passed, low, high)
        high_mass = tl.where(passed, low_mass, high_mass)
        high_number = tl.where(passed, low_number, high_number)
        low = tl.where(passed, 0, low)
        low_mass = tl.where(passed, total, low_mass)
        low_number = tl.where(passed, number, low_number)
        least = _as_bits((0.999 * (total - goal) / tl.maximum(number, 1.0)).to(tl.float32))
        guess = center - quantile * deviation
        is_open = is_counted & (goal > 0.0)
        count = tl.where(is_counted & (is_open == 0), 1.0, 0.0).to(tl.float64)
        step = 0
        while tl.max(is_open.to(tl.int32), 0) > 0:
            between = low_number - high_number
            mass = low_mass - high_mass
            missing = goal - high_mass
            upper_entry = _as_float(high).to(tl.float64)
            lower_entry = _as_float(low).to(tl.float64)
            most = tl.ceil((missing + slack) * between / tl.maximum(mass, _SMALLEST))
            most = tl.maximum(tl.minimum(most, between), 1.0)
            fewest = tl.ceil((missing - slack) / tl.maximum(upper_entry, _SMALLEST))
            rest = (mass - missing + slack) / tl.maximum(lower_entry, _SMALLEST)
            fewest = tl.maximum(fewest, tl.where(lower_entry > _SMALLEST, tl.ceil(between - rest), 1.0))
            # No number lies between the pivots, so all entries there are equal.
            equal = high - low <= 1
            needed = tl.ceil(missing / tl.maximum(upper_entry, _SMALLEST))
            needed = tl.maximum(tl.minimum(needed, between), 1.0)
            meet = is_open & (equal | (tl.maximum(fewest, 1.0) >= most))
            count = tl.where(meet, high_number + tl.where(equal, needed, most), count)
            is_open = is_open & (meet == 0)

            span = (high - low).to(tl.float32)
            part = (missing / tl.maximum(mass, _SMALLEST)).to(tl.float32)
            margin = (1.0 / tl.maximum(between, 1.0)).to(tl.float32) + 0.1 * part * (1.0 - part)
            # Thirds end every search, whatever the row.
            part = tl.where(step > _INTERPOLATIONS, 0.5, part)
            margin = tl.where(step > _INTERPOLATIONS, 1 / 6, margin)
            upper = high - (tl.maximum(part - margin, 0.0) * span).to(tl.int32)
            lower = high - (tl.minimum(part + margin, 1.0) * span).to(tl.int32)
            if step == 0:
                upper = _bits_by_log(guess + apart * deviation)
                lower = _bits_by_log(guess - apart * deviation)
            first = tl.maximum(low + 1, least)
            upper = tl.minimum(tl.maximum(upper, first), high - 1)
            lower = tl.minimum(tl.maximum(lower, first), high - 1)
            upper_pivot = _as_float(upper)[:, None]
            lower_pivot = _as_float(lower)[:, None]
            upper_sums = tl.zeros([ROWS, PART], tl.float64)
            lower_sums = tl.zeros([ROWS, PART], tl.float64)
            upper_numbers = tl.zeros([ROWS, PART], tl.int32)
            lower_numbers = tl.zeros([ROWS, PART], tl.int32)
            for start in range(0, n_keys, PART):
                key = start + tl.arange(0, PART)[None, :]
                line = _entries_of_part(
                    at, at_bias, at_visible, at_words, at_lengths, largest, kind, key, there & (key < n_keys), scale,
                    HAS_BIAS, HAS_VISIBLE, WORDS_AT, CONTRIBUTIONS_AT,
                )  # fmt: skip
                above_upper = line > upper_pivot
                above_lower = line > lower_pivot
                upper_sums += tl.where(above_upper, line, 0.0).to(tl.float64)
                lower_sums += tl.where(above_lower, line, 0.0).to(tl.float64)
                upper_numbers += above_upper.to(tl.int32)
                lower_numbers += above_lower.to(tl.int32)
            upper_mass = tl.sum(upper_sums, 1)
            lower_mass = tl.sum(lower_sums, 1)
            upper_number = tl.sum(upper_numbers, 1).to(tl.float64)
            lower_number = tl.sum(lower_numbers, 1).to(tl.float64)
            step += 1

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
        tl.store(places + tl.load(plan + 3 * t + 2).to(tl.int32), count.to(tl.int32), mask=is_row)
    return total


@triton.jit
def _of_row(row, n_sequences, n_heads, n_queries, HEADS_FIRST: tl.constexpr):
    """Say which sequence, head and query rows are of, by no more divisions than it takes."""
    row = row.to(tl.uint32)
    matrix = row // n_queries.to(tl.uint32)
    q = row - matrix * n_queries.to(tl.uint32)
    inner = n_heads.to(tl.uint32)
    if HEADS_FIRST:
        inner = n_sequences.to(tl.uint32)
    outer = matrix // inner
    rest = matrix - outer * inner
    if HEADS_FIRST:
        b, h = rest, outer
    else:
        b, h = outer, rest
    return b.to(tl.int32), h.to(tl.int32), q.to(tl.int32)


# That a number is 1, or divides by 16, makes no other program of it.
_NOT_SPECIALIZED = (
    "scale",
    "apart",
    "n_rows",
    "n_heads",
    "n_sequences",
    "n_queries",
    "n_keys",
    "first_b",
    "first_h",
    "first_q",
    "n_shares",
    *(f"count_{axis}" for axis in ("kind", "b", "h", "q")),
    *(f"mass_{axis}" for axis in ("kind", "b", "h", "q")),
    *(f"visible_{axis}" for axis in "bhq"),
    *(f"bias_{axis}" for axis in "bhq"),
    "asked_b",
)


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
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
    apart,
    n_rows,
    n_heads,
    n_sequences,
    n_queries,
    n_keys,
    step,
    first_b,
    first_h,
    first_q,
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
    HEADS_FIRST: tl.constexpr,
    HAS_VISIBLE: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_SINKS: tl.constexpr,
    WORDS_AT: tl.constexpr,
    CONTRIBUTIONS_AT: tl.constexpr,
    OTHERS_AT: tl.constexpr,
    FIRST_AT: tl.constexpr,
    SINK_AT: tl.constexpr,
    KINDS: tl.constexpr,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
    GROUPS: tl.constexpr,
    SIDE_BY_SIDE: tl.constexpr,
    FULL: tl.constexpr,
    ERROR: tl.constexpr,
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    is_row = row < n_rows
    b, h, q = _of_row(row, n_sequences, n_heads, n_queries, HEADS_FIRST)
    b = (first_b + b).to(tl.int64)
    h = (first_h + h).to(tl.int64)
    q = (first_q + q).to(tl.int64)
    # A lane holds groups of keys that lie side by side.
    group = tl.arange(0, GROUPS)[:, None, None, None] * LANES + tl.arange(0, LANES)[None, None, :, None]
    key = group * SIDE_BY_SIDE + tl.arange(0, SIDE_BY_SIDE)[None, None, None, :]
    there = _of_rows(is_row) & (key < n_keys)
    # What lies between the keys of two rows is read and overwritten: a mask would break up what lies side by side.
    within = _of_rows(is_row) & (key < step)
    at = _of_rows(row.to(tl.int64) * step) + key

    logs = tl.load(scores + at, mask=within, other=0.0).to(tl.float32) * scale
    if HAS_BIAS:
        at_bias = _of_rows(b * bias_b + h * bias_h + q * bias_q) + key
        logs += tl.load(bias + at_bias, mask=there, other=0.0)
        logs = tl.maximum(logs, _HIDDEN, propagate_nan=tl.PropagateNan.ALL)
    if HAS_VISIBLE:
        at_visible = _of_rows(b * visible_b + h * visible_h + q * visible_q) + key
        logs = tl.where(tl.load(visible + at_visible, mask=there, other=0) != 0, logs, _HIDDEN)
    elif not FULL:
        logs = tl.where(key < n_keys, logs, _HIDDEN)
    largest = _largest(logs)
    # Without a visible key there is nothing to take off; NaN and infinity make the total NaN.
    logs = (logs - _of_rows(tl.where(largest <= _HIDDEN, 0.0, largest))) * _LOG2_OF_E
    line = tl.exp2(logs)
    total = _sum(line)
    is_broken = (total < float("inf")) == 0
    sees_some = total > 0.0
    whole = total
    on_sink = total * 0.0
    if HAS_SINKS:
        on_sink = tl.exp2((tl.load(sinks + h, mask=is_row, other=0.0) - largest) * _LOG2_OF_E)
        whole = total + on_sink
    whole = tl.where(sees_some, whole, 1.0)
    share_each = tl.where(is_broken, float("nan"), tl.where(sees_some, 1.0 / whole, 0.0))
    tl.store(weights + at, (line * _of_rows(share_each)).to(weights.dtype.element_ty), mask=within)

    is_asked = is_row & (tl.load(asked + b * asked_b + q, mask=is_row, other=0) != 0)
    has_masses = is_asked & sees_some
    at_masses = masses + b * mass_b + h * mass_h + q * mass_q
    if OTHERS_AT >= 0 and WORDS_AT < 0:
        is_word = tl.load(words + _of_rows(b * words_b) + key, mask=there, other=0) != 0
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
    is_counted = is_asked & (is_broken == 0)
    at_counts = counts + b * count_b + h * count_h + q * count_q
    number = n_keys.to(tl.float32)
    if KINDS == 1:
        _store_counts(line, logs, number, apart, is_counted, at_counts, is_row, plan, n_shares, False, ERROR)
    else:
        # One search for all kinds: the program of three would be long for the card's cache of instructions.
        for kind in range(KINDS):
            counted = line
            if kind == WORDS_AT:
                is_word = tl.load(words + _of_rows(b * words_b) + key, mask=there, other=0) != 0
                counted = tl.where(is_word, line, 0.0)
                if OTHERS_AT >= 0:
                    others = _sum(line - counted) / whole
                    tl.store(at_masses + OTHERS_AT * mass_kind, tl.where(has_masses, others, float("nan")), mask=is_row)
            if kind == CONTRIBUTIONS_AT:
                at_lengths = _of_rows(b * lengths_b + h * lengths_h) + key
                # Relative to the longest value, so that no entry is above one.
                counted = line * tl.load(lengths + at_lengths, mask=there, other=0.0)
            places = at_counts + kind * count_kind
            _store_counts(
                counted, _logs_by_bits(counted), number, apart, is_counted, places, is_row, plan, n_shares, True, ERROR
            )
    for t in range(n_shares):
        tl.store(at_counts + t, tl.zeros([ROWS], tl.int32) + _NOT_FINITE, mask=is_row & is_broken)


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def _rows_in_parts(
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
    apart,
    n_rows,
    n_heads,
    n_sequences,
    n_queries,
    n_keys,
    step,
    first_b,
    first_h,
    first_q,
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
    HEADS_FIRST: tl.constexpr,
    HAS_VISIBLE: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_SINKS: tl.constexpr,
    WORDS_AT: tl.constexpr,
    CONTRIBUTIONS_AT: tl.constexpr,
    OTHERS_AT: tl.constexpr,
    FIRST_AT: tl.constexpr,
    SINK_AT: tl.constexpr,
    KINDS: tl.constexpr,
    ROWS: tl.constexpr,
    PART: tl.constexpr,
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    is_row = row < n_rows
    b, h, q = _of_row(row, n_sequences, n_heads, n_queries, HEADS_FIRST)
    b = (first_b + b).to(tl.int64)
    h = (first_h + h).to(tl.int64)
    q = (first_q + q).to(tl.int64)
    at = scores + (row.to(tl.int64) * step)[:, None]
    at_weights = weights + (row.to(tl.int64) * step)[:, None]
    at_bias = bias + (b * bias_b + h * bias_h + q * bias_q)[:, None]
    at_visible = visible + (b * visible_b + h * visible_h + q * visible_q)[:, None]
    at_words = words + (b * words_b)[:, None]
    at_lengths = lengths + (b * lengths_b + h * lengths_h)[:, None]

    tops = tl.full([ROWS, PART], float("-inf"), tl.float32)
    for start in range(0, n_keys, PART):
        key = start + tl.arange(0, PART)[None, :]
        there = is_row[:, None] & (key < n_keys)
        tops = tl.maximum(tops, _scores_of_part(at, at_bias, at_visible, key, there, scale, HAS_BIAS, HAS_VISIBLE))
    largest = tl.max(tops, 1)
    # Without a visible key there is nothing to take off; NaN and infinity make the total NaN.
    taken_off = tl.where(largest == float("-inf"), 0.0, largest)[:, None]

    is_asked = is_row & (tl.load(asked + b * asked_b + q, mask=is_row, other=0) != 0)
    at_counts = counts + b * count_b + h * count_h + q * count_q
    total = tl.zeros([ROWS], tl.float64)
    for kind in range(KINDS):
        of_kind = _store_counts_in_parts(
            at, at_bias, at_visible, at_words, at_lengths, taken_off, kind, apart, is_row, is_asked,
            at_counts + kind * count_kind, plan, n_shares, n_keys, scale,
            HAS_BIAS, HAS_VISIBLE, WORDS_AT, CONTRIBUTIONS_AT, ROWS, PART,
        )  # fmt: skip
        # The first kind is of the weights as they are.
        total = tl.where(kind == 0, of_kind, total)
    is_broken = (total < float("inf")) == 0
    sees_some = total > 0.0
    for t in range(n_shares):
        tl.store(at_counts + t, tl.zeros([ROWS], tl.int32) + _NOT_FINITE, mask=is_row & is_broken)

    whole = total
    on_sink = total * 0.0
    if HAS_SINKS:
        on_sink = tl.exp2((tl.load(sinks + h, mask=is_row, other=0.0) - largest) * _LOG2_OF_E).to(tl.float64)
        whole = total + on_sink
    whole = tl.where(sees_some, whole, 1.0)
    share_each = tl.where(is_broken, float("nan"), tl.where(sees_some, 1.0 / whole, 0.0)).to(tl.float32)
    others = tl.zeros([ROWS, PART], tl.float64)
    firsts = tl.zeros([ROWS, PART], tl.float64)
    for start in range(0, n_keys, PART):
        key = start + tl.arange(0, PART)[None, :]
        there = is_row[:, None] & (key < n_keys)
        line = _scores_of_part(at, at_bias, at_visible, key, there, scale, HAS_BIAS, HAS_VISIBLE)
        line = tl.exp2((line - taken_off) * _LOG2_OF_E)
        if OTHERS_AT >= 0:
            is_word = tl.load(at_words + key, mask=there, other=1) != 0
            others += tl.where(is_word, 0.0, line).to(tl.float64)
        if FIRST_AT >= 0:
            firsts += tl.where(key == 0, line, 0.0).to(tl.float64)
        tl.store(at_weights + key, (line * share_each[:, None]).to(weights.dtype.element_ty), mask=there)

    has_masses = is_asked & sees_some
    at_masses = masses + b * mass_b + h * mass_h + q * mass_q
    if OTHERS_AT >= 0:
        other = tl.sum(others, 1) / whole
        tl.store(at_masses + OTHERS_AT * mass_kind, tl.where(has_masses, other, float("nan")), mask=is_row)
    if FIRST_AT >= 0:
        first = tl.sum(firsts, 1) / whole
        tl.store(at_masses + FIRST_AT * mass_kind, tl.where(has_masses, first, float("nan")), mask=is_row)
    if SINK_AT >= 0:
        # A sink far above the keys is infinitely many times their mass.
        sink = tl.where(on_sink == float("inf"), 1.0, on_sink / whole)
        tl.store(at_masses + SINK_AT * mass_kind, tl.where(has_masses, sink, float("nan")), mask=is_row)


def _next_power(number: int) -> int:
    return 1 << max(number - 1, 0).bit_length()


@lru_cache(maxsize=64)
def _plan(shares: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """Rising shares, the quantiles where their search begins, and their places in the order given, behind a 1."""
    normal = NormalDist()
    rows: list[tuple[float, float, float]] = []
    for place in sorted(range(len(shares)), key=shares.__getitem__):
        share = shares[place] - TOLERANCE
        rows.append((share, normal.inv_cdf(min(max(share, 1e-6), 1 - 1e-6)), float(place)))
    return torch.tensor([1.0, *sum(rows, ())], dtype=torch.float64, device=device)[1:]


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
    first: tuple[int, int, int] = (0, 0, 0),
    rows_at_once: int | None = None,
    in_parts: bool | None = None,
) -> None:
    """Turn scores into the weights of their softmax and measure the rows, as `kernels.softmax_and_measure_rows` does.

    Parameters
    ----------
    scores : torch.Tensor
        (batch, heads, queries, keys), of any float type: products of queries and keys. Rows lie one after another,
        those of a sequence or those of a head together, each with as much room behind its keys as `room_of_row` says
        or with none.
    weights : torch.Tensor
        Of the same shape and steps, of any float type: filled with the weights, and the room with anything. May be
        the scores.
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
    first : tuple of int
        Sequence, head and query of `rows`, `counts` and `masses` that the first of the scores are of.
    rows_at_once : int, optional
        Rows of a program, a power of two; by default what suits a card.
    in_parts : bool, optional
        Whether rows are measured in parts; by default those of more than `MOST_KEYS` keys.
    """
    n_batch, n_heads, n_queries, n_keys = scores.shape
    n_rows = n_batch * n_heads * n_queries
    if n_rows == 0:
        return
    counted = [name for name in COUNTS if name in rows.names]
    weighed = [name for name in MASSES if name in rows.names]
    places = [counted.index(name) if name in counted else -1 for name in COUNTS[1:]]
    places += [weighed.index(name) if name in weighed else -1 for name in MASSES]
    # Stands for tensors that are not there and that the program then does not read.
    nothing = rows.asked.view(torch.uint8)
    arguments = (
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
        # The more keys, the nearer to a guess made of moments is the quantile.
        min(_MOST_APART, _MOST_APART * (_KEYS_MOST_APART / n_keys) ** 0.5),
        n_rows,
        n_heads,
        n_batch,
        n_queries,
        n_keys,
        scores.stride(2),
        *first,
        len(rows.shares),
        *counts.stride()[:4],
        *masses.stride(),
        *_strides(rows.visible, 3),
        *_strides(rows.bias, 3),
        rows.asked.stride(0),
        *_strides(rows.word_keys, 1),
        *_strides(rows.lengths, 2),
        scores.stride(1) > scores.stride(0),
        rows.visible is not None,
        rows.bias is not None,
        rows.sinks is not None,
        *places,
        len(counted),
    )
    if n_keys > MOST_KEYS if in_parts is None else in_parts:
        at_once = rows_at_once or _ROWS_IN_PARTS
        part = min(_KEYS_OF_PART, _next_power(n_keys))
        _rows_in_parts[(-(-n_rows // at_once),)](*arguments, at_once, part, num_warps=_WARPS_OF_PART)
        return
    side_by_side = _BYTES_SIDE_BY_SIDE // scores.element_size()
    lanes = _lanes(n_keys)
    groups = max(1, _next_power(-(-n_keys // lanes)) // side_by_side)
    at_once = rows_at_once or max(1, _LANES_OF_WARP // lanes)
    _rows[(-(-n_rows // at_once),)](
        *arguments,
        at_once,
        lanes,
        groups,
        side_by_side,
        n_keys == lanes * groups * side_by_side,
        # Sums of a lane's entries, over lanes and warps, and the product of share and total.
        (groups + side_by_side + 16) * 2 * 2.0**-24,
        num_warps=max(1, lanes // _LANES_OF_WARP),
        # Triton limits registers on cards of one maker alone.
        **({} if torch.version.hip else {"maxnreg": _MOST_REGISTERS}),
    )


def room_of_row(n_keys: int) -> int:
    """Return the numbers that a row of scores should take, so that lanes read several of them at a time."""
    return -(-n_keys // _KEYS_OF_LANE) * _KEYS_OF_LANE


def _lanes(n_keys: int) -> int:
    """Choose the lanes of a row: of a short one a part of a warp, then a whole warp, and several of a long one."""
    lanes = min(_next_power(-(-n_keys // _KEYS_OF_LANE)), _LANES_OF_WARP)
    return max(_FEWEST_LANES, lanes, _next_power(-(-n_keys // _MOST_KEYS_OF_LANE)))
