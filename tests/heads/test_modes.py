from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from metastable.errors import InputError
from metastable.heads.modes import MODES, count_mode_changes, median_counts, operating_modes


def test_bands_at_twenty_tokens_are_the_founding_ones():
    medians = [1, 3, 3.5, 4, 7, 7.5, 8, 15, 15.5, 16, 20]
    expected = ["IV", "IV", "IV", "III", "III", "III", "II", "II", "II", "I", "I"]
    assert operating_modes(medians, 20).tolist() == expected


@given(st.integers(1, 200))
def test_bands_scale_exactly_with_n(m):
    # 1/5, 2/5 and 4/5 of n = 5 m are whole numbers: each belongs to the band above, one half less to the one below
    n = 5 * m
    assert operating_modes([m - 0.5, m, 2 * m - 0.5, 2 * m, 4 * m - 0.5, 4 * m, n], n).tolist() == [
        "IV", "III", "III", "II", "II", "I", "I",
    ]  # fmt: skip


@given(st.lists(st.floats(0, 50), min_size=2, max_size=20))
def test_a_larger_median_never_has_a_mode_of_fewer_patterns(medians):
    rank = {mode.name: i for i, mode in enumerate(MODES)}
    ranks = [rank[name] for name in operating_modes(sorted(medians), 50).tolist()]
    assert ranks == sorted(ranks)


def test_missing_heads_have_no_mode():
    modes = operating_modes([[2.0, np.nan]], [[10, 10]])
    assert modes.tolist() == [["III", ""]]


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
