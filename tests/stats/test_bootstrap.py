from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from metastable.errors import InputError
from metastable.stats.bootstrap import _bca, _quantile, _Strata, bootstrap_g, bootstrap_slope, jackknife_error
from metastable.stats.correlation import correlation_equivalence, partial_correlation
from metastable.stats.effects import hedges_g


def g_of(a, b, axis=-1):
    n_a, n_b = a.shape[axis], b.shape[axis]
    dof = n_a + n_b - 2
    pooled = ((n_a - 1) * a.var(axis, ddof=1) + (n_b - 1) * b.var(axis, ddof=1)) / dof
    return (1 - 3 / (4 * dof - 1)) * (a.mean(axis) - b.mean(axis)) / np.sqrt(pooled)


def skewed(seed, n_a=24, n_b=35):
    rng = np.random.default_rng(seed)
    values = rng.lognormal(0, 1, (n_a + n_b, 3))
    values[:n_a] += [0, 0.5, 2]
    return values, np.arange(n_a + n_b) < n_a


def test_interval_matches_scipy_within_monte_carlo_error():
    values, condition = skewed(1)
    result = bootstrap_g(values, condition, n_resamples=40_000, rng=2)
    for j, column in enumerate(values.T):
        expected = stats.bootstrap(
            (column[condition], column[~condition]), g_of, n_resamples=40_000, rng=3, batch=5000, method="BCa"
        )
        error = 0.02 * (result.high[j] - result.low[j])
        assert result.low[j] == pytest.approx(expected.confidence_interval.low, abs=error)
        assert result.high[j] == pytest.approx(expected.confidence_interval.high, abs=error)
        # The interval is told apart from the one that assumes normal values.
    assert np.abs(result.high - hedges_g(values, condition).high).max() > 0.02


def test_pairs_match_scipy_within_monte_carlo_error():
    rng = np.random.default_rng(4)
    b = rng.lognormal(size=30)
    a = b + rng.exponential(0.7, size=30)
    values = np.concatenate([a, b])[:, None]
    order = rng.permutation(60)
    result = bootstrap_g(
        values[order], (np.arange(60) < 30)[order], pair=np.tile(np.arange(30), 2)[order],
        n_resamples=40_000, rng=5,
    )  # fmt: skip
    expected = stats.bootstrap((a, b), g_of, paired=True, n_resamples=40_000, rng=6, batch=5000)
    error = 0.02 * (result.high[0] - result.low[0])
    assert result.low[0] == pytest.approx(expected.confidence_interval.low, abs=error)
    assert result.high[0] == pytest.approx(expected.confidence_interval.high, abs=error)
    apart = bootstrap_g(values, np.arange(60) < 30, rng=5)
    assert apart.high[0] - apart.low[0] > 1.3 * (result.high[0] - result.low[0])


def clustered(rng, n_features, n_clusters=40, size=5):
    """Standard normal units of which half the variance is their cluster's; first half of the clusters are a."""
    shared = np.repeat(rng.normal(size=(n_clusters, n_features)), size, axis=0)
    values = np.sqrt(0.5) * (shared + rng.normal(size=shared.shape))
    cluster = np.repeat(np.arange(n_clusters), size)
    return values, cluster < n_clusters // 2, cluster


def test_whole_clusters_cover_where_single_units_do_not():
    values, condition, cluster = clustered(np.random.default_rng(7), 1500)
    values[condition] += 0.5
    whole = bootstrap_g(values, condition, cluster=cluster, n_resamples=600, rng=8)
    single = bootstrap_g(values, condition, n_resamples=600, rng=8)
    covered = ((whole.low <= 0.5) & (whole.high >= 0.5)).mean()
    naive = ((single.low <= 0.5) & (single.high >= 0.5)).mean()
    assert 0.92 <= covered <= 0.965
    assert naive < 0.82


def test_coverage_under_skew_and_unequal_variance():
    rng = np.random.default_rng(9)
    n_a, n_b, n_samples = 60, 40, 2000
    a = rng.exponential(1.0, (n_a, n_samples))
    b = 0.5 * rng.normal(size=(n_b, n_samples))
    # Population value of what is estimated: the pooled variance weighs by sample size.
    truth = 1.0 / np.sqrt((59 * 1.0 + 39 * 0.25) / 98)
    result = bootstrap_g(np.concatenate([a, b]), np.arange(100) < 60, n_resamples=1000, rng=10)
    assert 0.92 <= ((result.low <= truth) & (truth <= result.high)).mean() <= 0.97


