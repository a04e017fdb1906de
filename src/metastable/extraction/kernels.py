"""Compiled loops over attention rows on the CPU: the softmax, and the count without a sort.

The count of a row at a threshold is found by search, not by order. For a pivot w, let M(w) be the mass and
N(w) the number of the entries above w, both taken in one vectorized pass over the row. Two pivots lo < hi with
M(hi) < goal <= M(lo) bracket the entry at which the goal is reached, and with m = count - N(hi) of the
c = N(lo) - N(hi) entries between them needed,

    m <= ceil(c (goal - M(hi)) / (M(lo) - M(hi)))          the largest entries hold at least the average,
    m >= ceil((goal - M(hi)) / hi)                         and at most hi each,
    m >= ceil(c - (M(lo) - goal) / lo)                     while the rest hold more than lo each,

so that the search ends as soon as these meet, usually with several entries still in the bracket. First pivots
are the quantiles of a normal curve with the mass-weighted mean and deviation of the entries' logarithms; later
ones come in pairs around a linear interpolation. Non-negative float32 numbers are ordered as their bits are
as integers, which gives logarithms, the middle between two pivots and the end of the search for nothing.

Of a short row, which a search would take longer to set up, the mass M'(p) of the entries not below p is taken for
each entry p, without a branch: the count is one more than the number of entries with M'(p) < goal.

Passes run in float32. Wherever rounding could decide, which a rigorous bound tells, they are taken again in
float64, so that the result is that of float64 sums. Rows are padded with zeros, which carry no mass, to a length
that vectors divide.

All compiled loops are in this file, since numba looks at no other file to tell whether what it kept is out of date.
"""

# Numba's decorators have no types that mypy could follow.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from metastable.extraction.threads import most_threads, share_out

__all__ = ["NOT_FINITE", "count_rows", "softmax_and_count_rows"]

NOT_FINITE = -1
"""Stands for the count of a row whose scores are not finite."""

# Sums in any order, which lets the compiler use vectors; not for code that must see NaN.
_SUMS = {"reassoc", "nsz", "contract", "arcp", "nnan"}
_intrinsic: Any = intrinsic
_ENTRIES_PER_THREAD = 1 << 14
_PARTS_PER_THREAD = 4
# Entries that a pass of the compiled loops takes at a time: four vectors of eight.
_STRIDE = 32
# The longest row, padded, whose entries are all compared with each other.
_SHORT = 64
_INTERPOLATIONS = 4
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_BITS_OF_ONE = 127 << 23
_BITS_PER_OCTAVE = 2.0**23
_HIDDEN = np.float32(-np.inf)
_BITS_OF_INFINITY = 255 << 23
_LOWEST_EXPONENT = np.float32(-87.3)
_PER_LN2 = np.float32(1.44269504)
# ln 2 as the sum of a number with few digits, whose products are exact, and the rest.
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440e-4)


