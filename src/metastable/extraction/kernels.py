"""Compiled loops over attention rows on the CPU: the softmax, the counts, and the masses.

Rows of up to `_LONGEST_SORTED` keys are sorted sixteen at a time, one in each lane of a vector, by Batcher's merge
exchange (Knuth, The Art of Computer Programming, vol. 3, algorithm 5.2.2M), which compares the same places whatever
the entries are. Prefix sums of the sorted lanes in float64 are then compared with the goals.

The count of a longer row at a threshold is found by search, not by order. For a pivot w, let M(w) be the mass and
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

Passes of the search run in float32. Wherever rounding could decide, which a rigorous bound tells, they are taken
again in float64, so that the result is that of float64 sums. Rows are padded with zeros, which carry no mass, to a
length that vectors divide.

Counts are of a row relative to its own sum, so that rows are counted before they are normalized: the words' row is
the row without its other keys, the contributions' row is the row times the lengths of the values.

All compiled loops are in this file, since numba looks at no other file to tell whether what it kept is out of date.
"""

# Numba's decorators have no types that mypy could follow.
# mypy: disable-error-code="untyped-decorator, no-untyped-call"

from __future__ import annotations

from collections.abc import Callable, Collection
from statistics import NormalDist
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from metastable.extraction.threads import most_threads, share_out

__all__ = ["COUNTS", "MASSES", "NOT_FINITE", "count_rows", "softmax_and_measure_rows"]

COUNTS = ("count", "count_words", "count_contributions")
"""What is counted of a row: all its keys, those of words alone, and the weights times the lengths of the values."""

MASSES = ("special_mass", "first_mass", "sink_mass")
"""Shares of a row's softmax: of the keys that are no words, of the first key, and of a learned sink."""

NOT_FINITE = -1
"""Stands for the counts of a row whose scores are not finite."""

# Sums in any order, which lets the compiler use vectors; not for code that must see NaN.
_SUMS = {"reassoc", "nsz", "contract", "arcp", "nnan"}
_intrinsic: Any = intrinsic
_ENTRIES_PER_THREAD = 1 << 14
_PARTS_PER_THREAD = 4
# Entries that a pass of the compiled loops takes at a time: four vectors of eight.
_STRIDE = 32
# Rows that are sorted side by side, and the most keys of a row that is sorted and not searched.
_LANES = 16
_LONGEST_SORTED = 256
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


class _Room(NamedTuple):
    """Where one thread works: a line for a row, and lanes where rows are short enough to be sorted."""

    line: NDArray[np.float32]
    changed_line: NDArray[np.float32]
    pivots: NDArray[np.int64]
    masses: NDArray[np.float64]
    numbers: NDArray[np.float64]
    lanes: NDArray[np.float32]
    changed_lanes: NDArray[np.float32]
    rows: NDArray[np.int64]
    goals: NDArray[np.float64]
    sums: NDArray[np.float64]
    short: NDArray[np.int32]


