"""The pass over attention rows on a graphics card: softmax, counts and masses by one Triton kernel.

A warp takes one row, or several short ones side by side (a row of more than 1,024 keys is shared by several warps),
holds them in registers, and writes weights, counts and masses; the scores are read once and the weights written once,
in their place. The count at a threshold is found as `metastable.extraction.kernels` finds that of a long row: by pivots
that close in on the entry where the goal is reached. The first pair lies around the quantile of a lognormal
distribution with the row's mass, its mean logarithm and its number of keys, which settles three rows of four; later
pairs lie around a linear interpolation, and bounds end the search as soon as they meet. Rising thresholds take over the
bracket of the one before. So does the count among words that of the count among all keys, off whose masses it takes the
few entries of keys that are no words; where they are many, or hold nearly all of the row, it leaves them out of a
search of its own.

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
from math import frexp
from statistics import NormalDist

import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

from metastable.extraction.kernels import COUNTS, MASSES, NOT_FINITE
from metastable.extraction.mass import TOLERANCE
from metastable.extraction.row_measures import Rows

__all__ = ["MOST_KEYS", "list_others", "room_of_row", "sequence_and_head", "softmax_and_measure"]

MOST_KEYS = 1 << 14
"""The longest row that one program holds; a longer one is measured in parts."""

# Keys of a part, the warps that share it, eight keys a lane, and the rows of such a program.
_KEYS_OF_PART = 1 << 10
_WARPS_OF_PART = 4
_KEYS_OF_LIST = 1 << 10
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
_LN_OF_2 = tl.constexpr(0.6931471805599453)
# A row's mass in whole numbers, which may be a little more.
_UNITS = tl.constexpr(2.0**30)
# Two numbers of entries in one: no row that a program holds has as many.
_SECOND = tl.constexpr(1 << 16)
# So fine are sums that a guess is made of.
_FINE = tl.constexpr(2.0**16)
# So many keys of a sequence that are no words are listed; of what they may hold of a row to be taken off its mass.
_FEW = tl.constexpr(4)
_MOST_TAKEN_OFF = tl.constexpr(15 / 16)
_PAIRS = tl.constexpr(10)
_INTERPOLATIONS = tl.constexpr(4)
_SNAP = tl.constexpr(3)
_NOT_FINITE = tl.constexpr(NOT_FINITE)
_SMALLEST = tl.constexpr(1e-37)
_ROUNDING_OF_TURN = tl.constexpr(2.0**-22)
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
def _log2(numbers, FAST: tl.constexpr):
    """Logarithms to the base 2 of positive numbers, within a millionth."""
    return libdevice.fast_log2f(numbers) if FAST else tl.log2(numbers)


@triton.jit
def _ratio(number, divisor, FAST: tl.constexpr):
    """Divide by a number that is neither tiny nor huge, within two units in the last place."""
    return libdevice.fast_dividef(number + tl.zeros_like(divisor), divisor) if FAST else number / divisor


@triton.jit
def _of_rows(numbers):
    """Give one number a row the axes of the entries."""
    return numbers[None, :, None, None, None]


@triton.jit
def _of_keys(rows, key, SIDE_BY_SIDE: tl.constexpr):
    """Say where entries are, of which `rows` says where their rows begin.

    Versions of Triton differ in which of axes that look alike goes over lanes first. What is said here of axes other
    than the last puts lanes before rows and warps where eight numbers lie side by side, and beside them where four do,
    and groups behind them all; no access relies on it.
    """
    return tl.max_contiguous(_of_rows(rows) + key, [1, 2, 2, SIDE_BY_SIDE // 2, SIDE_BY_SIDE])


@triton.jit
def _sum_of_lane(lines):
    return tl.sum(tl.sum(lines, 4), 0)


@triton.jit
def _sum(lines):
    """Sum each row: first what a lane holds of it, then over lanes, then over warps."""
    return tl.sum(tl.sum(_sum_of_lane(lines), 2), 1)


@triton.jit
def _largest(lines):
    return tl.max(tl.max(tl.max(tl.max(lines, 4), 0), 2), 1)


@triton.jit
def _smallest(lines):
    return tl.min(tl.min(tl.min(tl.min(lines, 4), 0), 2), 1)


@triton.jit
def _add_two(one, two, other_one, other_two):
    return one + other_one, two + other_two


@triton.jit
def _add_three(one, two, three, other_one, other_two, other_three):
    return one + other_one, two + other_two, three + other_three


@triton.jit
def _sum_and_weigh(lines, logs, IN_UNITS: tl.constexpr, WARPS: tl.constexpr):
    """Sum each row's entries, and its entries times their logarithms to the base 2.

    The latter only roughly where it is IN_UNITS, which is for rows that have an entry of one and none above.
    """
    total = _sum_of_lane(lines)
    weighed = _sum_of_lane(lines * logs)
    if IN_UNITS:
        # No entry times its logarithm is below -0.54.
        weighed = (weighed * _FINE).to(tl.int32)
    total, weighed = tl.sum(total, 2), tl.sum(weighed, 2)
    if WARPS > 1:
        total, weighed = tl.reduce((total, weighed), 1, _add_two)
    else:
        total, weighed = tl.sum(total, 1), tl.sum(weighed, 1)
    if IN_UNITS:
        weighed = weighed.to(tl.float32) * (1 / _FINE)
    return total, weighed


@triton.jit
def _above(lines, upper, lower, units, unit, LANES: tl.constexpr, WARPS: tl.constexpr):
    """Mass and number of each row's entries above one pivot, and above another, in float32.

    A row holds at most a few more than 2**30 `units` of mass, each of `unit`.
    """
    # Ones and zeros take half the instructions of a choice.
    above_upper = tl.where(lines > _of_rows(_as_float(upper)), 1.0, 0.0)
    upper_mass = _sum_of_lane(lines * above_upper)
    upper_number = _sum_of_lane(above_upper)
    above_lower = tl.where(lines > _of_rows(_as_float(lower)), 1.0, 0.0)
    lower_mass = _sum_of_lane(lines * above_lower)
    lower_number = _sum_of_lane(above_lower)
    if LANES == 32:
        # A card sums whole numbers of a warp by one instruction, where it takes ten for others.
        units = units[:, None, None]
        upper_units = tl.sum((upper_mass * units).to(tl.int32), 2)
        lower_units = tl.sum((lower_mass * units).to(tl.int32), 2)
        numbers = tl.sum((upper_number + lower_number * _SECOND).to(tl.int32), 2)
        if WARPS > 1:
            upper_units, lower_units, numbers = tl.reduce((upper_units, lower_units, numbers), 1, _add_three)
        else:
            upper_units, lower_units, numbers = tl.sum(upper_units, 1), tl.sum(lower_units, 1), tl.sum(numbers, 1)
        upper_mass = upper_units.to(tl.float32) * unit
        lower_mass = lower_units.to(tl.float32) * unit
        upper_number = (numbers & (_SECOND - 1)).to(tl.float32)
        lower_number = (numbers // _SECOND).to(tl.float32)
    else:
        upper_mass, upper_number = tl.sum(tl.sum(upper_mass, 2), 1), tl.sum(tl.sum(upper_number, 2), 1)
        lower_mass, lower_number = tl.sum(tl.sum(lower_mass, 2), 1), tl.sum(tl.sum(lower_number, 2), 1)
    return upper_mass, upper_number, lower_mass, lower_number


@triton.jit
def _others_above(others, pivots):
    """Mass and number of the listed entries that are above each row's pivot."""
    pivots = _as_float(pivots)
    above = tl.where(others[0] > pivots, 1.0, 0.0)
    mass = others[0] * above
    number = above
    for j in tl.static_range(1, _FEW):
        above = tl.where(others[j] > pivots, 1.0, 0.0)
        mass += others[j] * above
        number += above
    return mass, number


