"""The permutation test against other people's programs and against brute force."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product

import mne
import numpy as np
import pytest
import statsmodels.api as sm
from nilearn.mass_univariate import permuted_ols
from scipy import sparse, stats

from metastable.stats.permutations.permutation import permutation_test, permutation_test_contrast
from metastable.stats.permutations.statistics import CPU, contrast_model


def groups(seed, n_a=6, n_b=6, n_features=5, shift=1.0):
    rng = np.random.default_rng(seed)
    condition = rng.permutation(np.arange(n_a + n_b) < n_a)
    values = rng.normal(size=(n_a + n_b, n_features)) * np.linspace(0.1, 30, n_features) + 100
    values[condition] *= 1.0 + 0.02 * shift * rng.normal(size=n_features)
    return values, condition


def welch(a, b, axis):
    return stats.ttest_ind(a, b, axis=axis, equal_var=False).statistic


def student(a, b, axis):
    return stats.ttest_ind(a, b, axis=axis).statistic


def mean(a, b, axis):
    return a.mean(axis=axis) - b.mean(axis=axis)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize(("name", "function"), [("welch", welch), ("student", student), ("mean", mean)])
def test_exact_p_matches_scipy(name, function, alternative):
    values, condition = groups(1)
    result = permutation_test(values, condition, statistic=name, alternative=alternative, n_permutations=924)
    expected = stats.permutation_test(
        (values[condition], values[~condition]), function, n_resamples=np.inf, alternative=alternative, vectorized=True
    )
    assert result.exact
    assert result.n_permutations == 924
    np.testing.assert_allclose(result.statistic, expected.statistic, rtol=1e-10)
    np.testing.assert_allclose(result.p_perm, expected.pvalue, rtol=1e-12)


def test_exact_p_matches_scipy_with_ties():
    rng = np.random.default_rng(8)
    values = rng.integers(0, 4, size=(12, 20)).astype(float)
    condition = np.arange(12) < 6
    # Tenths are not exact in binary, and the ties must survive that. (scipy's do not, where the
    # observed difference is 0 but for rounding, so it gets the integers.)
    result = permutation_test(values / 10, condition, statistic="mean", n_permutations=924)
    expected = stats.permutation_test(
        (values[condition], values[~condition]), mean, n_resamples=np.inf, vectorized=True
    )
    np.testing.assert_allclose(result.p_perm, expected.pvalue, rtol=1e-12)


def test_ties_of_ratios_are_counted_as_in_rational_arithmetic():
    # 0/1 data: only the number of ones in a group matters, so p is a hypergeometric sum.
    ones = np.array([3, 5, 6, 7])
    values = (np.arange(16)[:, None] < ones) * 0.1 + 0.3
    condition = np.isin(np.arange(16), [0, 1, 2, 3, 4, 8, 9, 15])
    for statistic in ("student", "welch", "mean"):
        result = permutation_test(values, condition, statistic=statistic, n_permutations=12_870)
        for k, count in enumerate(ones):
            law = stats.hypergeom(16, count, 8)
            seen = (values[condition, k] > 0.35).sum()
            support = np.arange(count + 1)
            far = np.abs(support - count / 2) >= abs(seen - count / 2)
            assert result.p_perm[k] == pytest.approx(law.pmf(support[far]).sum(), rel=1e-9)


def test_drawn_p_matches_scipy_within_monte_carlo_error():
    values, condition = groups(3, n_a=14, n_b=19)
    result = permutation_test(values, condition, n_permutations=20_000, rng=5)
    expected = stats.permutation_test(
        (values[condition], values[~condition]),
        lambda a, b, axis: np.abs(welch(a, b, axis)),
        n_resamples=20_000, alternative="greater", vectorized=True, rng=6, batch=500,
    ).pvalue  # fmt: skip
    assert not result.exact
    error = np.sqrt(2 * expected * (1 - expected) / 20_000)
    assert (np.abs(result.p_perm - expected) < 4 * error + 1e-4).all()


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_exact_paired_p_matches_scipy(alternative):
    rng = np.random.default_rng(4)
    a, b = rng.gamma(2, size=(2, 9, 4))
    shuffled = rng.permutation(18)
    result = permutation_test(
        np.concatenate([a, b])[shuffled], (np.arange(18) < 9)[shuffled], pair=np.tile(np.arange(9), 2)[shuffled],
        statistic="paired", alternative=alternative,
    )  # fmt: skip
    expected = stats.permutation_test(
        (a, b), lambda a, b, axis: stats.ttest_rel(a, b, axis=axis).statistic, permutation_type="samples",
        n_resamples=np.inf, alternative=alternative, vectorized=True,
    )  # fmt: skip
    assert result.exact
    assert result.n_permutations == 512
    np.testing.assert_allclose(result.statistic, expected.statistic, rtol=1e-10)
    np.testing.assert_allclose(result.p_perm, expected.pvalue, rtol=1e-12)


def test_exact_max_t_matches_mne():
    rng = np.random.default_rng(9)
    differences = rng.normal(size=(9, 12)) + np.linspace(0, 1.2, 12)
    # MNE's "all" leaves one flip out; any number above all gives them all.
    t, p, _ = mne.stats.permutation_t_test(differences, n_permutations=10_000, verbose="error")
    values = np.concatenate([differences, np.zeros_like(differences)])
    result = permutation_test(
        values, np.arange(18) < 9, pair=np.tile(np.arange(9), 2), statistic="paired", n_permutations=512
    )
    np.testing.assert_allclose(result.statistic, t, rtol=1e-10)
    np.testing.assert_allclose(result.p_fwer, p, rtol=1e-12)


def test_exact_max_t_matches_mne_clusters_of_single_features():
    # Without neighbours a cluster is one feature and its mass is t, so the cluster p is the max-T p.
    rng = np.random.default_rng(10)
    differences = rng.normal(size=(8, 6)) + np.linspace(0.3, 1.5, 6)
    t, clusters, p, _ = mne.stats.permutation_cluster_1samp_test(
        differences, threshold=1e-6, n_permutations=10_000, tail=1, adjacency=sparse.identity(6, format="coo"),
        out_type="mask", seed=0, verbose="error",
    )  # fmt: skip
    result = permutation_test_contrast(
        differences, np.ones((8, 1)), [1.0], errors="symmetric", alternative="greater", n_permutations=256
    )
    np.testing.assert_allclose(result.statistic, t, rtol=1e-10)
    features = [int(np.flatnonzero(cluster)[0]) for cluster in clusters]
    assert len(features) >= 5
    # One-sided, MNE takes the observed signs twice and never flips all of them: one too many of 256.
    np.testing.assert_allclose(result.p_fwer[features], p - 1 / 256, rtol=1e-12)


@pytest.mark.parametrize("n_covariates", [0, 2])
@pytest.mark.parametrize("two_sided", [True, False])
def test_max_t_matches_nilearn_within_monte_carlo_error(n_covariates, two_sided):
    rng = np.random.default_rng(12)
    n = 60
    covariates = rng.normal(size=(n, n_covariates)) if n_covariates else None
    condition = rng.uniform(size=n) < 0.4
    if n_covariates:
        condition = covariates[:, 0] + rng.normal(size=n) > 0.3
    mixing = rng.normal(size=(20, 20)) * 0.4 + np.eye(20)
    values = rng.normal(size=(n, 20)) @ mixing
    values[condition] += np.linspace(0, 4, 20)
    theirs = permuted_ols(
        condition[:, None].astype(float), values, covariates, model_intercept=True, n_perm=4000,
        two_sided_test=two_sided, random_state=1, n_jobs=1, output_type="dict", verbose=0,
    )  # fmt: skip
    result = permutation_test(
        values, condition, statistic="student", covariates=covariates, n_permutations=4000, rng=2,
        alternative="two-sided" if two_sided else "greater",
    )  # fmt: skip
    np.testing.assert_allclose(result.statistic, theirs["t"][0], rtol=1e-8)
    expected = 10 ** -theirs["logp_max_t"][0]
    error = np.sqrt(2 * expected * (1 - expected) / 4000)
    assert (np.abs(result.p_fwer - expected) < 4 * error + 1e-3).all()
    assert expected.min() < 0.01
    assert ((expected > 0.05) & (expected < 0.9)).any()


# --- brute force ------------------------------------------------------------------------------------


def glm_t(y, design, contrast):
    inverse = np.linalg.inv(design.T @ design)
    beta = inverse @ design.T @ y
    residual = y - design @ beta
    variance = residual @ residual / (len(y) - design.shape[1])
    return contrast @ beta / np.sqrt(variance * contrast @ inverse @ contrast)


def glm_hc3(y, design, contrast):
    """Wald's statistic of a contrast with the HC3 covariance of statsmodels; of one row, the signed t."""
    fit = sm.OLS(y, design).fit(cov_type="HC3")
    rows = np.atleast_2d(contrast)
    estimate, covariance = rows @ fit.params, rows @ fit.cov_params() @ rows.T
    if len(rows) == 1:
        return estimate[0] / np.sqrt(covariance[0, 0])
    return estimate @ np.linalg.solve(covariance, estimate) / len(rows)