@_compiled()
def _make_room(n_keys, n_shares):  # type: ignore[no-untyped-def]
    length = -(-n_keys // _STRIDE) * _STRIDE
    n_in_lanes = n_keys * _LANES if n_keys <= _LONGEST_SORTED else 0
    return _Room(
        np.zeros(length, np.float32),
        np.zeros(length, np.float32),
        np.empty(n_shares, np.int64),
        np.empty(n_shares, np.float64),
        np.empty(n_shares, np.float64),
        np.zeros(n_in_lanes, np.float32),
        np.zeros(n_in_lanes, np.float32),
        np.empty(_LANES, np.int64),
        np.empty(_LANES, np.float64),
        np.empty(_LANES, np.float64),
        np.empty(_LANES, np.int32),
    )


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


def _lanes_at(context, builder, array_type, array, offset, element):  # type: ignore[no-untyped-def]
    """Point to the vector that begins at an offset of an array."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), ir.VectorType(element, _LANES).as_pointer())


@_intrinsic
def _exchange(context, lanes, first, second):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Put the larger of two entries first, in every lane; the offsets are those of lane 0."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        element = ir.FloatType()
        upper, lower = (
            _lanes_at(context, builder, signature.args[0], arguments[0], offset, element) for offset in arguments[1:]
        )
        x, y = builder.load(upper, align=4), builder.load(lower, align=4)
        in_order = builder.fcmp_ordered(">", x, y)
        builder.store(builder.select(in_order, x, y), upper, align=4)
        builder.store(builder.select(in_order, y, x), lower, align=4)
        return context.get_dummy_value()

    return types.void(lanes, types.intp, types.intp), generate


@_intrinsic
def _add_up(context, lanes, n_entries, goals, sums, short):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Fill `sums` with the sum of each lane in float64, `short` with its number of prefix sums below the goal."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        double, integer = ir.DoubleType(), ir.IntType(32)
        n_entries = arguments[1]
        start = ir.Constant(n_entries.type, 0)
        goals, sums, short = (
            _lanes_at(context, builder, signature.args[at], arguments[at], start, element)
            for at, element in ((2, double), (3, double), (4, integer))
        )
        goal = builder.load(goals, align=8)
        doubles, integers = ir.VectorType(double, _LANES), ir.VectorType(integer, _LANES)
        mass = cgutils.alloca_once_value(builder, ir.Constant(doubles, None))
        number = cgutils.alloca_once_value(builder, ir.Constant(integers, None))
        with cgutils.for_range(builder, n_entries) as loop:
            offset = builder.mul(loop.index, ir.Constant(n_entries.type, _LANES))
            place = _lanes_at(context, builder, signature.args[0], arguments[0], offset, ir.FloatType())
            entries = builder.fpext(builder.load(place, align=4), doubles)
            builder.store(builder.fadd(builder.load(mass), entries), mass)
            is_short = builder.sext(builder.fcmp_ordered("<", builder.load(mass), goal), integers)
            builder.store(builder.sub(builder.load(number), is_short), number)
        builder.store(builder.load(mass), sums, align=8)
        builder.store(builder.load(number), short, align=4)
        return context.get_dummy_value()

    return types.void(lanes, types.intp, goals, sums, short), generate


@_compiled()
def _sort_lanes(lanes, n_entries):  # type: ignore[no-untyped-def]
    """Sort every lane downwards by merge exchange; entry j of lane l is at j * _LANES + l."""
    top = 1
    while 2 * top < n_entries:
        top *= 2
    step = top
    while step > 0:
        reach, first, distance = top, 0, step
        while True:
            for run in range(first, n_entries - distance, 2 * step):
                for i in range(run, min(run + step, n_entries - distance)):
                    _exchange(lanes, i * _LANES, (i + distance) * _LANES)
            if reach == step:
                break
            distance, first, reach = reach - step, step, reach // 2
        step //= 2


@_compiled()
def _fill_lane(lanes, lane, row):  # type: ignore[no-untyped-def]
    for j in range(row.shape[0]):
        lanes[j * _LANES + lane] = row[j]


@_compiled()
def _count_lanes(lanes, n_entries, shares, room, rows, counts):  # type: ignore[no-untyped-def]
    """Sort the lanes and count them at all shares; lane l is row rows[l] of the counts."""
    goals, sums, short = room.goals, room.sums, room.short
    _sort_lanes(lanes, n_entries)
    goals[:] = 0.0
    _add_up(lanes, n_entries, goals, sums, short)
    for t in range(shares.shape[0]):
        for lane in range(_LANES):
            goals[lane] = shares[t] * sums[lane]
        _add_up(lanes, n_entries, goals, sums, short)
        for lane in range(rows.shape[0]):
            counts[rows[lane], t] = short[lane] + 1 if sums[lane] > 0.0 else 0


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
def _search(row, total, shares, quantiles, room, counts):  # type: ignore[no-untyped-def]
    """Count one row at rising shares by pivots that close in on the entry where each goal is reached."""
    pivots, masses, numbers = room.pivots, room.masses, room.numbers
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
def _count_line(row, shares, quantiles, room, counts):  # type: ignore[no-untyped-def]
    """Count one padded row of non-negative entries at rising shares, by search."""
    total = _total(row)
    if total > 0.0:
        _search(row, total, shares, quantiles, room, counts)
    else:
        counts[:] = 0


@_compiled(nogil=True)
def _count_range(rows, first, last, shares, quantiles, counts):  # type: ignore[no-untyped-def]
    n_keys = rows.shape[1]
    room = _make_room(n_keys, shares.shape[0])
    if n_keys > _LONGEST_SORTED:
        for i in range(first, last):
            room.line[:n_keys] = rows[i]
            _count_line(room.line, shares, quantiles, room, counts[i])
        return
    for start in range(first, last, _LANES):
        n_rows = min(_LANES, last - start)
        for lane in range(n_rows):
            room.rows[lane] = start + lane
            _fill_lane(room.lanes, lane, rows[start + lane])
        _count_lanes(room.lanes, n_keys, shares, room, room.rows[:n_rows], counts)


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


@_compiled(fastmath=_SUMS)
def _mass_of_others(row, words):  # type: ignore[no-untyped-def]
    """Mass of the entries whose keys are no words."""
    mass = 0.0
    for j in range(words.shape[0]):
        mass += np.float64(_ZERO if words[j] else row[j])
    return mass


@_compiled()
def _keep_words(lanes, words, kept):  # type: ignore[no-untyped-def]
    """Copy the entries of words from one set of lanes to another; return their number."""
    n_words = 0
    for j in range(words.shape[0]):
        if words[j]:
            for lane in range(_LANES):
                kept[n_words * _LANES + lane] = lanes[j * _LANES + lane]
            n_words += 1
    return n_words


@_compiled()
def _weigh_lanes(lanes, lengths, weighed):  # type: ignore[no-untyped-def]
    for j in range(lengths.shape[0]):
        for lane in range(_LANES):
            weighed[j * _LANES + lane] = lanes[j * _LANES + lane] * lengths[j]


@_compiled()
def _count_all_lanes(room, n_waiting, words, lengths, shares, kinds, counts):  # type: ignore[no-untyped-def]
    """Count the rows that wait in the lanes; `counts` is (kinds, queries, shares)."""
    of_words, of_contributions = kinds
    rows = room.rows[:n_waiting]
    if of_words >= 0:
        n_words = _keep_words(room.lanes, words, room.changed_lanes)
        _count_lanes(room.changed_lanes, n_words, shares, room, rows, counts[of_words])
    if of_contributions >= 0:
        _weigh_lanes(room.lanes, lengths, room.changed_lanes)
        _count_lanes(room.changed_lanes, lengths.shape[0], shares, room, rows, counts[of_contributions])
    _count_lanes(room.lanes, room.lanes.shape[0] // _LANES, shares, room, rows, counts[0])


@_compiled()
def _count_all_lines(room, i, total, words, lengths, shares, quantiles, kinds, counts):  # type: ignore[no-untyped-def]
    """Count the row of query i by search; `counts` is (kinds, queries, shares)."""
    of_words, of_contributions = kinds
    _search(room.line, total, shares, quantiles, room, counts[0, i])
    if of_words >= 0:
        for j in range(words.shape[0]):
            room.changed_line[j] = room.line[j] if words[j] else _ZERO
        _count_line(room.changed_line, shares, quantiles, room, counts[of_words, i])
    if of_contributions >= 0:
        for j in range(lengths.shape[0]):
            room.changed_line[j] = room.line[j] * lengths[j]
        _count_line(room.changed_line, shares, quantiles, room, counts[of_contributions, i])


@_compiled(nogil=True)
def _softmax_and_measure_all(  # type: ignore[no-untyped-def]
    scores, scale, bias, visible, asked, sinks, words, lengths, shares, quantiles, kinds, places, counts, masses
):
    """Replace scores by weights, and fill the counts (kinds, ...) and the masses (places, ...).

    `kinds` are the positions in `counts` of the counts of words and of contributions, `places` those in `masses` of
    what is not on words, on the first key and on the sink; -1 for what is not wanted. Empty arrays stand for none.
    """
    n_batch, n_heads, n_queries, n_keys = scores.shape
    on_others, on_first, on_sink = places
    sorts = n_keys <= _LONGEST_SORTED
    room = _make_room(n_keys, shares.shape[0])
    line = room.line
    no_bias = np.empty(0, np.float32)
    no_key_hidden = no_words = np.empty(0, np.bool_)
    no_lengths = np.empty(0, np.float32)
    for index in range(n_batch * n_heads):
        h = index % n_heads
        b = index // n_heads
        head_counts = counts[:, b, h]
        head_words = words[b] if words.size > 0 else no_words
        head_lengths = lengths[b, h] if lengths.size > 0 else no_lengths
        n_waiting = 0
        for i in range(n_queries):
            row = scores[b, h, i]
            row_bias, row_visible = no_bias, no_key_hidden
            if bias.size > 0:
                row_bias = bias[b % bias.shape[0], h % bias.shape[1], i % bias.shape[2]]
            if visible.size > 0:
                row_visible = visible[b % visible.shape[0], h % visible.shape[1], i % visible.shape[2]]
            _finish_scores(row, scale, row_bias, row_visible, line)
            largest, widest = _largest_score(line)
            if largest == -np.inf and widest == _BITS_OF_INFINITY:
                row[:] = _ZERO
                continue
            if widest > _BITS_OF_INFINITY or largest == np.inf:
                row[:] = np.nan
                head_counts[:, i] = NOT_FINITE
                continue
            _exponentiate(line, largest)
            total = _total(line)
            whole = total
            if sinks.shape[0] > 0:
                whole += np.exp(sinks[h] - np.float64(largest))
            share = np.float32(1.0 / whole)
            for j in range(n_keys):
                row[j] = line[j] * share
            if not asked[b, i]:
                continue
            if on_others >= 0:
                masses[on_others, b, h, i] = _mass_of_others(line, head_words) / whole
            if on_first >= 0:
                masses[on_first, b, h, i] = line[0] / whole
            if on_sink >= 0:
                masses[on_sink, b, h, i] = 1.0 - total / whole
            if not sorts:
                _count_all_lines(room, i, total, head_words, head_lengths, shares, quantiles, kinds, head_counts)
                continue
            _fill_lane(room.lanes, n_waiting, line[:n_keys])
            room.rows[n_waiting] = i
            n_waiting += 1
            if n_waiting == _LANES:
                _count_all_lanes(room, n_waiting, head_words, head_lengths, shares, kinds, head_counts)
                n_waiting = 0
        if n_waiting > 0:
            _count_all_lanes(room, n_waiting, head_words, head_lengths, shares, kinds, head_counts)


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


def softmax_and_measure_rows(
    scores: NDArray[np.float32],
    shares: NDArray[np.float64],
    wanted: Collection[str],
    *,
    scale: float,
    bias: NDArray[np.float32] | None = None,
    visible: NDArray[np.bool_] | None = None,
    asked: NDArray[np.bool_],
    sinks: NDArray[np.float64] | None = None,
    words: NDArray[np.bool_] | None = None,
    lengths: NDArray[np.float32] | None = None,
) -> dict[str, NDArray[Any]]:
    """Turn attention scores into the weights of their softmax, in place, and measure them while in the cache.

    On the calling thread alone; threads can each have scores of their own.

    Parameters
    ----------
    scores : ndarray of float32, shape (n_batch, n_heads, n_queries, n_keys), C-contiguous
        Products of queries and keys; overwritten by softmax(scale * scores + bias) over the visible keys and the
        sink. A row that sees no key becomes zeros.
    shares : ndarray of float64, shape (n_shares,)
        See `count_rows`.
    wanted : collection of str
        Of `COUNTS` and `MASSES`: what is measured beside ``"count"``, which always is.
    scale : float
        What the scores are multiplied with.
    bias : ndarray of float32, shape broadcastable to scores with all n_keys, C-contiguous, optional
        Added to the scaled scores.
    visible : ndarray of bool, shape broadcastable to scores with all n_keys, C-contiguous, optional
        False where a query does not see a key.
    asked : ndarray of bool, shape (n_batch, n_queries)
        False for queries that are not measured.
    sinks : ndarray of float64, shape (n_heads,), optional
        Score of each head's learned sink, which takes part in the softmax and is no key.
    words : ndarray of bool, shape (n_batch, n_keys), optional
        True for the keys of words; ``count_words`` and ``special_mass`` need it.
    lengths : ndarray of float32, shape (n_batch, n_heads, n_keys), optional
        Lengths of the values, not negative and up to about one; ``count_contributions`` needs them.

    Returns
    -------
    dict of str to ndarray
        Counts of shape (n_batch, n_heads, n_queries, n_shares), int32: 0 for queries not asked or rows without mass,
        `NOT_FINITE` where a score is NaN or infinite. Masses of shape (n_batch, n_heads, n_queries), float32, as
        shares of the softmax with its sink: NaN for queries not asked, without a visible key, or with such scores.
    """
    order, rising, quantiles = _rising(shares)
    counted = ["count", *(name for name in COUNTS[1:] if name in wanted)]
    weighed = [name for name in MASSES if name in wanted]
    counts = np.zeros((len(counted), *scores.shape[:-1], len(shares)), dtype=np.int32)
    masses = np.full((len(weighed), *scores.shape[:-1]), np.nan, dtype=np.float32)
    _softmax_and_measure_all(
        scores,
        np.float32(scale),
        np.empty((0, 0, 0, 0), dtype=np.float32) if bias is None else bias,
        np.empty((0, 0, 0, 0), dtype=np.bool_) if visible is None else visible,
        asked,
        np.empty(0, dtype=np.float64) if sinks is None else sinks,
        np.empty((0, 0), dtype=np.bool_) if words is None else words,
        np.empty((0, 0, 0), dtype=np.float32) if lengths is None else lengths,
        rising,
        quantiles,
        tuple(counted.index(name) if name in counted else -1 for name in COUNTS[1:]),
        tuple(weighed.index(name) if name in weighed else -1 for name in MASSES),
        counts,
        masses,
    )
    values: dict[str, NDArray[Any]] = dict(zip(counted, _in_given_order(counts, order), strict=True))
    return values | dict(zip(weighed, masses, strict=True))