@triton.jit
def _missing_exactly(lines, others, taken_off, pivots, share, plan, HAS_WORDS: tl.constexpr):
    """Find what the entries above each row's pivot lack of its goal, by float64 sums: 0 or less where they reach it.

    Entries below zero count as zero, and where `taken_off` is 1 rather than 0 the other entries are no part of the row.
    """
    # The number before the plan is a one that the compiler does not know: else it would make float64 numbers of
    # every row beforehand, whether they are needed or not.
    one = tl.load(plan - 1, volatile=True).to(tl.float32)
    lines = lines * one
    above = lines > _of_rows(_as_float(pivots))
    mass = _sum(tl.where(above, lines, 0.0).to(tl.float64))
    rest = _sum(tl.where(above, 0.0, tl.maximum(lines, 0.0)).to(tl.float64))
    if HAS_WORDS:
        for j in tl.static_range(_FEW):
            other = others[j] * one * taken_off
            mass -= tl.where(other > _as_float(pivots), other, 0.0).to(tl.float64)
            rest -= tl.where(other > _as_float(pivots), 0.0, other).to(tl.float64)
    return share * (mass + rest) - mass


@triton.jit
def _search_exactly(
    lines,
    others,
    taken_off,
    units,
    unit,
    near,
    share,
    high,
    low,
    plan,
    HAS_WORDS: tl.constexpr,
    LANES: tl.constexpr,
    WARPS: tl.constexpr,
):
    """Count the rows marked near by halving their brackets with float64 sums; other rows get nonsense.

    A share of 0 or less needs one entry.
    """
    high = tl.where(near, high, _BITS_OF_ONE)
    low = tl.where(near, low, _BITS_OF_ONE - 1)
    while tl.max(high - low, 0) > 1:
        middle = low + (high - low) // 2
        reaches = _missing_exactly(lines, others, taken_off, middle, share, plan, HAS_WORDS) <= 0.0
        is_open = high - low > 1
        low = tl.where(is_open & reaches, middle, low)
        high = tl.where(is_open & (reaches == 0), middle, high)
    # No number lies between the pivots, so all entries there are equal.
    needed = _missing_exactly(lines, others, taken_off, high, share, plan, HAS_WORDS) / _as_float(high).to(tl.float64)
    needed = tl.ceil(needed).to(tl.float32)
    _, number_above, _, number_reached = _above(lines, high, low, units, unit, LANES, WARPS)
    if HAS_WORDS:
        number_above -= taken_off * _others_above(others, high)[1]
        number_reached -= taken_off * _others_above(others, low)[1]
    return number_above + tl.maximum(tl.minimum(needed, number_reached - number_above), 1.0)


