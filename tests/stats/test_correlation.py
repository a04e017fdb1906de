"""Partial correlations and their effects, against pingouin, scipy and simulation."""

import numpy as np
import pandas as pd
import pingouin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metastable.errors import InputError
from metastable.stats.correlation import (
    correlation_effect,
    correlation_equivalence,
    detectable_effect,
    partial_correlation,
    slope_design,
)
from metastable.stats.effects import hedges_correction, hedges_g


def sample(n=60, n_features=4, n_covariates=2, slope=0.5, seed=0):
    rng = np.random.default_rng(seed)
    covariates = rng.normal(size=(n, n_covariates))
    predictor = rng.uniform(size=n) + 0.3 * covariates.sum(axis=1)
    values = rng.normal(size=(n, n_features)) + slope * predictor[:, None] + covariates[:, :1]
    return values, predictor, covariates


def test_without_covariates_it_is_pearson():
    values, predictor, _ = sample()
    found = partial_correlation(values, predictor)
    for column, r, t in zip(values.T, found.estimate, found.t, strict=True):
        expected = stats.pearsonr(predictor, column)
        assert r == pytest.approx(expected.statistic, rel=1e-12)
        assert 2 * stats.t.sf(abs(t), found.dof) == pytest.approx(expected.pvalue, rel=1e-9)


def test_with_covariates_it_is_that_of_pingouin():
    values, predictor, covariates = sample()
    found = partial_correlation(values, predictor, covariates)
    table = pd.DataFrame(covariates, columns=["c0", "c1"]).assign(x=predictor)
    for i, column in enumerate(values.T):
        oracle = pingouin.partial_corr(table.assign(y=column), x="x", y="y", covar=["c0", "c1"])
        assert found.estimate[i] == pytest.approx(float(oracle["r"].iloc[0]), rel=1e-10)
        p = 2 * stats.t.sf(abs(found.t[i]), found.dof)
        assert p == pytest.approx(float(oracle.filter(regex="^p").iloc[0, 0]), rel=1e-8)


def test_the_interval_is_that_of_scipy_for_a_plain_correlation():
    values, predictor, _ = sample(slope=1.5)
    effect = correlation_effect(partial_correlation(values, predictor), confidence=0.9)
    for i, column in enumerate(values.T):
        interval = stats.pearsonr(predictor, column).confidence_interval(0.9)
        low, high = (2 * r / np.sqrt(1 - r**2) for r in interval)
        assert (effect.low[i], effect.high[i]) == pytest.approx((low, high), rel=1e-9)


def test_the_interval_covers_a_partial_correlation_as_often_as_it_says():
    rng = np.random.default_rng(5)
    n, n_features, covered = 40, 1000, []
    d = 0.8
    for _ in range(6):
        covariate, own = rng.normal(size=(2, n))
        # the predictor beside its covariate has variance 1, as have the errors: d = 2 beta
        values = d / 2 * (own + covariate)[:, None] - covariate[:, None] + rng.normal(size=(n, n_features))
        effect = correlation_effect(partial_correlation(values, own + covariate, covariate[:, None]))
        covered.append(np.mean((effect.low < d * own.std()) & (effect.high > d * own.std())))
    # a fixed predictor makes Fisher's interval slightly conservative
    assert 0.94 < np.mean(covered) < 0.985


def test_of_two_equal_groups_it_is_cohens_d():
    rng = np.random.default_rng(3)
    condition = np.arange(50) % 2 == 0
    values = rng.normal(size=(50, 5)) + condition[:, None]
    effect = correlation_effect(partial_correlation(values, condition.astype(float)))
    cohen = hedges_g(values, condition).estimate / hedges_correction(48.0)
    np.testing.assert_allclose(effect.estimate, cohen * np.sqrt(50 / 48), rtol=1e-10)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.05, 1.0), st.integers(0, 1000))
def test_equivalence_is_the_interval_inside_the_margin(margin, seed):
    values, predictor, covariates = sample(n=120, slope=0.1, seed=seed)
    found = partial_correlation(values, predictor, covariates)
    p = correlation_equivalence(found, margin=margin)
    interval = correlation_effect(found, confidence=0.9)
    np.testing.assert_array_equal(p < 0.05, (interval.low > -margin) & (interval.high < margin))


