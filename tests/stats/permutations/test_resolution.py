"""The smallest p of a design, against what the permutation test itself gives in the clearest of cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metastable.errors import InputError
from metastable.stats import permutation_test, permutation_test_contrast, resolution


@pytest.mark.parametrize(("n_a", "n_b"), [(2, 2), (3, 3), (2, 5), (4, 4), (3, 6)])
def test_units_however_far_apart_have_the_smallest_p(n_a, n_b):
    condition = np.arange(n_a + n_b) < n_a
    values = np.random.default_rng(1).normal(size=(n_a + n_b, 1)) + 100 * condition[:, None]
    found = resolution(condition)
    result = permutation_test(values, condition, n_permutations=1000)
    assert result.exact
    assert found.n_relabelings == result.n_distinct == math.comb(n_a + n_b, n_a)
    assert found.p == result.p_perm[0]


def test_three_against_three_can_show_nothing():
    # Issue 12: 3 against 3 units 100 standard deviations apart were "undecided", without a word of why.
    assert resolution(np.arange(6) < 3).p == pytest.approx(0.1)
    assert resolution(np.arange(7) < 3).p < 0.05


@pytest.mark.parametrize("n", [2, 5, 6])
def test_pairs_however_far_apart_have_the_smallest_p(n):
    values = np.random.default_rng(2).normal(size=(2 * n, 1)) + 100 * (np.arange(2 * n) < n)[:, None]
    condition, pair = np.arange(2 * n) < n, np.tile(np.arange(n), 2)
    result = permutation_test(values, condition, pair=pair, statistic="paired")
    assert resolution(condition, paired=True).p == result.p_perm[0] == 2 / 2**n


def test_a_line_has_the_smallest_p():
    x = np.array([0.0, 1.0, 3.0, 4.5, 9.0])
    values = 100 * x[:, None] + np.random.default_rng(3).normal(size=(5, 1))
    result = permutation_test_contrast(values, np.column_stack([np.ones(5), x]), [0, 1])
    assert result.exact
    assert resolution(x > 3, rows=True).n_relabelings == result.n_distinct == 2**5
    assert resolution(x > 3, rows=True).p == result.p_perm[0]


def test_drawn_relabelings_bound_p_as_well():
    condition = np.arange(100) < 50
    assert resolution(condition).p < 1e-20
    assert resolution(condition, n_permutations=999).p == 0.001
    assert resolution(condition, n_permutations=999).n_relabelings == 10**18
    assert resolution(np.arange(6) < 3, n_permutations=999).p == pytest.approx(0.1)
    # 2^60 is above what is counted, and no more is
    for n in (60, 70):
        assert resolution(np.arange(n) < 7, rows=True).n_relabelings == 10**18
        assert resolution(np.arange(n) < 7, rows=True, n_permutations=999).p == 0.001
    assert resolution(np.arange(18) < 7, rows=True).n_relabelings == 2**18


def test_designs_without_two_sides_are_refused():
    with pytest.raises(InputError, match="0 of b"):
        resolution([True, True])
    with pytest.raises(InputError, match="as many"):
        resolution([True, True, False], paired=True)
