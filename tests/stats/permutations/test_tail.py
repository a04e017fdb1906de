from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metastable.stats.permutations.permutation import permutation_test
from metastable.stats.permutations.tail import tail_p_values


def raw(observed, null):
    return (np.count_nonzero(null >= observed[:, None], axis=1) + 1) / (len(null) + 1)


@pytest.mark.parametrize(
    ("law", "square"),
    [(stats.chi2(3), False), (stats.genpareto(0.15), False), (stats.f(4, 60), False),
     (stats.halfnorm(), True), (stats.norm(), True), (stats.t(25), True)],
    ids=["chi2", "pareto", "f", "half-normal", "normal", "t"],
)  # fmt: skip
def test_fitted_tails_are_close_to_the_truth_far_beyond_the_sample(law, square):
    # 2,000 draws cannot tell 1e-3 from 2e-3 by counting, and nothing at all below 5e-4.
    truth = np.array([1e-2, 1e-3, 1e-4])
    estimates = []
    for seed in range(60):
        null = law.rvs(2_000, random_state=seed)
        observed = law.isf(truth)
        estimates.append(tail_p_values(observed, null, raw(observed, null), square=square))
    middle = np.median(np.log10(estimates), axis=0)
    # Too small a p would be an error of the first kind, so that side is the narrow one.
    assert (middle > np.log10(truth) - 0.15).all()
    assert (middle < np.log10(truth) + 0.4).all()


def test_large_p_are_left_alone():
    rng = np.random.default_rng(1)
    null = rng.normal(size=5_000)
    observed = np.array([0.0, 1.0, 1.2, 3.0])
    p = raw(observed, null)
    result = tail_p_values(observed, null, p, square=True)
    np.testing.assert_array_equal(result[:3], p[:3])
    assert result[3] != p[3]


def test_a_discrete_null_without_a_fit_keeps_its_p():
    null = np.repeat(np.arange(4.0), 500)
    observed = np.array([3.0])
    np.testing.assert_array_equal(tail_p_values(observed, null, np.array([0.05]), square=False), [0.05])


@given(st.integers(0, 500), st.floats(0, 60))
def test_p_is_never_zero_and_falls_with_the_statistic(seed, far):
    null = np.random.default_rng(seed).uniform(size=400) ** 0.7
    observed = np.sort(np.concatenate([np.linspace(0.8, 1.2, 9), [1.2 + far]]))
    p = tail_p_values(observed, null, raw(observed, null), square=True)
    assert (p > 0).all()
    beyond = p[observed > 1.0]
    assert (np.diff(beyond) <= 0).all()


def test_the_test_option_reaches_below_the_count():
    rng = np.random.default_rng(2)
    values = rng.normal(size=(60, 30))
    condition = np.arange(60) < 30
    values[condition, 0] += 0.6
    masks = {"all": np.ones(30, dtype=bool)}
    counted = permutation_test(values, condition, n_permutations=999, rng=4, omnibus=masks)
    fitted = permutation_test(values, condition, n_permutations=999, rng=4, omnibus=masks, tail="gpd")
    truth = stats.ttest_ind(values[condition], values[~condition], equal_var=False).pvalue
    assert counted.p_perm[0] == 0.001
    assert abs(np.log10(fitted.p_perm[0]) - np.log10(truth[0])) < 1
    assert fitted.p_perm[0] < 5e-4 < fitted.p_fwer[0] < 0.01
    assert fitted.omnibus["all"].p_max == pytest.approx(fitted.p_fwer[0])
    large = counted.p_perm >= 0.1
    np.testing.assert_array_equal(fitted.p_perm[large], counted.p_perm[large])


def test_exact_enumerations_are_not_replaced():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(10, 4)) + np.arange(10)[:, None]
    condition = np.arange(10) < 5
    fitted = permutation_test(values, condition, tail="gpd")
    assert fitted.exact
    np.testing.assert_array_equal(fitted.p_perm, permutation_test(values, condition).p_perm)
