from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from metastable.errors import InputError
from metastable.heads.modes import (
    MODES,
    count_mode_changes,
    count_quartiles,
    founding_bands,
    median_counts,
    operating_modes,
)


def test_classes_at_the_papers_length_are_the_papers():
    medians = [10, 20, 60, 100, 200, 260, 300, 500]
    assert operating_modes(medians, 512).tolist() == ["IV", "III", "III", "II", "II", "I", "I", "I"]


@given(st.integers(1, 200))
def test_classes_begin_above_a_half_an_eighth_and_a_thirty_second_of_n(m):
    # n/32, n/8 and n/2 of n = 32 m are whole numbers: each belongs to the class below, one half more to the one above
    n = 32 * m
    medians = [m, m + 0.5, 4 * m, 4 * m + 0.5, 16 * m, 16 * m + 0.5, n]
    assert operating_modes(medians, n).tolist() == ["IV", "III", "III", "II", "II", "I", "I"]


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_a_median_of_shares_gives_the_class_of_exact_arithmetic(n, other, data):
    first = Fraction(data.draw(st.integers(1, n)), n)
    second = Fraction(data.draw(st.integers(1, other)), other)
    median = (first + second) / 2
    expected = "I" if median > Fraction(1, 2) else "II" if median > Fraction(1, 8) else "III"
    expected = "IV" if median <= Fraction(1, 32) else expected
    assert operating_modes((float(first) + float(second)) / 2, 1) == expected


def test_founding_bands_are_cut_at_4_8_12_and_16_of_20():
    medians = [1, 3, 3.5, 4, 7.5, 8, 11.5, 12, 15.5, 16, 20]
    assert founding_bands(medians, 20).tolist() == [1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert founding_bands([np.nan, 3], 15).tolist() == [0, 2]


@given(st.integers(1, 200))
def test_founding_bands_scale_exactly_with_n(m):
    n = 5 * m
    medians = [m - 0.5, m, 2 * m - 0.5, 2 * m, 3 * m - 0.5, 3 * m, 4 * m - 0.5, 4 * m, n]
    assert founding_bands(medians, n).tolist() == [1, 2, 2, 3, 3, 4, 4, 5, 5]


@given(st.lists(st.floats(0, 50), min_size=2, max_size=20))
def test_a_larger_median_never_has_a_mode_of_fewer_patterns(medians):
    rank = {mode.name: i for i, mode in enumerate(MODES)}
    ranks = [rank[name] for name in operating_modes(sorted(medians), 50).tolist()]
    assert ranks == sorted(ranks)


def test_missing_heads_have_no_mode():
    modes = operating_modes([[2.0, np.nan]], [[10, 10]])
    assert modes.tolist() == [["II", ""]]


@pytest.mark.parametrize(("median", "n"), [(3, 0), (3, -1), (21, 20), (-1, 20)])
def test_impossible_medians_are_refused(median, n):
    with pytest.raises(InputError):
        operating_modes(median, n)


@given(arrays(np.int64, st.integers(2, 12), elements=st.integers(0, 6)))
def test_median_is_numpys_median_of_the_counts_themselves(histogram):
    counts = np.repeat(np.arange(1, len(histogram)), histogram[1:])
    found = median_counts(histogram)
    if counts.size:
        assert found == np.median(counts)
    else:
        assert np.isnan(found)


@given(arrays(np.int64, st.integers(2, 12), elements=st.integers(0, 6)))
def test_quartiles_are_numpys_of_the_counts_themselves(histogram):
    counts = np.repeat(np.arange(1, len(histogram)), histogram[1:])
    found = count_quartiles([histogram])[0]
    if counts.size:
        np.testing.assert_allclose(found, np.quantile(counts, [0.25, 0.5, 0.75]))
    else:
        assert np.isnan(found).all()


def test_median_keeps_the_shape_of_the_grid():
    assert median_counts(np.ones((2, 3, 6), dtype=np.uint8)).tolist() == [[3.0] * 3] * 2


@pytest.mark.parametrize("bad", [[3], [[1, -1]], 4])
def test_histograms_that_are_none_are_refused(bad):
    with pytest.raises(InputError):
        median_counts(bad)


def test_changes_leave_missing_heads_out():
    assert count_mode_changes([["I", "II"], ["", "IV"]], [["II", "II"], ["I", ""]]) == 1
    with pytest.raises(InputError):
        count_mode_changes(["I"], ["I", "II"])