@triton.jit
def _narrowed(
    is_open,
    reached_by_upper,
    reached_by_lower,
    upper,
    upper_mass,
    upper_number,
    lower,
    lower_mass,
    lower_number,
    high,
    high_mass,
    high_number,
    low,
    low_mass,
    low_number,
):
    """Let the pivots take the ends of the brackets of open rows; returns the upper ends and the lower ones."""
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
    return high, high_mass, high_number, low, low_mass, low_number


@triton.jit
def _lognormal(total, inverse, weighed, number, FAST: tl.constexpr):
    """Center and deviation of the logarithms of entries, weighed by the entries, were these lognormal.

    Of a lognormal distribution the logarithm of the mean lies half the variance below the weighed mean of the
    logarithms (to the base e), so that the entries' sum, its mean logarithm `weighed` times the `inverse` of the sum,
    and their number say all.
    """
    center = weighed * inverse
    variance = (2 / _LN_OF_2) * (center - _log2(_ratio(total, tl.maximum(number, 1.0), FAST), FAST))
    return center, tl.sqrt(tl.maximum(variance, 1e-4))


@triton.jit
def _store_counts(
    lines,
    total,
    weighed,
    number,
    others,
    few,
    total_of_words,
    weighed_by_words,
    number_of_words,
    at_words,
    there,
    apart,
    is_counted,
    places,
    places_of_words,
    is_row,
    plan,
    n_shares,
    has_words,
    HAS_WORDS: tl.constexpr,
    LANES: tl.constexpr,
    WARPS: tl.constexpr,
    FAST: tl.constexpr,
    ERROR: tl.constexpr,
):
    """Count rows of entries from zero to one at rising shares; `places` points to each row's first count.

    `total` is the sum of the entries, `weighed` that of the entries times their logarithms to the base 2, and `number`
    the most entries that are not 0. The first pivots lie `apart` deviations to both sides of a guess. `plan` holds
    share, normal quantile and place among the counts of each threshold. ERROR bounds the relative error of a float32
    sum.

    Where `has_words` is 1 rather than 0, each share is sought among all keys and then among words, from the bracket
    that the first search ended with. Where `few` is 1 the row without the few `others` is that of words; else the
    entries that are no words are below zero while words are counted.
    """
    # NaN is no mass, and its row is not counted.
    divisor = tl.where(total > 0.0, total, 1.0)
    inverse = _ratio(1.0, divisor, FAST)
    center, deviation = _lognormal(divisor, inverse, weighed, number, FAST)
    units_of_all = inverse * _UNITS
    # Of the entries above `high` the mass falls short of the goal; with those above `low` it does not.
    high = (total * 0.0).to(tl.int32) + _BITS_OF_ONE
    high_mass = total * 0.0
    high_number = total * 0.0
    low = high * 0
    low_mass = total
    low_number = total * 0.0 + number
    for search in range(n_shares << has_words):
        t = search >> has_words
        share = tl.load(plan + 3 * t)
        quantile = tl.load(plan + 3 * t + 1).to(tl.float32)
        whole, most_number, uncertain, units = total, number, total, units_of_all
        known = 0
        taken_off = 0.0
        at = places
        first_upper = _as_bits(tl.exp2(center - quantile * deviation + apart * deviation))
        first_lower = _as_bits(tl.exp2(center - quantile * deviation - apart * deviation))
        if HAS_WORDS:
            of_words = search & has_words
            if of_words:
                whole, most_number = total_of_words, number_of_words
                known = few
                taken_off = few.to(tl.float32)
                at = places_of_words
                divisor_of_words = tl.where(total_of_words > 0.0, total_of_words, 1.0)
                inverse_of_words = _ratio(1.0, divisor_of_words, FAST)
                if few == 0:
                    uncertain = total_of_words
                    units = inverse_of_words * _UNITS
                center_of_words, deviation_of_words = _lognormal(
                    divisor_of_words, inverse_of_words, weighed_by_words, number_of_words, FAST
                )
                guess = center_of_words - quantile * deviation_of_words
                first_upper = _as_bits(tl.exp2(guess + apart * deviation_of_words))
                first_lower = _as_bits(tl.exp2(guess - apart * deviation_of_words))
            if (search > 0) & (has_words == 1):
                if few:
                    # The other entries leave the bracket's masses, or come back.
                    sign = 1.0 - 2.0 * taken_off
                    mass, count_of_others = _others_above(others, high)
                    high_mass += sign * mass
                    high_number += sign * count_of_others
                    mass, count_of_others = _others_above(others, low)
                    low_mass += sign * mass
                    low_number += sign * count_of_others
                else:
                    is_word = tl.load(at_words, mask=there, other=0) != 0
                    lines = tl.abs(lines)
                    if of_words:
                        lines = tl.where(is_word, lines, -lines)
                    high = high * 0 + _BITS_OF_ONE
                    high_mass = high_mass * 0.0
                    high_number = high_number * 0.0
                    low = low * 0
                    low_mass = whole
                    low_number = whole * 0.0 + most_number
        open_to_count = is_counted & (whole > 0.0)
        slack = uncertain * ERROR
        if HAS_WORDS:
            # Every time that other entries leave a mass, or come back, it is rounded.
            slack += uncertain * search * _ROUNDING_OF_TURN
        unit = uncertain * (1 / _UNITS)
        goal = share.to(tl.float32) * whole
        is_fresh = open_to_count
        if search > 0:
            # The bracket of the search before: one of its ends may have to take the other's part.
            passed = low_mass < goal - slack
            unsure = low_mass < goal + slack
            if HAS_WORDS:
                short = high_mass < goal - slack
                reached = high_mass >= goal + slack
                is_fresh = unsure | (short == 0)
                new_high = tl.where(passed, low, tl.where(short, high, _BITS_OF_ONE))
                new_high_mass = tl.where(passed, low_mass, tl.where(short, high_mass, 0.0))
                new_high_number = tl.where(passed, low_number, tl.where(short, high_number, 0.0))
                low = tl.where(reached, high, tl.where(unsure, 0, low))
                low_mass = tl.where(reached, high_mass, tl.where(unsure, whole, low_mass))
                low_number = tl.where(reached, high_number, tl.where(unsure, most_number, low_number))
                high, high_mass, high_number = new_high, new_high_mass, new_high_number
            else:
                high = tl.where(passed, low, high)
                high_mass = tl.where(passed, low_mass, high_mass)
                high_number = tl.where(passed, low_number, high_number)
                low = tl.where(unsure, 0, low)
                low_mass = tl.where(unsure, whole, low_mass)
                low_number = tl.where(unsure, most_number, low_number)
        # All entries up to this one together are less than what may be missing.
        least = _as_bits(0.999 * (whole - goal) / number)
        is_open = open_to_count & (goal > slack)
        near = open_to_count & (is_open == 0)
        count = total * 0.0
        step = 0
        while tl.max(is_open.to(tl.int32), 0) > 0:
            # What is above the ends of a bracket taken over is known without a look at the entries.
            if (step > 0) | (known == 0):
                upper, lower = first_upper, first_lower
                if step > 0:
                    span = (high - low).to(tl.float32)
                    part = _ratio(goal - high_mass, tl.maximum(low_mass - high_mass, _SMALLEST), FAST)
                    margin = _ratio(1.0, tl.maximum(low_number - high_number, 1.0), FAST) + 0.1 * part * (1.0 - part)
                    # Thirds end every search, whatever the row.
                    part = tl.where(step > _INTERPOLATIONS, 0.5, part)
                    margin = tl.where(step > _INTERPOLATIONS, 1 / 6, margin)
                    upper = high - (tl.maximum(part - margin, 0.0) * span).to(tl.int32)
                    lower = high - (tl.minimum(part + margin, 1.0) * span).to(tl.int32)
                    if HAS_WORDS:
                        of_guess = is_fresh & (step == known)
                        upper = tl.where(of_guess, first_upper, upper)
                        lower = tl.where(of_guess, first_lower, lower)
                first = tl.maximum(low + 1, least)
                upper = tl.minimum(tl.maximum(upper, first), high - 1)
                lower = tl.minimum(tl.maximum(lower, first), high - 1)
                upper_mass, upper_number, lower_mass, lower_number = _above(
                    lines, upper, lower, units, unit, LANES, WARPS
                )
                if known:
                    mass, count_of_others = _others_above(others, upper)
                    upper_mass -= mass
                    upper_number -= count_of_others
                    mass, count_of_others = _others_above(others, lower)
                    lower_mass -= mass
                    lower_number -= count_of_others

                reached_by_upper = upper_mass >= goal
                reached_by_lower = lower_mass >= goal
                close = is_open & ((tl.abs(upper_mass - goal) <= slack) | (tl.abs(lower_mass - goal) <= slack))
                if tl.max(close.to(tl.int32), 0) > 0:
                    reached_by_upper = _missing_exactly(lines, others, taken_off, upper, share, plan, HAS_WORDS) <= 0.0
                    reached_by_lower = _missing_exactly(lines, others, taken_off, lower, share, plan, HAS_WORDS) <= 0.0
                high, high_mass, high_number, low, low_mass, low_number = _narrowed(
                    is_open, reached_by_upper, reached_by_lower, upper, upper_mass, upper_number,
                    lower, lower_mass, lower_number, high, high_mass, high_number, low, low_mass, low_number,
                )  # fmt: skip
                if step == _SNAP - 1:
                    # Equal entries keep a bracket open however narrow it is, until it ends at entries.
                    bits = _as_bits(lines)
                    top = _largest(tl.where(bits <= _of_rows(high), bits, 0))
                    bottom = _smallest(tl.where(bits > _of_rows(low), bits, _BITS_OF_ONE))
                    high = tl.where(is_open, top, high)
                    low = tl.where(is_open, bottom - 1, low)
            step += 1

            between = low_number - high_number
            mass = low_mass - high_mass
            missing = goal - high_mass
            # The largest entries hold at least the average, and at most `high` each; the rest hold more than `low`.
            most = tl.ceil(_ratio((missing + slack) * between, tl.maximum(mass - 2 * slack, _SMALLEST), FAST))
            most = tl.where(mass > 2 * slack, tl.minimum(most, between), between)
            fewest = tl.ceil(_ratio(missing - slack, tl.maximum(_as_float(high), _SMALLEST), FAST))
            least_each = _as_float(low)
            rest = _ratio(mass - missing + 2 * slack, tl.maximum(least_each, _SMALLEST), FAST)
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
            count_near = _search_exactly(
                lines, others, taken_off, units, unit, near, share, high, low, plan, HAS_WORDS, LANES, WARPS
            )
            count = tl.where(near, count_near, count)
        tl.store(at + tl.load(plan + 3 * t + 2).to(tl.int32), count.to(tl.int32), mask=is_row)
    return lines


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

            high, high_mass, high_number, low, low_mass, low_number = _narrowed(
                is_open, upper_mass >= goal, lower_mass >= goal, upper, upper_mass, upper_number,
                lower, lower_mass, lower_number, high, high_mass, high_number, low, low_mass, low_number,
            )  # fmt: skip
        tl.store(places + tl.load(plan + 3 * t + 2).to(tl.int32), count.to(tl.int32), mask=is_row)
    return total


