"""Tests over items and contexts beside covariates against lme4, lmerTest, statsmodels, and in simulations."""

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
from metastable.stats import adjustment_table, crossed_equivalence, crossed_family_test, crossed_test
from metastable.stats.contexts.crossed_test import crossed_parts, from_parts
from metastable.stats.contexts.rotations import rotate_parts

LME4 = Path(__file__).parent / "lme4"
FITS = json.loads((LME4 / "fits_beside.json").read_text())
HEADS = ["y1", "y2", "y3"]
FORMULAS = {
    "pairs_beside": "difference ~ 1 + z1 + z2 + (1 | item) + (1 | context)",
    "pairs_beside_rows": "difference ~ 1 + z1 + z2 + (1 | item) + (1 | context)",
    "items_beside": "value ~ condition + z1 + z2 + (1 | item) + (1 + condition | context)",
    "missing_beside": "value ~ condition + z1 + z2 + (1 + condition | item) + (1 + condition | context)",
    "nested_beside": "value ~ condition + z1 + z2 + (1 | item) + (1 | context)",
}


def fixture(name):
    data = pd.read_csv(LME4 / f"{name}.csv")
    return data[HEADS].to_numpy(), data["condition"] == 1, data["item"], data["context"], data[["z1", "z2"]]


def oracle(name, field):
    return np.array([FITS[name][head][field] for head in HEADS])


@pytest.mark.parametrize("name", FORMULAS)
def test_beside_covariates_the_fits_are_those_of_lme4_and_lmertest(name):
    *data, covariates = fixture(name)
    found = crossed_test(*data, covariates=covariates)
    assert found.formula == FORMULAS[name]
    assert found.converged.all()
    for field in ("estimate", "se", "p"):
        np.testing.assert_allclose(getattr(found, field), oracle(name, field), rtol=1e-4, atol=1e-9, err_msg=field)
    np.testing.assert_allclose(found.dof, oracle(name, "dof"), rtol=5e-4)
    np.testing.assert_array_equal(found.singular, oracle(name, "singular"))
    np.testing.assert_allclose(found.criterion, oracle(name, "criterion"), rtol=1e-8)
    residual = np.array([variances["Residual"] for variances in oracle(name, "variances")])
    np.testing.assert_allclose(found.variance_residual, residual, rtol=1e-3)


def hc3(y, columns):
    fit = OLS(y, columns).fit(cov_type="HC3", use_t=True)
    return fit.tvalues[-1] ** 2, fit.pvalues[-1]


def differences(values, condition, codes, covariates):
    table = pd.DataFrame(np.column_stack([values, covariates])).groupby([np.asarray(condition), np.asarray(codes)])
    means = table.mean()
    gap = (means.loc[True] - means.loc[False]).to_numpy()
    return gap[:, :3], gap[:, 3:]


@pytest.mark.parametrize("name", ["pairs_beside", "pairs_beside_rows", "missing_beside"])
def test_f1_of_pairs_holds_the_differences_of_their_covariates_fixed(name):
    values, condition, item, context, covariates = fixture(name)
    found = crossed_test(values, condition, item, context, covariates=covariates)
    gap, held = differences(values, condition, item, covariates)
    for feature in range(3):
        f, p = hc3(gap[:, feature], np.column_stack([held, np.ones(len(gap))]))
        np.testing.assert_allclose([found.f_items[feature], found.p_items[feature]], [f, p], rtol=1e-8)
    assert (found.dof_items == len(gap) - 3).all()


def test_f1_is_that_of_the_tests_without_contexts():
    values, condition, item, context, covariates = fixture("pairs_beside")
    means = pd.DataFrame(np.column_stack([values, covariates])).groupby([item, condition]).mean()
    side = means.index.get_level_values(1).to_numpy()
    pair = means.index.get_level_values(0).to_numpy()
    z = pd.DataFrame({"z1": means[3].to_numpy(), "z2": means[4].to_numpy()})
    table = adjustment_table(means[[0, 1, 2]].to_numpy(), side, z, pair=pair)
    found = crossed_test(values, condition, item, context, covariates=covariates)
    np.testing.assert_allclose(found.p_items, table["p_adjusted"], rtol=1e-8)
    # of complete pairs with covariates of their words the estimate is the one of the pairs' means
    np.testing.assert_allclose(found.estimate, table["difference_adjusted"], rtol=1e-6)


@pytest.mark.parametrize("name", ["pairs_beside", "pairs_beside_rows", "items_beside", "missing_beside"])
def test_f2_is_the_t_of_a_regression_in_each_context(name):
    values, condition, item, context, covariates = fixture(name)
    found = crossed_test(values, condition, item, context, covariates=covariates)
    slopes = []
    for code in np.unique(context):
        rows = context == code
        y, side, z = values[rows], condition[rows].to_numpy(float), covariates[rows].to_numpy()
        if name.startswith("pairs"):
            order = np.lexsort([side, item[rows]])
            y, z = (part[order][1::2] - part[order][::2] for part in (y, z))
            x = np.column_stack([z, np.ones(len(y))])
        else:
            x = np.column_stack([np.ones(len(y)), z, side])
        slopes.append(np.linalg.lstsq(x, y, rcond=None)[0][-1])
    test = stats.ttest_1samp(slopes, 0.0)
    np.testing.assert_allclose(found.f_contexts, test.statistic**2)
    np.testing.assert_allclose(found.p_contexts, test.pvalue)
    np.testing.assert_allclose(found.min_f, 1 / (1 / found.f_items + 1 / found.f_contexts))


