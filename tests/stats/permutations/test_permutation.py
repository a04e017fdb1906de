from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from threadpoolctl import threadpool_limits

from metastable.errors import InputError
from metastable.stats.permutations import engine, on_device, permutation_input, relabelings
from metastable.stats.permutations.permutation import permutation_test, permutation_test_contrast
from metastable.stats.permutations.statistics import TwoSample, torch_backend

MASKS = {"all": np.ones(9, dtype=bool), "first": np.arange(9) < 4}
FIELDS = ("statistic", "p_perm", "p_fwer", "p_fwer_stepdown")


def sample(seed=0, n=40, n_features=9, shift=0.8):
    rng = np.random.default_rng(seed)
    condition = rng.permutation(np.arange(n) < 0.4 * n)
    values = rng.normal(size=(n, n_features)) + rng.normal(size=(n, 1))
    values[condition] += np.linspace(0, shift, n_features)
    return values, condition


def same(first, second, rtol=0.0):
    for name in FIELDS:
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=rtol, err_msg=name)
    assert first.omnibus.keys() == second.omnibus.keys()
    for name, result in first.omnibus.items():
        other = second.omnibus[name]
        assert (result.p_max, result.p_sum_squares, result.p_count) == (other.p_max, other.p_sum_squares, other.p_count)


