"""Agreement of effect maps: against scipy, full enumeration, and simulation."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metastable.errors import InputError
from metastable.stats.agreement import effect_difference, map_agreement, noise_share
from metastable.stats.effects import hedges_g

LAYER = np.repeat([1, 2, 3], 4)


def maps(seed, shared=0.0, profile=0.0, layer=LAYER):
    rng = np.random.default_rng(seed)
    common, height = rng.normal(size=len(layer)), profile * layer
    return tuple(shared * common + height + rng.normal(size=len(layer)) for _ in "xy")


@pytest.mark.parametrize("seed", range(4))
def test_the_whole_map_is_tested_as_scipy_does(seed):
    x, y = maps(seed, shared=1)
    found = map_agreement(x, y, LAYER, n_permutations=20_000, rng=seed)
    expected = stats.permutation_test(
        (x,),
        lambda x, axis: abs(stats.pearsonr(x, np.broadcast_to(y, x.shape), axis=axis).statistic),
        permutation_type="pairings",
        vectorized=True,
        n_resamples=5_000,
        alternative="greater",
        rng=seed,
    ).pvalue
    assert found.r == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert found.p == pytest.approx(expected, abs=5 * np.sqrt(max(expected, 1e-3) / 5_000))


def test_within_layers_all_permutations_give_the_same_p():
    layer = np.repeat([5, 2], [4, 3])
    x, y = maps(7, shared=1, profile=2, layer=layer)
    rest = [values - np.array([values[layer == code].mean() for code in layer]) for values in (x, y)]

    def correlation(a, b):
        return a @ b / np.sqrt(a @ a * (b @ b))

    observed = correlation(*rest)
    drawn = []
    for first, second in product(permutations(range(4)), permutations(range(4, 7))):
        drawn.append(correlation(rest[0], rest[1][[*first, *second]]))
    exact = np.mean(np.abs(drawn) >= abs(observed) - 1e-12)
    found = map_agreement(x, y, layer, n_permutations=50_000, rng=1)
    assert found.r_within == pytest.approx(observed, abs=1e-12)
    assert found.p_within == pytest.approx(exact, abs=5 * np.sqrt(exact / 50_000))


def test_a_p_that_no_permutation_reaches_is_the_smallest_there_is():
    # one of 24! orders, and one of (12!)^2 within layers, gives a correlation of one
    x = np.random.default_rng(0).normal(size=24)
    for n in (10, 99):
        found = map_agreement(x, 2 * x + 1, np.arange(24) // 12, n_permutations=n, rng=0)
        assert found.p == found.p_within == 1 / (n + 1)


def test_permutations_that_do_not_fit_one_block_are_all_counted(monkeypatch):
    x, y = maps(2, shared=0.5)
    whole = map_agreement(x, y, LAYER, n_permutations=1_000, rng=4)
    monkeypatch.setattr("metastable.stats.agreement._BLOCK_BYTES", 8 * len(x) * 7)
    # the same draws in the same order, in blocks of seven
    assert map_agreement(x, y, LAYER, n_permutations=1_000, rng=4) == whole


def test_heads_of_one_sign_are_counted():
    found = map_agreement([0.2, -0.3, 0.1, -0.4, 0.0], [0.5, -0.1, -0.2, 0.3, 0.4], [1, 1, 1, 1, 1], n_permutations=10)
    assert (found.n, found.same_sign) == (5, 2)


def test_a_common_profile_over_layers_misleads_the_whole_map_and_not_the_layers():
    whole, within = [], []
    for seed in range(200):
        x, y = maps(seed, profile=1)
        found = map_agreement(x, y, LAYER, n_permutations=199, rng=seed)
        whole.append(found.p)
        within.append(found.p_within)
    assert np.mean(np.array(whole) < 0.05) > 0.2
    assert 0.01 < np.mean(np.array(within) <= 0.05) < 0.1
    alike = map_agreement(*maps(1, shared=5, profile=1), LAYER, rng=1)
    assert alike.p_within < 0.01


@given(st.integers(0, 50), st.floats(0.01, 100), st.floats(-100, 100))
@settings(deadline=None, max_examples=30)
def test_neither_scale_nor_shift_nor_order_matters_to_the_correlations(seed, scale, shift):
    x, y = maps(seed)
    order = np.random.default_rng(seed).permutation(len(x))
    first = map_agreement(x, y, LAYER, n_permutations=10, rng=0)
    second = map_agreement(scale * y[order] + shift, x[order], LAYER[order], n_permutations=10, rng=0)
    assert second.r == pytest.approx(first.r, abs=1e-9)
    assert second.r_within == pytest.approx(first.r_within, abs=1e-9)
    assert second.rho == pytest.approx(first.rho, abs=1e-9)


def test_heads_without_an_effect_are_left_out_and_flat_maps_have_no_correlation():
    x, y = maps(1)
    short = map_agreement(x[2:], y[2:], LAYER[2:], n_permutations=50, rng=0)
    x[0], y[1] = np.nan, np.inf
    found = map_agreement(x, y, LAYER, n_permutations=50, rng=0)
    assert found == short
    flat = map_agreement(np.full(12, 0.1), y + np.arange(12), LAYER, n_permutations=50, rng=0)
    assert np.isnan([flat.r, flat.rho, flat.p, flat.r_within, flat.p_within]).all()
    single = map_agreement(x, y, np.arange(12), n_permutations=50, rng=0)
    assert np.isnan([single.r_within, single.p_within]).all()
    assert np.isfinite([single.r, single.p]).all()


def test_what_is_no_pair_of_maps_is_refused():
    with pytest.raises(InputError, match="give one number per head"):
        map_agreement([1, 2, 3], [1, 2], [1, 1, 1])
    with pytest.raises(InputError, match="2 heads have an effect in both"):
        map_agreement([1, 2, np.nan], [1, 2, 3], [1, 1, 1])


def test_the_interval_of_a_difference_covers_it():
    rng = np.random.default_rng(5)
    condition = np.arange(40) < 20
    n_heads, effects = 4000, (0.8, 0.3)
    parts = []
    for effect in effects:
        values = rng.normal(size=(40, n_heads))
        values[condition] += effect
        g = hedges_g(values, condition)
        parts.append((g.estimate, g.low, g.high))
    found = effect_difference(*parts)
    covered = ((found.low <= 0.5) & (found.high >= 0.5)).mean()
    assert 0.94 < covered < 0.965
    # p and interval say the same
    np.testing.assert_array_equal(found.p < 0.05, (found.low > 0) | (found.high < 0))
    np.testing.assert_allclose(found.estimate, parts[0][0] - parts[1][0])
    turned = effect_difference(parts[1], parts[0])
    np.testing.assert_allclose(turned.low, -found.high)
    np.testing.assert_allclose(turned.p, found.p)


def test_an_effect_without_an_interval_gives_none():
    found = effect_difference(([0.0, np.inf], [np.nan, np.nan], [np.nan, np.nan]), ([1.0, 1.0], [0.0, 0.0], [2.0, 2.0]))
    assert np.isnan(found.p).all()
    assert np.isnan(found.low).all()
    assert found.estimate[0] == -1
    assert np.isnan(found.estimate[1])
    # nor does one of no width, which says nothing of the error
    exact = effect_difference(([1.0], [1.0], [1.0]), ([0.0], [0.0], [0.0]))
    assert np.isnan(exact.p).all()


def test_the_interval_of_a_difference_by_hand():
    found = effect_difference(
        ([2.0, -2.0], [1.4, -3.0], [3.5, -1.6]), ([0.5, 0.5], [0.1, 0.1], [1.3, 1.3]), confidence=0.9
    )
    np.testing.assert_allclose(found.estimate, [1.5, -2.5])
    np.testing.assert_allclose(found.low, [1.5 - np.hypot(0.6, 0.8), -2.5 - np.hypot(1.0, 0.8)])
    np.testing.assert_allclose(found.high, [1.5 + np.hypot(1.5, 0.4), -2.5 + np.hypot(0.4, 0.4)])
    # the arm that points to zero: the lower of the first, the upper of the second
    z = stats.norm.isf(0.05) * np.array([1.5 / np.hypot(0.6, 0.8), 2.5 / np.hypot(0.4, 0.4)])
    np.testing.assert_allclose(found.p, 2 * stats.norm.sf(z))


def test_the_share_of_noise_is_the_one_put_in_and_bounds_the_correlation():
    rng = np.random.default_rng(3)
    truth = rng.normal(0, 0.4, 20_000)
    se = (0.2, 0.3)
    found = [truth + rng.normal(0, error, truth.size) for error in se]
    shares = [
        noise_share(values, values - 1.959964 * error, values + 1.959964 * error)
        for values, error in zip(found, se, strict=True)
    ]
    np.testing.assert_allclose(shares, [0.04 / 0.2, 0.09 / 0.25], atol=0.02)
    r = np.corrcoef(*found)[0, 1]
    assert r == pytest.approx(np.sqrt((1 - shares[0]) * (1 - shares[1])), abs=0.02)


def test_the_share_of_noise_by_hand():
    e, se = np.array([-1.0, 0.0, 1.0, 3.0, -4.0]), np.array([0.1, 0.2, 0.5, 0.3, 1.4])
    arm = stats.norm.isf(0.05) * se
    share = np.mean(se**2) / np.var(e, ddof=1)
    assert noise_share(e, e - arm, e + arm, confidence=0.9) == pytest.approx(share)
    # a head without a lower limit, and one without an upper, tell nothing
    more = [np.append(part, 9.0) for part in (e, e - arm, e + arm)]
    for place in (1, 2):
        changed = [part.copy() for part in more]
        changed[place][-1] = np.nan
        assert noise_share(*changed, confidence=0.9) == pytest.approx(share)


def test_noise_without_intervals_or_variance_has_no_share():
    assert np.isnan(noise_share([1.0, 1.0], [0.0, 0.0], [2.0, 2.0]))
    assert np.isnan(noise_share([1.0, 2.0], [np.nan, 0.0], [2.0, 2.0]))
    assert noise_share([0.0, 0.1, np.inf], [-9.0, -9.0, 0.0], [9.0, 9.0, 0.0]) == 1
