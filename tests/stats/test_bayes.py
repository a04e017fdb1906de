from __future__ import annotations

import mpmath
import numpy as np
import pingouin
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from metastable.errors import InputError
from metastable.stats.bayes import (
    PRIORS,
    difference_bayes_factor,
    jzs_bayes_factor,
    log_jzs_bayes_factor,
    slope_bayes_factor,
)


@pytest.mark.parametrize(("n_a", "n_b"), [(5, 9), (20, 20), (150, 150), (2000, 300)])
@pytest.mark.parametrize("scale", [0.5, 0.707, 1.4])
def test_two_groups_match_pingouin(n_a, n_b, scale):
    t = np.array([-7.0, -2.2, -0.3, 0.0, 1.0, 2.0, 3.5, 9.0])
    expected = [pingouin.bayesfactor_ttest(float(x), n_a, n_b, r=scale) for x in t]
    np.testing.assert_allclose(jzs_bayes_factor(t, n_a, n_b, scale=scale), expected, rtol=2e-6)


def test_pairs_match_pingouin():
    t = np.array([0.0, 1.3, -4.0])
    expected = [pingouin.bayesfactor_ttest(float(x), 31, 31, paired=True) for x in t]
    np.testing.assert_allclose(jzs_bayes_factor(t, 31, 31, paired=True), expected, rtol=2e-6)
    np.testing.assert_array_equal(jzs_bayes_factor(t, 31), jzs_bayes_factor(t, 31, 31, paired=True))


def exact_log(t, n, dof, scale):
    """Rouder et al. (2009), eq. 1, on log g with 18 digits."""
    mpmath.mp.dps = 18
    t, n, dof, scale = (mpmath.mpf(x) for x in (t, n, dof, scale))

    def integrand(u):
        g = mpmath.exp(u)
        spread = 1 + n * g * scale**2
        ratio = ((1 + t**2 / dof) / (1 + t**2 / (spread * dof))) ** ((dof + 1) / 2)
        return ratio / mpmath.sqrt(spread) / mpmath.sqrt(2 * mpmath.pi * g) * mpmath.exp(-1 / (2 * g))

    top = int(mpmath.log(1 + t**2)) + 60
    return float(mpmath.log(mpmath.quad(integrand, list(range(-6, top, 4)))))


@pytest.mark.parametrize(
    ("t", "n_a", "n_b"),
    [(0.0, 2, 2), (0.01, 10_000, 10_000), (40.0, 250, 250), (400.0, 5000, 4000), (1e6, 3, 4)],
)
def test_agrees_with_arbitrary_precision(t, n_a, n_b):
    expected = exact_log(t, n_a * n_b / (n_a + n_b), n_a + n_b - 2, 0.707)
    assert log_jzs_bayes_factor([t], n_a, n_b)[0] == pytest.approx(expected, rel=1e-11, abs=1e-11)


def test_beyond_the_largest_float():
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        result = jzs_bayes_factor([500.0, -500.0, np.inf, np.nan, 0.0], 5000, 5000)
        log_result = log_jzs_bayes_factor([500.0, 1e200], 5000, 5000)
    np.testing.assert_array_equal(result[:3], [np.inf, np.inf, np.inf])
    assert np.isnan(result[3])
    assert 0 < result[4] < 0.1
    assert np.isfinite(log_result).all()


@settings(max_examples=50, deadline=None)
@given(st.floats(-50, 50), st.integers(2, 500), st.integers(2, 500))
def test_even_in_t_and_rises_with_its_size(t, n_a, n_b):
    log_bf = log_jzs_bayes_factor([t, -t, 1.01 * t + np.sign(t) * 0.01], n_a, n_b)
    assert log_bf[0] == log_bf[1]
    assert log_bf[2] >= log_bf[0]


def test_an_answer_does_not_depend_on_its_neighbours():
    t = np.linspace(-6, 6, 2500)
    together = log_jzs_bayes_factor(t, 60, 50)
    alone = np.array([log_jzs_bayes_factor([x], 60, 50)[0] for x in t[::250]])
    np.testing.assert_allclose(together[::250], alone, rtol=1e-12, atol=1e-12)


