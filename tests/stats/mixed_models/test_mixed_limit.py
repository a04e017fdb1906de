"""Features without residual variance: the limit that their row holds is the one that fits approach."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from metastable.stats.mixed_models.mixed import fit_mixed_models


def still(rng, n_groups=24):
    group = np.repeat(np.arange(n_groups), rng.integers(2, 7, n_groups))
    design = np.column_stack([np.ones(group.size), (np.arange(n_groups) % 2)[group], rng.normal(size=group.size)])
    means = rng.normal(size=(n_groups, 2)) + 1.5 * rng.normal(size=(6, 2))[np.arange(n_groups) // 4]
    values = means[group]
    values[:, 1] += 0.7 * design[:, 2]
    return values, design, group, means


STRUCTURES = {
    "intercept": lambda group, rng: {},
    "nested": lambda group, rng: {"cluster": group // 4},
    "nested slope": lambda group, rng: {"cluster": group // 4, "slope": 1},
    "crossed": lambda group, rng: {"cluster": rng.integers(0, 4, group.size)},
    "inner cluster": lambda group, rng: {"cluster": 2 * group + rng.integers(0, 2, group.size)},
}


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("name", list(STRUCTURES))
def test_row_holds_the_limit_of_vanishing_residuals(name, method):
    rng = np.random.default_rng(1)
    values, design, group, _ = still(rng)
    options = STRUCTURES[name](group, rng)
    limit = fit_mixed_models(values, design, group, method=method, **options)
    assert limit.singular.all()
    assert limit.converged.all()
    assert not limit.flat.any()
    assert (limit.variance_residual == 0).all()
    noise = rng.normal(size=values.shape)
    near = fit_mixed_models(values + 1e-3 * noise, design, group, method=method, **options)
    np.testing.assert_allclose(limit.estimate, near.estimate, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(limit.se, near.se, rtol=1e-2)
    np.testing.assert_allclose(limit.dof, near.dof, rtol=5e-2)
    np.testing.assert_allclose(limit.variance_group, near.variance_group, rtol=1e-2)
    np.testing.assert_allclose(limit.coefficients[:, 2], [0.0, 0.7], atol=1e-9)


def test_slope_within_groups_vanishes_with_the_residuals():
    values, design, group, _ = still(np.random.default_rng(5))
    models = fit_mixed_models(values, design, group, slope=2)
    without = fit_mixed_models(values, design, group)
    assert (models.variance_slope == 0).all()
    for field in ("estimate", "se", "dof", "p_value", "variance_group"):
        np.testing.assert_array_equal(getattr(models, field), getattr(without, field))


def test_limit_is_the_t_test_of_group_means():
    values, design, group, means = still(np.random.default_rng(2))
    models = fit_mixed_models(values, design, group)
    a = np.arange(24) % 2 == 1
    expected = scipy.stats.ttest_ind(means[a], means[~a])
    np.testing.assert_allclose(models.statistic, expected.statistic, rtol=1e-8)
    np.testing.assert_allclose(models.p_value, expected.pvalue, rtol=1e-8)


def test_features_without_a_limit_are_flagged_not_tested():
    rng = np.random.default_rng(3)
    _, design, group, _ = still(rng)
    cluster = rng.integers(0, 5, group.size)
    values = rng.normal(size=(24, 1))[group] + rng.normal(size=(5, 1))[cluster]
    values = np.column_stack([values, values + rng.normal(size=values.shape)])
    models = fit_mixed_models(values, design, group, cluster=cluster)
    assert models.converged.tolist() == [False, True]
    assert models.singular[0]
    assert not models.flat.any()
    assert models.p_value[0] == 1.0
    assert np.isinf(models.se[0])
    assert np.isnan(models.criterion[0])
    assert models.p_value[1] < 1.0


def test_means_that_clusters_explain_have_no_limit():
    rng = np.random.default_rng(4)
    _, design, group, _ = still(rng)
    values = rng.normal(size=(6, 1))[group // 4]
    models = fit_mixed_models(values, design, group, cluster=group // 4)
    assert not models.converged[0]
    assert models.p_value[0] == 1.0


def test_clusters_that_cross_groups_in_parts_of_their_own_have_no_limit():
    """Effects of clusters may then differ between the parts, and vary within the groups of none."""
    rng = np.random.default_rng(6)
    values, design, group, _ = still(rng)
    whole = rng.integers(0, 4, group.size)
    assert fit_mixed_models(values, design, group, cluster=whole).converged.all()
    parts = fit_mixed_models(values, design, group, cluster=whole // 2 + 2 * (group >= 12))
    assert not parts.converged.any()
    assert (parts.p_value == 1.0).all()
