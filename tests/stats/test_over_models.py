"""Effects over models: against direct recomputation, known variance components, and other packages."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats as scipy_stats

from metastable import stats
from metastable.errors import InputError


def simulated(rng, *, n_models, n_units, n_heads, effect=0.3, tau=0.3, common=0.7, heads=0.0, private=False):
    """Models that read the same units: a model's effect, units' values that all models share a part of, and noise.

    The standard deviation of a head's units is 1, so that effects are in units of g. `common` is the share of a unit's
    variance that all models have in common, and half of that is common to the heads of a model.
    """
    side = np.arange(n_units) < n_units // 2
    of_unit = rng.normal(size=(n_units, 1))
    values = []
    for _ in range(n_models):
        if private:
            of_unit = rng.normal(size=(n_units, 1))
        own = rng.normal(size=(n_units, n_heads))
        shift = effect + tau * rng.normal() + heads * rng.normal(size=n_heads)
        values.append(np.sqrt(common) * of_unit + np.sqrt(1 - common) * own + side[:, None] * shift)
    return values, [side] * n_models


def test_estimates_are_means_of_hedges_g_and_of_its_square_less_its_variance():
    values, side = simulated(np.random.default_rng(1), n_models=3, n_units=40, n_heads=6)
    deep = np.arange(6) >= 4
    found = stats.multi_bootstrap(values, side, groups={"deep": [deep] * 3}, rng=2, n_resamples=2000)
    for m in range(3):
        g = stats.hedges_g(values[m], side[m]).estimate
        assert found.estimate[m, found.index("mean", "all")] == pytest.approx(g.mean())
        assert found.estimate[m, found.index("mean", "deep")] == pytest.approx(g[deep].mean())
        # the large-sample variance of g (Hedges & Olkin 1985, eq. 5.14)
        noise = 1 / 20 + 1 / 20 + g**2 / (2 * 40)
        assert found.estimate[m, found.index("size2", "all")] == pytest.approx((g**2 - noise).mean(), abs=0.02)


@pytest.mark.parametrize("paired", [False, True])
def test_draws_by_moments_are_those_of_taking_the_units_themselves(paired):
    rng = np.random.default_rng(3)
    values, side = simulated(rng, n_models=1, n_units=24, n_heads=4)
    pair = np.tile(np.arange(12), 2) if paired else None
    from metastable.stats import over_models

    reading = over_models._readings(values, side, [pair])[0]
    weights = over_models._weights(reading, 50, rng)
    found = over_models._drawn(reading, slice(0, 4), weights)
    g, t = found.g, found.t
    for draw in range(5):
        rows = [np.repeat(np.arange(12), w[draw].astype(int)) for w in (weights[0], weights[-1])]
        chosen = np.concatenate([rows[0], 12 + rows[1]])
        table, labels = values[0][chosen], np.arange(24) < 12
        joined = np.tile(np.arange(12), 2) if paired else None
        np.testing.assert_allclose(g[draw], stats.hedges_g(table, labels, pair=joined).estimate, rtol=1e-9)
        test = scipy_stats.ttest_rel if paired else scipy_stats.ttest_ind
        options = {} if paired else {"equal_var": False}
        expected = test(table[:12], table[12:], **options).statistic
        np.testing.assert_allclose(t[draw], expected, rtol=1e-9)


def test_the_mean_absolute_effect_grows_with_noise_and_the_corrected_size_does_not():
    rng = np.random.default_rng(4)
    plain, corrected = {}, {}
    for n_units in (20, 200):
        values, side = simulated(rng, n_models=25, n_units=n_units, n_heads=40, effect=0, tau=0, common=0, heads=0.3)
        found = stats.multi_bootstrap(values, side, rng=5, n_resamples=300)
        corrected[n_units] = np.sqrt(found.pooled().estimate[found.index("size2", "all")])
        plain[n_units] = np.mean([np.abs(stats.hedges_g(v, side[0]).estimate).mean() for v in values])
    assert plain[20] > 1.4 * plain[200]
    assert corrected[20] == pytest.approx(0.3, abs=0.04)
    assert corrected[200] == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(("tau", "common"), [(0.3, 0.5), (0.0, 0.8), (0.3, 0.0)])
def test_intervals_over_models_and_units_cover_the_truth(tau, common):
    rng = np.random.default_rng(6)
    runs, covered = 300, 0
    for _ in range(runs):
        values, side = simulated(rng, n_models=6, n_units=40, n_heads=5, effect=0.3, tau=tau, common=common)
        found = stats.multi_bootstrap(values, side, rng=rng, n_resamples=200)
        pooled, where = found.pooled(), found.index("mean", "all")
        covered += pooled.low[where] <= 0.3 <= pooled.high[where]
    # 95% within three standard errors of the simulation; no more than a little on the wide side
    assert 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs) <= covered / runs <= 0.995


def test_models_taken_as_independent_would_be_too_sure_where_they_share_their_units():
    rng = np.random.default_rng(7)
    naive = ours = 0
    for _ in range(150):
        values, side = simulated(rng, n_models=8, n_units=30, n_heads=4, effect=0.3, tau=0.05, common=0.8)
        found = stats.multi_bootstrap(values, side, rng=rng, n_resamples=200)
        where = found.index("mean", "all")
        estimate, pooled = found.estimate[:, where], found.pooled()
        reach = scipy_stats.t.ppf(0.975, 7) * estimate.std(ddof=1) / np.sqrt(8)
        naive += abs(estimate.mean() - 0.3) <= reach
        ours += pooled.low[where] <= 0.3 <= pooled.high[where]
    assert naive < 0.7 * 150
    assert ours > 0.9 * 150


def test_what_two_families_share_cancels_in_their_difference():
    values, side = simulated(np.random.default_rng(8), n_models=8, n_units=40, n_heads=5, common=0.8, tau=0.05)
    first = np.arange(8) < 4
    together = stats.multi_bootstrap(values, side, rng=9).difference(first, ~first)
    apart = stats.multi_bootstrap(values, side, reads=~first, rng=9).difference(first, ~first)
    assert together.se[0] < 0.5 * apart.se[0]
    assert apart.estimate[0] == pytest.approx(together.estimate[0])


def test_models_that_read_other_units_have_no_covariance():
    values, side = simulated(np.random.default_rng(10), n_models=4, n_units=40, n_heads=5)
    found = stats.multi_bootstrap(values, side, reads=["x", "x", "y", "y"], rng=11)
    assert (found.covariance[:, :2, 2:] == 0).all()
    assert (found.covariance[0, [0, 2], [1, 3]] > 0).all()


def test_one_model_says_nothing_of_others():
    values, side = simulated(np.random.default_rng(12), n_models=1, n_units=40, n_heads=5)
    found = stats.multi_bootstrap(values, side, rng=13)
    assert np.isnan(found.pooled().low).all()
    assert np.isfinite(found.alone(0).low).all()


def test_a_model_against_itself_shows_no_interaction():
    values, side = simulated(np.random.default_rng(14), n_models=1, n_units=40, n_heads=5)
    twice = stats.multi_bootstrap([values[0], values[0]], [side[0]] * 2, rng=15).fixed_difference(0, 1)
    np.testing.assert_allclose(twice.high - twice.low, 0, atol=1e-6)


def test_flat_heads_count_as_no_effect_and_infinite_ones_are_left_out_and_counted():
    values, side = simulated(np.random.default_rng(16), n_models=2, n_units=20, n_heads=4)
    values[0][:, 0] = 3.0
    values[1][:, 1] = side[1]
    found = stats.multi_bootstrap(values, side, rng=17, n_resamples=100)
    assert found.left_out.tolist() == [0, 1]
    g = stats.hedges_g(values[1], side[1]).estimate
    assert found.estimate[1, 0] == pytest.approx(np.delete(g, 1).mean())
    assert np.isfinite(found.covariance).all()


def test_the_share_is_that_which_was_found():
    values, side = simulated(np.random.default_rng(18), n_models=3, n_units=40, n_heads=8, heads=0.8)
    different = [np.arange(8) < n for n in (0, 3, 8)]
    found = stats.multi_bootstrap(values, side, different=different, rng=19)
    assert found.estimate[:, found.index("share", "all")].tolist() == [0, 3 / 8, 1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_resamples": 10}, "at least 100"),
        ({"reads": [0]}, "one code for each of the 2 models"),
        ({"groups": {"x": [np.ones(3, bool), np.zeros(3, bool)]}}, "no feature in a model"),
        ({"groups": {"x": [np.ones(2, bool)] * 2}}, "one mask a model"),
        ({"different": [np.ones(2, bool)] * 2}, "one mask a model"),
        ({"pair": [None]}, "pairs of 1"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(change, words):
    values, side = simulated(np.random.default_rng(0), n_models=2, n_units=20, n_heads=3)
    with pytest.raises(InputError, match=words):
        stats.multi_bootstrap(values, side, **change)


def test_models_with_other_units_cannot_be_said_to_read_the_same():
    values, side = simulated(np.random.default_rng(0), n_models=2, n_units=20, n_heads=3)
    with pytest.raises(InputError, match="two codes in reads"):
        stats.multi_bootstrap([values[0], values[1][1:]], [side[0], side[1][1:]])


def test_heterogeneity_is_that_of_statsmodels_and_of_its_formulas():
    from statsmodels.stats.meta_analysis import combine_effects

    rng = np.random.default_rng(20)
    estimate, variance = rng.normal(0.3, 0.4, 9), rng.uniform(0.01, 0.05, 9)
    found = stats.heterogeneity(estimate, variance, mean=0.3, se=0.1)
    expected = combine_effects(estimate, variance, method_re="iterated")
    assert found.tau**2 == pytest.approx(expected.tau2)
    weights = 1 / variance
    q = (weights * (estimate - np.average(estimate, weights=weights)) ** 2).sum()
    assert found.q == pytest.approx(q)
    assert found.i_squared == pytest.approx(1 - 8 / q)
    assert found.p == pytest.approx(scipy_stats.chi2.sf(q, 8))
    # Paule and Mandel's: the generalized Q is its degrees of freedom
    weights = 1 / (variance + found.tau**2)
    assert (weights * (estimate - np.average(estimate, weights=weights)) ** 2).sum() == pytest.approx(8, abs=1e-3)
    reach = scipy_stats.t.ppf(0.975, 7) * np.sqrt(found.tau**2 + 0.01)
    assert found.prediction_high == pytest.approx(0.3 + reach)


def test_two_models_predict_no_third():
    found = stats.heterogeneity([0.1, 0.4], [0.01, 0.01], mean=0.25, se=0.15)
    assert np.isnan(found.prediction_low)


def test_own_variance_leaves_out_what_models_share():
    values, side = simulated(np.random.default_rng(21), n_models=6, n_units=60, n_heads=5, common=0.8, tau=0)
    found = stats.multi_bootstrap(values, side, rng=22)
    own, where = found.own_variance(), found.index("mean", "all")
    whole = np.diagonal(found.covariance[where])
    # of a mean over 5 heads: 0.8 shared and 0.2 / 5 of its own
    assert own[:, where].mean() / whole.mean() == pytest.approx(0.04 / 0.84, rel=0.6)


def test_sign_flips_are_those_of_scipy():
    table = np.random.default_rng(23).normal(0.4, 1, size=(8, 3))
    found = stats.sign_flip_test(table)
    for column in range(3):
        expected = scipy_stats.permutation_test(
            (table[:, column],), lambda x, axis: np.mean(x, axis=axis), permutation_type="samples", n_resamples=np.inf
        )
        assert found.p[column] == pytest.approx(expected.pvalue)
    np.testing.assert_allclose(found.statistic, scipy_stats.ttest_1samp(table, 0).statistic)
    assert found.exact
    assert found.n_flips == 256
    # the largest statistic of every pattern of signs, by brute force
    signs = np.array(list(product([1.0, -1.0], repeat=8)))
    t = np.abs(scipy_stats.ttest_1samp(signs[:, :, None] * table, 0, axis=1).statistic)
    reached = t.max(axis=1)[:, None] >= np.abs(found.statistic) * (1 - 1e-9)
    np.testing.assert_allclose(found.p_fwer, reached.mean(axis=0))
    assert (found.p_fwer > found.p).any()


def test_quantities_that_no_model_varies_are_nothing_or_beyond_doubt():
    found = stats.sign_flip_test(np.column_stack([np.zeros(7), np.full(7, -0.1), np.full(7, 0.3)]))
    np.testing.assert_array_equal(found.statistic, [0, -np.inf, np.inf])
    np.testing.assert_allclose(found.p, [1, 2 / 128, 2 / 128])
    with pytest.raises(InputError, match="give finite numbers"):
        stats.sign_flip_test([[0.1], [0.2], [np.nan], [0.3], [0.2], [0.1]])


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_the_unit_of_a_quantity_does_not_matter_to_sign_flips(unit):
    table = np.random.default_rng(28).normal(0.4, 1, size=(8, 3))
    plain, scaled = stats.sign_flip_test(table), stats.sign_flip_test(unit * table)
    np.testing.assert_allclose(scaled.statistic, plain.statistic)
    np.testing.assert_array_equal(scaled.p_fwer, plain.p_fwer)


def test_random_flips_agree_with_all_of_them():
    table = np.random.default_rng(24).normal(0.5, 1, size=(17, 1))
    found = stats.sign_flip_test(table, n_permutations=4000, rng=25)
    expected = scipy_stats.ttest_1samp(table[:, 0], 0).pvalue
    assert not found.exact
    assert found.p[0] == pytest.approx(expected, abs=0.02)


def test_too_few_models_are_refused_with_the_number_that_would_do():
    with pytest.raises(InputError, match="at least 6 models"):
        stats.sign_flip_test(np.ones((5, 1)))
    assert stats.sign_flip_test(np.arange(1.0, 7)[:, None]).p[0] == pytest.approx(2 / 64)


def test_sign_flips_hold_their_level():
    rng = np.random.default_rng(26)
    rejected = sum(stats.sign_flip_test(rng.normal(size=(7, 4))).p_fwer.min() < 0.05 for _ in range(400))
    assert rejected / 400 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize(("tau", "heads"), [(0.05, 0.1), (0.3, 0.2)])
def test_intervals_of_the_typical_size_cover_the_truth_where_it_is_small_too(tau, heads):
    rng = np.random.default_rng(27)
    runs, covered, plain = 150, 0, 0
    for _ in range(runs):
        values, side = simulated(rng, n_models=10, n_units=60, n_heads=8, effect=0.3, tau=tau, common=0.6, heads=heads)
        found = stats.multi_bootstrap(values, side, rng=rng, n_resamples=200)
        pooled, where = found.pooled(), found.index("size2", "all")
        truth = 0.3**2 + tau**2 + heads**2
        covered += pooled.low[where] <= truth <= pooled.high[where]
        plain += (found.estimate[:, where] > truth).mean()
    assert 0.88 <= covered / runs <= 1
    assert 0.3 < plain / runs < 0.6


def test_the_size_of_nothing_is_seldom_found_to_be_something():
    rng, beyond = np.random.default_rng(28), 0
    for _ in range(120):
        values, side = simulated(rng, n_models=5, n_units=60, n_heads=8, effect=0, tau=0, common=0.3)
        found = stats.multi_bootstrap(values, side, rng=rng, n_resamples=200)
        beyond += found.pooled().low[found.index("size2", "all")] > 0
    # squares of what all heads of all models err by together are skewed: P(chi squared > 1 + 1.96 sqrt(2)) = .052
    assert beyond / 120 < 0.052 + 3 * np.sqrt(0.052 * 0.948 / 120)


def test_joint_draws_are_of_models_and_units_together():
    values, side = simulated(np.random.default_rng(30), n_models=8, n_units=60, n_heads=5, common=0.5)
    found = stats.multi_bootstrap(values, side, rng=31, n_resamples=4000)
    where = found.index("mean", "all")
    estimate, cov = found.estimate[:, where], found.covariance[where] * 58 / 60
    off = cov[~np.eye(8, dtype=bool)].mean()
    own = np.diag(cov).mean() - off
    # models with replacement, units common to all, and what is a model's own, which both ways of drawing move
    expected = estimate.var() / 8 + off + own * (1 / 8 + 7 / 64)
    assert found.joint()[:, where].var() == pytest.approx(expected, rel=0.1)
    some = np.arange(8) < 3
    assert found.joint(some)[:, where].mean() == pytest.approx(estimate[some].mean(), abs=0.02)
    assert found.percentile(some)[0][where] >= estimate[some].min() - 4 * np.sqrt(cov.max())


def test_models_that_agree_exactly_do_not_vary_and_shapes_must_fit():
    found = stats.heterogeneity([0.3, 0.3, 0.3], [0.01, 0.02, 0.03], mean=0.3, se=0.05)
    assert (found.tau, found.i_squared, found.q, found.p) == (0, 0, 0, 1)
    with pytest.raises(InputError, match="give one of each a model"):
        stats.heterogeneity([0.1, 0.2, 0.3], [0.01, 0.02], mean=0.2, se=0.05)


def test_the_difference_of_two_models_has_the_errors_of_both_less_what_they_share():
    values, side = simulated(np.random.default_rng(31), n_models=2, n_units=60, n_heads=5, common=0.8)
    found = stats.multi_bootstrap(values, side, rng=32, n_resamples=2000)
    between = found.fixed_difference(0, 1)
    mean = found.index("mean", "all")
    cov = found.covariance[mean]
    assert between.se[mean] ** 2 == pytest.approx(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1], rel=1e-9)
    # the same units drawn anew, one resample at a time
    rng = np.random.default_rng(33)
    drawn = []
    for _ in range(1500):
        rows = np.concatenate([rng.integers(30, size=30), 30 + rng.integers(30, size=30)])
        g = [stats.hedges_g(table[rows], side[0]).estimate.mean() for table in values]
        drawn.append(g[0] - g[1])
    assert between.se[mean] == pytest.approx(np.std(drawn), rel=0.15)
    # of models that read units of their own, nothing is shared
    apart = simulated(np.random.default_rng(34), n_models=2, n_units=60, n_heads=5, common=0.8, private=True)
    independent = stats.multi_bootstrap(*apart, rng=35, n_resamples=2000).fixed_difference(0, 1)
    assert independent.se[mean] > 1.5 * between.se[mean]


def test_flat_heads_of_pairs_are_read_without_a_warning():
    rng = np.random.default_rng(36)
    values = [rng.normal(size=(16, 3)) for _ in range(2)]
    values[0][:, 0] = 2.0
    side, pair = [np.arange(16) < 8] * 2, [np.tile(np.arange(8), 2)] * 2
    with np.errstate(all="raise"):
        found = stats.multi_bootstrap(values, side, pair=pair, rng=37, n_resamples=100)
    assert np.isfinite(found.covariance).all()
    told = []
    stats.multi_bootstrap(values, side, rng=37, n_resamples=100, callback=lambda done, all_: told.append((done, all_)))
    assert told == [(1, 2), (2, 2)]


def test_limits_of_a_mean_square_are_those_of_the_test_that_they_invert():
    values, side = simulated(np.random.default_rng(41), n_models=1, n_units=40, n_heads=6, effect=0.8)
    found = stats.multi_bootstrap(values, side, rng=42, n_resamples=800).alone(0)
    at = stats.multi_bootstrap(values, side, rng=42, n_resamples=800).index("size2", "all")
    q, variance, dof = found.estimate[at], found.shared[at], found.dof[at]
    # squares of effects with noise n have variance 6 n^2 + 4 n q as estimated, and 2 n^2 + 4 n L where L is true
    noise = max(np.roots([6, 4 * q, -variance]).real)
    t = scipy_stats.t.ppf(0.975, dof)
    for limit in (found.low[at], found.high[at]):
        assert (q - limit) ** 2 == pytest.approx(t**2 * (4 * noise * limit + 2 * noise**2), rel=1e-8)
    assert found.low[at] < q < found.high[at]


def test_limits_over_models_take_the_variance_between_them_to_grow_with_the_square():
    values, side = simulated(np.random.default_rng(51), n_models=6, n_units=40, n_heads=6, effect=0.5, tau=0.3)
    boot = stats.multi_bootstrap(values, side, rng=52, n_resamples=400)
    found, at = boot.pooled(), boot.index("size2", "all")
    q, between, shared = found.estimate[at], found.between[at], found.shared[at]
    assert 0 < q < 1
    assert between > 0
    noise = max(np.roots([6, 4 * q, -shared]).real)
    growing = q**2 / (q**2 + between)
    t = scipy_stats.t.ppf(0.975, found.dof[at])
    for limit in (found.low[at], found.high[at]):
        of_models = between * (growing * limit / q + 1 - growing)
        assert (q - limit) ** 2 == pytest.approx(t**2 * (4 * noise * limit + 2 * noise**2 + of_models), rel=1e-8)


def test_percentile_limits_leave_out_as_much_on_either_side():
    values, side = simulated(np.random.default_rng(43), n_models=4, n_units=40, n_heads=3)
    found = stats.multi_bootstrap(values, side, rng=44, n_resamples=400)
    low, high = found.percentile()
    joint = found.joint()
    np.testing.assert_allclose((joint < low).mean(axis=0), 0.025, atol=0.005)
    np.testing.assert_allclose((joint > high).mean(axis=0), 0.025, atol=0.005)


def test_two_models_own_variances_are_those_less_their_covariance():
    values, side = simulated(np.random.default_rng(45), n_models=2, n_units=40, n_heads=3)
    found = stats.multi_bootstrap(values, side, rng=46, n_resamples=400)
    cov = found.covariance
    own = found.own_variance()
    for m in range(2):
        np.testing.assert_allclose(own[m], np.maximum(cov[:, m, m] - cov[:, 0, 1], 0), rtol=1e-9, atol=1e-9)
    assert (own > 1e-6).any()
    np.testing.assert_allclose(found.own_variance([True, False])[0], cov[:, 0, 0], rtol=1e-12)


def test_no_model_at_all_is_refused():
    with pytest.raises(InputError):
        stats.multi_bootstrap([], [], rng=1)