def clustered_t(y, condition, cluster):
    """Difference of means over the error of a jackknife of each group's clusters."""
    difference, variance = 0.0, 0.0
    for sign, side in ((1, condition), (-1, ~condition)):
        mean = y[side].mean()
        difference += sign * mean
        codes = np.unique(cluster[side])
        without = np.array([y[side & (cluster != code)].mean() for code in codes])
        variance += (len(codes) - 1) / len(codes) * ((without - mean) ** 2).sum()
    return difference / np.sqrt(variance)


def freedman_lane(y, nuisance, statistic, orders):
    projection = nuisance @ np.linalg.pinv(nuisance)
    fitted = projection @ y
    return np.array([statistic((y - fitted)[list(order)] + fitted) for order in orders])


def plain_hc3(y, design):
    """T of the first column; `glm_hc3` in numpy alone, for thousands of orders."""
    inverse = np.linalg.pinv(design)
    leftover = 1 - np.einsum("ij,ji->i", design, inverse)
    return inverse[0] @ y / np.sqrt(((inverse[0] * (y - design @ inverse @ y) / leftover) ** 2).sum())


@pytest.mark.parametrize("kind", ["student", "welch"])
def test_residuals_exchanged_or_flipped_match_brute_force(kind):
    rng = np.random.default_rng(20)
    n = 7
    condition = np.array([1, 0, 1, 0, 0, 1, 0], dtype=bool)
    covariates = rng.normal(size=(n, 1)) + condition[:, None]
    values = rng.normal(size=(n, 3)) + 2 * covariates
    design = np.column_stack([condition, np.ones(n), covariates])
    contrast = np.array([1.0, 0, 0])
    result = permutation_test(values, condition, statistic=kind, covariates=covariates, n_permutations=5040)
    assert result.exact
    assert result.n_permutations == (5040 if kind == "student" else 2**n)
    for k in range(3):
        y = values[:, k]
        if kind == "student":
            null = freedman_lane(
                y, design[:, 1:], lambda y: glm_t(y, design, contrast), list(permutations(range(n)))
            )  # fmt: skip
        else:
            fitted = design[:, 1:] @ np.linalg.pinv(design[:, 1:]) @ y
            signs = product((1, -1), repeat=n)
            null = np.array([plain_hc3(np.array(sign) * (y - fitted) + fitted, design) for sign in signs])
        assert result.statistic[k] == pytest.approx(null[0], rel=1e-8)
        p = np.mean(np.abs(null) >= abs(null[0]) * (1 - 1e-9))
        assert result.p_perm[k] == pytest.approx(p, rel=1e-12)


