"""Degrees of freedom: known cases, and what lmerTest does with Hessians that are not definite."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from metastable.stats.mixed_models.random_intercept import fit_random_intercept, group_sums
from metastable.stats.mixed_models.satterthwaite import (
    _pooled_denominator,
    contrast_dof,
    f_test,
    t_statistic,
    two_sided_p,
    variance_parameter_covariance,
)


def balanced(n_groups=12, n_rows=5, n_conditions=3):
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(n_groups), n_rows)
    x = (codes[:, None] % n_conditions == np.arange(n_conditions)).astype(float)
    y = rng.normal(size=(n_groups, 1))[codes] + rng.normal(size=(codes.size, 1))
    return x, y, codes, fit_random_intercept(group_sums(x, y, codes))


def test_balanced_contrasts_have_the_degrees_of_freedom_of_group_means():
    _, _, _, fit = balanced()
    _, dof = contrast_dof(fit, np.array([[1.0, -1.0, 0.0], [1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(dof, 9.0, rtol=1e-8)


def test_f_of_several_conditions_is_the_analysis_of_variance_of_group_means():
    _, y, _, fit = balanced()
    means = y[:, 0].reshape(12, 5).mean(axis=1)
    expected = scipy.stats.f_oneway(*(means[c::3] for c in range(3)))
    # The third contrast is the difference of the others and counts for nothing.
    contrasts = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [1.0, 0.0, -1.0]])
    test = f_test(fit, contrasts)
    assert test.dof_numerator == 2
    assert test.dof_denominator == pytest.approx(9.0, rel=1e-6)
    assert test.statistic == pytest.approx(expected.statistic, rel=1e-8)
    assert test.p_value == pytest.approx(expected.pvalue, rel=1e-6)


def test_contrasts_that_others_determine_count_once_however_they_are_rounded():
    _, _, _, fit = balanced()
    contrasts = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])
    expected = f_test(fit, contrasts)
    for seed in range(12):
        test = f_test(fit, np.random.default_rng(seed).normal(size=(4, 2)) @ contrasts)
        assert test.dof_numerator == 2
        assert test.statistic == pytest.approx(expected.statistic)
        assert test.p_value == pytest.approx(expected.p_value)


@pytest.mark.parametrize(
    ("dof", "expected"),
    # of several, q in number, the mean of an F of q and m is that of their F's: m / (m - 2) = sum(dof / (dof - 2)) / q
    [([7.5], 7.5), ([5, 5], 5), ([4, 6], 14 / 3), ([3, 3, 30], 66 / 19), ([2, 6], 2), ([1.5, 8], 2), ([1.9, 2.5], 2)],
)
def test_the_denominator_of_several_contrasts_is_that_of_lmertest(dof, expected):
    assert _pooled_denominator(np.array(dof, dtype=float)) == pytest.approx(expected)


def test_f_of_one_contrast_is_its_squared_t():
    _, _, _, fit = balanced()
    contrast = np.array([[1.0, -1.0, 0.0]])
    variance, dof = contrast_dof(fit, contrast)
    t = t_statistic(contrast @ fit.beta[0], np.sqrt(variance[0]))
    test = f_test(fit, contrast)
    assert test.statistic == pytest.approx(float(t[0]) ** 2)
    assert test.p_value == pytest.approx(float(two_sided_p(t, dof[0])[0]))


def test_directions_of_no_curvature_are_left_out():
    hessian = np.diag([4.0, 1e-12, -3.0])
    np.testing.assert_allclose(variance_parameter_covariance(hessian), np.diag([0.5, 0.0, 0.0]))
    full = np.array([[2.0, 0.5], [0.5, 1.0]])
    np.testing.assert_allclose(variance_parameter_covariance(full), 2 * np.linalg.inv(full))


def test_degenerate_statistics_are_never_nan():
    t = t_statistic(np.array([0.0, 1.0, -1.0, 1.0]), np.array([0.0, 0.0, 0.0, np.inf]))
    assert t.tolist() == [0.0, np.inf, -np.inf, 0.0]
    assert two_sided_p(t, np.full(4, 10.0)).tolist() == [1.0, 0.0, 0.0, 1.0]


def test_p_is_that_of_students_t():
    t, dof = np.array([-2.0, 0.3, 40.0]), np.array([3.5, 100.0, 20.0])
    np.testing.assert_allclose(two_sided_p(t, dof), 2 * scipy.stats.t.sf(np.abs(t), dof), rtol=1e-10)
