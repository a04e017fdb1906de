from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from metastable.stats.permutations.permutation import permutation_test
from metastable.stats.permutations.tail import _CRITICAL, _SHAPES, _anderson_darling, tail_p_values


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


@pytest.mark.parametrize("heavy", [0.0, 0.2, 0.4])
def test_the_fit_is_that_of_the_moments_above_the_upper_quarter(heavy):
    """Hosking & Wallis (1987): k = (m^2 / v - 1) / 2 and a = m (m^2 / v + 1) / 2 of the excesses; k above 0 is 0."""
    null = stats.genpareto.ppf((np.arange(2_000) + 0.5) / 2_000, heavy)
    observed = null[-1] * np.array([0.8, 1.0, 1.5])
    threshold = (null[-501] + null[-500]) / 2
    excess = null[-500:] - threshold
    ratio = excess.mean() ** 2 / excess.var(ddof=1)
    shape = min((ratio - 1) / 2, 0.0)
    scale = excess.mean() * (ratio + 1) / 2 if shape < 0 else excess.mean()
    expected = 0.25 * stats.genpareto.sf(observed - threshold, -shape, scale=scale)
    np.testing.assert_allclose(tail_p_values(observed, null, raw(observed, null), square=False), expected, rtol=1e-9)
    assert heavy < 0.1 or shape < -0.05


def test_the_statistic_of_the_fit_is_its_integral():
    """Anderson & Darling (1952): n times the integral of (F_n - F)^2 / (F (1 - F)) dF, in pieces between the values."""
    u = np.sort(np.random.default_rng(4).beta(0.8, 1.1, size=30))
    ends = np.concatenate([[0.0], u, [1.0]])
    pieces = [
        integrate.quad(lambda x, step=k / 30: (step - x) ** 2 / (x * (1 - x)), ends[k], ends[k + 1])[0]
        for k in range(31)
    ]
    assert _anderson_darling(1 - u) == pytest.approx(30 * sum(pieces), rel=1e-6)


def test_the_critical_values_fall_as_the_tail_grows_lighter():
    assert (np.diff(_SHAPES) > 0).all()
    assert (np.diff(_CRITICAL) < 0).all()


def test_a_tail_of_fewer_than_twenty_is_not_fitted():
    for n, fitted in ((79, False), (80, True)):
        null = stats.expon.ppf((np.arange(n) + 0.5) / n)
        observed = null[-1:] * 1.5
        p = raw(observed, null)
        assert (tail_p_values(observed, null, p, square=False) != p).item() == fitted


def test_a_fit_that_is_rejected_is_tried_further_out():
    # a lump below the 90th percentile and an exponential above it: only the upper tenth is one
    lump = np.linspace(0, 1e-3, 1_800)
    null = np.concatenate([lump, 5 + stats.expon.ppf((np.arange(200) + 0.5) / 200)])
    observed = np.array([5 + stats.expon.isf(0.01)])
    found = tail_p_values(observed, null, raw(observed, null), square=False)
    assert found[0] == pytest.approx(0.1 * 0.01, rel=0.1)


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
