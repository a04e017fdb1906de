from __future__ import annotations

import numpy as np
import pingouin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from metastable.errors import InputError
from metastable.stats.effects import hedges_g, mean_difference


def two_groups(seed, n_a=17, n_b=29, n_features=6):
    rng = np.random.default_rng(seed)
    values = rng.gamma(3.0, 2.0, (n_a + n_b, n_features)) + rng.normal(size=n_features)
    condition = rng.permutation(np.arange(n_a + n_b) < n_a)
    values[condition] += np.linspace(-3, 8, n_features)
    return values, condition


def pairs(seed, n=23, n_features=5):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(n, n_features))
    a = base + 0.7 * rng.normal(size=(n, n_features)) + np.linspace(-1, 2, n_features)
    b = base + 0.9 * rng.normal(size=(n, n_features))
    order = rng.permutation(2 * n)
    values = np.concatenate([a, b])[order]
    return values, (np.arange(2 * n) < n)[order], np.tile(np.arange(n), 2)[order], a, b


def test_g_matches_pingouin():
    values, condition = two_groups(1)
    expected = [pingouin.compute_effsize(column[condition], column[~condition], eftype="hedges") for column in values.T]
    np.testing.assert_allclose(hedges_g(values, condition).estimate, expected, rtol=1e-12)


def test_paired_g_matches_pingouin():
    values, condition, pair, a, b = pairs(2)
    # pingouin's factor takes the partners for independent: Cohen's d is what both divide by the same deviation.
    cohen = [pingouin.compute_effsize(x, y, paired=True, eftype="cohen") for x, y in zip(a.T, b.T, strict=True)]
    alike = [2 * np.cov(x, y)[0, 1] / (x.var(ddof=1) + y.var(ddof=1)) for x, y in zip(a.T, b.T, strict=True)]
    dof = 2 * (len(a) - 1) / (1 + np.square(alike))
    expected = cohen * (1 - 3 / (4 * dof - 1))
    np.testing.assert_allclose(hedges_g(values, condition, pair=pair).estimate, expected, rtol=1e-12)


@pytest.mark.parametrize(("n", "r"), [(4, 0.95), (4, 0.99), (6, 0.9), (10, 0.5)])
def test_g_of_few_alike_partners_is_right_on_average(n, r):
    # Issue 12: with the factor of 2 n - 2 degrees of freedom the mean was 1.15 at n = 4 and r = .95.
    rng = np.random.default_rng(8)
    shared, own = rng.normal(size=(2, n, 60_000))
    values = np.concatenate([shared + 1, r * shared + np.sqrt(1 - r**2) * own])
    g = hedges_g(values, np.arange(2 * n) < n, pair=np.tile(np.arange(n), 2)).estimate
    assert g.mean() == pytest.approx(1.0, abs=0.025)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_interval_inverts_the_noncentral_t_of_scipy(confidence):
    values, condition = two_groups(3)
    result = hedges_g(values, condition, confidence=confidence)
    n_a, n_b = condition.sum(), (~condition).sum()
    dof = n_a + n_b - 2
    unit = np.sqrt(1 / n_a + 1 / n_b)
    correction = 1 - 3 / (4 * dof - 1)
    for j, column in enumerate(values.T):
        t = stats.ttest_ind(column[condition], column[~condition]).statistic

        def limit(tail, t=t):
            return optimize.brentq(lambda nc: stats.nct.cdf(t, dof, nc) - tail, t - 8, t + 8, xtol=1e-12)

        low, high = limit((1 + confidence) / 2), limit((1 - confidence) / 2)
        np.testing.assert_allclose(
            [result.low[j], result.high[j]], [low * unit * correction, high * unit * correction], rtol=1e-6
        )


@pytest.mark.parametrize("effect", [0.0, 0.5, 1.5])
def test_interval_covers_the_true_effect(effect):
    rng = np.random.default_rng(4)
    n_a, n_b, n_samples = 12, 20, 20_000
    values = rng.normal(size=(n_a + n_b, n_samples))
    condition = np.arange(n_a + n_b) < n_a
    values[condition] += effect
    # The limits of d itself, without the bias correction, are the exact ones.
    result = hedges_g(values, condition)
    correction = 1 - 3 / (4 * (n_a + n_b - 2) - 1)
    covered = ((result.low / correction <= effect) & (effect <= result.high / correction)).mean()
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / n_samples))


@pytest.mark.parametrize(("correlation", "effect"), [(0.0, 0.0), (0.5, 0.4), (0.8, 0.8)])
def test_paired_interval_covers_nearly_as_stated(correlation, effect):
    rng = np.random.default_rng(5)
    n, n_samples = 30, 10_000
    shared = rng.normal(size=(n, n_samples))

    def side():
        return np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.normal(size=(n, n_samples))

    values = np.concatenate([side() + effect, side()])
    result = hedges_g(values, np.arange(2 * n) < n, pair=np.tile(np.arange(n), 2))
    covered = ((result.low <= effect) & (effect <= result.high)).mean()
    assert 0.94 <= covered <= 0.965


