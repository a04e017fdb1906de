"""Type I error and coverage where the simpler methods err; benchmarks/stats_errors.py has more designs and samples."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from metastable.stats import (
    bootstrap_g,
    bootstrap_slope,
    hedges_g,
    permutation_test,
    permutation_test_contrast,
)
from metastable.stats.correlation import correlation_effect, partial_correlation

N = 1200
# Four standard errors of a rate of 5% in so many samples, and what an asymptotic test may err in samples of this size.
ROOM = 4 * np.sqrt(0.05 * 0.95 / N) + 0.01


def covered(found, truth):
    return ((found.low <= truth) & (truth <= found.high)).mean()


def test_intervals_of_g_cover_where_the_smaller_group_varies_more():
    # Issue 12: the noncentral t covers .85 at n = 50 and 150 with deviations 2 : 1.
    rng = np.random.default_rng(1)
    condition = np.arange(200) < 50
    values = rng.normal(size=(200, N)) * np.where(condition, 2, 1)[:, None] + condition[:, None]
    truth = 1 / np.sqrt((49 * 4 + 149) / 198)
    assert covered(hedges_g(values, condition), truth) < 0.9
    assert covered(bootstrap_g(values, condition, n_resamples=600, rng=2), truth) == pytest.approx(0.95, abs=0.025)


def test_intervals_of_d_cover_where_the_error_grows_with_the_predictor():
    rng = np.random.default_rng(3)
    boot, fisher = [], []
    truth = 2 * 0.5 / np.sqrt(0.25 + 2 * 0.5 * np.sqrt(2 / np.pi) + 1)
    for draw in range(30):
        x = rng.normal(size=120)
        values = 0.5 * x[:, None] + rng.normal(size=(120, 40)) * (0.5 + np.abs(x))[:, None]
        boot.append(covered(bootstrap_slope(values, x, n_resamples=600, rng=draw), truth))
        fisher.append(covered(correlation_effect(partial_correlation(values, x)), truth))
    assert np.mean(fisher) < 0.87
    assert np.mean(boot) > 0.91


def test_adjusted_g_covers_the_adjusted_difference():
    rng = np.random.default_rng(4)
    condition = np.arange(120) < 40
    boot = []
    # Within a condition the values vary by the covariate and by themselves.
    truth = 0.5 / np.sqrt(2)
    for draw in range(30):
        length = rng.normal(size=120) + condition
        values = rng.normal(size=(120, 40)) + (length + 0.5 * condition)[:, None]
        found = bootstrap_g(values, condition, covariates=length[:, None], n_resamples=600, rng=draw)
        boot.append(covered(found, truth))
    assert np.mean(boot) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("statistic", ["hc3", "student"])
def test_slopes_keep_their_level_where_the_error_grows_with_the_predictor(statistic):
    # Issue 12: .19 of Student's t.
    rng = np.random.default_rng(5)
    p = []
    for draw in range(30):
        x = rng.normal(size=100)
        values = rng.normal(size=(100, 40)) * (0.5 + np.abs(x))[:, None]
        design = np.column_stack([np.ones(100), x])
        found = permutation_test_contrast(values, design, [0, 1], statistic=statistic, n_permutations=299, rng=draw)
        p.append(found.p_perm)
    rate = (np.concatenate(p) <= 0.05).mean()
    assert rate < 0.05 + ROOM if statistic == "hc3" else rate > 0.15


def test_flipped_residuals_keep_a_small_level_in_a_small_sample_where_exchanged_ones_do_not():
    rng = np.random.default_rng(11)
    p = {"auto": [], "exchangeable": []}
    for draw in range(100):
        x = rng.normal(size=40)
        values = rng.normal(size=(40, 40)) * (0.5 + np.abs(x))[:, None]
        design = np.column_stack([np.ones(40), x])
        for errors, found in p.items():
            test = permutation_test_contrast(values, design, [0, 1], errors=errors, n_permutations=399, rng=draw)
            found.append(test.p_perm)
    rates = {errors: (np.concatenate(found) <= 0.01).mean() for errors, found in p.items()}
    assert rates["auto"] < 0.0135
    assert rates["exchangeable"] > 0.016


@pytest.mark.parametrize("paired", [False, True])
def test_covariates_leave_the_level_where_groups_differ_in_all(paired):
    rng = np.random.default_rng(6)
    n_a, n_b = (60, 60) if paired else (30, 90)
    condition = np.arange(n_a + n_b) < n_a
    p = []
    for draw in range(30):
        length = rng.normal(size=n_a + n_b) + condition
        noise = rng.normal(size=(n_a + n_b, 40)) * np.where(condition, 2, 1)[:, None]
        if paired:
            noise *= (0.5 + np.abs(length))[:, None]
        found = permutation_test(
            noise + length[:, None], condition, covariates=length[:, None], n_permutations=299, rng=draw,
            statistic="paired" if paired else "welch", pair=np.tile(np.arange(60), 2) if paired else None,
        )  # fmt: skip
        p.append(found.p_perm)
    assert (np.concatenate(p) <= 0.05).mean() < 0.05 + ROOM


@pytest.mark.parametrize(("sizes_a", "sizes_b"), [((2, 25), (2, 25)), ((1, 3), (10, 25)), ((10, 25), (1, 3))])
def test_clusters_of_unequal_sizes_keep_the_level(sizes_a, sizes_b):
    # Issue 12: .11 at .05.
    rng = np.random.default_rng(7)
    p = []
    for draw in range(60):
        sizes = np.r_[rng.integers(*sizes_a, size=15), rng.integers(*sizes_b, size=25)]
        cluster = np.repeat(np.arange(40), sizes)
        shared = rng.normal(size=(40, 20)) * np.where(np.arange(40) < 15, 1.5, 1)[:, None]
        values = shared[cluster] + rng.normal(size=(len(cluster), 20))
        found = permutation_test(values, cluster < 15, cluster=cluster, n_permutations=299, rng=draw)
        p.append(found.p_perm)
    assert (np.concatenate(p) <= 0.05).mean() < 0.05 + ROOM


def test_covariates_leave_the_level_of_clusters_that_differ_in_number_and_variance():
    rng = np.random.default_rng(8)
    cluster = np.repeat(np.arange(60), 5)
    condition = cluster < 18
    p = []
    for draw in range(40):
        length = rng.normal(size=300) + condition
        shared = rng.normal(size=(60, 20)) * np.where(np.arange(60) < 18, 2, 1)[:, None]
        values = shared[cluster] + rng.normal(size=(300, 20)) + length[:, None]
        found = permutation_test(
            values, condition, cluster=cluster, covariates=length[:, None], n_permutations=199, rng=draw
        )
        p.append(found.p_perm)
    assert (np.concatenate(p) <= 0.05).mean() < 0.05 + ROOM


def test_one_cluster_as_large_as_all_others_keeps_the_level():
    # Its group's mean is nearly its own: by units, or without the leverage of clusters, more than .09 of 5%.
    rng = np.random.default_rng(9)
    cluster = np.repeat(np.arange(30), [40] + [3] * 9 + [5] * 20)
    p = []
    for draw in range(60):
        values = rng.normal(size=(30, 20))[cluster] + rng.normal(size=(len(cluster), 20))
        p.append(permutation_test(values, cluster < 10, cluster=cluster, n_permutations=299, rng=draw).p_perm)
    assert (np.concatenate(p) <= 0.05).mean() < 0.05 + ROOM


def test_a_torch_device_gives_the_same_for_whole_clusters():
    rng = np.random.default_rng(10)
    cluster = np.repeat(np.arange(12), rng.integers(1, 6, size=12))
    values = rng.normal(size=(len(cluster), 4))
    alike = np.repeat(np.arange(12), 3)
    more = rng.normal(size=(36, 4))
    for table, code, beside in ((values, cluster, None), (more, alike, rng.normal(size=(36, 1)))):
        test = partial(permutation_test, table, code < 6, cluster=code, covariates=beside, n_permutations=99, rng=1)
        on_cpu, on_torch = test(device="cpu"), test(device="torch")
        np.testing.assert_allclose(on_torch.statistic, on_cpu.statistic, rtol=1e-9)
        np.testing.assert_array_equal(on_torch.p_perm, on_cpu.p_perm)