@triton.jit
def sequence_and_head(matrix, n_sequences, n_heads, HEADS_FIRST: tl.constexpr):
    """Say which sequence and head of a part matrices of scores are of, by no more divisions than it takes.

    Those of a head lie together where HEADS_FIRST, else those of a sequence.
    """
    inner = n_heads.to(tl.uint32)
    if HEADS_FIRST:
        inner = n_sequences.to(tl.uint32)
    outer = matrix // inner
    rest = matrix - outer * inner
    if HEADS_FIRST:
        b, h = rest, outer
    else:
        b, h = outer, rest
    return b.to(tl.int32), h.to(tl.int32)


@triton.jit
def _of_row(row, n_sequences, n_heads, n_queries, HEADS_FIRST: tl.constexpr):
    """Say which sequence, head and query rows are of."""
    row = row.to(tl.uint32)
    matrix = row // n_queries.to(tl.uint32)
    b, h = sequence_and_head(matrix, n_sequences, n_heads, HEADS_FIRST)
    return b, h, (row - matrix * n_queries.to(tl.uint32)).to(tl.int32)


@triton.jit
def _scores_of_keys(
    at,
    at_bias,
    at_visible,
    within,
    there,
    scale,
    SCALED: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_VISIBLE: tl.constexpr,
):
    """Load scores, or unless SCALED what they are multiples of, by the same rounding wherever."""
    score = tl.load(at, mask=within, other=0.0).to(tl.float32)
    if HAS_BIAS:
        score = tl.fma(score, scale + tl.zeros_like(score), tl.load(at_bias, mask=there, other=0.0))
    elif SCALED:
        score *= scale
    if SCALED:
        # Without it, what is taken off the product would be taken off before that is rounded.
        score = tl.maximum(score, _HIDDEN, propagate_nan=tl.PropagateNan.ALL)
    if HAS_VISIBLE:
        score = tl.where(tl.load(at_visible, mask=there, other=0) != 0, score, _HIDDEN)
    return score