def test_clusters_of_one_unit_are_units_and_a_seed_is_an_answer():
    values, condition = skewed(11)
    one = bootstrap_g(values, condition, rng=1)
    same = bootstrap_g(values, condition, cluster=np.arange(len(values)), rng=np.random.default_rng(1))
    np.testing.assert_array_equal(one.low, same.low)
    assert (bootstrap_g(values, condition, rng=2).low != one.low).all()


def test_a_feature_does_not_depend_on_its_neighbours():
    rng = np.random.default_rng(12)
    values, condition = rng.normal(size=(30, 600)), np.arange(30) < 14
    told = []
    many = bootstrap_g(values, condition, n_resamples=200, rng=1, callback=lambda *done: told.append(done))
    alone = bootstrap_g(values[:, [5, 599]], condition, n_resamples=200, rng=1)
    np.testing.assert_allclose(many.low[[5, 599]], alone.low, rtol=1e-9)
    assert told[-1] == (600, 600)


def test_clusters_with_both_conditions_are_drawn_whole():
    rng = np.random.default_rng(13)
    cluster = np.repeat(np.arange(15), 4)
    condition = np.tile([True, True, False, False], 15)
    # Clusters differ much and conditions within a cluster do not: drawing within conditions would be wide.
    values = 5 * rng.normal(size=(15, 1))[cluster] + 0.1 * rng.normal(size=(60, 1))
    whole = bootstrap_g(values, condition, cluster=cluster, rng=1)
    single = bootstrap_g(values, condition, rng=1)
    assert (whole.high - whole.low) < 0.1 * (single.high - single.low)


def test_degenerate_features_are_defined():
    values = np.column_stack([np.full(12, 0.1), np.repeat([0.0, 1.0], 6), np.r_[np.zeros(11), 1.0]])
    result = bootstrap_g(values, np.arange(12) < 6, rng=1)
    np.testing.assert_array_equal(result.estimate[:2], [0.0, -np.inf])
    assert np.isnan(result.low[:2]).all()
    assert result.flat.tolist() == [True, False, False]
    assert result.low[2] < result.estimate[2] <= result.high[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cluster": np.repeat([0, 1, 2, 3], 3)}, "2 clusters of condition a"),
        ({"cluster": np.arange(5)}, "cluster has shape"),
        ({"cluster": np.arange(12), "pair": np.tile(np.arange(6), 2)}, "lies in two clusters"),
        ({"n_resamples": 10}, "n_resamples is 10"),
    ],
)
def test_bad_input_is_told(options, message):
    with pytest.raises(InputError, match=message):
        bootstrap_g(np.arange(12.0)[:, None], np.arange(12) < 6, **options)


def test_adjusted_g_matches_scipy_within_monte_carlo_error():
    values, condition = skewed(21)
    rng = np.random.default_rng(22)
    length = rng.normal(size=59) + 0.7 * condition
    values = values + length[:, None]
    result = bootstrap_g(values, condition, covariates=length[:, None], n_resamples=20_000, rng=2)
    factor = 1 - 3 / (4 * 57 - 1)

    def statistic(a, b, axis=-1):
        # Indices are drawn, so that a unit brings its covariate along.
        n_a, n_b = a.shape[-1], b.shape[-1]
        rows = np.concatenate([a, b], axis=-1)
        y, z = column[rows], length[rows]
        side = np.broadcast_to(np.arange(n_a + n_b) < n_a, rows.shape)
        x = np.stack([side, np.ones(rows.shape), z], axis=-1)
        beta = np.linalg.solve(np.swapaxes(x, -1, -2) @ x, np.swapaxes(x, -1, -2) @ y[..., None])[..., 0, 0]
        squares = y[..., :n_a].var(-1, ddof=1) * (n_a - 1) + y[..., n_a:].var(-1, ddof=1) * (n_b - 1)
        return factor * beta / np.sqrt(squares / (n_a + n_b - 2))

    for j in range(3):
        column = values[:, j]
        expected = stats.bootstrap(
            (np.flatnonzero(condition), np.flatnonzero(~condition)), statistic, n_resamples=20_000, rng=3, batch=5000
        )
        assert result.estimate[j] == pytest.approx(statistic(np.flatnonzero(condition), np.flatnonzero(~condition)))
        error = 0.03 * (result.high[j] - result.low[j])
        assert result.low[j] == pytest.approx(expected.confidence_interval.low, abs=error)
        assert result.high[j] == pytest.approx(expected.confidence_interval.high, abs=error)