def test_levels_of_one_condition_each_are_regressed_on_their_means():
    values, condition, item, context, covariates = fixture("nested_beside")
    found = crossed_test(values, condition, item, context, covariates=covariates)
    for name, codes in (("items", item), ("contexts", context)):
        means = pd.DataFrame(np.column_stack([values, covariates, condition])).groupby(codes).mean().to_numpy()
        for feature in range(3):
            columns = np.column_stack([np.ones(len(means)), means[:, 3:5], means[:, 5]])
            f, p = hc3(means[:, feature], columns)
            assert getattr(found, f"f_{name}")[feature] == pytest.approx(f)
            assert getattr(found, f"p_{name}")[feature] == pytest.approx(p)


def test_the_interaction_holds_covariates_fixed():
    values, condition, item, context, covariates = fixture("missing_beside")
    found = crossed_test(values, condition, item, context, covariates=covariates)
    c = condition.to_numpy(float)[:, None]
    items, contexts = (pd.get_dummies(code).to_numpy(float) for code in (item, context))
    small = np.column_stack([items, items * c, contexts, covariates])
    large = np.column_stack([small, contexts * c])
    left = [values - x @ np.linalg.lstsq(x, values, rcond=None)[0] for x in (small, large)]
    rank = [np.linalg.matrix_rank(x) for x in (small, large)]
    rss = [(r**2).sum(axis=0) for r in left]
    f = (rss[0] - rss[1]) / (rank[1] - rank[0]) / (rss[1] / (len(values) - rank[1]))
    np.testing.assert_allclose(found.f_interaction, f, rtol=1e-6)


def test_what_differs_between_contexts_alone_is_held_fixed_over_them():
    rng = np.random.default_rng(2)
    item, context, side = (axis.ravel() for axis in np.indices((12, 9, 2)))
    longer = rng.normal(size=(9, 2))[context, side] + side
    values = rng.normal(size=(216, 3)) + longer[:, None]
    found = crossed_test(values, side == 1, item, context, covariates=longer)
    gap, held = differences(values, side == 1, context, longer)
    for feature in range(3):
        f, _ = hc3(gap[:, feature], np.column_stack([held, np.ones(9)]))
        assert found.f_contexts[feature] == pytest.approx(f)
    # within each item a regression on what differs between its contexts
    cells = values[side == 1] - values[side == 0]
    gaps = longer[side == 1] - longer[side == 0]
    own = [np.linalg.lstsq(np.column_stack([gaps[k : k + 9], np.ones(9)]), cells[k : k + 9], rcond=None)[0][-1]
           for k in range(0, 108, 9)]  # fmt: skip
    np.testing.assert_allclose(found.f_items, stats.ttest_1samp(own, 0.0).statistic ** 2)


def beside(rng, design, n_features, slope, *, n_contexts=6, items=0.3, effect=0.0):
    """24 + 24 items, or 24 pairs, whose covariate lies one standard deviation higher in a and moves every feature."""
    item, context, side = (axis.ravel() for axis in np.indices((24, n_contexts, 2)))
    z = (rng.normal(size=(24, 2)) + np.array([0.0, 1.0]))[item, side]
    if design == "rows":
        z = z + rng.normal(size=len(item))
    values = rng.normal(size=(len(item), n_features)) + 0.5 * z[:, None] + effect * side[:, None]
    values += (slope * rng.normal(size=(n_contexts, n_features)))[context] * side[:, None]
    values += (items * rng.normal(size=(24, 2, n_features)))[item, side]
    values += 0.5 * rng.normal(size=(n_contexts, n_features))[context]
    return values, side == 1, item * 2 + side if design == "groups" else item, context, z


# groups are fitted by REML, which takes longer
@pytest.mark.parametrize(("design", "n"), [("pairs", 25), ("rows", 25), ("groups", 10)])
def test_the_level_holds_beside_a_covariate_that_goes_along_and_without_it_does_not(design, n):
    rng = np.random.default_rng(3)
    p, raw, rotated, covered, single = [], [], [], [], []
    for _ in range(n):
        *data, z = beside(rng, design, 16, 0.2)
        parts = crossed_parts(*data, covariates=z)
        found, family = from_parts(parts), rotate_parts(parts, n_rotations=199, rng=rng)
        p.append(found.p < 0.05)
        covered.append((found.low <= 0) & (found.high >= 0))
        rotated.append(family.p <= 0.05)
        single.append((family.p_fwer <= 0.05).any())
        raw.append(crossed_test(*data).p < 0.05)
    # features share a covariate, so that data sets count
    error = 3 * np.sqrt(0.05 * 0.95 / (8 * n))
    assert np.mean(p) < 0.05 + error
    assert np.mean(rotated) < 0.05 + error
    assert np.mean(covered) > 0.95 - error
    assert np.mean(single) <= 0.2
    assert np.mean(raw) > 0.35