def test_every_relabeling_has_the_hc3_statistic_of_statsmodels():
    rng = np.random.default_rng(29)
    n = 12
    design = np.column_stack([np.ones(n), rng.normal(size=(n, 4))])
    values = rng.normal(size=(n, 3)) * np.exp(design[:, 1:2])
    orders = np.array([rng.permutation(n) for _ in range(20)], dtype=np.int32)
    flips = rng.choice([-1.0, 1.0], size=(20, n))
    for contrast in (np.array([[0, 1.0, 0, 0, 0]]), np.array([[0, 1.0, -1.0, 0, 0], [0, 0, 0, 1.0, 0]])):
        model = contrast_model(design, contrast, "hc3")
        # What is moved are the residuals of the model in which the contrast is zero.
        basis = np.linalg.svd(contrast)[2][len(contrast) :].T
        fitted = design @ basis @ np.linalg.pinv(design @ basis) @ values
        prepared = model.prepare(values, CPU)
        by_order, by_sign = model.evaluate(prepared, orders, CPU), model.evaluate(prepared, flips, CPU)
        for k in range(3):
            left = values[:, k] - fitted[:, k]
            expected = [glm_hc3(left[np.argsort(order)] + fitted[:, k], design, contrast) for order in orders]
            np.testing.assert_allclose(by_order[k], expected, rtol=1e-7)
            expected = [glm_hc3(left * sign + fitted[:, k], design, contrast) for sign in flips]
            np.testing.assert_allclose(by_sign[k], expected, rtol=1e-7)