def test_difference_and_interval_match_scipy():
    values, condition = two_groups(6)
    result = mean_difference(values, condition, confidence=0.9)
    test = stats.ttest_ind(values[condition], values[~condition], equal_var=False)
    interval = test.confidence_interval(0.9)
    np.testing.assert_allclose(result.estimate, values[condition].mean(0) - values[~condition].mean(0))
    np.testing.assert_allclose(result.low, interval.low, rtol=1e-9)
    np.testing.assert_allclose(result.high, interval.high, rtol=1e-9)


def test_paired_difference_and_interval_match_scipy():
    values, condition, pair, a, b = pairs(7)
    result = mean_difference(values, condition, pair=pair)
    interval = stats.ttest_rel(a, b).confidence_interval(0.95)
    np.testing.assert_allclose(result.low, interval.low, rtol=1e-9)
    np.testing.assert_allclose(result.high, interval.high, rtol=1e-9)


def test_flat_and_separated_features_are_defined():
    # A third has no exact binary form: means of equal values must still count as constant.
    values = np.column_stack([np.full(6, 1 / 3), [2.0, 2, 2, 1, 1, 1], [1.0, 2, 3, 1, 2, 3]])
    condition = np.arange(6) < 3
    g, difference = hedges_g(values, condition), mean_difference(values, condition)
    np.testing.assert_array_equal(g.estimate, [0, np.inf, 0])
    np.testing.assert_array_equal(g.flat, [True, False, False])
    np.testing.assert_array_equal(np.isnan(g.low), [True, True, False])
    np.testing.assert_array_equal(difference.estimate, [0, 1, 0])
    np.testing.assert_array_equal(difference.low[:2], [0, 1])
    np.testing.assert_array_equal(difference.high[:2], [0, 1])


@pytest.mark.parametrize("distance", [1e2, 1e4, 1e7, 1e10])
def test_nearly_separated_features_have_an_interval(distance):
    """Far out the limits are those of the standard deviation alone, whose distribution is chi-squared."""
    rng = np.random.default_rng(20)
    values = rng.normal(size=(24, 2))
    condition = np.arange(24) < 12
    values[condition] += distance
    result = hedges_g(values, condition)
    limits = np.sqrt(stats.chi2.ppf([0.025, 0.975], 22) / 22)
    np.testing.assert_allclose(result.low / result.estimate, limits[0], rtol=1e-3)
    np.testing.assert_allclose(result.high / result.estimate, limits[1], rtol=1e-3)


def test_partners_that_differ_by_a_constant_have_no_width():
    b = np.random.default_rng(8).normal(size=(9, 1)) + 0.1
    values = np.concatenate([b + 0.3, b])
    g = hedges_g(values, np.arange(18) < 9, pair=np.tile(np.arange(9), 2))
    assert g.estimate == g.low == g.high
    assert g.estimate[0] > 0


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(1e-6, 1e6),
    st.floats(-1e3, 1e3),
    st.integers(3, 12),
    st.integers(3, 12),
)
def test_g_is_free_of_units_and_antisymmetric(seed, scale, shift, n_a, n_b):
    values, condition = two_groups(seed, n_a, n_b)
    result = hedges_g(values, condition)
    moved = hedges_g(scale * (values + shift), condition)
    swapped = hedges_g(values, ~condition)
    for one, other in ((result.estimate, moved.estimate), (result.low, moved.low), (result.high, moved.high)):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(swapped.estimate, -result.estimate)
    np.testing.assert_allclose(swapped.low, -result.high, atol=1e-12)
    assert (result.low < result.estimate).all()
    assert (result.estimate < result.high).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.ones(4)}, "two dimensions"),
        ({"values": np.array([[1.0], [np.nan], [2.0], [3.0]])}, r"values\[1, 0\] is nan"),
        ({"condition": np.array([1, 1, 0, 0])}, "booleans"),
        ({"condition": np.array([True, False, False, False])}, "1 units of a"),
        ({"pair": np.array([1, 2, 1])}, "one label"),
        ({"pair": np.array([1, 2, 1, 3])}, "pair 2 has a unit in one condition only"),
        ({"pair": np.array([1, 1, 1, 2])}, "more than once in condition a"),
        ({"confidence": 95}, "confidence is 95"),
    ],
)
def test_bad_input_is_told(change, message):
    given_ = {"values": np.arange(4.0)[:, None], "condition": np.array([True, True, False, False]), **change}
    with pytest.raises(InputError, match=message):
        hedges_g(given_.pop("values"), given_.pop("condition"), **given_)


def test_pairs_that_do_not_vary_have_no_effect_and_no_warning():
    values = np.column_stack([np.full(12, 4.0), np.random.default_rng(1).normal(size=12)])
    condition, pair = np.arange(12) < 6, np.tile(np.arange(6), 2)
    with np.errstate(all="raise"):
        found = hedges_g(values, condition, pair=pair)
    assert found.estimate[0] == 0
    assert found.flat.tolist() == [True, False]
    assert np.isfinite(found.estimate[1])