def test_bad_input_is_told():
    with pytest.raises(InputError, match="n_a is 0 and n_b is 5; a t-test needs at least two units"):
        jzs_bayes_factor([1.0], 0, 5)
    with pytest.raises(InputError, match="at least two units"):
        jzs_bayes_factor([1.0], 1)
    with pytest.raises(InputError, match="scale is 0"):
        jzs_bayes_factor([1.0], 5, 5, scale=0)


@pytest.mark.parametrize("n", [10, 40, 300])
def test_a_slope_is_the_correlation_of_pingouin(n):
    r = np.array([0.0, 0.05, -0.3, 0.7])
    t = r * np.sqrt((n - 2) / (1 - r**2))
    expected = [pingouin.bayesfactor_pearson(value, n, method="wetzels") for value in r]
    np.testing.assert_allclose(slope_bayes_factor(t, n, scale=1.0), expected, rtol=1e-6)


def test_a_slope_beside_covariates_is_its_integral():
    n, k, scale, t = 50, 3, 0.4, 2.5
    dof = n - 2 - k
    r2 = t**2 / (t**2 + dof)

    def integrand(g):
        prior = scale * np.sqrt(n / 2) / np.sqrt(np.pi) * g**-1.5 * np.exp(-n * scale**2 / (2 * g))
        return (1 + g) ** (dof / 2) * (1 + (1 - r2) * g) ** (-(dof + 1) / 2) * prior

    expected = integrate.quad(integrand, 0, np.inf)[0]
    np.testing.assert_allclose(slope_bayes_factor([t], n, n_covariates=k, scale=scale), [expected], rtol=1e-6)


def test_of_two_equal_groups_a_slope_is_their_difference():
    t = np.array([0.0, 1.5, -4.0, 60.0])
    np.testing.assert_allclose(slope_bayes_factor(t, 80), jzs_bayes_factor(t, 40, 40), rtol=1e-9)