@triton.jit
def _score_of_other(
    j,
    at_others,
    n_others,
    at,
    at_bias,
    at_visible,
    is_row,
    scale,
    SCALED: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_VISIBLE: tl.constexpr,
):
    """Load the score of a listed key; of none where there are fewer, or more than a list holds."""
    is_there = is_row & (j < n_others) & (n_others <= _FEW)
    key = tl.load(at_others + 1 + j, mask=is_there, other=0)
    score = _scores_of_keys(
        at + key, at_bias + key, at_visible + key, is_there, is_there, scale, SCALED, HAS_BIAS, HAS_VISIBLE
    )
    return tl.where(is_there, score, _HIDDEN)


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
    others,
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
    ROWS: tl.constexpr,
    WARPS: tl.constexpr,
    LANES: tl.constexpr,
    GROUPS: tl.constexpr,
    SIDE_BY_SIDE: tl.constexpr,
    FULL: tl.constexpr,
    SCALED: tl.constexpr,
    FAST: tl.constexpr,
    ERROR: tl.constexpr,
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    is_row = row < n_rows
    if ROWS == 1:
        is_row = tl.full([1], True, tl.int1)
    b, h, q = _of_row(row, n_sequences, n_heads, n_queries, HEADS_FIRST)
    b = (first_b + b).to(tl.int64)
    h = (first_h + h).to(tl.int64)
    q = (first_q + q).to(tl.int64)
    # A lane holds groups of keys that lie side by side.
    lane = tl.arange(0, WARPS)[:, None] * LANES + tl.arange(0, LANES)[None, :]
    group = tl.arange(0, GROUPS)[:, None, None, None, None] * (WARPS * LANES) + lane[None, None, :, :, None]
    key = group * SIDE_BY_SIDE + tl.arange(0, SIDE_BY_SIDE)[None, None, None, None, :]
    # A mask of keys would break up what lies side by side; what lies between the keys of two rows is read and
    # overwritten.
    there, within = _of_rows(is_row), _of_rows(is_row)
    if not FULL:
        there = there & (key < n_keys)
        within = within & (key < step)
    at = row.to(tl.int64) * step
    at_bias = b * bias_b + h * bias_h + q * bias_q
    at_visible = b * visible_b + h * visible_h + q * visible_q
    at_words = words + _of_keys(b * words_b, key, SIDE_BY_SIDE)

    # Scores of single keys are read before weights take their place.
    if FIRST_AT >= 0:
        first = _scores_of_keys(
            scores + at, bias + at_bias, visible + at_visible, is_row, is_row, scale, SCALED, HAS_BIAS, HAS_VISIBLE
        )
    if WORDS_AT >= 0 or OTHERS_AT >= 0:
        at_others = others + b * (1 + _FEW)
        n_others = tl.load(at_others, mask=is_row, other=0)
        other_0 = _score_of_other(
            0, at_others, n_others, scores + at, bias + at_bias, visible + at_visible, is_row, scale,
            SCALED, HAS_BIAS, HAS_VISIBLE,
        )  # fmt: skip
        other_1 = _score_of_other(
            1, at_others, n_others, scores + at, bias + at_bias, visible + at_visible, is_row, scale,
            SCALED, HAS_BIAS, HAS_VISIBLE,
        )  # fmt: skip
        other_2 = _score_of_other(
            2, at_others, n_others, scores + at, bias + at_bias, visible + at_visible, is_row, scale,
            SCALED, HAS_BIAS, HAS_VISIBLE,
        )  # fmt: skip
        other_3 = _score_of_other(
            3, at_others, n_others, scores + at, bias + at_bias, visible + at_visible, is_row, scale,
            SCALED, HAS_BIAS, HAS_VISIBLE,
        )  # fmt: skip
    logs = _scores_of_keys(
        scores + _of_keys(at, key, SIDE_BY_SIDE),
        bias + _of_keys(at_bias, key, SIDE_BY_SIDE),
        visible + _of_keys(at_visible, key, SIDE_BY_SIDE),
        within, there, scale, SCALED, HAS_BIAS, HAS_VISIBLE,
    )  # fmt: skip
    if not FULL and not HAS_VISIBLE:
        logs = tl.where(key < n_keys, logs, _HIDDEN)
    largest = _largest(logs)
    # Without a visible key there is nothing to take off; NaN and infinity make the total NaN.
    taken_off = tl.where(largest <= _HIDDEN, 0.0, largest)
    to_logs = _LOG2_OF_E
    if not SCALED:
        to_logs = scale * _LOG2_OF_E
    logs = (logs - _of_rows(taken_off)) * to_logs
    line = tl.exp2(logs)
    total, weighed = _sum_and_weigh(line, logs, LANES == 32, WARPS)
    is_broken = (total < float("inf")) == 0
    sees_some = total > 0.0
    whole = total
    on_sink = total * 0.0
    if HAS_SINKS:
        if not SCALED:
            largest *= scale
        on_sink = tl.exp2((tl.load(sinks + h, mask=is_row, other=0.0) - largest) * _LOG2_OF_E)
        whole = total + on_sink
    whole = tl.where(sees_some, whole, 1.0)
    inverse = 1.0 / whole
    share_each = tl.where(is_broken, float("nan"), tl.where(sees_some, inverse, 0.0))
    tl.store(
        weights + _of_keys(at, key, SIDE_BY_SIDE),
        (line * _of_rows(share_each)).to(weights.dtype.element_ty),
        mask=within,
    )

    number = total * 0.0 + n_keys.to(tl.float32)
    if HAS_VISIBLE or HAS_BIAS:
        number = _sum(tl.where(line > 0.0, 1.0, 0.0))
    is_asked = is_row & (tl.load(asked + b * asked_b + q, mask=is_row, other=0) != 0)
    has_masses = is_asked & sees_some
    at_masses = masses + b * mass_b + h * mass_h + q * mass_q
    # A row that is not finite is counted as if it were empty, and marked.
    is_counted = is_asked & (is_broken == 0)
    at_counts = counts + b * count_b + h * count_h + q * count_q

    few = 0
    the_others = (total, total, total, total)
    total_of_words, weighed_by_words, number_of_words = total, weighed, number
    if WORDS_AT >= 0 or OTHERS_AT >= 0:
        other_0 = (other_0 - taken_off) * to_logs
        other_1 = (other_1 - taken_off) * to_logs
        other_2 = (other_2 - taken_off) * to_logs
        other_3 = (other_3 - taken_off) * to_logs
        the_others = (tl.exp2(other_0), tl.exp2(other_1), tl.exp2(other_2), tl.exp2(other_3))
        mass = the_others[0] + the_others[1] + the_others[2] + the_others[3]
        weighed_by_words = weighed - (
            the_others[0] * other_0 + the_others[1] * other_1 + the_others[2] * other_2 + the_others[3] * other_3
        )
        total_of_words = total - mass
        number_of_words = number - _others_above(the_others, (mass * 0.0).to(tl.int32))[1]
        # Of little that is left, rounding of the whole would be much.
        is_few = (n_others <= _FEW) & ((mass <= total * _MOST_TAKEN_OFF) | (is_counted == 0))
        few = tl.min(is_few.to(tl.int32), 0)
        if few == 0:
            is_word = tl.load(at_words, mask=there, other=0) != 0
            mass = _sum(tl.where(is_word, 0.0, line))
            of_words = tl.where(is_word, line, 0.0)
            total_of_words, weighed_by_words = _sum_and_weigh(of_words, _log2(of_words + _SMALLEST, FAST), False, WARPS)
            number_of_words = _sum(tl.where(of_words > 0.0, 1.0, 0.0))
        if OTHERS_AT >= 0:
            at_place = at_masses + OTHERS_AT * mass_kind
            tl.store(at_place, tl.where(has_masses, mass * inverse, float("nan")), mask=is_row)
    if FIRST_AT >= 0:
        first = tl.exp2((first - taken_off) * to_logs) * inverse
        tl.store(at_masses + FIRST_AT * mass_kind, tl.where(has_masses, first, float("nan")), mask=is_row)
    if SINK_AT >= 0:
        # A sink far above the keys is infinitely many times their mass.
        sink = tl.where(on_sink == float("inf"), 1.0, on_sink * inverse)
        tl.store(at_masses + SINK_AT * mass_kind, tl.where(has_masses, sink, float("nan")), mask=is_row)

    # One search for all kinds: the program of three would be long for the card's cache of instructions.
    has_words = 1 if WORDS_AT >= 0 else 0
    places = at_counts
    for kind in range(2 if CONTRIBUTIONS_AT >= 0 else 1):
        if kind == 1:
            at_lengths = lengths + _of_keys(b * lengths_b + h * lengths_h, key, SIDE_BY_SIDE)
            # Relative to the longest value, so that no entry is above one.
            line = tl.abs(line) * tl.load(at_lengths, mask=there, other=0.0)
            # Nothing has no logarithm.
            total, weighed = _sum_and_weigh(line, _log2(line + _SMALLEST, FAST), False, WARPS)
            places = at_counts + CONTRIBUTIONS_AT * count_kind
            has_words = 0
        line = _store_counts(
            line, total, weighed, number, the_others, few, total_of_words, weighed_by_words, number_of_words,
            at_words, there, apart, is_counted, places, at_counts + WORDS_AT * count_kind, is_row, plan, n_shares,
            has_words, WORDS_AT >= 0, LANES, WARPS, FAST, ERROR,
        )  # fmt: skip
    if tl.max(is_broken.to(tl.int32), 0) > 0:
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
    others,
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