@pytest.mark.parametrize("by", ["rows", "signs"])
def test_every_relabeling_of_clusters_has_the_error_of_leaving_one_out(by):
    rng = np.random.default_rng(30)
    cluster = np.repeat(np.arange(8), [3, 3, 2, 2, 3, 2, 3, 2])
    n = len(cluster)
    design = np.column_stack([rng.normal(size=(8, 1))[cluster], np.ones(n), rng.normal(size=n)])
    values = rng.normal(size=(n, 2)) + rng.normal(size=(8, 2))[cluster]
    model = replace(contrast_model(design, np.array([[1.0, 0, 0]]), "hc3"), cluster=cluster)
    if by == "rows":
        order = np.concatenate([np.flatnonzero(cluster == code) for code in (4, 6, 3, 5, 0, 7, 1, 2)]).astype(np.int32)
        relabeled = np.stack([np.arange(n, dtype=np.int32), order])
    else:
        relabeled = np.stack([np.ones(n), np.where(np.isin(cluster, [1, 4, 6]), -1.0, 1.0)])
    found = model.evaluate(model.prepare(values, CPU), relabeled, CPU)
    nuisance = design[:, 1:]
    for k in range(2):
        fitted = nuisance @ np.linalg.pinv(nuisance) @ values[:, k]
        left = values[:, k] - fitted
        y = left[np.argsort(relabeled[1])] + fitted if by == "rows" else left * relabeled[1] + fitted
        # The design stays where it is, and so do its clusters.
        for row, outcome in enumerate((values[:, k], y)):
            whole = np.linalg.lstsq(design, outcome, rcond=None)[0][0]
            without = [np.linalg.lstsq(design[cluster != c], outcome[cluster != c])[0][0] for c in range(8)]
            expected = whole / np.sqrt(((np.array(without) - whole) ** 2).sum())
            assert found[k, row] == pytest.approx(expected, rel=1e-8)


def test_welch_beside_an_empty_nuisance_is_welch():
    values, condition = groups(5, n_a=9, n_b=15)
    plain = permutation_test(values, condition, n_permutations=300, rng=1)
    constant = permutation_test(values, condition, covariates=np.full((24, 1), 3.0), n_permutations=300, rng=1)
    np.testing.assert_allclose(constant.statistic, plain.statistic, rtol=1e-9)
    expected = [welch(y[condition], y[~condition], 0) for y in values.T]
    np.testing.assert_allclose(plain.statistic, expected, rtol=1e-10)


def test_f_of_several_rows_matches_brute_force():
    rng = np.random.default_rng(21)
    level = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    design = np.column_stack([level == 0, level == 1, level == 2]).astype(float)
    values = rng.normal(size=(8, 4)) + 0.8 * level[:, None]
    result = permutation_test_contrast(
        values, design, [[1, -1, 0], [0, 1, -1]], statistic="student", n_permutations=560,
        omnibus={"all": np.ones(4, dtype=bool)},
    )  # fmt: skip
    assert result.exact
    assert result.n_permutations == 560
    orders = np.array(sorted(set(permutations(level.tolist()))))
    null = np.array([stats.f_oneway(*(values[order == g] for g in range(3))).statistic for order in orders])
    observed = stats.f_oneway(*(values[level == g] for g in range(3))).statistic
    np.testing.assert_allclose(result.statistic, observed, rtol=1e-9)
    np.testing.assert_allclose(result.p_perm, (null >= observed * (1 - 1e-9)).mean(axis=0), rtol=1e-12)
    # F is a square already: the sum over features is that of F.
    found = result.omnibus["all"]
    assert found.sum_squares == pytest.approx(observed.sum(), rel=1e-9)
    assert found.p_sum_squares == pytest.approx((null.sum(axis=1) >= observed.sum() * (1 - 1e-9)).mean(), rel=1e-12)


def test_a_contrast_of_a_redundant_design_is_the_difference_of_means():
    values, condition = groups(6)
    design = np.column_stack([condition, ~condition, np.ones(12)]).astype(float)
    result = permutation_test_contrast(values, design, [1, -1, 0], statistic="mean", n_permutations=924)
    expected = permutation_test(values, condition, statistic="mean", n_permutations=924)
    np.testing.assert_allclose(result.statistic, expected.statistic, rtol=1e-9)
    np.testing.assert_allclose(result.p_perm, expected.p_perm, rtol=1e-12)


