from __future__ import annotations

import numpy as np
import pingouin
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metastable.stats.superiority import probability_of_superiority


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 10), st.integers(2, 10))
def test_matches_mann_whitney_and_every_pair_counted(seed, n_a, n_b):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 6, (n_a + n_b, 4)).astype(float)  # few levels, so that there are ties
    condition = rng.permutation(np.arange(n_a + n_b) < n_a)
    a, b = values[condition], values[~condition]
    counted = (a[:, None] > b[None]).mean((0, 1)) + (a[:, None] == b[None]).mean((0, 1)) / 2
    result = probability_of_superiority(values, condition)
    np.testing.assert_allclose(result, counted, rtol=1e-12)
    np.testing.assert_allclose(result, stats.mannwhitneyu(a, b).statistic / (n_a * n_b), rtol=1e-12)


def test_matches_pingouin():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(25, 3))
    condition = np.arange(25) < 11
    expected = [pingouin.compute_effsize(column[condition], column[~condition], eftype="cles") for column in values.T]
    np.testing.assert_allclose(probability_of_superiority(values, condition), expected)


def test_pairs_are_compared_within():
    values = np.array([[1.0], [2.0], [3.0], [0.0], [2.0], [9.0]])
    condition = np.array([True, True, True, False, False, False])
    assert probability_of_superiority(values, condition, pair=np.array([0, 1, 2, 0, 1, 2])) == [0.5]
    assert probability_of_superiority(values, condition, pair=np.array([0, 1, 2, 2, 0, 1])) == [1 / 3]


def test_flat_feature_is_one_half():
    assert probability_of_superiority(np.ones((4, 1)), np.arange(4) < 2) == [0.5]