def test_adjusted_g_of_pairs_matches_scipy_within_monte_carlo_error():
    rng = np.random.default_rng(29)
    n = 40
    z = rng.normal(size=2 * n) + np.repeat([1.0, 0.0], n)
    b = rng.lognormal(size=n)
    values = np.concatenate([b + rng.exponential(0.7, size=n), b]) + 0.8 * z
    result = bootstrap_g(
        values[:, None], np.arange(2 * n) < n, pair=np.tile(np.arange(n), 2), covariates=z[:, None],
        n_resamples=20_000, rng=2,
    )  # fmt: skip

    def statistic(rows, axis=-1):
        # What the difference of partners is where their covariates agree, over both conditions' deviation.
        y, x = (values[:n] - values[n:])[rows], (z[:n] - z[n:])[rows]
        slope = ((x - x.mean(-1, keepdims=True)) * y).sum(-1) / ((x - x.mean(-1, keepdims=True)) ** 2).sum(-1)
        scale = np.sqrt((values[rows].var(-1, ddof=1) + values[rows + n].var(-1, ddof=1)) / 2)
        return (y.mean(-1) - slope * x.mean(-1)) / scale

    limits = stats.bootstrap((np.arange(n),), statistic, n_resamples=20_000, rng=3, batch=5000).confidence_interval
    # The small-sample factor is one number for the estimate and every resample.
    factor = result.estimate[0] / statistic(np.arange(n))
    assert 0.95 < factor < 1
    error = 0.03 * (limits.high - limits.low)
    assert result.low[0] / factor == pytest.approx(limits.low, abs=error)
    assert result.high[0] / factor == pytest.approx(limits.high, abs=error)


def test_slopes_are_drawn_from_five_units_more_than_columns():
    rng = np.random.default_rng(30)
    x, values = rng.normal(size=7), rng.normal(size=(7, 1))
    assert np.isfinite(bootstrap_slope(values, x, n_resamples=200, rng=1).estimate).all()
    with pytest.raises(InputError, match="6 units are too few to draw from beside 2 columns"):
        bootstrap_slope(values[1:], x[1:], n_resamples=200)


def test_slopes_match_scipy_within_monte_carlo_error():
    rng = np.random.default_rng(23)
    x, z = rng.normal(size=(2, 45))
    values = np.column_stack([rng.exponential(size=45) + 0.4 * x, rng.normal(size=45) * (1 + np.abs(x)) + z])
    result = bootstrap_slope(values, 1e6 * x, z[:, None], n_resamples=20_000, rng=2)

    def statistic(rows, axis=-1):
        design = np.stack([x[rows], np.ones(rows.shape), z[rows]], axis=-1)
        across = np.swapaxes(design, -1, -2)
        inverse = np.linalg.inv(across @ design)
        beta = (inverse @ (across @ column[rows][..., None]))[..., 0]
        residual = column[rows] - (design @ beta[..., None])[..., 0]
        return 2 * beta[..., 0] / np.sqrt(inverse[..., 0, 0] * (residual**2).sum(-1))

    for j in range(2):
        column = values[:, j]
        expected = stats.bootstrap((np.arange(45),), statistic, n_resamples=20_000, rng=3, batch=5000)
        assert result.estimate[j] == pytest.approx(statistic(np.arange(45)))
        error = 0.03 * (result.high[j] - result.low[j])
        assert result.low[j] == pytest.approx(expected.confidence_interval.low, abs=error)
        assert result.high[j] == pytest.approx(expected.confidence_interval.high, abs=error)