@pytest.mark.parametrize(("name", "function"), [("student", student), ("mean", mean)])
def test_other_statistics_of_whole_clusters_are_those_of_units(name, function):
    rng = np.random.default_rng(31)
    cluster = np.repeat(np.arange(10), 3)
    condition = cluster < 5
    values = rng.normal(size=(30, 3))
    result = permutation_test(values, condition, cluster=cluster, statistic=name, n_permutations=252)
    np.testing.assert_allclose(result.statistic, function(values[condition], values[~condition], 0), rtol=1e-9)
    assert result.n_permutations == 252


@pytest.mark.parametrize("contrast", [False, True])
def test_whole_clusters_beside_a_covariate_have_the_error_of_leaving_one_out(contrast):
    rng = np.random.default_rng(32)
    cluster = np.repeat(list("hdbagcfe"), 4)
    condition = np.isin(cluster, list("dafe"))
    covariate = rng.normal(size=(32, 1)) + 0.5 * condition[:, None]
    values = rng.normal(size=(32, 3)) + rng.normal(size=(8, 3)).repeat(4, axis=0) + covariate
    design = np.column_stack([condition, np.ones(32), covariate])
    options = {"cluster": cluster, "n_permutations": 70, "rng": 1}
    if contrast:
        result = permutation_test_contrast(values, design, [1, 0, 0], **options)
    else:
        result = permutation_test(values, condition, covariates=covariate, **options)
    for k in range(3):
        whole = np.linalg.lstsq(design, values[:, k], rcond=None)[0][0]
        kept = [cluster != code for code in "abcdefgh"]
        without = np.array([np.linalg.lstsq(design[rows], values[rows, k], rcond=None)[0][0] for rows in kept])
        assert result.statistic[k] == pytest.approx(whole / np.sqrt(((without - whole) ** 2).sum()), rel=1e-8)


def test_whole_clusters_match_brute_force():
    rng = np.random.default_rng(22)
    cluster = np.repeat(np.arange(8), [1, 2, 3, 2, 4, 1, 2, 3])
    condition = np.isin(cluster, [0, 2, 3, 6])
    values = rng.normal(size=(18, 3)) + rng.normal(size=(8, 3))[cluster]
    result = permutation_test(values, condition, cluster=cluster)
    labels = [np.isin(cluster, chosen) for chosen in set(map(frozenset, permutations(range(8), 4)))
              for chosen in [list(chosen)]]  # fmt: skip
    assert len(labels) == result.n_permutations == 70
    for k in range(3):
        assert result.statistic[k] == pytest.approx(clustered_t(values[:, k], condition, cluster), rel=1e-9)
        null = np.array([clustered_t(values[:, k], label, cluster) for label in labels])
        reached = np.abs(null) >= abs(result.statistic[k]) * (1 - 1e-9)
        assert result.p_perm[k] == pytest.approx(reached.mean(), rel=1e-12)


def test_pairs_of_a_cluster_flip_together():
    rng = np.random.default_rng(23)
    cluster = np.array([0, 0, 1, 2, 2, 2, 3, 4, 5])
    differences = rng.normal(size=(9, 3)) + 0.5
    result = permutation_test(
        np.concatenate([differences, np.zeros((9, 3))]), np.arange(18) < 9, pair=np.tile(np.arange(9), 2),
        cluster=np.tile(cluster, 2), statistic="paired",
    )  # fmt: skip
    assert result.n_permutations == 64
    signs = np.array(list(product([1, -1], repeat=6)))[:, cluster]
    for k in range(3):
        null = stats.ttest_1samp(signs * differences[:, k], 0, axis=1).statistic
        reached = np.abs(null) >= abs(result.statistic[k]) * (1 - 1e-9)
        assert result.p_perm[k] == pytest.approx(reached.mean(), rel=1e-12)