DESIGNS = {
    "welch": {},
    "student": {"statistic": "student"},
    "mean": {"statistic": "mean"},
    "blocks": {"block": np.arange(40) // 8},
    "covariates": {"covariates": np.sin(np.arange(80.0)).reshape(40, 2)},
    "student covariates": {"covariates": np.sin(np.arange(80.0)).reshape(40, 2), "statistic": "student"},
    "clusters": {"cluster": np.arange(40) // 5},
}


@pytest.mark.parametrize("block_bytes", [1, 20_000, 200_000])
@pytest.mark.parametrize("design", DESIGNS)
def test_block_size_changes_nothing(design, block_bytes):
    values, condition = sample()
    options = DESIGNS[design] | {"omnibus": MASKS, "n_permutations": 211, "rng": 3, "family": np.arange(9) % 2}
    whole = permutation_test(values, condition, **options)
    blocks = permutation_test(values, condition, block_bytes=block_bytes, **options)
    same(whole, blocks, rtol=1e-12)
    for name in FIELDS[1:]:
        np.testing.assert_array_equal(getattr(whole, name), getattr(blocks, name))


def test_threads_change_nothing():
    values, condition = sample(n=200)
    results = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            results.append(permutation_test(values, condition, omnibus=MASKS, n_permutations=2_000, rng=3))
    same(*results, rtol=1e-12)


@pytest.mark.parametrize("design", DESIGNS)
def test_features_made_ready_on_threads_are_the_same(design, monkeypatch):
    values, condition = sample()
    values[:, 4] = 2.0
    values[:, 6] *= 1e200
    options = DESIGNS[design] | {"n_permutations": 211, "rng": 3}
    together = permutation_test(values, condition, **options)
    monkeypatch.setattr(engine, "_WORTH_A_THREAD", 1)
    for n_threads in (1, 2, 4):
        with threadpool_limits(n_threads, user_api="blas"):
            same(permutation_test(values, condition, **options), together, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1.0, 1e150, 1e300])
@pytest.mark.parametrize("design", DESIGNS)
def test_torch_takes_very_large_and_very_small_values_in_units_of_their_size(design, scale):
    values, condition = sample()
    values[:, :6] = np.round(values[:, :6], 3) * scale
    values[:, 3] = scale
    options = DESIGNS[design] | {"n_permutations": 150, "rng": 3}
    here = permutation_test(values, condition, device="cpu", **options)
    there = permutation_test(values, condition, device="torch", **options)
    assert np.isfinite(there.statistic).all()
    np.testing.assert_array_equal(there.flat, np.arange(9) == 3)
    same(here, there, rtol=1e-9)


@pytest.mark.parametrize(("block_bytes", "once"), [(1 << 20, True), (40 * 9 * 8, True), (40 * 9 * 8 - 1, False)])
def test_values_leave_for_a_device_once_where_they_fit(block_bytes, once, monkeypatch):
    values, condition = sample()
    there, prepare = [], TwoSample.prepare

    def noted(self, table, backend):
        there.append(not isinstance(table, np.ndarray))
        return prepare(self, table, backend)

    monkeypatch.setattr(TwoSample, "prepare", noted)
    permutation_test(values, condition, n_permutations=50, rng=1, device="torch", block_bytes=block_bytes)
    assert set(there) == {once}


@pytest.mark.parametrize("n_permutations", [1, 63, 64, 65, 129, 300])
def test_p_are_the_same_whatever_the_memory_threads_and_device(n_permutations):
    """Three hundred units, whose relabelings are drawn by 64."""
    values, condition = sample(n=300)
    results = [
        permutation_test(values, condition, n_permutations=n_permutations, rng=4, omnibus=MASKS, device="cpu"),
    ]
    for device, block_bytes in (("cpu", 1), ("cpu", 300_000), ("torch", 1), ("torch", 300_000), ("torch", 1 << 28)):
        for n_threads in (1, 2, 3):
            with threadpool_limits(n_threads, user_api="blas"):
                results.append(
                    permutation_test(
                        values, condition, n_permutations=n_permutations, rng=4, omnibus=MASKS, device=device,
                        block_bytes=block_bytes,
                    )
                )  # fmt: skip
    for other in results[1:]:
        same(other, results[0], rtol=1e-9)
        np.testing.assert_array_equal(other.p_fwer_stepdown, results[0].p_fwer_stepdown)


@pytest.mark.parametrize("block_bytes", [1, 100_000, 1 << 28])
def test_torch_gives_the_same_where_a_tail_is_fitted(block_bytes):
    values, condition = sample(n=300)
    options = {"tail": "gpd", "n_permutations": 400, "rng": 3, "omnibus": MASKS, "block_bytes": block_bytes}
    here = permutation_test(values, condition, device="cpu", **options)
    there = permutation_test(values, condition, device="torch", **options)
    assert here.p_perm.min() < 1 / 401
    for name in FIELDS:
        np.testing.assert_allclose(getattr(here, name), getattr(there, name), rtol=1e-6)


@pytest.mark.parametrize("design", DESIGNS)
def test_torch_gives_the_same(design):
    values, condition = sample()
    options = DESIGNS[design] | {"omnibus": MASKS, "n_permutations": 300, "rng": 3}
    here = permutation_test(values, condition, device="cpu", **options)
    there = permutation_test(values, condition, device="torch", **options)
    same(here, there, rtol=1e-10)


def test_torch_gives_the_same_for_pairs_and_f():
    values, condition = sample(n=40)
    half = np.arange(40) < 20
    pair = np.tile(np.arange(20), 2)
    design = np.column_stack([np.ones(40), condition, np.sin(np.arange(40.0))])
    for device in ("cpu", "torch"):
        paired = permutation_test(values, half, pair=pair, statistic="paired", n_permutations=200, rng=1, device=device)
        f = permutation_test_contrast(values, design, np.eye(3)[1:], n_permutations=200, rng=1, device=device)
        if device == "cpu":
            expected = paired, f
    same(paired, expected[0], rtol=1e-10)
    same(f, expected[1], rtol=1e-10)


LINEAR = np.column_stack([np.ones(40), np.cos(np.arange(40.0)), np.sin(np.arange(40.0)), np.arange(40) % 3])
CONTRASTS = {
    "hc3": {},
    "hc3 of several": {"contrast": np.eye(4)[1:3]},
    "student": {"statistic": "student"},
    "f": {"contrast": np.eye(4)[1:3], "statistic": "student"},
    "cr3": {"cluster": np.arange(40) // 5},
    "hc3 of signs": {"errors": "symmetric"},
    "cr3 of signs": {"cluster": np.arange(40) // 5, "errors": "symmetric"},
}


@pytest.mark.parametrize("design", CONTRASTS)
def test_torch_gives_the_same_of_every_linear_model(design):
    values, _ = sample()
    options = {"contrast": np.eye(4)[1:2], "omnibus": MASKS, "n_permutations": 300, "rng": 3} | CONTRASTS[design]
    here, there = (permutation_test_contrast(values, LINEAR, device=device, **options) for device in ("cpu", "torch"))
    assert (here.p_perm < 1).any()
    same(here, there, rtol=1e-9)


def test_one_seed_gives_one_answer_and_another_another():
    values, condition = sample()
    first = permutation_test(values, condition, n_permutations=500, rng=7)
    again = permutation_test(values, condition, n_permutations=500, rng=np.random.default_rng(7))
    other = permutation_test(values, condition, n_permutations=500, rng=8)
    same(first, again)
    assert (first.p_perm != other.p_perm).any()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    scale=st.floats(1e-6, 1e6),
    shift=st.floats(-100, 100),
    statistic=st.sampled_from(["welch", "student"]),
)
def test_units_of_measurement_do_not_matter(seed, scale, shift, statistic):
    values, condition = sample(seed)
    options = {"n_permutations": 99, "rng": 1, "omnibus": MASKS, "statistic": statistic}
    same(
        permutation_test(values, condition, **options),
        permutation_test((values + shift) * scale, condition, **options),
        rtol=1e-6,
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["two-sided", "greater", "less"]))
def test_p_lies_within_its_bounds_and_the_corrections_are_ordered(seed, alternative):
    values, condition = sample(seed)
    values = np.round(values, seed % 3)
    result = permutation_test(
        values, condition, n_permutations=99, rng=1, alternative=alternative, family=np.arange(9) % 3
    )
    for p in (result.p_perm, result.p_fwer, result.p_fwer_stepdown):
        assert ((p >= 0.01) & (p <= 1)).all()
    assert (result.p_perm <= result.p_fwer_stepdown).all()
    assert (result.p_fwer_stepdown <= result.p_fwer).all()


def test_swapping_the_conditions_swaps_the_directions():
    values, condition = sample()
    greater = permutation_test(values, condition, alternative="greater", n_permutations=400, rng=1)
    less = permutation_test(-values, condition, alternative="less", n_permutations=400, rng=1)
    np.testing.assert_array_equal(greater.p_perm, less.p_perm)
    np.testing.assert_allclose(greater.statistic, -less.statistic)


def test_order_of_features_does_not_matter():
    values, condition = sample()
    order = np.random.default_rng(1).permutation(9)
    first = permutation_test(values, condition, n_permutations=300, rng=1)
    second = permutation_test(values[:, order], condition, n_permutations=300, rng=1)
    for name in FIELDS:
        np.testing.assert_allclose(getattr(first, name)[order], getattr(second, name), rtol=1e-12)


@pytest.mark.parametrize("size", [1e-9, 1e9])
def test_neither_the_size_of_a_contrast_nor_a_column_of_zeros_matters(size):
    values, condition = sample()
    design = np.column_stack([np.ones(40), condition, np.sin(np.arange(40.0))])
    contrast = np.array([0, 1.0, -1.0])
    options = {"n_permutations": 99, "rng": 1}
    plain = permutation_test_contrast(values, design, contrast, **options)
    same(plain, permutation_test_contrast(values, design, size * contrast, **options), rtol=1e-9)
    padded = np.column_stack([design, np.zeros(40)])
    same(plain, permutation_test_contrast(values, padded, np.append(contrast, 0), **options), rtol=1e-9)
    alike = np.column_stack([condition, condition, np.ones(40)])
    for refused in ([0, 1.0, 0], [1.0, -1.0, 0], [0, 0, 0]):
        with pytest.raises(InputError, match="cannot estimate"):
            permutation_test_contrast(values, alike, size * np.array(refused), **options)
    with pytest.raises(InputError, match="cannot estimate"):
        permutation_test_contrast(values, padded, [0, 0, 0, size], **options)


# --- error rates and power --------------------------------------------------------------------------


def binomial_bounds(n, rate):
    return stats.binom(n, rate).ppf([0.0005, 0.9995])


SKEWED = {
    "welch": {"statistic": "welch"},
    "student": {"statistic": "student"},
    "blocks": {"block": np.arange(60) // 15},
    "covariates": {"covariates": np.cos(np.arange(120.0)).reshape(60, 2), "statistic": "student"},
    "gpd": {"tail": "gpd"},
}


@pytest.mark.parametrize("design", SKEWED)
def test_null_is_rejected_at_alpha(design):
    # 400 independent data sets of 5 dependent features, as 400 families of one run.
    rng = np.random.default_rng(31)
    condition = rng.permutation(np.arange(60) < 24)
    shared = rng.exponential(size=(60, 400, 1))
    values = (0.7 * shared + rng.exponential(size=(60, 400, 5))).reshape(60, 2000)
    family = np.repeat(np.arange(400), 5)
    masks = {str(k): family == k for k in range(400)}
    result = permutation_test(
        values, condition, family=family, omnibus=masks, n_permutations=499, rng=2, **SKEWED[design]
    )
    low, high = binomial_bounds(400, 0.05)
    assert low <= (result.p_perm[::5] <= 0.05).sum() <= high
    assert low <= (result.p_fwer.reshape(400, 5).min(axis=1) <= 0.05).sum() <= high
    for name in ("p_max", "p_sum_squares"):
        assert low <= sum(getattr(found, name) <= 0.05 for found in result.omnibus.values()) <= high
    assert sum(found.p_count <= 0.05 for found in result.omnibus.values()) <= high


def test_null_clusters_are_rejected_at_alpha_where_units_alone_would_not_be():
    rng = np.random.default_rng(32)
    cluster = np.repeat(np.arange(20), 6)
    condition = cluster % 2 == 0
    values = rng.normal(size=(120, 600)) + rng.normal(size=(20, 600))[cluster]
    low, high = binomial_bounds(600, 0.05)
    by_cluster = permutation_test(values, condition, cluster=cluster, n_permutations=499, rng=1)
    assert low <= (by_cluster.p_perm <= 0.05).sum() <= high
    by_unit = permutation_test(values, condition, n_permutations=499, rng=1)
    assert (by_unit.p_perm <= 0.05).sum() > 2 * high


def test_null_beside_a_confounder_is_rejected_at_alpha_only_with_the_covariate():
    rng = np.random.default_rng(33)
    covariate = rng.normal(size=(80, 1))
    condition = covariate[:, 0] + rng.normal(size=80) > 0
    values = rng.normal(size=(80, 600)) + covariate
    low, high = binomial_bounds(600, 0.05)
    for statistic in ("welch", "student", "mean"):
        adjusted = permutation_test(
            values, condition, covariates=covariate, statistic=statistic, n_permutations=299, rng=1
        )
        assert low <= (adjusted.p_perm <= 0.05).sum() <= high
    assert (permutation_test(values, condition, n_permutations=299, rng=1).p_perm <= 0.05).mean() > 0.5


def test_the_origin_and_unit_of_a_covariate_do_not_matter():
    values, condition = sample()
    covariate = np.sin(np.arange(40.0))[:, None]
    for statistic in ("welch", "student", "mean"):
        options = {"statistic": statistic, "n_permutations": 200, "rng": 1}
        same(
            permutation_test(values, condition, covariates=covariate, **options),
            permutation_test(values, condition, covariates=1e9 + 0.01 * covariate, **options),
            rtol=1e-4,
        )


def test_unequal_variances_and_sizes_are_held_by_welch():
    rng = np.random.default_rng(34)
    condition = np.arange(80) < 16
    values = rng.normal(size=(80, 600)) * np.where(condition, 3.0, 1.0)[:, None]
    _, high = binomial_bounds(600, 0.06)
    welch = permutation_test(values, condition, n_permutations=299, rng=1)
    assert (welch.p_perm <= 0.05).sum() <= high
    student = permutation_test(values, condition, statistic="student", n_permutations=299, rng=1)
    assert (student.p_perm <= 0.05).sum() > 1.5 * high


def test_a_planted_effect_is_found_and_nothing_else():
    rng = np.random.default_rng(35)
    values = rng.normal(size=(100, 72))
    condition = np.arange(100) < 50
    values[condition, :6] += 1.2
    masks = {"with": np.arange(72) < 12, "without": np.arange(72) >= 12}
    result = permutation_test(values, condition, omnibus=masks, n_permutations=1_999, rng=1)
    np.testing.assert_array_equal(np.flatnonzero(result.p_fwer < 0.05), np.arange(6))
    assert result.omnibus["with"].p_max == result.omnibus["with"].p_sum_squares == 1 / 2000
    assert result.omnibus["with"].count >= 6
    assert result.omnibus["with"].p_count <= 0.01
    assert result.omnibus["without"].p_sum_squares > 0.05


# --- edges ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize("design", DESIGNS)
def test_a_flat_feature_has_p_one_and_disturbs_nobody(design, alternative):
    values, condition = sample()
    options = DESIGNS[design] | {"n_permutations": 99, "rng": 1, "alternative": alternative}
    without = permutation_test(values, condition, omnibus=MASKS, **options)
    padded = np.insert(values, 3, 0.1 + 0.2, axis=1)
    padded = np.hstack([padded, np.full((40, 1), 7e5)])
    kept = np.delete(np.arange(11), [3, 10])
    masks = {name: np.ones(11, dtype=bool) for name in MASKS}
    for name, mask in MASKS.items():
        masks[name][kept] = mask
    result = permutation_test(padded, condition, omnibus=masks, **options)
    np.testing.assert_array_equal(np.flatnonzero(result.flat), [3, 10])
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(result, name)[[3, 10]], [0, 0] if name == "statistic" else [1, 1])
        np.testing.assert_allclose(getattr(result, name)[kept], getattr(without, name), rtol=1e-12)
    assert result.omnibus.keys() == without.omnibus.keys()
    for name in MASKS:
        assert result.omnibus[name].p_sum_squares == without.omnibus[name].p_sum_squares


def test_nothing_but_flat_features():
    result = permutation_test(
        np.full((10, 2), 3.0), np.arange(10) < 5, omnibus={"all": np.ones(2, dtype=bool)}, n_permutations=50
    )
    assert result.flat.all()
    assert (result.p_fwer == 1).all()
    whole = result.omnibus["all"]
    assert whole.p_max == whole.p_sum_squares == whole.p_count == 1
    assert whole.max == whole.sum_squares == whole.count == 0


def test_pairs_without_differences_are_flat():
    rng = np.random.default_rng(1)
    base = rng.normal(size=(8, 2))
    other = base + np.array([0.0, 1.0])
    result = permutation_test(
        np.concatenate([other, base]), np.arange(16) < 8, pair=np.tile(np.arange(8), 2), statistic="paired"
    )
    np.testing.assert_array_equal(result.flat, [True, False])
    # Equal differences: only the observed signs and their mirror image reach them.
    np.testing.assert_allclose(result.p_perm, [1, 2 / 256])


def test_pairs_that_differ_by_rounding_are_flat():
    base = np.random.default_rng(3).normal(size=(8, 2)) * 3
    base[0] = 0.0  # the size that rounding is measured by is that of the largest value
    other = np.column_stack([base[:, 0] / 3 * 3 + 0.7 - 0.7, base[:, 1] + np.linspace(0.5, 1, 8)])
    assert (other[:, 0] != base[:, 0]).any()
    values, half = np.concatenate([other, base]), np.arange(16) < 8
    result = permutation_test(values, half, pair=np.tile(np.arange(8), 2), statistic="paired")
    np.testing.assert_array_equal(result.flat, [True, False])
    np.testing.assert_allclose(result.p_perm, [1, 2 / 256])


def test_complete_separation_without_variance_is_a_finite_statistic():
    values = np.repeat([[1.0], [2.0]], 5, axis=0)
    for statistic in ("welch", "student", "mean"):
        result = permutation_test(values, np.arange(10) < 5, statistic=statistic)
        assert np.isfinite(result.statistic).all()
        assert result.p_perm[0] == pytest.approx(2 / 252)


def test_nearly_constant_groups_reach_their_mirror_image():
    # The variance within is 1e-9 of the whole: rounding must not tell a labelling from its mirror.
    rng = np.random.default_rng(2)
    values = np.repeat([0.0, 1.0], 6)[:, None] + 1e-5 * rng.normal(size=(12, 40))
    result = permutation_test(values, np.arange(12) < 6)
    np.testing.assert_allclose(result.p_perm, 2 / 924)


def test_progress_reaches_its_end():
    values, condition = sample(n_features=30)
    seen = []
    permutation_test(
        values, condition, n_permutations=500, rng=1, block_bytes=60_000, callback=lambda *now: seen.append(now)
    )
    done, total = zip(*seen, strict=True)
    assert list(done) == sorted(set(done))
    assert done[-1] == total[-1] > 500


def test_auto_takes_no_card_where_there_is_none(monkeypatch):
    monkeypatch.setattr(permutation_input, "_WORTH_A_CARD", 0)
    values, condition = sample()
    same(
        permutation_test(values, condition, n_permutations=50, rng=1),
        permutation_test(values, condition, n_permutations=50, rng=1, device="cpu"),
        rtol=1e-10,
    )


def test_a_card_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    values, condition = sample()
    with pytest.raises(InputError, match="no CUDA device"):
        permutation_test(values, condition, n_permutations=20, device="cuda")


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize("design", [*DESIGNS, "flips"])
@pytest.mark.parametrize("block_bytes", [1, 20_000, 1 << 28])
def test_the_pass_of_devices_is_that_of_the_host(design, alternative, block_bytes):
    """Families that blocks of features cut through, groups that overlap, flat features, labels kept and drawn anew."""
    values, condition = sample(n_features=9)
    values[:, 3] = 1.0
    options = {"pair": np.cumsum(condition) * condition + np.cumsum(~condition) * ~condition, "statistic": "paired"}
    if design == "flips":
        kept = options["pair"] <= min(condition.sum(), (~condition).sum())
        values, condition, options["pair"] = values[kept], condition[kept], options["pair"][kept]
    else:
        options = DESIGNS[design]
    options = options | {"alternative": alternative, "family": [1, 0, 1, 1, 0, 0, 2, 1, 0], "n_permutations": 200}
    masks = {**MASKS, "flat": np.arange(9) == 3}
    here = permutation_test(values, condition, rng=1, omnibus=masks, block_bytes=block_bytes, **options)
    there = permutation_test(
        values, condition, rng=1, omnibus=masks, block_bytes=block_bytes, device="torch", **options
    )
    same(here, there, rtol=1e-10)
    for name, group in here.omnibus.items():
        other = there.omnibus[name]
        assert group.count == other.count
        np.testing.assert_allclose((group.max, group.sum_squares), (other.max, other.sum_squares), rtol=1e-10)


def test_relabelings_are_drawn_once_for_all_blocks_of_features(monkeypatch):
    values, condition = sample(n_features=9)
    drawn, draw = [], relabelings.Exchanges.blocks
    monkeypatch.setattr(relabelings.Exchanges, "blocks", lambda self, size: drawn.append(size) or draw(self, size))
    permutation_test(values, condition, n_permutations=100, rng=1, device="torch", block_bytes=12_000)
    assert len(drawn) == 1


@pytest.mark.skipif("not __import__('torch').cuda.is_available()", reason="no CUDA device")
def test_a_card_gives_the_same():
    values, condition = sample(n=200)
    for options in ({}, {"covariates": np.sin(np.arange(400.0)).reshape(200, 2)}):
        here = permutation_test(values, condition, device="cpu", omnibus=MASKS, rng=1, **options)
        there = permutation_test(values, condition, device="cuda", omnibus=MASKS, rng=1, **options)
        same(here, there, rtol=1e-9)


@pytest.mark.parametrize("alternative", ["two-sided", "greater"])
def test_clusters_are_refused_exactly_where_even_complete_separation_stays_at_alpha(alternative):
    for n_a, n_b in ((2, 4), (2, 5), (3, 3), (3, 4), (4, 4), (2, 6), (5, 1)):
        cluster = np.repeat(np.arange(n_a + n_b), 2)
        condition = cluster < n_a
        values = 10.0 * condition[:, None] + 0.1 * np.random.default_rng(1).normal(size=(len(cluster), 1))
        n = math.comb(n_a + n_b, n_a)
        least = (2 if alternative == "two-sided" and n_a == n_b else 1) / n
        if n_b > 1 and least < 0.05:
            found = permutation_test(values, condition, cluster=cluster, alternative=alternative, statistic="mean")
            assert found.p_perm[0] == pytest.approx(least)
        else:
            with pytest.raises(InputError, match=r"clusters allow|has 1 cluster"):
                permutation_test(values, condition, cluster=cluster, alternative=alternative, statistic="mean")
    # 36 relabelings of four clusters in each of two blocks, which come in pairs of one size too
    cluster, condition = np.repeat(np.arange(8), 2), np.repeat(np.arange(8) % 2 == 0, 2)
    values, block = 10.0 * condition[:, None] + np.sin(np.arange(16.0))[:, None], cluster // 4
    blocks = {"cluster": cluster, "block": block, "alternative": alternative, "statistic": "mean"}
    if alternative == "two-sided":
        with pytest.raises(InputError, match=r"come in pairs of one size, so that p is at least 0\.0556"):
            permutation_test(values, condition, **blocks)
    else:
        assert permutation_test(values, condition, **blocks).p_perm[0] == 1 / 36
    signs = {"condition": np.arange(20) < 10, "pair": np.tile(np.arange(10), 2), "statistic": "paired"}
    pairs = np.tile(np.arange(10) // 2, 2)  # five clusters of two pairs: 32 flips
    values = np.random.default_rng(2).normal(size=(20, 1)) + 10.0 * signs["condition"][:, None]
    if alternative == "two-sided":
        with pytest.raises(InputError, match=r"come in pairs of one size, so that p is at least 0\.0625"):
            permutation_test(values, **signs, cluster=pairs)
    else:
        assert permutation_test(values, **signs, cluster=pairs, alternative="greater").p_perm[0] == 1 / 32


@pytest.mark.parametrize("unit", range(8))
def test_a_unit_that_determines_a_coefficient_is_named_whatever_rounding_makes_of_its_leverage(unit):
    values, condition = sample()
    covariates = np.column_stack([np.sin(np.arange(40.0)), np.arange(40) == unit])
    with pytest.raises(InputError, match=f"unit {unit} alone determines a coefficient"):
        permutation_test(values, condition, covariates=covariates, n_permutations=20)


VALUES, LABELS = sample()
PAIRS = np.concatenate([np.flatnonzero(np.arange(20) >= 0)] * 2)
HALF = np.arange(40) < 20


def hole(row, column, value):
    values = VALUES.copy()
    values[row, column] = value
    return values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": hole(3, 2, np.nan)}, r"values\[3, 2\] is nan"),
        ({"values": hole(5, 1, np.inf)}, r"values\[5, 1\] is inf"),
        ({"values": VALUES[:, 0]}, r"values has shape \(40,\)"),
        ({"values": VALUES[:, :0]}, "neither of them 0"),
        ({"condition": LABELS.astype(int)}, "booleans"),
        ({"condition": LABELS[1:]}, r"shape \(39,\); give 40 booleans"),
        ({"condition": np.arange(40) == 7}, "condition a has 1 units"),
        ({"condition": np.arange(40) > -1}, "condition b has 0 units"),
        ({"statistic": "wilcoxon"}, "statistic is 'wilcoxon'"),
        ({"alternative": "both"}, "alternative is 'both'"),
        ({"tail": "gamma"}, "tail is 'gamma'"),
        ({"alpha": 1.0}, "alpha is 1.0"),
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"n_permutations": 0}, "n_permutations is 0"),
        ({"n_permutations": 10.5}, "n_permutations is 10.5"),
        ({"device": "gpu"}, "device is 'gpu'"),
        ({"statistic": "paired"}, "pair is missing"),
        ({"condition": HALF, "pair": PAIRS}, "statistic is 'welch', but pairs"),
        ({"condition": HALF, "pair": np.arange(40), "statistic": "paired"}, "pair 0 has 1 units .* and 0 in b"),
        (
            {"condition": HALF, "pair": np.where(PAIRS == 4, 3, PAIRS), "statistic": "paired"},
            "pair 3 has 2 units .* and 2 in b",
        ),
        (
            {"condition": HALF, "pair": PAIRS, "statistic": "paired", "covariates": HALF[:, None] * 2.0},
            "differs by the same amount in every pair",
        ),
        (
            {"condition": HALF, "pair": PAIRS, "statistic": "paired", "cluster": np.arange(40)},
            "lie in cluster 0 and 20",
        ),
        ({"condition": HALF, "pair": PAIRS, "statistic": "paired", "block": np.arange(40)}, "lie in block 0 and 20"),
        ({"condition": HALF, "pair": PAIRS, "statistic": "paired", "cluster": PAIRS // 5}, "clusters allow 16"),
        ({"covariates": np.column_stack([VALUES[:, 0], 2 - 3 * LABELS])}, "covariate 1 is collinear"),
        (
            {"covariates": np.column_stack([VALUES[:, 0], 3 * LABELS + VALUES[:, 0]])},
            "combination of the covariates is collinear",
        ),
        ({"covariates": hole(3, 2, np.nan)}, r"covariates\[3, 2\] is nan"),
        ({"covariates": np.ones((39, 1))}, "one row for each of 40"),
        ({"covariates": np.random.default_rng(1).normal(size=(40, 38))}, "no residual degrees of freedom"),
        ({"covariates": np.eye(40)[:, np.flatnonzero(LABELS)[:-1]]}, "alone determines a coefficient"),
        ({"cluster": LABELS.astype(int)}, "has 1 cluster"),
        ({"condition": HALF, "cluster": np.maximum(np.arange(40) // 2, 9)}, "condition a has 1 cluster"),
        ({"condition": HALF, "cluster": np.minimum(np.arange(40) // 2, 10)}, "condition b has 1 cluster"),
        (
            {"condition": HALF, "cluster": np.arange(40) // 2, "covariates": np.arange(40)[:, None] // 2 == 3},
            "one cluster alone determines a coefficient",
        ),
        ({"condition": HALF, "cluster": np.arange(40) // 10}, "clusters allow 6 relabelings"),
        ({"cluster": np.full(40, np.nan)}, r"cluster\[0\] is nan"),
        ({"block": LABELS.astype(int)}, "no relabeling differs"),
        ({"block": np.arange(39)}, "block has shape"),
        ({"family": np.arange(8)}, "family has shape"),
        ({"omnibus": {"x": np.arange(9)}}, "omnibus mask 'x'"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"values": VALUES, "condition": LABELS, "n_permutations": 20} | change
    with pytest.raises(InputError, match=message):
        permutation_test(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contrast": [1.0]}, "the design has 2 columns"),
        ({"contrast": [np.nan, 1]}, "one finite weight"),
        ({"design": np.column_stack([HALF, HALF])}, "cannot estimate"),
        ({"contrast": [[0, 1], [0, 2]]}, "cannot estimate"),
        ({"contrast": np.eye(2), "alternative": "less"}, "only the two-sided tests"),
        ({"contrast": np.eye(2), "statistic": "mean"}, "only the two-sided tests"),
        ({"errors": "normal"}, "errors is 'normal'"),
        ({"design": np.eye(40)[:, :2], "values": VALUES[:39]}, "one row for each of 39"),
        ({"cluster": np.arange(40) // 10}, "clusters allow 6 relabelings"),
    ],
)
def test_bad_contrasts_are_refused(change, message):
    arguments = {"values": VALUES, "design": np.column_stack([np.ones(40), HALF]), "contrast": [0, 1]} | change
    with pytest.raises(InputError, match=message):
        permutation_test_contrast(**arguments)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_a_relabeling_without_a_number_reaches_everything_on_a_device_too(alternative):
    class Lost:
        def evaluate(self, _prepared, relabeled, _backend):
            return relabeled * float("nan")

    backend = torch_backend("cpu")
    labels = SimpleNamespace(blocks=lambda _size: [backend.send(np.ones((2, 3)))])
    (null,) = on_device.null_on_device(Lost(), None, labels, 2, backend, alternative)
    assert (null == float("inf")).all()


@pytest.mark.parametrize("alpha", ["0.05", "0.07", "0.29"])
def test_the_critical_value_is_the_largest_statistic_whose_p_is_not_below_alpha(alpha):
    """Of a hundred, whatever a float makes of a hundred times alpha; on the host and on a device."""
    null = np.random.default_rng(8).permutation(99) + 0.5
    # The largest has p = .01, the next .02.
    expected = np.sort(np.append(null, 0.0))[::-1][math.ceil(100 * Fraction(alpha)) - 1]
    assert engine._critical(0.0, null, float(alpha), exact=False) == expected
    rows = torch_backend("cpu").send(np.stack([null, null + 1000]))
    found = on_device.critical_values(rows, np.array([0.0, 1000.0]), float(alpha), exact=False)
    assert found.tolist() == [expected, expected + 1000]


@pytest.mark.parametrize(
    ("whole", "block", "expected"),
    [(True, None, 720), (True, np.repeat(np.arange(6) % 2, 2), 6 * 6), (False, None, 2**6)],
)
def test_beside_covariates_clusters_of_one_condition_trade_places_whole_and_units_of_both_within_them(
    whole, block, expected
):
    """Six clusters of two units: 6! orders of them, 3! twice in two blocks, or two orders of the units of each."""
    rng = np.random.default_rng(3)
    cluster = np.repeat(np.arange(6), 2)
    condition = cluster < 3 if whole else np.arange(12) % 2 == 0
    result = permutation_test(
        rng.normal(size=(12, 2)), condition, covariates=rng.normal(size=(12, 1)), cluster=cluster, block=block,
        n_permutations=999, rng=1,
    )  # fmt: skip
    assert result.exact
    assert result.n_distinct == result.n_permutations == expected