def drawn(seed=5, n=40):
    rng = np.random.default_rng(seed)
    condition = rng.permutation(np.arange(n) < n // 2)
    values = rng.normal(size=(n, 4)) + np.outer(condition, [0.0, 0.3, 0.8, 2.0])
    return values, condition, rng.normal(size=(n, 2)) + condition[:, None], rng.permutation(n // 2)


def test_a_difference_is_that_of_student_and_of_pairs():
    values, condition, _, order = drawn()
    a, b = values[condition], values[~condition]
    expected = jzs_bayes_factor(stats.ttest_ind(a, b).statistic, len(a), len(b))
    np.testing.assert_allclose(difference_bayes_factor(values, condition), expected, rtol=1e-9)
    pair = np.empty(len(condition), dtype=int)
    pair[condition], pair[~condition] = np.arange(len(a)), order
    expected = jzs_bayes_factor(stats.ttest_rel(a[order], b).statistic, len(a), paired=True)
    np.testing.assert_allclose(difference_bayes_factor(values, condition, pair=pair), expected, rtol=1e-9)


@pytest.mark.parametrize("paired", [False, True])
def test_a_difference_beside_covariates_averages_the_noncentral_t_over_the_prior(paired):
    values, condition, covariates, order = drawn()
    pair = None
    if paired:
        pair = np.empty(len(condition), dtype=int)
        pair[condition], pair[~condition] = np.arange(20), order
        x, y, z = (table[condition][order] - table[~condition] for table in (values, values, covariates))
        design, y = np.column_stack([np.ones(20), z]), x
    else:
        design, y = np.column_stack([condition, np.ones(40), covariates]), values
    found = difference_bayes_factor(values, condition, pair=pair, covariates=covariates)
    for k in range(4):
        fit = sm.OLS(y[:, k], design.astype(float)).fit()
        size = 1 / np.sqrt(fit.normalized_cov_params[0, 0])
        expected = integrate.quad(
            lambda delta, fit=fit, size=size: (
                stats.nct.pdf(fit.tvalues[0], fit.df_resid, delta * size) * stats.cauchy.pdf(delta, scale=0.707)
            ),
            -8, 8, points=[0], limit=200,
        )[0] / stats.t.pdf(fit.tvalues[0], fit.df_resid)  # fmt: skip
        assert found[k] == pytest.approx(expected, rel=1e-3)


def test_a_difference_without_variance_is_certain_and_none_is_not():
    condition, pair = np.arange(12) < 6, np.tile(np.arange(6), 2)
    step = np.where(condition, 2.0, 1.0)[:, None]
    assert difference_bayes_factor(step, condition)[0] == np.inf
    np.testing.assert_allclose(difference_bayes_factor(np.full((12, 1), 0.1), condition), jzs_bayes_factor([0.0], 6, 6))
    base = np.tile(np.random.default_rng(1).normal(size=6), 2)[:, None]
    assert difference_bayes_factor(base + 0.1 * step, condition, pair=pair)[0] > 1e30
    np.testing.assert_allclose(
        difference_bayes_factor(base, condition, pair=pair), jzs_bayes_factor([0.0], 6, paired=True)
    )


def test_a_covariate_that_is_the_condition_is_refused():
    values, condition, _, _ = drawn()
    with pytest.raises(InputError, match="explain the condition"):
        difference_bayes_factor(values, condition, covariates=2.0 * condition[:, None] + 3)


def test_units_of_covariates_do_not_matter_to_a_difference():
    values, condition, covariates, _ = drawn()
    plain = difference_bayes_factor(values, condition, covariates=covariates)
    moved = covariates * np.geomspace(1e-9, 1e9, covariates.shape[1]) + 3
    np.testing.assert_allclose(difference_bayes_factor(values, condition, covariates=moved), plain, rtol=1e-6)


def test_a_perfect_slope_has_all_evidence_and_too_few_units_are_refused():
    assert slope_bayes_factor([np.inf], 20)[0] == np.inf
    with pytest.raises(InputError, match="5 units cannot carry a slope beside 3 covariates"):
        slope_bayes_factor([1.0], 5, n_covariates=3)


def test_published_values_of_bayesfactor():
    """Manual of Morey & Rouder's BayesFactor (R): paired t-test of `sleep`, and two groups of `chickwts`."""
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    values, half = np.array([*first, *second])[:, None], np.arange(20) < 10
    sleep = difference_bayes_factor(values, half, pair=np.tile(np.arange(10), 2), scale=np.sqrt(2) / 2)
    assert sleep[0] == pytest.approx(17.25888, rel=1e-6)
    horsebean = [179, 160, 136, 227, 217, 168, 108, 124, 143, 140]
    linseed = [309, 229, 181, 141, 260, 203, 148, 169, 213, 257, 244, 271]
    chicks = np.array([*horsebean, *linseed], dtype=float)[:, None]
    found = difference_bayes_factor(chicks, np.arange(22) < 10, scale=np.sqrt(2) / 2)
    assert found[0] == pytest.approx(5.98, abs=0.01)


def test_the_logarithm_of_two_thousand_units():
    # Issue 12, case 12: the factor itself is beyond the largest float.
    log_bf = log_jzs_bayes_factor([48.5], 1000, 1000)[0]
    assert log_bf == pytest.approx(exact_log(48.5, 500.0, 1998.0, 0.707), rel=1e-11)
    assert log_bf == pytest.approx(772.37, abs=0.005)
    assert log_bf / np.log(10) == pytest.approx(335.4, abs=0.05)


@pytest.mark.parametrize("scale", PRIORS)
def test_logarithms_are_those_of_pingouin_where_it_has_a_number(scale):
    t = np.array([-12.0, -2.2, 0.0, 3.5, 25.0])
    expected = [np.log(pingouin.bayesfactor_ttest(float(x), 60, 80, r=scale)) for x in t]
    np.testing.assert_allclose(log_jzs_bayes_factor(t, 60, 80, scale=scale), expected, rtol=1e-6, atol=1e-6)