def test_pairs_with_covariates_match_brute_force():
    rng = np.random.default_rng(24)
    n = 8
    covariate = rng.normal(size=(2 * n, 1))
    values = rng.normal(size=(2 * n, 2)) + 2 * covariate
    values[:n] += 0.6
    result = permutation_test(
        values, np.arange(2 * n) < n, pair=np.tile(np.arange(n), 2), covariates=covariate, statistic="paired"
    )
    change = covariate[:n] - covariate[n:]
    design = np.column_stack([np.ones(n), change])
    signs = np.array(list(product([1, -1], repeat=n)))
    assert result.n_permutations == len(signs)
    for k in range(2):
        y = values[:n, k] - values[n:, k]
        fitted = (change @ np.linalg.pinv(change)) @ y
        null = np.array([glm_hc3(sign * (y - fitted) + fitted, design, np.array([1.0, 0])) for sign in signs])
        assert result.statistic[k] == pytest.approx(glm_hc3(y, design, np.array([1.0, 0])), rel=1e-9)
        reached = np.abs(null) >= abs(result.statistic[k]) * (1 - 1e-9)
        assert result.p_perm[k] == pytest.approx(reached.mean(), rel=1e-12)


def test_single_step_and_step_down_match_brute_force():
    rng = np.random.default_rng(25)
    values = rng.normal(size=(10, 6)) + rng.normal(size=(10, 1))
    condition = np.arange(10) < 5
    values[condition] += np.array([2.5, 0, 1.5, 0, 0.8, -2])
    family = np.array([7, 7, 7, 2, 2, 7])
    result = permutation_test(values, condition, family=family)
    labels = sorted(set(permutations(condition.tolist())))
    null = np.array([np.abs(welch(values[np.array(x)], values[~np.array(x)], 0)) for x in labels])
    observed = np.abs(welch(values[condition], values[~condition], 0)) * (1 - 1e-9)
    for code in (2, 7):
        members = np.flatnonzero(family == code)
        maximum = null[:, members].max(axis=1)
        np.testing.assert_allclose(
            result.p_fwer[members], [(maximum >= observed[k]).mean() for k in members], rtol=1e-12
        )
        running = 0.0
        left = members[np.argsort(-observed[members])]
        for place, k in enumerate(left):
            running = max(running, (null[:, left[place:]].max(axis=1) >= observed[k]).mean())
            assert result.p_fwer_stepdown[k] == pytest.approx(running, rel=1e-12)


@pytest.mark.parametrize("shift", [-1.5, 0.6])
def test_one_sided_omnibus_matches_brute_force(shift):
    rng = np.random.default_rng(27)
    values = rng.normal(size=(10, 4))
    condition = np.arange(10) < 5
    values[condition] += shift
    result = permutation_test(values, condition, alternative="greater", omnibus={"all": np.ones(4, dtype=bool)})
    labels = sorted(set(permutations(condition.tolist())))
    null = np.array([welch(values[np.array(x)], values[~np.array(x)], 0) for x in labels])
    here, found = labels.index(tuple(condition.tolist())), result.omnibus["all"]
    # the largest may be negative; what lies in the other direction adds nothing to a sum of squares
    for name, sample in (("max", null.max(axis=1)), ("sum_squares", (np.maximum(null, 0) ** 2).sum(axis=1))):
        assert getattr(found, name) == pytest.approx(sample[here], rel=1e-9)
        reached = sample >= sample[here] - 1e-9 * abs(sample[here])
        assert getattr(found, f"p_{name}") == pytest.approx(reached.mean(), rel=1e-12)
    assert (found.max < 0) == (shift < 0)


def test_omnibus_matches_brute_force():
    rng = np.random.default_rng(26)
    values = rng.normal(size=(10, 6))
    condition = np.arange(10) < 5
    values[condition] += 1.0
    mask = np.array([1, 0, 1, 1, 1, 0], dtype=bool)
    result = permutation_test(values, condition, omnibus={"some": mask}, alpha=0.1).omnibus["some"]
    labels = sorted(set(permutations(condition.tolist())))
    null = np.array([np.abs(welch(values[np.array(x)], values[~np.array(x)], 0)) for x in labels])[:, mask]
    p = np.array([[(column >= t * (1 - 1e-9)).mean() for t in column] for column in null.T]).T
    here = labels.index(tuple(condition.tolist()))
    for name, sample in (
        ("max", null.max(axis=1)), ("sum_squares", (null**2).sum(axis=1)), ("count", (p < 0.1 - 1e-9).sum(axis=1)),
    ):  # fmt: skip
        assert getattr(result, name) == pytest.approx(sample[here], rel=1e-9)
        expected = (sample >= sample[here] * (1 - 1e-9)).mean()
        assert getattr(result, f"p_{name}") == pytest.approx(expected, rel=1e-12)
    assert result.count > 0