@triton.jit
def _list_others(words, seen, others, n_keys, words_b, seen_b, HAS_SEEN: tl.constexpr, KEYS: tl.constexpr):
    b = tl.program_id(0)
    at = others + b * (1 + _FEW)
    number = 0
    for start in range(0, n_keys, KEYS):
        key = start + tl.arange(0, KEYS)
        is_other = tl.load(words + b * words_b + key, mask=key < n_keys, other=1) == 0
        if HAS_SEEN:
            is_other = is_other & (tl.load(seen + b * seen_b + key, mask=key < n_keys, other=0) != 0)
        place = number + tl.cumsum(is_other.to(tl.int32), 0)
        tl.store(at + place, key, mask=is_other & (place <= _FEW))
        number += tl.sum(is_other.to(tl.int32), 0)
    tl.store(at, number)


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


def list_others(word_keys: torch.Tensor, visible: torch.Tensor | None) -> torch.Tensor:
    """List the few keys of each sequence that are no words, which most sequences have, without waiting for a card.

    Parameters
    ----------
    word_keys : torch.Tensor
        (batch, keys) boolean, keys side by side.
    visible : torch.Tensor or None
        As `metastable.extraction.row_measures.Rows` has it: a key that no query sees is not listed.

    Returns
    -------
    torch.Tensor
        (batch, 5) int32: how many such keys there are, and the first four of them.
    """
    n_batch, n_keys = word_keys.shape
    others = word_keys.new_empty(n_batch, 1 + _FEW.value, dtype=torch.int32)
    seen = None
    if visible is not None:
        seen = (visible[:, 0, 0] if visible.shape[1:3] == (1, 1) else visible.any(dim=1).any(dim=1)).contiguous()
    _list_others[(n_batch,)](
        word_keys.view(torch.uint8),
        _bytes(seen, others),
        others,
        n_keys,
        *_strides(word_keys, 1),
        *_strides(seen, 1),
        seen is not None,
        min(_KEYS_OF_LIST, _next_power(n_keys)),
        num_warps=1,
    )
    return others


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
    in_parts = n_keys > MOST_KEYS if in_parts is None else in_parts
    others = rows.others
    if others is None and rows.needed_words is not None and not in_parts:
        others = list_others(rows.needed_words, rows.visible)
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
        nothing if others is None else others,
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
    )
    if in_parts:
        at_once = rows_at_once or _ROWS_IN_PARTS
        part = min(_KEYS_OF_PART, _next_power(n_keys))
        _rows_in_parts[(-(-n_rows // at_once),)](*arguments, len(counted), at_once, part, num_warps=_WARPS_OF_PART)
        return
    side_by_side = _BYTES_SIDE_BY_SIDE // scores.element_size()
    lanes = _lanes(n_keys)
    groups = max(1, _next_power(-(-n_keys // lanes)) // side_by_side)
    at_once = rows_at_once or max(1, _LANES_OF_WARP // lanes)
    warps = max(1, lanes // _LANES_OF_WARP)
    _rows[(-(-n_rows // at_once),)](
        *arguments,
        at_once,
        warps,
        lanes // warps,
        groups,
        side_by_side,
        n_keys == lanes * groups * side_by_side,
        # By a power of two the multiple of a difference is the difference of multiples.
        rows.bias is not None or frexp(scaling)[0] != 0.5,
        scores.is_cuda and not torch.version.hip,
        # Sums of a lane's entries, over lanes and warps, and the product of share and total.
        (groups + side_by_side + 16) * 2 * 2.0**-24,
        num_warps=warps,
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