def test_an_effect_at_the_margin_is_called_equivalent_at_the_nominal_rate():
    rng = np.random.default_rng(11)
    predictor = rng.normal(size=400)
    predictor = (predictor - predictor.mean()) / predictor.std()
    values = 0.15 * predictor[:, None] + rng.normal(size=(400, 4000))
    p = correlation_equivalence(partial_correlation(values, predictor), margin=0.3)
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.012)
    inside = correlation_equivalence(partial_correlation(values, predictor), margin=0.6)
    assert np.mean(inside < 0.05) > 0.8


def test_the_detectable_effect_is_found_with_the_power_it_says():
    rng = np.random.default_rng(2)
    n, m = 500, 72
    d = detectable_effect(n, 0, m, alpha=0.05, power=0.8)
    predictor = rng.normal(size=n)
    predictor = (predictor - predictor.mean()) / predictor.std()
    found = partial_correlation(d / 2 * predictor[:, None] + rng.normal(size=(n, 3000)), predictor)
    p = 2 * stats.t.sf(np.abs(found.t), found.dof)
    assert np.mean(p < 0.05 / m) == pytest.approx(0.8, abs=0.03)


def test_flat_and_perfect_features():
    predictor = np.linspace(0, 1, 20)
    values = np.column_stack([np.full(20, 0.1), 3 - 2 * predictor, 7e8 + 1e-9 * predictor])
    found = partial_correlation(values, predictor)
    np.testing.assert_array_equal(found.flat, [True, False, True])
    np.testing.assert_array_equal(found.estimate, [0.0, -1.0, 0.0])
    effect = correlation_effect(found)
    np.testing.assert_array_equal(effect.estimate, [0.0, -np.inf, 0.0])
    assert np.isnan([effect.low, effect.high]).all()
    np.testing.assert_array_equal(correlation_equivalence(found, margin=0.5), [1.0, 1.0, 1.0])
    assert found.t[1] == -np.inf


def test_a_feature_that_the_covariates_explain_has_no_correlation():
    _, predictor, covariates = sample()
    found = partial_correlation(1 + covariates @ np.array([[2.0], [-1.0]]), predictor, covariates)
    assert found.estimate[0] == 0
    assert not found.flat[0]


def test_a_covariate_that_never_varies_is_left_out():
    values, predictor, covariates = sample()
    more = np.column_stack([covariates, np.full(len(covariates), 19.0)])
    without, with_it = partial_correlation(values, predictor, covariates), partial_correlation(values, predictor, more)
    np.testing.assert_array_equal(without.estimate, with_it.estimate)
    assert with_it.n_covariates == 2


@pytest.mark.parametrize(
    ("predictor", "covariates", "complaint"),
    [
        (np.full(10, 0.3), None, "the same value in every unit"),
        (np.arange(10.0), 5 - 2 * np.arange(10.0)[:, None], "the covariates explain the predictor"),
        (np.arange(10.0), np.eye(10)[:, :8], "cannot carry a slope beside 8 covariates"),
        (np.arange(10.0), np.ones((9, 1)), "9 rows for 10 units"),
        (np.array([0.0, np.nan, 1.0]), None, "one finite number"),
    ],
)
def test_designs_without_a_slope_are_refused(predictor, covariates, complaint):
    with pytest.raises(InputError, match=complaint):
        slope_design(predictor, covariates)


@pytest.mark.parametrize("margin", [0.0, -0.2, np.inf, np.nan])
def test_a_margin_without_size_is_refused(margin):
    values, predictor, _ = sample()
    with pytest.raises(InputError, match="give a positive effect"):
        correlation_equivalence(partial_correlation(values, predictor), margin=margin)


def test_a_value_that_the_predictor_determines_correlates_perfectly_whatever_its_size():
    rng = np.random.default_rng(3)
    predictor, held = rng.normal(size=50), rng.normal(size=(50, 2))
    line = 3 * predictor + held @ [2.0, -1.0]
    values = np.column_stack([line, line - line.mean(), -1e6 * line, line + 1e-4 * rng.normal(size=50)])
    found = correlation_effect(partial_correlation(values, predictor, held)).estimate
    assert found[0] == found[1] == np.inf
    assert found[2] == -np.inf
    assert np.isfinite(found[3])