def test_planted_effects_are_found_beside_covariates():
    rng = np.random.default_rng(4)
    *data, z = beside(rng, "pairs", 10, 0.1, n_contexts=12)
    values = data[0]
    values[:, 7] += 1.5 * data[1]
    found = crossed_family_test(*data, covariates=z, n_rotations=999, rng=0)
    assert np.flatnonzero(found.p_fwer < 0.05).tolist() == [7]
    alone = crossed_test(*data, covariates=z)
    assert alone.low[7] < 1.5 < alone.high[7]


def test_where_contexts_alone_make_the_error_p_is_that_of_their_own_regressions():
    rng = np.random.default_rng(5)
    item, context, side = (axis.ravel() for axis in np.indices((50, 7, 2)))
    z = rng.normal(size=(50, 2))[item, side] + side
    values = rng.normal(size=(700, 4)) + 5 * rng.normal(size=(7, 4))[context] * side[:, None] + z[:, None]
    found = crossed_family_test(values, side == 1, item, context, covariates=z, n_rotations=20_000, rng=0)
    p = crossed_test(values, side == 1, item, context, covariates=z).p_contexts
    np.testing.assert_allclose(found.p, p, atol=0.012)


@pytest.mark.parametrize("name", ["pairs_beside", "items_beside", "missing_beside"])
def test_strata_have_no_part_in_what_is_held_fixed(name):
    *data, covariates = fixture(name)
    parts = crossed_parts(*data, covariates=covariates)
    for one in (parts.items, parts.contexts):
        np.testing.assert_allclose(one.held.T @ one.rows, 0, atol=1e-9)
        np.testing.assert_allclose(one.held.T @ one.direction, 0, atol=1e-9)
        assert np.linalg.norm(one.direction) == pytest.approx(1)
        assert one.error_dof == len(one.rows) - 1 - one.held.shape[1]
    assert parts.items.held.shape[1] == (2 if name != "items_beside" else 3)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-4, 1e4), shift=st.floats(-1e3, 1e3))
def test_units_of_a_covariate_and_its_place_change_nothing(seed, scale, shift):
    rng = np.random.default_rng(seed)
    *data, z = beside(rng, "rows", 3, 0.3)
    other = rng.normal(size=len(z))
    found = crossed_test(*data, covariates=np.column_stack([z, other]))
    moved = crossed_test(*data, covariates=np.column_stack([shift + scale * other, scale * z - other]))
    for field in ("estimate", "se", "p", "f_items", "f_contexts", "f_interaction"):
        np.testing.assert_allclose(getattr(moved, field), getattr(found, field), rtol=1e-4, atol=1e-7, err_msg=field)


def test_a_covariate_that_says_nothing_more_is_left_out_and_named():
    *data, covariates = fixture("items_beside")
    more = covariates.assign(sum=covariates["z1"] + 2 * covariates["z2"], same=3.5)
    found, fewer = crossed_test(*data, covariates=more), crossed_test(*data, covariates=covariates)
    assert found.determined == ("sum",)
    assert found.formula == fewer.formula
    np.testing.assert_array_equal(found.p, fewer.p)


def test_partners_that_do_not_differ_in_a_covariate_leave_nothing_to_hold_fixed():
    values, condition, item, context, covariates = fixture("pairs_beside")
    length = np.random.default_rng(0).normal(size=8)[context - 1]
    found = crossed_test(values, condition, item, context, covariates=covariates.assign(length=length))
    assert found.formula == FORMULAS["pairs_beside"]
    np.testing.assert_array_equal(found.p, crossed_test(values, condition, item, context, covariates=covariates).p)


def test_equivalence_and_g_are_of_the_adjusted_difference_in_raw_deviations():
    *data, covariates = fixture("pairs_beside")
    found, raw = crossed_test(*data, covariates=covariates), crossed_test(*data)
    np.testing.assert_allclose(found.standardizer, raw.standardizer)
    np.testing.assert_allclose(found.g / found.estimate, raw.g / raw.estimate)
    upper = stats.t.cdf((np.abs(found.estimate) - 0.8 * found.standardizer) / found.se, found.dof)
    np.testing.assert_allclose(crossed_equivalence(found, margin=0.8), upper)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda z, side: z.assign(z1=side * 2.0), "covariate 'z1' is explained by the condition"),
        (lambda z, _: z[:-1], "covariates has"),
        (lambda z, _: z.assign(z2=np.nan), "covariate 'z2' has no finite value in row 0"),
        (lambda z, _: np.zeros((len(z), 2, 2)), "observations by covariates"),
        (lambda z, _: np.random.default_rng(0).normal(size=(len(z), 40)), "units are the items"),
    ],
)
def test_bad_covariates_are_refused_with_the_reason(make, message):
    *data, covariates = fixture("items_beside")
    with pytest.raises(InputError, match=message):
        crossed_test(*data, covariates=make(covariates, data[1]))
