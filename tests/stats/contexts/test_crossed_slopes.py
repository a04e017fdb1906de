"""Slopes over items and contexts against lme4, lmerTest, scipy and statsmodels, in simulations, and at their limits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.linear_model import OLS

from metastable.errors import InputError
from metastable.stats import crossed_slope_family_test, crossed_slope_test
from metastable.stats.contexts.crossed_test import crossed_slope_parts, from_parts
from metastable.stats.contexts.rotations import rotate_parts
from metastable.stats.correlation import partial_correlation

LME4 = Path(__file__).parent / "lme4"
FITS = json.loads((LME4 / "fits_beside.json").read_text())
HEADS = ["y1", "y2", "y3"]
FORMULAS = {
    "slopes": "value ~ predictor + (1 | item) + (1 + predictor | context)",
    "slopes_beside": "value ~ predictor + z1 + (1 | item) + (1 + predictor | context)",
    "slopes_within": "value ~ predictor + (1 + predictor | item) + (1 + predictor | context)",
}


def fixture(name):
    data = pd.read_csv(LME4 / f"{name}.csv")
    held = data[["z1"]] if "z1" in data else None
    return (data[HEADS].to_numpy(), data["x"].to_numpy(), data["item"], data["context"]), held


def oracle(name, field):
    return np.array([FITS[name][head][field] for head in HEADS])


@pytest.mark.parametrize("name", FORMULAS)
def test_slopes_are_those_of_lme4_and_lmertest(name):
    data, held = fixture(name)
    found, unit = crossed_slope_test(*data, covariates=held), data[1].std(ddof=1)
    assert found.formula == FORMULAS[name]
    assert found.converged.all()
    np.testing.assert_allclose(found.estimate * unit, oracle(name, "estimate"), rtol=1e-4)
    np.testing.assert_allclose(found.se * unit, oracle(name, "se"), rtol=1e-4)
    np.testing.assert_allclose(found.p, oracle(name, "p"), rtol=2e-4)
    np.testing.assert_allclose(found.dof, oracle(name, "dof"), rtol=5e-4)
    np.testing.assert_array_equal(found.singular, oracle(name, "singular"))
    np.testing.assert_allclose(found.criterion - 2 * np.log(unit), oracle(name, "criterion"), rtol=1e-8)
    variances = oracle(name, "variances")
    np.testing.assert_allclose(found.variance_residual, [one["Residual"] for one in variances], rtol=1e-3)
    slopes = [one["context.x"] for one in variances]
    np.testing.assert_allclose(found.variance_context_slope * unit**2, slopes, rtol=2e-3, atol=1e-6)
    intercepts = [one["item.(Intercept)"] for one in variances]
    np.testing.assert_allclose(found.variance_item, intercepts, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["slopes", "slopes_beside"])
def test_f1_is_the_regression_of_the_items_means_and_f2_the_t_of_the_contexts_slopes(name):
    (values, x, item, context), held = fixture(name)
    found = crossed_slope_test(values, x, item, context, covariates=held)
    z = np.zeros((len(x), 0)) if held is None else held.to_numpy()
    means = pd.DataFrame(np.column_stack([values, z, x])).groupby(item).mean().to_numpy()
    own = []
    for code in np.unique(context):
        rows = (context == code).to_numpy()
        own.append(np.linalg.lstsq(np.column_stack([np.ones(rows.sum()), z[rows], x[rows]]), values[rows])[0][-1])
    for feature in range(3):
        columns = np.column_stack([np.ones(len(means)), means[:, 3:]])
        fit = OLS(means[:, feature], columns).fit(cov_type="HC3", use_t=True)
        assert found.f_items[feature] == pytest.approx(fit.tvalues[-1] ** 2)
        assert found.p_items[feature] == pytest.approx(fit.pvalues[-1])
    test = stats.ttest_1samp(own, 0.0)
    np.testing.assert_allclose(found.f_contexts, test.statistic**2)
    np.testing.assert_allclose(found.p_contexts, test.pvalue)


def test_items_at_one_mean_of_the_predictor_are_tested_by_the_slopes_within_them():
    rng = np.random.default_rng(0)
    item, context = (axis.ravel() for axis in np.indices((12, 10)))
    x = np.linspace(-1, 1, 10)[(item + context) % 10]
    values = rng.normal(size=(120, 2)) + x[:, None] * rng.normal(0.3, 0.3, size=(12, 1))[item]
    found = crossed_slope_test(values, x, item, context)
    own = np.array([[np.polyfit(x[item == k], values[item == k, f], 1)[0] for f in range(2)] for k in range(12)])
    np.testing.assert_allclose(found.f_items, stats.ttest_1samp(own, 0).statistic ** 2)


def test_contexts_of_one_value_each_are_regressed_on_it():
    rng = np.random.default_rng(1)
    item, context = (axis.ravel() for axis in np.indices((15, 9)))
    x = rng.normal(size=9)[context]
    values = rng.normal(size=(135, 2)) + rng.normal(size=(9, 2))[context] + 0.5 * x[:, None]
    found = crossed_slope_test(values, x, item, context)
    assert found.formula == "value ~ predictor + (1 + predictor | item) + (1 | context)"
    means = values.reshape(15, 9, 2).mean(axis=0)
    for feature in range(2):
        fit = OLS(means[:, feature], np.column_stack([np.ones(9), x[:9]])).fit(cov_type="HC3", use_t=True)
        assert found.f_contexts[feature] == pytest.approx(fit.tvalues[-1] ** 2)
    assert np.isnan(found.p_interaction).all()


def test_the_interaction_is_the_f_of_predictor_by_context_with_items_fixed():
    (values, x, item, context), _ = fixture("slopes")
    found = crossed_slope_test(values, x, item, context)
    items, contexts = (pd.get_dummies(code).to_numpy(float) for code in (item, context))
    small = np.column_stack([items, contexts])
    large = np.column_stack([small, contexts * x[:, None]])
    left = [((values - m @ np.linalg.lstsq(m, values)[0]) ** 2).sum(axis=0) for m in (small, large)]
    rank = [np.linalg.matrix_rank(m) for m in (small, large)]
    f = (left[0] - left[1]) / (rank[1] - rank[0]) / (left[1] / (len(x) - rank[1]))
    np.testing.assert_allclose(found.f_interaction, f, rtol=1e-6)
    np.testing.assert_allclose(found.p_interaction, stats.f.sf(f, rank[1] - rank[0], len(x) - rank[1]), atol=1e-12)


@pytest.mark.parametrize("name", ["slopes", "slopes_beside"])
def test_d_is_that_of_the_partial_correlation_of_the_items_means(name):
    (values, x, item, context), held = fixture(name)
    complete = name == "slopes"
    found = crossed_slope_test(values, x, item, context, covariates=held)
    means = pd.DataFrame(np.column_stack([values, x] if held is None else [values, x, held])).groupby(item).mean()
    z = None if held is None else means[[4]].to_numpy()
    r = partial_correlation(means[[0, 1, 2]].to_numpy(), means[3].to_numpy(), z)
    d = 2 * r.estimate / np.sqrt(1 - r.estimate**2)
    slope = OLS(means[[0, 1, 2]].to_numpy(), np.column_stack([np.ones(len(means)), means.iloc[:, 3:]])).fit().params[1]
    np.testing.assert_allclose(found.g / found.estimate, d / slope)
    if complete:  # then the slope over both is the one of the means
        np.testing.assert_allclose(found.g, d, rtol=1e-6)
    assert (found.g_low < found.g).all()
    assert (found.g < found.g_high).all()


def rated(rng, n_features, slope, *, n_items=48, n_contexts=6, effect=0.0, covariate=False):
    """Rated items in contexts whose slopes differ; a covariate goes along with the rating."""
    item, context = (axis.ravel() for axis in np.indices((n_items, n_contexts)))
    x = rng.normal(size=n_items)
    z = (0.5 * x + rng.normal(size=n_items))[item]
    values = rng.normal(size=(len(item), n_features)) + 0.3 * rng.normal(size=(n_items, n_features))[item]
    values += 0.5 * rng.normal(size=(n_contexts, n_features))[context]
    values += (effect + slope * rng.normal(size=(n_contexts, n_features)))[context] * x[item][:, None]
    return (values + 0.5 * z[:, None] * covariate, x[item], item, context), z if covariate else None


@pytest.mark.parametrize(("slope", "covariate"), [(0.2, False), (0.2, True)])
def test_the_level_holds_where_slopes_differ_between_six_contexts(slope, covariate):
    rng = np.random.default_rng(2)
    p, over_items, rotated, covered = [], [], [], []
    for _ in range(9):
        data, z = rated(rng, 16, slope, covariate=covariate)
        parts = crossed_slope_parts(*data, covariates=z)
        found, family = from_parts(parts), rotate_parts(parts, n_rotations=199, rng=rng)
        p.append(found.p < 0.05)
        over_items.append(found.p_items < 0.05)
        rotated.append(family.p <= 0.05)
        covered.append((found.low <= 0) & (found.high >= 0))
    error = 3 * np.sqrt(0.05 * 0.95 / 144)
    assert np.mean(p) < 0.05 + error
    assert np.mean(rotated) < 0.05 + error
    assert np.mean(covered) > 0.95 - error
    assert np.mean(over_items) > 0.15


def test_planted_slopes_are_found():
    data, z = rated(np.random.default_rng(3), 12, 0.1, n_contexts=12, covariate=True)
    data[0][:, 5] += 0.6 * data[1]
    found = crossed_slope_family_test(*data, covariates=z, n_rotations=999, rng=0)
    assert np.flatnonzero(found.p_fwer < 0.05).tolist() == [5]
    alone = crossed_slope_test(*data, covariates=z)
    assert alone.low[5] < 0.6 < alone.high[5]


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-4, 1e4), shift=st.floats(-1e3, 1e3))
def test_units_of_the_predictor_change_nothing_else(seed, scale, shift):
    data, _ = rated(np.random.default_rng(seed), 3, 0.2, n_items=16)
    values, x, item, context = data
    found = crossed_slope_test(*data)
    moved = crossed_slope_test(values, -scale * (x + shift), item, context)
    np.testing.assert_allclose(moved.estimate, -found.estimate / scale, rtol=1e-4, atol=1e-6 / scale)
    np.testing.assert_allclose(moved.se, found.se / scale, rtol=1e-4)
    for field in ("p", "p_items", "p_contexts", "p_interaction"):
        np.testing.assert_allclose(getattr(moved, field), getattr(found, field), rtol=2e-3, atol=1e-7, err_msg=field)
    np.testing.assert_allclose(moved.g, -found.g, rtol=1e-4, atol=1e-6)


def test_a_feature_that_does_not_vary_has_no_slope():
    (values, x, item, context), _ = rated(np.random.default_rng(4), 3, 0.2)
    values[:, 1] = 4.0
    found = crossed_slope_test(values, x, item, context)
    assert found.flat.tolist() == [False, True, False]
    assert found.p[1] == 1
    assert found.g[1] == 0


X = np.repeat(np.arange(8.0), 6)
GOOD = (np.random.default_rng(0).normal(size=48), X, np.repeat(np.arange(8), 6), np.tile(np.arange(6), 8))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (1, np.ones(48), "predictor is 1.0 throughout"),
        (1, np.where(np.arange(48) == 7, np.nan, X), "predictor row 7 is nan"),
        (1, X[:5], "predictor has shape"),
        (2, np.arange(48) // 24, r"item has 2 levels \(2 with"),
        (3, np.zeros(48), "context has 1 level"),
        (3, np.repeat(np.arange(8), 6), "permutation_test_contrast"),
    ],
)
def test_bad_input_is_refused_with_the_reason(place, value, message):
    arguments = list(GOOD)
    arguments[place] = value
    if place == 2:
        arguments[1] = np.repeat([0.0, 1.0], 24)
        message = r"item has 2 levels \(0 with several values of the predictor\)"
    with pytest.raises(InputError, match=message):
        crossed_slope_test(*arguments)


def test_a_covariate_that_explains_the_predictor_is_refused():
    with pytest.raises(InputError, match="covariate 'z1' is explained by the predictor"):
        crossed_slope_test(*GOOD, covariates=3 * X + 1)