def test_covariates_that_do_not_vary_change_nothing():
    values, condition = skewed(24)
    plain = bootstrap_g(values, condition, rng=1)
    constant = bootstrap_g(values, condition, covariates=np.ones((59, 2)), rng=1)
    np.testing.assert_allclose(constant.low, plain.low, rtol=1e-9)
    np.testing.assert_allclose(constant.high, plain.high, rtol=1e-9)


def test_memory_grows_with_the_units_and_not_with_their_square():
    n = 20_000
    values, condition = np.random.default_rng(25).normal(size=(n, 2)), np.arange(n) < n // 2
    tracemalloc.start()
    bootstrap_g(values, condition, n_resamples=100, rng=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A matrix of units by units would take 3.2 GB, and all weights at once 16 MB and more of sums.
    assert peak < 120e6


def test_resamples_that_cannot_tell_covariates_apart_leave_no_interval():
    values, condition = skewed(26, n_a=8, n_b=8)
    rare = np.zeros((16, 1))
    rare[[2, 12]] = 1.0
    result = bootstrap_g(values, condition, covariates=rare, n_resamples=400, rng=1)
    assert np.isfinite(result.estimate).all()
    assert np.isnan(result.low).all()


def test_a_limit_between_a_number_and_infinity_is_infinite():
    ordered = np.array([[-np.inf, 1.0, 0.0], [2.0, 2.0, 1.0], [3.0, np.inf, 2.0]])
    found = _quantile(ordered, np.array([0.25, 0.75, 0.75]))
    np.testing.assert_array_equal(found, [-np.inf, np.inf, 1.5])


def test_the_limits_of_the_quantiles_are_the_least_and_the_largest():
    ordered = np.sort(np.random.default_rng(31).normal(size=(20, 3)), axis=0)
    found = _quantile(ordered, np.array([0.0, 0.3, 1.0]))
    np.testing.assert_allclose(found, [ordered[0, 0], np.quantile(ordered[:, 1], 0.3), ordered[-1, 2]])


def test_an_estimate_beyond_all_resamples_has_the_bias_of_half_a_resample():
    # Without acceleration (what is left without each unit does not vary) Efron's level is Phi(2 z0 + z).
    drawn = np.tile(np.arange(200.0)[:, None], 2)
    strata = _Strata(np.arange(5), np.zeros(5, dtype=np.intp))
    low, high = _bca(drawn, np.ones((5, 2)), strata, np.array([500.0, -500.0]), 0.9)
    bias = stats.norm.isf(0.5 / 200) * np.array([1, -1])
    for found, z in ((low, stats.norm.ppf(0.05)), (high, stats.norm.ppf(0.95))):
        np.testing.assert_allclose(found, 199 * stats.norm.cdf(2 * bias + z))


def test_the_error_of_z_is_that_of_a_plain_jackknife():
    rng = np.random.default_rng(27)
    x, z = rng.normal(size=(2, 30))
    values = rng.normal(size=(30, 3)) * (1 + np.abs(x))[:, None] + z[:, None]
    left = np.array([
        partial_correlation(np.delete(values, k, axis=0), np.delete(x, k), np.delete(z, k)[:, None]).z
        for k in range(30)
    ])  # fmt: skip
    expected = np.sqrt(29 / 30 * ((left - left.mean(axis=0)) ** 2).sum(axis=0))
    np.testing.assert_allclose(jackknife_error(values, x, z[:, None]), expected, rtol=1e-9)


def test_equivalence_of_slopes_keeps_its_level_where_the_error_grows():
    rng = np.random.default_rng(28)
    robust, fisher = [], []
    margin = 2 * 0.5 / np.sqrt(0.25 + 2 * 0.5 * np.sqrt(2 / np.pi) + 1)
    for _ in range(30):
        x = rng.normal(size=120)
        values = 0.5 * x[:, None] + rng.normal(size=(120, 40)) * (0.5 + np.abs(x))[:, None]
        correlation = partial_correlation(values, x)
        robust.append(correlation_equivalence(correlation, margin=margin, error=jackknife_error(values, x)) < 0.05)
        fisher.append(correlation_equivalence(correlation, margin=margin) < 0.05)
    assert np.mean(fisher) > 0.1
    assert np.mean(robust) < 0.08