def _compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile by numba when first called, kept on disk where there is a place to write."""

    def compile_function(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:
            # Neither the package's folder nor the user's cache can be written: compile in each process.
            return numba.njit(**options)(function)

    return compile_function


@_intrinsic
def _as_float(context, bits):  # type: ignore[no-untyped-def]  # noqa: ARG001
    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ARG001
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@_intrinsic
def _as_bits(context, number):  # type: ignore[no-untyped-def]  # noqa: ARG001
    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ARG001
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


@_compiled()
def _padded(n_keys):  # type: ignore[no-untyped-def]
    return -(-n_keys // _STRIDE) * _STRIDE


@_compiled(fastmath=_SUMS)
def _above(row, first, second):  # type: ignore[no-untyped-def]
    """Mass and number of the entries above each of two pivots."""
    mass_1 = mass_2 = number_1 = number_2 = _ZERO
    for j in range(row.shape[0]):
        entry = row[j]
        mass_1 += entry if entry > first else _ZERO
        number_1 += _ONE if entry > first else _ZERO
        mass_2 += entry if entry > second else _ZERO
        number_2 += _ONE if entry > second else _ZERO
    return mass_1, number_1, mass_2, number_2


@_compiled(fastmath=_SUMS)
def _mass_above_exactly(row, pivot):  # type: ignore[no-untyped-def]
    mass = 0.0
    for j in range(row.shape[0]):
        entry = row[j]
        mass += np.float64(entry if entry > pivot else _ZERO)
    return mass


@_compiled(fastmath=_SUMS)
def _total(row):  # type: ignore[no-untyped-def]
    total = 0.0
    for j in range(row.shape[0]):
        total += np.float64(row[j])
    return total


@_compiled(fastmath=_SUMS)
def _moments(row):  # type: ignore[no-untyped-def]
    """First and second moment of the logarithms to base 2 under the mass, and the number above zero."""
    first = second = number = _ZERO
    for j in range(row.shape[0]):
        entry = row[j]
        logarithm = np.float32(_as_bits(entry)) * np.float32(1 / _BITS_PER_OCTAVE) - np.float32(127)
        first += entry * logarithm
        second += entry * logarithm * logarithm
        number += _ONE if entry > _ZERO else _ZERO
    return first, second, number


@_compiled()
def _largest_bits(row):  # type: ignore[no-untyped-def]
    largest = np.int32(0)
    for j in range(row.shape[0]):
        largest = max(largest, _as_bits(row[j]))
    return largest


@_compiled()
def _bounds(goal, slack, high, high_mass, high_number, low, low_mass, low_number):  # type: ignore[no-untyped-def]
    """Fewest and most entries of the bracket that the goal can need, if masses err by up to the slack."""
    between = low_number - high_number
    mass = low_mass - high_mass
    missing = goal - high_mass
    most = between
    if mass > 2 * slack:
        most = min(between, np.ceil((missing + slack) * between / (mass - 2 * slack)))
    fewest = np.ceil((missing - slack) / np.float64(_as_float(np.int32(high))))
    if low > 0:
        rest = (mass - missing + 2 * slack) / np.float64(_as_float(np.int32(low)))
        fewest = max(fewest, np.ceil(between - rest))
    return max(fewest, 1.0), max(most, 1.0)


@_compiled()
def _mass_not_below(row, reached):  # type: ignore[no-untyped-def]
    """Fill `reached` with the mass of the entries not below each entry; the length is a multiple of four."""
    reached[:] = _ZERO
    for i in range(0, row.shape[0], 4):
        first, second, third, fourth = row[i], row[i + 1], row[i + 2], row[i + 3]
        for j in range(row.shape[0]):
            entry = row[j]
            reached[j] += ((first if first >= entry else _ZERO) + (second if second >= entry else _ZERO)) + (
                (third if third >= entry else _ZERO) + (fourth if fourth >= entry else _ZERO)
            )


@_compiled()
def _count_short(row, shares, total, reached, counts):  # type: ignore[no-untyped-def]
    """Count a short row at all shares; False where rounding or equal entries could decide."""
    _mass_not_below(row, reached)
    slack = (row.shape[0] + 2) * 2.0**-24 * total
    for t in range(shares.shape[0]):
        goal = shares[t] * total
        surely, perhaps = np.float32(goal - slack), np.float32(goal + slack)
        short = unsure = np.int32(0)
        at_goal = np.int32(_BITS_OF_INFINITY)
        for j in range(row.shape[0]):
            short += np.int32(reached[j] < surely)
            unsure += np.int32(reached[j] <= perhaps)
            at_goal = min(at_goal, _as_bits(reached[j]) if reached[j] > perhaps else np.int32(_BITS_OF_INFINITY))
        equal = np.int32(0)
        for j in range(row.shape[0]):
            equal += np.int32((_as_bits(reached[j]) == at_goal) & (row[j] > _ZERO))
        if short != unsure or equal != 1:
            return False
        counts[t] = short + 1
    return True


@_compiled()
def _search(row, total, shares, quantiles, pivots, masses, numbers, counts):  # type: ignore[no-untyped-def]
    """Count one row at rising shares by pivots that close in on the entry where each goal is reached."""
    n_shares = shares.shape[0]
    first, second, n_positive = _moments(row)
    # Bounds the error of float32 sums in whatever order the compiler chose.
    slack = row.shape[0] * 2.0**-24 * total
    top = np.int64(_largest_bits(row))
    center = first / total
    deviation = np.sqrt(max(second / total - center * center, 1e-4))
    for t in range(n_shares):
        guess = np.int64((center - quantiles[t] * deviation) * _BITS_PER_OCTAVE) + _BITS_OF_ONE
        pivots[t] = max(min(guess, top - 1), 0)
    for t in range(0, n_shares, 2):
        u = min(t + 1, n_shares - 1)
        masses[t], numbers[t], masses[u], numbers[u] = _above(
            row, _as_float(np.int32(pivots[t])), _as_float(np.int32(pivots[u]))
        )
    # Of the entries above `high` the mass falls short of the goal; with those above `low` it does not.
    high, high_mass, high_number = top, 0.0, 0.0
    for t in range(n_shares):
        goal = shares[t] * total
        if goal <= 0.0:
            counts[t] = 1
            continue
        low, low_mass, low_number = np.int64(0), total, np.float64(n_positive)
        for u in range(n_shares):
            if abs(masses[u] - goal) <= slack:
                masses[u] = _mass_above_exactly(row, _as_float(np.int32(pivots[u])))
            if masses[u] < goal:
                if pivots[u] < high:
                    high, high_mass, high_number = pivots[u], masses[u], numbers[u]
            elif pivots[u] > low:
                low, low_mass, low_number = pivots[u], masses[u], numbers[u]
        step = 0
        while True:
            fewest, most = _bounds(goal, slack, high, high_mass, high_number, low, low_mass, low_number)
            if fewest >= most:
                counts[t] = np.int32(high_number + most)
                break
            fewest, most = _bounds(goal, 0.0, high, high_mass, high_number, low, low_mass, low_number)
            if fewest >= most or high - low <= 1:
                high_mass = _mass_above_exactly(row, _as_float(np.int32(high)))
                low_mass = _mass_above_exactly(row, _as_float(np.int32(low)))
                if high - low <= 1:
                    # No number lies between the pivots, so all entries there are equal.
                    needed = np.ceil((goal - high_mass) / np.float64(_as_float(np.int32(high))))
                    counts[t] = np.int32(high_number + min(max(needed, 1.0), low_number - high_number))
                    break
                fewest, most = _bounds(goal, slack * 2.0**-28, high, high_mass, high_number, low, low_mass, low_number)
                if fewest >= most:
                    counts[t] = np.int32(high_number + most)
                    break
            span = np.float64(high - low)
            share = (goal - high_mass) / (low_mass - high_mass)
            margin = 1.0 / (low_number - high_number) + 0.1 * share * (1.0 - share)
            if step >= _INTERPOLATIONS:
                # Thirds end every search, whatever the row.
                share, margin = 0.5, 1 / 6
            step += 1
            upper = np.int64(high - max(share - margin, 0.0) * span)
            lower = np.int64(high - min(share + margin, 1.0) * span)
            upper = min(max(upper, low + 1), high - 1)
            lower = min(max(lower, low + 1), high - 1)
            upper_mass, upper_number, lower_mass, lower_number = _above(
                row, _as_float(np.int32(upper)), _as_float(np.int32(lower))
            )
            upper_mass, lower_mass = np.float64(upper_mass), np.float64(lower_mass)
            if abs(upper_mass - goal) <= slack:
                upper_mass = _mass_above_exactly(row, _as_float(np.int32(upper)))
            if abs(lower_mass - goal) <= slack:
                lower_mass = _mass_above_exactly(row, _as_float(np.int32(lower)))
            if upper_mass >= goal:
                low, low_mass, low_number = upper, upper_mass, np.float64(upper_number)
            else:
                high, high_mass, high_number = upper, upper_mass, np.float64(upper_number)
                if lower_mass >= goal:
                    low, low_mass, low_number = lower, lower_mass, np.float64(lower_number)
                else:
                    high, high_mass, high_number = lower, lower_mass, np.float64(lower_number)


@_compiled()
def _count_row(row, shares, quantiles, pivots, masses, numbers, scratch, counts):  # type: ignore[no-untyped-def]
    """Count one padded row of non-negative entries at rising shares; return its mass. Scratch is as long as the row."""
    total = _total(row)
    if not total > 0.0:
        counts[:] = 0
    elif row.shape[0] > _SHORT or not _count_short(row, shares, total, scratch, counts):
        _search(row, total, shares, quantiles, pivots, masses, numbers, counts)
    return total


@_compiled(nogil=True)
def _count_range(rows, first, last, shares, quantiles, counts):  # type: ignore[no-untyped-def]
    n_shares, n_keys = shares.shape[0], rows.shape[1]
    pivots = np.empty(n_shares, np.int64)
    masses = np.empty(n_shares, np.float64)
    numbers = np.empty(n_shares, np.float64)
    line = np.zeros(_padded(n_keys), np.float32)
    scratch = np.empty_like(line)
    for i in range(first, last):
        line[:n_keys] = rows[i]
        _count_row(line, shares, quantiles, pivots, masses, numbers, scratch, counts[i])


@_compiled()
def _largest_score(row):  # type: ignore[no-untyped-def]
    """Return the largest of floats of any sign, and the largest of their bits without the sign."""
    largest, widest = np.int32(-(2**31)), np.int32(0)
    for j in range(row.shape[0]):
        bits = _as_bits(row[j])
        widest = max(widest, np.int32(bits & np.int32(0x7FFFFFFF)))
        largest = max(largest, _in_order(bits))
    return _as_float(_in_order(largest)), widest


@_compiled()
def _in_order(bits):  # type: ignore[no-untyped-def]
    """Turn the order of negative floats' bits round, so that integers are ordered as the floats; its own inverse."""
    return np.int32(bits ^ np.int32((bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))


@_compiled(fastmath={"contract"})
def _exponentiate(row, largest):  # type: ignore[no-untyped-def]
    """Replace scores by exp(score - largest), to about one unit in the last place (Cephes' expf)."""
    for j in range(row.shape[0]):
        score = row[j] - largest
        x = score if score > _LOWEST_EXPONENT else _LOWEST_EXPONENT
        power = np.int32(x * _PER_LN2 - np.float32(0.5))
        x = x - np.float32(power) * _LN2_HIGH
        x = x - np.float32(power) * _LN2_LOW
        y = np.float32(1.9875691500e-4)
        y = y * x + np.float32(1.3981999507e-3)
        y = y * x + np.float32(8.3334519073e-3)
        y = y * x + np.float32(4.1665795894e-2)
        y = y * x + np.float32(1.6666665459e-1)
        y = y * x + np.float32(5.0000001201e-1)
        y = y * x * x + x + _ONE
        y = y * _as_float(np.int32((power + np.int32(127)) << np.int32(23)))
        row[j] = y if score > _LOWEST_EXPONENT else _ZERO


@_compiled(fastmath={"contract"})
def _finish_scores(scores, scale, bias, visible, line):  # type: ignore[no-untyped-def]
    """Scale the scores, add the bias, hide the keys that are not visible; an empty array stands for none."""
    if bias.shape[0] > 0:
        for j in range(scores.shape[0]):
            line[j] = scores[j] * scale + bias[j]
    else:
        for j in range(scores.shape[0]):
            line[j] = scores[j] * scale
    if visible.shape[0] > 0:
        for j in range(scores.shape[0]):
            line[j] = line[j] if visible[j] else _HIDDEN
    line[scores.shape[0] :] = _HIDDEN


@_compiled(nogil=True)
def _softmax_and_count_all(scores, scale, bias, visible, asked, shares, quantiles, counts):  # type: ignore[no-untyped-def]
    n_batch, n_heads, n_queries, n_keys = scores.shape
    n_shares = shares.shape[0]
    pivots = np.empty(n_shares, np.int64)
    masses = np.empty(n_shares, np.float64)
    numbers = np.empty(n_shares, np.float64)
    line = np.empty(_padded(n_keys), np.float32)
    scratch = np.empty_like(line)
    no_bias = np.empty(0, np.float32)
    all_visible = np.empty(0, np.bool_)
    for index in range(n_batch * n_heads * n_queries):
        i = index % n_queries
        h = (index // n_queries) % n_heads
        b = index // (n_queries * n_heads)
        row, row_counts = scores[b, h, i], counts[b, h, i]
        row_bias, row_visible = no_bias, all_visible
        if bias.size > 0:
            row_bias = bias[b % bias.shape[0], h % bias.shape[1], i % bias.shape[2]]
        if visible.size > 0:
            row_visible = visible[b % visible.shape[0], h % visible.shape[1], i % visible.shape[2]]
        _finish_scores(row, scale, row_bias, row_visible, line)
        largest, widest = _largest_score(line)
        if largest == -np.inf and widest == _BITS_OF_INFINITY:
            row[:] = _ZERO
            row_counts[:] = 0
            continue
        if widest > _BITS_OF_INFINITY or largest == np.inf:
            row[:] = np.nan
            row_counts[:] = NOT_FINITE
            continue
        _exponentiate(line, largest)
        if asked[b, i]:
            total = _count_row(line, shares, quantiles, pivots, masses, numbers, scratch, row_counts)
        else:
            row_counts[:] = 0
            total = _total(line)
        share = np.float32(1.0 / total)
        for j in range(n_keys):
            row[j] = line[j] * share


def _rising(shares: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Order of the shares, the shares in that order, and the normal quantiles where their search begins."""
    order = np.argsort(shares, kind="stable")
    normal = NormalDist()
    quantiles = np.array([normal.inv_cdf(min(max(share, 1e-6), 1 - 1e-6)) for share in shares[order]])
    return order, shares[order], quantiles


def _in_given_order(counts: NDArray[np.int32], order: NDArray[np.intp]) -> NDArray[np.int32]:
    if np.array_equal(order, np.arange(len(order))):
        return counts
    return counts[..., np.argsort(order)]


def count_rows(rows: NDArray[np.float32], shares: NDArray[np.float64]) -> NDArray[np.int32]:
    """Count the entries that hold given shares of each row's mass.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_rows, n_keys), C-contiguous
        Not negative, with sums that float32 can hold.
    shares : ndarray of float64, shape (n_shares,)
        Up to 1; a share of 0 or less needs one entry.

    Returns
    -------
    ndarray of int32, shape (n_rows, n_shares)
        The least k with p(1) + ... + p(k) >= share * sum(p), p sorted downwards; 0 for a row of zeros.
    """
    order, rising, quantiles = _rising(shares)
    counts = np.empty((len(rows), len(shares)), dtype=np.int32)
    n_rows, n_keys = rows.shape
    n_threads = min(most_threads(), n_rows * n_keys // _ENTRIES_PER_THREAD)
    size = max(1, -(-n_rows // (max(n_threads, 1) * _PARTS_PER_THREAD)))

    def count(first: int) -> None:
        _count_range(rows, first, min(first + size, n_rows), rising, quantiles, counts)

    share_out(count, range(0, n_rows, size), n_threads)
    return _in_given_order(counts, order)


def softmax_and_count_rows(
    scores: NDArray[np.float32],
    shares: NDArray[np.float64],
    *,
    scale: float,
    bias: NDArray[np.float32] | None,
    visible: NDArray[np.bool_] | None,
    asked: NDArray[np.bool_],
) -> NDArray[np.int32]:
    """Turn attention scores into the weights of their softmax, in place, and count them while in the cache.

    On the calling thread alone; threads can each have scores of their own.

    Parameters
    ----------
    scores : ndarray of float32, shape (n_batch, n_heads, n_queries, n_keys), C-contiguous
        Products of queries and keys; overwritten by softmax(scale * scores + bias) over the visible keys.
        A row that sees no key becomes zeros.
    shares : ndarray of float64, shape (n_shares,)
        See `count_rows`.
    scale : float
        What the scores are multiplied with.
    bias : ndarray of float32, shape broadcastable to scores with all n_keys, C-contiguous, optional
        Added to the scaled scores.
    visible : ndarray of bool, shape broadcastable to scores with all n_keys, C-contiguous, optional
        False where a query does not see a key.
    asked : ndarray of bool, shape (n_batch, n_queries)
        False for queries that are not counted.

    Returns
    -------
    ndarray of int32, shape (n_batch, n_heads, n_queries, n_shares)
        0 for queries not asked or without a visible key, `NOT_FINITE` where a score is NaN or infinite.
    """
    order, rising, quantiles = _rising(shares)
    counts = np.empty((*scores.shape[:-1], len(shares)), dtype=np.int32)
    biases = np.empty((0, 0, 0, 0), dtype=np.float32) if bias is None else bias
    views = np.empty((0, 0, 0, 0), dtype=np.bool_) if visible is None else visible
    _softmax_and_count_all(scores, np.float32(scale), biases, views, asked, rising, quantiles, counts)
    return _in_given_order(counts, order)
